/* pthread_cancel of a thread that waits in a call.
 *
 * This is compiled with -fexceptions, so that clean-up handlers are found by
 * unwinding through the library. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct waiting {
	int sock;
	void (*call)(struct waiting *waiting);
	pid_t number;
	int fds[8];
	size_t nfds;
	volatile bool started, cleaned;
};

static void clean_up(void *argument)
{
	struct waiting *waiting = argument;

	ancillary_close_fds(waiting->fds, LENGTH(waiting->fds));
	waiting->cleaned = true;
}

static void clean_up_message(void *argument)
{
	struct ancillary_msg *msg = argument;

	ancillary_close_fds(&msg->pidfd, 1);
}

static void *wait_in_call(void *argument)
{
	struct waiting *waiting = argument;

	pthread_cleanup_push(clean_up, waiting);
	waiting->number = thread_number();
	waiting->started = true;
	waiting->call(waiting);
	pthread_cleanup_pop(0);
	return NULL;
}

static void cancel_it(struct waiting *waiting)
{
	pthread_t thread;

	waiting->started = waiting->cleaned = false;
	memset(waiting->fds, -1, sizeof waiting->fds);
	thread = start_thread(wait_in_call, waiting);
	while (!waiting->started)
		sleep_ms(1);
	wait_until_asleep(waiting->number);
	CHECK(!waiting->cleaned);
	CHECK(pthread_cancel(thread) == 0);
	CHECK(end_thread(thread) == PTHREAD_CANCELED);
	CHECK(waiting->cleaned);
}

/* --- receiving --- */

static void receive_one(struct waiting *waiting)
{
	check_failed(__FILE__, __LINE__,
		     ancillary_recv_fd(waiting->sock) < 0 ? "it waits" : "nothing comes");
}

static void receive_several(struct waiting *waiting)
{
	char got[8];

	waiting->nfds = LENGTH(waiting->fds);
	CHECK(ancillary_recv_fds(waiting->sock, waiting->fds, &waiting->nfds, got, 8, 0) < 0);
	check_failed(__FILE__, __LINE__, "it waits");
}

static void receive_all(struct waiting *waiting)
{
	char got[100];

	waiting->nfds = LENGTH(waiting->fds);
	CHECK(ancillary_recv_fds(waiting->sock, waiting->fds, &waiting->nfds, got, 100,
				 ANCILLARY_WAITALL) < 0);
	check_failed(__FILE__, __LINE__, "it waits");
}

static void receive_all_lossless(struct waiting *waiting)
{
	char got[100];

	waiting->nfds = LENGTH(waiting->fds);
	CHECK(ancillary_recv_fds(waiting->sock, waiting->fds, &waiting->nfds, got, 100,
				 ANCILLARY_WAITALL | ANCILLARY_LOSSLESS) < 0);
	check_failed(__FILE__, __LINE__, "it waits");
}

static void receive_creds(struct waiting *waiting)
{
	struct ancillary_creds creds;
	char got[8];

	CHECK(ancillary_recv_creds(waiting->sock, &creds, got, 8, 0) < 0);
	check_failed(__FILE__, __LINE__, "it waits");
}

static void receive_one_as_before(struct waiting *waiting)
{
	CHECK(ancil_recv_fd(waiting->sock, waiting->fds) < 0);
	check_failed(__FILE__, __LINE__, "it waits");
}

static void receive_several_as_before(struct waiting *waiting)
{
	CHECK(ancil_recv_fds(waiting->sock, waiting->fds, LENGTH(waiting->fds)) < 0);
	check_failed(__FILE__, __LINE__, "it waits");
}

/* A message in the last slots of which the pidfd is kept, for clean_up(). */
static void receive_message(struct waiting *waiting, unsigned flags)
{
	static char got[100];
	static struct ancillary_msg msg;
	struct iovec iov = { got, sizeof got };

	/* The pidfd is to be found where clean-up handlers can see it. */
	pthread_cleanup_push(clean_up_message, &msg);
	msg = (struct ancillary_msg){ .size = sizeof msg, .iov = &iov, .iovlen = 1 };
	msg.fds = waiting->fds;
	msg.nfds = LENGTH(waiting->fds);
	CHECK(ancillary_recv_msg(waiting->sock, &msg, flags) < 0);
	check_failed(__FILE__, __LINE__, "it waits");
	pthread_cleanup_pop(0);
}

static void receive_message_once(struct waiting *waiting)
{
	receive_message(waiting, 0);
}

static void receive_message_all(struct waiting *waiting)
{
	receive_message(waiting, ANCILLARY_WAITALL);
}

static void receive_message_lossless(struct waiting *waiting)
{
	receive_message(waiting, ANCILLARY_WAITALL | ANCILLARY_LOSSLESS);
}

static void cancel_receives(int type, int sock[2])
{
	static void (*const calls[])(struct waiting *) = {
		receive_one,
		receive_several,
		receive_all,
		receive_all_lossless,
		receive_creds,
		receive_one_as_before,
		receive_several_as_before,
		receive_message_once,
		receive_message_all,
		receive_message_lossless,
	};
	struct waiting waiting = { .sock = sock[THERE] };
	int file, received;

	(void)type;
	for (size_t i = 0; i < LENGTH(calls); i++) {
		waiting.call = calls[i];
		cancel_it(&waiting);
	}
	/* The socket is as good as before. */
	open_files(&file, 1);
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	received = ancillary_recv_fd(sock[THERE]);
	take_arrived(&received, 1, &file, 1);
	close_files(&file, 1);
}

static void a_receive_can_be_cancelled(void)
{
	with_each_type(cancel_receives);
}

static void what_has_come_is_in_the_array(void)
{
	static void (*const calls[])(struct waiting *) = {
		receive_all,
		receive_all_lossless,
		receive_message_all,
		receive_message_lossless,
	};
	struct waiting waiting;
	int sock[2], files[3], on = 1;
	size_t before;

	open_pair(SOCK_STREAM, sock);
	set_option(sock[THERE], SO_PASSCRED, on);
	set_option(sock[THERE], OPTION_PASSPIDFD, on);
	open_files(files, 3);
	before = open_descriptors();
	for (size_t i = 0; i < LENGTH(calls); i++) {
		check_about("call %zu", i);
		waiting = (struct waiting){ .sock = sock[THERE], .call = calls[i] };
		CHECK_OK(ancillary_send_fds(sock[HERE], files, 1, "abc", 3, 0), 3);
		CHECK_OK(ancillary_send_fds(sock[HERE], files + 1, 2, "def", 3, 0), 3);
		cancel_it(&waiting);
		check_nothing_there(sock[THERE]);
		CHECK_IS(open_descriptors(), before);
	}
	close_files(files, 3);
	close_pair(sock);
}

/* --- sending --- */

static void send_one(struct waiting *waiting)
{
	CHECK(ancillary_send_fd(waiting->sock, waiting->sock) < 0);
	check_failed(__FILE__, __LINE__, "it waits");
}

static void send_several(struct waiting *waiting)
{
	int fds[3] = { waiting->sock, waiting->sock, waiting->sock };

	CHECK(ancillary_send_fds(waiting->sock, fds, 3, "abc", 3, 0) < 0);
	check_failed(__FILE__, __LINE__, "it waits");
}

static void send_message(struct waiting *waiting)
{
	struct iovec iov = { (void *)"abc", 3 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };

	CHECK(ancillary_send_msg(waiting->sock, &msg, 0) < 0);
	check_failed(__FILE__, __LINE__, "it waits");
}

static void send_creds(struct waiting *waiting)
{
	CHECK(ancillary_send_creds(waiting->sock, NULL, "abc", 3, 0) < 0);
	check_failed(__FILE__, __LINE__, "it waits");
}

static void send_one_as_before(struct waiting *waiting)
{
	CHECK(ancil_send_fd(waiting->sock, waiting->sock) < 0);
	check_failed(__FILE__, __LINE__, "it waits");
}

static void send_several_as_before(struct waiting *waiting)
{
	CHECK(ancil_send_fds(waiting->sock, &waiting->sock, 1) < 0);
	check_failed(__FILE__, __LINE__, "it waits");
}

static void cancel_sends(int type, int sock[2])
{
	static void (*const calls[])(struct waiting *) = {
		send_one,	    send_several,	    send_message, send_creds,
		send_one_as_before, send_several_as_before,
	};
	struct waiting waiting = { .sock = sock[HERE] };

	(void)type;
	fill(sock[HERE]);
	for (size_t i = 0; i < LENGTH(calls); i++) {
		waiting.call = calls[i];
		cancel_it(&waiting);
	}
}

static void a_send_can_be_cancelled(void)
{
	with_each_type(cancel_sends);
}

static char *large;

static void send_large(struct waiting *waiting)
{
	CHECK(ancillary_send_fds(waiting->sock, &waiting->sock, 1, large, 1 << 20, 0) < 0);
	check_failed(__FILE__, __LINE__, "it waits");
}

static void a_long_send_can_be_cancelled(void)
{
	struct waiting waiting = { .call = send_large };
	int sock[2];

	large = calloc(1, 1 << 20);
	CHECK(large);
	open_pair(SOCK_STREAM, sock);
	waiting.sock = sock[HERE];
	cancel_it(&waiting);
	free(large);
	close_pair(sock);
}

/* --- closing --- */

static int array[3];

static void close_array(void *argument)
{
	(void)argument;
	ancillary_close_fds(array, LENGTH(array));
}

/* Closes while a cancellation is pending, which takes effect later. */
static void *close_cancelled(void *argument)
{
	pthread_cleanup_push(close_array, NULL);
	CHECK(pthread_cancel(pthread_self()) == 0);
	close_array(argument);
	CHECK(all_none(array, LENGTH(array)));
	*(bool *)argument = true;
	pthread_testcancel();
	pthread_cleanup_pop(0);
	return NULL;
}

/* Closing does not wait, so it is no cancellation point: if a thread ended in
 * the middle of it, the descriptor at hand would stay open. */
static void closing_is_not_cancelled(void)
{
	bool closed_all = false;
	size_t before = open_descriptors();

	for (int i = 0; i < 3; i++) {
		array[i] = fcntl(0, F_DUPFD_CLOEXEC, 100 + 2 * i);
		CHECK(array[i] >= 0);
	}
	CHECK(end_thread(start_thread(close_cancelled, &closed_all)) == PTHREAD_CANCELED);
	CHECK_IS(open_descriptors(), before);
	CHECK(closed_all);
}

/* --- the instant of arrival --- */

enum { THREADS = 500 };

/* A flood of descriptors, received by one thread after another. */
struct flood {
	int sock[2];
	int file;
	bool over;
	int sent, received;
};

static int now(const int *count)
{
	return __atomic_load_n(count, __ATOMIC_SEQ_CST);
}

static void add_one(int *count)
{
	__atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
}

static void *send_until_over(void *argument)
{
	struct flood *flood = argument;

	while (!__atomic_load_n(&flood->over, __ATOMIC_SEQ_CST)) {
		CHECK_IS(ancillary_send_fd(flood->sock[HERE], flood->file), 0);
		add_one(&flood->sent);
	}
	close_end(flood->sock, HERE);
	return NULL;
}

static void *receive_until_cancelled(void *argument)
{
	struct flood *flood = argument;

	for (;;) {
		int fd = ancillary_recv_fd(flood->sock[THERE]);

		CHECK(fd >= 0);
		add_one(&flood->received);
		ancillary_close_fds(&fd, 1);
	}
	return NULL;
}

/* As the manual advises. */
static void *receive_and_lose_none(void *argument)
{
	struct flood *flood = argument;
	struct pollfd readable = { .fd = flood->sock[THERE], .events = POLLIN };
	int before;

	for (;;) {
		int fd;
		size_t nfds = 1;

		CHECK(poll(&readable, 1, -1) == 1);
		CHECK(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before) == 0);
		if (ancillary_recv_fds(readable.fd, &fd, &nfds, NULL, 0, ANCILLARY_DONTWAIT) > 0)
			add_one(&flood->received);
		ancillary_close_fds(&fd, nfds);
		CHECK(pthread_setcancelstate(before, &before) == 0);
	}
	return NULL;
}

/* Returns how many descriptors were received and not counted by a thread that
 * was cancelled, having checked that these are open, and no other. */
static int lost_by(void *(*receive)(void *))
{
	struct flood flood = { .over = false };
	pthread_t sender;
	size_t before;
	int fd, lost;

	open_files(&flood.file, 1);
	before = open_descriptors();
	open_pair(SOCK_STREAM, flood.sock);
	sender = start_thread(send_until_over, &flood);
	for (int i = 0; i < some_of(THREADS); i++) {
		int enough = now(&flood.received) + 1 + i % 10;
		pthread_t thread = start_thread(receive, &flood);

		while (now(&flood.received) < enough)
			sched_yield();
		CHECK(pthread_cancel(thread) == 0);
		CHECK(end_thread(thread) == PTHREAD_CANCELED);
	}
	__atomic_store_n(&flood.over, true, __ATOMIC_SEQ_CST);
	while ((fd = ancillary_recv_fd(flood.sock[THERE])) >= 0) {
		flood.received++;
		close_files(&fd, 1);
	}
	CHECK_IS(fd, -EPIPE);
	end_thread(sender);
	close_pair(flood.sock);
	lost = flood.sent - flood.received;
	CHECK_IS(open_descriptors(), before + (size_t)lost);
	for (fd = 0; fd < (int)before + lost + 16; fd++)
		if (fd != flood.file && same_file(fd, flood.file))
			close_files(&fd, 1);
	close_files(&flood.file, 1);
	return lost;
}

static void the_instant_of_arrival(void)
{
	/* That is the kernel's and the C library's, so there is nothing to
	 * require. */
	printf("%d of %d threads lost one\n", lost_by(receive_until_cancelled), some_of(THREADS));
	CHECK_IS(lost_by(receive_and_lose_none), 0);
}

CHECK_MAIN(CASE(a_receive_can_be_cancelled), CASE(what_has_come_is_in_the_array),
	   CASE(a_send_can_be_cancelled), CASE(a_long_send_can_be_cancelled),
	   CASE(closing_is_not_cancelled), CASE(the_instant_of_arrival))
