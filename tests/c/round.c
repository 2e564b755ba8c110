/* Rounds of send, receive and close, over a pair of sockets in one process, for
 * what counts them from outside: instructions, system calls, allocations.
 *
 *     round WAY ROUNDS
 *
 * What a round takes is the difference of two runs with a different number of
 * rounds.  How many descriptors a round passes is known when this is compiled
 * (DESCRIPTORS), as in a program that passes one. */

#define _GNU_SOURCE

#include <ancillary.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { COUNT = DESCRIPTORS };

static int sock[2];
static int sent[COUNT], received[COUNT];

static void give_up(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static void close_each(void)
{
	for (size_t i = 0; i < COUNT; i++)
		close(received[i]);
}

/* The least that does it: what a program would do that knows what comes.  The
 * control buffer has the size of this message, and is not zeroed. */
static void by_hand(void)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof sent)];
	} control;
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr out = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(sizeof sent),
	};
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof sent);
	memcpy(CMSG_DATA(&control.header), sent, sizeof sent);
	if (sendmsg(sock[0], &out, MSG_NOSIGNAL) != 1)
		give_up("sendmsg");

	struct msghdr in = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE(sizeof sent),
	};
	if (recvmsg(sock[1], &in, MSG_CMSG_CLOEXEC) != 1 || (in.msg_flags & MSG_CTRUNC) ||
	    in.msg_controllen < CMSG_LEN(sizeof sent) ||
	    control.header.cmsg_len != CMSG_LEN(sizeof sent) ||
	    control.header.cmsg_level != SOL_SOCKET || control.header.cmsg_type != SCM_RIGHTS)
		give_up("recvmsg");
	memcpy(received, CMSG_DATA(&control.header), sizeof sent);
	close_each();
}

static void with_fd(void)
{
	if (COUNT != 1 || ancillary_send_fd(sock[0], sent[0]) < 0)
		give_up("ancillary_send_fd");
	int fd = ancillary_recv_fd(sock[1]);
	if (fd < 0)
		give_up("ancillary_recv_fd");
	close(fd);
}

static void pass_fds(unsigned int flags)
{
	char byte = 0;
	size_t came = COUNT;
	if (ancillary_send_fds(sock[0], sent, COUNT, &byte, 1, 0) != 1)
		give_up("ancillary_send_fds");
	if (ancillary_recv_fds(sock[1], received, &came, &byte, 1, flags) != 1 || came != COUNT)
		give_up("ancillary_recv_fds");
}

static void with_fds(void)
{
	pass_fds(0);
	close_each();
}

static void with_close_fds(void)
{
	pass_fds(0);
	ancillary_close_fds(received, COUNT);
}

static void with_lossless(void)
{
	pass_fds(ANCILLARY_LOSSLESS);
	close_each();
}

static void with_msg(void)
{
	char byte = 0;
	struct iovec iov = { &byte, 1 };
	struct ancillary_msg out = {
		.size = sizeof out, .iov = &iov, .iovlen = 1, .fds = sent, .nfds = COUNT,
	};
	struct ancillary_msg in = {
		.size = sizeof in, .iov = &iov, .iovlen = 1, .fds = received, .nfds = COUNT,
	};
	if (ancillary_send_msg(sock[0], &out, 0) != 1)
		give_up("ancillary_send_msg");
	if (ancillary_recv_msg(sock[1], &in, 0) != 1 || in.nfds != COUNT)
		give_up("ancillary_recv_msg");
	close_each();
}

#define RUN(way) \
	do \
		for (unsigned long i = 0; i < rounds; i++) \
			way(); \
	while (0)

int main(int argc, char **argv)
{
	if (argc != 3)
		return EXIT_FAILURE;
	const char *way = argv[1];
	unsigned long rounds = strtoul(argv[2], NULL, 10);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sock) < 0)
		give_up("socketpair");
	for (size_t i = 0; i < COUNT; i++)
		if ((sent[i] = dup(sock[0])) < 0)
			give_up("dup");
	if (strcmp(way, "by-hand") == 0)
		RUN(by_hand);
	else if (strcmp(way, "fd") == 0)
		RUN(with_fd);
	else if (strcmp(way, "fds") == 0)
		RUN(with_fds);
	else if (strcmp(way, "close-fds") == 0)
		RUN(with_close_fds);
	else if (strcmp(way, "lossless") == 0)
		RUN(with_lossless);
	else if (strcmp(way, "msg") == 0)
		RUN(with_msg);
	else
		return EXIT_FAILURE;
	return EXIT_SUCCESS;
}
