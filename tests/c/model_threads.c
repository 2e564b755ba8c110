/* The randomised test: receiving while another thread sends.
 *
 * Two readers share a stream: which of them gets what is not known, so this
 * goes by totals, of each file and of each value of a byte.  One reader alone,
 * without loss, must get everything in order. */

#include "model.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SENT = 5000, MOST_EACH = 5, READERS = 2, LARGE = 60000, LOSSLESS_SENT = 50000 };

struct totals {
	uint64_t calls, bytes, nfds;
	uint64_t files[MOST_FILES];
	uint64_t values[256];
};

static void count_bytes(struct totals *totals, const unsigned char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		totals->values[data[i]]++;
	totals->bytes += len;
}

/* --- the sender --- */

struct sender {
	int sock;
	size_t messages;
	struct totals totals;
};

/* Waits until the reader has caught up: then the next message arrives while it
 * is busy with this one. */
static void wait_for_reader(int sock)
{
	int unread;

	do {
		sched_yield();
		CHECK(ioctl(sock, TIOCOUTQ, &unread) == 0);
	} while (unread > 0);
}

static void *send_all(void *argument)
{
	struct sender *sender = argument;
	struct totals *totals = &sender->totals;
	int fds[MOST_EACH];

	seed_thread(0);
	while (totals->calls++ < sender->messages) {
		const unsigned char *data = bytes_at(totals->bytes);
		size_t nfds = chance(50) ? below(MOST_EACH + 1) : 0;
		/* Now and then more than the socket takes at once. */
		size_t len = totals->calls % 500 == 0 ? LARGE : between(1, 40);

		for (size_t i = 0; i < nfds; i++) {
			uint64_t number = totals->nfds++;

			fds[i] = pool_fd(number);
			totals->files[number % pool_size()]++;
		}
		CHECK_IS(ancillary_send_fds(sender->sock, fds, nfds, data, len, 0), len);
		count_bytes(totals, data, len);
		if (chance(30))
			wait_for_reader(sender->sock);
	}
	CHECK(shutdown(sender->sock, SHUT_WR) == 0);
	return NULL;
}

static pthread_t start_sender(struct sender *sender, int sock, size_t messages)
{
	/* Before there is a thread that may be doing the same. */
	bytes_at(0);
	memset(sender, 0, sizeof *sender);
	sender->sock = sock;
	sender->messages = messages;
	return start_thread(send_all, sender);
}

static void seed_test(void)
{
	uint64_t seed = seed_wanted();

	printf("# ANCILLARY_TEST_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	set_seed(seed);
}

/* --- two readers --- */

struct reader {
	int sock;
	unsigned int number;
	struct totals totals;
};

static void *receive_some(void *argument)
{
	struct reader *reader = argument;
	struct totals *totals = &reader->totals;
	uint64_t next = 0;
	ssize_t n;

	seed_thread(reader->number + 1);
	do {
		/* With WAITALL it is the descriptors of several messages. */
		bool waits = chance(20);
		size_t len = waits ? between(1, 20) : any_size(1, 4000);
		size_t nfds = waits ? 20 * MOST_EACH : MOST_EACH;
		unsigned int flags = waits ? ANCILLARY_WAITALL : 0;
		unsigned char data[4000];
		int fds[20 * MOST_EACH];

		if (chance(50)) {
			struct iovec iov = { data, len };
			struct ancillary_msg message = { .size = sizeof message,
							 .iov = &iov,
							 .iovlen = 1,
							 .fds = fds,
							 .nfds = nfds };

			n = ancillary_recv_msg(reader->sock, &message, flags);
			CHECK(message.flags == 0);
			nfds = message.nfds;
		} else {
			n = ancillary_recv_fds(reader->sock, fds, &nfds, data, len, flags);
		}
		CHECK(n >= 0);
		for (size_t i = 0; i < nfds; i++) {
			long place = pool_place(fds[i], next);

			CHECK(place >= 0);
			totals->files[place]++;
			next = (uint64_t)place + 1;
		}
		totals->nfds += nfds;
		ancillary_close_fds(fds, nfds);
		count_bytes(totals, data, (size_t)n);
		totals->calls++;
	} while (n > 0);
	return NULL;
}

void two_readers(void)
{
	static struct reader readers[READERS];
	static struct sender sender;
	const struct totals *a = &readers[0].totals, *b = &readers[1].totals;
	const struct totals *sent = &sender.totals;
	pthread_t threads[READERS], sending;
	int sock[2];

	seed_test();
	open_pool();
	open_pair(SOCK_STREAM, sock);
	for (unsigned int i = 0; i < READERS; i++) {
		readers[i].sock = sock[THERE];
		readers[i].number = i;
		threads[i] = start_thread(receive_some, &readers[i]);
	}
	sending = start_sender(&sender, sock[HERE], some_of(SENT) * rounds_wanted());
	end_thread(sending);
	for (int i = 0; i < READERS; i++)
		end_thread(threads[i]);
	close_pair(sock);
	CHECK_IS(a->nfds + b->nfds, sent->nfds);
	for (size_t i = 0; i < pool_size(); i++)
		CHECK_IS(a->files[i] + b->files[i], sent->files[i]);
	for (size_t i = 0; i < 256; i++)
		CHECK_IS(a->values[i] + b->values[i], sent->values[i]);
	printf("# %llu bytes, %llu descriptors; %llu and %llu calls to receive\n",
	       (unsigned long long)sent->bytes, (unsigned long long)sent->nfds,
	       (unsigned long long)a->calls, (unsigned long long)b->calls);
	close_pool();
}

/* --- one reader, without loss --- */

/* Reads to the end, and returns how many calls were refused. */
static uint64_t receive_in_order(int type, int sock, struct totals *totals)
{
	static unsigned char data[LARGE];
	static struct iovec iov[MOST_BUFFERS];
	uint64_t refused = 0;
	size_t slots = 0;
	ssize_t n;

	do {
		size_t len = type == SOCK_STREAM ? any_size(1, LARGE) : LARGE;
		int fds[MOST_EACH];
		struct ancillary_msg message = {
			.size = sizeof message, .iov = iov, .fds = fds, .nfds = slots
		};

		message.iovlen = cut_up(iov, len, data, 0);
		n = ancillary_recv_msg(sock, &message, ANCILLARY_LOSSLESS);
		/* After a refusal there is room for all that can come. */
		slots = n == -E2BIG ? MOST_EACH : below(MOST_EACH + 1);
		if (n == -E2BIG) {
			refused++;
			continue;
		}
		CHECK(n >= 0);
		CHECK_IS(message.flags, 0);
		CHECK(memcmp(data, bytes_at(totals->bytes), (size_t)n) == 0);
		for (size_t i = 0; i < message.nfds; i++, totals->nfds++)
			CHECK_IS(pool_place(fds[i], totals->nfds), totals->nfds % pool_size());
		ancillary_close_fds(fds, message.nfds);
		totals->bytes += (uint64_t)n;
		totals->calls++;
	} while (n != 0);
	return refused;
}

void lossless_while_sending(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET };
	static struct sender sender;

	seed_test();
	open_pool();
	for (size_t i = 0; i < LENGTH(types); i++) {
		struct totals totals = { 0 };
		uint64_t refused;
		pthread_t sending;
		int sock[2];

		open_pair(types[i], sock);
		sending = start_sender(&sender, sock[HERE], some_of(LOSSLESS_SENT) * rounds_wanted());
		refused = receive_in_order(types[i], sock[THERE], &totals);
		end_thread(sending);
		close_pair(sock);
		CHECK_IS(totals.bytes, sender.totals.bytes);
		CHECK_IS(totals.nfds, sender.totals.nfds);
		printf("# %llu bytes, %llu descriptors; %llu calls received, %llu refused\n",
		       (unsigned long long)totals.bytes, (unsigned long long)totals.nfds,
		       (unsigned long long)totals.calls, (unsigned long long)refused);
	}
	close_pool();
}
