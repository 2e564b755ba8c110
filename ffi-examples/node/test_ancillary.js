// What the wrapper promises beyond what pass.js shows.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const net = require('node:net');
const os = require('node:os');
const path = require('node:path');
const { afterEach, beforeEach, test } = require('node:test');
const v8 = require('node:v8');
const vm = require('node:vm');
const { Worker } = require('node:worker_threads');
const koffi = require('koffi');

// As others that use koffi do, before the module is evaluated and after that.
koffi.alias('ssize_t', 'intptr_t');
koffi.struct('ancillary_creds', { other: 'int' });
const ancillary = require('./ancillary.js');
koffi.struct('pollfd', { other: 'int' });

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
  await assert.rejects(ancillary.sendCreds(theirs, 5), TypeError);
});

test('what is no descriptor is not sent', async () => {
  const handle = await fs.promises.open('/dev/null');
  const others = [undefined, null, NaN, 1.5, '0', true, 2 ** 32, handle, process.stdin, [], {}];
  for (const other of others) {
    await assert.rejects(ancillary.sendFds(theirs, [theirs, other], 'data'), TypeError);
  }
  await assert.rejects(ancillary.sendFds(theirs, theirs, 'data'), TypeError);
  const early = { code: 'EAGAIN' };
  await assert.rejects(ancillary.recvFds(ours, 2, 10, ancillary.DONTWAIT), early);
  await handle.close();
});

test('what is no number of C is not cut', async () => {
  for (const other of [null, NaN, 1.5, '0', 2 ** 32, -(2 ** 32), 2 ** 32 + ancillary.DONTWAIT]) {
    assert.throws(() => ancillary.listen('/nowhere/at/all', other), TypeError);
    assert.throws(() => ancillary.listen('/nowhere/at/all', 0o600, other), TypeError);
    await assert.rejects(ancillary.connect('/nowhere/at/all', other), TypeError);
    await assert.rejects(ancillary.sendFds(theirs, [], 'data', other), TypeError);
    await assert.rejects(ancillary.sendCreds(theirs, 'data', other), TypeError);
    await assert.rejects(ancillary.recvFds(ours, 1, 10, other), TypeError);
    await assert.rejects(ancillary.recvCreds(ours, 10, other), TypeError);
    await assert.rejects(ancillary.recvFds(other, 1, 10), TypeError);
    assert.throws(() => ancillary.peerCreds(other), TypeError);
  }
});

test('the module can be evaluated again', async () => {
  delete require.cache[require.resolve('./ancillary.js')];
  const again = require('./ancillary.js');
  assert.notEqual(again, ancillary);
  assert.equal(again.peerCreds(ours).pid, process.pid);
  await again.sendFds(theirs, [], 'data');
  assert.equal((await ancillary.recvFds(ours, 0, 10)).data.toString(), 'data');
});

// A worker that does something with the module, and says so as soon as that waits or is done.
async function startWorker(action) {
  const worker = new Worker(`
    const ancillary = require(${JSON.stringify(require.resolve('./ancillary.js'))});
    ${action};
    setImmediate(() => require('node:worker_threads').parentPort.postMessage('waits'));
  `, { eval: true });
  const exited = new Promise((resolve) => worker.once('exit', resolve));
  await new Promise((resolve, reject) => {
    worker.once('message', resolve).once('error', reject);
  });
  return { worker, exited };
}

test('a worker can pass descriptors', async () => {
  const { exited } = await startWorker(`ancillary.sendFds(${theirs}, [${theirs}], 'data')`);
  const { fds, data } = await ancillary.recvFds(ours, 1, 10);
  assert.equal(data.toString(), 'data');
  fds.forEach((fd) => fs.closeSync(fd));
  await exited;
});

test('a worker that is terminated while it waits takes nothing', async () => {
  for (let i = 0; i < 10; i++) {
    const { worker } = await startWorker(`ancillary.recvFds(${ours}, 1, 10)`);
    // Terminating it ends when poll(2) has returned.
    const terminated = worker.terminate();
    await new Promise(setImmediate);
    await ancillary.sendFds(theirs, [theirs], 'data');
    await terminated;
    const before = descriptors();
    const { fds, data } = await ancillary.recvFds(ours, 1, 10);
    assert.equal(data.toString(), 'data');
    assert.equal(descriptors(), before + 1);
    fds.forEach((fd) => fs.closeSync(fd));
  }
});

test('listening does not wait for a lock', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ancillary-'));
  const name = path.join(folder, 'socket');
  const flock = koffi.load('libc.so.6').func('int flock(int fd, int operation)');
  const [LOCK_EX, LOCK_UN] = [2, 8];
  fs.closeSync(ancillary.listen(name));
  const directory = fs.openSync(folder);
  assert.equal(flock(directory, LOCK_EX), 0);
  const replace = () => ancillary.listen(name, 0o600, ancillary.REPLACE);
  assert.throws(replace, { code: 'EAGAIN', syscall: 'ancillary_listen' });
  flock(directory, LOCK_UN);
  fs.closeSync(replace());
  fs.closeSync(directory);
  fs.unlinkSync(name);
  fs.rmdirSync(folder);
});

test('connecting waits until there is room', async () => {
  const name = `@ancillary-other-${process.pid}`;
  const listener = ancillary.listen(name);
  const listen = koffi.load('libc.so.6').func('int listen(int sock, int backlog)');
  assert.equal(listen(listener, 0), 0);
  const first = await ancillary.connect(name);
  await assert.rejects(ancillary.connect(name, ancillary.DONTWAIT), { code: 'EAGAIN' });
  const connecting = ancillary.connect(name);
  const accepted = [await ancillary.accept(listener)];
  const second = await connecting;
  accepted.push(await ancillary.accept(listener));
  [listener, first, second, ...accepted].forEach((fd) => fs.closeSync(fd));
});

test('each descriptor is sent once, however often sending has to wait', async () => {
  // In a full queue of small messages there is room for one more with each that is taken.
  let small = 0;
  await assert.rejects(async () => {
    for (;; small++) await ancillary.sendFds(theirs, [], 'x', ancillary.DONTWAIT);
  }, { code: 'EAGAIN' });
  const sending = ancillary.sendFds(theirs, new Array(600).fill(0));
  const counts = [];
  while (counts.length < 3) {
    const { fds } = await ancillary.recvFds(ours, 600, 1);
    if (fds.length > 0) counts.push(fds.length);
    fds.forEach((fd) => fs.closeSync(fd));
  }
  assert.equal(await sending, 3);
  assert.deepEqual(counts, [253, 253, 94]);
});

test('without loss what there is no room for stays queued', async () => {
  await ancillary.sendFds(theirs, [], 'first');
  await ancillary.sendFds(theirs, [0, 0], 'second');
  const all = ancillary.LOSSLESS | ancillary.WAITALL;
  const { fds, data } = await ancillary.recvFds(ours, 1, 11, all);
  assert.deepEqual([data.toString(), fds], ['first', []]);
  await assert.rejects(ancillary.recvFds(ours, 1, 6, all), { code: 'E2BIG' });
  await assert.rejects(ancillary.recvCreds(ours, 6, ancillary.LOSSLESS), { code: 'E2BIG' });
  const received = await ancillary.recvFds(ours, 2, 6, all);
  assert.deepEqual([received.data.toString(), received.fds.length], ['second', 2]);
  received.fds.forEach((fd) => fs.closeSync(fd));
});

test('what has come is closed when the rest cannot be received', async () => {
  await ancillary.sendFds(theirs, [0, 0], 'some');
  await ancillary.sendFds(theirs, [0, 0], 'more');
  await assert.rejects(ancillary.recvFds(ours, 3, 8, ancillary.WAITALL), { code: 'E2BIG' });
});

test('options hold for the first message', async () => {
  const name = `@ancillary-other-${process.pid}`;
  const listener = ancillary.listen(name, 0o600, ancillary.PASSCRED);
  const open = [listener, await ancillary.connect(name)];
  await ancillary.sendFds(open[1], [], 'data');
  open.push(await ancillary.accept(listener));
  const { creds, data } = await ancillary.recvCreds(open[2], 10);
  assert.deepEqual([creds.pid, data.toString()], [process.pid, 'data']);
  try {
    open.push(await ancillary.connect(name, ancillary.NORIGHTS));
    open.push(await ancillary.accept(listener));
    await assert.rejects(ancillary.sendFds(open[4], [0]), { code: 'EPERM' });
  } catch (error) {
    // Linux has it since 6.16.
    assert.equal(error.code, 'ENOPROTOOPT');
  }
  open.forEach((fd) => fs.closeSync(fd));
});
