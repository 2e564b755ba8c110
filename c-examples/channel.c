/* channel - a master and its workers, which pass descriptors to each other over channels
 *
 *   channel WORKERS
 *
 * As web servers do: the master forks WORKERS processes, each with a channel to it, and passes
 * them what was opened only afterwards: a file, two listening sockets, and channels to each other.
 * The workers answer clients; what comes in on the second socket each passes on to its neighbour.
 * The master plays the clients, lets a worker die, goes on without it, and ends. SIGINT, SIGTERM
 * and SIGHUP end it earlier.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#include "service.h"

#include <sys/mman.h>
#include <sys/wait.h>

static const char usage[] =
    "Usage: channel WORKERS\n"
    "Shows how WORKERS (2 to 16) processes and their master pass descriptors to each other.\n";

enum { WORKERS = 16, LISTENERS = 2 };

/* ---- Messages ---- */

/* What they are, and the one descriptor that comes with most. The id of a message is the number of
 * the worker that it is about. */
enum message {
    CHANNEL = 1, /* a channel to that worker */
    JOURNAL,     /* a file to write to */
    LISTENER,    /* a listening socket */
    CLIENT,      /* a connection that that worker has accepted */
    GONE,        /* none: that worker has ended */
    QUIT,        /* none: it is time to end */
};

/* A process has a channel to each worker but itself; a worker has that to the master instead. */
static struct endpoint channels[WORKERS];

/* The descriptor (-1: none) stays open here. Returns 0, or a negative errno value, and then nothing
 * of the message was sent. */
static int send_message(int to, enum message type, int about, int fd)
{
    const struct ancillary_frame frame = {
        .type = type, .id = (uint32_t)about, .fds = &fd, .nfds = fd >= 0};
    return ancillary_channel_send(&channels[to].channel, &frame, 0);
}

static void open_channel(int to, int sock)
{
    /* A message waits in the queue while there is no room for its descriptor. */
    open_endpoint(&channels[to], sock, ANCILLARY_LOSSLESS | ANCILLARY_DONTWAIT);
}

/* ---- A worker ---- */

static int self = -1, journal = -1, listeners[LISTENERS] = {-1, -1}, listening;

/* The file is one open file for all, with one position: each line goes behind the last. */
static void answer(int client, int accepted_by)
{
    char line[80];
    int len = snprintf(line, sizeof line, "Worker %d answers a client of worker %d.\n", self,
                       accepted_by);
    if (write(journal, line, (size_t)len) < len)
        fail("writing to the file", "not all of the line");
    /* A new connection takes a few bytes without waiting. */
    if (send(client, line, (size_t)len, MSG_NOSIGNAL) < len)
        fail("answering", "the client is gone");
    close(client);
}

/* To the next worker that takes it at once; when none does, this one answers. */
static void pass_on(int client)
{
    for (int i = 1; i < WORKERS; i++) {
        int next = (self + i) % WORKERS;
        if (channels[next].channel.sock >= 0 && send_message(next, CLIENT, self, client) == 0) {
            close(client);
            return;
        }
    }
    answer(client, self);
}

/* Returns 1 when it is time to end, -1 when the message is none for this process: workers send each
 * other clients alone, and the master nothing. */
static int obey(struct ancillary_frame *frame, int from)
{
    if (self < 0 || (from != self && frame->type != CLIENT) || frame->id >= WORKERS ||
        frame->type < CHANNEL || frame->type > QUIT || frame->nfds != (frame->type <= CLIENT) ||
        (frame->type == JOURNAL && journal >= 0) ||
        (frame->type == LISTENER && listening == LISTENERS))
        return -1;
    int about = (int)frame->id, fd = frame->nfds ? take_fd(frame, 0) : -1;
    switch (frame->type) {
    case CHANNEL:
        close_endpoint(&channels[about]);
        open_channel(about, fd);
        say(&out, "Worker %d: a channel to worker %d.", self, about);
        return 0;
    case JOURNAL:
        journal = fd;
        say(&out, "Worker %d: a file.", self);
        return 0;
    case LISTENER:
        listeners[listening++] = fd;
        say(&out, "Worker %d: a listening socket.", self);
        return 0;
    case CLIENT:
        answer(fd, about);
        return 0;
    case GONE:
        close_endpoint(&channels[about]);
        say(&out, "Worker %d: no channel to worker %d any more.", self, about);
        return 0;
    default:
        return 1;
    }
}

/* Sends what waits and obeys what has come. Returns 1 when it is time to end, -1 when the channel
 * is of no use, and sets *rest when there is no room for a descriptor: polling at once would
 * spin. */
static int attend_channel(int from, int *rest)
{
    struct ancillary_frame frame;
    int result = ancillary_channel_flush(&channels[from].channel, 0);
    if (result < 0 && result != -EAGAIN)
        return -1;
    while ((result = ancillary_channel_recv(&channels[from].channel, &frame, 0)) == 1)
        if ((result = obey(&frame, from)) != 0)
            return result;
    int is_full = result == -EMFILE || result == -ENFILE;
    *rest |= is_full;
    return is_full || result == -EAGAIN ? 0 : -1;
}

/* Returns -1 if no client can come any more. */
static int accept_client(int which, int *rest)
{
    int client = take_connection(listeners[which], SOCK_NONBLOCK | SOCK_CLOEXEC, rest);
    if (client >= 0 && which == 0)
        answer(client, self);
    else if (client >= 0)
        pass_on(client);
    return client == -2 ? -1 : 0;
}

/* Ends when told to, and when the master is gone, which closes its channel. */
static int work(void)
{
    for (int rest = 0;;) {
        struct pollfd polled[WORKERS + LISTENERS];
        for (int i = 0; i < WORKERS; i++)
            polled[i] = events_of(&channels[i]);
        for (int i = 0; i < LISTENERS; i++)
            polled[WORKERS + i] = (struct pollfd){.fd = listeners[i], .events = POLLIN};
        int ready = rest ? poll(NULL, 0, 100) : poll(polled, WORKERS + LISTENERS, -1);
        rest = 0;
        for (int i = 0; ready > 0 && i < WORKERS; i++) {
            int result = polled[i].revents ? attend_channel(i, &rest) : 0;
            if (result != 0 && i == self)
                return result > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
            if (result < 0)
                close_endpoint(&channels[i]);
        }
        for (int i = 0; ready > 0 && i < LISTENERS; i++)
            if (polled[WORKERS + i].revents && accept_client(i, &rest) < 0)
                return EXIT_FAILURE;
    }
}

/* ---- The master ---- */

static pid_t pids[WORKERS];
static int count, quitting;

static int is_here(int worker)
{
    return channels[worker].channel.sock >= 0;
}

/* A worker that takes nothing for some seconds is killed, as one that is gone: attend() finds the
 * end of its channel. */
static void deliver(int to, enum message type, int about, int fd)
{
    int result = is_here(to) ? send_message(to, type, about, fd) : 0;
    for (int tries = 0; (result == -EAGAIN || result == -ETOOMANYREFS) && tries < 30; tries++) {
        struct pollfd takes = {.fd = result == -EAGAIN ? channels[to].channel.sock : -1,
                               .events = POLLOUT};
        wait_for(&takes, 1, 100);
        result = send_message(to, type, about, fd);
    }
    if (result < 0)
        kill(pids[to], SIGKILL);
}

/* The channel to a worker has ended, as the worker has or is about to. */
static void lose(int worker)
{
    int status = 0;
    close_endpoint(&channels[worker]);
    kill(pids[worker], SIGKILL);
    waitpid(pids[worker], &status, 0);
    if (WIFSIGNALED(status))
        say(&out, "Master: worker %d was killed by signal %d.", worker, WTERMSIG(status));
    else
        say(&out, "Master: worker %d ended with exit status %d.", worker, WEXITSTATUS(status));
    for (int i = 0; i < count && !quitting; i++)
        deliver(i, GONE, worker, -1);
}

/* Waits for a descriptor, and looks after the workers meanwhile. Returns 1 when it is ready, 0 when
 * not yet, -1 after a signal. */
static int attend(int fd, int milliseconds)
{
    struct pollfd polled[WORKERS + 1];
    int full = 0;
    for (int i = 0; i < count; i++)
        polled[i] = events_of(&channels[i]);
    polled[count] = (struct pollfd){.fd = fd, .events = POLLIN};
    int ready = wait_for(polled, (nfds_t)count + 1, milliseconds);
    if (caught && !quitting)
        return -1;
    for (int i = 0; ready > 0 && i < count; i++)
        if (polled[i].revents && is_here(i) && (attend_channel(i, &full) < 0 || full))
            lose(i);
    return ready > 0 && polled[count].revents;
}

static int start_worker(void)
{
    int end;
    pid_t pid = fork_with_channel(&end);
    if (pid < 0)
        return fail("fork", strerror(errno));
    if (pid == 0) {
        /* A terminal sends these to all; it is for the master to end the workers. */
        signal(SIGINT, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        if (sigismember(&handled, SIGTERM) == 1)
            signal(SIGTERM, SIG_DFL);
        sigprocmask(SIG_SETMASK, &let_in, NULL);
        /* With a duplicate of the master's end of a channel here, that channel would not end with
         * the master. */
        for (int i = 0; i < count; i++)
            close_endpoint(&channels[i]);
        self = count;
        open_channel(self, end);
        _exit(work());
    }
    pids[count] = pid;
    open_channel(count++, end);
    return 0;
}

/* A pair of workers has a channel of its own: over one that several share, their messages could get
 * into each other. */
static int introduce(int a, int b)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return fail("socketpair", strerror(errno));
    deliver(a, CHANNEL, b, ends[0]);
    deliver(b, CHANNEL, a, ends[1]);
    ancillary_close_fds(ends, 2);
    return 0;
}

/* A stream keeps the order: who has a listening socket has the file and the channels as well. What
 * is passed lives on in the workers, and the master closes its own. */
static int equip(struct sockaddr_in *addresses)
{
    for (int i = 0; i < count; i++)
        deliver(i, JOURNAL, i, journal);
    for (int a = 0; a < count; a++)
        for (int b = a + 1; b < count; b++)
            if (introduce(a, b) < 0)
                return -1;
    for (int which = 0; which < LISTENERS; which++) {
        int fd = listen_on_port("0", &addresses[which]);
        if (fd < 0)
            return -1;
        for (int i = 0; i < count; i++)
            deliver(i, LISTENER, i, fd);
        close(fd);
    }
    return 0;
}

/* Plays a client. */
static int ask(const struct sockaddr_in *address)
{
    char text[80];
    size_t len = 0;
    int ready = 0;
    long long deadline = now() + 10000;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* This does not wait: the socket listens, and has few clients. */
    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) < 0)
        return fail("connecting", strerror(errno));
    for (ssize_t n = 1; n != 0 && ready >= 0 && now() < deadline;) {
        ready = attend(fd, 100);
        if (ready > 0 && (n = recv(fd, text + len, sizeof text - len, MSG_DONTWAIT)) > 0)
            len += (size_t)n;
    }
    close(fd);
    if (caught)
        return 0;
    if (len == 0 || text[len - 1] != '\n')
        return fail("a client", "has got no answer");
    say(&out, "Client: %.*s", (int)len - 1, text);
    return 0;
}

static int ask_often(const struct sockaddr_in *addresses)
{
    int status = 0;
    for (int i = 0; i < 2 * count && status == 0 && !caught; i++)
        status = ask(&addresses[i % LISTENERS]);
    return status;
}

static int demonstrate(void)
{
    struct sockaddr_in addresses[LISTENERS];
    if (equip(addresses) < 0 || ask_often(addresses) < 0)
        return -1;
    if (caught)
        return 0;
    kill(pids[0], SIGKILL);
    while (is_here(0) && attend(-1, -1) >= 0)
        ;
    return ask_often(addresses);
}

/* Workers that do not take their leave within some seconds are killed. */
static void quit(void)
{
    quitting = 1;
    for (int i = 0; i < count; i++)
        deliver(i, QUIT, i, -1);
    long long deadline = now() + 5000;
    for (int i = 0; i < count; i++) {
        while (is_here(i) && now() < deadline)
            attend(-1, 100);
        if (is_here(i))
            lose(i);
    }
}

int main(int argc, char **argv)
{
    int status = 0;
    catch_signals();
    /* Ignored, which is inherited, it would have children vanish before they are waited for. */
    signal(SIGCHLD, SIG_DFL);
    const char *wanted = *begin(argc, argv, "channel", usage, "", 1, 1);
    if (!is_number(wanted, 2, WORKERS))
        show_usage(stderr, EXIT_FAILURE);
    for (int i = 0; i < WORKERS; i++)
        open_channel(i, -1);
    while (status == 0 && count < atoi(wanted))
        status = start_worker();
    /* Opened only now, so that no worker has it from its birth. */
    journal = memfd_create("journal", MFD_CLOEXEC);
    if (status == 0 && journal < 0)
        status = fail("memfd_create", strerror(errno));
    if (status == 0)
        status = demonstrate();
    quit();
    say(&out, "Master: the workers have written %ld bytes.", (long)lseek(journal, 0, SEEK_CUR));
    if (status < 0)
        return EXIT_FAILURE;
    if (caught)
        farewell(caught);
    else
        say(&out, "Done.");
    return EXIT_SUCCESS;
}
