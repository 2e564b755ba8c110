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

#define _GNU_SOURCE

#include <ancillary.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char usage[] =
    "Usage: echo_client NAME\n"
    "Sends four messages to the server that listens on the Unix socket NAME, and prints them and\n"
    "the answers. NAME is a path, or @ and an abstract name.\n";

/* Text, and zeros up to this size. */
enum { MESSAGE = 1024, MESSAGES = 4 };

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "echo_client: %s: %s\n", what, why);
    return -1;
}

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
        char message[MESSAGE] = {0}, answer[MESSAGE];
        snprintf(message, sizeof message, "Message %d of %d from process %ld.", i, MESSAGES,
                 (long)getpid());
        if (exchange(sock, message, answer) < 0)
            return -1;
        printf("Sent:     %s\nAnswered: %s\n", message, answer);
        if (fflush(stdout) != 0)
            return fail("standard output", "the lines cannot be written");
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (argc != 2) {
        fputs(usage, stderr);
        return EXIT_FAILURE;
    }
    int sock = ancillary_connect(argv[1], SOCK_STREAM, 0);
    if (sock < 0) {
        fail(argv[1], strerror(-sock));
        return EXIT_FAILURE;
    }
    int result = talk(sock);
    close(sock);
    return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
