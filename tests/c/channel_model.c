/* A randomised test of channels between two processes.
 *
 * Both know from the seed what each message is: one sends them by random calls, the
 * other checks every byte and every descriptor of each, in order; or sends each
 * back as it came.  Options of its socket change at random, its table of descriptors
 * is full at times where that loses nothing, the system calls of both can be cut,
 * refused and interrupted, and the buffers of the sockets be tiny.
 *
 * It is the same messages every time for a seed: ANCILLARY_TEST_SEED in the
 * environment, else the time.  ANCILLARY_TEST_ROUNDS makes it so many times longer,
 * with 200 it is 20,000 messages for each way to use a channel, half of them with few
 * descriptors; raise CHECK_SECONDS with it. */

#include "check.h"
#include "calls.h"
#include "channel_kit.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { DONTWAIT = ANCILLARY_DONTWAIT, MORE = ANCILLARY_MORE, TAKE = ANCILLARY_TAKE };

enum {
	MESSAGES = 50, /* in a round */
	LONGEST = 100000, /* of payload */
	LONGEST_IMSG = 65535 - 16,
	/* Told by an upper half under 32,768 where that is the length. */
	LONGEST_OLD_BIG = 32767 - 16,
	MOST_TAKEN = 300,
	LONGEST_OF_FEW = 500, /* so that buffers are full most of the time */
	FEW = 8, /* descriptors of a message, where there is little room */
	FILES = 64,
	WAIT_MS = 20000, /* longer than any of it takes */
};

/* --- random numbers --- */

static uint64_t seed;

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
	uint64_t mixed = *state += 0x9e3779b97f4a7c15u;

	mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
	mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
	return mixed ^ mixed >> 31;
}

static size_t between(uint64_t *state, size_t least, size_t most)
{
	return least + (size_t)(next_random(state) % (most - least + 1));
}

static bool chance(uint64_t *state, unsigned percent)
{
	return next_random(state) % 100 < percent;
}

static unsigned long number_in(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : otherwise;
}

/* --- what is tested --- */

/* A way to use a channel. */
struct plan {
	unsigned format;
	bool blocking, more, take, lossless;
	/* System calls are cut and refused, and buffers of sockets tiny. */
	bool cut;
	/* Each message is sent back as it came. */
	bool echo;
	/* Messages are short and have few descriptors, and there is room for few. */
	bool few;
	uint32_t messages;
};

static struct plan plan;

/* A message, as both sides know it. */
struct spec {
	uint32_t type, id, pid;
	size_t len, at, nfds, first;
	bool take, more;
};

static bool is_imsg(void)
{
	return plan.format == ANCILLARY_FORMAT_IMSG || plan.format == ANCILLARY_FORMAT_IMSG_OLD;
}

static size_t most_fds(bool taken)
{
	return is_imsg() ? 1 : plan.few ? FEW : taken ? MOST_TAKEN : MOST;
}

static size_t longest(void)
{
	if (plan.few)
		return LONGEST_OF_FEW;
	if (plan.format == ANCILLARY_FORMAT_IMSG_OLD && !little_endian())
		return LONGEST_OLD_BIG;
	return is_imsg() ? LONGEST_IMSG : LONGEST;
}

static struct spec spec_of(uint32_t number)
{
	uint64_t state = seed ^ (uint64_t)number << 20 ^ (uint64_t)plan.format << 60;
	struct spec spec;
	unsigned dice;

	spec.type = (uint32_t)next_random(&state);
	spec.id = (uint32_t)next_random(&state);
	/* 0 would be this process. */
	spec.pid = (uint32_t)next_random(&state) | 1;
	spec.take = plan.take && chance(&state, 50);
	spec.more = plan.more && chance(&state, 70);
	dice = (unsigned)between(&state, 0, 99);
	spec.len = between(&state, 0, dice < 60 ? 100 : dice < 95 ? 3000 : longest());
	if (spec.len > longest())
		spec.len = longest();
	spec.at = between(&state, 0, 997);
	dice = (unsigned)between(&state, 0, 99);
	spec.nfds = dice < 50 ? 0 : between(&state, 0, dice < 90 ? 3 : most_fds(spec.take));
	if (spec.nfds > most_fds(spec.take))
		spec.nfds = most_fds(spec.take);
	spec.first = between(&state, 0, FILES - 1);
	return spec;
}

/* Says in a failure what it was about. */
static void say(uint32_t number)
{
	check_about("seed %llu, format %u%s%s%s%s, message %u", (unsigned long long)seed,
		    plan.format, plan.more ? ", more" : "", plan.take ? ", take" : "",
		    plan.lossless ? ", lossless" : "", plan.few ? ", few" : "", number);
}

/* --- what is sent --- */

static unsigned char payload[LONGEST + 1000];
static int pool[FILES];
static struct stat pool_stat[FILES];

static void open_pool(void)
{
	/* More than there is in flight, which of an ordinary user may be as many as open. */
	need_descriptors(1900);
	make_payload(payload, sizeof payload);
	open_files(pool, FILES);
	for (size_t i = 0; i < FILES; i++)
		CHECK(fstat(pool[i], &pool_stat[i]) == 0);
}

static size_t pool_place(const struct spec *spec, size_t number)
{
	return (spec->first + number * number) % FILES;
}

/* In front of the payload in a format of our own: the length of all, how many
 * descriptors, type and id. */
enum { OWN_HEADER = 16 };

static void make_own(unsigned char *bytes, const struct spec *spec)
{
	const uint32_t header[4] = { (uint32_t)(OWN_HEADER + spec->len), (uint32_t)spec->nfds,
				     spec->type, spec->id };

	memcpy(bytes, header, OWN_HEADER);
	memcpy(bytes + OWN_HEADER, payload + spec->at, spec->len);
}

static int cut_own(const void *start, size_t have, struct ancillary_layout *layout, void *context)
{
	uint32_t header[4];

	CHECK(context == &plan);
	if (have < OWN_HEADER)
		return 0;
	memcpy(header, start, OWN_HEADER);
	layout->len = header[0];
	layout->nfds = header[1];
	layout->type = header[2];
	layout->id = header[3];
	return 1;
}

static struct ancillary_frame frame_of(const struct spec *spec, int *fds)
{
	static unsigned char own[OWN_HEADER + LONGEST];
	struct ancillary_frame frame = message(spec->type, spec->id, payload + spec->at, spec->len,
					       fds, spec->nfds);

	frame.pid = spec->pid;
	if (plan.format == ANCILLARY_FORMAT_OWN) {
		make_own(own, spec);
		frame.data = own;
		frame.len = OWN_HEADER + spec->len;
	}
	return frame;
}

static void check_frame(const struct ancillary_frame *frame, const struct spec *spec)
{
	const unsigned char *data = frame->data;
	size_t len = frame->len;

	if (plan.format == ANCILLARY_FORMAT_OWN) {
		CHECK(len >= OWN_HEADER);
		data += OWN_HEADER;
		len -= OWN_HEADER;
	}
	CHECK_IS(frame->type, spec->type);
	CHECK_IS(frame->id, spec->id);
	CHECK_IS(frame->pid, is_imsg() ? spec->pid : 0);
	CHECK_IS(len, spec->len);
	CHECK(memcmp(data, payload + spec->at, len) == 0);
	CHECK_IS(frame->nfds, spec->nfds);
	for (size_t i = 0; i < frame->nfds; i++) {
		const struct stat *expected = &pool_stat[pool_place(spec, i)];
		struct stat is;

		CHECK(fstat(frame->fds[i], &is) == 0);
		CHECK(is.st_ino == expected->st_ino && is.st_dev == expected->st_dev);
		CHECK_IS(fcntl(frame->fds[i], F_GETFD), FD_CLOEXEC);
	}
}

/* --- faults --- */

static uint64_t fault_state;
static bool cutting;

static struct {
	unsigned long cut, refused, full;
} faults;

/* The system call with so many bytes less than it asked for. */
static long with_fewer_bytes(const struct call *call)
{
	struct msghdr *whole = (struct msghdr *)call->arguments[1], less = *whole;
	static struct iovec iov[1024];
	struct call changed = *call;
	size_t total = 0, most;
	long result;

	for (size_t i = 0; i < (size_t)whole->msg_iovlen; i++)
		total += whole->msg_iov[i].iov_len;
	if (total < 2)
		return make_call(call);
	/* Often within a header. */
	most = between(&fault_state, 1, chance(&fault_state, 40) && total > 30 ? 30 : total - 1);
	shorten(&less, iov, LENGTH(iov), most);
	changed.arguments[1] = (long)&less;
	faults.cut++;
	result = make_call(&changed);
	if (call->number == SYS_recvmsg) {
		whole->msg_controllen = less.msg_controllen;
		whole->msg_flags = less.msg_flags;
	}
	return result;
}

static void limit_table(const struct rlimit *limits)
{
	int error = errno;

	CHECK(setrlimit(RLIMIT_NOFILE, limits) == 0);
	errno = error;
}

/* The system call with a table of descriptors that is full, but for a few. */
static long with_full_table(const struct call *call)
{
	struct rlimit before, limits;
	int error = errno;
	long lowest = make_call(&(struct call){ "", SYS_fcntl, { 0, F_DUPFD, 0 } }), result;

	errno = error;
	/* It is already. */
	if (lowest < 0)
		return make_call(call);
	make_call(&(struct call){ "", SYS_close, { lowest } });
	CHECK(getrlimit(RLIMIT_NOFILE, &before) == 0);
	limits = before;
	limits.rlim_cur = (rlim_t)lowest + between(&fault_state, 0, 3);
	limit_table(&limits);
	faults.full++;
	result = make_call(call);
	limit_table(&before);
	return result;
}

static long refused(int error)
{
	faults.refused++;
	errno = error;
	return -1;
}

static long spoiled(const struct call *call)
{
	static const int passing[] = { ENOBUFS, ENOMEM, ETOOMANYREFS };
	bool sending = call->number == SYS_sendmsg;
	long result;
	unsigned dice;

	if (!cutting || (!sending && call->number != SYS_recvmsg))
		return make_call(call);
	dice = (unsigned)between(&fault_state, 0, 99);
	if (dice < 10)
		return refused(EINTR);
	if (dice < 20)
		return refused(EAGAIN);
	if (dice < 25 && sending)
		return refused(passing[between(&fault_state, 0, LENGTH(passing) - 1)]);
	if (dice < 35 && !sending && plan.lossless)
		result = with_full_table(call);
	else if (dice < 70 && can_be_short(call))
		result = with_fewer_bytes(call);
	else
		result = make_call(call);
	note_look(call, result);
	return result;
}

/* --- sending --- */

struct side {
	struct end end;
	uint64_t state; /* for what the other side need not know */
	uint32_t sent, received;
};

static bool is_passing(int result)
{
	return result == -EAGAIN ||
	       (plan.cut && (result == -ENOBUFS || result == -ENOMEM || result == -ETOOMANYREFS));
}

static void wait_for(const struct side *side, short events)
{
	struct pollfd polled = { .fd = side->end.channel.sock, .events = events };

	CHECK(poll(&polled, 1, WAIT_MS) == 1);
}

/* Sends the next message; whether it was taken. */
static bool send_next(struct side *side)
{
	static int fds[MOST_TAKEN], before[MOST_TAKEN];
	struct spec spec = spec_of(side->sent);
	struct ancillary_frame frame = frame_of(&spec, fds);
	unsigned flags = (spec.take ? TAKE : 0) | (spec.more ? MORE : 0);
	int result;

	for (size_t i = 0; i < spec.nfds; i++)
		before[i] = fds[i] = duplicate(pool[pool_place(&spec, i)]);
	if (!plan.blocking && chance(&side->state, 50))
		flags |= DONTWAIT;
	errno = CHECK_ERRNO;
	result = ancillary_channel_send(&side->end.channel, &frame, flags);
	CHECK_IS(errno, result < 0 ? -result : CHECK_ERRNO);
	CHECK(result == 0 || is_passing(result));
	if (result == 0 && spec.take) {
		CHECK(all_none(fds, spec.nfds));
	} else {
		/* Whatever else: they are the caller's, and not needed any more. */
		CHECK(memcmp(fds, before, spec.nfds * sizeof *fds) == 0);
		close_files(fds, spec.nfds);
	}
	if (result != 0)
		return false;
	side->sent++;
	return true;
}

static bool flush(struct side *side)
{
	int result = ancillary_channel_flush(&side->end.channel, 0);

	CHECK(result == 0 || is_passing(result));
	CHECK_IS(ancillary_channel_events(&side->end.channel) & POLLOUT, result == 0 ? 0 : POLLOUT);
	return result == 0;
}

static void send_all(struct side *side)
{
	while (side->sent < plan.messages) {
		say(side->sent);
		if (!send_next(side))
			wait_for(side, POLLOUT);
		if (chance(&side->state, 5) && !flush(side))
			wait_for(side, POLLOUT);
	}
	while (!flush(side))
		wait_for(side, POLLOUT);
}

/* --- receiving --- */

/* What else comes with messages, and is not asked for.  Lossless, a read of fewer
 * bytes than were seen cannot be told from others where pidfds come, but that is
 * one that no kernel makes. */
static void switch_something(struct side *side)
{
	static const int options[] = { SO_PASSCRED, SO_TIMESTAMP, OPTION_INQ, OPTION_PASSPIDFD };
	size_t last = LENGTH(options) - (plan.cut && plan.lossless ? 2 : 1);
	size_t which = between(&side->state, 0, last);
	int on = (int)between(&side->state, 0, 1);

	/* Not all systems have all of them. */
	if (setsockopt(side->end.channel.sock, SOL_SOCKET, options[which], &on, sizeof on) < 0)
		CHECK(errno == ENOPROTOOPT);
}

/* With a table of descriptors that is nearly full at times. */
static int receive(struct side *side, struct ancillary_frame *frame)
{
	unsigned flags = !plan.blocking && chance(&side->state, 50) ? DONTWAIT : 0;
	bool full = plan.lossless && chance(&side->state, 10);
	rlim_t before = 0;
	int result;

	if (chance(&side->state, 3))
		switch_something(side);
	*frame = unset();
	if (full)
		before = leave_slots(between(&side->state, 0, 3));
	errno = CHECK_ERRNO;
	result = ancillary_channel_recv(&side->end.channel, frame, flags);
	CHECK_IS(errno, result < 0 ? -result : CHECK_ERRNO);
	if (full)
		set_limit(before);
	/* Which of them depends on when the table was full. */
	if (plan.lossless && (result == -EMFILE || result == -EACCES))
		return -EAGAIN;
	CHECK(result == 1 || result == 0 || is_passing(result));
	return result;
}

/* Receives and checks the next message, if it is there. */
static bool receive_next(struct side *side, struct ancillary_frame *frame)
{
	struct spec spec = spec_of(side->received);
	int result = receive(side, frame);

	if (result < 0)
		return false;
	CHECK_IS(result, 1);
	check_frame(frame, &spec);
	side->received++;
	return true;
}

/* Of some of them; the channel closes the others. */
static void take_some(struct side *side, const struct ancillary_frame *frame)
{
	for (size_t i = 0; i < frame->nfds; i++) {
		if (chance(&side->state, 30)) {
			close_files(&frame->fds[i], 1);
			frame->fds[i] = -1;
		}
	}
}

static void receive_end(struct side *side)
{
	for (int times = 0; times < 2; times++) {
		struct ancillary_frame frame;
		int result;

		while ((result = receive(side, &frame)) < 0)
			wait_for(side, POLLIN);
		CHECK_IS(result, 0);
	}
}

static void receive_all(struct side *side)
{
	while (side->received < plan.messages) {
		struct ancillary_frame frame;

		say(side->received);
		if (receive_next(side, &frame))
			take_some(side, &frame);
		else
			wait_for(side, POLLIN);
	}
	receive_end(side);
}

/* Sends each message back as it lies. */
static void echo_all(struct side *side)
{
	while (side->received < plan.messages) {
		struct ancillary_frame frame;
		unsigned flags = TAKE | (chance(&side->state, 50) ? MORE : 0);

		say(side->received);
		if (!receive_next(side, &frame)) {
			if (!flush(side))
				wait_for(side, POLLIN | POLLOUT);
			else
				wait_for(side, POLLIN);
			continue;
		}
		for (;;) {
			int result = ancillary_channel_send(&side->end.channel, &frame, flags);

			if (result == 0)
				break;
			CHECK(is_passing(result));
			wait_for(side, POLLOUT);
		}
	}
	while (!flush(side))
		wait_for(side, POLLOUT);
	receive_end(side);
}

/* Sends all, and receives all of it again. */
static void send_and_receive_all(struct side *side)
{
	while (side->received < plan.messages) {
		struct ancillary_frame frame;
		struct pollfd polled = { .fd = side->end.channel.sock };

		say(side->received);
		if (side->sent < plan.messages && send_next(side))
			continue;
		if (side->sent == plan.messages)
			flush(side);
		if (receive_next(side, &frame)) {
			take_some(side, &frame);
			continue;
		}
		polled.events = (short)ancillary_channel_events(&side->end.channel);
		if (side->sent < plan.messages)
			polled.events |= POLLOUT;
		CHECK(poll(&polled, 1, WAIT_MS) == 1);
	}
	/* The padding of the last message may be on its way yet. */
	CHECK(shutdown(side->end.channel.sock, SHUT_WR) == 0);
	receive_end(side);
}

/* --- two processes --- */

static void open_side(struct side *side, int sock, uint64_t salt)
{
	size_t out_nfds = plan.few ? FEW : MOST_TAKEN;
	struct room room;

	memset(side, 0, sizeof *side);
	side->state = seed ^ salt;
	fault_state = seed ^ salt << 32;
	/* At least the longest message, with its padding. */
	room.in_size = longest() + 24 + between(&side->state, 0, 1) * longest() / 2;
	room.out_size = longest() + 24 + between(&side->state, 0, 1) * longest() / 2;
	room.out_nfds = out_nfds;
	/* What is said to be enough: twice of what the peer sends at once. */
	room.in_nfds = is_imsg() ? 2 : plan.few ? 2 * out_nfds : MOST_TAKEN + MOST;
	if (!plan.few && !is_imsg() && !plan.take)
		room.in_nfds = 2 * MOST;
	open_end(&side->end, sock, plan.format, plan.lossless ? ANCILLARY_LOSSLESS : 0, room);
	side->end.channel.cut = plan.format == ANCILLARY_FORMAT_OWN ? cut_own : NULL;
	side->end.channel.context = &plan;
	cutting = plan.cut;
}

static void close_side(struct side *side, int sock[2], int end, size_t open_before)
{
	cutting = false;
	close_end_of(&side->end);
	CHECK_IS(open_descriptors(), open_before);
	close_end(sock, end);
}

static void run(void)
{
	static struct side side;
	int sock[2];
	size_t before;
	pid_t pid;

	open_pair(SOCK_STREAM | (plan.blocking ? 0 : SOCK_NONBLOCK), sock);
	for (int end = HERE; end <= THERE; end++)
		if (plan.cut)
			set_option(sock[end], SO_SNDBUF, 1);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		close_end(sock, HERE);
		before = open_descriptors();
		open_side(&side, sock[THERE], 0x123456789);
		if (plan.echo)
			echo_all(&side);
		else
			receive_all(&side);
		close_side(&side, sock, THERE, before);
		_exit(0);
	}
	close_end(sock, THERE);
	before = open_descriptors();
	open_side(&side, sock[HERE], 0x987654321);
	if (plan.echo)
		send_and_receive_all(&side);
	else
		send_all(&side);
	/* The end is seen where nothing is left. */
	close_side(&side, sock, HERE, before);
	check_child(pid);
}

static void start(void)
{
	struct timespec now;

	CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
	seed = number_in("ANCILLARY_TEST_SEED",
			 (unsigned long)now.tv_sec * 1000 + (unsigned long)now.tv_nsec / 1000000);
	printf("# ANCILLARY_TEST_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	on_call = spoiled;
	open_pool();
}

static void end_all(void)
{
	close_files(pool, FILES);
}

/* With and without MORE and TAKE, with many descriptors and few. */
static void run_each(struct plan given)
{
	int messages = some_of(MESSAGES - 1) + 1;

	start();
	plan = given;
	plan.messages = (uint32_t)(messages * number_in("ANCILLARY_TEST_ROUNDS", 1));
	for (unsigned way = 0; way < 8; way++) {
		plan.more = way & 1;
		plan.take = way & 2;
		plan.few = way & 4;
		run();
		seed++;
	}
	CHECK(!plan.cut || messages < MESSAGES || (faults.cut > 0 && faults.refused > 0));
	end_all();
}

#define CASE_OF(name, ...) \
	static void name(void) \
	{ \
		run_each((struct plan){ __VA_ARGS__ }); \
	}

#define CASES_OF(name, ...) \
	CASE_OF(name##_blocking, __VA_ARGS__, .blocking = true) \
	CASE_OF(name##_nonblocking, __VA_ARGS__) \
	CASE_OF(name##_blocking_and_cut, __VA_ARGS__, .blocking = true, .cut = true) \
	CASE_OF(name##_nonblocking_and_cut, __VA_ARGS__, .cut = true) \
	CASE_OF(name##_sent_back, __VA_ARGS__, .echo = true) \
	CASE_OF(name##_sent_back_and_cut, __VA_ARGS__, .echo = true, .cut = true)

CASES_OF(plain, .format = ANCILLARY_FORMAT_PLAIN)
CASES_OF(plain_lossless, .format = ANCILLARY_FORMAT_PLAIN, .lossless = true)
CASES_OF(imsg, .format = ANCILLARY_FORMAT_IMSG)
CASES_OF(imsg_lossless, .format = ANCILLARY_FORMAT_IMSG, .lossless = true)
CASES_OF(old_imsg, .format = ANCILLARY_FORMAT_IMSG_OLD)
CASES_OF(old_imsg_lossless, .format = ANCILLARY_FORMAT_IMSG_OLD, .lossless = true)
CASES_OF(own, .format = ANCILLARY_FORMAT_OWN)
CASES_OF(own_lossless, .format = ANCILLARY_FORMAT_OWN, .lossless = true)

CHECK_MAIN(CASE(plain_blocking), CASE(plain_nonblocking), CASE(plain_blocking_and_cut),
	   CASE(plain_nonblocking_and_cut), CASE(plain_sent_back), CASE(plain_sent_back_and_cut),
	   CASE(plain_lossless_blocking), CASE(plain_lossless_nonblocking),
	   CASE(plain_lossless_blocking_and_cut), CASE(plain_lossless_nonblocking_and_cut),
	   CASE(plain_lossless_sent_back), CASE(plain_lossless_sent_back_and_cut),
	   CASE(imsg_blocking), CASE(imsg_nonblocking), CASE(imsg_blocking_and_cut),
	   CASE(imsg_nonblocking_and_cut), CASE(imsg_sent_back), CASE(imsg_sent_back_and_cut),
	   CASE(imsg_lossless_blocking), CASE(imsg_lossless_nonblocking),
	   CASE(imsg_lossless_blocking_and_cut), CASE(imsg_lossless_nonblocking_and_cut),
	   CASE(imsg_lossless_sent_back), CASE(imsg_lossless_sent_back_and_cut),
	   CASE(old_imsg_blocking), CASE(old_imsg_nonblocking), CASE(old_imsg_blocking_and_cut),
	   CASE(old_imsg_nonblocking_and_cut), CASE(old_imsg_sent_back),
	   CASE(old_imsg_sent_back_and_cut), CASE(old_imsg_lossless_blocking),
	   CASE(old_imsg_lossless_nonblocking), CASE(old_imsg_lossless_blocking_and_cut),
	   CASE(old_imsg_lossless_nonblocking_and_cut), CASE(old_imsg_lossless_sent_back),
	   CASE(old_imsg_lossless_sent_back_and_cut), CASE(own_blocking), CASE(own_nonblocking),
	   CASE(own_blocking_and_cut), CASE(own_nonblocking_and_cut), CASE(own_sent_back),
	   CASE(own_sent_back_and_cut), CASE(own_lossless_blocking),
	   CASE(own_lossless_nonblocking), CASE(own_lossless_blocking_and_cut),
	   CASE(own_lossless_nonblocking_and_cut), CASE(own_lossless_sent_back),
	   CASE(own_lossless_sent_back_and_cut))
