/* restart - a TCP server that is replaced by a new copy of its program without losing anything
 *
 *   restart PORT...
 *
 * Listens on the ports of 127.0.0.1 and answers each line with the number of the request and the
 * line. On SIGHUP it starts the program anew, from disk, as `restart @NAME`: the new copy connects
 * to that Unix socket and is given the listening sockets, the open connections with what is half
 * received or half sent, and the number of requests served. It confirms, and the old copy ends.
 * If any of that fails, the old copy goes on. SIGINT and SIGTERM end the server.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#define _GNU_SOURCE /* accept4(2), ppoll(2) */

#include <ancillary.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "Usage: restart PORT...\n"
    "Answers lines sent to the ports of 127.0.0.1 (0: a free one), with their number. SIGHUP\n"
    "starts the program anew, which takes over the ports and all connections.\n";

enum { LINE = 1024, LISTENERS = 16, PATIENCE = 5 /* seconds, for a new copy to take over */ };

/* A client, and what a new copy needs to know of it. It is sent as it is: `size` in struct state
 * lets a program that has another idea of it refuse. The descriptor travels beside it. */
struct connection {
    int32_t fd;
    uint32_t ended;            /* The client sends no more. */
    uint32_t received, unsent; /* Bytes in `in` and `out`. */
    char in[LINE], out[LINE + 32];
};
static struct connection *connections;
static struct pollfd *polled; /* The listening sockets, that for the new copy, the connections. */
static size_t count, room;

static int listeners[LISTENERS];
static size_t listening;
static uint64_t served;

/* What goes first to a new copy, with the listening sockets. */
struct state {
    char format[8];
    uint64_t served;
    uint32_t size, listening, connections, reserved;
};
static const char format[8] = "restart1";

/* The new copy on its way. */
static const char *program;
static pid_t child = -1;
static int meeting = -1; /* Listens for it. */
static struct timespec deadline;

/* These signals are blocked except in ppoll(2), which lets them in and waits in one step: between
 * looking at what they leave behind and waiting there is no moment for one to be missed. All calls
 * outside ppoll(2) therefore must not wait. */
static const int handled[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
enum { HANDLED = sizeof handled / sizeof handled[0] };
static sigset_t let_in, inherited;
static volatile sig_atomic_t caught, asked;

/* Writes a line, or drops it where there is no room: a log that nobody reads must not stop the
 * service. After POLLOUT a pipe takes PIPE_BUF bytes without waiting, unless others write to it and
 * fill it in between. */
__attribute__((format(printf, 2, 3)))
static void say(int fd, const char *text, ...)
{
    char line[PIPE_BUF];
    va_list args;
    va_start(args, text);
    int len = vsnprintf(line, sizeof line - 1, text, args);
    va_end(args);
    if (len < 0)
        return;
    if ((size_t)len > sizeof line - 2)
        len = sizeof line - 2;
    line[len] = '\n';
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    if (poll(&writable, 1, 0) > 0 && write(fd, line, (size_t)len + 1) < 0)
        return; /* There is no better place to complain. */
}

static int fail(const char *what, const char *why)
{
    say(STDERR_FILENO, "restart: %s: %s", what, why);
    return -1;
}

static void on_signal(int number)
{
    if (number == SIGHUP)
        asked = 1;
    else if (number != SIGCHLD)
        caught = number;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NOCLDSTOP};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < HANDLED; i++)
        sigaddset(&action.sa_mask, handled[i]);
    sigprocmask(SIG_BLOCK, &action.sa_mask, &inherited);
    let_in = inherited;
    for (size_t i = 0; i < HANDLED; i++) {
        sigdelset(&let_in, handled[i]);
        sigaction(handled[i], &action, NULL);
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
static int wait_for(struct pollfd *fds, nfds_t nfds, int milliseconds)
{
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    struct timespec at_once = {0, 0};
    int ready = ppoll(fds, nfds, milliseconds < 0 ? NULL : &time, &let_in);
    /* When a descriptor is ready, the kernel returns without delivering pending signals, and under
     * load one always is. With none to look at it delivers them. */
    if (ready > 0)
        ppoll(NULL, 0, &at_once, &let_in);
    return ready;
}

/* Makes room for that many connections more. */
static int make_room(size_t more)
{
    if (count + more <= room)
        return 0;
    size_t wanted = count + more > 2 * room ? count + more : 2 * room;
    struct connection *moved = realloc(connections, wanted * sizeof *connections);
    if (moved)
        connections = moved;
    struct pollfd *also_moved = realloc(polled, (LISTENERS + 1 + wanted) * sizeof *polled);
    if (also_moved)
        polled = also_moved;
    if (!moved || !also_moved)
        return -1;
    room = wanted;
    return 0;
}

/* ---- The service ---- */

static int open_listener(const char *port)
{
    const int on = 1;
    /* atoi(3) would take 65537 for something. */
    if (!*port || port[strspn(port, "0123456789")] || strtoul(port, NULL, 10) > 65535)
        return fail(port, "not a port number, which is from 0 to 65535");
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(port)),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* Without SO_REUSEADDR a start fails while connections of the last run linger. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0)
        return fail(port, strerror(errno));
    listeners[listening++] = fd;
    say(STDOUT_FILENO, "Process %ld listens on 127.0.0.1 port %u.", (long)getpid(),
        ntohs(address.sin_port));
    return 0;
}

/* Takes the next client. Returns 1 if it is not the time to try again at once, and -1 if no client
 * can come any more. */
static int accept_client(int listener)
{
    static int complained;
    int fd = make_room(1) < 0 ? -1 : accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        complained = 0;
        connections[count++] = (struct connection){.fd = fd};
        return 0;
    }
    switch (errno) {
    /* The client stays in the queue, so that polling at once would spin. */
    case EMFILE: case ENFILE: case ENOBUFS: case ENOMEM:
        if (!complained++)
            fail("accept", strerror(errno));
        return 1;
    case EBADF: case EINVAL: case ENOTSOCK: case EFAULT:
        return fail("accept", strerror(errno));
    /* Linux reports errors of the network here as well; they concern one client. */
    default:
        return 0;
    }
}

/* Answers the line that is in front, if a whole one is there. */
static int answer(struct connection *c)
{
    const char *end = memchr(c->in, '\n', c->received);
    if (!end && c->received < LINE)
        return 0;
    /* One that is longer than that counts as several. */
    size_t len = end ? (size_t)(end - c->in) : LINE;
    size_t used = end ? len + 1 : LINE;
    int number = snprintf(c->out, sizeof c->out, "%" PRIu64 " ", ++served);
    memcpy(c->out + number, c->in, len);
    c->out[(size_t)number + len] = '\n';
    c->unsent = (uint32_t)((size_t)number + len + 1);
    c->received -= (uint32_t)used;
    memmove(c->in, c->in + used, c->received);
    return 1;
}

/* Goes on with a client that poll found ready. Returns -1 when the connection is over. Otherwise
 * either an answer waits to be sent, or no whole line is there: poll tells when there is more to
 * do, in this process as well as in one that takes over. */
static int converse(struct connection *c)
{
    if (c->unsent == 0) {
        ssize_t n = recv(c->fd, c->in + c->received, LINE - c->received, 0);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        c->received += (uint32_t)n;
        c->ended = n == 0;
    }
    do {
        while (c->unsent > 0) {
            ssize_t n = send(c->fd, c->out, c->unsent, MSG_NOSIGNAL);
            if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -1;
            c->unsent -= (uint32_t)n;
            memmove(c->out, c->out + n, c->unsent);
        }
    } while (answer(c));
    return c->ended ? -1 : 0;
}

/* ---- The new copy: takes over ---- */

/* Returns 0 when this process is the server. Until then it has changed nothing, and when it ends
 * early, the old copy goes on. Signals stay blocked meanwhile: the old copy waits for us for a
 * limited time, and then kills us. */
static int take_over(const char *name)
{
    int link = ancillary_connect(name, SOCK_STREAM, 0);
    if (link < 0)
        return fail(name, strerror(errno));
    /* Anyone may have bound an abstract name. Only the process that started us is believed. */
    struct ancillary_creds creds;
    if (ancillary_peer_creds(link, &creds) < 0 || creds.pid != getppid() || creds.uid != geteuid())
        return fail(name, "not the process that started this one");
    struct state state;
    size_t fds = LISTENERS;
    ssize_t n = ancillary_recv_fds(link, listeners, &fds, &state, sizeof state, ANCILLARY_WAITALL);
    if (n < 0)
        return fail("receiving the listening sockets", strerror(errno));
    if (n < (ssize_t)sizeof state || memcmp(state.format, format, sizeof format) != 0 ||
        state.size != sizeof *connections || state.listening != fds)
        return fail("receiving the listening sockets", "the old copy is another program");
    listening = fds;
    served = state.served;
    fds = state.connections;
    int *received = calloc(fds + 1, sizeof *received);
    if (!received || make_room(fds + 1) < 0)
        return fail("receiving the connections", strerror(errno));
    if (fds > 0) {
        size_t len = fds * sizeof *connections;
        n = ancillary_recv_fds(link, received, &fds, connections, len, ANCILLARY_WAITALL);
        if (n < 0)
            return fail("receiving the connections", strerror(errno));
        if ((size_t)n < len || fds != state.connections)
            return fail("receiving the connections", "they are not all there");
    }
    for (count = 0; count < fds; count++)
        connections[count].fd = received[count];
    free(received);
    if (send(link, "", 1, MSG_NOSIGNAL) < 0)
        return fail("confirming", strerror(errno));
    /* Nothing is ours before the old copy is gone, which is what the end of the stream says: to
     * take everything back it kills us first. So there is never more than one server, and also
     * when the old copy is killed in this moment there is one. */
    char byte;
    while (recv(link, &byte, 1, 0) < 0 && errno == EINTR)
        ;
    close(link);
    say(STDOUT_FILENO,
        "Process %ld took over from process %ld: %" PRIu64 " requests served, %zu connections.",
        (long)getpid(), (long)creds.pid, served, count);
    return 0;
}

/* ---- The old copy: hands over ---- */

static int time_left(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    long long left = (deadline.tv_sec - now.tv_sec) * 1000LL +
                     (deadline.tv_nsec - now.tv_nsec) / 1000000;
    return left < 0 ? 0 : (int)left;
}

/* Everything is ours again, or still. */
static void give_up(const char *why)
{
    if (child > 0) {
        kill(child, SIGKILL);
        /* It takes the end of the link for a permission to serve, so it must be dead before that.
         * After SIGKILL this does not wait long. */
        waitpid(child, NULL, 0);
    }
    child = -1;
    if (meeting >= 0)
        close(meeting);
    meeting = -1;
    if (!caught)
        say(STDERR_FILENO, "restart: no new copy (%s); process %ld goes on", why, (long)getpid());
}

static void start_copy(void)
{
    uint64_t number;
    char name[40];
    if (child > 0)
        return; /* One is on its way. */
    /* Nobody can guess the name, and so bind it first. An abstract one leaves no file behind,
     * however this ends. Who else finds and connects to it is turned away by hand_over(). */
    if (getrandom(&number, sizeof number, 0) != sizeof number) {
        give_up(strerror(errno));
        return;
    }
    snprintf(name, sizeof name, "@restart-%016" PRIx64, number);
    meeting = ancillary_listen(name, SOCK_STREAM | SOCK_NONBLOCK, 0600, 0);
    child = meeting < 0 ? -1 : fork();
    if (child == 0) {
        /* Ignored signals stay ignored over exec, and blocked ones blocked. */
        for (size_t i = 0; i < HANDLED; i++)
            signal(handled[i], SIG_DFL);
        signal(SIGPIPE, SIG_DFL);
        /* One that is sent to all copies must not end this one before it catches it. */
        signal(SIGHUP, SIG_IGN);
        sigprocmask(SIG_SETMASK, &inherited, NULL);
        /* By the path that this copy was started with: /proc/self/exe stays with the old file when
         * another one is put in its place. */
        execlp(program, program, name, (char *)NULL);
        fail(program, strerror(errno));
        _exit(127);
    }
    if (child < 0) {
        give_up(strerror(errno));
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += PATIENCE;
}

/* Sends everything, while nothing is served, and waits until it has arrived. Returns why not. The
 * time to wait is limited; signals are let in at the end. */
static const char *send_state(int link)
{
    const struct timeval patience = {.tv_sec = PATIENCE};
    struct state state = {.served = served, .size = sizeof *connections,
                          .listening = (uint32_t)listening, .connections = (uint32_t)count};
    memcpy(state.format, format, sizeof format);
    int *fds = calloc(count + 1, sizeof *fds);
    if (!fds || setsockopt(link, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
        setsockopt(link, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0) {
        free(fds);
        return strerror(errno);
    }
    for (size_t i = 0; i < count; i++)
        fds[i] = connections[i].fd;
    ssize_t len = sizeof state;
    ssize_t n = ancillary_send_fds(link, listeners, listening, &state, sizeof state, 0);
    if (n == len && count > 0) {
        len = (ssize_t)(count * sizeof *connections);
        n = ancillary_send_fds(link, fds, count, connections, (size_t)len, 0);
    }
    free(fds);
    if (n >= 0 && n < len)
        return "it did not take everything";
    char byte;
    /* With a time limit it is interrupted by SIGCONT as well (signal(7)). */
    while (n > 0 && (n = recv(link, &byte, 1, 0)) < 0 && errno == EINTR)
        n = 1;
    if (n < 0)
        return errno == EAGAIN ? "it takes too long" : strerror(errno);
    if (n == 0)
        return "it ended before it confirmed";
    wait_for(NULL, 0, 0);
    return caught ? "the server ends" : NULL;
}

/* The new copy has connected, or somebody else. Returns 1 when this process has nothing more. */
static int hand_over(void)
{
    struct ancillary_creds creds;
    int link = accept4(meeting, NULL, NULL, SOCK_CLOEXEC);
    if (link < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            give_up(strerror(errno));
        return 0;
    }
    const char *why = NULL;
    if (ancillary_peer_creds(link, &creds) == 0 && creds.pid == child && creds.uid == geteuid()) {
        why = send_state(link);
        if (!why) {
            say(STDOUT_FILENO, "Process %ld hands over to process %ld.", (long)getpid(),
                (long)child);
            return 1; /* The link closes when this process ends. */
        }
        give_up(why);
    }
    close(link);
    return 0;
}

/* Returns 0 after a signal, 1 when a new copy has taken over, -1 when the service cannot go on. */
static int serve(void)
{
    int rest = 0; /* Whether to wait a little before the next client is taken. */
    for (;;) {
        for (size_t i = 0; i < listening; i++)
            polled[i] = (struct pollfd){.fd = rest ? -1 : listeners[i], .events = POLLIN};
        polled[listening] = (struct pollfd){.fd = meeting, .events = POLLIN};
        struct pollfd *clients = polled + listening + 1;
        for (size_t i = 0; i < count; i++)
            clients[i] = (struct pollfd){.fd = connections[i].fd,
                                         .events = connections[i].unsent ? POLLOUT : POLLIN};
        int ready = wait_for(polled, listening + 1 + count,
                             rest ? 100 : child > 0 ? time_left() : -1);
        if (caught)
            return 0;
        if (ready < 0 && errno != EINTR)
            return fail("ppoll", strerror(errno));
        /* From the last to the first: into the place of one that is over comes the last, which has
         * had its turn. */
        for (size_t i = ready > 0 ? count : 0; i-- > 0;) {
            if (clients[i].revents && converse(&connections[i]) < 0) {
                close(connections[i].fd);
                connections[i] = connections[--count];
            }
        }
        rest = 0;
        for (size_t i = 0; ready > 0 && i < listening; i++) {
            if (!polled[i].revents)
                continue;
            int result = accept_client(listeners[i]);
            if (result < 0)
                return -1;
            rest |= result;
        }
        if (child > 0 && ready > 0 && polled[listening].revents && hand_over())
            return 1;
        if (child > 0 && waitpid(child, NULL, WNOHANG) == child) {
            child = -1;
            give_up("it ended early");
        } else if (child > 0 && time_left() == 0) {
            give_up("it takes too long");
        }
        /* Both may have come while something was handed over in vain. */
        if (caught)
            return 0;
        if (asked)
            start_copy();
        asked = 0;
    }
}

int main(int argc, char **argv)
{
    catch_signals();
    if (argc < 2 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    int is_new_copy = argv[1][0] == '@';
    if (argc - 1 > (is_new_copy ? 1 : LISTENERS)) {
        fputs(usage, stderr);
        return EXIT_FAILURE;
    }
    program = argv[0];
    if (open_standard_descriptors() < 0 || make_room(1) < 0)
        return EXIT_FAILURE;
    if (is_new_copy && take_over(argv[1]) < 0)
        return EXIT_FAILURE;
    for (int i = 1; i < argc && !is_new_copy; i++)
        if (open_listener(argv[i]) < 0)
            return EXIT_FAILURE;
    int status = serve();
    if (status != 0)
        return status > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    give_up("the server ends");
    say(STDOUT_FILENO, "%" PRIu64 " requests served.", served);
    say(STDOUT_FILENO, caught == SIGINT ? "Interrupted; exiting." : "Terminated.");
    return EXIT_SUCCESS;
}
