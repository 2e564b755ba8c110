/* The randomised test: what datagrams and streams have in common when it is
 * judged how they were received. */

#ifndef MODEL_JUDGE_H
#define MODEL_JUDGE_H

#include "model.h"

/* What becomes of a message with descriptors.  For how many more than asked for the
 * library makes room is its own affair, up to a limit; with less of it a surplus can
 * be all that is known of where else the table is full as well. */
struct fate {
	size_t installed; /* by the kernel, at most */
	size_t delivered; /* in all, with what came before */
	bool surplus, lost;
	bool or_surplus; /* a surplus, and nothing lost */
};

/* What may have become of the pidfd: no room is what a surplus can leave it. */
enum { ABSENT = 1, PRESENT = 2, FAILED = 4, NO_ROOM = 8 };

static inline bool is_strict(const struct call *c)
{
	return c->function != RECV_MSG;
}

static inline bool is_lossless(const struct call *c)
{
	return c->flags & ANCILLARY_LOSSLESS;
}

bool same_sender(const struct ancillary_creds *a, const struct ancillary_creds *b);

/* What becomes of so many descriptors after others have been delivered, and
 * with so many numbers taken by a pidfd; and the error that a strict call
 * makes of it, or 0. */
struct fate fate_of(const struct call *c, size_t nfds, size_t before, size_t held);
int error_of(const struct fate *fate);
bool may_fail_with(const struct fate *fate, int error);

/* Checks that the next descriptors sent are in the slots, and closes them. */
void take_fds(struct world *w, const struct call *c, size_t expected);

/* Checks what a tolerant call says of what was lost; and the pidfd, which may have
 * met one of these ends, and which it closes. */
void judge_loss(struct world *w, const struct call *c, const struct fate *fate, int pidfd,
		pid_t pid);

/* Compares a part of one message with what is in the buffers, from a place in
 * them on. */
void check_bytes(const struct world *w, const struct call *c, size_t place,
		 const struct message *m, size_t from, size_t size);

/* Checks that this sender is told, or none: NULL, or nobody; of calls that tell one. */
void check_sender(struct world *w, const struct call *c, const struct ancillary_creds *sender);

/* Checks that a flag, or one of several, came exactly when it had to. */
void check_came(const struct world *w, const struct call *c, unsigned int bit, bool expected);

/* All flags but those that there are. */
#define NO_FLAG (~(unsigned int)(ANCILLARY_HAS_CREDS | ANCILLARY_HAS_PIDFD | \
				 ANCILLARY_FDS_SURPLUS | ANCILLARY_FDS_LOST | \
				 ANCILLARY_DATA_TRUNCATED))

void check_nothing_came(const struct world *w, const struct call *c);

/* Adds up what became of the descriptors that were consumed. */
void count_fds(struct world *w, size_t sent, const struct fate *fate, size_t delivered);

void judge_stream(struct world *w, struct call *c);

#endif
