//! Connecting to an address.

use crate::sys::{self, Address, Errno, Fd, PathBuffer, Result, ADDRESS_MAX};

/// Connects, once more after a signal unless that is to end it.
pub fn reach(socket: &Fd, address: &Address, intr: bool) -> Result<()> {
    loop {
        match sys::connect(socket, address) {
            Err(Errno::INTR) if !intr => {}
            result => return result,
        }
    }
}

/// The address of the socket file that a descriptor is open for.
pub fn address_of_open(file: &Fd) -> Result<Address> {
    let mut path = PathBuffer::<ADDRESS_MAX>::new();
    path.push_open(file);
    Address::of_file(path.path()?)
}
