/* A recvmsg(2) that does what kernels can do and this one cannot be made to:
 * it stands in front of the C library's, for the test program and for the
 * library. */

#ifndef SHIM_H
#define SHIM_H

enum { OPTION_PASSPIDFD = 76 };

extern struct shim {
	/* A security policy withholds so many of the descriptors of a message. */
	int withhold;
	/* The descriptor at this place, counted from 1, could not be installed,
	 * for this reason. */
	int gap, gap_error;
	/* A pidfd could not be installed, for this reason. */
	int pidfd_error;
	/* How often recvmsg(2) was called. */
	int calls;
} shim;

#endif
