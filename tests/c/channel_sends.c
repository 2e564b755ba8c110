#include "channel_sends.h"

#include "calls.h"
#include "channel_kit.h"
#include "check.h"
#include "kit.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

struct sends sends;

static bool watching;

/* What stands behind: the system, or what other tests make of it. */
static long (*beneath)(const struct call *call);

static size_t fds_in(const struct msghdr *header)
{
	const struct cmsghdr *first =
		header->msg_controllen ? header->msg_control : NULL;

	return first && first->cmsg_type == SCM_RIGHTS ?
		       (first->cmsg_len - CMSG_LEN(0)) / sizeof(int) :
		       0;
}

/* Copies the first bytes of a message, and returns the length of all. */
static size_t look_at(const struct msghdr *header, unsigned char *start, size_t room)
{
	size_t len = 0;

	for (size_t i = 0; i < (size_t)header->msg_iovlen; i++) {
		size_t part = header->msg_iov[i].iov_len;

		if (len < room)
			memcpy(start + len, header->msg_iov[i].iov_base,
			       part < room - len ? part : room - len);
		len += part;
	}
	return len;
}

/* Sends so many of the bytes only. */
static long send_less(const struct call *call, size_t most)
{
	struct msghdr less = *(const struct msghdr *)call->arguments[1];
	struct iovec iov[64];
	struct call changed = *call;

	shorten(&less, iov, LENGTH(iov), most);
	changed.arguments[1] = (long)&less;
	return beneath(&changed);
}

static long spoiled_send(const struct call *call)
{
	size_t less = sends.less;

	if (sends.after > 0) {
		sends.after--;
		return beneath(call);
	}
	if (less) {
		sends.less = 0;
		return send_less(call, less);
	}
	if (sends.error) {
		errno = sends.error;
		sends.error = 0;
		return -1;
	}
	return beneath(call);
}

static long watched_send(const struct call *call)
{
	const struct msghdr *header = (const struct msghdr *)call->arguments[1];
	struct sent *sent = &sends.call[sends.calls];

	CHECK(sends.calls < MOST_SENT_CALLS);
	sends.calls++;
	memset(sent, 0, sizeof *sent);
	sent->len = look_at(header, sent->start, sizeof sent->start);
	sent->nfds = fds_in(header);
	CHECK(call->arguments[2] & MSG_NOSIGNAL);
	sent->result = spoiled_send(call);
	return sent->result;
}

static long watched(const struct call *call)
{
	if (!watching)
		return beneath(call);
	if (call->number == SYS_sendmsg)
		return watched_send(call);
	if (call->number == SYS_recvmsg)
		sends.receives++;
	return beneath(call);
}

void watch_sends(void)
{
	if (!beneath) {
		beneath = on_call;
		on_call = watched;
	}
	memset(&sends, 0, sizeof sends);
	watching = true;
}
