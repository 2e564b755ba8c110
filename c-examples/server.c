/* server - accepts TCP connections and passes each on to a worker process
 *
 *   server [-b MAX] ADDRESS PORT WORKER
 *
 * The worker listens on the Unix socket WORKER (see worker.c). Each connection travels there as
 * one zero byte with one descriptor; the server then closes its own copy and has nothing more to
 * do with the client. It ends with SIGINT, SIGTERM or SIGHUP, or when the worker goes away.
 *
 * It listens on all addresses of ADDRESS, of both families: of localhost on 127.0.0.1 and ::1. It
 * does without those that this machine has not. That one is in use, or forbidden, is an error, and
 * so are more than 16.
 *
 * With -b (bulk) the byte has the descriptors of all connections that are waiting, up to MAX,
 * which costs much less for each. Not every worker takes such messages: worker.c does.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#include "service.h"

#include <netdb.h>
#include <netinet/in.h>

static const char usage[] =
    "Usage: server [-b MAX] ADDRESS PORT WORKER\n"
    "Accepts TCP connections to ADDRESS and PORT and passes them to the process that listens\n"
    "on the Unix socket WORKER.\n"
    "  -b MAX   passes all connections that are waiting in one message, up to MAX, which is\n"
    "           at most 253; the worker must take such messages, and have room for so many\n"
    "  ADDRESS  a number, or a name, which stands for all its addresses; empty, -, ?, * or :\n"
    "           for all addresses of this machine\n"
    "  PORT     a number; 0 picks a free one\n"
    "  WORKER   the path of a socket, which must be there already\n";

enum { LISTENERS = 16 };
static int listeners[LISTENERS];
static size_t listening;

static void end_at_once(int number)
{
    farewell(number);
    _exit(EXIT_SUCCESS);
}

/* Finds the addresses of a host: without one (NULL), those that stand for all of this machine. */
static int resolve(const char *host, const char *port, struct addrinfo **addresses)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV | AI_NUMERICHOST,
                             .ai_socktype = SOCK_STREAM};
    int result = getaddrinfo(host, port, &hints, addresses);
    if (result != EAI_NONAME)
        return result;
    /* It is a name, and looking it up can take long. There is nothing to clean up yet, so that
     * meanwhile a signal may end the program in its handler. */
    sigset_t kept_out;
    hints.ai_flags &= ~AI_NUMERICHOST;
    handle_endings(end_at_once);
    sigprocmask(SIG_SETMASK, &let_in, &kept_out);
    result = getaddrinfo(host, port, &hints, addresses);
    sigprocmask(SIG_SETMASK, &kept_out, NULL);
    handle_endings(note_ending);
    return result;
}

/* "ADDRESS port PORT", in numbers. */
static const char *name_of(const struct sockaddr *address, socklen_t len)
{
    static char name[NI_MAXHOST + sizeof " port " + NI_MAXSERV];
    char host[NI_MAXHOST] = "?", port[NI_MAXSERV] = "?";
    getnameinfo(address, len, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(name, sizeof name, "%s port %s", host, port);
    return name;
}

static int listen_on(const struct addrinfo *address)
{
    const int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    /* Without SO_REUSEADDR a restart fails while connections of the last run linger. IPv4 has
     * addresses of its own here. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (address->ai_family != AF_INET6 ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Gives all addresses the port of a socket. It stands in the same place for both families. */
static void copy_port(int fd, struct addrinfo *addresses)
{
    struct sockaddr_storage name = {0};
    socklen_t len = sizeof name;
    getsockname(fd, (struct sockaddr *)&name, &len);
    for (; addresses; addresses = addresses->ai_next)
        ((struct sockaddr_in *)addresses->ai_addr)->sin_port = ((struct sockaddr_in *)&name)->sin_port;
}

static int comes_before(const struct addrinfo *address, const struct addrinfo *all)
{
    for (; all != address; all = all->ai_next)
        if (all->ai_addrlen == address->ai_addrlen &&
            memcmp(all->ai_addr, address->ai_addr, address->ai_addrlen) == 0)
            return 1;
    return 0;
}

/* Listens on all addresses but those that are not there, nor their family. One that another program
 * has, or that we may not have, is an error: who asks for that would find the other program, or
 * nobody; and so is one too many, with E2BIG. Returns NULL, or the address that failed, with errno
 * set. */
static struct addrinfo *listen_on_all(struct addrinfo *addresses)
{
    struct addrinfo *failed = NULL;
    int error = 0;
    for (struct addrinfo *a = addresses; a; a = a->ai_next) {
        if (comes_before(a, addresses))
            continue;
        int fd = listen_on(a);
        if (fd >= 0 && listening == LISTENERS) {
            close(fd);
            errno = E2BIG;
            return a;
        }
        if (fd >= 0) {
            listeners[listening++] = fd;
            copy_port(fd, addresses); /* With port 0 the kernel has chosen one. */
            continue;
        }
        if (errno != EAFNOSUPPORT && errno != EADDRNOTAVAIL)
            return a;
        failed = a;
        error = errno;
    }
    errno = error;
    return listening > 0 ? NULL : failed;
}

static int open_listeners(const char *host, const char *port)
{
    struct addrinfo *addresses;
    int is_any = host[0] == '\0' || (strchr("-?*:", host[0]) && host[1] == '\0');
    for (int tries = 0;; tries++) {
        int result = resolve(is_any ? NULL : host, port, &addresses);
        if (result != 0)
            return fail(host, result == EAI_SYSTEM ? strerror(errno) : gai_strerror(result));
        struct addrinfo *failed = listen_on_all(addresses);
        int error = errno;
        /* The port that is free for one address can be in use at another. */
        int try_again = failed && error == EADDRINUSE && atoi(port) == 0 && tries < 10;
        if (failed && !try_again)
            fail(name_of(failed->ai_addr, failed->ai_addrlen),
                 error == E2BIG ? "more than the 16 addresses that are listened on"
                                : strerror(error));
        freeaddrinfo(addresses);
        if (!try_again)
            return failed ? -1 : 0;
        while (listening > 0)
            close(listeners[--listening]);
    }
}

/* Returns -1 also after a signal. */
static int connect_worker(const char *path)
{
    for (int tries = 0; !caught; tries++) {
        int fd = ancillary_connect(path, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (fd >= 0)
            return fd;
        /* EAGAIN: the worker lives, but has as many waiting as it allows. Try for 10 s. */
        if (fd != -EAGAIN || tries == 100)
            return fail(path, strerror(errno));
        wait_for(NULL, 0, 100);
    }
    return -1;
}

/* Takes connections that are waiting until there are as many as `max`. Returns -1 if there is none
 * and none can come any more; with *rest it is not the time to try again at once. */
static int take_waiting(int listener, int *connections, size_t *count, size_t max, int *rest)
{
    while (*count < max) {
        /* With one there already, what keeps the next away is no trouble yet. */
        int fd = *count ? accept4(listener, NULL, NULL, SOCK_CLOEXEC)
                        : take_connection(listener, SOCK_CLOEXEC, rest);
        if (fd < 0)
            return *count == 0 && fd == -2 ? -1 : 0;
        connections[(*count)++] = fd;
    }
    return 0;
}

/* Returns 0 after a signal, -1 when the service cannot go on. */
static int serve(int link, size_t max)
{
    int connections[ANCILLARY_MAX_FDS]; /* Accepted and not passed on yet. */
    size_t count = 0, first = 0;
    int rest = 0; /* Whether to wait before the next attempt. */
    for (;;) {
        /* Of the link POLLHUP and POLLERR are reported without being asked for: so it is noticed
         * at once when the worker goes, not only when the next client comes. */
        struct pollfd polled[1 + LISTENERS] = {{link, count && !rest ? POLLOUT : 0, 0}};
        for (size_t i = 0; i < listening; i++)
            polled[1 + i] = (struct pollfd){count || rest ? -1 : listeners[i], POLLIN, 0};
        /* Room for what is on its way comes back with the next receive, of which poll(2) says
         * nothing; room for a connection only when another one ends. */
        int ready = wait_for(polled, 1 + listening, !rest ? -1 : count ? 20 : 100);
        if (caught)
            return 0;
        if (ready < 0 && errno != EINTR)
            return fail("ppoll", strerror(errno));
        if (polled[0].revents & (POLLHUP | POLLERR))
            break;
        rest = 0;
        /* From each in turn, so that none keeps the others waiting. While the link had no room, more
         * may have come to any. */
        for (size_t i = 0; i < listening; i++) {
            size_t next = (first + i) % listening;
            if ((polled[0].revents || polled[1 + next].revents) &&
                take_waiting(listeners[next], connections, &count, max, &rest) < 0)
                return -1;
        }
        first++;
        if (!count)
            continue;
        /* One byte, which is all or nothing. */
        ssize_t result = ancillary_send_fds(link, connections, count, NULL, 0, 0);
        if (result == 1) {
            if (count == 1)
                say(&out, "Connection transferred to the worker process.");
            else
                say(&out, "%zu connections transferred to the worker process.", count);
            ancillary_close_fds(connections, count);
            count = 0;
        } else if (result == -ETOOMANYREFS || result == -ENOBUFS || result == -ENOMEM) {
            rest = 1;
        } else if (result == -EPIPE || result == -ECONNRESET) {
            break;
        } else if (result != -EAGAIN) {
            return fail("passing connections on", strerror(errno));
        }
    }
    say(&out, "Lost connection.");
    return -1;
}

int main(int argc, char **argv)
{
    catch_signals();
    char **given = begin(argc, argv, "server", usage, "b:", 3, 3);
    const char *port = given[1], *worker = socket_name(given[2]), *bulk = option_values['b'];
    if (bulk && !is_number(bulk, 1, ANCILLARY_MAX_FDS)) {
        fail(bulk, "not a number of connections, which is from 1 to 253");
        return EXIT_FAILURE;
    }
    size_t max = bulk ? strtoul(bulk, NULL, 10) : 1;
    if (check_port(port, 0) < 0 || open_listeners(given[0], port) < 0)
        return EXIT_FAILURE;
    int link = connect_worker(worker);
    for (size_t i = 0; link >= 0 && i < listening; i++) {
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof address;
        getsockname(listeners[i], (struct sockaddr *)&address, &len);
        say(&out, "Now waiting for incoming connections to %s",
            name_of((struct sockaddr *)&address, len));
    }
    int status = link >= 0 ? serve(link, max) : caught ? 0 : -1;
    if (status < 0)
        return EXIT_FAILURE;
    farewell(caught);
    return EXIT_SUCCESS;
}
