/* Runs a program as an older kernel would: `older PROGRAM [ARGUMENT...]`.
 *
 * What came after Linux 4.18 fails as it did there: socket options with
 * ENOPROTOOPT, system calls with ENOSYS.  For x86-64, where all calls made
 * since 4.18 have numbers from 335 on, and all options those from 61 on. */

#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NEWER_CALL = 335, NEWER_OPTION = 61 };

/* An argument of a call, of which half a word is looked at. */
#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
/* Goes on with the next statement, or skips so many. */
#define UNLESS(comparison, value, skip) BPF_JUMP(BPF_JMP | (comparison) | BPF_K, value, 0, skip)
#define END(action) BPF_STMT(BPF_RET | BPF_K, action)

int main(int argc, char **argv)
{
	struct sock_filter filter[] = {
		LOAD(arch),
		UNLESS(BPF_JEQ, AUDIT_ARCH_X86_64, 10),
		LOAD(nr),
		UNLESS(BPF_JGE, NEWER_CALL, 1),
		END(SECCOMP_RET_ERRNO | ENOSYS),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setsockopt, 1, 0),
		UNLESS(BPF_JEQ, SYS_getsockopt, 5),
		LOAD(args[1]),
		UNLESS(BPF_JEQ, SOL_SOCKET, 3),
		LOAD(args[2]),
		UNLESS(BPF_JGE, NEWER_OPTION, 1),
		END(SECCOMP_RET_ERRNO | ENOPROTOOPT),
		END(SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof filter / sizeof filter[0], filter };

	if (argc < 2)
		return fprintf(stderr, "Usage: older PROGRAM [ARGUMENT...]\n"), 2;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return perror("seccomp"), 2;
	execvp(argv[1], argv + 1);
	return perror(argv[1]), 2;
}
