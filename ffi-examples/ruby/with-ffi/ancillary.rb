# frozen_string_literal: true

# Files and credentials over Unix sockets: libancillary, with the ffi gem.
#
# Sockets are UNIXSocket and UNIXServer, and errors are those of Errno. While a call waits, the
# interpreter lock is released: other threads go on, traps are run, and Timeout and Thread#kill end
# the wait.

require "ffi"
require "io/wait"
require "socket"

module Ancillary
  # The identity of a process.
  Creds = Struct.new(:pid, :uid, :gid)

  module C
    extend FFI::Library
    ffi_lib "libancillary.so.1"

    class Creds < FFI::Struct
      layout :pid, :int, :uid, :uint, :gid, :uint
    end

    attach_function :ancillary_max_fds, [], :size_t
    attach_function :ancillary_close_fds, %i[pointer size_t], :void
    attach_function :ancillary_set_passcred, %i[int int], :int
    attach_function :ancillary_peer_creds, %i[int pointer], :int
    # These can wait.
    {
      ancillary_listen: [%i[string int uint uint], :int],
      ancillary_connect: [%i[string int uint], :int],
      ancillary_send_fds: [%i[int pointer size_t pointer size_t uint], :ssize_t],
      ancillary_recv_fds: [%i[int pointer pointer pointer size_t uint], :ssize_t],
      ancillary_send_creds: [%i[int pointer pointer size_t uint], :ssize_t],
      ancillary_recv_creds: [%i[int pointer pointer size_t uint], :ssize_t]
    }.each { |name, (takes, gives)| attach_function name, takes, gives, blocking: true }

    # Each call can be interrupted, so that Ruby looks at what has interrupted it.
    INTR = 1 << 1
    WAITALL = 1 << 2
    REPLACE = 1 << 4
  end
  private_constant :C

  class << self
    # Makes a socket that others connect to; with replace, in the place of a dead one. With a block,
    # closes it afterwards. The file stays.
    def listen(path, mode: 0o600, replace: false, &block)
      path = File.path(path)
      flags = C::INTR | (replace ? C::REPLACE : 0)
      fd = call { C.ancillary_listen(path, Socket::SOCK_STREAM, mode, flags) }
      open_for(UNIXServer.for_fd(fd), &block)
    end

    # Makes a socket and connects it. With a block, closes it afterwards.
    def connect(path, &block)
      path = File.path(path)
      fd = call { C.ancillary_connect(path, Socket::SOCK_STREAM, C::INTR) }
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
        C.ancillary_send_fds(socket.fileno, memory(left.pack("i*")), left.size,
                             memory(rest), rest.bytesize, C::INTR)
      end
    end

    # Receives up to room files with up to size bytes, and returns the bytes and the files, or nil
    # when the peer has closed. With whole, it goes on until the peer has closed or size bytes have
    # come. More files than room, or than the process can have open, are an error. The class of the
    # files can be chosen, as for UNIXSocket#recv_io.
    def receive_files(socket, room, size, whole: false, as: IO)
      files = []
      fds = memory([-1].pack("i") * room)
      count = FFI::MemoryPointer.new(:size_t)
      data = FFI::MemoryPointer.new(size + 1)
      flags = C::INTR | (whole ? C::WAITALL : 0)
      have = got = 0
      loop do
        length = call(socket, :wait_readable) do
          count.put(:size_t, 0, room - got)
          C.ancillary_recv_fds(socket.fileno, fds + got * FFI.type_size(:int), count,
                               data + have, size - have, flags)
        end
        have += length
        got += count.get(:size_t, 0)
        # A call that waits for all comes back after a signal with what it has.
        break if !whole || length.zero? || have == size
      end
      # Timeout and Thread#kill have to wait until each has an owner.
      Thread.handle_interrupt(Object => :never) do
        fds.get_array_of_int(0, got).each { |fd| files << as.for_fd(fd) }
      end
      received = [data.get_bytes(0, have), files]
      received unless have.zero? && got.zero?
    ensure
      # Also when Timeout or Thread#kill has ended it.
      unless received
        # The files own the first of them.
        C.ancillary_close_fds(fds + files.size * FFI.type_size(:int), room - files.size) if fds
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
        C.ancillary_send_creds(socket.fileno, nil, memory(rest), rest.bytesize, C::INTR)
      end
    end

    # Receives up to size bytes, and returns them with the identity of their sender, or nil when the
    # peer has closed.
    def receive_creds(socket, size)
      creds = C::Creds.new
      data = FFI::MemoryPointer.new(size + 1)
      length = call(socket, :wait_readable) do
        C.ancillary_recv_creds(socket.fileno, creds, data, size, C::INTR)
      end
      [data.get_bytes(0, length), Creds.new(*creds.values)] unless length.zero?
    end

    # The identity of the process on the other end.
    def peer(socket)
      creds = C::Creds.new
      call { C.ancillary_peer_creds(socket.fileno, creds) }
      Creds.new(*creds.values)
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
      FFI::MemoryPointer.new(content.bytesize + 1).put_bytes(0, content)
    end

    # Calls a function until it is neither too early nor interrupted, and raises its error.
    def call(socket = nil, wait = nil)
      loop do
        result = yield
        return result unless result.negative?

        if result == -Errno::EAGAIN::Errno && wait
          # Ruby makes some sockets non-blocking.
          socket.public_send(wait)
        elsif result != -Errno::EINTR::Errno
          raise SystemCallError.new(nil, -result)
        end
      end
    end

    def send_all(socket, data)
      sent = 0
      loop do
        sent += call(socket, :wait_writable) { yield data.byteslice(sent..), sent }
        return sent if sent >= data.bytesize
      end
    end
  end
end
