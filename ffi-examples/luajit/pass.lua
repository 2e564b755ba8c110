-- Passes files from one process to another; ../README.md says what it does.
--
-- SPDX-License-Identifier: MIT OR Apache-2.0

package.path = (arg[0]:match '^.*/' or './') .. '?.lua;' .. package.path

local ffi = require 'ffi'
local ancillary = require 'ancillary'

ffi.cdef [[
typedef void (*handler)(int number);
handler signal(int number, handler handler);
int getpid(void);
int fileno(void *file);
int fcntl(int fd, int command, ...);
]]

local ROOM = 65536
local SIGINT = 2
local F_SETFD = 2
local FD_CLOEXEC = ffi.new('int', 1)

local command = arg[1]
local failed = false

-- Does something whose failure ends nothing else.
local function attempt(action, ...)
  local ok, problem = pcall(action, ...)
  if not ok then
    io.stderr:write(command, ': ', problem.message or problem, '\n')
    failed = true
  end
end

-- Does something with files, and closes them whatever happens.
local function closing(files, action)
  local ok, result = pcall(action)
  for _, file in ipairs(files) do file:close() end
  if not ok then error(result, 0) end
  return result
end

local function open_unnamed()
  local file, problem = io.tmpfile()
  if not file then error({ message = problem }) end
  ffi.C.fcntl(ffi.C.fileno(file), F_SETFD, FD_CLOEXEC)
  return file
end

local function send_on(socket, count, payload)
  local open, files = { socket }, {}
  local size = closing(open, function()
    for i = 1, count do
      local file = open_unnamed()
      open[i + 1], files[i] = file, file
      file:write(('file %d of %d, made by %d\n'):format(i, count, ffi.C.getpid()))
      file:seek 'set'
    end
    if count == 0 then return ancillary.send_creds(socket, payload) end
    return ancillary.send_fds(socket, files, payload)
  end)
  print(('sent %d descriptors, %d bytes'):format(count, size))
end

-- The next line of standard input, which io.read would end at a zero byte; or nil at the end.
local function read_line()
  local bytes = {}
  for byte in function() return io.read(1) end do
    if byte == '\n' then return table.concat(bytes) end
    bytes[#bytes + 1] = byte
  end
  return bytes[1] and table.concat(bytes)
end

local function send(path, count, payload)
  if payload ~= '-' then return send_on(ancillary.connect(path), count, payload) end
  while true do
    local socket = ancillary.connect(path)
    local line = read_line()
    if not line then return socket:close() end
    attempt(send_on, socket, count, line)
  end
end

-- Accepts connections and does something with each.
local function serve(path, times, action)
  local listener = ancillary.listen(path, tonumber('600', 8), ancillary.REPLACE)
  local ok, problem = pcall(function()
    for _ = 1, times or 1 do
      local socket = ancillary.accept(listener)
      print 'accepted'
      attempt(action, socket)
      socket:close()
      print 'done'
    end
  end)
  os.remove(path)
  if not ok then error(problem, 0) end
end

local function recv(path, max, times)
  serve(path, times, function(socket)
    local payload, files = ancillary.recv_fds(socket, max, ROOM, ancillary.WAITALL)
    closing(files, function()
      if payload == '' then error({ message = 'The peer has closed' }) end
      print(('received %d descriptors, %d bytes'):format(#files, #payload))
      io.write('payload: ', payload, '\n')
      for _, file in ipairs(files) do
        for data in function() return file:read(ROOM) end do io.write(data) end
      end
    end)
  end)
end

local function words(creds)
  return ('pid %d uid %d gid %d'):format(creds.pid, creds.uid, creds.gid)
end

local function creds(path, times)
  serve(path, times, function(socket)
    ancillary.set_passcred(socket)
    local payload, sender = ancillary.recv_creds(socket, ROOM)
    if payload == '' then error({ message = 'The peer has closed' }) end
    print(('%s, %d bytes'):format(words(sender), #payload))
    io.write('payload: ', payload, '\n')
  end)
end

local function peer(path)
  local socket = ancillary.connect(path)
  closing({ socket }, function() print(words(ancillary.peer_creds(socket))) end)
end

-- What runs a command, and its arguments: the least and the most of them.
local commands = {
  send = { send, 2, 3 },
  recv = { recv, 2, 3 },
  creds = { creds, 1, 2 },
  peer = { peer, 1, 1 },
}

local usage = [[
Usage: pass send SOCKET N [PAYLOAD]
       pass recv SOCKET MAX [TIMES]
       pass creds SOCKET [TIMES]
       pass peer SOCKET
]]

-- The command and its arguments, with numbers where there have to be some; or nothing.
local function parse()
  local action, least, most = unpack(commands[command] or {})
  local arguments = { unpack(arg, 2) }
  if not action or #arguments < least or #arguments > most then return end
  for i = 2, command == 'send' and 2 or #arguments do
    arguments[i] = arguments[i]:match '^%d+$' and tonumber(arguments[i])
    if not arguments[i] then return end
  end
  return action, arguments
end

local action, arguments = parse()
if not action then
  io.stderr:write(usage)
  os.exit(2)
end
io.stdout:setvbuf 'line'
-- LuaJIT's own handler would have the call that waits go on.
ffi.C.signal(SIGINT, nil)
attempt(action, unpack(arguments))
os.exit(failed and 1 or 0)
