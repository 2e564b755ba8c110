/* What the programs of ffi-examples do with channels, in C, to the letter:
 *
 *     channel_pass tell SOCKET N [PAYLOAD]
 *     channel_pass hear SOCKET MAX [TIMES] */

#define _GNU_SOURCE

#include <ancillary.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 65536 + 16, MOST = 300 };

static uint64_t buffer[ROOM / 8];
static int fds[MOST + ANCILLARY_MAX_FDS];

/* Fails with a negative errno value. */
static int must(const char *command, int result)
{
	if (result < 0) {
		fprintf(stderr, "%s: %s\n", command, strerror(-result));
		exit(1);
	}
	return result;
}

static void make_files(int *made, int count)
{
	for (int i = 0; i < count; i++) {
		FILE *file = tmpfile();

		if (!file)
			must("tell", -errno);
		fprintf(file, "file %d of %d, made by %ld\n", i + 1, count, (long)getpid());
		/* The receiver shares the position. */
		rewind(file);
		made[i] = must("tell", dup(fileno(file)));
		fclose(file);
	}
}

static void tell(const char *path, int count, const char *payload)
{
	struct ancillary_channel channel = { .size = sizeof channel,
	    .out_data = buffer, .out_size = sizeof buffer,
	    .out_fds = fds, .out_nfds = MOST };
	int made[MOST];
	const struct ancillary_frame frames[] = {
		{ .type = 1, .data = payload, .len = strlen(payload) },
		{ .type = 2, .data = payload, .len = strlen(payload),
		    .fds = made, .nfds = (size_t)count },
		{ .type = 3 },
	};

	channel.sock = must("tell", ancillary_connect(path, SOCK_STREAM, 0));
	make_files(made, count);
	for (int i = 0; i < 3; i++) {
		struct ancillary_frame frame = frames[i];

		frame.id = (uint32_t)getpid();
		must("tell", ancillary_channel_send(&channel, &frame,
		    ANCILLARY_MORE | ANCILLARY_TAKE));
	}
	must("tell", ancillary_channel_flush(&channel, 0));
	ancillary_channel_drop(&channel);
	close(channel.sock);
	printf("sent %d descriptors, %zu bytes\n", count, strlen(payload));
}

static void show(const struct ancillary_frame *message)
{
	char text[4096];
	ssize_t n;

	printf("message %u from %u: %zu descriptors, %zu bytes\npayload: %.*s\n",
	    message->type, message->id, message->nfds, message->len,
	    (int)message->len, message->len ? (const char *)message->data : "");
	for (size_t i = 0; i < message->nfds; i++)
		while ((n = read(message->fds[i], text, sizeof text)) > 0)
			fwrite(text, 1, (size_t)n, stdout);
}

/* Returns 0, or a negative errno value. */
static int hear(int sock, int most)
{
	struct ancillary_channel channel = { .size = sizeof channel, .sock = sock,
	    .in_data = buffer, .in_size = sizeof buffer,
	    .in_fds = fds, .in_nfds = (size_t)most + ANCILLARY_MAX_FDS };
	struct ancillary_frame message;
	int result;

	/* One that gathers sends so many at once, and a message may have fewer. */
	if (most < ANCILLARY_MAX_FDS)
		channel.in_nfds = 2 * ANCILLARY_MAX_FDS;
	while ((result = ancillary_channel_recv(&channel, &message, 0)) > 0)
		show(&message);
	ancillary_channel_drop(&channel);
	return result;
}

static int serve(const char *path, int most, int times)
{
	int failed = 0, listener = must("hear",
	    ancillary_listen(path, SOCK_STREAM, 0600, ANCILLARY_REPLACE));

	for (; times > 0; times--) {
		int result, sock = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (sock < 0)
			must("hear", -errno);
		puts("accepted");
		result = hear(sock, most);
		close(sock);
		if (result < 0) {
			fprintf(stderr, "hear: %s\n", strerror(-result));
			failed = 1;
		}
		puts("done");
	}
	unlink(path);
	return failed;
}

int main(int argc, char **argv)
{
	setlinebuf(stdout);
	if ((argc == 4 || argc == 5) && atoi(argv[3]) <= MOST) {
		if (strcmp(argv[1], "tell") == 0) {
			tell(argv[2], atoi(argv[3]), argc == 5 ? argv[4] : "");
			return 0;
		}
		if (strcmp(argv[1], "hear") == 0)
			return serve(argv[2], atoi(argv[3]), argc == 5 ? atoi(argv[4]) : 1);
	}
	fprintf(stderr, "Usage: channel_pass tell SOCKET N [PAYLOAD]\n"
	    "       channel_pass hear SOCKET MAX [TIMES]\n");
	return 2;
}
