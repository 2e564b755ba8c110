#include "bus_message.h"

#include "check.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

size_t number_at(const unsigned char *place)
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

size_t body_at(const unsigned char *data)
{
	return FIXED + aligned(number_at(data + 12));
}

struct message call(const char *destination, const char *member, size_t nfds)
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

void write_auth(char *line, size_t size)
{
	char user[20];
	size_t len;

	snprintf(user, sizeof user, "%lu", (unsigned long)geteuid());
	snprintf(line, size, "AUTH EXTERNAL ");
	for (const char *digit = user; *digit; digit++) {
		len = strlen(line);
		snprintf(line + len, size - len, "%02x", *digit);
	}
	len = strlen(line);
	snprintf(line + len, size - len, "\r\n");
}
