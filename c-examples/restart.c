/* restart - a TCP server that is replaced by a new copy of its program without losing anything
 *
 *   restart [-i] PORT...
 *
 * Listens on the ports of 127.0.0.1 and answers each line with the number of the request and the
 * line. SIGHUP starts the program anew, from disk; SIGINT and SIGTERM end the server.
 *
 * The new copy is a child, with a channel to the old one. It says when it is ready, and is given
 * the listening sockets, the open connections with what is half received or half sent, and the
 * number of requests served. It confirms, and the old copy ends. If any of that fails, the old copy
 * goes on.
 *
 * So the service has another process afterwards. Whoever waits for the first one takes its end for
 * the end of the service, and starts a second or gives up; and with process 1 all others end. There
 * the restart is in place: when the child has confirmed, which shows that the program on disk can
 * take over, the process executes that program itself, is given everything back, and the child
 * ends. In place it is
 *
 *   - as process 1: alone in a container;
 *   - as a child of a supervisor: s6, runit, daemontools, supervisord; of process 1: docker --init,
 *     tini; of systemd, with Type=simple or exec;
 *   - with -i, under whoever else waits for it: a script, a program of your own.
 *
 * A manager that listens on the socket NOTIFY_SOCKET, as systemd does with Type=notify and
 * notify-reload, is told when the service is ready, reloads and stops, and follows it to the new
 * process (MAINPID): there it is not in place. The messages are those of sd_notify(3).
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#include "service.h"

#include <inttypes.h>
#include <sys/wait.h>

static const char usage[] =
    "Usage: restart [-i] PORT...\n"
    "Answers lines sent to the ports of 127.0.0.1 (0: a free one), with their number. SIGHUP\n"
    "starts the program anew, which takes over the ports and all connections.\n"
    "  -i  in place, so that the process keeps its number: as it does by itself as process 1,\n"
    "      and under supervisors that it knows\n";

enum { LINE = 1024, LISTENERS = 16, PATIENCE = 5 /* seconds, for a new copy to take over */ };

/* A client, and what a new copy needs to know of it. */
struct connection {
    int fd;
    uint32_t ended;            /* The client sends no more. */
    uint32_t received, unsent; /* Bytes in `in` and `out`. */
    char in[LINE], out[LINE + 32];
};
static struct connection *connections;
static struct pollfd *polled; /* The listening sockets, the channel, the connections. */
static size_t count, room;

static int listeners[LISTENERS];
static size_t listening;
static uint64_t served;

/* What two copies say to each other. A structure is sent as it is: a program that has another idea
 * of it finds that the size is wrong, and refuses. */
enum message {
    READY = 1,  /* The new copy is there: the id is its process. */
    CONNECTION, /* struct connection, and its descriptor */
    STATE,      /* struct state, and the listening sockets: this was all. */
    CONFIRMED,  /* It has arrived. */
};
struct state {
    uint64_t served;
    uint32_t pid;     /* of the old copy, */
    uint32_t is_lent; /* which wants everything back: it restarts in place. */
};
static struct endpoint other; /* Copy of the program. */

/* The new copy on its way. */
static const char *program;
static int in_place;
static pid_t child = -1;
static long long deadline;
static volatile sig_atomic_t asked; /* Whether another one is wanted, */
static volatile sig_atomic_t ended; /* and whether some child has ended. */

/* Makes room for one connection more. */
static int make_room(void)
{
    if (count < room)
        return 0;
    size_t wanted = 2 * room + 16;
    void *moved = realloc(connections, wanted * sizeof *connections);
    if (!moved)
        return -1;
    connections = moved;
    moved = realloc(polled, (LISTENERS + 1 + wanted) * sizeof *polled);
    if (!moved)
        return -1;
    polled = moved;
    room = wanted;
    return 0;
}

/* ---- The service ---- */

/* Takes the next client. Returns -1 if none can come any more; with *rest it is not the time to try
 * again at once. */
static int accept_client(int listener, int *rest)
{
    int fd = make_room() < 0 ? delay_connections(rest)
                             : take_connection(listener, SOCK_NONBLOCK | SOCK_CLOEXEC, rest);
    if (fd < 0)
        return fd == -2 ? -1 : 0;
    connections[count++] = (struct connection){.fd = fd};
    return 0;
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

/* ---- Who waits for the process, and who is told ---- */

/* Whether somebody takes the end of this process for the end of the service. */
static int number_matters(void)
{
    static const char *const supervisors[] = {"runsv", "s6-supervise", "supervise", "supervisord"};
    char path[40], parent[32] = "";
    const char *executed = getenv("SYSTEMD_EXEC_PID");
    if (getpid() == 1)
        return 1;
    snprintf(path, sizeof path, "/proc/%ld/comm", (long)getppid());
    FILE *comm = fopen(path, "re");
    if (comm) {
        if (fgets(parent, sizeof parent, comm))
            parent[strcspn(parent, "\n")] = '\0';
        fclose(comm);
    }
    for (size_t i = 0; i < sizeof supervisors / sizeof supervisors[0]; i++)
        if (strcmp(parent, supervisors[i]) == 0)
            return 1;
    if (getenv("NOTIFY_SOCKET"))
        return 0;
    return getppid() == 1 || (executed && strtol(executed, NULL, 10) == getpid());
}

/* Tells the manager of this service, if it has one that listens. One that does not is waited for no
 * longer than a second. */
__attribute__((format(printf, 1, 2)))
static void notify(const char *format, ...)
{
    char message[80];
    va_list args;
    const char *name = getenv("NOTIFY_SOCKET");
    if (!name)
        return;
    va_start(args, format);
    int len = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    int sock = ancillary_connect(name, SOCK_DGRAM, 0);
    struct pollfd writable = {.fd = sock, .events = POLLOUT};
    if (sock >= 0)
        poll(&writable, 1, 1000);
    if (sock < 0 ||
        ancillary_send_fds(sock, NULL, 0, message, (size_t)len, ANCILLARY_DONTWAIT) < 0)
        fail(name, strerror(errno));
    ancillary_close_fds(&sock, 1);
}

/* The time tells the manager which of its requests this follows. */
static void notify_reloading(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    notify("RELOADING=1\nMONOTONIC_USEC=%lld", time.tv_sec * 1000000LL + time.tv_nsec / 1000);
}

/* ---- Between two copies ---- */

/* Sends everything to the other copy, which is ready, while nothing is served, and waits until it
 * has arrived: so long as the time limits of the socket let it. Returns why not. */
static const char *send_state(void)
{
    struct state state = {
        .served = served, .pid = (uint32_t)getpid(), .is_lent = (uint32_t)in_place};
    struct ancillary_frame frame = {.type = STATE, .data = &state, .len = sizeof state,
                                    .fds = listeners, .nfds = listening};
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        const struct ancillary_frame one = {
            .type = CONNECTION, .data = &connections[i], .len = sizeof connections[i],
            .fds = &connections[i].fd, .nfds = 1};
        result = ancillary_channel_send(&other.channel, &one, 0);
    }
    if (result == 0)
        result = ancillary_channel_send(&other.channel, &frame, 0);
    if (result == 0)
        result = ancillary_channel_recv(&other.channel, &frame, 0);
    return result == 1         ? frame.type == CONFIRMED ? NULL : "it does not confirm"
           : result == 0       ? "it ended before it confirmed"
           : result == -EAGAIN ? "it takes too long"
                               : strerror(-result);
}

/* Returns why not. */
static const char *receive_state(struct state *state)
{
    struct ancillary_frame frame;
    int result;
    while ((result = ancillary_channel_recv(&other.channel, &frame, 0)) == 1 &&
           frame.type == CONNECTION && frame.len == sizeof *connections && frame.nfds == 1) {
        if (make_room() < 0)
            return strerror(errno);
        memcpy(&connections[count], frame.data, frame.len);
        connections[count++].fd = take_fd(&frame, 0);
    }
    if (result <= 0)
        return result < 0 ? strerror(-result) : "the old copy has ended";
    if (frame.type != STATE || frame.len != sizeof *state || frame.nfds > LISTENERS)
        return "the old copy is another program";
    memcpy(state, frame.data, frame.len);
    served = state->served;
    for (; listening < frame.nfds; listening++)
        listeners[listening] = take_fd(&frame, listening);
    return NULL;
}

static int send_word(enum message type)
{
    const struct ancillary_frame frame = {.type = type, .id = (uint32_t)getpid()};
    return ancillary_channel_send(&other.channel, &frame, 0);
}

/* Executes the program anew, with one end of a channel, as a new process (:) or in place (=). By
 * the path that this copy was started with: /proc/self/exe stays with the old file when another one
 * is put in its place. Returns only if that fails, and why. */
static const char *execute(char kind, int sock)
{
    char argument[16];
    snprintf(argument, sizeof argument, "%c%d", kind, sock);
    sigaction(SIGPIPE, &inherited_pipe, NULL);
    fcntl(sock, F_SETFD, 0);
    execlp(program, program, argument, (char *)NULL);
    int error = errno;
    fcntl(sock, F_SETFD, FD_CLOEXEC);
    signal(SIGPIPE, SIG_IGN);
    return strerror(error);
}

/* ---- The new copy: takes over ---- */

/* What execute() has begun. Returns 0 when this process is the server. Until then it has changed
 * nothing, and when it ends early, the old copy goes on. Signals stay blocked meanwhile: the old
 * copy waits for us for a limited time, and then kills us. */
static int take_over(const char *number)
{
    struct state state = {0};
    struct ancillary_frame frame;
    const struct timeval no_limit = {0};
    int sock = is_number(number, 3, INT_MAX) ? atoi(number) : -1;
    open_endpoint(&other, sock, 0);
    fcntl(sock, F_SETFD, FD_CLOEXEC);
    /* In place it is that of the old copy, and slow is better than not at all. */
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &no_limit, sizeof no_limit);
    int result = send_word(READY);
    const char *why = result < 0 ? strerror(-result) : receive_state(&state);
    if (!why && (result = send_word(CONFIRMED)) < 0)
        why = strerror(-result);
    if (why)
        return fail("taking over", why);
    /* Nothing is ours before the old copy is gone, which is what the end of the stream says: to
     * take everything back it kills us first. So there is never more than one server, and also
     * when the old copy is killed in this moment there is one. */
    result = ancillary_channel_recv(&other.channel, &frame, 0);
    if (state.is_lent)
        exit(result == 1 && frame.type == READY && !send_state() ? EXIT_SUCCESS : EXIT_FAILURE);
    close_endpoint(&other);
    char how[60] = "goes on in a new copy";
    if (!in_place) {
        snprintf(how, sizeof how, "took over from process %ld", (long)state.pid);
    } else {
        waitpid((pid_t)state.pid, NULL, 0);
        /* They were blocked over exec, which children are not to notice. */
        for (int i = 1; i < NSIG; i++)
            if (sigismember(&handled, i) == 1)
                sigdelset(&inherited, i);
    }
    say(&out, "Process %ld %s: %" PRIu64 " requests served, %zu connections.", (long)getpid(), how,
        served, count);
    return 0;
}

/* ---- The old copy: hands over ---- */

static int time_left(void)
{
    long long left = deadline - now();
    return left < 0 ? 0 : (int)left;
}

static void stop_copy(void)
{
    if (child > 0) {
        kill(child, SIGKILL);
        /* It takes the end of the channel for a permission to serve, so it must be dead before
         * that. After SIGKILL this does not wait long. */
        waitpid(child, NULL, 0);
    }
    child = -1;
    close_endpoint(&other);
}

/* Everything is ours again, or still. */
static void give_up(const char *why)
{
    stop_copy();
    if (caught)
        return;
    say(&err, "restart: no new copy (%s); process %ld goes on", why, (long)getpid());
    notify("READY=1");
}

static void start_copy(void)
{
    const struct timeval patience = {.tv_sec = PATIENCE};
    int end;
    notify_reloading();
    child = fork_with_channel(&end);
    if (child == 0) {
        release_signals();
        /* One that is sent to all copies must not end this one before it catches it. */
        signal(SIGHUP, SIG_IGN);
        fail(program, execute(':', end));
        _exit(127);
    }
    deadline = now() + PATIENCE * 1000;
    open_endpoint(&other, end, 0);
    if (child < 0 || setsockopt(end, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) < 0 ||
        setsockopt(end, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
        give_up(strerror(errno));
}

/* The new copy is ready, or has ended. Returns 1 when this process has nothing more. */
static int hand_over(void)
{
    struct ancillary_frame frame;
    int result = ancillary_channel_recv(&other.channel, &frame, ANCILLARY_DONTWAIT);
    if (result == -EAGAIN)
        return 0;
    const char *why = result < 0    ? strerror(-result)
                      : result == 0 ? "it ended early"
                      : frame.type == READY && (pid_t)frame.id == child
                          ? send_state()
                          : "it is another program";
    wait_for(NULL, 0, 0); /* Signals. */
    if (!why && caught)
        why = "the server ends";
    if (!why && in_place)
        why = execute('=', other.channel.sock);
    if (why) {
        give_up(why);
        return 0;
    }
    notify("MAINPID=%ld", (long)child);
    say(&out, "Process %ld hands over to process %ld.", (long)getpid(), (long)child);
    return 1; /* The channel ends with this process. */
}

/* Also those that process 1 is given when their parents end. */
static void reap_children(void)
{
    ended = 0;
    for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0;)
        if (pid == child) {
            child = -1;
            give_up("it ended early");
        }
}

/* Returns 0 after a signal, 1 when a new copy has taken over, -1 when the service cannot go on. */
static int serve(void)
{
    int rest = 0; /* Whether to wait a little before the next client is taken. */
    for (;;) {
        for (size_t i = 0; i < listening; i++)
            polled[i] = (struct pollfd){.fd = rest ? -1 : listeners[i], .events = POLLIN};
        polled[listening] = events_of(&other);
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
        for (size_t i = 0; ready > 0 && i < listening; i++)
            if (polled[i].revents && accept_client(listeners[i], &rest) < 0)
                return -1;
        if (child > 0 && ready > 0 && polled[listening].revents && hand_over())
            return 1;
        if (ended)
            reap_children();
        if (child > 0 && time_left() == 0)
            give_up("it takes too long");
        /* Both may have come while something was handed over in vain. */
        if (caught)
            return 0;
        if (asked && child < 0) /* Else one is on its way. */
            start_copy();
        asked = 0;
    }
}

static void note_request(int number)
{
    *(number == SIGCHLD ? &ended : &asked) = 1;
}

static int open_listeners(char **ports)
{
    struct sockaddr_in address;
    for (size_t i = 0; ports[i]; i++) /* All of them, before anybody can connect to one. */
        if (check_port(ports[i], 0) < 0)
            return -1;
    for (; *ports; listening++) {
        if ((listeners[listening] = listen_on_port(*ports++, &address)) < 0)
            return -1;
        say(&out, "Process %ld listens on 127.0.0.1 port %u.", (long)getpid(),
            ntohs(address.sin_port));
    }
    return 0;
}

int main(int argc, char **argv)
{
    catch_signals();
    handle_signal(SIGHUP, note_request);
    handle_signal(SIGCHLD, note_request);
    program = argv[0];
    char **ports = begin(argc, argv, "restart", usage, "i", 1, LISTENERS);
    char kind = ports[0][0];
    int is_new = kind == ':' || kind == '=';
    if (is_new && ports[1])
        show_usage(stderr, EXIT_FAILURE);
    in_place = option_values['i'] || kind == '=' || (kind != ':' && number_matters());
    open_endpoint(&other, -1, 0);
    if (make_room() < 0 || (is_new ? take_over(ports[0] + 1) : open_listeners(ports)) < 0)
        return EXIT_FAILURE;
    notify("READY=1");
    int status = serve();
    if (status != 0)
        return status > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    stop_copy();
    notify("STOPPING=1");
    say(&out, "%" PRIu64 " requests served.", served);
    farewell(caught);
    return EXIT_SUCCESS;
}
