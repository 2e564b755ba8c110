// Passes descriptors and credentials over Unix sockets: libancillary for Java.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.NativeLong;
import com.sun.jna.ptr.NativeLongByReference;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.channels.ClosedChannelException;
import java.nio.file.InvalidPathException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Descriptors as channels, and Unix stream sockets to pass them over.
 *
 * <p>Java does not tell the descriptor of a file, nor make a file of a descriptor, unless its
 * internals are opened up; and opening /proc/self/fd/N opens a file anew, at another position, and
 * a socket not at all. So a descriptor is a channel here that calls read(2) and write(2), and
 * {@link java.nio.channels.Channels} makes streams of it.
 *
 * <p>A call that waits holds up its own thread alone. Neither {@link Thread#interrupt} nor closing
 * the socket ends it; {@link Socket#shutdown} does. What a call of another thread uses is not to be
 * closed before that has returned: its number can be that of another file then.
 */
public final class Ancillary {
    public static final int DONTWAIT = 1 << 0;
    public static final int INTR = 1 << 1;
    public static final int WAITALL = 1 << 2;
    public static final int LOSSLESS = 1 << 3;
    public static final int REPLACE = 1 << 4;

    private static final int SOCK_STREAM = 1;
    private static final int SOCK_CLOEXEC = 02000000;
    private static final int O_RDONLY = 0;
    private static final int O_CLOEXEC = 02000000;
    private static final int SHUT_RDWR = 2;

    /** On Linux size_t is as wide as long. A struct ancillary_creds is three ints. */
    private interface LibAncillary extends Library {
        int ancillary_listen(String path, int type, int mode, int flags);

        int ancillary_connect(String path, int type, int flags);

        NativeLong ancillary_send_fds(
                int sock, int[] fds, NativeLong nfds, byte[] data, NativeLong len, int flags);

        NativeLong ancillary_recv_fds(
                int sock,
                int[] fds,
                NativeLongByReference nfds,
                byte[] data,
                NativeLong len,
                int flags);

        void ancillary_close_fds(int[] fds, NativeLong nfds);

        int ancillary_set_passcred(int sock, int on);

        NativeLong ancillary_send_creds(
                int sock, int[] creds, byte[] data, NativeLong len, int flags);

        NativeLong ancillary_recv_creds(
                int sock, int[] creds, byte[] data, NativeLong len, int flags);

        int ancillary_peer_creds(int sock, int[] creds);
    }

    private interface LibC extends Library {
        int open(String path, int flags);

        int accept4(int sock, byte[] address, int[] len, int flags);

        int shutdown(int sock, int how);

        NativeLong read(int fd, byte[] data, NativeLong len);

        NativeLong write(int fd, byte[] data, NativeLong len);

        int close(int fd);

        String strerror(int error);
    }

    private static final LibAncillary ANCILLARY =
            Native.load("libancillary.so.1", LibAncillary.class);
    private static final LibC LIBC = Native.load("libc.so.6", LibC.class);

    private Ancillary() {}

    /** A call that failed. The reason is errno in words. */
    public static final class Failure extends IOException {
        private static final long serialVersionUID = 1;

        public final String call;
        public final int errno;
        public final String reason;

        private Failure(String call, int errno) {
            this(call, errno, LIBC.strerror(errno));
        }

        private Failure(String call, int errno, String reason) {
            super(call + ": " + reason);
            this.call = call;
            this.errno = errno;
            this.reason = reason;
        }
    }

    /** A function of libancillary returns a negative errno value when it fails. */
    private static int check(String call, Number result) throws Failure {
        if (result.intValue() < 0) {
            throw new Failure(call, -result.intValue());
        }
        return result.intValue();
    }

    /** A function of the C library returns a negative value, and sets errno: JNA keeps a copy. */
    private static int checkErrno(String call, Number result) throws Failure {
        if (result.intValue() < 0) {
            throw new Failure(call, Native.getLastError());
        }
        return result.intValue();
    }

    /** A path that C does not take for a shorter one. */
    private static String whole(String path) {
        if (path.indexOf('\0') >= 0) {
            throw new InvalidPathException(path, "Nul character not allowed");
        }
        return path;
    }

    /** An open file, pipe, socket or whatever else. */
    public static class Descriptor implements ByteChannel {
        private final AtomicInteger fd;

        private Descriptor(int fd) {
            this.fd = new AtomicInteger(fd);
        }

        /** Opens a file for reading. */
        public static Descriptor open(String path) throws Failure {
            return new Descriptor(checkErrno("open", LIBC.open(whole(path), O_RDONLY | O_CLOEXEC)));
        }

        final int number() throws ClosedChannelException {
            int number = fd.get();
            if (number < 0) {
                throw new ClosedChannelException();
            }
            return number;
        }

        @Override
        public int read(ByteBuffer to) throws IOException {
            byte[] data = new byte[Math.min(to.remaining(), 65536)];
            if (data.length == 0) {
                return 0;
            }
            int count = checkErrno("read", LIBC.read(number(), data, new NativeLong(data.length)));
            to.put(data, 0, count);
            return count == 0 ? -1 : count;
        }

        @Override
        public int write(ByteBuffer from) throws IOException {
            byte[] data = new byte[Math.min(from.remaining(), 65536)];
            from.duplicate().get(data);
            NativeLong len = new NativeLong(data.length);
            int count = checkErrno("write", LIBC.write(number(), data, len));
            from.position(from.position() + count);
            return count;
        }

        @Override
        public final boolean isOpen() {
            return fd.get() >= 0;
        }

        /** Of several threads one closes it. */
        @Override
        public final void close() throws Failure {
            int closing = fd.getAndSet(-1);
            if (closing >= 0) {
                checkErrno("close", LIBC.close(closing));
            }
        }
    }

    /** Who a process is. */
    public record Creds(int pid, long uid, long gid) {
        private static Creds of(int[] values) {
            long uid = Integer.toUnsignedLong(values[1]);
            long gid = Integer.toUnsignedLong(values[2]);
            return new Creds(values[0], uid, gid);
        }
    }

    /** What has been received. The descriptors are the receiver's to close. */
    public record Received(byte[] data, List<Descriptor> descriptors) {}

    /** A payload that has been received, and who sent it. */
    public record Signed(byte[] data, Creds creds) {}

    /** A Unix stream socket. */
    public static final class Socket extends Descriptor {
        private Socket(int fd) {
            super(fd);
        }

        /** Makes a listening socket. When its file is there, connecting works. */
        public static Socket listen(String path, int mode, int flags) throws Failure {
            int fd = ANCILLARY.ancillary_listen(whole(path), SOCK_STREAM, mode, flags);
            return new Socket(check("listen", fd));
        }

        public static Socket connect(String path, int flags) throws Failure {
            int fd = ANCILLARY.ancillary_connect(whole(path), SOCK_STREAM, flags);
            return new Socket(check("connect", fd));
        }

        public Socket accept() throws IOException {
            int fd = LIBC.accept4(number(), null, null, SOCK_CLOEXEC);
            return new Socket(checkErrno("accept", fd));
        }

        /** Ends the connection, and what waits for it, here and in other processes that have it. */
        public void shutdown() throws IOException {
            checkErrno("shutdown", LIBC.shutdown(number(), SHUT_RDWR));
        }

        /**
         * Sends descriptors, which stay the sender's, with a payload; without one, a marker byte.
         *
         * @return how many bytes were sent
         */
        public int sendFds(List<? extends Descriptor> descriptors, byte[] data, int flags)
                throws IOException {
            int[] fds = new int[descriptors.size()];
            for (int i = 0; i < fds.length; i++) {
                fds[i] = descriptors.get(i).number();
            }
            return check("send_fds", ANCILLARY.ancillary_send_fds(number(), fds,
                    new NativeLong(fds.length), orNull(data), new NativeLong(data.length), flags));
        }

        /** Receives at most so many descriptors and bytes. Without bytes the peer has closed. */
        public Received recvFds(int room, int size, int flags) throws IOException {
            int[] fds = new int[room];
            byte[] data = new byte[size];
            NativeLongByReference count = new NativeLongByReference(new NativeLong(room));
            int received = check("recv_fds", ANCILLARY.ancillary_recv_fds(number(), fds, count,
                    data, new NativeLong(size), flags));
            try {
                List<Descriptor> descriptors = new ArrayList<>();
                for (int i = 0; i < count.getValue().intValue(); i++) {
                    descriptors.add(new Descriptor(fds[i]));
                }
                return new Received(Arrays.copyOf(data, received), descriptors);
            } catch (OutOfMemoryError e) {
                ANCILLARY.ancillary_close_fds(fds, new NativeLong(room));
                throw e;
            }
        }

        /** Asks for credentials with every message. */
        public void setPasscred(boolean on) throws IOException {
            check("set_passcred", ANCILLARY.ancillary_set_passcred(number(), on ? 1 : 0));
        }

        /**
         * Sends the credentials of this process with a payload or, without one, a marker byte.
         *
         * @return how many bytes were sent
         */
        public int sendCreds(byte[] data, int flags) throws IOException {
            return check("send_creds", ANCILLARY.ancillary_send_creds(number(), null, orNull(data),
                    new NativeLong(data.length), flags));
        }

        /** Receives at most so many bytes. Without any the peer has closed. */
        public Signed recvCreds(int size, int flags) throws IOException {
            int[] creds = new int[3];
            byte[] data = new byte[size];
            int received = check("recv_creds", ANCILLARY.ancillary_recv_creds(number(), creds, data,
                    new NativeLong(size), flags));
            return new Signed(Arrays.copyOf(data, received), Creds.of(creds));
        }

        /** Who is on the other end. */
        public Creds peerCreds() throws IOException {
            int[] creds = new int[3];
            check("peer_creds", ANCILLARY.ancillary_peer_creds(number(), creds));
            return Creds.of(creds);
        }

        private static byte[] orNull(byte[] data) {
            return data.length == 0 ? null : data;
        }
    }
}
