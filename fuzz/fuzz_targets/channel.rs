//! A channel whose peer does what the fuzzer says: `tests/c/channel_script.h` tells how the bytes are
//! read, and what is checked.

#![no_main]

use libfuzzer_sys::fuzz_target;

extern "C" {
    fn follow_channel_script(script: *const u8, len: usize);
}

fuzz_target!(|script: &[u8]| {
    // SAFETY: so many bytes are there.
    unsafe { follow_channel_script(script.as_ptr(), script.len()) }
});
