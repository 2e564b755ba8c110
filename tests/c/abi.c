/* The header against the library. */

#include "check.h"
#include "kit.h"

/* NULL is passed here to see it refused. */
#define ANCILLARY_NONNULL(argument)
#include <ancillary.h>
/* A second time, which does nothing. */
#include <ancillary.h>

#include <limits.h>
#include <stdbool.h>
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
int ancillary_place_fds(int *fds, size_t nfds, int first);
ssize_t ancillary_send_msg(int sock, const struct ancillary_msg *msg, unsigned flags);
ssize_t ancillary_recv_msg(int sock, struct ancillary_msg *msg, unsigned flags);
size_t ancillary_control_size(size_t nfds);
int ancillary_encode(struct msghdr *header, const struct ancillary_msg *msg);
ssize_t ancillary_decode(struct msghdr *header, ssize_t result, struct ancillary_msg *msg,
			 unsigned flags);
int ancillary_channel_send(struct ancillary_channel *channel, const struct ancillary_frame *frame,
			   unsigned flags);
int ancillary_channel_flush(struct ancillary_channel *channel, unsigned flags);
int ancillary_channel_recv(struct ancillary_channel *channel, struct ancillary_frame *frame,
			   unsigned flags);
int ancillary_channel_events(const struct ancillary_channel *channel);
void ancillary_channel_drop(struct ancillary_channel *channel);
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
enum { ROOM = sizeof(int[ANCILLARY_MAX_FDS]) / sizeof(int), BUFFER = ANCILLARY_CONTROL_SIZE(ROOM) };
#if ANCILLARY_VERSION_MAJOR != 1 || ANCILLARY_MAX_FDS != 253
#error "constants are not what a preprocessor can read"
#endif

static void constants(void)
{
	CHECK_IS(ANCILLARY_MAX_FDS, 253);
	CHECK_IS(ROOM, 253);
	CHECK_IS(BUFFER, ancillary_control_size(ROOM));
	CHECK_IS(ANCILLARY_DONTWAIT, MSG_DONTWAIT);
	CHECK_IS(ANCILLARY_INTR, 1 << 19);
	CHECK_IS(ANCILLARY_WAITALL, MSG_WAITALL);
	CHECK_IS(ANCILLARY_LOSSLESS, 1 << 20);
	CHECK_IS(ANCILLARY_MORE, MSG_MORE);
	CHECK_IS(ANCILLARY_TAKE, 1 << 21);
	CHECK_IS(ANCILLARY_FORMAT_PLAIN, 0);
	CHECK_IS(ANCILLARY_FORMAT_IMSG, 1);
	CHECK_IS(ANCILLARY_FORMAT_IMSG_OLD, 2);
	CHECK_IS(ANCILLARY_FORMAT_OWN, 3);
	CHECK_IS(ANCILLARY_REPLACE, 1);
	CHECK_IS(ANCILLARY_PASSCRED, 2);
	CHECK_IS(ANCILLARY_PASSPIDFD, 4);
	CHECK_IS(ANCILLARY_NORIGHTS, 8);
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
	void *name;
	size_t namelen;
	struct ancillary_creds creds;
	int pidfd;
	unsigned flags;
	int error;
};
struct expected_frame {
	uint32_t type, id, pid;
	const void *data;
	size_t len;
	int *fds;
	size_t nfds;
	uint32_t reserved[4];
};
struct expected_layout {
	size_t len, nfds;
	uint32_t type, id;
	uint32_t reserved[4];
};
struct expected_channel {
	size_t size;
	int sock;
	unsigned flags, format;
	int (*cut)(const void *, size_t, struct ancillary_layout *, void *);
	void *context;
	void *in_data;
	size_t in_size;
	int *in_fds;
	size_t in_nfds;
	void *out_data;
	size_t out_size;
	int *out_fds;
	size_t out_nfds;
	uint64_t state[16];
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
typedef ANCIL_FD_BUFFER(8) buffer_of_eight;
#pragma GCC diagnostic pop

#define SAME_SIZE(name) CHECK_IS(sizeof(struct ancillary_##name), sizeof(struct expected_##name))
#define SAME_PLACE(name, member) \
	CHECK_IS(offsetof(struct ancillary_##name, member), offsetof(struct expected_##name, member))

static void structs(void)
{
	buffer_of_eight buffer;

	CHECK_IS(sizeof buffer, sizeof(struct cmsghdr) + 8 * sizeof(int));
	CHECK_IS((char *)buffer.fd - (char *)&buffer, sizeof(struct cmsghdr));
	SAME_SIZE(creds);
	SAME_PLACE(creds, pid);
	SAME_PLACE(creds, uid);
	SAME_PLACE(creds, gid);
	SAME_SIZE(msg);
	SAME_PLACE(msg, size);
	SAME_PLACE(msg, iov);
	SAME_PLACE(msg, iovlen);
	SAME_PLACE(msg, fds);
	SAME_PLACE(msg, nfds);
	SAME_PLACE(msg, name);
	SAME_PLACE(msg, namelen);
	SAME_PLACE(msg, creds);
	SAME_PLACE(msg, pidfd);
	SAME_PLACE(msg, flags);
	SAME_PLACE(msg, error);
	SAME_SIZE(frame);
	SAME_PLACE(frame, type);
	SAME_PLACE(frame, id);
	SAME_PLACE(frame, pid);
	SAME_PLACE(frame, data);
	SAME_PLACE(frame, len);
	SAME_PLACE(frame, fds);
	SAME_PLACE(frame, nfds);
	SAME_PLACE(frame, reserved);
	SAME_SIZE(layout);
	SAME_PLACE(layout, len);
	SAME_PLACE(layout, nfds);
	SAME_PLACE(layout, type);
	SAME_PLACE(layout, id);
	SAME_PLACE(layout, reserved);
	SAME_SIZE(channel);
	SAME_PLACE(channel, size);
	SAME_PLACE(channel, sock);
	SAME_PLACE(channel, flags);
	SAME_PLACE(channel, format);
	SAME_PLACE(channel, cut);
	SAME_PLACE(channel, context);
	SAME_PLACE(channel, in_data);
	SAME_PLACE(channel, in_size);
	SAME_PLACE(channel, in_fds);
	SAME_PLACE(channel, in_nfds);
	SAME_PLACE(channel, out_data);
	SAME_PLACE(channel, out_size);
	SAME_PLACE(channel, out_fds);
	SAME_PLACE(channel, out_nfds);
	SAME_PLACE(channel, state);
}

/* The library has the same idea of the size: it takes no message of another. */
static void the_library_knows_the_size(void)
{
	struct {
		struct ancillary_msg msg;
		char later[5000];
	} grown;
	struct ancillary_msg *msg = &grown.msg;

	memset(&grown, 0, sizeof grown);
	/* A larger one is served if what it has more is zero: it asks for nothing. */
	for (msg->size = 0; msg->size < sizeof grown; msg->size++) {
		bool served = msg->size >= sizeof *msg && msg->size <= 4096;

		CHECK_ERR(ancillary_recv_msg(-1, msg, 0), served ? EBADF : EINVAL);
		CHECK_ERR(ancillary_send_msg(-1, msg, 0), EINVAL);
		msg->fds = &(int){ 0 };
		msg->nfds = 1;
		CHECK_ERR(ancillary_send_msg(-1, msg, 0), served ? EBADF : EINVAL);
		msg->nfds = 0;
	}
	for (size_t place = 0; place < 4096 - sizeof *msg; place++) {
		grown.later[place] = 1;
		msg->size = 4096;
		CHECK_ERR(ancillary_recv_msg(-1, msg, 0), EINVAL);
		msg->size = sizeof *msg + place;
		CHECK_ERR(ancillary_recv_msg(-1, msg, 0), EBADF);
		grown.later[place] = 0;
	}
	msg->size = (size_t)-1;
	CHECK_ERR(ancillary_recv_msg(-1, msg, 0), EINVAL);
}

static void the_library_knows_the_size_of_a_channel(void)
{
	struct {
		struct ancillary_channel channel;
		char later[5000];
	} grown;
	struct ancillary_channel *channel = &grown.channel;

	memset(&grown, 0, sizeof grown);
	for (channel->size = 0; channel->size < sizeof grown; channel->size++) {
		bool served = channel->size >= sizeof *channel && channel->size <= 4096;

		CHECK_IS(ancillary_channel_events(channel), served ? 0 : -EINVAL);
		CHECK_IS(ancillary_channel_flush(channel, 0), served ? 0 : -EINVAL);
	}
	for (size_t place = 0; place < 4096 - sizeof *channel; place++) {
		grown.later[place] = 1;
		channel->size = 4096;
		CHECK_ERR(ancillary_channel_events(channel), EINVAL);
		channel->size = sizeof *channel + place;
		CHECK_OK(ancillary_channel_events(channel), 0);
		grown.later[place] = 0;
	}
	channel->size = (size_t)-1;
	CHECK_ERR(ancillary_channel_events(channel), EINVAL);
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
	int (*channel_send)(struct ancillary_channel *, const struct ancillary_frame *, unsigned) =
		ancillary_channel_send;
	int (*channel_recv)(struct ancillary_channel *, struct ancillary_frame *, unsigned) =
		ancillary_channel_recv;

	CHECK(version && max_fds && send_fd && recv_fd && send_fds && recv_fds && close_fds);
	CHECK(channel_send && channel_recv);
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

CHECK_MAIN(CASE(constants), CASE(structs), CASE(the_library_knows_the_size),
	   CASE(the_library_knows_the_size_of_a_channel), CASE(functions_say_what_the_header_says),
	   CASE(functions_have_addresses), CASE(results_have_their_whole_width))
