/* Control data as no kernel should send it. */

#include "check.h"
#include "kit.h"
#include "script.h"

#include <ancillary.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* --- lengths that lie --- */

static unsigned char bytes[64];
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
			begin(function, variant / 4 * 4, variant % 5, systems[variant % 4]);
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

	begin(function, ANCILLARY_LOSSLESS, 5, STREAM);
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

static void random_scripts(void)
{
	enum { SCRIPTS = 400000, LONGEST = 400 };
	const char *given = getenv("ANCILLARY_TEST_SEED"), *more = getenv("ANCILLARY_TEST_ROUNDS");
	unsigned long rounds = SCRIPTS * (more ? strtoul(more, NULL, 0) : 1);
	unsigned char script[LONGEST];

	state = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
	for (unsigned long round = 0; round < rounds; round++) {
		size_t size = any(8) ? any(60) : any(LONGEST);

		check_about("ANCILLARY_TEST_SEED=%llu", (unsigned long long)state);
		for (size_t i = 0; i < size; i++)
			script[i] = (unsigned char)any(any(2) ? 8 : 256);
		follow_script(script, size);
	}
}

/* --- what the fuzzer has found worth keeping --- */

static void kept_scripts(void)
{
	const char *folder = getenv("ANCILLARY_TEST_SCRIPTS");
	DIR *dir = folder ? opendir(folder) : NULL;
	struct dirent *entry;
	int count = 0;

	if (!folder)
		check_skip("ANCILLARY_TEST_SCRIPTS names no folder");
	CHECK(dir);
	while ((entry = readdir(dir))) {
		static unsigned char script[1 << 16];
		int file = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
		ssize_t size;

		CHECK(file >= 0);
		if (*entry->d_name != '.') {
			check_about("%s", entry->d_name);
			size = read(file, script, sizeof script);
			CHECK(size >= 0);
			follow_script(script, (size_t)size);
			count++;
		}
		CHECK(close(file) == 0);
	}
	closedir(dir);
	CHECK(count > 10);
}

CHECK_MAIN(CASE(lengths_lie), CASE(more_is_said_than_there_is_room_for),
	   CASE(random_scripts), CASE(kept_scripts))
