// SPDX-License-Identifier: MIT OR Apache-2.0

package ancillary

// #include <errno.h>
// #include <fcntl.h>
// #include <stdlib.h>
// #include <ancillary.h>
//
// /* Memory of C must not refer to memory of Go, but the stack of C may. */
// static int channel_send(struct ancillary_channel *channel, uint32_t type, uint32_t id,
//         const uint8_t *data, size_t len, int *fds, size_t nfds, unsigned int flags)
// {
//         struct ancillary_frame frame = { .type = type, .id = id, .data = data, .len = len,
//                 .fds = fds, .nfds = nfds };
//         return ancillary_channel_send(channel, &frame, flags);
// }
//
// static int duplicate(int fd)
// {
//         int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
//         return copy < 0 ? -errno : copy;
// }
import "C"

import (
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"
)

// Flags for Channel.Send.
const (
	// More has the message wait for the next one, or for Flush, and go with it.
	More Flags = C.ANCILLARY_MORE
	// Take has the channel take duplicates of the files, so that the message may wait.
	Take Flags = C.ANCILLARY_TAKE
)

// A Format is how messages look on the stream.
type Format uint

const (
	// Plain is the library's own format.
	Plain Format = C.ANCILLARY_FORMAT_PLAIN
	// Imsg is that of OpenBSD. Its messages have one file at most, and less than 65520 bytes.
	Imsg Format = C.ANCILLARY_FORMAT_IMSG
	// ImsgOld is what it was before 2025. Either is understood.
	ImsgOld Format = C.ANCILLARY_FORMAT_IMSG_OLD
)

const (
	// The most bytes and files of a message: what is made of them is an int on each machine.
	limit       = 1 << 27
	headerSize  = 16
	channelSize = C.sizeof_struct_ancillary_channel
)

// A Message is what a channel has received.
type Message struct {
	Type, ID uint32
	// PID is, in the imsg formats, the process of the sender, as that says.
	PID  uint32
	Data []byte
	// Files are those who receive the message have to close, each or with the message.
	Files []*os.File
}

// Close closes the files of the message that are still open.
func (message *Message) Close() {
	for _, file := range message.Files {
		file.Close()
	}
}

// A Channel is one end of a connection on which messages travel whole, each with its files, also
// where the stream cuts them. It waits as the other functions do: deadlines of the connection hold,
// and Close ends the wait. One goroutine may receive while another sends.
type Channel struct {
	conn *net.UnixConn
	raw  syscall.RawConn
	// Held while C works, which does not wait.
	mutex sync.Mutex
	// In memory of C, with all that it points to; nil when closed.
	channel *C.struct_ancillary_channel
	files   int
}

// NewChannel makes a channel that owns the connection, for messages of up to size bytes with up to
// that many files, on either side. One that comes with more files is syscall.E2BIG, and gone; the
// other end may be made for more of them. More than 1 << 27 of either is syscall.EINVAL. The flags are
// 0 or Lossless: files that the process cannot have open stay queued (syscall.EMFILE), and the message
// can be received later.
func NewChannel(
	conn *net.UnixConn, size, files int, format Format, flags Flags,
) (*Channel, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	if size < 0 || size > limit || files < 0 || files > limit {
		return nil, failure("ancillary_channel", -C.EINVAL)
	}
	// In the plain format it goes up to a multiple of 8.
	room := (size + headerSize + 7) / 8 * 8
	intSize := int(unsafe.Sizeof(C.int(0)))
	// The most of a message or of one sendmsg(2), which the other end fills with those of many, and
	// what comes with the next one.
	most := int(C.ancillary_max_fds())
	come := files + most
	if files < most {
		come = 2 * most
	}
	memory := C.malloc(C.size_t(channelSize + 2*room + (come+files)*intSize))
	in := unsafe.Add(memory, channelSize)
	out := unsafe.Add(in, room)
	inFds := unsafe.Add(out, room)
	channel := &Channel{
		conn: conn, raw: raw, channel: (*C.struct_ancillary_channel)(memory), files: files,
	}
	*channel.channel = C.struct_ancillary_channel{
		size: channelSize, sock: -1, flags: C.uint(flags), format: C.uint(format),
		in_data: in, in_size: C.size_t(room),
		in_fds: (*C.int)(inFds), in_nfds: C.size_t(come),
		out_data: out, out_size: C.size_t(room),
		out_fds: (*C.int)(unsafe.Add(inFds, come*intSize)), out_nfds: C.size_t(files),
	}
	runtime.SetFinalizer(channel, (*Channel).free)
	return channel, nil
}

// Send sends a message. The caller still has to close its files. The flags are More and Take, or 0.
//
// After an error the message has not been taken. Without one it has gone, or, behind a deadline,
// waits and goes with the next call: only files that are not taken cannot wait.
func (c *Channel) Send(kind, id uint32, data []byte, files []syscall.Conn, flags Flags) error {
	err := held(files, make([]C.int, 0, len(files)), func(fds []C.int) error {
		if flags&Take != 0 {
			copies := make([]C.int, 0, len(fds))
			// The library writes -1 where it takes one.
			defer func() { C.ancillary_close_fds(first(copies), C.size_t(len(copies))) }()
			for _, fd := range fds {
				copied := C.duplicate(fd)
				if copied < 0 {
					return failure("fcntl", int(copied))
				}
				copies = append(copies, copied)
			}
			fds = copies
		}
		return c.call("ancillary_channel_send", c.raw.Write, func() C.int {
			return C.channel_send(c.channel, C.uint32_t(kind), C.uint32_t(id), start(data),
				C.size_t(len(data)), first(fds), C.size_t(len(fds)), C.uint(flags|dontWait))
		})
	})
	if err == nil && flags&More == 0 {
		// What goes wrong with a message that has been taken, the next call tells.
		_ = c.Flush()
	}
	return err
}

// Flush sends what waits.
func (c *Channel) Flush() error {
	return c.call("ancillary_channel_flush", c.raw.Write, func() C.int {
		return C.ancillary_channel_flush(c.channel, C.uint(dontWait))
	})
}

// Receive receives the next message. The end is io.EOF.
func (c *Channel) Receive() (*Message, error) {
	var message *Message
	err := c.call("ancillary_channel_recv", c.raw.Read, func() C.int {
		var frame C.struct_ancillary_frame
		result := C.ancillary_channel_recv(c.channel, &frame, C.uint(dontWait))
		if int(frame.nfds) > c.files {
			C.ancillary_close_fds(frame.fds, frame.nfds)
			return -C.E2BIG
		}
		if result > 0 {
			message = received(&frame)
		}
		return result
	})
	if err == nil && message == nil {
		err = io.EOF
	}
	return message, err
}

// Close closes the connection, and what has come and not been received, or waits to be sent.
func (c *Channel) Close() error {
	err := c.conn.Close()
	c.free()
	return err
}

func (c *Channel) free() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	C.ancillary_channel_drop(c.channel)
	C.free(unsafe.Pointer(c.channel))
	c.channel = nil
}

// call calls a function of C when there is something to do.
func (c *Channel) call(
	name string, wait func(func(uintptr) bool) error, call func() C.int,
) error {
	var result C.int
	closed := false
	err := wait(func(sock uintptr) bool {
		c.mutex.Lock()
		defer c.mutex.Unlock()
		closed = c.channel == nil
		if closed {
			return true
		}
		c.channel.sock = C.int(sock)
		result = call()
		return result != -C.EAGAIN
	})
	switch {
	case err != nil:
		return err
	case closed:
		return net.ErrClosed
	case result < 0:
		return failure(name, int(result))
	}
	return nil
}

// received takes a message out of the memory of a channel.
func received(frame *C.struct_ancillary_frame) *Message {
	message := &Message{
		Type: uint32(frame._type), ID: uint32(frame.id), PID: uint32(frame.pid),
		Data:  append([]byte(nil), unsafe.Slice((*byte)(frame.data), int(frame.len))...),
		Files: make([]*os.File, frame.nfds),
	}
	fds := unsafe.Slice(frame.fds, int(frame.nfds))
	for i, fd := range fds {
		message.Files[i] = os.NewFile(uintptr(fd), "received")
		fds[i] = -1
	}
	return message
}

// start returns a pointer to data for C, which may be none.
func start(data []byte) *C.uint8_t {
	if len(data) == 0 {
		return nil
	}
	return (*C.uint8_t)(&data[0])
}
