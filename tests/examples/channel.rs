//! `channel`: a master and its workers.

use crate::common::program::{example, shim, signal, until, with_signals, End, Program, ENDINGS};
use crate::common::{Link, TempDir};
use std::process::Command;
use std::time::{Duration, Instant};

/// Checks all that a run says.
fn channel_succeeds(program: &Program, workers: usize) {
    assert_eq!(program.end(), End::Exited(0), "{:?}", program.complaints());
    let lines = program.all_lines();
    assert!(program.complaints().is_empty(), "{:?}", program.complaints());
    let times = |line: &str| lines.iter().filter(|other| *other == line).count();
    for worker in 0..workers {
        let mut got = vec![format!("Worker {worker}: a file.")];
        got.extend(vec![format!("Worker {worker}: a listening socket."); 2]);
        let others = (0..workers).filter(|other| *other != worker);
        got.extend(others.map(|other| format!("Worker {worker}: a channel to worker {other}.")));
        for line in &got {
            let expected = got.iter().filter(|other| *other == line).count();
            // The one that dies may not have come to it.
            let fits = times(line) == expected || worker == 0 && times(line) < expected;
            assert!(fits, "{line:?} in {lines:?}");
        }
        // One dies, and all others hear of it.
        let (lost, ended) = ((worker > 0) as usize, "ended with exit status 0");
        let line = format!("Worker {worker}: no channel to worker 0 any more.");
        assert_eq!(times(&line), lost, "{lines:?}");
        assert_eq!(times(&format!("Master: worker {worker} {ended}.")), lost, "{lines:?}");
    }
    let death = lines.iter().position(|line| line == "Master: worker 0 was killed by signal 9.");
    let death = death.expect("the end of a worker");
    let mut bytes = 0;
    let mut counts = (0, 0);
    let answers = lines.iter().enumerate().filter_map(|(i, line)| {
        let words: Vec<usize> = line
            .strip_prefix("Client: Worker ")?
            .trim_end_matches('.')
            .split(" answers a client of worker ")
            .map(|word| word.parse().unwrap())
            .collect();
        bytes += line.len() - "Client: ".len() + 1;
        Some((i, words[0], words[1]))
    });
    for (n, (i, by, of)) in answers.enumerate() {
        let living = workers - (i > death) as usize;
        *(if i > death { &mut counts.1 } else { &mut counts.0 }) += 1;
        assert!(i < death || (by != 0 && of != 0), "{lines:?}");
        // Every second client comes by the socket whose clients are passed on to the next.
        let next = match (of + 1) % workers {
            0 if i > death => 1,
            next => next,
        };
        assert_eq!(by, if n % 2 == 0 || living == 1 { of } else { next }, "{lines:?}");
    }
    assert_eq!(counts, (2 * workers, 2 * workers), "{lines:?}");
    assert_eq!(times(&format!("Master: the workers have written {bytes} bytes.")), 1, "{lines:?}");
    assert_eq!(lines.last().unwrap(), "Done.");
    program.leaves_nothing();
}

#[test]
fn workers_get_a_file_and_sockets_and_channels_to_each_other() {
    for link in Link::BOTH {
        for workers in [2, 3, 8, 16] {
            let mut command = Command::new(example("channel", link));
            channel_succeeds(&Program::start(command.arg(workers.to_string())), workers);
        }
    }
}

/// Sends and receives as much at once as a socket under pressure may: a few bytes or nothing.
const PIECES: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Leaves no more than so many bytes of a message, and tells whether there were more. */
static int cut(struct msghdr *msg, struct iovec *piece, size_t most)
{
    size_t count = 0, before = most;
    while (count < msg->msg_iovlen && count < 8 && most > 0) {
        piece[count] = msg->msg_iov[count];
        if (piece[count].iov_len > most)
            piece[count].iov_len = most;
        most -= piece[count++].iov_len;
    }
    int is_cut = before > 0 && most == 0;
    if (is_cut) {
        msg->msg_iov = piece;
        msg->msg_iovlen = count;
    }
    return is_cut;
}

ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
    static int is_full;
    struct msghdr part = *msg;
    struct iovec piece[8];
    if (is_full) {
        is_full = 0;
        errno = EAGAIN;
        return -1;
    }
    is_full = cut(&part, piece, 5);
    return syscall(SYS_sendmsg, fd, &part, flags);
}

ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
    struct msghdr whole = *msg;
    struct iovec piece[8];
    cut(msg, piece, 3);
    ssize_t n = syscall(SYS_recvmsg, fd, msg, flags);
    msg->msg_iov = whole.msg_iov;
    msg->msg_iovlen = whole.msg_iovlen;
    return n;
}
"#;

#[test]
fn messages_that_go_and_come_in_pieces_are_put_together() {
    let dir = TempDir::new();
    let shim = shim(PIECES, &dir);
    for workers in [2, 5] {
        let mut command = Command::new(example("channel", Link::Static));
        command.arg(workers.to_string()).env("LD_PRELOAD", &shim);
        channel_succeeds(&Program::start(&mut command), workers);
    }
}

#[test]
fn nothing_of_the_master_and_its_workers_is_left_whenever_it_ends() {
    let mut command = Command::new(example("channel", Link::Shared));
    command.arg("16");
    for round in 0..40 {
        let program = Program::start(&mut command);
        let start = Instant::now();
        let moment = Duration::from_micros(500 * round / 4);
        until("a moment", || (start.elapsed() > moment).then_some(()));
        let number = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGKILL][round as usize % 4];
        if number == libc::SIGINT {
            // As a terminal does.
            signal(-program.pid(), number);
        } else {
            program.signal(number);
        }
        let end = program.end();
        // It may not have been ready for the signal yet, or be ready with all else.
        assert!(end == End::Killed(number) || end == End::Exited(0), "{end:?}");
        program.leaves_nothing();
        if end == End::Exited(0) {
            let lines = program.all_lines();
            let farewell =
                ENDINGS.iter().find(|(other, _)| *other == number).map(|(_, line)| *line);
            let last = lines.last().map(String::as_str);
            assert!(last == Some("Done.") || last == farewell, "{lines:?}");
            assert!(program.complaints().is_empty(), "{:?}", program.complaints());
        }
    }
}

#[test]
fn children_are_waited_for_whatever_it_was_started_with() {
    for (ignored, blocked) in [("CHLD", ""), ("", "CHLD"), ("CHLD", "CHLD")] {
        let mut command = with_signals(ignored, blocked, &example("channel", Link::Shared));
        channel_succeeds(&Program::start(command.arg("3")), 3);
    }
}

#[test]
fn signals_that_were_ignored_do_not_end_it() {
    let mut command = with_signals("INT,TERM,HUP", "", &example("channel", Link::Shared));
    let program = Program::start(command.arg("4"));
    program.says("Worker ");
    for (number, _) in ENDINGS {
        // To all of them, as a terminal does.
        signal(-program.pid(), number);
    }
    channel_succeeds(&program, 4);
}
