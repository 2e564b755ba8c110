<?php

// What the wrapper promises beyond what pass.php shows.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

declare(strict_types=1);

require __DIR__ . '/ancillary.php';

use Ancillary\{Descriptor, Failure, Socket};
use const Ancillary\{DONTWAIT, LOSSLESS};

const EPERM = 1;
const E2BIG = 7;
const EBADF = 9;
const EAGAIN = 11;
const EINVAL = 22;
const ENOPROTOOPT = 92;

final class Interrupted extends Exception
{
}

// A warning is a failure, and so is an assertion that does not hold, whatever php.ini says.
set_error_handler(fn (int $level, string $text) => throw new ErrorException($text));

function check(bool $holds): void
{
    if (!$holds) {
        throw new LogicException('it does not hold');
    }
}

function descriptors(): int
{
    return count(scandir('/proc/self/fd'));
}

/** What a call throws. */
function problem(callable $call): Throwable
{
    try {
        $call();
    } catch (Throwable $problem) {
        return $problem;
    }
    throw new LogicException('nothing has been thrown');
}

$tests = [];

$tests['a stream has the position of the file, and either can be closed'] = function (Socket $ours, Socket $theirs) {
    $name = tempnam(sys_get_temp_dir(), 'pass');
    file_put_contents($name, "first\nsecond\n");
    $theirs->sendFds([Descriptor::open($name)]);
    unlink($name);
    [, [$file]] = $ours->recvFds(1, 1);
    $stream = $file->stream();
    stream_set_read_buffer($stream, 0);
    check(fread($stream, 6) === "first\n");
    $other = $file->stream();
    $file->close();
    check(fgets($other) === "second\n");
    fclose($other);
    check(fgets($stream) === false);
};

$tests['a stream is closed when a program is executed'] = function (Socket $ours, Socket $theirs) {
    $theirs->sendFds([Descriptor::open('/dev/zero')]);
    [, [$file]] = $ours->recvFds(1, 1);
    $stream = $file->stream();
    check(!str_contains(shell_exec('ls -l /proc/self/fd'), '/dev/zero'));
    check(strlen(fread($stream, 10)) === 10);
};

$tests['of a socket comes the stream of a socket'] = function (Socket $ours, Socket $theirs) {
    $theirs->sendFds([$theirs]);
    [, [$socket]] = $ours->recvFds(1, 1);
    $stream = $socket->stream();
    check(stream_socket_sendto($stream, 'data') === 4);
    check($ours->recvFds(0, 10)[0] === 'data');
};

$tests['what nothing refers to any more is closed'] = function (Socket $ours, Socket $theirs) {
    $before = descriptors();
    $null = Descriptor::open('/dev/null');
    for ($i = 0; $i < 100; $i++) {
        $theirs->sendFds([$null, $null, $null]);
        $ours->recvFds(3, 1);
        $theirs->sendFds([$null, $null, $null]);
        problem(fn () => $ours->recvFds(2, 1));
    }
    unset($null);
    check(descriptors() === $before);
};

$tests['what has been closed is no descriptor'] = function (Socket $ours, Socket $theirs) {
    $null = Descriptor::open('/dev/null');
    $null->close();
    $null->close();
    check(problem(fn () => $theirs->sendFds([$null]))->getCode() === EBADF);
    check(problem(fn () => $null->stream())->getCode() === EBADF);
};

$tests['a descriptor has one owner'] = function (Socket $ours) {
    check(problem(fn () => clone $ours) instanceof Error);
};

$tests['a failure has a number and tells what failed'] = function (Socket $ours) {
    $failure = problem(fn () => $ours->recvFds(1, 1, DONTWAIT));
    check($failure instanceof Failure && $failure->getCode() === EAGAIN);
    check($failure->getMessage() === 'ancillary_recv_fds: ' . $failure->reason);
};

$tests['a path is not cut'] = function () {
    check(problem(fn () => Socket::listen("/tmp/name\0more")) instanceof ValueError);
    check(problem(fn () => Socket::connect("/tmp/name\0more")) instanceof ValueError);
    check(problem(fn () => Descriptor::open("/dev/null\0more")) instanceof ValueError);
};

$tests['memory is as large as C is told'] = function (Socket $ours, Socket $theirs) {
    $theirs->sendFds([$theirs, $theirs], str_repeat('x', 100000));
    foreach ([-1, 1 << 31, (1 << 32) + 1, (1 << 62) + 1, PHP_INT_MAX] as $size) {
        $calls = [
            fn () => $ours->recvFds($size, 10, DONTWAIT),
            fn () => $ours->recvFds(2, $size, DONTWAIT),
            fn () => $ours->recvCreds($size, DONTWAIT),
        ];
        foreach ($calls as $call) {
            $problem = problem($call);
            check($problem instanceof Failure && $problem->getCode() === EINVAL);
        }
    }
    check(count($ours->recvFds(2, 10)[1]) === 2);
};

$tests['no number is cut'] = function (Socket $ours, Socket $theirs) {
    foreach ([1 << 31, 0xffffffff, 1 << 32] as $number) {
        check(problem(fn () => new Descriptor($number)) instanceof ValueError);
    }
    foreach ([1 << 32, (1 << 32) + DONTWAIT, PHP_INT_MAX, PHP_INT_MIN] as $number) {
        $calls = [
            fn () => Descriptor::open('/nowhere/at/all', $number),
            fn () => Descriptor::open('/nowhere/at/all', 0, $number),
            fn () => Socket::listen('/nowhere/at/all', $number),
            fn () => Socket::listen('/nowhere/at/all', 0600, $number),
            fn () => Socket::connect('/nowhere/at/all', $number),
            fn () => $theirs->sendFds([], 'data', $number),
            fn () => $theirs->sendCreds('data', $number),
            fn () => $ours->recvFds(1, 10, $number),
            fn () => $ours->recvCreds(10, $number),
        ];
        foreach ($calls as $call) {
            check(problem($call) instanceof ValueError);
        }
    }
};

$tests['without loss what there is no room for stays queued'] = function (Socket $ours, Socket $theirs) {
    $theirs->sendFds([$theirs, $theirs], 'data');
    check(problem(fn () => $ours->recvFds(1, 10, LOSSLESS))->getCode() === E2BIG);
    check(problem(fn () => $ours->recvCreds(10, LOSSLESS))->getCode() === E2BIG);
    [$data, $descriptors] = $ours->recvFds(2, 10, LOSSLESS);
    check($data === 'data' && count($descriptors) === 2);
};

$tests['options hold for the first message'] = function () {
    $name = '@ancillary-other-' . getmypid();
    $listener = Socket::listen($name, 0600, Ancillary\PASSCRED);
    Socket::connect($name)->sendFds([], 'data');
    [$data, $creds] = $listener->accept()->recvCreds(10);
    check($data === 'data' && $creds->pid === getmypid());
    try {
        $refusing = Socket::connect($name, Ancillary\NORIGHTS);
    } catch (Failure $failure) {
        // Linux has it since 6.16.
        check($failure->getCode() === ENOPROTOOPT);
        return;
    }
    $accepted = $listener->accept();
    check(problem(fn () => $accepted->sendFds([$accepted]))->getCode() === EPERM);
};

$tests['a descriptor is not serialized'] = function (Socket $ours) {
    check(problem(fn () => serialize($ours)) instanceof LogicException);
    $text = 'O:20:"Ancillary\Descriptor":1:{s:6:"number";i:0;}';
    check(problem(fn () => unserialize($text)) instanceof LogicException);
};

// Does something in another process when this one waits, and returns its number.
function when_waiting(callable $do): int
{
    $waiter = getmypid();
    $pid = pcntl_fork();
    if ($pid === 0) {
        do {
            $stat = file_get_contents("/proc/$waiter/stat");
        } while (!str_contains($stat, ') S '));
        $do($waiter);
        posix_kill(getmypid(), SIGKILL);
    }
    return $pid;
}

// Has a signal come while a call waits, whose handler throws when it returns.
function interrupt_when_waiting(callable $call, callable $end_the_wait): void
{
    $before = descriptors();
    pcntl_async_signals(true);
    pcntl_signal(SIGUSR1, fn () => throw new Interrupted());
    $pid = when_waiting(function (int $waiter) use ($end_the_wait) {
        posix_kill($waiter, SIGUSR1);
        $end_the_wait();
    });
    check(problem($call) instanceof Interrupted);
    pcntl_waitpid($pid, $status);
    pcntl_signal(SIGUSR1, SIG_DFL);
    check(descriptors() === $before);
}

$tests['what has come is closed when a handler throws'] = function (Socket $ours, Socket $theirs) {
    interrupt_when_waiting(
        fn () => $ours->recvFds(3, 10),
        fn () => $theirs->sendFds([$theirs, $theirs, $theirs], 'data'),
    );
};

$tests['a connection is closed when a handler throws'] = function () {
    $name = '@ancillary-other-' . getmypid();
    $listener = Socket::listen($name);
    interrupt_when_waiting(fn () => $listener->accept(), fn () => Socket::connect($name));
    $listener->close();
    $listener = Socket::listen($name);
    // With that there is room for one that is not accepted.
    FFI::cdef('int listen(int sock, int backlog);')->listen($listener->number(), 0);
    $connected = Socket::connect($name);
    interrupt_when_waiting(
        fn () => Socket::connect($name),
        fn () => $listener->accept(),
    );
};

$tests['handlers run after a call'] = function (Socket $ours) {
    $count = 0;
    pcntl_async_signals(true);
    pcntl_signal(SIGUSR1, function () use (&$count) {
        $count++;
    }, false);
    $pid = when_waiting(fn (int $waiter) => posix_kill($waiter, SIGUSR1));
    $failure = problem(fn () => $ours->recvFds(1, 1, Ancillary\INTR));
    check($failure->reason === 'Interrupted system call' && $count === 1);
    pcntl_waitpid($pid, $status);
    posix_kill(getmypid(), SIGUSR1);
    check($count === 2);
    pcntl_signal(SIGUSR1, SIG_DFL);
};

// Exceptions come at random moments. Other files are opened then, and must stay open.
$tests['whenever a handler throws, each descriptor is closed once'] = function (Socket $ours, Socket $theirs) {
    $wanted = (int) (getenv('ANCILLARY_TEST_INTERRUPTIONS') ?: 2000);
    $seed = (int) (getenv('ANCILLARY_TEST_SEED') ?: random_int(0, 1 << 31));
    mt_srand($seed);
    fwrite(STDERR, "seed $seed\n");
    $libc = FFI::cdef('int setitimer(int which, const long *value, long *old);');
    $timer = $libc->new('long[4]');
    $set = function (int $microseconds) use ($libc, $timer) {
        $timer[3] = $microseconds;
        $libc->setitimer(0, $timer, null);
    };
    $name = '@ancillary-other-' . getmypid();
    $null = stat('/dev/null')['rdev'];
    $calls = [
        function () use ($ours) {
            foreach ($ours->recvFds(3, 1, DONTWAIT)[1] as $descriptor) {
                $descriptor->stream();
                $descriptor->close();
            }
        },
        function () use ($name) {
            $listener = Socket::listen($name);
            $socket = Socket::connect($name);
            $listener->accept();
        },
    ];
    pcntl_async_signals(true);
    // A handler can run later than its signal comes: where there is nothing to interrupt.
    $armed = false;
    pcntl_signal(SIGALRM, function () use (&$armed) {
        if ($armed) {
            $armed = false;
            throw new Interrupted();
        }
    });
    $before = descriptors();
    for ($count = 0; $count < $wanted;) {
        $theirs->sendFds([$theirs, $theirs, $theirs]);
        try {
            try {
                $armed = true;
                $set(mt_rand(1, 100));
                $calls[mt_rand(0, 1)]();
            } finally {
                $armed = false;
                $set(0);
            }
        } catch (Interrupted $problem) {
            // It still refers to what the call had made.
            $files = array_map(fn () => fopen('/dev/null', 'r'), range(1, 8));
            unset($problem);
            gc_collect_cycles();
            foreach ($files as $file) {
                check(fstat($file)['rdev'] === $null);
            }
            unset($file, $files);
            $count++;
        }
        // What is still queued.
        try {
            while (true) {
                $ours->recvFds(3, 1, DONTWAIT);
            }
        } catch (Failure) {
        }
    }
    $set(0);
    pcntl_signal(SIGALRM, SIG_DFL);
    check(descriptors() === $before);
};

$name = '@ancillary-' . getmypid();
descriptors();
foreach ($tests as $what => $test) {
    $before = descriptors();
    $listener = Socket::listen($name);
    $ours = Socket::connect($name);
    $theirs = $listener->accept();
    unset($listener);
    try {
        $test($ours, $theirs);
        unset($ours, $theirs);
        check(descriptors() === $before);
    } catch (Throwable $problem) {
        fwrite(STDERR, "$what: $problem\n");
        exit(1);
    }
}
