/* With the extensions of GNU, the addresses of sockets would be of a type that no
 * definition can have. */
#define _DEFAULT_SOURCE

#include "calls.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct stat64;

/* POSIX's way to get a function from dlsym(3). */
union symbol {
	void *data;
	long (*function)(long number, ...);
};

long make_call(const struct call *call)
{
	/* The one function for all of them; ours stands in front of it. */
	static union symbol really;
	const long *a = call->arguments;

	if (!really.data) {
		/* RTLD_NEXT, which only GNU's extensions declare. */
		really.data = dlsym((void *)-1L, "syscall");
		if (!really.data)
			abort();
	}
	return really.function(call->number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

long (*on_call)(const struct call *call) = make_call;

static long called(struct call call)
{
	return on_call(&call);
}

#define CALLED(name, number, ...) called((struct call){ name, number, { __VA_ARGS__ } })
#define WORD(pointer) ((long)(pointer))

/* --- messages and descriptors --- */

ssize_t sendmsg(int sock, const struct msghdr *message, int flags)
{
	return CALLED("sendmsg", SYS_sendmsg, sock, WORD(message), flags);
}

ssize_t recvmsg(int sock, struct msghdr *message, int flags)
{
	return CALLED("recvmsg", SYS_recvmsg, sock, WORD(message), flags);
}

int getsockopt(int sock, int level, int name, void *value, socklen_t *len)
{
	return (int)CALLED("getsockopt", SYS_getsockopt, sock, level, name, WORD(value), WORD(len));
}

int setsockopt(int sock, int level, int name, const void *value, socklen_t len)
{
	return (int)CALLED("setsockopt", SYS_setsockopt, sock, level, name, WORD(value), len);
}

int close(int fd)
{
	return (int)CALLED("close", SYS_close, fd);
}

int fcntl(int fd, int command, ...)
{
	va_list arguments;
	long argument;

	va_start(arguments, command);
	argument = va_arg(arguments, long);
	va_end(arguments);
	return (int)CALLED("fcntl", SYS_fcntl, fd, command, argument);
}

int poll(struct pollfd *fds, nfds_t count, int milliseconds)
{
#ifdef SYS_poll
	return (int)CALLED("poll", SYS_poll, WORD(fds), (long)count, milliseconds);
#else
	struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000L };

	return (int)CALLED("poll", SYS_ppoll, WORD(fds), (long)count,
			   milliseconds < 0 ? 0 : WORD(&time), 0, 0);
#endif
}

int dup3(int fd, int place, int flags)
{
	return (int)CALLED("dup3", SYS_dup3, fd, place, flags);
}

/* --- names --- */

int socket(int family, int type, int protocol)
{
	return (int)CALLED("socket", SYS_socket, family, type, protocol);
}

int bind(int sock, const struct sockaddr *address, socklen_t len)
{
	return (int)CALLED("bind", SYS_bind, sock, WORD(address), len);
}

int connect(int sock, const struct sockaddr *address, socklen_t len)
{
	return (int)CALLED("connect", SYS_connect, sock, WORD(address), len);
}

int listen(int sock, int backlog)
{
	return (int)CALLED("listen", SYS_listen, sock, backlog);
}

int openat(int at, const char *path, int flags, ...)
{
	va_list arguments;
	mode_t mode;

	va_start(arguments, flags);
	mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
	va_end(arguments);
	return (int)CALLED("openat", SYS_openat, at, WORD(path), flags, mode);
}

int flock(int fd, int how)
{
	return (int)CALLED("flock", SYS_flock, fd, how);
}

/* Whichever the library calls. */
#ifdef __GLIBC__
int fstatat64(int at, const char *path, struct stat64 *found, int flags)
#else
int fstatat(int at, const char *path, struct stat *found, int flags)
#endif
{
#ifdef SYS_newfstatat
	const long number = SYS_newfstatat;
#else
	const long number = SYS_fstatat64;
#endif
	return (int)CALLED("fstatat", number, at, WORD(path), WORD(found), flags);
}

int fchmod(int fd, mode_t mode)
{
	return (int)CALLED("fchmod", SYS_fchmod, fd, mode);
}

int fchmodat(int at, const char *path, mode_t mode, int flags)
{
	/* The system call has no flags. */
	return (int)CALLED("fchmodat", SYS_fchmodat, at, WORD(path), mode, flags);
}

int linkat(int old_at, const char *old, int new_at, const char *new, int flags)
{
	return (int)CALLED("linkat", SYS_linkat, old_at, WORD(old), new_at, WORD(new), flags);
}

int renameat(int old_at, const char *old, int new_at, const char *new)
{
	return (int)CALLED("renameat", SYS_renameat2, old_at, WORD(old), new_at, WORD(new), 0);
}

int unlinkat(int at, const char *path, int flags)
{
	return (int)CALLED("unlinkat", SYS_unlinkat, at, WORD(path), flags);
}

/* --- looks --- */

static bool looked;

static bool peeks(const struct call *call)
{
	return call->number == SYS_recvmsg && call->arguments[2] & MSG_PEEK;
}

static bool has_control(const struct call *call)
{
	return ((const struct msghdr *)call->arguments[1])->msg_controllen > 0;
}

bool can_be_short(const struct call *call)
{
	if (peeks(call))
		return has_control(call);
	return call->number == SYS_sendmsg || (call->number == SYS_recvmsg && !looked);
}

void note_look(const struct call *call, long result)
{
	if (call->number == SYS_recvmsg)
		looked = peeks(call) && result >= 0 && has_control(call);
}

void forget_look(void)
{
	looked = false;
}

/* --- what goes by number --- */

long syscall(long number, ...)
{
	struct call call = { "syscall", number, { 0 } };
	va_list arguments;

	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		call.arguments[i] = va_arg(arguments, long);
	va_end(arguments);
	if (number == SYS_close_range)
		call.name = "close_range";
	else if (number == SYS_renameat2)
		call.name = "renameat2";
	return on_call(&call);
}
