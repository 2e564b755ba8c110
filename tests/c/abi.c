/* The header against the library. */

#include "check.h"

#include <ancillary.h>
/* A second time, which does nothing. */
#include <ancillary.h>

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The prototypes once more: one that differs does not compile. */
const char *ancillary_version(void);
size_t ancillary_max_fds(void);
int ancillary_send_fd(int sock, int fd);
int ancillary_recv_fd(int sock);
ssize_t ancillary_send_fds(int sock, const int *fds, size_t nfds, const void *data, size_t len,
			   unsigned flags);
ssize_t ancillary_recv_fds(int sock, int *fds, size_t *nfds, void *data, size_t len,
			   unsigned flags);
void ancillary_close_fds(int *fds, size_t nfds);

/* The constants can be used where a compiler needs one. */
enum { ROOM = sizeof(int[ANCILLARY_MAX_FDS]) / sizeof(int) };
#if ANCILLARY_VERSION_MAJOR != 1 || ANCILLARY_MAX_FDS != 253
#error "constants are not what a preprocessor can read"
#endif

static void constants(void)
{
	CHECK_IS(ANCILLARY_MAX_FDS, 253);
	CHECK_IS(ROOM, 253);
	CHECK_IS(ANCILLARY_DONTWAIT, 1);
	CHECK_IS(ANCILLARY_INTR, 2);
	CHECK_IS(ANCILLARY_WAITALL, 4);
}

static void functions_say_what_the_header_says(void)
{
	char version[40];

	snprintf(version, sizeof version, "%d.%d.%d", ANCILLARY_VERSION_MAJOR,
		 ANCILLARY_VERSION_MINOR, ANCILLARY_VERSION_PATCH);
	CHECK(strcmp(ancillary_version(), version) == 0);
	CHECK(ancillary_version() == ancillary_version());
	CHECK_IS(ancillary_max_fds(), ANCILLARY_MAX_FDS);
}

static void functions_have_addresses(void)
{
	const char *(*version)(void) = ancillary_version;
	size_t (*max_fds)(void) = ancillary_max_fds;
	int (*send_fd)(int, int) = ancillary_send_fd;
	int (*recv_fd)(int) = ancillary_recv_fd;
	ssize_t (*send_fds)(int, const int *, size_t, const void *, size_t, unsigned) =
		ancillary_send_fds;
	ssize_t (*recv_fds)(int, int *, size_t *, void *, size_t, unsigned) = ancillary_recv_fds;
	void (*close_fds)(int *, size_t) = ancillary_close_fds;

	CHECK(version && max_fds && send_fd && recv_fd && send_fds && recv_fds && close_fds);
}

/* All bits of a result and of an argument are used. */
static void results_have_their_whole_width(void)
{
	int fd = -1;
	size_t nfds = SIZE_MAX;
	ssize_t result = ancillary_recv_fds(0, &fd, &nfds, NULL, 0, 0);

	CHECK(result < 0);
	CHECK_IS(result, -EINVAL);
	CHECK_IS(nfds, 0);
	CHECK_IS(ancillary_recv_fd(INT_MIN), -EBADF);
}

CHECK_MAIN(CASE(constants), CASE(functions_say_what_the_header_says),
	   CASE(functions_have_addresses), CASE(results_have_their_whole_width))
