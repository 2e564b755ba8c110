/* With the extensions of GNU, the addresses of sockets would be of a type that no
 * definition can have. */
#define _DEFAULT_SOURCE

#include "hooks.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void (*before_each)(const char *function);

static void before(const char *function)
{
	if (before_each)
		before_each(function);
}

int open(const char *path, int flags, ...)
{
	va_list arguments;
	mode_t mode;

	before("open");
	va_start(arguments, flags);
	mode = flags & O_CREAT ? va_arg(arguments, mode_t) : 0;
	va_end(arguments);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int flock(int fd, int how)
{
	before("flock");
	return (int)syscall(SYS_flock, fd, how);
}

int bind(int sock, const struct sockaddr *address, socklen_t len)
{
	before("bind");
	return (int)syscall(SYS_bind, sock, address, len);
}

int connect(int sock, const struct sockaddr *address, socklen_t len)
{
	before("connect");
	return (int)syscall(SYS_connect, sock, address, len);
}

int listen(int sock, int backlog)
{
	before("listen");
	return (int)syscall(SYS_listen, sock, backlog);
}

int chmod(const char *path, mode_t mode)
{
	before("chmod");
	return (int)syscall(SYS_fchmodat, AT_FDCWD, path, mode);
}

int unlink(const char *path)
{
	before("unlink");
	return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int close(int fd)
{
	before("close");
	return (int)syscall(SYS_close, fd);
}
