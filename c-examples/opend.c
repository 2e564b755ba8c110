/* opend - opens files for processes that may not open them themselves
 *
 *   opend SOCKET UID...
 *
 * Listens on the Unix socket SOCKET. A process of one of the users UID... gets every file that
 * this server can open, so run it as a user that can open no others; processes of other users are
 * refused. What is sent is a descriptor with no more rights than were asked for (see open.c for
 * the client). By /proc/self/fd the client can open the file anew with others, where the
 * permissions of the file itself let it, whatever those of the directories above. The server ends
 * with SIGINT, SIGTERM or SIGHUP.
 *
 * The protocol, over a channel in the plain format of ancillary_channel(3), one request each:
 *
 *   request   Its type is 1 to read, 2 to write, 3 for both, 4 to append; the payload is the path,
 *             which begins with a slash. Nothing is created or truncated here, and only regular
 *             files are opened. Whoever may append may also write: it can clear O_APPEND (fcntl(2))
 *             and truncate.
 *   answer    Its type is 0, and the descriptor comes with it; or it is an errno value, and the
 *             payload says what is wrong. Then the server closes.
 *
 * A refusal can come before the request has been sent whole. A client that cannot send any more
 * reads the answer all the same.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */

#include "service.h"

static const char usage[] =
    "Usage: opend SOCKET UID...\n"
    "Makes the Unix socket SOCKET and opens files for processes of the users UID..., which are\n"
    "numbers. They get every file that opend itself can open.\n";

enum { PATIENCE = 5000 }; /* milliseconds, for a request; or until others need the place */

/* What a request is for, by its type. */
static const char *const modes[] = {"?", "r", "w", "rw", "a"};
static const int mode_flags[] = {0, O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_APPEND};

static char **allowed_users;
static struct endpoint clients[GUESTS + 1]; /* By their places. */

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
static int serve_request(size_t mode, const char *path, size_t len, const char **text)
{
    *text = mode == 0            ? "The mode is none of r, w, rw and a"
            : strlen(path) < len ? "The path has a zero byte"
            : path[0] != '/'     ? "The path does not begin with a slash"
                                 : NULL;
    return *text ? -EINVAL : open_file(path, mode_flags[mode]);
}

/* Answers with a descriptor, or with a negative errno value and a text (NULL: the usual one).
 * This is all that a client is ever sent, and the buffer of a new socket has room for it: so this
 * need not wait for a client that does not read. What is sent can be read after we have closed. */
static void answer(const struct guest *client, int result, const char *text, const char *asked)
{
    if (!text)
        text = result < 0 ? strerror(-result) : "";
    const struct ancillary_frame frame = {.type = result < 0 ? (uint32_t)-result : 0,
                                          .data = text, .len = strlen(text),
                                          .fds = &result, .nfds = result >= 0};
    int sent = ancillary_channel_send(&clients[client->place].channel, &frame, 0);
    if (sent == -ETOOMANYREFS) {
        /* Too many descriptors are on their way to clients that do not receive them (unix(7)).
         * They cannot be called back, and may never be received. */
        answer(client, sent, "Too many descriptors wait to be received", asked);
        return;
    }
    if (sent < 0 && sent != -EPIPE && sent != -ECONNRESET) /* Clients may go when they like. */
        fail("answering", strerror(-sent));
    say(&out, "User %lu, process %ld: %s%s%s", (unsigned long)client->creds.uid,
        (long)client->creds.pid, result < 0 ? text : "Opened", *asked ? ": " : "",
        printable(asked));
}

/* What is wrong where ancillary_channel_recv() did not bring one request. */
static int judge(int got, const char **text)
{
    *text = got == 1           ? "More came than one request"
            : got == -EAGAIN   ? "The request did not come in time"
            : got == -EPROTO   ? "The request has no end, or descriptors came with it"
            : got == -EMSGSIZE ? "The request is too long"
            : got == -EBADMSG  ? "Malformed request"
                               : NULL;
    return got == -EAGAIN ? -ETIMEDOUT : got == 1 || got == -EPROTO ? -EBADMSG : got;
}

/* Takes what has come from a client. Returns whether there is more to wait for. */
static int hear(const struct guest *client, int is_late)
{
    struct ancillary_channel *channel = &clients[client->place].channel;
    struct ancillary_frame request, rest;
    char path[PAYLOAD + 1] = "", asked[sizeof path + sizeof " rw"] = "";
    const char *text;
    size_t mode = 0;
    int is_one = 0;
    int got = ancillary_channel_recv(channel, &request, 0);
    if (got == -EAGAIN && !is_late)
        return 1;
    if (got == 0 || got == -ECONNRESET)
        return 0;
    if (got == 1) {
        mode = request.type < sizeof modes / sizeof modes[0] ? request.type : 0;
        memcpy(path, request.data, request.len);
        snprintf(asked, sizeof asked, "%s %s", path, modes[mode]);
        got = ancillary_channel_recv(channel, &rest, 0);
        is_one = got == 0 || got == -EAGAIN;
    }
    int result = is_one ? serve_request(mode, path, request.len, &text) : judge(got, &text);
    answer(client, result, text, asked);
    if (result >= 0)
        close(result);
    return 0;
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

/* Who may not come in is told so at once: only those who are allowed can take up the places. */
static int greet(const struct guest *client)
{
    struct endpoint *end = &clients[client->place];
    open_endpoint(end, client->fd, ANCILLARY_DONTWAIT);
    /* It never holds a descriptor that would have to be dropped: those of answers are borrowed, and
     * requests have none. */
    end->channel.in_nfds = 0;
    if (!is_allowed(client->creds.uid)) {
        answer(client, -EPERM, "This user may not have files opened", "");
        return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    catch_signals();
    allowed_users = begin(argc, argv, "opend", usage, "", 2, INT_MAX);
    const char *path = socket_name(*allowed_users++);
    for (char **user = allowed_users; *user; user++) {
        /* The largest is (uid_t)-1, nobody's. */
        if (!is_number(*user, 0, UINT32_MAX - 1)) {
            fail(*user, "not the number of a user");
            return EXIT_FAILURE;
        }
    }
    return welcome_guests(path, 0, PATIENCE, greet, hear);
}
