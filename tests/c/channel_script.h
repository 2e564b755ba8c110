/* A channel between a program and a peer that do what a script says: any bytes and
 * descriptors in any pieces, messages of any kind sent meanwhile, and errors between
 * them. */

#ifndef CHANNEL_SCRIPT_H
#define CHANNEL_SCRIPT_H

#include <stddef.h>

/* Does what a script says, and checks after each step that what has come is what the
 * peer sent, that what has gone is what was sent, that no more descriptors are held than
 * in_nfds says, that work is bounded, and in the end that all are closed.  Where
 * something is wrong it says so, shows the script, and aborts. */
void follow_channel_script(const unsigned char *script, size_t len);

/* What follows are the bytes of a script. */

/* The beginning: sizes of in_data, in_fds, out_data and out_fds, as they are or, from
 * HUGE_SIZES on, one that is large; a format; and flags: */
enum { HUGE_SIZES = 250 };
enum {
	WITH_LOSSLESS = 1 << 0,
	WITH_DONTWAIT = 1 << 1,
	NONBLOCKING = 1 << 2,
};

/* A step begins with what it is, and goes on with a byte for each word in capitals. */
enum channel_step {
	/* The peer sends LENGTH bytes, which follow, with COUNT descriptors. */
	PEER_SENDS,
	/* The peer sends a message of the format: LENGTH, HOW, COUNT; in PIECES of that
	 * many bytes, or in one. */
	PEER_SENDS_MESSAGE,
	/* It receives: FLAGS, up to TIMES messages, whose descriptors are taken by the
	 * BITS. */
	RECEIVE,
	/* It sends a message: FLAGS, LENGTH, HOW, COUNT. */
	SEND,
	/* It sends the last message that it has received, if it can still be read: FLAGS. */
	SEND_ON,
	/* FLAGS. */
	FLUSH,
	DROP,
	/* FORMAT. */
	SET_FORMAT,
	/* As at the beginning. */
	SET_FLAGS,
	/* The next call that receives fails, or sends: WHICH. */
	RECEIVE_FAILS,
	SEND_FAILS,
	/* HOW many more descriptors can be opened. */
	SET_LIMIT,
	/* So MANY bytes can be sent. */
	SET_ROOM,
	/* So MANY calls are. */
	INTERRUPT,
	PEER_CLOSES,
	/* There is room for so MANY times 16 bytes more to receive, and the structure is
	 * somewhere else. */
	MOVE,
	CHANNEL_STEPS,
};

/* Of the flags of a call. */
enum {
	CALL_DONTWAIT = 1 << 0,
	CALL_INTR = 1 << 1,
	CALL_MORE = 1 << 2,
	CALL_TAKE = 1 << 3,
};

/* Of how a message is: its length is multiplied; a descriptor is none, or, if they are
 * lent, not open; of the peer's, one more or less is said than there is. */
enum {
	LONG = 1 << 0,
	NONE_AMONG = 1 << 1,
	CLOSED_AMONG = 1 << 2,
	ONE_MORE_SAID = 1 << 3,
	ONE_LESS_SAID = 1 << 4,
};

/* A format of the caller's own: a message is its first byte, how many descriptors it
 * has, and as many bytes as the first one says; but for these. */
enum {
	/* Nothing can be told. */
	NEVER_TOLD = 240,
	/* The errors there are, and one there is not. */
	SAYS_BADMSG,
	SAYS_PROTO,
	SAYS_MSGSIZE,
	SAYS_SEVEN,
	/* Told, with what cannot be. */
	SAYS_ENDLESS,
	SAYS_EMPTY,
	SAYS_RESERVED,
	SAYS_MANY_FDS,
	/* Three bytes of length follow. */
	THREE_BYTES,
	/* The byte is all. */
	ALONE,
};

#endif
