/* Calls every function, on its plain path and on those that are rare, and
 * writes which system calls that makes: see trace.h. */

#include "check.h"
#include "kit.h"
#include "place.h"
#include "syscalls_channel.h"
#include "trace.h"

/* NULL is passed here to see it refused. */
#define ANCILLARY_NONNULL(argument)
#include <ancillary.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

enum { SEVERAL = 3, MANY = 300 };

static const int of[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };

/* --- waiting --- */

enum { WAIT_MS = 100 };

/* So that each call is interrupted, and finds out how long it may wait yet. */
static void start_signals(void)
{
	const struct itimerval often = { { 0, 10000 }, { 0, 10000 } };

	count_signal(SIGALRM);
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
}

static void end_signals(void)
{
	const struct itimerval none = { { 0, 0 }, { 0, 0 } };

	CHECK(setitimer(ITIMER_REAL, &none, NULL) == 0);
}

/* --- sending --- */

static void send_to_a_full_socket(int type)
{
	static char much[10000];
	const struct ancillary_creds own = { getpid(), getuid(), getgid() };
	struct iovec iov = { much, 3 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };
	int sock[2];

	open_pair(type, sock);
	set_timeout(sock[HERE], SO_SNDTIMEO, WAIT_MS);
	fill(sock[HERE]);
	start_signals();
	CHECK_IS(TRACED(RARE, ancillary_send_fd, sock[HERE], sock[HERE]), -EAGAIN);
	CHECK_IS(TRACED(RARE, ancillary_send_fds, sock[HERE], sock, 2, much, sizeof much, 0),
		 -EAGAIN);
	CHECK_IS(TRACED(RARE, ancillary_send_msg, sock[HERE], &msg, 0), -EAGAIN);
	CHECK_IS(TRACED(RARE, ancillary_send_creds, sock[HERE], &own, "a", 1, 0), -EAGAIN);
	CHECK_IS(TRACED(RARE, ancil_send_fd, sock[HERE], sock[HERE]), -1);
	CHECK_IS(TRACED(RARE, ancil_send_fds, sock[HERE], sock, 2), -1);
	CHECK_IS(TRACED(RARE, ancil_send_fds_with_buffer, sock[HERE], sock, 2, NULL), -1);
	end_signals();
	close_pair(sock);
}

static void send_empty_messages(void)
{
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &(struct iovec){ NULL, 0 } };
	int sock[2];

	open_pair(SOCK_SEQPACKET, sock);
	msg.fds = sock;
	msg.nfds = 2;
	CHECK_IS(TRACED(RARE, ancillary_send_fds, sock[HERE], sock, 2, "", 0, 0), 0);
	CHECK_IS(TRACED(RARE, ancillary_send_msg, sock[HERE], &msg, 0), 0);
	CHECK_IS(TRACED(RARE, ancillary_send_creds, sock[HERE], NULL, "", 0, 0), 0);
	close_pair(sock);
}

static void send_everything(void)
{
	static int many[MANY];
	int sock[2];
	struct iovec iov = { (void *)"abc", 3 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1, .fds = many };
	struct ancillary_creds own = { getpid(), getuid(), getgid() };

	open_pair(SOCK_STREAM, sock);
	for (int i = 0; i < MANY; i++)
		many[i] = sock[HERE];
	CHECK_IS(TRACED(PLAIN, ancillary_send_fd, sock[HERE], many[0]), 0);
	CHECK_IS(TRACED(PLAIN, ancillary_send_fds, sock[HERE], many, 2, "abc", 3, 0), 3);
	CHECK_IS(TRACED(RARE, ancillary_send_fds, sock[HERE], many, MANY, NULL, 0, 0), 2);
	msg.nfds = 2;
	CHECK_IS(TRACED(PLAIN, ancillary_send_msg, sock[HERE], &msg, 0), 3);
	msg.nfds = MANY;
	CHECK_IS(TRACED(RARE, ancillary_send_msg, sock[HERE], &msg, 0), 3);
	CHECK_IS(TRACED(PLAIN, ancillary_send_creds, sock[HERE], &own, "abc", 3, 0), 3);
	CHECK_IS(TRACED(RARE, ancillary_send_creds, sock[HERE], NULL, "abc", 3, 0), 3);
	CHECK_IS(TRACED(PLAIN, ancil_send_fd, sock[HERE], many[0]), 0);
	CHECK_IS(TRACED(PLAIN, ancil_send_fds, sock[HERE], many, 2), 0);
	CHECK_IS(TRACED(PLAIN, ancil_send_fds_with_buffer, sock[HERE], many, 2, NULL), 0);

	fill(sock[HERE]);
	CHECK_IS(TRACED(RARE, ancillary_send_fds, sock[HERE], many, 2, "abc", 3,
			ANCILLARY_DONTWAIT),
		 -EAGAIN);
	close_end(sock, THERE);
	CHECK_IS(TRACED(RARE, ancillary_send_fd, sock[HERE], many[0]), -EPIPE);
	close_pair(sock);
	for (size_t type = 0; type < LENGTH(of); type++)
		send_to_a_full_socket(of[type]);
	send_empty_messages();
}

/* --- receiving --- */

/* A function that receives, with room for one descriptor or for none, and closes
 * what came. */
struct receiver {
	void (*receive)(enum path path, int sock, unsigned flags);
	/* What it can be told. */
	unsigned flags;
};

static char got[100];

static void receive_fd(enum path path, int sock, unsigned flags)
{
	int fd = (int)TRACED(path, ancillary_recv_fd, sock);

	(void)flags;
	ancillary_close_fds(&fd, 1);
}

static void receive_fds(enum path path, int sock, unsigned flags)
{
	int fd;
	size_t nfds = 1;

	TRACED(path, ancillary_recv_fds, sock, &fd, &nfds, got, sizeof got, flags);
	ancillary_close_fds(&fd, nfds);
}

static void receive_msg(enum path path, int sock, unsigned flags)
{
	struct iovec iov = { got, sizeof got };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };
	int fd;

	msg.fds = &fd;
	msg.nfds = 1;
	TRACED(path, ancillary_recv_msg, sock, &msg, flags);
	ancillary_close_fds(&fd, msg.nfds);
	ancillary_close_fds(&msg.pidfd, 1);
}

static void receive_creds(enum path path, int sock, unsigned flags)
{
	struct ancillary_creds creds;

	TRACED(path, ancillary_recv_creds, sock, &creds, got, sizeof got, flags);
}

static void receive_old_fd(enum path path, int sock, unsigned flags)
{
	int fd;

	(void)flags;
	TRACED(path, ancil_recv_fd, sock, &fd);
	ancillary_close_fds(&fd, 1);
}

static void receive_old_fds(enum path path, int sock, unsigned flags)
{
	int fd;

	(void)flags;
	TRACED(path, ancil_recv_fds, sock, &fd, 1);
	ancillary_close_fds(&fd, 1);
}

static void receive_old_fds_with_buffer(enum path path, int sock, unsigned flags)
{
	int fd;

	(void)flags;
	TRACED(path, ancil_recv_fds_with_buffer, sock, &fd, 1, NULL);
	ancillary_close_fds(&fd, 1);
}

enum { SOME = ANCILLARY_DONTWAIT, ALL = SOME | ANCILLARY_WAITALL | ANCILLARY_LOSSLESS };

static const struct receiver receivers[] = {
	{ receive_fd, 0 },	 { receive_fds, ALL },
	{ receive_msg, ALL },	 { receive_creds, ALL },
	{ receive_old_fd, 0 },	 { receive_old_fds, 0 },
	{ receive_old_fds_with_buffer, 0 },
};

/* What a socket may hold. */
static void one_comes(int sock[2])
{
	CHECK_IS(send_by_hand(sock[HERE], "a", 1, sock, 1), 1);
}

static void creds_come(int sock[2])
{
	set_option(sock[THERE], SO_PASSCRED, 1);
	CHECK_IS(send_by_hand(sock[HERE], "a", 1, NULL, 0), 1);
}

static void several_come(int sock[2])
{
	int fds[SEVERAL];

	open_files(fds, SEVERAL);
	CHECK_IS(send_by_hand(sock[HERE], "a", 1, fds, SEVERAL), 1);
	close_files(fds, SEVERAL);
}

static void none_comes(int sock[2])
{
	CHECK_IS(send_by_hand(sock[HERE], "a", 1, NULL, 0), 1);
}

static void several_come_behind_bytes(int sock[2])
{
	none_comes(sock);
	several_come(sock);
}

static void a_pidfd_comes(int sock[2])
{
	if (setsockopt(sock[THERE], SOL_SOCKET, 76, &(int){ 1 }, sizeof(int)) == 0)
		one_comes(sock);
}

static void nothing_comes_any_more(int sock[2])
{
	close_end(sock, HERE);
}

static void (*const situations[])(int sock[2]) = {
	one_comes,  creds_come,		       several_come,
	none_comes, several_come_behind_bytes, a_pidfd_comes,
	nothing_comes_any_more,
};

static void receive_here(const struct receiver *receiver, void (*prepare)(int sock[2]), int type,
			 unsigned flags, bool full)
{
	enum path path = PLAIN;
	int sock[2];
	rlim_t before = 0;

	open_pair(type | SOCK_NONBLOCK, sock);
	prepare(sock);
	/* It is plain that something comes, and nothing is wrong with it. */
	if (prepare != (receiver->receive == receive_creds ? creds_come : one_comes) || flags ||
	    full)
		path = RARE;
	if (full)
		before = leave_slots(0);
	for (int times = 0; times < 2; times++)
		if (recv(sock[THERE], got, 1, MSG_PEEK | MSG_DONTWAIT) >= 0)
			receiver->receive(path, sock[THERE], flags);
	if (full)
		set_limit(before);
	close_pair(sock);
}

static void receive_from_nobody(const struct receiver *receiver, int type, unsigned flags)
{
	int sock[2];

	open_pair(type, sock);
	set_timeout(sock[THERE], SO_RCVTIMEO, WAIT_MS);
	start_signals();
	receiver->receive(RARE, sock[THERE], flags);
	end_signals();
	close_pair(sock);
}

static void receive_everything(void)
{
	for (size_t who = 0; who < LENGTH(receivers); who++)
		for (size_t what = 0; what < LENGTH(situations); what++)
			for (size_t type = 0; type < LENGTH(of); type++)
				for (unsigned flags = 0; flags <= ALL; flags++) {
					if (flags & ~receivers[who].flags)
						continue;
					for (int full = 0; full <= 1; full++)
						receive_here(&receivers[who], situations[what],
							     of[type], flags, full);
				}
	for (size_t who = 0; who < LENGTH(receivers); who++)
		for (size_t type = 0; type < LENGTH(of); type++)
			receive_from_nobody(&receivers[who], of[type],
					    receivers[who].flags & ANCILLARY_WAITALL);
}

/* --- control data --- */

static void decode_here(void (*prepare)(int sock[2]), size_t nfds, int flags, enum path path)
{
	char control[ANCILLARY_CONTROL_SIZE(SEVERAL)];
	struct iovec iov = { got, sizeof got };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct ancillary_msg msg = { .size = sizeof msg, .pidfd = -1 };
	int sock[2], fds[SEVERAL];
	ssize_t n;

	open_pair(SOCK_STREAM, sock);
	prepare(sock);
	header.msg_control = control;
	header.msg_controllen = sizeof control;
	n = recvmsg(sock[THERE], &header, flags | MSG_DONTWAIT);
	msg.fds = fds;
	msg.nfds = nfds;
	TRACED(path, ancillary_decode, &header, n, path == PLAIN || nfds ? &msg : NULL, 0);
	ancillary_close_fds(fds, msg.nfds);
	ancillary_close_fds(&msg.pidfd, 1);
	close_pair(sock);
}

static void take_apart_everything(void)
{
	struct iovec iov = { (void *)"a", 1 };
	char control[ANCILLARY_CONTROL_SIZE(1)];
	struct msghdr header = { .msg_control = control, .msg_controllen = sizeof control };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };
	int fd = STDOUT_FILENO;

	msg.fds = &fd;
	msg.nfds = 1;
	CHECK_IS(TRACED(PLAIN, ancillary_encode, &header, &msg), 0);
	CHECK_IS(TRACED(RARE, ancillary_encode, &header, NULL), -EINVAL);
	CHECK_IS(TRACED(PLAIN, ancillary_control_size, 1), sizeof control);
	decode_here(one_comes, 1, MSG_CMSG_CLOEXEC, PLAIN);
	for (size_t what = 0; what < LENGTH(situations); what++) {
		for (size_t nfds = 0; nfds <= SEVERAL; nfds++) {
			decode_here(situations[what], nfds, MSG_CMSG_CLOEXEC, RARE);
			decode_here(situations[what], nfds, 0, RARE);
		}
	}
}

/* --- closing, options, and what needs no system call --- */

static void close_everything(void)
{
	int fds[SEVERAL];

	open_files(fds, 1);
	TRACED_VOID(PLAIN, ancillary_close_fds, fds, 1);
	open_files(fds, SEVERAL);
	TRACED_VOID(RARE, ancillary_close_fds, fds, SEVERAL);
}

static void ask_everything(void)
{
	struct ancillary_creds creds;
	gid_t groups[64];
	char label[64];
	int sock[2], fd;

	open_pair(SOCK_STREAM, sock);
	CHECK_IS(TRACED(PLAIN, ancillary_set_passcred, sock[HERE], 1), 0);
	TRACED(PLAIN, ancillary_set_passpidfd, sock[HERE], 1);
	TRACED(PLAIN, ancillary_set_passrights, sock[HERE], 1);
	CHECK_IS(TRACED(PLAIN, ancillary_peer_creds, sock[HERE], &creds), 0);
	fd = (int)TRACED(PLAIN, ancillary_peer_pidfd, sock[HERE]);
	ancillary_close_fds(&fd, 1);
	TRACED(PLAIN, ancillary_peer_groups, sock[HERE], groups, LENGTH(groups));
	TRACED(PLAIN, ancillary_peer_groups, sock[HERE], NULL, 0);
	TRACED(PLAIN, ancillary_peer_label, sock[HERE], label, sizeof label);
	TRACED(PLAIN, ancillary_peer_label, sock[HERE], NULL, 0);
	close_pair(sock);
	/* C99 has no macros of functions without arguments. */
	trace_begin(PLAIN, "ancillary_max_fds");
	CHECK_IS(ancillary_max_fds(), MOST);
	trace_end(0);
	trace_begin(PLAIN, "ancillary_version");
	CHECK(*ancillary_version());
	trace_end(0);
}

/* --- placing --- */

static void place_everything(void)
{
	enum { FIRST = 600 };
	int fds[SEVERAL], *one = fds;

	open_files(fds, 1);
	CHECK_IS(TRACED(PLAIN, ancillary_place_fds, one, 1, FIRST), 0);
	CHECK(close(FIRST) == 0);
	open_files(fds, SEVERAL);
	CHECK_IS(TRACED(RARE, ancillary_place_fds, fds, SEVERAL, FIRST), 0);
	CHECK_IS(TRACED(RARE, ancillary_place_fds, fds, SEVERAL, FIRST + 1), 0);
	close_files(fds, SEVERAL);
}

/* --- names --- */

static void close_and_remove(int sock, const char *path)
{
	CHECK(close(sock) == 0);
	CHECK(unlink(path) == 0);
}

/* Somebody has the lock, until a signal comes. */
static void wait_for_lock(const char *path)
{
	const struct itimerval often = { { 0, 20000 }, { 0, 20000 } }, never = { { 0, 0 }, { 0, 0 } };
	int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	CHECK(folder >= 0 && flock(folder, LOCK_EX) == 0);
	count_signal(SIGALRM);
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
	CHECK_IS(TRACED(RARE, ancillary_listen, path, SOCK_STREAM, 0600,
			ANCILLARY_REPLACE | ANCILLARY_INTR),
		 -EINTR);
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	CHECK(close(folder) == 0);
}

/* With each option that the kernel has, or none. */
static void meet_with_options(const char *path)
{
	static const unsigned flags[] = { ANCILLARY_PASSCRED, ANCILLARY_PASSPIDFD,
					  ANCILLARY_NORIGHTS };

	for (size_t i = 0; i < LENGTH(flags); i++) {
		int sock = (int)TRACED(RARE, ancillary_listen, path, SOCK_DGRAM, 0600, flags[i]);
		int other;

		if (sock == -ENOPROTOOPT)
			sock = ancillary_listen(path, SOCK_DGRAM, 0600, 0);
		CHECK(sock >= 0);
		other = (int)TRACED(RARE, ancillary_connect, path, SOCK_DGRAM, flags[i]);
		CHECK(other >= 0 || other == -ENOPROTOOPT);
		ancillary_close_fds(&other, 1);
		close_and_remove(sock, path);
	}
}

static void meet_everywhere(void)
{
	const unsigned replace = ANCILLARY_REPLACE;
	const char *path = "socket", *far;
	int sock, other, type = SOCK_STREAM;
	char abstract[40];

	/* Such names are the system's, where other tests may run as well. */
	snprintf(abstract, sizeof abstract, "@ancillary-calls-%d", (int)getpid());

	sock = (int)TRACED(PLAIN, ancillary_listen, path, type, 0600, 0);
	CHECK(sock >= 0);
	CHECK_IS(TRACED(RARE, ancillary_listen, path, type, 0600, 0), -EADDRINUSE);
	CHECK_IS(TRACED(RARE, ancillary_listen, path, type, 0600, replace), -EADDRINUSE);
	other = (int)TRACED(PLAIN, ancillary_connect, path, type, 0);
	CHECK(other >= 0 && close(other) == 0);
	other = (int)TRACED(RARE, ancillary_connect, path, type, ANCILLARY_DONTWAIT);
	CHECK(other >= 0 && close(other) == 0);
	CHECK_IS(TRACED(RARE, ancillary_connect, path, SOCK_DGRAM, 0), -EPROTOTYPE);
	CHECK(close(sock) == 0);
	/* It is dead by now; and the temporary name is in use. */
	wait_for_lock(path);
	make_stale(".ancillary-0", type);
	sock = (int)TRACED(RARE, ancillary_listen, "other", type, 0600, 0);
	CHECK(sock >= 0);
	close_and_remove(sock, "other");
	sock = (int)TRACED(RARE, ancillary_listen, path, type, 0600, replace | ANCILLARY_DONTWAIT);
	CHECK(sock >= 0);
	close_and_remove(sock, path);
	meet_with_options(path);

	far = path_of(400, 200, true);
	sock = (int)TRACED(RARE, ancillary_listen, far, type, 0600, 0);
	CHECK(sock >= 0);
	other = (int)TRACED(RARE, ancillary_connect, far, type, 0);
	CHECK(other >= 0 && close(other) == 0);
	close_and_remove(sock, far);

	sock = (int)TRACED(RARE, ancillary_listen, abstract, type, 0, 0);
	CHECK(sock >= 0);
	other = (int)TRACED(RARE, ancillary_connect, abstract, type, 0);
	CHECK(other >= 0 && close(other) == 0 && close(sock) == 0);
}

/* --- an older kernel --- */

static void without_newer_calls(void)
{
	static const long newer[] = { 436 /* close_range */, SYS_renameat2 };

	forbid(newer, LENGTH(newer));
	close_everything();
	receive_everything();
	take_apart_everything();
	use_channels();
	meet_everywhere();
}

static void all_of_it(void)
{
	send_everything();
	receive_everything();
	take_apart_everything();
	use_channels();
	close_everything();
	place_everything();
	ask_everything();
	meet_everywhere();
	without_newer_calls();
}

static void traced(void)
{
	trace(all_of_it);
}

static void system_calls(void)
{
	in_a_place(traced);
}

CHECK_MAIN(CASE(system_calls))
