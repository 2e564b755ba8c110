/* Other users, and other namespaces. */

#ifndef USERS_H
#define USERS_H

#include <sys/types.h>

enum { NOBODY = 65534 };

/* Becomes nobody, with these supplementary groups.  Only root can. */
void become_nobody(const gid_t *groups, size_t ngroups);

/* Runs in a child that is nobody; where it cannot become that, in one that is
 * who it is, and has no capabilities. */
void as_nobody(void (*run)(void));

/* Runs here, and as nobody. */
void as_both(void (*run)(void));

/* Ends the case as skipped where this is not root, or no other user is there. */
void need_root(void);

/* As fork(); the child is the first process of a new pid namespace, or a
 * process with the exit status of that one. */
pid_t fork_in_new_pid_namespace(void);

#endif
