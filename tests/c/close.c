/* ancillary_close_fds. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { FIRST = 100, COUNT = 40 };

/* Opens descriptors with the numbers FIRST to FIRST + COUNT - 1. */
static void open_numbers(void)
{
	for (int fd = FIRST; fd < FIRST + COUNT; fd++)
		CHECK(dup3(0, fd, O_CLOEXEC) == fd);
}

static void close_numbers(void)
{
	for (int fd = FIRST; fd < FIRST + COUNT; fd++)
		close(fd);
}

/* Closes an array, and checks that just the numbers in it are closed. */
static void close_just(const int *which, size_t count)
{
	int fds[COUNT];

	open_numbers();
	memcpy(fds, which, count * sizeof(int));
	errno = CHECK_ERRNO;
	ancillary_close_fds(fds, count);
	CHECK_IS(errno, CHECK_ERRNO);
	CHECK(all_none(fds, count));
	for (int fd = FIRST; fd < FIRST + COUNT; fd++) {
		bool named = false;

		for (size_t i = 0; i < count; i++)
			named |= which[i] == fd;
		check_about("number %d", fd);
		CHECK_IS(is_open(fd), !named);
	}
	check_about("%s", "");
	/* A second time, all numbers being open again. */
	open_numbers();
	ancillary_close_fds(fds, count);
	for (int fd = FIRST; fd < FIRST + COUNT; fd++)
		CHECK(is_open(fd));
	close_numbers();
}

#define CLOSE_JUST(...) \
	do { \
		static const int which[] = { __VA_ARGS__ }; \
		close_just(which, LENGTH(which)); \
	} while (0)

static void one(void)
{
	CLOSE_JUST(105);
	CLOSE_JUST(FIRST);
	CLOSE_JUST(FIRST + COUNT - 1);
}

static void runs(void)
{
	CLOSE_JUST(105, 106);
	CLOSE_JUST(105, 106, 107, 108, 109, 110);
	CLOSE_JUST(102, 103, 104, 110, 111, 112, 120, 121);
}

static void holes(void)
{
	CLOSE_JUST(101, 103, 105, 107);
	CLOSE_JUST(101, 102, 104, 105, 107);
	CLOSE_JUST(101, 102, -1, 103, 104);
	CLOSE_JUST(-1, 101, 102, -1, -1, 104, -1);
}

static void any_order(void)
{
	CLOSE_JUST(110, 109, 108, 107);
	CLOSE_JUST(108, 109, 101, 102, 120);
	CLOSE_JUST(110, 130, 111, 129, 112);
}

static void the_same_twice(void)
{
	CLOSE_JUST(105, 105);
	CLOSE_JUST(105, 106, 105, 106, 107);
}

static void negative_numbers(void)
{
	CLOSE_JUST(-1);
	CLOSE_JUST(-1, -1, -1);
	CLOSE_JUST(-2, INT_MIN, -100, 105, INT_MIN);
}

static void numbers_that_are_not_open(void)
{
	CLOSE_JUST(INT_MAX);
	CLOSE_JUST(INT_MAX, INT_MIN);
	CLOSE_JUST(INT_MAX - 1, INT_MAX, INT_MIN);
	CLOSE_JUST(INT_MAX, -1, 0x7000000, 105);
}

static void all_of_them(void)
{
	int which[COUNT];

	for (int i = 0; i < COUNT; i++)
		which[i] = FIRST + i;
	close_just(which, COUNT);
}

static void zero_is_a_descriptor(void)
{
	int saved = fcntl(0, F_DUPFD_CLOEXEC, FIRST);
	int fds[2] = { -1, 0 };

	CHECK(saved >= 0);
	ancillary_close_fds(fds, 2);
	CHECK(!is_open(0));
	CHECK(all_none(fds, 2));
	CHECK(is_open(saved));
	CHECK(dup2(saved, 0) == 0);
	close_files(&saved, 1);
}

static void nothing(void)
{
	int fd = 1;

	errno = CHECK_ERRNO;
	ancillary_close_fds(NULL, 0);
	ancillary_close_fds(NULL, 3);
	ancillary_close_fds(NULL, SIZE_MAX);
	ancillary_close_fds(&fd, 0);
	CHECK_IS(errno, CHECK_ERRNO);
	CHECK_IS(fd, 1);
	CHECK(is_open(1));
}

static void other_slots(void)
{
	int fds[4];

	open_numbers();
	for (int i = 0; i < 4; i++)
		fds[i] = FIRST + i;
	ancillary_close_fds(fds + 1, 2);
	CHECK(fds[0] == FIRST && fds[1] == -1 && fds[2] == -1 && fds[3] == FIRST + 3);
	CHECK(is_open(fds[0]) && !is_open(FIRST + 1) && !is_open(FIRST + 2) && is_open(fds[3]));
	close_numbers();
}

static void what_was_received(void)
{
	int sock[2], files[MOST], received[MOST];
	size_t nfds = MOST, before;

	open_pair(SOCK_STREAM, sock);
	open_files(files, MOST);
	before = open_descriptors();
	CHECK_OK(ancillary_send_fds(sock[HERE], files, MOST, NULL, 0, 0), 1);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0, 0), 1);
	CHECK_IS(open_descriptors(), before + MOST);
	ancillary_close_fds(received, MOST);
	CHECK_IS(open_descriptors(), before);
	CHECK(all_none(received, MOST));
	close_files(files, MOST);
	close_pair(sock);
}

CHECK_MAIN(CASE(one), CASE(runs), CASE(holes), CASE(any_order), CASE(the_same_twice),
	   CASE(negative_numbers), CASE(numbers_that_are_not_open), CASE(all_of_them),
	   CASE(zero_is_a_descriptor), CASE(nothing), CASE(other_slots), CASE(what_was_received))
