/* The header against the library. */

#include "check.h"
#include "kit.h"

/* NULL is passed here to see it refused. */
#define ANCILLARY_NONNULL(argument)
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
ssize_t ancillary_send_msg(int sock, const struct ancillary_msg *msg, unsigned flags);
ssize_t ancillary_recv_msg(int sock, struct ancillary_msg *msg, unsigned flags);
int ancillary_set_passcred(int sock, int on);
int ancillary_set_passpidfd(int sock, int on);
int ancillary_set_passrights(int sock, int on);
ssize_t ancillary_send_creds(int sock, const struct ancillary_creds *creds, const void *data,
			     size_t len, unsigned flags);
ssize_t ancillary_recv_creds(int sock, struct ancillary_creds *creds, void *data, size_t len,
			     unsigned flags);
int ancillary_peer_creds(int sock, struct ancillary_creds *creds);
int ancillary_peer_pidfd(int sock);
ssize_t ancillary_peer_groups(int sock, gid_t *groups, size_t ngroups);
ssize_t ancillary_peer_label(int sock, char *label, size_t len);
int ancil_send_fds_with_buffer(int sock, const int *fds, unsigned n_fds, void *buffer);
int ancil_recv_fds_with_buffer(int sock, int *fds, unsigned n_fds, void *buffer);
int ancil_send_fds(int sock, const int *fds, unsigned n_fds);
int ancil_recv_fds(int sock, int *fds, unsigned n_fds);
int ancil_send_fd(int sock, int fd);
int ancil_recv_fd(int sock, int *fd);
int ancillary_listen(const char *path, int type, mode_t mode, unsigned flags);
int ancillary_connect(const char *path, int type, unsigned flags);

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
	CHECK_IS(ANCILLARY_LOSSLESS, 8);
	CHECK_IS(ANCILLARY_REPLACE, 16);
	CHECK_IS(ANCILLARY_HAS_CREDS, 0x100);
	CHECK_IS(ANCILLARY_HAS_PIDFD, 0x200);
	CHECK_IS(ANCILLARY_FDS_SURPLUS, 0x400);
	CHECK_IS(ANCILLARY_FDS_LOST, 0x800);
	CHECK_IS(ANCILLARY_DATA_TRUNCATED, 0x1000);
	CHECK_IS(ANCIL_MAX_N_FDS, 960);
}

/* The structs once more. */
struct expected_creds {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};
struct expected_msg {
	size_t size;
	struct iovec *iov;
	size_t iovlen;
	int *fds;
	size_t nfds;
	struct ancillary_creds creds;
	int pidfd;
	unsigned flags;
	int error;
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
typedef ANCIL_FD_BUFFER(8) buffer_of_eight;
#pragma GCC diagnostic pop

static void structs(void)
{
	buffer_of_eight buffer;

	CHECK_IS(sizeof buffer, sizeof(struct cmsghdr) + 8 * sizeof(int));
	CHECK_IS((char *)buffer.fd - (char *)&buffer, sizeof(struct cmsghdr));
	CHECK_IS(sizeof(struct ancillary_creds), sizeof(struct expected_creds));
	CHECK_IS(offsetof(struct ancillary_creds, pid), offsetof(struct expected_creds, pid));
	CHECK_IS(offsetof(struct ancillary_creds, uid), offsetof(struct expected_creds, uid));
	CHECK_IS(offsetof(struct ancillary_creds, gid), offsetof(struct expected_creds, gid));
	CHECK_IS(sizeof(struct ancillary_msg), sizeof(struct expected_msg));
	CHECK_IS(offsetof(struct ancillary_msg, size), offsetof(struct expected_msg, size));
	CHECK_IS(offsetof(struct ancillary_msg, iov), offsetof(struct expected_msg, iov));
	CHECK_IS(offsetof(struct ancillary_msg, iovlen), offsetof(struct expected_msg, iovlen));
	CHECK_IS(offsetof(struct ancillary_msg, fds), offsetof(struct expected_msg, fds));
	CHECK_IS(offsetof(struct ancillary_msg, nfds), offsetof(struct expected_msg, nfds));
	CHECK_IS(offsetof(struct ancillary_msg, creds), offsetof(struct expected_msg, creds));
	CHECK_IS(offsetof(struct ancillary_msg, pidfd), offsetof(struct expected_msg, pidfd));
	CHECK_IS(offsetof(struct ancillary_msg, flags), offsetof(struct expected_msg, flags));
	CHECK_IS(offsetof(struct ancillary_msg, error), offsetof(struct expected_msg, error));
}

/* The library has the same idea of the size: it takes no message of another. */
static void the_library_knows_the_size(void)
{
	struct ancillary_msg msg = { sizeof(struct expected_msg), NULL, 0, NULL, 0, { 0, 0, 0 }, -1, 0, 0 };

	CHECK_ERR(ancillary_recv_msg(-1, &msg, 0), EBADF);
	msg.size++;
	CHECK_ERR(ancillary_recv_msg(-1, &msg, 0), EINVAL);
}

static void functions_say_what_the_header_says(void)
{
	char version[40];

	snprintf(version, sizeof version, "%d.%d.%d", ANCILLARY_VERSION_MAJOR,
		 ANCILLARY_VERSION_MINOR, ANCILLARY_VERSION_PATCH);
	CHECK(strcmp(ancillary_version(), version) == 0);
	CHECK(ancillary_version() == ancillary_version());
	/* As many as a message carries here, which can be less. */
	CHECK_IS(ancillary_max_fds(), MOST);
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

CHECK_MAIN(CASE(constants), CASE(structs), CASE(the_library_knows_the_size), CASE(functions_say_what_the_header_says),
	   CASE(functions_have_addresses), CASE(results_have_their_whole_width))
