/* channel - a master and its workers, which pass descriptors to each other over channels
 *
 *   channel WORKERS
 *
 * As web servers do: the master forks WORKERS processes, each with a socketpair to it, and passes
 * them what was opened only afterwards: a file, two listening sockets, and channels to each other.
 * The workers answer clients; what comes in on the second socket each passes on to its neighbour.
 * The master plays the clients, lets a worker die, goes on without it, and ends. SIGINT, SIGTERM
 * and SIGHUP end it earlier.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#define _GNU_SOURCE /* accept4(2), memfd_create(2), ppoll(2) */

#include <ancillary.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
    "Usage: channel WORKERS\n"
    "Shows how WORKERS (2 to 16) processes and their master pass descriptors to each other.\n";

enum { WORKERS = 16, LISTENERS = 2 };

/* ---- Channels ---- */

enum command { OPEN_CHANNEL = 1, CLOSE_CHANNEL, QUIT, PASS_FILE, PASS_LISTENER, PASS_CONNECTION };

/* What travels. The pid and the slot are those of the worker that it is about. */
struct record {
    int command, pid, slot;
    int descriptor; /* -1: none. Sent, the number means nothing to the receiver, which puts the one
                     * that it has got in its place. */
};

struct channel {
    int fd; /* -1: closed. */
    pid_t pid;
    struct record in; /* So much of it is received, and this came with the first byte. */
    size_t received;
    int held;
    struct record out; /* So much of its end is to be sent. */
    size_t unsent;
};

static void open_channel(struct channel *channel, int fd, pid_t pid)
{
    *channel = (struct channel){.fd = fd, .pid = pid, .held = -1};
}

static void close_channel(struct channel *channel)
{
    if (channel->fd >= 0)
        close(channel->fd);
    if (channel->held >= 0)
        close(channel->held);
    channel->fd = channel->held = -1;
}

/* Sends the rest of a record. Its descriptor went with its first byte: sent again, it would arrive
 * twice. Returns 0, or a negative errno value. */
static int flush_channel(struct channel *channel)
{
    if (channel->unsent == 0)
        return 0;
    const char *rest = (const char *)(&channel->out + 1) - channel->unsent;
    ssize_t n = ancillary_send_fds(channel->fd, NULL, 0, rest, channel->unsent, 0);
    if (n > 0)
        channel->unsent -= (size_t)n;
    return n < 0 ? (int)n : channel->unsent > 0 ? -EAGAIN : 0;
}

/* Returns 0 when the record is on its way, if part of it has to wait for flush_channel(); or a
 * negative errno value, and then nothing of it was sent. */
static int send_record(struct channel *channel, struct record record)
{
    int result = flush_channel(channel);
    if (result < 0)
        return result;
    ssize_t n = ancillary_send_fds(channel->fd, &record.descriptor, record.descriptor >= 0,
                                   &record, sizeof record, 0);
    if (n < 0)
        return (int)n;
    channel->out = record;
    channel->unsent = sizeof record - (size_t)n;
    return 0;
}

static int is_valid(const struct record *record)
{
    int carries = record->command != CLOSE_CHANNEL && record->command != QUIT;
    return record->command >= OPEN_CHANNEL && record->command <= PASS_CONNECTION &&
           record->slot >= 0 && record->slot < WORKERS && carries == (record->descriptor >= 0);
}

/* Returns 1 when a whole record is in `in`, 0 where there is none yet, or a negative errno value:
 * with -EMFILE or -ENFILE it is still queued, with another one the channel is of no more use. */
static int receive_record(struct channel *channel)
{
    int fd;
    size_t fds = 1;
    /* Not a byte of the next record: a stream gives the descriptors of one message at a time, but
     * joins bytes in front of them, and then it would not be clear to which record one belongs. */
    ssize_t n = ancillary_recv_fds(channel->fd, &fd, &fds, (char *)&channel->in + channel->received,
                                   sizeof channel->in - channel->received, ANCILLARY_LOSSLESS);
    if (n <= 0)
        return n == -EAGAIN ? 0 : n < 0 ? (int)n : -EPIPE;
    if (fds == 1 && channel->received > 0) {
        close(fd);
        return -EPROTO;
    }
    if (fds == 1)
        channel->held = fd;
    channel->received += (size_t)n;
    if (channel->received < sizeof channel->in)
        return 0;
    channel->in.descriptor = channel->held;
    if (!is_valid(&channel->in))
        return -EPROTO;
    channel->held = -1;
    channel->received = 0;
    return 1;
}

/* Writes a line, or drops it where there is no room: nobody who reads slowly stops the processes.
 * They write to the same place, and up to PIPE_BUF bytes a pipe does not mix. */
__attribute__((format(printf, 1, 2)))
static void say(const char *format, ...)
{
    char line[PIPE_BUF];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(line, sizeof line - 1, format, args);
    va_end(args);
    if (len < 0 || (size_t)len > sizeof line - 2)
        return;
    line[len] = '\n';
    struct pollfd writable = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (poll(&writable, 1, 1000) > 0 && write(STDOUT_FILENO, line, (size_t)len + 1) < 0)
        return; /* There is no better place to complain. */
}

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "channel: %s: %s\n", what, why);
    return -1;
}

/* ---- A worker ---- */

static struct channel master, peers[WORKERS];
static int own_slot, file = -1, listeners[LISTENERS], listening;

/* The file is one open file for all, with one position: each line goes behind the last. */
static void answer(int connection, int accepted_by)
{
    char line[80];
    int len = snprintf(line, sizeof line, "Worker %d answers a client of worker %d.\n", own_slot,
                       accepted_by);
    if (write(file, line, (size_t)len) < len)
        fail("writing to the file", "not all of the line");
    /* A new connection takes a few bytes without waiting. */
    if (send(connection, line, (size_t)len, MSG_NOSIGNAL) < len)
        fail("answering", "the client is gone");
    close(connection);
}

/* To the next worker that takes it now; when none does, this one answers. */
static void pass_on(int connection)
{
    struct record record = {PASS_CONNECTION, getpid(), own_slot, connection};
    for (int i = 1; i < WORKERS; i++) {
        struct channel *peer = &peers[(own_slot + i) % WORKERS];
        if (peer->fd >= 0 && send_record(peer, record) == 0) {
            close(connection);
            return;
        }
    }
    answer(connection, own_slot);
}

/* Returns 1 when it is time to end, -1 when the master asks for what is impossible. */
static int obey(const struct record *record)
{
    switch (record->command) {
    case OPEN_CHANNEL:
        close_channel(&peers[record->slot]);
        open_channel(&peers[record->slot], record->descriptor, record->pid);
        say("Worker %d: a channel to worker %d.", own_slot, record->slot);
        return 0;
    case CLOSE_CHANNEL:
        close_channel(&peers[record->slot]);
        say("Worker %d: no channel to worker %d any more.", own_slot, record->slot);
        return 0;
    case PASS_FILE:
        if (file >= 0)
            close(file);
        file = record->descriptor;
        say("Worker %d: a file.", own_slot);
        return 0;
    case PASS_LISTENER:
        if (listening == LISTENERS) {
            close(record->descriptor);
            return -1;
        }
        listeners[listening++] = record->descriptor;
        say("Worker %d: a listening socket.", own_slot);
        return 0;
    case PASS_CONNECTION:
        answer(record->descriptor, record->slot);
        return 0;
    default:
        return 1;
    }
}

/* Returns 1 when it is time to end, -1 when the channel is of no use, and sets *rest when there is
 * no room for a descriptor. */
static int attend_channel(struct channel *channel, int *rest)
{
    int result = flush_channel(channel);
    if (result < 0 && result != -EAGAIN)
        return -1;
    result = receive_record(channel);
    if (result == 1)
        return obey(&channel->in);
    if (result == -EMFILE || result == -ENFILE)
        *rest = 1; /* It stays queued, and polling at once would spin. */
    else if (result < 0)
        return -1;
    return 0;
}

/* Ends when told to, and when the master is gone, which closes its channel. */
static int work(void)
{
    for (int rest = 0;;) {
        struct channel *channels[1 + WORKERS] = {&master};
        struct pollfd polled[1 + WORKERS + LISTENERS] = {{.fd = -1}};
        for (int i = 0; i < WORKERS; i++)
            channels[1 + i] = &peers[i];
        for (int i = 0; i < 1 + WORKERS; i++)
            polled[i] = (struct pollfd){.fd = rest ? -1 : channels[i]->fd,
                                        .events = channels[i]->unsent ? POLLIN | POLLOUT : POLLIN};
        for (int i = 0; i < LISTENERS; i++)
            polled[1 + WORKERS + i] = (struct pollfd){
                .fd = rest || i >= listening ? -1 : listeners[i], .events = POLLIN};
        int ready = poll(polled, 1 + WORKERS + LISTENERS, rest ? 100 : -1);
        rest = 0;
        for (int i = 0; ready > 0 && i < 1 + WORKERS; i++) {
            int result = polled[i].revents ? attend_channel(channels[i], &rest) : 0;
            if (result != 0 && channels[i] == &master)
                return result > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
            if (result < 0)
                close_channel(channels[i]);
        }
        for (int i = 0; ready > 0 && i < listening; i++) {
            if (!polled[1 + WORKERS + i].revents)
                continue;
            /* All workers have found it ready, and one gets the client. */
            int connection = accept4(listeners[i], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (connection >= 0 && i == 0)
                answer(connection, own_slot);
            else if (connection >= 0)
                pass_on(connection);
            else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                rest = 1;
        }
    }
}

/* ---- The master ---- */

static struct channel workers[WORKERS];
static int count, quitting;

/* The ending signals are blocked except in ppoll(2), which lets them in and waits in one step. */
static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
enum { ENDINGS = sizeof ending / sizeof ending[0] };
static sigset_t let_in;
static volatile sig_atomic_t caught;

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

/* A channel that became descriptor 1 would receive what is meant for the reader. */
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
    /* When a descriptor is ready, the kernel returns without delivering pending signals. With none
     * to look at it delivers them. */
    if (ready > 0)
        ppoll(NULL, 0, &at_once, &let_in);
    return ready;
}

/* Makes sure that a record is sent whole. A worker that takes nothing for some seconds is killed,
 * as one that is gone: attend() finds the end of its channel. */
static void deliver(int slot, struct record record)
{
    struct channel *worker = &workers[slot];
    int sent = 0;
    for (int tries = 0; worker->fd >= 0 && tries < 30;) {
        int result = sent ? flush_channel(worker) : send_record(worker, record);
        if (result == 0 && sent++)
            return;
        if (result == 0)
            continue;
        if (result != -EAGAIN && result != -ETOOMANYREFS)
            break;
        struct pollfd takes = {.fd = result == -EAGAIN ? worker->fd : -1, .events = POLLOUT};
        wait_for(&takes, 1, 100);
        tries++;
    }
    if (worker->fd >= 0)
        kill(worker->pid, SIGKILL);
}

/* The channel to a worker has ended, as the worker has or is about to. */
static void lose(int slot)
{
    struct channel *worker = &workers[slot];
    int status = 0;
    close_channel(worker);
    kill(worker->pid, SIGKILL);
    waitpid(worker->pid, &status, 0);
    if (WIFSIGNALED(status))
        say("Master: worker %d was killed by signal %d.", slot, WTERMSIG(status));
    else
        say("Master: worker %d ended with exit status %d.", slot, WEXITSTATUS(status));
    for (int i = 0; i < count && !quitting; i++)
        deliver(i, (struct record){CLOSE_CHANNEL, worker->pid, slot, -1});
}

/* Waits for a descriptor, and looks after the workers meanwhile, of which nothing is heard but
 * their end. Returns 1 when it is ready, 0 when not yet, -1 after a signal. */
static int attend(int fd, int milliseconds)
{
    struct pollfd polled[1 + WORKERS] = {{.fd = fd, .events = POLLIN}};
    for (int i = 0; i < count; i++)
        polled[1 + i] = (struct pollfd){.fd = workers[i].fd, .events = POLLIN};
    int ready = wait_for(polled, 1 + (nfds_t)count, milliseconds);
    if (caught && !quitting)
        return -1;
    for (int i = 0; ready > 0 && i < count; i++)
        if (polled[1 + i].revents && workers[i].fd >= 0)
            lose(i);
    return ready > 0 && polled[0].revents;
}

static int start_worker(void)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return fail("socketpair", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        /* A terminal sends these to all; it is for the master to end the workers. */
        signal(SIGINT, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        signal(SIGTERM, SIG_DFL);
        sigprocmask(SIG_SETMASK, &let_in, NULL);
        /* With a duplicate of the master's end of a channel here, that channel would not end with
         * the master. */
        close(pair[0]);
        for (int i = 0; i < count; i++)
            close_channel(&workers[i]);
        for (int i = 0; i < WORKERS; i++)
            open_channel(&peers[i], -1, 0);
        open_channel(&master, pair[1], getppid());
        own_slot = count;
        _exit(work());
    }
    int error = errno;
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return fail("fork", strerror(error));
    }
    open_channel(&workers[count++], pair[0], pid);
    return 0;
}

static int open_listener(struct sockaddr_in *address)
{
    socklen_t len = sizeof *address;
    *address = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)address, len) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &len) < 0)
        return fail("opening a listening socket", strerror(errno));
    return fd;
}

/* A pair of workers has a socketpair of its own. Were there one channel to a worker for all the
 * others, the records of two senders could get into each other where one is sent in pieces. */
static int introduce(int a, int b)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return fail("socketpair", strerror(errno));
    deliver(a, (struct record){OPEN_CHANNEL, workers[b].pid, b, pair[0]});
    deliver(b, (struct record){OPEN_CHANNEL, workers[a].pid, a, pair[1]});
    close(pair[0]);
    close(pair[1]);
    return 0;
}

/* A stream keeps the order: who has a listening socket has the file and the channels as well. What
 * is passed lives on in the workers, and the master closes its own. */
static int equip(int journal, struct sockaddr_in *addresses)
{
    for (int i = 0; i < count; i++)
        deliver(i, (struct record){PASS_FILE, workers[i].pid, i, journal});
    for (int a = 0; a < count; a++)
        for (int b = a + 1; b < count; b++)
            if (introduce(a, b) < 0)
                return -1;
    for (int which = 0; which < LISTENERS; which++) {
        int fd = open_listener(&addresses[which]);
        if (fd < 0)
            return -1;
        for (int i = 0; i < count; i++)
            deliver(i, (struct record){PASS_LISTENER, workers[i].pid, i, fd});
        close(fd);
    }
    return 0;
}

/* Plays a client. */
static int ask(const struct sockaddr_in *address)
{
    char text[80];
    size_t len = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail("socket", strerror(errno));
    ssize_t n = connect(fd, (const struct sockaddr *)address, sizeof *address);
    if (n == 0 || errno == EINPROGRESS)
        n = 1;
    for (int tries = 0; n > 0 && tries < 100;) {
        int ready = attend(fd, 100);
        if (ready < 0)
            break;
        tries += ready == 0;
        if (ready == 0)
            continue;
        n = recv(fd, text + len, sizeof text - len, 0);
        if (n > 0)
            len += (size_t)n;
        else if (n < 0 && (errno == EAGAIN || errno == EINTR))
            n = 1;
    }
    close(fd);
    if (caught)
        return 0;
    if (len == 0 || text[len - 1] != '\n')
        return fail("a client", "has got no answer");
    say("Client: %.*s", (int)len - 1, text);
    return 0;
}

static int ask_often(const struct sockaddr_in *addresses)
{
    int status = 0;
    for (int i = 0; i < 2 * count && status == 0 && !caught; i++)
        status = ask(&addresses[i % LISTENERS]);
    return status;
}

static int demonstrate(int journal)
{
    struct sockaddr_in addresses[LISTENERS];
    if (equip(journal, addresses) < 0 || ask_often(addresses) < 0)
        return -1;
    if (caught)
        return 0;
    kill(workers[0].pid, SIGKILL);
    while (workers[0].fd >= 0 && attend(-1, -1) >= 0)
        ;
    return ask_often(addresses);
}

/* Workers that do not take their leave within some seconds are killed. */
static void quit(void)
{
    quitting = 1;
    for (int i = 0; i < count; i++)
        deliver(i, (struct record){QUIT, workers[i].pid, i, -1});
    for (int i = 0, tries = 0; i < count; tries++) {
        if (workers[i].fd < 0)
            i++;
        else if (tries < 30 + 2 * WORKERS)
            attend(-1, 100);
        else
            lose(i);
    }
}

int main(int argc, char **argv)
{
    catch_signals();
    if (argc < 2 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    char *end;
    long wanted = strtol(argv[1], &end, 10);
    if (argc != 2 || *end || wanted < 2 || wanted > WORKERS) {
        fputs(usage, stderr);
        return EXIT_FAILURE;
    }
    int status = open_standard_descriptors();
    while (status == 0 && count < wanted)
        status = start_worker();
    /* Opened only now, so that no worker has it from its birth. */
    int journal = memfd_create("journal", MFD_CLOEXEC);
    if (status == 0 && journal < 0)
        status = fail("memfd_create", strerror(errno));
    if (status == 0)
        status = demonstrate(journal);
    quit();
    say("Master: the workers have written %ld bytes.", (long)lseek(journal, 0, SEEK_CUR));
    if (status < 0)
        return EXIT_FAILURE;
    say(caught == 0         ? "Done."
        : caught == SIGINT  ? "Interrupted; exiting."
        : caught == SIGTERM ? "Terminated."
                            : "Hanging up.");
    return EXIT_SUCCESS;
}
