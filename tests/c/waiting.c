/* Which system calls a call makes that has to wait, or finds out that it may not;
 * and what it does where poll(2) is not to be had. */

#include "check.h"
#include "channel_kit.h"
#include "kit.h"
#include "late.h"

#include <ancillary.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { DONTWAIT = ANCILLARY_DONTWAIT, MORE = ANCILLARY_MORE, WAITALL = ANCILLARY_WAITALL,
       LOSSLESS = ANCILLARY_LOSSLESS, INTR = ANCILLARY_INTR };

enum { LEN = 100, LONG = 400000, LIMIT = 100, FOREVER = 20000 };

/* --- what is made --- */

static char made[400];

static void note(const char *name)
{
	CHECK(strlen(made) + strlen(name) + 2 < sizeof made);
	if (made[0])
		strcat(made, " ");
	strcat(made, name);
}

static const char *name_of(const struct call *call)
{
	if (call->number == SYS_getsockopt)
		return call->arguments[2] == SO_TYPE	 ? "type" :
		       call->arguments[2] == SO_RCVTIMEO ? "time" :
		       call->arguments[2] == SO_SNDTIMEO ? "time" :
							   "option";
	if (call->number == SYS_fcntl)
		return call->arguments[1] == F_GETFL ? "flags" : "fcntl";
	if (call->number == SYS_sendmsg)
		return "send";
	if (call->number == SYS_recvmsg)
		return "receive";
	return call->name;
}

static bool noting;

static long noted(const struct call *call)
{
	note(name_of(call));
	return make_late(call);
}

/* In front of the C library's, for the library to find. */
int clock_gettime(clockid_t clock, struct timespec *time)
{
	struct {
		long seconds, nanoseconds;
	} now;
	long result = make_call(&(struct call){ "", SYS_clock_gettime, { clock, (long)&now } });

	if (noting)
		note("clock");
	time->tv_sec = (time_t)now.seconds;
	time->tv_nsec = now.nanoseconds;
	return (int)result;
}

static void begin(void)
{
	made[0] = 0;
	on_call = noted;
	noting = true;
	errno = CHECK_ERRNO;
}

static void end(long result, long expected, const char *calls)
{
	int error = errno;

	on_call = make_call;
	noting = false;
	CHECK_IS(result, expected);
	CHECK_IS(error, expected < 0 ? -expected : CHECK_ERRNO);
	check_about("made: %s; expected: %s", made, calls);
	CHECK(strcmp(made, calls) == 0);
	check_about("%s", "");
	CHECK(!when_it_waits);
}

/* A call returns this, having made these system calls in this order. */
#define MAKES(call, expected, calls) \
	do { \
		begin(); \
		end((long)(call), expected, calls); \
	} while (0)

/* --- the other side --- */

static int sock[2];
static char block[LEN];

static void send_block(void)
{
	send_bytes(sock[HERE], block, LEN);
}

static void send_file(void)
{
	CHECK_IS(send_by_hand(sock[HERE], "a", 1, sock, 1), 1);
}

static void send_message(void)
{
	send_plain(sock[HERE], 1, 2, "a", 1, NULL, 0);
}

static void make_room(void)
{
	drain(sock[THERE]);
}

static void go(void)
{
	CHECK(shutdown(sock[HERE], SHUT_WR) == 0);
}

/* --- calls that wait --- */

static size_t none;

static long receive_all(unsigned flags)
{
	static char got[LEN];

	none = 0;
	return ancillary_recv_fds(sock[THERE], NULL, &none, got, LEN, WAITALL | flags);
}

static long receive_file(void)
{
	int fd = ancillary_recv_fd(sock[THERE]);

	if (fd < 0)
		return fd;
	/* Not the library's. */
	make_call(&(struct call){ "", SYS_close, { fd } });
	return 0;
}

static char much[LONG];

static long send_much(void)
{
	return ancillary_send_fds(sock[HERE], sock, 2, much, 10000, 0);
}

static void a_receive_waits(void)
{
	open_pair(SOCK_STREAM, sock);
	/* The kernel does. */
	when_it_waits = send_file;
	MAKES(receive_file(), 0, "receive");
	when_it_waits = send_block;
	MAKES(receive_all(0), LEN, "receive flags time receive");
	send_bytes(sock[HERE], block, 1);
	when_it_waits = send_block;
	MAKES(receive_all(0), LEN, "receive type receive flags time receive");
	drain(sock[THERE]);
	set_timeout(sock[THERE], SO_RCVTIMEO, FOREVER);
	when_it_waits = send_file;
	MAKES(receive_file(), 0, "receive");
	when_it_waits = send_block;
	MAKES(receive_all(0), LEN, "receive flags time clock clock poll receive");
	send_bytes(sock[HERE], block, 1);
	when_it_waits = send_block;
	MAKES(receive_all(0), LEN, "receive type receive flags time clock clock poll receive");
	close_pair(sock);
}

static void a_send_waits(void)
{
	open_pair(SOCK_STREAM, sock);
	fill(sock[HERE]);
	when_it_waits = make_room;
	MAKES(ancillary_send_fd(sock[HERE], sock[HERE]), 0, "send");
	fill(sock[HERE]);
	when_it_waits = make_room;
	MAKES(send_much(), 10000, "send flags time send");
	set_timeout(sock[HERE], SO_SNDTIMEO, FOREVER);
	fill(sock[HERE]);
	when_it_waits = make_room;
	MAKES(send_much(), 10000, "send flags time clock type clock poll send");
	close_pair(sock);
}

static struct end channels[2];

static void open_channels(void)
{
	static const struct room room = { 4096, 16, LONG + 16, 16 };

	open_pair(SOCK_STREAM, sock);
	for (int end = HERE; end <= THERE; end++)
		open_end(&channels[end], sock[end], ANCILLARY_FORMAT_PLAIN, 0, room);
}

static void close_channels(void)
{
	for (int end = HERE; end <= THERE; end++)
		close_end_of(&channels[end]);
	close_pair(sock);
}

static int receive_message(unsigned flags)
{
	struct ancillary_frame frame = unset();

	return ancillary_channel_recv(&channels[THERE].channel, &frame, flags);
}

static int send_a_message(size_t len, size_t nfds, unsigned flags)
{
	struct ancillary_frame frame = message(1, 2, much, len, sock, nfds);

	return ancillary_channel_send(&channels[HERE].channel, &frame, flags);
}

static int flush(unsigned flags)
{
	return ancillary_channel_flush(&channels[HERE].channel, flags);
}

/* It waits in poll(2) in any case, so that it can be cancelled; and looks at a clock
 * where there is a time. */
static void a_channel_waits(void)
{
	for (int timed = 0; timed < 2; timed++) {
		const char *receives = timed ? "receive flags time clock clock poll receive" :
					       "receive flags time poll receive";
		const char *sends = timed ? "send flags time clock clock poll send" :
					    "send flags time poll send";

		open_channels();
		if (timed) {
			set_timeout(sock[HERE], SO_SNDTIMEO, FOREVER);
			set_timeout(sock[THERE], SO_RCVTIMEO, FOREVER);
		}
		when_it_waits = send_message;
		MAKES(receive_message(0), 1, receives);
		fill(sock[HERE]);
		when_it_waits = make_room;
		MAKES(send_a_message(1, 2, 0), 0, sends);
		fill(sock[HERE]);
		when_it_waits = make_room;
		MAKES(send_a_message(1, 0, 0), 0, sends);
		fill(sock[HERE]);
		MAKES(send_a_message(1, 0, MORE), 0, "");
		when_it_waits = make_room;
		MAKES(flush(0), 0, sends);
		drain(sock[THERE]);
		when_it_waits = go;
		MAKES(receive_message(0), 0,
		      timed ? "receive flags time clock clock poll receive type" :
			      "receive flags time poll receive type");
		close_channels();
	}
}

/* What may not wait finds that out, where it has been told by O_NONBLOCK alone: what
 * can be several system calls begins without waiting, and asks when it would have to. */
static void what_may_not_wait_asks_once(void)
{
	open_pair(SOCK_STREAM | SOCK_NONBLOCK, sock);
	MAKES(receive_file(), -EAGAIN, "receive");
	MAKES(receive_all(0), -EAGAIN, "receive flags");
	MAKES(receive_all(DONTWAIT), -EAGAIN, "receive");
	send_bytes(sock[HERE], block, 1);
	MAKES(receive_all(0), 1, "receive type receive flags");
	send_bytes(sock[HERE], block, 1);
	MAKES(receive_all(DONTWAIT), 1, "receive type receive");
	fill(sock[HERE]);
	MAKES(ancillary_send_fd(sock[HERE], sock[HERE]), -EAGAIN, "send");
	MAKES(ancillary_send_fds(sock[HERE], sock, 2, much, 2048, 0), -EAGAIN, "send");
	MAKES(ancillary_send_fds(sock[HERE], sock, 2, much, 2049, 0), -EAGAIN, "send flags");
	MAKES(ancillary_send_fds(sock[HERE], sock, 2, much, 2049, DONTWAIT), -EAGAIN, "send");
	close_pair(sock);

	open_channels();
	for (int end = HERE; end <= THERE; end++)
		CHECK(fcntl(sock[end], F_SETFL, O_NONBLOCK) == 0);
	MAKES(receive_message(0), -EAGAIN, "receive flags");
	MAKES(receive_message(DONTWAIT), -EAGAIN, "receive");
	fill(sock[HERE]);
	MAKES(send_a_message(1, 2, 0), -EAGAIN, "send flags");
	MAKES(send_a_message(1, 2, DONTWAIT), -EAGAIN, "send");
	MAKES(send_a_message(1, 0, MORE), 0, "");
	MAKES(flush(0), -EAGAIN, "send flags");
	MAKES(flush(DONTWAIT), -EAGAIN, "send");
	close_channels();
}

/* --- where no descriptor can be opened --- */

/* poll(2) of one is more then than RLIMIT_NOFILE lets it look at (EINVAL).  The limit is
 * low for that call alone: by the same one the kernel refuses to send, while other
 * processes of this user have descriptors in flight. */
static long make_without_poll(const struct call *call)
{
	struct rlimit before, none;
	long result;
	int error;

	if (strcmp(call->name, "poll") != 0)
		return make_late(call);
	CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
	none = (struct rlimit){ 0, before.rlim_max };
	CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
	result = make_late(call);
	error = errno;
	CHECK(setrlimit(RLIMIT_NOFILE, &before) == 0);
	errno = error;
	return result;
}

static void forbid_poll(void)
{
	struct pollfd one = { .fd = -1, .events = 0 };
	void (*act)(void) = when_it_waits;

	when_it_waits = NULL;
	on_call = make_without_poll;
	if (poll(&one, 1, 0) != -1 || errno != EINVAL)
		check_skip("poll(2) with RLIMIT_NOFILE 0");
	when_it_waits = act;
}

static void allow_poll(void)
{
	on_call = make_call;
}

static pthread_t reader;
static unsigned char read_there[2 * LONG];
static size_t bytes_there;

static void *read_to_the_end(void *argument)
{
	ssize_t n;

	(void)argument;
	for (bytes_there = 0;; bytes_there += (size_t)n) {
		n = recv(sock[THERE], read_there + bytes_there, sizeof read_there - bytes_there, 0);
		if (n <= 0)
			break;
	}
	CHECK_IS(n, 0);
	return NULL;
}

static void begin_to_read(void)
{
	reader = start_thread(read_to_the_end, NULL);
}

/* All that has been sent, behind filling. */
static void end_reading(size_t filled, const void *bytes, size_t len)
{
	go();
	end_thread(reader);
	CHECK_IS(bytes_there, filled + len);
	CHECK(memcmp(read_there + filled, bytes, len) == 0);
}

#define WITHOUT_POLL(call, expected) \
	do { \
		forbid_poll(); \
		errno = CHECK_ERRNO; \
		CHECK_IS(call, expected); \
		CHECK_IS(errno, (expected) < 0 ? -(expected) : CHECK_ERRNO); \
		allow_poll(); \
		CHECK(!when_it_waits); \
	} while (0)

static void a_receive_needs_no_poll(void)
{
	static const unsigned flags[] = { 0, LOSSLESS };

	open_pair(SOCK_STREAM, sock);
	set_timeout(sock[THERE], SO_RCVTIMEO, FOREVER);
	for (size_t i = 0; i < LENGTH(flags); i++) {
		when_it_waits = send_block;
		WITHOUT_POLL(receive_all(flags[i]), LEN);
		/* And after a part. */
		send_bytes(sock[HERE], block, 1);
		when_it_waits = send_block;
		WITHOUT_POLL(receive_all(flags[i]), LEN);
		drain(sock[THERE]);
	}
	close_pair(sock);
}

static void a_send_needs_no_poll(void)
{
	size_t filled;

	make_payload((unsigned char *)much, LONG);
	open_pair(SOCK_STREAM, sock);
	set_timeout(sock[HERE], SO_SNDTIMEO, FOREVER);
	filled = fill(sock[HERE]);
	when_it_waits = begin_to_read;
	WITHOUT_POLL(ancillary_send_fds(sock[HERE], sock, 2, much, LONG, 0), LONG);
	end_reading(filled, much, LONG);
	close_pair(sock);
}

static void a_channel_receives_without_poll(void)
{
	static const unsigned flags[] = { 0, LOSSLESS };
	unsigned char bytes[32];

	plain(bytes, 1, 2, "12345678", 8, 0);
	for (size_t i = 0; i < LENGTH(flags); i++) {
		open_channels();
		channels[THERE].channel.flags = flags[i];
		when_it_waits = send_message;
		WITHOUT_POLL(receive_message(0), 1);
		/* The rest of one. */
		send_bytes(sock[HERE], bytes, 10);
		WITHOUT_POLL(receive_message(DONTWAIT), -EAGAIN);
		send_bytes(sock[HERE], bytes + 10, 14);
		expect(&channels[THERE], 1, 2, "12345678", 8, NULL, 0);
		when_it_waits = go;
		WITHOUT_POLL(receive_message(0), 0);
		close_channels();
	}
}

/* The message, in its format. */
static unsigned char sent[LONG + 32];

static void a_channel_sends_without_poll(void)
{
	size_t filled, len;

	make_payload((unsigned char *)much, LONG);
	len = plain(sent, 1, 2, much, LONG, 0);
	for (int flushed = 0; flushed < 2; flushed++) {
		open_channels();
		filled = fill(sock[HERE]);
		if (flushed)
			CHECK_OK(send_a_message(LONG, 0, MORE), 0);
		when_it_waits = begin_to_read;
		if (flushed)
			WITHOUT_POLL(flush(0), 0);
		else
			WITHOUT_POLL(send_a_message(LONG, 0, 0), 0);
		CHECK_IS(events_of(&channels[HERE]), POLLIN);
		end_reading(filled, sent, len);
		close_channels();
	}
	/* Descriptors that are borrowed go before the call returns. */
	open_channels();
	len = plain(sent, 1, 2, much, 8, 2);
	filled = fill(sock[HERE]);
	when_it_waits = begin_to_read;
	WITHOUT_POLL(send_a_message(8, 2, 0), 0);
	end_reading(filled, sent, len);
	close_channels();
}

static void a_time_holds_without_poll(void)
{
	long start;

	open_channels();
	set_timeout(sock[HERE], SO_SNDTIMEO, LIMIT);
	set_timeout(sock[THERE], SO_RCVTIMEO, LIMIT);
	forbid_poll();
	start = milliseconds();
	CHECK_ERR(receive_message(0), EAGAIN);
	check_took(start, LIMIT, FOREVER);
	start = milliseconds();
	CHECK_ERR(receive_all(0), EAGAIN);
	check_took(start, LIMIT, FOREVER);
	fill(sock[HERE]);
	start = milliseconds();
	CHECK_ERR(send_a_message(1, 2, 0), EAGAIN);
	check_took(start, LIMIT, FOREVER);
	start = milliseconds();
	CHECK_ERR(send_much(), EAGAIN);
	check_took(start, LIMIT, FOREVER);
	CHECK_OK(send_a_message(1, 0, 0), 0);
	CHECK_ERR(flush(0), EAGAIN);
	allow_poll();
	/* Nothing has ended. */
	drain(sock[THERE]);
	CHECK_OK(flush(0), 0);
	CHECK_OK(receive_message(0), 1);
	close_channels();
}

/* --- where poll(2) fails --- */

static int poll_error;

static long fail_poll(const struct call *call)
{
	if (strcmp(call->name, "poll") != 0)
		return make_call(call);
	errno = poll_error;
	return -1;
}

/* What is wrong with the wait says nothing of the socket: both directions go on. */
static void a_wait_that_fails_ends_nothing(void)
{
	static const int errors[] = { ENOMEM, ENOSYS, EACCES, EBADF };
	unsigned char bytes[32];

	plain(bytes, 1, 2, "12345678", 8, 0);
	for (size_t i = 0; i < LENGTH(errors); i++) {
		poll_error = errors[i];
		check_about("error %d", poll_error);
		open_channels();
		send_bytes(sock[HERE], bytes, 10);
		on_call = fail_poll;
		CHECK_ERR(receive_message(0), poll_error);
		CHECK_IS(events_of(&channels[THERE]), POLLIN);
		on_call = make_call;
		send_bytes(sock[HERE], bytes + 10, 14);
		expect(&channels[THERE], 1, 2, "12345678", 8, NULL, 0);

		fill(sock[HERE]);
		on_call = fail_poll;
		/* Descriptors that are borrowed: it is not taken. */
		CHECK_ERR(send_a_message(1, 2, 0), poll_error);
		CHECK_IS(events_of(&channels[HERE]), POLLIN);
		/* It is taken, and the next call tells. */
		CHECK_OK(send_a_message(2, 0, 0), 0);
		CHECK_ERR(send_a_message(3, 0, 0), poll_error);
		CHECK_ERR(flush(0), poll_error);
		CHECK_ERR(send_a_message(4, 2, 0), poll_error);
		CHECK_IS(events_of(&channels[HERE]), POLLIN | POLLOUT);
		on_call = make_call;
		drain(sock[THERE]);
		CHECK_OK(send_a_message(5, 2, 0), 0);
		expect(&channels[THERE], 1, 2, much, 2, NULL, 0);
		CHECK_OK(receive_message(0), 1);
		close_channels();
	}
	check_about("%s", "");
}

/* --- signals --- */

static int waited;

static long answer_the_third(const struct call *call)
{
	if (waits(call) && strcmp(call->name, "poll") != 0 && ++waited == 3)
		send_message();
	return make_without_poll(call);
}

static void signals_without_poll(void)
{
	const struct itimerval often = { { 0, 10000 }, { 0, 10000 } }, never = { { 0, 0 }, { 0, 0 } };

	open_channels();
	forbid_poll();
	for (int timed = 0; timed < 2; timed++) {
		if (timed) {
			set_timeout(sock[HERE], SO_SNDTIMEO, FOREVER);
			set_timeout(sock[THERE], SO_RCVTIMEO, FOREVER);
		}
		count_signal(SIGALRM);
		CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
		CHECK_ERR(receive_message(INTR), EINTR);
		waited = 0;
		on_call = answer_the_third;
		CHECK_OK(receive_message(0), 1);
		on_call = make_without_poll;
		fill(sock[HERE]);
		CHECK_ERR(send_a_message(1, 2, INTR), EINTR);
		CHECK_OK(send_a_message(1, 0, MORE), 0);
		CHECK_ERR(flush(INTR), EINTR);
		CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
		drain(sock[THERE]);
		CHECK_OK(flush(0), 0);
		CHECK_OK(receive_message(0), 1);
	}
	allow_poll();
	close_channels();
}

CHECK_MAIN(CASE(a_receive_waits), CASE(a_send_waits), CASE(a_channel_waits),
	   CASE(what_may_not_wait_asks_once), CASE(a_receive_needs_no_poll),
	   CASE(a_send_needs_no_poll), CASE(a_channel_receives_without_poll),
	   CASE(a_channel_sends_without_poll), CASE(a_time_holds_without_poll),
	   CASE(a_wait_that_fails_ends_nothing), CASE(signals_without_poll))
