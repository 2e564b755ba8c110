// What the wrapper promises beyond what pass.js shows.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const net = require('node:net');
const { afterEach, beforeEach, test } = require('node:test');
const v8 = require('node:v8');
const vm = require('node:vm');
const ancillary = require('./ancillary.js');

v8.setFlagsFromString('--expose-gc');
const collectGarbage = vm.runInNewContext('gc');

const descriptors = () => fs.readdirSync('/proc/self/fd').length;

let before, ours, theirs;

beforeEach(async () => {
  const name = `@ancillary-${process.pid}`;
  before = descriptors();
  const listener = ancillary.listen(name);
  ours = await ancillary.connect(name);
  theirs = await ancillary.accept(listener);
  fs.closeSync(listener);
});

afterEach(() => {
  fs.closeSync(ours);
  fs.closeSync(theirs);
  assert.equal(descriptors(), before, 'no descriptor is left');
});

test('the event loop goes on while a call waits', async () => {
  const receiving = ancillary.recvFds(ours, 1, 10);
  await new Promise(setImmediate);
  await ancillary.sendFds(theirs, [theirs], 'data');
  const { fds, data } = await receiving;
  assert.equal(data.toString(), 'data');
  fds.forEach((fd) => fs.closeSync(fd));
});

test('buffers outlive a call that waits', async () => {
  const size = 1 << 20;
  const sending = ancillary.sendFds(theirs, [theirs], Buffer.alloc(size, 'x'));
  const litter = () => {
    for (let i = 0; i < 10; i++) Buffer.alloc(size, 'y');
    collectGarbage();
  };
  litter();
  const receiving = ancillary.recvFds(ours, 1, size, ancillary.WAITALL);
  litter();
  const { fds, data } = await receiving;
  assert.equal(await sending, size);
  assert.ok(data.equals(Buffer.alloc(size, 'x')));
  fds.forEach((fd) => fs.closeSync(fd));
});

test('shutdown ends a call that waits', async () => {
  const receiving = ancillary.recvFds(ours, 1, 10);
  ancillary.shutdown(ours);
  assert.equal((await receiving).data.length, 0);
});

test('what has been received is as good as any other descriptor', async () => {
  await ancillary.sendFds(theirs, [theirs]);
  const { fds: [fd] } = await ancillary.recvFds(ours, 1, 1);
  const socket = new net.Socket({ fd });
  socket.write('data');
  assert.equal((await ancillary.recvFds(ours, 0, 10)).data.toString(), 'data');
  await new Promise((resolve) => socket.on('close', resolve).destroy());
});

test('an error is like one of Node', async () => {
  const expected = { code: 'EAGAIN', errno: -11, syscall: 'ancillary_recv_fds' };
  await assert.rejects(ancillary.recvFds(ours, 1, 1, ancillary.DONTWAIT), expected);
  const missing = { code: 'ENOENT', message: 'ancillary_listen: No such file or directory' };
  assert.throws(() => ancillary.listen('/nowhere/at/all'), missing);
});

test('a path is not cut', async () => {
  assert.throws(() => ancillary.listen('/tmp/name\0more'), TypeError);
  await assert.rejects(ancillary.connect('/tmp/name\0more'), TypeError);
});

test('what gives a promise does not throw', async () => {
  await assert.rejects(ancillary.sendFds(theirs, null), TypeError);
  await assert.rejects(ancillary.sendCreds(theirs, 5n), TypeError);
});
