/* echo_server - prints the messages of its clients, and sends each back
 *
 *   echo_server NAME
 *
 * Listens on the Unix socket NAME, which is a path or `@` and an abstract name. A message is 1,024
 * bytes: text, and zeros behind it (see echo_client.c). Any number of clients talk at the same
 * time, each as slowly as it likes. It ends with SIGINT, SIGTERM or SIGHUP, and removes the file.
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
#include <unistd.h>

static const char usage[] =
    "Usage: echo_server NAME\n"
    "Listens on the Unix socket NAME, which it makes, prints the messages of all clients, and\n"
    "sends each back. NAME is a path, or @ and an abstract name.\n";

enum { MESSAGE = 1024 };

/* A client sends a message and gets it back, and so on by turns: until its answer is sent, nothing
 * more is read from it. One that never reads cannot make the server collect answers for it. */
struct client {
    int fd;
    unsigned long number;
    size_t received, answered; /* Bytes of the message. */
    char message[MESSAGE];
};
static struct client *clients;
static struct pollfd *polled; /* The listening socket, then the clients in their order. */
static size_t count, room;

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
    struct pollfd writable = {.fd = output->fd, .events = POLLOUT};
    output->stuck = poll(&writable, 1, output->stuck ? 0 : 1000) == 0;
    if (!output->stuck && write(output->fd, line, (size_t)len + 1) < 0)
        return; /* There is no better place to complain. */
}

static int fail(const char *what, const char *why)
{
    say(&err, "echo_server: %s: %s", what, why);
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

/* The file that a killed server left behind is replaced; a live server is not. */
static int open_listener(const char *name)
{
    while (!caught) {
        int fd = ancillary_listen(name, SOCK_STREAM | SOCK_NONBLOCK, 0600,
                                  ANCILLARY_REPLACE | ANCILLARY_DONTWAIT);
        if (fd != -EAGAIN)
            return fd;
        /* Another process is replacing a socket in that directory, which takes it a moment. */
        wait_for(NULL, 0, 10);
    }
    errno = EINTR;
    return -1;
}

/* Makes room for one more client. */
static int make_room(void)
{
    if (count < room)
        return 0;
    size_t more = room ? 2 * room : 16;
    struct client *moved = realloc(clients, more * sizeof *clients);
    if (moved)
        clients = moved;
    struct pollfd *also_moved = realloc(polled, (more + 1) * sizeof *polled);
    if (also_moved)
        polled = also_moved;
    if (!moved || !also_moved)
        return -1;
    room = more;
    return 0;
}

/* Takes the next client. Returns 1 if it is not the time to try again at once, and -1 if no client
 * can come any more. */
static int accept_client(int listener)
{
    static unsigned long number;
    static int complained;
    int fd = make_room() < 0 ? -1 : accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        complained = 0;
        clients[count++] = (struct client){.fd = fd, .number = ++number};
        say(&out, "Client %lu has connected.", number);
        return 0;
    }
    switch (errno) {
    case EAGAIN: case EINTR: case ECONNABORTED:
        return 0;
    /* The client stays in the queue, so that polling at once would spin. */
    case EMFILE: case ENFILE: case ENOBUFS: case ENOMEM:
        if (!complained++)
            fail("accept", strerror(errno));
        return 1;
    default:
        return fail("accept", strerror(errno));
    }
}

/* What a client sends is not trusted with the terminal, and may have no zero at its end. */
static void print(const struct client *client)
{
    char text[MESSAGE + 1];
    size_t len = strnlen(client->message, MESSAGE);
    for (size_t i = 0; i < len; i++)
        text[i] = client->message[i] >= ' ' && client->message[i] <= '~' ? client->message[i] : '?';
    text[len] = '\0';
    say(&out, "Client %lu: %s", client->number, text);
}

/* Receives or sends as much as goes. Returns -1 when the conversation is over. */
static int converse(struct client *client)
{
    ssize_t n;
    if (client->received < MESSAGE) {
        n = recv(client->fd, client->message + client->received, MESSAGE - client->received, 0);
        if (n == 0 && client->received > 0)
            say(&out, "Client %lu has left in the middle of a message.", client->number);
        else if (n == 0)
            say(&out, "Client %lu has left.", client->number);
        if (n > 0)
            client->received += (size_t)n;
        if (n > 0 && client->received == MESSAGE)
            print(client);
    } else {
        n = send(client->fd, client->message + client->answered, MESSAGE - client->answered,
                 MSG_NOSIGNAL);
        if (n > 0)
            client->answered += (size_t)n;
        if (client->answered == MESSAGE)
            client->received = client->answered = 0;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n < 0)
        say(&out, "Client %lu is lost: %s.", client->number, strerror(errno));
    return n > 0 ? 0 : -1;
}

/* Returns 0 after a signal, -1 when the service cannot go on. */
static int serve(int listener)
{
    int rest = 0; /* Whether to wait a little before the next client is taken. */
    for (;;) {
        polled[0] = (struct pollfd){.fd = rest ? -1 : listener, .events = POLLIN};
        for (size_t i = 0; i < count; i++)
            polled[i + 1] = (struct pollfd){.fd = clients[i].fd,
                                            .events = clients[i].received < MESSAGE ? POLLIN
                                                                                    : POLLOUT};
        int ready = wait_for(polled, count + 1, rest ? 100 : -1);
        if (caught)
            return 0;
        if (ready < 0) {
            if (errno == EINTR)
                continue;
            return fail("ppoll", strerror(errno));
        }
        /* From the last to the first: into the place of one that is over comes the last, which has
         * had its turn. */
        for (size_t i = count; i-- > 0;) {
            if (polled[i + 1].revents && converse(&clients[i]) < 0) {
                close(clients[i].fd);
                clients[i] = clients[--count];
            }
        }
        rest = 0;
        if (polled[0].revents) {
            rest = accept_client(listener);
            if (rest < 0)
                return -1;
        }
    }
}

/* Only our own file: somebody may have put another in its place. */
static void remove_socket(const char *path, const struct stat *ours)
{
    struct stat now;
    if (lstat(path, &now) == 0 && now.st_dev == ours->st_dev && now.st_ino == ours->st_ino)
        unlink(path);
}

int main(int argc, char **argv)
{
    catch_signals();
    if (argc < 2 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    if (argc != 2) {
        fputs(usage, stderr);
        return EXIT_FAILURE;
    }
    if (open_standard_descriptors() < 0)
        return EXIT_FAILURE;
    const char *name = argv[1];
    if (make_room() < 0) {
        fail(name, strerror(errno));
        return EXIT_FAILURE;
    }
    struct stat file = {0};
    int is_file = name[0] != '@';
    int listener = open_listener(name);
    if (listener < 0 || (is_file && lstat(name, &file) < 0)) {
        fail(name, strerror(errno));
        return EXIT_FAILURE;
    }
    say(&out, "Listening on %s.", name);
    int status = serve(listener);
    /* Before it is closed: a file that nobody listens on any more may be replaced by the next. */
    if (is_file)
        remove_socket(name, &file);
    close(listener);
    while (count > 0)
        close(clients[--count].fd);
    free(clients);
    free(polled);
    if (status < 0)
        return EXIT_FAILURE;
    say(&out, caught == SIGINT    ? "Interrupted; exiting."
              : caught == SIGTERM ? "Terminated."
                                  : "Hanging up.");
    return EXIT_SUCCESS;
}
