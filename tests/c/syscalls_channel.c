#include "syscalls_channel.h"

#include "check.h"
#include "channel_kit.h"
#include "kit.h"
#include "trace.h"

#include <ancillary.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { DONTWAIT = ANCILLARY_DONTWAIT, MORE = ANCILLARY_MORE, TAKE = ANCILLARY_TAKE, WAIT_MS = 100 };

static const unsigned formats[] = { ANCILLARY_FORMAT_PLAIN, ANCILLARY_FORMAT_IMSG,
				    ANCILLARY_FORMAT_IMSG_OLD };

/* So that each call is interrupted, and finds out how long it may wait yet. */
static void signal_often(bool on)
{
	const struct itimerval often = { { 0, 10000 }, { 0, 10000 } }, never = { { 0, 0 }, { 0, 0 } };

	count_signal(SIGALRM);
	CHECK(setitimer(ITIMER_REAL, on ? &often : &never, NULL) == 0);
}

static int files[2];

static int receive(enum path path, unsigned flags)
{
	struct ancillary_frame frame;

	return (int)TRACED(path, ancillary_channel_recv, &there()->channel, &frame, flags);
}

static void on_the_plain_path(void)
{
	struct ancillary_frame frame = message(1, 2, "a", 1, files, 2);

	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	CHECK_IS(TRACED(PLAIN, ancillary_channel_send, &here()->channel, &frame, 0), 0);
	CHECK_IS(receive(PLAIN, 0), 1);
	put(here(), message(1, 2, "a", 1, NULL, 0), MORE);
	CHECK(TRACED(PLAIN, ancillary_channel_events, &here()->channel) > 0);
	CHECK_IS(TRACED(PLAIN, ancillary_channel_flush, &here()->channel, 0), 0);
	CHECK_IS(receive(RARE, 0), 1);
	CHECK_IS(receive(RARE, DONTWAIT), -EAGAIN);
	TRACED_VOID(PLAIN, ancillary_channel_drop, &here()->channel);
	close_both(&both);
}

/* One descriptor and two, next to each other, borrowed and taken, and dropped. */
static void with_descriptors(unsigned format, unsigned flags)
{
	size_t most = format == ANCILLARY_FORMAT_PLAIN ? 2 : 1;

	for (size_t nfds = 0; nfds <= most; nfds++) {
		int taken[2];
		struct ancillary_frame frame = message(1, 2, "a", 1, taken, nfds);

		open_both(&both, format, flags);
		duplicate_all(taken, files, nfds);
		CHECK_IS(TRACED(RARE, ancillary_channel_send, &here()->channel, &frame, TAKE), 0);
		duplicate_all(taken, files, nfds);
		CHECK_IS(TRACED(RARE, ancillary_channel_send, &here()->channel, &frame, TAKE | MORE), 0);
		CHECK_IS(TRACED(RARE, ancillary_channel_flush, &here()->channel, DONTWAIT), 0);
		for (int times = 0; times < 2; times++)
			CHECK_IS(receive(RARE, 0), 1);
		TRACED_VOID(RARE, ancillary_channel_drop, &there()->channel);
		duplicate_all(taken, files, nfds);
		CHECK_IS(TRACED(RARE, ancillary_channel_send, &here()->channel, &frame, TAKE | MORE), 0);
		TRACED_VOID(RARE, ancillary_channel_drop, &here()->channel);
		close_both(&both);
	}
}

static void with_a_full_table(unsigned flags)
{
	rlim_t before;

	open_both(&both, ANCILLARY_FORMAT_PLAIN, flags);
	put(here(), message(1, 2, "a", 1, NULL, 0), 0);
	put(here(), message(1, 2, "a", 1, files, 2), 0);
	put(here(), message(1, 2, "a", 1, files, 2), 0);
	before = leave_slots(1);
	while (receive(RARE, DONTWAIT) == 1)
		;
	set_limit(before);
	while (receive(RARE, DONTWAIT) == 1)
		;
	close_both(&both);
}

static void with_more_than_there_is_room_for(unsigned flags)
{
	open_both(&both, ANCILLARY_FORMAT_PLAIN, flags);
	there()->channel.in_nfds = 1;
	put(here(), message(1, 2, "a", 1, files, 2), 0);
	CHECK_IS(receive(RARE, 0), -EPROTO);
	close_both(&both);
}

static void with_a_peer_that_does_not_answer(unsigned flags)
{
	struct ancillary_frame frame = message(1, 2, "a", 1, files, 2);

	open_both(&both, ANCILLARY_FORMAT_PLAIN, flags);
	set_timeout(both.sock[HERE], SO_SNDTIMEO, WAIT_MS);
	set_timeout(both.sock[THERE], SO_RCVTIMEO, WAIT_MS);
	signal_often(true);
	CHECK_IS(receive(RARE, 0), -EAGAIN);
	/* And after a part of a message. */
	send_bytes(both.sock[HERE], "abc", 3);
	CHECK_IS(receive(RARE, 0), -EAGAIN);
	fill(both.sock[HERE]);
	CHECK_IS(TRACED(RARE, ancillary_channel_send, &here()->channel, &frame, 0), -EAGAIN);
	frame.nfds = 0;
	CHECK_IS(TRACED(RARE, ancillary_channel_send, &here()->channel, &frame, 0), 0);
	CHECK_IS(TRACED(RARE, ancillary_channel_flush, &here()->channel, 0), -EAGAIN);
	signal_often(false);
	close_both(&both);
}

/* More than the buffer of the socket takes at once. */
static void with_a_peer_that_is_slow(void)
{
	enum { LONG = 1 << 20 };
	static const struct room room = { 0, 0, LONG + 16, 0 };
	char *much = calloc(1, LONG);
	struct ancillary_frame frame = message(1, 2, much, LONG, NULL, 0);
	struct end end;
	int sock[2];

	CHECK(much);
	open_pair(SOCK_STREAM, sock);
	open_end(&end, sock[HERE], ANCILLARY_FORMAT_PLAIN, 0, room);
	set_timeout(sock[HERE], SO_SNDTIMEO, WAIT_MS);
	CHECK_IS(TRACED(RARE, ancillary_channel_send, &end.channel, &frame, 0), 0);
	CHECK_IS(TRACED(RARE, ancillary_channel_flush, &end.channel, 0), -EAGAIN);
	close_end_of(&end);
	close_pair(sock);
	free(much);
}

void use_channels(void)
{
	static const unsigned flags[] = { 0, ANCILLARY_LOSSLESS };

	open_files(files, 2);
	on_the_plain_path();
	for (size_t i = 0; i < LENGTH(flags); i++) {
		for (size_t k = 0; k < LENGTH(formats); k++)
			with_descriptors(formats[k], flags[i]);
		with_a_full_table(flags[i]);
		with_more_than_there_is_room_for(flags[i]);
		with_a_peer_that_does_not_answer(flags[i]);
	}
	with_a_peer_that_is_slow();
	close_files(files, 2);
}
