# frozen_string_literal: true

# SPDX-License-Identifier: MIT OR Apache-2.0

# Passes files between processes, as ../README.md says.

require "ancillary"
require "tempfile"

USAGE = <<~TEXT
  Usage: pass send SOCKET N [PAYLOAD]
         pass recv SOCKET MAX [TIMES]
         pass creds SOCKET [TIMES]
         pass peer SOCKET
         pass tell SOCKET N [PAYLOAD]
         pass hear SOCKET MAX [TIMES]
TEXT

PAYLOAD_ROOM = 65_536

# Does something, tells why if it fails, and returns whether all of it went well.
def attempt(command)
  yield != false
rescue SystemCallError => e
  warn "#{command}: #{SystemCallError.new(nil, e.errno).message}"
  false
rescue EOFError
  warn "#{command}: The peer has closed"
  false
end

# Makes a temporary file without a name, which is at its beginning.
def unnamed(content)
  file = Tempfile.create("pass")
  File.unlink(file.path)
  file.write(content)
  # The receiver shares the position.
  file.rewind
  file
end

def send_files(socket, count, payload)
  return Ancillary.send_creds(socket, payload) if count.zero?

  with_files(count) { |files| Ancillary.send_files(socket, files, payload) }
ensure
  socket.close
end

def with_files(count)
  files = []
  (1..count).each { |i| files << unnamed("file #{i} of #{count}, made by #{Process.pid}\n") }
  yield files
ensure
  files.each(&:close)
end

# Does something with a channel, and closes it.
def with_channel(socket, files)
  channel = Ancillary::Channel.new(socket, size: PAYLOAD_ROOM, files: files)
  yield channel
ensure
  (channel || socket).close
end

def tell(path, count, payload)
  with_channel(Ancillary.connect(path), count) do |channel|
    with_files(count) do |files|
      channel.send(1, Process.pid, payload, more: true)
      channel.send(2, Process.pid, payload, files, more: true, take: true)
      channel.send(3, Process.pid, more: true)
      channel.flush
    end
  end
  puts "sent #{count} descriptors, #{payload.bytesize} bytes"
end

def hear(socket, room)
  with_channel(socket, room) do |channel|
    while (message = channel.receive)
      show(message)
    end
  end
end

def show(message)
  count, size = message.files.size, message.data.bytesize
  puts "message #{message.type} from #{message.id}: #{count} descriptors, #{size} bytes"
  print "payload: ", message.data, "\n"
  message.files.each { |file| print file.read }
ensure
  message.files.each(&:close)
end

def send_one(socket, count, payload)
  sent = send_files(socket, count, payload)
  puts "sent #{count} descriptors, #{sent} bytes"
end

# Sends each line of standard input on a connection of its own.
def send_lines(path, count)
  fine = true
  loop do
    Ancillary.connect(path) do |socket|
      line = $stdin.gets
      return fine unless line

      fine &= attempt("send") { send_one(socket, count, line.delete_suffix("\n")) }
    end
  end
end

def receive_files(socket, room)
  payload, files = Ancillary.receive_files(socket, room, PAYLOAD_ROOM, whole: true)
  raise EOFError unless payload

  puts "received #{files.size} descriptors, #{payload.bytesize} bytes"
  print "payload: ", payload, "\n"
  files.each { |file| print file.read }
ensure
  files&.each(&:close)
end

def receive_creds(socket)
  Ancillary.pass_creds(socket)
  payload, sender = Ancillary.receive_creds(socket, PAYLOAD_ROOM)
  raise EOFError unless payload

  puts "pid #{sender.pid} uid #{sender.uid} gid #{sender.gid}, #{payload.bytesize} bytes"
  print "payload: ", payload, "\n"
end

def serve(command, path, times)
  fine = true
  Ancillary.listen(path, replace: true) do |server|
    times.times do
      socket = server.accept
      puts "accepted"
      fine &= attempt(command) { yield socket }
      socket.close
      puts "done"
    end
  ensure
    File.unlink(path)
  end
  fine
end

def peer(path)
  other = Ancillary.connect(path) { |socket| Ancillary.peer(socket) }
  puts "pid #{other.pid} uid #{other.uid} gid #{other.gid}"
end

def number(text)
  raise ArgumentError unless text.match?(/\A[0-9]+\z/)

  text.to_i
end

# What the arguments ask for.
def action(command, path, *rest)
  case [command, rest.size]
  in ["send", 1 | 2]
    count, payload = number(rest[0]), rest[1] || ""
    return -> { send_lines(path, count) } if payload == "-"

    -> { send_one(Ancillary.connect(path), count, payload) }
  in ["recv", 1 | 2]
    room, times = number(rest[0]), number(rest[1] || "1")
    -> { serve(command, path, times) { |socket| receive_files(socket, room) } }
  in ["tell", 1 | 2]
    count, payload = number(rest[0]), rest[1] || ""
    -> { tell(path, count, payload) }
  in ["hear", 1 | 2]
    room, times = number(rest[0]), number(rest[1] || "1")
    -> { serve(command, path, times) { |socket| hear(socket, room) } }
  in ["creds", 0 | 1]
    times = number(rest[0] || "1")
    -> { serve(command, path, times) { |socket| receive_creds(socket) } }
  in ["peer", 0]
    -> { peer(path) }
  end
end

begin
  asked = action(*ARGV)
rescue ArgumentError, NoMatchingPatternError
  warn USAGE
  exit 2
end
$stdout.sync = true
exit attempt(ARGV[0], &asked)
