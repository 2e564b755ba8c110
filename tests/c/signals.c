/* Signals that come while a call waits. */

#include "check.h"
#include "kit.h"

#include <alloca.h>
#include <ancillary.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* --- a thread that signals --- */

/* Signals the thread that started it, waiting each time until the signal has
 * been handled, then does something else.  Without a number of times it goes
 * on until it is told to stop. */
struct pest {
	pthread_t target;
	int times;
	void (*then)(int sock);
	int sock;
	volatile bool stop;
	pthread_t thread;
};

static void *pester(void *argument)
{
	struct pest *pest = argument;

	for (int i = 0; pest->times == 0 || i < pest->times; i++) {
		int before = signals_handled;

		sleep_ms(2);
		CHECK(pthread_kill(pest->target, SIGUSR1) == 0);
		while (signals_handled == before && !pest->stop)
			sleep_ms(1);
		if (pest->stop)
			break;
	}
	if (pest->then)
		pest->then(pest->sock);
	return NULL;
}

static void start_pest(struct pest *pest)
{
	count_signal(SIGUSR1);
	pest->target = pthread_self();
	pest->thread = start_thread(pester, pest);
}

static void end_pest(struct pest *pest)
{
	if (pest->times == 0)
		pest->stop = true;
	end_thread(pest->thread);
	CHECK(pest->times == 0 || signals_handled >= pest->times);
}

/* --- with ANCILLARY_INTR --- */

static void interrupt_a_receive(int type, int sock[2])
{
	struct pest pest = { .times = 0 };
	int received[2];
	size_t nfds = 2;
	char got[8];

	start_pest(&pest);
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, 8, ANCILLARY_INTR), EINTR);
	CHECK_IS(nfds, 0);
	CHECK(all_none(received, 2));
	if (type == SOCK_STREAM)
		CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, 8,
					     ANCILLARY_INTR | ANCILLARY_WAITALL),
			  EINTR);
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, 8,
				     ANCILLARY_INTR | ANCILLARY_LOSSLESS),
		  EINTR);
	end_pest(&pest);
}

static void intr_ends_a_receive(void)
{
	with_each_type(interrupt_a_receive);
}

static void interrupt_a_send(int type, int sock[2])
{
	struct pest pest = { .times = 0 };

	(void)type;
	fill(sock[HERE]);
	start_pest(&pest);
	CHECK_ERR(ancillary_send_fds(sock[HERE], sock, 2, "x", 1, ANCILLARY_INTR), EINTR);
	CHECK_ERR(ancillary_send_fds(sock[HERE], sock, 2, NULL, 0, ANCILLARY_INTR), EINTR);
	end_pest(&pest);
}

static void intr_ends_a_send(void)
{
	with_each_type(interrupt_a_send);
}

static void intr_gives_what_has_come(void)
{
	struct pest pest = { .times = 0 };
	int sock[2], file, received[2];
	size_t nfds = 2;
	char got[8];

	open_pair(SOCK_STREAM, sock);
	open_files(&file, 1);
	CHECK_OK(ancillary_send_fds(sock[HERE], &file, 1, "abc", 3, 0), 3);
	start_pest(&pest);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 8,
				    ANCILLARY_INTR | ANCILLARY_WAITALL),
		 3);
	CHECK_IS(nfds, 1);
	take_arrived(received, 2, &file, 1);
	end_pest(&pest);
	close_files(&file, 1);
	close_pair(sock);
}

static void intr_tells_what_has_gone(void)
{
	enum { LARGE = 1 << 20 };
	struct pest pest = { .times = 0 };
	char *data = calloc(1, LARGE);
	int sock[2], files[600], received[600];
	size_t nfds = 600;
	ssize_t n;

	CHECK(data);
	open_pair(SOCK_STREAM, sock);
	open_files(files, 600);
	start_pest(&pest);
	errno = CHECK_ERRNO;
	n = ancillary_send_fds(sock[HERE], files, 600, data, LARGE, ANCILLARY_INTR);
	CHECK_IS(errno, CHECK_ERRNO);
	CHECK(n >= 3 && n < LARGE);
	end_pest(&pest);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, data, (size_t)n,
				    ANCILLARY_WAITALL),
		 n);
	CHECK_IS(nfds, 600);
	take_arrived(received, 600, files, 600);
	check_nothing_there(sock[THERE]);
	close_files(files, 600);
	close_pair(sock);
	free(data);
}

/* --- without --- */

static int to_send;

static void send_three_bytes(int sock)
{
	CHECK_IS(send_by_hand(sock, "abc", 3, &to_send, 1), 3);
}

static void send_one_byte(int sock)
{
	CHECK_IS(send_by_hand(sock, "", 1, &to_send, 1), 1);
}

static void go_on_receiving(int type, int sock[2])
{
	struct pest pest = { .times = 5, .then = send_three_bytes, .sock = sock[HERE] };
	int received[2];
	size_t nfds = 2;
	char got[3];

	(void)type;
	open_files(&to_send, 1);
	start_pest(&pest);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 3, ANCILLARY_WAITALL), 3);
	end_pest(&pest);
	take_arrived(received, 2, &to_send, 1);

	pest.then = send_one_byte;
	start_pest(&pest);
	errno = CHECK_ERRNO;
	received[0] = ancillary_recv_fd(sock[THERE]);
	CHECK_IS(errno, CHECK_ERRNO);
	end_pest(&pest);
	take_arrived(received, 1, &to_send, 1);
	close_files(&to_send, 1);
}

static void a_receive_goes_on(void)
{
	with_each_type(go_on_receiving);
}

/* Receives what fill() has sent, up to the message that waits behind it. */
static void unfill(int sock)
{
	char byte, block[4096];

	while (recv(sock, &byte, 1, MSG_PEEK) == 1 && byte == 'f')
		CHECK(recv(sock, block, sizeof block, 0) > 0);
}

static void go_on_sending(int type, int sock[2])
{
	struct pest pest = { .times = 5, .then = unfill, .sock = sock[THERE] };
	int file, received;
	size_t nfds = 1;
	char got[3];

	(void)type;
	open_files(&file, 1);
	fill(sock[HERE]);
	start_pest(&pest);
	CHECK_OK(ancillary_send_fds(sock[HERE], &file, 1, "abc", 3, 0), 3);
	end_pest(&pest);
	CHECK_OK(ancillary_recv_fds(sock[THERE], &received, &nfds, got, 3, 0), 3);
	CHECK(memcmp(got, "abc", 3) == 0);
	take_arrived(&received, 1, &file, 1);

	fill(sock[HERE]);
	start_pest(&pest);
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	end_pest(&pest);
	received = ancillary_recv_fd(sock[THERE]);
	take_arrived(&received, 1, &file, 1);
	check_nothing_there(sock[THERE]);
	close_files(&file, 1);
}

static void a_send_goes_on(void)
{
	with_each_type(go_on_sending);
}

static void wait_until_timeout(int type, int sock[2])
{
	struct pest pest = { .times = 5 };
	int received;
	size_t nfds = 1;

	(void)type;
	set_timeout(sock[THERE], SO_RCVTIMEO, 50);
	set_timeout(sock[HERE], SO_SNDTIMEO, 50);
	start_pest(&pest);
	CHECK_ERR(ancillary_recv_fds(sock[THERE], &received, &nfds, NULL, 0, 0), EAGAIN);
	end_pest(&pest);
	fill(sock[HERE]);
	start_pest(&pest);
	CHECK_ERR(ancillary_send_fd(sock[HERE], sock[HERE]), EAGAIN);
	end_pest(&pest);
}

static void a_timeout_still_ends_it(void)
{
	with_each_type(wait_until_timeout);
}

/* --- a storm --- */

/* The last is more than the rounds have in flight, all of which fits the buffer of a socket. */
enum { POOL = 32, ROUND_FDS = 600, ROUND_LEN = 200000, IN_FLIGHT = 4000 };

/* One stream of rounds, of which both sides know the sizes. */
struct storm {
	int sock[2];
	int pool[POOL];
	unsigned send_flags, receive_flags;
	pthread_t sender, receiver;
	volatile bool over;
	size_t sent_bytes, sent_fds, received_bytes, received_fds;
};

struct rounds {
	uint32_t random;
	size_t len, count;
};

static uint32_t random_below(struct rounds *rounds, uint32_t bound)
{
	rounds->random = rounds->random * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)rounds->random * bound) >> 32);
}

static void next_round(struct rounds *rounds)
{
	static const uint32_t lens[] = { 10, 1000, ROUND_LEN };
	static const uint32_t counts[] = { 1, 10, ROUND_FDS };

	rounds->len = 3 + random_below(rounds, lens[random_below(rounds, 3)] - 2);
	rounds->count = random_below(rounds, counts[random_below(rounds, 3)] + 1);
}

static void send_round(struct storm *storm, const struct rounds *round, const unsigned char *data)
{
	int fds[ROUND_FDS];
	size_t bytes = 0, gone = 0;

	for (size_t i = 0; i < round->count; i++)
		fds[i] = storm->pool[(storm->sent_fds + i) % POOL];
	while (bytes < round->len) {
		ssize_t n = ancillary_send_fds(storm->sock[HERE], fds + gone, round->count - gone,
					       data + bytes, round->len - bytes,
					       storm->send_flags);

		if (n == -EINTR && storm->send_flags & ANCILLARY_INTR)
			continue;
		CHECK(n > 0);
		CHECK(storm->send_flags & ANCILLARY_INTR || (size_t)n == round->len);
		bytes += (size_t)n;
		gone += (size_t)n * MOST;
		if (gone > round->count)
			gone = round->count;
	}
	storm->sent_bytes += bytes;
	storm->sent_fds += round->count;
}

static void *storm_sender(void *argument)
{
	struct storm *storm = argument;
	struct rounds rounds = { .random = 1 };
	unsigned char *data = malloc(ROUND_LEN);

	CHECK(data);
	make_payload(data, ROUND_LEN);
	while (!storm->over) {
		next_round(&rounds);
		send_round(storm, &rounds, data);
	}
	CHECK(shutdown(storm->sock[HERE], SHUT_WR) == 0);
	free(data);
	return NULL;
}

/* Returns whether there was a round. */
static bool receive_round(struct storm *storm, const struct rounds *round, unsigned char *data)
{
	int fds[ROUND_FDS];
	size_t bytes = 0, came = 0;

	while (bytes < round->len) {
		size_t nfds = round->count - came;
		ssize_t n = ancillary_recv_fds(storm->sock[THERE], fds + came, &nfds, data + bytes,
					       round->len - bytes, storm->receive_flags);

		if (n == -EINTR && storm->receive_flags & ANCILLARY_INTR)
			continue;
		if (n == 0 && bytes == 0)
			return false;
		CHECK(n > 0);
		CHECK(storm->receive_flags != ANCILLARY_WAITALL || (size_t)n == round->len);
		bytes += (size_t)n;
		came += nfds;
	}
	CHECK_IS(came, round->count);
	CHECK(is_payload(data, round->len, 0));
	for (size_t i = 0; i < came; i++)
		CHECK(same_file(fds[i], storm->pool[(storm->received_fds + i) % POOL]));
	ancillary_close_fds(fds, came);
	storm->received_bytes += bytes;
	storm->received_fds += came;
	return true;
}

static void *storm_receiver(void *argument)
{
	struct storm *storm = argument;
	struct rounds rounds = { .random = 1 };
	unsigned char *data = malloc(ROUND_LEN);

	CHECK(data);
	do
		next_round(&rounds);
	while (receive_round(storm, &rounds, data));
	free(data);
	return NULL;
}

static void run_storm(unsigned send_flags, unsigned receive_flags)
{
	struct storm storm = { .send_flags = send_flags, .receive_flags = receive_flags };
	struct timespec pause = { 0, 50000 }, start, now;

	/* Of an ordinary user no more may be in flight than may be open, unix(7). */
	need_descriptors(IN_FLIGHT);
	open_pair(SOCK_STREAM, storm.sock);
	open_files(storm.pool, POOL);
	count_signal(SIGUSR1);
	storm.receiver = start_thread(storm_receiver, &storm);
	storm.sender = start_thread(storm_sender, &storm);
	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		pthread_kill(storm.sender, SIGUSR1);
		pthread_kill(storm.receiver, SIGUSR1);
		nanosleep(&pause, NULL);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 <
			 400 ||
		 signals_handled <= 100);
	storm.over = true;
	end_thread(storm.sender);
	end_thread(storm.receiver);
	CHECK_IS(storm.received_bytes, storm.sent_bytes);
	CHECK_IS(storm.received_fds, storm.sent_fds);
	CHECK(storm.sent_fds > 0);
	close_files(storm.pool, POOL);
	close_pair(storm.sock);
}

static void a_storm(void)
{
	run_storm(0, 0);
}

static void a_storm_on_waitall(void)
{
	run_storm(0, ANCILLARY_WAITALL);
}

static void a_storm_with_intr(void)
{
	run_storm(ANCILLARY_INTR, ANCILLARY_INTR);
}

static void a_storm_on_waitall_with_intr(void)
{
	run_storm(ANCILLARY_INTR, ANCILLARY_INTR | ANCILLARY_WAITALL);
}

static void a_storm_on_lossless(void)
{
	run_storm(0, ANCILLARY_LOSSLESS | ANCILLARY_WAITALL);
}

static void a_storm_on_lossless_with_intr(void)
{
	run_storm(ANCILLARY_INTR, ANCILLARY_LOSSLESS | ANCILLARY_INTR);
}

/* --- in a handler --- */

static int other[2], other_file;
static volatile int handlers_done;

static void pass_in_handler(int number)
{
	int received[2], error = errno;
	size_t nfds = 2;
	char got[2];

	(void)number;
	CHECK_OK(ancillary_send_fd(other[HERE], other_file), 0);
	received[0] = ancillary_recv_fd(other[THERE]);
	CHECK(same_file(received[0], other_file));
	ancillary_close_fds(received, 1);
	CHECK_OK(ancillary_send_fds(other[HERE], other, 2, "ab", 2, 0), 2);
	CHECK_OK(ancillary_recv_fds(other[THERE], received, &nfds, got, 2, ANCILLARY_WAITALL), 2);
	ancillary_close_fds(received, nfds);
	/* And something that fails: a handler has to put errno back for that.  It can have
	 * come when a call was interrupted, and before that was asked for. */
	CHECK_ERR(ancillary_send_fd(-1, other_file), EBADF);
	errno = error;
	handlers_done++;
}

static void *signal_and_send(void *argument)
{
	struct pest *pest = argument;

	for (int i = 0; i < 10; i++) {
		int before = handlers_done;

		sleep_ms(2);
		CHECK(pthread_kill(pest->target, SIGUSR2) == 0);
		while (handlers_done == before)
			sleep_ms(1);
	}
	send_one_byte(pest->sock);
	return NULL;
}

static void pass_while_a_receive_waits(int type, int sock[2])
{
	struct sigaction action = { .sa_handler = pass_in_handler };
	struct pest pest = { .target = pthread_self(), .sock = sock[HERE] };
	int received;

	open_pair(type, other);
	open_files(&other_file, 1);
	open_files(&to_send, 1);
	CHECK(sigaction(SIGUSR2, &action, NULL) == 0);
	pest.thread = start_thread(signal_and_send, &pest);
	errno = CHECK_ERRNO;
	received = ancillary_recv_fd(sock[THERE]);
	CHECK_IS(errno, CHECK_ERRNO);
	end_thread(pest.thread);
	take_arrived(&received, 1, &to_send, 1);
	close_files(&to_send, 1);
	close_files(&other_file, 1);
	close_pair(other);
}

static void a_handler_may_send_and_receive(void)
{
	with_each_type(pass_while_a_receive_waits);
}

/* --- on a small stack --- */

/* What a call takes of the stack at most, as the header says. */
enum { CALL_STACK = 16 * 1024, STACK = 256 * 1024, GUARD = 64 * 1024 };

static unsigned char *stack;
static void (*call)(void);
static long long result;
static int pair[2], slots[MOST];
static char text[4096];

/* Has nothing but that much between its frame and the guard, so a call that takes
 * more ends the case by SIGSEGV. */
static void *call_with_little_stack(void *argument)
{
	unsigned char *here = __builtin_frame_address(0);
	volatile unsigned char *rest = alloca((size_t)(here - stack) - GUARD - CALL_STACK);

	*rest = 0;
	call();
	return argument;
}

static void check_stack(void (*run)(void), long long expected)
{
	pthread_attr_t attributes;
	pthread_t thread;

	stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(stack != MAP_FAILED);
	CHECK(mprotect(stack, GUARD, PROT_NONE) == 0);
	CHECK(pthread_attr_init(&attributes) == 0);
	CHECK(pthread_attr_setstack(&attributes, stack, STACK) == 0);
	call = run;
	CHECK(pthread_create(&thread, &attributes, call_with_little_stack, NULL) == 0);
	end_thread(thread);
	CHECK(pthread_attr_destroy(&attributes) == 0);
	CHECK(munmap(stack, STACK) == 0);
	CHECK_IS(result, expected);
}

static void receive_lossless(void)
{
	size_t nfds = 1;

	result = ancillary_recv_fds(pair[THERE], slots, &nfds, text, sizeof text,
				    ANCILLARY_LOSSLESS);
}

static void receive_message(void)
{
	struct iovec room = { text, sizeof text };
	struct ancillary_msg msg = {
		.size = sizeof msg, .iov = &room, .iovlen = 1, .fds = slots, .nfds = MOST,
	};

	result = ancillary_recv_msg(pair[THERE], &msg, 0);
	ancillary_close_fds(slots, MOST);
}

static void listen_again(void)
{
	result = ancillary_listen(text, SOCK_STREAM, 0600, ANCILLARY_REPLACE);
	if (result >= 0)
		result = close((int)result);
}

static struct ancillary_channel channels[2];
static int channel_fds[2][600], taken[300];

static void send_on_a_channel(void)
{
	struct ancillary_frame frame = { .data = text, .len = 100, .fds = taken, .nfds = 300 };

	result = ancillary_channel_send(&channels[HERE], &frame, ANCILLARY_TAKE);
}

static void receive_on_a_channel(void)
{
	struct ancillary_frame frame;

	result = ancillary_channel_recv(&channels[THERE], &frame, 0);
}

static void a_call_on_a_channel_takes_no_more_stack_than_documented(void)
{
	static uint64_t data[2][128];
	struct ancillary_channel from = { .size = sizeof from }, to = from;

	open_pair(SOCK_STREAM, pair);
	from.sock = pair[HERE];
	from.out_data = data[HERE];
	from.out_size = sizeof data[HERE];
	from.out_fds = channel_fds[HERE];
	from.out_nfds = LENGTH(channel_fds[HERE]);
	to.sock = pair[THERE];
	to.flags = ANCILLARY_LOSSLESS;
	to.in_data = data[THERE];
	to.in_size = sizeof data[THERE];
	to.in_fds = channel_fds[THERE];
	to.in_nfds = LENGTH(channel_fds[THERE]);
	channels[HERE] = from;
	channels[THERE] = to;
	for (size_t i = 0; i < LENGTH(taken); i++)
		CHECK((taken[i] = dup(pair[HERE])) >= 0);
	/* Bytes in front of descriptors, which a lossless receive counts. */
	CHECK_OK(ancillary_channel_send(&channels[HERE],
					&(struct ancillary_frame){ .data = text, .len = 100 }, 0),
		 0);
	check_stack(send_on_a_channel, 0);
	check_stack(receive_on_a_channel, 1);
	check_stack(receive_on_a_channel, 1);
	ancillary_channel_drop(&channels[THERE]);
	close_pair(pair);
}

static void a_lossless_call_takes_no_more_stack_than_documented(void)
{
	int many[MOST];

	open_pair(SOCK_STREAM, pair);
	for (int i = 0; i < MOST; i++)
		many[i] = pair[HERE];
	CHECK_OK(ancillary_send_fds(pair[HERE], NULL, 0, text, 3000, 0), 3000);
	CHECK_OK(ancillary_send_fds(pair[HERE], many, MOST, "body", 4, 0), 4);
	check_stack(receive_lossless, 3000);
	check_stack(receive_lossless, -E2BIG);
	close_pair(pair);
}

static void a_call_takes_no_more_stack_than_documented(void)
{
	const char *directory = getenv("TMPDIR");
	int many[MOST];

	open_pair(SOCK_STREAM, pair);
	for (int i = 0; i < MOST; i++)
		many[i] = pair[HERE];
	CHECK_OK(ancillary_send_fds(pair[HERE], many, MOST, "body", 4, 0), 4);
	check_stack(receive_message, 4);
	close_pair(pair);

	snprintf(text, sizeof text, "%s/stack-%ld", directory ? directory : "/tmp", (long)getpid());
	/* The first leaves a dead socket, which the second replaces. */
	check_stack(listen_again, 0);
	check_stack(listen_again, 0);
	CHECK(unlink(text) == 0);
}

CHECK_MAIN(CASE(intr_ends_a_receive), CASE(intr_ends_a_send), CASE(intr_gives_what_has_come),
	   CASE(intr_tells_what_has_gone), CASE(a_receive_goes_on), CASE(a_send_goes_on),
	   CASE(a_timeout_still_ends_it), CASE(a_storm), CASE(a_storm_on_waitall),
	   CASE(a_storm_with_intr), CASE(a_storm_on_waitall_with_intr),
	   CASE(a_storm_on_lossless), CASE(a_storm_on_lossless_with_intr),
	   CASE(a_handler_may_send_and_receive),
	   CASE(a_call_takes_no_more_stack_than_documented),
	   CASE(a_lossless_call_takes_no_more_stack_than_documented),
	   CASE(a_call_on_a_channel_takes_no_more_stack_than_documented))
