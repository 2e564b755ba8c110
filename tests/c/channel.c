/* Channels from end to end: messages both ways, sent on, refused arguments, and a
 * channel's life. */

#include "check.h"
#include "channel_kit.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DONTWAIT = ANCILLARY_DONTWAIT, MORE = ANCILLARY_MORE, TAKE = ANCILLARY_TAKE,
       INTR = ANCILLARY_INTR };

/* --- messages both ways --- */

/* So many bytes, one for the length and one for the descriptors in front. */
static int cut_short(const void *start, size_t have, struct ancillary_layout *layout, void *context)
{
	const unsigned char *bytes = start;

	(void)context;
	if (have < 2)
		return 0;
	layout->len = bytes[0];
	layout->nfds = bytes[1];
	return 1;
}

static const struct {
	unsigned format;
	ancillary_cut cut;
} formats[] = {
	{ ANCILLARY_FORMAT_PLAIN, NULL },
	{ ANCILLARY_FORMAT_IMSG, NULL },
	{ ANCILLARY_FORMAT_IMSG_OLD, NULL },
	{ ANCILLARY_FORMAT_OWN, cut_short },
};

static void send_and_receive(int from, int *files, unsigned flags, unsigned format)
{
	struct end *sender = &both.ends[from], *receiver = &both.ends[!from];
	char text[] = { 20, 0, 'a', ' ', 'm', 'e', 's', 's', 'a', 'g', 'e', ' ',
			'o', 'f', ' ', '2', '0', '.', '.', '.' };

	for (uint32_t i = 0; i < 200; i++) {
		size_t nfds = i % 2;
		bool own = format == ANCILLARY_FORMAT_OWN;
		int fd = nfds ? duplicate(files[i % 5]) : -1, kept = fd;
		struct ancillary_frame frame = message(own ? 0 : i, own ? 0 : ~i, text, sizeof text,
						       &fd, nfds);

		text[1] = (char)nfds;
		CHECK_OK(ancillary_channel_send(&sender->channel, &frame, flags), 0);
		if (flags & MORE)
			CHECK_OK(ancillary_channel_flush(&sender->channel, 0), 0);
		CHECK_IS(fd, flags & TAKE ? -1 : kept);
		if (fd >= 0)
			close_files(&fd, 1);
		expect(receiver, own ? 0 : i, own ? 0 : ~i, text, sizeof text, &files[i % 5], nfds);
	}
	expect_none(receiver, -EAGAIN);
}

static void messages_go_both_ways(void)
{
	static const unsigned flags[] = { 0, DONTWAIT, TAKE, MORE, TAKE | MORE };
	int files[5];

	open_files(files, 5);
	for (size_t i = 0; i < LENGTH(formats); i++) {
		for (size_t k = 0; k < LENGTH(flags); k++) {
			check_about("format %u, flags %#x", formats[i].format, flags[k]);
			open_both(&both, formats[i].format, 0);
			here()->channel.cut = there()->channel.cut = formats[i].cut;
			send_and_receive(HERE, files, flags[k], formats[i].format);
			send_and_receive(THERE, files, flags[k], formats[i].format);
			close_both(&both);
		}
	}
	close_files(files, 5);
}

/* --- many --- */

/* As much as is said that a receiver needs: the sender's batches are of other
 * messages than the receiver takes. */
static void gathered_descriptors_fit_the_room_that_is_said(void)
{
	enum { MESSAGES = 700, FILES = 10 };
	static const struct room sender = { 0, 0, 800 * 24, 700 }, receiver = { 1000, 506, 0, 0 };
	int files[FILES], sock[2];
	struct end from, to;
	size_t before;

	open_pair(SOCK_STREAM, sock);
	open_files(files, FILES);
	open_end(&from, sock[HERE], ANCILLARY_FORMAT_PLAIN, 0, sender);
	open_end(&to, sock[THERE], ANCILLARY_FORMAT_PLAIN, 0, receiver);
	before = open_descriptors();
	for (uint32_t i = 0; i < MESSAGES; i++) {
		int fd = duplicate(files[i % FILES]);

		put(&from, message(i, 0, "a", 1, &fd, 1), MORE | TAKE);
	}
	CHECK_IS(open_descriptors(), before + MESSAGES);
	push(&from);
	CHECK_IS(open_descriptors(), before);
	for (uint32_t i = 0; i < MESSAGES; i++) {
		expect(&to, i, 0, "a", 1, files + i % FILES, 1);
		CHECK(open_descriptors() <= before + 506);
	}
	expect_none(&to, -EAGAIN);
	CHECK_IS(open_descriptors(), before);
	close_end_of(&from);
	close_end_of(&to);
	close_files(files, FILES);
	close_pair(sock);
}

static unsigned char payload[10000];

/* One end of a pair in a poll loop. */
struct flow {
	struct end end;
	uint32_t sent, received;
};

enum { MESSAGES = 2000, SEVERAL = 8 };

static size_t length_of(uint32_t number)
{
	return number % 7 == 0 ? number % 4000 : number % 50;
}

/* Sends as many as can be sent. */
static void send_flow(struct flow *flow, const int *files)
{
	while (flow->sent < MESSAGES) {
		uint32_t i = flow->sent;
		size_t nfds = i % 3 == 0 ? i % 5 : 0;
		unsigned flags = (i % 4 < 2 ? TAKE : 0) | (i % 5 < 3 ? MORE : 0);
		int fds[SEVERAL];
		struct ancillary_frame frame = message(i, ~i, payload + i % 1000, length_of(i), fds,
						       nfds);
		int result;

		duplicate_all(fds, files + i % 4, nfds);
		result = ancillary_channel_send(&flow->end.channel, &frame, flags | DONTWAIT);
		CHECK(result == 0 || result == -EAGAIN);
		if (flags & TAKE && result == 0)
			CHECK(all_none(fds, nfds));
		else
			close_files(fds, nfds);
		if (result != 0)
			return;
		flow->sent++;
	}
}

static void receive_flow(struct flow *flow, const int *files)
{
	for (;;) {
		struct ancillary_frame frame = unset();
		int result = ancillary_channel_recv(&flow->end.channel, &frame, DONTWAIT);
		uint32_t i = flow->received;

		if (result == -EAGAIN)
			return;
		CHECK_IS(result, 1);
		CHECK_IS(frame.type, i);
		CHECK_IS(frame.id, ~i);
		CHECK_IS(frame.len, length_of(i));
		CHECK(memcmp(frame.data, payload + i % 1000, frame.len) == 0);
		CHECK_IS(frame.nfds, i % 3 == 0 ? i % 5 : 0);
		check_arrived(frame.fds, files + i % 4, frame.nfds);
		flow->received++;
	}
}

static bool flow_done(const struct flow *flow)
{
	return flow->sent == MESSAGES && flow->received == MESSAGES &&
	       !(events_of(&flow->end) & POLLOUT);
}

static void run_flows(struct flow flows[2], const int *files)
{
	while (!flow_done(&flows[HERE]) || !flow_done(&flows[THERE])) {
		struct pollfd polled[2];

		for (int end = HERE; end <= THERE; end++) {
			polled[end].fd = flows[end].end.channel.sock;
			polled[end].events = (short)events_of(&flows[end].end);
			if (flows[end].sent < MESSAGES)
				polled[end].events |= POLLOUT;
		}
		CHECK(poll(polled, 2, 20000) > 0);
		for (int end = HERE; end <= THERE; end++) {
			if (polled[end].revents & POLLIN)
				receive_flow(&flows[end], files);
			if (polled[end].revents & POLLOUT) {
				send_flow(&flows[end], files);
				push_some(&flows[end].end);
			}
		}
	}
}

static void flow_both_ways(unsigned flags, void *(*beside)(void *))
{
	/* Twice what either can have in a batch. */
	static const struct room room = { 4096, 32, 5000, 16 };
	struct flow flows[2] = { { .sent = 0 }, { .sent = 0 } };
	int files[SEVERAL], sock[2];
	pthread_t thread;

	make_payload(payload, sizeof payload);
	open_pair(SOCK_STREAM, sock);
	open_files(files, SEVERAL);
	for (int end = HERE; end <= THERE; end++) {
		set_option(sock[end], SO_SNDBUF, 1);
		open_end(&flows[end].end, sock[end], ANCILLARY_FORMAT_PLAIN, flags, room);
	}
	if (beside)
		thread = start_thread(beside, sock);
	run_flows(flows, files);
	if (beside) {
		/* Which ends it. */
		CHECK(shutdown(sock[HERE], SHUT_RDWR) == 0);
		end_thread(thread);
	}
	for (int end = HERE; end <= THERE; end++)
		close_end_of(&flows[end].end);
	close_files(files, SEVERAL);
	close_pair(sock);
}

static void one_loop_serves_both_ends_of_a_pair(void)
{
	flow_both_ways(0, NULL);
	flow_both_ways(ANCILLARY_DONTWAIT | ANCILLARY_LOSSLESS, NULL);
}

static void *toggle_nonblock(void *argument)
{
	const int *sock = argument;
	struct pollfd end = { .fd = sock[HERE], .events = POLLRDHUP };

	for (int on = 0; poll(&end, 1, 0) == 0; on = !on)
		for (int which = HERE; which <= THERE; which++)
			CHECK(ioctl(sock[which], FIONBIO, &on) == 0);
	return NULL;
}

static void a_peer_that_toggles_o_nonblock_stops_nobody(void)
{
	flow_both_ways(ANCILLARY_DONTWAIT, toggle_nonblock);
}

static void o_nonblock_is_left_alone(void)
{
	for (int on = 0; on < 2; on++) {
		struct ancillary_frame frame = unset();
		int before;

		open_both(&both, ANCILLARY_FORMAT_PLAIN, DONTWAIT);
		CHECK(ioctl(both.sock[HERE], FIONBIO, &on) == 0);
		before = fcntl(both.sock[HERE], F_GETFL);
		put(here(), message(1, 2, "a", 1, NULL, 0), 0);
		CHECK_ERR(ancillary_channel_recv(&here()->channel, &frame, 0), EAGAIN);
		fill(both.sock[HERE]);
		put(here(), message(1, 2, "a", 1, NULL, 0), 0);
		CHECK_ERR(ancillary_channel_flush(&here()->channel, 0), EAGAIN);
		CHECK_IS(fcntl(both.sock[HERE], F_GETFL), before);
		close_both(&both);
	}
}

/* --- sent on as it lies --- */

static void an_answer_leaves_the_request_alone(void)
{
	struct ancillary_frame request;
	int files[3];

	open_files(files, 3);
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	for (uint32_t i = 0; i < 5; i++)
		put(here(), message(i, i, "the request", 11, files, 3), 0);
	request = next(there());
	fill(both.sock[THERE]);
	put(there(), message(9, 9, "an answer", 9, NULL, 0), 0);
	push_some(there());
	(void)events_of(there());
	drain(both.sock[HERE]);
	push(there());
	CHECK(memcmp(request.data, "the request", 11) == 0);
	check_arrived(request.fds, files, 3);
	expect(there(), 1, 1, "the request", 11, files, 3);
	expect(here(), 9, 9, "an answer", 9, NULL, 0);
	close_both(&both);
	close_files(files, 3);
}

/* Also where the sender cannot get rid of it yet. */
static void send_on(unsigned flags, bool full)
{
	struct ancillary_frame request;
	struct both other;
	int files[6], numbers[3];
	size_t before;

	open_files(files, 6);
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	open_both(&other, ANCILLARY_FORMAT_PLAIN, 0);
	before = open_descriptors();
	put(here(), message(1, 2, "pass this on", 12, files, 3), 0);
	put(here(), message(3, 4, "behind it", 9, files + 3, 3), 0);
	if (full)
		fill(other.sock[HERE]);
	request = next(there());
	memcpy(numbers, request.fds, sizeof numbers);
	put(&other.ends[HERE], request, flags);
	if (flags & TAKE) {
		CHECK(all_none(request.fds, 3));
		CHECK_IS(is_open(numbers[0]), full || flags & MORE);
	} else {
		check_arrived(request.fds, files, 3);
	}
	/* It is still read. */
	CHECK(memcmp(request.data, "pass this on", 12) == 0);
	expect(there(), 3, 4, "behind it", 9, files + 3, 3);
	expect_none(there(), -EAGAIN);
	if (full)
		drain(other.sock[THERE]);
	push(&other.ends[HERE]);
	CHECK_IS(open_descriptors(), before);
	expect(&other.ends[THERE], 1, 2, "pass this on", 12, files, 3);
	close_both(&other);
	close_both(&both);
	close_files(files, 6);
}

static void a_received_message_may_be_sent_on(void)
{
	send_on(0, false);
	send_on(TAKE, false);
	send_on(TAKE | MORE, false);
	send_on(TAKE, true);
	send_on(TAKE | MORE, true);
}

static void a_message_may_be_sent_back_on_the_same_channel(void)
{
	struct ancillary_frame request;
	int files[3];
	size_t before;

	open_files(files, 3);
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	before = open_descriptors();
	for (uint32_t i = 0; i < 20; i++) {
		put(here(), message(i, 2, "and back", 8, files, 3), 0);
		put(here(), message(i, 3, "one more", 8, files, 1), 0);
		request = next(there());
		put(there(), request, i % 2 ? TAKE : TAKE | MORE);
		request = next(there());
		put(there(), request, i % 2 ? TAKE : TAKE | MORE);
		push(there());
		expect_none(there(), -EAGAIN);
		expect(here(), i, 2, "and back", 8, files, 3);
		expect(here(), i, 3, "one more", 8, files, 1);
		expect_none(here(), -EAGAIN);
		CHECK_IS(open_descriptors(), before);
	}
	close_both(&both);
	close_files(files, 3);
}

/* Sending it on fails: what it carries is the receiving channel's again. */
static void one_that_cannot_be_sent_on_is_still_there(void)
{
	struct ancillary_frame request;
	int files[3];
	size_t before;

	open_files(files, 3);
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	before = open_descriptors();
	put(here(), message(1, 2, "pass this on", 12, files, 3), 0);
	request = next(there());
	there()->channel.out_nfds = 2;
	CHECK_ERR(ancillary_channel_send(&there()->channel, &request, TAKE | DONTWAIT), EMSGSIZE);
	check_arrived(request.fds, files, 3);
	expect_none(there(), -EAGAIN);
	CHECK_IS(open_descriptors(), before);
	close_both(&both);
	close_files(files, 3);
}

/* --- a channel's life --- */

static void a_dropped_channel_is_as_new(void)
{
	int files[4], sock[2], taken;
	size_t before;

	open_files(files, 4);
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	open_pair(SOCK_STREAM, sock);
	before = open_descriptors();
	/* Something in each of the four buffers, and half a message. */
	put(there(), message(1, 1, "held", 4, files, 2), 0);
	send_bytes(both.sock[THERE], "half a header", 13);
	CHECK_IS(next(here()).nfds, 2);
	taken = duplicate(files[2]);
	put(here(), message(2, 2, "queued", 6, &taken, 1), TAKE | MORE);
	ancillary_channel_drop(&here()->channel);
	CHECK_IS(open_descriptors(), before);
	CHECK_IS(events_of(here()), POLLIN);
	ancillary_channel_drop(&here()->channel);
	ancillary_channel_drop(&there()->channel);
	/* Another pair, of another format. */
	for (int end = HERE; end <= THERE; end++) {
		both.ends[end].channel.sock = sock[end];
		both.ends[end].channel.format = ANCILLARY_FORMAT_IMSG;
	}
	put(here(), message(3, 3, "new", 3, files + 3, 1), 0);
	expect(there(), 3, 3, "new", 3, files + 3, 1);
	put(there(), message(4, 4, "new", 3, files + 3, 1), 0);
	expect(here(), 4, 4, "new", 3, files + 3, 1);
	expect_none(here(), -EAGAIN);
	close_both(&both);
	close_pair(sock);
	close_files(files, 4);
}

static void a_dropped_channel_forgets_errors(void)
{
	struct ancillary_frame frame = message(1, 2, "a", 1, NULL, 0);
	int sock[2];

	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	open_pair(SOCK_STREAM, sock);
	send_bytes(both.sock[THERE], "no message at all", 17);
	close_end(both.sock, THERE);
	CHECK(ancillary_channel_recv(&here()->channel, &frame, DONTWAIT) < 0);
	CHECK_ERR(ancillary_channel_send(&here()->channel, &frame, DONTWAIT), EPIPE);
	CHECK_IS(events_of(here()), 0);
	ancillary_channel_drop(&here()->channel);
	here()->channel.sock = sock[HERE];
	there()->channel.sock = sock[THERE];
	put(here(), message(1, 2, "a", 1, NULL, 0), 0);
	expect(there(), 1, 2, "a", 1, NULL, 0);
	put(there(), message(3, 4, "b", 1, NULL, 0), 0);
	expect(here(), 3, 4, "b", 1, NULL, 0);
	close_both(&both);
	close_pair(sock);
}

/* The buffers may be gone by then, and the channel says so. */
static void a_dropped_channel_closes_what_it_held(void)
{
	struct ancillary_channel *channel;
	int files[3], taken;
	size_t before;

	open_files(files, 3);
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	channel = &here()->channel;
	before = open_descriptors();
	put(there(), message(1, 1, "held", 4, files, 2), 0);
	CHECK_IS(next(here()).nfds, 2);
	taken = duplicate(files[2]);
	put(here(), message(2, 2, "queued", 6, &taken, 1), TAKE | MORE);
	channel->in_data = channel->out_data = NULL;
	channel->in_size = channel->out_size = 0;
	ancillary_channel_drop(channel);
	CHECK_IS(open_descriptors(), before);
	close_both(&both);
	close_files(files, 3);
}

static void an_empty_packet_is_no_end(void)
{
	struct ancillary_frame got = unset();
	int sock[2];

	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	open_pair(SOCK_SEQPACKET, sock);
	here()->channel.sock = sock[HERE];
	CHECK(send(sock[THERE], "", 0, 0) == 0);
	CHECK_ERR(ancillary_channel_recv(&here()->channel, &got, DONTWAIT), EPROTOTYPE);
	close_both(&both);
	close_pair(sock);
}

static void a_new_channel_may_be_dropped(void)
{
	struct ancillary_channel empty = { .size = sizeof empty, .sock = -1 };

	ancillary_channel_drop(&empty);
	/* Numbers in its buffers are not its own yet. */
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	for (size_t i = 0; i < 16; i++)
		here()->channel.in_fds[i] = here()->channel.out_fds[i] = both.sock[HERE];
	ancillary_channel_drop(&here()->channel);
	CHECK(is_open(both.sock[HERE]));
	close_both(&both);
}

static void the_structure_may_be_moved(void)
{
	int files[2], taken;
	struct ancillary_frame frame;

	open_files(files, 2);
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	taken = duplicate(files[1]);
	put(here(), message(1, 2, "held", 4, files, 1), 0);
	put(here(), message(3, 4, "held, too", 9, files, 1), 0);
	put(here(), message(5, 6, "queued", 6, &taken, 1), TAKE | MORE);
	frame = next(there());
	for (int end = HERE; end <= THERE; end++) {
		static struct ancillary_channel elsewhere;

		elsewhere = both.ends[end].channel;
		memset(&both.ends[end].channel, 'x', sizeof elsewhere);
		CHECK(ancillary_channel_events(&elsewhere) == (end == HERE ? POLLIN | POLLOUT : POLLIN));
		if (end == HERE) {
			CHECK_OK(ancillary_channel_flush(&elsewhere, DONTWAIT), 0);
			both.ends[end].channel = elsewhere;
		} else {
			/* What was received is in its buffers. */
			CHECK(memcmp(frame.data, "held", 4) == 0);
			check_arrived(frame.fds, files, 1);
			both.ends[end].channel = elsewhere;
			expect(there(), 3, 4, "held, too", 9, files, 1);
			expect(there(), 5, 6, "queued", 6, files + 1, 1);
		}
	}
	close_both(&both);
	close_files(files, 2);
}

static void buffers_need_not_be_aligned(void)
{
	unsigned char in[201], out[201];
	int files[3];

	open_files(files, 3);
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	here()->channel.out_data = out + 1;
	there()->channel.in_data = in + 1;
	here()->channel.out_size = there()->channel.in_size = 200;
	for (uint32_t i = 0; i < 100; i++) {
		put(here(), message(i, ~i, "0123456789abcdefg", i % 17, NULL, 0), MORE);
		put(here(), message(i, ~i, "0123456789abcdefg", i % 17, files, 2), 0);
		expect(there(), i, ~i, "0123456789abcdefg", i % 17, NULL, 0);
		expect(there(), i, ~i, "0123456789abcdefg", i % 17, files, 2);
	}
	close_both(&both);
	close_files(files, 3);
}

static void a_channel_may_go_one_way(void)
{
	static const struct room in = { 100, 2, 0, 0 }, out = { 0, 0, 100, 2 };
	struct ancillary_frame frame = message(1, 2, "a", 1, NULL, 0);
	int sock[2];
	struct end from, to;

	open_pair(SOCK_STREAM, sock);
	open_end(&from, sock[HERE], ANCILLARY_FORMAT_PLAIN, 0, out);
	open_end(&to, sock[THERE], ANCILLARY_FORMAT_PLAIN, 0, in);
	put(&from, message(1, 2, "a", 1, NULL, 0), MORE);
	CHECK(events_of(&from) & POLLOUT);
	push(&from);
	expect(&to, 1, 2, "a", 1, NULL, 0);
	CHECK_IS(events_of(&to), POLLIN);
	CHECK_ERR(ancillary_channel_send(&to.channel, &frame, DONTWAIT), EMSGSIZE);
	/* There is no room for anything to be received: a loop would spin. */
	send_bytes(sock[THERE], "x", 1);
	CHECK_IS(events_of(&from), 0);
	CHECK_ERR(ancillary_channel_recv(&from.channel, &frame, DONTWAIT), EINVAL);
	close_end_of(&from);
	close_end_of(&to);
	close_pair(sock);
}

static void after_fork_one_side_uses_it(void)
{
	int files[2];
	pid_t pid;

	open_files(files, 2);
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	put(here(), message(1, 2, "a", 1, files, 2), 0);
	pid = fork();
	if (pid == 0) {
		struct ancillary_frame request = next(there());

		request.type = 7;
		put(there(), request, TAKE);
		_exit(0);
	}
	check_child(pid);
	expect(here(), 7, 2, "a", 1, files, 2);
	close_both(&both);
	close_files(files, 2);
}

/* --- events --- */

static void events_tell_what_to_wait_for(void)
{
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	CHECK_OK(events_of(here()), POLLIN);
	put(here(), message(1, 2, "a", 1, NULL, 0), MORE);
	CHECK_OK(events_of(here()), POLLIN | POLLOUT);
	push(here());
	CHECK_OK(events_of(here()), POLLIN);
	fill(both.sock[HERE]);
	put(here(), message(1, 2, "a", 1, NULL, 0), 0);
	CHECK_OK(events_of(here()), POLLIN | POLLOUT);
	close_end(both.sock, THERE);
	CHECK_ERR(ancillary_channel_flush(&here()->channel, DONTWAIT), EPIPE);
	CHECK_OK(events_of(here()), POLLIN);
	CHECK(ancillary_channel_recv(&here()->channel, &(struct ancillary_frame){ .type = 0 },
				     DONTWAIT) <= 0);
	CHECK_OK(events_of(here()), 0);
	close_both(&both);
}

/* --- arguments --- */

static void refused_by_send(struct ancillary_channel *channel)
{
	struct ancillary_frame frame = message(1, 2, "a", 1, NULL, 0);

	CHECK_ERR(ancillary_channel_send(channel, &frame, DONTWAIT), EINVAL);
	CHECK_ERR(ancillary_channel_send(channel, &frame, MORE), EINVAL);
	CHECK_ERR(ancillary_channel_flush(channel, DONTWAIT), EINVAL);
}

static void refused_by_receive(struct ancillary_channel *channel)
{
	struct ancillary_frame got = unset();

	CHECK_ERR(ancillary_channel_recv(channel, &got, DONTWAIT), EINVAL);
}

/* Each call is refused, and the channel is as it was. */
static void refused_by_all(struct ancillary_channel *channel)
{
	refused_by_send(channel);
	refused_by_receive(channel);
}

static void still_works(void)
{
	put(here(), message(1, 2, "a", 1, NULL, 0), 0);
	expect(there(), 1, 2, "a", 1, NULL, 0);
	put(there(), message(1, 2, "a", 1, NULL, 0), 0);
	expect(here(), 1, 2, "a", 1, NULL, 0);
}

static void null_is_refused(void)
{
	struct ancillary_frame frame = message(1, 2, "a", 1, NULL, 0);

	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	CHECK_ERR(ancillary_channel_send(NULL, &frame, 0), EINVAL);
	CHECK_ERR(ancillary_channel_flush(NULL, 0), EINVAL);
	CHECK_ERR(ancillary_channel_recv(NULL, &frame, 0), EINVAL);
	CHECK_ERR(ancillary_channel_events(NULL), EINVAL);
	ancillary_channel_drop(NULL);
	CHECK_ERR(ancillary_channel_send(&here()->channel, NULL, 0), EINVAL);
	CHECK_ERR(ancillary_channel_recv(&here()->channel, NULL, 0), EINVAL);
	still_works();
	close_both(&both);
}

static void a_frame_that_cannot_be_is_refused(void)
{
	struct ancillary_frame frame;

	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	frame = message(1, 2, NULL, 1, NULL, 0);
	CHECK_ERR(ancillary_channel_send(&here()->channel, &frame, DONTWAIT), EINVAL);
	CHECK_ERR(ancillary_channel_send(&here()->channel, &frame, MORE), EINVAL);
	frame = message(1, 2, "a", 1, NULL, 1);
	CHECK_ERR(ancillary_channel_send(&here()->channel, &frame, DONTWAIT), EINVAL);
	CHECK_ERR(ancillary_channel_send(&here()->channel, &frame, TAKE), EINVAL);
	for (size_t i = 0; i < LENGTH(frame.reserved); i++) {
		frame = message(1, 2, "a", 1, NULL, 0);
		frame.reserved[i] = 1;
		CHECK_ERR(ancillary_channel_send(&here()->channel, &frame, DONTWAIT), EINVAL);
		CHECK_ERR(ancillary_channel_send(&here()->channel, &frame, MORE), EINVAL);
	}
	CHECK_IS(events_of(here()), POLLIN);
	still_works();
	close_both(&both);
}

static void buffers_that_cannot_be_are_refused(void)
{
	static const size_t sizes[] = { SIZE_MAX, SIZE_MAX / sizeof(int), SIZE_MAX / 2 + 1 };
	struct ancillary_channel *channel;
	struct ancillary_channel good;

	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	channel = &here()->channel;
	good = *channel;
	channel->in_data = NULL;
	refused_by_receive(channel);
	*channel = good;
	channel->in_fds = NULL;
	refused_by_receive(channel);
	*channel = good;
	channel->out_data = NULL;
	refused_by_send(channel);
	*channel = good;
	channel->out_fds = NULL;
	refused_by_send(channel);
	*channel = good;
	for (size_t i = 0; i < LENGTH(sizes); i++) {
		check_about("%zu", sizes[i]);
		channel->in_nfds = sizes[i];
		refused_by_receive(channel);
		*channel = good;
		channel->out_nfds = sizes[i];
		refused_by_send(channel);
		*channel = good;
	}
	channel->in_size = SIZE_MAX;
	refused_by_receive(channel);
	*channel = good;
	channel->out_size = SIZE_MAX;
	refused_by_send(channel);
	*channel = good;
	still_works();
	close_both(&both);
}

/* Whatever its length is: there is no buffer for it. */
static void a_message_longer_than_any_is_too_long(void)
{
	static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 20, SIZE_MAX / 2 + 1, SIZE_MAX / 2 };
	struct ancillary_frame frame;

	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	for (size_t i = 0; i < LENGTH(sizes); i++) {
		check_about("%zu", sizes[i]);
		frame = message(1, 2, "a", sizes[i], NULL, 0);
		CHECK_ERR(ancillary_channel_send(&here()->channel, &frame, DONTWAIT), EMSGSIZE);
		CHECK_ERR(ancillary_channel_send(&here()->channel, &frame, MORE), EMSGSIZE);
	}
	still_works();
	close_both(&both);
}

static void a_format_that_cannot_be_is_refused(void)
{
	struct ancillary_channel *channel;

	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	channel = &here()->channel;
	/* There is nothing to cut messages with. */
	channel->format = ANCILLARY_FORMAT_OWN;
	refused_by_receive(channel);
	channel->format = ANCILLARY_FORMAT_OWN + 1;
	refused_by_all(channel);
	channel->format = UINT_MAX;
	refused_by_all(channel);
	channel->format = ANCILLARY_FORMAT_PLAIN;
	still_works();
	close_both(&both);
}

static void flags_not_known_are_refused(void)
{
	struct ancillary_frame frame = message(1, 2, "a", 1, NULL, 0), got;

	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	for (int bit = 0; bit < 32; bit++) {
		const unsigned flag = 1u << bit;
		const unsigned always = MSG_NOSIGNAL | MSG_CMSG_CLOEXEC | DONTWAIT;
		struct ancillary_channel *channel = &here()->channel;

		check_about("%#x", flag);
		if (!(flag & (always | INTR))) {
			CHECK_ERR(ancillary_channel_flush(channel, flag | DONTWAIT), EINVAL);
			got = unset();
			CHECK_ERR(ancillary_channel_recv(channel, &got, flag | DONTWAIT), EINVAL);
		}
		if (!(flag & (always | INTR | MORE | TAKE)))
			CHECK_ERR(ancillary_channel_send(channel, &frame, flag | DONTWAIT), EINVAL);
		if (!(flag & (always | ANCILLARY_LOSSLESS))) {
			channel->flags = flag;
			refused_by_all(channel);
			channel->flags = 0;
		}
	}
	still_works();
	close_both(&both);
}

/* They are in force whether they are given or not. */
static void flags_always_in_force_may_be_set(void)
{
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	here()->channel.flags = there()->channel.flags = MSG_NOSIGNAL | MSG_CMSG_CLOEXEC;
	still_works();
	close_both(&both);
}

/* --- sizes --- */

static void a_size_not_known_is_refused(void)
{
	static const size_t sizes[] = { 0, 1, 7, sizeof(struct ancillary_channel) - 8,
					sizeof(struct ancillary_channel) - 1, 4097, SIZE_MAX };

	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	for (size_t i = 0; i < LENGTH(sizes); i++) {
		check_about("%zu", sizes[i]);
		here()->channel.size = sizes[i];
		refused_by_all(&here()->channel);
		CHECK_ERR(events_of(here()), EINVAL);
		ancillary_channel_drop(&here()->channel);
	}
	here()->channel.size = sizeof here()->channel;
	still_works();
	close_both(&both);
}

/* Of a version to come. */
static void a_larger_one_is_served_if_the_rest_is_zero(void)
{
	static union {
		struct ancillary_channel channel;
		unsigned char bytes[4096];
	} larger;
	static const size_t sizes[] = { sizeof larger.channel + 1, sizeof larger.channel + 8, 4096 };

	for (size_t i = 0; i < LENGTH(sizes); i++) {
		check_about("%zu", sizes[i]);
		open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
		memset(&larger, 0, sizeof larger);
		larger.channel = here()->channel;
		larger.channel.size = sizes[i];
		CHECK_OK(ancillary_channel_send(&larger.channel,
						&(struct ancillary_frame){ .data = "a", .len = 1 },
						DONTWAIT | MORE),
			 0);
		CHECK_OK(ancillary_channel_events(&larger.channel), POLLIN | POLLOUT);
		larger.bytes[sizes[i] - 1] = 1;
		refused_by_all(&larger.channel);
		CHECK_ERR(ancillary_channel_events(&larger.channel), EINVAL);
		larger.bytes[sizes[i] - 1] = 0;
		CHECK_OK(ancillary_channel_flush(&larger.channel, DONTWAIT), 0);
		expect(there(), 0, 0, "a", 1, NULL, 0);
		/* The library puts nothing behind what it knows. */
		for (size_t k = sizeof larger.channel; k < sizeof larger; k++)
			CHECK_IS(larger.bytes[k], 0);
		ancillary_channel_drop(&larger.channel);
		close_both(&both);
	}
}

/* --- sockets that cannot be --- */

static void no_socket_is_an_error(void)
{
	struct ancillary_frame frame = message(1, 2, "a", 1, NULL, 0), got = unset();
	int pipes[2];

	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	here()->channel.sock = -1;
	CHECK_ERR(ancillary_channel_send(&here()->channel, &frame, 0), EBADF);
	CHECK_ERR(ancillary_channel_recv(&here()->channel, &got, 0), EBADF);
	close_both(&both);
	open_both(&both, ANCILLARY_FORMAT_PLAIN, 0);
	CHECK(pipe(pipes) == 0);
	here()->channel.sock = pipes[1];
	CHECK_ERR(ancillary_channel_send(&here()->channel, &frame, 0), ENOTSOCK);
	here()->channel.sock = pipes[0];
	CHECK_ERR(ancillary_channel_recv(&here()->channel, &got, 0), ENOTSOCK);
	close_files(pipes, 2);
	close_both(&both);
}

CHECK_MAIN(CASE(messages_go_both_ways), CASE(gathered_descriptors_fit_the_room_that_is_said),
	   CASE(one_loop_serves_both_ends_of_a_pair),
	   CASE(a_peer_that_toggles_o_nonblock_stops_nobody), CASE(o_nonblock_is_left_alone),
	   CASE(an_answer_leaves_the_request_alone), CASE(a_received_message_may_be_sent_on),
	   CASE(a_message_may_be_sent_back_on_the_same_channel),
	   CASE(one_that_cannot_be_sent_on_is_still_there), CASE(a_dropped_channel_is_as_new),
	   CASE(a_dropped_channel_forgets_errors), CASE(a_new_channel_may_be_dropped),
	   CASE(a_dropped_channel_closes_what_it_held), CASE(an_empty_packet_is_no_end),
	   CASE(the_structure_may_be_moved), CASE(buffers_need_not_be_aligned),
	   CASE(a_channel_may_go_one_way), CASE(after_fork_one_side_uses_it),
	   CASE(events_tell_what_to_wait_for), CASE(null_is_refused),
	   CASE(a_frame_that_cannot_be_is_refused), CASE(buffers_that_cannot_be_are_refused),
	   CASE(a_message_longer_than_any_is_too_long),
	   CASE(a_format_that_cannot_be_is_refused), CASE(flags_not_known_are_refused),
	   CASE(flags_always_in_force_may_be_set),
	   CASE(a_size_not_known_is_refused), CASE(a_larger_one_is_served_if_the_rest_is_zero),
	   CASE(no_socket_is_an_error))
