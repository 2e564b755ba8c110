//! The ways to pass descriptors that are compared: each a round of send, receive and close, over
//! a pair of sockets in this process.

use crate::shared_floor::{self, Floor};
use crate::world::World;
use crate::{ancillary, hand};
use nix::sys::socket::{self as nix_socket, ControlMessage, ControlMessageOwned, MsgFlags};
use passfd::FdPassingExt;
use rustix::net::{self, RecvAncillaryBuffer, RecvAncillaryMessage, SendAncillaryBuffer};
use sendfd::{RecvWithFd, SendWithFd};
use std::io::{IoSlice, IoSliceMut};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use tiny_nix_ipc::Socket as TinySocket;

pub struct Way {
    pub name: &'static str,
    pub rounds: fn(&World, usize),
}

pub const FLOOR: &str = "floor";
pub const AGAIN: &str = "floor again";
pub const KEEPING: &str = "floor, errno kept";
pub const PYTHON: &str = "Python";

/// The numbers of descriptors for which the rounds are compiled.
pub const COMPILED: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 253];

macro_rules! way {
    ($name:expr, $round:expr) => {
        Way {
            name: $name,
            rounds: |world, rounds| {
                for _ in 0..rounds {
                    $round(world);
                }
            },
        }
    };
}

/// The ways that this number of descriptors can go, in the order of the rows of a table.
pub fn ways(descriptors: usize, world: &World) -> Vec<Way> {
    match descriptors {
        1 => ways_of::<1>(world),
        2 => ways_of::<2>(world),
        4 => ways_of::<4>(world),
        8 => ways_of::<8>(world),
        16 => ways_of::<16>(world),
        32 => ways_of::<32>(world),
        64 => ways_of::<64>(world),
        128 => ways_of::<128>(world),
        253 => ways_of::<253>(world),
        _ => panic!("not compiled for {descriptors} descriptors"),
    }
}

fn ways_of<const N: usize>(world: &World) -> Vec<Way> {
    let mut ways = vec![
        way!(FLOOR, floor::<N>),
        way!(AGAIN, floor::<N>),
        way!("floor, in a library", |world| shared_floor::<N>(world, &shared_floor::PLAIN)),
        way!(KEEPING, |world| shared_floor::<N>(world, &shared_floor::KEEPING)),
        way!("floor, peeked first", |world| shared_floor::<N>(world, &shared_floor::PEEKING)),
    ];
    if N == 1 {
        ways.push(way!("libancillary, send_fd", one));
    }
    ways.extend([
        way!("libancillary", fds::<N, 0>),
        way!("libancillary, recv_msg", msg::<N>),
        way!("libancillary, encode", encoded::<N>),
        way!("libancillary, close_fds", close_fds::<N>),
        way!("libancillary, LOSSLESS", fds::<N, { ancillary::LOSSLESS }>),
        way!("rustix", rustix::<N>),
        way!("nix", nix::<N>),
        way!("uds", uds::<N>),
        way!("sendfd", sendfd::<N>),
        way!("unix-ancillary", unix_ancillary::<N>),
        way!("tiny-nix-ipc", tiny_nix_ipc::<N>),
    ]);
    if N == 1 {
        ways.push(way!("passfd", passfd));
        if world.skalibs.is_some() {
            ways.push(way!("skalibs", skalibs));
        }
    }
    if world.glib.is_some() {
        ways.push(way!("GLib", glib::<N>));
    }
    ways
}

fn room<const N: usize>() -> [MaybeUninit<RawFd>; N] {
    [const { MaybeUninit::uninit() }; N]
}

fn floor<const N: usize>(world: &World) {
    let (here, there) = world.ends();
    let mut received = room::<N>();
    hand::send(here, &world.files[..N], &[0]);
    hand::receive(there, &mut received, &mut [0]);
    // SAFETY: they have just been received.
    unsafe { hand::close(&received) };
}

#[inline(always)]
fn shared_floor<const N: usize>(world: &World, by: &Floor) {
    let (here, there) = world.ends();
    let mut received = room::<N>();
    by.send(here, &world.files[..N], &[0]);
    by.receive(there, &mut received, &mut [0]);
    // SAFETY: they have just been received.
    unsafe { hand::close(&received) };
}

fn one(world: &World) {
    let (here, there) = world.ends();
    ancillary::send_fd(here, world.files[0]);
    let received = ancillary::receive_fd(there);
    // SAFETY: it has just been received.
    unsafe { libc::close(received) };
}

fn fds<const N: usize, const FLAGS: u32>(world: &World) {
    let (here, there) = world.ends();
    let mut received = room::<N>();
    ancillary::send(here, &world.files[..N], &[0]);
    ancillary::receive(there, &mut received, &mut [0], FLAGS);
    // SAFETY: they have just been received.
    unsafe { hand::close(&received) };
}

fn close_fds<const N: usize>(world: &World) {
    let (here, there) = world.ends();
    let mut received = room::<N>();
    ancillary::send(here, &world.files[..N], &[0]);
    ancillary::receive(there, &mut received, &mut [0], 0);
    ancillary::close(&mut received);
}

fn msg<const N: usize>(world: &World) {
    let (here, there) = world.ends();
    let mut received = room::<N>();
    ancillary::send_msg(here, &world.files[..N], &[0]);
    ancillary::receive_msg(there, &mut received, &mut [0]);
    // SAFETY: they have just been received.
    unsafe { hand::close(&received) };
}

fn encoded<const N: usize>(world: &World) {
    let (here, there) = world.ends();
    let mut received = room::<N>();
    ancillary::encode(here, &world.files[..N], &[0]);
    ancillary::decode(there, &mut received, &mut [0]);
    // SAFETY: they have just been received.
    unsafe { hand::close(&received) };
}

fn close(received: &[RawFd]) {
    for fd in received {
        // SAFETY: it has just been received.
        unsafe { libc::close(*fd) };
    }
}

fn rustix<const N: usize>(world: &World) {
    let mut space = [const { MaybeUninit::<u8>::uninit() }; 2048];
    let space = &mut space[..rustix::cmsg_space!(ScmRights(N))];
    let mut control = SendAncillaryBuffer::new(space);
    assert!(control.push(net::SendAncillaryMessage::ScmRights(&world.borrowed[..N])));
    let parts = [IoSlice::new(&[0])];
    let sent = net::sendmsg(&world.here, &parts, &mut control, net::SendFlags::NOSIGNAL);
    assert_eq!(sent, Ok(1));

    let mut space = [const { MaybeUninit::<u8>::uninit() }; 2048];
    let space = &mut space[..rustix::cmsg_space!(ScmRights(N))];
    let mut control = RecvAncillaryBuffer::new(space);
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let flags = net::RecvFlags::CMSG_CLOEXEC;
    let received = net::recvmsg(&world.there, &mut parts, &mut control, flags).expect("recvmsg");
    assert_eq!(received.bytes, 1);
    let mut count = 0;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            fds.for_each(|fd| {
                count += 1;
                drop(fd);
            });
        }
    }
    assert_eq!(count, N);
}

fn nix<const N: usize>(world: &World) {
    let (here, there) = world.ends();
    let fds = [ControlMessage::ScmRights(&world.files[..N])];
    let parts = [IoSlice::new(&[0])];
    let flags = MsgFlags::MSG_NOSIGNAL;
    assert_eq!(nix_socket::sendmsg::<()>(here, &parts, &fds, flags, None), Ok(1));

    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let mut control = nix::cmsg_space!([RawFd; N]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let received = nix_socket::recvmsg::<()>(there, &mut parts, Some(&mut control), flags);
    let mut count = 0;
    for message in received.expect("recvmsg").cmsgs().expect("whole messages") {
        if let ControlMessageOwned::ScmRights(fds) = message {
            count += fds.len();
            close(&fds);
        }
    }
    assert_eq!(count, N);
}

fn uds<const N: usize>(world: &World) {
    use uds::UnixStreamExt;
    let mut received = [0; N];
    assert_eq!(world.here.send_fds(&[0], &world.files[..N]).expect("send_fds"), 1);
    assert_eq!(world.there.recv_fds(&mut [0], &mut received).expect("recv_fds"), (1, N));
    close(&received);
}

fn sendfd<const N: usize>(world: &World) {
    let mut received = [0; N];
    assert_eq!(world.here.send_with_fd(&[0], &world.files[..N]).expect("send_with_fd"), 1);
    assert_eq!(world.there.recv_with_fd(&mut [0], &mut received).expect("recv_with_fd"), (1, N));
    close(&received);
}

fn unix_ancillary<const N: usize>(world: &World) {
    use unix_ancillary::UnixStreamExt;
    assert_eq!(world.here.send_fds(&[0], &world.borrowed[..N]).expect("send_fds"), 1);
    let (bytes, fds) = world.there.recv_fds_into::<N>(&mut [0]).expect("recv_fds_into");
    assert_eq!((bytes, fds.len()), (1, N));
}

/// An array that it can make itself, which those of the standard library are up to 32 elements.
struct Array<const N: usize>([RawFd; N]);

impl<const N: usize> Default for Array<N> {
    fn default() -> Self {
        Array([0; N])
    }
}

impl<const N: usize> AsMut<[RawFd]> for Array<N> {
    fn as_mut(&mut self) -> &mut [RawFd] {
        &mut self.0
    }
}

fn tiny_nix_ipc<const N: usize>(world: &World) {
    let (here, there) = world.ends();
    // SAFETY: they are open, and not closed here.
    let [mut here, mut there] =
        [here, there].map(|fd| ManuallyDrop::new(unsafe { TinySocket::from_raw_fd(fd) }));
    assert_eq!(here.send_slice(&[0], Some(&world.files[..N])).expect("send_slice"), 1);
    let (bytes, fds) = there.recv_into_slice::<Array<N>>(&mut [0]).expect("recv_into_slice");
    assert_eq!(bytes, 1);
    close(&fds.expect("descriptors").0);
}

fn passfd(world: &World) {
    world.here.as_raw_fd().send_fd(world.files[0]).expect("send_fd");
    close(&[world.there.as_raw_fd().recv_fd().expect("recv_fd")]);
}

fn skalibs(world: &World) {
    let (here, there) = world.ends();
    world.skalibs.as_ref().expect("it is there").round(here, there, world.files[0]);
}

fn glib<const N: usize>(world: &World) {
    world.glib.as_ref().expect("it is there").round(&world.files[..N]);
}

pub enum Cloexec {
    /// The kernel sets it before anybody can see them (MSG_CMSG_CLOEXEC).
    AtOnce,
    /// Another system call for each sets it, too late for another thread's fork and exec.
    Later,
    Never,
}

/// How the descriptors that the way of this name receives become close-on-exec.
pub fn cloexec(name: &str) -> Cloexec {
    match name {
        "sendfd" | PYTHON => Cloexec::Never,
        "passfd" => Cloexec::Later,
        _ => Cloexec::AtOnce,
    }
}
