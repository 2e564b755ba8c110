/* Receiving on a channel: whole messages out of whatever pieces come, and what is
 * no message.  The peer writes by hand. */

#include "check.h"
#include "channel_kit.h"
#include "channel_sends.h"
#include "kit.h"
#include "shim.h"

#include <ancillary.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 20 };

/* One end is the peer's, the other the channel's. */
static int sock[2];
static struct end end;
static int files[FILES];
static size_t open_before;

static void open_with(unsigned flags, struct room room)
{
	open_pair(SOCK_STREAM, sock);
	open_files(files, FILES);
	open_end(&end, sock[THERE], ANCILLARY_FORMAT_PLAIN, flags, room);
	open_before = open_descriptors();
}

static void open_usual(void)
{
	open_with(0, usual);
}

static void close_all(void)
{
	close_end_of(&end);
	close_pair(sock);
	close_files(files, FILES);
}

static void close_peer(void)
{
	close_end(sock, HERE);
	open_before--;
}

/* How many descriptors the channel holds. */
static size_t held(void)
{
	return open_descriptors() - open_before;
}

/* A message of one byte that says it has so many descriptors, and comes with others. */
static void send_claim(uint32_t number, size_t claim, const int *its_files, size_t nfds)
{
	unsigned char bytes[24];
	size_t len = plain(bytes, number, ~number, "a", 1, claim);

	CHECK_IS(send_by_hand(sock[HERE], bytes, len, its_files, nfds), (ssize_t)len);
}

static void expect_claim(uint32_t number, const int *its_files, size_t nfds)
{
	expect(&end, number, ~number, "a", 1, its_files, nfds);
}

static void expect_plain(uint32_t number, const char *text)
{
	expect(&end, number, ~number, text, strlen(text), NULL, 0);
}

static void send_text(uint32_t number, const char *text)
{
	send_plain(sock[HERE], number, ~number, text, strlen(text), NULL, 0);
}

/* Receives until nothing whole is there, and returns how many messages came. */
static int receive_some(void)
{
	int count = 0, result;

	for (;;) {
		struct ancillary_frame frame = unset();

		result = ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT);
		if (result != 1)
			break;
		count++;
	}
	CHECK_IS(result, -EAGAIN);
	return count;
}

/* --- whole messages --- */

static void a_message_arrives_as_it_was_sent(void)
{
	open_usual();
	send_plain(sock[HERE], 0x01020304, 0xfffefdfc, "payload", 7, files, 3);
	expect(&end, 0x01020304, 0xfffefdfc, "payload", 7, files, 3);
	expect_none(&end, -EAGAIN);
	close_all();
}

static void a_message_may_be_empty(void)
{
	open_usual();
	send_text(1, "");
	expect_plain(1, "");
	send_plain(sock[HERE], 2, 3, NULL, 0, files, 2);
	expect(&end, 2, 3, NULL, 0, files, 2);
	close_all();
}

static void all_numbers_arrive(void)
{
	open_usual();
	send_plain(sock[HERE], 0, 0, "a", 1, NULL, 0);
	send_plain(sock[HERE], UINT32_MAX, UINT32_MAX, "b", 1, NULL, 0);
	expect(&end, 0, 0, "a", 1, NULL, 0);
	expect(&end, UINT32_MAX, UINT32_MAX, "b", 1, NULL, 0);
	close_all();
}

static void many_messages_take_one_system_call(void)
{
	unsigned char bytes[24 * 100];
	int receives;

	open_usual();
	for (uint32_t i = 0; i < 100; i++)
		plain(bytes + (size_t)24 * i, i, ~i, "ab", 2, 0);
	send_bytes(sock[HERE], bytes, sizeof bytes);
	watch_sends();
	for (uint32_t i = 0; i < 100; i++) {
		receives = sends.receives;
		expect_plain(i, "ab");
		/* None is made while a whole message is there. */
		CHECK_IS(sends.receives - receives, i == 0);
	}
	CHECK_IS(sends.receives, 1);
	expect_none(&end, -EAGAIN);
	close_all();
}

static void a_message_may_come_byte_by_byte(void)
{
	unsigned char bytes[64];
	size_t len = plain(bytes, 7, ~7u, "without padding!", 16, 0);

	open_usual();
	for (size_t i = 0; i < len; i++) {
		CHECK_IS(receive_some(), 0);
		send_bytes(sock[HERE], bytes + i, 1);
	}
	expect_plain(7, "without padding!");
	close_all();
}

static void messages_may_be_cut_anywhere(void)
{
	static const char *texts[] = { "", "first", "12345678", "the last of them" };
	unsigned char bytes[256];
	size_t len = 0;

	for (uint32_t i = 0; i < LENGTH(texts); i++)
		len += plain(bytes + len, i, ~i, texts[i], strlen(texts[i]), 0);
	for (size_t cut = 1; cut < len; cut++) {
		uint32_t i = 0;

		check_about("after %zu bytes", cut);
		open_usual();
		send_bytes(sock[HERE], bytes, cut);
		while (i < LENGTH(texts)) {
			struct ancillary_frame frame = unset();
			int result = ancillary_channel_recv(&end.channel, &frame,
							    ANCILLARY_DONTWAIT);

			if (result == -EAGAIN) {
				CHECK(cut < len);
				send_bytes(sock[HERE], bytes + cut, len - cut);
				continue;
			}
			CHECK_IS(result, 1);
			CHECK_IS(frame.type, i);
			CHECK_IS(frame.id, ~i);
			CHECK_IS(frame.len, strlen(texts[i]));
			CHECK(memcmp(frame.data, texts[i], frame.len) == 0);
			i++;
		}
		expect_none(&end, -EAGAIN);
		close_all();
	}
}

/* Up to 48 bytes, different ones each time. */
static const char *text_of(uint32_t number)
{
	static char text[49];
	size_t len = number % sizeof text;

	memset(text, 'a' + (int)(number % 26), len);
	text[len] = 0;
	return text;
}

static void a_full_buffer_is_used_again_and_again(void)
{
	static const struct room tight = { 64, 2, 0, 0 };

	open_with(0, tight);
	send_text(0, text_of(0));
	for (uint32_t i = 1; i < 300; i++) {
		/* One behind, so that there is mostly a part of another in the buffer. */
		send_text(i, text_of(i));
		expect_plain(i - 1, text_of(i - 1));
	}
	expect_plain(299, text_of(299));
	expect_none(&end, -EAGAIN);
	close_all();
}

/* Padding needs no room. */
static void the_longest_message_may_fill_the_buffer(void)
{
	for (size_t len = 0; len <= 16; len++) {
		struct room tight = { 16 + len, 0, 0, 0 };
		const char *text = &"0123456789abcdef"[16 - len];

		check_about("%zu bytes of payload", len);
		open_with(0, tight);
		send_text(1, text);
		send_text(2, "");
		send_text(3, text);
		expect_plain(1, text);
		expect_plain(2, "");
		expect_plain(3, text);
		expect_none(&end, -EAGAIN);
		close_all();
	}
}

static void data_is_aligned_behind_any_message(void)
{
	unsigned char bytes[40 * 9];
	size_t len = 0;

	open_usual();
	CHECK_IS((uintptr_t)end.channel.in_data % 8, 0);
	for (uint32_t i = 1; i <= 9; i++)
		len += plain(bytes + len, i, 0, "123456789", i, 0);
	send_bytes(sock[HERE], bytes, len);
	for (uint32_t i = 1; i <= 9; i++)
		CHECK_IS((uintptr_t)next(&end).data % 8, 0);
	close_all();
}

/* --- waiting --- */

static void *send_in_three(void *argument)
{
	unsigned char bytes[64];
	size_t len = plain(bytes, 1, ~1u, "in three parts", 14, 1);
	pid_t *receiver = argument;

	wait_until_asleep(*receiver);
	CHECK_IS(send_by_hand(sock[HERE], bytes, 5, files, 1), 5);
	wait_until_asleep(*receiver);
	send_bytes(sock[HERE], bytes + 5, 20);
	wait_until_asleep(*receiver);
	send_bytes(sock[HERE], bytes + 25, len - 25);
	return NULL;
}

static void a_blocking_receive_waits_for_all_of_it(void)
{
	struct ancillary_frame frame = unset();
	pid_t self = thread_number();
	pthread_t thread;

	open_usual();
	thread = start_thread(send_in_three, &self);
	CHECK_OK(ancillary_channel_recv(&end.channel, &frame, 0), 1);
	end_thread(thread);
	CHECK_IS(frame.len, 14);
	CHECK(memcmp(frame.data, "in three parts", 14) == 0);
	CHECK_IS(frame.nfds, 1);
	check_arrived(frame.fds, files, 1);
	close_all();
}

static void it_waits_if_nobody_says_otherwise(void)
{
	struct ancillary_frame frame = unset();

	open_usual();
	set_timeout(sock[THERE], SO_RCVTIMEO, 20000);
	/* For the flag of the call, of the channel, or of the socket. */
	CHECK_ERR(ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT), EAGAIN);
	CHECK_ERR(ancillary_channel_recv(&end.channel, &frame,
					 ANCILLARY_DONTWAIT | ANCILLARY_INTR),
		  EAGAIN);
	end.channel.flags = ANCILLARY_DONTWAIT;
	CHECK_ERR(ancillary_channel_recv(&end.channel, &frame, 0), EAGAIN);
	end.channel.flags = 0;
	CHECK(ioctl(sock[THERE], FIONBIO, &(int){ 1 }) == 0);
	CHECK_ERR(ancillary_channel_recv(&end.channel, &frame, 0), EAGAIN);
	close_all();
}

static void flags_of_recvmsg_may_be_given(void)
{
	struct ancillary_frame frame = unset();

	open_usual();
	send_text(1, "text");
	CHECK_OK(ancillary_channel_recv(&end.channel, &frame,
					MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CMSG_CLOEXEC),
		 1);
	CHECK_IS(frame.len, 4);
	close_all();
}

/* --- the end --- */

static void the_end_between_messages_is_0(void)
{
	open_usual();
	send_text(1, "last");
	close_peer();
	expect_plain(1, "last");
	CHECK(ancillary_channel_events(&end.channel) & POLLIN);
	expect_none(&end, 0);
	CHECK_IS(ancillary_channel_events(&end.channel), 0);
	expect_none(&end, 0);
	close_all();
}

static void an_end_may_come_without_a_message(void)
{
	open_usual();
	close_peer();
	expect_none(&end, 0);
	close_all();
}

static void a_shutdown_is_an_end(void)
{
	open_usual();
	send_text(1, "last");
	CHECK(shutdown(sock[HERE], SHUT_WR) == 0);
	expect_plain(1, "last");
	expect_none(&end, 0);
	/* Sending goes on. */
	put(&end, message(5, 6, NULL, 0, NULL, 0), 0);
	close_all();
}

static void an_end_in_a_message_is_an_error(void)
{
	unsigned char bytes[64];

	plain(bytes, 9, 9, "payload!", 8, 1);
	for (size_t cut = 1; cut < 24; cut++) {
		check_about("after %zu bytes", cut);
		open_usual();
		send_text(1, "before");
		CHECK_IS(send_by_hand(sock[HERE], bytes, cut, files, 1), (ssize_t)cut);
		close_peer();
		expect_plain(1, "before");
		expect_error(&end, EPROTO);
		CHECK_IS(held(), 0);
		close_all();
	}
}

static void an_end_in_the_padding_leaves_the_message(void)
{
	unsigned char bytes[64];

	plain(bytes, 9, ~9u, "payload", 7, 1);
	for (size_t cut = 16 + 7; cut <= 24; cut++) {
		open_usual();
		CHECK_IS(send_by_hand(sock[HERE], bytes, cut, files, 1), (ssize_t)cut);
		close_peer();
		expect(&end, 9, ~9u, "payload", 7, files, 1);
		expect_none(&end, 0);
		close_all();
	}
}

static void the_end_may_come_as_a_reset(void)
{
	struct ancillary_frame frame = unset();
	int result;

	open_usual();
	send_text(1, "last words");
	put(&end, message(2, 2, "unread", 6, NULL, 0), 0);
	/* With bytes unread, which the other side learns. */
	close_peer();
	expect_plain(1, "last words");
	result = ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT);
	CHECK(result == 0 || result == -ECONNRESET);
	expect_none(&end, result);
	CHECK_IS(ancillary_channel_events(&end.channel), 0);
	close_all();
}

/* --- descriptors --- */

static void descriptors_not_taken_are_closed_by_the_next_receive(void)
{
	open_usual();
	send_plain(sock[HERE], 1, 1, "a", 1, files, 5);
	send_plain(sock[HERE], 2, 2, "b", 1, files + 5, 1);
	expect(&end, 1, 1, "a", 1, files, 5);
	CHECK_IS(held(), 5);
	expect(&end, 2, 2, "b", 1, files + 5, 1);
	CHECK_IS(held(), 1);
	expect_none(&end, -EAGAIN);
	CHECK_IS(held(), 0);
	close_all();
}

static void descriptors_not_taken_are_closed_by_a_drop(void)
{
	open_usual();
	send_plain(sock[HERE], 1, 1, "a", 1, files, 5);
	expect(&end, 1, 1, "a", 1, files, 5);
	ancillary_channel_drop(&end.channel);
	CHECK_IS(held(), 0);
	close_all();
}

static void descriptors_taken_stay_open(void)
{
	struct ancillary_frame frame;
	int first, last;

	open_usual();
	send_plain(sock[HERE], 1, 1, "a", 1, files, 5);
	frame = next(&end);
	CHECK_IS(frame.nfds, 5);
	first = frame.fds[0];
	last = frame.fds[4];
	frame.fds[0] = frame.fds[4] = -1;
	expect_none(&end, -EAGAIN);
	CHECK_IS(held(), 2);
	check_arrived(&first, files, 1);
	check_arrived(&last, files + 4, 1);
	close_files((int[]){ first, last }, 2);
	close_all();
}

static void a_number_taken_and_used_again_is_left_alone(void)
{
	struct ancillary_frame frame;
	int fd;

	open_usual();
	send_plain(sock[HERE], 1, 1, "a", 1, files, 1);
	frame = next(&end);
	fd = frame.fds[0];
	frame.fds[0] = -1;
	close_files(&fd, 1);
	CHECK_IS(duplicate(files[3]), fd);
	expect_none(&end, -EAGAIN);
	ancillary_channel_drop(&end.channel);
	check_arrived(&fd, files + 3, 1);
	close_files(&fd, 1);
	close_all();
}

static void those_of_a_batch_are_shared_out_in_order(void)
{
	unsigned char bytes[24 * 5];
	size_t len = 0;

	open_usual();
	len += plain(bytes + len, 1, 1, "a", 1, 2);
	len += plain(bytes + len, 2, 2, "b", 1, 0);
	len += plain(bytes + len, 3, 3, "c", 1, 1);
	len += plain(bytes + len, 4, 4, NULL, 0, 3);
	CHECK_IS(send_by_hand(sock[HERE], bytes, len, files, 6), (ssize_t)len);
	expect(&end, 1, 1, "a", 1, files, 2);
	expect(&end, 2, 2, "b", 1, NULL, 0);
	CHECK_IS(held(), 4);
	expect(&end, 3, 3, "c", 1, files + 2, 1);
	expect(&end, 4, 4, NULL, 0, files + 3, 3);
	expect_none(&end, -EAGAIN);
	CHECK_IS(held(), 0);
	close_all();
}

static void they_may_come_long_before_their_message(void)
{
	open_usual();
	send_claim(1, 0, files, 3);
	send_claim(2, 0, files + 3, 4);
	send_claim(3, 0, NULL, 0);
	send_claim(4, 7, NULL, 0);
	for (uint32_t i = 1; i <= 3; i++)
		expect_claim(i, NULL, 0);
	CHECK_IS(held(), 7);
	expect_claim(4, files, 7);
	expect_none(&end, -EAGAIN);
	CHECK_IS(held(), 0);
	close_all();
}

/* Whole is whole: whichever byte they came with. */
static void they_may_come_with_any_byte_of_their_message(void)
{
	unsigned char bytes[64];
	size_t len = plain(bytes, 1, 1, "payload.", 8, 2);

	for (size_t cut = 1; cut < len; cut++) {
		check_about("after %zu bytes", cut);
		open_usual();
		send_bytes(sock[HERE], bytes, cut);
		CHECK_IS(receive_some(), 0);
		CHECK_IS(send_by_hand(sock[HERE], bytes + cut, len - cut, files, 2),
			 (ssize_t)(len - cut));
		expect(&end, 1, 1, "payload.", 8, files, 2);
		close_all();
	}
}

static void they_may_come_one_with_each_byte(void)
{
	unsigned char bytes[64];
	size_t len = plain(bytes, 1, 1, NULL, 0, 16);

	open_usual();
	CHECK_IS(len, 16);
	for (size_t i = 0; i < len; i++) {
		CHECK_IS(send_by_hand(sock[HERE], bytes + i, 1, files + i, 1), 1);
		if (i % 3 == 0 && i + 1 < len)
			CHECK_IS(receive_some(), 0);
	}
	expect(&end, 1, 1, NULL, 0, files, 16);
	close_all();
}

static void a_whole_message_that_lacks_one_is_an_error(void)
{
	for (size_t came = 0; came < 3; came++) {
		check_about("%zu of 3 came", came);
		open_usual();
		send_text(1, "before");
		send_claim(2, 0, files, came);
		send_claim(3, 3, NULL, 0);
		expect_plain(1, "before");
		expect_claim(2, NULL, 0);
		expect_error(&end, EPROTO);
		CHECK_IS(held(), 0);
		/* They never come later. */
		send_claim(4, 3, files, 3);
		expect_error(&end, EPROTO);
		CHECK_IS(held(), 0);
		close_all();
	}
}

static void a_message_with_too_few_is_an_error(void)
{
	open_usual();
	send_claim(1, 3, files, 2);
	expect_error(&end, EPROTO);
	CHECK_IS(held(), 0);
	close_all();
}

static void some_left_over_at_the_end_are_an_error(void)
{
	open_usual();
	send_claim(1, 1, files, 2);
	close_peer();
	expect_claim(1, files, 1);
	CHECK_IS(held(), 2);
	expect_error(&end, EPROTO);
	CHECK_IS(held(), 0);
	close_all();
}

/* However much a peer sends that nobody asked for, the channel holds no more than
 * its room. */
static void those_not_asked_for_are_bounded(void)
{
	static const struct room rooms[] = {
		{ 4096, 0, 0, 0 }, { 4096, 1, 0, 0 }, { 4096, 3, 0, 0 }, { 4096, 16, 0, 0 },
	};

	for (size_t i = 0; i < LENGTH(rooms); i++) {
		size_t sent = 0;
		struct ancillary_frame frame;
		int result;

		check_about("room for %zu", rooms[i].in_nfds);
		open_with(0, rooms[i]);
		do {
			CHECK(sent <= rooms[i].in_nfds);
			send_claim(1, 0, files, 1);
			sent++;
			frame = unset();
			result = ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT);
			CHECK(held() <= rooms[i].in_nfds);
			if (result == 1 && sent > rooms[i].in_nfds)
				/* The message first, then what came with it. */
				result = ancillary_channel_recv(&end.channel, &frame,
								ANCILLARY_DONTWAIT);
		} while (result == 1);
		CHECK_IS(result, -EPROTO);
		CHECK_IS(sent, rooms[i].in_nfds + 1);
		CHECK_IS(held(), 0);
		expect_error(&end, EPROTO);
		close_all();
	}
}

/* With lossless, too: a channel without room can never get on. */
static void check_more_than_room(unsigned flags)
{
	static const struct room rooms[] = { { 4096, 0, 0, 0 }, { 4096, 1, 0, 0 }, { 4096, 5, 0, 0 } };

	for (size_t i = 0; i < LENGTH(rooms); i++) {
		for (size_t more = 1; more < 8; more++) {
			size_t nfds = rooms[i].in_nfds + more;

			check_about("%zu where %zu have room, flags %#x", nfds, rooms[i].in_nfds,
				    flags);
			open_with(flags, rooms[i]);
			send_text(1, "before");
			expect_plain(1, "before");
			send_plain(sock[HERE], 1, 1, "a", 1, files, nfds);
			expect_error(&end, EPROTO);
			CHECK_IS(held(), 0);
			close_all();
		}
	}
}

static void more_at_once_than_there_is_room_for_is_an_error(void)
{
	check_more_than_room(0);
	check_more_than_room(ANCILLARY_LOSSLESS);
}

/* Even if the system call that brought them brought what is wrong. */
static void messages_in_front_of_an_error_arrive(void)
{
	static const struct room two = { 4096, 2, 0, 0 };

	open_with(0, two);
	send_text(1, "first");
	send_text(2, "second");
	send_claim(3, 3, files, 3);
	expect_plain(1, "first");
	expect_plain(2, "second");
	expect_error(&end, EPROTO);
	CHECK_IS(held(), 0);
	close_all();
}

static void as_many_as_there_is_room_for_arrive(void)
{
	static const struct room rooms[] = { { 4096, 1, 0, 0 },
					     { 4096, 2, 0, 0 },
					     { 4096, 3, 0, 0 },
					     { 4096, FILES, 0, 0 } };

	for (size_t i = 0; i < LENGTH(rooms); i++) {
		check_about("%zu", rooms[i].in_nfds);
		open_with(0, rooms[i]);
		for (int times = 0; times < 3; times++) {
			send_plain(sock[HERE], 1, 1, "a", 1, files, rooms[i].in_nfds);
			expect(&end, 1, 1, "a", 1, files, rooms[i].in_nfds);
		}
		close_all();
	}
}

/* Those of the message that the caller holds do not count: it has been told of. */
static void those_of_the_message_before_leave_their_room(void)
{
	static const struct room two = { 4096, 2, 0, 0 };

	open_with(0, two);
	for (int times = 0; times < 10; times++) {
		send_plain(sock[HERE], 1, 1, "a", 1, files, 2);
		send_plain(sock[HERE], 2, 2, "b", 1, files + 2, 2);
		expect(&end, 1, 1, "a", 1, files, 2);
		CHECK_IS(held(), 2);
		expect(&end, 2, 2, "b", 1, files + 2, 2);
		CHECK_IS(held(), 2);
	}
	close_all();
}

/* Descriptors of a whole send are here while the end of its first message is missing, and
 * then those of the next come: twice what one send carries has to fit. */
static void check_two_sends(size_t in_nfds)
{
	enum { GATHERED = 4, LEN = 24, PART = 10, ALL = GATHERED * LEN };
	const struct room room = { 4096, in_nfds, 0, 0 };
	unsigned char bytes[2 * ALL];

	check_about("room for %zu", in_nfds);
	for (uint32_t i = 0; i < 2 * GATHERED; i++)
		CHECK_IS(plain(bytes + i * LEN, i, ~i, "a", 1, 1), LEN);
	open_with(0, room);
	CHECK_IS(send_by_hand(sock[HERE], bytes, PART, files, GATHERED), PART);
	expect_none(&end, -EAGAIN);
	CHECK_IS(held(), GATHERED);
	send_bytes(sock[HERE], bytes + PART, ALL - PART);
	CHECK_IS(send_by_hand(sock[HERE], bytes + ALL, ALL, files + GATHERED, GATHERED), ALL);
	for (uint32_t i = 0; i < in_nfds; i++)
		expect_claim(i, files + i, 1);
	expect_none(&end, in_nfds < 2 * GATHERED ? -EPROTO : -EAGAIN);
	close_all();
}

static void those_of_two_sends_fit_twice_the_room_of_one(void)
{
	check_two_sends(8);
	check_two_sends(7);
}

static void check_with_other_control_data(unsigned flags)
{
	static const struct room two = { 4096, 2, 0, 0 };
	int on = 1;

	check_about("flags %#x", flags);
	open_with(flags, two);
	set_option(sock[THERE], SO_PASSCRED, 1);
	set_option(sock[THERE], SO_TIMESTAMP, 1);
	if (has_option(OPTION_PASSPIDFD))
		CHECK(setsockopt(sock[THERE], SOL_SOCKET, OPTION_PASSPIDFD, &on, sizeof on) == 0);
	for (int times = 0; times < 3; times++) {
		send_claim(1, 2, files, 2);
		expect_claim(1, files, 2);
		/* A pidfd is nobody's here. */
		CHECK_IS(held(), 2);
		send_text(2, "plain");
		expect_plain(2, "plain");
		CHECK_IS(held(), 0);
	}
	close_peer();
	/* Whose credentials are nobody's. */
	expect_none(&end, 0);
	close_all();
}

static void other_control_data_takes_no_room_of_theirs(void)
{
	check_with_other_control_data(0);
	check_with_other_control_data(ANCILLARY_LOSSLESS);
}

/* --- no messages --- */

static void check_lie(uint32_t len, uint16_t nfds, uint16_t zero)
{
	unsigned char bytes[64];

	check_about("length %lu, %d descriptors, zero %d", (unsigned long)len, nfds, zero);
	open_usual();
	send_plain(sock[HERE], 1, ~1u, "before", 6, files, 1);
	memset(bytes, 0, sizeof bytes);
	plain_header(bytes, len, nfds, zero, 1, 1);
	CHECK_IS(send_by_hand(sock[HERE], bytes, sizeof bytes, files, 1), sizeof bytes);
	expect(&end, 1, ~1u, "before", 6, files, 1);
	expect_error(&end, EBADMSG);
	CHECK_IS(held(), 0);
	send_text(3, "a good one");
	expect_error(&end, EBADMSG);
	/* Sending is not touched by it. */
	put(&end, message(1, 1, "sent", 4, NULL, 0), 0);
	close_all();
}

static void a_length_that_lies_is_an_error(void)
{
	check_lie(0, 1, 0);
	check_lie(1, 1, 0);
	check_lie(15, 1, 0);
	check_lie(24, 1, 1);
	check_lie(24, 1, 0x8000);
}

static void check_too_long(uint32_t len)
{
	unsigned char bytes[64];
	struct ancillary_frame frame;

	check_about("length %lu", (unsigned long)len);
	open_usual();
	send_text(1, "before");
	memset(bytes, 0, sizeof bytes);
	plain_header(bytes, len, 0, 0, 1, 1);
	send_bytes(sock[HERE], bytes, sizeof bytes);
	expect_plain(1, "before");
	for (int times = 0; times < 3; times++) {
		frame = unset();
		CHECK_ERR(ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT),
			  EMSGSIZE);
		CHECK_IS(frame.len, len);
	}
	close_all();
}

static void a_message_longer_than_the_buffer_says_how_long(void)
{
	check_too_long(4097);
	check_too_long(5000);
	check_too_long(100000);
	check_too_long(INT32_MAX);
	check_too_long((uint32_t)INT32_MAX + 1);
	check_too_long(UINT32_MAX);
}

/* What frame.len says is enough for in_size. */
static void a_larger_buffer_takes_it(void)
{
	static const size_t lens[] = { 100 - 16 + 1, 100, 150, 1000, 20000, 100000 };
	static unsigned char payload[100000];
	static const struct room small = { 100, 16, 0, 0 };

	make_payload(payload, sizeof payload);
	for (size_t i = 0; i < LENGTH(lens); i++) {
		struct ancillary_frame frame = unset();

		check_about("%zu bytes", lens[i]);
		open_with(0, small);
		send_plain(sock[HERE], 1, 1, "in front", 8, files, 1);
		send_plain(sock[HERE], 2, 2, payload, lens[i], files + 1, 2);
		send_text(3, "behind");
		expect(&end, 1, 1, "in front", 8, files, 1);
		CHECK_ERR(ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT),
			  EMSGSIZE);
		CHECK(frame.len > 100);
		CHECK(ancillary_channel_events(&end.channel) & POLLIN);
		enlarge(&end, frame.len);
		expect(&end, 2, 2, payload, lens[i], files + 1, 2);
		expect_plain(3, "behind");
		expect_none(&end, -EAGAIN);
		CHECK_IS(held(), 0);
		close_all();
	}
}

static void one_that_is_still_too_small_is_told_again(void)
{
	static const struct room small = { 40, 16, 0, 0 };
	struct ancillary_frame frame = unset();
	unsigned char payload[300];

	open_with(0, small);
	make_payload(payload, sizeof payload);
	send_plain(sock[HERE], 2, 2, payload, sizeof payload, files, 2);
	CHECK_ERR(ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT), EMSGSIZE);
	enlarge(&end, 100);
	CHECK_ERR(ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT), EMSGSIZE);
	enlarge(&end, 1000);
	expect(&end, 2, 2, payload, sizeof payload, files, 2);
	close_all();
}

/* --- a full table --- */

static void without_lossless_a_full_table_ends_receiving(void)
{
	rlim_t before;

	open_usual();
	send_text(1, "before");
	send_plain(sock[HERE], 2, 2, "a", 1, files, 3);
	send_text(3, "behind");
	before = leave_slots(1);
	expect_plain(1, "before");
	expect_none(&end, -EMFILE);
	set_limit(before);
	expect_error(&end, EMFILE);
	CHECK_IS(held(), 0);
	close_all();
}

static void with_lossless_it_goes_on_where_it_stopped(void)
{
	rlim_t before;

	for (size_t slots = 0; slots < 3; slots++) {
		check_about("%zu slots", slots);
		open_with(ANCILLARY_LOSSLESS, usual);
		send_text(1, "before");
		send_plain(sock[HERE], 2, 2, "a", 1, files, 3);
		send_text(3, "behind");
		before = leave_slots(slots);
		expect_plain(1, "before");
		expect_none(&end, -EMFILE);
		set_limit(before);
		CHECK(ancillary_channel_events(&end.channel) & POLLIN);
		CHECK_IS(held(), 0);
		expect(&end, 2, 2, "a", 1, files, 3);
		expect_plain(3, "behind");
		expect_none(&end, -EAGAIN);
		close_all();
	}
}

static void a_message_refused_in_its_middle_goes_on(void)
{
	unsigned char bytes[32];
	size_t len = plain(bytes, 2, 2, "12345678", 8, 3);
	rlim_t before;

	open_with(ANCILLARY_LOSSLESS, usual);
	CHECK_IS(send_by_hand(sock[HERE], bytes, 7, files, 1), 7);
	CHECK_IS(receive_some(), 0);
	CHECK_IS(send_by_hand(sock[HERE], bytes + 7, len - 7, files + 1, 2), (ssize_t)len - 7);
	before = leave_slots(1);
	expect_none(&end, -EMFILE);
	set_limit(before);
	CHECK_IS(held(), 1);
	expect(&end, 2, 2, "12345678", 8, files, 3);
	close_all();
}

/* Those that nobody needs make room for those that come. */
static void what_was_not_taken_is_closed_before_more_is_received(void)
{
	for (unsigned i = 0; i < 2; i++) {
		rlim_t before;

		open_with(i ? ANCILLARY_LOSSLESS : 0, usual);
		send_claim(1, 3, files, 3);
		send_claim(2, 3, files + 3, 3);
		before = leave_slots(3);
		expect_claim(1, files, 3);
		expect_claim(2, files + 3, 3);
		set_limit(before);
		close_all();
	}
}

/* --- a policy, and a kernel without memory --- */

static void without_lossless_what_is_withheld_ends_receiving(void)
{
	open_usual();
	send_text(1, "before");
	send_claim(2, 3, files, 3);
	shim.withhold = 1;
	expect_plain(1, "before");
	expect_error(&end, EACCES);
	shim.withhold = 0;
	expect_error(&end, EACCES);
	CHECK_IS(held(), 0);
	close_all();
}

static void with_lossless_what_is_withheld_stays_queued(void)
{
	open_with(ANCILLARY_LOSSLESS, usual);
	send_text(1, "before");
	send_claim(2, 3, files, 3);
	send_text(3, "behind");
	shim.withhold = 1;
	expect_plain(1, "before");
	expect_none(&end, -EACCES);
	CHECK_IS(held(), 0);
	CHECK(ancillary_channel_events(&end.channel) & POLLIN);
	shim.withhold = 0;
	expect_claim(2, files, 3);
	expect_plain(3, "behind");
	close_all();
}

/* A slot can hold an error instead of a descriptor. */
static void a_slot_with_an_error_is_one_that_is_lost(void)
{
	for (int gap = 1; gap <= 3; gap++) {
		check_about("slot %d", gap);
		open_usual();
		send_claim(2, 3, files, 3);
		shim.gap = gap;
		shim.gap_error = EMFILE;
		expect_error(&end, EMFILE);
		shim.gap = 0;
		CHECK_IS(held(), 0);
		close_all();

		open_with(ANCILLARY_LOSSLESS, usual);
		send_claim(2, 3, files, 3);
		shim.gap = gap;
		expect_none(&end, -EMFILE);
		CHECK_IS(held(), 0);
		shim.gap = 0;
		expect_claim(2, files, 3);
		close_all();
	}
}

/* A look ahead that says nothing of descriptors is not believed. */
static void with_lossless_a_kernel_without_memory_loses_nothing(void)
{
	for (int times = 1; times <= 20; times++) {
		int result;

		check_about("%d times", times);
		open_with(ANCILLARY_LOSSLESS, usual);
		send_text(1, "before");
		send_claim(2, 3, files, 3);
		send_text(3, "behind");
		shim.forget = times;
		expect_plain(1, "before");
		do {
			struct ancillary_frame frame = unset();

			result = ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT);
			if (result == 1) {
				CHECK_IS(frame.type, 2);
				CHECK_IS(frame.nfds, 3);
				check_arrived(frame.fds, files, 3);
			} else {
				CHECK(result == -ENOBUFS || result == -ENOMEM ||
				      result == -EMFILE || result == -EACCES);
			}
		} while (result != 1 && shim.forget > 0);
		shim.forget = 0;
		if (result != 1)
			expect_claim(2, files, 3);
		expect_plain(3, "behind");
		close_all();
	}
}

/* --- anything --- */

static uint64_t random_state;

/* splitmix64 */
static size_t below(size_t limit)
{
	uint64_t mixed = random_state += 0x9e3779b97f4a7c15u;

	mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
	mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
	return (size_t)((mixed ^ mixed >> 31) % limit);
}

/* Messages, of which some lie, and bytes, with any descriptors. */
static void send_anything(void)
{
	unsigned char bytes[200], text[100];
	size_t len = 1 + below(100), nfds = below(4) ? below(4) : below(FILES);

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = text[i % sizeof text] = (unsigned char)below(256);
	if (below(10) > 0) {
		len = plain(bytes, 1, 2, text, below(sizeof text), below(8) ? nfds : below(300));
		if (below(10) == 0)
			bytes[below(16)] = (unsigned char)below(256);
		if (below(10) == 0)
			len = 1 + below(len);
	}
	if (below(30) == 0)
		(void)send(sock[HERE], "o", 1, MSG_OOB | MSG_DONTWAIT);
	CHECK(send_by_hand(sock[HERE], bytes, len, files, nfds) > 0);
}

static void receive_anything(size_t most)
{
	int error = 0, result;

	do {
		struct ancillary_frame frame = unset();

		result = ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT);
		CHECK(held() <= most);
		if (result == 1)
			CHECK(frame.len <= end.channel.in_size && frame.nfds <= most);
		/* What ended it is said again. */
		if (error)
			CHECK_IS(result, error);
		if (result < 0 && result != -EAGAIN && result != -EMSGSIZE) {
			error = result;
			CHECK_IS(held(), 0);
		}
	} while (result == 1);
}

static void whatever_comes_is_bounded(void)
{
	const char *given = getenv("ANCILLARY_TEST_SEED");
	struct timespec time;

	CHECK(clock_gettime(CLOCK_REALTIME, &time) == 0);
	random_state = given ? strtoull(given, NULL, 0) : (uint64_t)time.tv_nsec;
	for (int round = some_of(500); round > 0; round--) {
		uint64_t seed = random_state;
		struct room room = { 16 + below(200), below(FILES), 0, 0 };

		check_about("ANCILLARY_TEST_SEED=%llu", (unsigned long long)seed);
		open_with(below(2) ? ANCILLARY_LOSSLESS : 0, room);
		end.channel.format = (unsigned)below(3);
		for (size_t times = 1 + below(12); times > 0; times--) {
			send_anything();
			if (below(3) > 0)
				receive_anything(room.in_nfds);
		}
		close_peer();
		receive_anything(room.in_nfds);
		ancillary_channel_drop(&end.channel);
		CHECK_IS(held(), 0);
		close_all();
	}
}

/* --- formats of one's own --- */

/* Lines: the number in front of the first blank is how many descriptors belong to
 * it. */
static int cut_line(const void *start, size_t have, struct ancillary_layout *layout, void *context)
{
	const char *line = start, *stop = memchr(start, '\n', have);

	++*(int *)context;
	CHECK(have > 0 && have <= end.channel.in_size);
	CHECK(layout->len == 0 && layout->nfds == 0 && layout->type == 0 && layout->id == 0);
	for (size_t i = 0; i < LENGTH(layout->reserved); i++)
		CHECK_IS(layout->reserved[i], 0);
	if (!stop)
		return have > 50 ? -EMSGSIZE : 0;
	if (line[0] == '!')
		return -EBADMSG;
	if (line[0] == '?')
		return -ENOENT;
	if (line[0] == '+')
		return 2;
	layout->len = (size_t)(stop - line) + 1;
	layout->nfds = line[0] >= '0' && line[0] <= '9' ? (size_t)(line[0] - '0') : 0;
	layout->type = (unsigned char)line[0];
	layout->id = (uint32_t)layout->len;
	if (line[0] == '*')
		layout->reserved[3] = 1;
	if (line[0] == '0')
		layout->len = 0;
	return 1;
}

static int cuts;

static void open_lines(struct room room)
{
	open_with(0, room);
	end.channel.format = ANCILLARY_FORMAT_OWN;
	end.channel.cut = cut_line;
	end.channel.context = &cuts;
	cuts = 0;
}

static void expect_line(const char *line, const int *its_files)
{
	size_t nfds = line[0] >= '1' && line[0] <= '9' ? (size_t)(line[0] - '0') : 0;

	expect(&end, (unsigned char)line[0], (uint32_t)strlen(line), line, strlen(line), its_files,
	       nfds);
}

static void a_format_of_ones_own_is_cut_by_the_caller(void)
{
	open_lines(usual);
	CHECK_IS(send_by_hand(sock[HERE], "hello\n2 with two\nand ", 21, files, 2), 21);
	expect_line("hello\n", NULL);
	expect_line("2 with two\n", files);
	expect_none(&end, -EAGAIN);
	CHECK_IS(held(), 0);
	CHECK_IS(send_by_hand(sock[HERE], "more\n1\n", 7, files + 4, 1), 7);
	expect_line("and more\n", NULL);
	expect_line("1\n", files + 4);
	CHECK(cuts > 0);
	close_peer();
	expect_none(&end, 0);
	close_all();
}

static void check_bad_line(const char *line, int error)
{
	check_about("%s", line);
	open_lines(usual);
	send_bytes(sock[HERE], "good\n", 5);
	CHECK_IS(send_by_hand(sock[HERE], line, strlen(line), files, 3), (ssize_t)strlen(line));
	expect_line("good\n", NULL);
	expect_error(&end, error);
	CHECK_IS(held(), 0);
	close_all();
}

static void what_the_caller_calls_no_message_is_an_error(void)
{
	check_bad_line("!\n", EBADMSG);
	/* Anything else counts as that. */
	check_bad_line("?\n", EPROTO);
	check_bad_line("+\n", EPROTO);
	check_bad_line("*\n", EPROTO);
	/* A message has a byte at least: it would never end. */
	check_bad_line("0\n", EPROTO);
}

static void the_layout_is_zero_before_the_caller_fills_it(void)
{
	/* reserved is left alone by cut_line. */
	open_lines(usual);
	for (int i = 0; i < 20; i++) {
		send_bytes(sock[HERE], "line\n", 5);
		expect_line("line\n", NULL);
	}
	close_all();
}

static void a_line_longer_than_the_buffer_can_go_on(void)
{
	static const struct room small = { 10, 16, 0, 0 };
	struct ancillary_frame frame = unset();
	const char *line = "2 a line of thirty bytes long\n";

	open_lines(small);
	send_bytes(sock[HERE], "short\n", 6);
	CHECK_IS(send_by_hand(sock[HERE], line, 30, files, 2), 30);
	expect_line("short\n", NULL);
	CHECK_ERR(ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT), EMSGSIZE);
	/* The caller cannot tell how long it is yet. */
	CHECK(frame.len <= 30);
	enlarge(&end, 20);
	CHECK_ERR(ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT), EMSGSIZE);
	enlarge(&end, 30);
	expect_line(line, files);
	expect_none(&end, -EAGAIN);
	close_all();
}

static void a_message_can_be_too_long_for_the_caller(void)
{
	char line[60];

	open_lines(usual);
	memset(line, 'x', sizeof line);
	CHECK_IS(send_by_hand(sock[HERE], line, sizeof line, files, 2), sizeof line);
	expect_error(&end, EMSGSIZE);
	CHECK_IS(held(), 0);
	close_all();
}

static int cut_long(const void *start, size_t have, struct ancillary_layout *layout, void *context)
{
	(void)start;
	(void)context;
	layout->len = 5000;
	layout->nfds = 2;
	return have >= 3;
}

static void the_caller_can_say_how_long_one_is(void)
{
	struct ancillary_frame frame = unset();
	static char bytes[5000];

	open_lines(usual);
	end.channel.cut = cut_long;
	CHECK_IS(send_by_hand(sock[HERE], bytes, sizeof bytes, files, 2), sizeof bytes);
	CHECK_ERR(ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT), EMSGSIZE);
	CHECK_IS(frame.len, 5000);
	enlarge(&end, 5000);
	expect(&end, 0, 0, bytes, sizeof bytes, files, 2);
	close_all();
}

static int cut_nothing(const void *start, size_t have, struct ancillary_layout *layout,
		       void *context)
{
	(void)start;
	(void)context;
	layout->len = SIZE_MAX;
	layout->nfds = SIZE_MAX;
	return have < 3 ? 0 : 1;
}

static void a_layout_may_be_absurd(void)
{
	struct ancillary_frame frame = unset();
	int result;

	open_lines(usual);
	end.channel.cut = cut_nothing;
	CHECK_IS(send_by_hand(sock[HERE], "abcdef", 6, files, 1), 6);
	result = ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT);
	CHECK(result == -EMSGSIZE || result == -EPROTO);
	close_all();
}

/* --- a change of format --- */

static void the_format_may_change_between_two_messages(void)
{
	unsigned char bytes[256];
	size_t len = 0;

	open_lines(usual);
	memcpy(bytes, "HELLO\n", 6);
	len = 6;
	len += plain(bytes + len, 1, ~1u, "plain", 5, 1);
	len += plain(bytes + len, 2, ~2u, "as well", 7, 0);
	memcpy(bytes + len, "1 line\n", 7);
	len += 7;
	/* All in one, and received by one system call. */
	CHECK_IS(send_by_hand(sock[HERE], bytes, len, files, 2), (ssize_t)len);
	expect_line("HELLO\n", NULL);
	end.channel.format = ANCILLARY_FORMAT_PLAIN;
	end.channel.cut = NULL;
	/* Wherever it lies, data is aligned. */
	expect(&end, 1, ~1u, "plain", 5, files, 1);
	expect(&end, 2, ~2u, "as well", 7, NULL, 0);
	end.channel.format = ANCILLARY_FORMAT_OWN;
	end.channel.cut = cut_line;
	expect_line("1 line\n", files + 1);
	expect_none(&end, -EAGAIN);
	CHECK_IS(held(), 0);
	close_all();
}

static int cut_all(const void *start, size_t have, struct ancillary_layout *layout, void *context)
{
	(void)start;
	(void)context;
	layout->len = have < 4 ? 0 : 4;
	return have >= 4;
}

static void the_callers_cut_may_change_between_two_messages(void)
{
	open_lines(usual);
	send_bytes(sock[HERE], "line\nabcdefghmore\n", 18);
	expect_line("line\n", NULL);
	end.channel.cut = cut_all;
	expect(&end, 0, 0, "abcd", 4, NULL, 0);
	expect(&end, 0, 0, "efgh", 4, NULL, 0);
	end.channel.cut = cut_line;
	expect_line("more\n", NULL);
	close_all();
}

/* Receives what is whole of these, from this one on; behind each the buffer is replaced, as
 * it is where none is.  Returns which is the next. */
static size_t receive_and_replace(size_t number)
{
	static const struct {
		unsigned format;
		const char *data;
	} messages[] = { { ANCILLARY_FORMAT_PLAIN, "one" },
			 { ANCILLARY_FORMAT_OWN, "line\n" },
			 { ANCILLARY_FORMAT_PLAIN, "behind" } };

	for (;;) {
		struct ancillary_frame frame = unset();
		int result;

		end.channel.format = messages[number % LENGTH(messages)].format;
		result = ancillary_channel_recv(&end.channel, &frame, ANCILLARY_DONTWAIT);
		if (result == 1) {
			CHECK(number < LENGTH(messages));
			CHECK_IS(frame.len, strlen(messages[number].data));
			CHECK(memcmp(frame.data, messages[number].data, frame.len) == 0);
			CHECK_IS(frame.nfds, number == 0);
			number++;
		}
		enlarge(&end, end.channel.in_size + 8);
		if (result != 1) {
			CHECK_IS(result, -EAGAIN);
			return number;
		}
	}
}

/* In pieces of each length: padding that belongs to the message before is still to come, and
 * comes in several. */
static void a_buffer_may_be_replaced_behind_any_message(void)
{
	unsigned char bytes[64];
	size_t len = plain(bytes, 1, 2, "one", 3, 1);

	memcpy(bytes + len, "line\n", 5);
	len += 5;
	len += plain(bytes + len, 3, 4, "behind", 6, 0);
	for (size_t most = 1; most <= len; most++) {
		size_t number = 0, piece;

		check_about("pieces of %zu", most);
		open_lines(usual);
		for (size_t at = 0; at < len; at += piece) {
			piece = len - at < most ? len - at : most;
			CHECK_IS(send_by_hand(sock[HERE], bytes + at, piece, files, at == 0),
				 (ssize_t)piece);
			number = receive_and_replace(number);
		}
		CHECK_IS(number, 3);
		CHECK_IS(held(), 0);
		close_all();
	}
}

CHECK_MAIN(CASE(a_message_arrives_as_it_was_sent), CASE(a_message_may_be_empty),
	   CASE(all_numbers_arrive), CASE(many_messages_take_one_system_call),
	   CASE(a_message_may_come_byte_by_byte), CASE(messages_may_be_cut_anywhere),
	   CASE(a_full_buffer_is_used_again_and_again),
	   CASE(the_longest_message_may_fill_the_buffer), CASE(data_is_aligned_behind_any_message),
	   CASE(a_blocking_receive_waits_for_all_of_it), CASE(it_waits_if_nobody_says_otherwise),
	   CASE(flags_of_recvmsg_may_be_given), CASE(the_end_between_messages_is_0),
	   CASE(an_end_may_come_without_a_message), CASE(a_shutdown_is_an_end),
	   CASE(an_end_in_a_message_is_an_error), CASE(an_end_in_the_padding_leaves_the_message),
	   CASE(the_end_may_come_as_a_reset),
	   CASE(descriptors_not_taken_are_closed_by_the_next_receive),
	   CASE(descriptors_not_taken_are_closed_by_a_drop), CASE(descriptors_taken_stay_open),
	   CASE(a_number_taken_and_used_again_is_left_alone),
	   CASE(those_of_a_batch_are_shared_out_in_order),
	   CASE(they_may_come_long_before_their_message),
	   CASE(they_may_come_with_any_byte_of_their_message),
	   CASE(they_may_come_one_with_each_byte), CASE(a_whole_message_that_lacks_one_is_an_error),
	   CASE(a_message_with_too_few_is_an_error), CASE(some_left_over_at_the_end_are_an_error),
	   CASE(those_not_asked_for_are_bounded),
	   CASE(more_at_once_than_there_is_room_for_is_an_error),
	   CASE(messages_in_front_of_an_error_arrive), CASE(as_many_as_there_is_room_for_arrive),
	   CASE(those_of_the_message_before_leave_their_room),
	   CASE(those_of_two_sends_fit_twice_the_room_of_one),
	   CASE(other_control_data_takes_no_room_of_theirs), CASE(a_length_that_lies_is_an_error),
	   CASE(a_message_longer_than_the_buffer_says_how_long), CASE(a_larger_buffer_takes_it),
	   CASE(one_that_is_still_too_small_is_told_again),
	   CASE(without_lossless_a_full_table_ends_receiving),
	   CASE(with_lossless_it_goes_on_where_it_stopped),
	   CASE(a_message_refused_in_its_middle_goes_on),
	   CASE(what_was_not_taken_is_closed_before_more_is_received),
	   CASE(without_lossless_what_is_withheld_ends_receiving),
	   CASE(with_lossless_what_is_withheld_stays_queued),
	   CASE(a_slot_with_an_error_is_one_that_is_lost),
	   CASE(with_lossless_a_kernel_without_memory_loses_nothing),
	   CASE(whatever_comes_is_bounded), CASE(a_format_of_ones_own_is_cut_by_the_caller),
	   CASE(what_the_caller_calls_no_message_is_an_error),
	   CASE(the_layout_is_zero_before_the_caller_fills_it),
	   CASE(a_line_longer_than_the_buffer_can_go_on),
	   CASE(a_message_can_be_too_long_for_the_caller), CASE(the_caller_can_say_how_long_one_is),
	   CASE(a_layout_may_be_absurd), CASE(the_format_may_change_between_two_messages),
	   CASE(the_callers_cut_may_change_between_two_messages),
	   CASE(a_buffer_may_be_replaced_behind_any_message))
