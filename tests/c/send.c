/* ancillary_send_fds: how many go, and what does not.  What goes is received
 * in the plainest way; receive.c and waitall.c are about the other side. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MANY 1000

static unsigned char payload[1 << 16];

static size_t messages(size_t nfds)
{
	return nfds <= MOST ? 1 : (nfds + MOST - 1) / MOST;
}

/* --- counts --- */

/* Sends and receives so many descriptors, with a payload or, if len is 0,
 * without. */
static void pass(const int sock[2], const int *files, size_t count, size_t len, unsigned flags)
{
	static unsigned char got[sizeof payload];
	int received[MANY];
	size_t nfds = count, bytes = len ? len : messages(count);

	check_about("%zu descriptors, %zu bytes", count, len);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, count, len ? payload : NULL, len, 0), bytes);
	memset(received, 'x', sizeof received);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, len ? got : NULL, len, flags),
		 bytes);
	CHECK_IS(nfds, count);
	take_arrived(received, count, files, count);
	CHECK(len == 0 || memcmp(got, payload, len) == 0);
	check_nothing_there(sock[THERE]);
}

static void a_stream_takes_any_number(void)
{
	static const size_t counts[] = { 1,
					 2,
					 10,
					 MOST - 1,
					 MOST,
					 MOST + 1,
					 2 * MOST - 1,
					 2 * MOST,
					 2 * MOST + 1,
					 3 * MOST,
					 3 * MOST + 1,
					 1000 };
	int files[MANY], sock[2];

	open_pair(SOCK_STREAM, sock);
	open_files(files, MANY);
	make_payload(payload, sizeof payload);
	for (size_t i = 0; i < LENGTH(counts); i++) {
		size_t count = counts[i];

		pass(sock, files, count, 0, ANCILLARY_WAITALL);
		pass(sock, files, count, messages(count), ANCILLARY_WAITALL);
		pass(sock, files, count, messages(count) + 1, ANCILLARY_WAITALL);
		pass(sock, files, count, 100, ANCILLARY_WAITALL);
		pass(sock, files, count, sizeof payload, ANCILLARY_WAITALL);
		if (count <= MOST) {
			pass(sock, files, count, 0, 0);
			pass(sock, files, count, 1, 0);
			pass(sock, files, count, 100, 0);
		}
	}
	close_files(files, MANY);
	close_pair(sock);
}

static void pass_up_to_the_most(int type, int sock[2])
{
	int files[MOST + 1];

	(void)type;
	open_files(files, MOST + 1);
	make_payload(payload, sizeof payload);
	for (size_t count = 1; count <= MOST; count += count < 10 ? 1 : 81) {
		pass(sock, files, count, 0, 0);
		pass(sock, files, count, 1, 0);
		pass(sock, files, count, 100, ANCILLARY_WAITALL);
		pass(sock, files, count, 60000, 0);
	}
	pass(sock, files, MOST, 1, 0);
	CHECK_ERR(ancillary_send_fds(sock[HERE], files, MOST + 1, NULL, 0, 0), E2BIG);
	CHECK_ERR(ancillary_send_fds(sock[HERE], files, MOST + 1, payload, 1, 0), E2BIG);
	CHECK_ERR(ancillary_send_fds(sock[HERE], files, MOST + 1, payload, 2, 0), E2BIG);
	CHECK_ERR(ancillary_send_fds(sock[HERE], files, MOST + 1, payload, 100, 0), E2BIG);
	check_nothing_there(sock[THERE]);
	close_files(files, MOST + 1);
}

static void a_packet_takes_up_to_the_most(void)
{
	with_type(SOCK_SEQPACKET, pass_up_to_the_most);
	with_type(SOCK_DGRAM, pass_up_to_the_most);
}

/* Byte i of the payload carries the descriptors from MOST * i onwards, and the
 * last message carries the rest of the payload. */
static void a_stream_splits_as_documented(void)
{
	enum { LEN = 100, LAST = MANY - 3 * MOST };
	int files[MANY], received[MANY], sock[2];
	unsigned char got[LEN];
	size_t nfds;

	open_pair(SOCK_STREAM, sock);
	open_files(files, MANY);
	make_payload(payload, LEN);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, MANY, payload, LEN, 0), LEN);
	for (size_t i = 0; i < 3; i++) {
		nfds = MANY;
		CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, LEN, 0), 1);
		CHECK_IS(got[0], payload[i]);
		CHECK_IS(nfds, MOST);
		take_arrived(received, MANY, files + i * MOST, MOST);
	}
	nfds = MANY;
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, LEN, 0), LEN - 3);
	CHECK(memcmp(got, payload + 3, LEN - 3) == 0);
	CHECK_IS(nfds, LAST);
	take_arrived(received, MANY, files + 3 * MOST, LAST);
	close_files(files, MANY);
	close_pair(sock);
}

static void a_stream_needs_a_byte_for_each_message(void)
{
	enum { ALL = 2 * MOST + 1 };
	int files[ALL], sock[2];

	open_pair(SOCK_STREAM, sock);
	open_files(files, ALL);
	CHECK_ERR(ancillary_send_fds(sock[HERE], files, MOST + 1, payload, 1, 0), EINVAL);
	CHECK_ERR(ancillary_send_fds(sock[HERE], files, 2 * MOST, payload, 1, 0), EINVAL);
	CHECK_ERR(ancillary_send_fds(sock[HERE], files, ALL, payload, 2, 0), EINVAL);
	check_nothing_there(sock[THERE]);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, ALL, payload, 3, 0), 3);
	close_files(files, ALL);
	close_pair(sock);
}

static void send_bytes_alone(int type, int sock[2])
{
	int file, received[2];
	size_t nfds = 2;
	char got[8];

	(void)type;
	open_files(&file, 1);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "abc", 3, 0), 3);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, sizeof got, 0), 3);
	CHECK_IS(nfds, 0);
	CHECK(all_none(received, 2) && memcmp(got, "abc", 3) == 0);
	CHECK_OK(ancillary_send_fds(sock[HERE], &file, 0, "def", 3, 0), 3);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, sizeof got, 0), 3);
	CHECK_IS(nfds, 0);
	CHECK(memcmp(got, "def", 3) == 0);
	close_files(&file, 1);
}

static void a_payload_goes_without_descriptors(void)
{
	with_each_type(send_bytes_alone);
}

static void send_one_twice(int type, int sock[2])
{
	int file, twice[2], received[2];
	size_t nfds = 2;

	(void)type;
	open_files(&file, 1);
	twice[0] = twice[1] = file;
	CHECK_OK(ancillary_send_fds(sock[HERE], twice, 2, "x", 1, 0), 1);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0, 0), 1);
	CHECK_IS(nfds, 2);
	CHECK(received[0] != received[1]);
	take_arrived(received, 2, twice, 2);
	close_files(&file, 1);
}

static void the_same_descriptor_arrives_twice(void)
{
	with_each_type(send_one_twice);
}

static void send_from_constant_memory(int type, int sock[2])
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int *fds = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int received[2];
	size_t nfds = 2;

	(void)type;
	CHECK(fds != MAP_FAILED);
	/* The last two in the page: nothing behind them is looked at. */
	open_files(fds + page / sizeof(int) - 2, 2);
	CHECK(mprotect(fds, page, PROT_READ) == 0);
	CHECK_OK(ancillary_send_fds(sock[HERE], fds + page / sizeof(int) - 2, 2, NULL, 0, 0), 1);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0, 0), 1);
	take_arrived(received, 2, fds + page / sizeof(int) - 2, 2);
	close_files(fds + page / sizeof(int) - 2, 2);
	CHECK(munmap(fds, page) == 0);
}

static void the_array_is_only_read(void)
{
	with_each_type(send_from_constant_memory);
}

/* --- bad descriptors --- */

static void send_with_a_bad_one(int type, int sock[2])
{
	static const int bad[] = { -1, -100, 1 << 20, 0x7fffffff };
	int files[10], fds[10];

	(void)type;
	open_files(files, 10);
	for (size_t place = 0; place < 10; place++)
		for (size_t i = 0; i < LENGTH(bad); i++) {
			memcpy(fds, files, sizeof fds);
			fds[place] = bad[i];
			CHECK_ERR(ancillary_send_fds(sock[HERE], fds, 10, "abc", 3, 0), EBADF);
			CHECK_ERR(ancillary_send_fds(sock[HERE], fds, 10, NULL, 0, 0), EBADF);
			check_nothing_there(sock[THERE]);
		}
	pass(sock, files, 10, 0, 0);
	close_files(files, 10);
}

static void one_bad_among_good_stops_all(void)
{
	with_each_type(send_with_a_bad_one);
}

/* What was sent before the bad one counts, and the next call reports it. */
static void send_with_a_bad_one_late(const unsigned char *data, size_t len)
{
	enum { COUNT = 600, BAD = 550 };
	int files[COUNT], received[COUNT], sock[2], good;
	size_t nfds = 2 * MOST;

	open_pair(SOCK_STREAM, sock);
	open_files(files, COUNT);
	good = files[BAD];
	files[BAD] = -1;
	CHECK_OK(ancillary_send_fds(sock[HERE], files, COUNT, data, len, 0), 2);
	CHECK_ERR(ancillary_send_fds(sock[HERE], files + 2 * MOST, COUNT - 2 * MOST,
				     data ? data + 2 : NULL, data ? len - 2 : 0, 0),
		  EBADF);
	files[BAD] = good;
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0, ANCILLARY_WAITALL), 2);
	CHECK_IS(nfds, 2 * MOST);
	take_arrived(received, nfds, files, nfds);
	check_nothing_there(sock[THERE]);
	close_files(files, COUNT);
	close_pair(sock);
}

static void a_bad_one_late_ends_with_the_progress(void)
{
	make_payload(payload, sizeof payload);
	send_with_a_bad_one_late(NULL, 0);
	send_with_a_bad_one_late(payload, 3);
	send_with_a_bad_one_late(payload, 10000);
}

static void a_bad_one_early_stops_all(void)
{
	int files[600], sock[2], good;

	open_pair(SOCK_STREAM, sock);
	open_files(files, 600);
	good = files[MOST - 1];
	files[MOST - 1] = -1;
	CHECK_ERR(ancillary_send_fds(sock[HERE], files, 600, NULL, 0, 0), EBADF);
	check_nothing_there(sock[THERE]);
	files[MOST - 1] = good;
	close_files(files, 600);
	close_pair(sock);
}

static void an_io_uring_is_not_sent(void)
{
	char parameters[120];
	int ring, sock[2];

	memset(parameters, 0, sizeof parameters);
	ring = (int)syscall(425 /* io_uring_setup */, 1, parameters);
	if (ring < 0)
		check_skip("no io_uring");
	open_pair(SOCK_STREAM, sock);
	CHECK_ERR(ancillary_send_fd(sock[HERE], ring), EINVAL);
	check_nothing_there(sock[THERE]);
	CHECK(close(ring) == 0);
	close_pair(sock);
}

/* --- the peer --- */

static void send_to_nobody(int type, int sock[2])
{
	int files[600];

	CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
	open_files(files, 600);
	close_end(sock, THERE);
	if (type == SOCK_DGRAM) {
		CHECK_ERR(ancillary_send_fds(sock[HERE], files, 2, "x", 1, 0), ECONNREFUSED);
		CHECK_ERR(ancillary_send_fds(sock[HERE], files, 2, "x", 1, 0), ENOTCONN);
	} else {
		CHECK_ERR(ancillary_send_fds(sock[HERE], files, 2, "x", 1, 0), EPIPE);
		CHECK_ERR(ancillary_send_fds(sock[HERE], NULL, 0, payload, 1000, 0), EPIPE);
	}
	if (type == SOCK_STREAM)
		CHECK_ERR(ancillary_send_fds(sock[HERE], files, 600, NULL, 0, 0), EPIPE);
	close_files(files, 600);
}

static void a_closed_peer_raises_no_signal(void)
{
	with_each_type(send_to_nobody);
}

static void send_to_who_left_messages_unread(int type, int sock[2])
{
	int file;

	(void)type;
	open_files(&file, 1);
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	close_end(sock, THERE);
	CHECK_ERR(ancillary_send_fd(sock[HERE], file), ECONNRESET);
	CHECK_ERR(ancillary_send_fd(sock[HERE], file), EPIPE);
	close_files(&file, 1);
}

static void a_peer_that_left_messages_unread_resets(void)
{
	with_type(SOCK_SEQPACKET, send_to_who_left_messages_unread);
}

static void send_unconnected(int type, int sock[2])
{
	int alone = socket(AF_UNIX, type, 0);

	CHECK(alone >= 0);
	CHECK_ERR(ancillary_send_fd(alone, sock[HERE]), ENOTCONN);
	CHECK_ERR(ancillary_send_fds(alone, sock, 2, "abc", 3, 0), ENOTCONN);
	CHECK(close(alone) == 0);
}

static void a_peer_is_needed(void)
{
	with_each_type(send_unconnected);
}

static void send_to_who_refuses(int type, int sock[2])
{
	(void)type;
	set_option(sock[THERE], OPTION_PASSRIGHTS, 0);
	CHECK_ERR(ancillary_send_fd(sock[HERE], sock[HERE]), EPERM);
	CHECK_ERR(ancillary_send_fds(sock[HERE], sock, 2, "abc", 3, 0), EPERM);
	check_nothing_there(sock[THERE]);
}

static void a_peer_can_refuse_descriptors(void)
{
	with_each_type(send_to_who_refuses);
}

/* --- what the socket takes --- */

static void send_too_long(int type, int sock[2])
{
	static char data[1 << 20];
	int file;

	(void)type;
	open_files(&file, 1);
	CHECK_ERR(ancillary_send_fds(sock[HERE], &file, 1, data, sizeof data, 0), EMSGSIZE);
	check_nothing_there(sock[THERE]);
	close_files(&file, 1);
}

static void a_packet_can_be_too_long(void)
{
	with_type(SOCK_SEQPACKET, send_too_long);
	with_type(SOCK_DGRAM, send_too_long);
}

static void send_when_full(int type, int sock[2])
{
	int file;

	(void)type;
	open_files(&file, 1);
	fill(sock[HERE]);
	CHECK_ERR(ancillary_send_fds(sock[HERE], &file, 1, "x", 1, ANCILLARY_DONTWAIT), EAGAIN);
	CHECK_ERR(ancillary_send_fds(sock[HERE], &file, 1, NULL, 0, ANCILLARY_DONTWAIT), EAGAIN);
	/* The socket still is one that waits. */
	CHECK_IS(fcntl(sock[HERE], F_GETFL) & O_NONBLOCK, 0);
	CHECK(fcntl(sock[HERE], F_SETFL, O_NONBLOCK) == 0);
	CHECK_ERR(ancillary_send_fds(sock[HERE], &file, 1, "x", 1, 0), EAGAIN);
	CHECK(fcntl(sock[HERE], F_SETFL, 0) == 0);
	set_timeout(sock[HERE], SO_SNDTIMEO, 20);
	CHECK_ERR(ancillary_send_fds(sock[HERE], &file, 1, "x", 1, 0), EAGAIN);
	CHECK_ERR(ancillary_send_fd(sock[HERE], file), EAGAIN);
	drain(sock[THERE]);
	pass(sock, &file, 1, 1, 0);
	close_files(&file, 1);
}

static void a_full_socket_says_try_again(void)
{
	with_each_type(send_when_full);
}

/* A user who is not privileged may have only so many descriptors in flight.
 * The case takes a user of its own for it, whom nothing else runs as. */
static void too_many_in_flight(void)
{
	enum { BATCH = 40 };
	uid_t user = 600000 + (uid_t)getpid();
	int files[BATCH], received[BATCH], sock[2], sent = 0;
	size_t nfds = BATCH;
	ssize_t result;

	if (setresuid(user, user, user) < 0)
		check_skip("not root");
	open_pair(SOCK_STREAM, sock);
	open_files(files, BATCH);
	set_limit(60);
	while ((result = ancillary_send_fds(sock[HERE], files, BATCH, NULL, 0, 0)) == 1)
		CHECK(++sent < 10);
	CHECK_IS(result, -ETOOMANYREFS);
	CHECK_IS(errno, ETOOMANYREFS);
	raise_limit();
	while (sent-- > 0) {
		CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, NULL, 0, 0), 1);
		take_arrived(received, BATCH, files, nfds);
	}
	check_nothing_there(sock[THERE]);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, BATCH, NULL, 0, 0), 1);
	close_files(files, BATCH);
	close_pair(sock);
}

/* --- not a Unix socket --- */

/* Where it is down, its address may be there and lead nowhere: connecting takes as
 * long as it takes to give up. */
static void need_loopback(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int sock = socket(AF_INET, SOCK_DGRAM, 0);
	bool up = ioctl(sock, SIOCGIFFLAGS, &request) == 0 && request.ifr_flags & IFF_UP;

	CHECK(close(sock) == 0);
	if (!up)
		check_skip("the loopback interface");
}

static void open_tcp(int sock[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t length = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	need_loopback();
	/* It can be up and have another address. */
	if (bind(listener, (struct sockaddr *)&address, length) < 0) {
		CHECK_IS(errno, EADDRNOTAVAIL);
		check_skip("the loopback interface");
	}
	CHECK(listen(listener, 1) == 0);
	CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
	sock[HERE] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(connect(sock[HERE], (struct sockaddr *)&address, length) == 0);
	sock[THERE] = accept(listener, NULL, NULL);
	CHECK(sock[THERE] >= 0);
	CHECK(close(listener) == 0);
}

static void tcp_drops_descriptors_without_an_error(void)
{
	int sock[2], file, received;
	size_t nfds = 1;
	char byte;

	open_tcp(sock);
	open_files(&file, 1);
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), ENOMSG);
	CHECK_OK(ancillary_send_fds(sock[HERE], &file, 1, "x", 1, 0), 1);
	CHECK_OK(ancillary_recv_fds(sock[THERE], &received, &nfds, &byte, 1, 0), 1);
	CHECK_IS(nfds, 0);
	CHECK_IS(received, -1);
	close_files(&file, 1);
	close_pair(sock);
}

CHECK_MAIN(CASE(a_stream_takes_any_number), CASE(a_packet_takes_up_to_the_most),
	   CASE(a_stream_splits_as_documented), CASE(a_stream_needs_a_byte_for_each_message),
	   CASE(a_payload_goes_without_descriptors), CASE(the_same_descriptor_arrives_twice),
	   CASE(the_array_is_only_read), CASE(one_bad_among_good_stops_all),
	   CASE(a_bad_one_late_ends_with_the_progress), CASE(a_bad_one_early_stops_all),
	   CASE(an_io_uring_is_not_sent), CASE(a_closed_peer_raises_no_signal),
	   CASE(a_peer_that_left_messages_unread_resets), CASE(a_peer_is_needed),
	   CASE(a_peer_can_refuse_descriptors), CASE(a_packet_can_be_too_long),
	   CASE(a_full_socket_says_try_again), CASE(too_many_in_flight),
	   CASE(tcp_drops_descriptors_without_an_error))
