/* ANCILLARY_LOSSLESS: what cannot be delivered whole stays queued, and comes
 * whole later. */

#include "calls.h"
#include "check.h"
#include "kit.h"
#include "shim.h"
#include "users.h"

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

/* What a tolerant call has done where the strict one would have failed. */
static bool says_lost(const struct ancillary_msg *msg)
{
	return msg->flags & ANCILLARY_FDS_LOST && msg->error != 0;
}

/* Receives what the kernel has left out of a peek: it comes, or the call does not say
 * that all is well.  Returns whether it is still there. */
static bool receive_forgotten(bool strict, int sock, const int *files)
{
	struct iovec iov = { data, 8 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1, .fds = fds,
				     .nfds = 4 };
	size_t nfds = 4;
	ssize_t n;

	memset(fds, 'x', sizeof fds);
	errno = CHECK_ERRNO;
	if (strict) {
		n = ancillary_recv_fds(sock, fds, &nfds, data, 8, ANCILLARY_LOSSLESS);
	} else {
		n = ancillary_recv_msg(sock, &msg, ANCILLARY_LOSSLESS);
		nfds = msg.nfds;
		ancillary_close_fds(&msg.pidfd, 1);
	}
	CHECK_IS(errno, n < 0 ? -n : CHECK_ERRNO);
	if (n >= 0) {
		CHECK_IS(n, 3);
		CHECK(nfds == 3 || (!strict && says_lost(&msg)));
		take_arrived(fds, 4, files, nfds);
		return false;
	}
	CHECK_IS(nfds, 0);
	CHECK(all_none(fds, 4));
	return recv(sock, data, 8, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

static void receive_without_memory(int type, int sock[2])
{
	int files[3];

	(void)type;
	pass_more(sock[THERE]);
	open_files(files, 3);
	for (int times = 1; times < 20; times += times < 6 ? 1 : 5) {
		for (int strict = 0; strict < 2; strict++) {
			CHECK_OK(ancillary_send_fds(sock[HERE], files, 3, "one", 3, 0), 3);
			shim.forget = times;
			if (receive_forgotten(strict, sock[THERE], files)) {
				shim.forget = 0;
				check_delivered(sock[THERE], 4, 8, "one", files, 3);
			}
			shim.forget = 0;
			check_nothing_there(sock[THERE]);
		}
	}
	/* Where there are none, nothing is wrong. */
	shim.forget = 20;
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "two", 3, 0), 3);
	check_delivered(sock[THERE], 4, 8, "two", NULL, 0);
	shim.forget = 0;
	close_files(files, 3);
}

static void a_peek_that_shows_nothing_is_no_success(void)
{
	with_all_that_is_passed(receive_without_memory, false);
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

static void receive_pidfd_in_front(size_t slots)
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
	limit = leave_slots(slots);
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, ANCILLARY_LOSSLESS), 8);
	set_limit(limit);
	CHECK_IS(msg.flags, ANCILLARY_HAS_PIDFD);
	CHECK_IS(msg.nfds, 0);
	CHECK_IS(pid_of(msg.pidfd), getpid());
	close_files(&msg.pidfd, 1);
	drain(sock[THERE]);
	close_files(&file, 1);
	close_pair(sock);
}

/* With one the look finds no pidfd; with two there is none left when the bytes are
 * consumed. */
static void slots_taken_by_a_later_message_are_free_for_a_pidfd(void)
{
	need_option(OPTION_PASSPIDFD);
	for (size_t slots = 1; slots <= 3; slots++)
		receive_pidfd_in_front(slots);
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

/* More buffers than one look describes, and more bytes in front than these hold. */
static void receive_in_front_into_many_buffers(int type, int sock[2])
{
	enum { BUFFERS = 40, LAST = 1000, IN_FRONT = 500 };
	struct iovec buffers[BUFFERS];
	struct ancillary_msg msg = { .size = sizeof msg, .iov = buffers, .iovlen = BUFFERS,
				     .fds = fds };
	static const char bytes[IN_FRONT];
	int files[2];
	size_t got = 0;

	(void)type;
	pass_more(sock[THERE]);
	open_files(files, 2);
	for (size_t i = 0; i < BUFFERS; i++)
		buffers[i] = (struct iovec){ data + i, 1 };
	buffers[BUFFERS - 1].iov_len = LAST;
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, bytes, IN_FRONT, 0), IN_FRONT);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 2, "body", 4, 0), 4);
	while (got < IN_FRONT) {
		ssize_t n;

		msg.nfds = 1;
		n = ancillary_recv_msg(sock[THERE], &msg, ANCILLARY_LOSSLESS);
		CHECK(n > 0);
		CHECK_IS(msg.flags & ~(ANCILLARY_HAS_CREDS | ANCILLARY_HAS_PIDFD), 0);
		CHECK_IS(msg.nfds, 0);
		ancillary_close_fds(&msg.pidfd, 1);
		got += (size_t)n;
	}
	CHECK_IS(got, IN_FRONT);
	check_refused(sock[THERE], 1, 8, E2BIG);
	check_delivered(sock[THERE], 2, 8, "body", files, 2);
	close_files(files, 2);
}

static void bytes_in_front_into_many_buffers(void)
{
	with_all_that_is_passed(receive_in_front_into_many_buffers, true);
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

/* --- while the peer sends out of band --- */

static int peer, act_before;

/* The peer acts in front of one of the receives that a call makes. */
static long send_mark_before_one(const struct call *call)
{
	if (strcmp(call->name, "recvmsg") == 0 && ++receives == act_before)
		CHECK_IS(send(peer, "p", 1, MSG_OOB), 1);
	return beneath(call);
}

static void need_marks(void)
{
	int sock[2];
	char byte;

	open_pair(SOCK_STREAM, sock);
	if (send(sock[HERE], "o", 1, MSG_OOB) < 0 && errno == EOPNOTSUPP)
		check_skip("no MSG_OOB on Unix sockets");
	CHECK_IS(send(sock[HERE], "b", 1, 0), 1);
	if (recv(sock[THERE], &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 1 || byte != 'b')
		check_skip("a peek sees nothing behind a byte out of band");
	close_pair(sock);
}

/* What is sent at first, each byte a message, but for a + with the one in front of it: O
 * is out of band, until the next one is, and 1 has a descriptor. */
static void send_script(int sock, const char *script, const int *files)
{
	for (size_t sent = 0, len; *script; script += len) {
		len = script[1] == '+' ? 2 : 1;
		if (*script == 'O')
			CHECK_IS(send(sock, script, len, MSG_OOB), len);
		else if (*script == '1')
			CHECK_IS(send_by_hand(sock, script, len, &files[sent++], 1), len);
		else
			CHECK_IS(send(sock, script, len, 0), len);
	}
}

/* Receives all, and checks that each byte came once, in order, but for those that were out
 * of band, and that each descriptor came with the first byte of its message. */
static void receive_meanwhile(int type, int sock[2], const char *script, size_t room, size_t len)
{
	int files[2];
	char got[40] = "", all[40] = "";
	size_t came = 0, bytes = 0;
	ssize_t n;

	(void)type;
	open_files(files, 2);
	send_script(sock[HERE], script, files);
	receives = 0;
	beneath = on_call;
	on_call = send_mark_before_one;
	do {
		size_t nfds = room, carriers = 0;

		n = receive(sock[THERE], &nfds, len, ANCILLARY_DONTWAIT);
		/* Refused once, there is room. */
		room = 2;
		if (n == -E2BIG)
			continue;
		if (n < 0)
			break;
		for (ssize_t i = 0; i < n; i++)
			carriers += data[i] == '1';
		CHECK_IS(nfds, carriers);
		take_arrived(fds, nfds, files + came, nfds);
		came += nfds;
		CHECK(bytes + (size_t)n < sizeof got);
		memcpy(got + bytes, data, (size_t)n);
		bytes += (size_t)n;
	} while (true);
	on_call = beneath;
	CHECK_IS(n, -EAGAIN);
	for (const char *each = script; *each; each++) {
		/* One that was out of band may have been dropped before it was not. */
		if (*each == 'O' && !memchr(got, 'O', bytes))
			continue;
		strncat(all, each, 1);
	}
	CHECK_IS(bytes, strlen(all));
	CHECK(memcmp(got, all, bytes) == 0);
	check_nothing_there(sock[THERE]);
	close_files(files, 2);
}

static void receive_while_marks_are_sent(int type, int sock[2])
{
	static const char *const scripts[] = { "O1",	 "O1+",	   "O11", "O1+1+", "Oa1", "Oa+1+",
					       "Oa+b1+", "aO1+", "aOb1", "1O1",	  "1+O1+", "ab1O1" };
	int ends[2];

	(void)sock;
	for (size_t script = 0; script < LENGTH(scripts); script++)
		for (act_before = 1; act_before <= 8; act_before++)
			for (size_t room = 0; room <= 2; room++)
				for (size_t len = 1; len <= 6; len++) {
					if (!is_tried())
						continue;
					open_pair(type, ends);
					pass_more(ends[THERE]);
					check_about("credentials %d, pidfd %d, %s, before %d, "
						    "room for %zu, %zu bytes", passed & 1,
						    passed & 2, scripts[script], act_before, room,
						    len);
					peer = ends[HERE];
					receive_meanwhile(type, ends, scripts[script], room, len);
					close_pair(ends);
				}
}

/* A byte out of band that a peek has passed over can be like all others when the bytes that
 * were peeked are consumed: then these are others, and the descriptors stay. */
static void what_is_out_of_band_between_two_looks(void)
{
	need_marks();
	with_all_that_is_passed(receive_while_marks_are_sent, true);
}

/* Nor is then the one who sent them the sender of these. */
static void their_sender_is_told_with_them(void)
{
	const struct ancillary_creds other = { getpid(), 1000, 1000 };
	struct iovec one = { data, 1 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &one, .iovlen = 1, .fds = fds };
	struct ancillary_msg out = { .size = sizeof out, .iov = &one, .iovlen = 1,
				     .flags = ANCILLARY_HAS_CREDS, .creds = other };
	int sock[2], file;

	need_root();
	need_marks();
	open_pair(SOCK_STREAM, sock);
	open_files(&file, 1);
	set_option(sock[THERE], SO_PASSCRED, 1);
	CHECK_IS(send(sock[HERE], "O", 1, MSG_OOB), 1);
	data[0] = '1';
	out.fds = &file;
	out.nfds = 1;
	CHECK_OK(ancillary_send_msg(sock[HERE], &out, 0), 1);
	peer = sock[HERE];
	receives = 0;
	act_before = 2;
	beneath = on_call;
	on_call = send_mark_before_one;
	msg.nfds = 1;
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, ANCILLARY_LOSSLESS), 1);
	on_call = beneath;
	CHECK_IS(data[0], 'O');
	CHECK_IS(msg.nfds, 0);
	CHECK_IS(msg.flags, ANCILLARY_HAS_CREDS);
	CHECK_IS(msg.creds.uid, getuid());
	msg.nfds = 1;
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, ANCILLARY_LOSSLESS), 1);
	CHECK_IS(data[0], '1');
	CHECK_IS(msg.creds.uid, other.uid);
	CHECK_IS(msg.nfds, 1);
	take_arrived(fds, 1, &file, 1);
	close_files(&file, 1);
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

/* A datagram socket has an end where it was shut down, for calls that wait. */
static void receive_after_shutdown(int type, int sock[2])
{
	static const unsigned all_flags[] = { 0, ANCILLARY_DONTWAIT, ANCILLARY_WAITALL };
	struct iovec iov = { data, 8 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1, .fds = fds };
	struct ancillary_creds creds;
	int file;

	pass_more(sock[THERE]);
	open_files(&file, 1);
	CHECK_OK(ancillary_send_fds(sock[HERE], &file, 1, "last", 4, 0), 4);
	CHECK(shutdown(sock[THERE], SHUT_RD) == 0);
	check_delivered(sock[THERE], 1, 8, "last", &file, 1);
	for (size_t i = 0; i < LENGTH(all_flags); i++) {
		unsigned flags = all_flags[i];
		size_t nfds = 1;
		/* As without ANCILLARY_LOSSLESS. */
		ssize_t n = ancillary_recv_fds(sock[THERE], fds, &nfds, data, 8, flags);

		check_about("type %d, credentials %d, pidfd %d, flags %x", type, passed & 1,
			    passed & 2, flags);
		CHECK(n == 0 || flags & ANCILLARY_DONTWAIT);
		nfds = 1;
		CHECK_IS(receive(sock[THERE], &nfds, 8, flags), n);
		CHECK_IS(nfds, 0);
		msg.nfds = 1;
		CHECK_IS(ancillary_recv_msg(sock[THERE], &msg, ANCILLARY_LOSSLESS | flags), n);
		CHECK_IS(msg.flags, 0);
		n = ancillary_recv_creds(sock[THERE], &creds, data, 8, flags);
		flags |= ANCILLARY_LOSSLESS;
		CHECK_IS(ancillary_recv_creds(sock[THERE], &creds, data, 8, flags), n);
	}
	close_files(&file, 1);
}

static void the_end_of_what_was_shut_down(void)
{
	with_all_that_is_passed(receive_after_shutdown, false);
}

static pid_t waiting;

static void *wait_for_the_end(void *sock)
{
	size_t nfds = 1;

	__atomic_store_n(&waiting, thread_number(), __ATOMIC_SEQ_CST);
	CHECK_OK(receive(*(int *)sock, &nfds, 8, 0), 0);
	CHECK_IS(nfds, 0);
	return NULL;
}

static void shut_down_meanwhile(int type, int sock[2])
{
	pthread_t thread;

	(void)type;
	waiting = 0;
	thread = start_thread(wait_for_the_end, &sock[THERE]);
	while (!__atomic_load_n(&waiting, __ATOMIC_SEQ_CST))
		sleep_ms(1);
	wait_until_asleep(waiting);
	CHECK(shutdown(sock[THERE], SHUT_RD) == 0);
	end_thread(thread);
}

static void the_end_comes_while_it_waits(void)
{
	with_each_type(shut_down_meanwhile);
}

CHECK_MAIN(CASE(too_little_room), CASE(too_few_slots), CASE(as_many_as_a_message_carries),
	   CASE(a_security_policy), CASE(a_table_that_was_full_for_a_moment),
	   CASE(a_peek_that_shows_nothing_is_no_success), CASE(a_datagram_longer_than_the_room),
	   CASE(a_datagram_into_many_buffers),
	   CASE(an_empty_datagram_with_a_descriptor), CASE(a_pidfd_needs_a_slot),
	   CASE(slots_taken_by_a_later_message_are_free_for_a_pidfd),
	   CASE(bytes_in_front_are_delivered), CASE(descriptors_of_later_bytes_stay_with_them),
	   CASE(long_messages_in_front), CASE(bytes_in_front_into_many_buffers),
	   CASE(the_tail_of_a_message),
	   CASE(together_with_waitall_and_dontwait), CASE(many_over_markers),
	   CASE(waits_until_there_is_something),
	   CASE(a_byte_out_of_band_does_not_stay),
	   CASE(an_error_that_comes_meanwhile_is_told),
	   CASE(what_is_out_of_band_between_two_looks),
	   CASE(their_sender_is_told_with_them), CASE(the_end),
	   CASE(the_end_of_what_was_shut_down), CASE(the_end_comes_while_it_waits))
