/* Options that another thread, or another process with the socket, switches while a
 * call is made, between its system calls: what was sent comes once, with its own
 * bytes.  Messages, calls and switches are random: ANCILLARY_TEST_SEED in the
 * environment repeats them. */

#include "calls.h"
#include "check.h"
#include "kit.h"
#include "labelling.h"

#include <ancillary.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 7, MOST_QUEUED = 6, MOST_LEN = 3, MOST_FDS = 2, ROOM = 4, STEPS = 400 };

/* What is queued: the bytes are counted through all messages, and so are the descriptors. */
struct message {
	size_t start, len, nfds;
};

static struct world {
	int type, sock[2];
	struct message queue[MOST_QUEUED];
	size_t queued, sent, sent_fds, received, received_fds;
} world;

static int files[FILES], fds[ROOM];
static unsigned char data[MOST_QUEUED * MOST_LEN + 8];
static uint64_t state;

static uint64_t below(uint64_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % n;
}

static unsigned char byte_at(size_t place)
{
	return (unsigned char)(1 + place % 251);
}

/* --- between any two system calls --- */

/* Not all are in every system, or for every type of socket. */
static void switch_something(void)
{
	static const int options[] = { SO_PASSCRED, SO_PASSCRED,  OPTION_PASSPIDFD, OPTION_PASSPIDFD,
				       SO_PASSSEC,  SO_TIMESTAMP, SO_TIMESTAMPNS,   OPTION_INQ };
	int on = below(2) == 0, error = errno;

	setsockopt(world.sock[below(4) == 0 ? HERE : THERE], SOL_SOCKET,
		   options[below(LENGTH(options))], &on, sizeof on);
	errno = error;
}

static long (*beneath)(const struct call *call);
static int receives;

static long switch_between(const struct call *call)
{
	if (call->number == SYS_recvmsg && receives++ > 0 && below(2) == 0)
		switch_something();
	return beneath(call);
}

/* --- messages --- */

static void send_one(void)
{
	struct message *m = &world.queue[world.queued++];
	unsigned char text[MOST_LEN];
	int sent[MOST_FDS];
	struct iovec iov = { text, 0 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1, .fds = sent };

	*m = (struct message){ .start = world.sent,
			       .len = 1 + below(MOST_LEN),
			       .nfds = below(MOST_FDS + 1) };
	for (size_t i = 0; i < m->len; i++)
		text[i] = byte_at(world.sent++);
	for (size_t i = 0; i < m->nfds; i++)
		sent[i] = files[world.sent_fds++ % FILES];
	iov.iov_len = m->len;
	msg.nfds = m->nfds;
	/* Stamped or not: messages of different senders do not come together. */
	if (below(2) == 0) {
		msg.flags = ANCILLARY_HAS_CREDS;
		msg.creds = (struct ancillary_creds){ getpid(), getuid(), getgid() };
	}
	CHECK_OK(ancillary_send_msg(world.sock[HERE], &msg, ANCILLARY_DONTWAIT), m->len);
}

/* How many descriptors belong to so many bytes that come next; takes them. */
static size_t take_messages(size_t bytes)
{
	size_t end = world.received + bytes, count = 0;

	while (world.queued > 0 && world.queue[0].start < end) {
		struct message *m = &world.queue[0];

		if (m->start >= world.received)
			count += m->nfds;
		if (m->start + m->len > end)
			break;
		world.queued--;
		memmove(m, m + 1, world.queued * sizeof *m);
	}
	return count;
}

static ssize_t receive(size_t len, size_t *nfds, int *pidfd)
{
	struct iovec iov = { data, len };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1, .fds = fds,
				     .nfds = ROOM };
	const unsigned flags = ANCILLARY_LOSSLESS | ANCILLARY_DONTWAIT;
	ssize_t n;

	*nfds = ROOM;
	*pidfd = -1;
	if (below(2) == 0)
		return ancillary_recv_fds(world.sock[THERE], fds, nfds, data, len, flags);
	n = ancillary_recv_msg(world.sock[THERE], &msg, flags);
	CHECK_IS(msg.error, 0);
	*nfds = msg.nfds;
	*pidfd = msg.pidfd;
	return n;
}

static void receive_one(void)
{
	/* Of a datagram all, or it is refused. */
	size_t len = world.type == SOCK_STREAM ? 1 + below(sizeof data) : sizeof data;
	size_t nfds, came;
	int expected[ROOM], pidfd;
	ssize_t n;

	receives = 0;
	beneath = on_call;
	on_call = switch_between;
	n = receive(len, &nfds, &pidfd);
	on_call = beneath;
	ancillary_close_fds(&pidfd, 1);
	if (world.queued == 0) {
		CHECK_IS(n, -EAGAIN);
		CHECK_IS(nfds, 0);
		return;
	}
	CHECK(n > 0 && world.received + (size_t)n <= world.sent);
	for (ssize_t i = 0; i < n; i++)
		CHECK_IS(data[i], byte_at(world.received + (size_t)i));
	came = take_messages((size_t)n);
	world.received += (size_t)n;
	CHECK_IS(nfds, came);
	for (size_t i = 0; i < came; i++)
		expected[i] = files[world.received_fds++ % FILES];
	take_arrived(fds, ROOM, expected, came);
}

static void run_one(int type, int sock[2])
{
	world = (struct world){ .type = type, .sock = { sock[HERE], sock[THERE] } };
	for (int step = 0; step < STEPS; step++) {
		if (below(4) == 0)
			switch_something();
		if (world.queued < MOST_QUEUED && below(2) == 0)
			send_one();
		else
			receive_one();
	}
	while (world.queued > 0)
		receive_one();
	check_nothing_there(sock[THERE]);
	CHECK_IS(world.received, world.sent);
	CHECK_IS(world.received_fds, world.sent_fds);
}

static void options_that_are_switched_within_a_call(void)
{
	const char *given = getenv("ANCILLARY_TEST_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 10) :
				(uint64_t)time(NULL) << 20 ^ (uint64_t)getpid();

	printf("# ANCILLARY_TEST_SEED=%" PRIu64 "\n", seed);
	open_files(files, FILES);
	for (int round = 0, rounds = some_of(100); round < rounds; round++) {
		check_about("ANCILLARY_TEST_SEED=%" PRIu64 ", round %d", seed, round);
		state = (seed + (uint64_t)round) * 2654435761u + 1;
		/* One that leaves room for a descriptor beside all else. */
		labelling.len = round % 2 ? sizeof(long) : 0;
		with_each_type(run_one);
	}
	close_files(files, FILES);
}

static long switch_labels_on(const struct call *call)
{
	if (call->number == SYS_recvmsg && receives++ == 1)
		set_option(world.sock[THERE], SO_PASSSEC, 1);
	return beneath(call);
}

/* With more than there is room for, which says nothing of what did not come. */
static void a_label_that_appears_within_a_call(void)
{
	unsigned char bytes[2];
	size_t nfds = 1;
	int file;

	open_files(&file, 1);
	open_pair(SOCK_STREAM, world.sock);
	CHECK_IS(send(world.sock[HERE], "a", 1, 0), 1);
	CHECK_IS(send_by_hand(world.sock[HERE], "b", 1, &file, 1), 1);
	labelling.len = 400;
	receives = 0;
	beneath = on_call;
	on_call = switch_labels_on;
	CHECK_OK(ancillary_recv_fds(world.sock[THERE], fds, &nfds, bytes, 1, ANCILLARY_LOSSLESS), 1);
	on_call = beneath;
	CHECK_IS(bytes[0], 'a');
	CHECK_IS(nfds, 0);
	nfds = 1;
	CHECK_OK(ancillary_recv_fds(world.sock[THERE], fds, &nfds, bytes, 2, ANCILLARY_LOSSLESS), 1);
	CHECK_IS(bytes[0], 'b');
	CHECK_IS(nfds, 1);
	take_arrived(fds, 1, &file, 1);
	labelling.len = 0;
	close_pair(world.sock);
	close_files(&file, 1);
}

CHECK_MAIN(CASE(options_that_are_switched_within_a_call), CASE(a_label_that_appears_within_a_call))
