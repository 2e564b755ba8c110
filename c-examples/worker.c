/* worker - runs a command for each connection that a server passes on, like inetd
 *
 *   worker WORKER COMMAND [ARGS...]
 *
 * Listens on the Unix socket WORKER, a path or `@` and an abstract name, for servers (see
 * server.c). For each connection that one passes on, of which a message may have several, it starts
 * COMMAND with that as standard input, output and error, made blocking; servers take turns. It ends
 * with SIGINT, SIGTERM or SIGHUP; commands still running go on.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#include "service.h"

#include <dirent.h>
#include <sys/wait.h>

static const char usage[] =
    "Usage: worker WORKER COMMAND [ARGS...]\n"
    "Receives connections from a server through the Unix socket WORKER, which it makes, and runs\n"
    "COMMAND for each, with the connection as standard input, output and error.\n";

enum { SERVERS = 64 }; /* That many are listened to at once. */

/* COMMAND gets descriptors 0, 1 and 2 and no other. A connection never becomes one of the three
 * here, and what was open when this program started is closed on exec like what it opens. */
static int arrange_descriptors(void)
{
    DIR *open_ones = opendir("/proc/self/fd");
    if (!open_ones)
        return fail("/proc/self/fd", strerror(errno));
    for (struct dirent *entry; (entry = readdir(open_ones));) {
        int fd = atoi(entry->d_name);
        if (fd > 2)
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    closedir(open_ones);
    /* In a child that could not run COMMAND standard error is the connection already. */
    int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return fail("duplicating standard error", strerror(errno));
    err.fd = fd;
    return 0;
}

/* Whether a folder of PATH has a file of that name. Of one that may not be searched execvp(3) says
 * EACCES, also if COMMAND is nowhere. */
static int is_in_path(const char *name)
{
    const char *folder = getenv("PATH");
    while (folder) {
        char file[PATH_MAX];
        const char *end = strchrnul(folder, ':');
        int len = (int)(end - folder);
        snprintf(file, sizeof file, "%.*s/%s", len ? len : 1, len ? folder : ".", name);
        if (access(file, F_OK) == 0)
            return 1;
        folder = *end ? end + 1 : NULL;
    }
    return 0;
}

/* Event loops accept what is non-blocking, and COMMAND would take for an error that there is nothing
 * to read yet. This belongs to the open file, and so holds for all who have it: the server is
 * expected to have passed the connection on for good. */
static int make_blocking(int connection)
{
    int flags = fcntl(connection, F_GETFL);
    return flags < 0 ? -1 : fcntl(connection, F_SETFL, flags & ~O_NONBLOCK);
}

/* In the child. */
static void run(char **command, int connection)
{
    release_signals();
    if (make_blocking(connection) < 0) {
        fail("fcntl", strerror(errno));
        _exit(126);
    }
    int standard[] = {connection, connection, connection};
    int placed = ancillary_place_fds(standard, 3, 0);
    if (placed < 0) {
        fail("ancillary_place_fds", strerror(-placed));
        _exit(126);
    }
    execvp(command[0], command);
    int error = errno;
    if (error == EACCES && !strchr(command[0], '/') && !is_in_path(command[0]))
        error = ENOENT;
    fail(command[0], strerror(error));
    _exit(error == ENOENT ? 127 : 126); /* As a shell would. */
}

static void reap_children(void)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (WIFSIGNALED(status))
            say(&out, "Process %ld was killed by signal %d.", (long)pid, WTERMSIG(status));
        else if (WEXITSTATUS(status) == 126 || WEXITSTATUS(status) == 127)
            say(&out, "Process %ld ended with exit status %d.", (long)pid, WEXITSTATUS(status));
    }
}

/* The links to servers. The connections of a message are held here until each has a process, and
 * nothing else is received from that server in the meantime. */
static struct link {
    int fd;
    pid_t pid;            /* The server: the process that made it. */
    unsigned long served; /* When, in order, a connection was started last, */
    int ready;            /* whether there is something to receive, */
    int delayed;          /* for which there was no room. */
    int connections[ANCILLARY_MAX_FDS];
    size_t count, next;   /* Received, and the first that has no process yet. */
} links[SERVERS];
static int link_count;

static int holds_some(const struct link *link)
{
    return link->next < link->count;
}

static int server_holds_none(const struct link *link)
{
    for (int i = 0; i < link_count; i++)
        if (links[i].pid == link->pid && holds_some(&links[i]))
            return 0;
    return 1;
}

static int may_receive(const struct link *link)
{
    return link->ready && server_holds_none(link);
}

/* When a server was served last over any link; 0 if it has none. */
static unsigned long last_served(pid_t pid)
{
    unsigned long last = 0;
    for (int i = 0; i < link_count; i++)
        if (links[i].pid == pid && links[i].served > last)
            last = links[i].served;
    return last;
}

/* Of the links that fit, one of the server that was served least recently, or NULL. So no server
 * gets more turns by many links, or by large messages. */
static struct link *find_next(int (*fits)(const struct link *))
{
    struct link *found = NULL;
    unsigned long earliest = 0;
    for (struct link *link = links; link < links + link_count; link++) {
        if (!fits(link))
            continue;
        unsigned long last = last_served(link->pid);
        if (!found || last < earliest || (last == earliest && link->served < found->served)) {
            found = link;
            earliest = last;
        }
    }
    return found;
}

/* The link to do without: of the server that has most of them, the one that was silent longest. So
 * one that makes many and says nothing keeps no other away. */
static struct link *find_dispensable(void)
{
    struct link *found = NULL;
    int most = 0;
    for (struct link *link = links; link < links + link_count; link++) {
        int count = 0;
        for (int i = 0; i < link_count; i++)
            count += links[i].pid == link->pid;
        if (count > most || (count == most && link->served < found->served)) {
            found = link;
            most = count;
        }
    }
    return found;
}

/* Those behind move up: of links that are alike the one that came first stays in front. */
static void close_link(struct link *link)
{
    while (holds_some(link))
        close(link->connections[link->next++]);
    close(link->fd);
    link_count--;
    memmove(link, link + 1, (size_t)(links + link_count - link) * sizeof *link);
    say(&out, "Closed connection to server.");
}

static unsigned long next_moment(void)
{
    static unsigned long moment;
    return ++moment;
}

static struct link *add_link(int fd)
{
    struct ancillary_creds creds;
    if (link_count == SERVERS) {
        fail("too many servers", "one that was silent is dropped");
        close_link(find_dispensable());
    }
    if (ancillary_peer_creds(fd, &creds) < 0)
        creds.pid = 0;
    /* Another link neither brings a server's turn forward nor puts it off. */
    unsigned long served = last_served(creds.pid);
    links[link_count] = (struct link){
        .fd = fd, .pid = creds.pid, .served = served ? served : next_moment()};
    return &links[link_count++];
}

/* A file or a pipe would make COMMAND wait, or write where nobody reads. */
static int are_sockets(const int *fds, size_t count)
{
    struct stat file;
    for (size_t i = 0; i < count; i++)
        if (fstat(fds[i], &file) < 0 || !S_ISSOCK(file.st_mode))
            return 0;
    return 1;
}

/* Receives the connections of the next message. Returns -1 if the link is of no more use; with
 * *rest it is not the time to try again at once. */
static int receive_connections(struct link *link, int *rest)
{
    link->next = 0;
    link->count = ANCILLARY_MAX_FDS;
    /* With ANCILLARY_LOSSLESS a message stays in the queue until there is room for all of it. */
    ssize_t n = ancillary_recv_fds(link->fd, link->connections, &link->count, NULL, 0,
                                   ANCILLARY_LOSSLESS);
    if (link->count > 0) {
        link->delayed = 0;
        if (are_sockets(link->connections, link->count))
            return 0;
        return fail("malformed message", "not all that came with it are connections");
    }
    switch (n) {
    case -EAGAIN:
        return 0;
    case -EMFILE: case -ENFILE: case -ENOMEM: case -ENOBUFS:
        if (!link->delayed++)
            fail("connections are delayed", strerror(errno));
        *rest = 1;
        return 0;
    case 0: case -ECONNRESET:
        return -1;
    case 1:
        return fail("malformed message", "no descriptor came with it");
    default:
        return fail("receiving a connection", strerror(errno));
    }
}

/* Starts a process for the next connection of a link. Returns whether that worked. */
static int start(char **command, struct link *link)
{
    static int complained;
    int connection = link->connections[link->next];
    pid_t pid = fork();
    if (pid == 0)
        run(command, connection);
    if (pid < 0) {
        /* At a limit of processes: when a child ends, or after a while, there is room. */
        if (!complained++)
            fail("fork", strerror(errno));
        return 0;
    }
    complained = 0;
    close(connection);
    link->next++;
    link->served = next_moment();
    return 1;
}

/* Returns 0 after a signal, -1 when the service cannot go on. */
static int serve(int listener, char **command)
{
    int rest = 0; /* Whether to wait before the next attempt: for a child to end, which may make
                   * room, or a little. Polling would find the queue not empty and spin. */
    for (;;) {
        reap_children();
        struct pollfd polled[1 + SERVERS] = {{.fd = listener, .events = POLLIN}};
        for (int i = 0; i < link_count; i++)
            polled[1 + i] = (struct pollfd){.fd = links[i].fd, .events = POLLIN};
        /* In a rest a link must not be polled at all: POLLHUP cannot be masked. */
        nfds_t count = rest ? 0 : 1 + (nfds_t)link_count;
        int time = rest ? 100 : find_next(holds_some) ? 0 : -1;
        if (wait_for(polled, count, time) < 0 && errno != EINTR)
            return fail("ppoll", strerror(errno));
        if (caught)
            return 0;
        for (int i = 0; i < link_count; i++)
            links[i].ready = polled[1 + i].revents != 0;
        rest = 0;
        for (struct link *link; (link = find_next(may_receive));) {
            link->ready = 0;
            if (receive_connections(link, &rest) < 0)
                close_link(link);
        }
        /* Just one, so that neither a signal nor whoever comes next waits for more. */
        struct link *next = find_next(holds_some);
        int done = next && start(command, next);
        rest = rest || (next && !done);
        /* Up to a link that is heard in the next turn: it need not wait for those before it in the
         * queue, of servers that have connections here already. */
        for (int left = polled[0].revents ? SOMAXCONN : 0; left > 0; left--) {
            int link = take_connection(listener, SOCK_NONBLOCK | SOCK_CLOEXEC, &rest);
            if (link == -2)
                return -1;
            if (link < 0)
                break;
            say(&out, "Connection from the server.");
            done = 1;
            if (server_holds_none(add_link(link)))
                break;
        }
        /* Where one link is delayed, others need not be. */
        rest = rest && !done;
    }
}

/* There is nothing to do: it has ended the wait. */
static void on_child(int number)
{
    (void)number;
}

int main(int argc, char **argv)
{
    struct stat file;
    catch_signals();
    handle_signal(SIGCHLD, on_child);
    char **command = begin(argc, argv, "worker", usage, "", 2, COMMAND);
    const char *name = socket_name(*command++);
    if (arrange_descriptors() < 0)
        return EXIT_FAILURE;
    int listener = listen_on_name(name, 0600, 0, &file);
    int status = caught ? 0 : listener;
    if (listener >= 0) {
        say(&out, "Listening for descriptors on %s.", name);
        status = serve(listener, command);
        remove_file(name, &file);
    }
    if (status < 0)
        return EXIT_FAILURE;
    farewell(caught);
    return EXIT_SUCCESS;
}
