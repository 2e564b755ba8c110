#include "trace.h"

#include "check.h"
#include "kit.h"
#include "shim.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- marks --- */

/* No command of prctl(2). */
enum { BEGIN = 0x616e6301, END };

/* Where system calls are missing, nothing is plain. */
static bool forbidding;

void trace_begin(enum path path, const char *function)
{
	syscall(SYS_prctl, BEGIN, forbidding ? RARE : path, function);
}

long long trace_end(long long value)
{
	int error = errno;

	syscall(SYS_prctl, END);
	errno = error;
	return value;
}

/* --- names --- */

struct name {
	long value;
	const char *name;
};

/* By the names of the manual: which of several calls a C library makes for it
 * differs from one system to the next. */
static const struct name calls[] = {
	{ SYS_bind, "bind" },
	{ SYS_clock_gettime, "clock_gettime" },
	{ SYS_close, "close" },
	{ 436, "close_range" },
	{ SYS_connect, "connect" },
	{ SYS_dup3, "dup3" },
	{ SYS_fchmod, "fchmod" },
	{ SYS_fchmodat, "fchmodat" },
	{ SYS_fcntl, "fcntl" },
	{ SYS_flock, "flock" },
	{ SYS_getgid, "getgid" },
	{ SYS_getpid, "getpid" },
	{ SYS_getsockopt, "getsockopt" },
	{ SYS_getuid, "getuid" },
	{ SYS_linkat, "linkat" },
	{ SYS_listen, "listen" },
	{ SYS_openat, "openat" },
	{ SYS_ppoll, "poll" },
	{ SYS_recvmsg, "recvmsg" },
	{ SYS_renameat2, "renameat2" },
	{ SYS_sendmsg, "sendmsg" },
	{ SYS_setsockopt, "setsockopt" },
	{ SYS_socket, "socket" },
	{ SYS_statx, "fstatat" },
	{ SYS_unlinkat, "unlinkat" },
#ifdef SYS_fcntl64
	{ SYS_fcntl64, "fcntl" },
#endif
#ifdef SYS_fstatat64
	{ SYS_fstatat64, "fstatat" },
#endif
#ifdef SYS_getgid32
	{ SYS_getgid32, "getgid" },
#endif
#ifdef SYS_getuid32
	{ SYS_getuid32, "getuid" },
#endif
#ifdef SYS_newfstatat
	{ SYS_newfstatat, "fstatat" },
#endif
#ifdef SYS_poll
	{ SYS_poll, "poll" },
#endif
#ifdef SYS_renameat
	{ SYS_renameat, "renameat" },
#endif
};

static const struct name options[] = {
	{ SO_TYPE, "SO_TYPE" },
	{ SO_PASSCRED, "SO_PASSCRED" },
	{ SO_PEERCRED, "SO_PEERCRED" },
	{ SO_PEERSEC, "SO_PEERSEC" },
	{ SO_PEERGROUPS, "SO_PEERGROUPS" },
	{ SO_RCVTIMEO, "SO_RCVTIMEO" },
	{ SO_SNDTIMEO, "SO_SNDTIMEO" },
	{ OPTION_PASSPIDFD, "SO_PASSPIDFD" },
	{ OPTION_PEERPIDFD, "SO_PEERPIDFD" },
	{ OPTION_PASSRIGHTS, "SO_PASSRIGHTS" },
};

static const struct name commands[] = {
	{ F_DUPFD_CLOEXEC, "F_DUPFD_CLOEXEC" },
	{ F_GETFD, "F_GETFD" },
	{ F_GETFL, "F_GETFL" },
	{ F_SETFD, "F_SETFD" },
	{ F_SETFL, "F_SETFL" },
};

static const struct name flags[] = {
	{ MSG_CMSG_CLOEXEC, "MSG_CMSG_CLOEXEC" },
	{ MSG_DONTWAIT, "MSG_DONTWAIT" },
	{ MSG_NOSIGNAL, "MSG_NOSIGNAL" },
	{ MSG_PEEK, "MSG_PEEK" },
};

/* A number that has no name here is its own. */
static const char *name_of(const struct name *names, size_t count, uint64_t value)
{
	static char number[24];

	for (size_t i = 0; i < count; i++)
		if ((uint64_t)names[i].value == value)
			return names[i].name;
	snprintf(number, sizeof number, "%llu", (unsigned long long)value);
	return number;
}

/* --- the tracer --- */

static const char *const paths[] = { "plain", "rare" };

static void write_flags(const char *call, uint64_t value)
{
	for (uint64_t bit = 1; bit <= value; bit <<= 1)
		if (value & bit)
			printf("flag %s %s\n", call, name_of(flags, LENGTH(flags), bit));
}

static void write_call(const char *path, const char *function, long number, const uint64_t *args)
{
	const char *call = name_of(calls, LENGTH(calls), (uint64_t)number);

	printf("%s %s %s", path, function, call);
	if (number == SYS_getsockopt || number == SYS_setsockopt)
		printf(" %s", args[1] == SOL_SOCKET ? name_of(options, LENGTH(options), args[2])
						    : "of another level");
	if (number == SYS_fcntl)
		printf(" %s", name_of(commands, LENGTH(commands), args[1]));
	putchar('\n');
	if (number == SYS_sendmsg || number == SYS_recvmsg)
		write_flags(call, args[2] & UINT32_MAX);
}

/* The traced process is a fork of this one: what its pointers to constants
 * point to is here as well. */
static void note(const struct __ptrace_syscall_info *info)
{
	static const char *path, *function;
	const uint64_t *args = (const uint64_t *)info->entry.args;

	/* The end of a handler. */
	if (info->entry.nr == SYS_rt_sigreturn)
		return;
	if (info->entry.nr == SYS_prctl && args[0] == BEGIN) {
		path = paths[args[1]];
		function = (const char *)(uintptr_t)args[2];
		printf("%s %s\n", path, function);
	} else if (info->entry.nr == SYS_prctl && args[0] == END) {
		function = NULL;
	} else if (function) {
		write_call(path, function, (long)info->entry.nr, args);
	}
}

/* To the next system call, or signal, of the traced process; returns its
 * status. */
static int go_on(pid_t pid, int number)
{
	int status;

	CHECK(ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)number) == 0);
	CHECK(waitpid(pid, &status, 0) == pid);
	return status;
}

void trace(void (*run)(void))
{
	const int of_call = SIGTRAP | 0x80;
	struct __ptrace_syscall_info info;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME) < 0)
			_exit(1);
		raise(SIGSTOP);
		run();
		_exit(0);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	if (!WIFSTOPPED(status))
		check_skip("no ptrace");
	CHECK(ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) == 0);
	status = go_on(pid, 0);
	while (WIFSTOPPED(status)) {
		if (WSTOPSIG(status) != of_call) {
			status = go_on(pid, WSTOPSIG(status));
			continue;
		}
		if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) < 0)
			check_skip("no PTRACE_GET_SYSCALL_INFO");
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
			note(&info);
		status = go_on(pid, 0);
	}
	CHECK_IS(status, 0);
}

void forbid(const long *numbers, unsigned count)
{
	struct sock_filter filter[8] = { BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0) };
	struct sock_fprog program = { (unsigned short)(count + 3), filter };

	CHECK(count + 3 <= LENGTH(filter));
	forbidding = true;
	for (unsigned i = 0; i < count; i++)
		filter[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							     (unsigned)numbers[i],
							     (unsigned char)(count - i), 0);
	filter[1 + count] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	filter[2 + count] =
		(struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}
