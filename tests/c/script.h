/* Receiving from a kernel that does what a script says: any control data, true or
 * not, in any number of messages, and errors between them.
 *
 * A script is bytes, and any bytes are a script, so that a fuzzer can write them.
 * They say which function is called and how, what the system is like, and then
 * what each recvmsg(2) returns. */

#ifndef SCRIPT_H
#define SCRIPT_H

#include <stddef.h>

/* Makes the call that a script begins with, and checks what it returns, that each
 * descriptor the script installs is delivered or closed, once, and that nothing
 * else is closed.  Where something is wrong it says so, shows the script, and
 * aborts. */
void follow_script(const unsigned char *script, size_t len);

/* What follows are the bytes of a script. */

/* The beginning: a function, the flags of the call, how many slots (MANY_SLOTS: more
 * than a control buffer has numbers), how many bytes of payload (0: marker bytes),
 * and the system. */
enum function {
	RECV_FD,
	RECV_FDS,
	RECV_MSG,
	RECV_CREDS,
	OLD_RECV_FD,
	OLD_RECV_FDS,
	/* The script makes the recvmsg(2), and has what that left taken apart. */
	DECODE,
	FUNCTIONS,
};
enum { MANY_SLOTS = 255 };

/* Of the flags, which have these bits whatever their values are. */
enum {
	WITH_DONTWAIT = 1 << 0,
	WITH_INTR = 1 << 1,
	WITH_WAITALL = 1 << 2,
	WITH_LOSSLESS = 1 << 3,
};

/* The same of DECODE, which takes no flags. */
enum {
	/* Nobody wants what has come: the message is NULL. */
	DROP = 1 << 0,
	/* The buffer begins at an odd address. */
	ODD = 1 << 2,
	/* Calls with arguments that cannot be meant go first. */
	WRONG_FIRST = 1 << 3,
	/* Then there is a byte behind the system: how long the name is, as the header says. */
	NAMED = 1 << 4,
	/* The same: how many words of control data there is room for. */
	ANY_ROOM = 1 << 5,
};

/* Of the system: the type of the socket in the lowest two bits, and */
enum {
	STREAM,
	SEQPACKET,
	DGRAM,
	/* Of no type: asking fails. */
	NO_TYPE,
	TABLE_FULL = 1 << 2,
	NO_CLOSE_RANGE = 1 << 3,
};

/* A step, which is what one recvmsg(2) returns, begins with what it is. */
enum {
	MESSAGE,
	/* Its control data is as many bytes as the next byte says, and stands there. */
	RAW,
	INTERRUPTED,
	/* The payload is bad memory, found after a pidfd was installed. */
	BAD_MEMORY,
	/* With the higher bits, which. */
	FAILURE,
	STEPS,
};

/* Of a message: these flags, then how many bytes of payload, then how many control
 * messages.  At its end, how much is said of its length. */
enum {
	DATA_CUT = 1 << 0,
	CONTROL_CUT = 1 << 1,
	CLOEXEC = 1 << 2,
	OTHER_FLAGS = 1 << 3,
};

/* Of a control message: what it is, */
enum {
	RIGHTS,
	PIDFD,
	CREDENTIALS,
	/* With four bytes for a level and four for a type. */
	ANY_LEVEL_AND_TYPE,
	/* With one byte for a type. */
	ANY_TYPE,
	RIGHTS_OF_ANOTHER_LEVEL,
	KINDS,
};

/* what its cmsg_len is, */
enum {
	TRUE,
	/* Off by a signed byte. */
	OFF,
	/* A byte. */
	SMALL,
	/* The largest number but for a byte. */
	HUGE_LENGTH,
	/* Eight bytes. */
	ANY_LENGTH,
	LENGTHS,
};

/* how many numbers it has, and what these are: for each a byte, or one byte for
 * all.  The next message follows where it should, or unaligned. */
enum {
	SAME = 1 << 0,
	UNALIGNED = 1 << 1,
};

/* Of a number: a descriptor that is the next one free, or the next but one, or high
 * up, as far as the highest there can be; or a negative number. */
enum { NEXT, NEXT_BUT_ONE, HIGH, NEGATIVE = 128 };

/* Of the length of all control data: so many bytes less, or more than there is room
 * for. */
enum { MORE_THAN_ROOM = 255 };

#endif
