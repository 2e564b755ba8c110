/* Messages that go and come through io_uring. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <liburing.h>
#include <string.h>
#include <unistd.h>

enum { ENTRIES = 8 };

static struct io_uring ring;
static int files[MOST], arrived[MOST];
static char payload[] = "abc", control[ANCILLARY_CONTROL_SIZE(MOST)];

static void open_ring(void)
{
	int result = io_uring_queue_init(ENTRIES, &ring, 0);

	if (result == -ENOSYS || result == -EPERM || result == -EACCES)
		check_skip("no io_uring");
	CHECK_IS(result, 0);
}

static struct io_uring_sqe *entry(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	CHECK(sqe);
	/* That of its last use stays there. */
	sqe->user_data = 0;
	return sqe;
}

static void submit(void)
{
	CHECK(io_uring_submit(&ring) > 0);
}

struct completion {
	unsigned long long id;
	int res;
	unsigned flags;
};

/* The next completion. */
static struct completion completed(void)
{
	struct io_uring_cqe *cqe;
	struct completion completion;
	int waited;

	do
		waited = io_uring_wait_cqe(&ring, &cqe);
	while (waited == -EINTR);
	CHECK_IS(waited, 0);
	completion = (struct completion){ cqe->user_data, cqe->res, cqe->flags };
	io_uring_cqe_seen(&ring, cqe);
	return completion;
}

static int result(void)
{
	submit();
	return completed().res;
}

/* --- sending --- */

static void send_files(int sock, size_t nfds, bool creds)
{
	struct iovec iov = { payload, 3 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };
	struct msghdr header;

	msg.fds = files;
	msg.nfds = nfds;
	if (creds) {
		msg.flags = ANCILLARY_HAS_CREDS;
		msg.creds.pid = getpid();
		msg.creds.uid = getuid();
		msg.creds.gid = getgid();
	}
	header.msg_control = control;
	header.msg_controllen = sizeof control;
	CHECK_OK(ancillary_encode(&header, &msg), 0);
	io_uring_prep_sendmsg(entry(), sock, &header, MSG_NOSIGNAL);
	CHECK_IS(result(), 3);
}

/* --- one receive, one message --- */

static void check_message(const struct ancillary_msg *msg, size_t nfds, unsigned what)
{
	CHECK_IS(msg->flags, what);
	CHECK_IS(msg->nfds, nfds);
	if (what & ANCILLARY_HAS_CREDS) {
		CHECK_IS(msg->creds.pid, getpid());
		CHECK_IS(msg->creds.uid, getuid());
		CHECK_IS(msg->creds.gid, getgid());
	}
	if (what & ANCILLARY_HAS_PIDFD) {
		CHECK_IS(pid_of(msg->pidfd), getpid());
		close_files(&msg->pidfd, 1);
	}
	take_arrived(arrived, nfds, files, nfds);
}

static struct ancillary_msg room(size_t nfds)
{
	struct ancillary_msg msg = { .size = sizeof msg, .fds = arrived };

	msg.nfds = nfds;
	return msg;
}

static void pass(int sock[2], size_t nfds, unsigned what, int flags, unsigned short how)
{
	char came[8];
	struct iovec iov = { came, sizeof came };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct ancillary_msg msg = room(nfds);
	struct io_uring_sqe *sqe;
	int n;

	check_about("%zu descriptors, %#x, flags %#x, %#x", nfds, what, (unsigned)flags, how);
	send_files(sock[HERE], nfds, what & ANCILLARY_HAS_CREDS);
	header.msg_control = control;
	header.msg_controllen = ANCILLARY_CONTROL_SIZE(nfds);
	sqe = entry();
	io_uring_prep_recvmsg(sqe, sock[THERE], &header, (unsigned)flags);
	sqe->ioprio |= how;
	n = result();
	CHECK_OK(ancillary_decode(&header, n, &msg, 0), 3);
	CHECK(memcmp(came, payload, 3) == 0);
	CHECK_IS(header.msg_controllen, 0);
	check_message(&msg, nfds, what);
}

static void pass_each(int sock[2], unsigned what)
{
	static const size_t counts[] = { 0, 1, 2, 5, MOST };

	for (size_t i = 0; i < LENGTH(counts); i++) {
		pass(sock, counts[i], what, 0, 0);
		pass(sock, counts[i], what, MSG_CMSG_CLOEXEC, 0);
		pass(sock, counts[i], what, MSG_CMSG_CLOEXEC, IORING_RECVSEND_POLL_FIRST);
	}
}

static void pass_with(int sock[2], unsigned what)
{
	open_ring();
	open_files(files, MOST);
	pass_each(sock, what);
	close_files(files, MOST);
	io_uring_queue_exit(&ring);
}

static void pass_with_credentials_or_without(int type, int sock[2])
{
	(void)type;
	pass_with(sock, 0);
	set_option(sock[THERE], SO_PASSCRED, 1);
	pass_with(sock, ANCILLARY_HAS_CREDS);
}

static void messages_pass(void)
{
	with_each_type(pass_with_credentials_or_without);
}

static void pass_with_pidfd(int type, int sock[2])
{
	(void)type;
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	pass_with(sock, ANCILLARY_HAS_PIDFD);
	set_option(sock[THERE], SO_PASSCRED, 1);
	pass_with(sock, ANCILLARY_HAS_CREDS | ANCILLARY_HAS_PIDFD);
}

static void a_pidfd_passes(void)
{
	need_option(OPTION_PASSPIDFD);
	with_each_type(pass_with_pidfd);
}

/* --- one receive, many messages --- */

enum { BUFFERS = 8, GROUP = 1, MOST_EACH = 5 };
enum { BUFFER = sizeof(struct io_uring_recvmsg_out) + 16 + ANCILLARY_CONTROL_SIZE(MOST_EACH) + 64 };

static char buffers[BUFFERS][BUFFER];

/* What there is room for in each buffer, in front of the payload: with names of
 * an odd length, control data is not aligned. */
static struct msghdr parts;

/* Without a completion that would come between others. */
static void provide(int number, int count)
{
	struct io_uring_sqe *sqe = entry();

	io_uring_prep_provide_buffers(sqe, buffers[number], BUFFER, count, GROUP, number);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	submit();
}

static void receive_always(int sock, socklen_t namelen, unsigned short how)
{
	struct io_uring_sqe *sqe = entry();

	memset(&parts, 0, sizeof parts);
	parts.msg_namelen = namelen;
	parts.msg_controllen = ANCILLARY_CONTROL_SIZE(MOST_EACH);
	io_uring_prep_recvmsg_multishot(sqe, sock, &parts, MSG_CMSG_CLOEXEC);
	sqe->ioprio |= how;
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = GROUP;
	sqe->user_data = 1;
	submit();
}

/* The parts of a buffer, as recvmsg would have left them. */
static struct msghdr header_of(struct io_uring_recvmsg_out *part)
{
	struct msghdr header = { .msg_name = io_uring_recvmsg_name(part) };

	header.msg_namelen = part->namelen;
	header.msg_control = (char *)header.msg_name + parts.msg_namelen;
	header.msg_controllen = part->controllen;
	header.msg_flags = (int)part->flags;
	return header;
}

/* Takes a completion apart; `msg` NULL drops it. */
static ssize_t take(struct completion done, struct ancillary_msg *msg)
{
	int number = (int)(done.flags >> IORING_CQE_BUFFER_SHIFT);
	struct io_uring_recvmsg_out *part;
	struct msghdr header;
	ssize_t n;

	if (done.res == -EINVAL)
		check_skip("no recvmsg of many messages");
	CHECK(done.flags & IORING_CQE_F_BUFFER);
	part = io_uring_recvmsg_validate(buffers[number], done.res, &parts);
	CHECK(part);
	header = header_of(part);
	n = io_uring_recvmsg_payload_length(part, done.res, &parts);
	CHECK_OK(ancillary_decode(&header, n, msg, 0), n);
	if (n > 0)
		CHECK(memcmp(io_uring_recvmsg_payload(part, &parts), payload, 3) == 0);
	provide(number, 1);
	return n;
}

static void receive_many(int sock[2], unsigned what, socklen_t namelen, unsigned short how)
{
	check_about("%#x, names of %u, %#x", what, namelen, how);
	provide(0, BUFFERS);
	receive_always(sock[THERE], namelen, how);
	for (size_t round = 0; round < 4 * BUFFERS; round++) {
		size_t nfds = round % (MOST_EACH + 1);
		struct ancillary_msg msg = room(nfds);
		struct completion done;

		CHECK_OK(ancillary_send_fds(sock[HERE], files, nfds, payload, 3, 0), 3);
		done = completed();
		CHECK_IS(take(done, &msg), 3);
		CHECK(done.flags & IORING_CQE_F_MORE);
		check_message(&msg, nfds, what);
	}
}

/* The end of the receive that goes on, with what it receives until then. */
static void cancel(void)
{
	struct completion done;
	bool cancelled = false, ended = false;

	io_uring_prep_cancel(entry(), (void *)1, 0);
	submit();
	while (!cancelled || !ended) {
		done = completed();
		if (done.id != 1) {
			CHECK_IS(done.res, 0);
			cancelled = true;
		} else if (done.res >= 0) {
			take(done, NULL);
		} else {
			struct msghdr header = { .msg_control = control };
			struct ancillary_msg msg = room(MOST_EACH);

			CHECK_ERR(ancillary_decode(&header, done.res, &msg, 0), ECANCELED);
			CHECK(all_none(arrived, MOST_EACH));
			ended = !(done.flags & IORING_CQE_F_MORE);
		}
	}
}

static void receive_many_in_each_way(int sock[2], unsigned what)
{
	static const unsigned short ways[] = { 0, IORING_RECVSEND_POLL_FIRST };

	for (size_t i = 0; i < LENGTH(ways); i++) {
		for (socklen_t namelen = 0; namelen <= 3; namelen++) {
			open_ring();
			receive_many(sock, what, namelen, ways[i]);
			cancel();
			io_uring_queue_exit(&ring);
		}
	}
}

static void many_with_options(int type, int sock[2])
{
	(void)type;
	open_files(files, MOST_EACH);
	receive_many_in_each_way(sock, 0);
	set_option(sock[THERE], SO_PASSCRED, 1);
	receive_many_in_each_way(sock, ANCILLARY_HAS_CREDS);
	close_files(files, MOST_EACH);
}

static void one_receive_takes_many_messages(void)
{
	with_each_type(many_with_options);
}

static void receive_to_the_end(int type, int sock[2])
{
	struct ancillary_msg msg = room(1);
	struct completion done;

	(void)type;
	open_ring();
	set_option(sock[THERE], SO_PASSCRED, 1);
	provide(0, BUFFERS);
	receive_always(sock[THERE], 0, 0);
	close_end(sock, HERE);
	done = completed();
	CHECK_IS(take(done, &msg), 0);
	CHECK(!(done.flags & IORING_CQE_F_MORE));
	/* The kernel says that root has sent it. */
	CHECK_IS(msg.flags, 0);
	CHECK_IS(msg.nfds, 0);
	CHECK_IS(msg.creds.pid, 0);
	CHECK_IS((int)msg.creds.uid, -1);
	io_uring_queue_exit(&ring);
}

static void the_end_is_nobodys(void)
{
	with_type(SOCK_STREAM, receive_to_the_end);
	with_type(SOCK_SEQPACKET, receive_to_the_end);
}

/* --- what nobody wants --- */

static void abandon(int type, int sock[2])
{
	size_t before;

	(void)type;
	open_ring();
	open_files(files, MOST_EACH);
	set_option(sock[THERE], SO_PASSCRED, 1);
	before = open_descriptors();
	for (int round = 0; round < 20; round++) {
		provide(0, BUFFERS);
		receive_always(sock[THERE], 1, 0);
		/* Completions wait when the cancel comes, none or several. */
		for (int i = 0; i < round % BUFFERS; i++)
			CHECK_OK(ancillary_send_fds(sock[HERE], files, MOST_EACH, payload, 3, 0),
				 3);
		cancel();
		CHECK_IS(open_descriptors(), before);
		drain(sock[THERE]);
		/* Those not used are provided anew. */
		io_uring_prep_remove_buffers(entry(), BUFFERS, GROUP);
		CHECK_IS(result(), BUFFERS);
	}
	close_files(files, MOST_EACH);
	io_uring_queue_exit(&ring);
}

static void a_cancel_leaves_nothing_open(void)
{
	with_each_type(abandon);
}

static void abandon_with_pidfd(int type, int sock[2])
{
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	abandon(type, sock);
}

static void a_cancel_leaves_no_pidfd_open(void)
{
	need_option(OPTION_PASSPIDFD);
	with_each_type(abandon_with_pidfd);
}

static void cancel_single(int type, int sock[2])
{
	char came[8];
	struct iovec iov = { came, sizeof came };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct ancillary_msg msg = room(2);
	struct io_uring_sqe *sqe;

	(void)type;
	open_ring();
	open_files(files, 2);
	header.msg_control = control;
	header.msg_controllen = ANCILLARY_CONTROL_SIZE(2);
	sqe = entry();
	io_uring_prep_recvmsg(sqe, sock[THERE], &header, MSG_CMSG_CLOEXEC);
	sqe->user_data = 1;
	submit();
	io_uring_prep_cancel(entry(), (void *)1, 0);
	submit();
	for (int i = 0; i < 2; i++) {
		struct completion done = completed();

		if (done.id == 1)
			CHECK_ERR(ancillary_decode(&header, done.res, &msg, 0), ECANCELED);
		else
			CHECK_IS(done.res, 0);
	}
	CHECK_IS(msg.nfds, 0);
	CHECK(all_none(arrived, 2));
	/* What comes afterwards is still there for the next. */
	pass(sock, 2, 0, 0, 0);
	close_files(files, 2);
	io_uring_queue_exit(&ring);
}

static void a_receive_that_is_cancelled(void)
{
	with_each_type(cancel_single);
}

CHECK_MAIN(CASE(messages_pass), CASE(a_pidfd_passes), CASE(one_receive_takes_many_messages),
	   CASE(the_end_is_nobodys), CASE(a_cancel_leaves_nothing_open),
	   CASE(a_cancel_leaves_no_pidfd_open), CASE(a_receive_that_is_cancelled))
