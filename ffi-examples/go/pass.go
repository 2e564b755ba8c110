// SPDX-License-Identifier: MIT OR Apache-2.0

// Passes files between processes, as ../README.md says.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"

	"pass/ancillary"
)

const usage = `Usage: pass send SOCKET N [PAYLOAD]
       pass recv SOCKET MAX [TIMES]
       pass creds SOCKET [TIMES]
       pass peer SOCKET
       pass tell SOCKET N [PAYLOAD]
       pass hear SOCKET MAX [TIMES]`

const payloadRoom = 65536

// complain tells of an error in the words of strerror(3), which Go begins with a small letter, and
// returns whether there is one.
func complain(command string, err error) bool {
	if err == nil {
		return false
	}
	text := err.Error()
	var errno syscall.Errno
	if errors.As(err, &errno) {
		text = errno.Error()
	} else if err == io.EOF {
		text = "the peer has closed"
	}
	fmt.Fprintf(os.Stderr, "%s: %s\n", command, strings.ToUpper(text[:1])+text[1:])
	return true
}

// unnamed makes a temporary file without a name, which is at its beginning.
func unnamed(content string) (*os.File, error) {
	file, err := os.CreateTemp("", "pass-")
	if err != nil {
		return nil, err
	}
	os.Remove(file.Name())
	if _, err = file.WriteString(content); err == nil {
		// The receiver shares the position.
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func sendFiles(conn *net.UnixConn, count int, payload string) (int, error) {
	if count == 0 {
		return ancillary.SendCreds(conn, []byte(payload))
	}
	files, err := makeFiles(count)
	defer closeAll(files)
	if err != nil {
		return 0, err
	}
	return ancillary.Send(conn, files, []byte(payload))
}

// makeFiles returns those that there are also with an error.
func makeFiles(count int) ([]syscall.Conn, error) {
	var files []syscall.Conn
	for i := 1; i <= count; i++ {
		file, err := unnamed(fmt.Sprintf("file %d of %d, made by %d\n", i, count, os.Getpid()))
		if err != nil {
			return files, err
		}
		files = append(files, file)
	}
	return files, nil
}

func closeAll(files []syscall.Conn) {
	for _, file := range files {
		file.(io.Closer).Close()
	}
}

func sendOne(conn *net.UnixConn, count int, payload string) error {
	sent, err := sendFiles(conn, count, payload)
	conn.Close()
	if err == nil {
		fmt.Printf("sent %d descriptors, %d bytes\n", count, sent)
	}
	return err
}

func send(path string, count int, payload string) (failed bool) {
	if payload != "-" {
		conn, err := ancillary.Dial(path, 0)
		if err == nil {
			err = sendOne(conn, count, payload)
		}
		return complain("send", err)
	}
	lines := bufio.NewReader(os.Stdin)
	for {
		conn, err := ancillary.Dial(path, 0)
		if err != nil {
			return complain("send", err)
		}
		line, err := lines.ReadString('\n')
		if err != nil && line == "" {
			conn.Close()
			return failed
		}
		failed = complain("send", sendOne(conn, count, strings.TrimSuffix(line, "\n"))) || failed
	}
}

func tell(path string, count int, payload string) error {
	conn, err := ancillary.Dial(path, 0)
	if err != nil {
		return err
	}
	defer conn.Close()
	channel, err := ancillary.NewChannel(conn, payloadRoom, count, ancillary.Plain, 0)
	if err != nil {
		return err
	}
	defer channel.Close()
	if err := tellAll(channel, count, []byte(payload)); err != nil {
		return err
	}
	channel.Close()
	fmt.Printf("sent %d descriptors, %d bytes\n", count, len(payload))
	return nil
}

func tellAll(channel *ancillary.Channel, count int, payload []byte) error {
	files, err := makeFiles(count)
	defer closeAll(files)
	if err != nil {
		return err
	}
	id, more := uint32(os.Getpid()), ancillary.More
	if err := channel.Send(1, id, payload, nil, more); err != nil {
		return err
	}
	if err := channel.Send(2, id, payload, files, more|ancillary.Take); err != nil {
		return err
	}
	if err := channel.Send(3, id, nil, nil, more); err != nil {
		return err
	}
	return channel.Flush()
}

func hear(conn *net.UnixConn, room int) error {
	channel, err := ancillary.NewChannel(conn, payloadRoom, room, ancillary.Plain, 0)
	if err != nil {
		return err
	}
	defer channel.Close()
	for {
		message, err := channel.Receive()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		err = show(message)
		message.Close()
		if err != nil {
			return err
		}
	}
}

func show(message *ancillary.Message) error {
	fmt.Printf("message %d from %d: %d descriptors, %d bytes\n",
		message.Type, message.ID, len(message.Files), len(message.Data))
	fmt.Printf("payload: %s\n", message.Data)
	return showAll(message.Files)
}

func showAll(files []*os.File) error {
	for _, file := range files {
		if _, err := io.Copy(os.Stdout, file); err != nil {
			return err
		}
	}
	return nil
}

// receiveFiles receives until the sender has closed.
func receiveFiles(conn *net.UnixConn, room int) error {
	payload := make([]byte, payloadRoom)
	var files []*os.File
	defer func() {
		for _, file := range files {
			file.Close()
		}
	}()
	length := 0
	for length < len(payload) {
		n, more, err := ancillary.Receive(conn, payload[length:], room-len(files), 0)
		length += n
		files = append(files, more...)
		if err == io.EOF && length > 0 {
			break
		}
		if err != nil {
			return err
		}
	}
	fmt.Printf("received %d descriptors, %d bytes\n", len(files), length)
	fmt.Printf("payload: %s\n", payload[:length])
	return showAll(files)
}

func receiveCreds(conn *net.UnixConn) error {
	if err := ancillary.PassCreds(conn, true); err != nil {
		return err
	}
	payload := make([]byte, payloadRoom)
	length, sender, err := ancillary.ReceiveCreds(conn, payload, 0)
	if err != nil {
		return err
	}
	fmt.Printf("pid %d uid %d gid %d, %d bytes\n", sender.Pid, sender.Uid, sender.Gid, length)
	fmt.Printf("payload: %s\n", payload[:length])
	return nil
}

func serve(command, path string, times int, receive func(*net.UnixConn) error) (failed bool) {
	listener, err := ancillary.Listen(path, 0600, ancillary.Replace)
	if err != nil {
		return complain(command, err)
	}
	defer listener.Close()
	defer os.Remove(path)
	for ; times > 0; times-- {
		conn, err := listener.AcceptUnix()
		if err != nil {
			return complain(command, err)
		}
		fmt.Println("accepted")
		err = receive(conn)
		conn.Close()
		failed = complain(command, err) || failed
		fmt.Println("done")
	}
	return failed
}

func peer(path string) error {
	conn, err := ancillary.Dial(path, 0)
	if err != nil {
		return err
	}
	defer conn.Close()
	other, err := ancillary.Peer(conn)
	if err == nil {
		fmt.Printf("pid %d uid %d gid %d\n", other.Pid, other.Uid, other.Gid)
	}
	return err
}

func wrong() {
	fmt.Fprintln(os.Stderr, usage)
	os.Exit(2)
}

func number(text string) int {
	value, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		wrong()
	}
	return int(value)
}

func main() {
	arguments := os.Args[1:]
	optional := func(i int, otherwise string) string {
		if i < len(arguments) {
			return arguments[i]
		}
		return otherwise
	}
	failed := false
	switch command, given := optional(0, ""), len(arguments); {
	case command == "send" && (given == 3 || given == 4):
		failed = send(arguments[1], number(arguments[2]), optional(3, ""))
	case command == "tell" && (given == 3 || given == 4):
		failed = complain("tell", tell(arguments[1], number(arguments[2]), optional(3, "")))
	case (command == "recv" || command == "hear") && (given == 3 || given == 4):
		room, times := number(arguments[2]), number(optional(3, "1"))
		receive := receiveFiles
		if command == "hear" {
			receive = hear
		}
		failed = serve(command, arguments[1], times, func(conn *net.UnixConn) error {
			return receive(conn, room)
		})
	case command == "creds" && (given == 2 || given == 3):
		failed = serve(command, arguments[1], number(optional(2, "1")), receiveCreds)
	case command == "peer" && given == 2:
		failed = complain(command, peer(arguments[1]))
	default:
		wrong()
	}
	if failed {
		os.Exit(1)
	}
}
