<?php

// Passes descriptors and credentials over Unix sockets: libancillary for PHP.
//
// PHP does not tell the descriptor of a stream, so what is sent are descriptors of this module. Of
// these, and of those received, it makes streams. They are closed when nothing refers to them any
// more. Whatever fails throws an Ancillary\Failure. A call that waits holds up all of PHP: no
// handler of pcntl_signal() runs meanwhile.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

declare(strict_types=1);

namespace Ancillary;

use FFI;

const DONTWAIT = 1 << 0;
const INTR = 1 << 1;
const WAITALL = 1 << 2;
const LOSSLESS = 1 << 3;
const REPLACE = 1 << 4;

const O_RDONLY = 0;
const O_WRONLY = 1;
const O_RDWR = 2;
const O_CREAT = 0100;
const O_EXCL = 0200;

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

/** A path that C does not take for a shorter one. */
function whole(string $path): string
{
    if (str_contains($path, "\0")) {
        throw new \ValueError('The path contains null bytes');
    }
    return $path;
}

/** An open file, which is closed when this goes. */
class Descriptor
{
    public function __construct(private int $number)
    {
    }

    public function __destruct()
    {
        $this->close();
    }

    /** A descriptor has one owner, which closes it. */
    private function __clone()
    {
    }

    public static function open(string $path, int $flags = O_RDONLY, int $mode = 0600): self
    {
        return new self(call_libc('open', whole($path), $flags | O_CLOEXEC, $mode));
    }

    public function number(): int
    {
        return $this->number;
    }

    public function close(): void
    {
        if ($this->number >= 0) {
            libc()->close($this->number);
            $this->number = -1;
        }
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
        $duplicate = call_libc('fcntl', $this->number, F_DUPFD_CLOEXEC, 0);
        libc()->close($duplicate);
        $stream = fopen("php://fd/$this->number", 'r+');
        call_libc('fcntl', $duplicate, F_SETFD, FD_CLOEXEC);
        return $stream;
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
    /** Makes a listening socket. When its file is there, connecting works. */
    public static function listen(string $path, int $mode = 0600, int $flags = 0): self
    {
        return new self(call('ancillary_listen', whole($path), SOCK_STREAM, $mode, $flags));
    }

    public static function connect(string $path, int $flags = 0): self
    {
        return new self(call('ancillary_connect', whole($path), SOCK_STREAM, $flags));
    }

    public function accept(): self
    {
        return new self(call_libc('accept4', $this->number(), null, null, SOCK_CLOEXEC));
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
        $fds = libancillary()->new('int[' . max($count, 1) . ']');
        foreach (array_values($descriptors) as $i => $descriptor) {
            $fds[$i] = $descriptor->number();
        }
        return call('ancillary_send_fds', $this->number(), $fds, $count,
            $data === '' ? null : $data, strlen($data), $flags);
    }

    /**
     * Receives at most so many descriptors and bytes.
     *
     * @return array{string, list<Descriptor>} the payload is empty when the peer has closed
     */
    public function recvFds(int $room, int $size, int $flags = 0): array
    {
        $fds = libancillary()->new('int[' . max($room, 1) . ']');
        $count = libancillary()->new('size_t');
        $count->cdata = $room;
        $data = libancillary()->new("char[$size]");
        $received = call('ancillary_recv_fds', $this->number(), $fds, FFI::addr($count),
            $data, $size, $flags);
        $descriptors = [];
        for ($i = 0; $i < $count->cdata; $i++) {
            $descriptors[] = new Descriptor($fds[$i]);
        }
        return [FFI::string($data, $received), $descriptors];
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
            $data === '' ? null : $data, strlen($data), $flags);
    }

    /**
     * Receives at most so many bytes.
     *
     * @return array{string, Creds} the payload is empty when the peer has closed
     */
    public function recvCreds(int $size, int $flags = 0): array
    {
        $creds = libancillary()->new('struct ancillary_creds');
        $data = libancillary()->new("char[$size]");
        $received = call('ancillary_recv_creds', $this->number(), FFI::addr($creds),
            $data, $size, $flags);
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
