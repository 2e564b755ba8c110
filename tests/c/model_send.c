/* The randomised test: sending something, and what has gone by that. */

#include "model.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- who sends --- */

enum { SENDERS = 6 };

/* The first is the test itself; the others are who it may pretend to be. */
static struct ancillary_creds senders[SENDERS];
static size_t known_senders;

static bool may_send_as(const struct ancillary_creds *creds)
{
	int sock[2];
	struct ancillary_msg message = { .size = sizeof message,
					 .pidfd = -1,
					 .flags = ANCILLARY_HAS_CREDS,
					 .creds = *creds };
	ssize_t sent;

	open_pair(SOCK_DGRAM, sock);
	sent = ancillary_send_msg(sock[HERE], &message, 0);
	close_pair(sock);
	return sent == 1;
}

void find_senders(void)
{
	const struct ancillary_creds wanted[SENDERS] = {
		{ getpid(), getuid(), getgid() }, { getpid(), 0, 0 },	      { getpid(), 1000, 1000 },
		{ getpid(), 65534, 65534 },	  { getppid(), 1000, 1000 }, { getpid(), 0, 4294967294u },
	};

	known_senders = 0;
	for (size_t i = 0; i < SENDERS; i++)
		if (may_send_as(&wanted[i]))
			senders[known_senders++] = wanted[i];
	CHECK(known_senders > 0);
}

const struct ancillary_creds *myself(void)
{
	return &senders[0];
}

/* --- what is sent --- */

struct sending {
	size_t len;
	bool zeros;
	size_t nfds;
	bool as_message; /* by ancillary_send_msg */
	const struct ancillary_creds *sender; /* to be attached, or NULL */
	int fds[MOST_SENT];
};

static size_t some_fds(const struct world *w)
{
	size_t room = pool_size() - fds_on_the_way(w);
	unsigned int kind = (unsigned int)below(1000);
	size_t nfds;

	if (kind < 500)
		nfds = 0;
	else if (kind < 850)
		nfds = between(1, 3);
	else if (kind < 940)
		nfds = between(4, 20);
	else if (kind < 975)
		nfds = between(21, MOST);
	else if (kind < 990 || w->type != SOCK_STREAM)
		nfds = MOST;
	else
		nfds = chance(30) ? MOST * between(2, 3) : between(MOST + 1, MOST_SENT);
	return lesser(nfds, room);
}

/* How many messages so many descriptors take. */
static size_t pieces_for(size_t nfds)
{
	return nfds > 0 ? (nfds + MOST - 1) / MOST : 1;
}

static void decide(const struct world *w, struct sending *s)
{
	s->nfds = some_fds(w);
	s->as_message = chance(50);
	s->sender = NULL;
	if (s->as_message && chance(25))
		s->sender = &senders[below(known_senders)];
	s->zeros = (s->nfds > 0 || s->sender) && chance(20);
	if (s->zeros)
		s->len = pieces_for(s->nfds);
	else if (chance(70))
		s->len = between(1, 16);
	else
		s->len = any_size(1, MOST_PAYLOAD);
	if (s->len < pieces_for(s->nfds))
		s->len = pieces_for(s->nfds);
	for (size_t i = 0; i < s->nfds; i++)
		s->fds[i] = pool_fd(w->fds_sent + i);
}

/* --- sending --- */

static ssize_t send_message(const struct world *w, const struct sending *s, unsigned int flags)
{
	static struct iovec iov[MOST_BUFFERS];
	struct ancillary_msg message = { .size = sizeof message, .pidfd = -1 };

	if (!s->zeros) {
		message.iov = iov;
		message.iovlen = cut_up(iov, s->len, bytes_at(w->bytes_sent), 0);
	}
	message.fds = (int *)(uintptr_t)s->fds;
	message.nfds = s->nfds;
	if (s->sender) {
		message.flags = ANCILLARY_HAS_CREDS;
		message.creds = *s->sender;
	}
	return ancillary_send_msg(w->sock[HERE], &message, flags);
}

/* An empty message: the library sends none, but others may. */
static ssize_t send_empty(const struct world *w, struct sending *s)
{
	s->len = 0;
	s->zeros = false;
	s->as_message = false;
	s->sender = NULL;
	s->nfds = lesser(s->nfds, MOST);
	return send_by_hand(w->sock[HERE], "", 0, s->fds, s->nfds);
}

static ssize_t send_it(const struct world *w, struct sending *s)
{
	unsigned int flags = ANCILLARY_DONTWAIT | (chance(10) ? ANCILLARY_INTR : 0);
	/* Calls that would wait for ever if they had to wait. */
	bool roomy = w->queued < 2 && unread(w) < 1000;

	if (w->type != SOCK_STREAM && roomy && chance(10))
		return send_empty(w, s);
	if (s->as_message)
		return send_message(w, s, flags);
	if (s->zeros && s->nfds == 1 && roomy) {
		int result = ancillary_send_fd(w->sock[HERE], s->fds[0]);

		return result == 0 ? 1 : result;
	}
	return ancillary_send_fds(w->sock[HERE], s->fds, s->nfds,
				  s->zeros ? NULL : bytes_at(w->bytes_sent), s->zeros ? 0 : s->len,
				  flags);
}

/* Adds what went: the descriptors of each piece with its first byte, and the
 * identity that was attached with the first. */
static void went(struct world *w, const struct sending *s, size_t bytes)
{
	size_t pieces = pieces_for(s->nfds);

	if (w->type != SOCK_STREAM)
		MUST(w, bytes == s->len, "a part of a datagram was sent");
	MUST(w, bytes <= s->len, "more was sent than there is");
	for (size_t i = 0; i < pieces && (bytes > 0 || s->len == 0); i++) {
		struct message piece = { .start = w->bytes_sent,
					 .len = i + 1 < pieces ? 1 : bytes,
					 .zeros = s->zeros,
					 .nfds = lesser(s->nfds - i * MOST, MOST),
					 .first_fd = w->fds_sent,
					 .sender = stamp(w) };

		piece.whole = lesser(piece.len, w->uncut);
		/* The library sends the buffers behind the first pieces a few at a time. */
		if (i > 0 && s->as_message)
			piece.whole = 1;
		if (i == 0 && s->sender)
			piece.sender = *s->sender;
		enqueue(w, &piece);
		bytes -= piece.len;
	}
	if (bytes > 0)
		wrong(w, __FILE__, __LINE__, "bytes == 0", "%zu bytes too many", bytes);
}

static bool may_fail(const struct world *w, const struct sending *s, ssize_t error)
{
	switch (error) {
	case -EAGAIN:
		return unread(w) > 0 || w->queued > 0;
	case -EMSGSIZE:
		return w->type != SOCK_STREAM && s->len + 64 > w->sndbuf;
	case -ETOOMANYREFS:
		/* Other processes of this user can have descriptors on the way as well. */
		return s->nfds > 0 && geteuid() != 0;
	case -ENOMEM:
		/* Where a C library takes less control data than the kernel,
		 * credentials take the room of eight descriptors. */
		return MOST < 253 && s->sender && s->nfds > MOST - 8;
	default:
		return false;
	}
}

void send_something(struct world *w)
{
	static struct sending s;
	ssize_t sent;

	if (w->queued + pieces_for(MOST_SENT) > MOST_QUEUED)
		return;
	decide(w, &s);
	errno = CHECK_ERRNO;
	sent = send_it(w, &s);
	note(w, "send %zu bytes%s, %zu descriptors%s%s: %zd", s.len, s.zeros ? " (markers)" : "",
	     s.nfds, s.as_message ? ", as a message" : "", s.sender ? " with credentials" : "",
	     sent);
	if (sent >= 0) {
		MUST(w, errno == CHECK_ERRNO, "errno was changed to %d", errno);
		w->counts.short_sends += (size_t)sent < s.len;
		went(w, &s, (size_t)sent);
	} else {
		if (s.len == 0)
			sent = -errno;
		MUST(w, errno == -sent, "errno is %d", errno);
		MUST(w, may_fail(w, &s, sent), "cannot be sent: %s", strerror(errno));
		w->counts.full++;
	}
}

/* --- out of band --- */

bool has_marks(void)
{
	int sock[2];
	bool has;

	open_pair(SOCK_STREAM, sock);
	has = send(sock[HERE], "m", 1, MSG_OOB) == 1;
	CHECK(has || errno == EOPNOTSUPP);
	close_pair(sock);
	return has;
}

bool peeks_behind_marks(void)
{
	int sock[2];
	bool peeks;
	char byte;

	open_pair(SOCK_STREAM, sock);
	CHECK_IS(send(sock[HERE], "m", 1, MSG_OOB), 1);
	CHECK_IS(send(sock[HERE], "b", 1, 0), 1);
	peeks = recv(sock[THERE], &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
	close_pair(sock);
	return peeks;
}

/* Sends some bytes, the last of them out of band; one that was so before is like all
 * others then. */
void send_mark(struct world *w)
{
	size_t len = chance(50) ? 1 : between(2, 5);
	struct message m = { .start = w->bytes_sent, .len = len - 1, .whole = len - 1,
			     .first_fd = w->fds_sent, .sender = stamp(w) };
	const int flags = MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL;
	ssize_t sent;

	if (w->queued + 2 > MOST_QUEUED)
		return;
	sent = send(w->sock[HERE], bytes_at(w->bytes_sent), len, flags);
	note(w, "send %zu bytes, the last out of band: %zd", len, sent);
	if (sent < 0) {
		MUST(w, errno == EOPNOTSUPP || (errno == EAGAIN && w->queued > 0),
		     "cannot be sent: %s", strerror(errno));
		return;
	}
	if (sent > 0 && len > 1) {
		m.len = m.whole = lesser(len - 1, (size_t)sent);
		enqueue(w, &m);
	}
	if ((size_t)sent < len)
		return;
	for (size_t i = 0; w->marked && i < w->queued; i++)
		message_at(w, i)->mark = false;
	m.start = w->bytes_sent;
	m.len = m.whole = 1;
	m.mark = true;
	enqueue(w, &m);
	w->marked = true;
	w->counts.marks++;
}
