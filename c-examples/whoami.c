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

#include "service.h"

static const char usage[] =
    "Usage: whoami listen SOCKET\n"
    "       whoami connect SOCKET\n"
    "listen makes the Unix socket SOCKET and prints who connects to it; connect connects to it.\n";

enum {
    PATIENCE = 2000, /* milliseconds, for a first message; or until others need the place */
    GROUPS = 65536,  /* NGROUPS_MAX of the kernel, getgroups(2) */
};

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

static int keep(const struct guest *guest)
{
    (void)guest;
    return 1;
}

/* When its first message is there, or has not come in time. */
static int show(const struct guest *guest, int is_late)
{
    (void)is_late;
    show_peer(guest->fd);
    show_sender(guest->fd);
    return 0;
}

static int visit(const char *path)
{
    static const char message[] = "Who am I?";
    int fd = connect_to_name(path);
    if (fd < 0)
        return -1;
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
    char **given = begin(argc, argv, "whoami", usage, "", 2, 2);
    int listens = strcmp(given[0], "listen") == 0;
    if (!listens && strcmp(given[0], "connect") != 0)
        show_usage(stderr, EXIT_FAILURE);
    const char *path = socket_name(given[1]);
    if (!listens)
        return visit(path) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
    catch_signals();
    return welcome_guests(path, ANCILLARY_PASSCRED, PATIENCE, keep, show);
}
