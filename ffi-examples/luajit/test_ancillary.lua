-- What the wrapper promises beyond what pass.lua shows.
--
-- SPDX-License-Identifier: MIT OR Apache-2.0

package.path = (arg[0]:match '^.*/' or './') .. '?.lua;' .. package.path

local ffi = require 'ffi'
local ancillary = require 'ancillary'

ffi.cdef [[
int getpid(void);
int access(const char *path, int mode);
]]

local EAGAIN, EBADF, E2BIG = 11, 9, 7

local function descriptors()
  local count = 0
  for fd = 0, 1023 do
    if ffi.C.access('/proc/self/fd/' .. fd, 0) == 0 then count = count + 1 end
  end
  return count
end

-- The error that a call raises.
local function problem(call, ...)
  local ok, raised = pcall(call, ...)
  assert(not ok, 'no error')
  return raised
end

local tests = {}

function tests.a_file_is_received_at_the_position_to_which_it_has_been_read(ours, theirs)
  local file = io.tmpfile()
  file:write 'first\nsecond\n'
  file:seek 'set'
  assert(file:read() == 'first')
  ancillary.send_fds(theirs, { file })
  local _, received = ancillary.recv_fds(ours, 1, 1)
  assert(received[1]:read(100) == 'second\n')
  assert(received[1]:read(100) == nil)
  file:close()
end

function tests.what_is_written_to_a_file_has_come_when_the_file_comes(ours, theirs)
  local file = io.tmpfile()
  file:write 'early'
  ancillary.send_fds(theirs, { file })
  local _, received = ancillary.recv_fds(ours, 1, 1)
  received[1]:write ' and late'
  file:seek 'set'
  assert(file:read '*a' == 'early and late')
  file:close()
end

function tests.what_has_been_received_can_be_sent_on(ours, theirs)
  ancillary.send_fds(theirs, { theirs })
  local _, received = ancillary.recv_fds(ours, 1, 1)
  ancillary.send_fds(received[1], received, 'again')
  assert(ancillary.recv_fds(ours, 1, 10) == 'again')
end

function tests.what_is_collected_is_closed(ours, theirs)
  collectgarbage()
  local before = descriptors()
  for _ = 1, 100 do
    ancillary.send_fds(theirs, { io.stdin, io.stdin, io.stdin })
    ancillary.recv_fds(ours, 3, 1)
    ancillary.send_fds(theirs, { io.stdin, io.stdin, io.stdin })
    assert(problem(ancillary.recv_fds, ours, 2, 1).errno == E2BIG)
  end
  collectgarbage()
  assert(descriptors() == before)
end

function tests.what_has_been_closed_is_no_descriptor(ours, theirs)
  local file = io.tmpfile()
  file:close()
  assert(problem(ancillary.send_fds, theirs, { file }).errno == EBADF)
  ancillary.send_fds(theirs, { theirs })
  local _, received = ancillary.recv_fds(ours, 1, 1)
  received[1]:close()
  received[1]:close()
  assert(problem(ancillary.send_fds, theirs, received).errno == EBADF)
  assert(problem(received[1].read, received[1], 1).errno == EBADF)
end

function tests.an_error_has_a_number_and_tells_what_failed(ours)
  local raised = problem(ancillary.recv_fds, ours, 1, 1, ancillary.DONTWAIT)
  assert(raised.errno == EAGAIN)
  assert(tostring(raised) == 'recv_fds: ' .. raised.message)
end

function tests.a_path_is_not_cut()
  assert(problem(ancillary.listen, '/tmp/name\0more'):match 'null bytes')
  assert(problem(ancillary.connect, '/tmp/name\0more'):match 'null bytes')
end

local name = '@ancillary-' .. ffi.C.getpid()
for test, run in pairs(tests) do
  local before = descriptors()
  local listener = ancillary.listen(name)
  local ours = ancillary.connect(name)
  local theirs = ancillary.accept(listener)
  listener:close()
  local ok, raised = xpcall(function() run(ours, theirs) end, debug.traceback)
  assert(ok, test .. ': ' .. tostring(raised))
  ours:close()
  theirs:close()
  collectgarbage()
  assert(descriptors() == before, test .. ': descriptors are left')
end
