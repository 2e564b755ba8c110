/* Messages to oneself by way of dbus-daemon(1), which listens at SOCKET in the
 * environment, and is told to let 16 descriptors pass with a message. */

#include "bus_message.h"
#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALLOWED = 16 };

/* --- messages --- */

/* Receives so many bytes more of a message, with whatever comes along. */
static void receive_more(int sock, struct message *message, size_t len)
{
	size_t nfds = MOST - message->nfds;

	CHECK(message->len + len <= LONGEST);
	CHECK_OK(ancillary_recv_fds(sock, message->fds + message->nfds, &nfds,
				    message->data + message->len, len, ANCILLARY_WAITALL),
		 len);
	message->len += len;
	message->nfds += nfds;
}

/* Receives a message of a type; others are skipped. */
static struct message receive(int sock, unsigned char type)
{
	for (;;) {
		struct message message = { .len = 0 };

		receive_more(sock, &message, FIXED);
		CHECK(message.data[0] == 'l' && message.data[3] == 1);
		receive_more(sock, &message,
			     body_at(message.data) - FIXED + number_at(message.data + 4));
		if (message.data[1] == type)
			return message;
		CHECK_IS(message.nfds, 0);
	}
}

/* --- connections --- */

/* Sends a line, which ends as lines do there, and checks how the answer begins. */
static void agree(int sock, const char *line, const char *expected)
{
	char answer[200];
	size_t len = 0, nfds = 0;

	CHECK_OK(ancillary_send_fds(sock, NULL, 0, line, strlen(line), 0), strlen(line));
	do {
		ssize_t n = ancillary_recv_fds(sock, NULL, &nfds, answer + len,
					       sizeof answer - 1 - len, 0);

		CHECK(n > 0);
		len += (size_t)n;
		answer[len] = '\0';
	} while (!strstr(answer, "\r\n"));
	CHECK(strncmp(answer, expected, strlen(expected)) == 0);
}

static void authenticate(int sock)
{
	char line[100];

	write_auth(line, sizeof line);
	/* A zero byte comes first, on some systems with credentials. */
	CHECK_OK(ancillary_send_creds(sock, NULL, "", 1, 0), 1);
	agree(sock, line, "OK ");
	agree(sock, "NEGOTIATE_UNIX_FD\r\n", "AGREE_UNIX_FD\r\n");
	CHECK_OK(ancillary_send_fds(sock, NULL, 0, "BEGIN\r\n", 7, 0), 7);
}

static void send_message(int sock, const struct message *message, const int *fds, size_t nfds)
{
	CHECK_OK(ancillary_send_fds(sock, fds, nfds, message->data, message->len, 0),
		 message->len);
}

/* Returns a connection, whose name on the bus is stored. */
static int join(char *name, size_t size)
{
	const char *path = getenv("SOCKET");
	struct message message;
	int sock;

	CHECK(path);
	sock = ancillary_connect(path, SOCK_STREAM, 0);
	CHECK(sock >= 0);
	authenticate(sock);
	message = call("org.freedesktop.DBus", "Hello", 0);
	send_message(sock, &message, NULL, 0);
	message = receive(sock, METHOD_RETURN);
	snprintf(name, size, "%s", (const char *)message.data + body_at(message.data) + 4);
	CHECK(name[0] == ':');
	return sock;
}

/* --- descriptors --- */

static void pass_through(int sock, const char *name, const int *files, size_t count)
{
	struct message sent = call(name, "Take", count), received;
	const unsigned char *body;

	check_about("%zu descriptors", count);
	send_message(sock, &sent, files, count);
	received = receive(sock, METHOD_CALL);
	CHECK_IS(received.nfds, count);
	body = received.data + body_at(received.data);
	CHECK_IS(number_at(body), count * 4);
	for (size_t i = 0; i < count; i++)
		CHECK_IS(number_at(body + 4 + i * 4), i);
	take_arrived(received.fds, count, files, count);
}

static void what_is_sent_to_oneself_comes_back(void)
{
	int files[ALLOWED], sock;
	char name[100];

	open_files(files, ALLOWED);
	sock = join(name, sizeof name);
	pass_through(sock, name, files, 1);
	pass_through(sock, name, files, ALLOWED);
	pass_through(sock, name, files, 1);
	close_files(files, ALLOWED);
	close_files(&sock, 1);
}

/* The bus answers by closing the connection, and goes on with others. */
static void one_more_than_allowed_is_the_end(void)
{
	int files[ALLOWED + 1], sock;
	struct message message;
	char name[100], rest[LONGEST];
	size_t nfds = 0;
	ssize_t n;

	open_files(files, ALLOWED + 1);
	sock = join(name, sizeof name);
	message = call(name, "Take", ALLOWED + 1);
	send_message(sock, &message, files, ALLOWED + 1);
	/* What was on its way comes first. */
	do
		n = ancillary_recv_fds(sock, NULL, &nfds, rest, sizeof rest, 0);
	while (n > 0);
	CHECK_IS(n, 0);
	close_files(&sock, 1);
	sock = join(name, sizeof name);
	pass_through(sock, name, files, ALLOWED);
	close_files(files, ALLOWED + 1);
	close_files(&sock, 1);
}

CHECK_MAIN(CASE(what_is_sent_to_oneself_comes_back), CASE(one_more_than_allowed_is_the_end))
