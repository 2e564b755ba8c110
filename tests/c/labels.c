/* What takes the room of descriptors in the control buffer: labels of a security
 * module (SO_PASSSEC), and more time stamps than one.  What is lost for that is
 * said to be; a lossless call looks again, with more room. */

#include "check.h"

#include "kit.h"
#include "labelling.h"
#include "watch.h"

#include <ancillary.h>
#include <linux/net_tstamp.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* A buffer for control data is never larger. */
enum { LARGEST = 4096 };

enum { LEN = 16 };

/* Memory that cannot be written to. */
static const char read_only[LEN];

static int fds[MOST], files[MOST];
static char data[LEN];
static struct iovec iov = { data, LEN };

/* Whether the option is on of these bits. */
enum { CREDS = 1, PIDFDS = 2, OPTIONS = 4 };

static void pass(int sock, unsigned options)
{
	set_option(sock, SO_PASSSEC, 1);
	set_option(sock, SO_PASSCRED, options & CREDS ? 1 : 0);
	if (has_option(OPTION_PASSPIDFD))
		set_option(sock, OPTION_PASSPIDFD, options & PIDFDS ? 1 : 0);
}

static unsigned some_options(void)
{
	return has_option(OPTION_PASSPIDFD) ? OPTIONS : PIDFDS;
}

/* What a control message with so many bytes takes, none if none. */
static size_t space_of(size_t len)
{
	return len ? CMSG_SPACE(len) : 0;
}

/* What one message takes with so many descriptors, a label, and these options. */
static size_t space(size_t label, size_t nfds, unsigned options)
{
	return space_of(label) + space_of(nfds * sizeof(int)) +
	       (options & CREDS ? CMSG_SPACE(sizeof(struct ucred)) : 0) +
	       (options & PIDFDS ? CMSG_SPACE(sizeof(int)) : 0);
}

static void send_files(int sock, size_t nfds)
{
	CHECK_OK(ancillary_send_fds(sock, files, nfds, "payload", 7, 0), 7);
}

/* --- a call --- */

static struct ancillary_msg msg;
static size_t nfds, open_before;

/* Receives by a strict call, or by one that is tolerant. */
static ssize_t receive(bool strict, int sock, size_t slots, unsigned flags)
{
	ssize_t n;

	memset(fds, 'x', sizeof fds);
	memset(data, 'x', sizeof data);
	msg = (struct ancillary_msg){ .size = sizeof msg, .iov = &iov, .iovlen = 1,
				      .fds = fds, .nfds = slots, .pidfd = -1 };
	open_before = open_descriptors();
	nfds = slots;
	watch_begin();
	errno = CHECK_ERRNO;
	if (strict) {
		n = ancillary_recv_fds(sock, fds, &nfds, data, LEN, flags);
	} else {
		n = ancillary_recv_msg(sock, &msg, flags);
		nfds = msg.nfds;
	}
	CHECK_IS(errno, n < 0 ? -n : CHECK_ERRNO);
	watch_end();
	/* However much room there is for a label. */
	CHECK(watched.installed <= slots + MOST_BESIDE);
	return n;
}

/* Checks that the first of the files came, and nothing else. */
static void check_came(size_t slots, size_t count)
{
	CHECK(memcmp(data, "payload", 7) == 0);
	CHECK_IS(nfds, count);
	take_arrived(fds, slots, files, count);
	if (msg.pidfd >= 0) {
		CHECK_IS(pid_of(msg.pidfd), getpid());
		close_files(&msg.pidfd, 1);
	}
	CHECK_IS(open_descriptors(), open_before);
}

static void check_nothing_came(size_t slots)
{
	CHECK_IS(nfds, 0);
	CHECK(all_none(fds, slots));
	CHECK_IS(msg.pidfd, -1);
	CHECK_IS(msg.flags, 0);
	CHECK_IS(open_descriptors(), open_before);
}

/* --- what is lost --- */

/* What a call may say. */
struct outcomes {
	/* That all came; that more was sent than there are slots; that something was
	 * lost; or, where nothing else was, a pidfd. */
	bool whole, surplus, lost, pidfd_lost;
};

/* What can be known from what the kernel tells: of a label that was cut nobody knows
 * whether anything stood behind it, and of a pidfd that had no room it is not told
 * that it was this.  So where there was room for just what was asked for, that more
 * was sent is no surer than that something else is missing. */
static struct outcomes outcomes_of(size_t slots, size_t sent, unsigned options)
{
	size_t room = labelling.room;
	bool no_pidfd = options & PIDFDS && !labelling.pidfd_fits;
	struct outcomes may = { .surplus = sent > slots, .pidfd_lost = no_pidfd };

	if (!labelling.label_whole) {
		may.lost = true;
	} else if (sent > room) {
		may.surplus = room >= slots;
		may.lost = room <= slots;
	} else if (!may.surplus) {
		may.whole = true;
		may.lost = no_pidfd;
		may.surplus = no_pidfd && sent == room && room == slots;
	}
	return may;
}

static void check_strict(ssize_t n, size_t slots, size_t sent, struct outcomes may)
{
	if (n >= 0) {
		CHECK(may.whole);
		CHECK_IS(n, 7);
		check_came(slots, sent);
		return;
	}
	if (n != -ENOBUFS || !may.lost)
		CHECK_IS(n, may.surplus ? -E2BIG : may.whole ? 7 : -ENOBUFS);
	check_nothing_came(slots);
}

static void check_tolerant(ssize_t n, size_t slots, size_t sent, struct outcomes may)
{
	const unsigned outcome = ANCILLARY_FDS_SURPLUS | ANCILLARY_FDS_LOST;
	size_t installed = sent < labelling.room ? sent : labelling.room;

	CHECK_IS(n, 7);
	CHECK(msg.flags & outcome || may.whole);
	CHECK(!(msg.flags & ANCILLARY_FDS_SURPLUS) || may.surplus);
	CHECK(!(msg.flags & ANCILLARY_FDS_LOST) || may.lost || may.pidfd_lost);
	CHECK_IS(msg.error, msg.flags & ANCILLARY_FDS_LOST ? ENOBUFS : 0);
	CHECK_IS(!(msg.flags & ANCILLARY_HAS_PIDFD), msg.pidfd < 0);
	CHECK_IS(msg.flags & ANCILLARY_DATA_TRUNCATED, 0);
	check_came(slots, installed < slots ? installed : slots);
}

static void lose(bool strict, int sock[2], size_t slots, size_t sent, unsigned options)
{
	struct outcomes may;
	ssize_t n;

	check_about("label of %zu, options %u, room for %zu, %zu sent", labelling.len, options,
		    slots, sent);
	send_files(sock[HERE], sent);
	n = receive(strict, sock[THERE], slots, 0);
	may = outcomes_of(slots, sent, options);
	if (strict)
		check_strict(n, slots, sent, may);
	else
		check_tolerant(n, slots, sent, may);
	check_nothing_there(sock[THERE]);
}

static const size_t counts[] = { 0, 1, 2, 9, MOST };

static void receive_what_is_left(int type, int sock[2])
{
	(void)type;
	for (unsigned options = 0; options < some_options(); options++) {
		pass(sock[THERE], options);
		/* What it takes is a multiple of 8, or of 4. */
		for (labelling.len = 1; labelling.len < 2500;
		     labelling.len += labelling.len < 180 ? 8 : 488)
			for (size_t slots = 0; slots < LENGTH(counts); slots++)
				for (size_t sent = 0; sent < LENGTH(counts); sent++) {
					/* These differ by what is sent in little else. */
					if (counts[sent] == MOST && labelling.len % 3)
						continue;
					if (!is_tried())
						continue;
					lose((slots + sent + labelling.len / 8) % 2, sock, counts[slots],
					     counts[sent], options);
				}
	}
	labelling.len = 0;
}

static void what_a_label_leaves_no_room_for_is_told(void)
{
	open_files(files, MOST);
	with_type(SOCK_STREAM, receive_what_is_left);
	with_type(SOCK_SEQPACKET, receive_what_is_left);
	close_files(files, MOST);
}

/* --- what is not --- */

static void receive_whole(bool strict, int sock[2], size_t slots, size_t sent, unsigned options)
{
	ssize_t n;

	check_about("label of %zu, options %u, room for %zu, %zu sent", labelling.len, options,
		    slots, sent);
	send_files(sock[HERE], sent);
	while (slots < sent) {
		n = receive(strict, sock[THERE], slots, ANCILLARY_LOSSLESS);
		CHECK(n == -E2BIG || n == -ENOBUFS);
		check_nothing_came(slots);
		slots = sent;
	}
	n = receive(strict, sock[THERE], slots, ANCILLARY_LOSSLESS);
	CHECK_IS(n, 7);
	if (!strict) {
		CHECK_IS(msg.flags, (options & CREDS ? ANCILLARY_HAS_CREDS : 0) |
					    (options & PIDFDS ? ANCILLARY_HAS_PIDFD : 0));
		CHECK_IS(msg.error, 0);
	}
	check_came(slots, sent);
	check_nothing_there(sock[THERE]);
}

static void receive_with_label(int type, int sock[2])
{
	(void)type;
	for (unsigned options = 0; options < some_options(); options++) {
		pass(sock[THERE], options);
		for (size_t slots = 0; slots < LENGTH(counts); slots++)
			for (size_t sent = 0; sent < LENGTH(counts); sent++)
				/* Those around the room that there is at first one by one. */
				for (labelling.len = 1;
				     space(labelling.len, counts[sent], options) <= LARGEST;
				     labelling.len += labelling.len < 150 && sent < 3 ? 8 : 600)
					if (is_tried())
						receive_whole((slots + sent + labelling.len / 8) % 2, sock,
							      counts[slots], counts[sent], options);
	}
	labelling.len = 0;
}

static void lossless_looks_again_with_more_room(void)
{
	open_files(files, MOST);
	with_each_type(receive_with_label);
	close_files(files, MOST);
}

/* The longest label with which a message fills the largest buffer. */
static void receive_with_longest_label(int type, int sock[2])
{
	(void)type;
	for (unsigned options = 0; options < some_options(); options++) {
		pass(sock[THERE], options);
		for (size_t sent = 0; sent < LENGTH(counts); sent++) {
			labelling.len = LARGEST - CMSG_LEN(0) - space(0, counts[sent], options);
			for (int strict = 0; strict < 2; strict++)
				receive_whole(strict, sock, counts[sent], counts[sent], options);
		}
	}
	labelling.len = 0;
}

static void all_that_fits_the_largest_buffer_comes(void)
{
	open_files(files, MOST);
	with_each_type(receive_with_longest_label);
	close_files(files, MOST);
}

static void refuse_label(int type, int sock[2])
{
	(void)type;
	for (unsigned options = 0; options < some_options(); options++) {
		for (int strict = 0; strict < 2; strict++) {
			check_about("options %u, strict %d", options, strict);
			pass(sock[THERE], options);
			labelling.len = LARGEST;
			send_files(sock[HERE], 2);
			send_files(sock[HERE], 1);
			for (size_t slots = 2; slots < 5; slots++) {
				CHECK_IS(receive(strict, sock[THERE], slots, ANCILLARY_LOSSLESS),
					 -ENOBUFS);
				check_nothing_came(slots);
			}
			/* It is there, and comes without the label. */
			set_option(sock[THERE], SO_PASSSEC, 0);
			CHECK_IS(receive(strict, sock[THERE], 2, ANCILLARY_LOSSLESS), 7);
			check_came(2, 2);
			/* Also a shorter label will do. */
			set_option(sock[THERE], SO_PASSSEC, 1);
			CHECK_IS(receive(strict, sock[THERE], 1, ANCILLARY_LOSSLESS), -ENOBUFS);
			check_nothing_came(1);
			labelling.len = 100;
			CHECK_IS(receive(strict, sock[THERE], 1, ANCILLARY_LOSSLESS), 7);
			check_came(1, 1);
			check_nothing_there(sock[THERE]);
		}
	}
	labelling.len = 0;
}

static void what_fits_no_buffer_stays_queued(void)
{
	open_files(files, 2);
	with_each_type(refuse_label);
	close_files(files, 2);
}

/* --- failures --- */

enum way { RECV_FDS, RECV_MSG, RECV_CREDS, WAYS };

static const char *const way_names[] = { "recv_fds", "recv_msg", "recv_creds" };

static ssize_t receive_nowhere(enum way way, int sock, unsigned flags)
{
	void *bad = (void *)(uintptr_t)read_only;
	struct iovec nowhere = { bad, 7 };
	struct ancillary_creds creds;

	nfds = 1;
	msg = (struct ancillary_msg){ .size = sizeof msg, .iov = &nowhere, .iovlen = 1,
				      .fds = fds, .nfds = 1 };
	switch (way) {
	case RECV_FDS:
		return ancillary_recv_fds(sock, fds, &nfds, bad, 7, flags);
	case RECV_MSG:
		return ancillary_recv_msg(sock, &msg, flags);
	default:
		return ancillary_recv_creds(sock, &creds, bad, 7, flags);
	}
}

static void fail_with_label(int type, int sock[2])
{
	static const unsigned flags[] = { 0, ANCILLARY_WAITALL, ANCILLARY_LOSSLESS };

	for (unsigned options = 0; options < OPTIONS; options++) {
		pass(sock[THERE], options);
		for (labelling.len = 1; labelling.len < LARGEST + 100;
		     labelling.len += labelling.len < 150 ? 1 : 150)
			for (enum way way = RECV_FDS; way < WAYS; way++)
				for (size_t i = 0; i < LENGTH(flags); i++) {
					if (!is_tried())
						continue;
					check_about("type %d, label of %zu, options %u, %s, flags %x",
						    type, labelling.len, options, way_names[way],
						    flags[i]);
					send_files(sock[HERE], labelling.len % 2);
					open_before = open_descriptors();
					CHECK_ERR(receive_nowhere(way, sock[THERE], flags[i]),
						  EFAULT);
					CHECK_IS(open_descriptors(), open_before);
					drain(sock[THERE]);
				}
	}
	labelling.len = 0;
}

/* The kernel has installed it before it finds that the payload cannot be written. */
static void a_pidfd_behind_a_label_is_closed_when_the_call_fails(void)
{
	need_option(OPTION_PASSPIDFD);
	open_files(files, 1);
	with_each_type(fail_with_label);
	close_files(files, 1);
}

/* With WAITALL a piece comes, and then a failure. */
static void nor_is_one_left_behind_a_first_piece(void)
{
	struct iovec halves[2] = { { data, 7 }, { (void *)(uintptr_t)read_only, 7 } };
	int sock[2];

	need_option(OPTION_PASSPIDFD);
	open_pair(SOCK_STREAM, sock);
	open_files(files, 1);
	pass(sock[THERE], CREDS | PIDFDS);
	for (labelling.len = 0; space(labelling.len, 1, CREDS | PIDFDS) <= ROOM_FOR(1);
	     labelling.len++) {
		for (unsigned flags = 0; flags <= ANCILLARY_LOSSLESS; flags += ANCILLARY_LOSSLESS) {
			check_about("label of %zu, flags %x", labelling.len, flags);
			send_files(sock[HERE], 1);
			send_files(sock[HERE], 0);
			msg = (struct ancillary_msg){ .size = sizeof msg, .iov = halves, .iovlen = 2,
						      .fds = fds, .nfds = 1 };
			open_before = open_descriptors();
			CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, flags | ANCILLARY_WAITALL),
				 7);
			nfds = msg.nfds;
			check_came(1, 1);
			drain(sock[THERE]);
		}
	}
	labelling.len = 0;
	close_files(files, 1);
	close_pair(sock);
}

/* --- time stamps --- */

/* How much stands in front of the descriptors. */
static size_t stamps_take(int sock[2])
{
	union {
		struct cmsghdr header;
		char room[1024];
	} control;
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof control };

	send_files(sock[HERE], 0);
	CHECK_IS(recvmsg(sock[THERE], &message, 0), 7);
	return message.msg_controllen;
}

/* Of 64 bits on every machine: shorter ones find room. */
enum {
	STAMP = sizeof(time_t) == 8 ? SO_TIMESTAMP : 63 /* SO_TIMESTAMP_NEW */,
	STAMPING = sizeof(time_t) == 8 ? SO_TIMESTAMPING : 65 /* SO_TIMESTAMPING_NEW */
};

/* One is in two forms, beside credentials. */
static void receive_with_time_stamps(int type, int sock[2])
{
	const int stamping = SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE;
	size_t taken;
	unsigned creds;
	bool taking = false;

	(void)type;
	set_option(sock[THERE], STAMP, 1);
	set_option(sock[THERE], STAMPING, stamping);
	set_option(sock[THERE], SO_PASSCRED, 1);
	taken = stamps_take(sock);
	for (size_t sent = 1; sent <= MOST; sent++) {
		check_about("%zu descriptors", sent);
		if (ROOM_FOR(sent) >= taken + CMSG_LEN(sent * sizeof(int)))
			continue;
		taking = true;
		if (!is_tried())
			continue;
		creds = ROOM_FOR(sent) >= taken ? ANCILLARY_HAS_CREDS : 0;
		send_files(sock[HERE], sent);
		CHECK_IS(receive(true, sock[THERE], sent, 0), -ENOBUFS);
		check_nothing_came(sent);
		send_files(sock[HERE], sent);
		CHECK_IS(receive(false, sock[THERE], sent, 0), 7);
		CHECK_IS(msg.flags, creds | ANCILLARY_FDS_LOST);
		CHECK_IS(msg.error, ENOBUFS);
		CHECK(nfds < sent);
		check_came(sent, nfds);
		send_files(sock[HERE], sent);
		CHECK_IS(receive(sent % 2, sock[THERE], sent, ANCILLARY_LOSSLESS), 7);
		check_came(sent, sent);
		check_nothing_there(sock[THERE]);
	}
	CHECK(taking);
}

static void so_is_what_two_time_stamps_leave_none_for(void)
{
	open_files(files, MOST);
	with_type(SOCK_SEQPACKET, receive_with_time_stamps);
	with_type(SOCK_DGRAM, receive_with_time_stamps);
	close_files(files, MOST);
}

CHECK_MAIN(CASE(what_a_label_leaves_no_room_for_is_told),
	   CASE(lossless_looks_again_with_more_room),
	   CASE(all_that_fits_the_largest_buffer_comes), CASE(what_fits_no_buffer_stays_queued),
	   CASE(a_pidfd_behind_a_label_is_closed_when_the_call_fails),
	   CASE(nor_is_one_left_behind_a_first_piece),
	   CASE(so_is_what_two_time_stamps_leave_none_for))
