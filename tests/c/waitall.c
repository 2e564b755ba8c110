/* ancillary_recv_fds with ANCILLARY_WAITALL: the pieces of a stream. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PIECES = 5, EACH = 3, FILES = 8 };

/* What a slow sender sends: with piece i, i descriptors, but none with the
 * first; between them plain bytes. */
struct slow {
	int sock;
	const int *files;
	int pieces;
	bool closes;
};

static void *send_slowly(void *argument)
{
	struct slow *slow = argument;
	const int *next = slow->files;

	for (int i = 0; i < slow->pieces; i++) {
		if (i > 0)
			sleep_ms(10);
		CHECK_IS(send_by_hand(slow->sock, "abc", EACH, next, (size_t)i), EACH);
		next += i;
		CHECK_IS(send(slow->sock, "-", 1, 0), 1);
	}
	if (slow->closes) {
		sleep_ms(10);
		CHECK(shutdown(slow->sock, SHUT_WR) == 0);
	}
	return NULL;
}

static const char sent_slowly[] = "abc-abc-abc-abc-abc-";

static void pieces_are_collected(void)
{
	enum { ALL = 0 + 1 + 2 + 3 + 4, LEN = PIECES * (EACH + 1) };
	int sock[2], files[ALL], received[ALL + 2];
	struct slow slow = { .files = files, .pieces = PIECES };
	size_t nfds = ALL + 2;
	char got[LEN];
	pthread_t sender;

	open_pair(SOCK_STREAM, sock);
	open_files(files, ALL);
	slow.sock = sock[HERE];
	sender = start_thread(send_slowly, &slow);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, LEN, ANCILLARY_WAITALL),
		 LEN);
	CHECK_IS(nfds, ALL);
	CHECK(memcmp(got, sent_slowly, LEN) == 0);
	take_arrived(received, ALL + 2, files, ALL);
	end_thread(sender);
	check_nothing_there(sock[THERE]);
	close_files(files, ALL);
	close_pair(sock);
}

static void no_more_than_asked_for_is_taken(void)
{
	int sock[2], files[FILES], received[FILES];
	size_t nfds = FILES;
	char got[8];

	open_pair(SOCK_STREAM, sock);
	open_files(files, FILES);
	for (int i = 0; i < 3; i++)
		CHECK_IS(send_by_hand(sock[HERE], "abc", 3, files + i, 1), 3);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 5, ANCILLARY_WAITALL), 5);
	CHECK(memcmp(got, "abcab", 5) == 0);
	CHECK_IS(nfds, 2);
	take_arrived(received, FILES, files, 2);
	nfds = FILES;
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 4, ANCILLARY_WAITALL), 4);
	CHECK(memcmp(got, "cabc", 4) == 0);
	CHECK_IS(nfds, 1);
	take_arrived(received, FILES, files + 2, 1);
	close_files(files, FILES);
	close_pair(sock);
}

static void a_peer_that_closes_ends_it_short(void)
{
	int sock[2], files[FILES], received[FILES];
	struct slow slow = { .files = files, .pieces = 3, .closes = true };
	size_t nfds = FILES;
	char got[100];
	pthread_t sender;

	open_pair(SOCK_STREAM, sock);
	open_files(files, FILES);
	slow.sock = sock[HERE];
	sender = start_thread(send_slowly, &slow);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 100, ANCILLARY_WAITALL),
		 12);
	CHECK_IS(nfds, 3);
	CHECK(memcmp(got, sent_slowly, 12) == 0);
	take_arrived(received, FILES, files, 3);
	nfds = FILES;
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 100, ANCILLARY_WAITALL), 0);
	CHECK_IS(nfds, 0);
	end_thread(sender);
	close_files(files, FILES);
	close_pair(sock);
}

/* The kernel reports a reset once, so afterwards there is only the end. */
static void an_error_after_progress_ends_it_short(void)
{
	int sock[2], files[2], received[4];
	size_t nfds = 4;
	char got[8];

	open_pair(SOCK_STREAM, sock);
	open_files(files, 2);
	CHECK_IS(send(sock[THERE], "unread", 6, 0), 6);
	CHECK_IS(send_by_hand(sock[HERE], "abc", 3, files, 2), 3);
	close_end(sock, HERE);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 8, ANCILLARY_WAITALL), 3);
	take_arrived(received, 4, files, 2);
	nfds = 4;
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 8, ANCILLARY_WAITALL), 0);
	CHECK_IS(nfds, 0);
	close_files(files, 2);
	close_pair(sock);
}

/* --- too many --- */

static void too_many_in_sum_are_all_closed(void)
{
	int sock[2], files[FILES], received[FILES];
	size_t before, nfds;
	char got[100];

	open_pair(SOCK_STREAM, sock);
	open_files(files, FILES);
	before = open_descriptors();
	for (size_t room = 0; room < 6; room++) {
		check_about("room for %zu", room);
		for (int i = 0; i < 3; i++)
			CHECK_IS(send_by_hand(sock[HERE], "abc", 3, files + 2 * i, 2), 3);
		memset(received, 'x', sizeof received);
		nfds = room;
		CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, 100,
					     ANCILLARY_WAITALL),
			  E2BIG);
		CHECK_IS(nfds, 0);
		CHECK(all_none(received, room));
		CHECK_IS(open_descriptors(), before);
		drain(sock[THERE]);
		CHECK_IS(open_descriptors(), before);
	}
	close_files(files, FILES);
	close_pair(sock);
}

static void the_rest_of_too_many_can_be_received(void)
{
	int sock[2], files[3], received[3];
	size_t nfds = 1;
	char got[8];

	open_pair(SOCK_STREAM, sock);
	open_files(files, 3);
	for (int i = 0; i < 3; i++)
		CHECK_IS(send_by_hand(sock[HERE], "abc", 3, files + i, 1), 3);
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, 8, ANCILLARY_WAITALL),
		  E2BIG);
	nfds = 3;
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 3, ANCILLARY_WAITALL), 3);
	CHECK_IS(nfds, 1);
	take_arrived(received, 3, files + 2, 1);
	check_nothing_there(sock[THERE]);
	close_files(files, 3);
	close_pair(sock);
}

/* --- without waiting --- */

/* Receives what is there of more, with flags and as the socket is set. */
static void receive_what_is_there(const int sock[2], unsigned flags)
{
	int files[3], received[4];
	size_t nfds = 4;
	char got[100];

	open_files(files, 3);
	CHECK_IS(send_by_hand(sock[HERE], "abc", 3, files, 1), 3);
	CHECK_IS(send_by_hand(sock[HERE], "def", 3, files + 1, 2), 3);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 100, flags), 6);
	CHECK(memcmp(got, "abcdef", 6) == 0);
	CHECK_IS(nfds, 3);
	take_arrived(received, 4, files, 3);
	nfds = 4;
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, 100, flags), EAGAIN);
	CHECK_IS(nfds, 0);
	CHECK(all_none(received, 4));
	close_files(files, 3);
}

static void what_is_there_is_given_when_it_may_not_wait(void)
{
	int sock[2];

	open_pair(SOCK_STREAM, sock);
	receive_what_is_there(sock, ANCILLARY_WAITALL | ANCILLARY_DONTWAIT);
	CHECK(fcntl(sock[THERE], F_SETFL, O_NONBLOCK) == 0);
	receive_what_is_there(sock, ANCILLARY_WAITALL);
	CHECK(fcntl(sock[THERE], F_SETFL, 0) == 0);
	set_timeout(sock[THERE], SO_RCVTIMEO, 20);
	receive_what_is_there(sock, ANCILLARY_WAITALL);
	close_pair(sock);
}

/* --- packets --- */

static void receive_a_packet(int type, int sock[2])
{
	int files[2], received[4];
	size_t nfds;
	char got[8];

	(void)type;
	open_files(files, 2);
	CHECK_IS(send_by_hand(sock[HERE], "ab", 2, files, 1), 2);
	CHECK_IS(send_by_hand(sock[HERE], "cd", 2, files + 1, 1), 2);
	for (int i = 0; i < 2; i++) {
		nfds = 4;
		CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 4,
					    ANCILLARY_WAITALL),
			 2);
		CHECK(memcmp(got, i == 0 ? "ab" : "cd", 2) == 0);
		CHECK_IS(nfds, 1);
		take_arrived(received, 4, files + i, 1);
	}
	close_files(files, 2);
}

static void receive_a_marker_packet(int type, int sock[2])
{
	int file, received[1000];
	size_t nfds = 1000;

	(void)type;
	open_files(&file, 1);
	CHECK_OK(ancillary_send_fds(sock[HERE], &file, 1, NULL, 0, 0), 1);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0, ANCILLARY_WAITALL), 1);
	CHECK_IS(nfds, 1);
	take_arrived(received, 1000, &file, 1);
	close_files(&file, 1);
}

static void packets_are_not_joined(void)
{
	with_type(SOCK_SEQPACKET, receive_a_packet);
	with_type(SOCK_DGRAM, receive_a_packet);
	with_type(SOCK_SEQPACKET, receive_a_marker_packet);
	with_type(SOCK_DGRAM, receive_a_marker_packet);
}

/* --- markers --- */

/* With room for so many descriptors, so many marker bytes are received. */
static void as_many_markers_as_the_room_takes(void)
{
	static const struct {
		size_t room, markers;
	} cases[] = { { 0, 1 },	      { 1, 1 },
		    { MOST, 1 },      { MOST + 1, 2 },
		    { 2 * MOST, 2 },  { 2 * MOST + 1, 3 },
		    { 3 * MOST, 3 },  { 3 * MOST + 1, 4 } };
	int sock[2], received[1000];
	size_t nfds;

	open_pair(SOCK_STREAM, sock);
	for (size_t i = 0; i < LENGTH(cases); i++) {
		check_about("room for %zu", cases[i].room);
		CHECK_IS(send(sock[HERE], "12345678", 8, 0), 8);
		nfds = cases[i].room;
		CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0,
					    ANCILLARY_WAITALL),
			 cases[i].markers);
		CHECK_IS(nfds, 0);
		drain(sock[THERE]);
	}
	close_pair(sock);
}

static void markers_are_collected(void)
{
	enum { MANY = 1000 };
	int sock[2], files[MANY], received[MANY];
	size_t nfds = MANY;

	open_pair(SOCK_STREAM, sock);
	open_files(files, MANY);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, MANY, NULL, 0, 0), 4);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0, ANCILLARY_WAITALL), 4);
	CHECK_IS(nfds, MANY);
	take_arrived(received, MANY, files, MANY);

	/* Fewer than there is room for, and no more to come. */
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 300, NULL, 0, 0), 2);
	close_end(sock, HERE);
	nfds = MANY;
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0, ANCILLARY_WAITALL), 2);
	CHECK_IS(nfds, 300);
	take_arrived(received, MANY, files, 300);
	close_files(files, MANY);
	close_pair(sock);
}

CHECK_MAIN(CASE(pieces_are_collected), CASE(no_more_than_asked_for_is_taken),
	   CASE(a_peer_that_closes_ends_it_short),
	   CASE(an_error_after_progress_ends_it_short),
	   CASE(too_many_in_sum_are_all_closed), CASE(the_rest_of_too_many_can_be_received),
	   CASE(what_is_there_is_given_when_it_may_not_wait), CASE(packets_are_not_joined),
	   CASE(as_many_markers_as_the_room_takes), CASE(markers_are_collected))
