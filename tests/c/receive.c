/* ancillary_recv_fds: what comes, what there is room for, and what becomes of
 * the rest. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Not in every header. */
enum { OPTION_TIMESTAMP = 29 };

/* --- what there is room for --- */

static void receive_fewer(int type, int sock[2])
{
	int files[5], received[10];
	size_t nfds = 10;
	char got[8];

	(void)type;
	open_files(files, 5);
	memset(received, 'x', sizeof received);
	CHECK_IS(send_by_hand(sock[HERE], "abc", 3, files, 5), 3);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, sizeof got, 0), 3);
	CHECK_IS(nfds, 5);
	take_arrived(received, 10, files, 5);
	CHECK(memcmp(got, "abc", 3) == 0);
	close_files(files, 5);
}

static void empty_slots_hold_none(void)
{
	with_each_type(receive_fewer);
}

static void receive_into_the_middle(int type, int sock[2])
{
	int files[3], received[6];
	size_t nfds = 4;
	char got[6] = "######";

	(void)type;
	open_files(files, 3);
	received[0] = received[5] = 4711;
	CHECK_IS(send_by_hand(sock[HERE], "abcd", 4, files, 3), 4);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received + 1, &nfds, got + 1, 4, 0), 4);
	CHECK(received[0] == 4711 && received[5] == 4711);
	CHECK(memcmp(got, "#abcd#", 6) == 0);
	take_arrived(received + 1, 4, files, 3);
	close_files(files, 3);
}

static void nothing_else_is_written(void)
{
	with_each_type(receive_into_the_middle);
}

static void receive_too_many(int type, int sock[2])
{
	static const struct {
		size_t sent, room;
	} cases[] = {
		{ 1, 0 },
		{ 2, 0 },
		{ 3, 0 },
		{ 2, 1 },
		{ 3, 1 },
		{ 10, 1 },
		{ 3, 2 },
		{ 4, 2 },
		{ 4, 3 },
		{ 5, 2 },
		{ 10, 9 },
		{ MOST, 0 },
		{ MOST, 1 },
		{ MOST, MOST - 2 },
		{ MOST, MOST - 1 },
		{ MOST - 1, MOST - 2 },
		{ MOST - 1, MOST - 3 },
	};
	int files[MOST], received[MOST];

	open_files(files, MOST);
	for (size_t i = 0; i < LENGTH(cases); i++) {
		size_t before = open_descriptors(), nfds = cases[i].room;
		char got[8];

		check_about("type %d: %zu sent, room for %zu", type, cases[i].sent, nfds);
		memset(received, 'x', sizeof received);
		CHECK_IS(send_by_hand(sock[HERE], "abc", 3, files, cases[i].sent), 3);
		CHECK_OK(ancillary_send_fds(sock[HERE], files, 2, "next", 4, 0), 4);
		CHECK_ERR(ancillary_recv_fds(sock[THERE], nfds ? received : NULL, &nfds, got, 8, 0),
			  E2BIG);
		CHECK_IS(nfds, 0);
		CHECK(all_none(received, cases[i].room));
		CHECK_IS(open_descriptors(), before);
		nfds = 2;
		CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 8, 0), 4);
		CHECK(memcmp(got, "next", 4) == 0);
		take_arrived(received, 2, files, 2);
	}
	close_files(files, MOST);
}

static void too_many_are_all_closed(void)
{
	with_each_type(receive_too_many);
}

static void what_was_not_asked_for_stays_in_a_stream(void)
{
	int sock[2], files[2], received[2];
	size_t nfds = 1;
	char got[8];

	open_pair(SOCK_STREAM, sock);
	open_files(files, 2);
	CHECK_IS(send_by_hand(sock[HERE], "abcdef", 6, files, 2), 6);
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, 2, 0), E2BIG);
	nfds = 2;
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 8, 0), 4);
	CHECK_IS(nfds, 0);
	CHECK(memcmp(got, "cdef", 4) == 0);
	close_files(files, 2);
	close_pair(sock);
}

static void receive_too_long(int type, int sock[2])
{
	int files[3], received[3];
	size_t before, nfds = 3;
	char got[4] = "####";

	(void)type;
	open_files(files, 3);
	before = open_descriptors();
	CHECK_IS(send_by_hand(sock[HERE], "abcdef", 6, files, 3), 6);
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, 3, 0), EMSGSIZE);
	CHECK_IS(nfds, 0);
	CHECK(all_none(received, 3));
	CHECK_IS(open_descriptors(), before);
	CHECK_IS(got[3], '#');
	check_nothing_there(sock[THERE]);

	/* More descriptors than room goes before it. */
	nfds = 2;
	CHECK_IS(send_by_hand(sock[HERE], "abcdef", 6, files, 3), 6);
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, 3, 0), E2BIG);
	check_nothing_there(sock[THERE]);

	/* Without descriptors, and with a marker's room. */
	nfds = 2;
	CHECK_IS(send(sock[HERE], "abcdef", 6, 0), 6);
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, 3, 0), EMSGSIZE);
	nfds = 2;
	CHECK_IS(send_by_hand(sock[HERE], "ab", 2, files, 2), 2);
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0, 0), EMSGSIZE);
	check_nothing_there(sock[THERE]);
	CHECK_IS(open_descriptors(), before);
	close_files(files, 3);
}

static void a_packet_longer_than_the_room_is_refused(void)
{
	with_type(SOCK_SEQPACKET, receive_too_long);
	with_type(SOCK_DGRAM, receive_too_long);
}

/* --- what a message is --- */

static void receive_a_marker(int type, int sock[2])
{
	int files[2], received[2];
	size_t nfds = 2;

	(void)type;
	open_files(files, 2);
	CHECK_IS(send_by_hand(sock[HERE], "!", 1, files, 2), 1);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0, 0), 1);
	take_arrived(received, 2, files, 2);
	nfds = 0;
	CHECK_IS(send(sock[HERE], "!", 1, 0), 1);
	CHECK_OK(ancillary_recv_fds(sock[THERE], NULL, &nfds, NULL, 0, 0), 1);
	check_nothing_there(sock[THERE]);
	close_files(files, 2);
}

static void a_marker_is_one_byte_and_dropped(void)
{
	with_each_type(receive_a_marker);
}

static void receive_nothing_with_something(int type, int sock[2])
{
	int files[3], received[4];
	size_t nfds = 4;
	char got[8];

	(void)type;
	open_files(files, 3);
	CHECK_IS(send_by_hand(sock[HERE], NULL, 0, files, 3), 0);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, sizeof got, 0), 0);
	CHECK_IS(nfds, 3);
	take_arrived(received, 4, files, 3);
	CHECK_IS(send(sock[HERE], NULL, 0, 0), 0);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, sizeof got, 0), 0);
	CHECK_IS(nfds, 0);
	check_nothing_there(sock[THERE]);
	close_files(files, 3);
}

static void an_empty_packet_is_delivered(void)
{
	with_type(SOCK_SEQPACKET, receive_nothing_with_something);
	with_type(SOCK_DGRAM, receive_nothing_with_something);
}

static void a_stream_joins_plain_bytes_in_front(void)
{
	int sock[2], files[2], received[4];
	size_t nfds = 4;
	char got[8];

	open_pair(SOCK_STREAM, sock);
	open_files(files, 2);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "aa", 2, 0), 2);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 1, "bb", 2, 0), 2);
	CHECK_OK(ancillary_send_fds(sock[HERE], files + 1, 1, "cc", 2, 0), 2);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, sizeof got, 0), 4);
	CHECK(memcmp(got, "aabb", 4) == 0);
	take_arrived(received, 4, files, 1);
	nfds = 4;
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, sizeof got, 0), 2);
	CHECK(memcmp(got, "cc", 2) == 0);
	take_arrived(received, 4, files + 1, 1);
	close_files(files, 2);
	close_pair(sock);
}

/* --- the end, and nothing --- */

static void receive_the_end(int type, int sock[2])
{
	int received[3] = { 7, 7, 7 };
	size_t nfds = 3;
	char got[8];

	(void)type;
	close_end(sock, HERE);
	for (int times = 0; times < 2; times++) {
		nfds = 3;
		CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, sizeof got, 0), 0);
		CHECK_IS(nfds, 0);
		CHECK(all_none(received, 3));
	}
	nfds = 3;
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0, ANCILLARY_WAITALL), 0);
}

static void the_end_is_zero(void)
{
	with_type(SOCK_STREAM, receive_the_end);
	with_type(SOCK_SEQPACKET, receive_the_end);
}

static void receive_a_reset(int type, int sock[2])
{
	int received[2];
	size_t nfds = 2;

	(void)type;
	CHECK_IS(send(sock[THERE], "unread", 6, 0), 6);
	close_end(sock, HERE);
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0, 0), ECONNRESET);
	CHECK_IS(nfds, 0);
	CHECK(all_none(received, 2));
}

static void a_peer_that_left_messages_unread_resets(void)
{
	with_type(SOCK_STREAM, receive_a_reset);
	with_type(SOCK_SEQPACKET, receive_a_reset);
}

static void receive_nothing(int type, int sock[2])
{
	static const unsigned flags[] = { ANCILLARY_DONTWAIT,
					  ANCILLARY_DONTWAIT | ANCILLARY_INTR,
					  ANCILLARY_DONTWAIT | ANCILLARY_WAITALL };
	int received[2];
	size_t nfds;
	char got[8];

	(void)type;
	for (size_t i = 0; i < LENGTH(flags); i++) {
		received[0] = received[1] = 7;
		nfds = 2;
		CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, 8, flags[i]),
			  EAGAIN);
		CHECK_IS(nfds, 0);
		CHECK(all_none(received, 2));
	}
	CHECK_IS(fcntl(sock[THERE], F_GETFL) & O_NONBLOCK, 0);
	CHECK(fcntl(sock[THERE], F_SETFL, O_NONBLOCK) == 0);
	nfds = 2;
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, 8, 0), EAGAIN);
	CHECK(fcntl(sock[THERE], F_SETFL, 0) == 0);
	set_timeout(sock[THERE], SO_RCVTIMEO, 20);
	nfds = 2;
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, 8, 0), EAGAIN);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), EAGAIN);
}

static void nothing_there_says_try_again(void)
{
	with_each_type(receive_nothing);
}

static void receive_unconnected(int type, int sock[2])
{
	int alone = socket(AF_UNIX, type, 0), received;
	size_t nfds = 1;

	(void)sock;
	CHECK(alone >= 0);
	CHECK_ERR(ancillary_recv_fds(alone, &received, &nfds, NULL, 0, 0), ENOTCONN);
	CHECK_IS(received, -1);
	CHECK_ERR(ancillary_recv_fd(alone), ENOTCONN);
	CHECK(close(alone) == 0);
}

static void a_connection_is_needed(void)
{
	with_type(SOCK_SEQPACKET, receive_unconnected);
}

/* Linux gives EINVAL for this one. */
static void a_stream_that_is_not_connected(void)
{
	int alone = socket(AF_UNIX, SOCK_STREAM, 0), received;
	size_t nfds = 1;

	CHECK(alone >= 0);
	CHECK_ERR(ancillary_recv_fds(alone, &received, &nfds, NULL, 0, 0), EINVAL);
	CHECK_IS(nfds, 0);
	CHECK_IS(received, -1);
	CHECK_ERR(ancillary_recv_fd(alone), EINVAL);
	CHECK(close(alone) == 0);
}

/* --- what else the kernel adds --- */

/* Enables what this system has of all that comes beside descriptors. */
static void enable_everything(int sock)
{
	int on = 1;

	set_option(sock, SO_PASSCRED, on);
	set_option(sock, OPTION_TIMESTAMP, on);
	setsockopt(sock, SOL_SOCKET, OPTION_PASSPIDFD, &on, sizeof on);
	setsockopt(sock, SOL_SOCKET, SO_PASSSEC, &on, sizeof on);
	setsockopt(sock, SOL_SOCKET, OPTION_INQ, &on, sizeof on);
}

static void receive_with_credentials(int type, int sock[2])
{
	int files[MOST], received[MOST];
	size_t nfds = MOST;
	char got[8];

	(void)type;
	open_files(files, MOST);
	set_option(sock[THERE], SO_PASSCRED, 1);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, MOST, "abc", 3, 0), 3);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, sizeof got, 0), 3);
	CHECK_IS(nfds, MOST);
	take_arrived(received, MOST, files, MOST);
	close_files(files, MOST);
}

static void credentials_take_no_room_from_descriptors(void)
{
	with_each_type(receive_with_credentials);
}

static void receive_with_everything(int type, int sock[2])
{
	static const size_t counts[] = { 0, 1, 2, MOST - 1, MOST };
	int files[MOST], received[MOST], one;
	size_t nfds, before;
	char got[8];

	open_files(files, MOST);
	enable_everything(sock[THERE]);
	before = open_descriptors();
	for (size_t i = 0; i < LENGTH(counts); i++) {
		check_about("type %d, %zu descriptors", type, counts[i]);
		nfds = counts[i];
		CHECK_OK(ancillary_send_fds(sock[HERE], files, counts[i], "abc", 3, 0), 3);
		CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, sizeof got, 0), 3);
		CHECK_IS(nfds, counts[i]);
		check_arrived(received, files, nfds);
		close_files(received, nfds);
		CHECK_IS(open_descriptors(), before);
		if (counts[i] == 0)
			continue;
		nfds = counts[i] - 1;
		CHECK_OK(ancillary_send_fds(sock[HERE], files, counts[i], "abc", 3, 0), 3);
		CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, sizeof got, 0),
			  E2BIG);
		CHECK_IS(open_descriptors(), before);
	}
	CHECK_OK(ancillary_send_fd(sock[HERE], files[0]), 0);
	one = ancillary_recv_fd(sock[THERE]);
	take_arrived(&one, 1, files, 1);
	CHECK_IS(send(sock[HERE], "x", 1, 0), 1);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), ENOMSG);
	CHECK_IS(open_descriptors(), before);
	close_files(files, MOST);
}

static void a_pidfd_nobody_asked_for_is_closed(void)
{
	with_each_type(receive_with_everything);
}

static void a_long_transfer_with_everything(void)
{
	int sock[2], files[600], received[600];
	unsigned char got[1000] = { 0 };
	size_t nfds = 600;

	open_pair(SOCK_STREAM, sock);
	open_files(files, 600);
	enable_everything(sock[THERE]);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 600, got, sizeof got, 0), sizeof got);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, sizeof got,
				    ANCILLARY_WAITALL),
		 sizeof got);
	CHECK_IS(nfds, 600);
	take_arrived(received, 600, files, 600);
	close_files(files, 600);
	close_pair(sock);
}

static void end_with_everything(int type, int sock[2])
{
	int received;
	size_t nfds = 1;

	(void)type;
	enable_everything(sock[THERE]);
	close_end(sock, HERE);
	CHECK_OK(ancillary_recv_fds(sock[THERE], &received, &nfds, NULL, 0, 0), 0);
	CHECK_IS(nfds, 0);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), EPIPE);
}

static void the_end_is_zero_with_everything(void)
{
	with_type(SOCK_STREAM, end_with_everything);
	with_type(SOCK_SEQPACKET, end_with_everything);
}

CHECK_MAIN(CASE(empty_slots_hold_none), CASE(nothing_else_is_written),
	   CASE(too_many_are_all_closed), CASE(what_was_not_asked_for_stays_in_a_stream),
	   CASE(a_packet_longer_than_the_room_is_refused), CASE(a_marker_is_one_byte_and_dropped),
	   CASE(an_empty_packet_is_delivered), CASE(a_stream_joins_plain_bytes_in_front),
	   CASE(the_end_is_zero), CASE(a_peer_that_left_messages_unread_resets),
	   CASE(nothing_there_says_try_again), CASE(a_connection_is_needed),
	   CASE(a_stream_that_is_not_connected), CASE(credentials_take_no_room_from_descriptors),
	   CASE(a_pidfd_nobody_asked_for_is_closed), CASE(a_long_transfer_with_everything),
	   CASE(the_end_is_zero_with_everything))
