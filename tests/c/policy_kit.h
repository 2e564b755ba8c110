/* A file that a security module withholds from some processes, and what these
 * need to be told apart: for programs that tools/check-kernel.sh runs, whose
 * policies say that `withheld` may not have what is in /secure, and `opener` may.
 *
 * SECURITY_MODULE in the environment is the module: apparmor or selinux. */

#ifndef POLICY_KIT_H
#define POLICY_KIT_H

#include <stdbool.h>
#include <stddef.h>

#include "kit.h"

/* A label is never longer. */
enum { LABEL = 4096 };

bool is_selinux(void);

/* Goes on as who the module is to see. */
void become(const char *who, const char *level);

/* Runs in a child that is somebody else to the module. */
void as(const char *who, void (*run)(void));

/* The one in /secure, and another. */
extern int secret, file;
void open_both(void);
void close_both(void);

/* A pair of that type. in_all_types opens one after the other, and the files. */
extern int sock[2], type;
void in_all_types(void (*run)(void));

/* Sends bytes with descriptors: for each letter `s` the secret, `f` the other file. */
void send_with(const char *which, size_t len);

/* The same, and a process that may not have the secret does something with it. */
void with_message(const char *which, void (*receive)(void));

/* Whether these are those files. */
bool are_these(const int *fds, const char *which);

/* Takes the next message, of three bytes, without loss: it is whole, and the last. */
void take_all(const char *which);

/* Receiving without loss is refused, and the three bytes stay. */
void check_refused(int error);

#endif
