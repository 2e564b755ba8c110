#define _GNU_SOURCE

#include "stream_end.h"

#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>

struct stream_end end;

void (*on_sent)(const unsigned char *data, size_t len, const int *files, size_t nfds);

/* --- descriptors --- */

enum { LOWEST = 100, NUMBERS = 1 << 16, MOST_IN_MESSAGE = 253, CLOSED = -1 };

struct entry {
	int file;
	/* Whether it counts as received. */
	bool received;
};

static struct {
	struct entry entries[NUMBERS];
	int count, own;
} books;

static struct entry *entry(int fd)
{
	return fd >= LOWEST && fd < LOWEST + books.count ? &books.entries[fd - LOWEST] : NULL;
}

int file_of(int fd)
{
	const struct entry *found = entry(fd);

	return found ? found->file : CLOSED;
}

static size_t *count_of(const struct entry *entry)
{
	return entry->received ? &end.open_received : &end.open_own;
}

static int add_number(int file)
{
	struct entry *added = &books.entries[books.count];

	if (books.count == NUMBERS)
		return -1;
	*added = (struct entry){ file, file < FIRST_OWN };
	*count_of(added) += 1;
	return LOWEST + books.count++;
}

int open_own(void)
{
	int fd = add_number(FIRST_OWN + books.own);

	books.own += fd >= 0;
	return fd;
}

static bool table_is_full(void)
{
	return books.count == NUMBERS || end.open_received + end.open_own >= end.limit;
}

void close_number(int fd, const char *how)
{
	struct entry *closed = entry(fd);

	if (!closed || closed->file == CLOSED)
		wrong("%d is %s, but it is not open", fd, how);
	*count_of(closed) -= 1;
	closed->file = CLOSED;
}

void make_own(int fd)
{
	struct entry *own = entry(fd);

	if (!own || own->file == CLOSED)
		return;
	*count_of(own) -= 1;
	own->received = false;
	*count_of(own) += 1;
}

/* --- what the peer sends --- */

enum { MOST_PIECES = 4096 };

static struct {
	/* Of the pieces not received yet: where each ends, and its descriptors do. */
	struct piece {
		size_t end, fds_end;
	} pieces[MOST_PIECES];
	size_t first;
} queue;

void end_begin(void)
{
	/* What the peer has sent need not be cleared. */
	end.nonblocking = end.peer_has_closed = false;
	end.limit = end.room = SIZE_MAX;
	end.receive_error = end.send_error = 0;
	end.interruptions = 0;
	end.arrived = end.received = end.fds_arrived = end.fds_received = 0;
	end.pieces = end.calls = end.open_received = end.open_own = 0;
	books.count = books.own = 0;
	queue.first = 0;
}

bool peer_sends(const unsigned char *data, size_t len, size_t nfds)
{
	if (end.peer_has_closed || len == 0 || len > MOST_ARRIVING - end.arrived ||
	    queue.first + end.pieces == MOST_PIECES || nfds > MOST_IN_MESSAGE)
		return false;
	memcpy(end.arriving + end.arrived, data, len);
	end.arrived += len;
	end.fds_arrived += nfds;
	queue.pieces[queue.first + end.pieces++] = (struct piece){ end.arrived, end.fds_arrived };
	return true;
}

/* --- system calls --- */

static int fail(int error)
{
	errno = error;
	return -1;
}

/* What stands in front of every call that may wait. */
static int interrupted(int flags)
{
	if (end.interruptions == 0 || end.nonblocking || flags & MSG_DONTWAIT)
		return 0;
	end.interruptions--;
	return EINTR;
}

/* The library looks ahead into memory that cannot be written to: a byte, behind all
 * else. */
static bool ends_at_a_wall(const struct msghdr *message, int flags)
{
	return flags & MSG_PEEK && message->msg_controllen == 0 && message->msg_iovlen > 0 &&
	       message->msg_iov[message->msg_iovlen - 1].iov_len == 1;
}

static size_t room_for_payload(const struct msghdr *message)
{
	size_t room = 0;

	for (size_t i = 0; i < message->msg_iovlen; i++)
		room += message->msg_iov[i].iov_len;
	return room;
}

static void fill(const struct msghdr *message, size_t from, size_t len)
{
	for (size_t i = 0; len > 0; i++) {
		size_t here = message->msg_iov[i].iov_len;

		if (here > len)
			here = len;
		if (here > 0)
			memcpy(message->msg_iov[i].iov_base, end.arriving + from, here);
		from += here;
		len -= here;
	}
}

/* Installs as many as there is room for, in the buffer and in the table. */
static void deliver(struct msghdr *message, size_t first, size_t nfds)
{
	size_t room = message->msg_controllen, count = 0;
	struct cmsghdr header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	unsigned char *control = message->msg_control;

	while (count < nfds && room >= CMSG_LEN((count + 1) * sizeof(int)) && !table_is_full()) {
		int fd = add_number((int)(first + count));

		memcpy(control + CMSG_LEN(count * sizeof fd), &fd, sizeof fd);
		count++;
	}
	if (count < nfds)
		message->msg_flags |= MSG_CTRUNC;
	message->msg_controllen = 0;
	if (count == 0)
		return;
	header.cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(control, &header, sizeof header);
	message->msg_controllen = CMSG_SPACE(count * sizeof(int));
	if (message->msg_controllen > room)
		message->msg_controllen = room;
}

static long receive(struct msghdr *message, int flags)
{
	bool peek = flags & MSG_PEEK, wall = ends_at_a_wall(message, flags);
	size_t room = room_for_payload(message) - wall, at = end.received, nfds = 0;
	size_t first_fd = end.fds_received;
	int error = interrupted(flags);

	if (!error && end.receive_error && !peek) {
		error = end.receive_error;
		end.receive_error = 0;
	}
	if (error)
		return fail(error);
	message->msg_flags = flags & MSG_CMSG_CLOEXEC;
	for (size_t i = queue.first; i < queue.first + end.pieces && nfds == 0; i++) {
		const struct piece *piece = &queue.pieces[i];

		/* Of a piece that cannot be written whole nothing is. */
		if (at - end.received == room || (wall && piece->end - end.received > room))
			break;
		at = piece->end - end.received < room ? piece->end : end.received + room;
		nfds = piece->fds_end - first_fd;
	}
	if (at == end.received) {
		if (end.pieces > 0)
			return fail(EFAULT);
		if (!end.peer_has_closed && (end.nonblocking || flags & MSG_DONTWAIT))
			return fail(EAGAIN);
		end.peer_has_closed = true;
		message->msg_controllen = 0;
		return 0;
	}
	fill(message, end.received, at - end.received);
	room = at - end.received;
	if (!peek) {
		end.received = at;
		end.fds_received += nfds;
		while (end.pieces > 0 && queue.pieces[queue.first].end <= at) {
			queue.first++;
			end.pieces--;
		}
	}
	deliver(message, first_fd, nfds);
	return (long)room;
}

/* What is waited for happens. */
static int wait_for(struct pollfd *fds, long count)
{
	if (count != 1 || fds->fd != END_SOCKET)
		wrong("%ld descriptors are waited for", count);
	if (end.interruptions > 0) {
		end.interruptions--;
		return fail(EINTR);
	}
	if (fds->events & POLLIN && end.pieces == 0)
		end.peer_has_closed = true;
	if (fds->events & POLLOUT)
		end.room = SIZE_MAX;
	fds->revents = fds->events;
	return 1;
}

static size_t attached(const struct msghdr *message, int *files)
{
	struct cmsghdr header;
	size_t count;

	if (message->msg_controllen == 0)
		return 0;
	memcpy(&header, message->msg_control, sizeof header);
	count = (header.cmsg_len - CMSG_LEN(0)) / sizeof(int);
	if (header.cmsg_level != SOL_SOCKET || header.cmsg_type != SCM_RIGHTS || count == 0 ||
	    count > MOST_IN_MESSAGE || message->msg_controllen != CMSG_SPACE(count * sizeof(int)))
		wrong("%zu descriptors are sent, or something else", count);
	for (size_t i = 0; i < count; i++) {
		int fd;

		memcpy(&fd, (unsigned char *)message->msg_control + CMSG_LEN(i * sizeof fd),
		       sizeof fd);
		files[i] = file_of(fd);
	}
	return count;
}

static long transmit(const struct msghdr *message, int flags)
{
	static unsigned char data[1 << 20];
	int files[MOST_IN_MESSAGE], error = interrupted(flags);
	size_t len = 0, nfds = attached(message, files);

	if (!error && end.send_error) {
		error = end.send_error;
		end.send_error = 0;
	}
	if (error)
		return fail(error);
	for (size_t i = 0; i < nfds; i++)
		if (files[i] == CLOSED)
			return fail(EBADF);
	if (end.peer_has_closed)
		return fail(EPIPE);
	for (size_t i = 0; i < message->msg_iovlen; i++) {
		const struct iovec *part = &message->msg_iov[i];

		if (part->iov_len > sizeof data - len)
			wrong("%zu bytes are sent", part->iov_len);
		if (part->iov_len > 0)
			memcpy(data + len, part->iov_base, part->iov_len);
		len += part->iov_len;
	}
	if (len > end.room) {
		if (!end.nonblocking && !(flags & MSG_DONTWAIT))
			end.room = len;
		len = end.room;
	}
	if (len == 0)
		return fail(EAGAIN);
	end.room -= end.room == SIZE_MAX ? 0 : len;
	on_sent(data, len, files, nfds);
	return (long)len;
}

static void close_numbers(unsigned first, unsigned last)
{
	if (first > last || last - first >= NUMBERS || last > INT_MAX)
		wrong("%u to %u are closed", first, last);
	for (unsigned fd = first; fd <= last; fd++)
		close_number((int)fd, "closed in a range");
}

long end_call(const struct call *call)
{
	const long *a = call->arguments;

	end.calls++;
	switch (call->number) {
	case SYS_recvmsg:
		return receive((struct msghdr *)a[1], (int)a[2]);
	case SYS_sendmsg:
		return transmit((const struct msghdr *)a[1], (int)a[2]);
#ifdef SYS_poll
	case SYS_poll:
#else
	case SYS_ppoll:
#endif
		return wait_for((struct pollfd *)a[0], a[1]);
	case SYS_close:
		close_number((int)a[0], "closed");
		return 0;
	case SYS_close_range:
		close_numbers((unsigned)a[0], (unsigned)a[1]);
		return 0;
	case SYS_fcntl:
		if (a[1] == F_GETFL)
			return end.nonblocking ? O_NONBLOCK : 0;
		if (a[1] == F_DUPFD_CLOEXEC)
			return table_is_full() ? fail(EMFILE) : add_number(FIRST_OWN);
		break;
	case SYS_getsockopt:
		if (a[1] == SOL_SOCKET && a[2] == SO_TYPE) {
			*(int *)a[3] = SOCK_STREAM;
			return 0;
		}
		if (a[1] == SOL_SOCKET && (a[2] == SO_RCVTIMEO || a[2] == SO_SNDTIMEO)) {
			*(struct timeval *)a[3] = (struct timeval){ 0, 0 };
			return 0;
		}
		break;
	}
	wrong("%s is called", call->name);
}
