/* Two processes that each have a library of their own: this one, and what the
 * command in ANCILLARY_TEST_PEER runs, which is this program built for another
 * machine, or with another C library.  Without it, they are the same.
 *
 * Both do the same, so everything goes in both directions. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* As check_main is told it: PROGRAM --with SOCKET CASE. */
#define AS_PEER "--with"

static char **arguments;

/* --- what both do --- */

/* More than two messages carry, whichever of the two sends. */
enum { MANY = 600 };

static int files[MANY], received[MANY];
static char data[64];

/* Checks that these are files of the other process, from the first one on. */
static void check_theirs(size_t nfds)
{
	for (size_t i = 0; i < nfds; i++) {
		char text[16], expected[16];
		ssize_t n = pread(received[i], text, sizeof text, 0);

		CHECK_IS(fcntl(received[i], F_GETFD), FD_CLOEXEC);
		CHECK_IS(n, snprintf(expected, sizeof expected, "%zu", i));
		CHECK(memcmp(text, expected, (size_t)n) == 0);
	}
	CHECK(all_none(received + nfds, MANY - nfds));
	ancillary_close_fds(received, nfds);
}

static void exchange_one(int sock, pid_t other)
{
	(void)other;
	open_files(files, 1);
	CHECK_OK(ancillary_send_fd(sock, files[0]), 0);
	memset(received, -1, sizeof received);
	received[0] = ancillary_recv_fd(sock);
	check_theirs(1);
	close_files(files, 1);
}

/* As many as a message of this process carries; the payload says how many. */
static size_t send_the_most(int sock)
{
	size_t nfds = ancillary_max_fds();
	int len = snprintf(data, sizeof data, "%zu", nfds);

	CHECK_IS(nfds, MOST);
	open_files(files, nfds);
	CHECK_OK(ancillary_send_fds(sock, files, nfds, data, (size_t)len, 0), len);
	return nfds;
}

static void exchange_the_most(int sock, pid_t other)
{
	size_t sent = send_the_most(sock), nfds = MANY;
	ssize_t n = ancillary_recv_fds(sock, received, &nfds, data, sizeof data - 1, 0);

	(void)other;
	CHECK_IS(n, 3);
	data[n] = 0;
	CHECK_IS(nfds, atoi(data));
	check_theirs(nfds);
	close_files(files, sent);
}

static void exchange_more_than_a_message_carries(int sock, pid_t other)
{
	size_t nfds = MANY;

	(void)other;
	open_files(files, MANY);
	CHECK_OK(ancillary_send_fds(sock, files, nfds, "abcdef", 6, 0), 6);
	CHECK_OK(ancillary_recv_fds(sock, received, &nfds, data, 6, ANCILLARY_WAITALL), 6);
	CHECK(memcmp(data, "abcdef", 6) == 0);
	CHECK_IS(nfds, MANY);
	check_theirs(nfds);
	close_files(files, MANY);
}

static void check_sender(const struct ancillary_creds *creds, pid_t other)
{
	CHECK_IS(creds->pid, other);
	CHECK_IS(creds->uid, getuid());
	CHECK_IS(creds->gid, getgid());
}

static void exchange_credentials(int sock, pid_t other)
{
	struct ancillary_creds creds = { getpid(), getuid(), getgid() };

	CHECK_OK(ancillary_send_creds(sock, &creds, "abc", 3, 0), 3);
	CHECK_OK(ancillary_recv_creds(sock, &creds, data, 3, 0), 3);
	check_sender(&creds, other);
}

/* All kinds of control messages that the library knows, in one message. */
static void exchange_everything(int sock, pid_t other)
{
	struct iovec iov = { data, sizeof data - 1 };
	struct ancillary_msg msg = { .size = sizeof msg,
				     .iov = &iov,
				     .iovlen = 1,
				     .fds = received,
				     .nfds = MANY };
	size_t sent = send_the_most(sock);

	CHECK_OK(ancillary_recv_msg(sock, &msg, 0), 3);
	CHECK_IS(msg.flags, ANCILLARY_HAS_CREDS | ANCILLARY_HAS_PIDFD);
	data[3] = 0;
	CHECK_IS(msg.nfds, atoi(data));
	check_theirs(msg.nfds);
	check_sender(&msg.creds, other);
	CHECK_IS(fcntl(msg.pidfd, F_GETFD), FD_CLOEXEC);
	CHECK_IS(pid_of(msg.pidfd), other);
	close_files(&msg.pidfd, 1);
	close_files(files, sent);
}

/* --- the two --- */

static const struct exchange {
	const char *name;
	int type;
	bool passcred, passpidfd;
	void (*run)(int sock, pid_t other);
} exchanges[] = {
	{ "one", SOCK_STREAM, false, false, exchange_one },
	{ "the_most", SOCK_SEQPACKET, false, false, exchange_the_most },
	{ "more_than_a_message_carries", SOCK_STREAM, false, false,
	  exchange_more_than_a_message_carries },
	{ "credentials", SOCK_SEQPACKET, true, false, exchange_credentials },
	{ "everything", SOCK_SEQPACKET, true, true, exchange_everything },
};

static const struct exchange *exchange_of(const char *name)
{
	for (size_t i = 0; i < LENGTH(exchanges); i++)
		if (strcmp(exchanges[i].name, name) == 0)
			return &exchanges[i];
	check_failed(__FILE__, __LINE__, name);
}

static void start_peer(int sock, const char *name)
{
	const char *peer = getenv("ANCILLARY_TEST_PEER");
	char number[16];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CHECK(fcntl(sock, F_SETFD, 0) == 0);
	snprintf(number, sizeof number, "%d", sock);
	if (peer)
		execl("/bin/sh", "sh", "-c", "exec $ANCILLARY_TEST_PEER \"$@\"", "sh", AS_PEER, number,
		      name, (char *)NULL);
	else
		execl("/proc/self/exe", arguments[0], AS_PEER, number, name, (char *)NULL);
	check_failed(__FILE__, __LINE__, "the peer starts");
}

static void with_peer(const char *name)
{
	const struct exchange *exchange = exchange_of(name);
	int sock[2];
	pid_t peer;

	open_pair(exchange->type, sock);
	/* Before either can send. */
	for (int end = HERE; end <= THERE; end++) {
		if (exchange->passcred)
			CHECK_OK(ancillary_set_passcred(sock[end], 1), 0);
		if (exchange->passpidfd)
			CHECK_OK(ancillary_set_passpidfd(sock[end], 1), 0);
	}
	peer = fork();
	CHECK(peer >= 0);
	if (peer == 0)
		start_peer(sock[THERE], name);
	close_end(sock, THERE);
	exchange->run(sock[HERE], peer);
	check_child(peer);
	close_pair(sock);
}

static int be_peer(int sock, const char *name)
{
	size_t open = open_descriptors();

	check_about("peer of %s", name);
	exchange_of(name)->run(sock, getppid());
	CHECK_IS(open_descriptors(), open);
	return 0;
}

static void one(void)
{
	with_peer("one");
}

static void the_most(void)
{
	with_peer("the_most");
}

static void more_than_a_message_carries(void)
{
	/* Before there is another process that would skip it as well. */
	need_descriptors(2 * MANY);
	with_peer("more_than_a_message_carries");
}

static void credentials(void)
{
	with_peer("credentials");
}

static void everything(void)
{
	need_option(OPTION_PASSPIDFD);
	with_peer("everything");
}

int main(int argc, char **argv)
{
	static const struct check_case cases[] = {
		CASE(one),	   CASE(the_most),   CASE(more_than_a_message_carries),
		CASE(credentials), CASE(everything), { NULL, NULL },
	};

	arguments = argv;
	if (argc == 4 && strcmp(argv[1], AS_PEER) == 0)
		return be_peer(atoi(argv[2]), argv[3]);
	return check_main(argc, argv, cases);
}
