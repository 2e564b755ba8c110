/* open - has a file opened by a server, and prints it or writes to it
 *
 *   open SOCKET PATH FLAGS
 *
 * Asks the server at the Unix socket SOCKET to open the file PATH, and gets a descriptor of it.
 * (See opend.c for the server, and for what the two say to each other.) FLAGS is
 *
 *   r    to copy the file to standard output,
 *   w    to write standard input to it, over what is at its beginning,
 *   rw   to do first the one, then the other, which goes to its end,
 *   a    to append standard input to it.
 *
 * The exit status is 0 when all went well, 2 when the server refused or could not open the file,
 * which it says on standard error, and 1 after any other error.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#include "service.h"

static const char usage[] =
    "Usage: open SOCKET PATH FLAGS\n"
    "Has the server at the Unix socket SOCKET open the file PATH, which begins with a slash.\n"
    "  r   copies the file to standard output\n"
    "  w   writes standard input to it, over what is there\n"
    "  rw  does both in turn\n"
    "  a   appends standard input to it\n";

enum { REFUSED = 2 };

/* What a request is for, by its type. */
static const char *const modes[] = {"?", "r", "w", "rw", "a"};

/* Asks for the file. Returns 0 with a descriptor of it, REFUSED, or -1. */
static int ask(struct ancillary_channel *server, const char *path, uint32_t mode, int *file)
{
    struct ancillary_frame answer, request = {.type = mode, .data = path, .len = strlen(path)};
    int result = ancillary_channel_send(server, &request, 0);
    /* The server may refuse before it has read all, and close: then there is an answer to read. */
    if (result < 0 && result != -EPIPE && result != -ECONNRESET)
        return fail("sending", strerror(-result));
    /* The server is a program like any other: what it sends is looked at before it is used. */
    result = ancillary_channel_recv(server, &answer, 0);
    if (result <= 0)
        return fail("receiving the answer", result ? strerror(-result) : "the server has closed");
    if (answer.nfds != (answer.type == 0))
        return fail("malformed answer", answer.type ? "a descriptor came with an error"
                                                    : "not one descriptor came with it");
    if (answer.type == 0) {
        *file = take_fd(&answer, 0);
        return 0;
    }
    char text[PAYLOAD + 1] = "";
    memcpy(text, answer.data, answer.len);
    fail(path, printable(text));
    return REFUSED;
}

static int copy(int from, int to)
{
    char data[65536];
    ssize_t len;
    while ((len = read_some(from, data, sizeof data)) > 0)
        if (write_all(to, data, (size_t)len) < 0)
            return fail("write", strerror(errno));
    return len < 0 ? fail("read", strerror(errno)) : 0;
}

int main(int argc, char **argv)
{
    static struct endpoint server;
    char **given = begin(argc, argv, "open", usage, "", 3, 3);
    const char *name = socket_name(given[0]), *path = given[1], *flags = given[2];
    uint32_t mode = sizeof modes / sizeof modes[0] - 1;
    int file = -1;
    while (mode > 0 && strcmp(flags, modes[mode]) != 0)
        mode--;
    if (!mode) {
        fail(flags, "not one of r, w, rw and a");
        return EXIT_FAILURE;
    }
    int sock = connect_to_name(name);
    if (sock < 0)
        return EXIT_FAILURE;
    open_endpoint(&server, sock, 0);
    int result = ask(&server.channel, path, mode, &file);
    close_endpoint(&server);
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
