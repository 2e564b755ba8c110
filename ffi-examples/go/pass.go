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
       pass peer SOCKET`

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
	var files []syscall.Conn
	for i := 1; i <= count; i++ {
		file, err := unnamed(fmt.Sprintf("file %d of %d, made by %d\n", i, count, os.Getpid()))
		if err != nil {
			return 0, err
		}
		defer file.Close()
		files = append(files, file)
	}
	return ancillary.Send(conn, files, []byte(payload))
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
		conn, err := ancillary.Dial(path)
		if err == nil {
			err = sendOne(conn, count, payload)
		}
		return complain("send", err)
	}
	lines := bufio.NewReader(os.Stdin)
	for {
		conn, err := ancillary.Dial(path)
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
		n, more, err := ancillary.Receive(conn, payload[length:], room-len(files))
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
	for _, file := range files {
		if _, err := io.Copy(os.Stdout, file); err != nil {
			return err
		}
	}
	return nil
}

func receiveCreds(conn *net.UnixConn) error {
	if err := ancillary.PassCreds(conn, true); err != nil {
		return err
	}
	payload := make([]byte, payloadRoom)
	length, sender, err := ancillary.ReceiveCreds(conn, payload)
	if err != nil {
		return err
	}
	fmt.Printf("pid %d uid %d gid %d, %d bytes\n", sender.Pid, sender.Uid, sender.Gid, length)
	fmt.Printf("payload: %s\n", payload[:length])
	return nil
}

func serve(command, path string, times int, receive func(*net.UnixConn) error) (failed bool) {
	listener, err := ancillary.Listen(path, 0600)
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
	conn, err := ancillary.Dial(path)
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
	case command == "recv" && (given == 3 || given == 4):
		room, times := number(arguments[2]), number(optional(3, "1"))
		failed = serve(command, arguments[1], times, func(conn *net.UnixConn) error {
			return receiveFiles(conn, room)
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
