/* Messages without a byte of payload, which seqpacket and datagram sockets carry
 * and a stream does not. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int files[MOST + 1], received[MOST + 1];
static char data[4];

static void with_both_kinds_of_packets(void (*run)(int type, int sock[2]))
{
	with_type(SOCK_SEQPACKET, run);
	with_type(SOCK_DGRAM, run);
}

/* --- what is sent --- */

/* Checks that a message came with so many descriptors and no byte. */
static void take_by_hand(int sock, size_t count)
{
	size_t nfds;

	CHECK_IS(receive_by_hand(sock, data, sizeof data, received, &nfds), 0);
	CHECK_IS(nfds, count);
	take_arrived(received, count, files, count);
	check_nothing_there(sock);
}

static void send_with_descriptors(int type, int sock[2])
{
	static const size_t counts[] = { 1, 2, 3, MOST };

	(void)type;
	open_files(files, MOST + 1);
	for (size_t i = 0; i < LENGTH(counts); i++) {
		check_about("type %d, %zu descriptors", type, counts[i]);
		for (unsigned flags = 0; flags <= ANCILLARY_DONTWAIT; flags += ANCILLARY_DONTWAIT) {
			CHECK_OK(ancillary_send_fds(sock[HERE], files, counts[i], "", 0, flags), 0);
			take_by_hand(sock[THERE], counts[i]);
		}
	}
	CHECK_ERR(ancillary_send_fds(sock[HERE], files, MOST + 1, "", 0, 0), E2BIG);
	check_nothing_there(sock[THERE]);
	close_files(files, MOST + 1);
}

static void descriptors_need_no_byte(void)
{
	with_both_kinds_of_packets(send_with_descriptors);
}

/* Buffers that hold nothing, of which there need not be one. */
static void send_empty_buffers(int type, int sock[2])
{
	struct iovec iov[3] = { { data, 0 }, { NULL, 0 }, { data + 1, 0 } };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = iov, .fds = files };

	(void)type;
	open_files(files, 2);
	for (msg.iovlen = 0; msg.iovlen <= LENGTH(iov); msg.iovlen++) {
		for (msg.nfds = 1; msg.nfds <= 2; msg.nfds++) {
			check_about("type %d, %zu buffers", type, msg.iovlen);
			CHECK_OK(ancillary_send_msg(sock[HERE], &msg, 0), 0);
			take_by_hand(sock[THERE], msg.nfds);
		}
	}
	close_files(files, 2);
}

static void buffers_can_be_empty(void)
{
	with_both_kinds_of_packets(send_empty_buffers);
}

static void check_own(const struct ancillary_creds *creds)
{
	CHECK_IS(creds->pid, getpid());
	CHECK_IS(creds->uid, getuid());
	CHECK_IS(creds->gid, getgid());
}

static void send_with_credentials(int type, int sock[2])
{
	const struct ancillary_creds own = { getpid(), getuid(), getgid() };
	struct iovec iov = { data, 0 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };
	struct ancillary_creds creds;

	(void)type;
	/* Attached, they come although nobody asked for them when they were sent. */
	CHECK_OK(ancillary_send_creds(sock[HERE], NULL, "", 0, 0), 0);
	CHECK_OK(ancillary_send_creds(sock[HERE], &own, "", 0, 0), 0);
	msg.flags = ANCILLARY_HAS_CREDS;
	msg.creds = own;
	CHECK_OK(ancillary_send_msg(sock[HERE], &msg, 0), 0);
	set_option(sock[THERE], SO_PASSCRED, 1);
	for (int i = 0; i < 3; i++) {
		memset(&creds, 'x', sizeof creds);
		CHECK_OK(ancillary_recv_creds(sock[THERE], &creds, data, sizeof data, 0), 0);
		check_own(&creds);
	}
	check_nothing_there(sock[THERE]);
}

static void credentials_need_no_byte(void)
{
	with_both_kinds_of_packets(send_with_credentials);
}

static void send_with_both(int type, int sock[2])
{
	struct iovec iov = { data, sizeof data };
	struct ancillary_msg out = { .size = sizeof out, .iov = &iov, .fds = files, .nfds = 2 };
	struct ancillary_msg in = { .size = sizeof in, .iov = &iov, .iovlen = 1, .fds = received };

	(void)type;
	open_files(files, 2);
	out.flags = ANCILLARY_HAS_CREDS;
	out.creds = (struct ancillary_creds){ getpid(), getuid(), getgid() };
	CHECK_OK(ancillary_send_msg(sock[HERE], &out, 0), 0);
	set_option(sock[THERE], SO_PASSCRED, 1);
	in.nfds = 2;
	CHECK_OK(ancillary_recv_msg(sock[THERE], &in, 0), 0);
	CHECK_IS(in.flags, ANCILLARY_HAS_CREDS);
	check_own(&in.creds);
	CHECK_IS(in.nfds, 2);
	take_arrived(received, 2, files, 2);
	close_files(files, 2);
}

static void both_need_no_byte(void)
{
	with_both_kinds_of_packets(send_with_both);
}

/* --- how it is received --- */

static void receive_each_way(int type, int sock[2])
{
	static const unsigned flags[] = { 0, ANCILLARY_DONTWAIT, ANCILLARY_WAITALL, ANCILLARY_LOSSLESS,
					  ANCILLARY_LOSSLESS | ANCILLARY_WAITALL };
	struct iovec iov = { data, sizeof data };
	size_t nfds;

	open_files(files, 2);
	for (size_t i = 0; i < LENGTH(flags); i++) {
		struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };

		check_about("type %d, flags %#x", type, flags[i]);
		for (int times = 0; times < 3; times++)
			CHECK_OK(ancillary_send_fds(sock[HERE], files, 2, "", 0, 0), 0);
		nfds = 3;
		CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, data, sizeof data,
					    flags[i]),
			 0);
		CHECK_IS(nfds, 2);
		take_arrived(received, 3, files, 2);
		nfds = 2;
		CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0, flags[i]), 0);
		CHECK_IS(nfds, 2);
		take_arrived(received, 2, files, 2);
		msg.fds = received;
		msg.nfds = 3;
		CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, flags[i]), 0);
		CHECK_IS(msg.nfds, 2);
		CHECK_IS(msg.flags, 0);
		take_arrived(received, 3, files, 2);
		check_nothing_there(sock[THERE]);
	}
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 1, "", 0, 0), 0);
	received[0] = ancillary_recv_fd(sock[THERE]);
	take_arrived(received, 1, files, 1);
	close_files(files, 2);
}

static void each_call_receives_them(void)
{
	with_both_kinds_of_packets(receive_each_way);
}

/* Of which nothing but the descriptors could be cut. */
static void receive_with_too_little_room(int type, int sock[2])
{
	size_t nfds = 1;

	(void)type;
	open_files(files, 3);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 3, "", 0, 0), 0);
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, data, 1, ANCILLARY_LOSSLESS),
		  E2BIG);
	nfds = 3;
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, data, 1, ANCILLARY_LOSSLESS), 0);
	take_arrived(received, 3, files, 3);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 3, "", 0, 0), 0);
	nfds = 1;
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, data, 1, 0), E2BIG);
	check_nothing_there(sock[THERE]);
	close_files(files, 3);
}

static void too_many_are_refused_as_ever(void)
{
	with_both_kinds_of_packets(receive_with_too_little_room);
}

/* --- what is refused --- */

/* A stream would take the call, and drop what is attached. */
static void a_stream_refuses_them(void)
{
	const struct ancillary_creds own = { getpid(), getuid(), getgid() };
	struct iovec iov[2] = { { data, 0 }, { NULL, 0 } };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = iov };
	int sock[2];

	open_pair(SOCK_STREAM, sock);
	open_files(files, MOST + 1);
	CHECK_ERR(ancillary_send_fds(sock[HERE], files, 1, "", 0, 0), EINVAL);
	CHECK_ERR(ancillary_send_fds(sock[HERE], files, MOST, "", 0, ANCILLARY_DONTWAIT), EINVAL);
	CHECK_ERR(ancillary_send_fds(sock[HERE], files, MOST + 1, "", 0, 0), EINVAL);
	CHECK_ERR(ancillary_send_creds(sock[HERE], NULL, "", 0, 0), EINVAL);
	CHECK_ERR(ancillary_send_creds(sock[HERE], &own, "", 0, 0), EINVAL);
	for (msg.iovlen = 0; msg.iovlen <= LENGTH(iov); msg.iovlen++) {
		msg.fds = files;
		msg.nfds = 1;
		msg.flags = 0;
		CHECK_ERR(ancillary_send_msg(sock[HERE], &msg, 0), EINVAL);
		msg.nfds = 0;
		msg.flags = ANCILLARY_HAS_CREDS;
		msg.creds = own;
		CHECK_ERR(ancillary_send_msg(sock[HERE], &msg, 0), EINVAL);
	}
	check_nothing_there(sock[THERE]);
	close_files(files, MOST + 1);
	close_pair(sock);
}

static void send_nothing(int type, int sock[2])
{
	struct iovec iov[2] = { { data, 0 }, { NULL, 0 } };
	struct ancillary_msg msg = { .size = sizeof msg };

	(void)type;
	CHECK_ERR(ancillary_send_fds(sock[HERE], NULL, 0, "", 0, 0), EINVAL);
	CHECK_ERR(ancillary_send_fds(sock[HERE], NULL, 0, NULL, 0, 0), EINVAL);
	CHECK_ERR(ancillary_send_msg(sock[HERE], &msg, 0), EINVAL);
	msg.iov = iov;
	for (msg.iovlen = 0; msg.iovlen <= LENGTH(iov); msg.iovlen++)
		CHECK_ERR(ancillary_send_msg(sock[HERE], &msg, 0), EINVAL);
	/* Nor is there room for nothing. */
	msg.iovlen = 1;
	CHECK_ERR(ancillary_recv_msg(sock[THERE], &msg, 0), EINVAL);
	check_nothing_there(sock[THERE]);
}

static void nothing_at_all_is_no_message(void)
{
	with_each_type(send_nothing);
}

CHECK_MAIN(CASE(descriptors_need_no_byte), CASE(buffers_can_be_empty),
	   CASE(credentials_need_no_byte), CASE(both_need_no_byte), CASE(each_call_receives_them),
	   CASE(too_many_are_refused_as_ever), CASE(a_stream_refuses_them),
	   CASE(nothing_at_all_is_no_message))
