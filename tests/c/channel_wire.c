/* The formats of channels byte by byte, both ways. */

#include "check.h"
#include "channel_kit.h"
#include "channel_sends.h"
#include "kit.h"

#include <ancillary.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DONTWAIT = ANCILLARY_DONTWAIT, MORE = ANCILLARY_MORE, TAKE = ANCILLARY_TAKE };

/* Of an imsg with its header. */
enum { HEADER = 16, LONGEST = 65535 };

static const struct room largest = { 70000, 2, 200000, 16 };

static int sock[2];
static struct end end;
static int files[4];
static size_t open_before;

static void open_as(unsigned format)
{
	open_pair(SOCK_STREAM, sock);
	open_files(files, LENGTH(files));
	open_end(&end, sock[HERE], format, 0, largest);
	open_before = open_descriptors();
}

static void close_all(void)
{
	close_end_of(&end);
	close_pair(sock);
	close_files(files, LENGTH(files));
}

/* --- plain --- */

static void plain_bytes(void)
{
	static const unsigned char little[] = {
		19, 0, 0, 0, 2, 0, 0, 0, 4, 3, 2, 1, 8, 7, 6, 5, 'a', 'b', 'c', 0, 0, 0, 0, 0,
	};
	static const unsigned char big[] = {
		0, 0, 0, 19, 0, 2, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 'a', 'b', 'c', 0, 0, 0, 0, 0,
	};
	const unsigned char *bytes = little_endian() ? little : big;

	open_as(ANCILLARY_FORMAT_PLAIN);
	put(&end, message(0x01020304, 0x05060708, "abc", 3, files, 2), 0);
	receive_exactly(sock[THERE], bytes, 24, files, 2);
	check_nothing_there(sock[THERE]);
	CHECK_IS(send_by_hand(sock[THERE], bytes, 24, files, 2), 24);
	expect(&end, 0x01020304, 0x05060708, "abc", 3, files, 2);
	close_all();
}

static void plain_padding(void)
{
	char text[] = "12345678";

	for (size_t len = 0; len <= 8; len++) {
		unsigned char bytes[32], got[32];
		size_t whole = plain(bytes, 1, 2, text, len, 0), nfds;
		int none[MOST];

		check_about("%zu bytes of payload", len);
		CHECK_IS(whole % 8, 0);
		for (int more = 0; more < 2; more++) {
			open_as(ANCILLARY_FORMAT_PLAIN);
			/* What stood there before does not show. */
			memset(end.channel.out_data, 'x', 100);
			put(&end, message(1, 2, text, len, NULL, 0), more ? MORE : 0);
			push(&end);
			CHECK_IS(receive_by_hand(sock[THERE], got, sizeof got, none, &nfds),
				 (ssize_t)whole);
			CHECK(memcmp(got, bytes, whole) == 0);
			close_all();
		}
	}
}

static void plain_has_no_pid(void)
{
	struct ancillary_frame frame = message(1, 2, NULL, 0, NULL, 0);
	unsigned char bytes[16];

	open_as(ANCILLARY_FORMAT_PLAIN);
	frame.pid = 77;
	put(&end, frame, 0);
	receive_exactly(sock[THERE], bytes, plain(bytes, 1, 2, NULL, 0, 0), NULL, 0);
	send_bytes(sock[THERE], bytes, 16);
	CHECK_IS(next(&end).pid, 0);
	close_all();
}

/* --- imsg --- */

static size_t imsg(unsigned char *bytes, uint32_t type, uint32_t second, uint32_t id, uint32_t pid,
		   const void *data, size_t len)
{
	memcpy(bytes, &type, 4);
	memcpy(bytes + 4, &second, 4);
	memcpy(bytes + 8, &id, 4);
	memcpy(bytes + 12, &pid, 4);
	if (len > 0)
		memcpy(bytes + HEADER, data, len);
	return HEADER + len;
}

/* The second word: of the layout of today, and of that before. */
static uint32_t second_of(unsigned format, size_t whole, bool has_fd)
{
	uint16_t half[2] = { (uint16_t)whole, has_fd };
	uint32_t word;

	if (format == ANCILLARY_FORMAT_IMSG)
		return (uint32_t)whole | (has_fd ? (uint32_t)1 << 31 : 0);
	memcpy(&word, half, 4);
	return word;
}

static const unsigned formats[] = { ANCILLARY_FORMAT_IMSG, ANCILLARY_FORMAT_IMSG_OLD };

static void imsg_bytes(void)
{
	static const unsigned char new[] = {
		4, 3, 2, 1, 19, 0, 0, 0x80, 8, 7, 6, 5, 12, 11, 10, 9, 'a', 'b', 'c',
	};
	static const unsigned char old[] = {
		4, 3, 2, 1, 19, 0, 1, 0, 8, 7, 6, 5, 12, 11, 10, 9, 'a', 'b', 'c',
	};
	static const unsigned char new_big[] = {
		1, 2, 3, 4, 0x80, 0, 0, 19, 5, 6, 7, 8, 9, 10, 11, 12, 'a', 'b', 'c',
	};
	static const unsigned char old_big[] = {
		1, 2, 3, 4, 0, 19, 0, 1, 5, 6, 7, 8, 9, 10, 11, 12, 'a', 'b', 'c',
	};

	for (size_t i = 0; i < LENGTH(formats); i++) {
		bool is_old = formats[i] == ANCILLARY_FORMAT_IMSG_OLD;
		const unsigned char *bytes = little_endian() ? (is_old ? old : new) :
							       (is_old ? old_big : new_big);
		struct ancillary_frame frame = message(0x01020304, 0x05060708, "abc", 3, files, 1);

		check_about("format %u", formats[i]);
		open_as(formats[i]);
		frame.pid = 0x090a0b0c;
		put(&end, frame, 0);
		receive_exactly(sock[THERE], bytes, 19, files, 1);
		check_nothing_there(sock[THERE]);
		close_all();
	}
}

static void imsg_pid_is_the_senders_unless_given(void)
{
	unsigned char bytes[HEADER];

	for (size_t i = 0; i < LENGTH(formats); i++) {
		check_about("format %u", formats[i]);
		open_as(formats[i]);
		put(&end, message(1, 2, NULL, 0, NULL, 0), 0);
		imsg(bytes, 1, second_of(formats[i], HEADER, false), 2, (uint32_t)getpid(), NULL, 0);
		receive_exactly(sock[THERE], bytes, HEADER, NULL, 0);
		imsg(bytes, 1, second_of(formats[i], HEADER, false), 2, 4711, NULL, 0);
		send_bytes(sock[THERE], bytes, HEADER);
		CHECK_IS(next(&end).pid, 4711);
		close_all();
	}
}

/* Messages of any length, one behind the other without padding. */
static void imsg_has_no_padding(void)
{
	unsigned char bytes[256];
	size_t len = 0;

	for (size_t i = 0; i < LENGTH(formats); i++) {
		check_about("format %u", formats[i]);
		open_as(formats[i]);
		len = 0;
		for (uint32_t n = 0; n < 9; n++) {
			struct ancillary_frame frame = message(n, 5, "12345678", n, NULL, 0);

			frame.pid = 9;
			put(&end, frame, MORE);
			len += imsg(bytes + len, n, second_of(formats[i], HEADER + n, false), 5, 9,
				    "12345678", n);
		}
		push(&end);
		receive_exactly(sock[THERE], bytes, len, NULL, 0);
		send_bytes(sock[THERE], bytes, len);
		for (uint32_t n = 0; n < 9; n++)
			expect(&end, n, 5, "12345678", n, NULL, 0);
		close_all();
	}
}

/* Whichever the format says is sent. */
static void both_layouts_are_understood(void)
{
	unsigned char bytes[128];

	for (size_t i = 0; i < LENGTH(formats); i++) {
		open_as(formats[i]);
		for (int times = 0; times < 2; times++) {
			for (size_t k = 0; k < LENGTH(formats); k++) {
				for (int has_fd = 0; has_fd < 2; has_fd++) {
					size_t len = imsg(bytes, 7,
							  second_of(formats[k], HEADER + 5, has_fd),
							  8, 9, "hello", 5);

					check_about("format %u, came %u, descriptors: %d",
						    formats[i], formats[k], has_fd);
					CHECK_IS(send_by_hand(sock[THERE], bytes, len, files,
							      (size_t)has_fd),
						 (ssize_t)len);
					expect(&end, 7, 8, "hello", 5, files, (size_t)has_fd);
				}
			}
		}
		close_all();
	}
}

static void imsg_carries_one_descriptor(void)
{
	for (size_t i = 0; i < LENGTH(formats); i++) {
		struct ancillary_frame frame = message(1, 2, "a", 1, files, 2);
		unsigned char bytes[HEADER + 1];
		int taken[2];

		check_about("format %u", formats[i]);
		open_as(formats[i]);
		CHECK_ERR(ancillary_channel_send(&end.channel, &frame, DONTWAIT), E2BIG);
		CHECK_ERR(ancillary_channel_send(&end.channel, &frame, DONTWAIT | MORE), E2BIG);
		duplicate_all(taken, files, 2);
		frame.fds = taken;
		CHECK_ERR(ancillary_channel_send(&end.channel, &frame, DONTWAIT | TAKE), E2BIG);
		check_arrived(taken, files, 2);
		close_files(taken, 2);
		check_nothing_there(sock[THERE]);
		/* Which is no end. */
		frame = message(1, 2, "a", 1, files, 1);
		frame.pid = 3;
		put(&end, frame, 0);
		imsg(bytes, 1, second_of(formats[i], HEADER + 1, true), 2, 3, "a", 1);
		receive_exactly(sock[THERE], bytes, sizeof bytes, files, 1);
		close_all();
	}
}

static void an_imsg_with_a_descriptor_begins_a_send_of_its_own(void)
{
	static const bool has_fd[] = { false, true, false, false, true, true, false };
	const size_t most = LENGTH(has_fd);

	for (size_t i = 0; i < LENGTH(formats); i++) {
		size_t at = 0, calls = 0;

		check_about("format %u", formats[i]);
		open_as(formats[i]);
		for (uint32_t n = 0; n < most; n++) {
			int taken = has_fd[n] ? duplicate(files[n % 4]) : -1;

			put(&end, message(n, 2, "a", 1, &taken, has_fd[n]), MORE | TAKE);
			CHECK_IS(taken, -1);
		}
		watch_sends();
		push(&end);
		/* [0] [1 2 3] [4] [5 6] */
		CHECK_IS(sends.calls, 4);
		for (int call = 0; call < sends.calls; call++) {
			uint32_t type;

			memcpy(&type, sends.call[call].start, 4);
			CHECK_IS(type, at);
			CHECK_IS(sends.call[call].nfds, has_fd[type]);
			calls++;
			at++;
			while (at < most && !has_fd[at])
				at++;
			CHECK_IS(sends.call[call].len, (at - type) * (HEADER + 1));
		}
		CHECK_IS(calls, 4);
		CHECK_IS(open_descriptors(), open_before);
		close_all();
	}
}

/* On a big-endian machine the layout before is told by an upper half under 32,768. */
static size_t longest_of(unsigned format)
{
	return format == ANCILLARY_FORMAT_IMSG_OLD && !little_endian() ? 32767 : LONGEST;
}

static void the_longest_imsg(void)
{
	static char payload[LONGEST], bytes[LONGEST];

	for (size_t i = 0; i < LENGTH(formats); i++) {
		size_t longest = longest_of(formats[i]);
		struct ancillary_frame frame = message(1, 2, payload, longest - HEADER + 1, NULL, 0);

		check_about("format %u", formats[i]);
		open_as(formats[i]);
		make_payload((unsigned char *)payload, sizeof payload);
		CHECK_ERR(ancillary_channel_send(&end.channel, &frame, DONTWAIT), EMSGSIZE);
		CHECK_ERR(ancillary_channel_send(&end.channel, &frame, MORE), EMSGSIZE);
		frame.len = longest - HEADER;
		frame.pid = 3;
		put(&end, frame, 0);
		imsg((unsigned char *)bytes, 1, second_of(formats[i], longest, false), 2, 3, payload,
		     longest - HEADER);
		receive_exactly(sock[THERE], bytes, longest, NULL, 0);
		send_bytes(sock[THERE], bytes, longest);
		expect(&end, 1, 2, payload, longest - HEADER, NULL, 0);
		close_all();
	}
}

/* An imsg with this second word is none, and stays none. */
static void check_lie(uint32_t word, int error)
{
	unsigned char bytes[64];
	struct ancillary_frame frame = unset();

	check_about("%#lx", (unsigned long)word);
	open_as(ANCILLARY_FORMAT_IMSG);
	memset(bytes, 0, sizeof bytes);
	imsg(bytes, 1, word, 2, 3, NULL, 0);
	CHECK_IS(send_by_hand(sock[THERE], bytes, sizeof bytes, files, 1), sizeof bytes);
	CHECK_ERR(ancillary_channel_recv(&end.channel, &frame, DONTWAIT), error);
	/* No buffer is large enough for it. */
	CHECK_IS(frame.len, 0);
	expect_error(&end, error);
	CHECK_IS(open_descriptors(), open_before);
	close_all();
}

static void a_length_that_lies_is_an_error(void)
{
	check_lie(0, EMSGSIZE);
	check_lie(15, EMSGSIZE);
	check_lie(second_of(ANCILLARY_FORMAT_IMSG, 0, true), EMSGSIZE);
	check_lie(second_of(ANCILLARY_FORMAT_IMSG, 15, true), EMSGSIZE);
	check_lie(second_of(ANCILLARY_FORMAT_IMSG_OLD, 0, true), EMSGSIZE);
	check_lie(second_of(ANCILLARY_FORMAT_IMSG_OLD, 15, true), EMSGSIZE);
	/* Bits that must be 0 in either layout; those of each, where these are told apart. */
	check_lie(0x7fffffff, EBADMSG);
	if (little_endian()) {
		for (int bit = 17; bit < 31; bit++) {
			check_lie(20 | (uint32_t)1 << bit, EBADMSG);
			check_lie(20 | (uint32_t)1 << bit | (uint32_t)1 << 31, EBADMSG);
			check_lie(20 | (uint32_t)1 << bit | (uint32_t)1 << 16, EBADMSG);
		}
	} else {
		for (int bit = 16; bit < 31; bit++)
			check_lie(20 | (uint32_t)1 << bit | (uint32_t)1 << 31, EBADMSG);
		for (int bit = 1; bit < 16; bit++) {
			check_lie((uint32_t)20 << 16 | (uint32_t)1 << bit, EBADMSG);
			check_lie((uint32_t)20 << 16 | (uint32_t)1 << bit | 1, EBADMSG);
		}
	}
}

static void an_imsg_without_its_descriptor_is_an_error(void)
{
	for (size_t i = 0; i < LENGTH(formats); i++) {
		unsigned char bytes[HEADER];

		check_about("format %u", formats[i]);
		open_as(ANCILLARY_FORMAT_IMSG);
		imsg(bytes, 1, second_of(formats[i], HEADER, true), 2, 3, NULL, 0);
		send_bytes(sock[THERE], bytes, HEADER);
		expect_error(&end, EPROTO);
		close_all();
	}
}

/* --- one's own --- */

static int cut_four(const void *start, size_t have, struct ancillary_layout *layout, void *context)
{
	(void)start;
	(void)context;
	layout->len = 4;
	return have >= 4;
}

static void ones_own_is_sent_as_it_is(void)
{
	open_as(ANCILLARY_FORMAT_OWN);
	end.channel.cut = cut_four;
	put(&end, message(1, 2, "abcd", 4, files, 3), 0);
	receive_exactly(sock[THERE], "abcd", 4, files, 3);
	put(&end, message(1, 2, "efgh", 4, NULL, 0), MORE);
	put(&end, message(1, 2, "ijkl", 4, NULL, 0), 0);
	receive_exactly(sock[THERE], "efghijkl", 8, NULL, 0);
	check_nothing_there(sock[THERE]);
	close_all();
}

static void one_of_ones_own_with_a_descriptor_begins_a_send(void)
{
	int taken[3];

	open_as(ANCILLARY_FORMAT_OWN);
	end.channel.cut = cut_four;
	duplicate_all(taken, files, 3);
	put(&end, message(0, 0, "aaaa", 4, NULL, 0), MORE);
	put(&end, message(0, 0, "bbbb", 4, taken, 1), MORE | TAKE);
	put(&end, message(0, 0, "cccc", 4, NULL, 0), MORE);
	put(&end, message(0, 0, "dddd", 4, taken + 1, 2), MORE | TAKE);
	watch_sends();
	push(&end);
	CHECK_IS(sends.calls, 3);
	CHECK_IS(sends.call[0].len, 4);
	CHECK_IS(sends.call[0].nfds, 0);
	CHECK_IS(sends.call[1].len, 8);
	CHECK_IS(sends.call[1].nfds, 1);
	CHECK_IS(sends.call[2].len, 4);
	CHECK_IS(sends.call[2].nfds, 2);
	CHECK_IS(open_descriptors(), open_before);
	receive_exactly(sock[THERE], "aaaabbbbccccdddd", 16, files, 3);
	close_all();
}

/* --- one behind the other --- */

/* Each is sent in the format that it was given in, whatever waits. */
static void the_format_may_change_while_messages_wait(void)
{
	static const unsigned order[] = { ANCILLARY_FORMAT_PLAIN, ANCILLARY_FORMAT_OWN,
					  ANCILLARY_FORMAT_IMSG, ANCILLARY_FORMAT_PLAIN,
					  ANCILLARY_FORMAT_IMSG_OLD, ANCILLARY_FORMAT_OWN };
	unsigned char bytes[256];
	int taken[LENGTH(order)];
	size_t len = 0;

	open_as(ANCILLARY_FORMAT_PLAIN);
	duplicate_all(taken, files, 4);
	duplicate_all(taken + 4, files, 2);
	end.channel.cut = cut_four;
	for (size_t i = 0; i < LENGTH(order); i++) {
		struct ancillary_frame frame = message(1, 2, "four", 4, taken + i, 1);

		end.channel.format = order[i];
		frame.pid = 3;
		put(&end, frame, MORE | TAKE);
		if (order[i] == ANCILLARY_FORMAT_PLAIN) {
			len += plain(bytes + len, 1, 2, "four", 4, 1);
		} else if (order[i] == ANCILLARY_FORMAT_OWN) {
			memcpy(bytes + len, "four", 4);
			len += 4;
		} else {
			len += imsg(bytes + len, 1, second_of(order[i], HEADER + 4, true), 2, 3,
				    "four", 4);
		}
	}
	watch_sends();
	push(&end);
	CHECK_IS(open_descriptors(), open_before);
	/* Nowhere are there two of those that can go together. */
	CHECK_IS(sends.calls, LENGTH(order));
	for (int call = 0; call < sends.calls; call++)
		CHECK_IS(sends.call[call].nfds, 1);
	{
		int all[] = { files[0], files[1], files[2], files[3], files[0], files[1] };

		receive_exactly(sock[THERE], bytes, len, all, LENGTH(all));
	}
	check_nothing_there(sock[THERE]);
	close_all();
}

CHECK_MAIN(CASE(plain_bytes), CASE(plain_padding), CASE(plain_has_no_pid), CASE(imsg_bytes),
	   CASE(imsg_pid_is_the_senders_unless_given), CASE(imsg_has_no_padding),
	   CASE(both_layouts_are_understood), CASE(imsg_carries_one_descriptor),
	   CASE(an_imsg_with_a_descriptor_begins_a_send_of_its_own), CASE(the_longest_imsg),
	   CASE(a_length_that_lies_is_an_error), CASE(an_imsg_without_its_descriptor_is_an_error),
	   CASE(ones_own_is_sent_as_it_is), CASE(one_of_ones_own_with_a_descriptor_begins_a_send),
	   CASE(the_format_may_change_while_messages_wait))
