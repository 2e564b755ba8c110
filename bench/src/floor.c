/* The floor as a shared library: the same system calls by hand, as functions
 * that do not know how many descriptors there are.  What these take more than
 * the floor, any shared library takes that is called from outside.  They look
 * at nothing that a caller could get wrong, and once at what came.
 *
 * Those that keep errno read it before: they make a call again that a signal
 * has interrupted, and leave errno as it was when that succeeds.  One of these
 * looks at the message first, and then takes it without control data. */

#define _GNU_SOURCE

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

enum { MOST = 253 };

union control {
	struct cmsghdr header;
	char room[CMSG_SPACE(MOST * sizeof(int))];
};

#define COLD static __attribute__((noinline, cold))

/* Makes the call again if that was interrupted. */
COLD ssize_t send_again(int sock, const struct msghdr *message, ssize_t sent, int before)
{
	while (sent < 0 && errno == EINTR)
		if ((sent = sendmsg(sock, message, MSG_NOSIGNAL)) >= 0)
			errno = before;
	return sent;
}

COLD ssize_t
receive_again(int sock, struct msghdr *message, int flags, ssize_t received, int before)
{
	while (received < 0 && errno == EINTR)
		if ((received = recvmsg(sock, message, flags)) >= 0)
			errno = before;
	return received;
}

COLD ssize_t unexpected(void)
{
	errno = EBADMSG;
	return -1;
}

static inline __attribute__((always_inline)) ssize_t
send_some(int keep, int sock, const int *fds, size_t count, const void *data, size_t len)
{
	union control control;
	struct iovec iov = { (void *)data, len };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(count * sizeof *fds),
	};
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(count * sizeof *fds);
	if (count == 1)
		*(int *)CMSG_DATA(&control.header) = *fds;
	else
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof *fds);
	int before = keep ? errno : 0;
	ssize_t sent = sendmsg(sock, &message, MSG_NOSIGNAL);
	if (keep && sent != (ssize_t)len)
		return send_again(sock, &message, sent, before);
	return sent;
}

static inline __attribute__((always_inline)) ssize_t
receive_some(int keep, int peek, int sock, int *fds, size_t *count, void *data, size_t len)
{
	union control control;
	struct iovec iov = { data, len };
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control,
	};
	int before = keep ? errno : 0;
	int flags = MSG_CMSG_CLOEXEC | (peek ? MSG_PEEK : 0);
	ssize_t received = recvmsg(sock, &message, flags);
	if (keep && received <= 0)
		received = receive_again(sock, &message, flags, received, before);
	if (received <= 0)
		return received;
	if ((message.msg_flags & MSG_CTRUNC) ||
	    message.msg_controllen < CMSG_LEN(sizeof *fds) ||
	    control.header.cmsg_level != SOL_SOCKET || control.header.cmsg_type != SCM_RIGHTS)
		return unexpected();
	size_t came = (control.header.cmsg_len - CMSG_LEN(0)) / sizeof *fds;
	if (came > *count)
		return unexpected();
	if (came == 1)
		*fds = *(int *)CMSG_DATA(&control.header);
	else
		memcpy(fds, CMSG_DATA(&control.header), came * sizeof *fds);
	*count = came;
	if (peek) {
		iov.iov_len = (size_t)received;
		message.msg_controllen = 0;
		ssize_t taken = recvmsg(sock, &message, MSG_DONTWAIT);
		if (taken < 0)
			return taken;
		if (taken != received || !(message.msg_flags & MSG_CTRUNC))
			return unexpected();
	}
	return received;
}

ssize_t floor_send(int sock, const int *fds, size_t count, const void *data, size_t len)
{
	return send_some(0, sock, fds, count, data, len);
}

ssize_t floor_receive(int sock, int *fds, size_t *count, void *data, size_t len)
{
	return receive_some(0, 0, sock, fds, count, data, len);
}

ssize_t floor_send_keeping(int sock, const int *fds, size_t count, const void *data, size_t len)
{
	return send_some(1, sock, fds, count, data, len);
}

ssize_t floor_receive_keeping(int sock, int *fds, size_t *count, void *data, size_t len)
{
	return receive_some(1, 0, sock, fds, count, data, len);
}

ssize_t floor_receive_peeking(int sock, int *fds, size_t *count, void *data, size_t len)
{
	return receive_some(1, 1, sock, fds, count, data, len);
}
