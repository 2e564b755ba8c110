/* Watches what the library asks recvmsg(2) for. */

#ifndef WATCH_H
#define WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* Room for control data beside that for descriptors: for credentials, a pidfd, one
 * time stamp and SO_INQ. */
#define BESIDE \
	(CMSG_SPACE(sizeof(struct ucred)) + 2 * CMSG_SPACE(sizeof(int)) + \
	 CMSG_SPACE(2 * sizeof(long long)))

/* All the room that a call gives the kernel which asks for so many descriptors. */
#define ROOM_FOR(nfds) (CMSG_SPACE((nfds) * sizeof(int)) + BESIDE)

/* In that, so many descriptors more than asked for have room at the most. */
enum { MOST_BESIDE = 29 };

/* What the calls of recvmsg(2) did between watch_begin() and watch_end(). */
extern struct watched {
	int calls;
	/* The largest room for control data. */
	size_t room;
	/* One could have installed a descriptor that is not close-on-exec. */
	bool inheritable;
	/* The most descriptors that one installed, pidfds not counted. */
	size_t installed;
	/* Bytes taken from the socket, by all: not those that were peeked at. */
	size_t consumed;
} watched;

/* Done, if it is set, in front of each of these calls but the first. */
extern void (*watch_between)(void);

void watch_begin(void);
void watch_end(void);

#endif
