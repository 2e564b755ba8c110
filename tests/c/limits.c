/* A full table of descriptors.  What the kernel could not install is lost; the
 * call says so, and closes what was installed. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <string.h>
#include <unistd.h>

/* Checks that so many descriptors can be opened, and no more. */
static void check_slots(size_t slots, int sock)
{
	int probes[MOST];

	for (size_t i = 0; i < slots; i++) {
		probes[i] = dup(sock);
		CHECK(probes[i] >= 0);
	}
	CHECK(dup(sock) < 0);
	close_files(probes, slots);
}

/* Receives with so many slots in the table, and checks that a failure leaves
 * as many.  The descriptors are sent before: a sender with a low limit may not
 * have many in flight. */
static ssize_t receive_with(size_t slots, int sock, int *fds, size_t *nfds, char *data, size_t len,
			    unsigned flags)
{
	size_t room = *nfds;
	rlim_t limit = leave_slots(slots);
	ssize_t n;

	memset(fds, 'x', room * sizeof(int));
	errno = CHECK_ERRNO;
	n = ancillary_recv_fds(sock, fds, nfds, data, len, flags);
	CHECK_IS(errno, n < 0 ? -n : CHECK_ERRNO);
	if (n < 0) {
		CHECK_IS(*nfds, 0);
		CHECK(all_none(fds, room));
		check_slots(slots, sock);
	}
	set_limit(limit);
	return n;
}

/* --- one --- */

static void receive_one_with_no_slot(int type, int sock[2])
{
	int file, received;
	rlim_t limit;
	size_t open;

	(void)type;
	open_files(&file, 1);
	open = open_descriptors();
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	limit = leave_slots(0);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), EMFILE);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), EMFILE);
	/* Each has consumed its byte; the next one finds a slot. */
	set_limit(limit);
	limit = leave_slots(1);
	received = ancillary_recv_fd(sock[THERE]);
	set_limit(limit);
	take_arrived(&received, 1, &file, 1);
	check_nothing_there(sock[THERE]);
	CHECK_IS(open_descriptors(), open);
	close_files(&file, 1);
}

static void one_needs_a_slot(void)
{
	with_each_type(receive_one_with_no_slot);
}

/* --- several --- */

static void receive_several(int type, int sock[2])
{
	enum { SENT = 5 };
	int files[SENT], received[8];
	char got[8];
	size_t nfds;

	open_files(files, SENT);
	for (size_t slots = 0; slots <= SENT; slots++) {
		check_about("type %d, %zu slots", type, slots);
		nfds = 8;
		CHECK_OK(ancillary_send_fds(sock[HERE], files, SENT, "abc", 3, 0), 3);
		if (slots < SENT) {
			CHECK_IS(receive_with(slots, sock[THERE], received, &nfds, got, 8, 0),
				 -EMFILE);
		} else {
			CHECK_IS(receive_with(slots, sock[THERE], received, &nfds, got, 8, 0), 3);
			CHECK_IS(nfds, SENT);
			take_arrived(received, 8, files, SENT);
		}
		check_nothing_there(sock[THERE]);
	}
	close_files(files, SENT);
}

static void a_table_that_is_too_full_closes_all(void)
{
	with_each_type(receive_several);
}

static void receive_the_most(int type, int sock[2])
{
	int files[MOST], received[MOST];
	char got[8];
	size_t nfds = MOST;

	(void)type;
	open_files(files, MOST);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, MOST, "abc", 3, 0), 3);
	CHECK_IS(receive_with(MOST - 1, sock[THERE], received, &nfds, got, 8, 0), -EMFILE);
	close_files(files, MOST);
}

static void the_last_of_many_needs_a_slot(void)
{
	with_each_type(receive_the_most);
}

/* --- which error --- */

static void receive_too_many_with_few_slots(int type, int sock[2])
{
	static const struct {
		size_t slots, room;
		int error;
	} cases[] = {
		/* More were installed than there is room for. */
		{ 1, 0, E2BIG },
		{ 2, 1, E2BIG },
		{ 4, 1, E2BIG },
		{ 4, 3, E2BIG },
		{ 5, 4, E2BIG },
		/* No more were installed; how many came, the kernel does not tell. */
		{ 0, 0, EMFILE },
		{ 1, 1, EMFILE },
		{ 3, 3, EMFILE },
		{ 3, 4, EMFILE },
	};
	int files[5], received[5];
	char got[8];

	open_files(files, 5);
	for (size_t i = 0; i < LENGTH(cases); i++) {
		size_t nfds = cases[i].room;

		check_about("type %d, %zu slots, room for %zu", type, cases[i].slots, nfds);
		CHECK_OK(ancillary_send_fds(sock[HERE], files, 5, "abc", 3, 0), 3);
		CHECK_IS(receive_with(cases[i].slots, sock[THERE], received, &nfds, got, 8, 0),
			 -cases[i].error);
		check_nothing_there(sock[THERE]);
	}
	close_files(files, 5);
}

static void too_many_goes_before_a_full_table(void)
{
	with_each_type(receive_too_many_with_few_slots);
}

static void receive_too_long(int type, int sock[2])
{
	int files[5], received[5];
	char got[2];
	size_t nfds = 5;

	(void)type;
	open_files(files, 5);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 5, "abc", 3, 0), 3);
	CHECK_IS(receive_with(3, sock[THERE], received, &nfds, got, 2, 0), -EMFILE);
	nfds = 5;
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 5, "abc", 3, 0), 3);
	CHECK_IS(receive_with(0, sock[THERE], received, &nfds, got, 2, 0), -EMFILE);
	nfds = 2;
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 5, "abc", 3, 0), 3);
	CHECK_IS(receive_with(3, sock[THERE], received, &nfds, got, 2, 0), -E2BIG);
	nfds = 5;
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 5, "abc", 3, 0), 3);
	CHECK_IS(receive_with(5, sock[THERE], received, &nfds, got, 2, 0), -EMSGSIZE);
	check_nothing_there(sock[THERE]);
	close_files(files, 5);
}

static void a_full_table_goes_before_a_long_packet(void)
{
	with_type(SOCK_SEQPACKET, receive_too_long);
	with_type(SOCK_DGRAM, receive_too_long);
}

/* --- pieces --- */

static void a_table_full_in_between_closes_all(void)
{
	enum { ALL = 9, PIECE = 3 };
	int sock[2], files[ALL], received[ALL];
	char got[ALL];

	open_pair(SOCK_STREAM, sock);
	open_files(files, ALL);
	for (size_t slots = 0; slots <= ALL; slots++) {
		size_t nfds = ALL, n = ALL;

		check_about("%zu slots", slots);
		for (size_t i = 0; i < ALL; i += PIECE)
			CHECK_OK(ancillary_send_fds(sock[HERE], files + i, PIECE, "abc", PIECE, 0),
				 PIECE);
		if (slots < ALL) {
			CHECK_IS(receive_with(slots, sock[THERE], received, &nfds, got, n,
					      ANCILLARY_WAITALL),
				 -EMFILE);
			drain(sock[THERE]);
		} else {
			CHECK_IS(receive_with(slots, sock[THERE], received, &nfds, got, n,
					      ANCILLARY_WAITALL),
				 ALL);
			take_arrived(received, ALL, files, ALL);
		}
	}
	close_files(files, ALL);
	close_pair(sock);
}

/* --- what needs no slot --- */

static void receive_bytes(int type, int sock[2])
{
	int received[2];
	char got[8];
	size_t nfds = 2;

	(void)type;
	CHECK_IS(send(sock[HERE], "abc", 3, 0), 3);
	CHECK_IS(receive_with(0, sock[THERE], received, &nfds, got, 8, 0), 3);
	CHECK_IS(nfds, 0);
	CHECK(all_none(received, 2));
}

static void bytes_alone_need_no_slot(void)
{
	with_each_type(receive_bytes);
}

static void receive_without_a_pidfd(int type, int sock[2])
{
	int on = 1, files[2], received[2];
	char got[8];
	size_t nfds;

	(void)type;
	set_option(sock[THERE], OPTION_PASSPIDFD, on);
	set_option(sock[THERE], SO_PASSCRED, on);
	open_files(files, 2);
	for (size_t count = 0; count <= 2; count++) {
		check_about("type %d, %zu descriptors", type, count);
		nfds = 2;
		CHECK_OK(ancillary_send_fds(sock[HERE], files, count, "abc", 3, 0), 3);
		CHECK_IS(receive_with(count, sock[THERE], received, &nfds, got, 8, 0), 3);
		CHECK_IS(nfds, count);
		take_arrived(received, 2, files, count);
	}
	close_files(files, 2);
}

static void a_pidfd_nobody_asked_for_may_find_no_slot(void)
{
	with_each_type(receive_without_a_pidfd);
}

static void nor_between_pieces(void)
{
	int on = 1, sock[2], files[2], received[2];
	char got[8];
	size_t nfds;

	open_pair(SOCK_STREAM, sock);
	set_option(sock[THERE], OPTION_PASSPIDFD, on);
	set_option(sock[THERE], SO_PASSCRED, on);
	open_files(files, 2);
	for (unsigned lossless = 0; lossless <= ANCILLARY_LOSSLESS; lossless += ANCILLARY_LOSSLESS) {
		CHECK_OK(ancillary_send_fds(sock[HERE], files, 1, "ab", 2, 0), 2);
		CHECK_OK(ancillary_send_fds(sock[HERE], files + 1, 1, "cd", 2, 0), 2);
		nfds = 2;
		CHECK_IS(receive_with(2, sock[THERE], received, &nfds, got, 4,
				      ANCILLARY_WAITALL | lossless),
			 4);
		take_arrived(received, 2, files, 2);
	}
	close_files(files, 2);
	close_pair(sock);
}

/* The table is filled, and the limit stays as high as it can: by the same one the
 * kernel refuses to send, while processes of this user have more in flight. */
static void send_with_no_slot(int type, int sock[2])
{
	enum { ENOUGH = 1 << 14 };
	static int more[ENOUGH];
	struct rlimit limits;
	int files[MOST];
	size_t count = 0;

	(void)type;
	open_files(files, MOST);
	CHECK(getrlimit(RLIMIT_NOFILE, &limits) == 0);
	set_limit(limits.rlim_cur < ENOUGH ? limits.rlim_cur : ENOUGH);
	while ((more[count] = dup(sock[HERE])) >= 0)
		count++;
	CHECK_IS(errno, EMFILE);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, MOST, "abc", 3, 0), 3);
	close_files(more, count);
	set_limit(limits.rlim_cur);
	close_files(files, MOST);
}

static void sending_needs_no_slot(void)
{
	with_each_type(send_with_no_slot);
}

CHECK_MAIN(CASE(one_needs_a_slot), CASE(a_table_that_is_too_full_closes_all),
	   CASE(the_last_of_many_needs_a_slot), CASE(too_many_goes_before_a_full_table),
	   CASE(a_full_table_goes_before_a_long_packet), CASE(a_table_full_in_between_closes_all),
	   CASE(bytes_alone_need_no_slot), CASE(a_pidfd_nobody_asked_for_may_find_no_slot),
	   CASE(nor_between_pieces),
	   CASE(sending_needs_no_slot))
