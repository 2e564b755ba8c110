/* A small harness for test programs.
 *
 * A program is a list of cases, each a function without arguments:
 *
 *     CHECK_MAIN(CASE(one_thing), CASE(another))
 *
 * `program` runs them all, `program NAME...` some, `program --list` lists
 * them.  Each runs in a process of its own, which has 300 seconds
 * (CHECK_SECONDS in the environment: as many) and must leave as many
 * descriptors open as it found.
 */

#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

struct check_case {
	const char *name;
	void (*run)(void);
};

int check_main(int argc, char **argv, const struct check_case *cases);

#define CASE(function) { #function, function }
#define CHECK_MAIN(...) \
	int main(int argc, char **argv) \
	{ \
		static const struct check_case cases[] = { __VA_ARGS__, { NULL, NULL } }; \
		return check_main(argc, argv, cases); \
	}

/* Says, in a failure that follows, what it was about; "" for nothing. */
void check_about(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* End the case, or a process forked by it, as failed. */
void check_failed(const char *file, int line, const char *expression)
	__attribute__((noreturn));
void check_differs(const char *file, int line, const char *expression, long long is,
		   long long expected) __attribute__((noreturn));

/* Ends the case as skipped: this system lacks something.  Where nothing may be
 * missing (ANCILLARY_REQUIRE_ALL=1 in the environment) it has failed, unless
 * it is "not root", and this is not root. */
void check_skip(const char *why) __attribute__((noreturn));

#define CHECK(condition) \
	((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))

/* Two integers are the same. */
#define CHECK_IS(actual, expected) \
	do { \
		long long is_ = (long long)(actual), expected_ = (long long)(expected); \
		if (is_ != expected_) \
			check_differs(__FILE__, __LINE__, #actual " is " #expected, is_, \
				      expected_); \
	} while (0)

/* A call of the library fails with an error number, in both ways. */
#define CHECK_ERR(call, number) \
	do { \
		errno = CHECK_ERRNO; \
		long long is_ = (long long)(call); \
		int errno_ = errno; \
		if (is_ != -(long long)(number)) \
			check_differs(__FILE__, __LINE__, #call " is -" #number, is_, \
				      -(long long)(number)); \
		if (errno_ != (number)) \
			check_differs(__FILE__, __LINE__, #call " sets errno to " #number, \
				      errno_, (number)); \
	} while (0)

/* A call of the library succeeds with a value, and leaves errno alone. */
#define CHECK_OK(call, expected) \
	do { \
		errno = CHECK_ERRNO; \
		long long is_ = (long long)(call), expected_ = (long long)(expected); \
		int errno_ = errno; \
		if (is_ != expected_) \
			check_differs(__FILE__, __LINE__, #call " is " #expected, is_, \
				      expected_); \
		if (errno_ != CHECK_ERRNO) \
			check_differs(__FILE__, __LINE__, #call " keeps errno", errno_, \
				      CHECK_ERRNO); \
	} while (0)

/* A value for errno that no call leaves there. */
#define CHECK_ERRNO 12345

#endif
