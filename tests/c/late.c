#include "late.h"

#include "check.h"
#include "kit.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

void (*when_it_waits)(void);

bool waits(const struct call *call)
{
	bool transfers = call->number == SYS_sendmsg || call->number == SYS_recvmsg;

	return strcmp(call->name, "poll") == 0 ||
	       (transfers && !(call->arguments[2] & MSG_DONTWAIT));
}

long make_late(const struct call *call)
{
	/* What is done then is none of the library's calls. */
	long (*before)(const struct call *) = on_call;
	void (*act)(void) = when_it_waits;

	if (act && waits(call)) {
		int error = errno;

		when_it_waits = NULL;
		on_call = make_call;
		act();
		on_call = before;
		errno = error;
	}
	return make_call(call);
}

/* --- a stream that is late --- */

static int between[2];

/* How much of what HERE cannot send behind is still there. */
static size_t filled;

static void remove_filling(void)
{
	char part[1000];

	while (filled > 0) {
		ssize_t n = recv(between[HERE], part, filled < sizeof part ? filled : sizeof part, 0);

		CHECK(n > 0);
		filled -= (size_t)n;
	}
}

static void pass_on(void)
{
	unsigned char piece[30];
	int fds[MOST];
	size_t nfds;
	ssize_t n;

	when_it_waits = pass_on;
	remove_filling();
	if (recv(between[HERE], piece, 1, MSG_PEEK | MSG_DONTWAIT) < 0) {
		CHECK(errno == EAGAIN);
		return;
	}
	n = receive_by_hand(between[HERE], piece, sizeof piece, fds, &nfds);
	CHECK(n >= 0);
	if (n == 0) {
		CHECK(shutdown(between[THERE], SHUT_WR) == 0);
		return;
	}
	CHECK_IS(send_by_hand(between[THERE], piece, (size_t)n, fds, nfds), n);
	close_files(fds, nfds);
}

void open_late_pair(int sock[2])
{
	int to[2], from[2];

	open_pair(SOCK_STREAM, to);
	open_pair(SOCK_STREAM, from);
	sock[HERE] = to[HERE];
	between[HERE] = to[THERE];
	between[THERE] = from[HERE];
	sock[THERE] = from[THERE];
	set_option(sock[HERE], SO_SNDBUF, 1);
	filled = fill(sock[HERE]);
	when_it_waits = pass_on;
}

void close_late_pair(int sock[2])
{
	when_it_waits = NULL;
	close_pair(sock);
	close_pair(between);
}
