//! Who sent a message, as far as the kernel's credentials tell.

use crate::sys::ucred;

/// An identity that is not known.
pub const UNKNOWN: ucred = ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };

/// What the kernel shows of a user or group that it does not know (overflowuid, proc(5)).
const OVERFLOW_ID: u32 = 65534;

/// Whether credentials that came with so many bytes are anybody's.
///
/// At the end of a stream the kernel says 0/0/0, which is root's, or what the user namespace has in
/// its place (user_namespaces(7)), and for a message that was sent before SO_PASSCRED was on
/// 0/65534/65534.
pub fn is_known(creds: &ucred, bytes: usize) -> bool {
    match (creds.pid, bytes) {
        (0, 0) => false,
        (0, _) => creds.uid != creds.gid || !matches!(creds.uid, OVERFLOW_ID | u32::MAX),
        _ => true,
    }
}

/// Whether two are the same.
pub fn same(one: &Option<ucred>, other: &Option<ucred>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            (one.pid, one.uid, one.gid) == (other.pid, other.uid, other.gid)
        }
        (None, None) => true,
        _ => false,
    }
}
