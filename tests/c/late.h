/* Other sides of sockets that act when a call of the library waits for them, and
 * no earlier: so a call waits in every run, and never for long. */

#ifndef LATE_H
#define LATE_H

#include "calls.h"

#include <stdbool.h>

/* Done once, when the library is about to wait: in poll(2), or in a system call
 * for messages that was not told not to.  NULL: nothing. */
extern void (*when_it_waits)(void);

/* Whether this is such a call. */
bool waits(const struct call *call);

/* Lets the other side act, and makes the call: for on_call. */
long make_late(const struct call *call);

/* Two ends of a stream with something between them that passes on, a piece at a time
 * and when a call waits, what HERE has sent and that it has shut down.  HERE cannot
 * send before that. */
void open_late_pair(int sock[2]);
void close_late_pair(int sock[2]);

#endif
