# frozen_string_literal: true

# Files and credentials over Unix sockets: libancillary, with Fiddle.
#
# Sockets are UNIXSocket and UNIXServer, and errors are those of Errno. Waiting is left to Ruby:
# other threads and fibers go on, traps are run, and Timeout and Thread#kill end it.

require "fiddle/import"
require "io/wait"
require "socket"

module Ancillary
  # The identity of a process.
  Creds = Struct.new(:pid, :uid, :gid)

  module C
    extend Fiddle::Importer
    dlload "libancillary.so.1"
    typealias "ssize_t", "long"
    extern "int ancillary_listen(char *, int, unsigned int, unsigned int)"
    extern "int ancillary_connect(char *, int, unsigned int)"
    extern "ssize_t ancillary_send_fds(int, int *, size_t, void *, size_t, unsigned int)"
    extern "ssize_t ancillary_recv_fds(int, int *, size_t *, void *, size_t, unsigned int)"
    extern "void ancillary_close_fds(int *, size_t)"
    extern "size_t ancillary_max_fds()"
    extern "int ancillary_set_passcred(int, int)"
    extern "ssize_t ancillary_send_creds(int, void *, void *, size_t, unsigned int)"
    extern "ssize_t ancillary_recv_creds(int, void *, void *, size_t, unsigned int)"
    extern "int ancillary_peer_creds(int, void *)"

    DONTWAIT = 1 << 0
    REPLACE = 1 << 4
  end
  # An ancillary_creds has the size of its three numbers.
  CREDS_SIZE = 3 * Fiddle::SIZEOF_INT
  # Waits to try again: the kernel tells nobody when another process is ready for a connection.
  SOON = -> { sleep 0.01 }
  private_constant :C, :CREDS_SIZE, :SOON

  class << self
    # Makes a socket that others connect to; with replace, in the place of a dead one. With a block,
    # closes it afterwards. The file stays.
    def listen(path, mode: 0o600, replace: false, &block)
      path = File.path(path)
      flags = C::DONTWAIT | (replace ? C::REPLACE : 0)
      fd = call(SOON) { C.ancillary_listen(path, Socket::SOCK_STREAM, mode, flags) }
      open_for(UNIXServer.for_fd(fd), &block)
    end

    # Makes a socket and connects it. With a block, closes it afterwards.
    def connect(path, &block)
      path = File.path(path)
      fd = call(SOON) { C.ancillary_connect(path, Socket::SOCK_STREAM, C::DONTWAIT) }
      open_for(UNIXSocket.for_fd(fd), &block)
    end

    # Sends all of the files, or descriptors, with all of data, and returns how many bytes that was.
    # Without data it sends a byte of zero for each message it takes.
    def send_files(socket, files, data = "")
      fds = files.map { |file| file.is_a?(Integer) ? file : file.to_io.fileno }
      most = C.ancillary_max_fds
      data = "\0" * fds.size.fdiv(most).ceil if data.empty?
      send_all(socket, data) do |rest, sent|
        # Each byte has taken as many descriptors as a message carries.
        left = fds.drop(sent * most)
        C.ancillary_send_fds(socket.fileno, left.pack("i*"), left.size, rest, rest.bytesize,
                             C::DONTWAIT)
      end
    end

    # Receives up to room files with up to size bytes, and returns the bytes and the files, or nil
    # when the peer has closed. With whole, it goes on until the peer has closed or size bytes have
    # come. More files than room, or than the process can have open, are an error. The class of the
    # files can be chosen, as for UNIXSocket#recv_io.
    def receive_files(socket, room, size, whole: false, as: IO)
      files = []
      fds = memory([-1].pack("i") * room)
      count = memory([0].pack("J"))
      data = memory("\0" * size)
      have = got = 0
      loop do
        length = call(-> { socket.wait_readable }) do
          count[0, count.size] = [room - got].pack("J")
          C.ancillary_recv_fds(socket.fileno, fds + got * Fiddle::SIZEOF_INT, count,
                               data + have, size - have, C::DONTWAIT)
        end
        have += length
        got += count[0, count.size].unpack1("J")
        break if !whole || length.zero? || have == size
      end
      # Timeout and Thread#kill have to wait until each has an owner.
      Thread.handle_interrupt(Object => :never) do
        fds[0, got * Fiddle::SIZEOF_INT].unpack("i*").each { |fd| files << as.for_fd(fd) }
      end
      received = [data[0, have], files]
      received unless have.zero? && got.zero?
    ensure
      # Also when Timeout or Thread#kill has ended it.
      unless received
        # The files own the first of them.
        C.ancillary_close_fds(fds + files.size * Fiddle::SIZEOF_INT, room - files.size) if fds
        files.each(&:close)
      end
    end

    # Asks for the identity of the sender with each message that the socket receives.
    def pass_creds(socket, on: true)
      call { C.ancillary_set_passcred(socket.fileno, on ? 1 : 0) }
    end

    # Sends all of data with the identity of this process, and returns how many bytes that was;
    # without data a byte of zero.
    def send_creds(socket, data = "")
      send_all(socket, data.empty? ? "\0" : data) do |rest|
        C.ancillary_send_creds(socket.fileno, nil, rest, rest.bytesize, C::DONTWAIT)
      end
    end

    # Receives up to size bytes, and returns them with the identity of their sender, or nil when the
    # peer has closed.
    def receive_creds(socket, size)
      creds = memory("\0" * CREDS_SIZE)
      data = memory("\0" * size)
      length = call(-> { socket.wait_readable }) do
        C.ancillary_recv_creds(socket.fileno, creds, data, size, C::DONTWAIT)
      end
      [data[0, length], identity(creds)] unless length.zero?
    end

    # The identity of the process on the other end.
    def peer(socket)
      creds = memory("\0" * CREDS_SIZE)
      call { C.ancillary_peer_creds(socket.fileno, creds) }
      identity(creds)
    end

    private

    def open_for(socket)
      return socket unless block_given?

      begin
        yield socket
      ensure
        socket.close
      end
    end

    # Memory with that in it, which is freed with the object.
    def memory(content)
      pointer = Fiddle::Pointer.malloc(content.bytesize, Fiddle::RUBY_FREE)
      pointer[0, content.bytesize] = content
      pointer
    end

    def identity(memory)
      Creds.new(*memory[0, CREDS_SIZE].unpack("iII"))
    end

    # Calls a function, after a wait as long as it is too early, and raises its error.
    def call(wait = nil)
      loop do
        result = yield
        return result unless result.negative?
        raise SystemCallError.new(nil, -result) unless result == -Errno::EAGAIN::Errno && wait

        wait.call
      end
    end

    def send_all(socket, data)
      sent = 0
      loop do
        sent += call(-> { socket.wait_writable }) { yield data.byteslice(sent..), sent }
        return sent if sent >= data.bytesize
      end
    end
  end
end
