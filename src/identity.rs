//! Who sent a message, as far as it is known.

use crate::sys::ucred;
use libc::{gid_t, pid_t, uid_t};

/// The identity of a process: who sent a message, or who is on the other end
/// of a connection.
///
/// An identity that is not known reads pid 0, uid -1 and gid -1: never that of
/// root.  A pid of 0 with a uid and gid is that of a process outside the
/// reader's pid namespace (pid_namespaces(7)), and a uid or gid of 65534 can be
/// one that the reader's user namespace does not map (user_namespaces(7)).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ancillary_creds {
    /// process, as its reader numbers it
    pub pid: pid_t,
    /// user; -1 is nobody's
    pub uid: uid_t,
    /// group; -1 is nobody's
    pub gid: gid_t,
}

/// What the kernel shows of a user or group that it does not know (overflowuid, proc(5)).
const OVERFLOW_ID: u32 = 65534;

impl ancillary_creds {
    pub fn unknown() -> ancillary_creds {
        ancillary_creds { pid: 0, uid: uid_t::MAX, gid: gid_t::MAX }
    }

    /// Whether credentials that came with so many bytes are anybody's.
    ///
    /// At the end of a stream the kernel says 0/0/0, which is root's, and for a message that was
    /// sent before SO_PASSCRED was on 0/65534/65534.
    pub fn says_something(&self, bytes: usize) -> bool {
        if self.pid != 0 || self.uid != self.gid {
            return true;
        }
        match self.uid {
            0 => bytes > 0,
            OVERFLOW_ID | uid_t::MAX => false,
            _ => true,
        }
    }

    pub fn from_kernel(kernel: &ucred) -> ancillary_creds {
        ancillary_creds { pid: kernel.pid, uid: kernel.uid, gid: kernel.gid }
    }

    pub fn to_kernel(self) -> ucred {
        ucred { pid: self.pid, uid: self.uid, gid: self.gid }
    }
}
