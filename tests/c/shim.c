#include "shim.h"

#include "check.h"

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
