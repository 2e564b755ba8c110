-- What the wrapper promises beyond what pass.lua shows.
--
-- SPDX-License-Identifier: MIT OR Apache-2.0

package.path = (arg[0]:match '^.*/' or './') .. '?.lua;' .. package.path

local ffi = require 'ffi'

-- As other modules do, before the module is loaded and after that.
ffi.cdef [[
typedef struct { int other; } ancillary_descriptor, ancillary_creds;
int close(int fd);
long read(int fd, char *data, unsigned long len);
int fileno(struct file *file);
]]
assert(ffi.C.close(-1) == -1)

local ancillary = require 'ancillary'

ffi.cdef [[
struct pollfd { long other; };
const char *strerror(int error);
int accept4(int sock, struct sockaddr *address, unsigned *len, int flags);
int getpid(void);
int access(const char *path, int mode);
int open(const char *path, int flags, ...);
int fcntl(int fd, int command, ...);
int listen(int sock, int backlog);
]]

local EPERM, E2BIG, EBADF, EAGAIN, ENOPROTOOPT = 1, 7, 9, 11, 92

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

function tests.where_a_file_is_missing_nothing_is_sent(ours, theirs)
  local file = io.tmpfile()
  -- io.open returns nil and two values more.
  for _, files in ipairs { { io.open '/nowhere/at/all' }, { file, nil, file }, { 0 } } do
    problem(ancillary.send_fds, theirs, files, 'data')
    assert(problem(ancillary.recv_fds, ours, 3, 10, ancillary.DONTWAIT).errno == EAGAIN)
  end
  file:close()
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

function tests.nor_is_a_number(ours, theirs)
  for _, number in ipairs { 2^32, 2^32 + ancillary.DONTWAIT, -1, 1.5, 0 / 0, '0', 2ULL^33, {} } do
    for _, steps in ipairs {
      { ancillary.listen, '/nowhere/at/all', number },
      { ancillary.listen, '/nowhere/at/all', 0, number },
      { ancillary.connect, '/nowhere/at/all', number },
      { ancillary.send_fds, theirs, {}, 'data', number },
      { ancillary.send_creds, theirs, 'data', number },
      { ancillary.recv_fds, ours, 1, 10, number },
      { ancillary.recv_creds, ours, 10, number },
    } do
      assert(problem(unpack(steps)):match '32 bits')
    end
  end
end

function tests.the_module_can_be_loaded_again(ours, theirs)
  package.loaded.ancillary = nil
  local again = require 'ancillary'
  assert(again ~= ancillary)
  again.send_fds(theirs, { theirs }, 'data')
  local data, received = ancillary.recv_fds(ours, 1, 10)
  assert(data == 'data' and again.peer_creds(received[1]).pid == ffi.C.getpid())
  received[1]:close()
end

function tests.without_loss_what_there_is_no_room_for_stays_queued(ours, theirs)
  ancillary.send_fds(theirs, { theirs, theirs }, 'data')
  assert(problem(ancillary.recv_fds, ours, 1, 10, ancillary.LOSSLESS).errno == E2BIG)
  assert(problem(ancillary.recv_creds, ours, 10, ancillary.LOSSLESS).errno == E2BIG)
  local data, files = ancillary.recv_fds(ours, 2, 10, ancillary.LOSSLESS)
  assert(data == 'data' and #files == 2)
end

function tests.connecting_waits_until_there_is_room()
  local name = '@ancillary-other-' .. ffi.C.getpid()
  local listener = ancillary.listen(name)
  ffi.C.listen(listener:fileno(), 0)
  local first = ancillary.connect(name)
  assert(problem(ancillary.connect, name, ancillary.DONTWAIT).errno == EAGAIN)
  ancillary.accept(listener):close()
  ancillary.connect(name):close()
  ancillary.accept(listener):close()
  first:close()
  listener:close()
  assert(problem(ancillary.accept, listener).errno == EBADF)
end

function tests.options_hold_for_the_first_message()
  local name = '@ancillary-other-' .. ffi.C.getpid()
  local listener = ancillary.listen(name, nil, ancillary.PASSCRED)
  local socket = ancillary.connect(name)
  ancillary.send_fds(socket, {}, 'data')
  local accepted = ancillary.accept(listener)
  local data, creds = ancillary.recv_creds(accepted, 10)
  assert(data == 'data' and creds.pid == ffi.C.getpid())
  local ok, refusing = pcall(ancillary.connect, name, ancillary.NORIGHTS)
  if ok then
    local other = ancillary.accept(listener)
    assert(problem(ancillary.send_fds, other, { other }).errno == EPERM)
    refusing:close()
    other:close()
  else
    -- Linux has it since 6.16.
    assert(refusing.errno == ENOPROTOOPT)
  end
  for _, file in ipairs { listener, socket, accepted } do file:close() end
end

-- The calls that make descriptors, and what is to be done before and after each.
local function calls(ours, theirs)
  local name = '@ancillary-other-' .. ffi.C.getpid()
  local listener, socket
  local function meet()
    listener = ancillary.listen(name)
    socket = ancillary.connect(name)
  end
  local function part()
    listener:close()
    socket:close()
  end
  local function send() ancillary.send_fds(theirs, { theirs, theirs, theirs }) end
  local function receive(room)
    local _, files = ancillary.recv_fds(ours, room, 1, ancillary.DONTWAIT)
    for i = 1, 2 do files[i]:close() end
  end
  -- What is still queued.
  local function clear() pcall(receive, 3) end
  return {
    { send, function() receive(3) end, clear },
    { send, function() pcall(receive, 2) end, clear },
    { meet, function() ancillary.listen(name .. '-new'):close() end, part },
    { meet, function() ancillary.connect(name):close() end, part },
    { meet, function() ancillary.accept(listener):close() end, part },
  }
end

-- Whether the error of a hook, which that sets, ends a call. Then other files are opened, and must
-- stay open when what the call had made is collected.
local function interrupted(call, set_hook)
  local hooked
  local ok, raised = pcall(function()
    set_hook(function()
      debug.sethook()
      hooked = true
      error 'interrupted'
    end)
    call()
    debug.sethook()
  end)
  assert(ok or tostring(raised):match 'interrupted$', raised)
  local others = {}
  for i = 1, 8 do others[i] = ffi.C.open('/dev/null', 0) end
  collectgarbage()
  collectgarbage()
  for _, fd in ipairs(others) do
    assert(ffi.C.fcntl(fd, 1) >= 0, 'closed by somebody else')
    ffi.C.close(fd)
  end
  return hooked
end

-- Compiled code does not run hooks.
local function without_compiling(run)
  return function(...)
    jit.off()
    jit.flush()
    run(...)
    jit.on()
  end
end

tests.whenever_a_hook_raises_an_error_each_descriptor_is_closed_once = without_compiling(
  function(ours, theirs)
    for _, steps in ipairs(calls(ours, theirs)) do
      local prepare, call, clear = unpack(steps)
      collectgarbage()
      local before, moment = descriptors(), 0
      repeat
        moment = moment + 1
        prepare()
        -- The hook counts itself: the library begins anew when a hook has been held off.
        local left = moment
        local again = interrupted(call, function(raise)
          debug.sethook(function()
            left = left - 1
            if left == 0 then raise() end
          end, '', 1)
        end)
        clear()
        collectgarbage()
        collectgarbage()
        assert(descriptors() == before, moment)
      until not again
      assert(moment > 50, moment)
    end
  end)

tests.hooks_are_as_before_when_a_call_has_been_made = function()
  local name = '@ancillary-other-' .. ffi.C.getpid()
  local function hook() end
  debug.sethook(hook, 'l', 1000)
  ancillary.listen(name):close()
  local found, mask, count = debug.gethook()
  pcall(ancillary.connect, '/nowhere/at/all')
  local again = debug.gethook()
  debug.sethook()
  assert(found == hook and mask == 'l' and count == 1000 and again == hook)
  -- In a hook no other runs.
  local raised = 'not called'
  local function within()
    debug.sethook(function()
      debug.sethook()
      raised = select(2, pcall(function() ancillary.listen(name):close() end))
    end, '', 1)
  end
  jit.off(within, true)
  within()
  assert(raised == nil, raised)
end

tests.hooks_may_raise_errors_at_random = without_compiling(function(ours, theirs)
  local wanted = tonumber(os.getenv 'ANCILLARY_TEST_INTERRUPTIONS' or 500)
  local seed = tonumber(os.getenv 'ANCILLARY_TEST_SEED' or os.time() * 1000 + ffi.C.getpid())
  math.randomseed(seed)
  io.stderr:write('seed ', ('%d'):format(seed), '\n')
  local all, count = calls(ours, theirs), 0
  while count < wanted do
    local prepare, call, clear = unpack(all[math.random(#all)])
    prepare()
    local moment = math.random(150)
    if interrupted(call, function(raise) debug.sethook(raise, '', moment) end) then
      count = count + 1
    end
    clear()
  end
end)

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
