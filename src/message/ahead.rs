//! What stands on a stream in front of the first message with descriptors.

use super::carrier::receive_bytes;
use crate::sys;
use core::mem::MaybeUninit;
use libc::{c_int, c_void, iovec};

const BLOCK: usize = 2048;
const BLOCKS: usize = 256;

/// How many bytes on a stream certainly stand before the first message with descriptors: whole
/// messages only, so 0 can also mean that one longer than what is seen comes first.
///
/// 512 KiB are seen, where the kernel makes messages of at most 36 KiB of a write (of 320 KiB on
/// machines with pages of 64 KiB); but first a few, which mostly do, because seeing is copying.
///
/// Its memory is given back before the caller receives these bytes, which takes nearly as much.
#[inline(never)]
pub fn plain_bytes(sock: c_int) -> usize {
    if sys::socket_type(sock) != Ok(libc::SOCK_STREAM) {
        return 0;
    }
    for blocks in [2, 24, BLOCKS] {
        let (before, all) = look(sock, blocks);
        if before > 0 || all {
            return before;
        }
    }
    0
}

/// Sees so many blocks of a stream: how many bytes of it are whole messages without descriptors,
/// and whether there is no more to see, because one with descriptors ends there, or all.
///
/// A peek ends with a message with descriptors. One byte short of there, into memory that cannot
/// be written to, it fails in that message, and returns the bytes of those before (measured on
/// Linux 6.18 with messages of 1 to 30,000 bytes).
fn look(sock: c_int, blocks: usize) -> (usize, bool) {
    let mut block = MaybeUninit::<[u8; BLOCK]>::uninit();
    let one = iovec { iov_base: block.as_mut_ptr() as *mut c_void, iov_len: BLOCK };
    let mut iov = [one; BLOCKS + 1];
    let seen = glance(sock, iov.get(..blocks).unwrap_or_default());
    let short = seen.saturating_sub(1);
    let (whole, rest) = (short / BLOCK, short % BLOCK);
    if let Some([part, behind, ..]) = iov.get_mut(whole..) {
        part.iov_len = rest;
        *behind = sys::wall();
    }
    let before = glance(sock, iov.get(..whole.saturating_add(2)).unwrap_or_default());
    (if before < seen { before } else { 0 }, seen < blocks.saturating_mul(BLOCK))
}

/// How many bytes a peek returns that installs no descriptors: 0 where it fails.
fn glance(sock: c_int, iov: &[iovec]) -> usize {
    receive_bytes(sock, iov, sys::PEEK | sys::DONTWAIT).unwrap_or_default()
}
