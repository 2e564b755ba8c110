/* Sending on a channel: what goes when, in how many system calls, whose the
 * descriptors are, and what is left after an error.  The peer reads by hand. */

#include "check.h"
#include "channel_kit.h"
#include "channel_sends.h"
#include "kit.h"

#include <ancillary.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FILES = 300, LARGE = 1 << 20 };

/* One end is the channel's, the other the peer's. */
static int sock[2];
static struct end end;
static int files[FILES];
static size_t open_before;

static void open_as(unsigned format, unsigned flags, struct room room)
{
	open_pair(SOCK_STREAM, sock);
	open_files(files, FILES);
	open_end(&end, sock[HERE], format, flags, room);
	open_before = open_descriptors();
}

static void open_usual(void)
{
	open_as(ANCILLARY_FORMAT_PLAIN, 0, usual);
}

static void close_all(void)
{
	close_end_of(&end);
	close_pair(sock);
	close_files(files, FILES);
}

static void close_peer(void)
{
	close_end(sock, THERE);
	open_before--;
}

/* How many descriptors more than at the beginning are open. */
static size_t more_open(void)
{
	return open_descriptors() - open_before;
}

static bool waits(void)
{
	int events = ancillary_channel_events(&end.channel);

	CHECK(events >= 0);
	return events & POLLOUT;
}

/* Receives a plain message by hand, with descriptors of these files. */
static void receive_plain(uint32_t type, const void *data, size_t len, const int *its_files,
			  size_t nfds)
{
	unsigned char *bytes = malloc(16 + len + 8);

	CHECK(bytes);
	receive_exactly(sock[THERE], bytes, plain(bytes, type, ~type, data, len, nfds), its_files,
			nfds);
	free(bytes);
}

/* Messages 1 and 2, whose descriptors may come together. */
static void receive_both(const char *first, size_t first_nfds, const char *second,
			 size_t second_nfds, const int *their_files)
{
	unsigned char bytes[128];
	size_t len = plain(bytes, 1, ~1u, first, strlen(first), first_nfds);

	len += plain(bytes + len, 2, ~2u, second, strlen(second), second_nfds);
	receive_exactly(sock[THERE], bytes, len, their_files, first_nfds + second_nfds);
}

static struct ancillary_frame plain_frame(uint32_t type, const void *data, size_t len, int *fds,
					  size_t nfds)
{
	return message(type, ~type, data, len, fds, nfds);
}

/* A send that fails takes nothing. */
static void refuse(struct ancillary_frame frame, unsigned flags, int error)
{
	int before[FILES], *fds = frame.fds;

	CHECK(frame.nfds <= FILES);
	if (frame.nfds > 0)
		memcpy(before, fds, frame.nfds * sizeof *fds);
	CHECK_ERR(ancillary_channel_send(&end.channel, &frame, flags), error);
	for (size_t i = 0; i < frame.nfds; i++) {
		CHECK_IS(fds[i], before[i]);
		CHECK(fds[i] < 0 || is_open(fds[i]));
	}
}

enum { DONTWAIT = ANCILLARY_DONTWAIT, MORE = ANCILLARY_MORE, TAKE = ANCILLARY_TAKE };

/* --- what goes at once --- */

static void a_message_goes_at_once(void)
{
	open_usual();
	put(&end, plain_frame(1, "payload", 7, NULL, 0), 0);
	CHECK(!waits());
	receive_plain(1, "payload", 7, NULL, 0);
	check_nothing_there(sock[THERE]);
	close_all();
}

static void a_message_may_be_empty(void)
{
	open_usual();
	put(&end, plain_frame(1, NULL, 0, NULL, 0), 0);
	put(&end, plain_frame(2, "", 0, files, 2), 0);
	receive_plain(1, NULL, 0, NULL, 0);
	receive_plain(2, NULL, 0, files, 2);
	close_all();
}

static void a_blocking_channel_sends_as_well(void)
{
	struct ancillary_frame frame = plain_frame(1, "payload", 7, files, 2);

	open_usual();
	CHECK_OK(ancillary_channel_send(&end.channel, &frame, 0), 0);
	CHECK_OK(ancillary_channel_flush(&end.channel, 0), 0);
	receive_plain(1, "payload", 7, files, 2);
	close_all();
}

static void flags_of_sendmsg_may_be_given(void)
{
	open_usual();
	put(&end, plain_frame(1, "a", 1, NULL, 0), MSG_NOSIGNAL | MSG_CMSG_CLOEXEC | MSG_MORE);
	CHECK(waits());
	CHECK_OK(ancillary_channel_flush(&end.channel, MSG_NOSIGNAL | MSG_DONTWAIT), 0);
	receive_plain(1, "a", 1, NULL, 0);
	close_all();
}

static void a_flush_of_nothing_is_no_error(void)
{
	open_usual();
	watch_sends();
	push(&end);
	CHECK_OK(ancillary_channel_flush(&end.channel, 0), 0);
	CHECK_IS(sends.calls, 0);
	close_all();
}

/* --- borrowed descriptors --- */

static void borrowed_descriptors_stay_the_callers(void)
{
	int borrowed[3];

	open_usual();
	duplicate_all(borrowed, files, 3);
	put(&end, plain_frame(1, "a", 1, borrowed, 3), 0);
	check_arrived(borrowed, files, 3);
	close_files(borrowed, 3);
	/* The kernel has them. */
	receive_plain(1, "a", 1, files, 3);
	close_all();
}

static void borrowed_descriptors_go_at_once_or_not_at_all(void)
{
	open_usual();
	fill(sock[HERE]);
	refuse(plain_frame(1, "a", 1, files, 3), DONTWAIT, EAGAIN);
	refuse(plain_frame(1, "a", 1, files, 3), DONTWAIT | MORE, EAGAIN);
	CHECK(!waits());
	drain(sock[THERE]);
	push(&end);
	check_nothing_there(sock[THERE]);
	put(&end, plain_frame(1, "a", 1, files, 3), 0);
	receive_plain(1, "a", 1, files, 3);
	close_all();
}

static void what_was_queued_goes_before_borrowed_ones(void)
{
	open_usual();
	put(&end, plain_frame(1, "queued", 6, NULL, 0), MORE);
	check_nothing_there(sock[THERE]);
	put(&end, plain_frame(2, "borrowed", 8, files, 2), 0);
	CHECK(!waits());
	receive_plain(1, "queued", 6, NULL, 0);
	receive_plain(2, "borrowed", 8, files, 2);
	close_all();
}

/* So that a receiver needs room for no more than twice of either. */
static void borrowed_ones_go_in_a_call_of_their_own(void)
{
	int taken[8];

	open_usual();
	duplicate_all(taken, files, 8);
	for (uint32_t i = 0; i < 8; i++)
		put(&end, plain_frame(i, "12345678", 8, taken + i, 1), TAKE | MORE);
	watch_sends();
	put(&end, plain_frame(8, "12345678", 8, files + 8, 8), 0);
	CHECK_IS(sends.calls, 2);
	CHECK_IS(sends.call[0].nfds, 8);
	CHECK_IS(sends.call[0].len, 8 * 24);
	CHECK_IS(sends.call[1].nfds, 8);
	CHECK_IS(sends.call[1].len, 24);
	close_all();
}

static void more_changes_nothing_for_borrowed_ones(void)
{
	open_usual();
	put(&end, plain_frame(1, "queued", 6, NULL, 0), MORE);
	put(&end, plain_frame(2, "borrowed", 8, files, 2), MORE);
	CHECK(!waits());
	receive_plain(1, "queued", 6, NULL, 0);
	receive_plain(2, "borrowed", 8, files, 2);
	close_all();
}

static void borrowed_ones_wait_for_what_was_queued(void)
{
	open_usual();
	put(&end, plain_frame(1, "queued", 6, NULL, 0), MORE);
	fill(sock[HERE]);
	refuse(plain_frame(2, "borrowed", 8, files, 2), DONTWAIT, EAGAIN);
	CHECK(waits());
	drain(sock[THERE]);
	push(&end);
	receive_plain(1, "queued", 6, NULL, 0);
	check_nothing_there(sock[THERE]);
	close_all();
}

static void what_is_queued_may_go_where_borrowed_ones_cannot(void)
{
	struct ancillary_frame frame = plain_frame(2, "borrowed", 8, files, 2);
	int result;

	open_usual();
	put(&end, plain_frame(1, "queued", 6, NULL, 0), MORE);
	watch_sends();
	/* The first gets through, a second would block. */
	sends.after = 1;
	sends.error = EAGAIN;
	result = ancillary_channel_send(&end.channel, &frame, DONTWAIT);
	/* Both may go in one call. */
	CHECK_IS(result, sends.calls == 1 ? 0 : -EAGAIN);
	CHECK(!waits());
	receive_plain(1, "queued", 6, NULL, 0);
	if (result == 0)
		receive_plain(2, "borrowed", 8, files, 2);
	check_nothing_there(sock[THERE]);
	close_all();
}

static void the_rest_of_a_borrowed_message_waits(void)
{
	open_usual();
	watch_sends();
	sends.less = 5;
	/* They are gone with the first byte. */
	put(&end, plain_frame(1, "borrowed", 8, files, 2), 0);
	push(&end);
	CHECK_IS(sends.call[0].nfds, 2);
	CHECK_IS(sends.call[0].result, 5);
	CHECK_IS(sends.calls, 2);
	CHECK_IS(sends.call[1].nfds, 0);
	CHECK_IS(sends.call[1].len, 16 + 8 - 5);
	CHECK(!waits());
	receive_plain(1, "borrowed", 8, files, 2);
	check_nothing_there(sock[THERE]);
	close_all();
}

/* What is put behind it begins a call of its own. */
static void the_rest_of_a_borrowed_message_goes_alone(void)
{
	int taken;

	open_usual();
	taken = duplicate(files[2]);
	watch_sends();
	sends.less = 5;
	sends.error = EAGAIN;
	put(&end, plain_frame(1, "borrowed", 8, files, 2), 0);
	CHECK(waits());
	put(&end, plain_frame(2, "taken...", 8, &taken, 1), TAKE | MORE);
	push(&end);
	CHECK_IS(sends.calls, 4);
	CHECK_IS(sends.call[2].len, 16 + 8 - 5);
	CHECK_IS(sends.call[2].nfds, 0);
	CHECK_IS(sends.call[3].len, 16 + 8);
	CHECK_IS(sends.call[3].nfds, 1);
	receive_plain(1, "borrowed", 8, files, 2);
	receive_plain(2, "taken...", 8, files + 2, 1);
	close_all();
}

static void as_many_as_a_message_carries_may_be_borrowed(void)
{
	open_usual();
	put(&end, plain_frame(1, "a", 1, files, MOST), 0);
	receive_plain(1, "a", 1, files, MOST);
	refuse(plain_frame(2, "a", 1, files, MOST + 1), DONTWAIT, E2BIG);
	refuse(plain_frame(2, "a", 1, files, MOST + 1), DONTWAIT | MORE, E2BIG);
	CHECK(!waits());
	check_nothing_there(sock[THERE]);
	/* Which is no end. */
	put(&end, plain_frame(3, "a", 1, files, 1), 0);
	receive_plain(3, "a", 1, files, 1);
	close_all();
}

static void out_fds_are_not_needed_to_lend(void)
{
	static const struct room none = { 0, 0, 4096, 0 };

	open_as(ANCILLARY_FORMAT_PLAIN, 0, none);
	put(&end, plain_frame(1, "a", 1, files, 5), 0);
	receive_plain(1, "a", 1, files, 5);
	close_all();
}

/* --- taken descriptors --- */

static void taken_descriptors_are_closed_when_they_have_gone(void)
{
	int taken[3];

	open_usual();
	duplicate_all(taken, files, 3);
	put(&end, plain_frame(1, "a", 1, taken, 3), TAKE);
	CHECK(all_none(taken, 3));
	CHECK_IS(more_open(), 0);
	receive_plain(1, "a", 1, files, 3);
	close_all();
}

static void taken_descriptors_can_wait(void)
{
	int taken[3];

	open_usual();
	duplicate_all(taken, files, 3);
	fill(sock[HERE]);
	put(&end, plain_frame(1, "a", 1, taken, 3), TAKE);
	CHECK(all_none(taken, 3));
	CHECK_IS(more_open(), 3);
	CHECK(waits());
	CHECK_ERR(ancillary_channel_flush(&end.channel, DONTWAIT), EAGAIN);
	CHECK_IS(more_open(), 3);
	drain(sock[THERE]);
	push(&end);
	CHECK(!waits());
	CHECK_IS(more_open(), 0);
	receive_plain(1, "a", 1, files, 3);
	close_all();
}

static void taken_descriptors_wait_for_more(void)
{
	int taken[3];

	open_usual();
	duplicate_all(taken, files, 3);
	put(&end, plain_frame(1, "a", 1, taken, 3), TAKE | MORE);
	CHECK(all_none(taken, 3));
	CHECK_IS(more_open(), 3);
	check_nothing_there(sock[THERE]);
	push(&end);
	CHECK_IS(more_open(), 0);
	receive_plain(1, "a", 1, files, 3);
	close_all();
}

/* Not with the last byte: they go with the first. */
static void taken_descriptors_are_closed_after_a_short_send(void)
{
	int taken[3];

	open_usual();
	duplicate_all(taken, files, 3);
	put(&end, plain_frame(1, "payload", 7, taken, 3), TAKE | MORE);
	watch_sends();
	sends.less = 5;
	push_some(&end);
	CHECK_IS(sends.call[0].nfds, 3);
	CHECK_IS(more_open(), 0);
	push(&end);
	receive_plain(1, "payload", 7, files, 3);
	check_nothing_there(sock[THERE]);
	close_all();
}

static void each_message_closes_its_own(void)
{
	int taken[6];

	open_usual();
	duplicate_all(taken, files, 6);
	put(&end, plain_frame(1, "first", 5, taken, 2), TAKE | MORE);
	put(&end, plain_frame(2, "second", 6, taken + 2, 4), TAKE | MORE);
	CHECK_IS(more_open(), 6);
	watch_sends();
	/* All go in one call, with the first byte of it. */
	sends.less = 3;
	push_some(&end);
	push(&end);
	CHECK_IS(more_open(), 0);
	receive_both("first", 2, "second", 4, files);
	close_all();
}

static void a_refused_send_takes_no_descriptors(void)
{
	static const struct room two = { 0, 0, 64, 2 };
	int taken[3];

	open_as(ANCILLARY_FORMAT_PLAIN, 0, two);
	duplicate_all(taken, files, 3);
	fill(sock[HERE]);
	put(&end, plain_frame(1, "a", 1, taken, 2), TAKE);
	CHECK(all_none(taken, 2));
	/* No room among the descriptors, and none among the bytes. */
	refuse(plain_frame(2, "a", 1, taken + 2, 1), TAKE | DONTWAIT, EAGAIN);
	refuse(plain_frame(2, "a", 1, taken + 2, 1), TAKE | MORE | DONTWAIT, EAGAIN);
	refuse(plain_frame(2, "a message of 30 bytes, not more", 31, NULL, 0), DONTWAIT, EAGAIN);
	refuse(plain_frame(2, "a message of 30 bytes, not more", 31, NULL, 0), MORE | DONTWAIT,
	       EAGAIN);
	CHECK_IS(more_open(), 3);
	drain(sock[THERE]);
	put(&end, plain_frame(2, "a", 1, taken + 2, 1), TAKE);
	CHECK(all_none(taken, 3));
	CHECK_IS(more_open(), 0);
	receive_plain(1, "a", 1, files, 2);
	receive_plain(2, "a", 1, files + 2, 1);
	close_all();
}

static void a_drop_closes_what_was_taken(void)
{
	int taken[3];

	open_usual();
	duplicate_all(taken, files, 3);
	put(&end, plain_frame(1, "a", 1, taken, 3), TAKE | MORE);
	ancillary_channel_drop(&end.channel);
	CHECK_IS(more_open(), 0);
	CHECK(!waits());
	push(&end);
	check_nothing_there(sock[THERE]);
	close_all();
}

static void take_without_descriptors_is_any_message(void)
{
	open_usual();
	put(&end, plain_frame(1, "a", 1, NULL, 0), TAKE);
	put(&end, plain_frame(2, "b", 1, NULL, 0), TAKE | MORE);
	CHECK(waits());
	push(&end);
	receive_plain(1, "a", 1, NULL, 0);
	receive_plain(2, "b", 1, NULL, 0);
	close_all();
}

static void a_message_may_take_more_than_one_call_carries(void)
{
	static const struct room room = { 0, 0, 4096, FILES };
	int taken[FILES];

	open_as(ANCILLARY_FORMAT_PLAIN, 0, room);
	duplicate_all(taken, files, FILES);
	watch_sends();
	put(&end, plain_frame(1, NULL, 0, taken, FILES), TAKE);
	CHECK(all_none(taken, FILES));
	CHECK_IS(more_open(), 0);
	/* Byte i of the message carries descriptors 253 * i onwards. */
	CHECK_IS(sends.calls, 2);
	CHECK_IS(sends.call[0].nfds, MOST);
	CHECK_IS(sends.call[0].len, 1);
	CHECK_IS(sends.call[1].nfds, FILES - MOST);
	CHECK_IS(sends.call[1].len, 15);
	receive_plain(1, NULL, 0, files, FILES);
	close_all();
}

static void one_with_more_than_a_call_carries_goes_alone(void)
{
	static const struct room room = { 0, 0, 4096, FILES + 2 };
	int taken[FILES], one = -1, other = -1;

	open_as(ANCILLARY_FORMAT_PLAIN, 0, room);
	one = duplicate(files[0]);
	put(&end, plain_frame(1, "before", 6, &one, 1), TAKE | MORE);
	duplicate_all(taken, files, FILES);
	put(&end, plain_frame(2, "much", 4, taken, FILES), TAKE | MORE);
	other = duplicate(files[1]);
	put(&end, plain_frame(3, "behind", 6, &other, 1), TAKE | MORE);
	watch_sends();
	push(&end);
	CHECK_IS(sends.calls, 4);
	CHECK_IS(sends.call[0].nfds, 1);
	CHECK_IS(sends.call[0].len, 24);
	CHECK_IS(sends.call[1].nfds, MOST);
	CHECK_IS(sends.call[1].len, 1);
	CHECK_IS(sends.call[2].nfds, FILES - MOST);
	CHECK_IS(sends.call[2].len, 23);
	CHECK_IS(sends.call[3].nfds, 1);
	CHECK_IS(sends.call[3].len, 24);
	CHECK_IS(more_open(), 0);
	receive_plain(1, "before", 6, files, 1);
	receive_plain(2, "much", 4, files, FILES);
	receive_plain(3, "behind", 6, files + 1, 1);
	close_all();
}

/* Between the two parts of it. */
static void what_is_left_of_that_can_wait(void)
{
	static const struct room room = { 0, 0, 4096, FILES };
	int taken[FILES];

	open_as(ANCILLARY_FORMAT_PLAIN, 0, room);
	duplicate_all(taken, files, FILES);
	watch_sends();
	sends.after = 1;
	sends.error = EAGAIN;
	put(&end, plain_frame(1, "much", 4, taken, FILES), TAKE);
	CHECK(waits());
	CHECK(all_none(taken, FILES));
	/* Those that have gone are closed, or all once all have. */
	CHECK(more_open() == FILES - MOST || more_open() == FILES);
	push(&end);
	CHECK_IS(more_open(), 0);
	CHECK_IS(sends.call[2].nfds, FILES - MOST);
	receive_plain(1, "much", 4, files, FILES);
	close_all();
}

/* --- gathered messages --- */

static void messages_wait_for_more(void)
{
	open_usual();
	watch_sends();
	for (uint32_t i = 0; i < 100; i++)
		put(&end, plain_frame(i, "12345678", 8, NULL, 0), MORE);
	CHECK_IS(sends.calls, 0);
	CHECK(waits());
	put(&end, plain_frame(100, "12345678", 8, NULL, 0), 0);
	CHECK(!waits());
	CHECK_IS(sends.calls, 1);
	CHECK_IS(sends.call[0].len, 101 * 24);
	for (uint32_t i = 0; i <= 100; i++)
		receive_plain(i, "12345678", 8, NULL, 0);
	close_all();
}

static void what_does_not_fit_lets_the_rest_go_first(void)
{
	static const struct room small = { 0, 0, 100, 0 };

	open_as(ANCILLARY_FORMAT_PLAIN, 0, small);
	for (uint32_t i = 0; i < 10; i++)
		put(&end, plain_frame(i, "12345678", 8, NULL, 0), MORE);
	CHECK(waits());
	push(&end);
	for (uint32_t i = 0; i < 10; i++)
		receive_plain(i, "12345678", 8, NULL, 0);
	close_all();
}

/* As many as it carries, and no more. */
static void the_descriptors_of_many_go_in_one_call(void)
{
	enum { MANY = MOST + 2 };
	static const struct room room = { 0, 0, 8192, FILES };
	static unsigned char bytes[24 * MANY];
	int taken[MANY];

	open_as(ANCILLARY_FORMAT_PLAIN, 0, room);
	duplicate_all(taken, files, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		put(&end, plain_frame(i, "12345678", 8, taken + i, 1), TAKE | MORE);
		plain(bytes + (size_t)24 * i, i, ~i, "12345678", 8, 1);
	}
	watch_sends();
	push(&end);
	CHECK_IS(sends.calls, 2);
	CHECK_IS(sends.call[0].nfds, MOST);
	CHECK_IS(sends.call[0].len, (size_t)MOST * 24);
	CHECK_IS(sends.call[1].nfds, 2);
	CHECK_IS(sends.call[1].len, 2 * 24);
	CHECK_IS(more_open(), 0);
	receive_exactly(sock[THERE], bytes, sizeof bytes, files, MANY);
	close_all();
}

static void one_call_has_those_of_whole_messages(void)
{
	static const struct room room = { 0, 0, 8192, FILES };
	int taken[FILES];

	open_as(ANCILLARY_FORMAT_PLAIN, 0, room);
	duplicate_all(taken, files, FILES);
	/* Two of them are 200; a third would be too many. */
	for (uint32_t i = 0; i < 3; i++)
		put(&end, plain_frame(i, "12345678", 8, taken + (size_t)100 * i, 100), TAKE | MORE);
	watch_sends();
	push(&end);
	CHECK_IS(sends.calls, 2);
	CHECK_IS(sends.call[0].nfds, 200);
	CHECK_IS(sends.call[0].len, 48);
	CHECK_IS(sends.call[1].nfds, 100);
	CHECK_IS(sends.call[1].len, 24);
	CHECK_IS(more_open(), 0);
	close_all();
}

/* What has not begun to go takes more with it. */
static void messages_join_a_send_that_waits(void)
{
	static const struct room room = { 0, 0, 8192, FILES };
	int taken[FILES];

	open_as(ANCILLARY_FORMAT_PLAIN, 0, room);
	duplicate_all(taken, files, FILES);
	put(&end, plain_frame(1, "12345678", 8, taken, 200), TAKE | MORE);
	put(&end, plain_frame(2, "12345678", 8, taken + 200, 90), TAKE | MORE);
	watch_sends();
	sends.after = 1;
	sends.error = EAGAIN;
	CHECK_ERR(ancillary_channel_flush(&end.channel, DONTWAIT), EAGAIN);
	put(&end, plain_frame(3, "12345678", 8, taken + 290, 10), TAKE | MORE);
	push(&end);
	CHECK_IS(sends.calls, 3);
	CHECK_IS(sends.call[2].nfds, 100);
	CHECK_IS(sends.call[2].len, 2 * 24);
	CHECK_IS(more_open(), 0);
	close_all();
}

/* Before a message with descriptors, which begins a call. */
static void what_a_short_send_left_goes_first_and_alone(void)
{
	int taken[3];

	open_usual();
	duplicate_all(taken, files, 3);
	put(&end, plain_frame(1, "12345678", 8, NULL, 0), MORE);
	put(&end, plain_frame(2, "12345678", 8, taken, 1), MORE | TAKE);
	watch_sends();
	/* In the middle of the first. */
	sends.less = 10;
	sends.error = EAGAIN;
	CHECK_ERR(ancillary_channel_flush(&end.channel, DONTWAIT), EAGAIN);
	CHECK_IS(sends.call[0].nfds, 1);
	put(&end, plain_frame(3, "12345678", 8, taken + 1, 1), MORE | TAKE);
	put(&end, plain_frame(4, "12345678", 8, taken + 2, 1), MORE | TAKE);
	push(&end);
	CHECK_IS(sends.calls, 4);
	CHECK_IS(sends.call[2].nfds, 0);
	CHECK_IS(sends.call[2].len, 2 * 24 - 10);
	/* These go together again. */
	CHECK_IS(sends.call[3].nfds, 2);
	CHECK_IS(sends.call[3].len, 2 * 24);
	receive_both("12345678", 0, "12345678", 1, files);
	{
		unsigned char bytes[48];
		size_t len = plain(bytes, 3, ~3u, "12345678", 8, 1);

		len += plain(bytes + len, 4, ~4u, "12345678", 8, 1);
		receive_exactly(sock[THERE], bytes, len, files + 1, 2);
	}
	close_all();
}

/* --- what waits --- */

static void a_message_without_descriptors_can_wait(void)
{
	open_usual();
	fill(sock[HERE]);
	put(&end, plain_frame(1, "a", 1, NULL, 0), 0);
	put(&end, plain_frame(2, "b", 1, NULL, 0), 0);
	CHECK(waits());
	CHECK_ERR(ancillary_channel_flush(&end.channel, DONTWAIT), EAGAIN);
	drain(sock[THERE]);
	put(&end, plain_frame(3, "c", 1, NULL, 0), 0);
	CHECK(!waits());
	receive_plain(1, "a", 1, NULL, 0);
	receive_plain(2, "b", 1, NULL, 0);
	receive_plain(3, "c", 1, NULL, 0);
	close_all();
}

static void a_full_queue_refuses(void)
{
	uint32_t queued = 0;

	open_usual();
	fill(sock[HERE]);
	for (;;) {
		struct ancillary_frame frame = plain_frame(queued, "12345678", 8, NULL, 0);
		int result = ancillary_channel_send(&end.channel, &frame, DONTWAIT);

		if (result == -EAGAIN)
			break;
		CHECK_IS(result, 0);
		queued++;
	}
	/* All the room is used. */
	CHECK_IS(queued, usual.out_size / 24);
	refuse(plain_frame(queued, "12345678", 8, NULL, 0), DONTWAIT, EAGAIN);
	refuse(plain_frame(queued, "12345678", 8, NULL, 0), DONTWAIT | MORE, EAGAIN);
	drain(sock[THERE]);
	push(&end);
	for (uint32_t i = 0; i < queued; i++)
		receive_plain(i, "12345678", 8, NULL, 0);
	check_nothing_there(sock[THERE]);
	close_all();
}

/* With its padding. */
static void the_longest_message_may_fill_the_buffer(void)
{
	for (size_t len = 0; len <= 16; len++) {
		struct room tight = { 0, 0, (16 + len + 7) / 8 * 8, 0 };
		const char *text = &"0123456789abcdef"[16 - len];

		check_about("%zu bytes of payload", len);
		open_as(ANCILLARY_FORMAT_PLAIN, 0, tight);
		put(&end, plain_frame(1, text, len, NULL, 0), MORE);
		put(&end, plain_frame(2, text, len, NULL, 0), MORE);
		push(&end);
		receive_plain(1, text, len, NULL, 0);
		receive_plain(2, text, len, NULL, 0);
		fill(sock[HERE]);
		put(&end, plain_frame(3, text, len, NULL, 0), 0);
		refuse(plain_frame(4, text, len, NULL, 0), DONTWAIT, EAGAIN);
		drain(sock[THERE]);
		push(&end);
		receive_plain(3, text, len, NULL, 0);
		if (len % 8 == 0) {
			text = "0123456789abcdefg";
			refuse(plain_frame(5, text, len + 1, NULL, 0), DONTWAIT, EMSGSIZE);
			refuse(plain_frame(5, text, len + 1, NULL, 0), MORE, EMSGSIZE);
		}
		close_all();
	}
}

/* Whatever else is to be kept of them. */
static void the_longest_message_may_have_the_most_descriptors(void)
{
	static const struct room tight = { 0, 0, 24, FILES };
	int taken[FILES];

	open_as(ANCILLARY_FORMAT_PLAIN, 0, tight);
	for (uint32_t i = 0; i < 3; i++) {
		duplicate_all(taken, files, FILES);
		put(&end, plain_frame(i, "12345678", 8, taken, FILES), TAKE | MORE);
		CHECK_IS(more_open(), FILES);
	}
	push(&end);
	CHECK_IS(more_open(), 0);
	for (uint32_t i = 0; i < 3; i++)
		receive_plain(i, "12345678", 8, files, FILES);
	fill(sock[HERE]);
	duplicate_all(taken, files, FILES);
	put(&end, plain_frame(4, "12345678", 8, taken, FILES), TAKE);
	drain(sock[THERE]);
	push(&end);
	receive_plain(4, "12345678", 8, files, FILES);
	close_all();
}

static void what_can_never_fit_is_refused(void)
{
	static const struct room small = { 0, 0, 64, 2 };
	static char much[LARGE];
	int taken[3];

	open_as(ANCILLARY_FORMAT_PLAIN, 0, small);
	duplicate_all(taken, files, 3);
	refuse(plain_frame(1, much, 49, NULL, 0), DONTWAIT, EMSGSIZE);
	refuse(plain_frame(1, much, LARGE, NULL, 0), 0, EMSGSIZE);
	refuse(plain_frame(1, much, 49, files, 2), DONTWAIT, EMSGSIZE);
	refuse(plain_frame(1, "a", 1, taken, 3), TAKE | DONTWAIT, EMSGSIZE);
	refuse(plain_frame(1, "a", 1, taken, 3), TAKE | MORE | DONTWAIT, EMSGSIZE);
	close_files(taken, 3);
	CHECK(!waits());
	check_nothing_there(sock[THERE]);
	close_all();
}

static void absurd_lengths_are_refused(void)
{
	static const size_t lens[] = { SIZE_MAX, SIZE_MAX - 7, SIZE_MAX - 15, SIZE_MAX - 16,
				       SIZE_MAX / 2, SIZE_MAX / 4, UINT32_MAX };
	static const unsigned flags[] = { DONTWAIT, DONTWAIT | MORE, DONTWAIT | TAKE };

	open_usual();
	for (size_t i = 0; i < LENGTH(lens); i++) {
		for (size_t k = 0; k < LENGTH(flags); k++) {
			struct ancillary_frame frame = plain_frame(1, "a", lens[i], NULL, 0);
			int result;

			check_about("%zu, flags %#x", lens[i], flags[k]);
			result = ancillary_channel_send(&end.channel, &frame, flags[k]);
			/* A size that cannot be, or that does not fit. */
			CHECK(result == -EMSGSIZE || result == -EINVAL);
			frame = plain_frame(1, "a", 1, files, lens[i]);
			result = ancillary_channel_send(&end.channel, &frame, flags[k]);
			CHECK(result == -EMSGSIZE || result == -EINVAL || result == -E2BIG);
		}
	}
	CHECK(!waits());
	check_nothing_there(sock[THERE]);
	close_all();
}

static void a_message_longer_than_the_sockets_buffer_is_sent(void)
{
	static const struct room large = { 0, 0, LARGE + 16, 4 };
	unsigned char *payload = malloc(LARGE), *bytes = malloc(LARGE + 16), *got = malloc(LARGE + 16);
	struct pollfd there = { .events = POLLIN };
	size_t have = 0, nfds = 0;
	int taken[2], received[MOST];

	CHECK(payload && bytes && got);
	make_payload(payload, LARGE);
	open_as(ANCILLARY_FORMAT_PLAIN, 0, large);
	duplicate_all(taken, files, 2);
	CHECK_IS(plain(bytes, 1, ~1u, payload, LARGE, 2), LARGE + 16);
	put(&end, plain_frame(1, payload, LARGE, taken, 2), TAKE);
	/* Gone with its first byte. */
	CHECK_IS(more_open(), 0);
	there.fd = sock[THERE];
	while (have < LARGE + 16) {
		size_t more;
		ssize_t n;

		CHECK_IS(poll(&there, 1, 0), 1);
		n = receive_by_hand(sock[THERE], got + have, LARGE + 16 - have, received + nfds,
				    &more);
		CHECK(n > 0);
		have += (size_t)n;
		nfds += more;
		push_some(&end);
	}
	CHECK(!waits());
	CHECK(memcmp(got, bytes, LARGE + 16) == 0);
	CHECK_IS(nfds, 2);
	take_arrived(received, 2, files, 2);
	check_nothing_there(sock[THERE]);
	close_all();
	free(payload);
	free(bytes);
	free(got);
}

/* --- blocking --- */

static void *read_slowly(void *argument)
{
	unsigned char block[10000];
	size_t *left = argument;

	while (*left > 0) {
		int received[MOST];
		size_t nfds;
		ssize_t n = receive_by_hand(sock[THERE], block,
					    *left < sizeof block ? *left : sizeof block, received,
					    &nfds);

		CHECK(n > 0);
		close_files(received, nfds);
		*left -= (size_t)n;
		sleep_ms(1);
	}
	return NULL;
}

static void a_blocking_send_returns_when_all_has_gone(void)
{
	static const struct room large = { 0, 0, LARGE + 16, 4 };
	char *much = calloc(1, LARGE);
	struct ancillary_frame frame;
	size_t left = LARGE + 16;
	pthread_t thread;

	CHECK(much);
	open_as(ANCILLARY_FORMAT_PLAIN, 0, large);
	thread = start_thread(read_slowly, &left);
	frame = plain_frame(1, much, LARGE, NULL, 0);
	CHECK_OK(ancillary_channel_send(&end.channel, &frame, 0), 0);
	/* Nobody has to flush. */
	CHECK(!waits());
	end_thread(thread);
	left = LARGE + 16;
	thread = start_thread(read_slowly, &left);
	frame = plain_frame(1, much, LARGE, files, 3);
	CHECK_OK(ancillary_channel_send(&end.channel, &frame, 0), 0);
	CHECK(!waits());
	end_thread(thread);
	left = LARGE + 16;
	thread = start_thread(read_slowly, &left);
	put(&end, plain_frame(1, much, LARGE, NULL, 0), MORE);
	CHECK_OK(ancillary_channel_flush(&end.channel, 0), 0);
	CHECK(!waits());
	end_thread(thread);
	close_all();
	free(much);
}

static void nothing_waits_that_should_not(void)
{
	struct ancillary_frame frame = plain_frame(1, "a", 1, files, 1);

	open_usual();
	set_timeout(sock[HERE], SO_SNDTIMEO, 20000);
	fill(sock[HERE]);
	end.channel.flags = ANCILLARY_DONTWAIT;
	CHECK_ERR(ancillary_channel_send(&end.channel, &frame, 0), EAGAIN);
	end.channel.flags = 0;
	CHECK(ioctl(sock[HERE], FIONBIO, &(int){ 1 }) == 0);
	CHECK_ERR(ancillary_channel_send(&end.channel, &frame, 0), EAGAIN);
	frame.nfds = 0;
	CHECK_OK(ancillary_channel_send(&end.channel, &frame, 0), 0);
	CHECK_ERR(ancillary_channel_flush(&end.channel, 0), EAGAIN);
	CHECK(ioctl(sock[HERE], FIONBIO, &(int){ 0 }) == 0);
	end.channel.flags = ANCILLARY_DONTWAIT;
	CHECK_ERR(ancillary_channel_flush(&end.channel, 0), EAGAIN);
	CHECK(waits());
	close_all();
}

/* --- errors --- */

static void a_negative_descriptor_is_told_at_once(void)
{
	int taken[3] = { -1, -1, -1 };

	open_usual();
	taken[0] = duplicate(files[0]);
	refuse(plain_frame(1, "a", 1, taken, 3), DONTWAIT, EBADF);
	refuse(plain_frame(1, "a", 1, taken, 3), TAKE, EBADF);
	refuse(plain_frame(1, "a", 1, taken, 3), TAKE | MORE, EBADF);
	fill(sock[HERE]);
	refuse(plain_frame(1, "a", 1, taken, 3), DONTWAIT, EBADF);
	refuse(plain_frame(1, "a", 1, taken, 3), TAKE | DONTWAIT, EBADF);
	drain(sock[THERE]);
	CHECK(!waits());
	put(&end, plain_frame(2, "a", 1, taken, 1), TAKE);
	receive_plain(2, "a", 1, files, 1);
	check_nothing_there(sock[THERE]);
	close_all();
}

static int cut_nothing(const void *start, size_t have, struct ancillary_layout *layout,
		       void *context)
{
	(void)start;
	(void)have;
	(void)layout;
	(void)context;
	return 0;
}

/* A slip of the caller's: nothing has gone. */
static void a_number_that_is_not_open_ends_nothing(void)
{
	int fds[2], closed;

	open_usual();
	closed = duplicate(0);
	close_files(&closed, 1);
	fds[0] = files[0];
	fds[1] = closed;
	for (int times = 0; times < 2; times++) {
		struct ancillary_frame frame = plain_frame(1, "a", 1, fds, 2);

		CHECK_ERR(ancillary_channel_send(&end.channel, &frame, DONTWAIT), EBADF);
		CHECK_IS(fds[1], closed);
	}
	CHECK(!waits());
	put(&end, plain_frame(2, "a", 1, files, 2), 0);
	receive_plain(2, "a", 1, files, 2);
	check_nothing_there(sock[THERE]);
	close_all();
}

/* The same behind what waits, which goes. */
static void nor_does_one_behind_what_waits(void)
{
	int closed;
	struct ancillary_frame frame = plain_frame(2, "a", 1, &closed, 1);

	open_usual();
	closed = duplicate(0);
	close_files(&closed, 1);
	put(&end, plain_frame(1, "queued", 6, NULL, 0), MORE);
	CHECK_ERR(ancillary_channel_send(&end.channel, &frame, DONTWAIT), EBADF);
	push(&end);
	put(&end, plain_frame(3, "a", 1, files, 1), 0);
	receive_plain(1, "queued", 6, NULL, 0);
	receive_plain(3, "a", 1, files, 1);
	check_nothing_there(sock[THERE]);
	close_all();
}

static void payload_that_is_not_readable_ends_nothing(void)
{
	long page = sysconf(_SC_PAGESIZE);
	char *bad;

	open_usual();
	bad = mmap(NULL, (size_t)page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(bad != MAP_FAILED);
	refuse(plain_frame(1, bad, 5, files, 2), DONTWAIT, EFAULT);
	refuse(plain_frame(1, bad, 5, NULL, 0), DONTWAIT, EFAULT);
	CHECK(!waits());
	put(&end, plain_frame(2, "a", 1, files, 2), 0);
	receive_plain(2, "a", 1, files, 2);
	check_nothing_there(sock[THERE]);
	CHECK(munmap(bad, (size_t)page) == 0);
	close_all();
}

static void a_message_needs_a_byte_for_as_many_as_a_call_carries(void)
{
	static const struct room room = { 0, 0, 4096, FILES };
	int taken[FILES];

	open_as(ANCILLARY_FORMAT_OWN, 0, room);
	end.channel.cut = cut_nothing;
	duplicate_all(taken, files, FILES);
	/* An empty one has no byte at all. */
	refuse(message(0, 0, NULL, 0, NULL, 0), DONTWAIT, EINVAL);
	refuse(message(0, 0, "", 0, files, 1), DONTWAIT, EINVAL);
	refuse(message(0, 0, "a", 1, taken, MOST + 1), TAKE | DONTWAIT, EINVAL);
	refuse(message(0, 0, "a", 1, taken, MOST + 1), TAKE | MORE, EINVAL);
	CHECK(!waits());
	put(&end, message(0, 0, "a", 1, taken, MOST), TAKE);
	receive_exactly(sock[THERE], "a", 1, files, MOST);
	duplicate_all(taken, files, MOST);
	put(&end, message(0, 0, "ab", 2, taken, FILES), TAKE);
	receive_exactly(sock[THERE], "ab", 2, files, FILES);
	close_all();
}

static int *so_many(size_t count)
{
	int *taken = malloc(count * sizeof *taken);

	CHECK(taken);
	need_descriptors(FILES + count);
	raise_limit();
	for (size_t i = 0; i < count; i++)
		taken[i] = duplicate(files[i % FILES]);
	return taken;
}

/* A plain message without payload has 16 bytes. */
static void a_header_has_bytes_for_many(void)
{
	enum { MANY = 16 * MOST };
	static const struct room room = { 0, 0, 4096, MANY + 1 };
	int *taken;

	open_as(ANCILLARY_FORMAT_PLAIN, 0, room);
	taken = so_many(MANY + 1);
	{
		struct ancillary_frame frame = plain_frame(1, NULL, 0, taken, MANY + 1);

		CHECK_ERR(ancillary_channel_send(&end.channel, &frame, TAKE | DONTWAIT), EINVAL);
	}
	close_files(taken + MANY, 1);
	watch_sends();
	put(&end, plain_frame(1, NULL, 0, taken, MANY), TAKE);
	CHECK(all_none(taken, MANY));
	CHECK_IS(more_open(), 0);
	CHECK_IS(sends.calls, 16);
	for (int call = 0; call < 16; call++) {
		CHECK_IS(sends.call[call].nfds, MOST);
		CHECK_IS(sends.call[call].len, 1);
	}
	free(taken);
	close_all();
}

/* 65,535 at most. */
static void more_than_a_header_tells_are_refused(void)
{
	enum { MANY = 65536 };
	static const struct room room = { 0, 0, 4096, MANY };
	int *fds = malloc(MANY * sizeof *fds);
	struct ancillary_frame frame = plain_frame(1, "a long text", 11, fds, MANY);
	static char text[1000];

	CHECK(fds);
	open_as(ANCILLARY_FORMAT_PLAIN, 0, room);
	for (size_t i = 0; i < MANY; i++)
		fds[i] = files[0];
	frame.data = text;
	frame.len = sizeof text;
	CHECK_ERR(ancillary_channel_send(&end.channel, &frame, TAKE | DONTWAIT), E2BIG);
	CHECK_ERR(ancillary_channel_send(&end.channel, &frame, TAKE | MORE), E2BIG);
	CHECK_IS(fds[MANY - 1], files[0]);
	CHECK(is_open(files[0]));
	free(fds);
	close_all();
}

static void a_passing_error_between_two_parts_keeps_the_second(void)
{
	static const struct room room = { 0, 0, 4096, FILES };
	static const int errors[] = { ENOBUFS, ENOMEM, ETOOMANYREFS, EPERM, EAGAIN };
	int taken[FILES];

	for (size_t i = 0; i < LENGTH(errors); i++) {
		check_about("%s", strerror(errors[i]));
		open_as(ANCILLARY_FORMAT_PLAIN, 0, room);
		duplicate_all(taken, files, FILES);
		put(&end, plain_frame(1, "much", 4, taken, FILES), TAKE | MORE);
		watch_sends();
		sends.after = 1;
		sends.error = errors[i];
		CHECK_ERR(ancillary_channel_flush(&end.channel, DONTWAIT), errors[i]);
		CHECK(waits());
		push(&end);
		CHECK(!waits());
		CHECK_IS(more_open(), 0);
		CHECK_IS(sends.calls, 3);
		CHECK_IS(sends.call[2].nfds, FILES - MOST);
		receive_plain(1, "much", 4, files, FILES);
		check_nothing_there(sock[THERE]);
		close_all();
	}
}

/* SO_PASSRIGHTS: -EPERM for who sends them. */
static void a_receiver_that_takes_no_descriptors_is_a_passing_error(void)
{
	int taken[2];

	need_option(OPTION_PASSRIGHTS);
	open_usual();
	duplicate_all(taken, files, 2);
	set_option(sock[THERE], OPTION_PASSRIGHTS, 0);
	refuse(plain_frame(1, "a", 1, files, 2), DONTWAIT, EPERM);
	/* Others go. */
	put(&end, plain_frame(2, "b", 1, NULL, 0), 0);
	put(&end, plain_frame(3, "c", 1, taken, 2), TAKE | MORE);
	CHECK_ERR(ancillary_channel_flush(&end.channel, DONTWAIT), EPERM);
	CHECK(waits());
	CHECK_IS(more_open(), 2);
	set_option(sock[THERE], OPTION_PASSRIGHTS, 1);
	push(&end);
	receive_plain(2, "b", 1, NULL, 0);
	receive_plain(3, "c", 1, files, 2);
	CHECK_IS(more_open(), 0);
	close_all();
}

static void a_larger_queue_takes_what_the_other_could_not(void)
{
	static const struct room small = { 0, 0, 24, 1 };
	unsigned char larger[100];
	int more_fds[4], taken[3];

	open_as(ANCILLARY_FORMAT_PLAIN, 0, small);
	duplicate_all(taken, files, 3);
	fill(sock[HERE]);
	put(&end, plain_frame(1, "a", 1, taken, 1), TAKE);
	refuse(plain_frame(2, "longer", 6, taken + 1, 2), TAKE | DONTWAIT, EMSGSIZE);
	refuse(plain_frame(2, "b", 1, NULL, 0), DONTWAIT, EAGAIN);
	memcpy(larger, end.channel.out_data, end.channel.out_size);
	memcpy(more_fds, end.channel.out_fds, end.channel.out_nfds * sizeof(int));
	memset(end.channel.out_data, 'x', end.channel.out_size);
	memset(end.channel.out_fds, -1, end.channel.out_nfds * sizeof(int));
	end.channel.out_data = larger;
	end.channel.out_size = 96;
	end.channel.out_fds = more_fds;
	end.channel.out_nfds = 4;
	put(&end, plain_frame(2, "longer", 6, taken + 1, 2), TAKE);
	drain(sock[THERE]);
	push(&end);
	CHECK_IS(more_open(), 0);
	receive_both("a", 1, "longer", 2, files);
	close_all();
}

static void a_blocking_send_with_more_waits_for_room(void)
{
	enum { MANY = 20000 };
	struct ancillary_frame frame = plain_frame(1, "12345678", 8, NULL, 0);
	size_t left = (size_t)MANY * 24;
	pthread_t thread;

	open_usual();
	set_option(sock[HERE], SO_SNDBUF, 1);
	thread = start_thread(read_slowly, &left);
	for (int i = 0; i < MANY; i++)
		CHECK_OK(ancillary_channel_send(&end.channel, &frame, MORE), 0);
	CHECK_OK(ancillary_channel_flush(&end.channel, 0), 0);
	end_thread(thread);
	CHECK_IS(left, 0);
	check_nothing_there(sock[THERE]);
	close_all();
}

static void a_peer_that_has_gone_ends_sending(void)
{
	int taken[2];

	open_usual();
	CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
	duplicate_all(taken, files, 2);
	close_peer();
	refuse(plain_frame(1, "a", 1, files, 2), DONTWAIT, EPIPE);
	refuse(plain_frame(1, "a", 1, files, 2), 0, EPIPE);
	refuse(plain_frame(1, "a", 1, NULL, 0), MORE, EPIPE);
	refuse(plain_frame(1, "a", 1, taken, 2), TAKE, EPIPE);
	CHECK_ERR(ancillary_channel_flush(&end.channel, 0), EPIPE);
	CHECK(!waits());
	close_files(taken, 2);
	close_all();
}

/* Either it was taken and the next call tells, or it is still the caller's. */
static void a_message_taken_in_vain_is_the_channels_or_the_callers(void)
{
	int taken[2];
	struct ancillary_frame frame = plain_frame(1, "a", 1, taken, 2);
	int result;

	open_usual();
	duplicate_all(taken, files, 2);
	close_peer();
	result = ancillary_channel_send(&end.channel, &frame, TAKE);
	if (result == 0) {
		CHECK(all_none(taken, 2));
	} else {
		CHECK_IS(result, -EPIPE);
		CHECK(is_open(taken[0]) && is_open(taken[1]));
		close_files(taken, 2);
	}
	CHECK_ERR(ancillary_channel_flush(&end.channel, 0), EPIPE);
	CHECK_IS(more_open(), 0);
	close_all();
}

static void an_error_closes_the_queue(void)
{
	int taken[5];

	open_usual();
	duplicate_all(taken, files, 5);
	put(&end, plain_frame(1, "a", 1, taken, 2), TAKE | MORE);
	put(&end, plain_frame(2, "b", 1, taken + 2, 3), TAKE | MORE);
	close_peer();
	CHECK_IS(more_open(), 5);
	CHECK_ERR(ancillary_channel_flush(&end.channel, 0), EPIPE);
	CHECK_IS(more_open(), 0);
	CHECK(!waits());
	CHECK_ERR(ancillary_channel_flush(&end.channel, 0), EPIPE);
	refuse(plain_frame(3, "a", 1, NULL, 0), 0, EPIPE);
	close_all();
}

/* Its own descriptors are the caller's: what failed was what stood before. */
static void a_send_that_finds_the_queue_broken_takes_nothing(void)
{
	int taken[5], result;
	struct ancillary_frame frame = plain_frame(2, "b", 1, taken + 2, 3);

	open_usual();
	duplicate_all(taken, files, 5);
	put(&end, plain_frame(1, "a", 1, taken, 2), TAKE | MORE);
	close_peer();
	result = ancillary_channel_send(&end.channel, &frame, TAKE);
	if (result == 0) {
		CHECK(all_none(taken + 2, 3));
	} else {
		CHECK_IS(result, -EPIPE);
		CHECK_IS(more_open(), 3);
		close_files(taken + 2, 3);
	}
	CHECK_ERR(ancillary_channel_flush(&end.channel, 0), EPIPE);
	CHECK_IS(more_open(), 0);
	close_all();
}

static void what_the_peer_had_sent_is_still_read(void)
{
	open_usual();
	send_plain(sock[THERE], 1, ~1u, "last words", 10, files, 2);
	close_peer();
	refuse(plain_frame(1, "a", 1, NULL, 0), 0, EPIPE);
	CHECK_IS(ancillary_channel_events(&end.channel), POLLIN);
	expect(&end, 1, ~1u, "last words", 10, files, 2);
	expect_none(&end, 0);
	CHECK_IS(ancillary_channel_events(&end.channel), 0);
	refuse(plain_frame(1, "a", 1, NULL, 0), 0, EPIPE);
	close_all();
}

static void what_a_peer_sent_that_left_much_unread_is_read(void)
{
	struct ancillary_frame frame = plain_frame(9, "a", 1, NULL, 0);
	int result;

	open_usual();
	send_plain(sock[THERE], 1, ~1u, "last words", 10, files, 2);
	put(&end, plain_frame(1, "unread", 6, NULL, 0), 0);
	close_peer();
	/* The reset, or what follows it. */
	result = ancillary_channel_send(&end.channel, &frame, 0);
	CHECK(result == -ECONNRESET || result == -EPIPE);
	refuse(frame, 0, -result);
	expect(&end, 1, ~1u, "last words", 10, files, 2);
	result = ancillary_channel_recv(&end.channel, &frame, DONTWAIT);
	CHECK(result == 0 || result == -ECONNRESET);
	expect_none(&end, result);
	CHECK_IS(ancillary_channel_events(&end.channel), 0);
	close_all();
}

static void an_end_of_receiving_leaves_sending(void)
{
	open_usual();
	CHECK(shutdown(sock[THERE], SHUT_WR) == 0);
	expect_none(&end, 0);
	put(&end, plain_frame(1, "a", 1, files, 2), 0);
	put(&end, plain_frame(2, "b", 1, NULL, 0), MORE);
	CHECK_IS(ancillary_channel_events(&end.channel), POLLOUT);
	push(&end);
	receive_plain(1, "a", 1, files, 2);
	receive_plain(2, "b", 1, NULL, 0);
	close_all();
}

/* For a message of each sort, once. */
static void check_passing_error(int error)
{
	static const unsigned flags[] = { 0, TAKE, TAKE | MORE };

	for (size_t i = 0; i < LENGTH(flags); i++) {
		int taken[2], result;
		struct ancillary_frame frame = plain_frame(2, "second", 6, taken, 2);

		check_about("%s, flags %#x", strerror(error), flags[i]);
		open_usual();
		duplicate_all(taken, files, 2);
		put(&end, plain_frame(1, "first", 5, NULL, 0), MORE);
		watch_sends();
		sends.error = error;
		result = ancillary_channel_send(&end.channel, &frame, flags[i] | DONTWAIT);
		if (result == 0)
			result = ancillary_channel_flush(&end.channel, DONTWAIT);
		if (result != 0) {
			CHECK_IS(result, -error);
			CHECK(waits());
			/* Tried again. */
			if (!all_none(taken, 2)) {
				check_arrived(taken, files, 2);
				put(&end, frame, flags[i]);
			}
			push(&end);
		}
		CHECK(!waits());
		if (flags[i] & TAKE)
			CHECK(all_none(taken, 2));
		else
			close_files(taken, 2);
		CHECK_IS(more_open(), 0);
		receive_both("first", 0, "second", 2, files);
		check_nothing_there(sock[THERE]);
		close_all();
	}
}

static void errors_that_pass_keep_the_queue(void)
{
	check_passing_error(ETOOMANYREFS);
	check_passing_error(ENOMEM);
	check_passing_error(ENOBUFS);
	check_passing_error(EPERM);
}

/* Of a message that has been taken, and only waits: the next call tells, takes
 * nothing, and the one after it goes on. */
static void what_goes_wrong_behind_it_is_told_by_the_next(void)
{
	static const unsigned flags[] = { 0, MORE, TAKE, TAKE | MORE };

	for (size_t i = 0; i < LENGTH(flags); i++) {
		struct ancillary_frame third = plain_frame(3, "c", 1, NULL, 0);

		check_about("flags %#x", flags[i]);
		open_usual();
		put(&end, plain_frame(1, "a", 1, NULL, 0), MORE);
		watch_sends();
		sends.error = EPERM;
		put(&end, plain_frame(2, "b", 1, NULL, 0), DONTWAIT);
		CHECK(waits());
		refuse(third, flags[i] | DONTWAIT, EPERM);
		put(&end, third, flags[i]);
		push(&end);
		receive_plain(1, "a", 1, NULL, 0);
		receive_plain(2, "b", 1, NULL, 0);
		receive_plain(3, "c", 1, NULL, 0);
		check_nothing_there(sock[THERE]);
		close_all();
	}
}

/* One of io_uring(7): the kernel sends none, and says so of this message. */
static void a_descriptor_that_cannot_be_sent_ends_nothing(void)
{
	static const int errors[] = { EINVAL, EMSGSIZE };

	for (size_t i = 0; i < LENGTH(errors); i++) {
		open_usual();
		watch_sends();
		sends.error = errors[i];
		refuse(plain_frame(1, "a", 1, files, 2), DONTWAIT, errors[i]);
		put(&end, plain_frame(2, "b", 1, files, 2), 0);
		receive_plain(2, "b", 1, files, 2);
		check_nothing_there(sock[THERE]);
		close_all();
	}
}

static void a_full_socket_is_tried_once(void)
{
	open_usual();
	watch_sends();
	sends.error = EAGAIN;
	put(&end, plain_frame(1, "a", 1, NULL, 0), DONTWAIT);
	CHECK_IS(sends.calls, 1);
	CHECK(waits());
	push(&end);
	receive_plain(1, "a", 1, NULL, 0);
	close_all();
}

static void a_signal_interrupts_no_send(void)
{
	int taken[2];

	open_usual();
	duplicate_all(taken, files, 2);
	watch_sends();
	sends.error = EINTR;
	put(&end, plain_frame(1, "a", 1, taken, 2), TAKE);
	push(&end);
	CHECK_IS(more_open(), 0);
	receive_plain(1, "a", 1, files, 2);
	check_nothing_there(sock[THERE]);
	close_all();
}

CHECK_MAIN(CASE(a_message_goes_at_once), CASE(a_message_may_be_empty),
	   CASE(a_blocking_channel_sends_as_well), CASE(flags_of_sendmsg_may_be_given),
	   CASE(a_flush_of_nothing_is_no_error), CASE(borrowed_descriptors_stay_the_callers),
	   CASE(borrowed_descriptors_go_at_once_or_not_at_all),
	   CASE(what_was_queued_goes_before_borrowed_ones),
	   CASE(borrowed_ones_go_in_a_call_of_their_own),
	   CASE(more_changes_nothing_for_borrowed_ones),
	   CASE(borrowed_ones_wait_for_what_was_queued),
	   CASE(what_is_queued_may_go_where_borrowed_ones_cannot),
	   CASE(the_rest_of_a_borrowed_message_waits),
	   CASE(the_rest_of_a_borrowed_message_goes_alone),
	   CASE(as_many_as_a_message_carries_may_be_borrowed), CASE(out_fds_are_not_needed_to_lend),
	   CASE(taken_descriptors_are_closed_when_they_have_gone), CASE(taken_descriptors_can_wait),
	   CASE(taken_descriptors_wait_for_more),
	   CASE(taken_descriptors_are_closed_after_a_short_send), CASE(each_message_closes_its_own),
	   CASE(a_refused_send_takes_no_descriptors), CASE(a_drop_closes_what_was_taken),
	   CASE(take_without_descriptors_is_any_message),
	   CASE(a_message_may_take_more_than_one_call_carries),
	   CASE(one_with_more_than_a_call_carries_goes_alone), CASE(what_is_left_of_that_can_wait),
	   CASE(messages_wait_for_more), CASE(what_does_not_fit_lets_the_rest_go_first),
	   CASE(the_descriptors_of_many_go_in_one_call), CASE(one_call_has_those_of_whole_messages),
	   CASE(messages_join_a_send_that_waits), CASE(what_a_short_send_left_goes_first_and_alone),
	   CASE(a_message_without_descriptors_can_wait), CASE(a_full_queue_refuses),
	   CASE(the_longest_message_may_fill_the_buffer),
	   CASE(the_longest_message_may_have_the_most_descriptors),
	   CASE(what_can_never_fit_is_refused), CASE(absurd_lengths_are_refused),
	   CASE(a_message_longer_than_the_sockets_buffer_is_sent),
	   CASE(a_blocking_send_returns_when_all_has_gone), CASE(nothing_waits_that_should_not),
	   CASE(a_negative_descriptor_is_told_at_once),
	   CASE(what_goes_wrong_behind_it_is_told_by_the_next),
	   CASE(a_descriptor_that_cannot_be_sent_ends_nothing), CASE(a_full_socket_is_tried_once),
	   CASE(a_number_that_is_not_open_ends_nothing), CASE(nor_does_one_behind_what_waits),
	   CASE(payload_that_is_not_readable_ends_nothing),
	   CASE(a_message_needs_a_byte_for_as_many_as_a_call_carries),
	   CASE(a_header_has_bytes_for_many), CASE(more_than_a_header_tells_are_refused),
	   CASE(a_passing_error_between_two_parts_keeps_the_second),
	   CASE(a_receiver_that_takes_no_descriptors_is_a_passing_error),
	   CASE(a_larger_queue_takes_what_the_other_could_not),
	   CASE(a_blocking_send_with_more_waits_for_room), CASE(a_peer_that_has_gone_ends_sending),
	   CASE(a_message_taken_in_vain_is_the_channels_or_the_callers),
	   CASE(an_error_closes_the_queue), CASE(a_send_that_finds_the_queue_broken_takes_nothing),
	   CASE(what_the_peer_had_sent_is_still_read),
	   CASE(what_a_peer_sent_that_left_much_unread_is_read),
	   CASE(an_end_of_receiving_leaves_sending), CASE(errors_that_pass_keep_the_queue),
	   CASE(a_signal_interrupts_no_send))
