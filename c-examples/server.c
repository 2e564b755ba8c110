/* server - accepts TCP connections and passes each on to a worker process
 *
 *   server [-b MAX] ADDRESS PORT WORKER
 *
 * The worker listens on the Unix socket WORKER (see worker.c). Each connection travels there as
 * one zero byte with one descriptor; the server then closes its own copy and has nothing more to
 * do with the client. It ends with SIGINT, SIGTERM or SIGHUP, or when the worker goes away.
 *
 * With -b (bulk) the byte has the descriptors of all connections that are waiting, up to MAX,
 * which costs much less for each. Not every worker takes such messages: worker.c does.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#define _GNU_SOURCE /* accept4(2), ppoll(2) */

#include <ancillary.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char usage[] =
    "Usage: server [-b MAX] ADDRESS PORT WORKER\n"
    "Accepts TCP connections to ADDRESS and PORT and passes them to the process that listens\n"
    "on the Unix socket WORKER.\n"
    "  -b MAX   passes all connections that are waiting in one message, up to MAX, which is\n"
    "           at most 253; the worker must take such messages, and have room for so many\n"
    "  ADDRESS  a name or a number; empty, -, ?, * or : for all addresses of this machine\n"
    "  PORT     a number; 0 picks a free one\n"
    "  WORKER   the path of a socket, which must be there already\n";

/* Where lines go, and whether their reader has stopped reading. */
struct output {
    int fd;
    int stuck;
};
static struct output out = {.fd = STDOUT_FILENO}, err = {.fd = STDERR_FILENO};

/* The ending signals are blocked except in ppoll(2), which lets them in and waits in one step:
 * between looking at `caught` and waiting there is no moment for one to be missed. All calls
 * outside ppoll(2) therefore must not wait. */
static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
enum { ENDINGS = sizeof ending / sizeof ending[0] };
static sigset_t let_in;
static volatile sig_atomic_t caught;
static volatile sig_atomic_t resolving;

/* Writes a line, or drops it: a log that nobody reads must not stop the service. A slow reader is
 * given a second, one that let it pass nothing until there is room again. After POLLOUT a pipe
 * takes PIPE_BUF bytes without waiting, unless others write to it and fill it in between. Also
 * called from a signal handler. */
static void put(struct output *output, const char *line, size_t len)
{
    struct pollfd room = {.fd = output->fd, .events = POLLOUT};
    output->stuck = poll(&room, 1, output->stuck ? 0 : 1000) == 0;
    if (!output->stuck && write(output->fd, line, len) < 0)
        return; /* There is no better place to complain. */
}

__attribute__((format(printf, 2, 3)))
static void say(struct output *output, const char *format, ...)
{
    char line[PIPE_BUF];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (len < 0)
        return;
    if ((size_t)len > sizeof line - 1)
        len = sizeof line - 1;
    line[len] = '\n';
    put(output, line, (size_t)len + 1);
}

static int fail(const char *what, const char *why)
{
    say(&err, "server: %s: %s", what, why);
    return -1;
}

static void farewell(int number)
{
    const char *line = number == SIGINT    ? "Interrupted; exiting.\n"
                       : number == SIGTERM ? "Terminated.\n"
                                           : "Hanging up.\n";
    put(&out, line, strlen(line));
}

static void on_signal(int number)
{
    caught = number;
    if (resolving) {
        farewell(number);
        _exit(EXIT_SUCCESS);
    }
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ENDINGS; i++)
        sigaddset(&action.sa_mask, ending[i]);
    sigprocmask(SIG_BLOCK, &action.sa_mask, &let_in);
    for (size_t i = 0; i < ENDINGS; i++) {
        sigdelset(&let_in, ending[i]);
        sigaction(ending[i], &action, NULL);
    }
    signal(SIGPIPE, SIG_IGN);
}

/* A socket that became descriptor 1 would receive what is meant for the log. */
static int open_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return -1;
    return 0;
}

/* Waits for descriptors, for a time (-1: any), and for signals; returns as ppoll(2) does. */
static int wait_for(struct pollfd *polled, nfds_t count, int milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    struct timespec at_once = {0, 0};
    int ready = ppoll(polled, count, milliseconds < 0 ? NULL : &time, &let_in);
    /* When a descriptor is ready, the kernel returns without delivering pending signals, and under
     * load one always is. With none to look at it delivers them. */
    if (ready > 0)
        ppoll(NULL, 0, &at_once, &let_in);
    return ready;
}

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
    resolving = 1;
    sigprocmask(SIG_SETMASK, &let_in, &kept_out);
    result = getaddrinfo(host, port, &hints, addresses);
    sigprocmask(SIG_SETMASK, &kept_out, NULL);
    resolving = 0;
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

static int listen_on(const struct sockaddr *address, socklen_t len, int both_families)
{
    const int on = 1, off = 0;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    /* Without SO_REUSEADDR a restart fails while connections of the last run linger. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (!both_families || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
        bind(fd, address, len) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

/* Listens on the first address of the host that works, or says why the last one does not. */
static int open_listener(const char *host, const char *port)
{
    int fd = -1;
    if (host[0] == '\0' || (strchr("-?*:", host[0]) && host[1] == '\0')) {
        struct sockaddr_in6 any = {.sin6_family = AF_INET6,
                                   .sin6_port = htons((uint16_t)atoi(port)),
                                   .sin6_addr = in6addr_any};
        fd = listen_on((struct sockaddr *)&any, sizeof any, 1);
        if (fd >= 0)
            return fd;
        host = "0.0.0.0"; /* This machine may have IPv4 alone. */
    }
    struct addrinfo *addresses;
    int result = resolve(host, port, &addresses);
    if (result != 0)
        return fail(host, result == EAI_SYSTEM ? strerror(errno) : gai_strerror(result));
    for (struct addrinfo *a = addresses; a && fd < 0; a = a->ai_next) {
        fd = listen_on(a->ai_addr, a->ai_addrlen, 0);
        if (fd < 0 && !a->ai_next)
            fail(name_of(a->ai_addr, a->ai_addrlen), strerror(errno));
    }
    freeaddrinfo(addresses);
    return fd;
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

/* How long to rest after an error of accept(2) before the next attempt, or -1: it is of no use. */
static int rest_after(int error)
{
    switch (error) {
    case EAGAIN: case EINTR: case ECONNABORTED:
    /* Linux reports errors of the network or a firewall here; they concern one client. */
    case ENETDOWN: case EPROTO: case ENOPROTOOPT: case EHOSTDOWN: case ENONET: case EHOSTUNREACH:
    case EOPNOTSUPP: case ENETUNREACH: case ETIMEDOUT: case EPERM:
        return 0;
    /* The connection stays in the queue, so that polling at once would spin. */
    case EMFILE: case ENFILE: case ENOBUFS: case ENOMEM:
        return 100;
    default:
        return -1;
    }
}

/* Takes connections that are waiting until there are as many as `max`. Returns how many there are;
 * if there is none, errno says why. */
static size_t accept_waiting(int listener, int *connections, size_t count, size_t max)
{
    while (count < max) {
        int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0)
            break;
        connections[count++] = connection;
    }
    return count;
}

/* Returns 0 after a signal, -1 when the service cannot go on. */
static int serve(int listener, int link, size_t max)
{
    int connections[ANCILLARY_MAX_FDS]; /* Accepted and not passed on yet. */
    size_t count = 0;
    int rest = 0; /* Milliseconds to wait before the next attempt. */
    int complained = 0;
    for (;;) {
        /* Of the link POLLHUP and POLLERR are reported without being asked for: so it is noticed
         * at once when the worker goes, not only when the next client comes. */
        struct pollfd polled[] = {
            {.fd = link, .events = count && !rest ? POLLOUT : 0},
            {.fd = count || rest ? -1 : listener, .events = POLLIN},
        };
        int ready = wait_for(polled, 2, rest ? rest : -1);
        if (caught)
            return 0;
        if (ready < 0 && errno != EINTR)
            return fail("ppoll", strerror(errno));
        if (polled[0].revents & (POLLHUP | POLLERR))
            break;
        rest = 0;
        /* While the link had no room, more may have come. */
        if (polled[0].revents || polled[1].revents) {
            count = accept_waiting(listener, connections, count, max);
            if (count) {
                complained = 0;
            } else {
                int error = errno;
                rest = rest_after(error);
                if (rest < 0 || (rest > 0 && !complained++))
                    fail("accept", strerror(error));
                if (rest < 0)
                    return -1;
            }
        }
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
            rest = 20; /* poll(2) does not tell when there is more of these. */
        } else if (result == -EPIPE || result == -ECONNRESET) {
            break;
        } else if (result != -EAGAIN) {
            return fail("passing connections on", strerror(errno));
        }
    }
    say(&out, "Lost connection.");
    return -1;
}

static int is_number(const char *text, unsigned long least, unsigned long most)
{
    unsigned long number = strtoul(text, NULL, 10);
    return *text && !text[strspn(text, "0123456789")] && number >= least && number <= most;
}

int main(int argc, char **argv)
{
    catch_signals();
    if (argc < 2 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    const char *bulk = argc == 6 && strcmp(argv[1], "-b") == 0 ? argv[2] : NULL;
    if (bulk)
        argv += 2;
    else if (argc != 4) {
        fputs(usage, stderr);
        return EXIT_FAILURE;
    }
    if (open_standard_descriptors() < 0)
        return EXIT_FAILURE;
    if (bulk && !is_number(bulk, 1, ANCILLARY_MAX_FDS)) {
        fail(bulk, "not a number of connections, which is from 1 to 253");
        return EXIT_FAILURE;
    }
    size_t max = bulk ? strtoul(bulk, NULL, 10) : 1;
    /* getaddrinfo(3) would take 65537 for 1. */
    const char *port = argv[2];
    if (!is_number(port, 0, 65535)) {
        fail(port, "not a port number, which is from 0 to 65535");
        return EXIT_FAILURE;
    }
    int listener = open_listener(argv[1], port);
    int link = listener < 0 ? -1 : connect_worker(argv[3]);
    if (link < 0 && (listener < 0 || !caught))
        return EXIT_FAILURE;
    int status = 0;
    if (!caught) {
        struct sockaddr_storage address = {0};
        socklen_t len = sizeof address;
        getsockname(listener, (struct sockaddr *)&address, &len);
        say(&out, "Now waiting for incoming connections to %s",
            name_of((struct sockaddr *)&address, len));
        status = serve(listener, link, max);
    }
    if (status < 0)
        return EXIT_FAILURE;
    farewell(caught);
    return EXIT_SUCCESS;
}
