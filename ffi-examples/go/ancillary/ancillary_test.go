// SPDX-License-Identifier: MIT OR Apache-2.0

package ancillary

import (
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// pair returns the two ends of a connection.
func pair(t testing.TB) (*net.UnixConn, *net.UnixConn) {
	t.Helper()
	name := fmt.Sprintf("@ancillary-%d", os.Getpid())
	listener, err := Listen(name, 0600, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ours, err := Dial(name, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := listener.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ours.Close()
		theirs.Close()
	})
	return ours, theirs
}

// leavesNothing checks that at the end there are as many descriptors as now.
func leavesNothing(t testing.TB) {
	t.Helper()
	before := descriptors(t)
	t.Cleanup(func() {
		if after := descriptors(t); after != before {
			t.Errorf("%d descriptors, and %d before", after, before)
		}
	})
}

func descriptors(t testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Each goroutine sends the end of a pipe to itself, and goes through it; they outnumber the threads
// and are moved between these. Each sends a few ahead at most: what all have in flight the kernel
// counts for their user, and refuses to take over a thousand (ETOOMANYREFS).
func TestGoroutinesMoveBetweenThreads(t *testing.T) {
	// The first use of the poller makes descriptors that stay.
	pair(t)
	leavesNothing(t)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	var group sync.WaitGroup
	for g := 0; g < 64; g++ {
		ours, theirs := pair(t)
		ahead, ended := make(chan bool, 8), make(chan bool)
		group.Add(2)
		go func() {
			defer group.Done()
			for i := 0; i < 50; i++ {
				select {
				case ahead <- true:
				case <-ended:
					return
				}
				reader, writer, err := os.Pipe()
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := Send(ours, []syscall.Conn{reader}, []byte{byte(i)}); err != nil {
					t.Error(err)
				}
				reader.Close()
				runtime.Gosched()
				fmt.Fprintf(writer, "%d", i)
				writer.Close()
			}
			// The socket is at its end, and no error of another thread is seen.
			ours.CloseWrite()
			if _, _, err := Receive(ours, make([]byte, 1), 1, 0); err != io.EOF {
				t.Error(err)
			}
		}()
		go func() {
			defer group.Done()
			defer close(ended)
			defer theirs.CloseWrite()
			for i := 0; i < 50; i++ {
				data := make([]byte, 1)
				_, files, err := Receive(theirs, data, 1, 0)
				if err != nil || len(files) != 1 || data[0] != byte(i) {
					t.Error(data, files, err)
					return
				}
				<-ahead
				content, err := io.ReadAll(files[0])
				files[0].Close()
				if err != nil || string(content) != fmt.Sprint(i) {
					t.Errorf("%q %v", content, err)
				}
				if i%10 == 0 {
					runtime.GC()
				}
			}
		}()
	}
	group.Wait()
}

func TestDeadlinesHold(t *testing.T) {
	ours, _ := pair(t)
	soon := func() time.Time { return time.Now().Add(10 * time.Millisecond) }
	ours.SetDeadline(soon())
	if _, _, err := Receive(ours, make([]byte, 1), 1, 0); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	ours.SetDeadline(soon())
	sent, err := Send(ours, nil, make([]byte, 1<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) || sent == 1<<20 {
		t.Error(sent, err)
	}
}

func TestClosingEndsTheWait(t *testing.T) {
	ours, _ := pair(t)
	closed := make(chan error)
	time.AfterFunc(10*time.Millisecond, func() { closed <- ours.Close() })
	if _, _, err := Receive(ours, make([]byte, 1), 1, 0); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := Send(ours, nil, []byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestAllIsSentAlsoWhenItTakesWaiting(t *testing.T) {
	pair(t)
	leavesNothing(t)
	ours, theirs := pair(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	many := make([]syscall.Conn, 600)
	for i := range many {
		many[i] = null
	}
	go func() {
		if sent, err := Send(ours, many, make([]byte, 1<<20)); sent != 1<<20 || err != nil {
			t.Error(sent, err)
		}
		ours.Close()
	}()
	length, count := 0, 0
	for {
		n, files, err := Receive(theirs, make([]byte, 1<<16), len(many), 0)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		length += n
		count += len(files)
		for _, file := range files {
			file.Close()
		}
	}
	if length != 1<<20 || count != len(many) {
		t.Error(length, count)
	}
}

// waiting returns how many bytes there are to be received.
func waiting(t testing.TB, conn *net.UnixConn) int {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var bytes int32
	raw.Control(func(sock uintptr) {
		syscall.Syscall(syscall.SYS_IOCTL, sock, syscall.TIOCINQ, uintptr(unsafe.Pointer(&bytes)))
	})
	return int(bytes)
}

// A queue that is full of small messages takes one more when one is received, so that sending stops
// behind the first of the messages that carry the files. Closing these has to wait then.
func TestEachFileIsSentOnce(t *testing.T) {
	pair(t)
	leavesNothing(t)
	ours, theirs := pair(t)
	ours.SetDeadline(time.Now().Add(10 * time.Millisecond))
	length := 0
	for {
		sent, err := Send(ours, nil, []byte{0})
		length += sent
		if err != nil {
			break
		}
	}
	ours.SetDeadline(time.Time{})
	if _, _, err := Receive(theirs, make([]byte, 1), 0, 0); err != nil {
		t.Fatal(err)
	}
	length--
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	many := make([]syscall.Conn, 600)
	for i := range many {
		many[i] = null
	}
	go func() {
		if sent, err := Send(ours, many, nil); sent != 3 || err != nil {
			t.Error(sent, err)
		}
		ours.CloseWrite()
	}()
	for waiting(t, theirs) == length {
		runtime.Gosched()
	}
	null.Close()
	var counts []int
	for ; ; length-- {
		_, files, err := Receive(theirs, make([]byte, 1), len(many), 0)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(files) > 0 {
			counts = append(counts, len(files))
		}
		for _, file := range files {
			file.Close()
		}
	}
	if length != -3 || fmt.Sprint(counts) != "[253 253 94]" {
		t.Error(length, counts)
	}
}

func TestErrorsAreErrnos(t *testing.T) {
	pair(t)
	leavesNothing(t)
	ours, theirs := pair(t)
	if _, err := Send(theirs, []syscall.Conn{ours, theirs}, nil); err != nil {
		t.Fatal(err)
	}
	_, files, err := Receive(ours, make([]byte, 1), 1, 0)
	if !errors.Is(err, syscall.E2BIG) || len(files) != 0 {
		t.Error(files, err)
	}
	theirs.Close()
	if _, _, err := Receive(ours, make([]byte, 1), 1, 0); err != io.EOF {
		t.Error(err)
	}
	if _, err := Send(ours, []syscall.Conn{ours}, nil); !errors.Is(err, syscall.EPIPE) {
		t.Error(err)
	}
	if _, err := Send(ours, nil, nil); !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
	if _, err := Dial("name\x00more", 0); !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
}

func TestWithoutLossWhatThereIsNoRoomForStaysQueued(t *testing.T) {
	pair(t)
	leavesNothing(t)
	ours, theirs := pair(t)
	if _, err := Send(theirs, []syscall.Conn{ours, theirs}, []byte("data")); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 10)
	if _, _, err := Receive(ours, data, 1, Lossless); !errors.Is(err, syscall.E2BIG) {
		t.Error(err)
	}
	if _, _, err := ReceiveCreds(ours, data, Lossless); !errors.Is(err, syscall.E2BIG) {
		t.Error(err)
	}
	length, files, err := Receive(ours, data, 2, Lossless)
	if string(data[:length]) != "data" || len(files) != 2 || err != nil {
		t.Error(data[:length], files, err)
	}
	for _, file := range files {
		file.Close()
	}
}

func TestWhatNobodyClosesIsClosedWhenItIsCollected(t *testing.T) {
	ours, theirs := pair(t)
	before := descriptors(t)
	for i := 0; i < 10; i++ {
		if _, err := Send(theirs, []syscall.Conn{ours, theirs}, []byte("data")); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Receive(ours, make([]byte, 10), 2, 0); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(30 * time.Second); descriptors(t) > before; runtime.GC() {
		if time.Now().After(end) {
			t.Fatal("descriptors are left")
		}
	}
}

// setting returns a number from the environment.
func setting(name string, otherwise int64) int64 {
	if value, err := strconv.ParseInt(os.Getenv(name), 10, 64); err == nil {
		return value
	}
	return otherwise
}

// Deadlines end calls at random moments, beside goroutines whose files must stay open.
func TestWheneverADeadlineComesNothingIsLost(t *testing.T) {
	pair(t)
	leavesNothing(t)
	wanted := setting("ANCILLARY_TEST_INTERRUPTIONS", 1000)
	seed := setting("ANCILLARY_TEST_SEED", time.Now().UnixNano())
	t.Log("seed", seed)
	chance := rand.New(rand.NewSource(seed))
	ours, theirs := pair(t)
	stop := make(chan struct{})
	var group sync.WaitGroup
	beside := func(action func()) {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				select {
				case <-stop:
					return
				default:
					action()
				}
			}
		}()
	}
	sent := 0
	beside(func() {
		if _, err := Send(theirs, []syscall.Conn{theirs, theirs}, []byte{1}); err != nil {
			t.Error(err)
		}
		sent += 2
		if sent%8 == 0 {
			time.Sleep(20 * time.Microsecond)
		}
	})
	beside(func() {
		file, err := os.Open(os.DevNull)
		if err != nil {
			t.Error(err)
			return
		}
		runtime.Gosched()
		if _, err := file.Read(make([]byte, 1)); err != io.EOF {
			t.Error("another file", err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	})
	received := 0
	receive := func() error {
		_, files, err := Receive(ours, make([]byte, 1), 2, 0)
		received += len(files)
		for _, file := range files {
			file.Close()
		}
		return err
	}
	for count := int64(0); count < wanted; {
		ours.SetReadDeadline(time.Now().Add(time.Duration(chance.Intn(50)) * time.Microsecond))
		if err := receive(); errors.Is(err, os.ErrDeadlineExceeded) {
			count++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	ours.SetReadDeadline(time.Time{})
	close(stop)
	ended := make(chan struct{})
	go func() {
		group.Wait()
		theirs.CloseWrite()
		close(ended)
	}()
	for {
		if err := receive(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	<-ended
	if received != sent {
		t.Error(received, sent)
	}
}

func TestOptionsHoldForTheFirstMessage(t *testing.T) {
	pair(t)
	leavesNothing(t)
	name := fmt.Sprintf("@ancillary-other-%d", os.Getpid())
	listener, err := Listen(name, 0600, WithCreds)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	// connected returns both ends of a connection.
	connected := func(flags Flags) (*net.UnixConn, *net.UnixConn, error) {
		client, err := Dial(name, flags)
		if err != nil {
			return nil, nil, err
		}
		server, err := listener.AcceptUnix()
		t.Cleanup(func() {
			client.Close()
			server.Close()
		})
		return client, server, err
	}
	client, server, err := connected(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Send(client, nil, []byte("data")); err != nil {
		t.Error(err)
	}
	if _, creds, err := ReceiveCreds(server, make([]byte, 10), 0); int(creds.Pid) != os.Getpid() {
		t.Error(creds, err)
	}
	_, server, err = connected(WithoutFiles)
	if errors.Is(err, syscall.ENOPROTOOPT) {
		t.Skip("Linux has it since 6.16")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Send(server, []syscall.Conn{server}, nil); !errors.Is(err, syscall.EPERM) {
		t.Error(err)
	}
}
