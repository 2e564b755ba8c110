/* ancillary_send_msg and ancillary_recv_msg: every outcome told apart, and the
 * payload kept. */

#include "check.h"
#include "kit.h"
#include "shim.h"

/* NULL is passed here to see it refused. */
#define ANCILLARY_NONNULL(argument)
#include <ancillary.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROOM = 8, LEN = 16 };

static int fds[ROOM];
static char data[LEN];
static struct iovec iov;

/* Room for as many descriptors and 16 bytes; everything else as a receive must
 * not leave it. */
static struct ancillary_msg room_for(size_t nfds)
{
	struct ancillary_msg msg = { sizeof msg, &iov, 1, fds, nfds, NULL, 0, { 1, 2, 3 }, 4, ~0U, 5 };

	memset(fds, 'x', sizeof fds);
	memset(data, 'x', sizeof data);
	iov = (struct iovec){ data, LEN };
	return msg;
}

static void check_unknown(const struct ancillary_creds *creds)
{
	CHECK_IS(creds->pid, 0);
	CHECK(creds->uid == (uid_t)-1);
	CHECK(creds->gid == (gid_t)-1);
}

static void check_own(const struct ancillary_creds *creds)
{
	CHECK_IS(creds->pid, getpid());
	CHECK_IS(creds->uid, getuid());
	CHECK_IS(creds->gid, getgid());
}

static void send_files(int sock, const int *files, size_t nfds)
{
	CHECK_OK(ancillary_send_fds(sock, files, nfds, "payload", 7, 0), 7);
}

static void check_payload(ssize_t n)
{
	CHECK_IS(n, 7);
	CHECK(memcmp(data, "payload", 7) == 0);
}

/* --- what comes --- */

static void receive_bare(int type, int sock[2])
{
	struct ancillary_msg msg = room_for(ROOM);

	(void)type;
	send_files(sock[HERE], NULL, 0);
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 7);
	check_payload(7);
	CHECK_IS(msg.nfds, 0);
	CHECK(all_none(fds, ROOM));
	CHECK_IS(msg.flags, 0);
	CHECK_IS(msg.error, 0);
	CHECK_IS(msg.pidfd, -1);
	check_unknown(&msg.creds);
}

static void a_message_with_nothing_but_payload(void)
{
	with_each_type(receive_bare);
}

static void receive_all_kinds(int type, int sock[2])
{
	int files[MOST];
	static int many[MOST];
	struct ancillary_msg msg = room_for(0);

	(void)type;
	set_option(sock[THERE], SO_PASSCRED, 1);
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	set_option(sock[THERE], SO_TIMESTAMP, 1);
	open_files(files, MOST);
	send_files(sock[HERE], files, MOST);
	msg.fds = many;
	msg.nfds = MOST;
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 7);
	check_payload(7);
	CHECK_IS(msg.nfds, MOST);
	take_arrived(many, MOST, files, MOST);
	CHECK_IS(msg.flags, ANCILLARY_HAS_CREDS | ANCILLARY_HAS_PIDFD);
	CHECK_IS(msg.error, 0);
	check_own(&msg.creds);
	CHECK_IS(pid_of(msg.pidfd), getpid());
	close_files(&msg.pidfd, 1);
	close_files(files, MOST);
}

static void the_most_a_message_can_carry(void)
{
	with_each_type(receive_all_kinds);
}

static void receive_attached(int type, int sock[2])
{
	struct iovec parts[3] = { { (char[]){ "pay" }, 3 }, { NULL, 0 }, { (char[]){ "load" }, 4 } };
	struct ancillary_msg out = { .size = sizeof out, .iov = parts, .iovlen = 3 };
	struct ancillary_msg msg = room_for(1);
	int file;

	(void)type;
	open_files(&file, 1);
	out.fds = &file;
	out.nfds = 1;
	out.flags = ANCILLARY_HAS_CREDS;
	out.creds = (struct ancillary_creds){ getpid(), getuid(), getgid() };
	CHECK_OK(ancillary_send_msg(sock[HERE], &out, 0), 7);
	/* Attached by the sender, they are there although nobody asked when they
	 * were sent. */
	set_option(sock[THERE], SO_PASSCRED, 1);
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 7);
	check_payload(7);
	take_arrived(fds, 1, &file, 1);
	CHECK_IS(msg.flags, ANCILLARY_HAS_CREDS);
	check_own(&msg.creds);
	close_files(&file, 1);
}

static void credentials_attached_with_descriptors(void)
{
	with_each_type(receive_attached);
}

static void receive_stale(int type, int sock[2])
{
	struct ancillary_msg msg = room_for(1);

	(void)type;
	send_files(sock[HERE], NULL, 0);
	set_option(sock[THERE], SO_PASSCRED, 1);
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 7);
	CHECK_IS(msg.flags, 0);
	check_unknown(&msg.creds);
}

static void credentials_that_say_nothing(void)
{
	with_each_type(receive_stale);
}

static void receive_the_end(int type, int sock[2])
{
	struct ancillary_msg msg = room_for(ROOM);

	(void)type;
	set_option(sock[THERE], SO_PASSCRED, 1);
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	close_end(sock, HERE);
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 0);
	CHECK_IS(msg.flags, 0);
	CHECK_IS(msg.nfds, 0);
	CHECK(all_none(fds, ROOM));
	CHECK_IS(msg.pidfd, -1);
	check_unknown(&msg.creds);
	msg = room_for(ROOM);
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, ANCILLARY_LOSSLESS), 0);
	CHECK_IS(msg.flags, 0);
	check_unknown(&msg.creds);
}

static void the_end_is_nobodys(void)
{
	with_type(SOCK_STREAM, receive_the_end);
	with_type(SOCK_SEQPACKET, receive_the_end);
}

/* --- what does not --- */

static void receive_surplus(int type, int sock[2])
{
	int files[5];

	(void)type;
	open_files(files, 5);
	for (size_t room = 0; room <= 5; room++) {
		struct ancillary_msg msg = room_for(room);

		check_about("room for %zu", room);
		send_files(sock[HERE], files, 5);
		CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 7);
		check_payload(7);
		CHECK_IS(msg.nfds, room);
		CHECK_IS(msg.flags, room < 5 ? ANCILLARY_FDS_SURPLUS : 0);
		CHECK_IS(msg.error, 0);
		take_arrived(fds, room, files, room);
	}
	close_files(files, 5);
}

static void more_than_there_is_room_for(void)
{
	with_each_type(receive_surplus);
}

static void receive_with_few_slots(int type, int sock[2])
{
	int files[5];

	(void)type;
	open_files(files, 5);
	for (size_t slots = 0; slots <= 5; slots++) {
		struct ancillary_msg msg = room_for(ROOM);
		rlim_t limit;

		check_about("%zu slots", slots);
		send_files(sock[HERE], files, 5);
		limit = leave_slots(slots);
		CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 7);
		set_limit(limit);
		check_payload(7);
		CHECK_IS(msg.nfds, slots);
		CHECK_IS(msg.flags, slots < 5 ? ANCILLARY_FDS_LOST : 0);
		CHECK_IS(msg.error, slots < 5 ? EMFILE : 0);
		take_arrived(fds, ROOM, files, slots);
	}
	close_files(files, 5);
}

static void a_full_table(void)
{
	with_each_type(receive_with_few_slots);
}

static void receive_too_many_with_few_slots(int type, int sock[2])
{
	struct ancillary_msg msg = room_for(1);
	int files[5];
	rlim_t limit;

	(void)type;
	open_files(files, 5);
	send_files(sock[HERE], files, 5);
	limit = leave_slots(3);
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 7);
	set_limit(limit);
	check_payload(7);
	CHECK_IS(msg.nfds, 1);
	CHECK_IS(msg.flags, ANCILLARY_FDS_SURPLUS | ANCILLARY_FDS_LOST);
	CHECK_IS(msg.error, EMFILE);
	take_arrived(fds, 1, files, 1);
	close_files(files, 5);
}

static void both_at_once(void)
{
	with_each_type(receive_too_many_with_few_slots);
}

static void receive_withheld(int type, int sock[2])
{
	int files[5];

	(void)type;
	open_files(files, 5);
	for (int withheld = 1; withheld <= 5; withheld++) {
		struct ancillary_msg msg = room_for(ROOM);
		size_t left = (size_t)(5 - withheld), nfds = ROOM;

		check_about("%d withheld", withheld);
		shim.withhold = withheld;
		send_files(sock[HERE], files, 5);
		CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 7);
		check_payload(7);
		CHECK_IS(msg.nfds, left);
		CHECK_IS(msg.flags, ANCILLARY_FDS_LOST);
		CHECK_IS(msg.error, EACCES);
		take_arrived(fds, ROOM, files, left);
		send_files(sock[HERE], files, 5);
		CHECK_ERR(ancillary_recv_fds(sock[THERE], fds, &nfds, data, LEN, 0), EACCES);
		CHECK_IS(nfds, 0);
		CHECK(all_none(fds, ROOM));
	}
	shim.withhold = 0;
	close_files(files, 5);
}

static void a_security_policy(void)
{
	with_each_type(receive_withheld);
}

static void receive_gap(int type, int sock[2])
{
	static const int errors[][2] = { { EMFILE, EMFILE }, { ENFILE, ENFILE }, { EPERM, EACCES } };
	int files[5];

	(void)type;
	open_files(files, 5);
	for (size_t i = 0; i < LENGTH(errors); i++) {
		struct ancillary_msg msg = room_for(ROOM);
		size_t nfds = ROOM;

		check_about("error %d", errors[i][0]);
		shim.gap = 3;
		shim.gap_error = errors[i][0];
		send_files(sock[HERE], files, 5);
		CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 7);
		check_payload(7);
		CHECK_IS(msg.nfds, 2);
		CHECK_IS(msg.flags, ANCILLARY_FDS_LOST);
		CHECK_IS(msg.error, errors[i][1]);
		take_arrived(fds, ROOM, files, 2);
		send_files(sock[HERE], files, 5);
		CHECK_ERR(ancillary_recv_fds(sock[THERE], fds, &nfds, data, LEN, 0), errors[i][1]);
	}
	shim.gap = 0;
	close_files(files, 5);
}

static void a_negative_number_in_a_slot(void)
{
	with_each_type(receive_gap);
}

static void receive_cut(int type, int sock[2])
{
	struct ancillary_msg msg = room_for(ROOM);
	int files[2];

	(void)type;
	open_files(files, 2);
	send_files(sock[HERE], files, 2);
	iov.iov_len = 3;
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 3);
	CHECK(memcmp(data, "payx", 4) == 0);
	CHECK_IS(msg.flags, ANCILLARY_DATA_TRUNCATED);
	CHECK_IS(msg.error, 0);
	take_arrived(fds, ROOM, files, 2);
	check_nothing_there(sock[THERE]);
	close_files(files, 2);
}

static void a_datagram_longer_than_the_room(void)
{
	with_type(SOCK_SEQPACKET, receive_cut);
	with_type(SOCK_DGRAM, receive_cut);
}

/* --- pidfds --- */

static void receive_pidfd_with_few_slots(int type, int sock[2])
{
	int file;

	(void)type;
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	open_files(&file, 1);
	for (size_t slots = 0; slots <= 2; slots++) {
		struct ancillary_msg msg = room_for(1);
		rlim_t limit;

		check_about("%zu slots", slots);
		send_files(sock[HERE], &file, 1);
		limit = leave_slots(slots);
		CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 7);
		set_limit(limit);
		check_payload(7);
		CHECK_IS(msg.nfds, slots > 0);
		CHECK_IS(msg.error, slots < 2 ? EMFILE : 0);
		CHECK_IS(msg.flags, slots < 2 ? ANCILLARY_FDS_LOST : ANCILLARY_HAS_PIDFD);
		take_arrived(fds, 1, &file, slots > 0);
		if (slots < 2)
			CHECK_IS(msg.pidfd, -1);
		else
			close_files(&msg.pidfd, 1);
	}
	close_files(&file, 1);
}

static void a_pidfd_needs_a_slot(void)
{
	with_each_type(receive_pidfd_with_few_slots);
}

static void receive_pidfd_from_a_full_system(int type, int sock[2])
{
	struct ancillary_msg msg = room_for(1);
	size_t nfds = 1;

	(void)type;
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	shim.pidfd_error = ENFILE;
	send_files(sock[HERE], NULL, 0);
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 7);
	CHECK_IS(msg.flags, ANCILLARY_FDS_LOST);
	CHECK_IS(msg.error, ENFILE);
	CHECK_IS(msg.pidfd, -1);
	/* Nobody asked for it here, so nothing was lost. */
	send_files(sock[HERE], NULL, 0);
	CHECK_OK(ancillary_recv_fds(sock[THERE], fds, &nfds, data, LEN, 0), 7);
	shim.pidfd_error = 0;
}

static void the_table_of_the_system(void)
{
	with_each_type(receive_pidfd_from_a_full_system);
}

static void receive_pidfd_of_the_dead(int type, int sock[2])
{
	static const unsigned flags[] = { 0, ANCILLARY_LOSSLESS };

	(void)type;
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	for (size_t i = 0; i < 2; i++) {
		struct ancillary_msg msg = room_for(1);

		shim.pidfd_error = i ? ESRCH : EINVAL;
		send_files(sock[HERE], NULL, 0);
		CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, flags[i]), 7);
		CHECK_IS(msg.flags, 0);
		CHECK_IS(msg.error, 0);
		CHECK_IS(msg.pidfd, -1);
	}
	shim.pidfd_error = 0;
}

static void an_older_kernel_has_no_pidfd_of_the_dead(void)
{
	with_each_type(receive_pidfd_of_the_dead);
}

/* --- pieces of a stream --- */

static void waitall_joins_pieces_of_one_sender(void)
{
	struct ancillary_msg msg = room_for(ROOM);
	int sock[2], files[2];

	open_pair(SOCK_STREAM, sock);
	set_option(sock[THERE], SO_PASSCRED, 1);
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	open_files(files, 2);
	send_files(sock[HERE], files, 1);
	send_files(sock[HERE], files + 1, 1);
	iov.iov_len = 14;
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, ANCILLARY_WAITALL), 14);
	CHECK(memcmp(data, "payloadpayload", 14) == 0);
	CHECK_IS(msg.flags, ANCILLARY_HAS_CREDS | ANCILLARY_HAS_PIDFD);
	check_own(&msg.creds);
	CHECK_IS(pid_of(msg.pidfd), getpid());
	take_arrived(fds, ROOM, files, 2);
	close_files(&msg.pidfd, 1);
	close_files(files, 2);
	close_pair(sock);
}

static void waitall_names_no_one_for_pieces_of_two(void)
{
	struct ancillary_msg msg = room_for(ROOM);
	int sock[2];
	pid_t other;

	open_pair(SOCK_STREAM, sock);
	set_option(sock[THERE], SO_PASSCRED, 1);
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	send_files(sock[HERE], NULL, 0);
	other = fork();
	CHECK(other >= 0);
	if (other == 0) {
		send_files(sock[HERE], NULL, 0);
		_exit(0);
	}
	check_child(other);
	iov.iov_len = 14;
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, ANCILLARY_WAITALL), 14);
	CHECK_IS(msg.flags, 0);
	check_unknown(&msg.creds);
	CHECK_IS(msg.pidfd, -1);
	close_pair(sock);
}

static void waitall_ends_where_something_was_lost(void)
{
	struct ancillary_msg msg = room_for(1);
	int sock[2], files[2];

	open_pair(SOCK_STREAM, sock);
	open_files(files, 2);
	send_files(sock[HERE], files, 2);
	send_files(sock[HERE], files, 1);
	iov.iov_len = 14;
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, ANCILLARY_WAITALL), 7);
	CHECK_IS(msg.flags, ANCILLARY_FDS_SURPLUS);
	take_arrived(fds, 1, files, 1);
	msg = room_for(1);
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 7);
	take_arrived(fds, 1, files, 1);
	close_files(files, 2);
	close_pair(sock);
}

/* --- payload in many buffers --- */

enum { BUFFERS = 41, BIG = 200000 };

/* Cuts a payload into buffers of many sizes, some empty. */
static void scatter(struct iovec *buffers, unsigned char *start, size_t len)
{
	for (size_t i = 0; i < BUFFERS; i++) {
		size_t here = i % 3 == 0 ? 0 : i == BUFFERS - 1 ? len : len / 20;

		buffers[i] = (struct iovec){ start, here };
		start += here;
		len -= here;
	}
	CHECK_IS(len, 0);
}

static void *send_scattered(void *sock)
{
	static unsigned char sent[BIG];
	struct iovec buffers[BUFFERS];
	int files[600];
	struct ancillary_msg msg = { .size = sizeof msg, .iov = buffers, .iovlen = BUFFERS };

	make_payload(sent, BIG);
	scatter(buffers, sent, BIG);
	open_files(files, 600);
	msg.fds = files;
	msg.nfds = 600;
	CHECK_IS(ancillary_send_msg(*(int *)sock, &msg, 0), BIG);
	close_files(files, 600);
	return NULL;
}

static void receive_scattered(unsigned flags)
{
	static unsigned char got[BIG];
	static int received[700];
	struct iovec buffers[BUFFERS];
	struct ancillary_msg msg = { .size = sizeof msg, .iov = buffers, .iovlen = BUFFERS };
	int sock[2], files[600];
	pthread_t sender;

	open_pair(SOCK_STREAM, sock);
	scatter(buffers, got, BIG);
	msg.fds = received;
	msg.nfds = 700;
	sender = start_thread(send_scattered, &sock[HERE]);
	CHECK_IS(ancillary_recv_msg(sock[THERE], &msg, flags | ANCILLARY_WAITALL), BIG);
	end_thread(sender);
	CHECK(is_payload(got, BIG, 0));
	CHECK_IS(msg.nfds, 600);
	CHECK_IS(msg.flags, 0);
	open_files(files, 600);
	for (size_t i = 0; i < 600; i++) {
		char number[2][8] = { "", "" };

		CHECK(pread(received[i], number[0], 7, 0) > 0);
		CHECK(pread(files[i], number[1], 7, 0) > 0);
		CHECK(strcmp(number[0], number[1]) == 0);
	}
	close_files(files, 600);
	ancillary_close_fds(received, 700);
	close_pair(sock);
}

static void many_buffers_and_many_descriptors(void)
{
	receive_scattered(0);
	receive_scattered(ANCILLARY_LOSSLESS);
}

static void a_marker_stands_for_no_buffer(void)
{
	struct ancillary_msg out = { .size = sizeof out }, msg = room_for(1);
	char byte = 'x';
	int sock[2], file;
	size_t nfds = 0;

	open_pair(SOCK_STREAM, sock);
	open_files(&file, 1);
	out.fds = &file;
	out.nfds = 1;
	CHECK_OK(ancillary_send_msg(sock[HERE], &out, 0), 1);
	msg.iov = NULL;
	msg.iovlen = 0;
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 1);
	take_arrived(fds, 1, &file, 1);
	CHECK_OK(ancillary_send_msg(sock[HERE], &out, 0), 1);
	nfds = 1;
	CHECK_OK(ancillary_recv_fds(sock[THERE], fds, &nfds, &byte, 1, 0), 1);
	CHECK_IS(byte, 0);
	take_arrived(fds, 1, &file, 1);
	close_files(&file, 1);
	close_pair(sock);
}

/* --- bad arguments --- */

#define REFUSED(change, error) \
	do { \
		msg = room_for(1); \
		change; \
		CHECK_ERR(ancillary_recv_msg(sock[THERE], &msg, 0), error); \
	} while (0)
#define NOT_SENT(change, error) \
	do { \
		msg = room_for(1); \
		fds[0] = sock[HERE]; \
		msg.flags = 0; \
		change; \
		CHECK_ERR(ancillary_send_msg(sock[HERE], &msg, 0), error); \
	} while (0)

static void bad_messages_are_refused(void)
{
	static struct iovec too_many[1025];
	struct ancillary_msg msg;
	int sock[2];

	for (size_t i = 0; i < 1025; i++)
		too_many[i] = (struct iovec){ data, 1 };
	open_pair(SOCK_STREAM, sock);
	CHECK_IS(send(sock[HERE], "kept", 4, 0), 4);
	CHECK_ERR(ancillary_recv_msg(sock[THERE], NULL, 0), EINVAL);
	CHECK_ERR(ancillary_send_msg(sock[HERE], NULL, 0), EINVAL);
	REFUSED(msg.size = 0, EINVAL);
	REFUSED(msg.size--, EINVAL);
	REFUSED(msg.size = 4097, EINVAL);
	REFUSED(msg.iov = NULL, EINVAL);
	CHECK_IS(msg.nfds, 0);
	CHECK_IS(fds[0], -1);
	CHECK_IS(msg.pidfd, -1);
	CHECK_IS(msg.flags, 0);
	CHECK_IS(msg.error, 0);
	check_unknown(&msg.creds);
	REFUSED(msg.iovlen = 0, EINVAL);
	REFUSED((msg.iov = too_many, msg.iovlen = 1025), EINVAL);
	REFUSED(msg.iovlen = SIZE_MAX, EINVAL);
	REFUSED(iov.iov_len = 0, EINVAL);
	REFUSED(iov.iov_len = SIZE_MAX, EINVAL);
	REFUSED((msg.fds = NULL), EINVAL);
	REFUSED(msg.nfds = (size_t)INT_MAX + 1, EINVAL);
	REFUSED(iov.iov_base = NULL, EFAULT);
	msg = room_for(1);
	CHECK_ERR(ancillary_recv_msg(sock[THERE], &msg, 1U << 31), EINVAL);
	CHECK_IS(fds[0], -1);
	NOT_SENT(msg.size = 0, EINVAL);
	NOT_SENT(msg.iov = NULL, EINVAL);
	NOT_SENT((msg.iov = too_many, msg.iovlen = 1025), EINVAL);
	NOT_SENT(iov.iov_len = 0, EINVAL);
	NOT_SENT(msg.fds = NULL, EINVAL);
	NOT_SENT(msg.nfds = SIZE_MAX, EINVAL);
	NOT_SENT(msg.flags = ANCILLARY_HAS_PIDFD, EINVAL);
	NOT_SENT(msg.flags = 1, EINVAL);
	NOT_SENT((msg.iov = NULL, msg.iovlen = 0, msg.nfds = 0), EINVAL);
	NOT_SENT(iov.iov_base = NULL, EFAULT);
	NOT_SENT(fds[0] = -1, EBADF);
	CHECK_ERR(ancillary_send_msg(sock[HERE], &msg, ANCILLARY_WAITALL), EINVAL);
	check_nothing_there(sock[HERE]);
	/* None of these has consumed anything. */
	msg = room_for(1);
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 4);
	close_pair(sock);
}

CHECK_MAIN(CASE(a_message_with_nothing_but_payload), CASE(the_most_a_message_can_carry),
	   CASE(credentials_attached_with_descriptors), CASE(credentials_that_say_nothing),
	   CASE(the_end_is_nobodys), CASE(more_than_there_is_room_for), CASE(a_full_table),
	   CASE(both_at_once), CASE(a_security_policy), CASE(a_negative_number_in_a_slot),
	   CASE(a_datagram_longer_than_the_room), CASE(a_pidfd_needs_a_slot),
	   CASE(the_table_of_the_system), CASE(an_older_kernel_has_no_pidfd_of_the_dead),
	   CASE(waitall_joins_pieces_of_one_sender),
	   CASE(waitall_names_no_one_for_pieces_of_two),
	   CASE(waitall_ends_where_something_was_lost), CASE(many_buffers_and_many_descriptors),
	   CASE(a_marker_stands_for_no_buffer), CASE(bad_messages_are_refused))
