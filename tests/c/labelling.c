#define _GNU_SOURCE

#include "labelling.h"

#include "calls.h"
#include "kit.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

struct labelling labelling;

/* Not in every system's headers. */
enum { SECURITY = 3, PIDFD = 4 };

enum { LONGEST = 8192 };

static bool is_on(long sock, int option)
{
	int value = 0;
	socklen_t len = sizeof value;
	struct call ask = { "", SYS_getsockopt,
			    { sock, SOL_SOCKET, option, (long)&value, (long)&len } };

	return make_call(&ask) == 0 && value;
}

/* As if it had never been installed. */
static void drop(int fd)
{
	make_call(&(struct call){ "", SYS_close, { fd } });
}

/* --- the control buffer of a call, as the kernel fills it --- */

struct buffer {
	char *at;
	size_t left;
	/* Something had no room. */
	bool cut;
};

static void advance(struct buffer *buffer, size_t space)
{
	size_t step = space < buffer->left ? space : buffer->left;

	buffer->at += step;
	buffer->left -= step;
}

/* Adds a control message, of which the end is left out if there is no room for it
 * (put_cmsg).  Returns whether it is whole. */
static bool put(struct buffer *buffer, int type, const void *data, size_t len)
{
	struct cmsghdr header = { .cmsg_len = CMSG_LEN(len),
				  .cmsg_level = SOL_SOCKET,
				  .cmsg_type = type };

	if (buffer->left < CMSG_LEN(len)) {
		buffer->cut = true;
		header.cmsg_len = buffer->left;
	}
	if (buffer->left < sizeof header)
		return false;
	memcpy(buffer->at, &header, sizeof header);
	memcpy(buffer->at + CMSG_LEN(0), data, header.cmsg_len - CMSG_LEN(0));
	advance(buffer, CMSG_SPACE(len));
	return header.cmsg_len == CMSG_LEN(len);
}

/* Descriptors are installed as far as there is room (scm_detach_fds). */
static void put_fds(struct buffer *buffer, const int *fds, size_t count)
{
	size_t room = buffer->left > CMSG_LEN(0) ? (buffer->left - CMSG_LEN(0)) / sizeof(int) : 0;
	size_t installed = count < room ? count : room;

	labelling.came = count;
	for (size_t i = installed; i < count; i++)
		drop(fds[i]);
	if (installed > 0)
		put(buffer, SCM_RIGHTS, fds, installed * sizeof(int));
	if (installed < count)
		buffer->cut = true;
}

/* All of it or nothing; and that it has no room is said of messages, too, that
 * come without one (scm_pidfd_recv). */
static void put_pidfd(struct buffer *buffer, const int *pidfd)
{
	labelling.pidfd_fits = buffer->left >= CMSG_LEN(sizeof(int));
	if (labelling.pidfd_fits && pidfd) {
		put(buffer, PIDFD, pidfd, sizeof *pidfd);
		return;
	}
	if (!labelling.pidfd_fits)
		buffer->cut = true;
	if (pidfd && *pidfd >= 0)
		drop(*pidfd);
}

static void put_label(struct buffer *buffer)
{
	static char label[LONGEST];

	memset(label, 'l', sizeof label);
	labelling.label_whole = put(buffer, SECURITY, label, labelling.len);
	labelling.room =
		buffer->left > CMSG_LEN(0) ? (buffer->left - CMSG_LEN(0)) / sizeof(int) : 0;
	labelling.came = 0;
}

/* Copies what came, with a label where the kernel has it: behind what else says who
 * sent it, in front of what is installed. */
static void copy(struct buffer *buffer, struct msghdr *came, bool passes_pidfds)
{
	struct cmsghdr *each = CMSG_FIRSTHDR(came);
	bool has_pidfd = false;

	for (; each && each->cmsg_type != SCM_RIGHTS && each->cmsg_type != PIDFD &&
	       each->cmsg_type != OPTION_INQ;
	     each = CMSG_NXTHDR(came, each))
		put(buffer, each->cmsg_type, CMSG_DATA(each), each->cmsg_len - CMSG_LEN(0));
	put_label(buffer);
	for (; each; each = CMSG_NXTHDR(came, each)) {
		const int *numbers = (const int *)(const void *)CMSG_DATA(each);
		size_t len = each->cmsg_len - CMSG_LEN(0);

		if (each->cmsg_type == SCM_RIGHTS) {
			put_fds(buffer, numbers, len / sizeof(int));
			continue;
		}
		if (passes_pidfds && !has_pidfd)
			put_pidfd(buffer, each->cmsg_type == PIDFD ? numbers : NULL);
		has_pidfd = true;
		if (each->cmsg_type != PIDFD)
			put(buffer, each->cmsg_type, numbers, len);
	}
	if (passes_pidfds && !has_pidfd)
		put_pidfd(buffer, NULL);
}

/* --- the call --- */

/* Of a call that failed the kernel does not say how much it has filled. */
static size_t filled_by(const char *control, size_t size)
{
	size_t filled = 0;
	struct cmsghdr header;

	while (filled + sizeof header <= size) {
		memcpy(&header, control + filled, sizeof header);
		if (header.cmsg_len < CMSG_LEN(0))
			break;
		filled += CMSG_SPACE(header.cmsg_len - CMSG_LEN(0));
	}
	return filled;
}

static long receive(const struct call *call)
{
	static union {
		struct cmsghdr header;
		char room[LONGEST];
	} control;
	struct msghdr *message = (struct msghdr *)call->arguments[1], came = *message;
	struct call changed = *call;
	struct buffer buffer = { message->msg_control,
				 message->msg_control ? message->msg_controllen : 0, false };
	size_t room = buffer.left;
	long result;
	int error;

	memset(&control, 0, sizeof control);
	came.msg_control = &control;
	came.msg_controllen = sizeof control;
	changed.arguments[1] = (long)&came;
	result = make_call(&changed);
	error = errno;
	if (result < 0 && error != EFAULT)
		return result;
	if (result < 0)
		came.msg_controllen = filled_by(control.room, sizeof control);
	if (result != 0 || came.msg_controllen > 0)
		copy(&buffer, &came, is_on(call->arguments[0], OPTION_PASSPIDFD));
	errno = error;
	if (result < 0)
		return result;
	message->msg_namelen = came.msg_namelen;
	message->msg_controllen = room - buffer.left;
	message->msg_flags = came.msg_flags | (buffer.cut ? MSG_CTRUNC : 0);
	return result;
}

static long labelled(const struct call *call)
{
	if (call->number == SYS_recvmsg && labelling.len && is_on(call->arguments[0], SO_PASSSEC))
		return receive(call);
	return make_call(call);
}

__attribute__((constructor)) static void stand_in_front(void)
{
	on_call = labelled;
}
