/* A randomised test of all calls that send and receive, against a model.
 *
 * One thread holds both ends of a pair of sockets and sends, receives, or
 * switches an option at random.  The model knows what is on the way, so it knows
 * what each call must bring, or why it must fail, and checks that and the number
 * of descriptors open after each step.  The sender can also act while a call is
 * made, between its system calls.
 *
 * It is the same every time for a seed: ANCILLARY_TEST_SEED in the environment,
 * else the time.  ANCILLARY_TEST_ROUNDS makes it so many times longer; raise
 * CHECK_SECONDS with it. */

#include "model.h"

#include <stdio.h>

/* What each of the four settings of a case sends at least. */
enum { MESSAGES = 6000, PHASE = 300 };

static void check_open(const struct world *w, size_t expected)
{
	size_t now = open_below_pool();

	MUST(w, now == expected, "%zu descriptors are open instead of %zu", now, expected);
	MUST(w, kernel_agrees(w), "other than %zu bytes are to be read", unread(w));
}

static void exchange(struct world *w, uint64_t messages)
{
	size_t open = open_below_pool();
	unsigned int sends = 50;

	while (w->counts.messages < messages) {
		/* Now the queue grows, and now it is emptied. */
		if (w->step++ % PHASE == 0)
			sends = (unsigned int)between(15, 70);
		if (chance(5))
			switch_something(w);
		else if (w->type == SOCK_STREAM && chance(2))
			send_mark(w);
		else if (chance(sends))
			send_something(w);
		else
			receive_something(w);
		check_open(w, open);
	}
	receive_all(w);
	check_open(w, open);
	receive_the_end(w);
	check_open(w, open);
}

static void add(struct counts *all, const struct counts *more)
{
	uint64_t *sum = (uint64_t *)all;
	const uint64_t *each = (const uint64_t *)more;

	for (size_t i = 0; i < sizeof *all / sizeof *sum; i++)
		sum[i] += each[i];
}

static void show(const struct counts *c)
{
	printf("# %llu messages, %llu sent in part, %llu not at all for want of room\n"
	       "# %llu descriptors: %llu delivered, %llu dropped\n"
	       "# %llu calls received, %llu refused; %llu had surplus descriptors, %llu lost some, "
	       "%llu cut a datagram; %llu without a common sender, %llu pidfds\n"
	       "# %llu options switched; %llu bytes out of band, %llu of them dropped; "
	       "%llu messages sent during a call\n",
	       (unsigned long long)c->messages, (unsigned long long)c->short_sends,
	       (unsigned long long)c->full, (unsigned long long)c->fds,
	       (unsigned long long)c->delivered, (unsigned long long)c->dropped,
	       (unsigned long long)c->received, (unsigned long long)c->refused,
	       (unsigned long long)c->surplus, (unsigned long long)c->lost,
	       (unsigned long long)c->cut, (unsigned long long)c->without_sender,
	       (unsigned long long)c->pidfds, (unsigned long long)c->switched,
	       (unsigned long long)c->marks, (unsigned long long)c->dropped_marks,
	       (unsigned long long)c->meanwhile);
}

/* Whether none was lost, and, of as many messages as there should be, whether all
 * happened that is to be tested. */
static void check_counts(const struct counts *c, int type, bool lossless)
{
	CHECK_IS(c->fds, c->delivered + c->dropped);
	if (lossless)
		CHECK_IS(c->delivered, c->fds);
	if (some_of(MESSAGES) < MESSAGES)
		return;
	CHECK(c->refused > 0);
	CHECK(c->switched > 0);
	CHECK(c->meanwhile > 0);
	CHECK(c->pidfds > 0 || !has_option(OPTION_PASSPIDFD));
	if (type == SOCK_STREAM) {
		CHECK(c->short_sends > 0);
		CHECK(c->dropped_marks > 0 || !has_marks());
	} else {
		CHECK(c->cut > 0);
	}
	if (!lossless) {
		CHECK(c->surplus > 0);
		CHECK(c->lost > 0 || !limits_hold());
	}
}

static void run(int type, bool lossless)
{
	static struct world world;
	uint64_t seed = seed_wanted();
	unsigned long rounds = rounds_wanted();
	struct counts all = { 0 };

	printf("# ANCILLARY_TEST_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	set_seed(seed);
	find_senders();
	open_pool();
	for (unsigned int options = 0; options < 4; options++) {
		for (unsigned long round = 0; round < rounds; round++) {
			open_world(&world, type, options, lossless);
			exchange(&world, (uint64_t)some_of(MESSAGES));
			add(&all, &world.counts);
			close_world(&world);
		}
	}
	close_pool();
	show(&all);
	check_counts(&all, type, lossless);
}

static void stream(void)
{
	run(SOCK_STREAM, false);
}

static void stream_lossless(void)
{
	run(SOCK_STREAM, true);
}

static void seqpacket(void)
{
	run(SOCK_SEQPACKET, false);
}

static void seqpacket_lossless(void)
{
	run(SOCK_SEQPACKET, true);
}

static void dgram(void)
{
	run(SOCK_DGRAM, false);
}

static void dgram_lossless(void)
{
	run(SOCK_DGRAM, true);
}

CHECK_MAIN(CASE(stream), CASE(stream_lossless), CASE(seqpacket), CASE(seqpacket_lossless),
	   CASE(dgram), CASE(dgram_lossless), CASE(two_readers), CASE(lossless_while_sending))
