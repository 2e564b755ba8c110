// Answers messages with WriteMsgUnix and ReadMsgUnix, whose control data the library puts together
// and takes apart: each payload in upper case, with a new file for each descriptor.
package main

/*
#include <ancillary.h>

// Puts control data together, and returns how much of the room it takes.
static ssize_t encode(int *fds, size_t nfds, void *control, size_t room)
{
	struct iovec any = { control, 1 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &any, .iovlen = 1 };
	struct msghdr header = { .msg_control = control, .msg_controllen = room };
	int result;

	msg.fds = fds;
	msg.nfds = nfds;
	result = ancillary_encode(&header, &msg);
	return result < 0 ? result : (ssize_t)header.msg_controllen;
}

// Takes apart what came with n bytes.  Returns how many descriptors there are.
static ssize_t decode(void *control, size_t len, int flags, ssize_t n, int *fds, size_t nfds)
{
	struct ancillary_msg msg = { .size = sizeof msg, .fds = fds, .nfds = nfds };
	struct msghdr header = { .msg_control = control, .msg_controllen = len, .msg_flags = flags };
	ssize_t result = ancillary_decode(&header, n, &msg, 0);

	if (result >= 0 && msg.flags != 0) {
		ancillary_close_fds(fds, msg.nfds);
		ancillary_close_fds(&msg.pidfd, 1);
		return -1;
	}
	return result < 0 ? result : (ssize_t)msg.nfds;
}
*/
import "C"

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"syscall"
	"unsafe"
)

const most = C.ANCILLARY_MAX_FDS

func main() {
	conn, err := net.FileConn(os.Stdin)
	check(err)
	link := conn.(*net.UnixConn)
	data := make([]byte, 65536)
	control := make([]byte, C.ancillary_control_size(most))
	for {
		n, controlLen, flags, _, err := link.ReadMsgUnix(data, control)
		if errors.Is(err, io.EOF) {
			return
		}
		check(err)
		expected := parsed(control[:controlLen])
		fds := decoded(control[:controlLen], flags, n)
		if len(fds) != len(expected) {
			log.Fatalf("%d descriptors instead of %d", len(fds), len(expected))
		}
		var files []*os.File
		for i, fd := range fds {
			if int(fd) != expected[i] {
				log.Fatalf("descriptor %d instead of %d", fd, expected[i])
			}
			file := answerTo(int(fd))
			files = append(files, file)
			fds[i] = C.int(file.Fd())
		}
		_, _, err = link.WriteMsgUnix(bytes.ToUpper(data[:n]), encoded(fds, control), nil)
		check(err)
		for _, file := range files {
			check(file.Close())
		}
	}
}

func encoded(fds []C.int, control []byte) []byte {
	var first *C.int
	if len(fds) > 0 {
		first = &fds[0]
	}
	used := C.encode(first, C.size_t(len(fds)), unsafe.Pointer(&control[0]), C.size_t(len(control)))
	if used < 0 {
		log.Fatal(syscall.Errno(-used))
	}
	return control[:used]
}

func decoded(control []byte, flags, n int) []C.int {
	var start unsafe.Pointer
	if len(control) > 0 {
		start = unsafe.Pointer(&control[0])
	}
	fds := make([]C.int, most)
	nfds := C.decode(start, C.size_t(len(control)), C.int(flags), C.ssize_t(n), &fds[0], most)
	if nfds < 0 {
		log.Fatal("not everything came, or more")
	}
	return fds[:nfds]
}

// What Go's own package makes of it.
func parsed(control []byte) (fds []int) {
	messages, err := syscall.ParseSocketControlMessage(control)
	check(err)
	for _, message := range messages {
		more, err := syscall.ParseUnixRights(&message)
		check(err)
		fds = append(fds, more...)
	}
	return fds
}

func answerTo(fd int) *os.File {
	file := os.NewFile(uintptr(fd), "received")
	content, err := io.ReadAll(io.NewSectionReader(file, 0, 100))
	check(err)
	check(file.Close())
	answer, err := os.CreateTemp("", "answer")
	check(err)
	check(os.Remove(answer.Name()))
	_, err = answer.WriteString("answer to " + string(content))
	check(err)
	return answer
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
