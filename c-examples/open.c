/* open - has a file opened by a server, and prints it or writes to it
 *
 *   open SOCKET PATH FLAGS
 *
 * Asks the server at the Unix socket SOCKET (see opend.c) to open the file PATH, and gets a
 * descriptor of it. FLAGS is
 *
 *   r    to copy the file to standard output,
 *   w    to write standard input to it, over what is at its beginning,
 *   rw   to do first the one, then the other, which goes to its end,
 *   a    to append standard input to it.
 *
 * The exit status is 0 when all went well, 2 when the server refused or could not open the file,
 * which it says on standard error, and 1 after any other error.
 *
 * The protocol, over a stream socket, one request a connection:
 *
 *   request   "open PATH FLAGS" and a zero byte. PATH begins with a slash. FLAGS is r, w, rw or a
 *             (append). Nothing is created or truncated, and only regular files are opened.
 *   answer    struct answer below. If status is 0, the descriptor comes with it; else status is an
 *             errno value, and text says what is wrong. Then the server closes.
 *
 * A refusal can come before the request has been sent whole. A client that cannot send any more
 * reads the answer all the same.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#define _GNU_SOURCE /* SOCK_CLOEXEC */

#include <ancillary.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char usage[] =
    "Usage: open SOCKET PATH FLAGS\n"
    "Has the server at the Unix socket SOCKET open the file PATH, which begins with a slash.\n"
    "  r   copies the file to standard output\n"
    "  w   writes standard input to it, over what is there\n"
    "  rw  does both in turn\n"
    "  a   appends standard input to it\n";

enum { REFUSED = 2 };

struct answer {
    int32_t status;
    char text[124];
};

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "open: %s: %s\n", what, why);
    return -1;
}

/* An error message must not end up in the file because that has become descriptor 2. */
static int open_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return -1;
    return 0;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    /* The kernel would take an empty path for an abstract name (unix(7)). */
    if (len == 0)
        return fail("SOCKET", "the path of the socket is empty");
    if (len >= sizeof address.sun_path)
        return fail(path, "too long for the path of a socket, which has 107 bytes at most");
    memcpy(address.sun_path, path, len + 1);
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return fail("socket", strerror(errno));
    if (connect(sock, (struct sockaddr *)&address, sizeof address) < 0) {
        fail(path, strerror(errno));
        close(sock);
        return -1;
    }
    return sock;
}

/* Sends it in pieces where need be. The server may refuse after the first and close: then there
 * is no more to send, but an answer to read. */
static int send_request(int sock, const char *path, const char *flags)
{
    char request[sizeof "open  rw" + PATH_MAX];
    int len = snprintf(request, sizeof request, "open %s %s", path, flags);
    if (len < 0 || (size_t)len >= sizeof request)
        return fail(path, strerror(ENAMETOOLONG));
    for (size_t sent = 0; sent <= (size_t)len;) {
        ssize_t now = send(sock, request + sent, (size_t)len + 1 - sent, MSG_NOSIGNAL);
        if (now < 0)
            return errno == EPIPE || errno == ECONNRESET ? 0 : fail("sending", strerror(errno));
        sent += (size_t)now;
    }
    return 0;
}

/* Returns 0 with a descriptor in *file, REFUSED, or -1. */
static int receive_answer(int sock, const char *path, int *file)
{
    struct answer answer;
    size_t count = 1;
    ssize_t len = ancillary_recv_fds(sock, file, &count, &answer, sizeof answer, ANCILLARY_WAITALL);
    if (len < 0)
        return fail("receiving the answer", strerror(errno));
    /* The server is a program like any other: what it sends is looked at before it is used. */
    if ((size_t)len == sizeof answer && answer.status != 0 && count == 0) {
        answer.text[sizeof answer.text - 1] = '\0';
        fail(path, answer.text);
        return REFUSED;
    }
    if ((size_t)len == sizeof answer && answer.status == 0 && count == 1)
        return 0;
    ancillary_close_fds(file, count);
    return fail("malformed answer", (size_t)len < sizeof answer ? "it is too short"
                                    : count                     ? "a descriptor came with an error"
                                                                : "no descriptor came with it");
}

static int copy(int from, int to)
{
    char data[65536];
    ssize_t len;
    while ((len = read(from, data, sizeof data)) > 0) {
        for (ssize_t done = 0; done < len;) {
            ssize_t now = write(to, data + done, (size_t)(len - done));
            if (now < 0)
                return fail("write", strerror(errno));
            done += now;
        }
    }
    return len < 0 ? fail("read", strerror(errno)) : 0;
}

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (argc != 4) {
        fputs(usage, stderr);
        return EXIT_FAILURE;
    }
    if (open_standard_descriptors() < 0)
        return EXIT_FAILURE;
    const char *path = argv[2], *flags = argv[3];
    int file = -1;
    int sock = connect_to(argv[1]);
    if (sock < 0 || send_request(sock, path, flags) < 0)
        return EXIT_FAILURE;
    int result = receive_answer(sock, path, &file);
    close(sock);
    if (result == REFUSED)
        return REFUSED;
    if (result == 0 && flags[0] == 'r')
        result = copy(file, STDOUT_FILENO);
    if (result == 0 && strcmp(flags, "r") != 0)
        result = copy(STDIN_FILENO, file);
    /* Some file systems report only now that what was written is not stored. */
    if (file >= 0 && close(file) < 0 && result == 0)
        result = fail(path, strerror(errno));
    return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
