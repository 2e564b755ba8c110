/* A look at what a channel gives to sendmsg(2), and ways to spoil it. */

#ifndef CHANNEL_SENDS_H
#define CHANNEL_SENDS_H

#include <stddef.h>
#include <sys/types.h>

struct sent {
	/* What was asked for, and what came of it. */
	size_t len, nfds;
	ssize_t result;
	unsigned char start[16];
};

enum { MOST_SENT_CALLS = 1024 };

/* What the calls of sendmsg(2) since watch_sends() were.  The next call sends so
 * many bytes only, if not 0; and the next fails with this error, if not 0. */
extern struct sends {
	int calls;
	struct sent call[MOST_SENT_CALLS];
	size_t less;
	int error;
	/* Calls that get through before less or error holds. */
	int after;
	/* Those of recvmsg(2). */
	int receives;
} sends;

void watch_sends(void);

#endif
