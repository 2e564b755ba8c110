/* The functions of the C library that the library calls, all replaced: what
 * stands in their place can look at a call, make it, or do something else. */

#ifndef CALLS_H
#define CALLS_H

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

#endif
