/* ancillary_place_fds: every overlap there can be, and failures that leave all open
 * and nothing else. */

#include "check.h"
#include "calls.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- what is open at some numbers --- */

/* Descriptors for these files, which are kept elsewhere, are put at these numbers;
 * and the first ones behind them are looked at as well. */
enum { FILES = 12, FIRST = 600, NUMBERS = 24, BEHIND = 40, ALL = NUMBERS + BEHIND };

static int files[FILES];
static ino_t inodes[FILES];

static void keep_files(void)
{
	open_files(files, FILES);
	for (int i = 0; i < FILES; i++) {
		int kept = fcntl(files[i], F_DUPFD_CLOEXEC, FIRST + ALL);
		struct stat found;

		CHECK(kept >= 0 && close(files[i]) == 0);
		files[i] = kept;
		CHECK(fstat(kept, &found) == 0);
		inodes[i] = found.st_ino;
	}
}

static void close_all(void)
{
	for (int i = 0; i < ALL; i++)
		close(FIRST + i);
	close_files(files, FILES);
}

/* For each number: the file, and whether it is close-on-exec; or NONE. */
enum { NONE = -1 };
struct table {
	int file[ALL];
	bool cloexec[ALL];
};

static void look(struct table *table)
{
	for (int i = 0; i < ALL; i++) {
		struct stat found;

		table->file[i] = NONE;
		table->cloexec[i] = false;
		if (fstat(FIRST + i, &found) != 0)
			continue;
		for (int k = 0; k < FILES; k++)
			if (inodes[k] == found.st_ino)
				table->file[i] = k;
		CHECK(table->file[i] != NONE);
		table->cloexec[i] = fcntl(FIRST + i, F_GETFD) == FD_CLOEXEC;
	}
}

/* Makes the numbers what a table says. */
static void make(const struct table *table)
{
	for (int i = 0; i < ALL; i++) {
		close(FIRST + i);
		if (table->file[i] != NONE)
			CHECK_IS(dup3(files[table->file[i]], FIRST + i,
				      table->cloexec[i] ? O_CLOEXEC : 0),
				 FIRST + i);
	}
}

static void check_same(const struct table *is, const struct table *expected)
{
	for (int i = 0; i < ALL; i++) {
		if (is->file[i] != expected->file[i])
			printf("at number %d\n", FIRST + i);
		CHECK_IS(is->file[i], expected->file[i]);
		CHECK_IS(is->cloexec[i], expected->cloexec[i]);
	}
}

/* --- what is to become of it --- */

struct placing {
	int fds[NUMBERS];
	size_t nfds;
	int first;
};

static bool is_place(const struct placing *what, int fd)
{
	return fd >= what->first && fd < what->first + (int)what->nfds;
}

/* After a success. */
static void expect_placed(const struct placing *what, const struct table *before,
			  struct table *after)
{
	*after = *before;
	for (size_t i = 0; i < what->nfds; i++)
		after->file[what->fds[i] - FIRST] = NONE;
	for (size_t i = 0; i < what->nfds; i++) {
		int place = what->first - FIRST + (int)i;

		after->file[place] = before->file[what->fds[i] - FIRST];
		after->cloexec[place] = false;
	}
	for (int i = 0; i < ALL; i++)
		after->cloexec[i] = after->cloexec[i] && after->file[i] != NONE;
}

/* After a failure: each is open where it says, as it was, or somewhere else and
 * close-on-exec; and nowhere else. */
static void check_kept(const struct placing *what, const int *now, const struct table *before,
		       const struct table *after)
{
	struct table expected = *before;

	for (size_t i = 0; i < what->nfds; i++)
		expected.file[what->fds[i] - FIRST] = NONE;
	for (size_t i = 0; i < what->nfds; i++) {
		int old = what->fds[i] - FIRST, new = now[i] - FIRST;

		CHECK(new >= 0 && new < ALL);
		expected.file[new] = before->file[old];
		expected.cloexec[new] = new == old ? before->cloexec[old] : true;
	}
	for (int i = 0; i < ALL; i++)
		expected.cloexec[i] = expected.cloexec[i] && expected.file[i] != NONE;
	check_same(after, &expected);
}

/* --- random ones --- */

static uint32_t seed;

static int chance(int below)
{
	/* xorshift */
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return (int)(seed % (uint32_t)below);
}

static void begin_chance(void)
{
	const char *given = getenv("ANCILLARY_TEST_SEED");

	/* Any but 0. */
	seed = given ? (uint32_t)strtoul(given, NULL, 0) : (uint32_t)time(NULL) | 1;
	printf("# ANCILLARY_TEST_SEED=%u\n", (unsigned)seed);
}

/* Some descriptors at the numbers, and some of them, once or several times, to be
 * placed at some of the numbers. */
static void choose(struct table *table, struct placing *what)
{
	int often = 1 + chance(8), open = 0;

	memset(table, 0, sizeof *table);
	for (int i = 0; i < ALL; i++) {
		table->file[i] = NONE;
		if (i < NUMBERS && (chance(often) == 0 || (open == 0 && i + 1 == NUMBERS))) {
			table->file[i] = chance(FILES);
			table->cloexec[i] = chance(2);
			open++;
		}
	}
	what->nfds = (size_t)(1 + chance(NUMBERS));
	what->first = FIRST + chance(NUMBERS - (int)what->nfds + 1);
	for (size_t i = 0; i < what->nfds; i++) {
		int which = chance(NUMBERS);

		while (table->file[which] == NONE)
			which = (which + 1) % NUMBERS;
		what->fds[i] = FIRST + which;
	}
}

static void every_overlap(void)
{
	int rounds = some_of(20000);

	begin_chance();
	keep_files();
	for (int round = 0; round < rounds; round++) {
		struct table before, expected, after;
		struct placing what;
		uint32_t start = seed;
		int now[NUMBERS];

		check_about("seed %u", (unsigned)start);
		choose(&before, &what);
		make(&before);
		memcpy(now, what.fds, sizeof now);
		CHECK_OK(ancillary_place_fds(now, what.nfds, what.first), 0);
		for (size_t i = 0; i < what.nfds; i++)
			CHECK_IS(now[i], what.first + (int)i);
		expect_placed(&what, &before, &expected);
		look(&after);
		check_same(&after, &expected);
	}
	close_all();
}

/* --- failures --- */

static int fail_at, calls_made;

/* The call of this number fails. */
static long fail_once(const struct call *call)
{
	bool places = strcmp(call->name, "dup3") == 0;

	if (!places && !(strcmp(call->name, "fcntl") == 0 && call->arguments[1] == F_DUPFD_CLOEXEC))
		return make_call(call);
	if (calls_made++ != fail_at)
		return make_call(call);
	errno = places ? EBUSY : EMFILE;
	return -1;
}

/* How many of them are duplicated before any is placed. */
static int in_places(const struct placing *what)
{
	int count = 0;

	for (size_t i = 0; i < what->nfds; i++)
		count += is_place(what, what->fds[i]);
	return count;
}

static bool is_given(const struct placing *what, int fd)
{
	for (size_t i = 0; i < what->nfds; i++)
		if (what->fds[i] == fd)
			return true;
	return false;
}

static void a_failure_anywhere_leaves_all_open(void)
{
	int rounds = some_of(20000);

	begin_chance();
	keep_files();
	for (int round = 0; round < rounds; round++) {
		struct table before, after;
		struct placing what;
		uint32_t start = seed;
		int now[NUMBERS], result, first;

		check_about("seed %u", (unsigned)start);
		choose(&before, &what);
		make(&before);
		memcpy(now, what.fds, sizeof now);
		first = in_places(&what);
		fail_at = chance(first + (int)what.nfds);
		calls_made = 0;
		on_call = fail_once;
		errno = CHECK_ERRNO;
		result = ancillary_place_fds(now, what.nfds, what.first);
		CHECK_IS(errno, -result);
		on_call = make_call;
		CHECK_IS(result, fail_at < first ? -EMFILE : -EBUSY);
		look(&after);
		/* The last places had been taken: what was there is closed. */
		for (int placed = 0; placed < fail_at - first; placed++) {
			int place = what.first + (int)what.nfds - 1 - placed;

			CHECK_IS(after.file[place - FIRST], NONE);
			if (!is_given(&what, place)) {
				before.file[place - FIRST] = NONE;
				before.cloexec[place - FIRST] = false;
			}
		}
		check_kept(&what, now, &before, &after);
	}
	close_all();
}

/* The numbers up to a limit. */
static void too_few_numbers_are_free(void)
{
	int rounds = some_of(2000);
	struct rlimit limits;
	int failures = 0;

	begin_chance();
	keep_files();
	CHECK(getrlimit(RLIMIT_NOFILE, &limits) == 0);
	for (int round = 0; round < rounds; round++) {
		struct table before, after, expected;
		struct placing what;
		uint32_t start = seed;
		int now[NUMBERS], result, end, limit, free = 0;

		check_about("seed %u", (unsigned)start);
		choose(&before, &what);
		make(&before);
		memcpy(now, what.fds, sizeof now);
		end = what.first + (int)what.nfds;
		limit = what.first + 1 + chance(ALL - (what.first - FIRST));
		for (int fd = end; fd < limit; fd++)
			free += before.file[fd - FIRST] == NONE;
		set_limit((rlim_t)limit);
		errno = CHECK_ERRNO;
		result = ancillary_place_fds(now, what.nfds, what.first);
		CHECK_IS(errno, result < 0 ? -result : CHECK_ERRNO);
		set_limit(limits.rlim_cur);
		CHECK_IS(result, end > limit || free < in_places(&what) ? -EMFILE : 0);
		look(&after);
		if (result == 0) {
			expect_placed(&what, &before, &expected);
			check_same(&after, &expected);
		} else {
			check_kept(&what, now, &before, &after);
			failures++;
		}
	}
	CHECK(failures > rounds / 10 && failures < rounds);
	close_all();
}

/* --- arguments --- */

static void check_refused(int *fds, size_t nfds, int first, int error)
{
	struct table before, after;
	int given[4] = { 0 };

	if (fds)
		memcpy(given, fds, sizeof given);
	look(&before);
	CHECK_ERR(ancillary_place_fds(fds, nfds, first), error);
	look(&after);
	check_same(&after, &before);
	if (fds)
		CHECK(memcmp(given, fds, sizeof given) == 0);
}

static void bad_arguments_change_nothing(void)
{
	struct table table;
	struct rlimit limits;
	int fds[4];

	keep_files();
	memset(&table, 0, sizeof table);
	for (int i = 0; i < ALL; i++)
		table.file[i] = i < 4 ? i : NONE;
	make(&table);
	for (int i = 0; i < 4; i++)
		fds[i] = FIRST + 3 - i;
	CHECK_OK(ancillary_place_fds(NULL, 0, 0), 0);
	CHECK_OK(ancillary_place_fds(fds, 0, FIRST), 0);
	CHECK_OK(ancillary_place_fds(NULL, 0, INT_MAX), 0);
	CHECK_ERR(ancillary_place_fds(NULL, 0, -1), EINVAL);
	check_refused(NULL, 1, FIRST, EINVAL);
	check_refused(fds, 4, -1, EINVAL);
	check_refused(fds, 4, INT_MIN, EINVAL);
	check_refused(fds, 4, INT_MAX - 3, EINVAL);
	check_refused(fds, 4, INT_MAX, EINVAL);
	check_refused(fds, (size_t)INT_MAX + 1, 0, EINVAL);
	check_refused(fds, SIZE_MAX, 0, EINVAL);
	/* Numbers that there cannot be. */
	check_refused(fds, 4, INT_MAX - 4, EMFILE);
	CHECK(getrlimit(RLIMIT_NOFILE, &limits) == 0);
	check_refused(fds, 4, (int)limits.rlim_cur - 3, EMFILE);
	check_refused(fds, 4, (int)limits.rlim_cur, EMFILE);
	for (int i = 0; i < 4; i++) {
		static const int none[] = { -1, INT_MIN, FIRST + 4, INT_MAX };
		int fd = fds[i];

		fds[i] = none[i];
		check_refused(fds, 4, FIRST, EBADF);
		check_refused(fds, 4, FIRST + 10, EBADF);
		fds[i] = fd;
	}
	close_all();
}

/* --- another thread --- */

static char fifo[300];
static volatile pid_t opener;
static volatile int opened;

static void *open_fifo(void *unused)
{
	opener = thread_number();
	opened = open(fifo, O_RDONLY | O_CLOEXEC);
	return unused;
}

/* A number that is about to be another thread's: it waits for somebody to open the
 * other end. */
static void a_number_that_another_thread_is_opening(void)
{
	const char *parent = getenv("TMPDIR");
	char folder[200];
	int number, fds[3], now[3], there[3], end;
	pthread_t thread;

	snprintf(folder, sizeof folder, "%s/place-XXXXXX", parent ? parent : "/tmp");
	CHECK(mkdtemp(folder));
	CHECK(snprintf(fifo, sizeof fifo, "%s/fifo", folder) < (int)sizeof fifo);
	CHECK(mkfifo(fifo, 0600) == 0);
	open_files(fds, 3);
	number = dup(0);
	CHECK(number >= 0 && close(number) == 0);
	thread = start_thread(open_fifo, NULL);
	while (opener == 0)
		sleep_ms(1);
	wait_until_asleep(opener);
	CHECK(!is_open(number));
	/* The number is the second of three places. */
	for (int i = 0; i < 3; i++) {
		there[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, number + 20);
		now[i] = there[i];
	}
	CHECK_ERR(ancillary_place_fds(now, 3, number - 1), EBUSY);
	check_arrived(now, fds, 3);
	CHECK(memcmp(now, there, sizeof now) == 0);
	CHECK(!is_open(number + 1));
	end = open(fifo, O_WRONLY | O_CLOEXEC);
	CHECK(end >= 0);
	end_thread(thread);
	CHECK_IS(opened, number);
	close_files(there, 3);
	close_files(fds, 3);
	close_files((int[]){ end, opened }, 2);
	CHECK(unlink(fifo) == 0 && rmdir(folder) == 0);
}

/* --- many --- */

static void any_number_of_them(void)
{
	struct rlimit limits;
	int count, *fds, file;

	CHECK(getrlimit(RLIMIT_NOFILE, &limits) == 0);
	count = limits.rlim_cur > 50000 ? 20000 : ((int)limits.rlim_cur - FIRST) / 2 - 1;
	CHECK(count > 100);
	fds = calloc((size_t)count, sizeof *fds);
	CHECK(fds);
	open_files(&file, 1);
	/* Backwards, and some of them twice. */
	for (int i = 0; i < count; i++) {
		fds[i] = FIRST + count - i + i % 3 / 2;
		CHECK_IS(dup3(file, FIRST + count - i, O_CLOEXEC), FIRST + count - i);
	}
	CHECK_OK(ancillary_place_fds(fds, (size_t)count, FIRST), 0);
	for (int i = 0; i < count; i++) {
		CHECK_IS(fds[i], FIRST + i);
		CHECK_IS(fcntl(fds[i], F_GETFD), 0);
	}
	CHECK(!is_open(FIRST + count));
	ancillary_close_fds(fds, (size_t)count);
	close_files(&file, 1);
	free(fds);
}

/* --- what it is for --- */

/* A program that reads from its standard input, and from 3 and 4. */
static void execute_with(int *fds)
{
	static char *arguments[] = { "sh", "-c", "cat; cat <&3; cat <&4", NULL };

	if (ancillary_place_fds(fds, 5, 0) != 0)
		_exit(1);
	execv("/bin/sh", arguments);
	_exit(2);
}

/* In the child, they are all in the place of another one. */
static void a_program_gets_them(void)
{
	int out[2], there[3], fds[5];
	char got[10] = "";
	size_t len = 0;
	ssize_t n;
	pid_t pid;

	open_files(there, 3);
	for (int i = 0; i < 3; i++)
		CHECK_IS(lseek(there[i], 0, SEEK_SET), 0);
	CHECK(pipe2(out, O_CLOEXEC) == 0);
	pid = fork();
	if (pid == 0) {
		/* The third file at 3, the first at 4, and so on. */
		int high = fcntl(out[1], F_DUPFD_CLOEXEC, 20), error;

		for (int i = 0; i < 3; i++)
			there[i] = fcntl(there[i], F_DUPFD_CLOEXEC, 30);
		error = dup2(there[0], 4) + dup2(there[1], 0) + dup2(there[2], 3);
		if (error != 4 + 0 + 3)
			_exit(3);
		fds[0] = 3;
		fds[1] = fds[2] = high;
		fds[3] = 4;
		fds[4] = 0;
		execute_with(fds);
	}
	CHECK(pid > 0 && close(out[1]) == 0);
	while ((n = read(out[0], got + len, sizeof got - 1 - len)) > 0)
		len += (size_t)n;
	check_child(pid);
	CHECK(strcmp(got, "201") == 0);
	CHECK(close(out[0]) == 0);
	close_files(there, 3);
}

CHECK_MAIN(CASE(every_overlap), CASE(a_failure_anywhere_leaves_all_open),
	   CASE(too_few_numbers_are_free), CASE(bad_arguments_change_nothing),
	   CASE(a_number_that_another_thread_is_opening), CASE(any_number_of_them),
	   CASE(a_program_gets_them))
