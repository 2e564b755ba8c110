#include "check.h"

#include "users.h"

#include "kit.h"

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void become_nobody(const gid_t *groups, size_t ngroups)
{
	CHECK(setgroups(ngroups, groups) == 0);
	CHECK(setresgid(NOBODY, NOBODY, NOBODY) == 0);
	CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
}

/* In a user namespace of one user there is root, and nobody to become. */
static bool can_be_others(void)
{
	pid_t child;
	int status;

	if (getuid() != 0)
		return false;
	child = fork();
	CHECK(child >= 0);
	if (child == 0)
		_exit(setgroups(0, NULL) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0);
	CHECK(waitpid(child, &status, 0) == child);
	return status == 0;
}

static void lose_capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0, 0, 0 } };

	CHECK(syscall(SYS_capset, &header, none) == 0);
}

void as_nobody(void (*run)(void))
{
	bool others = can_be_others();
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		if (others)
			become_nobody(NULL, 0);
		else
			lose_capabilities();
		run();
		_exit(0);
	}
	check_child(child);
}

void as_both(void (*run)(void))
{
	run();
	as_nobody(run);
}

void need_root(void)
{
	if (!can_be_others())
		check_skip("not root");
}

pid_t fork_in_new_pid_namespace(void)
{
	pid_t outside = fork(), inside;
	int status;

	CHECK(outside >= 0);
	if (outside != 0)
		return outside;
	CHECK(unshare(CLONE_NEWPID) == 0);
	inside = fork();
	CHECK(inside >= 0);
	if (inside == 0)
		return 0;
	CHECK(waitpid(inside, &status, 0) == inside);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}
