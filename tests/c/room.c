/* Room bounds what a peer can take: a receive gives the kernel room for what was
 * asked for and what options bring beside it, so that a surplus fills the table of
 * descriptors neither for long nor by much. */

#include "check.h"

#include "kit.h"
#include "watch.h"

#include <ancillary.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* More slots than a message can fill. */
enum { ROOM = MOST + 50, LEN = 16 };

static int fds[ROOM], files[MOST];
static char data[LEN];

/* --- the calls --- */

enum way { RECV_FD, RECV_FDS, RECV_MSG, RECV_CREDS, OLD_RECV_FD, OLD_RECV_FDS, WAYS };

static const char *const names[] = { "recv_fd",	   "recv_fds",	    "recv_msg",
				     "recv_creds", "ancil_recv_fd", "ancil_recv_fds" };

/* What a call can be told: some have no slots or no flags to choose, one is for no
 * more than a message carries. */
static bool can(enum way way, size_t slots, unsigned flags)
{
	switch (way) {
	case RECV_FD:
	case OLD_RECV_FD:
		return slots == 1 && flags == 0;
	case OLD_RECV_FDS:
		return slots <= MOST && flags == 0;
	case RECV_CREDS:
		return slots == 0;
	default:
		return true;
	}
}

/* What came with the last call. */
static struct ancillary_msg msg;
static struct ancillary_creds creds;
static size_t nfds;

/* The descriptors of all calls are in the slots then, and errors are those of the
 * newer calls. */
static ssize_t receive(enum way way, int sock, size_t slots, unsigned flags)
{
	struct iovec iov = { data, LEN };
	ssize_t n;

	memset(data, 'x', sizeof data);
	memset(fds, 'x', sizeof fds);
	msg = (struct ancillary_msg){ .size = sizeof msg, .iov = &iov, .iovlen = 1, .fds = fds,
				      .nfds = slots };
	msg.pidfd = -1;
	nfds = slots;
	switch (way) {
	case RECV_FD:
		n = ancillary_recv_fd(sock);
		fds[0] = n >= 0 ? (int)n : -1;
		nfds = n >= 0;
		return n >= 0 ? 1 : n;
	case RECV_FDS:
		return ancillary_recv_fds(sock, fds, &nfds, data, LEN, flags);
	case RECV_MSG:
		n = ancillary_recv_msg(sock, &msg, flags);
		nfds = msg.nfds;
		return n;
	case RECV_CREDS:
		return ancillary_recv_creds(sock, &creds, data, LEN, flags);
	case OLD_RECV_FD:
		n = ancil_recv_fd(sock, fds);
		nfds = n == 0;
		return n == 0 ? 1 : -errno;
	default:
		n = ancil_recv_fds(sock, fds, (unsigned)slots);
		nfds = n > 0 ? (size_t)n : 0;
		return n >= 0 ? 1 : -errno;
	}
}

static void close_received(void)
{
	ancillary_close_fds(fds, nfds);
	if (msg.pidfd >= 0)
		close_files(&msg.pidfd, 1);
}

static void send_files(int sock, size_t count)
{
	CHECK_OK(ancillary_send_fds(sock, files, count, "p", 1, 0), 1);
}

/* --- options --- */

/* Whatever a message brings beside its descriptors, each a bit; of the time stamps
 * one. */
enum { CREDS = 1, PIDFDS = 2, INQ = 4, STAMPS = 8, NANOSTAMPS = 16, OPTIONS = 24 };

static bool try_option(int sock, int option, int value)
{
	return setsockopt(sock, SOL_SOCKET, option, &value, sizeof value) == 0;
}

/* Returns whether these options are to be had here. */
static bool pass(int sock, unsigned options)
{
	bool has = (try_option(sock, OPTION_PASSPIDFD, (options & PIDFDS) != 0) ||
		    !(options & PIDFDS)) &&
		   (try_option(sock, OPTION_INQ, (options & INQ) != 0) || !(options & INQ));

	set_option(sock, SO_PASSCRED, (options & CREDS) != 0);
	set_option(sock, SO_TIMESTAMP, 0);
	if (options & STAMPS)
		set_option(sock, SO_TIMESTAMP, 1);
	if (options & NANOSTAMPS)
		set_option(sock, SO_TIMESTAMPNS, 1);
	return has;
}

/* --- what is asked for --- */

static const unsigned all_flags[] = { 0, ANCILLARY_WAITALL, ANCILLARY_LOSSLESS,
				      ANCILLARY_LOSSLESS | ANCILLARY_WAITALL };

static const size_t counts[] = { 0, 1, 2, 3, 8, 28, 30, 31, MOST };

/* What is checked of each call. */
static void (*check_watched)(size_t slots);

/* Some plain bytes and then descriptors; what the call leaves is dropped. */
static void watch_call(enum way way, int sock[2], size_t slots, size_t sent, unsigned flags)
{
	if (sent % 2)
		send_files(sock[HERE], 0);
	send_files(sock[HERE], sent);
	if (can(way, slots, ANCILLARY_DONTWAIT))
		flags |= ANCILLARY_DONTWAIT;
	watch_begin();
	receive(way, sock[THERE], slots, flags);
	watch_end();
	CHECK(watched.calls > 0);
	check_watched(slots);
	close_received();
	drain(sock[THERE]);
}

static void watch_way(enum way way, int type, int sock[2])
{
	for (size_t f = 0; f < LENGTH(all_flags); f++)
		for (size_t i = 0; i < LENGTH(counts); i++) {
			if (!can(way, counts[i], all_flags[f]))
				continue;
			for (size_t sent = 0; sent < LENGTH(counts); sent++) {
				if (!is_tried())
					continue;
				check_about("type %d, %s, flags %x, room for %zu, %zu sent", type,
					    names[way], all_flags[f], counts[i], counts[sent]);
				watch_call(way, sock, counts[i], counts[sent], all_flags[f]);
			}
		}
}

static void watch_all(int type, int sock[2])
{
	for (unsigned options = 0; options < OPTIONS; options++)
		if (pass(sock[THERE], options))
			for (enum way way = RECV_FD; way < OLD_RECV_FD; way++)
				watch_way(way, type, sock);
}

static void watch_old(int type, int sock[2])
{
	watch_way(OLD_RECV_FD, type, sock);
	watch_way(OLD_RECV_FDS, type, sock);
}

static void check_room(size_t slots)
{
	CHECK(watched.room <= ROOM_FOR(slots));
	CHECK(watched.installed <= slots + MOST_BESIDE);
}

static void no_more_is_offered_than_was_asked_for(void)
{
	check_watched = check_room;
	open_files(files, MOST);
	with_each_type(watch_all);
	with_each_type(watch_old);
	close_files(files, MOST);
}

/* Also what is only looked at, or thrown away. */
static void check_close_on_exec(size_t slots)
{
	(void)slots;
	CHECK(!watched.inheritable);
}

static void what_is_installed_is_close_on_exec_from_the_start(void)
{
	check_watched = check_close_on_exec;
	open_files(files, MOST);
	with_each_type(watch_all);
	close_files(files, MOST);
}

/* --- what has room --- */

static void check_sender(unsigned options, unsigned flags)
{
	CHECK_IS(flags, (options & CREDS ? ANCILLARY_HAS_CREDS : 0) |
				(options & PIDFDS ? ANCILLARY_HAS_PIDFD : 0));
	CHECK_IS(msg.error, 0);
	if (options & CREDS)
		CHECK_IS(msg.creds.pid, getpid());
	if (options & PIDFDS)
		CHECK_IS(pid_of(msg.pidfd), getpid());
}

static void receive_exactly(enum way way, int sock[2], size_t count, unsigned options,
			    unsigned flags)
{
	check_about("%s, options %u, %zu descriptors, flags %x", names[way], options, count, flags);
	send_files(sock[HERE], count);
	if (flags & ANCILLARY_WAITALL)
		flags |= ANCILLARY_DONTWAIT;
	CHECK_IS(receive(way, sock[THERE], count, flags), 1);
	CHECK_IS(nfds, count);
	if (way == RECV_MSG)
		check_sender(options, msg.flags);
	if (way == RECV_CREDS)
		CHECK_IS(creds.pid, getpid());
	check_arrived(fds, files, count);
	close_received();
	check_nothing_there(sock[THERE]);
}

static void receive_with_options(int type, int sock[2])
{
	(void)type;
	for (unsigned options = 0; options < OPTIONS; options++) {
		if (!pass(sock[THERE], options))
			continue;
		for (enum way way = RECV_FD; way < OLD_RECV_FD; way++)
			for (size_t count = 0; count <= MOST; count += count < 40 ? 1 : 53)
				for (size_t f = 0; f < LENGTH(all_flags); f++)
					if (can(way, count, all_flags[f]) &&
					    (way != RECV_CREDS || options & CREDS) && is_tried())
						receive_exactly(way, sock, count, options, all_flags[f]);
	}
}

static void options_do_not_cost_a_descriptor(void)
{
	open_files(files, MOST);
	with_each_type(receive_with_options);
	close_files(files, MOST);
}

/* --- what has none --- */

static void check_surplus(size_t slots, unsigned options)
{
	const unsigned sender = ANCILLARY_HAS_CREDS | ANCILLARY_HAS_PIDFD;
	unsigned outcome = msg.flags & ~sender;

	/* The surplus may have taken the room of the pidfd. */
	if (outcome & ANCILLARY_FDS_LOST) {
		CHECK(options & PIDFDS && msg.pidfd < 0);
		CHECK_IS(msg.error, ENOBUFS);
		outcome &= ~(unsigned)ANCILLARY_FDS_LOST;
	} else {
		CHECK_IS(msg.error, 0);
	}
	CHECK_IS(outcome, ANCILLARY_FDS_SURPLUS);
	CHECK_IS(!(msg.flags & ANCILLARY_HAS_CREDS), !(options & CREDS));
	CHECK_IS(nfds, slots);
	check_arrived(fds, files, slots);
	close_received();
}

/* With so many numbers free, the table is never full. */
static void receive_surplus(enum way way, int sock[2], size_t slots, size_t sent, unsigned options)
{
	rlim_t limit;
	ssize_t n;

	check_about("%s, options %u, room for %zu, %zu sent", names[way], options, slots, sent);
	send_files(sock[HERE], sent);
	limit = leave_slots(slots + MOST_BESIDE + 1);
	n = receive(way, sock[THERE], slots, 0);
	set_limit(limit);
	if (way == RECV_MSG) {
		CHECK_IS(n, 1);
		check_surplus(slots, options);
	} else {
		CHECK_IS(n, -E2BIG);
	}
	check_nothing_there(sock[THERE]);
}

/* Nothing has happened by a call that loses nothing. */
static void refuse_surplus(enum way way, int sock[2], size_t slots, size_t sent)
{
	rlim_t limit;

	check_about("%s, room for %zu, %zu sent, lossless", names[way], slots, sent);
	send_files(sock[HERE], sent);
	limit = leave_slots(slots + MOST_BESIDE + 1);
	CHECK_ERR(receive(way, sock[THERE], slots, ANCILLARY_LOSSLESS), E2BIG);
	set_limit(limit);
	CHECK(all_none(fds, slots) || way == RECV_CREDS);
	CHECK_IS(receive(RECV_FDS, sock[THERE], sent, ANCILLARY_LOSSLESS), 1);
	take_arrived(fds, sent, files, sent);
}

static void receive_too_many(int type, int sock[2])
{
	(void)type;
	for (unsigned options = 0; options < OPTIONS; options++) {
		if (!pass(sock[THERE], options))
			continue;
		for (enum way way = RECV_FD; way < OLD_RECV_FD; way++)
			for (size_t i = 0; i + 1 < LENGTH(counts); i++)
				for (size_t more = i + 1; more < LENGTH(counts); more++) {
					if (!can(way, counts[i], 0) || !is_tried())
						continue;
					receive_surplus(way, sock, counts[i], counts[more], options);
					if (way != RECV_FD)
						refuse_surplus(way, sock, counts[i], counts[more]);
				}
	}
}

static void a_surplus_is_told_from_a_full_table(void)
{
	open_files(files, MOST);
	with_each_type(receive_too_many);
	close_files(files, MOST);
}

/* --- others who need the table --- */

/* Sends messages with as many descriptors as they carry, until it is killed. */
static pid_t start_flood(int sock[2])
{
	int many[MOST];
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid > 0) {
		close_end(sock, HERE);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_end(sock, THERE);
	for (size_t i = 0; i < MOST; i++)
		many[i] = sock[HERE];
	for (;;) {
		ssize_t n = ancillary_send_fds(sock[HERE], many, MOST, "p", 1, 0);

		if (n == -EPIPE || n == -ECONNRESET)
			_exit(0);
		/* Users other than root may have no more on the way. */
		if (n < 0)
			CHECK_IS(n, -ETOOMANYREFS);
		sched_yield();
	}
}

static struct {
	bool stop;
	long opened, refused;
} other;

/* Opens and closes all the time, as another connection would. */
static void *open_and_close(void *none)
{
	(void)none;
	while (!__atomic_load_n(&other.stop, __ATOMIC_SEQ_CST)) {
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

		if (fd < 0) {
			CHECK_IS(errno, EMFILE);
			__atomic_add_fetch(&other.refused, 1, __ATOMIC_SEQ_CST);
			continue;
		}
		CHECK(close(fd) == 0);
		__atomic_add_fetch(&other.opened, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

static void stand_a_flood(enum way way, int type, size_t slots, unsigned flags)
{
	/* So many calls, and so many files opened meanwhile. */
	const long wanted = some_of(500);
	int sock[2];
	pthread_t thread;
	rlim_t limit;
	pid_t peer;
	long calls;

	check_about("type %d, %s, room for %zu, flags %x", type, names[way], slots, flags);
	memset(&other, 0, sizeof other);
	open_pair(type, sock);
	peer = start_flood(sock);
	limit = leave_slots(slots + 32);
	thread = start_thread(open_and_close, NULL);
	for (calls = 0; calls < wanted ||
			__atomic_load_n(&other.opened, __ATOMIC_SEQ_CST) < wanted; calls++) {
		ssize_t n = receive(way, sock[THERE], slots, flags);

		CHECK_IS(n, way == RECV_MSG && !flags ? 1 : -E2BIG);
		close_received();
		/* What was refused is still there. */
		if (flags & ANCILLARY_LOSSLESS && calls % 3 == 0)
			CHECK_IS(recv(sock[THERE], data, 1, 0), 1);
	}
	__atomic_store_n(&other.stop, true, __ATOMIC_SEQ_CST);
	end_thread(thread);
	set_limit(limit);
	CHECK_IS(other.refused, 0);
	CHECK(kill(peer, SIGKILL) == 0);
	CHECK_IS(waitpid(peer, NULL, 0), peer);
	close_pair(sock);
}

static void with_a_flood(int type, unsigned flags)
{
	static const size_t slots[] = { 0, 1, 2, 10 };

	for (enum way way = RECV_FD; way < OLD_RECV_FD; way++)
		for (size_t i = 0; i < LENGTH(slots); i++)
			if (can(way, slots[i], flags))
				stand_a_flood(way, type, slots[i], flags);
}

static void a_flood_leaves_others_what_they_need(void)
{
	with_a_flood(SOCK_STREAM, 0);
	with_a_flood(SOCK_SEQPACKET, 0);
}

static void nor_does_looking_at_it_take_more(void)
{
	with_a_flood(SOCK_STREAM, ANCILLARY_LOSSLESS);
	with_a_flood(SOCK_SEQPACKET, ANCILLARY_LOSSLESS);
}

CHECK_MAIN(CASE(no_more_is_offered_than_was_asked_for),
	   CASE(what_is_installed_is_close_on_exec_from_the_start),
	   CASE(options_do_not_cost_a_descriptor), CASE(a_surplus_is_told_from_a_full_table), CASE(a_flood_leaves_others_what_they_need),
	   CASE(nor_does_looking_at_it_take_more))
