// Passes files from one process to another; ../README.md says what it does.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

import com.sun.jna.Library;
import com.sun.jna.Native;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.channels.Channels;
import java.nio.charset.Charset;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

public final class Pass {
    private static final int ROOM = 65536;
    private static final String USAGE = """
            Usage: pass send SOCKET N [PAYLOAD]
                   pass recv SOCKET MAX [TIMES]
                   pass creds SOCKET [TIMES]
                   pass peer SOCKET
            """;

    private static String command;
    private static boolean failed;

    private Pass() {}

    private interface Action {
        void run() throws IOException;
    }

    private interface Service {
        void serve(Ancillary.Socket socket) throws IOException;
    }

    /** Does something whose failure ends nothing else. */
    private static void attempt(Action action) {
        try {
            action.run();
        } catch (Ancillary.Failure e) {
            complain(e.reason);
        } catch (FileSystemException e) {
            complain(e.getReason());
        } catch (IOException e) {
            complain(e.getMessage());
        }
    }

    private static void complain(String why) {
        System.err.println(command + ": " + why);
        failed = true;
    }

    private static Ancillary.Descriptor unnamedFile(String content) throws IOException {
        Path path = Files.createTempFile("pass", null);
        try {
            Files.writeString(path, content);
            return Ancillary.Descriptor.open(path.toString());
        } finally {
            Files.delete(path);
        }
    }

    private static void closeAll(List<Ancillary.Descriptor> descriptors) throws IOException {
        for (Ancillary.Descriptor descriptor : descriptors) {
            descriptor.close();
        }
    }

    private static void sendOn(Ancillary.Socket socket, int count, byte[] payload)
            throws IOException {
        List<Ancillary.Descriptor> files = new ArrayList<>();
        int size;
        try (socket) {
            for (int i = 1; i <= count; i++) {
                long pid = ProcessHandle.current().pid();
                files.add(unnamedFile("file " + i + " of " + count + ", made by " + pid + "\n"));
            }
            size = count > 0 ? socket.sendFds(files, payload, 0) : socket.sendCreds(payload, 0);
        } finally {
            closeAll(files);
        }
        System.out.println("sent " + count + " descriptors, " + size + " bytes");
    }

    /** A line as it is, whatever its bytes, without its newline; null at the end. */
    private static byte[] readLine(InputStream in) throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        int next;
        while ((next = in.read()) >= 0 && next != '\n') {
            line.write(next);
        }
        return next < 0 && line.size() == 0 ? null : line.toByteArray();
    }

    private static void send(String path, int count, String payload) throws IOException {
        if (!payload.equals("-")) {
            // As it was on the command line.
            Charset charset = Charset.forName(System.getProperty("sun.jnu.encoding"));
            sendOn(Ancillary.Socket.connect(path, 0), count, payload.getBytes(charset));
            return;
        }
        InputStream in = new BufferedInputStream(System.in);
        while (true) {
            Ancillary.Socket socket = Ancillary.Socket.connect(path, 0);
            byte[] line = readLine(in);
            if (line == null) {
                socket.close();
                return;
            }
            attempt(() -> sendOn(socket, count, line));
        }
    }

    /** Accepts connections and does something with each. */
    private static void serve(String path, int times, Service service) throws IOException {
        try (Ancillary.Socket listener =
                Ancillary.Socket.listen(path, 0600, Ancillary.REPLACE)) {
            try {
                for (int i = 0; i < times; i++) {
                    try (Ancillary.Socket socket = listener.accept()) {
                        System.out.println("accepted");
                        attempt(() -> service.serve(socket));
                    }
                    System.out.println("done");
                }
            } finally {
                Files.delete(Path.of(path));
            }
        }
    }

    private static void checkCame(byte[] payload) throws IOException {
        if (payload.length == 0) {
            throw new IOException("The peer has closed");
        }
    }

    private static void sayPayload(byte[] payload) throws IOException {
        System.out.print("payload: ");
        System.out.write(payload);
        System.out.println();
    }

    private static void recv(String path, int max, int times) throws IOException {
        serve(path, times, socket -> {
            Ancillary.Received received = socket.recvFds(max, ROOM, Ancillary.WAITALL);
            try {
                checkCame(received.data());
                System.out.println("received " + received.descriptors().size() + " descriptors, "
                        + received.data().length + " bytes");
                sayPayload(received.data());
                for (Ancillary.Descriptor file : received.descriptors()) {
                    Channels.newInputStream(file).transferTo(System.out);
                }
            } finally {
                closeAll(received.descriptors());
            }
        });
    }

    private static String words(Ancillary.Creds creds) {
        return "pid " + creds.pid() + " uid " + creds.uid() + " gid " + creds.gid();
    }

    private static void creds(String path, int times) throws IOException {
        serve(path, times, socket -> {
            socket.setPasscred(true);
            Ancillary.Signed received = socket.recvCreds(ROOM, 0);
            checkCame(received.data());
            System.out.println(words(received.creds()) + ", " + received.data().length + " bytes");
            sayPayload(received.data());
        });
    }

    private static void peer(String path) throws IOException {
        try (Ancillary.Socket socket = Ancillary.Socket.connect(path, 0)) {
            System.out.println(words(socket.peerCreds()));
        }
    }

    private static int number(String text) {
        if (!text.matches("[0-9]+")) {
            throw new NumberFormatException(text);
        }
        return Integer.parseInt(text);
    }

    /** What the arguments ask for. */
    private static Action parse(String[] args) {
        String path = args.length > 1 ? args[1] : "";
        switch (args.length > 0 ? args[0] + " " + (args.length - 1) : "") {
            case "send 2", "send 3" -> {
                int count = number(args[2]);
                String payload = args.length > 3 ? args[3] : "";
                return () -> send(path, count, payload);
            }
            case "recv 2", "recv 3" -> {
                int max = number(args[2]);
                int times = args.length > 3 ? number(args[3]) : 1;
                return () -> recv(path, max, times);
            }
            case "creds 1", "creds 2" -> {
                int times = args.length > 2 ? number(args[2]) : 1;
                return () -> creds(path, times);
            }
            case "peer 1" -> {
                return () -> peer(path);
            }
            default -> throw new IllegalArgumentException("a command and its arguments");
        }
    }

    /** Java has set the locale of the environment, in which strerror(3) may speak its language. */
    private interface LibC extends Library {
        int LC_MESSAGES = 5;

        String setlocale(int category, String locale);
    }

    public static void main(String[] args) {
        Action action = null;
        try {
            action = parse(args);
        } catch (IllegalArgumentException e) {
            System.err.print(USAGE);
            System.exit(2);
        }
        command = args[0];
        Native.load("libc.so.6", LibC.class).setlocale(LibC.LC_MESSAGES, "C");
        attempt(action);
        System.exit(failed ? 1 : 0);
    }
}
