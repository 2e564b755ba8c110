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

#include "service.h"

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

/* Takes the next client. Returns -1 if none can come any more; with *rest it is not the time to try
 * again at once. */
static int accept_client(int listener, int *rest)
{
    static unsigned long number;
    int fd = make_room() < 0 ? delay_connections(rest)
                           : take_connection(listener, SOCK_NONBLOCK | SOCK_CLOEXEC, rest);
    if (fd < 0)
        return fd == -2 ? -1 : 0;
    clients[count++] = (struct client){.fd = fd, .number = ++number};
    say(&out, "Client %lu has connected.", number);
    return 0;
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
        if (polled[0].revents && accept_client(listener, &rest) < 0)
            return -1;
    }
}

int main(int argc, char **argv)
{
    struct stat file;
    catch_signals();
    const char *name = socket_name(*begin(argc, argv, "echo_server", usage, "", 1, 1));
    if (make_room() < 0) {
        fail(name, strerror(errno));
        return EXIT_FAILURE;
    }
    int listener = listen_on_name(name, 0600, 0, &file);
    int status = caught ? 0 : listener;
    if (listener >= 0) {
        say(&out, "Listening on %s.", name);
        status = serve(listener);
        /* Before it is closed: a file that nobody listens on any more may be replaced by the
         * next. */
        remove_file(name, &file);
        close(listener);
    }
    while (count > 0)
        close(clients[--count].fd);
    free(clients);
    free(polled);
    if (status < 0)
        return EXIT_FAILURE;
    farewell(caught);
    return EXIT_SUCCESS;
}
