//! Names of Unix sockets, unix(7): file names of any length, and abstract names.

use crate::sys::{Errno, Path, Result};

/// A name as a caller gives it.
#[derive(Clone, Copy)]
pub enum Name<'a> {
    /// Without the `@` in front.
    Abstract(&'a [u8]),
    File(FileName<'a>),
}

/// The path of a file, and its parts.
#[derive(Clone, Copy)]
pub struct FileName<'a> {
    pub path: Path<'a>,
    /// Without the last slash: nothing for the root.
    pub directory: &'a [u8],
    pub last: Path<'a>,
}

/// The longest abstract name: one byte of an address is the zero byte in front of it.
const ABSTRACT_MAX: usize = crate::sys::ADDRESS_MAX - 1;

impl<'a> Name<'a> {
    /// A string with its zero byte.
    pub fn parse(string: &'a [u8]) -> Result<Name<'a>> {
        match *string {
            [b'@', 0] => Err(Errno::INVAL),
            [b'@', ref name @ .., 0] if name.len() > ABSTRACT_MAX => Err(Errno::NAMETOOLONG),
            [b'@', ref name @ .., 0] => Ok(Name::Abstract(name)),
            [.., b'/', 0] => Err(Errno::ISDIR),
            [_, .., 0] => FileName::parse(string).map(Name::File),
            _ => Err(Errno::NOENT),
        }
    }
}

impl<'a> FileName<'a> {
    fn parse(string: &'a [u8]) -> Result<FileName<'a>> {
        let (directory, last) = match string.iter().rposition(|byte| *byte == b'/') {
            None => (&b"."[..], string),
            Some(slash) => {
                let behind = slash.wrapping_add(1)..;
                (string.get(..slash).unwrap_or_default(), string.get(behind).unwrap_or_default())
            }
        };
        Ok(FileName { path: Path::new(string)?, directory, last: Path::new(last)? })
    }
}
