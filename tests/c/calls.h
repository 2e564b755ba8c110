/* The functions of the C library that the library calls, all replaced: what
 * stands in their place can look at a call, make it, or do something else. */

#ifndef CALLS_H
#define CALLS_H

#include <stdbool.h>

/* A call, as syscall(2) takes it. */
struct call {
	/* Of the function; of the system call where that is made by number. */
	const char *name;
	long number;
	long arguments[6];
};

/* Done in place of each call: make_call() at first.  Returns and sets errno as
 * the function does. */
extern long (*on_call)(const struct call *call);

/* Makes the system call. */
long make_call(const struct call *call);

/* Whether a kernel could send or receive less by this call than it is asked for.  Not
 * by a receive behind a look (MSG_PEEK) that has shown control data: it takes what was
 * seen; nor by a look ahead, without room for any, which sees all there is. */
bool can_be_short(const struct call *call);

/* What a recvmsg(2) was, for that, when it has been made; and that it is forgotten. */
void note_look(const struct call *call, long result);
void forget_look(void);

#endif
