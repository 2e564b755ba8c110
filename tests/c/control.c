/* Control data as no kernel should send it. */

#include "check.h"
#include "kept.h"
#include "kit.h"
#include "script.h"

#include <ancillary.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* --- lengths that lie --- */

static unsigned char bytes[4096];
static size_t len;

static void add(unsigned byte)
{
	CHECK(len < sizeof bytes);
	bytes[len++] = (unsigned char)byte;
}

static void begin(unsigned function, unsigned flags, unsigned room, unsigned system)
{
	len = 0;
	add(function);
	add(flags);
	add(room);
	/* Bytes of payload. */
	add(9);
	add(system);
}

static void begin_message(unsigned flags, unsigned messages)
{
	add(MESSAGE);
	add(flags);
	add(9);
	add(messages);
}

/* A message with one length that is what is said, between others that are true. */
static void with_length(unsigned kind, unsigned what, unsigned length, unsigned less)
{
	static const unsigned systems[] = { STREAM, SEQPACKET | NO_CLOSE_RANGE, DGRAM | TABLE_FULL,
					    STREAM | TABLE_FULL | NO_CLOSE_RANGE };

	for (unsigned function = 0; function < FUNCTIONS; function++) {
		for (unsigned variant = 0; variant < 16; variant++) {
			begin(function, variant / 4 * WITH_WAITALL, variant % 5,
			      systems[variant % 4]);
			for (int step = 0; step < 2; step++) {
				begin_message(variant % 3, 3);
				for (int message = 0; message < 3; message++) {
					add(message == 1 ? kind : RIGHTS);
					add(message == 1 ? what : TRUE);
					add(2);
					add(SAME);
					if (message == 1 && what != TRUE)
						add(length);
					add(NEXT);
				}
				add(less);
			}
			follow_script(bytes, len);
		}
	}
}

static void lengths_lie(void)
{
	static const unsigned kinds[] = { RIGHTS, PIDFD, CREDENTIALS };

	for (size_t i = 0; i < LENGTH(kinds); i++) {
		for (unsigned length = 0; length < 256; length++) {
			check_about("kind %u, length %u", kinds[i], length);
			with_length(kinds[i], OFF, length, 0);
			with_length(kinds[i], SMALL, length, 0);
			with_length(kinds[i], HUGE_LENGTH, length, 0);
			/* The data is cut, and the lengths in it are not, as macOS has it. */
			with_length(kinds[i], TRUE, 0, length);
		}
	}
}

/* A peek, and then a call with room for credentials and a pidfd alone, which says
 * that there is more behind them. */
static void consume_with_more(unsigned function, unsigned messages, unsigned beyond)
{
	static const unsigned kinds[] = { CREDENTIALS, PIDFD, RIGHTS };
	static const unsigned counts[] = { 3, 1, 2 };

	begin(function, WITH_LOSSLESS, 5, STREAM);
	for (int step = 0; step < 2; step++) {
		begin_message(step == 0 ? 0 : CONTROL_CUT, messages);
		for (unsigned i = 0; i < messages; i++) {
			add(kinds[i]);
			add(TRUE);
			add(counts[i]);
			add(SAME);
			add(NEXT);
		}
		add(step == 0 ? 0 : MORE_THAN_ROOM);
	}
	add(beyond);
	follow_script(bytes, len);
	/* The length of a script says where on the stack there is what is not to be read. */
	add(0);
	follow_script(bytes, len);
	add(0);
	follow_script(bytes, len);
}

static void more_is_said_than_there_is_room_for(void)
{
	for (unsigned function = 0; function < FUNCTIONS; function++)
		for (unsigned messages = 0; messages <= 3; messages++)
			for (unsigned beyond = 0; beyond < 256; beyond++)
				consume_with_more(function, messages, beyond);
}

/* One message that claims all that is said, which is more than the buffer. */
static void one_message_claims_it_all(void)
{
	for (unsigned function = 0; function < FUNCTIONS; function++) {
		for (unsigned beyond = 0; beyond < 256; beyond++) {
			/* As much as there is room for, and one more. */
			unsigned length = 2048 + 1 + beyond;

			begin(function, 0, MANY_SLOTS, STREAM);
			begin_message(0, 1);
			add(RIGHTS);
			add(ANY_LENGTH);
			add(200);
			add(SAME);
			add(length % 256);
			add(length / 256);
			for (int i = 0; i < 6; i++)
				add(0);
			add(NEXT);
			add(MORE_THAN_ROOM);
			add(beyond);
			follow_script(bytes, len);
		}
	}
}

/* All that can be somebody's or nobody's, with payload and at the end. */
static void credentials_of_nobody(void)
{
	static const unsigned numbers[] = { NEXT, NEXT_BUT_ONE, NEGATIVE };

	for (unsigned function = 0; function < FUNCTIONS; function++) {
		for (unsigned each = 0; each < 2 * 27; each++) {
			begin(function, 0, 2, STREAM);
			begin_message(0, 1);
			/* How many bytes come. */
			bytes[len - 2] = (unsigned char)(each / 27);
			add(CREDENTIALS);
			add(TRUE);
			add(3);
			add(0);
			add(numbers[each % 3]);
			add(numbers[each / 3 % 3]);
			add(numbers[each / 9 % 3]);
			add(0);
			follow_script(bytes, len);
		}
	}
}

/* --- what a recvmsg(2) made elsewhere has left --- */

enum { WAYS = ANY_ROOM * 2 };

static void begin_decode(unsigned how, unsigned room)
{
	begin(DECODE, how, room, STREAM);
	if (how & NAMED)
		add(20);
	if (how & ANY_ROOM)
		add(40);
}

/* With a pidfd or without, of which the kernel tells nobody. */
static void nothing_is_taken_after_a_failure(void)
{
	for (unsigned how = 0; how < WAYS; how++) {
		for (unsigned what = 0; what < 64; what++) {
			begin_decode(how, 2);
			add(BAD_MEMORY);
			add(what);
			follow_script(bytes, len);
		}
		for (unsigned which = 0; which < 8; which++) {
			begin_decode(how, 2);
			add(FAILURE + STEPS * which);
			follow_script(bytes, len);
		}
	}
}

/* With fewer slots than descriptors, as many, and more; and with one that could not
 * be installed. */
static void what_is_cut_is_told_by_the_slots(void)
{
	for (unsigned how = 0; how < WAYS; how++) {
		for (unsigned room = 0; room < 5; room++) {
			for (unsigned gap = 0; gap < 4; gap++) {
				begin_decode(how, room);
				begin_message(CONTROL_CUT, 1);
				add(RIGHTS);
				add(TRUE);
				add(3);
				add(0);
				for (unsigned i = 0; i < 3; i++)
					add(i == gap ? NEGATIVE : NEXT);
				add(0);
				follow_script(bytes, len);
			}
		}
	}
}

/* --- anything --- */

static uint64_t state;

static unsigned any(unsigned below)
{
	/* xorshift64* */
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (unsigned)((state * 0x2545f4914f6cdd1d) >> 33) % below;
}

/* Mostly what a kernel could send: a descriptor, and sometimes an error. */
static unsigned any_number(void)
{
	return any(16) ? any(3) : NEGATIVE + any(40);
}

static void add_control_message(void)
{
	unsigned kind = any(3) ? RIGHTS : any(KINDS), length = any(6) ? TRUE : any(LENGTHS);
	unsigned count = any(4) ? any(6) : any(254), how = any(8) ? 0 : any(4);
	unsigned more[KINDS] = { [ANY_LEVEL_AND_TYPE] = 8, [ANY_TYPE] = 1,
				 [RIGHTS_OF_ANOTHER_LEVEL] = 1 };

	add(kind);
	add(length);
	add(count);
	add(how);
	for (unsigned i = 0; i < (length == TRUE ? 0 : length == ANY_LENGTH ? 8 : 1); i++)
		add(any(256));
	for (unsigned i = 0; i < more[kind]; i++)
		add(any(2) ? any(3) : any(256));
	for (unsigned i = 0; i < (count && how & SAME ? 1 : count); i++)
		add(any_number());
}

static void add_message(void)
{
	unsigned messages = any(4);

	begin_message(any(4) ? 0 : any(8), messages);
	for (unsigned i = 0; i < messages; i++)
		add_control_message();
	add(any(8) ? 0 : any(256));
}

/* A script that is nearly true to what kernels do. */
static void likely_script(void)
{
	unsigned function = any(FUNCTIONS), flags = any(3) ? 0 : any(64);

	begin(function, flags, any(4) ? any(8) : any(256), any(16));
	for (unsigned each = NAMED; function == DECODE && each <= ANY_ROOM; each *= 2)
		if (flags & each)
			add(any(2) ? any(16) : any(256));
	for (unsigned steps = any(4); steps > 0; steps--) {
		switch (any(8)) {
		case 0:
			add(INTERRUPTED);
			break;
		case 1:
			add(BAD_MEMORY);
			add(any(64));
			break;
		case 2:
			add(FAILURE + STEPS * any(8));
			break;
		default:
			add_message();
			break;
		}
	}
}

static void unlikely_script(void)
{
	size_t size = any(8) ? any(60) : any(400);

	len = 0;
	while (len < size)
		add(any(any(2) ? 8 : 256));
}

static void random_scripts(void)
{
	enum { SCRIPTS = 300000 };
	const char *given = getenv("ANCILLARY_TEST_SEED"), *more = getenv("ANCILLARY_TEST_ROUNDS");
	unsigned long rounds = SCRIPTS * (more ? strtoul(more, NULL, 0) : 1);

	state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	for (unsigned long round = 0; round < rounds; round++) {
		check_about("ANCILLARY_TEST_SEED=%llu", (unsigned long long)state);
		if (any(4))
			likely_script();
		else
			unlikely_script();
		follow_script(bytes, len);
	}
}

/* --- what the fuzzer has found worth keeping --- */

static void kept_scripts(void)
{
	follow_kept_scripts("receive", follow_script);
}

CHECK_MAIN(CASE(lengths_lie), CASE(more_is_said_than_there_is_room_for),
	   CASE(one_message_claims_it_all), CASE(credentials_of_nobody),
	   CASE(nothing_is_taken_after_a_failure), CASE(what_is_cut_is_told_by_the_slots),
	   CASE(random_scripts), CASE(kept_scripts))
