/* Large payloads and many descriptors on a stream: short counts and how a
 * caller goes on after them. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LARGE (1 << 20)
#define MANY 600

static unsigned char payload[LARGE];

/* --- the receiving side --- */

struct reader {
	int sock;
	unsigned flags;
	/* What is expected. */
	const int *files;
	size_t count, len;
};

/* Receives a payload with its descriptors, in as many calls as it takes. */
static void *read_all(void *argument)
{
	struct reader *reader = argument;
	unsigned char *got = malloc(reader->len);
	int *received = malloc((reader->count + 1) * sizeof(int));
	size_t bytes = 0, fds = 0;

	CHECK(got && received);
	while (bytes < reader->len) {
		/* Room for one more than there should be: none is to arrive twice. */
		size_t nfds = reader->count + 1 - fds;
		ssize_t n = ancillary_recv_fds(reader->sock, received + fds, &nfds, got + bytes,
					       reader->len - bytes, reader->flags);

		CHECK(n > 0);
		CHECK(!(reader->flags & ANCILLARY_WAITALL) || (size_t)n == reader->len);
		bytes += (size_t)n;
		fds += nfds;
	}
	CHECK_IS(fds, reader->count);
	CHECK(is_payload(got, reader->len, 0));
	take_arrived(received, reader->count + 1, reader->files, reader->count);
	check_nothing_there(reader->sock);
	free(received);
	free(got);
	return NULL;
}

/* --- blocking --- */

static void send_at_once(size_t count, size_t len, unsigned flags)
{
	int sock[2], files[MANY];
	struct reader reader = { .flags = flags, .files = files, .count = count, .len = len };
	pthread_t thread;

	check_about("%zu descriptors", count);
	open_pair(SOCK_STREAM, sock);
	open_files(files, count);
	make_payload(payload, LARGE);
	reader.sock = sock[THERE];
	thread = start_thread(read_all, &reader);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, count, payload, len, 0), len);
	end_thread(thread);
	close_files(files, count);
	close_pair(sock);
}

static void a_blocking_send_sends_all(void)
{
	static const size_t counts[] = { 0, 1, 10, MOST, MOST + 1, MANY };

	for (size_t i = 0; i < LENGTH(counts); i++) {
		send_at_once(counts[i], LARGE, 0);
		send_at_once(counts[i], LARGE, ANCILLARY_WAITALL);
	}
}

/* --- not blocking --- */

/* Goes on after short counts as the header says.  The reader starts after the
 * first, so that there is one. */
static void send_in_parts(int sock, const int *files, size_t count, size_t len, unsigned flags,
			  struct reader *reader)
{
	struct pollfd writable = { .fd = sock, .events = POLLOUT };
	size_t bytes = 0, fds = 0;
	pthread_t thread;

	while (bytes < len) {
		ssize_t n;
		size_t gone;

		errno = CHECK_ERRNO;
		n = ancillary_send_fds(sock, files + fds, count - fds, payload + bytes,
				       len - bytes, flags);
		if (n < 0) {
			CHECK_IS(n, -EAGAIN);
			CHECK_IS(errno, EAGAIN);
			CHECK(poll(&writable, 1, -1) == 1);
			continue;
		}
		CHECK_IS(errno, CHECK_ERRNO);
		CHECK(n > 0);
		gone = (size_t)n * MOST;
		fds += gone < count - fds ? gone : count - fds;
		if (bytes == 0) {
			CHECK((size_t)n < len);
			thread = start_thread(read_all, reader);
		}
		bytes += (size_t)n;
	}
	CHECK_IS(fds, count);
	end_thread(thread);
}

static void send_without_waiting(size_t count, bool nonblocking)
{
	int sock[2], files[MANY];
	struct reader reader = { .files = files, .count = count, .len = LARGE };

	check_about("%zu descriptors", count);
	open_pair(SOCK_STREAM, sock);
	open_files(files, count);
	make_payload(payload, LARGE);
	if (nonblocking)
		CHECK(fcntl(sock[HERE], F_SETFL, O_NONBLOCK) == 0);
	reader.sock = sock[THERE];
	send_in_parts(sock[HERE], files, count, LARGE, nonblocking ? 0 : ANCILLARY_DONTWAIT,
		      &reader);
	close_files(files, count);
	close_pair(sock);
}

static void a_nonblocking_send_can_be_continued(void)
{
	static const size_t counts[] = { 0, 1, 10, MOST, MOST + 1, MANY };

	for (size_t i = 0; i < LENGTH(counts); i++) {
		send_without_waiting(counts[i], false);
		send_without_waiting(counts[i], true);
	}
}

/* A non-blocking socket ends a call by a short count of the kernel, or between
 * two messages.  Neither loses or doubles a descriptor. */
static void a_short_count_says_how_many_went(void)
{
	int sock[2], files[10], received[10];
	size_t nfds = 10;
	unsigned char *got = malloc(LARGE);
	ssize_t sent, n;

	CHECK(got);
	open_pair(SOCK_STREAM, sock);
	open_files(files, 10);
	make_payload(payload, LARGE);
	sent = ancillary_send_fds(sock[HERE], files, 10, payload, LARGE, ANCILLARY_DONTWAIT);
	CHECK(sent > 0 && sent < LARGE);
	n = ancillary_recv_fds(sock[THERE], received, &nfds, got, LARGE, ANCILLARY_WAITALL |
									  ANCILLARY_DONTWAIT);
	CHECK_IS(n, sent);
	CHECK(is_payload(got, (size_t)n, 0));
	take_arrived(received, 10, files, 10);
	close_files(files, 10);
	close_pair(sock);
	free(got);
}

/* Fills a socket, and makes room for a message or so at a time. */
static void messages_go_one_by_one(void)
{
	enum { COUNT = 1000, LEN = 4 };
	int sock[2], files[COUNT], received[COUNT];
	size_t fds = 0, bytes = 0, arrived = 0, nfds;
	int short_counts = 0;
	char byte;

	open_pair(SOCK_STREAM, sock);
	open_files(files, COUNT);
	make_payload(payload, LEN);
	while (send(sock[HERE], "f", 1, MSG_DONTWAIT) == 1)
		;
	while (bytes < LEN) {
		ssize_t n = ancillary_send_fds(sock[HERE], files + fds, COUNT - fds,
					       payload + bytes, LEN - bytes, ANCILLARY_DONTWAIT);

		if (n < 0) {
			CHECK_IS(n, -EAGAIN);
			CHECK_IS(recv(sock[THERE], &byte, 1, 0), 1);
			CHECK_IS(byte, 'f');
			continue;
		}
		CHECK(n > 0);
		fds += (size_t)n * MOST;
		bytes += (size_t)n;
		if (fds < COUNT)
			short_counts++;
		else
			fds = COUNT;
	}
	CHECK(short_counts > 0);
	while (recv(sock[THERE], &byte, 1, MSG_PEEK) == 1 && byte == 'f')
		CHECK_IS(recv(sock[THERE], &byte, 1, 0), 1);
	for (size_t i = 0; i < LEN; i++) {
		nfds = COUNT - arrived;
		CHECK_IS(ancillary_recv_fds(sock[THERE], received + arrived, &nfds, &byte, 1, 0), 1);
		CHECK_IS((unsigned char)byte, payload[i]);
		CHECK_IS(nfds, i < 3 ? MOST : COUNT - 3 * MOST);
		arrived += nfds;
	}
	take_arrived(received, COUNT, files, COUNT);
	check_nothing_there(sock[THERE]);
	close_files(files, COUNT);
	close_pair(sock);
}

/* --- a part and then an error --- */

static void a_send_timeout_ends_with_the_progress(void)
{
	int sock[2], files[10], received[10];
	size_t nfds = 10;
	char byte;
	ssize_t n;

	open_pair(SOCK_STREAM, sock);
	open_files(files, 10);
	set_timeout(sock[HERE], SO_SNDTIMEO, 30);
	errno = CHECK_ERRNO;
	n = ancillary_send_fds(sock[HERE], files, 10, payload, LARGE, 0);
	CHECK(n > 0 && n < LARGE);
	CHECK_IS(errno, CHECK_ERRNO);
	CHECK_ERR(ancillary_send_fds(sock[HERE], NULL, 0, payload, (size_t)(LARGE - n), 0),
		  EAGAIN);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, &byte, 1, 0), 1);
	take_arrived(received, 10, files, 10);
	drain(sock[THERE]);
	close_files(files, 10);
	close_pair(sock);
}

static void *close_after_a_while(void *sock)
{
	char block[1000];

	CHECK_IS(recv(*(int *)sock, block, sizeof block, 0), sizeof block);
	sleep_ms(20);
	CHECK(close(*(int *)sock) == 0);
	return NULL;
}

static void a_peer_that_closes_ends_with_the_progress(void)
{
	int sock[2], there;
	pthread_t thread;
	ssize_t n;

	CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
	open_pair(SOCK_STREAM, sock);
	there = sock[THERE];
	sock[THERE] = -1;
	thread = start_thread(close_after_a_while, &there);
	errno = CHECK_ERRNO;
	n = ancillary_send_fds(sock[HERE], sock, 1, payload, LARGE, 0);
	CHECK(n > 0 && n < LARGE);
	CHECK_IS(errno, CHECK_ERRNO);
	end_thread(thread);
	n = ancillary_send_fds(sock[HERE], NULL, 0, payload, 1, 0);
	/* The reset, which the kernel reports once, can have ended the first call. */
	CHECK(n == -EPIPE || n == -ECONNRESET);
	CHECK_IS(errno, -n);
	CHECK_ERR(ancillary_send_fds(sock[HERE], NULL, 0, payload, 1, 0), EPIPE);
	close_pair(sock);
}

CHECK_MAIN(CASE(a_blocking_send_sends_all), CASE(a_nonblocking_send_can_be_continued),
	   CASE(a_short_count_says_how_many_went), CASE(messages_go_one_by_one),
	   CASE(a_send_timeout_ends_with_the_progress),
	   CASE(a_peer_that_closes_ends_with_the_progress))
