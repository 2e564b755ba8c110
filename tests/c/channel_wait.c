/* Channels while they wait: for how long, what signals do, what an end of the
 * peer, and what is left of a call whose thread is cancelled.
 *
 * This is compiled with -fexceptions, so that clean-up handlers are found by
 * unwinding through the library. */

#include "check.h"
#include "channel_kit.h"
#include "kit.h"

#include <ancillary.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { DONTWAIT = ANCILLARY_DONTWAIT, MORE = ANCILLARY_MORE, TAKE = ANCILLARY_TAKE,
       INTR = ANCILLARY_INTR };

/* --- time --- */

/* How long a call may wait; and what it takes where each system call has that
 * time for itself. */
enum { LIMIT = 100, FOREVER = 20000 };

static void check_waited(long since)
{
	check_took(since, LIMIT, FOREVER);
}

static bool stop;

static bool stopped(void)
{
	return __atomic_load_n(&stop, __ATOMIC_SEQ_CST);
}

static void end_slow(pthread_t thread)
{
	__atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
	end_thread(thread);
	stop = false;
}

static size_t slowly;

/* Sends a message for as long as it takes, and longer. */
static void *send_slowly(void *argument)
{
	const unsigned char *bytes = argument;

	for (slowly = 0; !stopped(); slowly++) {
		send_bytes(both.sock[HERE], bytes + slowly, 1);
		sleep_ms(LIMIT / 20);
	}
	return NULL;
}

static void the_time_of_a_receive_is_that_of_the_call(void)
{
	enum { LONG = 100000 };
	static const struct room room = { LONG + 16, 0, 0, 0 };
	unsigned char *bytes = malloc(LONG + 16), *text = malloc(LONG);
	struct ancillary_frame frame = unset();
	pthread_t thread;
	struct end end;
	long start;

	CHECK(bytes && text);
	make_payload(text, LONG);
	CHECK_IS(plain(bytes, 1, 2, text, LONG, 0), LONG + 16);
	open_pair(SOCK_STREAM, both.sock);
	open_end(&end, both.sock[THERE], ANCILLARY_FORMAT_PLAIN, 0, room);
	set_timeout(both.sock[THERE], SO_RCVTIMEO, LIMIT);
	start = milliseconds();
	CHECK_ERR(ancillary_channel_recv(&end.channel, &frame, 0), EAGAIN);
	check_waited(start);
	thread = start_thread(send_slowly, bytes);
	for (int times = 0; times < 2; times++) {
		start = milliseconds();
		CHECK_ERR(ancillary_channel_recv(&end.channel, &frame, 0), EAGAIN);
		check_waited(start);
	}
	end_slow(thread);
	/* What has come is kept. */
	send_bytes(both.sock[HERE], bytes + slowly, LONG + 16 - slowly);
	expect(&end, 1, 2, text, LONG, NULL, 0);
	close_end_of(&end);
	close_pair(both.sock);
	free(bytes);
	free(text);
}

/* How a peer reads: so many bytes, and then it pauses for milliseconds. */
struct reader {
	size_t bytes;
	int pause;
};

static void *read_slowly(void *argument)
{
	const struct reader *reader = argument;
	char block[2000];

	while (!stopped() && recv(both.sock[THERE], block, reader->bytes, 0) > 0)
		sleep_ms(reader->pause);
	return NULL;
}

static struct end slow;

/* A message longer than is read in this time, of which some goes: so it is taken. */
static pthread_t send_to_slow_reader(struct reader *reader, int limit)
{
	enum { LONG = 4000000 };
	static const struct room room = { 0, 0, LONG + 16, 2 };
	char *text = calloc(1, LONG);
	struct ancillary_frame frame = message(1, 2, text, LONG, NULL, 0);
	pthread_t thread;
	long start;

	CHECK(text);
	open_end(&slow, both.sock[HERE], ANCILLARY_FORMAT_PLAIN, 0, room);
	set_timeout(both.sock[HERE], SO_SNDTIMEO, limit);
	thread = start_thread(read_slowly, reader);
	start = milliseconds();
	CHECK_OK(ancillary_channel_send(&slow.channel, &frame, 0), 0);
	check_waited(start);
	CHECK(events_of(&slow) & POLLOUT);
	start = milliseconds();
	CHECK_ERR(ancillary_channel_flush(&slow.channel, 0), EAGAIN);
	check_waited(start);
	CHECK(events_of(&slow) & POLLOUT);
	free(text);
	return thread;
}

static void close_slow(pthread_t thread)
{
	/* The reader may have read all there is, and wait. */
	CHECK(shutdown(both.sock[HERE], SHUT_WR) == 0);
	end_slow(thread);
	close_end_of(&slow);
	close_pair(both.sock);
}

static void the_time_of_a_send_is_that_of_the_call(void)
{
	struct reader reader = { 100, LIMIT / 20 };
	struct ancillary_frame frame = message(1, 2, "a", 1, both.sock, 2);
	pthread_t thread;
	long start;

	open_pair(SOCK_STREAM, both.sock);
	thread = send_to_slow_reader(&reader, LIMIT);
	/* With a queue in front that does not go, nor does one with descriptors. */
	start = milliseconds();
	CHECK_ERR(ancillary_channel_send(&slow.channel, &frame, 0), EAGAIN);
	check_waited(start);
	close_slow(thread);
}

/* Each wait finds room for a little, and there are more waits than looks that a
 * socket is given which is not ready after all. */
static void so_it_is_of_many_waits(void)
{
	struct reader reader = { 2000, 1 };

	open_pair(SOCK_STREAM, both.sock);
	set_option(both.sock[HERE], SO_SNDBUF, 1);
	close_slow(send_to_slow_reader(&reader, 3 * LIMIT));
}

static void a_full_socket_is_waited_for_as_long(void)
{
	struct ancillary_frame frame = message(1, 2, "a", 1, both.sock, 2);
	long start;

	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	set_timeout(both.sock[HERE], SO_SNDTIMEO, LIMIT);
	fill(both.sock[HERE]);
	start = milliseconds();
	CHECK_ERR(ancillary_channel_send(&here()->channel, &frame, 0), EAGAIN);
	check_waited(start);
	frame.nfds = 0;
	start = milliseconds();
	CHECK_OK(ancillary_channel_send(&here()->channel, &frame, 0), 0);
	check_waited(start);
	CHECK(events_of(here()) & POLLOUT);
	start = milliseconds();
	CHECK_ERR(ancillary_channel_flush(&here()->channel, 0), EAGAIN);
	check_waited(start);
	drain(both.sock[THERE]);
	push(here());
	expect(there(), 1, 2, "a", 1, NULL, 0);
	close_both(&both);
}

/* --- signals --- */

static void start_signals(void)
{
	const struct itimerval often = { { 0, 10000 }, { 0, 10000 } };

	signals_handled = 0;
	count_signal(SIGALRM);
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
}

static void end_signals(void)
{
	const struct itimerval none = { { 0, 0 }, { 0, 0 } };

	CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
}

static void intr_ends_a_wait(void)
{
	struct ancillary_frame frame, got = unset();
	struct ancillary_channel *channel = &here()->channel;
	int file;

	open_files(&file, 1);
	frame = message(3, 4, "a", 1, &file, 1);
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	start_signals();
	CHECK_ERR(ancillary_channel_recv(channel, &got, INTR), EINTR);
	fill(both.sock[HERE]);
	CHECK_ERR(ancillary_channel_send(channel, &frame, INTR), EINTR);
	put(here(), message(1, 2, "queued", 6, NULL, 0), MORE);
	CHECK_ERR(ancillary_channel_flush(channel, INTR), EINTR);
	CHECK_ERR(ancillary_channel_send(channel, &frame, INTR), EINTR);
	CHECK(signals_handled >= 4);
	end_signals();
	/* And nothing else. */
	drain(both.sock[THERE]);
	put(here(), frame, 0);
	expect(there(), 1, 2, "queued", 6, NULL, 0);
	expect(there(), 3, 4, "a", 1, &file, 1);
	send_plain(both.sock[THERE], 5, 6, "b", 1, NULL, 0);
	expect(here(), 5, 6, "b", 1, NULL, 0);
	close_both(&both);
	close_files(&file, 1);
}

/* Of a message of which a part has come, or gone: nobody waits for the rest. */
static void intr_ends_a_wait_within_a_message(void)
{
	enum { LONG = 500000 };
	static const struct room room = { 0, 0, LONG + 16, 2 };
	struct ancillary_frame frame, got = unset();
	char *text = calloc(1, LONG);
	unsigned char bytes[32];
	struct end end;
	int file;

	CHECK(text);
	open_files(&file, 1);
	plain(bytes, 1, 2, "12345678", 8, 0);
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	send_bytes(both.sock[THERE], bytes, 10);
	start_signals();
	CHECK_ERR(ancillary_channel_recv(&here()->channel, &got, INTR), EINTR);
	end_signals();
	send_bytes(both.sock[THERE], bytes + 10, 14);
	expect(here(), 1, 2, "12345678", 8, NULL, 0);

	/* What has begun to go is taken. */
	open_end(&end, both.sock[HERE], ANCILLARY_FORMAT_PLAIN, 0, room);
	frame = message(3, 4, text, LONG, &file, 1);
	start_signals();
	CHECK_OK(ancillary_channel_send(&end.channel, &frame, INTR), 0);
	CHECK(events_of(&end) & POLLOUT);
	CHECK_ERR(ancillary_channel_flush(&end.channel, INTR), EINTR);
	end_signals();
	close_end_of(&end);
	close_both(&both);
	close_files(&file, 1);
	free(text);
}

/* What the other side does after some signals: it takes so many bytes, or sends. */
static void *answer_late(void *argument)
{
	const size_t *filled = argument;
	sigset_t alarm;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	CHECK(pthread_sigmask(SIG_BLOCK, &alarm, NULL) == 0);
	while (signals_handled < 3)
		sleep_ms(1);
	if (filled) {
		char *block = malloc(*filled);

		CHECK(block);
		CHECK_IS(recv(both.sock[THERE], block, *filled, MSG_WAITALL), (ssize_t)*filled);
		free(block);
	} else {
		send_plain(both.sock[THERE], 5, 6, "b", 1, NULL, 0);
	}
	return NULL;
}

static void without_intr_a_wait_goes_on(void)
{
	struct ancillary_frame frame, got = unset();
	pthread_t thread;
	size_t filled;
	int file;

	open_files(&file, 1);
	frame = message(3, 4, "a", 1, &file, 1);
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	signals_handled = 0;
	thread = start_thread(answer_late, NULL);
	start_signals();
	CHECK_OK(ancillary_channel_recv(&here()->channel, &got, 0), 1);
	end_signals();
	end_thread(thread);
	filled = fill(both.sock[HERE]);
	signals_handled = 0;
	thread = start_thread(answer_late, &filled);
	start_signals();
	CHECK_OK(ancillary_channel_send(&here()->channel, &frame, 0), 0);
	end_signals();
	end_thread(thread);
	expect(there(), 3, 4, "a", 1, &file, 1);
	close_both(&both);
	close_files(&file, 1);
}

/* --- an end while a call waits --- */

static pid_t main_thread;

static void *close_late(void *argument)
{
	int *sock = argument;

	wait_until_asleep(main_thread);
	CHECK(shutdown(*sock, SHUT_RDWR) == 0);
	close_files(sock, 1);
	*sock = -1;
	return NULL;
}

static void a_peer_that_goes_ends_a_wait(void)
{
	struct ancillary_frame frame = message(1, 2, "a", 1, both.sock, 1), got;
	static char partly[] = { 3 };
	pthread_t thread;

	main_thread = thread_number();
	for (unsigned flags = 0; flags <= ANCILLARY_LOSSLESS; flags += ANCILLARY_LOSSLESS) {
		open_both(&both, ANCILLARY_FORMAT_PLAIN, flags);
		thread = start_thread(close_late, &both.sock[THERE]);
		got = unset();
		CHECK_OK(ancillary_channel_recv(&here()->channel, &got, 0), 0);
		end_thread(thread);
		close_both(&both);

		open_both(&both, ANCILLARY_FORMAT_PLAIN, flags);
		send_bytes(both.sock[THERE], partly, 1);
		thread = start_thread(close_late, &both.sock[THERE]);
		got = unset();
		CHECK_ERR(ancillary_channel_recv(&here()->channel, &got, 0), EPROTO);
		end_thread(thread);
		close_both(&both);

		open_both(&both, ANCILLARY_FORMAT_PLAIN, flags);
		fill(both.sock[HERE]);
		thread = start_thread(close_late, &both.sock[THERE]);
		CHECK_ERR(ancillary_channel_send(&here()->channel, &frame, 0), EPIPE);
		end_thread(thread);
		close_both(&both);

		open_both(&both, ANCILLARY_FORMAT_PLAIN, flags);
		fill(both.sock[HERE]);
		put(here(), message(1, 2, "a", 1, NULL, 0), 0);
		thread = start_thread(close_late, &both.sock[THERE]);
		CHECK_ERR(ancillary_channel_flush(&here()->channel, 0), EPIPE);
		end_thread(thread);
		close_both(&both);
	}
}

static void *shut_late(void *argument)
{
	const int *end = argument;

	wait_until_asleep(main_thread);
	CHECK(shutdown(both.sock[*end], *end == HERE ? SHUT_WR : SHUT_RD) == 0);
	return NULL;
}

/* sendmsg(2) finds out while it waits, and poll(2) does not tell. */
static void nobody_reading_any_more_ends_a_wait(void)
{
	struct ancillary_frame frame = message(1, 2, "a", 1, both.sock, 1);
	int ends[] = { HERE, THERE };
	pthread_t thread;

	main_thread = thread_number();
	for (int i = 0; i < 2; i++) {
		open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
		fill(both.sock[HERE]);
		thread = start_thread(shut_late, &ends[i]);
		CHECK_ERR(ancillary_channel_send(&here()->channel, &frame, 0), EPIPE);
		end_thread(thread);
		close_both(&both);

		open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
		fill(both.sock[HERE]);
		put(here(), message(1, 2, "a", 1, NULL, 0), DONTWAIT);
		thread = start_thread(shut_late, &ends[i]);
		CHECK_ERR(ancillary_channel_flush(&here()->channel, 0), EPIPE);
		end_thread(thread);
		close_both(&both);
	}
}

/* --- cancellation --- */

static pid_t waiting;
static int taken[2];
static char *much;

static void *wait_for_a_message(void *argument)
{
	struct ancillary_frame frame;

	(void)argument;
	__atomic_store_n(&waiting, thread_number(), __ATOMIC_SEQ_CST);
	CHECK_IS(ancillary_channel_recv(&there()->channel, &frame, 0), 1);
	return NULL;
}

static struct {
	struct ancillary_frame frame;
	unsigned flags;
} blocked;

static void *wait_for_room(void *argument)
{
	(void)argument;
	__atomic_store_n(&waiting, thread_number(), __ATOMIC_SEQ_CST);
	CHECK_IS(ancillary_channel_send(&here()->channel, &blocked.frame, blocked.flags), 0);
	return NULL;
}

static void cancel(void *(*call)(void *))
{
	pthread_t thread;

	__atomic_store_n(&waiting, 0, __ATOMIC_SEQ_CST);
	thread = start_thread(call, NULL);
	while (__atomic_load_n(&waiting, __ATOMIC_SEQ_CST) == 0)
		sleep_ms(1);
	wait_until_asleep(waiting);
	CHECK(pthread_cancel(thread) == 0);
	CHECK(end_thread(thread) == PTHREAD_CANCELED);
}

/* What has come is kept, as after any error that passes. */
static void a_cancelled_receive_goes_on(void)
{
	unsigned char bytes[32];
	int files[2];
	size_t before;

	plain(bytes, 1, 2, "12345678", 8, 2);
	open_files(files, 2);
	for (unsigned flags = 0; flags <= ANCILLARY_LOSSLESS; flags += ANCILLARY_LOSSLESS) {
		open_both(&both, ANCILLARY_FORMAT_PLAIN, flags);
		before = open_descriptors();
		cancel(wait_for_a_message);
		CHECK_IS(send_by_hand(both.sock[HERE], bytes, 10, files, 1), 10);
		cancel(wait_for_a_message);
		CHECK_IS(send_by_hand(both.sock[HERE], bytes + 10, 14, files + 1, 1), 14);
		expect(there(), 1, 2, "12345678", 8, files, 2);
		CHECK_IS(open_descriptors(), before + 2);
		expect_none(there(), -EAGAIN);
		CHECK_IS(open_descriptors(), before);
		close_both(&both);
	}
	close_files(files, 2);
}

/* A message waits for the rest of it to go, or was not taken. */
static void a_cancelled_send_goes_on(void)
{
	int files[2];
	size_t before;

	open_files(files, 2);
	much = calloc(1, 3000);
	CHECK(much);
	for (int take = 0; take < 2; take++) {
		check_about("%s", take ? "taken" : "borrowed");
		open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
		before = open_descriptors();
		fill(both.sock[HERE]);
		duplicate_all(taken, files, 2);
		blocked.frame = message(1, 2, much, 3000, taken, 2);
		blocked.flags = take ? TAKE : 0;
		cancel(wait_for_room);
		drain(both.sock[THERE]);
		if (all_none(taken, 2)) {
			push(here());
			expect(there(), 1, 2, much, 3000, files, 2);
		} else {
			push(here());
			expect_none(there(), -EAGAIN);
			put(here(), message(3, 4, much, 3000, taken, 2), take ? TAKE : 0);
			expect(there(), 3, 4, much, 3000, files, 2);
		}
		if (!take)
			close_files(taken, 2);
		CHECK_IS(open_descriptors(), before + 2);
		put(here(), message(5, 6, "behind", 6, NULL, 0), 0);
		expect(there(), 5, 6, "behind", 6, NULL, 0);
		close_both(&both);
	}
	close_files(files, 2);
	free(much);
}

/* Some of it has gone: the rest is not forgotten, nor sent twice. */
static void a_send_cancelled_in_a_message_goes_on(void)
{
	enum { LONG = 500000 };
	static const struct room room = { LONG + 16, 4, LONG + 16, 4 };
	struct ancillary_frame got;
	int files[2], result;
	struct end to;
	size_t before;

	open_files(files, 2);
	much = calloc(1, LONG);
	CHECK(much);
	for (int take = 0; take < 2; take++) {
		check_about("%s", take ? "taken" : "borrowed");
		open_pair(SOCK_STREAM, both.sock);
		open_end(here(), both.sock[HERE], ANCILLARY_FORMAT_PLAIN, 0, room);
		open_end(&to, both.sock[THERE], ANCILLARY_FORMAT_PLAIN, 0, room);
		before = open_descriptors();
		duplicate_all(taken, files, 2);
		blocked.frame = message(1, 2, much, LONG, taken, 2);
		blocked.flags = take ? TAKE : 0;
		cancel(wait_for_room);
		if (take)
			CHECK(all_none(taken, 2));
		else
			close_files(taken, 2);
		do {
			bool waits = events_of(here()) & POLLOUT;

			push_some(here());
			got = unset();
			result = ancillary_channel_recv(&to.channel, &got, DONTWAIT);
			/* Nothing more will come. */
			CHECK(result != -EAGAIN || waits);
		} while (result == -EAGAIN);
		CHECK_IS(result, 1);
		CHECK_IS(got.len, LONG);
		CHECK(memcmp(got.data, much, LONG) == 0);
		CHECK_IS(got.nfds, 2);
		check_arrived(got.fds, files, 2);
		put(here(), message(3, 4, "behind", 6, files, 1), 0);
		expect(&to, 3, 4, "behind", 6, files, 1);
		CHECK_IS(open_descriptors(), before + 1);
		close_end_of(here());
		close_end_of(&to);
		close_pair(both.sock);
	}
	close_files(files, 2);
	free(much);
}

/* --- cancelled over and over, under load --- */

enum { FLOOD = 1000, SEVERAL = 8, SHORT = 200, LONGER = 60000 };

static unsigned char payload[LONGER + 2000];

/* So that the other side mostly waits. */
static void be_slow(unsigned microseconds)
{
	const struct timespec time = { 0, (long)microseconds * 1000 };

	nanosleep(&time, NULL);
}

static struct flood {
	uint32_t sent, received;
	int files[SEVERAL];
	/* Of a message. */
	size_t most;
} flood;

static void let_be_cancelled(bool on)
{
	CHECK(pthread_setcancelstate(on ? PTHREAD_CANCEL_ENABLE : PTHREAD_CANCEL_DISABLE, NULL) == 0);
}

/* Only while it sends can it be cancelled; whether the message was taken, its slots
 * tell, which outlive the thread. */
static void *send_flood(void *argument)
{
	let_be_cancelled(false);
	while (flood.sent < FLOOD) {
		uint32_t i = flood.sent;
		struct ancillary_frame frame = message(i, ~i, payload + i % 1000,
						       flood.most - i % SHORT, taken, 1);

		if (taken[0] < 0)
			taken[0] = duplicate(flood.files[i % SEVERAL]);
		let_be_cancelled(argument != NULL);
		CHECK_IS(ancillary_channel_send(&here()->channel, &frame,
						TAKE | (i % 3 ? MORE : 0)),
			 0);
		let_be_cancelled(false);
		CHECK_IS(taken[0], -1);
		flood.sent++;
		if (!argument)
			be_slow(50);
	}
	CHECK_OK(ancillary_channel_flush(&here()->channel, 0), 0);
	return NULL;
}

static void *receive_flood(void *argument)
{
	let_be_cancelled(false);
	while (flood.received < FLOOD) {
		struct ancillary_frame frame = unset();
		uint32_t i = flood.received;

		let_be_cancelled(argument != NULL);
		CHECK_IS(ancillary_channel_recv(&there()->channel, &frame, 0), 1);
		let_be_cancelled(false);
		CHECK_IS(frame.type, i);
		CHECK_IS(frame.id, ~i);
		CHECK_IS(frame.len, flood.most - i % SHORT);
		CHECK(memcmp(frame.data, payload + i % 1000, frame.len) == 0);
		CHECK_IS(frame.nfds, 1);
		check_arrived(frame.fds, &flood.files[i % SEVERAL], 1);
		flood.received++;
		if (!argument)
			be_slow(50);
	}
	return NULL;
}

/* Cancels a thread again and again, until one has run to its end; returns how
 * often that was. */
static int cancel_until_done(void *(*run)(void *))
{
	int times = 0;

	for (;;) {
		pthread_t thread = start_thread(run, &flood);

		be_slow((unsigned)times * 37 % 300);
		CHECK(pthread_cancel(thread) == 0);
		if (end_thread(thread) != PTHREAD_CANCELED)
			return times;
		times++;
		/* It was cancelled after the message had been taken. */
		if (run == send_flood && taken[0] < 0)
			flood.sent++;
	}
}

static void check_flood(void *(*cancelled)(void *), void *(*other)(void *), unsigned flags,
			size_t most)
{
	const struct room room = { most + 800, 16, most + 800, 16 };
	pthread_t thread;
	size_t before;

	check_about("flags %#x, %zu bytes", flags, most);
	flood.most = most;
	flood.sent = flood.received = 0;
	taken[0] = -1;
	make_payload(payload, sizeof payload);
	open_pair(SOCK_STREAM, both.sock);
	for (int end = HERE; end <= THERE; end++)
		open_end(&both.ends[end], both.sock[end], ANCILLARY_FORMAT_PLAIN, flags, room);
	if (most == SHORT)
		set_option(both.sock[HERE], SO_SNDBUF, 1);
	open_files(flood.files, SEVERAL);
	before = open_descriptors();
	thread = start_thread(other, NULL);
	CHECK(cancel_until_done(cancelled) > 10);
	end_thread(thread);
	CHECK_IS(flood.sent, FLOOD);
	CHECK_IS(flood.received, FLOOD);
	expect_none(there(), -EAGAIN);
	CHECK_IS(open_descriptors(), before);
	close_files(flood.files, SEVERAL);
	close_both(&both);
}

static void cancelled_receives_lose_nothing(void)
{
	check_flood(receive_flood, send_flood, 0, SHORT);
	check_flood(receive_flood, send_flood, ANCILLARY_LOSSLESS, SHORT);
}

static void cancelled_sends_lose_nothing(void)
{
	check_flood(send_flood, receive_flood, 0, SHORT);
	/* Of which most of the time is spent in the system call. */
	check_flood(send_flood, receive_flood, 0, LONGER);
}

CHECK_MAIN(CASE(the_time_of_a_receive_is_that_of_the_call),
	   CASE(the_time_of_a_send_is_that_of_the_call), CASE(so_it_is_of_many_waits),
	   CASE(a_full_socket_is_waited_for_as_long),
	   CASE(a_peer_that_goes_ends_a_wait),
	   CASE(nobody_reading_any_more_ends_a_wait), CASE(a_cancelled_receive_goes_on),
	   CASE(a_cancelled_send_goes_on), CASE(a_send_cancelled_in_a_message_goes_on),
	   CASE(cancelled_receives_lose_nothing), CASE(cancelled_sends_lose_nothing),
	   CASE(intr_ends_a_wait), CASE(intr_ends_a_wait_within_a_message),
	   CASE(without_intr_a_wait_goes_on))
