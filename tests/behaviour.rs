//! How the library behaves, seen by C programs: each is a list of cases in `tests/c`, compiled and
//! run with the shared library, and some with the archive. ANCILLARY_TEST_RUNNER in the environment
//! is a command to run them with, such as valgrind.

mod common;

use common::{Link, TempDir};
use std::env;
use std::process::Command;

/// Compiles a program, and runs all its cases.
fn pass(name: &str, link: Link, extra: &[&str], more: &[&str]) {
    // Also for programs that become another user.
    let dir = TempDir::for_all();
    let program = common::cases(name, link, extra, more);
    let runner = env::var("ANCILLARY_TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let mut command = match words.next() {
        None => Command::new(program),
        Some(runner) => {
            let mut command = Command::new(runner);
            command.args(words).arg(program);
            command
        }
    };
    common::pass(command.env("TMPDIR", dir.path()));
}

macro_rules! programs {
    ($($name:ident $(with $extra:literal)* $(and $more:literal)*;)*) => {
        mod programs {
            use super::{pass, Link};

            $(pub fn $name(link: Link) {
                pass(stringify!($name), link, &[$($extra)*], &[$($more),*]);
            })*
        }

        mod shared {
            $(#[test]
            fn $name() {
                super::programs::$name(super::Link::Shared);
            })*
        }
    };
}

macro_rules! with_the_archive {
    ($($name:ident;)*) => {
        mod archive {
            $(#[test]
            fn $name() {
                super::programs::$name(super::Link::Static);
            })*
        }
    };
}

programs! {
    ancil;
    anywhere and "place.c";
    appear and "place.c" and "users.c";
    arguments;
    // So that clean-up handlers are found by unwinding through the library.
    cancel with "-fexceptions";
    channel and "channel_kit.c";
    channel_model and "calls.c" and "channel_kit.c";
    channel_receive and "calls.c" and "channel_kit.c" and "channel_sends.c" and "shim.c";
    channel_send and "calls.c" and "channel_kit.c" and "channel_sends.c";
    // As above.
    channel_wait with "-fexceptions" and "channel_kit.c";
    channel_wire and "calls.c" and "channel_kit.c" and "channel_sends.c";
    close;
    connect and "place.c";
    creds and "calls.c" and "shim.c" and "users.c";
    empty;
    encode and "calls.c" and "place.c";
    faults and "calls.c";
    labels and "calls.c" and "labelling.c" and "watch.c";
    limits;
    lossless and "calls.c" and "shim.c" and "users.c";
    meet and "place.c" and "users.c";
    mixed;
    model
        and "calls.c"
        and "model_judge.c"
        and "model_options.c"
        and "model_receive.c"
        and "model_send.c"
        and "model_stream.c"
        and "model_threads.c"
        and "model_world.c"
        and "watch.c";
    names and "place.c" and "users.c";
    one;
    options;
    outcomes and "calls.c" and "shim.c";
    passing and "calls.c" and "place.c";
    peer and "calls.c" and "shim.c" and "users.c";
    place_fds and "calls.c";
    receive;
    replace and "calls.c" and "place.c" and "users.c";
    ring;
    room and "calls.c" and "watch.c";
    send;
    signals;
    stream;
    switched and "calls.c" and "labelling.c";
    threads;
    timeouts and "calls.c";
    waitall;
    waiting and "calls.c" and "channel_kit.c" and "late.c";
    wire;
}

// The same code, linked another way: names are found, `errno` is the program's own, unwinding passes
// through, functions of the program stand in front of the C library's, and no call is forgotten.
with_the_archive! {
    ancil;
    cancel;
    channel;
    connect;
    creds;
    faults;
    one;
    outcomes;
    receive;
    send;
    threads;
}
