--- Passes descriptors and credentials over Unix sockets: libancillary for LuaJIT.
--
-- A process hands an open file to another over a Unix socket, and tells who it is:
--
--     local listener = ancillary.listen('/run/example', nil, ancillary.REPLACE)  -- one process
--     local socket = ancillary.accept(listener)
--     local data, files = ancillary.recv_fds(socket, 1, 4096)
--     print(data, files[1]:read(4096))
--
--     local socket = ancillary.connect('/run/example')                           -- another
--     ancillary.send_fds(socket, { io.open '/etc/hostname' }, 'a name')
--
-- What is sent are files of the library io or descriptors of this module. What is received are
-- descriptors: these have read, write, close and fileno, are close-on-exec, and share the position
-- in the file with the sender. One that is not closed is closed by the garbage collector, when
-- nothing refers to it nor to any other that has come with it.
--
-- Whatever fails raises an error, a table with the fields call, errno and message: EAGAIN (11, a
-- call with DONTWAIT came too early), E2BIG (7, more descriptors came than there is room for),
-- EMFILE (24, more than the process can have open), EPIPE (32, the peer has closed), ENOMSG (42, a
-- message without credentials). What came with such a message is closed; with LOSSLESS it stays
-- queued where there is too little room for it, and can be received later. What C cannot be given
-- (a path with a null byte, flags that are no integer of 32 bits) raises a string.
--
-- A call that waits holds up all of Lua, its hooks and its handling of SIGINT included; but accept
-- and connect let hooks run at each signal. A hook can raise an error in any line of this module:
-- what has been received or made is closed by the garbage collector then. (Hooks that C has set
-- cannot be held off: if one raises in the very instruction in which listen, connect or accept has
-- made a socket, that is lost.)
--
-- Coroutines may share sockets. The module can be loaded more than once in a process, beside others
-- that declare the same functions of the C library. It needs LuaJIT 2.1 and, where the system's
-- loader looks for it, libancillary.so.1.
--
-- SPDX-License-Identifier: MIT OR Apache-2.0
--
-- @module ancillary

local bit = require 'bit'
local ffi = require 'ffi'
local jit = require 'jit'

-- The names of functions of the C library are others here, and types have none: all modules share
-- one name space, in which each would have to declare them alike.
ffi.cdef [[
int ancillary_listen(const char *path, int type, unsigned mode, unsigned flags);
int ancillary_connect(const char *path, int type, unsigned flags);
ssize_t ancillary_send_fds(int sock, const int *fds, size_t nfds, const void *data, size_t len,
                           unsigned flags);
ssize_t ancillary_recv_fds(int sock, int *fds, size_t *nfds, void *data, size_t len,
                           unsigned flags);
void ancillary_close_fds(int *fds, size_t nfds);
int ancillary_set_passcred(int sock, int on);
ssize_t ancillary_send_creds(int sock, const void *creds, const void *data, size_t len,
                             unsigned flags);
ssize_t ancillary_recv_creds(int sock, void *creds, void *data, size_t len, unsigned flags);
int ancillary_peer_creds(int sock, void *creds);

int ancillary_lua_accept4(int sock, void *address, void *len, int flags) __asm__("accept4");
int ancillary_lua_poll(void *fds, unsigned long nfds, int timeout) __asm__("poll");
ssize_t ancillary_lua_read(int fd, void *data, size_t len) __asm__("read");
ssize_t ancillary_lua_write(int fd, const void *data, size_t len) __asm__("write");
int ancillary_lua_fileno(void *file) __asm__("fileno");
const char *ancillary_lua_strerror(int error) __asm__("strerror");
]]

local lib = ffi.load 'libancillary.so.1'
local C = ffi.C
local new_ints = ffi.typeof 'int[?]'
local new_bytes = ffi.typeof 'char[?]'
local new_count = ffi.typeof 'size_t[1]'
local new_creds = ffi.typeof 'struct { int pid; unsigned uid, gid; }'
local new_poll = ffi.typeof 'struct { int fd; short events, revents; }'

local SOCK_STREAM = 1
local SOCK_CLOEXEC = 0x80000
local POLLIN = 1
local EAGAIN = 11
local INT_SIZE = ffi.sizeof 'int'

--- Flags.
-- @field DONTWAIT the call does not wait
-- @field INTR a signal ends the wait
-- @field WAITALL receive until all bytes have come that were asked for, or the peer has closed
-- @field LOSSLESS what there is too little room for stays queued
-- @field REPLACE listen in the place of a socket file that nobody listens on
-- @field PASSCRED for listen and connect: credentials come with each message, also the first
-- @field PASSPIDFD for listen and connect: a pidfd comes, for who receives with other functions
-- @field NORIGHTS for listen and connect: descriptors are refused
local ancillary = {
  DONTWAIT = 0x40, INTR = 0x80000, WAITALL = 0x100, LOSSLESS = 0x100000,
  REPLACE = 1, PASSCRED = 2, PASSPIDFD = 4, NORIGHTS = 8,
}

local Error = {}
Error.__index = Error

function Error:__tostring()
  return self.call .. ': ' .. self.message
end

local function fail(call, errno)
  local message = ffi.string(C.ancillary_lua_strerror(errno))
  error(setmetatable({ call = call, errno = errno, message = message }, Error))
end

-- A function of the library returns a negative errno value when it fails.
local function check(call, result)
  if result < 0 then fail(call, -tonumber(result)) end
  return tonumber(result)
end

-- A function of the C library returns a negative value and sets errno.
local function check_errno(call, result, errno)
  if result < 0 then fail(call, errno or ffi.errno()) end
  return tonumber(result)
end

local function close_all(fds)
  lib.ancillary_close_fds(fds, ffi.sizeof(fds) / INT_SIZE)
end

-- An array for descriptors, into which C writes them. It stays their only owner: whatever happens
-- from then on, and in whichever line, it closes those that have not been closed, when it is
-- collected.
local function new_slots(count)
  local fds = new_ints(count)
  ffi.fill(fds, count * INT_SIZE, 0xff)
  return ffi.gc(fds, close_all)
end

-- Calls a function that returns a descriptor, and puts what it returns into the first slot, with
-- hooks held off: one that raised between would lose it. Also returns errno. While a hook runs no
-- other does, so this is done in one; what a signal sets meanwhile (as Ctrl-C does) runs after it.
-- Within a hook of the caller's, or where C has set one, it is done at once.
local function own(slots, call, ...)
  local arguments, count, errno = { ... }, select('#', ...)
  local hook, mask, steps = debug.gethook()
  local is_lua = not hook or type(hook) == 'function'
  local function act()
    if is_lua then debug.sethook(hook, mask, steps) end
    slots[0] = call(unpack(arguments, 1, count))
    errno = ffi.errno()
  end
  if is_lua then debug.sethook(act, '', 1) end
  if not errno then act() end
  return tonumber(slots[0]), errno
end
-- Compiled code runs no hooks.
jit.off(own, true)

--- An open file, pipe, socket or whatever else.
-- @type Descriptor
local Descriptor = {}
Descriptor.__index = Descriptor

local function new_descriptor(slots, at)
  return setmetatable({ slots = slots, at = at }, Descriptor)
end

--- The number of the descriptor, -1 if it has been closed.
function Descriptor:fileno()
  return self.slots[self.at]
end

--- Reads at most so many bytes, as few as there are; nil at the end.
function Descriptor:read(size)
  local data = new_bytes(size)
  local count = check_errno('read', C.ancillary_lua_read(self:fileno(), data, size))
  if count > 0 then return ffi.string(data, count) end
end

--- Writes all of a string.
function Descriptor:write(data)
  local at = ffi.cast('const char *', data)
  local left = #data
  while left > 0 do
    local count = check_errno('write', C.ancillary_lua_write(self:fileno(), at, left))
    at, left = at + count, left - count
  end
end

--- Closes it, if it has not been closed.
function Descriptor:close()
  lib.ancillary_close_fds(self.slots + self.at, 1)
end

--- @section end

-- -1, which is no descriptor, if it has been closed.
local function number_of(file)
  local kind = io.type(file)
  if kind == 'file' then return C.ancillary_lua_fileno(file) end
  return kind and -1 or file:fileno()
end

-- A path that C does not take for a shorter one.
local function whole(path)
  return path:find('\0', 1, true) and error('the path contains null bytes', 3) or path
end

-- A mode or flags, of which C does not take the lower half only, or a part. What is false is the
-- default, and there are numbers of C.
local function word(number, default)
  if not number then return default end
  number = type(number) == 'cdata' and tonumber(number) or number
  if type(number) ~= 'number' or number ~= number % 2^32 or number % 1 ~= 0 then
    error('a mode or flags are an integer of 32 bits', 3)
  end
  return number
end

--- Makes a listening stream socket. When its file is there, connecting works.
-- @param path that of the file; one that begins with @ is an abstract name, without a file
-- @param[opt=tonumber('600', 8)] mode the permissions of the file, less the umask
-- @param[opt=0] flags 0, or some of REPLACE, and PASSCRED, PASSPIDFD and NORIGHTS, which what
-- accept returns inherits, added together
-- @return a Descriptor
function ancillary.listen(path, mode, flags)
  mode = word(mode, tonumber('600', 8))
  path, flags = whole(path), word(flags, 0)
  local slots = new_slots(1)
  check('listen', (own(slots, lib.ancillary_listen, path, SOCK_STREAM, mode, flags)))
  return new_descriptor(slots, 0)
end

--- Makes a stream socket and connects it.
-- @param path that of the listener
-- @param[opt=0] flags 0, or some of DONTWAIT, PASSCRED, PASSPIDFD and NORIGHTS added together
-- @return a Descriptor
function ancillary.connect(path, flags)
  path, flags = whole(path), word(flags, 0)
  local slots, waits = new_slots(1), bit.band(flags, ancillary.DONTWAIT) == 0
  flags = bit.bor(flags, ancillary.DONTWAIT)
  while true do
    own(slots, lib.ancillary_connect, path, SOCK_STREAM, flags)
    if slots[0] ~= -EAGAIN or not waits then break end
    -- The kernel tells nobody when another process is ready for a connection.
    C.ancillary_lua_poll(nil, 0, 10)
  end
  check('connect', slots[0])
  return new_descriptor(slots, 0)
end

--- Waits for who connects to a listening socket.
-- @return a Descriptor
function ancillary.accept(listener)
  local slots, about = new_slots(1), new_poll(listener:fileno(), POLLIN)
  -- In accept4(2) a signal would go by unnoticed. There is nothing to wait for on what is closed.
  while about.fd >= 0 and C.ancillary_lua_poll(about, 1, -1) < 0 do end
  check_errno('accept',
    own(slots, C.ancillary_lua_accept4, listener:fileno(), nil, nil, SOCK_CLOEXEC))
  return new_descriptor(slots, 0)
end

--- Sends files, which the sender goes on to own, with a payload or a marker byte.
-- @param socket a Descriptor
-- @param files a list of files of io and Descriptors
-- @param[opt=''] data the payload
-- @param[opt=0] flags 0, or DONTWAIT and INTR added together
-- @return the number of bytes sent
function ancillary.send_fds(socket, files, data, flags)
  local fds = new_ints(#files)
  -- ipairs ends where one is missing, and what is not written here is the number of standard input.
  for i = 1, #files do
    local file = files[i]
    -- The receiver gets neither what is still to be written nor what has been read ahead.
    if io.type(file) == 'file' then file:flush() end
    fds[i - 1] = number_of(file)
  end
  data = data ~= '' and data or nil
  return check('send_fds', lib.ancillary_send_fds(
    socket:fileno(), fds, #files, data, data and #data or 0, word(flags, 0)))
end

--- Receives at most so many descriptors and bytes.
-- @param socket a Descriptor
-- @param room for how many descriptors
-- @param size for how many bytes
-- @param[opt=0] flags 0, or some of DONTWAIT, INTR, WAITALL and LOSSLESS added together
-- @return the payload, which is empty when the peer has closed
-- @return a list of Descriptors
function ancillary.recv_fds(socket, room, size, flags)
  local slots, data, count = new_slots(room), new_bytes(size), new_count(room)
  local received = check('recv_fds',
    lib.ancillary_recv_fds(socket:fileno(), slots, count, data, size, word(flags, 0)))
  local files = {}
  for i = 1, tonumber(count[0]) do files[i] = new_descriptor(slots, i - 1) end
  return ffi.string(data, received), files
end

--- Asks for credentials with every message.
-- @param socket a Descriptor
-- @param[opt=true] on
function ancillary.set_passcred(socket, on)
  check('set_passcred', lib.ancillary_set_passcred(socket:fileno(), on == false and 0 or 1))
end

--- Sends the credentials of this process with a payload or a marker byte.
-- @param socket a Descriptor
-- @param[opt=''] data the payload
-- @param[opt=0] flags 0, or DONTWAIT and INTR added together
-- @return the number of bytes sent
function ancillary.send_creds(socket, data, flags)
  data = data ~= '' and data or nil
  return check('send_creds', lib.ancillary_send_creds(
    socket:fileno(), nil, data, data and #data or 0, word(flags, 0)))
end

--- Receives at most so many bytes.
-- @param socket a Descriptor
-- @param size for how many bytes
-- @param[opt=0] flags 0, or some of DONTWAIT, INTR, WAITALL and LOSSLESS added together
-- @return the payload, which is empty when the peer has closed
-- @return who sent it: pid, uid and gid
function ancillary.recv_creds(socket, size, flags)
  local creds, data = new_creds(), new_bytes(size)
  local received = check('recv_creds',
    lib.ancillary_recv_creds(socket:fileno(), creds, data, size, word(flags, 0)))
  return ffi.string(data, received), creds
end

--- Tells who is on the other end.
-- @param socket a Descriptor
-- @return pid, uid and gid
function ancillary.peer_creds(socket)
  local creds = new_creds()
  check('peer_creds', lib.ancillary_peer_creds(socket:fileno(), creds))
  return creds
end

return ancillary
