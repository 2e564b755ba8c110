//! How the library behaves, seen by C programs: each is a list of cases in `tests/c`, compiled
//! and run with the shared library and with the archive. ANCILLARY_TEST_RUNNER in the environment
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
    ($($name:ident $(with $extra:literal)* $(and $more:literal)*;)*) => {$(
        mod $name {
            use super::{pass, Link};

            #[test]
            fn shared() {
                pass(stringify!($name), Link::Shared, &[$($extra)*], &[$($more),*]);
            }

            #[test]
            fn archive() {
                pass(stringify!($name), Link::Static, &[$($extra)*], &[$($more),*]);
            }
        }
    )*};
}

programs! {
    ancil;
    anywhere and "place.c";
    appear and "place.c" and "users.c";
    arguments;
    // So that clean-up handlers are found by unwinding through the library.
    cancel with "-fexceptions";
    close;
    connect and "place.c";
    creds and "calls.c" and "shim.c" and "users.c";
    faults and "calls.c";
    limits;
    lossless and "calls.c" and "shim.c";
    meet and "place.c" and "users.c";
    mixed;
    model
        and "model_judge.c"
        and "model_receive.c"
        and "model_send.c"
        and "model_stream.c"
        and "model_threads.c"
        and "model_world.c";
    one;
    outcomes and "calls.c" and "shim.c";
    peer and "calls.c" and "shim.c" and "users.c";
    receive;
    replace and "calls.c" and "place.c" and "users.c";
    ring;
    send;
    signals;
    stream;
    threads;
    waitall;
    wire;
}
