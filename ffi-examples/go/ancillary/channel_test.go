// SPDX-License-Identifier: MIT OR Apache-2.0

package ancillary

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// channels returns two that are connected, with small buffers, for up to 300 files.
func channels(t testing.TB, format Format, flags Flags) (*Channel, *Channel) {
	t.Helper()
	channel := func(conn *net.UnixConn) *Channel {
		conn.SetWriteBuffer(1)
		channel, err := NewChannel(conn, 65536, 300, format, flags)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { channel.Close() })
		return channel
	}
	ours, theirs := pair(t)
	return channel(ours), channel(theirs)
}

func nulls(t testing.TB, count int) []syscall.Conn {
	t.Helper()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { null.Close() })
	files := make([]syscall.Conn, count)
	for i := range files {
		files[i] = null
	}
	return files
}

// takes receives a message that is to be like that, and closes it.
func takes(t testing.TB, channel *Channel, kind, id uint32, data []byte, files int) {
	t.Helper()
	message, err := channel.Receive()
	if err != nil {
		t.Fatal(err)
	}
	if message.Type != kind || message.ID != id || !bytes.Equal(message.Data, data) ||
		len(message.Files) != files {
		t.Error(message.Type, message.ID, len(message.Data), len(message.Files))
	}
	message.Close()
}

func TestMessagesComeWholeWithTheirFiles(t *testing.T) {
	pair(t)
	leavesNothing(t)
	ours, theirs := channels(t, Plain, 0)
	cases := []struct {
		length, files int
		flags         Flags
	}{{0, 0, 0}, {0, 1, 0}, {20000, 2, 0}, {0, 300, Take}, {3, 300, Take}, {65536, 253, 0}}
	many := nulls(t, 300)
	go func() {
		for i, c := range cases {
			err := theirs.Send(uint32(i), 1<<31, make([]byte, c.length), many[:c.files], c.flags)
			if err != nil {
				t.Error(err)
			}
		}
		theirs.Close()
	}()
	for i, c := range cases {
		takes(t, ours, uint32(i), 1<<31, make([]byte, c.length), c.files)
	}
	for i := 0; i < 2; i++ {
		if _, err := ours.Receive(); err != io.EOF {
			t.Error(err)
		}
	}
	if err := ours.Send(0, 0, nil, nil, 0); !errors.Is(err, syscall.EPIPE) {
		t.Error(err)
	}
}

func TestImsgIsUnderstoodInBothLayouts(t *testing.T) {
	for _, format := range []Format{Imsg, ImsgOld} {
		ours, theirs := channels(t, format, 0)
		if err := theirs.Send(1, 2, []byte("data"), nulls(t, 1), 0); err != nil {
			t.Fatal(err)
		}
		message, err := ours.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if message.PID != uint32(os.Getpid()) || message.Type != 1 || message.ID != 2 ||
			string(message.Data) != "data" || len(message.Files) != 1 {
			t.Error(message)
		}
		message.Close()
		if err := theirs.Send(1, 2, nil, nulls(t, 2), 0); !errors.Is(err, syscall.E2BIG) {
			t.Error(err)
		}
	}
}

func TestWhatMayWaitGoesWithTheNext(t *testing.T) {
	ours, theirs := channels(t, Plain, 0)
	files := nulls(t, 3)
	before := descriptors(t)
	for i := 0; i < 2; i++ {
		if err := theirs.Send(uint32(i), 0, nil, files, More|Take); err != nil {
			t.Fatal(err)
		}
	}
	if now := descriptors(t); now != before+6 {
		t.Error(now, before)
	}
	ours.conn.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := ours.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	ours.conn.SetReadDeadline(time.Time{})
	if err := theirs.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 2; i++ {
		takes(t, ours, uint32(i), 0, nil, 3)
	}
	if now := descriptors(t); now != before {
		t.Error(now, before)
	}
}

// A message of which the deadline of its sending has stopped a part goes on, and one that was not
// taken can be sent again.
func TestWhereverADeadlineStopsAMessageItComesOnce(t *testing.T) {
	ours, theirs := channels(t, Plain, 0)
	files, data := nulls(t, 2), make([]byte, 30000)
	stops := 0
	for sent, received := uint32(0), uint32(0); received < 100; {
		theirs.conn.SetWriteDeadline(time.Now().Add(time.Millisecond))
		if sent < 100 {
			err := theirs.Send(sent, 0, data, files, Flags(sent%2)*Take)
			if err == nil {
				sent++
				continue
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			stops++
		} else {
			_ = theirs.Flush()
		}
		ours.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		message, err := ours.Receive()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if message.Type != received || len(message.Data) != 30000 || len(message.Files) != 2 {
			t.Fatal(message.Type, received, len(message.Data), len(message.Files))
		}
		message.Close()
		received++
	}
	if stops < 2 {
		t.Error(stops)
	}
}

func TestOneReceivesWhileAnotherSends(t *testing.T) {
	const count = 500
	ours, theirs := channels(t, Plain, 0)
	files := nulls(t, 1)
	ended := make(chan error, 4)
	for _, channel := range []*Channel{ours, theirs} {
		channel := channel
		go func() {
			var err error
			for i := uint32(0); i < count && err == nil; i++ {
				err = channel.Send(i, 0, make([]byte, 1000), files, Take)
			}
			ended <- err
		}()
		go func() {
			for i := uint32(0); i < count; i++ {
				message, err := channel.Receive()
				if err != nil {
					ended <- err
					return
				}
				if message.Type != i || len(message.Files) != 1 {
					t.Error(message.Type, i, len(message.Files))
				}
				message.Close()
			}
			ended <- nil
		}()
	}
	for i := 0; i < 4; i++ {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheEndWithinAMessageIsAnError(t *testing.T) {
	ours, theirs := channels(t, Plain, 0)
	// Every byte order has this length, and there is less.
	header := make([]byte, 16)
	binary.LittleEndian.PutUint32(header, 0x00202000)
	ours, err := NewChannel(ours.conn, 1<<22, 0, Plain, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	theirs.conn.Write(header)
	theirs.Close()
	for i := 0; i < 2; i++ {
		if _, err := ours.Receive(); !errors.Is(err, syscall.EPROTO) {
			t.Error(err)
		}
	}
}

func TestWhatAChannelHoldsIsClosedWithIt(t *testing.T) {
	files := nulls(t, 3)
	pair(t)
	before := descriptors(t)
	for _, closes := range []bool{true, false} {
		func() {
			ours, theirs := pairOfChannels(t)
			for i := 0; i < 3; i++ {
				if err := theirs.Send(0, 0, nil, files, More|Take); err != nil {
					t.Fatal(err)
				}
				if i == 1 {
					theirs.Flush()
				}
			}
			takes(t, ours, 0, 0, nil, 3)
			if now := descriptors(t); now < before+2+6 {
				t.Error(now, before)
			}
			if !closes {
				return
			}
			ended := make(chan error)
			go func() {
				message, err := ours.Receive()
				ended <- err
				if err == nil {
					message.Close()
					_, err = ours.Receive()
				}
				ended <- err
			}()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			ours.Close()
			theirs.Close()
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			if err := ours.Send(0, 0, nil, nil, More); !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
			ours.Close()
		}()
		// Nobody closes the other ones.
		for end := time.Now().Add(30 * time.Second); descriptors(t) != before; runtime.GC() {
			if time.Now().After(end) {
				t.Fatal("descriptors are left")
			}
		}
	}
}

// pairOfChannels returns two that nothing else refers to.
func pairOfChannels(t testing.TB) (*Channel, *Channel) {
	return channelsFor(t, 10, 10)
}

func TestTheOtherEndMayGatherTheFilesOfManyMessages(t *testing.T) {
	_, file := pair(t)
	ours, theirs := channelsFor(t, 1, 253)
	defer ours.Close()
	defer theirs.Close()
	one := []syscall.Conn{file}
	for i := uint32(0); i < 302; i++ {
		files, flags := one, Take|More
		if i == 300 {
			files = []syscall.Conn{file, file}
		}
		if i == 301 {
			flags = Take
		}
		if err := theirs.Send(i, 0, nil, files, flags); err != nil {
			t.Fatal(err)
		}
	}
	for i := uint32(0); i < 302; i++ {
		message, err := ours.Receive()
		if i == 300 {
			if !errors.Is(err, syscall.E2BIG) {
				t.Fatal(message, err)
			}
			continue
		}
		if err != nil || message.Type != i || len(message.Files) != 1 {
			t.Fatal(i, message, err)
		}
		message.Close()
	}
}

// channelsFor connects two channels, for so many files.
func channelsFor(t testing.TB, files ...int) (*Channel, *Channel) {
	var channels [2]*Channel
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, fd := range fds {
		file := os.NewFile(uintptr(fd), "socket")
		conn, err := net.FileConn(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		channels[i], err = NewChannel(conn.(*net.UnixConn), 100, files[i], Plain, 0)
		if err != nil {
			t.Fatal(err)
		}
	}
	return channels[0], channels[1]
}

func TestASizeThatIsOutOfRangeIsAnError(t *testing.T) {
	ours, theirs := channels(t, Plain, 0)
	defer ours.Close()
	defer theirs.Close()
	for _, size := range []int{-1, math.MinInt, math.MaxInt, math.MaxInt / 2} {
		for _, sizes := range [][2]int{{size, 1}, {1, size}} {
			_, err := NewChannel(ours.conn, sizes[0], sizes[1], Plain, 0)
			if !errors.Is(err, syscall.EINVAL) {
				t.Errorf("%v: %v", sizes, err)
			}
		}
	}
}

func TestWhatFailsLeavesNothing(t *testing.T) {
	pair(t)
	leavesNothing(t)
	ours, theirs := channels(t, Plain, Lossless)
	for _, c := range []struct {
		files int
		flags Flags
		err   error
	}{{301, Take, syscall.EMSGSIZE}, {254, 0, syscall.E2BIG}} {
		if err := theirs.Send(0, 0, nil, nulls(t, c.files), c.flags); !errors.Is(err, c.err) {
			t.Error(err)
		}
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	files := nulls(t, 300)
	// As many may be in flight as the limit says, of all processes of the user.
	if err := theirs.Send(1, 2, nil, files[:253], 0); err != nil {
		t.Fatal(err)
	}
	full := syscall.Rlimit{Cur: uint64(descriptors(t)) + 100, Max: limit.Max}
	limited := func(action func()) {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &full); err != nil {
			t.Fatal(err)
		}
		defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
		action()
	}
	limited(func() {
		if err := theirs.Send(0, 0, nil, files, Take); !errors.Is(err, syscall.EMFILE) {
			t.Error(err)
		}
		if _, err := ours.Receive(); !errors.Is(err, syscall.EMFILE) {
			t.Error(err)
		}
	})
	takes(t, ours, 1, 2, nil, 253)
}
