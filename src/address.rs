//! Names of Unix sockets, unix(7): file names of any length, and abstract names.

use crate::errno::{Errno, Result};
use crate::sys;

/// A name as a caller gives it, with its zero byte: a path, or an abstract name with an `@` before
/// it.
#[derive(Clone, Copy)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// A string with its zero byte.
    pub fn parse(bytes: &'a [u8]) -> Result<Name<'a>> {
        match *bytes {
            [b'@', _] => Err(Errno::INVAL),
            // The zero byte at the end does not count, but there is one in place of the `@`.
            [b'@', ..] if bytes.len() > sys::ADDRESS_MAX.wrapping_add(1) => Err(Errno::NAMETOOLONG),
            [b'@', ..] => Ok(Name(bytes)),
            [.., b'/', _] => Err(Errno::ISDIR),
            [_, _, ..] => Ok(Name(bytes)),
            _ => Err(Errno::NOENT),
        }
    }

    pub fn is_abstract(self) -> bool {
        self.0.first() == Some(&b'@')
    }

    /// All of it, with the zero byte.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// The directory of a path.
    pub fn directory(self) -> &'a [u8] {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            None => b".",
            Some(slash) => self.0.get(..slash).unwrap_or_default(),
        }
    }
}
