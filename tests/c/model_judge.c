/* The randomised test: what a call to receive had to do, and whether it did. */

#include "model_judge.h"

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
	struct fate fate = { .installed = lesser(nfds, left) };

	fate.lost = fate.installed < nfds;
	fate.surplus = fate.installed > c->slots - before;
	fate.delivered = before + lesser(fate.installed, c->slots - before);
	return fate;
}

int error_of(const struct fate *fate)
{
	return fate->surplus ? E2BIG : fate->lost ? EMFILE : 0;
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

void take_pidfd(const struct world *w, const struct call *c, pid_t pid)
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

void check_sender(struct world *w, const struct call *c, const struct ancillary_creds *sender)
{
	const struct ancillary_creds nobody = { 0, (uid_t)-1, (gid_t)-1 };
	bool told = w->passcred && sender;

	MUST(w, !(c->came & ANCILLARY_HAS_CREDS) == !told, "credentials came, or did not");
	MUST(w, same_sender(&c->creds, told ? sender : &nobody), "the credentials are %d %u %u",
	     (int)c->creds.pid, c->creds.uid, c->creds.gid);
	w->counts.without_sender += w->passcred && !sender;
}

void check_came(const struct world *w, const struct call *c, unsigned int bit, bool expected)
{
	MUST(w, !(c->came & bit) == !expected, "flag %#x %s", bit, expected ? "missing" : "set");
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

static void judge_datagram(struct world *w, struct call *c)
{
	struct message m;
	struct fate fate;
	bool cut, no_pidfd;
	int refusal, misfit;
	size_t delivered;

	if (w->queued == 0) {
		MUST(w, c->result == -EAGAIN, "there is nothing");
		check_nothing_came(w, c);
		return;
	}
	m = *message_at(w, 0);
	fate = fate_of(c, m.nfds, 0, 0);
	cut = m.len > (c->markers ? 1 : c->room);
	no_pidfd = w->passpidfd && fate.installed == c->free;
	misfit = error_of(&fate) ? error_of(&fate) : cut ? EMSGSIZE : 0;
	refusal = is_strict(c) ? misfit : error_of(&fate) ? error_of(&fate) : no_pidfd ? EMFILE : 0;
	if (is_lossless(c) && refusal) {
		MUST(w, c->result == -refusal, "should be refused: %s", strerror(refusal));
		check_nothing_came(w, c);
		w->counts.refused++;
		return;
	}
	dequeue(w);
	w->bytes_read += m.len;
	if (is_strict(c) && misfit) {
		MUST(w, c->result == -misfit, "should fail: %s", strerror(misfit));
		check_nothing_came(w, c);
		count_fds(w, m.nfds, &fate, 0);
		return;
	}
	MUST(w, c->result == (ssize_t)lesser(m.len, c->markers ? 1 : c->room), "message of %zu",
	     m.len);
	check_bytes(w, c, 0, &m, 0, (size_t)c->result);
	if (c->function == RECV_MSG) {
		bool lost = fate.lost || no_pidfd;

		check_sender(w, c, &m.sender);
		check_came(w, c, ANCILLARY_FDS_SURPLUS, fate.surplus);
		check_came(w, c, ANCILLARY_FDS_LOST, lost);
		check_came(w, c, ANCILLARY_DATA_TRUNCATED, cut);
		check_came(w, c, ANCILLARY_HAS_PIDFD, w->passpidfd && !no_pidfd);
		check_came(w, c, NO_FLAG, false);
		MUST(w, c->error == (lost ? EMFILE : 0), "error is %d", c->error);
		if (c->came & ANCILLARY_HAS_PIDFD)
			take_pidfd(w, c, m.sender.pid);
		else
			MUST(w, c->pidfd == -1, "the pidfd is %d", c->pidfd);
		w->counts.cut += cut;
		w->counts.pidfds += c->pidfd >= 0;
	}
	delivered = fate.delivered;
	take_fds(w, c, delivered);
	count_fds(w, m.nfds, &fate, delivered);
	w->counts.received++;
}

void judge(struct world *w, struct call *c)
{
	size_t now = unread_by_kernel(w);

	if (w->type == SOCK_STREAM) {
		MUST(w, now <= unread(w), "there is more than before");
		c->consumed = unread(w) - now;
		judge_stream(w, c);
	} else {
		judge_datagram(w, c);
	}
}
