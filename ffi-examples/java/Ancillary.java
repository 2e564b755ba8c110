// Passes descriptors and credentials over Unix sockets: libancillary for Java.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.NativeLong;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.NativeLongByReference;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ByteChannel;
import java.nio.channels.ClosedChannelException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntSupplier;

/**
 * Descriptors as channels, and Unix stream sockets to pass them over.
 *
 * <p>A process hands an open file to another over a Unix socket, and tells who it is:
 *
 * <pre>{@code
 * // One process.
 * try (Ancillary.Socket listener =
 *                 Ancillary.Socket.listen("/run/example", 0600, Ancillary.REPLACE);
 *         Ancillary.Socket socket = listener.accept();
 *         Ancillary.Received received = socket.recvFds(1, 4096, 0)) {
 *     Channels.newInputStream(received.descriptors().get(0)).transferTo(System.out);
 * }
 *
 * // Another.
 * try (Ancillary.Socket socket = Ancillary.Socket.connect("/run/example", 0);
 *         Ancillary.Descriptor file = Ancillary.Descriptor.open("/etc/hostname")) {
 *     socket.sendFds(List.of(file), "a name".getBytes(), 0);
 * }
 * }</pre>
 *
 * <p>Java does not tell the descriptor of a file, nor make a file of a descriptor, unless its
 * internals are opened up; and opening /proc/self/fd/N opens a file anew, at another position, and
 * a socket not at all. So a descriptor is a channel here that calls read(2) and write(2), and
 * {@link java.nio.channels.Channels} makes streams of it. Descriptors are close-on-exec, and have
 * to be closed: they are not collected.
 *
 * <p>What fails throws a {@link Failure} with an errno value: EAGAIN (11, a call with {@link
 * #DONTWAIT} came too early), E2BIG (7, more descriptors came than there is room for), EMFILE (24,
 * more than the process can have open), EPIPE (32, the peer has closed), ENOMSG (42, a message
 * without credentials). What came with such a message is closed; with {@link #LOSSLESS} it stays
 * queued where there is too little room for it, and can be received later. Whatever else is thrown,
 * such as an OutOfMemoryError, has what has come closed; and the object for a new socket or file is
 * there before the call, behind which nothing is allocated.
 *
 * <p>A call that waits holds up its own thread alone. Neither {@link Thread#interrupt} nor closing
 * the socket ends it; {@link Socket#shutdown} does. A descriptor that other threads are in a call
 * with can be closed: no further call is made with it, and it is closed for the system when the
 * last of these calls has returned, so that its number is not another file's meanwhile.
 */
public final class Ancillary {
    /** The call does not wait. */
    public static final int DONTWAIT = 1 << 6;

    /** A signal ends the wait. */
    public static final int INTR = 1 << 19;

    /** Receives until all bytes have come that were asked for, or the peer has closed. */
    public static final int WAITALL = 1 << 8;

    /** Has what there is too little room for stay queued. */
    public static final int LOSSLESS = 1 << 20;

    /** Listens in the place of a socket file that nobody listens on. */
    public static final int REPLACE = 1 << 0;

    /** Credentials come with each message, also the first. */
    public static final int PASSCRED = 1 << 1;

    /** A pidfd comes with each message, for who receives with other functions. */
    public static final int PASSPIDFD = 1 << 2;

    /** Descriptors are refused, and sending them is EPERM. */
    public static final int NORIGHTS = 1 << 3;

    private static final int SOCK_STREAM = 1;
    private static final int SOCK_CLOEXEC = 02000000;
    private static final int O_RDONLY = 0;
    private static final int O_CLOEXEC = 02000000;
    private static final int SHUT_RDWR = 2;

    /**
     * On Linux size_t is as wide as long. A struct ancillary_creds is three ints. Native methods,
     * unlike an interface, make no object of an int that is returned: memory may be lacking.
     */
    private static final class LibAncillary {
        static {
            Native.register(LibAncillary.class, "libancillary.so.1");
        }

        static native int ancillary_listen(byte[] path, int type, int mode, int flags);

        static native int ancillary_connect(byte[] path, int type, int flags);

        static native NativeLong ancillary_send_fds(
                int sock, int[] fds, NativeLong nfds, byte[] data, NativeLong len, int flags);

        static native NativeLong ancillary_recv_fds(
                int sock,
                Pointer fds,
                NativeLongByReference nfds,
                byte[] data,
                NativeLong len,
                int flags);

        static native void ancillary_close_fds(Pointer fds, NativeLong nfds);

        static native int ancillary_set_passcred(int sock, int on);

        static native NativeLong ancillary_send_creds(
                int sock, int[] creds, byte[] data, NativeLong len, int flags);

        static native NativeLong ancillary_recv_creds(
                int sock, int[] creds, byte[] data, NativeLong len, int flags);

        static native int ancillary_peer_creds(int sock, int[] creds);
    }

    private static final class LibC {
        static {
            Native.register(LibC.class, "libc.so.6");
        }

        static native int open(byte[] path, int flags);

        static native int accept4(int sock, byte[] address, int[] len, int flags);

        static native int shutdown(int sock, int how);

        static native NativeLong read(int fd, byte[] data, NativeLong len);

        static native NativeLong write(int fd, byte[] data, NativeLong len);

        static native int close(int fd);

        static native String strerror(int error);
    }

    private Ancillary() {}

    /** A call that failed. The reason is errno in words. */
    public static final class Failure extends IOException {
        private static final long serialVersionUID = 1;

        /** What failed. */
        public final String call;

        /** The errno value. */
        public final int errno;

        /** The errno value in words. */
        public final String reason;

        private Failure(String call, int errno) {
            this(call, errno, LibC.strerror(errno));
        }

        private Failure(String call, int errno, String reason) {
            super(call + ": " + reason);
            this.call = call;
            this.errno = errno;
            this.reason = reason;
        }
    }

    /** A function of libancillary returns a negative errno value when it fails. */
    private static int check(String call, int result) throws Failure {
        if (result < 0) {
            throw new Failure(call, -result);
        }
        return result;
    }

    private static int check(String call, NativeLong result) throws Failure {
        return check(call, result.intValue());
    }

    /** A function of the C library returns a negative value, and sets errno: JNA keeps a copy. */
    private static int checkErrno(String call, int result) throws Failure {
        if (result < 0) {
            throw new Failure(call, Native.getLastError());
        }
        return result;
    }

    /**
     * A path for C, as java.nio.file has it: that refuses zero bytes, and what the locale has no
     * bytes for. JNA would make `?` of it.
     */
    private static byte[] encoded(String path) {
        Path.of(path);
        return Native.toByteArray(path, System.getProperty("sun.jnu.encoding"));
    }

    /** Does something with the number of a descriptor. */
    private interface Use<T> {
        T with(int number) throws IOException;
    }

    /** An open file, pipe, socket or whatever else. */
    public static class Descriptor implements ByteChannel {
        private int fd;
        private int users;
        private boolean closed;

        private Descriptor(int fd) {
            this.fd = fd;
        }

        /** Opens a file for reading. */
        public static Descriptor open(String path) throws Failure {
            Descriptor file = new Descriptor(-1);
            checkErrno("open", file.own(() -> LibC.open(encoded(path), O_RDONLY | O_CLOEXEC)));
            return file;
        }

        /** Takes over what a call returns. Between the two nothing is allocated. */
        final synchronized int own(IntSupplier call) {
            fd = call.getAsInt();
            return fd;
        }

        /** The number is that of this file until the end. */
        final <T> T use(Use<T> use) throws IOException {
            int number = begin();
            try {
                return use.with(number);
            } finally {
                end();
            }
        }

        final synchronized int begin() throws ClosedChannelException {
            if (closed) {
                throw new ClosedChannelException();
            }
            users++;
            return fd;
        }

        final synchronized void end() {
            users--;
            if (closed && users == 0) {
                LibC.close(fd);
            }
        }

        @Override
        public int read(ByteBuffer to) throws IOException {
            byte[] data = new byte[Math.min(to.remaining(), 65536)];
            if (data.length == 0) {
                return 0;
            }
            NativeLong len = new NativeLong(data.length);
            int count = use(
                    number -> checkErrno("read", LibC.read(number, data, len).intValue()));
            to.put(data, 0, count);
            return count == 0 ? -1 : count;
        }

        @Override
        public int write(ByteBuffer from) throws IOException {
            byte[] data = new byte[Math.min(from.remaining(), 65536)];
            from.duplicate().get(data);
            NativeLong len = new NativeLong(data.length);
            int count = use(
                    number -> checkErrno("write", LibC.write(number, data, len).intValue()));
            from.position(from.position() + count);
            return count;
        }

        @Override
        public final synchronized boolean isOpen() {
            return !closed;
        }

        /** Closes it, at the latest when the calls that others are in with it have returned. */
        @Override
        public final synchronized void close() throws Failure {
            if (!closed) {
                closed = true;
                if (users == 0) {
                    checkErrno("close", LibC.close(fd));
                }
            }
        }
    }

    /**
     * Who a process is.
     *
     * @param pid the process
     * @param uid the user
     * @param gid the group
     */
    public record Creds(int pid, long uid, long gid) {
        private static Creds of(int[] values) {
            long uid = Integer.toUnsignedLong(values[1]);
            long gid = Integer.toUnsignedLong(values[2]);
            return new Creds(values[0], uid, gid);
        }
    }

    /**
     * What has been received. The descriptors are the receiver's to close, one by one or with this.
     *
     * @param data the payload; nothing when the peer has closed
     * @param descriptors what came with it
     */
    public record Received(byte[] data, List<Descriptor> descriptors) implements AutoCloseable {
        /** Closes those that have not been closed, all of them, also if closing one fails. */
        @Override
        public void close() throws Failure {
            Failure first = null;
            for (Descriptor descriptor : descriptors) {
                try {
                    descriptor.close();
                } catch (Failure e) {
                    if (first == null) {
                        first = e;
                    } else {
                        first.addSuppressed(e);
                    }
                }
            }
            if (first != null) {
                throw first;
            }
        }
    }

    /**
     * A payload that has been received, and who sent it.
     *
     * @param data the payload; nothing when the peer has closed
     * @param creds the sender
     */
    public record Signed(byte[] data, Creds creds) {}

    /** A Unix stream socket. */
    public static final class Socket extends Descriptor {
        private Socket() {
            super(-1);
        }

        /**
         * Makes a listening socket. When its file is there, connecting works.
         *
         * @param path that of the file; one that begins with @ is an abstract name, without a file
         * @param mode the permissions of the file, less the umask
         * @param flags 0, or some of {@link #REPLACE}, and {@link #PASSCRED}, {@link #PASSPIDFD}
         *     and {@link #NORIGHTS}, which what accept returns inherits
         */
        public static Socket listen(String path, int mode, int flags) throws Failure {
            Socket socket = new Socket();
            check("listen", socket.own(
                    () -> LibAncillary.ancillary_listen(encoded(path), SOCK_STREAM, mode, flags)));
            return socket;
        }

        /**
         * Makes a socket and connects it.
         *
         * @param flags 0, or some of {@link #DONTWAIT}, {@link #INTR}, {@link #PASSCRED}, {@link
         *     #PASSPIDFD} and {@link #NORIGHTS}
         */
        public static Socket connect(String path, int flags) throws Failure {
            Socket socket = new Socket();
            check("connect", socket.own(
                    () -> LibAncillary.ancillary_connect(encoded(path), SOCK_STREAM, flags)));
            return socket;
        }

        /** Waits for who connects to a listening socket. */
        public Socket accept() throws IOException {
            Socket socket = new Socket();
            return use(number -> {
                checkErrno("accept",
                        socket.own(() -> LibC.accept4(number, null, null, SOCK_CLOEXEC)));
                return socket;
            });
        }

        /** Ends the connection, and what waits for it, here and in other processes that have it. */
        public void shutdown() throws IOException {
            use(number -> checkErrno("shutdown", LibC.shutdown(number, SHUT_RDWR)));
        }

        /**
         * Sends descriptors, which stay the sender's, with a payload; without one, a marker byte.
         *
         * @return how many bytes were sent
         */
        public int sendFds(List<? extends Descriptor> descriptors, byte[] data, int flags)
                throws IOException {
            int[] fds = new int[descriptors.size()];
            int held = 0;
            try {
                for (Descriptor descriptor : descriptors) {
                    fds[held] = descriptor.begin();
                    held++;
                }
                return use(number -> check("send_fds", LibAncillary.ancillary_send_fds(number, fds,
                        new NativeLong(fds.length), orNull(data), new NativeLong(data.length),
                        flags)));
            } finally {
                for (int i = 0; i < held; i++) {
                    descriptors.get(i).end();
                }
            }
        }

        /**
         * Receives at most so many descriptors and bytes.
         *
         * @param room for how many descriptors
         * @param size for how many bytes
         * @param flags 0, or some of {@link #DONTWAIT}, {@link #INTR}, {@link #WAITALL} and {@link
         *     #LOSSLESS}
         */
        public Received recvFds(int room, int size, int flags) throws IOException {
            byte[] data = new byte[size];
            NativeLongByReference count = new NativeLongByReference(new NativeLong(room));
            // C writes the numbers to memory that is there whatever is thrown here. Closing them
            // takes no more of it.
            NativeLong all = new NativeLong(room);
            Memory fds = new Memory(Math.multiplyExact(Integer.BYTES, Math.max(room, 1)));
            fds.setMemory(0, fds.size(), (byte) -1);
            try {
                int received = use(number -> check("recv_fds", LibAncillary.ancillary_recv_fds(
                        number, fds, count, data, new NativeLong(size), flags)));
                List<Descriptor> descriptors = new ArrayList<>();
                for (int number : fds.getIntArray(0, count.getValue().intValue())) {
                    descriptors.add(new Descriptor(number));
                }
                return new Received(Arrays.copyOf(data, received), descriptors);
            } catch (Throwable e) {
                LibAncillary.ancillary_close_fds(fds, all);
                throw e;
            }
        }

        /** Asks for credentials with every message. */
        public void setPasscred(boolean on) throws IOException {
            use(number -> check("set_passcred",
                    LibAncillary.ancillary_set_passcred(number, on ? 1 : 0)));
        }

        /**
         * Sends the credentials of this process with a payload or, without one, a marker byte.
         *
         * @return how many bytes were sent
         */
        public int sendCreds(byte[] data, int flags) throws IOException {
            return use(number -> check("send_creds", LibAncillary.ancillary_send_creds(
                    number, null, orNull(data), new NativeLong(data.length), flags)));
        }

        /**
         * Receives at most so many bytes.
         *
         * @param flags as for {@link #recvFds}
         */
        public Signed recvCreds(int size, int flags) throws IOException {
            int[] creds = new int[3];
            byte[] data = new byte[size];
            int received = use(number -> check("recv_creds", LibAncillary.ancillary_recv_creds(
                    number, creds, data, new NativeLong(size), flags)));
            return new Signed(Arrays.copyOf(data, received), Creds.of(creds));
        }

        /** Who is on the other end. */
        public Creds peerCreds() throws IOException {
            int[] creds = new int[3];
            use(number -> check("peer_creds", LibAncillary.ancillary_peer_creds(number, creds)));
            return Creds.of(creds);
        }

        private static byte[] orNull(byte[] data) {
            return data.length == 0 ? null : data;
        }
    }
}
