#include "fdholder_message.h"

#include "check.h"

#include <string.h>

static struct message request(char letter)
{
	struct message message = { .data = { 0 }, .len = HEADER, .fd = -1 };

	message.data[message.len++] = (unsigned char)letter;
	return message;
}

static void add_byte(struct message *message, unsigned char byte)
{
	message->data[message->len++] = byte;
}

static void add_name(struct message *message, const char *name)
{
	size_t len = strlen(name);

	CHECK(len < 256 && message->len + len + 2 <= sizeof message->data);
	add_byte(message, (unsigned char)len);
	memcpy(message->data + message->len, name, len + 1);
	message->len += len + 1;
}

static struct message finished(struct message message)
{
	size_t payload = message.len - HEADER;

	CHECK(payload < 65536);
	message.data[2] = (unsigned char)(payload >> 8);
	message.data[3] = (unsigned char)payload;
	message.data[5] = message.fd >= 0;
	return message;
}

struct message store_request(const char *name, int fd)
{
	/* Until when, as TAI64N: some 73 thousand million years from now. */
	static const unsigned char never[12] = { 0x60 };
	struct message message = request('S');

	memcpy(message.data + message.len, never, sizeof never);
	message.len += sizeof never;
	add_name(&message, name);
	message.fd = fd;
	return finished(message);
}

struct message retrieve_request(const char *name)
{
	struct message message = request('R');

	/* It is kept. */
	add_byte(&message, 0);
	add_name(&message, name);
	return finished(message);
}

struct message delete_request(const char *name)
{
	struct message message = request('D');

	add_name(&message, name);
	return finished(message);
}

struct message list_request(void)
{
	return finished(request('L'));
}

size_t number_at(const unsigned char *data, size_t bytes)
{
	size_t number = 0;

	for (size_t i = 0; i < bytes; i++)
		number = number << 8 | data[i];
	return number;
}

void check_names(const unsigned char *list, size_t len, const char *const *names, size_t count)
{
	const char *end = (const char *)list + len;
	size_t found = 0;

	CHECK(len >= 5);
	CHECK_IS(list[0], 0);
	CHECK_IS(number_at(list + 1, 4), count);
	for (const char *name = (const char *)list + 5; name < end; name += strlen(name) + 1)
		for (size_t i = 0; i < count; i++)
			found += strcmp(name, names[i]) == 0;
	CHECK_IS(found, count);
}
