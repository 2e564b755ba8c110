/* What tests of channels share: channels in guarded memory, and messages put
 * together by hand. */

#ifndef CHANNEL_KIT_H
#define CHANNEL_KIT_H

#include "check.h"
#include "kit.h"

/* NULL is passed in tests to see it refused. */
#define ANCILLARY_NONNULL(argument)
#include <ancillary.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* --- a channel and its memory --- */

enum { GUARD = 64, PARTS = 4 };

/* Each of the four buffers stands between guards. */
struct end {
	struct ancillary_channel channel;
	struct {
		unsigned char *block;
		size_t len;
	} parts[PARTS];
};

struct room {
	size_t in_size, in_nfds, out_size, out_nfds;
};

/* Room for 4,096 bytes and 16 descriptors either way. */
extern const struct room usual;

void open_end(struct end *end, int sock, unsigned format, unsigned flags, struct room room);

/* Drops the channel, and checks that nothing was written beside its buffers. */
void close_end_of(struct end *end);

/* Puts a larger buffer in the place of in_data, with what is in that. */
void enlarge(struct end *end, size_t in_size);

/* Two ends of one pair of sockets, with the usual room. */
struct both {
	int sock[2];
	struct end ends[2];
};

void open_both(struct both *both, unsigned format, unsigned flags);
void close_both(struct both *both);

/* Those of a test that has no others. */
extern struct both both;
struct end *here(void);
struct end *there(void);

/* --- calls --- */

int events_of(const struct end *end);

/* A message to be sent; and one for a receive to fill, as a caller may leave it. */
struct ancillary_frame message(uint32_t type, uint32_t id, const void *data, size_t len, int *fds,
			       size_t nfds);
struct ancillary_frame unset(void);

/* Receives a whole message without waiting, and checks what it is; descriptors are
 * those of these files, and are closed by the channel. */
struct ancillary_frame next(struct end *end);
void expect(struct end *end, uint32_t type, uint32_t id, const void *data, size_t len,
	    const int *files, size_t nfds);

/* Receives no message without waiting, which has this result, twice. */
void expect_none(struct end *end, int result);
void expect_error(struct end *end, int number);

/* A send or flush without waiting succeeds. */
void put(struct end *end, struct ancillary_frame frame, unsigned flags);
void push(struct end *end);

/* What goes may all go, or not; either is fine. */
void push_some(struct end *end);

int duplicate(int file);
void duplicate_all(int *fds, const int *files, size_t count);

/* --- bytes --- */

/* A plain message, padding included; returns its length. */
size_t plain(unsigned char *bytes, uint32_t type, uint32_t id, const void *data, size_t len,
	     size_t nfds);
/* With any header; nothing follows. */
void plain_header(unsigned char *bytes, uint32_t len, uint16_t nfds, uint16_t zero, uint32_t type,
		  uint32_t id);

/* Sends a plain message in one system call, with these descriptors on its first byte. */
void send_plain(int sock, uint32_t type, uint32_t id, const void *data, size_t len,
		const int *files, size_t nfds);

/* Sends bytes without descriptors, all of them. */
void send_bytes(int sock, const void *bytes, size_t len);

/* Receives exactly these bytes with descriptors of exactly these files. */
void receive_exactly(int sock, const void *bytes, size_t len, const int *files, size_t nfds);

bool little_endian(void);

/* Has a message be the first so many bytes of what it is: its parts are put together
 * in `iov`. */
void shorten(struct msghdr *message, struct iovec *iov, size_t parts, size_t most);

#endif
