// SPDX-License-Identifier: MIT OR Apache-2.0

// Package ancillary passes files and credentials over Unix sockets, with libancillary.
//
// A process hands an open file to another over a Unix socket, and tells who it is:
//
//	listener, err := ancillary.Listen("/run/example", 0600, ancillary.Replace) // one process
//	conn, err := listener.AcceptUnix()
//	data := make([]byte, 4096)
//	n, files, err := ancillary.Receive(conn, data, 1, 0)
//	content, err := io.ReadAll(files[0])
//
//	conn, err := ancillary.Dial("/run/example", 0)                             // another
//	file, err := os.Open("/etc/hostname")
//	sent, err := ancillary.Send(conn, []syscall.Conn{file}, []byte("a name"))
//
// On a Channel messages travel whole, each with its files, also where a stream cuts them:
//
//	channel, err := ancillary.NewChannel(conn, 4096, 8, ancillary.Plain, 0)
//	err = channel.Send(opened, request, []byte("a name"), []syscall.Conn{file}, 0)
//	message, err := channel.Receive()
//
// Connections are those of package net. What is sent is whatever has a descriptor: files,
// connections, listeners. What is received are files, which are close-on-exec and share the offset
// with the sender's; net.FileConn makes connections of them. A file that nobody closes is closed
// when it is collected, as all of package os.
//
// Waiting is left to package net: sending and receiving block no thread, deadlines hold, and closing
// a connection ends the wait for it. Neither loses anything: a call has either been made, or has
// taken nothing. Only Dial waits in a thread, as long as the listener is not ready, and Listen with
// Replace, as long as somebody else has a lock on the directory, 5 seconds at most.
//
// Errors wrap a syscall.Errno, for errors.Is, made from what the function of the library has
// returned (errno belongs to a thread, and goroutines change threads): syscall.E2BIG, more files
// came than there is room for; syscall.EMFILE, more than the process can have open; syscall.EPIPE,
// the peer has closed; syscall.ENOMSG, a message without an identity. What came with such a message
// is closed; with the flag Lossless it stays queued where there is too little room for it, and can
// be received later. The end is io.EOF.
//
// All functions may be called by several goroutines at once, also on one connection.
package ancillary

// #cgo pkg-config: ancillary
// #include <errno.h>
// #include <ancillary.h>
import "C"

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// Flags change what a function does.
type Flags uint

const (
	// Replace has Listen put the socket in the place of a file that nobody listens on.
	Replace Flags = C.ANCILLARY_REPLACE
	// Lossless has what there is too little room for stay queued. It is for receiving.
	Lossless Flags = C.ANCILLARY_LOSSLESS
	// WithCreds has the identity of the sender come with each message. This flag and the next two
	// are for Listen and Dial; they hold for the first message already, and connections inherit
	// them from their listener. One that the kernel does not have is syscall.ENOPROTOOPT.
	WithCreds Flags = C.ANCILLARY_PASSCRED
	// WithPidfd has a pidfd come, for who receives with other functions.
	WithPidfd Flags = C.ANCILLARY_PASSPIDFD
	// WithoutFiles has files refused: sending them is syscall.EPERM.
	WithoutFiles Flags = C.ANCILLARY_NORIGHTS

	dontWait Flags = C.ANCILLARY_DONTWAIT
)

// Listen makes a stream socket that others connect to. Its file gets these permissions, less the
// umask, and stays when the listener is closed; a path that begins with @ is an abstract name, which
// needs no file.
func Listen(path string, mode os.FileMode, flags Flags) (*net.UnixListener, error) {
	name, err := syscall.BytePtrFromString(path)
	if err != nil {
		return nil, err
	}
	fd := C.ancillary_listen((*C.char)(unsafe.Pointer(name)), syscall.SOCK_STREAM,
		C.mode_t(mode.Perm()), C.uint(flags))
	if fd < 0 {
		return nil, failure("ancillary_listen", int(fd))
	}
	// The listener has a duplicate.
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, err
	}
	return listener.(*net.UnixListener), nil
}

// Dial makes a stream socket and connects it.
func Dial(path string, flags Flags) (*net.UnixConn, error) {
	name, err := syscall.BytePtrFromString(path)
	if err != nil {
		return nil, err
	}
	fd := C.ancillary_connect((*C.char)(unsafe.Pointer(name)), syscall.SOCK_STREAM,
		C.uint(flags))
	if fd < 0 {
		return nil, failure("ancillary_connect", int(fd))
	}
	// The connection has a duplicate.
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// Send sends files, connections and whatever else has a descriptor, with data; without data, a byte
// of zero for each message that it takes. The caller still has to close what it sends.
//
// It returns how many bytes have gone, which are fewer than all only if there is an error.
func Send(conn *net.UnixConn, files []syscall.Conn, data []byte) (sent int, err error) {
	most := int(C.ancillary_max_fds())
	if len(data) == 0 {
		data = make([]byte, (len(files)+most-1)/most)
	}
	fds := make([]C.int, 0, len(files))
	err = held(files, fds, func(fds []C.int) (err error) {
		sent, err = send(conn, "ancillary_send_fds", data, func(sock C.int, sent int) C.ssize_t {
			// Each byte has taken as many descriptors as a message carries.
			var rest []C.int
			if sent*most < len(fds) {
				rest = fds[sent*most:]
			}
			return C.ancillary_send_fds(sock, first(rest), C.size_t(len(rest)),
				unsafe.Pointer(&data[sent]), C.size_t(len(data)-sent), C.uint(dontWait))
		})
		return err
	})
	return sent, err
}

// Receive receives one message: data, and up to room files, which are the caller's to close. More
// files than that, or than the process can have open, are an error. The end is io.EOF. The flags are
// 0 or Lossless.
func Receive(conn *net.UnixConn, data []byte, room int, flags Flags) (int, []*os.File, error) {
	fds := make([]C.int, room)
	var count C.size_t
	length, err := receive(conn, "ancillary_recv_fds", data, func(sock C.int) C.ssize_t {
		count = C.size_t(room)
		return C.ancillary_recv_fds(sock, first(fds), &count,
			unsafe.Pointer(&data[0]), C.size_t(len(data)), C.uint(flags|dontWait))
	})
	if err == io.EOF && count > 0 {
		// A seqpacket message can be empty but for its files.
		err = nil
	}
	files := make([]*os.File, count)
	for i := range files {
		files[i] = os.NewFile(uintptr(fds[i]), "received")
	}
	return length, files, err
}

// PassCreds asks for the identity of the sender with each message that the connection receives.
func PassCreds(conn *net.UnixConn, on bool) error {
	value := C.int(0)
	if on {
		value = 1
	}
	return control(conn, "ancillary_set_passcred", func(sock C.int) C.int {
		return C.ancillary_set_passcred(sock, value)
	})
}

// SendCreds sends data with the identity of this process; without data, a byte of zero.
func SendCreds(conn *net.UnixConn, data []byte) (int, error) {
	if len(data) == 0 {
		data = []byte{0}
	}
	return send(conn, "ancillary_send_creds", data, func(sock C.int, sent int) C.ssize_t {
		return C.ancillary_send_creds(sock, nil,
			unsafe.Pointer(&data[sent]), C.size_t(len(data)-sent), C.uint(dontWait))
	})
}

// ReceiveCreds receives data with the identity of its sender. The end is io.EOF. The flags are 0 or
// Lossless.
func ReceiveCreds(conn *net.UnixConn, data []byte, flags Flags) (int, syscall.Ucred, error) {
	var creds C.struct_ancillary_creds
	length, err := receive(conn, "ancillary_recv_creds", data, func(sock C.int) C.ssize_t {
		return C.ancillary_recv_creds(sock, &creds,
			unsafe.Pointer(&data[0]), C.size_t(len(data)), C.uint(flags|dontWait))
	})
	return length, ucred(creds), err
}

// Peer returns the identity of the process on the other end.
func Peer(conn *net.UnixConn) (syscall.Ucred, error) {
	var creds C.struct_ancillary_creds
	err := control(conn, "ancillary_peer_creds", func(sock C.int) C.int {
		return C.ancillary_peer_creds(sock, &creds)
	})
	return ucred(creds), err
}

func ucred(creds C.struct_ancillary_creds) syscall.Ucred {
	return syscall.Ucred{Pid: int32(creds.pid), Uid: uint32(creds.uid), Gid: uint32(creds.gid)}
}

// held calls a function with the descriptors of files behind others. Until it returns they are open,
// also if another goroutine closes a file meanwhile: their numbers could be those of other files.
func held(files []syscall.Conn, fds []C.int, call func([]C.int) error) error {
	if len(files) == 0 {
		return call(fds)
	}
	raw, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	var result error
	err = raw.Control(func(fd uintptr) { result = held(files[1:], append(fds, C.int(fd)), call) })
	if err != nil {
		return err
	}
	return result
}

// send calls a function, which is told how much has gone already, until all of data has.
func send(
	conn *net.UnixConn, name string, data []byte, call func(sock C.int, sent int) C.ssize_t,
) (int, error) {
	if len(data) == 0 {
		return 0, failure(name, -C.EINVAL)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	sent, result := 0, 0
	// In all of it no other goroutine sends.
	err = raw.Write(func(sock uintptr) bool {
		for sent < len(data) {
			result = int(call(C.int(sock), sent))
			if result < 0 {
				return result != -C.EAGAIN
			}
			sent += result
		}
		return true
	})
	if err == nil && result < 0 {
		err = failure(name, result)
	}
	return sent, err
}

// receive calls a function when there is something to receive.
func receive(
	conn *net.UnixConn, name string, data []byte, call func(sock C.int) C.ssize_t,
) (int, error) {
	if len(data) == 0 {
		return 0, io.ErrShortBuffer
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	result := 0
	err = raw.Read(func(sock uintptr) bool {
		result = int(call(C.int(sock)))
		return result != -C.EAGAIN
	})
	switch {
	case err != nil:
		return 0, err
	case result < 0:
		return 0, failure(name, result)
	case result == 0:
		return 0, io.EOF
	}
	return result, nil
}

// control calls a function that does not wait.
func control(conn *net.UnixConn, name string, call func(C.int) C.int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var result C.int
	err = raw.Control(func(sock uintptr) { result = call(C.int(sock)) })
	if err == nil && result < 0 {
		err = failure(name, int(result))
	}
	return err
}

func failure(function string, result int) error {
	return os.NewSyscallError(function, syscall.Errno(-result))
}

// first returns a pointer to the elements for C, which may be none.
func first(fds []C.int) *C.int {
	if len(fds) == 0 {
		return nil
	}
	return &fds[0]
}
