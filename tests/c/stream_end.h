/* One end of a stream without a system: what its peer sends waits in pieces, each
 * with descriptors or without, and is received as Linux has it
 * (unix_stream_read_generic() in net/unix/af_unix.c).  No file is opened: descriptors
 * are numbers in books, none of which is used twice, so that one that is closed
 * twice, or left open, is found. */

#ifndef STREAM_END_H
#define STREAM_END_H

#include "calls.h"

#include <stdbool.h>
#include <stddef.h>

enum { END_SOCKET = 3, MOST_ARRIVING = 1 << 18 };

extern struct stream_end {
	/* O_NONBLOCK; where a call would wait, the peer reads all, or closes. */
	bool nonblocking;
	bool peer_has_closed;
	/* How many descriptors may be open. */
	size_t limit;
	/* How many bytes can be sent before the peer reads. */
	size_t room;
	/* What the next call fails with, or 0. */
	int receive_error, send_error;
	/* So many calls that could wait are interrupted first. */
	unsigned interruptions;

	/* All the peer has sent, how much of that has been received, and descriptors
	 * with it. */
	unsigned char arriving[MOST_ARRIVING];
	size_t arrived, received;
	size_t fds_arrived, fds_received;
	/* Pieces not received yet. */
	size_t pieces;
	/* System calls made. */
	size_t calls;
	/* Descriptors open that came from the peer; and others. */
	size_t open_received, open_own;
} end;

/* As new. */
void end_begin(void);

/* The peer sends; false: it cannot, having closed, or having sent too much. */
bool peer_sends(const unsigned char *data, size_t len, size_t nfds);

/* Opens a file of one's own; -1: not one more. */
int open_own(void);

/* Which file a number is: that the peer has sent so many before, or, from FIRST_OWN
 * on, that so many were opened here before; -1: it is not open. */
enum { FIRST_OWN = 1 << 20 };
int file_of(int fd);

/* What close(2) does, and says what is wrong where it is not open. */
void close_number(int fd, const char *how);

/* What was received no longer counts so, if it is open. */
void make_own(int fd);

/* Told of all that is sent. */
extern void (*on_sent)(const unsigned char *data, size_t len, const int *files, size_t nfds);

/* In place of the system, for calls.h. */
long end_call(const struct call *call);

#endif
