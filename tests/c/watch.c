#define _GNU_SOURCE

#include "watch.h"

#include "calls.h"

#include <string.h>
#include <sys/syscall.h>

struct watched watched;
void (*watch_between)(void);

static bool watching;

/* What stands behind: the system, or what other tests make of it. */
static long (*beneath)(const struct call *call);

static size_t installed_by(struct msghdr *message)
{
	size_t count = 0;

	for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each; each = CMSG_NXTHDR(message, each))
		if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_RIGHTS)
			count += (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	return count;
}

static long receive(const struct call *call)
{
	struct msghdr *message = (struct msghdr *)call->arguments[1];
	size_t room = message->msg_control ? message->msg_controllen : 0;
	int flags = (int)call->arguments[2];
	long result;

	if (watched.calls++ > 0 && watch_between)
		watch_between();
	if (watched.room < room)
		watched.room = room;
	watched.inheritable |= room >= CMSG_LEN(sizeof(int)) && !(flags & MSG_CMSG_CLOEXEC);
	result = beneath(call);
	if (result >= 0) {
		size_t installed = room ? installed_by(message) : 0;

		if (watched.installed < installed)
			watched.installed = installed;
		if (!(flags & MSG_PEEK))
			watched.consumed += (size_t)result;
	}
	return result;
}

static long watch(const struct call *call)
{
	if (watching && call->number == SYS_recvmsg)
		return receive(call);
	return beneath(call);
}

void watch_begin(void)
{
	if (!beneath) {
		beneath = on_call;
		on_call = watch;
	}
	memset(&watched, 0, sizeof watched);
	watching = true;
}

void watch_end(void)
{
	watching = false;
}
