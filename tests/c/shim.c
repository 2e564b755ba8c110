#include "shim.h"

#include "calls.h"
#include "check.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

struct shim shim;

enum { PIDFD = 4 };

/* As if it had never been installed: who watches what is closed does not see it. */
static void drop(int fd)
{
	make_call(&(struct call){ "", SYS_close, { fd } });
}

static void spoil(struct msghdr *msg, struct cmsghdr *cmsg)
{
	int *fds = (int *)(void *)CMSG_DATA(cmsg);
	int count = (int)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));

	if (cmsg->cmsg_level != SOL_SOCKET)
		return;
	if (cmsg->cmsg_type == PIDFD && shim.pidfd_error && fds[0] >= 0) {
		drop(fds[0]);
		fds[0] = -shim.pidfd_error;
	}
	if (cmsg->cmsg_type == SCM_CREDENTIALS && shim.cut_creds) {
		cmsg->cmsg_len = CMSG_LEN((size_t)shim.cut_creds);
		msg->msg_controllen = cmsg->cmsg_len;
	}
	if (cmsg->cmsg_type != SCM_RIGHTS)
		return;
	if (shim.gap && shim.gap <= count) {
		drop(fds[shim.gap - 1]);
		fds[shim.gap - 1] = -shim.gap_error;
	}
	if (shim.withhold) {
		for (int i = 0; i < shim.withhold && count > 0; i++)
			drop(fds[--count]);
		cmsg->cmsg_len = CMSG_LEN((size_t)count * sizeof(int));
		msg->msg_flags |= MSG_CTRUNC;
		if (shim.withhold_times && --shim.withhold_times == 0)
			shim.withhold = 0;
	}
}

/* Takes the descriptors out of control data: what is behind them moves up. */
static void leave_out_fds(struct msghdr *msg)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg);
	char *start, *behind, *end = (char *)msg->msg_control + msg->msg_controllen;

	while (cmsg && (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS))
		cmsg = CMSG_NXTHDR(msg, cmsg);
	if (!cmsg)
		return;
	for (size_t i = 0; i < (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
		drop(((int *)(void *)CMSG_DATA(cmsg))[i]);
	start = (char *)cmsg;
	behind = start + CMSG_SPACE(cmsg->cmsg_len - CMSG_LEN(0));
	if (behind > end)
		behind = end;
	memmove(start, behind, (size_t)(end - behind));
	msg->msg_controllen -= (size_t)(behind - start);
	shim.forget--;
}

static long receive(const struct call *call)
{
	struct msghdr *msg = (struct msghdr *)call->arguments[1];
	long n = make_call(call);

	shim.calls++;
	if (n < 0)
		return -1;
	if (shim.forget && call->arguments[2] & MSG_PEEK)
		leave_out_fds(msg);
	for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL; cmsg = CMSG_NXTHDR(msg, cmsg))
		spoil(msg, cmsg);
	return n;
}

/* As the kernel gives labels: too little room is ERANGE with the length. */
static long get_label(void *value, socklen_t *len)
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

static long spoil_option(const struct call *call)
{
	const long *a = call->arguments;

	if (a[1] == SOL_SOCKET && a[2] == shim.missing_option && a[2] != 0) {
		errno = ENOPROTOOPT;
		return -1;
	}
	if (call->number == SYS_getsockopt && a[1] == SOL_SOCKET && a[2] == SO_PEERSEC && shim.label)
		return get_label((void *)a[3], (socklen_t *)a[4]);
	return make_call(call);
}

static long spoiled(const struct call *call)
{
	if (call->number == SYS_recvmsg)
		return receive(call);
	if (call->number == SYS_getsockopt || call->number == SYS_setsockopt)
		return spoil_option(call);
	return make_call(call);
}

__attribute__((constructor)) static void stand_in_front(void)
{
	on_call = spoiled;
}
