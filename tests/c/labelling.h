/* A security module that labels messages, where this system has none: on sockets
 * with SO_PASSSEC on, each message comes with a label, and the control buffer is
 * filled as the kernel fills it then.  What has no room behind the label is left
 * out, and is gone if it was not a peek. */

#ifndef LABELLING_H
#define LABELLING_H

#include <stddef.h>

extern struct labelling {
	/* How long the label is, in bytes; 0 is none. */
	size_t len;
	/* Of the last recvmsg(2) with a label: how many descriptors came, how many
	 * there was room for, whether the label had all it takes, and whether there
	 * was room for a pidfd. */
	size_t came, room;
	int label_whole, pidfd_fits;
} labelling;

#endif
