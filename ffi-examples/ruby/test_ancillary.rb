# frozen_string_literal: true

# SPDX-License-Identifier: MIT OR Apache-2.0

# What the wrappers promise beyond what pass.rb shows.

require "ancillary"
require "fiddle"
require "minitest/autorun"
require "tempfile"
require "tmpdir"
require "timeout"

# How many descriptors are open.
module Descriptors
  def descriptors
    # Ruby makes some of its own with its first thread.
    Thread.new { nil }.join
    Dir.children("/proc/self/fd").size
  end
end

class TestAncillary < Minitest::Test
  include Descriptors

  class Interrupted < StandardError; end

  def setup
    @before = descriptors
    # Ours blocks; Ruby makes sockets that do not.
    @name = "@ancillary-#{Process.pid}"
    Ancillary.listen(@name) do |server|
      @ours = Ancillary.connect(@name)
      @theirs = server.accept
    end
  end

  def teardown
    [@ours, @theirs].each(&:close)
    assert_equal @before, descriptors
  end

  # Waits until a thread has taken what there was for it, and waits for more.
  def until_waits(thread)
    Thread.pass until thread.stop? && !@ours.to_io.wait_readable(0)
  end

  def test_other_threads_run_while_a_call_waits
    thread = Thread.new { Ancillary.receive_files(@ours, 1, 10) }
    until_waits(thread)
    File.open(File::NULL) { |null| Ancillary.send_files(@theirs, [null], "data") }
    data, files = thread.value
    assert_equal "data", data
    assert_equal [""], files.map(&:read)
    files.each(&:close)
  end

  def test_a_call_that_waits_goes_on_after_a_trap
    # Nothing more would come without it.
    main = Thread.current
    previous = trap("USR1") do
      Ancillary.send_files(@theirs, [0], "more")
      @theirs.close
    end
    Ancillary.send_files(@theirs, [0] * 300)
    thread = Thread.new do
      until_waits(main)
      Process.kill("USR1", Process.pid)
    end
    data, files = Ancillary.receive_files(@ours, 301, 10, whole: true)
    thread.join
    assert_equal ["\0\0more", 301], [data, files.size]
    files.each(&:close)
  ensure
    trap("USR1", previous)
  end

  def test_a_timeout_ends_the_wait_and_what_has_come_is_closed
    Ancillary.send_files(@theirs, [0] * 300)
    assert_raises(Timeout::Error) do
      Timeout.timeout(0.01) { Ancillary.receive_files(@ours, 301, 10, whole: true) }
    end
  end

  def test_the_end_of_a_thread_ends_the_wait_and_what_has_come_is_closed
    Ancillary.send_files(@theirs, [0] * 300)
    thread = Thread.new { Ancillary.receive_files(@ours, 301, 10, whole: true) }
    until_waits(thread)
    thread.kill
    thread.join
  end

  def test_all_is_sent_also_when_it_takes_waiting
    data = Random.bytes(1 << 20)
    thread = Thread.new { Ancillary.send_files(@theirs, [0] * 300, data) }
    received, files = Ancillary.receive_files(@ours, 300, data.bytesize, whole: true)
    assert_equal data.bytesize, thread.value
    assert_equal data, received
    assert_equal 300, files.size
    files.each(&:close)
  end

  def test_a_timeout_ends_sending
    assert_raises(Timeout::Error) do
      Timeout.timeout(0.01) { Ancillary.send_files(@ours, [], "x" * (1 << 20)) }
    end
  end

  def test_a_timeout_ends_connecting
    Ancillary.listen(@name) do |server|
      # With that there is room for one that is not accepted.
      server.listen(0)
      Ancillary.connect(@name) do
        assert_raises(Timeout::Error) { Timeout.timeout(0.01) { Ancillary.connect(@name) } }
      end
    end
  end

  def test_files_are_opened_as_the_sender_has_them
    Tempfile.create do |file|
      File.open(file.path, "r") do |reader|
        File.open(file.path, "w") do |writer|
          Ancillary.send_files(@theirs, [reader, writer])
        end
      end
      _, (reader, writer) = Ancillary.receive_files(@ours, 2, 1)
      assert_raises(IOError) { reader.write("x") }
      assert_raises(IOError) { writer.read }
      [reader, writer].each(&:close)
    end
  end

  def test_descriptors_can_become_sockets
    Ancillary.send_files(@theirs, [@theirs])
    _, (other,) = Ancillary.receive_files(@ours, 1, 1, as: UNIXSocket)
    other.write("data")
    assert_equal "data", @ours.readpartial(10)
    other.close
  end

  def test_what_has_come_is_closed_when_it_cannot_be_handed_over
    File.open(File::NULL) { |null| Ancillary.send_files(@theirs, [@theirs, null, @theirs]) }
    assert_raises(Errno::ENOTSOCK) { Ancillary.receive_files(@ours, 3, 1, as: UNIXSocket) }
  end

  def test_errors_are_those_of_errno
    Ancillary.send_files(@theirs, [0, 0])
    assert_raises(Errno::E2BIG) { Ancillary.receive_files(@ours, 1, 1) }
    @theirs.close
    assert_nil Ancillary.receive_files(@ours, 1, 1)
    assert_raises(Errno::EPIPE) { Ancillary.send_files(@ours, [0]) }
  end

  def test_without_loss_what_there_is_no_room_for_stays_queued
    Ancillary.send_files(@theirs, [], "first")
    Ancillary.send_files(@theirs, [0, 0], "second")
    all = { whole: true, lossless: true }
    assert_equal ["first", []], Ancillary.receive_files(@ours, 1, 11, **all)
    assert_raises(Errno::E2BIG) { Ancillary.receive_files(@ours, 1, 6, **all) }
    assert_raises(Errno::E2BIG) { Ancillary.receive_creds(@ours, 6, lossless: true) }
    data, files = Ancillary.receive_files(@ours, 2, 6, **all)
    assert_equal ["second", 2], [data, files.size]
    files.each(&:close)
  end

  def test_closing_ends_the_wait
    thread = Thread.new { Ancillary.receive_files(@ours, 1, 10) }
    thread.report_on_exception = false
    until_waits(thread)
    @ours.close
    assert_raises(IOError) { thread.value }
  end

  def test_options_hold_for_the_first_message
    Ancillary.listen(@name, creds: true) do |server|
      Ancillary.connect(@name) do |socket|
        Ancillary.send_files(socket, [], "data")
        accepted = server.accept
        data, sender = Ancillary.receive_creds(accepted, 10)
        assert_equal ["data", Process.pid], [data, sender.pid]
        accepted.close
      end
      assert_raises(ArgumentError) { Ancillary.connect(@name, credentials: true) }
      refuses_files(server)
    end
  end

  def refuses_files(server)
    Ancillary.connect(@name, rights: false) do
      accepted = server.accept
      assert_raises(Errno::EPERM) { Ancillary.send_files(accepted, [0]) }
      accepted.close
    end
  rescue Errno::ENOPROTOOPT
    # Linux has it since 6.16.
  end

  def test_listening_does_not_wait_for_ever_for_a_lock
    Dir.mktmpdir do |folder|
      path = File.join(folder, "socket")
      # Nobody listens there any more.
      Ancillary.listen(path).close
      File.open(folder) do |lock|
        lock.flock(File::LOCK_EX)
        assert_raises(Errno::EBUSY) { Ancillary.listen(path, replace: true) }
      end
      Ancillary.listen(path, replace: true).close
    end
  end

  def test_names_are_not_cut
    assert_raises(ArgumentError) { Ancillary.listen("/tmp/name\0more") }
    assert_raises(ArgumentError) { Ancillary.connect("/tmp/name\0more") }
  end

  def test_numbers_are_not_cut
    [1 << 31, 1 << 32, (1 << 32) + 1, 1 << 64, -(1 << 31) - 1].each do |number|
      assert_raises(RangeError) { Ancillary.send_files(@theirs, [number], "data") }
    end
    assert_nil @ours.to_io.wait_readable(0)
    # It is told once.
    assert_silent do
      assert_raises(RangeError) { Ancillary.listen("@ancillary-cut", mode: 1 << 32) }
    end
  end
end

class TestChannel < Minitest::Test
  include Descriptors

  def setup
    @before = descriptors
    @ours, @theirs = channels
  end

  def teardown
    [@ours, @theirs].each(&:close)
    assert_equal @before, descriptors
  end

  # Two that are connected, with small buffers, for up to 300 files.
  def channels(**options)
    UNIXSocket.pair.map do |socket|
      socket.setsockopt(:SOCKET, :SNDBUF, 1)
      Ancillary::Channel.new(socket, files: 300, **options)
    end
  end

  def take(channel, **options)
    message = channel.receive(**options)
    message.files.each(&:close)
    [message.type, message.id, message.data, message.files.size]
  end

  def test_messages_come_whole_with_their_files
    cases = [["", 0], ["", 1], ["a" * 20_000, 2], ["", 300], ["abc", 300]]
    thread = Thread.new do
      cases.each_with_index do |(data, files), i|
        @theirs.send(i, 1 << 31, data, [0] * files, take: files == 300)
      end
    end
    cases.each_with_index { |(data, files), i| assert_equal [i, 1 << 31, data, files], take(@ours) }
    thread.join
    @theirs.close
    2.times { assert_nil @ours.receive }
    assert_raises(Errno::EPIPE) { @ours.send(0) }
  end

  def test_imsg_is_understood_in_both_layouts
    [Ancillary::Channel::IMSG, Ancillary::Channel::IMSG_OLD].each do |format|
      ours, theirs = channels(format: format)
      theirs.send(1, 2, "data", [0])
      message = ours.receive
      assert_equal [1, 2, "data", Process.pid], message.values_at(0, 1, 2, 4)
      assert_raises(Errno::E2BIG) { theirs.send(1, 2, "data", [0, 0]) }
      [ours, theirs, *message.files].each(&:close)
    end
  end

  def test_what_may_wait_goes_with_the_next
    2.times { |i| @theirs.send(i, 0, "", [0] * 3, more: true, take: true) }
    # There is one of the channel for each, until it has gone.
    assert_equal @before + 2 + 6, descriptors
    assert_equal IO::READABLE | IO::WRITABLE, @theirs.events
    assert_raises(Errno::EAGAIN) { @ours.receive(wait: false) }
    @theirs.flush
    assert_equal IO::READABLE, @theirs.events
    2.times { |i| assert_equal [i, 0, "", 3], take(@ours) }
    assert_equal @before + 2, descriptors
  end

  def test_the_other_end_may_gather_the_files_of_many_messages
    ours, theirs = UNIXSocket.pair.zip([1, 253]).map do |socket, files|
      Ancillary::Channel.new(socket, files: files)
    end
    302.times { |i| theirs.send(i, 0, "", i == 300 ? [0, 0] : [0], more: i < 301, take: true) }
    300.times { |i| assert_equal [i, 0, "", 1], take(ours) }
    assert_raises(Errno::E2BIG) { ours.receive }
    assert_equal [301, 0, "", 1], take(ours)
    [ours, theirs].each(&:close)
  end

  def test_a_message_that_cannot_go_is_not_taken_and_can_be_sent_again
    sent = received = refused = 0
    while received < 100
      begin
        if sent < 100
          @theirs.send(sent, 0, "x" * 30_000, [0, 0], take: sent.even?, wait: false)
          sent += 1
          next
        end
        @theirs.flush(wait: false)
      rescue Errno::EAGAIN
        refused += 1
      end
      begin
        assert_equal [received, 0, "x" * 30_000, 2], take(@ours, wait: false)
        received += 1
      rescue Errno::EAGAIN
        next
      end
    end
    assert_operator refused, :>, 1
  end

  def test_files_that_are_taken_stay_the_callers_as_well
    File.open(File::NULL) do |null|
      @theirs.send(0, 0, "", [null, @theirs], take: true)
      assert_equal "", null.read
    end
    null, socket = @ours.receive.files
    assert_equal "", null.read
    [null, socket].each(&:close)
  end

  def test_a_timeout_ends_the_wait
    assert_raises(Timeout::Error) { Timeout.timeout(0.01) { @ours.receive } }
    assert_raises(Timeout::Error) do
      Timeout.timeout(0.01) { loop { @ours.send(0, 0, "x" * 60_000, [0], take: true) } }
    end
  end

  def test_the_end_within_a_message_is_an_error
    @theirs.to_io.write([20, 0, 0, 1, 2].pack("ISSII"))
    @theirs.close
    2.times { assert_raises(Errno::EPROTO) { @ours.receive } }
    assert_equal 0, (@ours.events & IO::READABLE)
  end

  def test_what_a_channel_holds_is_closed_with_it
    3.times do |i|
      @theirs.send(0, 0, "", [0] * 3, more: true, take: true)
      @theirs.flush if i == 1
    end
    # The channel has the next one as well.
    take(@ours)
    assert_operator descriptors, :>=, @before + 2 + 6
    [@ours, @theirs].each(&:close)
    assert_equal @before, descriptors
    assert_raises(IOError) { @ours.receive }
    assert_raises(IOError) { @theirs.send(0, 0, "", [0], more: true, take: true) }
  end

  def test_what_fails_leaves_nothing
    assert_raises(Errno::EMSGSIZE) { @theirs.send(0, 0, "", [0] * 301, take: true) }
    assert_raises(Errno::E2BIG) { @theirs.send(0, 0, "", [0] * 254) }
    assert_raises(Errno::EBADF) { @theirs.send(0, 0, "", [0, 0, -1], take: true) }
    # The rest is as it was, also behind one that cannot be handed over.
    File.open(File::NULL) { |null| @theirs.send(0, 0, "", [@theirs, null, @theirs]) }
    @theirs.send(1, 2, "data", [@theirs])
    assert_raises(Errno::ENOTSOCK) { @ours.receive(as: UNIXSocket) }
    assert_equal [1, 2, "data", 1], take(@ours, as: UNIXSocket)
  end

  def test_numbers_are_not_cut
    [-1, 1 << 32, (1 << 32) + 1, 0.5].each do |number|
      [[number, 0], [0, number]].each do |numbers|
        assert_raises(RangeError) { @theirs.send(*numbers) }
      end
      assert_raises(RangeError) { Ancillary::Channel.new(@ours.to_io, format: number) }
    end
    [false, true].each do |take|
      assert_raises(RangeError) { @theirs.send(0, 0, "", [1 << 32], take: take) }
    end
    assert_nil @ours.to_io.wait_readable(0)
  end

  def test_without_loss_files_for_which_there_is_no_number_stay_queued
    ours, theirs = channels(lossless: true)
    theirs.send(1, 2, "", [0] * 253)
    soft, hard = Process.getrlimit(:NOFILE)
    Process.setrlimit(:NOFILE, descriptors + 100, hard)
    begin
      assert_raises(Errno::EMFILE) { ours.receive }
      assert_raises(Errno::EMFILE) { theirs.send(1, 2, "", [0] * 253, take: true) }
    ensure
      Process.setrlimit(:NOFILE, soft, hard)
    end
    assert_equal [1, 2, "", 253], take(ours)
    [ours, theirs].each(&:close)
  end
end

# Exceptions that come from outside, of traps and of other threads, and also while another is dealt
# with.
class TestInterruptions < Minitest::Test
  include Descriptors

  class Interrupted < StandardError; end

  SETITIMER = Fiddle::Function.new(Fiddle::Handle::DEFAULT["setitimer"],
                                   [Fiddle::TYPE_INT, Fiddle::TYPE_VOIDP, Fiddle::TYPE_VOIDP],
                                   Fiddle::TYPE_INT, need_gvl: true)

  def setup
    @names = 0
    @ours, @theirs = UNIXSocket.pair
    @calls = [
      -> { Ancillary.receive_files(@ours, 3, 4)[1] },
      -> { Ancillary.receive_files(@ours, 3, 4, whole: true, as: UNIXSocket)[1] },
      -> { [Ancillary.listen(new_name)] },
      -> { [Ancillary.connect(@name)] },
      -> { messages },
      -> { closed },
      -> { failing(Errno::EMSGSIZE) { |ours, _| ours.send(0, 0, "", [@null] * 5, take: true) } },
      -> { failing(Errno::EBADF) { |ours, _| ours.send(0, 0, "", [@null, 0, -1], take: true) } },
      -> { failing(Errno::EAGAIN) { |ours, _| send_two(ours) } },
      -> { failing(Errno::ENOTSOCK) { |ours, theirs| receive_no_sockets(ours, theirs) } },
      -> { failing(Errno::ENOTSOCK) { |ours, theirs| receive_no_socket(ours.to_io, theirs.to_io) } }
    ]
    @null = File.open(File::NULL)
    @calls.each { |call| prepared { @made = call.call } }
    GC.start
    @before = descriptors
  end

  def teardown
    [@ours, @theirs, @null].each(&:close)
  end

  # No other process has one, nor this one a second time.
  def new_name
    @name = "@ancillary-#{Process.pid}-#{@names += 1}"
  end

  # Two channels, and what has come on one of them.
  def messages
    ours, theirs = UNIXSocket.pair.map { |socket| Ancillary::Channel.new(socket, size: 100) }
    theirs.send(0, 0, "data", [0] * 3, take: true, more: true)
    theirs.send(1, 0, "data", [0] * 3, take: true)
    [ours, theirs, *ours.receive.files]
  end

  # What is left of a channel that holds files, and is closed. It has a socket that somebody else
  # closes, because IO#close itself loses a descriptor when it is interrupted.
  def closed
    sockets = UNIXSocket.pair
    channel = Ancillary::Channel.new(IO.for_fd(sockets.first.fileno, autoclose: false))
    channel.send(0, 0, "data", [@null] * 3, take: true, more: true)
    channel.close
    sockets
  end

  # Two channels, after a call that fails.
  def failing(error)
    channels = UNIXSocket.pair.map { |socket| Ancillary::Channel.new(socket, size: 100, files: 4) }
    begin
      yield channels
    rescue error
      return channels
    end
    flunk
  end

  def send_two(channel)
    channel.to_io.setsockopt(:SOCKET, :SNDBUF, 1)
    nil until channel.to_io.write_nonblock("x" * 10_000, exception: false) == :wait_writable
    2.times { channel.send(0, 0, "x" * 100, [@null, 0], take: true, wait: false) }
  end

  def receive_no_sockets(ours, theirs)
    theirs.send(0, 0, "data", [@ours, @null, @ours])
    ours.receive(as: UNIXSocket)
  end

  def receive_no_socket(ours, theirs)
    Ancillary.send_files(theirs, [@ours, @null, @ours], "data")
    Ancillary.receive_files(ours, 4, 4, as: UNIXSocket)
  end

  # What nobody has got any more is closed when it is collected, which an address on the stack can
  # put off.
  def assert_none_is_left
    100.times do
      GC.start
      return if descriptors <= @before
    end
    assert_operator descriptors, :<=, @before
  end

  # Does something with a message and a listener waiting for it, and leaves none. What has been made
  # is closed afterwards.
  def prepared
    Ancillary.send_files(@theirs, [@theirs] * 3, "data")
    listener = Ancillary.listen(new_name)
    yield
  ensure
    [*@made, listener].compact.each(&:close)
    @made = nil
    @ours.recv_nonblock(4, exception: false)
  end

  # Whether a call is interrupted. Then other files are opened, and must stay open.
  def interrupted?
    yield
    false
  rescue Interrupted
    others = Array.new(8) { File.open(File::NULL) }
    GC.start if rand(20).zero?
    others.each do |file|
      assert file.stat.chardev?
      file.close
    end
    true
  end

  # Raises when those lines of the wrapper are about to be run, and notes how many were not. What is
  # raised in a finalizer, Ruby ignores: so there are none meanwhile.
  def raise_at(*moments, &block)
    line = -1
    trace = TracePoint.new(:line) do |point|
      next unless point.path.end_with?("/ancillary.rb")

      line += 1
      next unless line == moments.first

      moments.shift
      raise Interrupted
    end
    GC.disable
    trace.enable(target_thread: Thread.current) { @made = block.call }
  ensure
    GC.enable
    @left = moments.size
  end

  def test_at_every_line
    @calls.each do |call|
      moment = 0
      moment += 1 while interrupted? { prepared { raise_at(moment, &call) } }
      assert_none_is_left
      assert_operator moment, :>, 10
    end
  end

  def test_at_every_line_while_another_is_dealt_with
    @calls.each do |call|
      moment = 0
      while interrupted? { prepared { raise_at(moment, moment + 1, &call) } }
        second = moment + 1
        while @left.zero?
          second += 1
          interrupted? { prepared { raise_at(moment, second, &call) } }
        end
        moment += 1
      end
      assert_none_is_left
    end
  end

  def wanted
    Integer(ENV.fetch("ANCILLARY_TEST_INTERRUPTIONS", "300"))
  end

  def chance
    @chance ||= Random.new(Integer(ENV.fetch("ANCILLARY_TEST_SEED", Random.new_seed & 0xffffffff)))
                      .tap { |random| warn "seed #{random.seed}" }
  end

  # Opens files, and raises if somebody else closes one of them.
  def open_and_close
    until @stop
      others = Array.new(4) { File.open(File::NULL) }
      sleep 0.0001
      others.each do |file|
        raise "another file" unless file.stat.chardev?

        file.close
      end
    end
  end

  def beside_others
    @stop = false
    threads = Array.new(2) { Thread.new { open_and_close } }
    yield
  ensure
    @stop = true
    threads.each(&:join)
  end

  def alarm_in(microseconds)
    SETITIMER.call(0, [0, 0, 0, microseconds].pack("l!4"), nil)
  end

  # A trap can run at any moment of the main thread, however late. So it looks whether there is
  # something to interrupt, and stays when the test is done. It raises once, or a second time while
  # the first is dealt with.
  def interrupt
    return unless @armed.positive?

    @armed -= 1
    alarm_in(chance.rand(1..30)) if @armed.positive?
    raise Interrupted
  end

  def test_by_traps_at_random
    @armed = 0
    trap("ALRM") { interrupt }
    count = 0
    beside_others do
      while count < wanted
        call = @calls.sample(random: chance)
        count += 1 if interrupted? { prepared { with_alarm(call) } }
      end
    end
    assert_none_is_left
  end

  def with_alarm(call)
    @armed = chance.rand(1..2)
    alarm_in(chance.rand(1..200))
    @made = call.call
  ensure
    @armed = 0
  end

  def test_by_another_thread_at_random
    main = Thread.current
    go = Queue.new
    other = Thread.new do
      while (raised = go.pop)
        main.raise(Interrupted)
        raised << true
      end
    end
    count = 0
    beside_others do
      while count < wanted
        call = @calls.sample(random: chance)
        count += 1 if interrupted? { prepared { raised_from(go, call) } }
      end
    end
    assert_none_is_left
  ensure
    go << nil
    other.join
  end

  # Has another thread raise an exception, which comes at the end at the latest, unless it has come
  # where Ruby ignores it, in a finalizer. A sleep without an end can miss it.
  def raised_from(queue, call)
    raised = []
    queue << raised
    @made = call.call
    sleep 0.001 while raised.empty?
    sleep 0.001
  end
end
