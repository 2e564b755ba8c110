/* SO_RCVTIMEO and SO_SNDTIMEO: the time is that of a whole call. */

#include "check.h"
#include "kit.h"

#include "calls.h"
#include <ancillary.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* --- time --- */

/* How long a call may wait; and what it takes where nothing ends it, or where each
 * system call has that time for itself. */
enum { LIMIT = 100, FOREVER = 20000 };

static long clocks;

/* How many milliseconds the library takes to have passed besides. */
static long long skipped;

/* In front of the C library's, for the library to find. */
int clock_gettime(clockid_t clock, struct timespec *time)
{
	struct {
		long seconds, nanoseconds;
	} now;
	long result = make_call(&(struct call){ "", SYS_clock_gettime, { clock, (long)&now } });

	clocks++;
	now.nanoseconds += (long)(skipped % 1000 * 1000000);
	time->tv_sec = (time_t)(now.seconds + skipped / 1000 + now.nanoseconds / 1000000000);
	time->tv_nsec = now.nanoseconds % 1000000000;
	return (int)result;
}

static void check_waited(long since)
{
	check_took(since, LIMIT, FOREVER);
}

static bool with_signals;

/* Signals to this thread, of which each would let the kernel count from the
 * beginning. */
static void start_signals(void)
{
	const struct itimerval often = { { 0, 50000 }, { 0, 50000 } };

	if (!with_signals)
		return;
	signals_handled = 0;
	count_signal(SIGALRM);
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
}

static void end_signals(void)
{
	const struct itimerval none = { { 0, 0 }, { 0, 0 } };

	CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
	CHECK(!with_signals || signals_handled > 0 || is_slow());
}

/* A thread that is sent none of them. */
static pthread_t start_beside(void *(*run)(void *), void *argument)
{
	pthread_t thread;
	sigset_t signals, before;

	sigemptyset(&signals);
	sigaddset(&signals, SIGALRM);
	CHECK(pthread_sigmask(SIG_BLOCK, &signals, &before) == 0);
	thread = start_thread(run, argument);
	CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
	return thread;
}

static void with_signals_and_without(void (*run)(void))
{
	with_signals = false;
	run();
	with_signals = true;
	run();
}

/* --- calls that receive --- */

enum { LEN = 2000 };

static unsigned char data[LEN];
static int received[LEN];
static size_t nfds;

static long recv_one(int sock, unsigned flags)
{
	int fd = ancillary_recv_fd(sock), result = fd;

	(void)flags;
	ancillary_close_fds(&fd, 1);
	return result;
}

static long recv_several(int sock, unsigned flags)
{
	nfds = LEN;
	return ancillary_recv_fds(sock, received, &nfds, data, LEN, flags);
}

static long recv_markers(int sock, unsigned flags)
{
	nfds = LEN;
	return ancillary_recv_fds(sock, received, &nfds, NULL, 0, flags);
}

static long recv_all(int sock, unsigned flags)
{
	struct iovec iov[] = { { data, 3 }, { data + 3, LEN - 3 } };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = iov, .iovlen = 2 };
	long n;

	msg.fds = received;
	msg.nfds = LEN;
	n = ancillary_recv_msg(sock, &msg, flags);
	nfds = msg.nfds;
	return n;
}

static long recv_identity(int sock, unsigned flags)
{
	struct ancillary_creds creds;

	nfds = 0;
	return ancillary_recv_creds(sock, &creds, data, LEN, flags);
}

static long recv_old_one(int sock, unsigned flags)
{
	int fd;

	(void)flags;
	return ancil_recv_fd(sock, &fd) < 0 ? -errno : 0;
}

static long recv_old_several(int sock, unsigned flags)
{
	(void)flags;
	return ancil_recv_fds(sock, received, 2) < 0 ? -errno : 0;
}

static const struct {
	const char *name;
	long (*make)(int sock, unsigned flags);
	bool has_flags;
} receives[] = {
	{ "recv_fd", recv_one, false },
	{ "recv_fds", recv_several, true },
	{ "recv_fds of markers", recv_markers, true },
	{ "recv_msg", recv_all, true },
	{ "recv_creds", recv_identity, true },
	{ "ancil_recv_fd", recv_old_one, false },
	{ "ancil_recv_fds", recv_old_several, false },
};

static void receive_from_nobody(int type, int sock[2])
{
	static const unsigned flags[] = { 0, ANCILLARY_WAITALL, ANCILLARY_LOSSLESS,
					  ANCILLARY_WAITALL | ANCILLARY_LOSSLESS };

	set_timeout(sock[THERE], SO_RCVTIMEO, LIMIT);
	for (size_t i = 0; i < LENGTH(receives); i++) {
		for (size_t k = 0; k < (receives[i].has_flags ? LENGTH(flags) : 1); k++) {
			long start = milliseconds();

			check_about("%s on type %d with %#x%s", receives[i].name, type, flags[k],
				    with_signals ? ", with signals" : "");
			start_signals();
			CHECK_IS(receives[i].make(sock[THERE], flags[k]), -EAGAIN);
			end_signals();
			check_waited(start);
		}
	}
}

static void wait_for_a_stream(void)
{
	with_type(SOCK_STREAM, receive_from_nobody);
}

static void wait_for_packets(void)
{
	with_type(SOCK_SEQPACKET, receive_from_nobody);
}

static void wait_for_datagrams(void)
{
	with_type(SOCK_DGRAM, receive_from_nobody);
}

static void a_receive_from_a_stream_ends(void)
{
	with_signals_and_without(wait_for_a_stream);
}

static void a_receive_of_packets_ends(void)
{
	with_signals_and_without(wait_for_packets);
}

static void a_receive_of_datagrams_ends(void)
{
	with_signals_and_without(wait_for_datagrams);
}

/* --- a peer that writes slowly --- */

/* Writes a byte at a time, with a descriptor or without. */
struct dribble {
	int sock, file;
	size_t nfds, sent;
	volatile bool over;
};

static void *dribble(void *argument)
{
	struct dribble *slow = argument;

	/* All of it would take longer than anybody waits. */
	while (!slow->over) {
		sleep_ms(FOREVER / LEN);
		CHECK_IS(send_by_hand(slow->sock, "-", 1, &slow->file, slow->nfds), 1);
		slow->sent++;
	}
	return NULL;
}

static void receive_dribble(long (*receive)(int sock, unsigned flags), unsigned flags, size_t count)
{
	struct dribble slow = { .nfds = count };
	pthread_t thread;
	int sock[2];
	long n, start;

	open_pair(SOCK_STREAM, sock);
	open_files(&slow.file, 1);
	set_timeout(sock[THERE], SO_RCVTIMEO, LIMIT);
	if (receive == recv_identity)
		set_option(sock[THERE], SO_PASSCRED, 1);
	slow.sock = sock[HERE];
	/* However late the thread begins, something comes in time. */
	CHECK_IS(send_by_hand(sock[HERE], "-", 1, &slow.file, count), 1);
	slow.sent = 1;
	thread = start_beside(dribble, &slow);
	start = milliseconds();
	start_signals();
	n = receive(sock[THERE], ANCILLARY_WAITALL | flags);
	end_signals();
	check_waited(start);
	slow.over = true;
	end_thread(thread);
	/* What came in time is counted, and what came later is still there. */
	CHECK(n > 0 && n < LEN);
	CHECK_IS(nfds, (size_t)n * count);
	ancillary_close_fds(received, nfds);
	CHECK((size_t)n <= slow.sent);
	for (size_t rest = slow.sent - (size_t)n; rest > 0; rest--)
		CHECK_IS(recv(sock[THERE], data, 1, MSG_DONTWAIT), 1);
	check_nothing_there(sock[THERE]);
	close_files(&slow.file, 1);
	close_pair(sock);
}

static void receive_each_dribble(void)
{
	for (unsigned flags = 0; flags <= ANCILLARY_LOSSLESS; flags += ANCILLARY_LOSSLESS) {
		for (size_t count = 0; count < 2; count++) {
			check_about("recv_fds with %#x, %zu descriptors", flags, count);
			receive_dribble(recv_several, flags, count);
			check_about("recv_msg with %#x, %zu descriptors", flags, count);
			receive_dribble(recv_all, flags, count);
		}
		check_about("recv_creds with %#x", flags);
		receive_dribble(recv_identity, flags, 0);
	}
}

static void waitall_ends_however_slowly_the_peer_writes(void)
{
	with_signals_and_without(receive_each_dribble);
}

/* --- a peer that reads slowly --- */

enum { LARGE = 2 << 20, FILES = 600, A_TIME = 1000 };

static unsigned char *large;
static int files[FILES];
static struct ancillary_creds own;

static long send_several(int sock)
{
	return ancillary_send_fds(sock, files, FILES, large, LARGE, 0);
}

static long send_all(int sock)
{
	struct iovec iov[] = { { large, 5 }, { NULL, 0 }, { large + 5, LARGE - 5 } };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = iov, .iovlen = 3 };

	msg.fds = files;
	msg.nfds = FILES;
	msg.flags = ANCILLARY_HAS_CREDS;
	msg.creds = own;
	return ancillary_send_msg(sock, &msg, 0);
}

static long send_bytes(int sock)
{
	return ancillary_send_fds(sock, NULL, 0, large, LARGE, 0);
}

static long send_identity(int sock)
{
	return ancillary_send_creds(sock, &own, large, LARGE, 0);
}

static const struct {
	const char *name;
	long (*make)(int sock);
	size_t nfds;
} sends[] = {
	{ "send_fds", send_several, FILES },
	{ "send_fds of bytes", send_bytes, 0 },
	{ "send_msg", send_all, FILES },
	{ "send_creds", send_identity, 0 },
};

struct slow_reader {
	int sock;
	size_t bytes, nfds;
	volatile bool hurry;
};

/* Reads to the end: all of it would take longer than anybody waits. */
static void *read_slowly(void *argument)
{
	struct slow_reader *reader = argument;
	unsigned char part[A_TIME];
	int fds[MOST];
	size_t count;
	ssize_t n;

	while ((n = receive_by_hand(reader->sock, part, sizeof part, fds, &count)) > 0) {
		CHECK(is_payload(part, (size_t)n, reader->bytes));
		close_files(fds, count);
		reader->bytes += (size_t)n;
		reader->nfds += count;
		if (!reader->hurry)
			sleep_ms(FOREVER / (LARGE / A_TIME));
	}
	CHECK_IS(n, 0);
	return NULL;
}

static void send_to_slow_reader(size_t i)
{
	struct slow_reader reader = { .bytes = 0 };
	pthread_t thread;
	int sock[2];
	long n, start;

	open_pair(SOCK_STREAM, sock);
	set_timeout(sock[HERE], SO_SNDTIMEO, LIMIT);
	reader.sock = sock[THERE];
	thread = start_beside(read_slowly, &reader);
	start = milliseconds();
	start_signals();
	n = sends[i].make(sock[HERE]);
	end_signals();
	check_waited(start);
	reader.hurry = true;
	CHECK(n > 0 && n < LARGE);
	CHECK(shutdown(sock[HERE], SHUT_WR) == 0);
	end_thread(thread);
	/* What has been counted went, each descriptor once, and nothing else. */
	CHECK_IS(reader.bytes, n);
	CHECK_IS(reader.nfds, sends[i].nfds);
	close_pair(sock);
}

static void send_each(void)
{
	for (size_t i = 0; i < LENGTH(sends); i++) {
		check_about("%s%s", sends[i].name, with_signals ? ", with signals" : "");
		send_to_slow_reader(i);
	}
}

static void *read_a_little_often(void *argument)
{
	struct slow_reader *reader = argument;
	char part[2000];
	ssize_t n;

	while ((n = recv(reader->sock, part, sizeof part, 0)) > 0) {
		reader->bytes += (size_t)n;
		if (!reader->hurry)
			sleep_ms(1);
	}
	CHECK_IS(n, 0);
	return NULL;
}

/* Each wait finds room for a little, and there are more waits than looks that a
 * socket is given which is not ready after all. */
static void a_send_of_many_waits_ends(void)
{
	enum { MUCH = 4000000 };
	struct slow_reader reader = { .bytes = 0 };
	char *payload = calloc(1, MUCH);
	pthread_t thread;
	int sock[2];
	long n, start;

	CHECK(payload);
	open_pair(SOCK_STREAM, sock);
	set_option(sock[HERE], SO_SNDBUF, 1);
	set_timeout(sock[HERE], SO_SNDTIMEO, 3 * LIMIT);
	reader.sock = sock[THERE];
	thread = start_beside(read_a_little_often, &reader);
	start = milliseconds();
	n = ancillary_send_fds(sock[HERE], sock, 2, payload, MUCH, 0);
	check_waited(start);
	reader.hurry = true;
	CHECK(n > 0 && n < MUCH);
	CHECK(shutdown(sock[HERE], SHUT_WR) == 0);
	end_thread(thread);
	CHECK_IS(reader.bytes, n);
	close_pair(sock);
	free(payload);
}

static void a_send_ends_however_slowly_the_peer_reads(void)
{
	large = malloc(LARGE);
	CHECK(large);
	make_payload(large, LARGE);
	open_files(files, FILES);
	own = (struct ancillary_creds){ getpid(), getuid(), getgid() };
	with_signals_and_without(send_each);
	close_files(files, FILES);
	free(large);
}

static void send_to_full_socket(int type, int sock[2])
{
	struct iovec iov = { data, 3 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };
	long start;

	fill(sock[HERE]);
	set_timeout(sock[HERE], SO_SNDTIMEO, LIMIT);
	for (int i = 0; i < 5; i++) {
		check_about("call %d on type %d%s", i, type, with_signals ? ", with signals" : "");
		start = milliseconds();
		start_signals();
		if (i == 0)
			CHECK_ERR(ancillary_send_fd(sock[HERE], sock[HERE]), EAGAIN);
		if (i == 1)
			CHECK_ERR(ancillary_send_fds(sock[HERE], sock, 2, data, LEN, 0), EAGAIN);
		if (i == 2)
			CHECK_ERR(ancillary_send_msg(sock[HERE], &msg, 0), EAGAIN);
		if (i == 3)
			CHECK_ERR(ancillary_send_creds(sock[HERE], NULL, data, 3, 0), EAGAIN);
		if (i == 4)
			CHECK(ancil_send_fd(sock[HERE], sock[HERE]) == -1 && errno == EAGAIN);
		end_signals();
		check_waited(start);
	}
}

static void wait_for_room(void)
{
	with_each_type(send_to_full_socket);
}

static void a_send_to_a_full_socket_ends(void)
{
	with_signals_and_without(wait_for_room);
}

/* --- what does not have to wait --- */

static int of_messages, of_others;

static long count(const struct call *call)
{
	if (call->number == SYS_sendmsg || call->number == SYS_recvmsg)
		of_messages++;
	else
		of_others++;
	return make_call(call);
}

/* A call makes so many system calls that transfer, and so many others, and does
 * not look at a clock. */
#define MAKES(messages, others, call, result) \
	do { \
		of_messages = of_others = 0; \
		clocks = 0; \
		on_call = count; \
		CHECK_OK(call, result); \
		on_call = make_call; \
		CHECK_IS(of_messages, messages); \
		CHECK_IS(of_others, others); \
		CHECK_IS(clocks, 0); \
	} while (0)

static void transfer_at_once(int type, int sock[2])
{
	static const unsigned flags[] = { 0, ANCILLARY_DONTWAIT, ANCILLARY_INTR, ANCILLARY_WAITALL };
	struct iovec iov = { data, LEN };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };
	struct ancillary_creds creds;

	open_files(files, 2);
	set_option(sock[THERE], SO_PASSCRED, 1);
	for (size_t i = 0; i < LENGTH(flags); i++) {
		unsigned send = flags[i] & ~(unsigned)ANCILLARY_WAITALL, receive = flags[i];

		check_about("type %d, flags %#x", type, receive);
		MAKES(1, 0, ancillary_send_fds(sock[HERE], files, 2, data, LEN, send), LEN);
		MAKES(1, 0, recv_several(sock[THERE], receive), LEN);
		close_files(received, nfds);
		/* Where nothing but descriptors comes, as these alone tell what was taken. */
		set_option(sock[THERE], SO_PASSCRED, 0);
		MAKES(1, 0, ancillary_send_fds(sock[HERE], files, 2, data, LEN, send), LEN);
		MAKES(2, 0, recv_several(sock[THERE], receive | ANCILLARY_LOSSLESS), LEN);
		set_option(sock[THERE], SO_PASSCRED, 1);
		close_files(received, nfds);
		MAKES(1, 0, ancillary_send_fds(sock[HERE], files, 2, NULL, 0, send), 1);
		nfds = 2;
		MAKES(1, 0, ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0, receive), 1);
		close_files(received, nfds);
		MAKES(1, 0, ancillary_send_msg(sock[HERE], &msg, send), LEN);
		MAKES(1, 0, ancillary_recv_msg(sock[THERE], &msg, receive), LEN);
		MAKES(1, 0, ancillary_send_creds(sock[HERE], &own, data, LEN, send), LEN);
		MAKES(1, 0, ancillary_recv_creds(sock[THERE], &creds, data, LEN, receive), LEN);
	}
	MAKES(1, 0, ancillary_send_fd(sock[HERE], files[0]), 0);
	of_messages = of_others = 0;
	clocks = 0;
	on_call = count;
	received[0] = ancillary_recv_fd(sock[THERE]);
	on_call = make_call;
	CHECK(received[0] >= 0 && of_messages == 1 && of_others == 0 && clocks == 0);
	close_files(received, 1);
	close_files(files, 2);
}

/* What is longer than a buffer of the kernel, and finds room for all. */
static void transfer_much_at_once(int sock[2])
{
	enum { MUCH = 100000 };
	static unsigned char much[MUCH];

	MAKES(1, 0, ancillary_send_fds(sock[HERE], NULL, 0, much, MUCH, 0), MUCH);
	MAKES(1, 0, ancillary_send_fds(sock[HERE], sock, 2, much, 1000, 0), 1000);
	MAKES(1, 0, ancillary_recv_fds(sock[THERE], NULL, &(size_t){ 0 }, much, MUCH,
				       ANCILLARY_WAITALL),
	      MUCH);
	drain(sock[THERE]);
	MAKES(1, 0, ancillary_send_fds(sock[HERE], sock, 2, much, MUCH, 0), MUCH);
	drain(sock[THERE]);
}

static void what_does_not_wait_makes_no_other_call(void)
{
	own = (struct ancillary_creds){ getpid(), getuid(), getgid() };
	for (int timed = 0; timed < 2; timed++) {
		for (int i = 0; i < 3; i++) {
			const int type[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
			int sock[2];

			open_pair(type[i], sock);
			if (timed) {
				set_timeout(sock[HERE], SO_SNDTIMEO, LIMIT);
				set_timeout(sock[THERE], SO_RCVTIMEO, LIMIT);
			}
			transfer_at_once(type[i], sock);
			if (type[i] == SOCK_STREAM)
				transfer_much_at_once(sock);
			close_pair(sock);
		}
	}
}

/* Nor does one that may not wait, and finds nothing. */
static void find_nothing(int type, int sock[2])
{
	set_timeout(sock[HERE], SO_SNDTIMEO, LIMIT);
	set_timeout(sock[THERE], SO_RCVTIMEO, LIMIT);
	fill(sock[HERE]);
	of_messages = of_others = 0;
	clocks = 0;
	on_call = count;
	CHECK_ERR(ancillary_send_fds(sock[HERE], sock, 2, data, LEN, ANCILLARY_DONTWAIT), EAGAIN);
	on_call = make_call;
	CHECK(of_messages == 1 && of_others == 0 && clocks == 0);
	drain(sock[THERE]);
	for (size_t i = 0; i < LENGTH(receives); i++) {
		if (!receives[i].has_flags)
			continue;
		check_about("%s on type %d", receives[i].name, type);
		of_messages = of_others = 0;
		clocks = 0;
		on_call = count;
		CHECK_IS(receives[i].make(sock[THERE], ANCILLARY_DONTWAIT), -EAGAIN);
		CHECK_IS(receives[i].make(sock[THERE], ANCILLARY_DONTWAIT | ANCILLARY_WAITALL),
			 -EAGAIN);
		on_call = make_call;
		CHECK_IS(of_messages, 2);
		CHECK_IS(of_others, 0);
		CHECK_IS(clocks, 0);
	}
}

static void nor_does_what_may_not_wait(void)
{
	with_each_type(find_nothing);
}

/* --- long times --- */

/* What a call of poll(2) waits passes at once. */
static long skip(const struct call *call)
{
	long milliseconds = call->arguments[2];

	if (strcmp(call->name, "poll") != 0)
		return make_call(call);
#ifndef SYS_poll
	const struct timespec *time = (const struct timespec *)milliseconds;

	milliseconds = (long)time->tv_sec * 1000 + time->tv_nsec / 1000000;
#endif
	skipped += milliseconds;
	return 0;
}

/* poll(2) counts milliseconds in an int. */
static void a_time_of_months_is_not_cut(void)
{
	const struct timeval limit = { 60L * 24 * 60 * 60, 0 };
	struct timeval taken = { 0, 0 };
	socklen_t length = sizeof taken;
	size_t nfds = 0;
	int sock[2];

	open_pair(SOCK_STREAM, sock);
	CHECK(setsockopt(sock[THERE], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
	CHECK(getsockopt(sock[THERE], SOL_SOCKET, SO_RCVTIMEO, &taken, &length) == 0);
	if (taken.tv_sec != limit.tv_sec)
		check_skip("to the kernel so long is for ever");
	skipped = 0;
	on_call = skip;
	CHECK_ERR(ancillary_recv_fds(sock[THERE], NULL, &nfds, data, LEN, ANCILLARY_WAITALL), EAGAIN);
	on_call = make_call;
	CHECK(skipped / 1000 == limit.tv_sec - 1 || skipped / 1000 == limit.tv_sec);
	skipped = 0;
	close_pair(sock);
}

CHECK_MAIN(CASE(a_receive_from_a_stream_ends), CASE(a_receive_of_packets_ends),
	   CASE(a_receive_of_datagrams_ends), CASE(waitall_ends_however_slowly_the_peer_writes),
	   CASE(a_send_ends_however_slowly_the_peer_reads), CASE(a_send_of_many_waits_ends),
	   CASE(a_send_to_a_full_socket_ends),
	   CASE(what_does_not_wait_makes_no_other_call), CASE(nor_does_what_may_not_wait),
	   CASE(a_time_of_months_is_not_cut))
