/* Who is on the other end of a connection. */

#include "check.h"
#include "kit.h"
#include "shim.h"
#include "users.h"

/* NULL is passed here to see it refused. */
#define ANCILLARY_NONNULL(argument)
#include <ancillary.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void check_peer(int sock, pid_t pid, uid_t uid, gid_t gid)
{
	struct ancillary_creds creds = { 1, 2, 3 };

	CHECK_OK(ancillary_peer_creds(sock, &creds), 0);
	CHECK_IS(creds.pid, pid);
	CHECK_IS(creds.uid, uid);
	CHECK_IS(creds.gid, gid);
}

/* Whether the system has SO_PEERPIDFD. */
static bool has_peer_pidfds(void)
{
	int sock = socket(AF_UNIX, SOCK_STREAM, 0), pidfd = -1;
	socklen_t len = sizeof pidfd;
	bool has;

	CHECK(getsockopt(sock, SOL_SOCKET, OPTION_PEERPIDFD, &pidfd, &len) < 0);
	CHECK(errno == ENOTCONN || errno == ENODATA || errno == ENOPROTOOPT);
	has = errno != ENOPROTOOPT;
	close_files(&sock, 1);
	return has;
}

static void need_peer_pidfds(void)
{
	if (!has_peer_pidfds())
		check_skip("no SO_PEERPIDFD");
}

static void check_no_peer(int sock, int error)
{
	struct ancillary_creds creds = { 1, 2, 3 };
	gid_t groups[4];

	CHECK_ERR(ancillary_peer_creds(sock, &creds), error);
	CHECK_IS(creds.pid, 0);
	CHECK(creds.uid == (uid_t)-1);
	CHECK(creds.gid == (gid_t)-1);
	if (has_peer_pidfds())
		CHECK_ERR(ancillary_peer_pidfd(sock), error);
	else
		CHECK(ancillary_peer_pidfd(sock) < 0);
	CHECK_ERR(ancillary_peer_groups(sock, groups, 4), error);
	CHECK_ERR(ancillary_peer_groups(sock, NULL, 0), error);
}

static bool is_readable(int fd)
{
	struct pollfd poll_fd = { fd, POLLIN, 0 };

	CHECK(poll(&poll_fd, 1, 0) >= 0);
	return poll_fd.revents & POLLIN;
}

/* --- a client, in a process of its own --- */

static struct {
	pid_t pid;
	int listener, server, until;
} client;

/* Starts a process that prepares, connects and waits; and accepts it. */
static void start_client(int type, void (*prepare)(void), void (*after)(void))
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa_family_t);
	int until[2], connected;
	char byte;

	client.listener = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	CHECK(bind(client.listener, (struct sockaddr *)&name, len) == 0);
	len = sizeof name;
	CHECK(getsockname(client.listener, (struct sockaddr *)&name, &len) == 0);
	CHECK(listen(client.listener, 1) == 0);
	CHECK(pipe(until) == 0);
	client.pid = fork();
	CHECK(client.pid >= 0);
	if (client.pid == 0) {
		close(until[1]);
		if (prepare)
			prepare();
		connected = socket(AF_UNIX, type, 0);
		CHECK(connect(connected, (struct sockaddr *)&name, len) == 0);
		if (after)
			after();
		CHECK_IS(write(connected, "+", 1), 1);
		_exit(read(until[0], &byte, 1) != 0);
	}
	close(until[0]);
	client.until = until[1];
	client.server = accept(client.listener, NULL, NULL);
	CHECK(client.server >= 0);
	CHECK_IS(read(client.server, &byte, 1), 1);
}

/* Lets the client end, and waits for it. */
static void end_client(void)
{
	close(client.until);
	check_child(client.pid);
}

static void forget_client(void)
{
	close(client.server);
	close(client.listener);
}

/* --- credentials --- */

static void look_at_pair(int type, int sock[2])
{
	(void)type;
	check_peer(sock[HERE], getpid(), geteuid(), getegid());
	check_peer(sock[THERE], getpid(), geteuid(), getegid());
	/* That of the socketpair stays when the other end is closed. */
	close_end(sock, HERE);
	check_peer(sock[THERE], getpid(), geteuid(), getegid());
}

static void pair(void)
{
	with_each_type(look_at_pair);
}

static void of_a_socketpair(void)
{
	as_both(pair);
}

static void look_at_client(int type)
{
	start_client(type, NULL, NULL);
	check_peer(client.server, client.pid, geteuid(), getegid());
	/* A listening socket gives its own. */
	check_peer(client.listener, getpid(), geteuid(), getegid());
	end_client();
	/* It is the one that connected, also when that has been waited for. */
	check_peer(client.server, client.pid, geteuid(), getegid());
	forget_client();
}

static void connection(void)
{
	look_at_client(SOCK_STREAM);
	look_at_client(SOCK_SEQPACKET);
}

static void of_a_connection(void)
{
	as_both(connection);
}

static void drop_effective(void)
{
	CHECK(setegid(NOBODY) == 0);
	CHECK(seteuid(NOBODY) == 0);
}

static void drop_all(void)
{
	become_nobody(NULL, 0);
}

static void the_effective_user_as_it_was_then(void)
{
	need_root();
	start_client(SOCK_STREAM, drop_effective, NULL);
	check_peer(client.server, client.pid, NOBODY, NOBODY);
	end_client();
	forget_client();
	/* Who changes later stays who it was. */
	start_client(SOCK_STREAM, NULL, drop_all);
	check_peer(client.server, client.pid, 0, 0);
	end_client();
	forget_client();
}

static void no_peer(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };

	for (size_t i = 0; i < LENGTH(types); i++) {
		int sock = socket(AF_UNIX, types[i], 0);

		check_about("type %d", types[i]);
		check_no_peer(sock, ENOTCONN);
		close_files(&sock, 1);
	}
}

static void a_datagram_socket_that_connected_has_none(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa_family_t);
	int bound = socket(AF_UNIX, SOCK_DGRAM, 0), sock = socket(AF_UNIX, SOCK_DGRAM, 0);

	CHECK(bind(bound, (struct sockaddr *)&name, len) == 0);
	len = sizeof name;
	CHECK(getsockname(bound, (struct sockaddr *)&name, &len) == 0);
	CHECK(connect(sock, (struct sockaddr *)&name, len) == 0);
	check_no_peer(sock, ENOTCONN);
	close_files(&sock, 1);
	close_files(&bound, 1);
}

/* --- pidfd --- */

static void follow_client(int type)
{
	int pidfd;

	start_client(type, NULL, NULL);
	errno = CHECK_ERRNO;
	pidfd = ancillary_peer_pidfd(client.server);
	CHECK_IS(errno, CHECK_ERRNO);
	CHECK(pidfd >= 0);
	CHECK_IS(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
	CHECK_IS(pid_of(pidfd), client.pid);
	CHECK(!is_readable(pidfd));
	close(client.until);
	CHECK(poll(&(struct pollfd){ pidfd, POLLIN, 0 }, 1, 30000) == 1);
	check_child(client.pid);
	CHECK(is_readable(pidfd));
	CHECK_IS(pid_of(pidfd), -1);
	close_files(&pidfd, 1);
	forget_client();
}

static void pidfd(void)
{
	follow_client(SOCK_STREAM);
	follow_client(SOCK_SEQPACKET);
}

static void a_pidfd_names_the_peer(void)
{
	need_peer_pidfds();
	as_both(pidfd);
}

static void pidfd_of_pair(int type, int sock[2])
{
	int own;
	rlim_t limit;

	(void)type;
	own = ancillary_peer_pidfd(sock[HERE]);
	CHECK(own >= 0);
	CHECK_IS(pid_of(own), getpid());
	close_files(&own, 1);
	limit = leave_slots(0);
	CHECK_ERR(ancillary_peer_pidfd(sock[HERE]), EMFILE);
	set_limit(limit);
	shim.missing_option = OPTION_PEERPIDFD;
	CHECK_ERR(ancillary_peer_pidfd(sock[HERE]), ENOPROTOOPT);
	shim.missing_option = 0;
}

static void a_pidfd_of_a_socketpair(void)
{
	need_peer_pidfds();
	with_each_type(pidfd_of_pair);
}

/* --- groups --- */

enum { MANY = 200 };

static size_t ngroups;

static void join_groups(void)
{
	gid_t groups[MANY];

	for (size_t i = 0; i < ngroups; i++)
		groups[i] = (gid_t)(1000 + i);
	become_nobody(groups, ngroups);
}

static void supplementary_groups(void)
{
	static const size_t counts[] = { 0, 1, MANY };
	static gid_t groups[MANY + 1];

	need_root();
	for (size_t i = 0; i < LENGTH(counts); i++) {
		ngroups = counts[i];
		check_about("%zu groups", ngroups);
		start_client(SOCK_STREAM, join_groups, NULL);
		CHECK_OK(ancillary_peer_groups(client.server, NULL, 0), ngroups);
		for (size_t room = 1; room <= MANY + 1; room += room < 3 ? 1 : 49) {
			memset(groups, 'x', sizeof groups);
			if (room < ngroups) {
				CHECK_ERR(ancillary_peer_groups(client.server, groups, room),
					  ERANGE);
				for (size_t j = 0; j <= MANY; j++)
					CHECK_IS(groups[j], 0x78787878);
				continue;
			}
			CHECK_OK(ancillary_peer_groups(client.server, groups, room), ngroups);
			for (size_t j = 0; j < ngroups; j++)
				CHECK_IS(groups[j], 1000 + j);
			for (size_t j = ngroups; j <= MANY; j++)
				CHECK_IS(groups[j], 0x78787878);
		}
		end_client();
		forget_client();
	}
}

static void groups_of_pair(int type, int sock[2])
{
	gid_t own[1024], groups[1024];
	int count = getgroups(1024, own);

	(void)type;
	CHECK_OK(ancillary_peer_groups(sock[HERE], groups, 1024), count);
	CHECK(memcmp(own, groups, (size_t)count * sizeof *own) == 0);
	shim.missing_option = SO_PEERGROUPS;
	CHECK_ERR(ancillary_peer_groups(sock[HERE], groups, 1024), ENOPROTOOPT);
	shim.missing_option = 0;
}

static void pair_groups(void)
{
	with_each_type(groups_of_pair);
}

static void groups_of_a_socketpair(void)
{
	as_both(pair_groups);
}

/* --- label --- */

static void check_label(const char *label, unsigned len)
{
	char got[16], untouched[16];
	size_t length = strnlen(label, len);
	int sock[2];

	open_pair(SOCK_STREAM, sock);
	shim.label = label;
	shim.label_len = len;
	memset(untouched, 'x', sizeof untouched);
	CHECK(ancillary_peer_label(sock[HERE], NULL, 0) >= (ssize_t)length);
	for (size_t room = 1; room <= sizeof got; room++) {
		check_about("label of %u bytes, room for %zu", len, room);
		memset(got, 'x', sizeof got);
		if (room < length + 1) {
			CHECK_ERR(ancillary_peer_label(sock[HERE], got, room), ERANGE);
			CHECK(memchr(got, label[0], sizeof got) == NULL);
			continue;
		}
		CHECK_OK(ancillary_peer_label(sock[HERE], got, room), length);
		CHECK(strcmp(got, label) == 0);
		CHECK(memcmp(got + room, untouched, sizeof got - room) == 0);
	}
	shim.label = NULL;
	close_pair(sock);
}

static void labels(void)
{
	/* Some modules count the zero byte, some do not. */
	check_label("unlabeled", 9);
	check_label("unlabeled", 10);
	check_label("u", 1);
	check_label("u", 2);
}

/* Of no byte, or of the zero byte alone. */
static void an_empty_label(void)
{
	int sock[2];

	open_pair(SOCK_STREAM, sock);
	shim.label = "";
	for (shim.label_len = 0; shim.label_len < 2; shim.label_len++) {
		check_about("label of %u bytes", shim.label_len);
		CHECK(ancillary_peer_label(sock[HERE], NULL, 0) <= (ssize_t)shim.label_len);
		for (size_t room = 1; room < 3; room++) {
			char got[3] = { 'x', 'x', 'x' };

			CHECK_OK(ancillary_peer_label(sock[HERE], got, room), 0);
			CHECK_IS(got[0], 0);
			CHECK_IS(got[2], 'x');
		}
	}
	shim.label_len = 0;
	check_about("label of no byte");
	CHECK_OK(ancillary_peer_label(sock[HERE], NULL, 0), 0);
	shim.label = NULL;
	close_pair(sock);
}

static void no_label(void)
{
	int sock[2];
	char label[64];

	open_pair(SOCK_STREAM, sock);
	shim.missing_option = SO_PEERSEC;
	CHECK_ERR(ancillary_peer_label(sock[HERE], label, sizeof label), ENOPROTOOPT);
	CHECK_ERR(ancillary_peer_label(sock[HERE], NULL, 0), ENOPROTOOPT);
	shim.missing_option = 0;
	close_pair(sock);
}

/* --- bad arguments --- */

static void bad_arguments_are_refused(void)
{
	int sock[2], file;
	gid_t groups[1];
	char label[64];

	open_pair(SOCK_STREAM, sock);
	open_files(&file, 1);
	CHECK_ERR(ancillary_peer_creds(sock[HERE], NULL), EINVAL);
	CHECK_ERR(ancillary_peer_groups(sock[HERE], NULL, 1), EINVAL);
	CHECK_ERR(ancillary_peer_label(sock[HERE], NULL, 1), EINVAL);
	check_no_peer(file, ENOTSOCK);
	check_no_peer(-1, EBADF);
	CHECK_ERR(ancillary_peer_label(-1, label, sizeof label), EBADF);
	CHECK_ERR(ancillary_peer_groups(-1, groups, 1), EBADF);
	close_files(&file, 1);
	close_pair(sock);
}

CHECK_MAIN(CASE(of_a_socketpair), CASE(of_a_connection), CASE(the_effective_user_as_it_was_then),
	   CASE(no_peer), CASE(a_datagram_socket_that_connected_has_none),
	   CASE(a_pidfd_names_the_peer), CASE(a_pidfd_of_a_socketpair), CASE(supplementary_groups),
	   CASE(groups_of_a_socketpair), CASE(labels), CASE(an_empty_label), CASE(no_label),
	   CASE(bad_arguments_are_refused))
