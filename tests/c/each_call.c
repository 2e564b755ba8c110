/* What comes of a fault at each system call that the library makes: an error that
 * is documented, or success, with nothing lost, left behind or closed twice. */

#include "check.h"
#include "fault.h"
#include "kit.h"
#include "late.h"
#include "place.h"
#include "shim.h"

#include <ancillary.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { FILES = 600, LEN = 40, WAIT_MS = 2000 };

static int files[FILES], arrived[FILES + 1];
static unsigned char sent[LEN], came[LEN];

/* A call that failed has done nothing, and is made again.  Where faults last, they
 * end after a few times. */
static void again(int *failures)
{
	CHECK(*failures < 3);
	if (++*failures == 3)
		calm();
}

static void open_waiting_pair(int type, int sock[2])
{
	open_pair(type, sock);
	/* So that what is lost is not waited for until the test is late. */
	set_timeout(sock[THERE], SO_RCVTIMEO, WAIT_MS);
	payload_at(came, LEN);
}

/* --- descriptors --- */

static struct passing {
	int type;
	size_t nfds, len;
	unsigned send_flags, receive_flags;
} passing;

static void send_all(int sock)
{
	size_t gone = 0, done = 0;
	int failures = 0;

	payload_at(sent, LEN);
	while (done < passing.len) {
		size_t nfds = passing.nfds - gone, len = passing.len - done;
		long n = CALL(ancillary_send_fds, sock, files + gone, nfds, sent + done, len,
			      passing.send_flags);

		if (n < 0) {
			again(&failures);
			continue;
		}
		CHECK(n > 0 && (size_t)n <= len);
		gone += nfds < MOST * (size_t)n ? nfds : MOST * (size_t)n;
		done += (size_t)n;
	}
	CHECK_IS(gone, passing.nfds);
	payload_at(came, LEN);
}

static void receive_all(int sock)
{
	size_t got = 0, done = 0;
	int failures = 0;

	while (done < passing.len) {
		size_t room = LENGTH(arrived) - got, nfds = room;
		long n = CALL(ancillary_recv_fds, sock, arrived + got, &nfds, came + done,
			      passing.len - done, passing.receive_flags);

		CHECK(nfds <= room);
		CHECK(all_none(arrived + got + nfds, room - nfds));
		if (n < 0) {
			CHECK_IS(nfds, 0);
			again(&failures);
			continue;
		}
		CHECK(n > 0);
		got += nfds;
		done += (size_t)n;
	}
	CHECK_IS(got, passing.nfds);
	CHECK(is_payload(came, passing.len, 0));
	take_arrived(arrived, LENGTH(arrived), files, passing.nfds);
	check_nothing_there(sock);
}

static void pass(void)
{
	int sock[2];

	open_waiting_pair(passing.type, sock);
	send_all(sock[HERE]);
	receive_all(sock[THERE]);
	close_pair(sock);
}

static void descriptors_with_a_payload(void)
{
	static const struct passing all[] = {
		{ SOCK_STREAM, 3, LEN, 0, 0 },
		{ SOCK_SEQPACKET, 3, LEN, 0, 0 },
		{ SOCK_DGRAM, 3, LEN, 0, 0 },
		{ SOCK_STREAM, 1, 5, ANCILLARY_INTR, ANCILLARY_INTR },
		{ SOCK_STREAM, 2, 5, ANCILLARY_DONTWAIT, ANCILLARY_DONTWAIT },
		{ SOCK_STREAM, 3, LEN, 0, ANCILLARY_WAITALL },
		{ SOCK_STREAM, 3, LEN, 0, ANCILLARY_LOSSLESS },
		{ SOCK_SEQPACKET, 3, LEN, 0, ANCILLARY_LOSSLESS },
		{ SOCK_DGRAM, 3, LEN, 0, ANCILLARY_LOSSLESS | ANCILLARY_WAITALL },
		{ SOCK_STREAM, 0, LEN, 0, ANCILLARY_LOSSLESS | ANCILLARY_WAITALL },
		{ SOCK_STREAM, FILES, LEN, 0, ANCILLARY_WAITALL },
		{ SOCK_STREAM, FILES, 3, ANCILLARY_INTR, ANCILLARY_WAITALL | ANCILLARY_INTR },
		{ SOCK_STREAM, FILES, LEN, ANCILLARY_DONTWAIT,
		  ANCILLARY_WAITALL | ANCILLARY_LOSSLESS },
	};

	make_payload(sent, LEN);
	for (size_t i = 0; i < LENGTH(all); i++) {
		passing = all[i];
		open_files(files, passing.nfds);
		at_every_call(pass);
		close_files(files, passing.nfds);
	}
}

static void pass_late(void)
{
	enum { FOREVER_MS = 20000 };
	int sock[2];

	open_late_pair(sock);
	set_timeout(sock[HERE], SO_SNDTIMEO, FOREVER_MS);
	set_timeout(sock[THERE], SO_RCVTIMEO, FOREVER_MS);
	send_all(sock[HERE]);
	receive_all(sock[THERE]);
	close_late_pair(sock);
}

static void descriptors_that_are_waited_for(void)
{
	static const struct passing all[] = {
		{ SOCK_STREAM, 3, LEN, 0, 0 },
		{ SOCK_STREAM, 3, LEN, 0, ANCILLARY_WAITALL },
		{ SOCK_STREAM, 0, LEN, 0, ANCILLARY_WAITALL | ANCILLARY_LOSSLESS },
	};

	make_payload(sent, LEN);
	on_call = make_late;
	calls_wait = true;
	for (size_t i = 0; i < LENGTH(all); i++) {
		passing = all[i];
		open_files(files, passing.nfds);
		at_every_call(pass_late);
		close_files(files, passing.nfds);
	}
	calls_wait = false;
}

static int type;

static void for_each_type(void (*scenario)(void))
{
	make_payload(sent, LEN);
	open_files(files, 5);
	for (int i = 0; i < PLAIN_TYPES; i++) {
		type = types[i];
		at_every_call(scenario);
	}
	close_files(files, 5);
}

static void pass_one(void)
{
	int sock[2], failures = 0, fd;

	open_waiting_pair(type, sock);
	while (CALL(ancillary_send_fd, sock[HERE], files[0]) < 0)
		again(&failures);
	for (failures = 0; (fd = (int)CALL(ancillary_recv_fd, sock[THERE])) < 0;)
		again(&failures);
	take_arrived(&fd, 1, files, 1);
	check_nothing_there(sock[THERE]);
	close_pair(sock);
}

static void one_descriptor(void)
{
	for_each_type(pass_one);
}

/* What ends a call of this scenario, made again until it fails so. */
static void refuse(int sock, size_t room, unsigned flags, int error)
{
	int failures = 0;

	for (;;) {
		size_t nfds = room;
		long n = CALL(ancillary_recv_fds, sock, arrived, &nfds, came, LEN, flags);

		CHECK(n < 0);
		CHECK_IS(nfds, 0);
		CHECK(all_none(arrived, room));
		if (n == -error)
			return;
		again(&failures);
	}
}

/* Descriptors that there is too little room for, in the array or in the table. */
static void refuse_and_receive(unsigned flags, size_t room, size_t slots)
{
	int sock[2];

	open_waiting_pair(type, sock);
	passing = (struct passing){ type, 5, LEN, 0, flags };
	CHECK_IS(send_by_hand(sock[HERE], sent, LEN, files, 5), LEN);
	if (slots < 5) {
		rlim_t limit = leave_slots(slots);

		refuse(sock[THERE], room, flags, EMFILE);
		set_limit(limit);
	} else {
		refuse(sock[THERE], room, flags, E2BIG);
	}
	if (flags & ANCILLARY_LOSSLESS)
		receive_all(sock[THERE]);
	close_pair(sock);
}

static void receive_surplus(void)
{
	refuse_and_receive(0, 2, FILES);
}

static void receive_surplus_lossless(void)
{
	refuse_and_receive(ANCILLARY_LOSSLESS, 2, FILES);
}

static void receive_with_few_slots(void)
{
	refuse_and_receive(0, 5, 2);
}

static void receive_with_few_slots_lossless(void)
{
	refuse_and_receive(ANCILLARY_LOSSLESS, 5, 2);
}

static void too_little_room(void)
{
	for_each_type(receive_surplus);
	for_each_type(receive_surplus_lossless);
	for_each_type(receive_with_few_slots);
	for_each_type(receive_with_few_slots_lossless);
}

/* Descriptors that a security policy withholds, which looks as a full table does. */
static void receive_withheld(void)
{
	size_t nfds = 5;
	int sock[2];
	long n;

	open_waiting_pair(type, sock);
	CHECK_IS(send_by_hand(sock[HERE], sent, LEN, files, 5), LEN);
	shim.withhold = 2;
	n = CALL(ancillary_recv_fds, sock[THERE], arrived, &nfds, came, LEN, 0);
	shim.withhold = 0;
	CHECK(n == -EACCES || faulted("recvmsg") || (n == -EMFILE && faulted("fcntl")));
	CHECK_IS(nfds, 0);
	close_pair(sock);
}

static void receive_withheld_lossless(void)
{
	int sock[2];

	open_waiting_pair(type, sock);
	passing = (struct passing){ type, 5, LEN, 0, ANCILLARY_LOSSLESS };
	CHECK_IS(send_by_hand(sock[HERE], sent, LEN, files, 5), LEN);
	shim.withhold = 2;
	refuse(sock[THERE], 5, ANCILLARY_LOSSLESS, EACCES);
	shim.withhold = 0;
	receive_all(sock[THERE]);
	close_pair(sock);
}

static void a_policy(void)
{
	for_each_type(receive_withheld);
	for_each_type(receive_withheld_lossless);
}

/* Bytes in front of a message with descriptors: one that is refused, or one that is
 * not asked for yet, of which a peek installs the descriptors all the same. */
static bool refused;

static void receive_in_front(void)
{
	int sock[2], failures = 0;
	size_t done = 0;

	open_waiting_pair(SOCK_STREAM, sock);
	CHECK_IS(send_by_hand(sock[HERE], sent, 10, NULL, 0), 10);
	CHECK_IS(send_by_hand(sock[HERE], sent + 10, LEN - 10, files, 3), LEN - 10);
	while (done < 10) {
		size_t nfds = refused ? 0 : 3;
		long n = CALL(ancillary_recv_fds, sock[THERE], arrived, &nfds, came + done,
			      (refused ? LEN : 10) - done, ANCILLARY_LOSSLESS);

		CHECK_IS(nfds, 0);
		if (n > 0)
			done += (size_t)n;
		else
			again(&failures);
	}
	CHECK_IS(done, 10);
	CHECK(is_payload(came, 10, 0));
	failures = 0;
	while (done < LEN) {
		size_t nfds = done == 10 ? 3 : 0;
		long n = CALL(ancillary_recv_fds, sock[THERE], arrived, &nfds, came + done,
			      LEN - done, ANCILLARY_LOSSLESS);

		if (n < 0) {
			again(&failures);
			continue;
		}
		if (done == 10)
			CHECK_IS(nfds, 3);
		done += (size_t)n;
	}
	CHECK(is_payload(came, LEN, 0));
	close_files(arrived, 3);
	close_pair(sock);
}

static void bytes_in_front(void)
{
	make_payload(sent, LEN);
	open_files(files, 3);
	refused = true;
	at_every_call(receive_in_front);
	refused = false;
	at_every_call(receive_in_front);
	close_files(files, 3);
}

/* --- whole messages --- */

static unsigned flags;

static void send_message(int sock)
{
	struct iovec iov[3] = { { sent, 1 }, { sent, 0 }, { sent + 1, LEN - 1 } };
	struct ancillary_msg msg = { .size = sizeof msg,
				     .iov = iov,
				     .iovlen = 3,
				     .fds = files,
				     .nfds = 2,
				     .creds = { getpid(), getuid(), getgid() },
				     .flags = ANCILLARY_HAS_CREDS };
	int failures = 0;
	size_t done = 0;

	payload_at(sent, LEN);
	while (done < LEN) {
		long n = CALL(ancillary_send_msg, sock, &msg, 0);

		if (n < 0) {
			again(&failures);
			continue;
		}
		CHECK(n > 0);
		done += (size_t)n;
		/* The rest goes without what went with the first byte. */
		iov[2] = (struct iovec){ sent + done, LEN - done };
		msg = (struct ancillary_msg){ .size = sizeof msg, .iov = iov + 1, .iovlen = 2 };
	}
	payload_at(came, LEN);
}

static void receive_message(int sock)
{
	size_t done = 0, got = 0;
	int failures = 0;

	while (done < LEN) {
		struct iovec iov[2] = { { came + done, 1 }, { came + done + 1, LEN - done - 1 } };
		struct ancillary_msg msg = { .size = sizeof msg,
					     .iov = iov,
					     .iovlen = 2,
					     .fds = arrived + got,
					     .nfds = 3 - got };
		long n = CALL(ancillary_recv_msg, sock, &msg, flags);

		if (n < 0) {
			CHECK_IS(msg.nfds, 0);
			CHECK_IS(msg.pidfd, -1);
			CHECK_IS(msg.flags, 0);
			CHECK_IS(msg.error, 0);
			CHECK(msg.creds.pid == 0 && msg.creds.uid == (uid_t)-1);
			CHECK(all_none(arrived + got, 3 - got));
			again(&failures);
			continue;
		}
		CHECK(n > 0);
		CHECK_IS(msg.flags, ANCILLARY_HAS_CREDS | ANCILLARY_HAS_PIDFD);
		CHECK_IS(msg.creds.pid, getpid());
		close_files(&msg.pidfd, 1);
		got += msg.nfds;
		done += (size_t)n;
	}
	CHECK_IS(got, 2);
	CHECK(is_payload(came, LEN, 0));
	take_arrived(arrived, 3, files, 2);
}

static void pass_message(void)
{
	int sock[2];

	open_waiting_pair(type, sock);
	set_option(sock[THERE], SO_PASSCRED, 1);
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	send_message(sock[HERE]);
	receive_message(sock[THERE]);
	check_nothing_there(sock[THERE]);
	close_pair(sock);
}

static void everything_in_one_message(void)
{
	static const unsigned all[] = { 0, ANCILLARY_WAITALL, ANCILLARY_LOSSLESS,
					ANCILLARY_WAITALL | ANCILLARY_LOSSLESS };

	for (size_t i = 0; i < LENGTH(all); i++) {
		flags = all[i];
		for_each_type(pass_message);
	}
}

/* An answer goes to where a message came from. */
static void answer_message(void)
{
	const struct sockaddr unnamed = { .sa_family = AF_UNIX };
	char name[sizeof(struct sockaddr_un)];
	struct iovec iov = { sent, LEN };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };
	int sock[2], failures = 0;

	open_waiting_pair(SOCK_DGRAM, sock);
	/* A name that the system chooses. */
	CHECK(bind(sock[HERE], &unnamed, sizeof(sa_family_t)) == 0);
	CHECK_IS(send(sock[HERE], sent, LEN, 0), LEN);
	iov.iov_base = came;
	for (msg.name = name; msg.namelen == 0;) {
		msg.namelen = sizeof name;
		if (CALL(ancillary_recv_msg, sock[THERE], &msg, flags) < 0) {
			CHECK_IS(msg.namelen, 0);
			again(&failures);
		}
	}
	CHECK(is_payload(came, LEN, 0));
	iov.iov_base = sent;
	msg.fds = files;
	msg.nfds = 2;
	payload_at(sent, LEN);
	for (failures = 0; CALL(ancillary_send_msg, sock[THERE], &msg, 0) < 0;)
		again(&failures);
	payload_at(came, LEN);
	passing = (struct passing){ SOCK_DGRAM, 2, LEN, 0, 0 };
	receive_all(sock[HERE]);
	close_pair(sock);
}

static void a_message_with_a_name(void)
{
	make_payload(sent, LEN);
	open_files(files, 2);
	for (flags = 0; flags <= ANCILLARY_LOSSLESS; flags += ANCILLARY_LOSSLESS)
		at_every_call(answer_message);
	flags = 0;
	close_files(files, 2);
}

static void pass_creds(void)
{
	struct ancillary_creds creds;
	int sock[2], failures = 0;
	size_t done = 0;

	open_waiting_pair(type, sock);
	set_option(sock[THERE], SO_PASSCRED, 1);
	payload_at(sent, LEN);
	while (done < LEN) {
		long n = CALL(ancillary_send_creds, sock[HERE], NULL, sent + done, LEN - done, 0);

		if (n < 0)
			again(&failures);
		else
			done += (size_t)n;
	}
	payload_at(came, LEN);
	for (failures = 0, done = 0; done < LEN;) {
		long n = CALL(ancillary_recv_creds, sock[THERE], &creds, came + done, LEN - done,
			      flags);

		CHECK_IS(creds.pid, n < 0 ? 0 : getpid());
		CHECK_IS(creds.uid, n < 0 ? (uid_t)-1 : getuid());
		CHECK_IS(creds.gid, n < 0 ? (gid_t)-1 : getgid());
		if (n < 0)
			again(&failures);
		else
			done += (size_t)n;
	}
	CHECK(is_payload(came, LEN, 0));
	check_nothing_there(sock[THERE]);
	close_pair(sock);
}

static void credentials(void)
{
	flags = 0;
	for_each_type(pass_creds);
	flags = ANCILLARY_WAITALL | ANCILLARY_LOSSLESS;
	for_each_type(pass_creds);
}

/* --- the end --- */

static void receive_the_end(void)
{
	struct ancillary_creds creds;
	size_t nfds = 0;
	int sock[2];
	long n;

	open_waiting_pair(type, sock);
	set_option(sock[THERE], SO_PASSCRED, 1);
	close_end(sock, HERE);
	n = CALL(ancillary_recv_fd, sock[THERE]);
	CHECK(n < 0 && (faulted("recvmsg") || n == -EPIPE || faulted("getsockopt")));
	n = CALL(ancillary_recv_fds, sock[THERE], NULL, &nfds, came, 1, 0);
	CHECK(n == 0 || (n < 0 && faulted("recvmsg")));
	n = CALL(ancillary_recv_creds, sock[THERE], &creds, came, 1, 0);
	CHECK(n == 0 || faulted("recvmsg") || faulted("getsockopt"));
	CHECK(creds.pid == 0 && creds.uid == (uid_t)-1 && creds.gid == (gid_t)-1);
	close_pair(sock);
}

static void the_end(void)
{
	for (int i = 0; i < 2; i++) {
		type = types[i];
		at_every_call(receive_the_end);
	}
}

/* --- the functions of the older library --- */

static void pass_the_old_way(void)
{
	int sock[2], failures = 0;
	char buffer[100];

	open_waiting_pair(type, sock);
	while (CALL(ancil_send_fds, sock[HERE], files, 3) < 0)
		again(&failures);
	for (failures = 0; CALL(ancil_recv_fds, sock[THERE], arrived, 2) != 2;) {
		CHECK(all_none(arrived, 2));
		again(&failures);
	}
	close_files(arrived, 2);
	for (failures = 0; CALL(ancil_send_fd, sock[HERE], files[0]) < 0;)
		again(&failures);
	for (failures = 0; CALL(ancil_recv_fd, sock[THERE], arrived) < 0;) {
		CHECK(all_none(arrived, 1));
		again(&failures);
	}
	close_files(arrived, 1);
	for (failures = 0; CALL(ancil_send_fds_with_buffer, sock[HERE], files, 1, buffer) < 0;)
		again(&failures);
	for (failures = 0; CALL(ancil_recv_fds_with_buffer, sock[THERE], arrived, 1, buffer) != 1;)
		again(&failures);
	close_files(arrived, 1);
	check_nothing_there(sock[THERE]);
	close_pair(sock);
}

static void the_older_functions(void)
{
	for_each_type(pass_the_old_way);
}

/* --- what a socket is, and passes --- */

static void ask_and_set(void)
{
	struct ancillary_creds creds;
	gid_t groups[64];
	char label[8];
	int sock[2];
	long n;

	open_pair(type, sock);
	n = CALL(ancillary_set_passcred, sock[HERE], 1);
	CHECK(n == 0 || faulted("setsockopt"));
	n = CALL(ancillary_set_passpidfd, sock[HERE], 1);
	CHECK(n == 0 || faulted("setsockopt") || n == -ENOPROTOOPT);
	n = CALL(ancillary_set_passrights, sock[HERE], 0);
	CHECK(n == 0 || faulted("setsockopt") || n == -ENOPROTOOPT);
	n = CALL(ancillary_peer_creds, sock[HERE], &creds);
	CHECK(n == 0 || faulted("getsockopt"));
	CHECK_IS(creds.pid, n == 0 ? getpid() : 0);
	CHECK_IS(creds.uid, n == 0 ? geteuid() : (uid_t)-1);
	n = CALL(ancillary_peer_pidfd, sock[HERE]);
	CHECK(n >= 0 || faulted("getsockopt") || n == -ENOPROTOOPT);
	if (n >= 0)
		CHECK(close((int)n) == 0);
	n = CALL(ancillary_peer_groups, sock[HERE], groups, 0);
	CHECK(n >= 0 || faulted("getsockopt"));
	n = CALL(ancillary_peer_groups, sock[HERE], groups, 64);
	CHECK(n >= 0 || faulted("getsockopt"));
	shim.label = "label";
	shim.label_len = 5;
	for (size_t len = 0; len < sizeof label; len++) {
		n = CALL(ancillary_peer_label, sock[HERE], len ? label : NULL, len);
		CHECK(n == (len > 0 && len < 6 ? -ERANGE : 5) || faulted("getsockopt"));
	}
	close_pair(sock);
}

static void options(void)
{
	type = SOCK_STREAM;
	at_every_call(ask_and_set);
}

/* --- closing --- */

static int close_all(int *fds, size_t nfds)
{
	ancillary_close_fds(fds, nfds);
	return 0;
}

static void close_an_array(void)
{
	enum { SLOTS = 12 };
	static const int above[SLOTS] = { 0, 1, 2, -1, 10, 12, 11, 20, 21, 22, -1, 5 };
	int fds[SLOTS];

	for (int i = 0; i < SLOTS; i++)
		fds[i] = above[i] < 0 ? -7 : fcntl(0, F_DUPFD_CLOEXEC, 100 + above[i]);
	hand_over(fds, SLOTS);
	CHECK_IS(CALL(close_all, fds, SLOTS), 0);
	CHECK(all_none(fds, SLOTS));
}

static void closing(void)
{
	at_every_call(close_an_array);
}

/* --- placing --- */

enum { PLACED = 6, FIRST_PLACE = 600 };

/* After a failure each is open under the number that it has then. */
static void place_some(void)
{
	/* Two of them in each other's place, one in its own, and one twice. */
	static const int above[PLACED] = { 1, 0, 2, 20, 20, -1 };
	int fds[PLACED], now[PLACED];
	long n;

	for (int i = 0; i < PLACED; i++)
		fds[i] = FIRST_PLACE + above[i];
	for (int i = 0; i < PLACED; i++)
		if (i != 4)
			CHECK_IS(dup3(files[i], fds[i], O_CLOEXEC), fds[i]);
	memcpy(now, fds, sizeof now);
	hand_over(fds, 4);
	hand_over(fds + 5, 1);
	n = CALL(ancillary_place_fds, now, PLACED, FIRST_PLACE);
	CHECK(n == 0 || faulted("fcntl") || faulted("dup3"));
	CHECK(n == 0 || !interrupted());
	for (int i = 0; i < PLACED; i++) {
		CHECK(same_file(now[i], files[i == 4 ? 3 : i]));
		if (n == 0)
			CHECK_IS(now[i], FIRST_PLACE + i);
	}
	for (int i = 0; i < PLACED; i++)
		if (i == 0 || now[i] != now[i - 1])
			CHECK(close(now[i]) == 0);
}

static void placing(void)
{
	open_files(files, PLACED);
	at_every_call(place_some);
	close_files(files, PLACED);
}

/* --- names --- */

enum there { NOTHING, STALE, LIVE, REGULAR };

static struct listening {
	/* How long the path is; 0 for an abstract name. */
	size_t len;
	enum there there;
	/* What is at the temporary name. */
	enum there before;
	int type;
	unsigned flags;
} listening;

static char path[6000], folder[6000];

static void choose_path(void)
{
	char *slash;

	if (listening.len == 0) {
		snprintf(path, sizeof path, "@each-call-%d", (int)getpid());
		strcpy(folder, ".");
		return;
	}
	strcpy(path, path_of(listening.len, 10, listening.len > 20));
	strcpy(folder, path);
	slash = strrchr(folder, '/');
	if (slash)
		*slash = '\0';
	else
		strcpy(folder, ".");
}

/* Puts something at a name in the folder, and returns what holds it open. */
static int put(const char *name, enum there what)
{
	int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;

	CHECK(here >= 0 && chdir(folder) == 0);
	if (what == STALE)
		make_stale(name, SOCK_STREAM);
	if (what == LIVE) {
		fd = bind_by_hand(name, strlen(name) + 1, SOCK_STREAM);
		CHECK(fd >= 0 && listen(fd, 1) == 0);
	}
	if (what == REGULAR) {
		fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		CHECK(fd >= 0);
	}
	CHECK(fchdir(here) == 0 && close(here) == 0);
	return fd;
}

static void empty(const char *which)
{
	char names[2000], *name;
	char each[6000];

	strcpy(names, names_in(which));
	for (name = strtok(names, " "); name; name = strtok(NULL, " ")) {
		CHECK(snprintf(each, sizeof each, "%s/%s", which, name) < (int)sizeof each);
		CHECK(unlink(each) == 0);
	}
}

static const char *last_part(const char *whole)
{
	const char *slash = strrchr(whole, '/');

	return slash ? slash + 1 : whole;
}

static int reach(int kind)
{
	int sock = ancillary_connect(path, kind, 0);

	CHECK(sock >= 0);
	return sock;
}

/* What would have succeeded does so after an interruption, unless that is to end
 * it.  And what these calls are given is never wrong. */
static void check_result(int sock, bool succeeds)
{
	CHECK(sock != -EINVAL);
	CHECK(sock != -EINTR || listening.flags & ANCILLARY_INTR);
	if (interrupted() && sock != -EINTR)
		CHECK_IS(sock >= 0, succeeds);
}

static bool is_replaced(void)
{
	return listening.there == STALE && listening.flags & ANCILLARY_REPLACE;
}

/* Takes the temporary names away, which are in front, and returns how many those
 * are. */
static int skip_temporary(const char **names)
{
	int count = 0;

	for (; strncmp(*names, ".ancillary-", 11) == 0; count++)
		*names = strchr(*names, ' ') + 1;
	return count;
}

static void check_left(const char *names)
{
	const char *there = names_in(folder);
	int before = skip_temporary(&names), now = skip_temporary(&there);

	CHECK(strcmp(there, names) == 0);
	/* A file that cannot be looked at is nobody's to remove. */
	CHECK(now <= before + goes_on("fstatat"));
	/* Who replaces something removes what was left there, or seems dead for good. */
	CHECK(now >= before ||
	      (is_replaced() && (listening.before == STALE || goes_on("connect"))));
}

static void listen_at_path(void)
{
	struct stat before = { .st_mode = 0 };
	char names[2000];
	int holder, leftover, sock;

	holder = put(last_part(path), listening.there);
	leftover = put(".ancillary-0", listening.before);
	strcpy(names, names_in(folder));
	if (listening.there != NOTHING)
		before = found_at(path);
	sock = (int)CALL(ancillary_listen, path, listening.type, 0640, listening.flags);
	check_result(sock, listening.there == NOTHING || is_replaced());
	if (sock >= 0) {
		check_socket(sock, listening.type);
		CHECK(listening.there != REGULAR);
		/* One fault is not enough to take a live one for dead. */
		CHECK(listening.there != LIVE || goes_on("connect") || faulted_twice());
		if (listening.len)
			CHECK_IS(found_at(path).st_mode, S_IFSOCK | 0640);
		check_talk(sock, reach(listening.type), listening.type);
		CHECK(close(sock) == 0);
		/* It, and what was there before: but its own temporary name is gone. */
		if (listening.there == NOTHING && listening.len)
			CHECK(unlink(path) == 0);
	} else if (listening.there != NOTHING && !faulted_twice()) {
		check_still(path, before);
	}
	if (!faulted("unlinkat") && !faulted_twice())
		check_left(names);
	if (holder >= 0)
		CHECK(close(holder) == 0);
	if (leftover >= 0)
		CHECK(close(leftover) == 0);
	empty(folder);
}

static void listen_each_way(void)
{
	enum { REPLACE = ANCILLARY_REPLACE, DONTWAIT = ANCILLARY_DONTWAIT, INTR = ANCILLARY_INTR };
	static const struct listening all[] = {
		{ 10, NOTHING, NOTHING, SOCK_STREAM, 0 },
		{ 10, NOTHING, NOTHING, SOCK_DGRAM, INTR },
		{ 10, NOTHING, NOTHING, SOCK_SEQPACKET, DONTWAIT },
		{ 10, NOTHING, NOTHING, SOCK_STREAM | SOCK_NONBLOCK, DONTWAIT },
		{ 10, NOTHING, STALE, SOCK_STREAM, 0 },
		{ 10, NOTHING, LIVE, SOCK_STREAM, REPLACE },
		{ 10, STALE, NOTHING, SOCK_STREAM, 0 },
		{ 10, REGULAR, NOTHING, SOCK_STREAM, REPLACE },
		{ 10, NOTHING, NOTHING, SOCK_STREAM, REPLACE },
		{ 10, STALE, NOTHING, SOCK_STREAM, REPLACE | INTR },
		{ 10, STALE, STALE, SOCK_DGRAM, REPLACE | DONTWAIT },
		{ 10, STALE, LIVE, SOCK_STREAM, REPLACE },
		{ 10, LIVE, NOTHING, SOCK_STREAM, REPLACE },
		{ 0, NOTHING, NOTHING, SOCK_STREAM, 0 },
		{ 0, NOTHING, NOTHING, SOCK_DGRAM, REPLACE | DONTWAIT },
		/* Its folders stay, so these are the last. */
		{ 400, NOTHING, NOTHING, SOCK_STREAM, 0 },
		{ 400, STALE, NOTHING, SOCK_STREAM, REPLACE },
		{ 400, LIVE, NOTHING, SOCK_STREAM, REPLACE },
	};

	/* It takes away what is asked for. */
	umask(0077);
	for (size_t i = 0; i < LENGTH(all); i++) {
		listening = all[i];
		choose_path();
		at_every_call(listen_at_path);
	}
}

static void listening_at_a_name(void)
{
	in_a_place(listen_each_way);
}

static void connect_to_path(void)
{
	int listener = ancillary_listen(path, listening.type, 0600, 0), sock;

	CHECK(listener >= 0);
	sock = (int)CALL(ancillary_connect, path, listening.type, listening.flags);
	check_result(sock, true);
	if (sock >= 0) {
		check_socket(sock, listening.type);
		check_talk(listener, sock, listening.type);
	}
	CHECK(close(listener) == 0);
	if (listening.len) {
		sock = (int)CALL(ancillary_connect, path, listening.type, listening.flags);
		CHECK(sock < 0);
		CHECK(unlink(path) == 0);
	}
	sock = (int)CALL(ancillary_connect, path, listening.type, listening.flags);
	CHECK(sock < 0);
	check_holds(folder, "");
}

static void connect_each_way(void)
{
	static const struct listening all[] = {
		{ 10, NOTHING, NOTHING, SOCK_STREAM, 0 },
		{ 10, NOTHING, NOTHING, SOCK_SEQPACKET | SOCK_NONBLOCK, 0 },
		{ 10, NOTHING, NOTHING, SOCK_DGRAM, ANCILLARY_DONTWAIT },
		{ 0, NOTHING, NOTHING, SOCK_STREAM, 0 },
		/* Its folders stay, so this is the last. */
		{ 400, NOTHING, NOTHING, SOCK_STREAM, ANCILLARY_INTR },
	};

	for (size_t i = 0; i < LENGTH(all); i++) {
		listening = all[i];
		choose_path();
		at_every_call(connect_to_path);
	}
}

static void connecting_to_a_name(void)
{
	in_a_place(connect_each_way);
}

CHECK_MAIN(CASE(one_descriptor), CASE(descriptors_with_a_payload),
	   CASE(descriptors_that_are_waited_for), CASE(too_little_room), CASE(a_policy),
	   CASE(bytes_in_front), CASE(everything_in_one_message), CASE(a_message_with_a_name),
	   CASE(credentials), CASE(the_end), CASE(the_older_functions), CASE(options), CASE(closing),
	   CASE(placing),
	   CASE(listening_at_a_name), CASE(connecting_to_a_name))
