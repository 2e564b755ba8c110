<?php

/**
 * Passes descriptors and credentials over Unix sockets: libancillary for PHP.
 *
 * A process hands an open file to another over a Unix socket, and tells who it is:
 *
 *     $listener = Ancillary\Socket::listen('/run/example', flags: Ancillary\REPLACE); // one process
 *     $socket = $listener->accept();
 *     [$data, [$file]] = $socket->recvFds(1, 4096);
 *     echo $data, stream_get_contents($file->stream());
 *
 *     $socket = Ancillary\Socket::connect('/run/example');                            // another
 *     $socket->sendFds([Ancillary\Descriptor::open('/etc/hostname')], 'a name');
 *
 * PHP does not tell the descriptor of a stream, so what is sent are descriptors of this module,
 * which open a file themselves or have been received. Of both stream() makes streams, which share
 * the position in the file with it. A descriptor is closed with close(), or when nothing refers to
 * it any more, and by PHP's own functions that execute programs it is not passed on. It can neither
 * be cloned nor serialized: of two owners both would close it.
 *
 * What fails throws an Ancillary\Failure, whose code is an errno value: EAGAIN (11, a call with
 * DONTWAIT came too early), E2BIG (7, more descriptors came than there is room for), EMFILE (24,
 * more than the process can have open), EPIPE (32, the peer has closed), ENOMSG (42, a message
 * without credentials). What came with such a message is closed; with LOSSLESS it stays queued
 * where there is too little room for it, and can be received later. What C cannot be given (a path
 * with a null byte, flags of more than 32 bits) is a ValueError.
 *
 * A call that waits holds up all of PHP, handlers of pcntl_signal() too. With the flag INTR a
 * signal ends the wait with EINTR (4), if its handler does not restart system calls (the third
 * argument of pcntl_signal()). Handlers that run by themselves (pcntl_async_signals()) run when
 * what the call has brought is in objects: so one that throws has it closed, and loses nothing.
 *
 * It needs PHP 8.1 or newer with the extension FFI (ffi.enable: allowed on the command line, and
 * elsewhere to files that opcache has preloaded) and, where the system's loader looks for it,
 * libancillary.so.1. Load it with require_once.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

declare(strict_types=1);

namespace Ancillary;

use FFI;

const DONTWAIT = 1 << 6;
const INTR = 1 << 19;
const WAITALL = 1 << 8;
const LOSSLESS = 1 << 20;
const REPLACE = 1 << 0;
const PASSCRED = 1 << 1;
const PASSPIDFD = 1 << 2;
const NORIGHTS = 1 << 3;

const O_RDONLY = 0;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_CREAT = 0100;
const O_EXCL = 0200;

const EINVAL = 22;

const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 02000000;
const O_CLOEXEC = 02000000;
const F_SETFD = 2;
const F_DUPFD_CLOEXEC = 1030;
const FD_CLOEXEC = 1;

const LIBANCILLARY = <<<'C'
    struct ancillary_creds { int pid; unsigned uid, gid; };

    int ancillary_listen(const char *path, int type, unsigned mode, unsigned flags);
    int ancillary_connect(const char *path, int type, unsigned flags);
    ssize_t ancillary_send_fds(int sock, const int *fds, size_t nfds,
                               const char *data, size_t len, unsigned flags);
    ssize_t ancillary_recv_fds(int sock, int *fds, size_t *nfds,
                               char *data, size_t len, unsigned flags);
    int ancillary_set_passcred(int sock, int on);
    ssize_t ancillary_send_creds(int sock, const struct ancillary_creds *creds,
                                 const char *data, size_t len, unsigned flags);
    ssize_t ancillary_recv_creds(int sock, struct ancillary_creds *creds,
                                 char *data, size_t len, unsigned flags);
    int ancillary_peer_creds(int sock, struct ancillary_creds *creds);
    C;

const LIBC = <<<'C'
    int open(const char *path, int flags, ...);
    int accept4(int sock, void *address, void *len, int flags);
    int fcntl(int fd, int command, ...);
    int close(int fd);
    char *strerror(int error);
    int *__errno_location(void);
    C;

function libancillary(): FFI
{
    static $library = null;
    return $library ??= FFI::cdef(LIBANCILLARY, 'libancillary.so.1');
}

function libc(): FFI
{
    static $library = null;
    return $library ??= FFI::cdef(LIBC, 'libc.so.6');
}

/** A call that failed. The code is an errno value, the reason is that in words. */
final class Failure extends \RuntimeException
{
    public readonly string $reason;

    public function __construct(public readonly string $call, int $errno)
    {
        $this->reason = FFI::string(libc()->strerror($errno));
        parent::__construct("$call: $this->reason", $errno);
    }
}

/**
 * Does something with PHP's handlers of signals held off. They run between any two of its steps,
 * and one that throws between what C returns and its owner, or in the middle of closing, would lose
 * a descriptor or have it closed twice.
 *
 * @template T
 * @param callable(): T $steps
 * @return T
 */
function uninterrupted(callable $steps): mixed
{
    if (!function_exists('pcntl_async_signals') || !pcntl_async_signals()) {
        return $steps();
    }
    try {
        pcntl_async_signals(false);
        // What is returned from here would not be freed if a handler threw behind "finally".
        $result = $steps();
    } finally {
        pcntl_async_signals(true);
        // Those that have come meanwhile.
        pcntl_signal_dispatch();
    }
    return $result;
}

/** Calls a function of libancillary: what it returns when it fails is a negative errno value. */
function call(string $name, mixed ...$arguments): int
{
    $result = libancillary()->$name(...$arguments);
    return $result >= 0 ? $result : throw new Failure($name, -$result);
}

/** Calls a function of the C library, which sets errno when it fails. */
function call_libc(string $name, mixed ...$arguments): int
{
    $result = libc()->$name(...$arguments);
    return $result >= 0 ? $result : throw new Failure($name, libc()->__errno_location()[0]);
}

/**
 * Memory of C for so many elements. Of sizes of 1 << 32 and more FFI makes smaller ones, to which C
 * would write more than they have room for.
 */
function memory(string $call, string $type, int $count): FFI\CData
{
    if ($count < 0 || $count > 0x7fffffff) {
        throw new Failure($call, EINVAL);
    }
    // FFI has none of no size.
    return libancillary()->new($type . '[' . max($count, 1) . ']');
}

/** A number, of a descriptor, a mode or of flags, of which C would take the lower half only. */
function word(int $number, int $most = 0xffffffff): int
{
    if ($number < -0x80000000 || $number > $most) {
        throw new \ValueError("$number is no integer of 32 bits");
    }
    return $number;
}

/** A path that C does not take for a shorter one. */
function whole(string $path): string
{
    if (str_contains($path, "\0")) {
        throw new \ValueError('The path contains null bytes');
    }
    return $path;
}

/** What closes a descriptor when it goes: the one place that does. */
final class Owner
{
    public function __construct(public int $number)
    {
    }

    public function __destruct()
    {
        $this->close();
    }

    public function close(): void
    {
        uninterrupted(function () {
            [$number, $this->number] = [$this->number, -1];
            if ($number >= 0) {
                libc()->close($number);
            }
        });
    }
}

/** An open file, which is closed when this goes. */
class Descriptor
{
    private Owner $owner;

    /** Takes over a descriptor. */
    final public function __construct(int $number)
    {
        $this->owner = new Owner(word($number, 0x7fffffff));
    }

    /**
     * A handler that throws as a destructor begins, which is where handlers run, keeps it from
     * closing anything. Then that of the owner comes next.
     */
    public function __destruct()
    {
        $this->close();
    }

    /**
     * Calls a function that returns a descriptor, and gives it its owner.
     *
     * @param callable(): int $call
     */
    final protected static function owning(callable $call): static
    {
        return uninterrupted(fn () => new static($call()));
    }

    /** A descriptor has one owner, which closes it. */
    private function __clone()
    {
    }

    /** The same. */
    public function __serialize(): array
    {
        throw new \LogicException('A descriptor cannot be serialized');
    }

    /** The same. */
    public function __unserialize(array $data): void
    {
        throw new \LogicException('A descriptor cannot be unserialized');
    }

    /** Opens a file. */
    public static function open(string $path, int $flags = O_RDONLY, int $mode = 0600): static
    {
        return static::owning(
            fn () => call_libc('open', whole($path), word($flags) | O_CLOEXEC, word($mode)),
        );
    }

    /** The number of the descriptor, -1 when it has been closed. */
    public function number(): int
    {
        return $this->owner->number;
    }

    /** Closes it, if it has not been closed. */
    public function close(): void
    {
        $this->owner->close();
    }

    /**
     * Makes a stream, with a descriptor of its own for the same file: whether that can be read,
     * written or both, the kernel knows.
     *
     * @return resource
     */
    public function stream()
    {
        // PHP duplicates the descriptor with dup(2), which takes the lowest number that is free,
        // and does not have the duplicate closed when another program is executed.
        return uninterrupted(function () {
            $number = $this->number();
            $duplicate = call_libc('fcntl', $number, F_DUPFD_CLOEXEC, 0);
            libc()->close($duplicate);
            $stream = fopen("php://fd/$number", 'r+');
            call_libc('fcntl', $duplicate, F_SETFD, FD_CLOEXEC);
            return $stream;
        });
    }
}

/** Who a process is. */
final class Creds
{
    public function __construct(
        public readonly int $pid,
        public readonly int $uid,
        public readonly int $gid,
    ) {
    }
}

/** A Unix stream socket. */
final class Socket extends Descriptor
{
    /**
     * Makes a listening socket. When its file is there, connecting works.
     *
     * @param string $path of the file; one that begins with @ is an abstract name, without a file
     * @param int $mode the permissions of the file, less the umask
     * @param int $flags 0, or some of REPLACE (a file that nobody listens on gives way) and, for
     *     the first message already and inherited by what accept() returns: PASSCRED (credentials
     *     come with each message), PASSPIDFD (so does a pidfd), NORIGHTS (descriptors are refused)
     */
    public static function listen(string $path, int $mode = 0600, int $flags = 0): self
    {
        return self::owning(
            fn () => call('ancillary_listen', whole($path), SOCK_STREAM, word($mode), word($flags)),
        );
    }

    /**
     * Makes a socket and connects it.
     *
     * @param int $flags 0, or some of DONTWAIT, INTR, PASSCRED, PASSPIDFD and NORIGHTS
     */
    public static function connect(string $path, int $flags = 0): self
    {
        return self::owning(
            fn () => call('ancillary_connect', whole($path), SOCK_STREAM, word($flags)),
        );
    }

    /** Waits for who connects to a listening socket. */
    public function accept(): self
    {
        return self::owning(
            fn () => call_libc('accept4', $this->number(), null, null, SOCK_CLOEXEC),
        );
    }

    /**
     * Sends descriptors, which stay the sender's, with a payload or, without one, a marker byte.
     *
     * @param list<Descriptor> $descriptors
     * @return int how many bytes were sent
     */
    public function sendFds(array $descriptors, string $data = '', int $flags = 0): int
    {
        $count = count($descriptors);
        $fds = memory('ancillary_send_fds', 'int', $count);
        foreach (array_values($descriptors) as $i => $descriptor) {
            $fds[$i] = $descriptor->number();
        }
        return call('ancillary_send_fds', $this->number(), $fds, $count,
            $data === '' ? null : $data, strlen($data), word($flags));
    }

    /**
     * Receives at most so many descriptors and bytes.
     *
     * @param int $flags 0, or some of DONTWAIT, INTR, WAITALL (until $size bytes have come or the
     *     peer has closed) and LOSSLESS (what there is too little room for stays queued)
     * @return array{string, list<Descriptor>} the payload is empty when the peer has closed
     */
    public function recvFds(int $room, int $size, int $flags = 0): array
    {
        $fds = memory('ancillary_recv_fds', 'int', $room);
        $count = libancillary()->new('size_t');
        $count->cdata = $room;
        $data = memory('ancillary_recv_fds', 'char', $size);
        return uninterrupted(function () use ($fds, $count, $data, $size, $flags) {
            $received = call('ancillary_recv_fds', $this->number(), $fds, FFI::addr($count),
                $data, $size, word($flags));
            $descriptors = [];
            for ($i = 0; $i < $count->cdata; $i++) {
                $descriptors[] = new Descriptor($fds[$i]);
            }
            return [FFI::string($data, $received), $descriptors];
        });
    }

    /** Asks for credentials with every message. */
    public function setPasscred(bool $on = true): void
    {
        call('ancillary_set_passcred', $this->number(), (int) $on);
    }

    /**
     * Sends the credentials of this process with a payload or, without one, a marker byte.
     *
     * @return int how many bytes were sent
     */
    public function sendCreds(string $data = '', int $flags = 0): int
    {
        return call('ancillary_send_creds', $this->number(), null,
            $data === '' ? null : $data, strlen($data), word($flags));
    }

    /**
     * Receives at most so many bytes.
     *
     * @return array{string, Creds} the payload is empty when the peer has closed
     */
    public function recvCreds(int $size, int $flags = 0): array
    {
        $creds = libancillary()->new('struct ancillary_creds');
        $data = memory('ancillary_recv_creds', 'char', $size);
        $received = call('ancillary_recv_creds', $this->number(), FFI::addr($creds),
            $data, $size, word($flags));
        return [FFI::string($data, $received), new Creds($creds->pid, $creds->uid, $creds->gid)];
    }

    /** Who is on the other end. */
    public function peerCreds(): Creds
    {
        $creds = libancillary()->new('struct ancillary_creds');
        call('ancillary_peer_creds', $this->number(), FFI::addr($creds));
        return new Creds($creds->pid, $creds->uid, $creds->gid);
    }
}
