/* What comes of a fault at each system call that a channel makes: it is told, or
 * the message arrives whole; it passes, or ends that direction for good; and
 * nothing is lost, left behind or closed twice.  What goes wrong with a wait passes. */

#include "check.h"
#include "channel_kit.h"
#include "fault.h"
#include "kit.h"
#include "late.h"

#include <ancillary.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FILES = 300, LEN = 40, FOREVER_MS = 20000 };

/* A call on a channel.  It can fail with what the functions document that make the
 * same system call, and owns all that is open and not this test's. */
#define CHANNEL_CALL(function, ...) \
	(hand_over_the_rest(), calls_begin(), \
	 end_call(#function, ancillary_channel_##function(__VA_ARGS__)))

/* How its calls wait. */
static enum waiting { NEVER, AS_LONG_AS_IT_TAKES, FOR_A_TIME } waiting;

static struct passing {
	unsigned format, channel_flags, send_flags;
	size_t nfds;
	uint32_t messages;
} passing;

static int files[FILES], sock[2], lent[FILES];
/* By number: what the channels do not own. */
static bool mine[1500];
static struct end ends[2];
static char text[LEN];

/* What ended a direction, or 0. */
static int over[2];

/* --- whose descriptors --- */

static void note_mine(void)
{
	for (int fd = 0; fd < (int)LENGTH(mine); fd++)
		mine[fd] = is_open(fd);
}

static void hand_over_the_rest(void)
{
	for (int fd = 0; fd < (int)LENGTH(mine); fd++)
		if (!mine[fd] && is_open(fd))
			hand_over(&fd, 1);
}

/* --- sockets --- */

static void open_sockets(void)
{
	if (waiting == NEVER) {
		open_pair(SOCK_STREAM, sock);
		return;
	}
	open_late_pair(sock);
	if (waiting == FOR_A_TIME) {
		set_timeout(sock[HERE], SO_SNDTIMEO, FOREVER_MS);
		set_timeout(sock[THERE], SO_RCVTIMEO, FOREVER_MS);
	}
}

static void close_sockets(void)
{
	if (waiting == NEVER)
		close_pair(sock);
	else
		close_late_pair(sock);
}

/* --- calls --- */

static unsigned dontwait(void)
{
	return waiting == NEVER ? ANCILLARY_DONTWAIT : 0;
}

static int end_call(const char *function, int result)
{
	const char *like = strcmp(function, "recv") != 0 ? "ancillary_send_fds" :
			   /* The end within a message. */
			   result == -EPROTO ? "ancillary_channel_recv" :
					       "ancillary_recv_fds";

	return (int)calls_end(like, result);
}

/* Faults that last end after some calls. */
static void again(int *failures)
{
	CHECK(*failures < 6);
	if (++*failures == 3)
		calm();
}

static bool may_pass(int which, int result)
{
	static const int sends[] = { EAGAIN, ETOOMANYREFS, ENOMEM,   ENOBUFS, EPERM,
				     EBADF,  EFAULT,	   EINVAL, EMSGSIZE };
	static const int receives[] = { EAGAIN, EMFILE, ENFILE, EACCES, ENOBUFS };
	bool goes_on = ancillary_channel_events(&ends[which].channel) & POLLIN;

	if (which == HERE) {
		for (size_t i = 0; i < LENGTH(sends); i++)
			if (result == -sends[i])
				return true;
		return false;
	}
	/* What poll(2) lacks is not missing to what receives. */
	if (result == -ENOMEM && goes_on && faulted("poll"))
		return true;
	if (!(passing.channel_flags & ANCILLARY_LOSSLESS))
		return result == -EAGAIN;
	for (size_t i = 0; i < LENGTH(receives); i++)
		if (result == -receives[i])
			return true;
	return false;
}

static int flush(void)
{
	return CHANNEL_CALL(flush, &ends[HERE].channel, dontwait());
}

/* An error that did not pass is said ever after; one that may pass may also be one. */
static bool sending_is_over(int result)
{
	bool ended = !(ancillary_channel_events(&ends[HERE].channel) & POLLOUT) &&
		     flush() == result;

	if (!ended) {
		CHECK(may_pass(HERE, result));
		return false;
	}
	calm();
	CHECK_IS(flush(), result);
	over[HERE] = result;
	return true;
}

static void flush_all(void)
{
	int failures = 0, result;

	while ((result = flush()) != 0) {
		if (sending_is_over(result))
			return;
		again(&failures);
	}
}

static void send_one(uint32_t number)
{
	int failures = 0, result;
	struct ancillary_frame frame = message(number, ~number, text, LEN - number, lent,
					       passing.nfds);
	bool take = passing.send_flags & ANCILLARY_TAKE;

	duplicate_all(lent, files, passing.nfds);
	if (!take)
		for (size_t i = 0; i < passing.nfds; i++)
			mine[lent[i]] = true;
	payload_at(text, LEN);
	for (;;) {
		result = CHANNEL_CALL(send, &ends[HERE].channel, &frame,
				      passing.send_flags | dontwait());
		if (result == 0)
			break;
		/* It has failed: they are the caller's. */
		for (size_t i = 0; i < passing.nfds; i++)
			CHECK(is_open(lent[i]));
		if (sending_is_over(result))
			break;
		again(&failures);
	}
	if (result == 0 && take) {
		CHECK(all_none(lent, passing.nfds));
	} else {
		for (size_t i = 0; i < passing.nfds; i++)
			mine[lent[i]] = false;
		close_files(lent, passing.nfds);
	}
}

/* Whether it came. */
static bool receive_one(uint32_t number)
{
	struct ancillary_frame frame;
	int failures = 0, result;

	payload_at(NULL, 0);
	for (;;) {
		frame = unset();
		result = CHANNEL_CALL(recv, &ends[THERE].channel, &frame, dontwait());
		if (result >= 0)
			break;
		if (!may_pass(THERE, result)) {
			calm();
			for (int times = 0; times < 2; times++)
				CHECK_IS(CHANNEL_CALL(recv, &ends[THERE].channel, &frame,
						      dontwait()),
					 result);
			CHECK_IS(ancillary_channel_events(&ends[THERE].channel) & POLLIN, 0);
			over[THERE] = result;
			return false;
		}
		again(&failures);
	}
	if (result == 0)
		return false;
	CHECK_IS(frame.type, number);
	CHECK_IS(frame.id, ~number);
	CHECK_IS(frame.len, LEN - number);
	CHECK(memcmp(frame.data, text, frame.len) == 0);
	CHECK_IS(frame.nfds, passing.nfds);
	check_arrived(frame.fds, files, frame.nfds);
	return true;
}

static void pass(void)
{
	static const struct room room = { 400, 600, 400, 600 };
	uint32_t came = 0;

	over[HERE] = over[THERE] = 0;
	open_sockets();
	for (int end = HERE; end <= THERE; end++)
		open_end(&ends[end], sock[end], passing.format, passing.channel_flags, room);
	note_mine();
	for (uint32_t i = 0; i < passing.messages && !over[HERE]; i++)
		send_one(i);
	if (!over[HERE])
		flush_all();
	/* What has gone is read to the end. */
	CHECK(shutdown(sock[HERE], SHUT_WR) == 0);
	while (came < passing.messages && receive_one(came))
		came++;
	if (!over[HERE] && !over[THERE]) {
		CHECK_IS(came, passing.messages);
		CHECK(!receive_one(came));
	}
	for (int end = HERE; end <= THERE; end++)
		close_end_of(&ends[end]);
	close_sockets();
}

static void pass_each(const struct passing *all, size_t count)
{
	make_payload((unsigned char *)text, sizeof text);
	open_files(files, FILES);
	for (size_t i = 0; i < count; i++) {
		passing = all[i];
		calls_wait = waiting != NEVER;
		at_every_call(pass);
	}
	close_files(files, FILES);
}

enum { TAKE = ANCILLARY_TAKE, MORE = ANCILLARY_MORE, LOSSLESS = ANCILLARY_LOSSLESS };

static void messages_one_by_one(void)
{
	static const struct passing all[] = {
		{ ANCILLARY_FORMAT_PLAIN, 0, 0, 3, 2 },
		{ ANCILLARY_FORMAT_PLAIN, 0, TAKE, 3, 2 },
		{ ANCILLARY_FORMAT_PLAIN, 0, 0, 0, 3 },
		{ ANCILLARY_FORMAT_IMSG, 0, 0, 1, 2 },
		{ ANCILLARY_FORMAT_IMSG_OLD, 0, TAKE, 1, 2 },
		{ ANCILLARY_FORMAT_PLAIN, LOSSLESS, 0, 3, 2 },
		{ ANCILLARY_FORMAT_PLAIN, LOSSLESS, TAKE, 1, 2 },
		{ ANCILLARY_FORMAT_PLAIN, LOSSLESS, 0, 0, 2 },
	};

	pass_each(all, LENGTH(all));
}

static void messages_gathered(void)
{
	static const struct passing all[] = {
		{ ANCILLARY_FORMAT_PLAIN, 0, TAKE | MORE, 3, 4 },
		{ ANCILLARY_FORMAT_PLAIN, 0, MORE, 0, 4 },
		{ ANCILLARY_FORMAT_IMSG, 0, TAKE | MORE, 1, 3 },
		{ ANCILLARY_FORMAT_PLAIN, LOSSLESS, TAKE | MORE, 2, 3 },
	};

	pass_each(all, LENGTH(all));
}

static void more_descriptors_than_a_call_carries(void)
{
	static const struct passing all[] = {
		{ ANCILLARY_FORMAT_PLAIN, 0, TAKE, FILES, 1 },
		{ ANCILLARY_FORMAT_PLAIN, LOSSLESS, TAKE | MORE, FILES, 1 },
	};

	pass_each(all, LENGTH(all));
}

static void messages_that_are_waited_for(void)
{
	static const struct passing all[] = {
		{ ANCILLARY_FORMAT_PLAIN, 0, 0, 3, 2 },
		{ ANCILLARY_FORMAT_PLAIN, 0, TAKE, 3, 2 },
		{ ANCILLARY_FORMAT_PLAIN, 0, 0, 0, 2 },
		{ ANCILLARY_FORMAT_PLAIN, 0, TAKE | MORE, 2, 2 },
		{ ANCILLARY_FORMAT_IMSG, 0, TAKE, 1, 1 },
		{ ANCILLARY_FORMAT_PLAIN, LOSSLESS, 0, 3, 2 },
	};

	on_call = make_late;
	for (waiting = AS_LONG_AS_IT_TAKES; waiting <= FOR_A_TIME; waiting++)
		pass_each(all, LENGTH(all));
}

CHECK_MAIN(CASE(messages_one_by_one), CASE(messages_gathered),
	   CASE(more_descriptors_than_a_call_carries), CASE(messages_that_are_waited_for))
