/* Faults: what each system call can fail with, or do less of, and a way to make
 * it happen at any call that the library makes; with a watch over what it
 * closes. */

#ifndef FAULT_H
#define FAULT_H

#include <stdbool.h>
#include <stddef.h>

/* Runs a scenario as it is, then with each fault at each of its calls: once, and
 * from there on; then with many pairs of faults.  A scenario makes its calls of
 * the library through CALL(). */
void at_every_call(void (*scenario)(void));

/* Whether the calls of a scenario wait: for ever, if what is there were withheld
 * for ever (EAGAIN), so that does not last then. */
extern bool calls_wait;

/* Calls a function of the library.  Checks that the value and errno agree, that
 * an error is one that the header lists for the function, and that the library
 * closes nothing but what it was given meanwhile.  The value is that of the
 * newer functions for the older ones as well. */
#define CALL(function, ...) \
	(calls_begin(), calls_end(#function, (long)function(__VA_ARGS__)))
void calls_begin(void);
long calls_end(const char *function, long result);

/* No more faults in this run. */
void calm(void);

/* Whether this run has had a fault at a function of this name. */
bool faulted(const char *name);

/* Whether one at a function of this name is met by each further call of it. */
bool goes_on(const char *name);

/* Whether signals have interrupted calls, and nothing else was the matter. */
bool interrupted(void);

/* Whether it has had more than one, not counting one that lasts. */
bool faulted_twice(void);

/* Descriptors that the next call owns. */
void hand_over(const int *fds, size_t count);

/* Where the payload of the calls is, which alone can be bad memory. */
void payload_at(const void *start, size_t len);

#endif
