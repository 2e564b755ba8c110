/* Requests to s6-fdholderd(8), and its answers: the length of what follows (32 bits,
 * the most significant byte first), how many descriptors there are (16 bits), and a
 * payload.  That of a request begins with a letter, that of an answer with 0 or an error
 * number.  A name is its length, its bytes and a zero byte. */

#ifndef FDHOLDER_MESSAGE_H
#define FDHOLDER_MESSAGE_H

#include <stddef.h>

enum { HEADER = 6, SPACE = 500 };

struct message {
	unsigned char data[HEADER + SPACE];
	size_t len;
	int fd;
};

/* Requests, whose headers are filled in. */
struct message store_request(const char *name, int fd);
struct message retrieve_request(const char *name);
struct message delete_request(const char *name);
struct message list_request(void);

/* A number of so many bytes. */
size_t number_at(const unsigned char *data, size_t bytes);

/* Checks the names in the payload of an answer, in any order. */
void check_names(const unsigned char *list, size_t len, const char *const *names, size_t count);

#endif
