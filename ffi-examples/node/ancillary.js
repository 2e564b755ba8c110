// Passes descriptors and credentials over Unix sockets: libancillary for Node.
//
// Descriptors are numbers here, as in node:fs, which reads, writes and closes files by them;
// new net.Socket({ fd }) takes over that of a connection. What fails throws an AncillaryError.
//
// What may wait returns a promise, and waits in a thread of libuv. There are four of these
// (UV_THREADPOOL_SIZE), for node:fs as well. Node does not exit before the call has returned, not
// even by process.exit(); shutdown() of its socket ends the wait.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

'use strict';

const util = require('node:util');
const koffi = require('koffi');

const DONTWAIT = 1 << 0;
const WAITALL = 1 << 2;
const LOSSLESS = 1 << 3;
const REPLACE = 1 << 4;

koffi.alias('ssize_t', 'intptr_t');
koffi.struct('ancillary_creds', { pid: 'int', uid: 'uint', gid: 'uint' });

const library = koffi.load('libancillary.so.1');
const lib = {
  listen: library.func(`int ancillary_listen(
    const char *path, int type, uint mode, uint flags)`),
  connect: library.func(`int ancillary_connect(
    const char *path, int type, uint flags)`),
  sendFds: library.func(`ssize_t ancillary_send_fds(
    int sock, const int *fds, size_t nfds, const uint8_t *data, size_t len, uint flags)`),
  recvFds: library.func(`ssize_t ancillary_recv_fds(
    int sock, _Out_ int *fds, _Inout_ size_t *nfds, _Out_ uint8_t *data, size_t len, uint flags)`),
  setPasscred: library.func(`int ancillary_set_passcred(
    int sock, int on)`),
  sendCreds: library.func(`ssize_t ancillary_send_creds(
    int sock, const ancillary_creds *creds, const uint8_t *data, size_t len, uint flags)`),
  recvCreds: library.func(`ssize_t ancillary_recv_creds(
    int sock, _Out_ ancillary_creds *creds, _Out_ uint8_t *data, size_t len, uint flags)`),
  peerCreds: library.func(`int ancillary_peer_creds(
    int sock, _Out_ ancillary_creds *creds)`),
};

const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SHUT_RDWR = 2;

const libc = koffi.load('libc.so.6');
const accept4 = libc.func('int accept4(int sock, void *address, void *len, int flags)');
const shutdownBoth = libc.func('int shutdown(int sock, int how)');
const strerror = libc.func('const char *strerror(int error)');

// Has errno, code and syscall as the errors of Node's own calls have; reason says it in words.
class AncillaryError extends Error {
  constructor(syscall, errno) {
    const reason = strerror(errno);
    super(`${syscall}: ${reason}`);
    Object.assign(this, { errno: -errno, code: util.getSystemErrorName(-errno), syscall, reason });
  }
}

// A function of the library returns a negative errno value when it fails.
function check(f, result) {
  if (result < 0) throw new AncillaryError(f.name, -result);
  return result;
}

function now(f, ...args) {
  return check(f, f(...args));
}

// Calls a function in another thread. Until that is done koffi holds on to the callback, but not to
// the buffers whose addresses it has passed: so the callback holds on to them.
async function later(f, ...args) {
  return check(f, await new Promise((resolve, reject) => {
    const callback = (error, result) => (error ? reject(error) : resolve(result));
    callback.args = args;
    f.async(...args, callback);
  }));
}

// The arguments for a payload: with none, a marker byte goes.
function payload(data) {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data ?? Buffer.alloc(0);
  if (!ArrayBuffer.isView(bytes)) throw new TypeError('The payload is neither a string nor bytes');
  return bytes.byteLength > 0 ? [bytes, bytes.byteLength] : [null, 0];
}

// A path that C does not take for a shorter one.
function whole(path) {
  if (path.includes('\0')) throw new TypeError('The path contains null bytes');
  return path;
}

// Makes a listening socket. When its file is there, connecting works.
function listen(path, mode = 0o600, flags = 0) {
  return now(lib.listen, whole(path), SOCK_STREAM, mode, flags);
}

async function connect(path, flags = 0) {
  return later(lib.connect, whole(path), SOCK_STREAM, flags);
}

function accept(listener) {
  return new Promise((resolve, reject) => {
    accept4.async(listener, null, null, SOCK_CLOEXEC, (error, fd) => {
      if (fd >= 0) resolve(fd);
      else reject(error ?? new AncillaryError('accept', koffi.errno()));
    });
  });
}

// Ends what waits on a socket, in this process and in others that have it.
function shutdown(socket) {
  if (shutdownBoth(socket, SHUT_RDWR) < 0) throw new AncillaryError('shutdown', koffi.errno());
}

// Sends descriptors, which are the sender's to close when that is done, with a payload: a string, a
// Buffer, or other bytes, which are not to change meanwhile. Gives the number of bytes sent.
async function sendFds(socket, fds, data, flags = 0) {
  return later(lib.sendFds, socket, Int32Array.from(fds), fds.length, ...payload(data), flags);
}

// Receives at most so many descriptors, which are then the receiver's to close, and bytes. Gives
// { fds, data }; without data the peer has closed.
async function recvFds(socket, room, size, flags = 0) {
  const fds = new Int32Array(room);
  const count = [room];
  const data = Buffer.alloc(size);
  const received = await later(lib.recvFds, socket, fds, count, data, size, flags);
  return { fds: [...fds.subarray(0, count[0])], data: data.subarray(0, received) };
}

// Asks for credentials with what is received.
function setPasscred(socket, on = true) {
  now(lib.setPasscred, socket, on ? 1 : 0);
}

// Sends a payload with the credentials of this process. Gives the number of bytes sent.
async function sendCreds(socket, data, flags = 0) {
  return later(lib.sendCreds, socket, null, ...payload(data), flags);
}

// Receives at most so many bytes. Gives { creds: { pid, uid, gid }, data }; without data the peer
// has closed.
async function recvCreds(socket, size, flags = 0) {
  const creds = {};
  const data = Buffer.alloc(size);
  const received = await later(lib.recvCreds, socket, creds, data, size, flags);
  return { creds, data: data.subarray(0, received) };
}

// Who is on the other end: { pid, uid, gid }.
function peerCreds(socket) {
  const creds = {};
  now(lib.peerCreds, socket, creds);
  return creds;
}

module.exports = {
  DONTWAIT, WAITALL, LOSSLESS, REPLACE, AncillaryError, strerror,
  listen, connect, accept, shutdown,
  sendFds, recvFds, setPasscred, sendCreds, recvCreds, peerCreds,
};
