#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kit.h"

static const char *running = "";
static char about[80];

void check_about(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(about, sizeof about, format, arguments);
	va_end(arguments);
}

/* How a case ends that has failed, and has said so or could not; or was
 * skipped, and has said so. */
enum { SAID = 1, UNSAID, SKIPPED };

static void fail(const char *file, int line, const char *expression, const char *more)
{
	printf("FAILED %s: %s:%d: %s%s%s%s%s\n", running, file, line, expression, more,
	       *about ? " (" : "", about, *about ? ")" : "");
	_exit(fflush(stdout) == 0 ? SAID : UNSAID);
}

void check_failed(const char *file, int line, const char *expression)
{
	char more[80];

	snprintf(more, sizeof more, "; errno: %s", strerror(errno));
	fail(file, line, expression, more);
	abort();
}

void check_differs(const char *file, int line, const char *expression, long long is,
		   long long expected)
{
	char more[80];

	snprintf(more, sizeof more, ": %lld instead of %lld", is, expected);
	fail(file, line, expression, more);
	abort();
}

void check_skip(const char *why)
{
	const char *all = getenv("ANCILLARY_REQUIRE_ALL");
	bool only_root_could = strcmp(why, "not root") == 0 && geteuid() != 0;

	if (all && strcmp(all, "1") == 0 && !only_root_could)
		fail(__FILE__, __LINE__, "nothing is missing: ", why);
	printf("skipped %s: %s\n", running, why);
	_exit(fflush(stdout) == 0 ? SKIPPED : UNSAID);
}

static void run_here(const struct check_case *what)
{
	size_t before, after;

	running = what->name;
	before = open_descriptors();
	what->run();
	check_about("%s", "");
	after = open_descriptors();
	if (after != before)
		check_differs(what->name, 0, "descriptors open at the end", (long long)after,
			      (long long)before);
	fflush(stdout);
	_exit(0);
}

/* Returns how the process ended, or -1 if it did not in time. */
static int wait_for(pid_t pid, const sigset_t *child, int seconds)
{
	struct timespec left = { seconds, 0 };
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0)
		if (sigtimedwait(child, NULL, &left) < 0 && errno == EAGAIN)
			return -1;
	return status;
}

/* Returns whether the case passed. */
static bool run_apart(const struct check_case *what, int seconds)
{
	sigset_t child, before;
	int status;
	pid_t pid;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, &before);
	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("fork");
		exit(2);
	}
	if (pid == 0) {
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigprocmask(SIG_SETMASK, &before, NULL);
		run_here(what);
	}
	setpgid(pid, pid);
	status = wait_for(pid, &child, seconds);
	/* The case, if it is late, and whatever it has left running. */
	kill(-pid, SIGKILL);
	if (status == -1) {
		waitpid(pid, NULL, 0);
		printf("FAILED %s: not done after %d seconds\n", what->name, seconds);
	} else if (WIFSIGNALED(status)) {
		printf("FAILED %s: %s\n", what->name, strsignal(WTERMSIG(status)));
	} else if (WEXITSTATUS(status) == 0) {
		printf("ok %s\n", what->name);
		return true;
	} else if (WEXITSTATUS(status) == SKIPPED) {
		return true;
	} else if (WEXITSTATUS(status) != SAID) {
		printf("FAILED %s: exit status %d\n", what->name, WEXITSTATUS(status));
	}
	return false;
}

static bool named(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc == 1;
}

/* Whoever starts the tests may ignore some, or block them. */
static void have_all_signals(void)
{
	sigset_t none;

	for (int number = 1; number <= SIGRTMAX; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* They may have been closed. */
static void have_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd < STDERR_FILENO);
}

int check_main(int argc, char **argv, const struct check_case *cases)
{
	/* What takes a few may take minutes on a busy machine. */
	enum { SECONDS = 300 };
	const char *seconds = getenv("CHECK_SECONDS");
	bool list = argc == 2 && strcmp(argv[1], "--list") == 0;
	int matched = 0, failed = 0;

	have_all_signals();
	have_standard_descriptors();
	/* What it has open beside them is not theirs: cases take numbers one after the other. */
	close_from(STDERR_FILENO + 1);
	raise_limit();
	for (const struct check_case *each = cases; each->name; each++) {
		if (list)
			puts(each->name);
		if (list || !named(each->name, argc, argv))
			continue;
		matched++;
		failed += !run_apart(each, seconds ? atoi(seconds) : SECONDS);
	}
	if (!list && matched == 0) {
		printf("FAILED: no such case\n");
		return 1;
	}
	return failed != 0;
}
