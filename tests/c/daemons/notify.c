/* What a service manager does with systemd-notify(1): it takes the message,
 * believes the credentials, and lets the sender go by closing the descriptor
 * that comes with a second message (sd_notify(3), BARRIER=1). */

#include "check.h"
#include "kit.h"
#include "place.h"

#include <ancillary.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start_notify(const char *address)
{
	pid_t pid = fork();

	if (pid == 0) {
		CHECK(setenv("NOTIFY_SOCKET", address, 1) == 0);
		execlp("systemd-notify", "systemd-notify", "--ready", (char *)NULL);
		CHECK(!"systemd-notify could be executed");
	}
	return pid;
}

/* A privileged systemd-notify gives the process that started it as the sender;
 * the kernel puts in itself otherwise. */
static void check_sender(const struct ancillary_creds *creds, pid_t child)
{
	if (creds->pid != getpid())
		CHECK_IS(creds->pid, child);
	CHECK_IS(creds->uid, getuid());
	CHECK_IS(creds->gid, getgid());
}

static void take_ready(int sock, pid_t child)
{
	struct ancillary_creds creds;
	char data[100] = "";

	CHECK_OK(ancillary_recv_creds(sock, &creds, data, sizeof data, 0), strlen("READY=1"));
	CHECK(strcmp(data, "READY=1") == 0);
	check_sender(&creds, child);
}

/* Returns the descriptor that it waits for. */
static int take_barrier(int sock, pid_t child)
{
	char data[100] = "";
	struct iovec iov = { data, sizeof data };
	int fds[2];
	struct ancillary_msg msg = {
		.size = sizeof msg, .iov = &iov, .iovlen = 1, .fds = fds, .nfds = 2
	};

	CHECK_OK(ancillary_recv_msg(sock, &msg, 0), strlen("BARRIER=1"));
	CHECK(strcmp(data, "BARRIER=1") == 0);
	CHECK_IS(msg.flags, ANCILLARY_HAS_CREDS);
	check_sender(&msg.creds, child);
	CHECK_IS(msg.nfds, 1);
	CHECK_IS(fds[1], -1);
	CHECK_IS(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
	return fds[0];
}

static void serve(const char *name, const char *address)
{
	int sock, barrier;
	pid_t child;

	NEW(sock, ancillary_listen(name, SOCK_DGRAM, 0600, 0));
	CHECK_OK(ancillary_set_passcred(sock, 1), 0);
	child = start_notify(address);
	take_ready(sock, child);
	barrier = take_barrier(sock, child);
	/* It is a pipe, whose other end closes when the process goes. */
	CHECK_IS(poll(&(struct pollfd){ .fd = barrier }, 1, 100), 0);
	CHECK_IS(waitpid(child, NULL, WNOHANG), 0);
	ancillary_close_fds(&barrier, 1);
	/* After five seconds without that it fails. */
	check_child(child);
	check_nothing_there(sock);
	CHECK(close(sock) == 0);
}

static void serve_a_file(void)
{
	char address[PATH_MAX + 8];

	CHECK(getcwd(address, PATH_MAX));
	strcat(address, "/notify");
	serve("notify", address);
}

static void a_file(void)
{
	in_a_place(serve_a_file);
}

static void an_abstract_name(void)
{
	char name[40];

	snprintf(name, sizeof name, "@ancillary-notify-%d", (int)getpid());
	serve(name, name);
}

CHECK_MAIN(CASE(a_file), CASE(an_abstract_name))
