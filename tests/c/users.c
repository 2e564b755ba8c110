#include "check.h"

#include "users.h"

#include "kit.h"

#include <grp.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

void become_nobody(const gid_t *groups, size_t ngroups)
{
	CHECK(setgroups(ngroups, groups) == 0);
	CHECK(setresgid(NOBODY, NOBODY, NOBODY) == 0);
	CHECK(setresuid(NOBODY, NOBODY, NOBODY) == 0);
}

void as_nobody(void (*run)(void))
{
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		if (getuid() == 0)
			become_nobody(NULL, 0);
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
	if (getuid() != 0)
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
