/* System calls that do what kernels can do and this one cannot be made to, for the
 * test program and for the library (calls.h). */

#ifndef SHIM_H
#define SHIM_H

extern struct shim {
	/* A security policy withholds so many of the descriptors of a message. */
	int withhold;
	/* It does so for so many messages only, if not 0. */
	int withhold_times;
	/* The descriptor at this place, counted from 1, could not be installed,
	 * for this reason. */
	int gap, gap_error;
	/* The kernel has no memory for what a peek shows of descriptors, so often:
	 * it leaves them out without a word. */
	int forget;
	/* A pidfd could not be installed, for this reason. */
	int pidfd_error;
	/* The credentials are cut after so many bytes. */
	int cut_creds;
	/* This option of sockets is not known. */
	int missing_option;
	/* The security label of every peer, so many bytes long. */
	const char *label;
	unsigned label_len;
	/* How often recvmsg(2) was called. */
	int calls;
} shim;

#endif
