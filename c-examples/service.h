/* service.h - what the programs beside it have in common
 *
 * Lines, arguments, signals, waiting, listening, guests, and channels with their memory. A program
 * and this file are all there is to copy. It stands in front of all other includes of the program,
 * and nobody has to use all of it.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#ifndef SERVICE_H
#define SERVICE_H

/* What the headers of the system show beside C99: accept4(2), ppoll(2) and others; and files of any
 * size also on 32-bit machines. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64
#endif

#include <ancillary.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- Lines ---- */

static const char *program_name, *program_usage;

/* Where lines go, and whether their reader has stopped reading. */
struct output {
    int fd;
    int stuck;
};
static struct output out = {.fd = STDOUT_FILENO}, err = {.fd = STDERR_FILENO};

/* Writes a line, or drops it: a log that nobody reads must not stop the service. A slow reader is
 * given a second, one that let it pass nothing until there is room again. After POLLOUT a pipe
 * takes PIPE_BUF bytes without waiting, and does not mix them with those of others, unless others
 * write to it and fill it in between. Also for signal handlers. */
static inline void put(struct output *output, const char *line, size_t len)
{
    struct pollfd writable = {.fd = output->fd, .events = POLLOUT};
    output->stuck = poll(&writable, 1, output->stuck ? 0 : 1000) == 0;
    if (!output->stuck && write(output->fd, line, len) < 0)
        return; /* There is no better place to complain. */
}

__attribute__((format(printf, 2, 3)))
static inline void say(struct output *output, const char *format, ...)
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

/* Says what failed and why. Returns -1. */
static inline int fail(const char *what, const char *why)
{
    say(&err, "%s: %s: %s", program_name, what, why);
    return -1;
}

/* What a stranger chose, such as the name of a file, made fit for one line on a terminal. */
static inline const char *printable(const char *text)
{
    static char line[PIPE_BUF - 100];
    size_t len = 0;
    for (; *text && len < sizeof line - sizeof "\\ooo..."; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= ' ' && c <= '~' && c != '\\')
            line[len++] = *text;
        else
            len += (size_t)sprintf(line + len, "\\%03o", c);
    }
    strcpy(line + len, *text ? "..." : "");
    return line;
}

/* ---- Arguments ---- */

__attribute__((noreturn))
static inline void show_usage(FILE *to, int status)
{
    fputs(program_usage, to);
    exit(status);
}

static inline int asks_for_usage(const char *argument)
{
    return strcmp(argument, "-h") == 0 || strcmp(argument, "--help") == 0;
}

static const char *option_values[128]; /* By their letters; of one that was not given NULL. */

/* In place of the most, where there are no options: what stands behind the least is a command's. */
enum { COMMAND = -1 };

/* What every program begins with. Reads options in front of the arguments, `known` as in getopt(3);
 * -h and --help are so always, wherever they stand in front of a `--`. Returns the arguments, of
 * which there are `least` to `most`. Else it prints the usage, where that is asked for or not
 * followed, and ends the program. */
static inline char **begin(int argc, char **argv, const char *name, const char *usage,
                           const char *known, int least, int most)
{
    char options[16];
    program_name = name;
    program_usage = usage;
    /* What is opened later must not become one of the three: a socket that is descriptor 1 would
     * receive what is meant for the reader. */
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            exit(EXIT_FAILURE);
    if (argc < 2)
        show_usage(stdout, EXIT_SUCCESS);
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0 && (most != COMMAND || i <= least); i++)
        if (asks_for_usage(argv[i]))
            show_usage(stdout, EXIT_SUCCESS);
    snprintf(options, sizeof options, "+h%s", known);
    opterr = 0;
    for (int option; (option = getopt(argc, argv, options)) != -1;) {
        if (option == 'h')
            show_usage(stdout, EXIT_SUCCESS);
        if (option == '?')
            show_usage(stderr, EXIT_FAILURE);
        option_values[option] = optarg ? optarg : "";
    }
    if (argc - optind < least || (most != COMMAND && argc - optind > most))
        show_usage(stderr, EXIT_FAILURE);
    return argv + optind;
}

/* The name of a socket, as it was given. One that begins with `-` is an option more likely, in the
 * wrong place, of which a program that listens would make a file: it ends the program. */
static inline const char *socket_name(const char *given)
{
    if (asks_for_usage(given))
        show_usage(stdout, EXIT_SUCCESS);
    if (given[0] == '-') {
        say(&err, "%s: %s: not the name of a socket: ./%s would be one", program_name, given, given);
        exit(EXIT_FAILURE);
    }
    return given;
}

/* strtoul(3) takes other texts as well: of -1 it makes a number, and of 7x. */
static inline int is_number(const char *text, unsigned long least, unsigned long most)
{
    unsigned long number = strtoul(text, NULL, 10);
    return *text && !text[strspn(text, "0123456789")] && number >= least && number <= most;
}

/* getaddrinfo(3) takes 65537 for 1. Returns -1 after a complaint. */
static inline int check_port(const char *text, unsigned long least)
{
    char why[80];
    snprintf(why, sizeof why, "not a port number, which is from %lu to 65535", least);
    return is_number(text, least, 65535) ? 0 : fail(text, why);
}

/* ---- Standard input and output ---- */

/* These wait also where a descriptor is non-blocking, as standard input and output can be: that
 * belongs to the open file, which other processes have as well. */
static inline int can_go_on(int fd, short events)
{
    struct pollfd polled = {.fd = fd, .events = events};
    return errno == EAGAIN && poll(&polled, 1, -1) >= 0;
}

static inline ssize_t read_some(int fd, void *data, size_t len)
{
    ssize_t n;
    while ((n = read(fd, data, len)) < 0 && can_go_on(fd, POLLIN))
        ;
    return n;
}

/* Returns 0, or -1 with errno set. */
static inline int write_all(int fd, const void *data, size_t len)
{
    for (const char *rest = data; len > 0;) {
        ssize_t n = write(fd, rest, len);
        if (n < 0 && !can_go_on(fd, POLLOUT))
            return -1;
        if (n > 0) {
            rest += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* ---- Signals and waiting ---- */

/* Signals that are handled are blocked except in wait_for(), which lets them in and waits in one
 * step: between looking at what a handler has left and waiting there is no moment for one to be
 * missed. All calls outside wait_for() therefore must not wait. */
static sigset_t handled, let_in;
static sigset_t inherited; /* What was blocked when this program started, */
static struct sigaction inherited_pipe; /* and what became of SIGPIPE. */
static volatile sig_atomic_t caught; /* The signal that is to end the program, or 0. */

static inline void handle_signal(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NOCLDSTOP};
    sigset_t one;
    sigfillset(&action.sa_mask);
    sigemptyset(&one);
    sigaddset(&one, number);
    sigprocmask(SIG_BLOCK, &one, NULL);
    sigaddset(&handled, number);
    sigdelset(&let_in, number);
    sigaction(number, &action, NULL);
}

/* Gives the signals that end programs a handler, but for those that were ignored when this program
 * started: nohup(1) does that, and a shell that runs it in the background. (Who has them blocked
 * then has only forgotten it, and wait_for() lets them in.) */
static inline void handle_endings(void (*handler)(int))
{
    static const int endings[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        struct sigaction action;
        sigaction(endings[i], NULL, &action);
        if (action.sa_handler != SIG_IGN)
            handle_signal(endings[i], handler);
    }
}

static inline void note_ending(int number)
{
    caught = number;
}

/* Has the program go on until it looks at `caught`. */
static inline void catch_signals(void)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigprocmask(SIG_BLOCK, NULL, &inherited);
    let_in = inherited;
    sigemptyset(&handled);
    handle_endings(note_ending);
    sigaction(SIGPIPE, &ignore, &inherited_pipe);
}

/* In a child that is about to execute another program, which gets the signals as this one did:
 * over exec ignored ones stay ignored, and blocked ones blocked. But those that have got a handler
 * whatever became of them before, such as SIGCHLD, do there what they do by default: with that one
 * ignored, a program would not find the children that it waits for. The handlers go first, so that
 * a pending signal ends this process as it would end the other program. */
static inline void release_signals(void)
{
    for (int number = 1; number < NSIG; number++)
        if (sigismember(&handled, number) == 1)
            signal(number, SIG_DFL);
    sigaction(SIGPIPE, &inherited_pipe, NULL);
    sigprocmask(SIG_SETMASK, &inherited, NULL);
}

/* Waits for descriptors, for a time (-1: any), and for signals; returns as ppoll(2) does. */
static inline int wait_for(struct pollfd *polled, nfds_t count, int milliseconds)
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

/* Milliseconds on a clock that nobody sets. */
static inline long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

/* The last line, also from a signal handler. */
static inline void farewell(int number)
{
    const char *line = number == SIGINT    ? "Interrupted; exiting.\n"
                       : number == SIGTERM ? "Terminated.\n"
                                           : "Hanging up.\n";
    put(&out, line, strlen(line));
}

/* ---- Listening and accepting ---- */

/* Listens on a name, in place of a process that has gone and left its socket there, and notes in
 * `file` which file that made: an abstract name has none. Mode and flags are those of
 * ancillary_listen(3); connections inherit what the flags say. Returns -1 also after a signal. */
static inline int listen_on_name(const char *name, mode_t mode, unsigned flags, struct stat *file)
{
    long long deadline = now() + 5000;
    memset(file, 0, sizeof *file);
    while (!caught) {
        int fd = ancillary_listen(name, SOCK_STREAM | SOCK_NONBLOCK, mode,
                                  flags | ANCILLARY_REPLACE | ANCILLARY_DONTWAIT);
        if (fd >= 0 && name[0] != '@' && lstat(name, file) < 0)
            memset(file, 0, sizeof *file);
        if (fd >= 0)
            return fd;
        /* Somebody has a lock on the directory: another process that is just replacing a socket, or
         * one that never lets go. The library would wait as long, and let no signal in. */
        if (fd == -EAGAIN && now() < deadline)
            wait_for(NULL, 0, 10);
        else if (fd == -ENOPROTOOPT && (flags & ANCILLARY_NORIGHTS))
            flags &= ~ANCILLARY_NORIGHTS; /* Linux before 6.16: they come, and have to be closed. */
        else
            return fail(name, strerror(fd == -EAGAIN ? EBUSY : -fd));
    }
    return -1;
}

/* Listens on a port of 127.0.0.1 (0: a free one), which has been checked, and says where that is.
 * Returns -1 after a complaint. */
static inline int listen_on_port(const char *port, struct sockaddr_in *address)
{
    const int on = 1;
    socklen_t len = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)atoi(port)),
                                    .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    /* Without SO_REUSEADDR a start fails while connections of the last run linger. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(fd, (struct sockaddr *)address, len) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &len) < 0)
        return fail(port, strerror(errno));
    return fd;
}

/* Connects to a stream socket. Returns -1 after a complaint. */
static inline int connect_to_name(const char *name)
{
    int sock = ancillary_connect(name, SOCK_STREAM, 0);
    return sock < 0 ? fail(name, strerror(-sock)) : sock;
}

/* Only our own file: somebody may have put another in its place. */
static inline void remove_file(const char *name, const struct stat *ours)
{
    struct stat there;
    if (ours->st_ino != 0 && lstat(name, &there) == 0 && there.st_dev == ours->st_dev &&
        there.st_ino == ours->st_ino)
        unlink(name);
}

static int is_delayed; /* Connections wait, and it has been said why. */

/* Something is short, as errno says, which is said once. The next connection stays in the queue, and
 * polling at once would spin: so *rest. Returns -1. */
static inline int delay_connections(int *rest)
{
    if (!is_delayed)
        fail("accept", strerror(errno));
    is_delayed = *rest = 1;
    return -1;
}

/* Takes the next connection, with the flags of accept4(2). Returns it; or -1 where there is none,
 * with *rest if it is not the time to try again at once; or -2 if none can come any more. */
static inline int take_connection(int listener, int flags, int *rest)
{
    int fd = accept4(listener, NULL, NULL, flags);
    if (fd >= 0) {
        is_delayed = 0;
        return fd;
    }
    switch (errno) {
    case EAGAIN: case EINTR: case ECONNABORTED:
    /* Linux reports errors of the network or a firewall here; they concern one client. */
    case ENETDOWN: case EPROTO: case ENOPROTOOPT: case EHOSTDOWN: case ENONET: case EHOSTUNREACH:
    case EOPNOTSUPP: case ENETUNREACH: case ETIMEDOUT: case EPERM:
        return -1;
    case EBADF: case EFAULT: case EINVAL: case ENOTSOCK:
        fail("accept", strerror(errno));
        return -2;
    default:
        return delay_connections(rest);
    }
}

/* ---- Guests: connections that are listened to, so many of them and so long ---- */

enum { GUESTS = 256 };

struct guest {
    int fd;
    int place; /* Its number, which no other has meanwhile: from 0 to GUESTS. */
    struct ancillary_creds creds;
    long long deadline;
};

/* The guest to do without: of the process that has most of them, the one that came first. So a
 * process that makes many connections and says nothing keeps no other away. */
static inline struct guest *find_dispensable_guest(struct guest *guests, size_t count)
{
    struct guest *found = NULL;
    for (size_t i = 0, most = 0; i < count; i++) {
        size_t same = 0;
        for (size_t k = 0; k < count; k++)
            same += guests[k].creds.pid == guests[i].creds.pid;
        if (same > most) {
            found = &guests[i];
            most = same;
        }
    }
    return found;
}

/* Has each guest greeted, and heard whenever something has come from it, and when its milliseconds
 * are over or others need the place: then is_late. The functions return 1 if the guest may stay,
 * else 0, and it is closed. Returns 0 after a signal, -1 when the service cannot go on. */
static inline int serve_guests(int listener, int patience, int (*greet)(const struct guest *),
                               int (*hear)(const struct guest *, int is_late))
{
    /* Those that came first in front. One place more is for who comes when all are taken, until
     * another has gone: who may not come in drives nobody out. */
    static struct guest guests[GUESTS + 1];
    struct pollfd polled[1 + GUESTS + 1];
    size_t count = 0;
    for (int i = 0; i <= GUESTS; i++)
        guests[i].place = i;
    for (int rest = 0;;) {
        int crowded = count > GUESTS;
        if (crowded)
            find_dispensable_guest(guests, count)->deadline = now();
        polled[0] = (struct pollfd){.fd = rest || crowded ? -1 : listener, .events = POLLIN};
        for (size_t i = 0; i < count; i++)
            polled[1 + i] = (struct pollfd){.fd = guests[i].fd, .events = POLLIN};
        long long left = count ? guests[0].deadline - now() : -1;
        if (crowded || (count && left < 0))
            left = 0;
        if (rest && (left < 0 || left > 100))
            left = 100;
        int ready = wait_for(polled, 1 + count, (int)left);
        if (caught)
            return 0;
        if (ready < 0 && errno != EINTR)
            return fail("ppoll", strerror(errno));
        rest = 0;
        size_t staying = 0;
        for (size_t i = 0; i < count; i++) {
            struct guest guest = guests[i];
            int is_late = guest.deadline <= now();
            if ((polled[1 + i].revents || is_late) && !hear(&guest, is_late)) {
                close(guest.fd);
            } else {
                guests[i] = guests[staying];
                guests[staying++] = guest;
            }
        }
        count = staying;
        if (!polled[0].revents)
            continue;
        struct guest *guest = &guests[count];
        guest->fd = take_connection(listener, SOCK_NONBLOCK | SOCK_CLOEXEC, &rest);
        guest->deadline = now() + patience;
        if (guest->fd == -2)
            return -1;
        if (guest->fd >= 0 && ancillary_peer_creds(guest->fd, &guest->creds) == 0 && greet(guest))
            count++;
        else if (guest->fd >= 0)
            close(guest->fd);
    }
}

/* The whole life of a service for guests, who may be anybody, and send no descriptors. More flags
 * are those of ancillary_listen(3). Returns the exit status. */
static inline int welcome_guests(const char *name, unsigned flags, int patience,
                                 int (*greet)(const struct guest *),
                                 int (*hear)(const struct guest *, int is_late))
{
    struct stat file;
    /* Connecting takes the permission to write. */
    int listener = listen_on_name(name, 0666, flags | ANCILLARY_NORIGHTS, &file);
    int status = caught ? 0 : listener;
    if (listener >= 0) {
        say(&out, "Listening on %s.", name);
        status = serve_guests(listener, patience, greet, hear);
        remove_file(name, &file);
    }
    if (status < 0)
        return EXIT_FAILURE;
    farewell(caught);
    return EXIT_SUCCESS;
}

/* ---- Channels with their memory ---- */

enum { PAYLOAD = 4096, MESSAGE_FDS = 16 }; /* Of a message, at the most. */

/* One end of a channel, which points into it: it is not to be moved. */
struct endpoint {
    struct ancillary_channel channel; /* With sock -1 there is none. */
    uint64_t in[(16 + PAYLOAD) / 8], out[(16 + PAYLOAD) / 8];
    int in_fds[2 * MESSAGE_FDS]; /* Those of a message, and of the next that come with them. */
};

static inline void open_endpoint(struct endpoint *end, int sock, unsigned flags)
{
    end->channel = (struct ancillary_channel){
        .size = sizeof end->channel, .sock = sock, .flags = flags,
        .in_data = end->in, .in_size = sizeof end->in,
        .in_fds = end->in_fds, .in_nfds = 2 * MESSAGE_FDS,
        .out_data = end->out, .out_size = sizeof end->out};
}

static inline void close_endpoint(struct endpoint *end)
{
    ancillary_channel_drop(&end->channel);
    if (end->channel.sock >= 0)
        close(end->channel.sock);
    end->channel.sock = -1;
}

static inline struct pollfd events_of(const struct endpoint *end)
{
    return (struct pollfd){.fd = end->channel.sock,
                           .events = (short)ancillary_channel_events(&end->channel)};
}

/* Forks a process with a channel to it, of which each has one end. Returns as fork(2) does; where
 * that fails, with the end -1. */
static inline pid_t fork_with_channel(int *end)
{
    int ends[2];
    *end = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -1;
    pid_t pid = fork();
    int error = errno;
    if (pid >= 0)
        *end = ends[pid == 0];
    for (int i = 0; i < 2; i++)
        if (ends[i] != *end)
            close(ends[i]);
    errno = error;
    return pid;
}

/* Takes a descriptor out of a message that was received: else the next one closes it. */
static inline int take_fd(struct ancillary_frame *frame, size_t which)
{
    int fd = frame->fds[which];
    frame->fds[which] = -1;
    return fd;
}

#endif
