# Answers each descriptor with a new file, with UNIXSocket#recv_io and #send_io.

require "socket"
require "tempfile"

link = UNIXSocket.for_fd(0)
# recv_io does not tell the end from a byte without a descriptor.
until link.recv(1, Socket::MSG_PEEK).to_s.empty?
  file = link.recv_io
  Tempfile.create do |answer|
    answer.write("answer to ", file.pread(100, 0))
    answer.flush
    link.send_io(answer)
  end
  file.close
end
