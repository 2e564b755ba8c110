// Answers messages with WriteMsgUnix, ReadMsgUnix, syscall.UnixRights and ParseUnixRights: each
// payload in upper case, with a new file for each descriptor.
package main

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"syscall"
)

func main() {
	conn, err := net.FileConn(os.Stdin)
	check(err)
	link := conn.(*net.UnixConn)
	data := make([]byte, 65536)
	control := make([]byte, syscall.CmsgSpace(253*4))
	for {
		n, controlLen, flags, _, err := link.ReadMsgUnix(data, control)
		if errors.Is(err, io.EOF) {
			return
		}
		check(err)
		if flags&(syscall.MSG_TRUNC|syscall.MSG_CTRUNC) != 0 {
			log.Fatal("cut short")
		}
		var files []*os.File
		var fds []int
		for _, fd := range received(control[:controlLen]) {
			file := answerTo(fd)
			files = append(files, file)
			fds = append(fds, int(file.Fd()))
		}
		_, _, err = link.WriteMsgUnix(bytes.ToUpper(data[:n]), syscall.UnixRights(fds...), nil)
		check(err)
		for _, file := range files {
			check(file.Close())
		}
	}
}

func received(control []byte) (fds []int) {
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
