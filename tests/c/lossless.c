/* ANCILLARY_LOSSLESS: what cannot be delivered whole stays queued, and comes
 * whole later. */

#include "calls.h"
#include "check.h"
#include "kit.h"
#include "shim.h"

#include <ancillary.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROOM = 300, LEN = 80000 };

static const char text_of_many_bytes[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ";
static int fds[ROOM];
static char data[LEN];

static ssize_t receive(int sock, size_t *room, size_t len, unsigned flags)
{
	memset(data, 'x', sizeof data);
	memset(fds, 'x', sizeof fds);
	return ancillary_recv_fds(sock, fds, room, data, len, ANCILLARY_LOSSLESS | flags);
}

static int queued(int sock)
{
	int bytes;

	CHECK(ioctl(sock, FIONREAD, &bytes) == 0);
	return bytes;
}

/* A receive is refused, and nothing has happened. */
static void check_refused(int sock, size_t room, size_t len, int error)
{
	size_t nfds = room, open = open_descriptors();
	int bytes = queued(sock);

	CHECK_ERR(receive(sock, &nfds, len, 0), error);
	CHECK_IS(nfds, 0);
	CHECK(all_none(fds, room));
	CHECK_IS(queued(sock), bytes);
	CHECK_IS(open_descriptors(), open);
}

/* A receive delivers this text and these files. */
static void check_delivered(int sock, size_t room, size_t len, const char *text, const int *files,
			    size_t count)
{
	size_t nfds = room;

	CHECK_OK(receive(sock, &nfds, len, 0), strlen(text));
	CHECK(memcmp(data, text, strlen(text)) == 0);
	CHECK_IS(nfds, count);
	take_arrived(fds, room, files, count);
}

/* What is passed along with each message: nothing, or what a receiver asks for. */
static int passed;

static void pass_more(int sock)
{
	if (passed & 1)
		set_option(sock, SO_PASSCRED, 1);
	if (passed & 2)
		set_option(sock, OPTION_PASSPIDFD, 1);
	check_about("credentials %d, pidfd %d", passed & 1, passed & 2);
}

static void with_all_that_is_passed(void (*run)(int type, int sock[2]), bool streams_only)
{
	for (passed = 0; passed < (has_option(OPTION_PASSPIDFD) ? 4 : 2); passed++) {
		if (streams_only)
			with_type(SOCK_STREAM, run);
		else
			with_each_type(run);
	}
}

/* --- whole messages --- */

static void receive_with_little_room(int type, int sock[2])
{
	int files[5];

	(void)type;
	pass_more(sock[THERE]);
	open_files(files, 5);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 5, "one", 3, 0), 3);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 2, "two", 3, 0), 3);
	for (size_t room = 0; room < 5; room++)
		check_refused(sock[THERE], room, 8, E2BIG);
	check_delivered(sock[THERE], 5, 8, "one", files, 5);
	check_refused(sock[THERE], 1, 8, E2BIG);
	check_delivered(sock[THERE], 8, 8, "two", files, 2);
	check_nothing_there(sock[THERE]);
	close_files(files, 5);
}

static void too_little_room(void)
{
	with_all_that_is_passed(receive_with_little_room, false);
}

static void receive_with_few_slots(int type, int sock[2])
{
	int files[5];
	size_t nfds;
	rlim_t limit;

	(void)type;
	pass_more(sock[THERE]);
	open_files(files, 5);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 5, "one", 3, 0), 3);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "two", 3, 0), 3);
	for (size_t slots = 0; slots < 5; slots++) {
		int bytes = queued(sock[THERE]);
		size_t open = open_descriptors();

		nfds = 8;
		limit = leave_slots(slots);
		CHECK_ERR(receive(sock[THERE], &nfds, 8, 0), EMFILE);
		set_limit(limit);
		CHECK_IS(nfds, 0);
		CHECK(all_none(fds, 8));
		CHECK_IS(queued(sock[THERE]), bytes);
		CHECK_IS(open_descriptors(), open);
	}
	nfds = 8;
	limit = leave_slots(5);
	CHECK_OK(receive(sock[THERE], &nfds, 8, 0), 3);
	set_limit(limit);
	take_arrived(fds, 8, files, 5);
	limit = leave_slots(0);
	nfds = 8;
	CHECK_OK(receive(sock[THERE], &nfds, 8, 0), 3);
	set_limit(limit);
	CHECK(memcmp(data, "two", 3) == 0);
	close_files(files, 5);
}

static void too_few_slots(void)
{
	with_all_that_is_passed(receive_with_few_slots, false);
}

static void receive_the_most(int type, int sock[2])
{
	int files[MOST];

	(void)type;
	pass_more(sock[THERE]);
	open_files(files, MOST);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, MOST, "one", 3, 0), 3);
	check_refused(sock[THERE], MOST - 1, 8, E2BIG);
	check_delivered(sock[THERE], MOST, 8, "one", files, MOST);
	close_files(files, MOST);
}

static void as_many_as_a_message_carries(void)
{
	with_all_that_is_passed(receive_the_most, false);
}

static void receive_withheld(int type, int sock[2])
{
	int files[3];

	(void)type;
	open_files(files, 3);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 3, "one", 3, 0), 3);
	for (shim.withhold = 1; shim.withhold <= 3; shim.withhold++)
		check_refused(sock[THERE], 8, 8, EACCES);
	shim.withhold = 0;
	check_delivered(sock[THERE], 8, 8, "one", files, 3);
	close_files(files, 3);
}

static void a_security_policy(void)
{
	with_each_type(receive_withheld);
}

static void receive_withheld_for_a_moment(int type, int sock[2])
{
	int files[3];

	(void)type;
	open_files(files, 3);
	/* Another thread has closed something when the call asks why. */
	for (int times = 1; times <= 3; times++) {
		CHECK_OK(ancillary_send_fds(sock[HERE], files, 3, "one", 3, 0), 3);
		shim.withhold = 2;
		shim.withhold_times = times;
		check_delivered(sock[THERE], 8, 8, "one", files, 3);
	}
	close_files(files, 3);
}

static void a_table_that_was_full_for_a_moment(void)
{
	with_each_type(receive_withheld_for_a_moment);
}

static void receive_too_long(int type, int sock[2])
{
	struct iovec iov = { data, 2 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1, .fds = fds, .nfds = 8 };
	int files[2];

	(void)type;
	open_files(files, 2);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 2, "one", 3, 0), 3);
	check_refused(sock[THERE], 8, 2, EMSGSIZE);
	check_refused(sock[THERE], 1, 2, E2BIG);
	check_delivered(sock[THERE], 8, 3, "one", files, 2);
	/* The tolerant call keeps what there is room for, and says so. */
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 2, "one", 3, 0), 3);
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, ANCILLARY_LOSSLESS), 2);
	CHECK_IS(msg.flags, ANCILLARY_DATA_TRUNCATED);
	CHECK_IS(msg.nfds, 2);
	take_arrived(fds, 2, files, 2);
	check_nothing_there(sock[THERE]);
	close_files(files, 2);
}

static void a_datagram_longer_than_the_room(void)
{
	with_type(SOCK_SEQPACKET, receive_too_long);
	with_type(SOCK_DGRAM, receive_too_long);
}

static void receive_into_many_buffers(int type, int sock[2])
{
	enum { BUFFERS = 40 };
	struct iovec buffers[BUFFERS];
	struct ancillary_msg msg = { .size = sizeof msg, .iov = buffers, .fds = fds };
	int files[2];

	(void)type;
	open_files(files, 2);
	for (size_t count = 1; count <= BUFFERS; count++) {
		for (size_t i = 0; i < count; i++)
			buffers[i] = (struct iovec){ data + i, 1 };
		CHECK_OK(ancillary_send_fds(sock[HERE], files, 2, text_of_many_bytes, count, 0), count);
		msg.iovlen = count;
		msg.nfds = 2;
		memset(data, 'x', sizeof data);
		CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, ANCILLARY_LOSSLESS), count);
		CHECK(memcmp(data, text_of_many_bytes, count) == 0);
		CHECK_IS(msg.flags, 0);
		take_arrived(fds, 2, files, 2);
	}
	close_files(files, 2);
}

static void a_datagram_into_many_buffers(void)
{
	with_type(SOCK_SEQPACKET, receive_into_many_buffers);
	with_type(SOCK_DGRAM, receive_into_many_buffers);
}

static void receive_empty(int type, int sock[2])
{
	int file;

	(void)type;
	open_files(&file, 1);
	CHECK_IS(send_by_hand(sock[HERE], "", 0, &file, 1), 0);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "next", 4, 0), 4);
	check_refused(sock[THERE], 0, 8, E2BIG);
	check_delivered(sock[THERE], 1, 8, "", &file, 1);
	check_delivered(sock[THERE], 1, 8, "next", NULL, 0);
	close_files(&file, 1);
}

static void an_empty_datagram_with_a_descriptor(void)
{
	with_type(SOCK_SEQPACKET, receive_empty);
	with_type(SOCK_DGRAM, receive_empty);
}

/* --- a pidfd --- */

static void receive_pidfd(int type, int sock[2])
{
	struct iovec iov = { data, 8 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };
	size_t nfds = 0;
	rlim_t limit;

	(void)type;
	pass_more(sock[THERE]);
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "one", 3, 0), 3);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "two", 3, 0), 3);
	limit = leave_slots(0);
	CHECK_ERR(ancillary_recv_msg(sock[THERE], &msg, ANCILLARY_LOSSLESS), EMFILE);
	CHECK_IS(msg.flags, 0);
	set_limit(limit);
	/* Who does not ask for it needs no slot for it. */
	limit = leave_slots(0);
	CHECK_OK(receive(sock[THERE], &nfds, 3, 0), 3);
	set_limit(limit);
	CHECK(memcmp(data, "one", 3) == 0);
	limit = leave_slots(1);
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, ANCILLARY_LOSSLESS), 3);
	set_limit(limit);
	CHECK(msg.flags & ANCILLARY_HAS_PIDFD);
	CHECK(msg.pidfd >= 0);
	close_files(&msg.pidfd, 1);
}

static void a_pidfd_needs_a_slot(void)
{
	with_all_that_is_passed(receive_pidfd, false);
}

static void a_slot_taken_by_a_later_message_is_free_for_a_pidfd(void)
{
	struct iovec iov = { data, 8 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1, .fds = fds, .nfds = 4 };
	int sock[2], file;
	rlim_t limit;

	open_pair(SOCK_STREAM, sock);
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	open_files(&file, 1);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "12345678", 8, 0), 8);
	CHECK_OK(ancillary_send_fds(sock[HERE], &file, 1, "fd", 2, 0), 2);
	limit = leave_slots(1);
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, ANCILLARY_LOSSLESS), 8);
	set_limit(limit);
	CHECK_IS(msg.flags, ANCILLARY_HAS_PIDFD);
	CHECK_IS(msg.nfds, 0);
	close_files(&msg.pidfd, 1);
	drain(sock[THERE]);
	close_files(&file, 1);
	close_pair(sock);
}

/* --- bytes in front --- */

static void receive_bytes_in_front(int type, int sock[2])
{
	int files[2];

	(void)type;
	pass_more(sock[THERE]);
	open_files(files, 2);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "head", 4, 0), 4);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 2, "body", 4, 0), 4);
	/* A header is read without room for descriptors, in one and in pieces. */
	check_delivered(sock[THERE], 0, 4, "head", NULL, 0);
	check_refused(sock[THERE], 0, 4, E2BIG);
	check_refused(sock[THERE], 1, 1, E2BIG);
	check_delivered(sock[THERE], 2, 8, "body", files, 2);
	/* With more room than the bytes in front. */
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "a", 1, 0), 1);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "bc", 2, 0), 2);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 2, "body", 4, 0), 4);
	check_delivered(sock[THERE], 1, 8, "abc", NULL, 0);
	check_refused(sock[THERE], 1, 8, E2BIG);
	check_delivered(sock[THERE], 2, 8, "body", files, 2);
	/* And together with what they stand in front of, if that fits. */
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "head", 4, 0), 4);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 2, "body", 4, 0), 4);
	check_delivered(sock[THERE], 2, 8, "headbody", files, 2);
	close_files(files, 2);
}

static void bytes_in_front_are_delivered(void)
{
	with_all_that_is_passed(receive_bytes_in_front, true);
}

static void receive_through_the_trap(int type, int sock[2])
{
	int file;

	(void)type;
	pass_more(sock[THERE]);
	open_files(&file, 1);
	for (size_t len = 1; len <= 12; len++) {
		size_t got = 0;

		/* A peek of the first bytes finds the descriptor of the last. */
		CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "1234", 4, 0), 4);
		CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "5678", 4, 0), 4);
		CHECK_OK(ancillary_send_fds(sock[HERE], &file, 1, "90ab", 4, 0), 4);
		while (got < 12) {
			size_t nfds = 2, before = got;
			ssize_t n = receive(sock[THERE], &nfds, len, 0);

			CHECK(n > 0);
			CHECK(memcmp(data, &"1234567890ab"[got], (size_t)n) == 0);
			got += (size_t)n;
			CHECK_IS(nfds, before <= 8 && got > 8);
			take_arrived(fds, 2, &file, nfds);
		}
		check_nothing_there(sock[THERE]);
	}
	close_files(&file, 1);
}

static void descriptors_of_later_bytes_stay_with_them(void)
{
	with_all_that_is_passed(receive_through_the_trap, true);
}

static void receive_long_ones_in_front(int type, int sock[2])
{
	static char bytes[LEN];
	static const size_t lengths[] = { 1, 2047, 2048, 2049, 4096, 30000, 65000 };
	int files[2];

	(void)type;
	pass_more(sock[THERE]);
	open_files(files, 2);
	memset(bytes, 'b', sizeof bytes);
	for (size_t i = 0; i < LENGTH(lengths); i++) {
		size_t left = lengths[i];

		check_about("%zu bytes in front", left);
		CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, bytes, left, 0), left);
		CHECK_OK(ancillary_send_fds(sock[HERE], files, 2, "body", 4, 0), 4);
		while (left > 0) {
			size_t nfds = 1;
			ssize_t n = receive(sock[THERE], &nfds, left < 100 ? left : 100, 0);

			CHECK(n > 0);
			CHECK_IS(nfds, 0);
			left -= (size_t)n;
		}
		check_refused(sock[THERE], 1, 8, E2BIG);
		check_refused(sock[THERE], 1, 2, E2BIG);
		check_delivered(sock[THERE], 2, 8, "body", files, 2);
	}
	close_files(files, 2);
}

static void long_messages_in_front(void)
{
	with_all_that_is_passed(receive_long_ones_in_front, true);
}

static void receive_tails(int type, int sock[2])
{
	int files[3];

	(void)type;
	pass_more(sock[THERE]);
	open_files(files, 3);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 1, "first", 5, 0), 5);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 3, "second", 6, 0), 6);
	check_delivered(sock[THERE], 1, 2, "fi", files, 1);
	/* The rest of the first comes without descriptors. */
	check_delivered(sock[THERE], 1, 8, "rst", NULL, 0);
	check_refused(sock[THERE], 1, 8, E2BIG);
	check_delivered(sock[THERE], 3, 8, "second", files, 3);
	close_files(files, 3);
}

static void the_tail_of_a_message(void)
{
	with_all_that_is_passed(receive_tails, true);
}

/* --- with other flags --- */

static void receive_all_of_it(int type, int sock[2])
{
	int files[4];
	size_t nfds;

	(void)type;
	pass_more(sock[THERE]);
	open_files(files, 4);
	for (int i = 0; i < 4; i++)
		CHECK_OK(ancillary_send_fds(sock[HERE], files + i, 1, "ab", 2, 0), 2);
	/* What cannot be delivered ends it, with what could. */
	nfds = 3;
	CHECK_OK(receive(sock[THERE], &nfds, 8, ANCILLARY_WAITALL), 6);
	CHECK_IS(nfds, 3);
	take_arrived(fds, 3, files, 3);
	check_refused(sock[THERE], 0, 8, E2BIG);
	nfds = 3;
	CHECK_OK(receive(sock[THERE], &nfds, 8, ANCILLARY_WAITALL | ANCILLARY_DONTWAIT), 2);
	CHECK_IS(nfds, 1);
	take_arrived(fds, 3, files + 3, 1);
	nfds = 3;
	CHECK_ERR(receive(sock[THERE], &nfds, 8, ANCILLARY_WAITALL | ANCILLARY_DONTWAIT), EAGAIN);
	CHECK_ERR(receive(sock[THERE], &nfds, 8, ANCILLARY_DONTWAIT), EAGAIN);
	close_files(files, 4);
}

static void together_with_waitall_and_dontwait(void)
{
	with_all_that_is_passed(receive_all_of_it, true);
}

static void many_over_markers(void)
{
	static int files[ROOM];
	int sock[2];
	size_t nfds = 299;

	open_pair(SOCK_STREAM, sock);
	open_files(files, ROOM);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, ROOM, NULL, 0, 0), 2);
	CHECK_OK(ancillary_recv_fds(sock[THERE], fds, &nfds, NULL, 0,
				    ANCILLARY_WAITALL | ANCILLARY_LOSSLESS),
		 1);
	CHECK_IS(nfds, MOST);
	take_arrived(fds, 299, files, MOST);
	nfds = ROOM - MOST - 1;
	CHECK_ERR(ancillary_recv_fds(sock[THERE], fds, &nfds, NULL, 0, ANCILLARY_LOSSLESS), E2BIG);
	nfds = ROOM - MOST;
	CHECK_OK(ancillary_recv_fds(sock[THERE], fds, &nfds, NULL, 0, ANCILLARY_LOSSLESS), 1);
	take_arrived(fds, nfds, files + MOST, nfds);
	close_files(files, ROOM);
	close_pair(sock);
}

static void *send_later(void *sock)
{
	int file;

	sleep_ms(20);
	open_files(&file, 1);
	CHECK_OK(ancillary_send_fds(*(int *)sock, &file, 1, "late", 4, 0), 4);
	close_files(&file, 1);
	return NULL;
}

static void wait_for_one(int type, int sock[2])
{
	pthread_t sender = start_thread(send_later, &sock[HERE]);
	size_t nfds = 1;

	(void)type;
	CHECK_OK(receive(sock[THERE], &nfds, 8, 0), 4);
	CHECK_IS(nfds, 1);
	ancillary_close_fds(fds, 1);
	end_thread(sender);
}

static void waits_until_there_is_something(void)
{
	with_each_type(wait_for_one);
}

static bool is_readable(int sock)
{
	struct pollfd polled = { .fd = sock, .events = POLLIN };

	CHECK(poll(&polled, 1, 0) >= 0);
	return polled.revents & POLLIN;
}

/* A peek leaves a byte sent with MSG_OOB where it is, and poll(2) finds it. */
static void a_byte_out_of_band_does_not_stay(void)
{
	int sock[2], sent;
	size_t nfds = 1;

	open_files(&sent, 1);
	open_pair(SOCK_STREAM, sock);
	if (send(sock[HERE], "o", 1, MSG_OOB) < 0 && errno == EOPNOTSUPP)
		check_skip("no MSG_OOB on Unix sockets");
	CHECK(is_readable(sock[THERE]));
	CHECK_ERR(receive(sock[THERE], &nfds, 8, ANCILLARY_DONTWAIT), EAGAIN);
	CHECK(!is_readable(sock[THERE]));
	/* What comes behind it is received. */
	CHECK_IS(send(sock[HERE], "o", 1, MSG_OOB), 1);
	CHECK_IS(send_by_hand(sock[HERE], "abc", 3, &sent, 1), 3);
	nfds = 1;
	CHECK_OK(receive(sock[THERE], &nfds, 8, ANCILLARY_DONTWAIT), 3);
	CHECK_IS(nfds, 1);
	take_arrived(fds, 1, &sent, 1);
	nfds = 1;
	CHECK_ERR(receive(sock[THERE], &nfds, 8, ANCILLARY_DONTWAIT), EAGAIN);
	CHECK(!is_readable(sock[THERE]));
	/* With time to wait, it is waited for what comes next. */
	CHECK_IS(send(sock[HERE], "o", 1, MSG_OOB), 1);
	set_timeout(sock[THERE], SO_RCVTIMEO, 20);
	CHECK_ERR(receive(sock[THERE], &nfds, 8, 0), EAGAIN);
	CHECK(!is_readable(sock[THERE]));
	close_pair(sock);
	close_files(&sent, 1);
}

static long (*beneath)(const struct call *call);
static int *closing, receives;

/* The peer closes between the first receive, which peeks, and the second one. */
static long close_before_the_second(const struct call *call)
{
	if (strcmp(call->name, "recvmsg") == 0 && ++receives == 2)
		close_end(closing, HERE);
	return beneath(call);
}

/* That the peer has closed with something unread is told once. */
static void an_error_that_comes_meanwhile_is_told(void)
{
	size_t nfds = 1;
	int sock[2];

	open_pair(SOCK_STREAM, sock);
	CHECK_IS(send(sock[THERE], "unread", 6, 0), 6);
	closing = sock;
	receives = 0;
	beneath = on_call;
	on_call = close_before_the_second;
	CHECK_ERR(receive(sock[THERE], &nfds, 8, ANCILLARY_DONTWAIT), ECONNRESET);
	on_call = beneath;
	CHECK_IS(receives, 2);
	CHECK_OK(receive(sock[THERE], &nfds, 8, ANCILLARY_DONTWAIT), 0);
	close_pair(sock);
}

static void receive_the_end(int type, int sock[2])
{
	size_t nfds = 1;

	(void)type;
	pass_more(sock[THERE]);
	close_end(sock, HERE);
	CHECK_OK(receive(sock[THERE], &nfds, 8, 0), 0);
	CHECK_OK(receive(sock[THERE], &nfds, 8, ANCILLARY_WAITALL), 0);
}

static void the_end(void)
{
	for (passed = 0; passed < 4; passed++) {
		with_type(SOCK_STREAM, receive_the_end);
		with_type(SOCK_SEQPACKET, receive_the_end);
	}
}

CHECK_MAIN(CASE(too_little_room), CASE(too_few_slots), CASE(as_many_as_a_message_carries),
	   CASE(a_security_policy), CASE(a_table_that_was_full_for_a_moment),
	   CASE(a_datagram_longer_than_the_room),
	   CASE(a_datagram_into_many_buffers),
	   CASE(an_empty_datagram_with_a_descriptor), CASE(a_pidfd_needs_a_slot),
	   CASE(a_slot_taken_by_a_later_message_is_free_for_a_pidfd),
	   CASE(bytes_in_front_are_delivered), CASE(descriptors_of_later_bytes_stay_with_them),
	   CASE(long_messages_in_front), CASE(the_tail_of_a_message),
	   CASE(together_with_waitall_and_dontwait), CASE(many_over_markers),
	   CASE(waits_until_there_is_something),
	   CASE(a_byte_out_of_band_does_not_stay),
	   CASE(an_error_that_comes_meanwhile_is_told), CASE(the_end))
