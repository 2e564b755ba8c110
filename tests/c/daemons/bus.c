/* Messages to oneself by way of dbus-daemon(1), which listens at SOCKET in the
 * environment, and is told to let 16 descriptors pass with a message. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALLOWED = 16 };

/* --- messages, as the D-Bus specification has them --- */

enum { METHOD_CALL = 1, METHOD_RETURN };
enum { NO_REPLY_EXPECTED = 1 };
enum { PATH = 1, MEMBER = 3, DESTINATION = 6, SIGNATURE = 8, UNIX_FDS };
enum { FIXED = 16, LONGEST = 1000 };

struct message {
	unsigned char data[LONGEST];
	size_t len;
	int fds[MOST];
	size_t nfds;
};

static void add_byte(struct message *message, size_t byte)
{
	CHECK(message->len < LONGEST);
	message->data[message->len++] = (unsigned char)byte;
}

static void align(struct message *message, size_t to)
{
	while (message->len % to)
		add_byte(message, 0);
}

static void put_number(unsigned char *place, size_t number)
{
	for (size_t i = 0; i < 4; i++)
		place[i] = (unsigned char)(number >> 8 * i);
}

static size_t number_at(const unsigned char *place)
{
	return place[0] | (size_t)place[1] << 8 | (size_t)place[2] << 16 | (size_t)place[3] << 24;
}

static void add_number(struct message *message, size_t number)
{
	unsigned char bytes[4];

	align(message, 4);
	put_number(bytes, number);
	for (size_t i = 0; i < 4; i++)
		add_byte(message, bytes[i]);
}

static void add_text(struct message *message, const char *text)
{
	do
		add_byte(message, (unsigned char)*text);
	while (*text++);
}

/* Begins a header field; what is of this type is to follow. */
static void add_field(struct message *message, size_t field, const char *type)
{
	align(message, 8);
	add_byte(message, field);
	add_byte(message, 1);
	add_text(message, type);
}

static void add_text_field(struct message *message, size_t field, const char *type, const char *text)
{
	add_field(message, field, type);
	add_number(message, strlen(text));
	add_text(message, text);
}

static size_t aligned(size_t len)
{
	return (len + 7) / 8 * 8;
}

static size_t fields_of(const struct message *message)
{
	return number_at(message->data + 12);
}

static size_t body_of(const struct message *message)
{
	return FIXED + aligned(fields_of(message));
}

/* A call that has an array of so many descriptors as its argument, if any. */
static struct message call(const char *destination, const char *member, size_t nfds)
{
	struct message message = { .len = 0 };
	size_t body;

	add_byte(&message, 'l');
	add_byte(&message, METHOD_CALL);
	add_byte(&message, nfds ? NO_REPLY_EXPECTED : 0);
	add_byte(&message, 1);
	add_number(&message, 0);
	add_number(&message, 1);
	add_number(&message, 0);
	add_text_field(&message, PATH, "o", "/org/freedesktop/DBus");
	add_text_field(&message, DESTINATION, "s", destination);
	add_text_field(&message, MEMBER, "s", member);
	if (nfds > 0) {
		add_field(&message, SIGNATURE, "g");
		add_byte(&message, 2);
		add_text(&message, "ah");
		add_field(&message, UNIX_FDS, "u");
		add_number(&message, nfds);
	}
	put_number(message.data + 12, message.len - FIXED);
	align(&message, 8);
	body = message.len;
	if (nfds > 0)
		add_number(&message, nfds * 4);
	for (size_t i = 0; i < nfds; i++)
		add_number(&message, i);
	put_number(message.data + 4, message.len - body);
	return message;
}

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
			     body_of(&message) - FIXED + number_at(message.data + 4));
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
	char user[20], line[100] = "AUTH EXTERNAL ";

	snprintf(user, sizeof user, "%lu", (unsigned long)geteuid());
	for (const char *digit = user; *digit; digit++)
		snprintf(line + strlen(line), sizeof line - strlen(line), "%02x", *digit);
	strcat(line, "\r\n");
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
	snprintf(name, size, "%s", (const char *)message.data + body_of(&message) + 4);
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
	body = received.data + body_of(&received);
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
