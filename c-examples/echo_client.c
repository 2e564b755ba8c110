/* echo_client - a conversation over a Unix socket: four messages, and the answer to each
 *
 *   echo_client NAME
 *
 * Connects to the server (see echo_server.c) that listens on NAME, which is a path or `@` and an
 * abstract name. Sends four messages of 1,024 bytes, and waits after each for the answer, which
 * must be the same bytes. Signals end it as they do by default: there is nothing to clean up.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#include "service.h"

static const char usage[] =
    "Usage: echo_client NAME\n"
    "Sends four messages to the server that listens on the Unix socket NAME, and prints them and\n"
    "the answers. NAME is a path, or @ and an abstract name.\n";

/* Text, and zeros up to this size. */
enum { MESSAGE = 1024, MESSAGES = 4 };

/* A stream has no boundaries: what makes 1,024 bytes a message is that both sides send and receive
 * exactly so many. Neither call returns before that but for an error, or the end of the stream. */
static int exchange(int sock, const char *message, char *answer)
{
    ssize_t n = ancillary_send_fds(sock, NULL, 0, message, MESSAGE, 0);
    if (n < 0)
        return fail("sending", strerror((int)-n));
    if (n < MESSAGE)
        return fail("sending", "the server has closed the connection");
    /* Room for no descriptor: one that came would be closed, and the call fail. */
    size_t descriptors = 0;
    n = ancillary_recv_fds(sock, NULL, &descriptors, answer, MESSAGE, ANCILLARY_WAITALL);
    if (n < 0)
        return fail("receiving", strerror((int)-n));
    if (n < MESSAGE)
        return fail("receiving", "the server has closed the connection");
    if (memcmp(message, answer, MESSAGE) != 0)
        return fail("receiving", "the answer is not what was sent");
    return 0;
}

static int talk(int sock)
{
    for (int i = 1; i <= MESSAGES; i++) {
        char message[MESSAGE] = {0}, answer[MESSAGE], lines[2 * MESSAGE + 30];
        snprintf(message, sizeof message, "Message %d of %d from process %ld.", i, MESSAGES,
                 (long)getpid());
        if (exchange(sock, message, answer) < 0)
            return -1;
        int len = snprintf(lines, sizeof lines, "Sent:     %s\nAnswered: %s\n", message, answer);
        if (write_all(STDOUT_FILENO, lines, (size_t)len) < 0)
            return fail("standard output", strerror(errno));
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *name = socket_name(*begin(argc, argv, "echo_client", usage, "", 1, 1));
    int sock = ancillary_connect(name, SOCK_STREAM, 0);
    if (sock < 0) {
        fail(name, strerror(-sock));
        return EXIT_FAILURE;
    }
    int result = talk(sock);
    close(sock);
    return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
