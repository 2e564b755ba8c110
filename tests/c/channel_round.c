/* Rounds of messages on a channel in one process, for what counts them from
 * outside as round.c is counted: gathered ones that are sent, or received, and
 * ones with a descriptor, passed one by one or gathered.
 *
 *     channel_round WAY ROUNDS */

#define _GNU_SOURCE

#include <ancillary.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LEN = 64, MESSAGES = 100, WIRE = MESSAGES * (16 + LEN), ROOM = 16384 };

static char in[ROOM], out[ROOM], wire[WIRE], payload[LEN];
static int in_fds[506], out_fds[MESSAGES];
static struct ancillary_channel here, there;

static void must(int right)
{
	if (!right) {
		perror("channel_round");
		exit(1);
	}
}

static void send_gathered(void)
{
	struct ancillary_frame frame = { .type = 1, .data = payload, .len = LEN };

	for (int i = 0; i < MESSAGES; i++) {
		frame.id = i;
		must(ancillary_channel_send(&here, &frame, ANCILLARY_MORE) == 0);
	}
	must(ancillary_channel_flush(&here, 0) == 0);
	must(recv(there.sock, wire, WIRE, MSG_WAITALL) == WIRE);
}

static void receive_gathered(void)
{
	struct ancillary_frame frame;

	must(send(here.sock, wire, WIRE, 0) == WIRE);
	for (int i = 0; i < MESSAGES; i++)
		must(ancillary_channel_recv(&there, &frame, 0) == 1);
}

static void pass_one(void)
{
	struct ancillary_frame frame = { .type = 1, .fds = &here.sock, .nfds = 1 };

	must(ancillary_channel_send(&here, &frame, 0) == 0);
	must(ancillary_channel_recv(&there, &frame, 0) == 1);
	close(frame.fds[0]);
	frame.fds[0] = -1;
}

static void pass_gathered(void)
{
	struct ancillary_frame frame = { .type = 1, .data = payload, .len = 1, .nfds = 1 };

	for (int i = 0; i < MESSAGES; i++) {
		int fd = dup(STDERR_FILENO);

		frame.fds = &fd;
		must(ancillary_channel_send(&here, &frame, ANCILLARY_MORE | ANCILLARY_TAKE) == 0);
	}
	must(ancillary_channel_flush(&here, 0) == 0);
	for (int i = 0; i < MESSAGES; i++)
		must(ancillary_channel_recv(&there, &frame, 0) == 1);
}

static const struct way {
	const char *name;
	void (*round)(void);
} ways[] = {
	{ "send-gathered", send_gathered },
	{ "receive-gathered", receive_gathered },
	{ "pass-one", pass_one },
	{ "pass-gathered", pass_gathered },
};

int main(int argc, char **argv)
{
	long rounds = argc == 3 ? atol(argv[2]) : 0;
	int sock[2];

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, sock) == 0);
	here = (struct ancillary_channel){ .size = sizeof here,
					   .sock = sock[0],
					   .out_data = out,
					   .out_size = sizeof out,
					   .out_fds = out_fds,
					   .out_nfds = MESSAGES };
	there = (struct ancillary_channel){ .size = sizeof there,
					    .sock = sock[1],
					    .in_data = in,
					    .in_size = sizeof in,
					    .in_fds = in_fds,
					    .in_nfds = 506 };
	send_gathered();
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
		if (argc == 3 && strcmp(argv[1], ways[i].name) == 0) {
			while (rounds-- > 0)
				ways[i].round();
			return 0;
		}
	}
	fprintf(stderr, "usage: channel_round WAY ROUNDS\n");
	return 2;
}
