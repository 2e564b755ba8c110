/* The randomised test: receiving by a random call. */

#include "model.h"
#include "watch.h"

#include <stdio.h>
#include <string.h>

/* Between the buffers and behind each array there is something that no call
 * may write to. */
enum { GAP = 3, FENCE = 0xa5, FENCE_FD = -77, UNSET_FD = -88 };

static unsigned char arena[MOST_ROOM + GAP * (MOST_BUFFERS + 1)];

/* --- what to ask for --- */

static size_t some_room(void)
{
	unsigned int kind = (unsigned int)below(100);

	if (kind < 45)
		return between(1, 32);
	if (kind < 75)
		return any_size(1, MOST_ROOM);
	return MOST_ROOM;
}

static size_t some_slots(void)
{
	unsigned int kind = (unsigned int)below(100);

	if (kind < 35)
		return below(4);
	if (kind < 55)
		return below(41);
	if (kind < 65)
		return below(MOST_SLOTS + 1);
	return chance(20) ? MOST * between(1, 2) : between(MOST, MOST_SLOTS);
}

static size_t some_free(void)
{
	if (!limits_hold() || chance(60))
		return PLENTY;
	return chance(50) ? below(5) : chance(60) ? below(41) : below(MOST_SLOTS + 1);
}

/* How much of a stream is asked for. */
static size_t marker_room(const struct call *c)
{
	if (c->flags & ANCILLARY_WAITALL && c->slots > MOST)
		return (c->slots + MOST - 1) / MOST;
	return 1;
}

/* Whether a call that may wait would. */
static bool would_wait(const struct world *w, const struct call *c)
{
	if (w->type == SOCK_STREAM && c->flags & ANCILLARY_WAITALL)
		return unread(w) < c->room;
	/* Of some kernels a peek does, at a mark. */
	return w->queued == (size_t)w->marked || (c->flags & ANCILLARY_LOSSLESS && w->marked);
}

/* Nothing is lost by a call that is not told to take care, if what comes
 * cannot be too much. */
static bool safe_for_one(struct world *w)
{
	const struct message *next = next_message(w);

	return !next || next->start < w->bytes_read ||
	       (next->nfds <= 1 && (w->type == SOCK_STREAM || next->len <= 1));
}

static void decide(struct world *w, struct call *c)
{
	c->function = chance(50) ? RECV_MSG : chance(85) ? RECV_FDS : RECV_FD;
	if (c->function == RECV_FD && (!next_message(w) || (w->lossless && !safe_for_one(w))))
		c->function = RECV_FDS;
	else if (c->function == RECV_FDS && chance(25))
		c->function = RECV_CREDS;
	c->flags = 0;
	c->markers = c->function == RECV_FD || chance(10);
	c->slots = c->function == RECV_FD ? 1 : c->function == RECV_CREDS ? 0 : some_slots();
	c->free = some_free();
	if (c->function == RECV_FD) {
		if (w->lossless)
			c->free = PLENTY;
		c->room = 1;
		return;
	}
	if (w->lossless || chance(30))
		c->flags |= ANCILLARY_LOSSLESS;
	if (chance(35))
		c->flags |= ANCILLARY_WAITALL;
	if (chance(20))
		c->flags |= ANCILLARY_INTR;
	c->room = c->markers ? marker_room(c) : some_room();
	if (would_wait(w, c) || chance(80))
		c->flags |= ANCILLARY_DONTWAIT;
}

/* --- doing it --- */

static void lay_out(struct call *c)
{
	if (c->markers) {
		c->iovlen = 0;
	} else if (c->function == RECV_MSG) {
		c->iovlen = cut_up(c->iov, c->room, arena + GAP, GAP);
	} else {
		c->iovlen = 1;
		c->iov[0].iov_base = arena + GAP;
		c->iov[0].iov_len = c->room;
	}
	for (size_t i = 0; i < c->iovlen; i++)
		if (c->iov[i].iov_base)
			memset((unsigned char *)c->iov[i].iov_base - GAP, FENCE, GAP);
	if (c->iovlen > 0 && c->iov[c->iovlen - 1].iov_base)
		memset((unsigned char *)c->iov[c->iovlen - 1].iov_base +
			       c->iov[c->iovlen - 1].iov_len,
		       FENCE, GAP);
	for (size_t i = 0; i <= MOST_SLOTS; i++)
		c->fds[i] = i < c->slots ? UNSET_FD : FENCE_FD;
}

static void check_fences(const struct world *w, const struct call *c)
{
	static const unsigned char fence[GAP] = { FENCE, FENCE, FENCE };

	for (size_t i = 0; i < c->iovlen; i++) {
		const unsigned char *start = c->iov[i].iov_base;

		if (!start)
			continue;
		MUST(w, memcmp(start - GAP, fence, GAP) == 0, "written before buffer %zu", i);
		if (i + 1 == c->iovlen)
			MUST(w, memcmp(start + c->iov[i].iov_len, fence, GAP) == 0,
			     "written behind the last buffer");
	}
	for (size_t i = c->slots; i <= MOST_SLOTS; i++)
		MUST(w, c->fds[i] == FENCE_FD, "slot %zu of %zu was written to", i, c->slots);
}

static void call_recv_fd(struct world *w, struct call *c)
{
	int fd = ancillary_recv_fd(w->sock[THERE]);
	bool empty = w->queued > 0 && message_at(w, 0)->len == 0;

	/* What this is as a result of the more general calls. */
	c->fds[0] = fd >= 0 ? fd : -1;
	c->nfds = fd >= 0;
	c->result = fd >= 0 ? !empty : fd;
	if (fd == -ENOMSG && !(empty && w->type == SOCK_SEQPACKET))
		c->result = !empty;
	if (fd == -EPIPE && empty && w->type == SOCK_SEQPACKET)
		c->result = 0;
	if (fd < 0 && c->result >= 0 && errno == -fd)
		errno = CHECK_ERRNO;
}

static void call_recv_creds(struct world *w, struct call *c)
{
	c->creds = (struct ancillary_creds){ 12345, 12345, 12345 };
	c->result = ancillary_recv_creds(w->sock[THERE], &c->creds, c->markers ? NULL : arena + GAP,
					 c->markers ? 0 : c->room, c->flags);
	c->came = c->creds.pid != 0 ? ANCILLARY_HAS_CREDS : 0;
	c->no_sender = c->result == -ENOMSG;
	if (c->no_sender) {
		c->result = (ssize_t)watched.consumed;
		if (errno == ENOMSG)
			errno = CHECK_ERRNO;
	}
}

static void call_recv_msg(struct world *w, struct call *c)
{
	static struct iovec iov[MOST_BUFFERS];
	struct ancillary_msg message = { .size = sizeof message,
					 .iov = c->iovlen > 0 ? iov : NULL,
					 .iovlen = c->iovlen,
					 .fds = c->slots > 0 || chance(50) ? c->fds : NULL,
					 .nfds = c->slots,
					 .pidfd = 12345,
					 .flags = (unsigned int)below(1u << 31),
					 .error = 12345 };

	memcpy(iov, c->iov, c->iovlen * sizeof *iov);
	c->result = ancillary_recv_msg(w->sock[THERE], &message, c->flags);
	MUST(w, memcmp(iov, c->iov, c->iovlen * sizeof *iov) == 0, "the buffers were changed");
	MUST(w, message.size == sizeof message && message.iovlen == c->iovlen,
	     "the message was changed");
	c->nfds = message.nfds;
	c->creds = message.creds;
	c->pidfd = message.pidfd;
	c->came = message.flags;
	c->error = message.error;
}

/* The sender may act while a call is made, between its system calls. */
static struct world *acting;

static void send_meanwhile(void)
{
	int error = errno;

	if (chance(15)) {
		send_something(acting);
		acting->step++;
		acting->counts.meanwhile++;
	}
	errno = error;
}

static const char *const functions[] = { [RECV_FDS] = "recv_fds",
					 [RECV_FD] = "recv_fd",
					 [RECV_MSG] = "recv_msg",
					 [RECV_CREDS] = "recv_creds" };

static void make(struct world *w, struct call *c)
{
	rlim_t limit = 0;
	int error;

	lay_out(c);
	c->nfds = c->slots;
	c->came = 0;
	c->error = 0;
	c->pidfd = -1;
	c->no_sender = false;
	c->at_mark = is_at_mark(w);
	c->queued = w->queued;
	c->unread = unread(w);
	if (c->free < PLENTY)
		limit = leave_slots(c->free);
	watch_begin();
	errno = CHECK_ERRNO;
	if (c->function == RECV_FD)
		call_recv_fd(w, c);
	else if (c->function == RECV_MSG)
		call_recv_msg(w, c);
	else if (c->function == RECV_CREDS)
		call_recv_creds(w, c);
	else
		c->result = ancillary_recv_fds(w->sock[THERE],
					       c->slots > 0 || chance(50) ? c->fds : NULL, &c->nfds,
					       c->markers ? NULL : arena + GAP,
					       c->markers ? 0 : c->room, c->flags);
	error = errno;
	watch_end();
	c->consumed = watched.consumed;
	if (c->free < PLENTY)
		set_limit(limit);
	note(w,
	     "%s%s%s%s%s, room for %zu bytes%s in %zu, %zu descriptors, %zu numbers free: "
	     "%zd, %zu descriptors, flags %#x, error %d; %zu consumed of %zu",
	     functions[c->function],
	     c->flags & ANCILLARY_DONTWAIT ? " DONTWAIT" : "",
	     c->flags & ANCILLARY_INTR ? " INTR" : "",
	     c->flags & ANCILLARY_WAITALL ? " WAITALL" : "",
	     c->flags & ANCILLARY_LOSSLESS ? " LOSSLESS" : "", c->room,
	     c->markers ? " (markers)" : "", c->iovlen, c->slots, c->free, c->result, c->nfds,
	     c->came, c->error, c->consumed, unread(w));
	MUST(w, watched.room <= ROOM_FOR(c->slots), "there is too much room: %zu bytes",
	     watched.room);
	MUST(w, watched.installed <= c->slots + MOST_BESIDE, "%zu descriptors were installed",
	     watched.installed);
	MUST(w, !watched.inheritable, "what is installed could be inherited");
	check_fences(w, c);
	MUST(w, error == (c->result < 0 ? -c->result : CHECK_ERRNO), "errno is %d", error);
}

static struct call call;

void receive_something(struct world *w)
{
	decide(w, &call);
	acting = w;
	watch_between = send_meanwhile;
	make(w, &call);
	watch_between = NULL;
	judge(w, &call);
}

void receive_all(struct world *w)
{
	while (w->queued > 0) {
		w->step++;
		call.function = chance(50) ? RECV_MSG : RECV_FDS;
		call.flags = ANCILLARY_DONTWAIT;
		if (w->lossless || chance(50))
			call.flags |= ANCILLARY_LOSSLESS;
		call.markers = false;
		call.room = MOST_ROOM;
		call.slots = MOST_SLOTS;
		call.free = PLENTY;
		make(w, &call);
		judge(w, &call);
		MUST(w, call.result >= 0 || call.at_mark, "the rest cannot be received");
	}
}

/* After the end nothing comes, and nobody has sent it, as often as one asks. */
void receive_the_end(struct world *w)
{
	if (w->type == SOCK_DGRAM)
		return;
	CHECK(shutdown(w->sock[HERE], SHUT_WR) == 0);
	for (int times = 0; times < 20; times++) {
		w->step++;
		decide(w, &call);
		if (chance(20)) {
			call.function = RECV_FD;
			call.flags = 0;
			call.markers = true;
			call.room = 1;
			call.slots = 1;
		}
		make(w, &call);
		MUST(w, call.result == (call.function == RECV_FD ? -EPIPE : 0), "not the end");
		MUST(w, call.nfds == 0 && all_none(call.fds, call.slots), "descriptors came");
		if (call.function == RECV_MSG)
			MUST(w,
			     call.came == 0 && call.error == 0 && call.pidfd == -1 &&
				     call.creds.pid == 0 && call.creds.uid == (uid_t)-1 &&
				     call.creds.gid == (gid_t)-1,
			     "something came");
	}
}
