/* The randomised test: what a call had to receive from a stream.
 *
 * The rules are those of the kernel and of ancillary.h.  A read takes the
 * descriptors of the message whose first byte it takes, and ends with that
 * message at the latest; it does not go on where the sender changes, if
 * senders are told, nor over a byte out of band, which the next read drops.  The
 * kernel can cut a large message; its descriptors go with the first byte. */

#include "model_judge.h"

#include <sys/socket.h>

/* What is in some bytes of a stream, from the next one on. */
struct range {
	size_t carriers; /* messages that begin in it and have descriptors */
	size_t nfds; /* of all of them */
	size_t last_nfds; /* of the last */
	size_t last_start; /* of the last, from the start of the range */
	size_t last_len, last_whole;
	bool marked; /* there is a mark between its bytes */
	bool one_sender;
	struct ancillary_creds sender; /* the first */
};

/* How many bytes of a message are unread, and whether its first is. */
static size_t left_of(const struct world *w, const struct message *m, bool *whole)
{
	*whole = m->start >= w->bytes_read;
	return *whole ? m->len : (size_t)(m->start + m->len - w->bytes_read);
}

static struct range look_at(struct world *w, size_t n)
{
	struct range range = { .one_sender = true };
	size_t at = 0;

	for (size_t i = 0; at < n; i++) {
		const struct message *m = message_at(w, i);
		bool whole;
		size_t left = left_of(w, m, &whole);

		if (m->mark) {
			range.marked |= at > 0;
			continue;
		}
		if (at == 0)
			range.sender = m->sender;
		range.one_sender &= same_sender(&range.sender, &m->sender);
		if (whole && m->nfds > 0) {
			range.carriers++;
			range.nfds += m->nfds;
			range.last_nfds = m->nfds;
			range.last_start = at;
			range.last_len = m->len;
			range.last_whole = m->whole;
		}
		at += left;
	}
	return range;
}

/* What one read takes, at least and at most, of a window of so many bytes. */
static void check_extent(struct world *w, const struct call *c, size_t n)
{
	size_t least = 0, most = 0;
	bool changed = false, fits = true;

	for (size_t i = 0; i < w->queued; i++) {
		const struct message *m = message_at(w, i);
		bool whole;
		size_t left = left_of(w, m, &whole);

		if (m->mark && most > 0)
			break;
		if (m->mark)
			continue;
		if (!same_sender(&m->sender, &next_message(w)->sender)) {
			if (passes(w, CREDS))
				break;
			/* With pidfds it depends on the version of the kernel. */
			changed |= passes(w, PIDFDS);
		}
		most += left;
		if (!changed && i < c->queued)
			least += whole && m->nfds > 0 ? m->whole : left;
		if (whole && m->nfds > 0) {
			fits = m->nfds <= c->slots && m->nfds + passes(w, PIDFDS) <= c->free;
			break;
		}
	}
	/* Where something cannot be delivered what is before it can be, but no
	 * more is promised.  Many buffers are filled in several goes. */
	if (is_lossless(c) && (!fits || c->iovlen > 16))
		least = 1;
	MUST(w, n >= lesser(least, c->room) && n <= lesser(most, c->room),
	     "%zu bytes came instead of %zu to %zu", n, lesser(least, c->room),
	     lesser(most, c->room));
}

/* Whether what comes behind n bytes may be refused with this error, after so
 * many descriptors have been delivered: 0 is no error. */
static bool may_refuse(struct world *w, const struct call *c, size_t n, size_t before, size_t held,
		       int error)
{
	size_t nfds = 0, at = 0;
	bool pidfd = false;
	struct fate fate;

	for (size_t i = 0; at <= n; i++) {
		const struct message *m = message_at(w, i);
		bool whole;
		size_t left = left_of(w, m, &whole);

		if (m->mark)
			continue;
		nfds = at == n && whole ? m->nfds : 0;
		pidfd = brings_pidfd(w, m);
		at += left;
	}
	fate = fate_of(c, nfds, before, held);
	if (error_of(&fate))
		return error && may_fail_with(&fate, error);
	if (!is_strict(c) && pidfd && before + held + fate.installed >= c->free)
		return error == EMFILE;
	return error == 0;
}

/* Whether what was taken can have been one piece, and whether it can have been
 * several. */
static bool can_be_one(const struct world *w, const struct call *c, const struct range *range,
		       size_t n)
{
	bool goes_on = range->carriers > 0 && range->last_start + range->last_len < n;

	return !(c->flags & ANCILLARY_WAITALL) ||
	       (range->carriers <= 1 && !goes_on && (n == 1 || !c->markers) &&
		!range->marked && (range->one_sender || !passes(w, CREDS)));
}

static bool can_be_several(const struct world *w, const struct call *c, const struct range *range,
			   size_t n)
{
	return c->flags & ANCILLARY_WAITALL &&
	       (!can_be_one(w, c, range, n) || is_lossless(c) || w->queued > c->queued ||
		!range->one_sender ||
		(range->carriers == 1 && range->last_len > range->last_whole));
}

/* What may have become of the pidfd. */
static int pidfd_may_be(const struct world *w, const struct call *c, const struct range *range,
			const struct fate *fate, size_t n)
{
	int some = 0, may = 0;
	bool no_number = c->free <= range->nfds && !is_lossless(c);

	if (!passes(w, PIDFDS))
		return ABSENT;
	/* The first piece brings none, but a later one may. */
	if (is_nobody(&range->sender))
		return ABSENT | (no_number && can_be_several(w, c, range, n) ? FAILED : 0);
	if (fate->surplus || fate->or_surplus)
		may |= NO_ROOM;
	if (!can_be_several(w, c, range, n))
		return may | (fate->installed < c->free ? PRESENT : FAILED);
	if (c->free > 0)
		some |= PRESENT;
	if (no_number)
		some |= FAILED;
	if (can_be_one(w, c, range, n))
		may |= some;
	may |= passes(w, CREDS) && range->one_sender ? some : ABSENT;
	return may;
}

static void judge_message(struct world *w, const struct call *c, const struct range *range,
			  const struct fate *fate, size_t n)
{
	check_came(w, c, ANCILLARY_DATA_TRUNCATED, false);
	check_came(w, c, NO_FLAG, false);
	judge_loss(w, c, fate, pidfd_may_be(w, c, range, fate, n), range->sender.pid);
}

/* Whether the call did what this fate demands. */
static bool is_fate(const struct call *c, const struct fate *fate)
{
	bool surplus = c->came & ANCILLARY_FDS_SURPLUS, lost = c->came & ANCILLARY_FDS_LOST;

	if (is_strict(c))
		return error_of(fate) ? c->result < 0 && may_fail_with(fate, (int)-c->result) :
					c->result >= 0 && c->nfds == fate->delivered;
	if (c->result < 0 || c->nfds != fate->delivered)
		return false;
	if (fate->or_surplus)
		return surplus || (lost && !fate->surplus);
	return surplus == fate->surplus && (lost || !fate->lost);
}

static void drop_mark(struct world *w)
{
	w->bytes_read++;
	w->marked = false;
	w->counts.dropped_marks++;
	dequeue(w);
}

static void pass(struct world *w, const struct call *c, size_t n)
{
	size_t at = 0;

	while (at < n) {
		const struct message *m = message_at(w, 0);
		bool whole;
		size_t left = left_of(w, m, &whole);
		size_t part = lesser(left, n - at);

		if (m->mark) {
			drop_mark(w);
			continue;
		}
		if (c->result >= 0)
			check_bytes(w, c, at, m, m->len - left, part);
		w->bytes_read += part;
		at += part;
		if (part == left)
			dequeue(w);
	}
}

/* Whether what comes next may be hidden from a peek by a mark in front of it. */
static bool is_hidden(const struct call *c)
{
	static int hides = -1;

	if (hides < 0)
		hides = has_marks() && !peeks_behind_marks();
	return hides && is_lossless(c) && (c->at_mark || c->flags & ANCILLARY_WAITALL);
}

static void judge_refusal(struct world *w, const struct call *c)
{
	MUST(w, c->result < 0, "nothing is no result");
	check_nothing_came(w, c);
	if (c->result == -EAGAIN) {
		MUST(w, c->unread == 0 || is_hidden(c), "there is something");
		return;
	}
	MUST(w, is_lossless(c) && unread(w) > 0, "it is not to be refused");
	MUST(w, may_refuse(w, c, 0, 0, 0, (int)-c->result), "it could be delivered");
	w->counts.refused++;
}

/* Whether the call says that something was lost, where that can be a pidfd:
 * that ends it. */
static bool lost_pidfd(const struct world *w, const struct call *c)
{
	return passes(w, PIDFDS) && c->function == RECV_MSG && c->came & ANCILLARY_FDS_LOST;
}

/* A read that took n bytes ends in front of a mark: so it is still there, unless there
 * was another read behind it.  One that found nothing else has dropped it. */
static void judge_mark(struct world *w, const struct call *c, size_t n)
{
	unsigned char byte = 0;
	bool there = recv(w->sock[THERE], &byte, 1, MSG_OOB | MSG_PEEK | MSG_DONTWAIT) == 1;

	MUST(w, !there || w->marked, "a byte is out of band");
	if (!w->marked)
		return;
	if (!is_at_mark(w)) {
		MUST(w, there, "a byte out of band was dropped");
		return;
	}
	if (there) {
		MUST(w, n > 0 || c->result != -EAGAIN, "a byte out of band stays");
		MUST(w, byte == *bytes_at(message_at(w, 0)->start), "it is %d", byte);
		return;
	}
	MUST(w, n == 0 || c->flags & ANCILLARY_WAITALL, "a byte out of band was dropped early");
	drop_mark(w);
}

static void judge_what_came(struct world *w, struct call *c)
{
	size_t n = c->consumed, before;
	bool waits = c->flags & ANCILLARY_WAITALL;
	struct range range;
	struct fate fate;

	if (n == 0) {
		judge_refusal(w, c);
		return;
	}
	MUST(w, n <= unread(w), "%zu bytes were consumed of %zu", n, unread(w));
	MUST(w, c->result < 0 || c->result == (ssize_t)n, "%zu bytes were consumed", n);
	range = look_at(w, n);
	before = range.nfds - range.last_nfds;
	MUST(w, before <= c->slots && before <= c->free, "it went on after something did not fit");
	if (!waits)
		check_extent(w, c, n);
	fate = fate_of(c, range.last_nfds, before, 0);
	if (passes(w, PIDFDS) && range.last_start > 0 && can_be_several(w, c, &range, n)) {
		/* The pidfd of the first piece may have taken a number meanwhile. */
		struct fate other = fate_of(c, range.last_nfds, before, 1);

		if (is_fate(c, &other) && (other.lost || !is_fate(c, &fate)))
			fate = other;
	}
	MUST(w, is_fate(c, &fate), "should be %zu descriptors%s%s", fate.delivered,
	     fate.surplus ? ", some too many" : "", fate.lost ? ", some lost" : "");
	MUST(w, !is_lossless(c) || !error_of(&fate), "not everything was delivered");
	if (waits && n < c->room && !error_of(&fate) && n < c->unread && !lost_pidfd(w, c))
		MUST(w,
		     is_lossless(c) && (!may_refuse(w, c, n, range.nfds, 0, 0) ||
					(passes(w, PIDFDS) && !may_refuse(w, c, n, range.nfds, 1, 0)) ||
					is_hidden(c)),
		     "it ended early, at %zu bytes", n);
	if (c->result < 0)
		check_nothing_came(w, c);
	else
		check_sender(w, c, range.one_sender ? &range.sender : NULL);
	if (c->result >= 0 && c->function == RECV_MSG)
		judge_message(w, c, &range, &fate, n);
	pass(w, c, n);
	if (c->result >= 0)
		take_fds(w, c, fate.delivered);
	count_fds(w, range.nfds, &fate, c->result < 0 ? 0 : fate.delivered);
	w->counts.received += c->result >= 0;
}

void judge_stream(struct world *w, struct call *c)
{
	judge_what_came(w, c);
	judge_mark(w, c, c->consumed);
}
