// Passes files from one process to another; ../README.md says what it does.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const ancillary = require('./ancillary.js');

const ROOM = 65536;

const [command, ...args] = process.argv.slice(2);

function say(...parts) {
  process.stdout.write(Buffer.concat([...parts, '\n'].map((part) => Buffer.from(part))));
}

// Does something whose failure ends nothing else.
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    const why = error.errno ? ancillary.strerror(-error.errno) : error.message;
    process.stderr.write(`${command}: ${why}\n`);
    process.exitCode = 1;
  }
}

function openUnnamedFile() {
  const name = path.join(os.tmpdir(), crypto.randomUUID());
  const fd = fs.openSync(name, 'wx+', 0o600);
  fs.unlinkSync(name);
  return fd;
}

// Sends new files, and closes them and the connection.
async function sendOn(socket, count, payload) {
  const open = [socket];
  let size;
  try {
    for (let i = 1; i <= count; i++) {
      const file = openUnnamedFile();
      open.push(file);
      // At position 0, which leaves the position of the file itself where it is.
      fs.writeSync(file, `file ${i} of ${count}, made by ${process.pid}\n`, 0);
    }
    size = count > 0
      ? await ancillary.sendFds(socket, open.slice(1), payload)
      : await ancillary.sendCreds(socket, payload);
  } finally {
    open.forEach((fd) => fs.closeSync(fd));
  }
  say(`sent ${count} descriptors, ${size} bytes`);
}

async function* linesOf(stream) {
  let rest = Buffer.alloc(0);
  for await (const chunk of stream) {
    rest = Buffer.concat([rest, chunk]);
    for (let end; (end = rest.indexOf('\n')) >= 0; rest = rest.subarray(end + 1)) {
      yield rest.subarray(0, end);
    }
  }
  if (rest.length > 0) yield rest;
}

async function send(socketPath, count, payload) {
  if (payload !== '-') return sendOn(await ancillary.connect(socketPath), count, payload);
  const lines = linesOf(process.stdin);
  for (;;) {
    const socket = await ancillary.connect(socketPath);
    const { value, done } = await lines.next();
    if (done) return fs.closeSync(socket);
    await attempt(() => sendOn(socket, count, value));
  }
}

// Accepts connections and does something with each.
async function serve(socketPath, times, action) {
  const listener = ancillary.listen(socketPath, 0o600, ancillary.REPLACE);
  try {
    for (let i = 0; i < times; i++) {
      const socket = await ancillary.accept(listener);
      say('accepted');
      await attempt(() => action(socket));
      fs.closeSync(socket);
      say('done');
    }
  } finally {
    fs.unlinkSync(socketPath);
  }
}

function recv(socketPath, max, times = 1) {
  return serve(socketPath, times, async (socket) => {
    const { fds, data } = await ancillary.recvFds(socket, max, ROOM, ancillary.WAITALL);
    try {
      if (data.length === 0) throw new Error('The peer has closed');
      say(`received ${fds.length} descriptors, ${data.length} bytes`);
      say('payload: ', data);
      for (const fd of fds) process.stdout.write(fs.readFileSync(fd));
    } finally {
      fds.forEach((fd) => fs.closeSync(fd));
    }
  });
}

const words = ({ pid, uid, gid }) => `pid ${pid} uid ${uid} gid ${gid}`;

function creds(socketPath, times = 1) {
  return serve(socketPath, times, async (socket) => {
    ancillary.setPasscred(socket);
    const { creds, data } = await ancillary.recvCreds(socket, ROOM);
    if (data.length === 0) throw new Error('The peer has closed');
    say(`${words(creds)}, ${data.length} bytes`);
    say('payload: ', data);
  });
}

async function peer(socketPath) {
  const socket = await ancillary.connect(socketPath);
  try {
    say(words(ancillary.peerCreds(socket)));
  } finally {
    fs.closeSync(socket);
  }
}

const usage = `Usage: pass send SOCKET N [PAYLOAD]
       pass recv SOCKET MAX [TIMES]
       pass creds SOCKET [TIMES]
       pass peer SOCKET
`;

// With the least and the most of arguments, and which of them are numbers.
const commands = {
  send: [send, 2, 3, [1]],
  recv: [recv, 2, 3, [1, 2]],
  creds: [creds, 1, 2, [1]],
  peer: [peer, 1, 1, []],
};

const [run, least, most, numbers] = commands[command] || [];
const isNumber = (text) => text === undefined || /^\d+$/.test(text);
if (run && args.length >= least && args.length <= most && numbers.every((i) => isNumber(args[i]))) {
  attempt(() => run(...args.map((text, i) => (numbers.includes(i) ? Number(text) : text))));
} else {
  process.stderr.write(usage);
  process.exitCode = 2;
}
