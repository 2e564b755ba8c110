/* Messages to oneself by way of dbus-daemon(1) over a channel: first lines, then
 * messages.  The daemon listens at SOCKET in the environment, and is told to let 16
 * descriptors pass with a message. */

#include "bus_message.h"
#include "check.h"
#include "kit.h"
#include "talk.h"

#include <ancillary.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { ALLOWED = 16 };

/* --- where messages end --- */

/* How long a value of a type is, which is one of those that header fields have. */
static size_t value_at(const unsigned char *value, char type)
{
	switch (type) {
	case 'u':
		return 4;
	case 'g':
		return 1 + (size_t)value[0] + 1;
	default:
		return 4 + number_at(value) + 1;
	}
}

/* How many descriptors the header fields say that there are.  A field is its number, a
 * type of one letter as a text, and a value, aligned to 8 bytes. */
static size_t told_descriptors(const unsigned char *fields, size_t len)
{
	for (size_t at = 0; at + 8 <= len; at = (at + 7) / 8 * 8) {
		const unsigned char *value = fields + at + 4;

		if (fields[at] == UNIX_FDS)
			return number_at(value);
		at += 4 + value_at(value, (char)value[-2]);
	}
	return 0;
}

static int cut_message(const void *start, size_t have, struct ancillary_layout *layout,
		       void *context)
{
	const unsigned char *data = start;

	(void)context;
	if (have < FIXED)
		return 0;
	if (data[0] != 'l' || data[3] != 1)
		return -EBADMSG;
	if (number_at(data + 4) > TALK_SIZE || number_at(data + 12) > TALK_SIZE)
		return -EMSGSIZE;
	/* How many descriptors there are is told behind the length. */
	if (have < body_at(data))
		return 0;
	layout->type = data[1];
	layout->len = body_at(data) + number_at(data + 4);
	layout->nfds = told_descriptors(data + FIXED, number_at(data + 12));
	return 1;
}

static int cut_line(const void *start, size_t have, struct ancillary_layout *layout, void *context)
{
	const char *line = start, *end = memchr(line, '\n', have);

	(void)context;
	if (!end)
		return 0;
	layout->len = (size_t)(end - line) + 1;
	return 1;
}

/* --- connections --- */

static void agree(struct talk *talk, const char *line, const char *expected)
{
	struct ancillary_frame answer;

	say(talk, line, strlen(line), NULL, 0);
	answer = hear(talk);
	CHECK(answer.len >= strlen(expected));
	CHECK(memcmp(answer.data, expected, strlen(expected)) == 0);
}

/* Waits for a message of a type; others are passed over. */
static struct ancillary_frame hear_type(struct talk *talk, uint32_t type)
{
	for (;;) {
		struct ancillary_frame frame = hear(talk);

		if (frame.type == type)
			return frame;
		CHECK_IS(frame.nfds, 0);
	}
}

/* Joins the bus, where our name is stored. */
static void join(struct talk *talk, char *name, size_t size)
{
	char line[100];
	struct message hello = call("org.freedesktop.DBus", "Hello", 0);
	struct ancillary_frame answer;
	const unsigned char *data;

	begin_talk(talk, cut_line, NULL);
	write_auth(line, sizeof line);
	/* A zero byte comes first, on some systems with credentials. */
	say(talk, "", 1, NULL, 0);
	agree(talk, line, "OK ");
	agree(talk, "NEGOTIATE_UNIX_FD\r\n", "AGREE_UNIX_FD\r\n");
	say(talk, "BEGIN\r\n", 7, NULL, 0);
	talk->channel.cut = cut_message;
	say(talk, hello.data, hello.len, NULL, 0);
	answer = hear_type(talk, METHOD_RETURN);
	data = answer.data;
	snprintf(name, size, "%s", (const char *)data + body_at(data) + 4);
	CHECK(name[0] == ':');
}

/* --- descriptors --- */

static void check_returned(struct talk *talk, const int *files, size_t count)
{
	struct ancillary_frame frame = hear_type(talk, METHOD_CALL);
	const unsigned char *data = frame.data, *body = data + body_at(data);

	CHECK_IS(frame.nfds, count);
	CHECK_IS(number_at(body), count * 4);
	for (size_t i = 0; i < count; i++)
		CHECK_IS(number_at(body + 4 + i * 4), i);
	check_arrived(frame.fds, files, count);
}

static void what_is_sent_to_oneself_comes_back(void)
{
	static const size_t counts[] = { 1, ALLOWED, 0, 1, 5 };
	struct talk talk;
	char name[100];
	int files[ALLOWED];

	open_files(files, ALLOWED);
	join(&talk, name, sizeof name);
	/* All before any is taken: they can come together. */
	for (size_t i = 0; i < LENGTH(counts); i++) {
		struct message message = call(name, "Take", counts[i]);

		say(&talk, message.data, message.len, files, counts[i]);
	}
	for (size_t i = 0; i < LENGTH(counts); i++) {
		check_about("%zu descriptors", counts[i]);
		if (counts[i] > 0)
			check_returned(&talk, files, counts[i]);
		else
			hear_type(&talk, METHOD_CALL);
	}
	end_talk(&talk);
	close_files(files, ALLOWED);
}

/* The bus answers by closing the connection. */
static void one_more_than_allowed_is_the_end(void)
{
	struct talk talk;
	struct message message;
	char name[100];
	int files[ALLOWED + 1];

	open_files(files, ALLOWED + 1);
	join(&talk, name, sizeof name);
	message = call(name, "Take", ALLOWED + 1);
	say(&talk, message.data, message.len, files, ALLOWED + 1);
	CHECK_IS(hear_the_end(&talk), 0);
	end_talk(&talk);
	close_files(files, ALLOWED + 1);
}

CHECK_MAIN(CASE(what_is_sent_to_oneself_comes_back), CASE(one_more_than_allowed_is_the_end))
