/* What the system seldom does, or only some systems do. */

#include "check.h"

#include "calls.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CONTROL_PIDFD = 4 };

/* --- what is replaced --- */

static ssize_t really_receive(int sock, struct msghdr *message, int flags)
{
	return make_call(&(struct call){ "", SYS_recvmsg, { sock, (long)message, flags } });
}

static ssize_t really_send(int sock, const struct msghdr *message, int flags)
{
	return make_call(&(struct call){ "", SYS_sendmsg, { sock, (long)message, flags } });
}

static int really_close(int fd)
{
	return (int)make_call(&(struct call){ "", SYS_close, { fd } });
}

static ssize_t (*receiving)(int sock, struct msghdr *message, int flags) = really_receive;
static ssize_t (*sending)(int sock, const struct msghdr *message, int flags) = really_send;
static int (*closing)(int fd) = really_close;
static int calls;

static long replaced(const struct call *call)
{
	const long *a = call->arguments;

	switch (call->number) {
	case SYS_recvmsg:
		calls++;
		return receiving((int)a[0], (struct msghdr *)a[1], (int)a[2]);
	case SYS_sendmsg:
		calls++;
		return sending((int)a[0], (const struct msghdr *)a[1], (int)a[2]);
	case SYS_close:
		return closing((int)a[0]);
	default:
		return make_call(call);
	}
}

__attribute__((constructor)) static void stand_in_front(void)
{
	on_call = replaced;
}

/* --- control data that a kernel could give --- */

/* A control message that receive_fakes() puts into the buffer.  Each 0 among the
 * numbers stands for a new descriptor. */
struct fake {
	int level, type;
	size_t count;
	int numbers[4];
	/* Instead of the right one, if not 0. */
	size_t length;
};

static struct fake fakes[4];
static size_t fake_count, cut_off;
static int fake_flags;
static const char *fake_data = "abc";

static ssize_t receive_fakes(int sock, struct msghdr *message, int flags)
{
	char *end = message->msg_control;
	size_t room = message->msg_controllen;

	CHECK(flags & MSG_CMSG_CLOEXEC);
	for (size_t i = 0; i < fake_count; i++) {
		struct cmsghdr *header = (struct cmsghdr *)(void *)end;
		int numbers[4];
		size_t size = fakes[i].count * sizeof(int);

		for (size_t k = 0; k < fakes[i].count; k++) {
			numbers[k] = fakes[i].numbers[k];
			if (numbers[k] == 0)
				numbers[k] = fcntl(sock, F_DUPFD_CLOEXEC, 0);
		}
		CHECK(room >= CMSG_SPACE(size));
		room -= CMSG_SPACE(size);
		memset(end, 0, CMSG_SPACE(size));
		header->cmsg_level = fakes[i].level;
		header->cmsg_type = fakes[i].type;
		header->cmsg_len = fakes[i].length ? fakes[i].length : CMSG_LEN(size);
		memcpy(CMSG_DATA(header), numbers, size);
		end += CMSG_SPACE(size);
	}
	message->msg_controllen = (size_t)(end - (char *)message->msg_control) - cut_off;
	message->msg_flags = fake_flags | (flags & MSG_CMSG_CLOEXEC);
	memcpy(message->msg_iov->iov_base, fake_data, strlen(fake_data));
	return (ssize_t)strlen(fake_data);
}

static int fds[8];
static size_t nfds;
static char got[8];

/* Receives control messages that no kernel has sent, and checks that no
 * descriptor is open afterwards but those delivered. */
static ssize_t receive_with_room(size_t room, const struct fake *these, size_t count)
{
	size_t before = open_descriptors();
	ssize_t result;

	nfds = room;
	memset(fds, 'x', sizeof fds);
	memcpy(fakes, these, count * sizeof *these);
	fake_count = count;
	receiving = receive_fakes;
	errno = CHECK_ERRNO;
	result = ancillary_recv_fds(0, fds, &nfds, got, sizeof got, 0);
	CHECK_IS(errno, result < 0 ? -result : CHECK_ERRNO);
	receiving = really_receive;
	CHECK(all_none(fds + nfds, room - nfds));
	CHECK_IS(open_descriptors(), before + nfds);
	for (size_t i = 0; i < nfds; i++)
		CHECK(is_open(fds[i]));
	ancillary_close_fds(fds, nfds);
	CHECK_IS(open_descriptors(), before);
	return result;
}

#define RIGHTS SOL_SOCKET, SCM_RIGHTS
#define ONE_MESSAGE(room, ...) \
	receive_with_room(room, (const struct fake[]){ { __VA_ARGS__ } }, 1)

static void a_policy_can_withhold_some(void)
{
	fake_flags = MSG_CTRUNC;
	CHECK_IS(receive_with_room(4, NULL, 0), -EACCES);
	CHECK_IS(ONE_MESSAGE(4, RIGHTS, 2, { 0, 0 }, 0), -EACCES);
	/* What was installed is more than the room already. */
	CHECK_IS(ONE_MESSAGE(1, RIGHTS, 2, { 0, 0 }, 0), -E2BIG);
	fake_flags = MSG_CTRUNC | MSG_TRUNC;
	CHECK_IS(ONE_MESSAGE(4, RIGHTS, 2, { 0, 0 }, 0), -EACCES);
	fake_flags = MSG_TRUNC;
	CHECK_IS(ONE_MESSAGE(4, RIGHTS, 2, { 0, 0 }, 0), -EMSGSIZE);
}

static void a_slot_can_hold_an_error(void)
{
	static const struct {
		int number, error;
	} cases[] = {
		{ -EMFILE, EMFILE }, { -ENFILE, ENFILE }, { -EACCES, EACCES }, { -EPERM, EACCES },
		{ -1, EACCES },	     { -100000, EACCES },
	};

	for (size_t i = 0; i < LENGTH(cases); i++) {
		int bad = cases[i].number, error = cases[i].error;

		check_about("%d", bad);
		CHECK_IS(ONE_MESSAGE(4, RIGHTS, 1, { bad }, 0), -error);
		CHECK_IS(ONE_MESSAGE(4, RIGHTS, 3, { 0, 0, bad }, 0), -error);
		CHECK_IS(ONE_MESSAGE(4, RIGHTS, 4, { 0, bad, 0, 0 }, 0), -error);
		CHECK_IS(ONE_MESSAGE(4, RIGHTS, 4, { bad, 0, 0, -ENFILE }, 0), -error);
		CHECK_IS(ONE_MESSAGE(1, RIGHTS, 3, { 0, 0, bad }, 0), -E2BIG);
	}
}

static void other_control_messages_are_skipped(void)
{
	static const struct fake between[] = {
		{ SOL_SOCKET, 1000, 3, { 1, 2, -1 }, 0 },
		{ RIGHTS, 2, { 0, 0 }, 0 },
		{ 1000, SCM_RIGHTS, 2, { 1, 2 }, 0 },
		{ RIGHTS, 1, { 0 }, 0 },
	};

	CHECK_IS(receive_with_room(4, between, 4), 3);
	CHECK_IS(nfds, 3);
	CHECK_IS(receive_with_room(3, between, 4), 3);
	CHECK_IS(receive_with_room(2, between, 4), -E2BIG);
	CHECK_IS(receive_with_room(0, between, 4), -E2BIG);
}

static void a_pidfd_is_closed_wherever_it_stands(void)
{
	static const struct fake first[] = {
		{ SOL_SOCKET, CONTROL_PIDFD, 1, { 0 }, 0 },
		{ RIGHTS, 2, { 0, 0 }, 0 },
	};
	static const struct fake last[] = {
		{ RIGHTS, 2, { 0, 0 }, 0 },
		{ SOL_SOCKET, CONTROL_PIDFD, 1, { 0 }, 0 },
	};

	CHECK_IS(receive_with_room(2, first, 2), 3);
	CHECK_IS(receive_with_room(2, last, 2), 3);
	CHECK_IS(receive_with_room(1, first, 2), -E2BIG);
	CHECK_IS(receive_with_room(1, last, 2), -E2BIG);
	CHECK_IS(ONE_MESSAGE(0, SOL_SOCKET, CONTROL_PIDFD, 1, { 0 }, 0), 3);
	CHECK_IS(ONE_MESSAGE(0, SOL_SOCKET, CONTROL_PIDFD, 1, { -EMFILE }, 0), 3);
}

static void lengths_are_not_believed(void)
{
	static const struct fake empty[] = {
		{ RIGHTS, 0, { 0 }, 0 },
		{ RIGHTS, 1, { 0 }, 0 },
	};

	/* More than there is. */
	CHECK_IS(ONE_MESSAGE(4, RIGHTS, 2, { 0, 0 }, 10000), 3);
	CHECK_IS(nfds, 2);
	CHECK_IS(ONE_MESSAGE(4, RIGHTS, 2, { 0, 0 }, (size_t)-1), 3);
	CHECK_IS(nfds, 2);
	CHECK_IS(ONE_MESSAGE(4, RIGHTS, 2, { 0, 0 }, (size_t)-8), 3);
	CHECK_IS(nfds, 2);
	/* Three bytes of another. */
	CHECK_IS(ONE_MESSAGE(4, RIGHTS, 2, { 0, 0 }, CMSG_LEN(2 * sizeof(int) + 3)), 3);
	CHECK_IS(nfds, 2);
	/* Not even a header. */
	CHECK_IS(ONE_MESSAGE(4, RIGHTS, 1, { -1 }, 3), 3);
	CHECK_IS(nfds, 0);
	CHECK_IS(receive_with_room(4, empty, 2), 3);
	CHECK_IS(nfds, 1);
	/* Credentials cut short. */
	cut_off = 8;
	CHECK_IS(ONE_MESSAGE(4, SOL_SOCKET, SCM_CREDENTIALS, 3, { 1, 1, 1 }, 0), 3);
	cut_off = 0;
}

/* --- interruptions --- */

static int interruptions;

static ssize_t receive_interrupted(int sock, struct msghdr *message, int flags)
{
	if (interruptions-- > 0) {
		errno = EINTR;
		return -1;
	}
	return really_receive(sock, message, flags);
}

static ssize_t send_interrupted(int sock, const struct msghdr *message, int flags)
{
	CHECK(flags & MSG_NOSIGNAL);
	if (interruptions-- > 0) {
		errno = EINTR;
		return -1;
	}
	return really_send(sock, message, flags);
}

static void errno_survives_interruptions(void)
{
	int sock[2], file, received;

	open_pair(SOCK_STREAM, sock);
	open_files(&file, 1);
	receiving = receive_interrupted;
	sending = send_interrupted;
	interruptions = 3;
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	interruptions = 3;
	errno = CHECK_ERRNO;
	received = ancillary_recv_fd(sock[THERE]);
	CHECK_IS(errno, CHECK_ERRNO);
	CHECK_IS(calls, 8);
	interruptions = 1;
	CHECK_ERR(ancillary_send_fds(sock[HERE], &file, 1, "x", 1, ANCILLARY_INTR), EINTR);
	interruptions = 1;
	nfds = 1;
	CHECK_ERR(ancillary_recv_fds(sock[THERE], fds, &nfds, got, 1, ANCILLARY_INTR), EINTR);
	take_arrived(&received, 1, &file, 1);
	close_files(&file, 1);
	close_pair(sock);
}

/* --- short counts --- */

/* At most so many bytes of a message go. */
static size_t at_most;

static ssize_t send_short(int sock, const struct msghdr *message, int flags)
{
	struct msghdr less = *message;
	struct iovec iov = *message->msg_iov;

	CHECK(message->msg_iovlen == 1);
	if (iov.iov_len > at_most)
		iov.iov_len = at_most;
	less.msg_iov = &iov;
	return really_send(sock, &less, flags);
}

static void send_in_shreds(size_t count)
{
	enum { MANY = 600, LEN = 100 };
	int sock[2], files[MANY], received[MANY + 1];
	unsigned char data[LEN], came[LEN];

	check_about("%zu descriptors", count);
	open_pair(SOCK_STREAM, sock);
	open_files(files, count);
	make_payload(data, LEN);
	sending = send_short;
	for (at_most = 1; at_most < 30; at_most += 7) {
		nfds = count + 1;
		CHECK_OK(ancillary_send_fds(sock[HERE], files, count, data, LEN, 0), LEN);
		CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, came, LEN,
					    ANCILLARY_WAITALL),
			 LEN);
		CHECK_IS(nfds, count);
		CHECK(is_payload(came, LEN, 0));
		take_arrived(received, count + 1, files, count);
		check_nothing_there(sock[THERE]);
	}
	close_files(files, count);
	close_pair(sock);
}

static void a_blocking_send_goes_on_after_short_counts(void)
{
	send_in_shreds(0);
	send_in_shreds(1);
	send_in_shreds(MOST);
	send_in_shreds(600);
}

static void one_that_may_not_wait_says_how_much_went(void)
{
	int sock[2], received[2];
	char came[8];

	open_pair(SOCK_STREAM, sock);
	sending = send_short;
	at_most = 3;
	CHECK_OK(ancillary_send_fds(sock[HERE], sock, 2, "abcdefg", 7, ANCILLARY_DONTWAIT), 3);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "defg", 4, ANCILLARY_INTR), 3);
	nfds = 2;
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, came, 8, 0), 3);
	CHECK_IS(nfds, 2);
	ancillary_close_fds(received, 2);
	close_pair(sock);
}

static ssize_t send_nothing(int sock, const struct msghdr *message, int flags)
{
	(void)sock, (void)message, (void)flags;
	return 0;
}

static void no_progress_ends_a_send(void)
{
	int sock[2];

	open_pair(SOCK_STREAM, sock);
	sending = send_nothing;
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "abc", 3, 0), 0);
	CHECK_IS(calls, 1);
	close_pair(sock);
}

/* After so many messages, sending fails. */
static int good_ones;

static ssize_t send_failing(int sock, const struct msghdr *message, int flags)
{
	if (good_ones-- > 0)
		return really_send(sock, message, flags);
	errno = ENOBUFS;
	return -1;
}

static void an_error_after_progress_is_not_reported_yet(void)
{
	int sock[2], files[600];

	open_pair(SOCK_STREAM, sock);
	open_files(files, 600);
	sending = send_failing;
	CHECK_ERR(ancillary_send_fds(sock[HERE], files, 600, "abcd", 4, 0), ENOBUFS);
	good_ones = 2;
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 600, "abcd", 4, 0), 2);
	CHECK_ERR(ancillary_send_fds(sock[HERE], files + 506, 94, "cd", 2, 0), ENOBUFS);
	close_files(files, 600);
	close_pair(sock);
}

/* --- closing --- */

/* Fails after closing, as close(2) may.  A number is not closed again for
 * that, not after EINTR either: it is free already. */
static int close_with_an_error(int fd)
{
	static int times;

	CHECK(really_close(fd) == 0);
	errno = times++ % 2 ? EIO : EINTR;
	return -1;
}

static void an_error_of_close_changes_nothing(void)
{
	int array[4], sock[2];
	size_t before;

	open_pair(SOCK_STREAM, sock);
	before = open_descriptors();
	for (int i = 0; i < 4; i++)
		array[i] = fcntl(0, F_DUPFD_CLOEXEC, 100 + 2 * i);
	closing = close_with_an_error;
	errno = CHECK_ERRNO;
	ancillary_close_fds(array, 4);
	CHECK_IS(errno, CHECK_ERRNO);
	CHECK(all_none(array, 4));
	nfds = 0;
	CHECK_OK(ancillary_send_fd(sock[HERE], 0), 0);
	CHECK_ERR(ancillary_recv_fds(sock[THERE], NULL, &nfds, got, 1, 0), E2BIG);
	closing = really_close;
	CHECK_IS(open_descriptors(), before);
	close_pair(sock);
}

static ssize_t receive_and_cancel(int sock, struct msghdr *message, int flags)
{
	ssize_t n = really_receive(sock, message, flags);

	CHECK(pthread_cancel(pthread_self()) == 0);
	return n;
}

/* The C library's close is a cancellation point. */
static int close_or_cancel(int fd)
{
	pthread_testcancel();
	return really_close(fd);
}

static void close_received(void *argument)
{
	(void)argument;
	ancillary_close_fds(fds, LENGTH(fds));
}

static void *receive_too_many(void *sock)
{
	pthread_cleanup_push(close_received, NULL);
	CHECK_ERR(ancillary_recv_fds(*(int *)sock, fds, &nfds, got, 1, 0), E2BIG);
	pthread_testcancel();
	pthread_cleanup_pop(0);
	return NULL;
}

/* A thread cancelled when a message has just been received, which has one
 * descriptor more than there is room for. */
static void a_cancelled_thread_closes_what_is_too_much(void)
{
	int sock[2];
	size_t before;

	open_pair(SOCK_STREAM, sock);
	before = open_descriptors();
	for (size_t room = 0; room < 2; room++) {
		check_about("room for %zu", room);
		nfds = room;
		memset(fds, -1, sizeof fds);
		CHECK_OK(ancillary_send_fds(sock[HERE], sock, room + 1, NULL, 0, 0), 1);
		receiving = receive_and_cancel;
		closing = close_or_cancel;
		CHECK(end_thread(start_thread(receive_too_many, &sock[THERE])) ==
		      PTHREAD_CANCELED);
		receiving = really_receive;
		closing = really_close;
		CHECK_IS(open_descriptors(), before);
	}
	close_pair(sock);
}

/* Makes close_range(2) fail as on an old kernel or in a strict sandbox. Returns
 * whether that is possible. */
static bool deny_close_range(unsigned error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 436 /* close_range */, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { LENGTH(filter), filter };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static void close_without_close_range(unsigned error)
{
	int array[10];

	if (!deny_close_range(error))
		check_skip("no seccomp filters");
	for (int i = 0; i < 10; i++)
		CHECK((array[i] = fcntl(0, F_DUPFD_CLOEXEC, 100)) == 100 + i);
	errno = CHECK_ERRNO;
	ancillary_close_fds(array + 2, 6);
	CHECK_IS(errno, CHECK_ERRNO);
	CHECK(all_none(array + 2, 6));
	for (int i = 0; i < 10; i++)
		CHECK_IS(is_open(100 + i), i < 2 || i >= 8);
	ancillary_close_fds(array, 10);
	for (int i = 0; i < 10; i++)
		CHECK(!is_open(100 + i));
}

static void an_old_kernel_has_no_close_range(void)
{
	close_without_close_range(ENOSYS);
}

static void a_sandbox_denies_close_range(void)
{
	close_without_close_range(EPERM);
}

CHECK_MAIN(CASE(a_policy_can_withhold_some), CASE(a_slot_can_hold_an_error),
	   CASE(other_control_messages_are_skipped), CASE(a_pidfd_is_closed_wherever_it_stands),
	   CASE(lengths_are_not_believed), CASE(errno_survives_interruptions),
	   CASE(a_blocking_send_goes_on_after_short_counts),
	   CASE(one_that_may_not_wait_says_how_much_went), CASE(no_progress_ends_a_send),
	   CASE(an_error_after_progress_is_not_reported_yet),
	   CASE(an_error_of_close_changes_nothing), CASE(a_cancelled_thread_closes_what_is_too_much),
	   CASE(an_old_kernel_has_no_close_range),
	   CASE(a_sandbox_denies_close_range))
