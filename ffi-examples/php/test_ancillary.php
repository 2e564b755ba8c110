<?php

// What the wrapper promises beyond what pass.php shows.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

declare(strict_types=1);

require __DIR__ . '/ancillary.php';

use Ancillary\{Descriptor, Failure, Socket};
use const Ancillary\DONTWAIT;

const EBADF = 9;
const EAGAIN = 11;

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

$tests['a stream has the position of the file, and both can be closed alone'] = function (Socket $ours, Socket $theirs) {
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
