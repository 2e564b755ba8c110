// What the wrapper promises beyond what Pass shows.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

import com.sun.jna.Library;
import com.sun.jna.Native;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.ClosedChannelException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.CompletableFuture;

public final class TestAncillary {
    private static final int EPERM = 1;
    private static final int E2BIG = 7;
    private static final int EBADF = 9;
    private static final int EAGAIN = 11;
    private static final int ENOPROTOOPT = 92;
    private static final byte[] NOTHING = {};

    private interface Test {
        void run(Ancillary.Socket ours, Ancillary.Socket theirs) throws Exception;
    }

    private interface Call {
        void run() throws Exception;
    }

    private interface LibC extends Library {
        int close(int fd);
    }

    private static final Random CHANCE = new Random(setting(
            "ANCILLARY_TEST_SEED", new Random().nextInt(Integer.MAX_VALUE)));

    /** What has gone wrong in a thread that goes on. */
    private static volatile Throwable fault;

    private TestAncillary() {}

    private static int setting(String name, int otherwise) {
        int value = Integer.parseInt(Objects.requireNonNullElse(
                System.getenv(name), Integer.toString(otherwise)));
        if (name.equals("ANCILLARY_TEST_SEED")) {
            System.err.println("seed " + value);
        }
        return value;
    }

    private static int interruptions(int otherwise) {
        return setting("ANCILLARY_TEST_INTERRUPTIONS", otherwise);
    }

    private static void check(boolean holds) {
        if (!holds) {
            throw new AssertionError("it does not hold");
        }
    }

    private static int descriptors() {
        return new File("/proc/self/fd").list().length;
    }

    /** What a call throws. */
    private static Exception problem(Call call) {
        try {
            call.run();
        } catch (Exception e) {
            return e;
        }
        throw new AssertionError("nothing has been thrown");
    }

    /** A read that is in progress in another thread. */
    private static CompletableFuture<Ancillary.Received> receiving(
            Ancillary.Socket from, int size) {
        return CompletableFuture.supplyAsync(() -> {
            try {
                return from.recvFds(1, size, Ancillary.WAITALL);
            } catch (IOException e) {
                throw new AssertionError(e);
            }
        });
    }

    private static void arraysOutliveCallsThatWait(Ancillary.Socket ours, Ancillary.Socket theirs)
            throws Exception {
        int size = 1 << 20;
        byte[] data = new byte[size];
        Arrays.fill(data, (byte) 'x');
        CompletableFuture<Ancillary.Received> receiving = receiving(ours, 2 * size);
        theirs.sendFds(List.of(theirs), data, 0);
        System.gc();
        theirs.sendFds(List.of(), data, 0);
        Ancillary.Received received = receiving.get();
        check(Arrays.equals(received.data(), 0, size, data, 0, size));
        check(Arrays.equals(received.data(), size, 2 * size, data, 0, size));
        received.descriptors().get(0).close();
    }

    private static void shutdownEndsACallThatWaits(Ancillary.Socket ours, Ancillary.Socket theirs)
            throws Exception {
        CompletableFuture<Ancillary.Received> receiving = receiving(ours, 1);
        ours.shutdown();
        check(receiving.get().data().length == 0);
    }

    private static void aDescriptorIsAChannel(Ancillary.Socket ours, Ancillary.Socket theirs)
            throws Exception {
        theirs.sendFds(List.of(theirs), NOTHING, 0);
        try (Ancillary.Descriptor received = ours.recvFds(1, 1, 0).descriptors().get(0)) {
            Channels.newOutputStream(received).write("data".getBytes());
            ByteBuffer buffer = ByteBuffer.allocate(10);
            check(ours.read(buffer) == 4 && new String(buffer.flip().array(), 0, 4).equals("data"));
            theirs.shutdown();
            check(ours.read(buffer.clear()) == -1);
        }
    }

    private static void aPositionIsShared(Ancillary.Socket ours, Ancillary.Socket theirs)
            throws Exception {
        Path path = Files.createTempFile("pass", null);
        Files.writeString(path, "firstsecond");
        try (Ancillary.Descriptor file = Ancillary.Descriptor.open(path.toString())) {
            Files.delete(path);
            check(file.read(ByteBuffer.allocate(5)) == 5);
            theirs.sendFds(List.of(file), NOTHING, 0);
        }
        try (Ancillary.Descriptor received = ours.recvFds(1, 1, 0).descriptors().get(0)) {
            check(new String(Channels.newInputStream(received).readAllBytes()).equals("second"));
        }
    }

    private static void memoryIsAsLargeAsIsSaid(Ancillary.Socket ours, Ancillary.Socket theirs)
            throws Exception {
        theirs.sendFds(List.of(theirs, theirs), NOTHING, 0);
        for (int room : new int[] {1 << 30, (1 << 30) + 1, Integer.MAX_VALUE}) {
            check(problem(() -> ours.recvFds(room, 1, 0)) instanceof ArithmeticException);
        }
        ours.recvFds(2, 1, 0).close();
    }

    private static void aPathIsThatOfJava(Ancillary.Socket ours, Ancillary.Socket theirs)
            throws Exception {
        String name = System.getProperty("java.io.tmpdir") + "/ancillary-\u00e9";
        try {
            Path.of(name);
        } catch (InvalidPathException e) {
            check(problem(() -> Ancillary.Socket.listen(name, 0600, 0).close())
                    instanceof InvalidPathException);
            return;
        }
        Ancillary.Socket.listen(name, 0600, Ancillary.REPLACE).close();
        check(Files.deleteIfExists(Path.of(name)));
    }

    private static void whatHasBeenClosedIsNoDescriptor(
            Ancillary.Socket ours, Ancillary.Socket theirs) throws Exception {
        Ancillary.Descriptor file = Ancillary.Descriptor.open("/dev/null");
        check(file.isOpen());
        file.close();
        file.close();
        check(!file.isOpen());
        Exception problem = problem(() -> theirs.sendFds(List.of(file), NOTHING, 0));
        check(problem instanceof ClosedChannelException);
        check(problem(() -> file.read(ByteBuffer.allocate(1))) instanceof ClosedChannelException);
    }

    private static void aFailureHasANumberAndTellsWhatFailed(
            Ancillary.Socket ours, Ancillary.Socket theirs) throws Exception {
        Exception problem = problem(() -> ours.recvFds(1, 1, Ancillary.DONTWAIT));
        check(problem instanceof Ancillary.Failure failure && failure.errno == EAGAIN);
        check(problem.getMessage().startsWith("recv_fds: "));
        theirs.sendFds(List.of(theirs, theirs), NOTHING, 0);
        problem = problem(() -> ours.recvFds(1, 1, 0));
        check(problem instanceof Ancillary.Failure failure && failure.errno == E2BIG);
    }

    private static void aPathIsNotCut(Ancillary.Socket ours, Ancillary.Socket theirs) {
        Call[] calls = {
            () -> Ancillary.Socket.listen("/tmp/name\0more", 0600, 0),
            () -> Ancillary.Socket.connect("/tmp/name\0more", 0),
            () -> Ancillary.Descriptor.open("/dev/null\0more"),
        };
        for (Call call : calls) {
            check(problem(call) instanceof InvalidPathException);
        }
    }

    private static void withoutLossWhatThereIsNoRoomForStaysQueued(
            Ancillary.Socket ours, Ancillary.Socket theirs) throws Exception {
        theirs.sendFds(List.of(ours, theirs), "data".getBytes(), 0);
        Exception problem = problem(() -> ours.recvFds(1, 10, Ancillary.LOSSLESS));
        check(problem instanceof Ancillary.Failure failure && failure.errno == E2BIG);
        problem = problem(() -> ours.recvCreds(10, Ancillary.LOSSLESS));
        check(problem instanceof Ancillary.Failure failure && failure.errno == E2BIG);
        try (Ancillary.Received received = ours.recvFds(2, 10, Ancillary.LOSSLESS)) {
            check(new String(received.data()).equals("data"));
            check(received.descriptors().size() == 2);
        }
    }

    private static void optionsHoldForTheFirstMessage(
            Ancillary.Socket ours, Ancillary.Socket theirs) throws Exception {
        String name = "@ancillary-other-" + ProcessHandle.current().pid();
        try (Ancillary.Socket listener = Ancillary.Socket.listen(name, 0600, Ancillary.PASSCRED);
                Ancillary.Socket socket = Ancillary.Socket.connect(name, 0);
                Ancillary.Socket accepted = listener.accept()) {
            socket.sendFds(List.of(), "data".getBytes(), 0);
            Ancillary.Creds creds = accepted.recvCreds(10, 0).creds();
            check(creds.pid() == ProcessHandle.current().pid());
            try (Ancillary.Socket refusing =
                            Ancillary.Socket.connect(name, Ancillary.NORIGHTS);
                    Ancillary.Socket other = listener.accept()) {
                check(refusing.isOpen());
                Exception problem = problem(() -> other.sendFds(List.of(other), NOTHING, 0));
                check(problem instanceof Ancillary.Failure failure && failure.errno == EPERM);
            } catch (Ancillary.Failure e) {
                // Linux has it since 6.16.
                check(e.errno == ENOPROTOOPT);
            }
        }
    }

    private static void closingWaitsForACallInProgress(
            Ancillary.Socket ours, Ancillary.Socket theirs) throws Exception {
        // With so much, sending goes on when receiving has begun.
        byte[] much = new byte[1 << 20];
        CompletableFuture<Ancillary.Received> receiving = receiving(ours, much.length + 1);
        theirs.sendFds(List.of(theirs), much, 0);
        ours.close();
        check(!ours.isOpen());
        check(problem(() -> ours.recvFds(0, 1, 0)) instanceof ClosedChannelException);
        // No other file gets the number meanwhile.
        Ancillary.Descriptor other = Ancillary.Descriptor.open("/dev/null");
        theirs.sendFds(List.of(), new byte[1], 0);
        try (Ancillary.Received received = receiving.get()) {
            check(received.data().length == much.length + 1);
            check(received.descriptors().size() == 1);
        }
        other.close();
    }

    private static void allAreClosedAlsoIfOneCannotBe(
            Ancillary.Socket ours, Ancillary.Socket theirs) throws Exception {
        LibC libc = Native.load("libc.so.6", LibC.class);
        theirs.sendFds(List.of(ours, ours, ours), NOTHING, 0);
        Ancillary.Received received = ours.recvFds(3, 1, 0);
        int before = descriptors();
        // Behind the back of the first two.
        for (Ancillary.Descriptor descriptor : received.descriptors().subList(0, 2)) {
            check(libc.close(descriptor.begin()) == 0);
            descriptor.end();
        }
        Exception problem = problem(received::close);
        check(problem instanceof Ancillary.Failure failure && failure.errno == EBADF);
        Throwable[] others = problem.getSuppressed();
        check(others.length == 1 && others[0] instanceof Ancillary.Failure);
        check(descriptors() == before - 3);
        received.close();
    }

    /** A thread in which nothing may go wrong. */
    private static Thread start(Call call) {
        Thread thread = new Thread(() -> {
            try {
                call.run();
            } catch (Throwable e) {
                fault = e;
            }
        });
        thread.start();
        return thread;
    }

    private static void join(List<Thread> threads) throws Exception {
        for (Thread thread : threads) {
            thread.join();
        }
        if (fault != null) {
            throw new AssertionError(fault);
        }
    }

    /** Opens files, which nobody else may close, until this thread is interrupted. */
    private static void standBy() throws IOException {
        while (!Thread.interrupted()) {
            List<InputStream> files = new ArrayList<>();
            for (int i = 0; i < 8; i++) {
                files.add(new FileInputStream("/dev/zero"));
            }
            for (InputStream file : files) {
                check(file.read() == 0);
                file.close();
            }
        }
    }

    /** Receives until the peer, or another thread, has closed the socket. */
    private static void receiveAll(Ancillary.Socket from, int room, int size, int flags)
            throws IOException {
        while (true) {
            try (Ancillary.Received received = from.recvFds(room, size, flags)) {
                if (received.data().length == 0) {
                    return;
                }
            } catch (Ancillary.Failure e) {
                check(e.errno == E2BIG);
            } catch (ClosedChannelException e) {
                return;
            }
        }
    }

    /** Threads are interrupted, and sockets closed that they are in calls with. */
    private static void wheneverAThreadIsInterruptedEachDescriptorIsClosedOnce(
            Ancillary.Socket ours, Ancillary.Socket theirs) throws Exception {
        Thread bystander = start(TestAncillary::standBy);
        String name = "@ancillary-other-" + ProcessHandle.current().pid();
        try (Ancillary.Socket listener = Ancillary.Socket.listen(name, 0600, 0)) {
            List<Ancillary.Socket> three = List.of(listener, listener, listener);
            for (int left = interruptions(200); left > 0; left--) {
                Ancillary.Socket to = Ancillary.Socket.connect(name, 0);
                Ancillary.Socket from = listener.accept();
                List<Thread> threads = new ArrayList<>();
                for (int i = CHANCE.nextInt(3); i >= 0; i--) {
                    int room = CHANCE.nextInt(4);
                    int size = 1 + CHANCE.nextInt(20);
                    int flags = CHANCE.nextBoolean() ? Ancillary.WAITALL : 0;
                    threads.add(start(() -> receiveAll(from, room, size, flags)));
                }
                int interruption = CHANCE.nextInt(8);
                int closing = CHANCE.nextInt(8);
                for (int i = 0; i < 8; i++) {
                    // Not the socket itself: who has received it waits in vain for its end.
                    List<Ancillary.Socket> sent = three.subList(0, CHANCE.nextInt(4));
                    try {
                        to.sendFds(sent, "data".getBytes(), 0);
                    } catch (Ancillary.Failure e) {
                        // Nobody receives any more.
                        check(!from.isOpen());
                    }
                    if (i == interruption) {
                        threads.get(CHANCE.nextInt(threads.size())).interrupt();
                    }
                    if (i == closing) {
                        from.close();
                    }
                }
                to.close();
                join(threads);
            }
        }
        bystander.interrupt();
        join(List.of(bystander));
    }

    private static void run(Test test) throws Exception {
        String name = "@ancillary-" + ProcessHandle.current().pid();
        try (Ancillary.Socket listener = Ancillary.Socket.listen(name, 0600, 0);
                Ancillary.Socket ours = Ancillary.Socket.connect(name, 0);
                Ancillary.Socket theirs = listener.accept()) {
            test.run(ours, theirs);
        }
    }

    public static void main(String[] args) throws Exception {
        List<Test> tests = List.of(
                TestAncillary::arraysOutliveCallsThatWait,
                TestAncillary::shutdownEndsACallThatWaits,
                TestAncillary::aDescriptorIsAChannel,
                TestAncillary::aPositionIsShared,
                TestAncillary::memoryIsAsLargeAsIsSaid,
                TestAncillary::aPathIsThatOfJava,
                TestAncillary::whatHasBeenClosedIsNoDescriptor,
                TestAncillary::aFailureHasANumberAndTellsWhatFailed,
                TestAncillary::aPathIsNotCut,
                TestAncillary::withoutLossWhatThereIsNoRoomForStaysQueued,
                TestAncillary::optionsHoldForTheFirstMessage,
                TestAncillary::closingWaitsForACallInProgress,
                TestAncillary::allAreClosedAlsoIfOneCannotBe,
                TestAncillary::wheneverAThreadIsInterruptedEachDescriptorIsClosedOnce);
        for (Test test : tests) {
            // What Java opens when it does something for the first time, it keeps.
            run(test);
            int before = descriptors();
            run(test);
            check(descriptors() == before);
        }
    }
}
