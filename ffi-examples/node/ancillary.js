/**
 * Passes descriptors and credentials over Unix sockets: libancillary for Node.
 *
 * A process hands an open file to another over a Unix socket, and tells who it is:
 *
 *     const listener = ancillary.listen('/run/example', 0o600, ancillary.REPLACE); // one process
 *     const socket = await ancillary.accept(listener);
 *     const { data, fds: [fd] } = await ancillary.recvFds(socket, 1, 4096);
 *     console.log(data.toString(), fs.readFileSync(fd, 'utf8'));
 *
 *     const socket = await ancillary.connect('/run/example');                      // another
 *     await ancillary.sendFds(socket, [fs.openSync('/etc/hostname')], 'a name');
 *
 * Descriptors are numbers here, as in node:fs, which reads, writes and closes files by them; new
 * net.Socket({ fd }) takes over that of a connection. They are close-on-exec, and nothing closes
 * them but who has got them: those that are sent stay the sender's, those received are the
 * receiver's.
 *
 * What fails throws an AncillaryError, which has code, errno and syscall as the errors of Node's own
 * calls have: EAGAIN (a call with DONTWAIT came too early), E2BIG (more descriptors came than there
 * is room for), EMFILE (more than the process can have open), EPIPE (the peer has closed), ENOMSG (a
 * message without credentials). What came with such a message is closed; with LOSSLESS it stays
 * queued where there is too little room for it, and can be received later. What C cannot be given (a
 * path with a null byte, flags that are no integer) is a TypeError.
 *
 * What can wait returns a promise. The calls themselves do not wait: if it is too early, poll(2)
 * waits in one of libuv's threads. There are four of these (UV_THREADPOOL_SIZE), for node:fs as
 * well. So a worker that is terminated while it waits has taken nothing, but with WAITALL: what had
 * come for that is lost then, and its descriptors stay open. Node, or the worker, ends only when
 * poll(2) has returned, also by process.exit(); shutdown() of the socket has it return.
 * Do not close a socket that is waited for: its number can be that of another file then. connect()
 * tries again each hundredth of a second where the listener is not ready.
 *
 * The module can be evaluated more than once in a process, beside others that use koffi, and in
 * worker threads. It needs Node 18 or newer, koffi 3 and, where the system's loader looks for it,
 * libancillary.so.1.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * @module ancillary
 */

'use strict';

const timers = require('node:timers/promises');
const util = require('node:util');
const fs = require('node:fs');
const koffi = require('koffi');

/** Flag: the call does not wait. Where it would, it fails with EAGAIN. */
const DONTWAIT = 1 << 6;
/** Flag for receiving: until all bytes have come that were asked for, or the peer has closed. */
const WAITALL = 1 << 8;
/** Flag for receiving: what there is too little room for stays queued. */
const LOSSLESS = 1 << 20;
/** Flag for listen(): a socket file that nobody listens on gives way. */
const REPLACE = 1 << 0;
/** Flag for listen() and connect(): credentials come with each message, also the first. */
const PASSCRED = 1 << 1;
/** Flag for listen() and connect(): a pidfd comes, for who receives with other functions. */
const PASSPIDFD = 1 << 2;
/** Flag for listen() and connect(): descriptors are refused, and sending them is EPERM. */
const NORIGHTS = 1 << 3;

const SOCK_STREAM = 1;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SHUT_RDWR = 2;
const POLLIN = 1;
const POLLOUT = 4;
const { EAGAIN } = require('node:os').constants.errno;

// Types have no names here: these would be those of all that use koffi in this process.
const Creds = koffi.struct({ pid: 'int', uid: 'uint', gid: 'uint' });
const Poll = koffi.struct({ fd: 'int', events: 'short', revents: 'short' });
const ssize = 'intptr_t';
const ints = koffi.pointer('int');
const bytes = koffi.pointer('uint8_t');
const count = koffi.inout(koffi.pointer('size_t'));
const creds = koffi.pointer(Creds);

const ancillary = koffi.load('libancillary.so.1');
const libc = koffi.load('libc.so.6');

// A number that C takes as it is: a descriptor, a mode or flags. Of anything else, such as a
// FileHandle, JavaScript would make 0, which is standard input.
function integer(value) {
  if (typeof value === 'number' && (value | 0) === value) return value;
  throw new TypeError(`${util.inspect(value)} is no int of C`);
}

const declare = (library, name, result, ...parameters) => {
  const f = library.func(name, result, parameters);
  const isWord = parameters.map((type) => type === 'int' || type === 'uint');
  const check = (argument, i) => (isWord[i] ? integer(argument) : argument);
  const call = (...args) => f(...args.map(check));
  return Object.defineProperties(call, { name: { value: name }, async: { value: f.async } });
};
const lib = {
  listen: declare(ancillary, 'ancillary_listen', 'int', 'str', 'int', 'uint', 'uint'),
  connect: declare(ancillary, 'ancillary_connect', 'int', 'str', 'int', 'uint'),
  maxFds: declare(ancillary, 'ancillary_max_fds', 'size_t'),
  sendFds: declare(
    ancillary, 'ancillary_send_fds', ssize, 'int', ints, 'size_t', bytes, 'size_t', 'uint',
  ),
  recvFds: declare(
    ancillary, 'ancillary_recv_fds', ssize,
    'int', koffi.out(ints), count, koffi.out(bytes), 'size_t', 'uint',
  ),
  setPasscred: declare(ancillary, 'ancillary_set_passcred', 'int', 'int', 'int'),
  sendCreds: declare(
    ancillary, 'ancillary_send_creds', ssize, 'int', creds, bytes, 'size_t', 'uint',
  ),
  recvCreds: declare(
    ancillary, 'ancillary_recv_creds', ssize,
    'int', koffi.out(creds), koffi.out(bytes), 'size_t', 'uint',
  ),
  peerCreds: declare(ancillary, 'ancillary_peer_creds', 'int', 'int', koffi.out(creds)),
  accept: declare(libc, 'accept4', 'int', 'int', 'void *', 'void *', 'int'),
  shutdown: declare(libc, 'shutdown', 'int', 'int', 'int'),
  poll: declare(libc, 'poll', 'int', koffi.inout(koffi.pointer(Poll)), 'ulong', 'int'),
  strerror: declare(libc, 'strerror', 'str', 'int'),
};

/** What an errno value means, in words. */
const strerror = (errno) => lib.strerror(errno);

/** A call that failed. Its reason says in words what errno is. */
class AncillaryError extends Error {
  constructor(syscall, errno) {
    const reason = strerror(errno);
    super(`${syscall}: ${reason}`);
    Object.assign(this, { errno: -errno, code: util.getSystemErrorName(-errno), syscall, reason });
  }
}

// A function of libancillary returns a negative errno value when it fails.
function check(f, result) {
  if (result < 0) throw new AncillaryError(f.name, -result);
  return result;
}

// Those of the C library set errno.
function callLibc(f, ...args) {
  const result = f(...args);
  return result < 0 ? -koffi.errno() : result;
}

// Waits in another thread until there is something to do on a socket.
function poll(fd, events) {
  const about = { fd, events, revents: 0 };
  return new Promise((resolve, reject) => {
    lib.poll.async(about, 1, -1, (error) => (error ? reject(error) : resolve()));
  });
}

// Makes a call, with flags by which it does not wait, again and again until it is not too early.
async function until(f, wait, flags, call) {
  const how = integer(flags) | DONTWAIT;
  for (;;) {
    const result = call(how);
    if (result !== -EAGAIN || flags & DONTWAIT) return check(f, result);
    await wait();
  }
}

// The bytes of a payload.
function payload(data) {
  const given = typeof data === 'string' ? Buffer.from(data) : data || Buffer.alloc(0);
  if (!ArrayBuffer.isView(given)) throw new TypeError('The payload is neither a string nor bytes');
  return Buffer.from(given.buffer, given.byteOffset, given.byteLength);
}

// Sends all of a payload, of which so much has been sent when the call is made.
async function sendAll(f, socket, data, flags, call) {
  let sent = 0;
  do {
    try {
      const more = await until(f, () => poll(socket, POLLOUT), flags, (how) => call(sent, how));
      sent += more;
    } catch (error) {
      // The next call tells.
      if (sent > 0) break;
      throw error;
    }
  } while (sent < data.length);
  return sent;
}

// A path that C does not take for a shorter one.
function whole(path) {
  if (path.includes('\0')) throw new TypeError('The path contains null bytes');
  return path;
}

/**
 * Makes a listening socket, which does not block. When its file is there, connecting works. With
 * REPLACE it fails with EAGAIN while another process replaces a file in that folder: try again.
 *
 * @param {string} path that of the file; one that begins with @ is an abstract name, without a file
 * @param {number} [mode] the permissions of the file, less the umask
 * @param {number} [flags] 0, or some of REPLACE, and PASSCRED, PASSPIDFD and NORIGHTS, which what
 *     accept() returns inherits
 * @returns {number} its descriptor
 */
function listen(path, mode = 0o600, flags = 0) {
  const type = SOCK_STREAM | SOCK_NONBLOCK;
  return check(lib.listen, lib.listen(whole(path), type, mode, integer(flags) | DONTWAIT));
}

/**
 * Makes a socket and connects it.
 *
 * @param {string} path
 * @param {number} [flags] 0, or some of DONTWAIT, PASSCRED, PASSPIDFD and NORIGHTS
 * @returns {Promise<number>} its descriptor
 */
async function connect(path, flags = 0) {
  // The kernel tells nobody when another process is ready for a connection.
  return until(lib.connect, () => timers.setTimeout(10), flags,
    (how) => lib.connect(whole(path), SOCK_STREAM, how));
}

/**
 * Waits for who connects to a socket of listen().
 *
 * @param {number} listener
 * @returns {Promise<number>} the descriptor of the connection
 */
async function accept(listener) {
  return until(lib.accept, () => poll(listener, POLLIN), 0,
    () => callLibc(lib.accept, listener, null, null, SOCK_CLOEXEC));
}

/** Ends what waits for a connection, in this process and in others that have it. */
function shutdown(socket) {
  check(lib.shutdown, callLibc(lib.shutdown, socket, SHUT_RDWR));
}

/**
 * Sends descriptors with a payload, or with a byte of zero for each message that it takes.
 *
 * @param {number} socket
 * @param {Iterable<number>} fds to be closed when that is done, not before
 * @param {string|ArrayBufferView} [data] not to be changed meanwhile
 * @param {number} [flags] 0 or DONTWAIT
 * @returns {Promise<number>} how many bytes have gone: less than all only with DONTWAIT, or if the
 *     peer closes meanwhile. With each of them went as many descriptors as a message carries (253).
 */
async function sendFds(socket, fds, data, flags = 0) {
  const all = Int32Array.from([...fds], integer);
  const most = lib.maxFds();
  let given = payload(data);
  if (given.length === 0) given = Buffer.alloc(Math.ceil(all.length / most));
  return sendAll(lib.sendFds, socket, given, flags, (sent, how) => {
    const rest = all.subarray(sent * most);
    const left = given.subarray(sent);
    return lib.sendFds(socket, rest, rest.length, left, left.length, how);
  });
}

/**
 * Receives at most so many descriptors and bytes.
 *
 * @param {number} socket
 * @param {number} room for how many descriptors
 * @param {number} size for how many bytes
 * @param {number} [flags] 0, or some of DONTWAIT, LOSSLESS and, on a stream, WAITALL
 * @returns {Promise<{fds: number[], data: Buffer}>} without data the peer has closed. With WAITALL
 *     it can be less than all when the peer has closed, or when the next call would fail, with
 *     EAGAIN or because there is too little room, and take nothing.
 */
async function recvFds(socket, room, size, flags = 0) {
  const data = Buffer.alloc(size);
  const fds = [];
  let have = 0;
  let more;
  do {
    const came = new Int32Array(room - fds.length);
    const number = [came.length];
    try {
      more = await until(lib.recvFds, () => poll(socket, POLLIN), flags, (how) => {
        number[0] = came.length;
        return lib.recvFds(socket, came, number, data.subarray(have), size - have, how);
      });
    } catch (error) {
      if (have > 0 && (flags & LOSSLESS || error.code === 'EAGAIN')) break;
      fds.forEach((fd) => fs.closeSync(fd));
      throw error;
    }
    fds.push(...came.subarray(0, number[0]));
    have += more;
  } while (flags & WAITALL && more > 0 && have < size);
  return { fds, data: data.subarray(0, have) };
}

/** Asks for credentials with what is received. */
function setPasscred(socket, on = true) {
  check(lib.setPasscred, lib.setPasscred(socket, on ? 1 : 0));
}

/**
 * Sends a payload, or a byte of zero, with the credentials of this process.
 *
 * @param {number} socket
 * @param {string|ArrayBufferView} [data] not to be changed meanwhile
 * @param {number} [flags] 0 or DONTWAIT
 * @returns {Promise<number>} how many bytes have gone
 */
async function sendCreds(socket, data, flags = 0) {
  let given = payload(data);
  if (given.length === 0) given = Buffer.alloc(1);
  return sendAll(lib.sendCreds, socket, given, flags, (sent, how) => {
    const left = given.subarray(sent);
    return lib.sendCreds(socket, null, left, left.length, how);
  });
}

/**
 * Receives at most so many bytes.
 *
 * @param {number} socket
 * @param {number} size
 * @param {number} [flags] 0, or some of DONTWAIT and LOSSLESS
 * @returns {Promise<{creds: {pid: number, uid: number, gid: number}, data: Buffer}>} without data
 *     the peer has closed
 */
async function recvCreds(socket, size, flags = 0) {
  const sender = {};
  const data = Buffer.alloc(size);
  const received = await until(lib.recvCreds, () => poll(socket, POLLIN), flags,
    (how) => lib.recvCreds(socket, sender, data, size, how));
  return { creds: sender, data: data.subarray(0, received) };
}

/**
 * Who is on the other end.
 *
 * @param {number} socket
 * @returns {{pid: number, uid: number, gid: number}}
 */
function peerCreds(socket) {
  const peer = {};
  check(lib.peerCreds, lib.peerCreds(socket, peer));
  return peer;
}

module.exports = {
  DONTWAIT, WAITALL, LOSSLESS, REPLACE, PASSCRED, PASSPIDFD, NORIGHTS, AncillaryError, strerror,
  listen, connect, accept, shutdown,
  sendFds, recvFds, setPasscred, sendCreds, recvCreds, peerCreds,
};
