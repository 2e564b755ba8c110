#include "shim.h"

#include "check.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct shim shim;

enum { PIDFD = 4 };

static void spoil(struct msghdr *msg, struct cmsghdr *cmsg)
{
	int *fds = (int *)(void *)CMSG_DATA(cmsg);
	int count = (int)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));

	if (cmsg->cmsg_level != SOL_SOCKET)
		return;
	if (cmsg->cmsg_type == PIDFD && shim.pidfd_error && fds[0] >= 0) {
		close(fds[0]);
		fds[0] = -shim.pidfd_error;
	}
	if (cmsg->cmsg_type == SCM_CREDENTIALS && shim.cut_creds) {
		cmsg->cmsg_len = CMSG_LEN((size_t)shim.cut_creds);
		msg->msg_controllen = cmsg->cmsg_len;
	}
	if (cmsg->cmsg_type != SCM_RIGHTS)
		return;
	if (shim.gap && shim.gap <= count) {
		close(fds[shim.gap - 1]);
		fds[shim.gap - 1] = -shim.gap_error;
	}
	if (shim.withhold) {
		for (int i = 0; i < shim.withhold && count > 0; i++)
			close(fds[--count]);
		cmsg->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
		msg->msg_flags |= MSG_CTRUNC;
		if (shim.withhold_times && --shim.withhold_times == 0)
			shim.withhold = 0;
	}
}

ssize_t recvmsg(int sock, struct msghdr *msg, int flags)
{
	long n = syscall(SYS_recvmsg, sock, msg, flags);

	shim.calls++;
	if (n < 0)
		return -1;
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL; cmsg = CMSG_NXTHDR(msg, cmsg))
		spoil(msg, cmsg);
	return n;
}

int setsockopt(int sock, int level, int name, const void *value, socklen_t len)
{
	if (level == SOL_SOCKET && name == shim.missing_option && name != 0) {
		errno = ENOPROTOOPT;
		return -1;
	}
	return (int)syscall(SYS_setsockopt, sock, level, name, value, len);
}

/* As the kernel gives labels: too little room is ERANGE with the length. */
static int get_label(void *value, socklen_t *len)
{
	socklen_t room = *len;

	*len = shim.label_len;
	if (room < shim.label_len) {
		errno = ERANGE;
		return -1;
	}
	memcpy(value, shim.label, shim.label_len);
	return 0;
}

int getsockopt(int sock, int level, int name, void *value, socklen_t *len)
{
	if (level == SOL_SOCKET && name == shim.missing_option && name != 0) {
		errno = ENOPROTOOPT;
		return -1;
	}
	if (level == SOL_SOCKET && name == SO_PEERSEC && shim.label)
		return get_label(value, len);
	return (int)syscall(SYS_getsockopt, sock, level, name, value, len);
}
