/* whoami - shows who is on the other end of a Unix socket
 *
 *   whoami listen SOCKET
 *   whoami connect SOCKET
 *
 * `listen` makes the socket and prints about each connection who made it: process, user, group,
 * supplementary groups, security label if there is one, and executable; then who sent the first
 * message over it. That can be another process, which was given the connection. It ends with
 * SIGINT, SIGTERM or SIGHUP. `connect` sends a message with its own credentials and waits until
 * the listener closes.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#define _GNU_SOURCE /* accept4(2), ppoll(2) */

#include <ancillary.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "Usage: whoami listen SOCKET\n"
    "       whoami connect SOCKET\n"
    "listen makes the Unix socket SOCKET and prints who connects to it; connect connects to it.\n";

enum {
    VISITS = 64,     /* That many connections are waited for at once, */
    PATIENCE = 2000, /* that many milliseconds each, or until others need the place. */
    GROUPS = 65536,  /* NGROUPS_MAX of the kernel, getgroups(2) */
};

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

/* Writes a line, or drops it: a log that nobody reads must not stop the service. A slow reader is
 * given a second, one that let it pass nothing until there is room again. After POLLOUT a pipe
 * takes PIPE_BUF bytes without waiting, unless others write to it and fill it in between. */
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
    struct pollfd room = {.fd = output->fd, .events = POLLOUT};
    output->stuck = poll(&room, 1, output->stuck ? 0 : 1000) == 0;
    if (!output->stuck && write(output->fd, line, (size_t)len + 1) < 0)
        return; /* There is no better place to complain. */
}

static int fail(const char *what, const char *why)
{
    say(&err, "whoami: %s: %s", what, why);
    return -1;
}

static void on_signal(int number)
{
    caught = number;
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

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

/* A socket that became descriptor 1 would receive what is meant for the reader. */
static int open_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            return -1;
    return 0;
}

static int make_socket(const char *path, struct sockaddr_un *address, int flags)
{
    size_t len = strlen(path);
    /* The kernel would take an empty path for an abstract name (unix(7)). */
    if (len == 0)
        return fail("SOCKET", "the path of the socket is empty");
    if (len >= sizeof address->sun_path)
        return fail(path, "too long for the path of a socket, which has 107 bytes at most");
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, path, len + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    return fd < 0 ? fail("socket", strerror(errno)) : fd;
}

/* Binds a socket to `path`, notes in `file` which file that made, and listens. */
static int open_listener(const char *path, struct stat *file)
{
    struct sockaddr_un address;
    int fd = make_socket(path, &address, SOCK_NONBLOCK);
    if (fd < 0)
        return -1;
    /* Connections inherit both options. Set after listen(2) they would come too late for one made
     * in between, and a message on it could be without credentials. */
    int wanted = ancillary_set_passcred(fd, 1);
    int unwanted = ancillary_set_passrights(fd, 0);
    umask(0111); /* Connecting takes the permission to write, and all are to have it. */
    if (wanted < 0 || (unwanted < 0 && unwanted != -ENOPROTOOPT) ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        fail(path, strerror(errno));
        close(fd);
        return -1;
    }
    if (lstat(path, file) < 0 || listen(fd, SOMAXCONN) < 0) {
        fail(path, strerror(errno));
        unlink(path);
        close(fd);
        return -1;
    }
    return fd;
}

/* Only our own file: somebody may have put another in its place. */
static void remove_socket(const char *path, const struct stat *ours)
{
    struct stat now;
    if (lstat(path, &now) == 0 && now.st_dev == ours->st_dev && now.st_ino == ours->st_ino)
        unlink(path);
}

/* What a stranger chose, such as the name of a file, made fit for one line on a terminal. */
static const char *printable(const char *text)
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

static void show_groups(int connection)
{
    static gid_t groups[GROUPS];
    char line[PIPE_BUF - 100] = " none";
    ssize_t count = ancillary_peer_groups(connection, groups, GROUPS), i = 0;
    if (count < 0) {
        say(&out, "  groups not known: %s", strerror(errno));
        return;
    }
    for (size_t len = 0; i < count && len < sizeof line - sizeof " 4294967295"; i++)
        len += (size_t)sprintf(line + len, " %lu", (unsigned long)groups[i]);
    say(&out, "  groups%s%s", line, i < count ? " ..." : "");
}

static void show_label(int connection)
{
    char label[PATH_MAX];
    ssize_t len = ancillary_peer_label(connection, label, sizeof label);
    if (len >= 0)
        say(&out, "  security label %s", printable(label));
    else if (len != -ENOPROTOOPT) /* Most systems keep no labels. */
        say(&out, "  security label not known: %s", strerror(errno));
}

/* Finds out which file the process on the other end runs. Returns NULL, or why it is not known.
 *
 * /proc finds processes by number, and when one has exited and been waited for, its number can be
 * given to another. A pidfd stays with the one. If it says, after the look into /proc, that the
 * process has not exited, the number was its own all the time. (What the process ran when it
 * connected nobody can tell: it may have called execve(2) since.) */
static const char *read_executable(int connection, pid_t pid, char *path, size_t room)
{
    int pidfd = ancillary_peer_pidfd(connection);
    if (pidfd == -ENOPROTOOPT)
        return "this kernel gives no pidfd of a peer"; /* Linux before 6.5 */
    if (pidfd == -ESRCH || pidfd == -EINVAL)
        return "the process has exited"; /* Linux before 6.16; later ones give a pidfd. */
    if (pidfd < 0)
        return strerror(errno);
    char link[64];
    snprintf(link, sizeof link, "/proc/%ld/exe", (long)pid);
    ssize_t len = readlink(link, path, room - 1);
    /* EACCES: the process is not ours to look at (ptrace(2)). */
    const char *why = len < 0 ? strerror(errno) : NULL;
    path[len < 0 ? 0 : len] = '\0';
    struct pollfd process = {.fd = pidfd, .events = POLLIN};
    if (poll(&process, 1, 0) != 0)
        why = "the process has exited";
    close(pidfd);
    return why;
}

/* Shows who connected, with the effective ids of that time, whatever became of the process. */
static void show_peer(int connection)
{
    struct ancillary_creds peer;
    char path[PATH_MAX + 1];
    if (ancillary_peer_creds(connection, &peer) < 0) {
        fail("identity of a peer", strerror(errno));
        return;
    }
    say(&out, "Connection from process %ld, user %lu, group %lu", (long)peer.pid,
        (unsigned long)peer.uid, (unsigned long)peer.gid);
    show_groups(connection);
    show_label(connection);
    /* Number 0 stands for all processes that our /proc does not show (pid_namespaces(7)). */
    const char *why = peer.pid == 0 ? "it is outside of this pid namespace"
                                    : read_executable(connection, peer.pid, path, sizeof path);
    if (why)
        say(&out, "  executable not known: %s", why);
    else
        say(&out, "  executable %s", printable(path));
}

/* Shows who sent the first message, with the real ids of the time it was sent. */
static void show_sender(int connection)
{
    struct ancillary_creds sender;
    char message[256];
    ssize_t len = ancillary_recv_creds(connection, &sender, message, sizeof message, 0);
    if (len > 0)
        say(&out, "  message from process %ld, user %lu, group %lu", (long)sender.pid,
            (unsigned long)sender.uid, (unsigned long)sender.gid);
    else if (len == -E2BIG) /* Linux before 6.16 cannot keep them away from us. */
        say(&out, "  message with descriptors, which are not wanted here");
    else
        say(&out, "  no message: %s", len == 0         ? "the connection was closed"
                                      : len == -EAGAIN ? "none came in time"
                                                       : strerror(errno));
}

/* A connection, which is shown when its first message is there, or has not come in time. */
struct visit {
    int fd;
    pid_t pid; /* of who made it */
    long long deadline;
};

/* Those that came first in front. */
static struct visit visits[VISITS];
static size_t visit_count;

static void show(int connection)
{
    show_peer(connection);
    show_sender(connection);
    close(connection);
}

/* The visit to do without: of the process that has most of them, the one that came first. So a
 * process that makes many connections and says nothing keeps no other away. */
static struct visit *find_dispensable(void)
{
    struct visit *found = NULL;
    for (size_t i = 0, most = 0; i < visit_count; i++) {
        size_t same = 0;
        for (size_t k = 0; k < visit_count; k++)
            same += visits[k].pid == visits[i].pid;
        if (same > most) {
            found = &visits[i];
            most = same;
        }
    }
    return found;
}

/* Returns 0, with *rest if it is not the time to try again at once, or -1 if none can come any
 * more. */
static int accept_visit(int listener, int *rest)
{
    static int complained;
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        struct ancillary_creds creds;
        if (ancillary_peer_creds(fd, &creds) < 0)
            creds.pid = 0;
        complained = 0;
        visits[visit_count++] = (struct visit){fd, creds.pid, now() + PATIENCE};
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        /* The connection stays in the queue, so that polling at once would spin. */
        if (!complained++)
            fail("accept", strerror(errno));
        *rest = 1;
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
        return fail("accept", strerror(errno));
    }
    return 0;
}

/* Returns 0 after a signal, -1 when the service cannot go on. */
static int serve(int listener)
{
    for (int rest = 0;;) {
        struct pollfd polled[1 + VISITS] = {{.fd = rest ? -1 : listener, .events = POLLIN}};
        for (size_t i = 0; i < visit_count; i++)
            polled[1 + i] = (struct pollfd){.fd = visits[i].fd, .events = POLLIN};
        long long left = visit_count ? visits[0].deadline - now() : -1;
        if (visit_count && left < 0)
            left = 0;
        if (rest && (left < 0 || left > 100))
            left = 100;
        int ready = wait_for(polled, 1 + visit_count, (int)left);
        if (caught)
            return 0;
        if (ready < 0 && errno != EINTR)
            return fail("ppoll", strerror(errno));
        rest = 0;
        if (polled[0].revents && visit_count == VISITS)
            find_dispensable()->deadline = now();
        size_t waiting = 0;
        for (size_t i = 0; i < visit_count; i++) {
            if (polled[1 + i].revents || visits[i].deadline <= now())
                show(visits[i].fd);
            else
                visits[waiting++] = visits[i];
        }
        visit_count = waiting;
        if (polled[0].revents && accept_visit(listener, &rest) < 0)
            return -1;
    }
}

static int listen_on(const char *path)
{
    struct stat file;
    catch_signals();
    int listener = open_listener(path, &file);
    if (listener < 0)
        return -1;
    say(&out, "Listening on %s.", path);
    int result = serve(listener);
    remove_socket(path, &file);
    if (result == 0)
        say(&out, caught == SIGINT    ? "Interrupted; exiting."
                  : caught == SIGTERM ? "Terminated."
                                      : "Hanging up.");
    return result;
}

static int connect_to(const char *path)
{
    static const char message[] = "Who am I?";
    struct sockaddr_un address;
    int fd = make_socket(path, &address, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        return fail(path, strerror(errno));
    if (ancillary_send_creds(fd, NULL, message, sizeof message - 1, 0) < 0)
        return fail("sending", strerror(errno));
    char rest[256];
    ssize_t len;
    while ((len = read(fd, rest, sizeof rest)) > 0)
        continue;
    return len < 0 ? fail("waiting for the listener", strerror(errno)) : 0;
}

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    int listens = strcmp(argv[1], "listen") == 0;
    if (argc != 3 || (!listens && strcmp(argv[1], "connect") != 0)) {
        fputs(usage, stderr);
        return EXIT_FAILURE;
    }
    if (open_standard_descriptors() < 0)
        return EXIT_FAILURE;
    int result = listens ? listen_on(argv[2]) : connect_to(argv[2]);
    return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
