/* Messages as the D-Bus specification has them, little-endian. */

#ifndef BUS_MESSAGE_H
#define BUS_MESSAGE_H

#include "kit.h"

#include <stddef.h>

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

/* A call that has an array of so many descriptors as its argument, if any. */
struct message call(const char *destination, const char *member, size_t nfds);

size_t number_at(const unsigned char *place);

/* Where the body of a message begins, of which FIXED bytes are there. */
size_t body_at(const unsigned char *data);

/* The line with which we say who we are. */
void write_auth(char *line, size_t size);

#endif
