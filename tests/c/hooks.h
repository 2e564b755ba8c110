/* What happens in the middle of a call: functions of the C library that the
 * library calls to listen and to connect are replaced here. */

#ifndef HOOKS_H
#define HOOKS_H

/* Each of them calls this first, with its own name, unless it is NULL. */
extern void (*before_each)(const char *function);

#endif
