#include "check.h"

#include "fault.h"

#include "calls.h"
#include "kit.h"
#include "shim.h"

#include "documented.h"
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* --- what can happen --- */

/* Not an error: of a stream, a single byte is sent or received. */
enum { LESS = -1 };

/* What a call can fail with, as its manual page and unix(7) have it for a Unix
 * socket, or for a file where only directories are opened.  Left out is what
 * would need arguments that the library does not make. */
static const struct row {
	const char *name;
	/* Only if this argument, if not the first, has this value. */
	int place;
	long value;
	int faults[30];
} rows[] = {
	{ "sendmsg", 0, 0, { EACCES, EAGAIN, EBADF, ECONNREFUSED, ECONNRESET, EFAULT, EINTR, EINVAL,
			     EISCONN, ELOOP, EMSGSIZE, ENOBUFS, ENOENT, ENOMEM, ENOTCONN, ENOTDIR,
			     ENOTSOCK, EOPNOTSUPP, EPERM, EPIPE, EPROTOTYPE, ESRCH, ETOOMANYREFS,
			     LESS } },
	{ "recvmsg", 0, 0, { EAGAIN, EBADF, ECONNRESET, EFAULT, EINTR, EINVAL, ENOMEM, ENOTCONN,
			     ENOTSOCK, LESS } },
	{ "getsockopt", 2, SO_TYPE, { EBADF, ENOTSOCK } },
	{ "getsockopt", 2, SO_RCVTIMEO, { EBADF, ENOTSOCK } },
	{ "getsockopt", 2, SO_SNDTIMEO, { EBADF, ENOTSOCK } },
	{ "getsockopt", 2, SO_PEERCRED, { EBADF, ENOTSOCK } },
	{ "getsockopt", 2, OPTION_PEERPIDFD, { EBADF, EINVAL, EMFILE, ENFILE, ENODATA, ENOPROTOOPT,
					       ENOTSOCK, ESRCH } },
	{ "getsockopt", 2, SO_PEERGROUPS, { EBADF, ENODATA, ENOPROTOOPT, ENOTSOCK, ERANGE } },
	{ "getsockopt", 2, SO_PEERSEC, { EBADF, ENOPROTOOPT, ENOTSOCK, ERANGE } },
	{ "setsockopt", 2, SO_PASSCRED, { EBADF, ENOTSOCK, EOPNOTSUPP } },
	{ "setsockopt", 2, OPTION_PASSPIDFD, { EBADF, ENOPROTOOPT, ENOTSOCK, EOPNOTSUPP } },
	{ "setsockopt", 2, OPTION_PASSRIGHTS, { EBADF, ENOPROTOOPT, ENOTSOCK, EOPNOTSUPP } },
	{ "socket", 0, 0, { EACCES, EAFNOSUPPORT, EMFILE, ENFILE, ENOBUFS, ENOMEM } },
	{ "bind", 0, 0, { EACCES, EADDRINUSE, EDQUOT, EINTR, EIO, ELOOP, ENAMETOOLONG, ENOENT,
			  ENOMEM, ENOSPC, ENOTDIR, EPERM, EROFS } },
	{ "connect", 0, 0, { EACCES, EAGAIN, ECONNREFUSED, EINTR, ELOOP, ENOENT, ENOMEM, ENOTDIR,
			     EPERM, EPROTOTYPE } },
	{ "listen", 0, 0, { ENOMEM } },
	{ "openat", 0, 0, { EACCES, EINTR, EIO, ELOOP, EMFILE, ENAMETOOLONG, ENFILE, ENOENT, ENOMEM,
			    ENOTDIR, EPERM } },
	{ "flock", 1, LOCK_EX | LOCK_NB, { EAGAIN, EINTR, ENOLCK } },
	{ "fstatat", 0, 0, { EACCES, EINTR, EIO, ELOOP, ENOENT, ENOMEM, ENOTDIR } },
	{ "fchmod", 0, 0, { EINTR, EPERM } },
	{ "fchmodat", 0, 0, { EACCES, EINTR, EIO, ELOOP, ENOENT, ENOMEM, ENOTDIR, EPERM, EROFS } },
	{ "renameat2", 0, 0, { EACCES, EBUSY, EDQUOT, EEXIST, EINTR, EINVAL, EIO, ELOOP, ENOENT,
			       ENOMEM, ENOSPC, ENOSYS, ENOTDIR, EPERM, EROFS } },
	{ "renameat", 0, 0, { EACCES, EBUSY, EDQUOT, EINTR, EIO, ELOOP, ENOENT, ENOMEM, ENOSPC,
			      ENOTDIR, EPERM, EROFS } },
	{ "linkat", 0, 0, { EACCES, EDQUOT, EEXIST, EINTR, EIO, ELOOP, ENOENT, ENOMEM, ENOSPC,
			    ENOTDIR, EPERM, EROFS } },
	{ "unlinkat", 0, 0, { EACCES, EBUSY, EINTR, EIO, ELOOP, ENOENT, ENOMEM, ENOTDIR, EPERM,
			      EROFS } },
	{ "dup3", 0, 0, { EBADF, EBUSY, EINTR, EMFILE, ENOMEM } },
	{ "fcntl", 1, F_GETFD, { EBADF } },
	{ "fcntl", 1, F_DUPFD_CLOEXEC, { EMFILE } },
	{ "fcntl", 1, F_GETFL, { EBADF } },
	/* Nothing the library asks for can fail here. */
	{ "fcntl", 1, F_SETFL, { 0 } },
	{ "flock", 1, LOCK_UN, { 0 } },
	{ "close", 0, 0, { EDQUOT, EINTR, EIO, ENOSPC } },
	{ "poll", 0, 0, { EINTR, EINVAL, ENOMEM } },
	{ "close_range", 0, 0, { ENOSYS, EPERM } },
};

static const struct row *row_of(const struct call *call)
{
	for (size_t i = 0; i < LENGTH(rows); i++)
		if (strcmp(rows[i].name, call->name) == 0 &&
		    (rows[i].place == 0 || (int)call->arguments[rows[i].place] == rows[i].value))
			return &rows[i];
	printf("no faults are known of %s(%ld, %ld, %ld)\n", call->name, call->arguments[0],
	       call->arguments[1], call->arguments[2]);
	CHECK(!"every call is in the table");
	return NULL;
}

static const char *payload;
static size_t payload_len;

void payload_at(const void *start, size_t len)
{
	payload = start;
	payload_len = len;
}

static bool carries(struct msghdr *message, int type)
{
	struct cmsghdr *each = CMSG_FIRSTHDR(message);

	while (each && each->cmsg_type != type)
		each = CMSG_NXTHDR(message, each);
	return each != NULL;
}

static int type_of(int sock)
{
	int type;
	socklen_t len = sizeof type;
	struct call ask = { "", SYS_getsockopt, { sock, SOL_SOCKET, SO_TYPE, (long)&type,
						  (long)&len } };

	CHECK(make_call(&ask) == 0);
	return type;
}

/* Whether what a message asks for can meet a fault that such calls can. */
static bool message_can_meet(const struct call *call, int fault)
{
	int sock = (int)call->arguments[0];
	struct msghdr *message = (struct msghdr *)call->arguments[1];
	const char *start;

	switch (fault) {
	case EFAULT:
		start = message->msg_iov->iov_base;
		return start >= payload && start < payload + payload_len;
	case LESS:
		return type_of(sock) == SOCK_STREAM && can_be_short(call);
	case EMSGSIZE:
		return type_of(sock) != SOCK_STREAM;
	case ECONNREFUSED:
		return type_of(sock) == SOCK_DGRAM;
	case EACCES:
	case ELOOP:
	case ENOENT:
	case ENOTDIR:
	case EPROTOTYPE:
		return message->msg_namelen > 0 && type_of(sock) == SOCK_DGRAM;
	case EISCONN:
	case EOPNOTSUPP:
		return message->msg_namelen > 0 && type_of(sock) == SOCK_STREAM;
	case ETOOMANYREFS:
		return carries(message, SCM_RIGHTS);
	case EPERM:
		return carries(message, SCM_RIGHTS) || carries(message, SCM_CREDENTIALS);
	case ESRCH:
		return carries(message, SCM_CREDENTIALS);
	default:
		return true;
	}
}

static bool can_meet(const struct call *call, int fault)
{
	const struct row *row = row_of(call);
	const long *a = call->arguments;
	size_t i = 0;

	while (i < LENGTH(row->faults) && row->faults[i] != fault)
		i++;
	if (i == LENGTH(row->faults))
		return false;
	/* More descriptors than RLIMIT_NOFILE. */
	if (strcmp(call->name, "poll") == 0 && fault == EINVAL)
		return a[1] > 0;
	return (call->number != SYS_sendmsg && call->number != SYS_recvmsg) ||
	       message_can_meet(call, fault);
}

bool calls_wait;

/* What would never end, and does not go on for ever where it is met. */
static bool can_last(const char *name, int fault)
{
	return fault != EINTR && fault != LESS && !(fault == EAGAIN && calls_wait) &&
	       !(fault == EADDRINUSE && strcmp(name, "bind") == 0) &&
	       !(fault == EAGAIN && strcmp(name, "flock") == 0);
}

/* --- whose descriptors --- */

/* By number: what the library has been given since the call began, and not
 * closed. */
static bool owned[4096];

static void own(int fd)
{
	CHECK(fd >= 0 && (size_t)fd < LENGTH(owned));
	CHECK(!owned[fd]);
	owned[fd] = true;
}

void hand_over(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i] >= 0)
			own(fds[i]);
}

static void disown(unsigned first, unsigned last)
{
	CHECK(first <= last && last < LENGTH(owned));
	for (unsigned fd = first; fd <= last; fd++) {
		if (!owned[fd])
			check_differs(__FILE__, __LINE__, "the library closes its own", fd, -1);
		owned[fd] = false;
	}
}

static void own_received(struct msghdr *message)
{
	enum { PIDFD = 4 };

	for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each;
	     each = CMSG_NXTHDR(message, each)) {
		const int *fds = (const int *)(const void *)CMSG_DATA(each);

		if (each->cmsg_type == SCM_RIGHTS || each->cmsg_type == PIDFD)
			hand_over(fds, (each->cmsg_len - CMSG_LEN(0)) / sizeof(int));
	}
}

/* Keeps the books of a call that has been made. */
static void watch(const struct call *call, long result)
{
	const long *a = call->arguments;

	if (call->number == SYS_close)
		disown((unsigned)a[0], (unsigned)a[0]);
	if (result < 0)
		return;
	if (call->number == SYS_close_range)
		disown((unsigned)a[0], (unsigned)a[1]);
	if (call->number == SYS_socket || call->number == SYS_openat ||
	    (call->number == SYS_fcntl && a[1] == F_DUPFD_CLOEXEC))
		own((int)result);
	if (call->number == SYS_dup3) {
		/* What was there is closed: its own, or what it was told to replace. */
		owned[result] = false;
		own((int)result);
	}
	if (call->number == SYS_getsockopt && a[2] == OPTION_PEERPIDFD)
		own(*(int *)a[3]);
	if (call->number == SYS_recvmsg)
		own_received((struct msghdr *)a[1]);
}

/* --- making it happen --- */

/* What stands behind: the system, or what other tests make of it. */
static long (*beneath)(const struct call *call);

struct fault {
	/* At which call, counted from 1; at none if 0. */
	int at;
	int what;
	bool lasting;
	/* What it has met. */
	const char *met;
	long argument;
};

static struct fault faults[2];
static bool calling;
/* Of this run. */
static int made;

enum { MOST_CALLS = 200 };

/* What each call of the run without a fault can meet. */
static struct {
	const char *name;
	int faults[30];
} possible[MOST_CALLS];

static void note_possible(const struct call *call)
{
	const struct row *row = row_of(call);
	int count = 0;

	CHECK(made < MOST_CALLS);
	memset(&possible[made], 0, sizeof possible[made]);
	possible[made].name = call->name;
	for (size_t i = 0; i < LENGTH(row->faults) && row->faults[i]; i++)
		if (can_meet(call, row->faults[i]))
			possible[made].faults[count++] = row->faults[i];
}

static long make_with_one_byte(const struct call *call)
{
	struct msghdr *message = (struct msghdr *)call->arguments[1], less = *message;
	struct iovec *whole = message->msg_iov, one;
	struct call changed = *call;
	long result;

	while (whole->iov_len == 0)
		whole++;
	one = (struct iovec){ whole->iov_base, 1 };
	less.msg_iov = &one;
	less.msg_iovlen = 1;
	changed.arguments[1] = (long)&less;
	result = beneath(&changed);
	if (call->number == SYS_recvmsg) {
		message->msg_controllen = less.msg_controllen;
		message->msg_flags = less.msg_flags;
	}
	return result;
}

static bool strikes(struct fault *fault, const struct call *call)
{
	if (fault->at == made)
		fault->met = call->name;
	else if (!fault->lasting || !fault->met || strcmp(fault->met, call->name) != 0)
		return false;
	return can_meet(call, fault->what);
}

static long make_or_fail(const struct call *call)
{
	if (!calling)
		return beneath(call);
	if (made < MOST_CALLS && faults[0].at == 0)
		note_possible(call);
	/* Long before a test is late. */
	CHECK(++made < 100 * MOST_CALLS);
	for (size_t i = 0; i < LENGTH(faults); i++) {
		if (!strikes(&faults[i], call))
			continue;
		if (faults[i].what == LESS)
			return make_with_one_byte(call);
		/* close(2) gives the number back in any case. */
		if (call->number == SYS_close)
			beneath(call);
		errno = faults[i].what;
		return -1;
	}
	return beneath(call);
}

static long watched(const struct call *call)
{
	long result = make_or_fail(call);

	if (calling) {
		int error = errno;

		watch(call, result);
		note_look(call, result);
		errno = error;
	}
	return result;
}

void calls_begin(void)
{
	CHECK(!calling);
	calling = true;
	forget_look();
	errno = CHECK_ERRNO;
}

static bool is_documented(const char *function, int error)
{
	for (size_t i = 0; i < LENGTH(documented); i++)
		if (strcmp(documented[i].function, function) == 0)
			for (const int *each = documented[i].errors; *each; each++)
				if (*each == error)
					return true;
	return false;
}

long calls_end(const char *function, long result)
{
	int error = errno;

	calling = false;
	memset(owned, 0, sizeof owned);
	if (result < 0 && strncmp(function, "ancil_", 6) == 0) {
		CHECK_IS(result, -1);
		result = -error;
	}
	if (result >= 0) {
		CHECK_IS(error, CHECK_ERRNO);
		return result;
	}
	CHECK_IS(error, -result);
	if (!is_documented(function, error))
		check_differs(function, 0, "an error that is documented", error, 0);
	return result;
}

void calm(void)
{
	for (size_t i = 0; i < LENGTH(faults); i++) {
		faults[i].at = MOST_CALLS * 1000;
		faults[i].lasting = false;
	}
}

bool faulted(const char *name)
{
	for (size_t i = 0; i < LENGTH(faults); i++)
		if (faults[i].met && strcmp(faults[i].met, name) == 0)
			return true;
	return false;
}

bool goes_on(const char *name)
{
	for (size_t i = 0; i < LENGTH(faults); i++)
		if (faults[i].lasting && faults[i].met && strcmp(faults[i].met, name) == 0)
			return true;
	return false;
}

bool interrupted(void)
{
	for (size_t i = 0; i < LENGTH(faults); i++)
		if (faults[i].met && faults[i].what != EINTR)
			return false;
	return faults[0].met || faults[1].met;
}

bool faulted_twice(void)
{
	return faults[0].met && faults[1].met;
}

/* --- all of them --- */

static size_t open_before;
static int runs;

static void run(void (*scenario)(void), struct fault first, struct fault second)
{
	faults[0] = first;
	faults[1] = second;
	made = 0;
	runs++;
	scenario();
	CHECK_IS(open_descriptors(), open_before);
}

static const char *what_name(int what)
{
	return what == LESS ? "a single byte" : strerrorname_np(what);
}

static uint32_t seed;

static uint32_t chance(uint32_t below)
{
	/* xorshift */
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed % below;
}

static struct fault any_fault(int calls)
{
	int at = (int)chance((uint32_t)calls), count = 0;
	struct fault fault = { .at = at + 1, .lasting = chance(4) == 0 };

	while (possible[at].faults[count])
		count++;
	if (count == 0)
		return (struct fault){ .at = 0 };
	fault.what = possible[at].faults[chance((uint32_t)count)];
	fault.lasting = fault.lasting && can_last(possible[at].name, fault.what);
	return fault;
}

void at_every_call(void (*scenario)(void))
{
	enum { PAIRS = 300 };
	const char *given = getenv("ANCILLARY_TEST_SEED");
	const struct fault none = { .at = 0 };
	int calls;

	open_before = open_descriptors();
	runs = 0;
	beneath = on_call;
	on_call = watched;
	run(scenario, none, none);
	calls = made;
	CHECK(calls > 0 && calls <= MOST_CALLS);
	for (int at = 1; at <= calls; at++) {
		for (const int *what = possible[at - 1].faults; *what; what++) {
			for (int lasting = 0; lasting <= can_last(possible[at - 1].name, *what);
			     lasting++) {
				struct fault fault = { .at = at, .what = *what, .lasting = lasting };

				check_about("%s, call %d: %s%s", possible[at - 1].name, at,
					    what_name(*what), lasting ? ", and on" : "");
				run(scenario, fault, none);
				CHECK(faulted(possible[at - 1].name));
			}
		}
	}
	/* Any but 0. */
	seed = given ? (uint32_t)strtoul(given, NULL, 0) : (uint32_t)time(NULL);
	for (int pair = 0; pair < PAIRS; pair++) {
		uint32_t start = seed;
		struct fault first = any_fault(calls), second = any_fault(calls);

		if (!first.at || !second.at || first.at == second.at)
			continue;
		check_about("seed %u: call %d %s%s, call %d %s%s", (unsigned)start, first.at,
			    what_name(first.what), first.lasting ? " and on" : "", second.at,
			    what_name(second.what), second.lasting ? " and on" : "");
		run(scenario, first, second);
	}
	check_about("%s", "");
	printf("# %d calls, %d runs\n", calls, runs);
	on_call = beneath;
}
