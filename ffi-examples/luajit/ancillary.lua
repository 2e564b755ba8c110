-- Passes descriptors and credentials over Unix sockets: libancillary for LuaJIT.
--
-- What is sent are files of the io library or descriptors of this module; what is received are such
-- descriptors, because Lua cannot make a file from one. They close themselves when they are
-- collected. Whatever fails raises an error with the fields call, errno and message. A call that
-- waits holds up all of Lua, its hooks and its handling of SIGINT included.
--
-- SPDX-License-Identifier: MIT OR Apache-2.0

local ffi = require 'ffi'
local C = ffi.C

ffi.cdef [[
typedef struct { int fd; } ancillary_descriptor;
typedef struct { int pid; unsigned uid, gid; } ancillary_creds;

int ancillary_listen(const char *path, int type, unsigned mode, unsigned flags);
int ancillary_connect(const char *path, int type, unsigned flags);
ssize_t ancillary_send_fds(int sock, const int *fds, size_t nfds, const void *data, size_t len,
                           unsigned flags);
ssize_t ancillary_recv_fds(int sock, int *fds, size_t *nfds, void *data, size_t len,
                           unsigned flags);
void ancillary_close_fds(int *fds, size_t nfds);
int ancillary_set_passcred(int sock, int on);
ssize_t ancillary_send_creds(int sock, const ancillary_creds *creds, const void *data, size_t len,
                             unsigned flags);
ssize_t ancillary_recv_creds(int sock, ancillary_creds *creds, void *data, size_t len,
                             unsigned flags);
int ancillary_peer_creds(int sock, ancillary_creds *creds);

int accept4(int sock, void *address, void *len, int flags);
ssize_t read(int fd, void *data, size_t len);
ssize_t write(int fd, const void *data, size_t len);
int fileno(void *file);
int close(int fd);
char *strerror(int error);
]]

local lib = ffi.load 'libancillary.so.1'

local SOCK_STREAM = 1
local SOCK_CLOEXEC = 0x80000

local ancillary = { DONTWAIT = 1, INTR = 2, WAITALL = 4, LOSSLESS = 8, REPLACE = 16 }

local Error = {}
Error.__index = Error

function Error:__tostring()
  return self.call .. ': ' .. self.message
end

local function fail(call, errno)
  local message = ffi.string(C.strerror(errno))
  error(setmetatable({ call = call, errno = errno, message = message }, Error))
end

-- A function of the library returns a negative errno value when it fails.
local function check(call, result)
  if result < 0 then fail(call, -tonumber(result)) end
  return tonumber(result)
end

-- A function of the C library returns a negative value and sets errno.
local function check_errno(call, result)
  if result < 0 then fail(call, ffi.errno()) end
  return tonumber(result)
end

local Descriptor = {}

-- At most so many bytes, as few as there are, or nil at the end.
function Descriptor:read(size)
  local data = ffi.new('char[?]', size)
  local count = check_errno('read', C.read(self.fd, data, size))
  if count > 0 then return ffi.string(data, count) end
end

function Descriptor:write(data)
  local at = ffi.cast('const char *', data)
  local left = #data
  while left > 0 do
    local count = check_errno('write', C.write(self.fd, at, left))
    at, left = at + count, left - count
  end
end

function Descriptor:close()
  local fd = self.fd
  self.fd = -1
  if fd >= 0 then C.close(fd) end
end

local new_descriptor = ffi.metatype('ancillary_descriptor',
  { __index = Descriptor, __gc = Descriptor.close })

-- -1, which is no descriptor, if it has been closed.
local function number_of(file)
  local kind = io.type(file)
  if kind == 'file' then return C.fileno(file) end
  return kind and -1 or file.fd
end

-- A path that C does not take for a shorter one.
local function whole(path)
  return path:find('\0', 1, true) and error('the path contains null bytes', 3) or path
end

-- A listening socket. When its file is there, connecting works.
function ancillary.listen(path, mode, flags)
  mode = mode or tonumber('600', 8)
  local listener = new_descriptor(-1)
  listener.fd = check('listen',
    lib.ancillary_listen(whole(path), SOCK_STREAM, mode, flags or 0))
  return listener
end

function ancillary.connect(path, flags)
  local socket = new_descriptor(-1)
  socket.fd = check('connect', lib.ancillary_connect(whole(path), SOCK_STREAM, flags or 0))
  return socket
end

function ancillary.accept(listener)
  local socket = new_descriptor(-1)
  socket.fd = check_errno('accept', C.accept4(listener.fd, nil, nil, SOCK_CLOEXEC))
  return socket
end

-- Sends files, which the sender goes on to own, with a payload or, without one, a marker byte.
-- Returns the number of bytes sent.
function ancillary.send_fds(socket, files, data, flags)
  local fds = ffi.new('int[?]', #files)
  for i, file in ipairs(files) do
    -- The receiver gets neither what is still to be written nor what has been read ahead.
    if io.type(file) == 'file' then file:flush() end
    fds[i - 1] = number_of(file)
  end
  data = data ~= '' and data or nil
  return check('send_fds',
    lib.ancillary_send_fds(socket.fd, fds, #files, data, data and #data or 0, flags or 0))
end

-- Receives at most so many bytes and descriptors. Returns the payload, which is empty when the peer
-- has closed, and the descriptors.
function ancillary.recv_fds(socket, room, size, flags)
  -- When this is collected, what no descriptor of ours has taken is closed.
  local fds = ffi.gc(ffi.new('int[?]', room), function(fds)
    lib.ancillary_close_fds(fds, room)
  end)
  ffi.fill(fds, 4 * room, 0xff)
  local data = ffi.new('char[?]', size)
  local count = ffi.new('size_t[1]', room)
  local received = check('recv_fds',
    lib.ancillary_recv_fds(socket.fd, fds, count, data, size, flags or 0))
  local files = {}
  for i = 1, tonumber(count[0]) do
    files[i] = new_descriptor(-1)
    files[i].fd, fds[i - 1] = fds[i - 1], -1
  end
  return ffi.string(data, received), files
end

-- Asks for credentials with every message.
function ancillary.set_passcred(socket, on)
  check('set_passcred', lib.ancillary_set_passcred(socket.fd, on == false and 0 or 1))
end

-- Sends the credentials of this process with a payload or, without one, a marker byte. Returns the
-- number of bytes sent.
function ancillary.send_creds(socket, data, flags)
  data = data ~= '' and data or nil
  return check('send_creds',
    lib.ancillary_send_creds(socket.fd, nil, data, data and #data or 0, flags or 0))
end

-- Receives at most so many bytes. Returns the payload, which is empty when the peer has closed, and
-- who sent it: pid, uid and gid.
function ancillary.recv_creds(socket, size, flags)
  local creds = ffi.new 'ancillary_creds'
  local data = ffi.new('char[?]', size)
  local received = check('recv_creds',
    lib.ancillary_recv_creds(socket.fd, creds, data, size, flags or 0))
  return ffi.string(data, received), creds
end

-- Who is on the other end: pid, uid and gid.
function ancillary.peer_creds(socket)
  local creds = ffi.new 'ancillary_creds'
  check('peer_creds', lib.ancillary_peer_creds(socket.fd, creds))
  return creds
end

return ancillary
