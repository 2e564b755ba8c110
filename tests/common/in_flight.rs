//! Descriptors in flight: sent, and not received yet. Of a user without privileges the kernel counts
//! them for all processes together, and lets none send (ETOOMANYREFS) while there are more than it
//! may have open itself (RLIMIT_NOFILE). Tests run side by side, so here that limit is raised for
//! all of them; one that has many in flight says how many; and one whose programs send under a
//! lower limit does without the others.

use std::fs;
use std::mem;
use std::sync::{Condvar, Mutex, OnceLock};

/// What this program and those that it starts may have open, if they may choose.
const ENOUGH: u64 = 1 << 14;

/// Left to those that do not say how many they have in flight, which are a few.
const FEW: usize = 24;

/// Raises this program's limit of descriptors, which others have that it starts, and returns it.
pub fn raise_limit() -> usize {
    static LIMIT: OnceLock<u64> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        // SAFETY: both point to a structure of the kind.
        unsafe {
            let mut limit: libc::rlimit64 = mem::zeroed();
            assert_eq!(libc::getrlimit64(libc::RLIMIT_NOFILE, &mut limit), 0);
            limit.rlim_cur = limit.rlim_cur.max(limit.rlim_max.min(ENOUGH));
            assert_eq!(libc::setrlimit64(libc::RLIMIT_NOFILE, &limit), 0);
            limit.rlim_cur.min(ENOUGH)
        }
    }) as usize
}

/// Whether the limit binds this user: CAP_SYS_ADMIN and CAP_SYS_RESOURCE in the first user namespace
/// lift it.
fn is_bound() -> bool {
    const LIFTING: u64 = 1 << 21 | 1 << 24;
    let read = |name| fs::read_to_string(format!("/proc/self/{name}")).expect("what /proc tells");
    let status = read("status");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"));
    let effective = u64::from_str_radix(effective.expect("a line"), 16).expect("a number");
    let is_first = read("uid_map").split_whitespace().eq(["0", "0", "4294967295"]);
    effective & LIFTING == 0 || !is_first
}

/// A part of what may be in flight, until this is dropped.
pub struct InFlight(usize);

/// How much of it is taken.
static TAKEN: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// Waits until so many more may be in flight, or all that may.
pub fn up_to(most: usize) -> InFlight {
    let all = raise_limit().saturating_sub(FEW);
    let part = if is_bound() { most.min(all) } else { 0 };
    let taken = TAKEN.0.lock().expect("no panic in it");
    let mut taken = TAKEN.1.wait_while(taken, |taken| *taken + part > all).expect("the same");
    *taken += part;
    InFlight(part)
}

/// Waits until no other test has said that it has descriptors in flight.
pub fn alone() -> InFlight {
    up_to(usize::MAX)
}

impl Drop for InFlight {
    fn drop(&mut self) {
        *TAKEN.0.lock().expect("no panic in it") -= self.0;
        TAKEN.1.notify_all();
    }
}
