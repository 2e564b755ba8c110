//! Descriptors for a program that is about to be executed.

use super::arrays;
use super::returns::returning;
use crate::sys;
use libc::{c_int, size_t};

/// Move descriptors to consecutive numbers, as a program that is about to be
/// executed (execve(2)) expects them: 0 to 2, or 3 onwards where it goes by
/// sd_listen_fds(3).
///
///   fds     the descriptors, in any order.  They may be among the numbers that
///           they are to have, and the same one may be there twice.  Out: the
///           new numbers.  May be NULL if nfds is 0.
///   nfds    how many
///   first   the number that the first one is to have, 0 or more; the next one
///           has the next number, and so on
///
/// At their new numbers they are not close-on-exec.  The old ones are closed;
/// so is whatever else stands at the new numbers, as by dup2(2).  That drops
/// the locks of this process by fcntl(2) on these files, also where a
/// descriptor keeps its number.  A descriptor that is among the new numbers is
/// duplicated behind them for a moment: so many more must be free there.
///
/// Returns 0, or a negative errno value.  Then no file of fds is closed: each
/// is open under the number that is in fds then, which can be a new one.
///
///   -EBADF      One of fds is not open.  Nothing has changed.
///   -EMFILE     A number would be over the limit (RLIMIT_NOFILE, getrlimit(2)),
///               or too few are free behind them.
///   -EBUSY      Another thread is just opening a file that gets one of the new
///               numbers.  What stood at those behind it may be closed.
///   -EINVAL     fds NULL with nfds not 0; first negative, or a number over
///               INT_MAX.  Nothing has changed.
///   -ENOMEM     The system is short of memory.
///
/// For a process with one thread, or between fork and exec: other threads would
/// meet other files at these numbers, and what they execute meanwhile inherits
/// them.
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn ancillary_place_fds(fds: *mut c_int, nfds: size_t, first: c_int) -> c_int {
    returning(|| {
        // SAFETY: the caller promises `nfds` descriptors at `fds`, unless it is NULL.
        let fds = unsafe { arrays::filled(fds, nfds) }?;
        sys::place(fds, first)
    })
}
