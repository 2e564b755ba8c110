/* client - sends a text over TCP and prints the answer
 *
 *   client HOST PORT [TEXT]
 *
 * Connects, sends TEXT if there is one, closes its sending side, and copies what comes back to
 * standard output until the other side closes. Something to try server.c and worker.c with.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#include "service.h"

#include <netdb.h>

static const char usage[] =
    "Usage: client HOST PORT [TEXT]\n"
    "Connects to HOST and PORT, which is a number, sends TEXT, and prints the answer.\n";

static int connect_to(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *addresses;
    int result = getaddrinfo(host, port, &hints, &addresses);
    if (result != 0)
        return fail(host, result == EAI_SYSTEM ? strerror(errno) : gai_strerror(result));
    int fd = -1;
    for (struct addrinfo *a = addresses; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
            int error = errno;
            close(fd);
            errno = error;
            fd = -1;
        }
    }
    if (fd < 0)
        fail(host, strerror(errno));
    freeaddrinfo(addresses);
    return fd;
}

/* Sends and receives at the same time: the other side may answer before it has read all, and
 * stop reading until its answer is taken. */
static int talk(int sock, const char *text)
{
    size_t left = strlen(text);
    int sending = 1;
    for (;;) {
        if (sending && left == 0) {
            shutdown(sock, SHUT_WR);
            sending = 0;
        }
        struct pollfd polled = {.fd = sock, .events = sending ? POLLIN | POLLOUT : POLLIN};
        if (poll(&polled, 1, -1) < 0) {
            if (errno == EINTR)
                continue;
            return fail("poll", strerror(errno));
        }
        if (sending && polled.revents & POLLOUT) {
            ssize_t sent = send(sock, text, left, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent >= 0) {
                text += sent;
                left -= (size_t)sent;
            } else if (errno == EPIPE || errno == ECONNRESET) {
                sending = 0; /* Nobody reads it, but there may be an answer. */
            } else if (errno != EAGAIN && errno != EINTR) {
                return fail("send", strerror(errno));
            }
        }
        if (polled.revents & ~POLLOUT) {
            char answer[65536];
            ssize_t len = recv(sock, answer, sizeof answer, MSG_DONTWAIT);
            if (len == 0)
                return 0;
            if (len < 0 && errno != EAGAIN && errno != EINTR)
                return fail("receive", strerror(errno));
            if (len > 0 && write_all(STDOUT_FILENO, answer, (size_t)len) < 0)
                return fail("standard output", strerror(errno));
        }
    }
}

int main(int argc, char **argv)
{
    char **given = begin(argc, argv, "client", usage, "", 2, 3);
    int sock = check_port(given[1], 1) < 0 ? -1 : connect_to(given[0], given[1]);
    if (sock < 0)
        return EXIT_FAILURE;
    int result = talk(sock, given[2] ? given[2] : "");
    close(sock);
    return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
