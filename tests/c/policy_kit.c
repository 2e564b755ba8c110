#include "check.h"
#include "policy_kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int secret, file, sock[2], type;

bool is_selinux(void)
{
	const char *module = getenv("SECURITY_MODULE");

	CHECK(module && (strcmp(module, "selinux") == 0 || strcmp(module, "apparmor") == 0));
	return strcmp(module, "selinux") == 0;
}

/* --- processes --- */

void become(const char *who, const char *level)
{
	static char text[LABEL];
	int attr = open("/proc/self/attr/current", O_WRONLY | O_CLOEXEC);
	int len = is_selinux() ? snprintf(text, sizeof text, "u:r:%s:%s", who, level) :
				 snprintf(text, sizeof text, "changeprofile %s", who);

	CHECK(attr >= 0);
	CHECK_IS(write(attr, text, (size_t)len), len);
	CHECK(close(attr) == 0);
}

void as(const char *who, void (*run)(void))
{
	pid_t child;

	fflush(stdout);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		become(who, "s0");
		run();
		_exit(fflush(stdout) != 0);
	}
	check_child(child);
}

/* --- files --- */

static int pipe_to_opener[2];

static void open_secret(void)
{
	int opened = open("/secure/secret", O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	CHECK(opened >= 0);
	CHECK_IS(send_by_hand(pipe_to_opener[THERE], "x", 1, &opened, 1), 1);
}

/* AppArmor lets everybody have what a process has opened that is not confined. */
void open_both(void)
{
	size_t one = 1;
	char byte;

	open_pair(SOCK_STREAM, pipe_to_opener);
	as("opener", open_secret);
	CHECK_IS(receive_by_hand(pipe_to_opener[HERE], &byte, 1, &secret, &one), 1);
	CHECK_IS(one, 1);
	close_pair(pipe_to_opener);
	open_files(&file, 1);
}

void close_both(void)
{
	close_files(&secret, 1);
	close_files(&file, 1);
}

bool are_these(const int *fds, const char *which)
{
	for (; *which; which++)
		if (!same_file(*fds++, *which == 's' ? secret : file))
			return false;
	return true;
}

/* --- messages --- */

void in_all_types(void (*run)(void))
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };

	open_both();
	for (size_t i = 0; i < LENGTH(types); i++) {
		type = types[i];
		check_about("type %d", type);
		open_pair(type, sock);
		run();
		close_pair(sock);
	}
	close_both();
}

void send_with(const char *which, size_t len)
{
	int sent[MOST];
	size_t n = strlen(which);

	for (size_t i = 0; i < n; i++)
		sent[i] = which[i] == 's' ? secret : file;
	CHECK_OK(ancillary_send_fds(sock[HERE], sent, n, "abc", len, 0), len);
}

void with_message(const char *which, void (*receive)(void))
{
	send_with(which, 3);
	as("withheld", receive);
}

void take_all(const char *which)
{
	size_t n = MOST;
	char data[8];
	int fds[MOST];

	CHECK_OK(ancillary_recv_fds(sock[THERE], fds, &n, data, sizeof data, ANCILLARY_LOSSLESS), 3);
	CHECK_IS(n, strlen(which));
	CHECK(are_these(fds, which));
	close_files(fds, n);
	check_nothing_there(sock[THERE]);
}

void check_refused(int error)
{
	size_t open = open_descriptors(), n = MOST;
	char data[8];
	int fds[MOST];

	CHECK_ERR(ancillary_recv_fds(sock[THERE], fds, &n, data, sizeof data, ANCILLARY_LOSSLESS),
		  error);
	CHECK_IS(n, 0);
	CHECK(all_none(fds, MOST));
	CHECK_IS(open_descriptors(), open);
	CHECK_IS(recv(sock[THERE], data, sizeof data, MSG_DONTWAIT | MSG_PEEK), 3);
}
