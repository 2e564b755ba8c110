/* Every function where little is allowed: in a signal handler that interrupts
 * the same function, between fork and exec in a program with threads, and
 * where SIGPIPE would end the program. */

#include "check.h"
#include "kit.h"
#include "place.h"

#include <ancillary.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* What a function works on.  A thread and its signal handler have one each. */
struct set {
	int sock[2];
	/* Of a channel: a pair of streams, and room for a message each way. */
	int stream[2];
	uint64_t out[16], in[16];
	int in_fds[4];
	int files[2];
	char path[16];
	/* Numbers that are nobody else's. */
	int places;
	/* The function itself is running. */
	volatile sig_atomic_t inside;
};

/* Runs a function of the library, and says so; leaves its value. */
#define INSIDE(set, call) \
	do { \
		(set)->inside = 1; \
		call; \
		(set)->inside = 0; \
	} while (0)

static void open_set(struct set *set, const char *name)
{
	static int sets;

	memset(set, 0, sizeof *set);
	set->places = 600 + 50 * __atomic_add_fetch(&sets, 1, __ATOMIC_SEQ_CST);
	open_pair(SOCK_SEQPACKET, set->sock);
	open_pair(SOCK_STREAM, set->stream);
	set_option(set->sock[THERE], SO_PASSCRED, 1);
	open_files(set->files, 2);
	snprintf(set->path, sizeof set->path, "%s", name);
}

static void close_set(struct set *set)
{
	close_pair(set->sock);
	close_pair(set->stream);
	close_files(set->files, 2);
}

/* --- every function, once, with what it takes to see that it worked --- */

static void put(struct set *set)
{
	CHECK_IS(send_by_hand(set->sock[HERE], "abc", 3, set->files, 2), 3);
}

static void take_back(struct set *set, int *fds)
{
	CHECK(same_file(fds[0], set->files[0]) && same_file(fds[1], set->files[1]));
	close_files(fds, 2);
}

static void use_send_fd(struct set *set)
{
	int result, fd;

	INSIDE(set, result = ancillary_send_fd(set->sock[HERE], set->files[0]));
	CHECK_IS(result, 0);
	fd = ancillary_recv_fd(set->sock[THERE]);
	CHECK(same_file(fd, set->files[0]));
	close_files(&fd, 1);
}

static void use_recv_fd(struct set *set)
{
	int fd;

	CHECK_IS(send_by_hand(set->sock[HERE], "", 1, set->files, 1), 1);
	INSIDE(set, fd = ancillary_recv_fd(set->sock[THERE]));
	CHECK(same_file(fd, set->files[0]));
	close_files(&fd, 1);
}

static void receive_two(struct set *set, unsigned flags)
{
	int fds[2];
	size_t nfds = 2;
	char got[3];
	ssize_t n;

	INSIDE(set, n = ancillary_recv_fds(set->sock[THERE], fds, &nfds, got, 3, flags));
	CHECK_IS(n, 3);
	CHECK_IS(nfds, 2);
	take_back(set, fds);
}

static void use_send_fds(struct set *set)
{
	ssize_t n;

	INSIDE(set, n = ancillary_send_fds(set->sock[HERE], set->files, 2, "abc", 3, 0));
	CHECK_IS(n, 3);
	receive_two(set, 0);
}

static void use_recv_fds(struct set *set)
{
	put(set);
	receive_two(set, ANCILLARY_WAITALL);
}

static void use_lossless(struct set *set)
{
	put(set);
	receive_two(set, ANCILLARY_LOSSLESS);
}

static void use_send_msg(struct set *set)
{
	struct iovec iov = { (void *)"abc", 3 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };
	ssize_t n;

	msg.fds = set->files;
	msg.nfds = 2;
	INSIDE(set, n = ancillary_send_msg(set->sock[HERE], &msg, 0));
	CHECK_IS(n, 3);
	receive_two(set, 0);
}

static void use_recv_msg(struct set *set)
{
	char got[3];
	int fds[2];
	struct iovec iov = { got, 3 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };
	ssize_t n;

	put(set);
	msg.fds = fds;
	msg.nfds = 2;
	INSIDE(set, n = ancillary_recv_msg(set->sock[THERE], &msg, 0));
	CHECK_IS(n, 3);
	CHECK_IS(msg.flags, ANCILLARY_HAS_CREDS);
	CHECK_IS(msg.creds.pid, getpid());
	take_back(set, fds);
}

static void receive_own_creds(struct set *set)
{
	struct ancillary_creds creds;
	char got[3];
	ssize_t n;

	INSIDE(set, n = ancillary_recv_creds(set->sock[THERE], &creds, got, 3, 0));
	CHECK_IS(n, 3);
	CHECK_IS(creds.pid, getpid());
}

static void use_send_creds(struct set *set)
{
	ssize_t n;

	INSIDE(set, n = ancillary_send_creds(set->sock[HERE], NULL, "abc", 3, 0));
	CHECK_IS(n, 3);
	receive_own_creds(set);
}

static void use_recv_creds(struct set *set)
{
	CHECK_IS(send_by_hand(set->sock[HERE], "abc", 3, NULL, 0), 3);
	receive_own_creds(set);
}

static void use_close_fds(struct set *set)
{
	int fds[3];

	for (size_t i = 0; i < LENGTH(fds); i++)
		CHECK((fds[i] = fcntl(set->files[0], F_DUPFD_CLOEXEC, 0)) >= 0);
	INSIDE(set, ancillary_close_fds(fds, LENGTH(fds)));
	CHECK(all_none(fds, LENGTH(fds)));
}

static void use_place_fds(struct set *set)
{
	int fds[2], first = set->places, result;

	/* Each in the place of the other. */
	CHECK_IS(dup3(set->files[0], first + 1, O_CLOEXEC), first + 1);
	CHECK_IS(dup3(set->files[1], first, O_CLOEXEC), first);
	fds[0] = first + 1;
	fds[1] = first;
	INSIDE(set, result = ancillary_place_fds(fds, 2, first));
	CHECK_IS(result, 0);
	CHECK(fds[0] == first && fds[1] == first + 1);
	take_back(set, fds);
}

static void use_channel(struct set *set)
{
	struct ancillary_channel from = { .size = sizeof from, .sock = set->stream[HERE] };
	struct ancillary_channel to = { .size = sizeof to, .sock = set->stream[THERE] };
	struct ancillary_frame frame = { .type = 1, .data = "abc", .len = 3 };
	int result;

	from.out_data = set->out;
	from.out_size = sizeof set->out;
	to.in_data = set->in;
	to.in_size = sizeof set->in;
	to.in_fds = set->in_fds;
	to.in_nfds = LENGTH(set->in_fds);
	INSIDE(set, result = ancillary_channel_send(&from, &frame, ANCILLARY_MORE));
	CHECK_IS(result, 0);
	INSIDE(set, result = ancillary_channel_events(&from));
	CHECK(result > 0);
	INSIDE(set, result = ancillary_channel_flush(&from, 0));
	CHECK_IS(result, 0);
	frame.fds = set->files;
	frame.nfds = 2;
	INSIDE(set, result = ancillary_channel_send(&from, &frame, 0));
	CHECK_IS(result, 0);
	for (size_t nfds = 0; nfds <= 2; nfds += 2) {
		INSIDE(set, result = ancillary_channel_recv(&to, &frame, 0));
		CHECK_IS(result, 1);
		CHECK(frame.type == 1 && frame.len == 3 && frame.nfds == nfds);
	}
	CHECK(same_file(frame.fds[0], set->files[0]) && same_file(frame.fds[1], set->files[1]));
	INSIDE(set, ancillary_channel_drop(&to));
	INSIDE(set, ancillary_channel_drop(&from));
}

static void use_constants(struct set *set)
{
	const char *version;
	size_t most;

	INSIDE(set, version = ancillary_version());
	CHECK(*version);
	INSIDE(set, most = ancillary_max_fds());
	CHECK_IS(most, MOST);
}

static void use_options(struct set *set)
{
	int result;

	INSIDE(set, result = ancillary_set_passcred(set->sock[HERE], 1));
	CHECK_IS(result, 0);
	INSIDE(set, result = ancillary_set_passpidfd(set->sock[HERE], 0));
	CHECK(result == 0 || result == -ENOPROTOOPT);
	INSIDE(set, result = ancillary_set_passrights(set->sock[HERE], 1));
	CHECK(result == 0 || result == -ENOPROTOOPT);
}

static void use_peer(struct set *set)
{
	struct ancillary_creds creds;
	gid_t groups[64];
	char label[64];
	ssize_t n;
	int result;

	INSIDE(set, result = ancillary_peer_creds(set->sock[HERE], &creds));
	CHECK_IS(result, 0);
	INSIDE(set, result = ancillary_peer_pidfd(set->sock[HERE]));
	CHECK(result >= 0 || result == -ENOPROTOOPT);
	if (result >= 0)
		close_files(&result, 1);
	INSIDE(set, n = ancillary_peer_groups(set->sock[HERE], groups, LENGTH(groups)));
	CHECK(n >= 0);
	INSIDE(set, n = ancillary_peer_label(set->sock[HERE], label, sizeof label));
	CHECK(n >= 0 || n == -ENOPROTOOPT);
}

/* Each set has a name of its own.  They share the directory, so that what a
 * handler has interrupted can have the lock; and the child of another thread
 * has a duplicate of the socket until it calls exec. */
static void use_listen(struct set *set)
{
	const unsigned flags = ANCILLARY_REPLACE | ANCILLARY_DONTWAIT;
	int sock;

	INSIDE(set, sock = ancillary_listen(set->path, SOCK_STREAM, 0600, flags));
	CHECK(sock >= 0 || sock == -EAGAIN || sock == -EADDRINUSE);
	if (sock >= 0)
		close_files(&sock, 1);
}

static void use_connect(struct set *set)
{
	int sock;

	INSIDE(set, sock = ancillary_connect("there", SOCK_DGRAM, 0));
	CHECK(sock >= 0);
	close_files(&sock, 1);
}

static void use_old_fd(struct set *set)
{
	int fd, result;

	INSIDE(set, result = ancil_send_fd(set->sock[HERE], set->files[0]));
	CHECK_IS(result, 0);
	INSIDE(set, result = ancil_recv_fd(set->sock[THERE], &fd));
	CHECK_IS(result, 0);
	CHECK(same_file(fd, set->files[0]));
	close_files(&fd, 1);
}

static void use_old_fds(struct set *set)
{
	int fds[2], result;

	INSIDE(set, result = ancil_send_fds(set->sock[HERE], set->files, 2));
	CHECK_IS(result, 0);
	INSIDE(set, result = ancil_recv_fds(set->sock[THERE], fds, 2));
	CHECK_IS(result, 2);
	take_back(set, fds);
}

static void use_old_buffer(struct set *set)
{
	char buffer[100];
	int fds[2], result;

	INSIDE(set, result = ancil_send_fds_with_buffer(set->sock[HERE], set->files, 2, buffer));
	CHECK_IS(result, 0);
	INSIDE(set, result = ancil_recv_fds_with_buffer(set->sock[THERE], fds, 2, buffer));
	CHECK_IS(result, 2);
	take_back(set, fds);
}

static const struct {
	const char *name;
	void (*use)(struct set *set);
} uses[] = {
	{ "send_fd", use_send_fd },	  { "recv_fd", use_recv_fd },
	{ "send_fds", use_send_fds },	  { "recv_fds", use_recv_fds },
	{ "lossless", use_lossless },	  { "send_msg", use_send_msg },
	{ "recv_msg", use_recv_msg },	  { "send_creds", use_send_creds },
	{ "recv_creds", use_recv_creds }, { "close_fds", use_close_fds },
	{ "place_fds", use_place_fds },
	{ "channel", use_channel },
	{ "options", use_options },	  { "peer", use_peer },
	{ "listen", use_listen },	  { "connect", use_connect },
	{ "old_fd", use_old_fd },	  { "old_fds", use_old_fds },
	{ "old_buffer", use_old_buffer }, { "constants", use_constants },
};

/* --- in a handler, which has interrupted the same function --- */

enum { INTERRUPTIONS = 50, MOST_US = 200 };

static struct set interrupted, own;
static void (*use)(struct set *set);
static volatile sig_atomic_t pending, interruptions;

static void use_in_handler(int number)
{
	int error = errno;

	(void)number;
	pending = 0;
	if (!interrupted.inside)
		return;
	use(&own);
	interruptions++;
	errno = error;
}

/* One signal at a time, so that also a slow machine gets on between them. */
static void signal_soon(unsigned random)
{
	struct itimerval once = { { 0, 0 }, { 0, 1 + (suseconds_t)(random % MOST_US) } };

	pending = 1;
	CHECK(setitimer(ITIMER_REAL, &once, NULL) == 0);
}

static void interrupt(void)
{
	unsigned random = 1;

	interruptions = 0;
	while (interruptions < INTERRUPTIONS) {
		if (!pending) {
			random = random * 1664525 + 1013904223;
			signal_soon(random >> 16);
		}
		use(&interrupted);
	}
	while (pending)
		use(&interrupted);
}

static void interrupt_each(void)
{
	struct sigaction action = { .sa_handler = use_in_handler };
	int there = ancillary_listen("there", SOCK_DGRAM, 0600, 0);

	CHECK(there >= 0);
	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	open_set(&interrupted, "interrupted");
	open_set(&own, "own");
	for (size_t i = 0; i < LENGTH(uses); i++) {
		check_about("%s", uses[i].name);
		use = uses[i].use;
		interrupt();
	}
	close_set(&interrupted);
	close_set(&own);
	close_files(&there, 1);
}

static void a_handler_may_interrupt_the_same_function(void)
{
	in_a_place(interrupt_each);
}

/* --- between fork and exec --- */

static bool enough;

static void *use_all_the_time(void *name)
{
	struct set set;

	open_set(&set, name);
	while (!__atomic_load_n(&enough, __ATOMIC_SEQ_CST))
		for (size_t i = 0; i < LENGTH(uses); i++)
			uses[i].use(&set);
	close_set(&set);
	return NULL;
}

/* What this program was started from. */
static char own_path[4096];

/* Only what may be called between fork and exec. */
static void use_and_exec(struct set *set)
{
	static char *arguments[] = { "anywhere", "--list", NULL };

	for (size_t i = 0; i < LENGTH(uses); i++)
		uses[i].use(set);
	if (dup2(set->files[0], STDOUT_FILENO) < 0)
		_exit(1);
	execv(own_path, arguments);
	_exit(2);
}

static void fork_from_threads(void)
{
	static char *names[] = { "one", "two", "three" };
	pthread_t threads[LENGTH(names)];
	struct set set;
	int there = ancillary_listen("there", SOCK_DGRAM, 0600, 0);

	CHECK(there >= 0);
	CHECK(readlink("/proc/self/exe", own_path, sizeof own_path - 1) > 0);
	open_set(&set, "child");
	for (size_t i = 0; i < LENGTH(names); i++)
		threads[i] = start_thread(use_all_the_time, names[i]);
	for (int times = some_of(50 - 1); times >= 0; times--) {
		pid_t pid = fork();

		if (pid == 0)
			use_and_exec(&set);
		check_child(pid);
	}
	__atomic_store_n(&enough, true, __ATOMIC_SEQ_CST);
	for (size_t i = 0; i < LENGTH(names); i++)
		end_thread(threads[i]);
	close_set(&set);
	close_files(&there, 1);
}

static void a_child_may_use_all_before_exec(void)
{
	in_a_place(fork_from_threads);
}

/* --- SIGPIPE --- */

static void send_to_nobody(int type, int sock[2])
{
	struct iovec iov = { (void *)"abc", 3 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };

	(void)type;
	CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
	close_end(sock, THERE);
	/* The first on some types says that there was somebody. */
	for (int times = 0; times < 2; times++) {
		CHECK(ancillary_send_fd(sock[HERE], 0) < 0);
		CHECK(ancillary_send_fds(sock[HERE], NULL, 0, "abc", 3, 0) < 0);
		CHECK(ancillary_send_msg(sock[HERE], &msg, 0) < 0);
		CHECK(ancillary_send_creds(sock[HERE], NULL, "abc", 3, 0) < 0);
		CHECK_IS(ancil_send_fd(sock[HERE], 0), -1);
		CHECK_IS(ancil_send_fds(sock[HERE], sock, 1), -1);
		CHECK_IS(ancil_send_fds_with_buffer(sock[HERE], sock, 1, NULL), -1);
	}
}

static void nobody_there_raises_no_sigpipe(void)
{
	with_each_type(send_to_nobody);
}

CHECK_MAIN(CASE(a_handler_may_interrupt_the_same_function), CASE(a_child_may_use_all_before_exec),
	   CASE(nobody_there_raises_no_sigpipe))
