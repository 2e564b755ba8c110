/* opend - opens files for processes that may not open them themselves
 *
 *   opend SOCKET UID...
 *
 * Listens on the Unix socket SOCKET. A process of one of the users UID... gets every file that
 * this server can open, so run it as a user that can open no others; processes of other users are
 * refused. What is sent is a descriptor with no more rights than were asked for (see open.c for
 * the client). It ends with SIGINT, SIGTERM or SIGHUP.
 *
 * The protocol, over a stream socket, one request a connection:
 *
 *   request   "open PATH FLAGS" and a zero byte. PATH begins with a slash. FLAGS is r, w, rw or a
 *             (append). Nothing is created or truncated here, and only regular files are opened.
 *             Whoever may append may also write: it can clear O_APPEND (fcntl(2)) and truncate.
 *   answer    struct answer below. If status is 0, the descriptor comes with it; else status is an
 *             errno value, and text says what is wrong. Then the server closes.
 *
 * A refusal can come before the request has been sent whole. A client that cannot send any more
 * reads the answer all the same.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#define _GNU_SOURCE /* accept4(2), ppoll(2), O_PATH */
#define _FILE_OFFSET_BITS 64 /* Files of any size, also on 32-bit machines. */

#include <ancillary.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "Usage: opend SOCKET UID...\n"
    "Makes the Unix socket SOCKET and opens files for processes of the users UID..., which are\n"
    "numbers. They get every file that opend itself can open.\n";

enum {
    CLIENTS = 256,   /* That many are listened to at once, */
    PATIENCE = 5000, /* that many milliseconds each, or until others need the place. */
    REQUEST = sizeof "open  rw" + PATH_MAX - 1, /* bytes at the most */
};

/* All of one size, so that a client knows how much to wait for. */
struct answer {
    int32_t status;
    char text[124];
};

struct client {
    int fd;
    struct ancillary_creds creds;
    long long deadline;
    size_t len;
    char request[REQUEST + 1]; /* What has come so far, ended with a zero byte. */
};

static const struct {
    const char *name;
    int flags;
} modes[] = {{"r", O_RDONLY}, {"w", O_WRONLY}, {"rw", O_RDWR}, {"a", O_WRONLY | O_APPEND}};

static char **allowed_users;

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
    say(&err, "opend: %s: %s", what, why);
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

/* Binds a socket to `path`, notes in `file` which file that made, and listens. */
static int open_listener(const char *path, struct stat *file)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    /* The kernel would take an empty path for an abstract name (unix(7)). */
    if (len == 0)
        return fail("SOCKET", "the path of the socket is empty");
    if (len >= sizeof address.sun_path)
        return fail(path, "too long for the path of a socket, which has 107 bytes at most");
    memcpy(address.sun_path, path, len + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail("socket", strerror(errno));
    /* Connections inherit this. Without it (Linux before 6.16) descriptors that a client sends
     * are closed when they arrive. */
    int refused = ancillary_set_passrights(fd, 0);
    umask(0111); /* Connecting takes the permission to write, and the rule here is another. */
    if ((refused < 0 && refused != -ENOPROTOOPT) ||
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

/* Opens anew, with `flags`, what an O_PATH descriptor stands for. Returns a descriptor, or a
 * negative errno value. */
static int reopen(int found, int flags)
{
    struct stat file;
    if (fstat(found, &file) < 0)
        return -errno;
    if (!S_ISREG(file.st_mode))
        return S_ISDIR(file.st_mode) ? -EISDIR : -EOPNOTSUPP;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", found);
    /* While another process holds a lease on the file, open(2) waits for it to let go, unless
     * O_NONBLOCK is given (fcntl(2)). The client did not ask for O_NONBLOCK, so it goes again. */
    int fd = open(link, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fcntl(fd, F_SETFL, flags) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

/* Opening a FIFO waits for its other end, and opening a device can do anything: rewind a tape,
 * start a watchdog. O_PATH finds the file without opening it, so that it can be looked at first;
 * through /proc it is then opened, whatever is at `path` meanwhile. (A network file system that
 * does not respond holds up this server all the same. Against that only threads help.) */
static int open_file(const char *path, int flags)
{
    int found = open(path, O_PATH | O_CLOEXEC);
    if (found < 0)
        return -errno;
    int result = reopen(found, flags);
    close(found);
    return result;
}

/* Does what a request asks for. Returns a descriptor, or a negative errno value, and then *text
 * can say more about it. */
static int serve_request(const char *request, const char **text)
{
    char path[REQUEST];
    const char *start = request + strlen("open "), *space = strrchr(request, ' ');
    if (strncmp(request, "open ", strlen("open ")) != 0 || !space || space < start) {
        *text = "Malformed request";
        return -EBADMSG;
    }
    snprintf(path, sizeof path, "%.*s", (int)(space - start), start);
    if (path[0] != '/') {
        *text = "The path does not begin with a slash";
        return -EINVAL;
    }
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (strcmp(space + 1, modes[i].name) == 0)
            return open_file(path, modes[i].flags);
    *text = "The flags are none of r, w, rw and a";
    return -EINVAL;
}

/* Answers with a descriptor, or with a negative errno value and a text (NULL: the usual one).
 * This is all that a client is ever sent, and the buffer of a new socket has room for it: so this
 * need not wait for a client that does not read. What is sent can be read after we have closed. */
static void answer(const struct client *client, int result, const char *text)
{
    struct answer message = {.status = result < 0 ? -result : 0};
    if (result < 0)
        snprintf(message.text, sizeof message.text, "%s", text ? text : strerror(-result));
    ssize_t sent = ancillary_send_fds(client->fd, &result, result >= 0, &message,
                                      sizeof message, 0);
    if (sent == -ETOOMANYREFS) {
        /* Too many descriptors are on their way to clients that do not receive them (unix(7)).
         * They cannot be called back, and may never be received. */
        answer(client, -ETOOMANYREFS, "Too many descriptors wait to be received");
        return;
    }
    if (sent < 0 && sent != -EPIPE && sent != -ECONNRESET) /* Clients may go when they like. */
        fail("answering", strerror(errno));
    say(&out, "User %lu, process %ld: %s%s%s", (unsigned long)client->creds.uid,
        (long)client->creds.pid, result < 0 ? message.text : "Opened", client->len ? ": " : "",
        printable(client->request));
}

/* Takes what has come from a client. Returns whether that is done with. */
static int hear(struct client *client)
{
    const char *text = NULL;
    size_t none = 0;
    ssize_t len = ancillary_recv_fds(client->fd, NULL, &none, client->request + client->len,
                                     REQUEST - client->len, 0);
    if (len == -EAGAIN)
        return 0;
    if (len == -E2BIG || len == -EMFILE || len == -ENFILE || len == -EACCES) {
        answer(client, -EBADMSG, "Descriptors came with the request");
        return 1;
    }
    if (len < 0)
        return 1; /* The client is gone, or its connection of no use. */
    client->len += (size_t)len;
    client->request[client->len] = '\0';
    size_t text_len = strlen(client->request);
    if (text_len + 1 == client->len) {
        int result = serve_request(client->request, &text);
        answer(client, result, text);
        if (result >= 0)
            close(result);
    } else if (text_len < client->len) {
        answer(client, -EBADMSG, "More came than one request");
    } else if (client->len == REQUEST) {
        answer(client, -EMSGSIZE, "The request is too long");
    } else if (len > 0) {
        return 0;
    } else if (client->len > 0) {
        answer(client, -EBADMSG, "The request has no end");
    }
    return 1;
}

/* Who connected decides, by effective ids as in open(2), and whoever is given the connection may
 * use it. The sender of a message can be somebody who was tricked into writing: a set-user-ID
 * program with the connection as its standard error. (65534 can be anyone: user_namespaces(7).) */
static int is_allowed(uid_t uid)
{
    for (char **allowed = allowed_users; *allowed; allowed++)
        if (strtoul(*allowed, NULL, 10) == uid)
            return 1;
    return 0;
}

/* Returns 1 with the next client, or 0 where there is none, with *rest if it is not the time to
 * try again at once, or -1 if none can come any more. */
static int accept_client(int listener, struct client *client, int *rest)
{
    static int complained;
    client->len = 0;
    client->request[0] = '\0';
    client->deadline = now() + PATIENCE;
    client->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (client->fd >= 0) {
        complained = 0;
        if (ancillary_peer_creds(client->fd, &client->creds) == 0) {
            if (is_allowed(client->creds.uid))
                return 1;
            /* At once, so that only those who are allowed can take up the places. */
            answer(client, -EPERM, "This user may not have files opened");
        }
        close(client->fd);
        return 0;
    }
    switch (errno) {
    case EAGAIN: case EINTR: case ECONNABORTED:
        return 0;
    case EMFILE: case ENFILE: case ENOBUFS: case ENOMEM:
        if (!complained++)
            fail("accept", strerror(errno));
        *rest = 1;
        return 0;
    default:
        return fail("accept", strerror(errno));
    }
}

/* The client to do without: of the process that has most of them, the one that came first. So a
 * process that makes many connections and says nothing keeps no other away. */
static struct client *find_dispensable(struct client **clients, size_t count)
{
    struct client *found = NULL;
    for (size_t i = 0, most = 0; i < count; i++) {
        size_t same = 0;
        for (size_t k = 0; k < count; k++)
            same += clients[k]->creds.pid == clients[i]->creds.pid;
        if (same > most) {
            found = clients[i];
            most = same;
        }
    }
    return found;
}

/* Returns 0 after a signal, -1 when the service cannot go on. */
static int serve(int listener)
{
    /* With one place more, for who comes when all are taken, until another has gone: who may not
     * come in drives nobody out. */
    enum { PLACES = CLIENTS + 1 };
    static struct client places[PLACES], *clients[PLACES];
    struct pollfd polled[1 + PLACES];
    size_t count = 0; /* So many of `clients` are in use, those that came first in front. */
    int rest = 0;
    for (size_t i = 0; i < PLACES; i++)
        clients[i] = &places[i];
    for (;;) {
        int crowded = count > CLIENTS;
        if (crowded)
            find_dispensable(clients, count)->deadline = now();
        polled[0] = (struct pollfd){.fd = rest || crowded ? -1 : listener, .events = POLLIN};
        for (size_t i = 0; i < count; i++)
            polled[1 + i] = (struct pollfd){.fd = clients[i]->fd, .events = POLLIN};
        long long left = count ? clients[0]->deadline - now() : -1;
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
        size_t waiting = 0;
        for (size_t i = 0; i < count; i++) {
            struct client *client = clients[i];
            int done = polled[1 + i].revents ? hear(client) : 0;
            if (!done && client->deadline <= now()) {
                answer(client, -ETIMEDOUT, "The request did not come in time");
                done = 1;
            }
            if (done) {
                close(client->fd);
            } else {
                clients[i] = clients[waiting];
                clients[waiting++] = client;
            }
        }
        count = waiting;
        if (polled[0].revents) {
            int accepted = accept_client(listener, clients[count], &rest);
            if (accepted < 0)
                return -1;
            count += (size_t)accepted;
        }
    }
}

/* What strtoul(3) would take for a number can be another one: -1, say, or 1000x. */
static int is_user(const char *text)
{
    return *text && !text[strspn(text, "0123456789")] && strlen(text) <= 10 &&
           strtoull(text, NULL, 10) < UINT32_MAX; /* That is (uid_t)-1, nobody's. */
}

int main(int argc, char **argv)
{
    catch_signals();
    if (argc < 2 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (argc < 3) {
        fputs(usage, stderr);
        return EXIT_FAILURE;
    }
    if (open_standard_descriptors() < 0)
        return EXIT_FAILURE;
    allowed_users = argv + 2;
    for (char **user = allowed_users; *user; user++) {
        if (!is_user(*user)) {
            fail(*user, "not the number of a user");
            return EXIT_FAILURE;
        }
    }
    struct stat file;
    int listener = open_listener(argv[1], &file);
    if (listener < 0)
        return EXIT_FAILURE;
    say(&out, "Listening on %s.", argv[1]);
    int status = serve(listener);
    remove_socket(argv[1], &file);
    if (status < 0)
        return EXIT_FAILURE;
    say(&out, caught == SIGINT    ? "Interrupted; exiting."
              : caught == SIGTERM ? "Terminated."
                                  : "Hanging up.");
    return EXIT_SUCCESS;
}
