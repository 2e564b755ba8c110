/* Channels with a peer that sends what no peer should. */

#include "channel_script.h"
#include "check.h"
#include "kept.h"
#include "kit.h"

#include <ancillary.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static unsigned char script[1000];
static size_t len;

static void add(unsigned byte)
{
	script[len++] = (unsigned char)byte;
}

static void add_all(const unsigned char *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		add(bytes[i]);
}

/* --- what the fuzzer has found --- */

static void what_goes_alone_stays_alone(void)
{
	for (unsigned format = 0; format <= ANCILLARY_FORMAT_OWN; format++) {
		const unsigned char before[] = { 255, 255, 255, 255, (unsigned char)format, 0 };
		const unsigned char after[] = {
			SEND, CALL_MORE | CALL_TAKE, 1, 0, 1,
			SET_FORMAT, ANCILLARY_FORMAT_PLAIN,
			SEND, CALL_MORE | CALL_TAKE, 1, 0, 3,
			FLUSH, 0,
		};

		check_about("format %u", format);
		len = 0;
		add_all(before, sizeof before);
		add_all(after, sizeof after);
		follow_channel_script(script, len);
	}
}

/* --- chance --- */

static uint64_t state;

static unsigned any(unsigned bound)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((state >> 33) * bound >> 31);
}

/* Mostly small numbers, and those at the ends of what a byte holds. */
static unsigned likely_byte(void)
{
	switch (any(4)) {
	case 0:
		return any(256);
	case 1:
		return 240 + any(16);
	default:
		return any(40);
	}
}

static void unlikely_script(void)
{
	for (unsigned left = any(600); left > 0; left--)
		add(likely_byte());
}

static unsigned likely_size(void)
{
	return any(3) ? HUGE_SIZES + any(6) : 30 + any(220);
}

static void likely_step(void)
{
	static const unsigned char steps[] = {
		PEER_SENDS_MESSAGE, PEER_SENDS_MESSAGE, PEER_SENDS_MESSAGE, RECEIVE, RECEIVE, SEND,
		SEND, SEND, SEND, SEND_ON, SET_ROOM, SET_ROOM, FLUSH,
	};
	unsigned step = any(20) ? steps[any(LENGTH(steps))] : any(CHANNEL_STEPS);

	add(step);
	switch (step) {
	case PEER_SENDS_MESSAGE:
		add(any(200));
		add(any(10) ? 0 : LONG);
		add(any(3) ? any(4) : any(254));
		add(any(2) ? 0 : 1 + any(60));
		break;
	case SEND:
		add(any(4) ? CALL_MORE | CALL_TAKE : any(16));
		add(any(100));
		add(any(20) ? 0 : any(8));
		add(any(3) ? any(6) : any(256));
		break;
	default:
		/* Whatever it takes, if it takes anything. */
		add(any(16));
		break;
	}
}

/* Much that goes well, with a peer that is slow. */
static void likely_script(void)
{
	for (int size = 0; size < 4; size++)
		add(likely_size());
	add(any(3) ? ANCILLARY_FORMAT_PLAIN : any(4));
	add(NONBLOCKING | any(8));
	while (len < sizeof script - 20 && any(100))
		likely_step();
}

static void random_scripts(void)
{
	enum { SCRIPTS = 20000 };
	const char *given = getenv("ANCILLARY_TEST_SEED"), *more = getenv("ANCILLARY_TEST_ROUNDS");
	unsigned long rounds = SCRIPTS * (more ? strtoul(more, NULL, 0) : 1);

	state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	for (unsigned long round = 0; round < rounds; round++) {
		check_about("ANCILLARY_TEST_SEED=%llu", (unsigned long long)state);
		len = 0;
		if (any(4))
			likely_script();
		else
			unlikely_script();
		follow_channel_script(script, len);
	}
}

/* --- what the fuzzer has found worth keeping --- */

static void kept_scripts(void)
{
	follow_kept_scripts("channel", follow_channel_script);
}

CHECK_MAIN(CASE(what_goes_alone_stays_alone), CASE(random_scripts), CASE(kept_scripts))
