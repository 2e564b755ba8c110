/* The randomised test: what a call to receive had to do, and whether it did. */

#include "model_judge.h"
#include "watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool same_sender(const struct ancillary_creds *a, const struct ancillary_creds *b)
{
	return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

struct fate fate_of(const struct call *c, size_t nfds, size_t before, size_t held)
{
	size_t taken = before + held;
	size_t left = c->free > taken ? c->free - taken : 0;
	size_t slots = c->slots - before;
	size_t offered = lesser(nfds, slots + MOST_BESIDE);
	struct fate fate = { .installed = lesser(offered, left) };

	fate.lost = fate.installed < offered;
	fate.surplus = fate.installed > slots;
	fate.or_surplus = fate.lost && nfds > slots && left >= slots;
	fate.delivered = before + lesser(fate.installed, slots);
	return fate;
}

int error_of(const struct fate *fate)
{
	return fate->surplus ? E2BIG : fate->lost ? EMFILE : 0;
}

bool may_fail_with(const struct fate *fate, int error)
{
	return error == error_of(fate) || (fate->or_surplus && error == E2BIG);
}

/* --- what was delivered --- */

void take_fds(struct world *w, const struct call *c, size_t expected)
{
	MUST(w, c->nfds == expected, "%zu descriptors instead of %zu", c->nfds, expected);
	MUST(w, all_none(c->fds + expected, c->slots - expected), "a slot is left that is not -1");
	for (size_t i = 0; i < expected; i++) {
		long place;

		MUST(w, c->fds[i] >= 0, "descriptor %zu is %d", i, c->fds[i]);
		place = pool_place(c->fds[i], w->fds_read + i);
		MUST(w, place == (long)((w->fds_read + i) % pool_size()),
		     "descriptor %zu is for file %ld instead of %ld", i, place,
		     (long)((w->fds_read + i) % pool_size()));
		MUST(w, fcntl(c->fds[i], F_GETFD) == FD_CLOEXEC, "descriptor %zu stays open on exec",
		     i);
	}
	for (size_t i = 0; i < expected; i++)
		MUST(w, close(c->fds[i]) == 0, "descriptor %zu came twice", i);
	w->counts.delivered += expected;
}

static void take_pidfd(const struct world *w, const struct call *c, pid_t pid)
{
	char path[64], line[256];
	FILE *file;
	int shown = 0;

	MUST(w, c->pidfd >= 0, "the pidfd is %d", c->pidfd);
	MUST(w, fcntl(c->pidfd, F_GETFD) == FD_CLOEXEC, "the pidfd stays open on exec");
	if (chance(10)) {
		snprintf(path, sizeof path, "/proc/self/fdinfo/%d", c->pidfd);
		file = fopen(path, "re");
		CHECK(file);
		while (shown == 0 && fgets(line, sizeof line, file))
			sscanf(line, "Pid: %d", &shown);
		fclose(file);
		MUST(w, shown == pid, "the pidfd is for %d instead of %d", shown, (int)pid);
	}
	MUST(w, close(c->pidfd) == 0, "the pidfd is not open");
}

void check_bytes(const struct world *w, const struct call *c, size_t place,
		 const struct message *m, size_t from, size_t size)
{
	static const unsigned char zeros[MOST_ROOM];
	const unsigned char *expected = m->zeros ? zeros : bytes_at(m->start + from);

	for (size_t i = 0; i < c->iovlen && size > 0; i++) {
		size_t here = c->iov[i].iov_len;
		size_t part;

		if (place >= here) {
			place -= here;
			continue;
		}
		part = lesser(size, here - place);
		MUST(w,
		     memcmp((const unsigned char *)c->iov[i].iov_base + place, expected, part) == 0,
		     "wrong bytes");
		expected += part;
		size -= part;
		place = 0;
	}
}

/* Of nothing from a socket that has an end. */
static bool is_like_the_end(const struct world *w, const struct call *c)
{
	return !c->no_sender && c->result == 0 && w->type == SOCK_SEQPACKET;
}

void check_sender(struct world *w, const struct call *c, const struct ancillary_creds *sender)
{
	const struct ancillary_creds nobody = { 0, (uid_t)-1, (gid_t)-1 };
	bool told = passes(w, CREDS) && sender && !is_nobody(sender);

	if (c->function != RECV_MSG && c->function != RECV_CREDS)
		return;
	MUST(w, !(c->came & ANCILLARY_HAS_CREDS) == !told, "credentials came, or did not");
	MUST(w, same_sender(&c->creds, told ? sender : &nobody), "the credentials are %d %u %u",
	     (int)c->creds.pid, c->creds.uid, c->creds.gid);
	if (c->function == RECV_CREDS)
		MUST(w, c->no_sender == !told || is_like_the_end(w, c), "no sender, or one");
	w->counts.without_sender += passes(w, CREDS) && !sender;
}

void check_came(const struct world *w, const struct call *c, unsigned int bit, bool expected)
{
	MUST(w, !(c->came & bit) == !expected, "flag %#x %s", bit, expected ? "missing" : "set");
}

void judge_loss(struct world *w, const struct call *c, const struct fate *fate, int pidfd,
		pid_t pid)
{
	bool surplus = c->came & ANCILLARY_FDS_SURPLUS, lost = c->came & ANCILLARY_FDS_LOST;
	bool present = c->came & ANCILLARY_HAS_PIDFD;

	if (!fate->or_surplus || fate->surplus)
		check_came(w, c, ANCILLARY_FDS_SURPLUS, fate->surplus);
	MUST(w, surplus || lost || !error_of(fate), "nothing was lost");
	MUST(w, lost || !fate->lost || fate->or_surplus, "nothing was lost");
	if (present)
		MUST(w, pidfd & PRESENT, "a pidfd came");
	else if (lost && !fate->lost)
		MUST(w, pidfd & (FAILED | NO_ROOM), "something was lost");
	else
		MUST(w, pidfd & (lost ? ABSENT | FAILED | NO_ROOM : ABSENT | NO_ROOM),
		     "no pidfd came");
	if (lost && pidfd & NO_ROOM && !present)
		MUST(w, c->error == EMFILE || c->error == ENOBUFS, "error is %d", c->error);
	else
		MUST(w, c->error == (lost ? EMFILE : 0), "error is %d", c->error);
	if (present)
		take_pidfd(w, c, pid);
	else
		MUST(w, c->pidfd == -1, "the pidfd is %d", c->pidfd);
	w->counts.pidfds += present;
}

void check_nothing_came(const struct world *w, const struct call *c)
{
	const struct ancillary_creds nobody = { 0, (uid_t)-1, (gid_t)-1 };

	MUST(w, c->nfds == 0 && all_none(c->fds, c->slots), "descriptors came with a failure");
	if (c->function == RECV_MSG)
		MUST(w,
		     c->came == 0 && c->error == 0 && c->pidfd == -1 &&
			     same_sender(&c->creds, &nobody),
		     "something came with a failure");
}

void count_fds(struct world *w, size_t sent, const struct fate *fate, size_t delivered)
{
	w->fds_read += sent;
	w->counts.dropped += sent - delivered;
	w->counts.surplus += fate->surplus;
	w->counts.lost += fate->lost;
}

/* --- datagrams --- */

/* What may become of the pidfd of one message. */
static int pidfd_of(const struct world *w, const struct call *c, const struct message *m,
		    const struct fate *fate)
{
	if (!brings_pidfd(w, m))
		return ABSENT;
	return (fate->installed < c->free ? PRESENT : FAILED) | (m->nfds > c->slots ? NO_ROOM : 0);
}

static void judge_datagram(struct world *w, struct call *c)
{
	struct message m;
	struct fate fate;
	bool cut;
	int pidfd, error;

	if (w->queued == 0) {
		MUST(w, c->result == -EAGAIN, "there is nothing");
		check_nothing_came(w, c);
		return;
	}
	m = *message_at(w, 0);
	fate = fate_of(c, m.nfds, 0, 0);
	pidfd = pidfd_of(w, c, &m, &fate);
	cut = m.len > (c->markers ? 1 : c->room);
	error = error_of(&fate);
	if (!error && is_strict(c) && cut)
		error = EMSGSIZE;
	if (!error && !is_strict(c) && pidfd == FAILED)
		error = EMFILE;
	if (error && (is_lossless(c) || is_strict(c))) {
		MUST(w, c->result == -error || (c->result < 0 && may_fail_with(&fate, (int)-c->result)),
		     "should fail: %s", strerror(error));
		check_nothing_came(w, c);
		if (is_lossless(c)) {
			w->counts.refused++;
			return;
		}
		dequeue(w);
		w->bytes_read += m.len;
		count_fds(w, m.nfds, &fate, 0);
		return;
	}
	dequeue(w);
	w->bytes_read += m.len;
	MUST(w, c->result == (ssize_t)lesser(m.len, c->markers ? 1 : c->room), "message of %zu",
	     m.len);
	check_bytes(w, c, 0, &m, 0, (size_t)c->result);
	check_sender(w, c, &m.sender);
	if (c->function == RECV_MSG) {
		check_came(w, c, ANCILLARY_DATA_TRUNCATED, cut);
		check_came(w, c, NO_FLAG, false);
		judge_loss(w, c, &fate, pidfd, m.sender.pid);
		w->counts.cut += cut;
	}
	take_fds(w, c, fate.delivered);
	count_fds(w, m.nfds, &fate, fate.delivered);
	w->counts.received++;
}

void judge(struct world *w, struct call *c)
{
	if (w->type == SOCK_STREAM)
		judge_stream(w, c);
	else
		judge_datagram(w, c);
}
