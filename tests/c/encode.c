/* Control data for system calls that the library does not make. */

#include "calls.h"
#include "check.h"
#include "kit.h"
#include "place.h"

/* NULL is passed here to see it refused. */
#define ANCILLARY_NONNULL(argument)
#include <ancillary.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Not in every system's headers. */
enum { TYPE_CREDENTIALS = 2, TYPE_SECURITY = 3, TYPE_PIDFD = 4 };
enum { LEN = 3 };

static int files[MOST + 1], arrived[MOST + 1];
static char sent[] = "abc", came[8];
static struct iovec out = { sent, LEN }, in = { came, sizeof came };

/* Behind these bytes there is room for every alignment. */
static char control[ANCILLARY_CONTROL_SIZE(MOST) + 16];

static struct ancillary_msg message(size_t nfds)
{
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &out, .iovlen = 1 };

	msg.fds = files;
	msg.nfds = nfds;
	return msg;
}

static void attach_own_creds(struct ancillary_msg *msg)
{
	msg->creds.pid = getpid();
	msg->creds.uid = getuid();
	msg->creds.gid = getgid();
	msg->flags = ANCILLARY_HAS_CREDS;
}

/* Room for so many, with what must not be left there. */
static struct ancillary_msg room(size_t nfds)
{
	struct ancillary_msg msg = { .size = sizeof msg, .fds = nfds ? arrived : NULL };

	memset(arrived, 'x', sizeof arrived);
	msg.nfds = nfds;
	msg.pidfd = 12345;
	msg.flags = UINT_MAX;
	msg.error = 12345;
	msg.creds.pid = 12345;
	return msg;
}

static struct msghdr buffer(size_t from, size_t size)
{
	struct msghdr header;

	/* Nothing in it counts but these two. */
	memset(&header, 'x', sizeof header);
	header.msg_control = control + from;
	header.msg_controllen = size;
	return header;
}

static void send_encoded(int sock, const struct ancillary_msg *msg)
{
	struct msghdr header = buffer(0, sizeof control);

	CHECK_OK(ancillary_encode(&header, msg), 0);
	CHECK_IS(sendmsg(sock, &header, MSG_NOSIGNAL), LEN);
}

static void send_files(int sock, size_t nfds)
{
	struct ancillary_msg msg = message(nfds);

	send_encoded(sock, &msg);
}

/* A recvmsg with a buffer of so many bytes, which begins somewhere. */
static ssize_t receive(int sock, struct msghdr *header, size_t from, size_t size, int flags)
{
	memset(header, 0, sizeof *header);
	header->msg_iov = &in;
	header->msg_iovlen = 1;
	header->msg_control = control + from;
	header->msg_controllen = size;
	return recvmsg(sock, header, flags);
}

static void check_nobody(const struct ancillary_creds *creds)
{
	CHECK_IS(creds->pid, 0);
	CHECK_IS((int)creds->uid, -1);
	CHECK_IS((int)creds->gid, -1);
}

static void check_nothing_more(const struct msghdr *header, const struct ancillary_msg *msg)
{
	CHECK_IS(header->msg_controllen, 0);
	CHECK_IS(msg->error, 0);
	CHECK(msg->name == header->msg_name);
	CHECK_IS(msg->namelen, header->msg_namelen);
}

/* --- what goes arrives --- */

static void pass(const int sock[2], size_t nfds, unsigned what, int flags)
{
	struct ancillary_msg msg = message(nfds);
	struct msghdr header;
	ssize_t n;

	check_about("%zu descriptors, %u, flags %#x", nfds, what, (unsigned)flags);
	if (what & ANCILLARY_HAS_CREDS)
		attach_own_creds(&msg);
	send_encoded(sock[HERE], &msg);
	/* Every count begins elsewhere: control data need not be aligned. */
	n = receive(sock[THERE], &header, nfds % 16, ANCILLARY_CONTROL_SIZE(nfds), flags);
	CHECK_IS(n, LEN);
	CHECK(!(header.msg_flags & MSG_CTRUNC));
	msg = room(nfds);
	CHECK_OK(ancillary_decode(&header, n, &msg, 0), LEN);
	CHECK_IS(msg.flags, what);
	CHECK_IS(msg.nfds, nfds);
	check_nothing_more(&header, &msg);
	if (what & ANCILLARY_HAS_CREDS) {
		CHECK_IS(msg.creds.pid, getpid());
		CHECK_IS(msg.creds.uid, getuid());
		CHECK_IS(msg.creds.gid, getgid());
	} else {
		check_nobody(&msg.creds);
	}
	if (what & ANCILLARY_HAS_PIDFD) {
		CHECK_IS(pid_of(msg.pidfd), getpid());
		CHECK_IS(fcntl(msg.pidfd, F_GETFD), FD_CLOEXEC);
		close_files(&msg.pidfd, 1);
	} else {
		CHECK_IS(msg.pidfd, -1);
	}
	/* Which are close-on-exec, whether recvmsg was asked for it or not. */
	take_arrived(arrived, nfds, files, nfds);
}

static void pass_every_count(int type, int sock[2], unsigned pidfd)
{
	const size_t step = MOST / (size_t)some_of(MOST);

	(void)type;
	open_files(files, MOST);
	for (int creds = 0; creds <= 1; creds++) {
		set_option(sock[THERE], SO_PASSCRED, creds);
		for (size_t nfds = 0; nfds <= MOST; nfds += step) {
			unsigned what = pidfd | (creds ? ANCILLARY_HAS_CREDS : 0);

			pass(sock, nfds, what, 0);
			pass(sock, nfds, what, MSG_CMSG_CLOEXEC);
		}
	}
	close_files(files, MOST);
}

static void every_count(int type, int sock[2])
{
	pass_every_count(type, sock, 0);
}

static void every_count_arrives(void)
{
	with_each_type(every_count);
}

static void every_count_with_pidfd(int type, int sock[2])
{
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	pass_every_count(type, sock, ANCILLARY_HAS_PIDFD);
}

static void every_count_arrives_with_a_pidfd(void)
{
	need_option(OPTION_PASSPIDFD);
	with_each_type(every_count_with_pidfd);
}

/* A time stamp has its room beside the descriptors, and is skipped. */
static void what_is_unknown_is_skipped(void)
{
	int sock[2];

	open_pair(SOCK_STREAM, sock);
	set_option(sock[THERE], SO_TIMESTAMP, 1);
	open_files(files, 5);
	set_option(sock[THERE], SO_PASSCRED, 1);
	for (size_t nfds = 0; nfds <= 5; nfds++)
		pass(sock, nfds, ANCILLARY_HAS_CREDS, 0);
	close_files(files, 5);
	close_pair(sock);
}

/* --- the header --- */

static void check_header(struct ancillary_msg *msg)
{
	struct msghdr header = buffer(1, sizeof control - 1), expected;
	union {
		struct cmsghdr alignment;
		char bytes[ANCILLARY_CONTROL_SIZE(MOST)];
	} by_hand;
	struct cmsghdr *cmsg = &by_hand.alignment;
	size_t bytes = msg->nfds * sizeof(int), used = 0;

	memset(&by_hand, 0, sizeof by_hand);
	if (msg->flags) {
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = TYPE_CREDENTIALS;
		cmsg->cmsg_len = CMSG_LEN(sizeof msg->creds);
		memcpy(CMSG_DATA(cmsg), &msg->creds, sizeof msg->creds);
		used = CMSG_SPACE(sizeof msg->creds);
		cmsg = (struct cmsghdr *)(void *)(by_hand.bytes + used);
	}
	if (msg->nfds > 0) {
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(bytes);
		memcpy(CMSG_DATA(cmsg), files, bytes);
		used += CMSG_SPACE(bytes);
	}
	memset(&expected, 0, sizeof expected);
	/* A name of no length is none. */
	expected.msg_name = msg->namelen > 0 ? msg->name : NULL;
	expected.msg_namelen = (socklen_t)msg->namelen;
	expected.msg_iov = msg->iov;
	expected.msg_iovlen = msg->iovlen;
	expected.msg_control = used > 0 ? control + 1 : NULL;
	expected.msg_controllen = used;

	memset(control, 'x', sizeof control);
	CHECK_OK(ancillary_encode(&header, msg), 0);
	CHECK(memcmp(&header, &expected, sizeof header) == 0);
	CHECK(memcmp(control + 1, &by_hand, used) == 0);
	for (size_t i = used + 1; i < sizeof control; i++)
		CHECK_IS(control[i], 'x');
	CHECK_IS(control[0], 'x');
}

static void all_of_a_header_is_written(void)
{
	char name[] = "name";

	open_files(files, 5);
	for (size_t nfds = 0; nfds <= 5; nfds++) {
		struct ancillary_msg msg = message(nfds);

		check_header(&msg);
		msg.name = name;
		check_header(&msg);
		msg.namelen = sizeof name;
		check_header(&msg);
		attach_own_creds(&msg);
		check_header(&msg);
	}
	close_files(files, 5);
}

static void a_name_is_where_it_goes(void)
{
	struct sockaddr_storage name;
	socklen_t namelen = sizeof name, own = sizeof(sa_family_t);
	struct sockaddr autobind = { .sa_family = AF_UNIX };
	struct ancillary_msg msg;
	struct msghdr header = { .msg_name = NULL };
	int here = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int there = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ssize_t n;

	CHECK(bind(here, &autobind, own) == 0 && bind(there, &autobind, own) == 0);
	CHECK(getsockname(there, (struct sockaddr *)&name, &namelen) == 0);
	open_files(files, 1);
	msg = message(1);
	msg.name = &name;
	msg.namelen = namelen;
	send_encoded(here, &msg);

	memset(&name, 0, sizeof name);
	header.msg_name = &name;
	header.msg_namelen = sizeof name;
	header.msg_iov = &in;
	header.msg_iovlen = 1;
	header.msg_control = control;
	header.msg_controllen = ANCILLARY_CONTROL_SIZE(1);
	n = recvmsg(there, &header, 0);
	msg = room(1);
	CHECK_OK(ancillary_decode(&header, n, &msg, 0), LEN);
	CHECK(msg.name == &name);
	CHECK_IS(msg.namelen, header.msg_namelen);
	take_arrived(arrived, 1, files, 1);

	/* What came says where an answer goes. */
	msg.iov = &out;
	msg.iovlen = 1;
	msg.nfds = 0;
	msg.flags = 0;
	send_encoded(there, &msg);
	CHECK_IS(recv(here, came, sizeof came, 0), LEN);
	close_files(files, 1);
	CHECK(close(here) == 0 && close(there) == 0);
}

/* The kernel counts a byte behind the longest path, and takes that from nobody. */
static void answer_longest_name(void)
{
	struct sockaddr_un longest = { .sun_family = AF_UNIX };
	struct sockaddr_storage name;
	struct msghdr header = { .msg_name = &name, .msg_iov = &in, .msg_iovlen = 1 };
	struct ancillary_msg msg = room(0);
	struct sockaddr autobind = { .sa_family = AF_UNIX };
	socklen_t namelen = sizeof name;
	int here = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int there = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ssize_t n;

	memset(longest.sun_path, 'n', sizeof longest.sun_path);
	CHECK(bind(here, (struct sockaddr *)&longest, sizeof longest) == 0);
	CHECK(bind(there, &autobind, sizeof autobind.sa_family) == 0);
	CHECK(getsockname(there, (struct sockaddr *)&name, &namelen) == 0);
	CHECK(connect(here, (struct sockaddr *)&name, namelen) == 0);
	CHECK_IS(send(here, sent, LEN, 0), LEN);
	header.msg_namelen = sizeof name;
	n = recvmsg(there, &header, 0);
	CHECK_OK(ancillary_decode(&header, n, &msg, 0), LEN);
	CHECK(msg.name == &name);
	CHECK_IS(msg.namelen, sizeof longest);
	msg.iov = &out;
	msg.iovlen = 1;
	send_encoded(there, &msg);
	CHECK_IS(recv(here, came, sizeof came, 0), LEN);
	CHECK(close(here) == 0 && close(there) == 0);
}

static void the_longest_name_is_one_to_answer(void)
{
	in_a_place(answer_longest_name);
}

/* What stands beside no name is not its length. */
static void where_there_is_no_name(void)
{
	struct msghdr header = { .msg_namelen = 12345 };
	struct ancillary_msg msg = room(0);

	CHECK_OK(ancillary_decode(&header, LEN, &msg, 0), LEN);
	CHECK(!msg.name && msg.namelen == 0);
}

/* --- too little room --- */

static void a_buffer_that_is_too_small(void)
{
	open_files(files, 3);
	for (int creds = 0; creds <= 1; creds++) {
		for (size_t nfds = 0; nfds <= 3; nfds++) {
			size_t creds_take = creds ? CMSG_SPACE(sizeof(struct ancillary_creds)) : 0;
			size_t need = creds_take + (nfds ? CMSG_SPACE(nfds * sizeof(int)) : 0);
			struct ancillary_msg msg = message(nfds);
			struct msghdr header, before;

			if (creds)
				attach_own_creds(&msg);
			for (size_t size = 0; size < need; size++) {
				check_about("%zu descriptors, %zu bytes", nfds, size);
				header = before = buffer(0, size);
				memset(control, 'x', sizeof control);
				CHECK_ERR(ancillary_encode(&header, &msg), ENOBUFS);
				CHECK(memcmp(&header, &before, sizeof header) == 0);
				for (size_t i = size; i < sizeof control; i++)
					CHECK_IS(control[i], 'x');
			}
			header = buffer(0, need);
			CHECK_OK(ancillary_encode(&header, &msg), 0);
			CHECK_IS(header.msg_controllen, need);
			header = buffer(0, SIZE_MAX);
			CHECK_OK(ancillary_encode(&header, &msg), 0);
			CHECK_IS(header.msg_controllen, need);
			header = buffer(0, 100);
			header.msg_control = NULL;
			if (need > 0)
				CHECK_ERR(ancillary_encode(&header, &msg), ENOBUFS);
			else
				CHECK_OK(ancillary_encode(&header, &msg), 0);
		}
	}
	close_files(files, 3);
}

static void more_than_a_message_carries(void)
{
	struct msghdr header = buffer(0, sizeof control), before = header;
	struct ancillary_msg msg = message(MOST + 1);

	memset(files, 0, sizeof files);
	CHECK_ERR(ancillary_encode(&header, &msg), E2BIG);
	CHECK(memcmp(&header, &before, sizeof header) == 0);
	msg.nfds = MOST;
	CHECK_OK(ancillary_encode(&header, &msg), 0);
}

static void the_size_of_a_buffer(void)
{
	static char constant[ANCILLARY_CONTROL_SIZE(2)];
	int none = -1;
	const size_t beside = CMSG_SPACE(sizeof(struct ancillary_creds)) + CMSG_SPACE(16) +
			      2 * CMSG_SPACE(sizeof(int));

	CHECK_IS(sizeof constant, ancillary_control_size(2));
	/* A negative number is as large as one can be, whatever its type. */
	CHECK_IS(ANCILLARY_CONTROL_SIZE(none), ancillary_control_size((size_t)none));
	/* As for a call of the library: little more than what is expected. */
	CHECK_IS(beside, sizeof(size_t) == 8 ? 112 : 84);
	for (size_t nfds = 0; nfds <= 300; nfds++) {
		size_t most = nfds < 253 ? nfds : 253;

		check_about("%zu descriptors", nfds);
		CHECK_IS(ancillary_control_size(nfds), CMSG_SPACE(most * sizeof(int)) + beside);
		CHECK_IS(ANCILLARY_CONTROL_SIZE(nfds), ancillary_control_size(nfds));
	}
	CHECK_IS(ancillary_control_size(SIZE_MAX), ancillary_control_size(253));
	CHECK_IS(ANCILLARY_CONTROL_SIZE(SIZE_MAX), ancillary_control_size(253));
}

/* --- what does not fit --- */

static void decode_surplus(int type, int sock[2])
{
	(void)type;
	open_files(files, 5);
	for (size_t nfds = 0; nfds < 5; nfds++) {
		struct ancillary_msg msg = room(nfds);
		struct msghdr header;
		size_t before = open_descriptors();
		ssize_t n;

		send_files(sock[HERE], 5);
		n = receive(sock[THERE], &header, 0, ANCILLARY_CONTROL_SIZE(5), 0);
		CHECK_OK(ancillary_decode(&header, n, &msg, 0), LEN);
		CHECK_IS(msg.flags, ANCILLARY_FDS_SURPLUS);
		CHECK_IS(msg.nfds, nfds);
		CHECK_IS(open_descriptors(), before + nfds);
		check_nothing_more(&header, &msg);
		take_arrived(arrived, nfds, files, nfds);
	}
	close_files(files, 5);
}

static void too_few_slots(void)
{
	with_each_type(decode_surplus);
}

/* The kernel has discarded some, and the array is full. */
static void decode_cut_surplus(int type, int sock[2])
{
	struct ancillary_msg msg = room(2);
	struct msghdr header;
	ssize_t n;

	(void)type;
	open_files(files, 100);
	send_files(sock[HERE], 100);
	n = receive(sock[THERE], &header, 0, ANCILLARY_CONTROL_SIZE(2), 0);
	CHECK(header.msg_flags & MSG_CTRUNC);
	CHECK_OK(ancillary_decode(&header, n, &msg, 0), LEN);
	CHECK_IS(msg.flags, ANCILLARY_FDS_SURPLUS);
	CHECK_IS(msg.nfds, 2);
	check_nothing_more(&header, &msg);
	take_arrived(arrived, 2, files, 2);
	close_files(files, 100);
}

static void too_little_room(void)
{
	with_each_type(decode_cut_surplus);
}

/* The kernel has discarded some, and it cannot be known why. */
static void decode_lost(int type, int sock[2])
{
	struct ancillary_msg msg = room(5);
	struct msghdr header;
	rlim_t before;
	ssize_t n;

	(void)type;
	open_files(files, 5);
	send_files(sock[HERE], 5);
	before = leave_slots(2);
	n = receive(sock[THERE], &header, 0, ANCILLARY_CONTROL_SIZE(5), 0);
	set_limit(before);
	CHECK(header.msg_flags & MSG_CTRUNC);
	CHECK_OK(ancillary_decode(&header, n, &msg, 0), LEN);
	CHECK_IS(msg.flags, ANCILLARY_FDS_LOST);
	CHECK_IS(msg.error, EIO);
	CHECK_IS(msg.nfds, 2);
	CHECK_IS(header.msg_controllen, 0);
	take_arrived(arrived, 5, files, 2);
	close_files(files, 5);
}

static void a_table_that_is_full(void)
{
	with_each_type(decode_lost);
}

/* The kernel says so in the place of the pidfd. */
static void decode_without_pidfd(int type, int sock[2])
{
	struct ancillary_msg msg = room(1);
	struct msghdr header;
	rlim_t before;
	ssize_t n;

	(void)type;
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	open_files(files, 1);
	send_files(sock[HERE], 1);
	before = leave_slots(1);
	n = receive(sock[THERE], &header, 0, ANCILLARY_CONTROL_SIZE(1), MSG_CMSG_CLOEXEC);
	set_limit(before);
	CHECK_OK(ancillary_decode(&header, n, &msg, 0), LEN);
	CHECK_IS(msg.flags, ANCILLARY_FDS_LOST);
	CHECK_IS(msg.error, EMFILE);
	CHECK_IS(msg.pidfd, -1);
	take_arrived(arrived, 1, files, 1);
	close_files(files, 1);
}

static void a_table_without_room_for_a_pidfd(void)
{
	need_option(OPTION_PASSPIDFD);
	with_each_type(decode_without_pidfd);
}

static void decode_cut_payload(int type, int sock[2])
{
	struct ancillary_msg msg = room(1);
	struct msghdr header;
	ssize_t n;

	(void)type;
	open_files(files, 1);
	CHECK_IS(send_by_hand(sock[HERE], "longer than that", 16, files, 1), 16);
	n = receive(sock[THERE], &header, 0, ANCILLARY_CONTROL_SIZE(1), 0);
	CHECK_OK(ancillary_decode(&header, n, &msg, 0), sizeof came);
	CHECK_IS(msg.flags, ANCILLARY_DATA_TRUNCATED);
	check_nothing_more(&header, &msg);
	take_arrived(arrived, 1, files, 1);
	close_files(files, 1);
}

static void a_payload_that_is_cut(void)
{
	with_type(SOCK_SEQPACKET, decode_cut_payload);
	with_type(SOCK_DGRAM, decode_cut_payload);
}

/* --- not at all, once, and twice --- */

static void drop(const int sock[2], size_t nfds)
{
	size_t before = open_descriptors();
	struct msghdr header;
	ssize_t n;

	send_files(sock[HERE], nfds);
	n = receive(sock[THERE], &header, 3, ANCILLARY_CONTROL_SIZE(nfds), 0);
	CHECK(open_descriptors() >= before + nfds);
	CHECK_OK(ancillary_decode(&header, n, NULL, 0), LEN);
	CHECK_IS(header.msg_controllen, 0);
	CHECK_IS(open_descriptors(), before);
	CHECK_OK(ancillary_decode(&header, n, NULL, 0), LEN);
	CHECK_IS(open_descriptors(), before);
}

static void drop_each(int type, int sock[2])
{
	static const size_t counts[] = { 0, 1, 2, 5, MOST };

	(void)type;
	open_files(files, MOST);
	for (size_t i = 0; i < LENGTH(counts); i++)
		drop(sock, counts[i]);
	close_files(files, MOST);
}

static void what_nobody_wants_is_dropped(void)
{
	with_each_type(drop_each);
}

static void drop_each_with_pidfd(int type, int sock[2])
{
	set_option(sock[THERE], SO_PASSCRED, 1);
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	drop_each(type, sock);
}

static void a_pidfd_is_dropped(void)
{
	need_option(OPTION_PASSPIDFD);
	with_each_type(drop_each_with_pidfd);
}

static void decode_twice(int type, int sock[2])
{
	struct ancillary_msg msg = room(5);
	struct msghdr header;
	int first[5];
	ssize_t n;

	(void)type;
	open_files(files, 5);
	send_files(sock[HERE], 5);
	n = receive(sock[THERE], &header, 0, ANCILLARY_CONTROL_SIZE(5), 0);
	CHECK_OK(ancillary_decode(&header, n, &msg, 0), LEN);
	memcpy(first, arrived, sizeof first);
	for (size_t nfds = 0; nfds <= 5; nfds++) {
		msg = room(nfds);
		CHECK_OK(ancillary_decode(&header, n, &msg, 0), LEN);
		CHECK_IS(msg.nfds, 0);
		CHECK_IS(msg.flags, 0);
		CHECK(all_none(arrived, nfds));
	}
	CHECK_OK(ancillary_decode(&header, n, NULL, 0), LEN);
	take_arrived(first, 5, files, 5);
	close_files(files, 5);
}

static void nothing_is_taken_twice(void)
{
	with_each_type(decode_twice);
}

/* --- failures --- */

/* What a call that failed has left in the buffer is not its own. */
static void a_call_that_failed(void)
{
	static const ssize_t results[] = { -EAGAIN, -ECANCELED, -EINTR, -EINVAL, -1, -4095 };
	struct msghdr header, before;
	struct ancillary_msg msg = message(2);

	open_files(files, 2);
	header = buffer(0, sizeof control);
	CHECK_OK(ancillary_encode(&header, &msg), 0);
	before = header;
	for (size_t i = 0; i < LENGTH(results); i++) {
		msg = room(2);
		CHECK_ERR(ancillary_decode(&header, results[i], &msg, 0), -results[i]);
		CHECK_IS(msg.nfds, 0);
		CHECK_IS(msg.flags, 0);
		CHECK_IS(msg.error, 0);
		CHECK_IS(msg.pidfd, -1);
		CHECK(!msg.name && msg.namelen == 0);
		CHECK(all_none(arrived, 2));
		check_nobody(&msg.creds);
		CHECK_ERR(ancillary_decode(&header, results[i], NULL, 0), -results[i]);
		/* It can be used for the next call. */
		CHECK(memcmp(&header, &before, sizeof header) == 0);
	}
	CHECK(is_open(files[0]) && is_open(files[1]));
	close_files(files, 2);
}

static void decode_end(int type, int sock[2])
{
	struct ancillary_msg msg = room(1);
	struct msghdr header;
	ssize_t n;

	(void)type;
	set_option(sock[THERE], SO_PASSCRED, 1);
	close_end(sock, HERE);
	n = receive(sock[THERE], &header, 0, ANCILLARY_CONTROL_SIZE(1), 0);
	CHECK_OK(ancillary_decode(&header, n, &msg, 0), 0);
	CHECK_IS(msg.flags, 0);
	CHECK_IS(msg.nfds, 0);
	/* The kernel says root's. */
	check_nobody(&msg.creds);
	check_nothing_more(&header, &msg);
}

static void the_end_is_nobodys(void)
{
	with_type(SOCK_STREAM, decode_end);
	with_type(SOCK_SEQPACKET, decode_end);
}

#define ENCODE_REFUSED(change) \
	do { \
		struct msghdr header_ = buffer(0, sizeof control), before_ = header_; \
		struct ancillary_msg msg = message(2); \
		change; \
		CHECK_ERR(ancillary_encode(&header_, &msg), EINVAL); \
		CHECK(memcmp(&header_, &before_, sizeof header_) == 0); \
	} while (0)

static void arguments_that_cannot_be_meant_to_encode(void)
{
	static struct iovec many[1025];
	struct iovec empty[] = { { sent, 0 }, { NULL, 0 } }, huge = { sent, (size_t)SSIZE_MAX + 1 };
	struct msghdr header = buffer(0, sizeof control);
	struct ancillary_msg msg = message(0);

	memset(files, 0, sizeof files);
	CHECK_ERR(ancillary_encode(NULL, &msg), EINVAL);
	CHECK_ERR(ancillary_encode(&header, NULL), EINVAL);
	for (size_t i = 0; i < LENGTH(many); i++)
		many[i] = out;
	for (size_t size = 0; size < sizeof msg; size++)
		ENCODE_REFUSED(msg.size = size);
	ENCODE_REFUSED(msg.size = 5000);
	ENCODE_REFUSED((msg.iov = NULL, msg.iovlen = 0));
	ENCODE_REFUSED(msg.iov = NULL);
	ENCODE_REFUSED(msg.iovlen = 0);
	ENCODE_REFUSED((msg.iov = empty, msg.iovlen = 2));
	ENCODE_REFUSED(msg.iov = &huge);
	ENCODE_REFUSED((msg.iov = many, msg.iovlen = LENGTH(many)));
	ENCODE_REFUSED(msg.fds = NULL);
	ENCODE_REFUSED(msg.nfds = SIZE_MAX);
	ENCODE_REFUSED(msg.namelen = 1);
	for (int bit = 0; bit < 32; bit++)
		if (1u << bit != ANCILLARY_HAS_CREDS)
			ENCODE_REFUSED(msg.flags = 1u << bit);
	msg.iov = many;
	msg.iovlen = LENGTH(many) - 1;
	CHECK_OK(ancillary_encode(&header, &msg), 0);
}

/* Nothing is touched: what came is still there. */
#define DECODE_REFUSED(flags_, change) \
	do { \
		struct msghdr header_ = header, header_before_; \
		struct ancillary_msg msg = room(2), msg_before_; \
		int slots_[2]; \
		memcpy(slots_, arrived, sizeof slots_); \
		change; \
		header_before_ = header_; \
		msg_before_ = msg; \
		CHECK_ERR(ancillary_decode(&header_, n, &msg, flags_), EINVAL); \
		CHECK(memcmp(&header_, &header_before_, sizeof header_) == 0); \
		CHECK(memcmp(&msg, &msg_before_, sizeof msg) == 0); \
		CHECK(memcmp(arrived, slots_, sizeof slots_) == 0); \
	} while (0)

static void arguments_that_cannot_be_meant_to_decode(void)
{
	struct ancillary_msg msg;
	struct msghdr header;
	int sock[2];
	ssize_t n;

	open_pair(SOCK_STREAM, sock);
	open_files(files, 2);
	send_files(sock[HERE], 2);
	n = receive(sock[THERE], &header, 0, ANCILLARY_CONTROL_SIZE(2), 0);
	for (int bit = 0; bit < 32; bit++) {
		DECODE_REFUSED(1u << bit, (void)0);
		CHECK_ERR(ancillary_decode(&header, n, NULL, 1u << bit), EINVAL);
	}
	CHECK_ERR(ancillary_decode(NULL, n, NULL, 0), EINVAL);
	msg = room(2);
	CHECK_ERR(ancillary_decode(NULL, n, &msg, 0), EINVAL);
	for (size_t size = 0; size < sizeof msg; size++)
		DECODE_REFUSED(0, msg.size = size);
	DECODE_REFUSED(0, msg.size = 5000);
	DECODE_REFUSED(0, msg.fds = NULL);
	DECODE_REFUSED(0, msg.nfds = SIZE_MAX);
	DECODE_REFUSED(0, header_.msg_control = NULL);
	msg = room(2);
	CHECK_ERR(ancillary_decode(&header, -4096, &msg, 0), EINVAL);
	CHECK_ERR(ancillary_decode(&header, -4096, NULL, 0), EINVAL);
	CHECK_OK(ancillary_decode(&header, n, &msg, 0), LEN);
	take_arrived(arrived, 2, files, 2);
	close_files(files, 2);
	close_pair(sock);
}

/* --- control data that lies --- */

static uint64_t state;

static unsigned any(unsigned below)
{
	/* xorshift64* */
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (unsigned)((state * 0x2545f4914f6cdd1d) >> 33) % below;
}

enum { MOST_BYTES = 400, MOST_NUMBERS = MOST_BYTES / sizeof(int) };

/* Numbers, as many as could stand in some control data. */
struct numbers {
	int list[MOST_NUMBERS];
	size_t count;
};

static struct numbers closed, made_close_on_exec;

static void add(struct numbers *numbers, long number)
{
	CHECK(numbers->count < MOST_NUMBERS);
	numbers->list[numbers->count++] = (int)number;
}

static long note_call(const struct call *call)
{
	const long *a = call->arguments;

	if (strcmp(call->name, "close") == 0) {
		add(&closed, a[0]);
	} else if (strcmp(call->name, "close_range") == 0) {
		for (long fd = a[0]; fd <= a[1]; fd++)
			add(&closed, fd);
	} else if (strcmp(call->name, "fcntl") == 0 && a[1] == F_SETFD) {
		CHECK_IS(a[2], FD_CLOEXEC);
		add(&made_close_on_exec, a[0]);
	} else {
		CHECK(!"only descriptors that came are touched");
	}
	return 0;
}

/* The descriptors in control data, read as cmsg(3) has it, and never behind its
 * end: what is a number and could be a descriptor. */
static void read_numbers(const unsigned char *start, size_t len, int type, struct numbers *found)
{
	found->count = 0;
	while (len >= CMSG_LEN(0)) {
		struct cmsghdr cmsg;
		size_t length;

		memcpy(&cmsg, start, sizeof cmsg);
		length = cmsg.cmsg_len < len ? (size_t)cmsg.cmsg_len : len;
		if (length < CMSG_LEN(0))
			return;
		for (size_t at = CMSG_LEN(0); at + sizeof(int) <= length; at += sizeof(int)) {
			int number;

			memcpy(&number, start + at, sizeof number);
			if (cmsg.cmsg_level == SOL_SOCKET && cmsg.cmsg_type == type && number >= 0)
				add(found, number);
		}
		length = length % sizeof(size_t) ? length + sizeof(size_t) - length % sizeof(size_t) :
						   length;
		if (length >= len)
			return;
		start += length;
		len -= length;
	}
}

static size_t lie(size_t truth)
{
	switch (any(6)) {
	case 0:
		return any(2 * (unsigned)sizeof(struct cmsghdr));
	case 1:
		return any(MOST_BYTES);
	case 2:
		return SIZE_MAX - any(40);
	case 3:
		return truth + any(9) - 4;
	default:
		return truth;
	}
}

static size_t add_message(unsigned char *start)
{
	static const int types[] = { SCM_RIGHTS, SCM_RIGHTS,	TYPE_PIDFD,
				     TYPE_PIDFD, TYPE_SECURITY, TYPE_CREDENTIALS };
	size_t bytes = any(8) ? any(6) * sizeof(int) : any(64);
	struct cmsghdr cmsg;

	memset(&cmsg, 0, sizeof cmsg);
	cmsg.cmsg_len = CMSG_LEN(bytes);
	if (!any(2)) {
		size_t claimed = lie(CMSG_LEN(bytes));

		memcpy(&cmsg.cmsg_len, &claimed, sizeof cmsg.cmsg_len);
	}
	cmsg.cmsg_level = any(10) ? SOL_SOCKET : (int)any(300);
	cmsg.cmsg_type = any(10) ? types[any(LENGTH(types))] : (int)any(300);
	memcpy(start, &cmsg, sizeof cmsg);
	for (size_t at = 0; at + sizeof(int) <= bytes; at += sizeof(int)) {
		int number = any(10) ? (int)any(40) : -(int)any(40);

		memcpy(start + CMSG_LEN(at), &number, sizeof number);
	}
	return CMSG_SPACE(bytes);
}

static size_t make_control(unsigned char *start)
{
	size_t len = 0;

	for (size_t i = 0; i < MOST_BYTES; i++)
		start[i] = (unsigned char)any(256);
	for (unsigned messages = any(4); messages > 0; messages--)
		len += add_message(start + len);
	/* It can end anywhere. */
	return any(4) || len == 0 ? len : any((unsigned)len);
}

static int compare(const void *a, const void *b)
{
	const int *one = a, *other = b;

	return (*one > *other) - (*one < *other);
}

static void check_same(struct numbers *one, struct numbers *other)
{
	qsort(one->list, one->count, sizeof *one->list, compare);
	qsort(other->list, other->count, sizeof *other->list, compare);
	CHECK_IS(one->count, other->count);
	CHECK(memcmp(one->list, other->list, one->count * sizeof *one->list) == 0);
}

/* Control data up to where memory ends. */
static void decode_lies(unsigned char *end)
{
	static unsigned char made[MOST_BYTES];
	size_t len = make_control(made);
	struct msghdr header = { .msg_control = end - len, .msg_controllen = len };
	struct ancillary_msg msg = { .size = sizeof msg, .fds = arrived, .nfds = any(7) };
	struct numbers rights, pidfds;
	size_t slots = msg.nfds;
	bool wanted = any(8) != 0;

	memcpy(end - len, made, len);
	read_numbers(made, len, SCM_RIGHTS, &rights);
	read_numbers(made, len, TYPE_PIDFD, &pidfds);
	header.msg_flags = (any(3) ? 0 : MSG_CTRUNC) | (any(2) ? 0 : MSG_CMSG_CLOEXEC);
	closed.count = made_close_on_exec.count = 0;
	on_call = note_call;
	errno = CHECK_ERRNO;
	CHECK_IS(ancillary_decode(&header, 1, wanted ? &msg : NULL, 0), 1);
	on_call = make_call;
	CHECK_IS(errno, CHECK_ERRNO);
	CHECK_IS(header.msg_controllen, 0);
	if (wanted) {
		CHECK(msg.nfds <= slots && msg.nfds <= rights.count);
		CHECK(all_none(arrived + msg.nfds, slots - msg.nfds));
		/* What is delivered is the beginning of what was sent. */
		CHECK(memcmp(arrived, rights.list, msg.nfds * sizeof *arrived) == 0);
		CHECK_IS(made_close_on_exec.count,
			 header.msg_flags & MSG_CMSG_CLOEXEC ? 0 : msg.nfds);
		CHECK(memcmp(arrived, made_close_on_exec.list,
			     made_close_on_exec.count * sizeof *arrived) == 0);
		for (size_t i = 0; i < msg.nfds; i++)
			add(&closed, arrived[i]);
		CHECK_IS(msg.pidfd >= 0, msg.flags & ANCILLARY_HAS_PIDFD ? 1 : 0);
		if (msg.pidfd >= 0)
			add(&closed, msg.pidfd);
	}
	/* Each that came is delivered or closed, once, and no other is. */
	for (size_t i = 0; i < pidfds.count; i++)
		add(&rights, pidfds.list[i]);
	check_same(&closed, &rights);
}

static void lengths_are_not_believed(void)
{
	const char *given = getenv("ANCILLARY_TEST_SEED");
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(memory != MAP_FAILED);
	CHECK(munmap(memory + page, page) == 0);
	state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	for (int round = some_of(1000000); round > 0; round--) {
		check_about("ANCILLARY_TEST_SEED=%llu", (unsigned long long)state);
		decode_lies(memory + page);
	}
	CHECK(munmap(memory, page) == 0);
}

/* --- several messages with one system call --- */

enum { MESSAGES = 16 };

static void pass_several(int type, int sock[2])
{
	static char buffers[MESSAGES][ANCILLARY_CONTROL_SIZE(MESSAGES)];
	struct mmsghdr headers[MESSAGES];
	char payloads[MESSAGES];
	struct iovec parts[MESSAGES];

	(void)type;
	open_files(files, MESSAGES);
	for (size_t i = 0; i < MESSAGES; i++) {
		struct ancillary_msg msg = message(i);

		payloads[i] = (char)('a' + i);
		parts[i].iov_base = &payloads[i];
		parts[i].iov_len = 1;
		msg.iov = &parts[i];
		msg.fds = files + MESSAGES - i;
		headers[i].msg_hdr = buffer(0, sizeof buffers[i]);
		headers[i].msg_hdr.msg_control = buffers[i];
		CHECK_OK(ancillary_encode(&headers[i].msg_hdr, &msg), 0);
	}
	CHECK_IS(sendmmsg(sock[HERE], headers, MESSAGES, MSG_NOSIGNAL), MESSAGES);
	memset(headers, 0, sizeof headers);
	memset(payloads, 0, sizeof payloads);
	for (size_t i = 0; i < MESSAGES; i++) {
		headers[i].msg_hdr.msg_iov = &parts[i];
		headers[i].msg_hdr.msg_iovlen = 1;
		headers[i].msg_hdr.msg_control = buffers[i];
		headers[i].msg_hdr.msg_controllen = sizeof buffers[i];
	}
	CHECK_IS(recvmmsg(sock[THERE], headers, MESSAGES, MSG_CMSG_CLOEXEC, NULL), MESSAGES);
	for (size_t i = 0; i < MESSAGES; i++) {
		struct ancillary_msg msg = room(MESSAGES);

		check_about("message %zu", i);
		CHECK_OK(ancillary_decode(&headers[i].msg_hdr, headers[i].msg_len, &msg, 0), 1);
		CHECK_IS(payloads[i], 'a' + i);
		CHECK_IS(msg.nfds, i);
		CHECK_IS(msg.flags, 0);
		take_arrived(arrived, MESSAGES, files + MESSAGES - i, i);
	}
	close_files(files, MESSAGES);
}

static void several_with_one_call(void)
{
	with_type(SOCK_SEQPACKET, pass_several);
	with_type(SOCK_DGRAM, pass_several);
}

CHECK_MAIN(CASE(every_count_arrives), CASE(every_count_arrives_with_a_pidfd),
	   CASE(what_is_unknown_is_skipped), CASE(all_of_a_header_is_written),
	   CASE(a_name_is_where_it_goes), CASE(the_longest_name_is_one_to_answer),
	   CASE(where_there_is_no_name), CASE(a_buffer_that_is_too_small),
	   CASE(more_than_a_message_carries), CASE(the_size_of_a_buffer), CASE(too_few_slots),
	   CASE(too_little_room), CASE(a_table_that_is_full),
	   CASE(a_table_without_room_for_a_pidfd), CASE(a_payload_that_is_cut),
	   CASE(what_nobody_wants_is_dropped), CASE(a_pidfd_is_dropped),
	   CASE(nothing_is_taken_twice), CASE(a_call_that_failed), CASE(the_end_is_nobodys),
	   CASE(arguments_that_cannot_be_meant_to_encode),
	   CASE(arguments_that_cannot_be_meant_to_decode), CASE(lengths_are_not_believed),
	   CASE(several_with_one_call))
