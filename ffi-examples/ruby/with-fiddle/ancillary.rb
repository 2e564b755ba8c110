# frozen_string_literal: true

# SPDX-License-Identifier: MIT OR Apache-2.0

require "fiddle"
require "io/wait"
require "socket"

# Files and credentials over Unix sockets: libancillary, with Fiddle.
#
# A process hands an open file to another over a Unix socket, and tells who it is:
#
#   Ancillary.listen("/run/example", replace: true) do |server|     # one process
#     data, (file) = Ancillary.receive_files(server.accept, 1, 4096)
#     puts data, file.read
#   end
#
#   Ancillary.connect("/run/example") do |socket|                   # another
#     File.open("/etc/hostname") { |file| Ancillary.send_files(socket, [file], "a name") }
#   end
#
# On a Channel messages travel whole, each with its files, also where a stream cuts them:
#
#   channel = Ancillary::Channel.new(socket)
#   channel.send(OPENED, request, "a name", [file])
#   answer = channel.receive
#
# Sockets are those of Ruby, UNIXSocket and UNIXServer. What is sent is anything with to_io, or a
# number. What is received are objects of the class asked for, IO by default; they are
# close-on-exec, and share the position in the file with the sender's.
#
# Errors are those of Errno, made from what the function of the library has returned: Errno::E2BIG
# (more files came than there is room for), Errno::EMFILE (more than the process can have open),
# Errno::EPIPE (the peer has closed), Errno::ENOMSG (a message without an identity). What came with
# such a message is closed; with lossless: true it stays queued where there is too little room for
# it, and can be received later.
#
# Waiting is left to Ruby: no call waits in C. Other threads and fibers go on, traps are run, and
# Timeout, Thread#raise and Thread#kill end it, and closing the socket in another thread. The kernel
# does not tell when another process is ready for a connection, so connect tries again each
# hundredth of a second.
#
# Whatever ends a call, at whatever moment, also a trap that raises: what has come is closed, each
# descriptor once. What has been handed over and is not closed is closed when it is collected, as
# all of Ruby's.
#
# It needs Ruby 3.0 or newer and, where the system's loader looks for it,
# libancillary.so.1.
module Ancillary
  # The identity of a process.
  Creds = Struct.new(:pid, :uid, :gid) unless const_defined?(:Creds)

  # The functions of the library. None of them waits, so the interpreter lock is kept. (Where it is
  # released, a trap can raise before the result is seen.)
  module C
    DONTWAIT = 1 << 6
    LOSSLESS = 1 << 20
    REPLACE = 1 << 0
    PASSCRED = 1 << 1
    PASSPIDFD = 1 << 2
    NORIGHTS = 1 << 3
    MORE = 1 << 15
    TAKE = 1 << 21

    library = Fiddle.dlopen("libancillary.so.1")
    function = lambda do |name, gives, *takes|
      Fiddle::Function.new(library["ancillary_#{name}"], takes, gives, need_gvl: true)
    end
    int, uint, size = Fiddle::TYPE_INT, -Fiddle::TYPE_INT, Fiddle::TYPE_SIZE_T
    ssize, pointer = Fiddle::TYPE_SSIZE_T, Fiddle::TYPE_VOIDP
    LISTEN = function.call(:listen, int, pointer, int, uint, uint)
    CONNECT = function.call(:connect, int, pointer, int, uint)
    SEND_FDS = function.call(:send_fds, ssize, int, pointer, size, pointer, size, uint)
    RECV_FDS = function.call(:recv_fds, ssize, int, pointer, pointer, pointer, size, uint)
    CLOSE_FDS = function.call(:close_fds, Fiddle::TYPE_VOID, pointer, size)
    MAX_FDS = function.call(:max_fds, size)
    SET_PASSCRED = function.call(:set_passcred, int, int, int)
    SEND_CREDS = function.call(:send_creds, ssize, int, pointer, pointer, size, uint)
    RECV_CREDS = function.call(:recv_creds, ssize, int, pointer, pointer, size, uint)
    PEER_CREDS = function.call(:peer_creds, int, int, pointer)
    CHANNEL_SEND = function.call(:channel_send, int, pointer, pointer, uint)
    CHANNEL_FLUSH = function.call(:channel_flush, int, pointer, uint)
    CHANNEL_RECV = function.call(:channel_recv, int, pointer, pointer, uint)
    CHANNEL_EVENTS = function.call(:channel_events, int, pointer)
    CHANNEL_DROP = function.call(:channel_drop, Fiddle::TYPE_VOID, pointer)

    # Memory with that in it, which is freed with the object.
    def self.memory(content)
      pointer = Fiddle::Pointer.malloc([content.bytesize, 1].max, Fiddle::RUBY_FREE)
      pointer[0, content.bytesize] = content
      pointer
    end

    # Memory at an address.
    def self.at(address)
      Fiddle::Pointer.new(address)
    end

    def self.read(pointer, size)
      pointer[0, size]
    end

    def self.write(pointer, content)
      pointer[0, content.bytesize] = content
    end
  end
  private_constant :C

  # ---- What follows is the same with Fiddle and with the ffi gem ---------------------------------

  INT_SIZE = [0].pack("i").bytesize
  COUNT_SIZE = [0].pack("J").bytesize
  INTS = (-1 << 31)..((1 << 31) - 1)
  UINTS = 0..((1 << 32) - 1)
  private_constant :INT_SIZE, :COUNT_SIZE, :INTS, :UINTS

  class << self
    # Makes a socket that others connect to. A path that begins with @ is an abstract name, which
    # needs no file. The file of any other gets the permissions of mode, less the umask, and stays
    # when the socket is closed; with replace, one that nobody listens on gives way, or it is
    # Errno::EBUSY if the folder stays locked, by flock(2), for five seconds. With a block, closes the
    # socket afterwards.
    #
    # Options, which accepted sockets inherit and which hold for the first message already: creds
    # (the identity of the sender comes with each message, as with pass_creds), pidfd (so does a
    # pidfd, for who receives with other functions) and rights: false (files are refused: sending
    # them is Errno::EPERM). One that the kernel does not have is Errno::ENOPROTOOPT.
    def listen(path, mode: 0o600, replace: false, **options, &block)
      flags = flags_for(**options) | (replace ? C::REPLACE : 0)
      arguments = [c_path(path), Socket::SOCK_STREAM, mode, flags]
      # As long as the library waits for the lock where it may.
      make_socket(UNIXServer, C::LISTEN, arguments, 5, &block)
    end

    # Makes a socket and connects it, with the options of listen. With a block, closes it afterwards.
    def connect(path, **options, &block)
      arguments = [c_path(path), Socket::SOCK_STREAM, flags_for(**options)]
      make_socket(UNIXSocket, C::CONNECT, arguments, &block)
    end

    # Sends all of the files, or descriptors, with all of data, and returns how many bytes that was.
    # Without data it sends a byte of zero for each message it takes. The files stay the caller's.
    def send_files(socket, files, data = "")
      fds = numbers(files)
      most = C::MAX_FDS.call
      data = "\0" * fds.size.fdiv(most).ceil if data.empty?
      send_all(socket, data) do |rest, sent|
        # Each byte has taken as many descriptors as a message carries.
        left = fds.drop(sent * most)
        C::SEND_FDS.call(socket.fileno, left.pack("i*"), left.size, rest, rest.bytesize,
                         C::DONTWAIT)
      end
    end

    # Receives up to size bytes with up to room files, and returns the bytes and the files, or nil
    # when the peer has closed. With whole, it goes on until the peer has closed or size bytes have
    # come. More files than room, or than the process can have open, are an error, and gone; with
    # lossless the message stays queued then, and one that comes behind others ends the receive: the
    # next raises the error. The class of the files can be chosen, as for UNIXSocket#recv_io.
    def receive_files(socket, room, size, whole: false, lossless: false, as: IO)
      flags = C::DONTWAIT | (lossless ? C::LOSSLESS : 0)
      count = C.memory([0].pack("J"))
      data = C.memory("\0" * size)
      have = got = 0
      files = received(room, as) do |fds|
        loop do
          length = call(-> { socket.wait_readable }) do
            C.write(count, [room - got].pack("J"))
            C::RECV_FDS.call(socket.fileno, fds + (got * INT_SIZE), count, data + have, size - have,
                             flags)
          end
          have += length
          got += C.read(count, COUNT_SIZE).unpack1("J")
          break if !whole || length.zero? || have == size || !stream?(socket)
        end
      rescue SystemCallError
        # The message that stays queued has taken nothing of what has come before it.
        raise unless lossless && have.positive?
      end
      [C.read(data, have), files] unless have.zero? && got.zero?
    end

    # Asks for the identity of the sender with each message that the socket receives.
    def pass_creds(socket, on: true)
      call { C::SET_PASSCRED.call(socket.fileno, on ? 1 : 0) }
    end

    # Sends all of data with the identity of this process, and returns how many bytes that was;
    # without data a byte of zero.
    def send_creds(socket, data = "")
      send_all(socket, data.empty? ? "\0" : data) do |rest|
        C::SEND_CREDS.call(socket.fileno, nil, rest, rest.bytesize, C::DONTWAIT)
      end
    end

    # Receives up to size bytes, and returns them with the identity of their sender, or nil when the
    # peer has closed. Files that come with them are an error; with lossless the message stays
    # queued then.
    def receive_creds(socket, size, lossless: false)
      flags = C::DONTWAIT | (lossless ? C::LOSSLESS : 0)
      creds = C.memory([0, 0, 0].pack("iII"))
      data = C.memory("\0" * size)
      length = call(-> { socket.wait_readable }) do
        C::RECV_CREDS.call(socket.fileno, creds, data, size, flags)
      end
      [C.read(data, length), identity(creds)] unless length.zero?
    end

    # The identity of the process on the other end.
    def peer(socket)
      creds = C.memory([0, 0, 0].pack("iII"))
      call { C::PEER_CREDS.call(socket.fileno, creds) }
      identity(creds)
    end
  end

  # Numbers of descriptors, in memory where C reads and writes them, and objects that have some of
  # them. At every moment each descriptor has one owner: the object, if its autoclose is on, or else
  # the memory.
  #
  # Traps, Timeout, Thread#raise and Thread#kill raise whenever a method returns, also one that is
  # written in C, and also while what they have raised before is dealt with. So a descriptor changes
  # its owner in a single step. What an exception leaves in the memory is closed when the slots are
  # collected, if not before, and what it leaves to an object when that is.
  class Slots
    class << self
      def empty(count)
        memory = C.memory([-1].pack("i") * count)
        new(memory, count, -> { C::CLOSE_FDS.call(memory, count) })
      end

      # What closes all that the memory owns. It can be called again, and does not keep the slots.
      def closing(state, close)
        lambda do |_ = nil|
          # In a finalizer Ruby ignores exceptions.
          Thread.handle_interrupt(Object => :never) do
            settle(*state)
            close.call
          end
        end
      end

      # Leaves nothing in the memory that an object owns.
      def settle(memory, count, objects)
        return if objects.empty?

        owned = objects.select { |object| owner?(object) }.to_h { |object| [object.fileno, -1] }
        numbers = C.read(memory, count * INT_SIZE).unpack("i*")
        remaining = numbers.zip(numbers).to_h.merge(owned)
        C.write(memory, numbers.map(&remaining).pack("i*"))
        objects.clear
      end

      private

      def owner?(object)
        object.autoclose?
      rescue IOError
        # It has no descriptor.
        false
      end
    end

    attr_reader :memory

    # With what closes the descriptors whose numbers are in the memory.
    def initialize(memory, count, close)
      @memory = memory
      @count = count
      @objects = []
      @closing = self.class.closing([memory, count, @objects], close)
      ObjectSpace.define_finalizer(self, @closing)
    end

    def numbers
      C.read(@memory, @count * INT_SIZE).unpack("i*").reject(&:negative?)
    end

    # Has the memory own what an object does.
    def take(object, place)
      @objects << object
      C.write(@memory + (place * INT_SIZE), [object.fileno].pack("i"))
      object.autoclose = false
    end

    # Objects that own what the memory does, or none of them if one cannot be made.
    def hand_over(numbers, as)
      objects = numbers.map { |number| made(number, as) }
      @objects.concat(objects)
      objects.each { |object| object.autoclose = true }
      settle
      objects
    end

    def settle
      self.class.settle(@memory, @count, @objects)
    end

    def close
      @closing.call
    end

    private

    # An object that does not own its descriptor.
    def made(number, as)
      object = as.allocate
      IO.instance_method(:initialize).bind_call(object, number, autoclose: false)
      return object unless as <= BasicSocket

      # As for_fd does, which would have it own that.
      object.getsockopt(:SOCKET, :TYPE)
      object.binmode.sync = true
      object
    end
  end
  private_constant :Slots

  # What the functions and channels are made of.
  module Shared
    private

    def numbers(files)
      files.map { |file| file.is_a?(Integer) ? fitting(file, INTS) : file.to_io.fileno }
    end

    # A number that pack does not cut to another.
    def fitting(number, range)
      range.cover?(number) && number.integer? ? number : raise(RangeError, "#{number} does not fit")
    end

    # Objects of the descriptors that a block has C write to memory.
    def received(room, as)
      slots = Slots.empty(room)
      yield slots.memory
      slots.hand_over(slots.numbers, as)
    ensure
      slots&.close
    end

    # The socket that a function makes. Traps are run by the main thread alone, and another can be
    # told not to be interrupted: so that calls it, because the function returns its result.
    def make_socket(as, function, arguments, patience = Float::INFINITY, &block)
      make = lambda do
        # Who called this is told.
        Thread.current.report_on_exception = false
        result = function.call(*arguments)
        result.negative? ? result : as.for_fd(result)
      end
      socket = nil
      waited = 0
      wait = lambda do
        raise Errno::EBUSY if waited >= patience

        # The kernel tells nobody when another process is ready for a connection.
        waited += sleep_a_little
      end
      call(wait) do
        socket = Thread.handle_interrupt(Object => :never) { Thread.new(&make) }.value
        socket.is_a?(Integer) ? socket : 0
      end
      block ? closing(socket, &block) : socket
    end

    # Returns how many seconds that was.
    def sleep_a_little
      before = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      sleep 0.01
      Process.clock_gettime(Process::CLOCK_MONOTONIC) - before
    end

    def closing(socket)
      yield socket
    ensure
      socket.close
    end

    def flags_for(creds: false, pidfd: false, rights: true)
      C::DONTWAIT | (creds ? C::PASSCRED : 0) | (pidfd ? C::PASSPIDFD : 0) |
        (rights ? 0 : C::NORIGHTS)
    end

    # A path that C does not take for a shorter one.
    def c_path(path)
      path = File.path(path)
      raise ArgumentError, "string contains null byte" if path.include?("\0")

      path
    end

    def stream?(socket)
      socket.getsockopt(:SOCKET, :TYPE).int == Socket::SOCK_STREAM
    end

    def identity(memory)
      Creds.new(*C.read(memory, 3 * INT_SIZE).unpack("iII"))
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
  private_constant :Shared
  extend Shared

  # A message of a channel. Its files are the caller's to close. The pid is, in the formats of imsg,
  # the process of the sender, as that says.
  Message = Struct.new(:type, :id, :data, :files, :pid) unless const_defined?(:Message)

  # One end of a stream on which messages travel whole, each with its files. It owns the socket,
  # which to_io returns.
  #
  # With wait: false a message that cannot go is Errno::EAGAIN, or has been taken and waits: events
  # tells what to wait for with to_io.wait. Receive until Errno::EAGAIN before that, because messages
  # that have come already are not seen there.
  #
  # One thread at a time uses a channel, and no trap that may have interrupted it.
  class Channel
    include Shared

    # The formats: the library's own; that of OpenBSD, and what it was before 2025, of which a
    # message has one file at most, and less than 65520 bytes.
    PLAIN = 0
    IMSG = 1
    IMSG_OLD = 2

    STRUCT = "JiIIx#{-12 % COUNT_SIZE}J10x128".freeze
    FRAME = "I3x#{-12 % COUNT_SIZE}J4x16".freeze
    STRUCT_SIZE = ([0] * 14).pack(STRUCT).bytesize
    FRAME_SIZE = ([0] * 7).pack(FRAME).bytesize
    private_constant :STRUCT, :FRAME, :STRUCT_SIZE, :FRAME_SIZE

    # What closes the files of a channel, and keeps its memory.
    def self.dropping(channel, memory)
      -> { memory && C::CHANNEL_DROP.call(channel) }
    end
    private_class_method :dropping

    # For messages of up to size bytes with up to that many files, on either side. One that comes
    # with more is Errno::E2BIG, and gone; the other end may be made for more. With lossless, files that
    # the process cannot have open stay queued: it is Errno::EMFILE, and the message can be received
    # later.
    def initialize(socket, size: 65_536, files: 253, format: PLAIN, lossless: false)
      @socket = socket
      # A header, and up to a multiple of 8.
      room = (size + 16 + 7) / 8 * 8
      # The most of a message or of one sendmsg(2), which the other end fills with those of many,
      # and what comes with the next one.
      most = C::MAX_FDS.call
      counts = [room, [files, most].max + most, room, files]
      @files = files
      memory = counts.zip([1, INT_SIZE] * 2).map { |count, each| C.memory("\0" * (count * each)) }
      arrays = memory.map(&:to_i).zip(counts)
      flags = lossless ? C::LOSSLESS : 0
      fields = [STRUCT_SIZE, -1, flags, fitting(format, UINTS), 0, 0, *arrays.flatten]
      @channel = C.memory(fields.pack(STRUCT))
      @arrived = Slots.new(memory[1], counts[1], self.class.__send__(:dropping, @channel, memory))
    end

    # Sends a message. It has gone then, or waits in the channel, if the call does not wait; if it
    # raises an error of Errno, it has not been taken. With more it may wait for the next one and go
    # with it.
    #
    # Files, or descriptors, stay the caller's. Their message is taken only if they can go at once;
    # with take it may wait, because the channel takes duplicates.
    def send(type, id = 0, data = "", files = [], more: false, take: false, wait: true)
      flags = (more ? C::MORE : 0) | (take ? C::TAKE : 0)
      payload = C.memory(data)
      about = [type, id].map { |number| fitting(number, UINTS) }
      lent(files, take) do |fds, count|
        frame = [*about, 0, payload.to_i, data.bytesize, fds.to_i, count].pack(FRAME)
        transfer(C::CHANNEL_SEND, wait && :wait_writable, C.memory(frame), flags)
      end
      go_on(wait) unless more
    end

    # Sends what waits.
    def flush(wait: true)
      transfer(C::CHANNEL_FLUSH, wait && :wait_writable, 0)
      nil
    end

    # Receives the next message, with files of that class, or nil when the peer has closed.
    def receive(as: IO, wait: true)
      frame = C.memory("\0" * FRAME_SIZE)
      return if transfer(C::CHANNEL_RECV, wait && :wait_readable, frame, 0).zero?

      type, id, pid, data, size, fds, count = C.read(frame, FRAME_SIZE).unpack(FRAME)
      if count > @files
        C::CLOSE_FDS.call(C.at(fds), count)
        raise Errno::E2BIG
      end
      data = size.zero? ? "".b : C.read(C.at(data), size)
      Message.new(type, id, data, count.zero? ? [] : handed_over(C.at(fds), count, as), pid)
    end

    # What to wait for: IO::READABLE and IO::WRITABLE or'ed together, 0 after the end.
    def events
      call { C::CHANNEL_EVENTS.call(@channel) }
    end

    def to_io
      @socket
    end

    # Closes the socket, and what has come and not been received, or waits to be sent.
    def close
      @arrived.close
      @socket.close
    end

    private

    def transfer(function, wait, *frame, flags)
      # An exception may have come before that.
      @arrived.settle
      call(wait && -> { @socket.__send__(wait) }) do
        # The number of a socket that is closed can be another file's.
        C.write(@channel + COUNT_SIZE, [@socket.fileno].pack("i"))
        function.call(@channel, *frame, flags | C::DONTWAIT)
      end
    end

    # Sends the rest of a message that has been taken. What goes wrong, the next call tells.
    def go_on(wait)
      flush(wait: wait)
    rescue SystemCallError
      nil
    end

    # Has a block send descriptors, or duplicates of them: it writes -1 where it takes one.
    def lent(files, take)
      return yield C.memory(numbers(files).pack("i*")), files.size unless take

      begin
        slots = Slots.empty(files.size)
        files.each_with_index { |file, place| slots.take(io(file).dup, place) }
        yield slots.memory, files.size
      ensure
        slots&.close
      end
    end

    def io(file)
      file.is_a?(Integer) ? IO.for_fd(file, autoclose: false) : file.to_io
    end

    # Objects that own the descriptors of a message.
    def handed_over(fds, count, as)
      @arrived.hand_over(C.read(fds, count * INT_SIZE).unpack("i*"), as)
    ensure
      @arrived.settle
      C::CLOSE_FDS.call(fds, count)
    end
  end
end
