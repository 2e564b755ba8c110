# frozen_string_literal: true

# What the wrappers promise beyond what pass.rb shows.

require "ancillary"
require "minitest/autorun"
require "tempfile"
require "timeout"

class TestAncillary < Minitest::Test
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

  def descriptors
    # Ruby makes some of its own with its first thread.
    Thread.new {}.join
    Dir.children("/proc/self/fd").size
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
    error = assert_raises(SystemCallError) do
      Ancillary.receive_files(@ours, 3, 1, as: UNIXSocket)
    end
    assert_match "not a socket", error.message
  end

  def test_errors_are_those_of_errno
    Ancillary.send_files(@theirs, [0, 0])
    assert_raises(Errno::E2BIG) { Ancillary.receive_files(@ours, 1, 1) }
    @theirs.close
    assert_nil Ancillary.receive_files(@ours, 1, 1)
    assert_raises(Errno::EPIPE) { Ancillary.send_files(@ours, [0]) }
  end

  def test_names_are_not_cut
    assert_raises(ArgumentError) { Ancillary.listen("/tmp/name\0more") }
    assert_raises(ArgumentError) { Ancillary.connect("/tmp/name\0more") }
  end
end
