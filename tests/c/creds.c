/* Credentials that travel with messages, and what a socket passes. */

#include "check.h"
#include "kit.h"
#include "shim.h"
#include "users.h"

/* NULL is passed here to see it refused. */
#define ANCILLARY_NONNULL(argument)
#include <ancillary.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEN = 16 };

static char data[LEN];
static struct ancillary_creds creds;

static void check_unknown(void)
{
	CHECK_IS(creds.pid, 0);
	CHECK(creds.uid == (uid_t)-1);
	CHECK(creds.gid == (gid_t)-1);
}

static void check_creds(pid_t pid, uid_t uid, gid_t gid)
{
	CHECK_IS(creds.pid, pid);
	CHECK_IS(creds.uid, uid);
	CHECK_IS(creds.gid, gid);
}

static void dirty(void)
{
	memset(data, 'x', sizeof data);
	creds = (struct ancillary_creds){ 1, 2, 3 };
}

static void receive_own(int sock, ssize_t len)
{
	dirty();
	CHECK_OK(ancillary_recv_creds(sock, &creds, data, LEN, 0), len);
	check_creds(getpid(), getuid(), getgid());
}

/* No identity, whatever the struct said before. */
static void receive_none(int sock, int error)
{
	dirty();
	CHECK_ERR(ancillary_recv_creds(sock, &creds, data, LEN, 0), error);
	check_unknown();
}

/* --- own --- */

static void pass_own(int type, int sock[2])
{
	(void)type;
	CHECK_OK(ancillary_set_passcred(sock[THERE], 1), 0);
	CHECK_OK(ancillary_send_creds(sock[HERE], NULL, "abc", 3, 0), 3);
	receive_own(sock[THERE], 3);
	CHECK(memcmp(data, "abcx", 4) == 0);
	/* The kernel attaches them to other messages. */
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "abc", 3, 0), 3);
	receive_own(sock[THERE], 3);
	/* Those of a marker byte. */
	CHECK_OK(ancillary_send_creds(sock[HERE], NULL, NULL, 0, 0), 1);
	dirty();
	CHECK_OK(ancillary_recv_creds(sock[THERE], &creds, NULL, 0, 0), 1);
	check_creds(getpid(), getuid(), getgid());
}

static void own_creds(void)
{
	with_each_type(pass_own);
}

static void own_as_both(void)
{
	as_both(own_creds);
}

static void pass_real(int type, int sock[2])
{
	(void)type;
	/* With another effective user, the real one is sent. */
	CHECK_OK(ancillary_set_passcred(sock[THERE], 1), 0);
	CHECK(seteuid(NOBODY) == 0);
	CHECK_OK(ancillary_send_creds(sock[HERE], NULL, "abc", 3, 0), 3);
	receive_own(sock[THERE], 3);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "abc", 3, 0), 3);
	receive_own(sock[THERE], 3);
	CHECK(seteuid(0) == 0);
}

static void the_real_user_is_sent(void)
{
	need_root();
	with_each_type(pass_real);
}

/* --- explicit --- */

static void pass_early(int type, int sock[2])
{
	struct ancillary_creds own = { getpid(), getuid(), getgid() };

	(void)type;
	/* Attached, they are there although passing is turned on later only. */
	CHECK_OK(ancillary_send_creds(sock[HERE], NULL, "abc", 3, 0), 3);
	CHECK_OK(ancillary_send_creds(sock[HERE], &own, "abc", 3, 0), 3);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "abc", 3, 0), 3);
	CHECK_OK(ancillary_set_passcred(sock[THERE], 1), 0);
	dirty();
	CHECK_OK(ancillary_recv_creds(sock[THERE], &creds, data, 3, 0), 3);
	check_creds(getpid(), getuid(), getgid());
	dirty();
	CHECK_OK(ancillary_recv_creds(sock[THERE], &creds, data, 3, 0), 3);
	check_creds(getpid(), getuid(), getgid());
	receive_none(sock[THERE], ENOMSG);
	check_nothing_there(sock[THERE]);
}

static void early_creds(void)
{
	with_each_type(pass_early);
}

static void attached_before_passing_is_on(void)
{
	as_both(early_creds);
}

static void pass_forged(int type, int sock[2])
{
	struct ancillary_creds roots = { getpid(), 0, 0 };
	struct ancillary_creds others = { getppid(), getuid(), getgid() };
	struct ancillary_creds invalid = { getpid(), (uid_t)-1, getgid() };

	(void)type;
	CHECK_OK(ancillary_set_passcred(sock[THERE], 1), 0);
	/* Where nobody else is there, this is root still. */
	if (getuid() != 0)
		CHECK_ERR(ancillary_send_creds(sock[HERE], &roots, "abc", 3, 0), EPERM);
	CHECK_ERR(ancillary_send_creds(sock[HERE], &others, "abc", 3, 0), EPERM);
	CHECK_ERR(ancillary_send_creds(sock[HERE], &invalid, "abc", 3, 0), EINVAL);
	check_nothing_there(sock[THERE]);
}

static void forged_creds(void)
{
	with_each_type(pass_forged);
}

static void forging_is_refused(void)
{
	as_nobody(forged_creds);
}

static pid_t other;

static void pass_others(int type, int sock[2])
{
	struct ancillary_creds live = { other, 1234, 5678 };

	(void)type;
	CHECK_OK(ancillary_set_passcred(sock[THERE], 1), 0);
	CHECK_OK(ancillary_send_creds(sock[HERE], &live, "abc", 3, 0), 3);
	dirty();
	CHECK_OK(ancillary_recv_creds(sock[THERE], &creds, data, LEN, 0), 3);
	check_creds(other, 1234, 5678);
}

static void pass_dead(int type, int sock[2])
{
	struct ancillary_creds dead = { other, 1234, 5678 };

	(void)type;
	CHECK_ERR(ancillary_send_creds(sock[HERE], &dead, "abc", 3, 0), ESRCH);
	check_nothing_there(sock[THERE]);
}

static void root_sends_those_of_others(void)
{
	int until[2];

	need_root();
	CHECK(pipe(until) == 0);
	other = fork();
	CHECK(other >= 0);
	if (other == 0) {
		char byte;

		close(until[1]);
		_exit(read(until[0], &byte, 1) != 0);
	}
	with_each_type(pass_others);
	close_files(until, 2);
	check_child(other);
	with_each_type(pass_dead);
}

/* --- none --- */

static void receive_unasked(int type, int sock[2])
{
	(void)type;
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "abc", 3, 0), 3);
	receive_none(sock[THERE], ENOMSG);
	CHECK_OK(ancillary_send_creds(sock[HERE], NULL, "abc", 3, 0), 3);
	receive_none(sock[THERE], ENOMSG);
	/* On, and off again. */
	CHECK_OK(ancillary_set_passcred(sock[THERE], 7), 0);
	CHECK_OK(ancillary_send_creds(sock[HERE], NULL, "abc", 3, 0), 3);
	receive_own(sock[THERE], 3);
	CHECK_OK(ancillary_set_passcred(sock[THERE], 0), 0);
	CHECK_OK(ancillary_send_creds(sock[HERE], NULL, "abc", 3, 0), 3);
	receive_none(sock[THERE], ENOMSG);
	check_nothing_there(sock[THERE]);
}

static void unasked_creds(void)
{
	with_each_type(receive_unasked);
}

static void passing_is_off(void)
{
	as_both(unasked_creds);
}

static void receive_cut(int type, int sock[2])
{
	(void)type;
	CHECK_OK(ancillary_set_passcred(sock[THERE], 1), 0);
	for (shim.cut_creds = 1; shim.cut_creds < 12; shim.cut_creds++) {
		CHECK_OK(ancillary_send_creds(sock[HERE], NULL, "abc", 3, 0), 3);
		receive_none(sock[THERE], ENOMSG);
	}
	shim.cut_creds = 0;
}

static void cut_short(void)
{
	with_each_type(receive_cut);
}

static void receive_the_end(int type, int sock[2])
{
	(void)type;
	CHECK_OK(ancillary_set_passcred(sock[THERE], 1), 0);
	CHECK_OK(ancillary_set_passpidfd(sock[THERE], 1), 0);
	close_end(sock, HERE);
	static const unsigned ways[] = { 0, ANCILLARY_WAITALL, ANCILLARY_LOSSLESS };
	for (size_t i = 0; i < LENGTH(ways); i++) {
		dirty();
		CHECK_OK(ancillary_recv_creds(sock[THERE], &creds, data, LEN, ways[i]), 0);
		check_unknown();
	}
}

static void end_of_creds(void)
{
	with_type(SOCK_STREAM, receive_the_end);
	with_type(SOCK_SEQPACKET, receive_the_end);
}

static void the_end_is_nobodys(void)
{
	need_option(OPTION_PASSPIDFD);
	as_both(end_of_creds);
}

/* What came before the end has a sender, and WAITALL finds both. */
static void receive_before_the_end(unsigned flags)
{
	struct iovec iov = { data, LEN };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };
	bool pidfds = has_option(OPTION_PASSPIDFD);

	for (int with_msg = 0; with_msg < 2; with_msg++) {
		int sock[2];

		open_pair(SOCK_STREAM, sock);
		CHECK_OK(ancillary_set_passcred(sock[THERE], 1), 0);
		if (pidfds)
			CHECK_OK(ancillary_set_passpidfd(sock[THERE], 1), 0);
		CHECK_IS(send(sock[HERE], "abcde", 5, 0), 5);
		close_end(sock, HERE);
		dirty();
		if (with_msg) {
			CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, flags), 5);
			CHECK_IS(msg.flags, ANCILLARY_HAS_CREDS |
					    (pidfds ? ANCILLARY_HAS_PIDFD : 0));
			creds = msg.creds;
			if (pidfds)
				close_files(&msg.pidfd, 1);
		} else {
			CHECK_OK(ancillary_recv_creds(sock[THERE], &creds, data, LEN, flags), 5);
		}
		check_creds(getpid(), getuid(), getgid());
		dirty();
		CHECK_OK(ancillary_recv_creds(sock[THERE], &creds, data, LEN, flags), 0);
		check_unknown();
		close_pair(sock);
	}
}

static void what_comes_before_the_end_has_a_sender(void)
{
	receive_before_the_end(ANCILLARY_WAITALL);
	receive_before_the_end(ANCILLARY_WAITALL | ANCILLARY_LOSSLESS);
}

static void an_empty_datagram_has_a_sender(void)
{
	int sock[2];

	open_pair(SOCK_DGRAM, sock);
	CHECK_IS(send(sock[HERE], "", 0, 0), 0);
	receive_none(sock[THERE], ENOMSG);
	CHECK_OK(ancillary_set_passcred(sock[THERE], 1), 0);
	CHECK_IS(send(sock[HERE], "", 0, 0), 0);
	receive_own(sock[THERE], 0);
	close_pair(sock);
}

/* --- with more --- */

static void receive_with_more(int type, int sock[2])
{
	int file;

	(void)type;
	open_files(&file, 1);
	CHECK_OK(ancillary_set_passcred(sock[THERE], 1), 0);
	CHECK_OK(ancillary_set_passpidfd(sock[THERE], 1), 0);
	CHECK_OK(ancillary_send_fds(sock[HERE], &file, 1, "abc", 3, 0), 3);
	receive_none(sock[THERE], E2BIG);
	CHECK_OK(ancillary_send_creds(sock[HERE], NULL, "abc", 3, 0), 3);
	receive_own(sock[THERE], 3);
	CHECK_OK(ancillary_send_creds(sock[HERE], NULL, "0123456789abcdefg", 17, 0), 17);
	if (type == SOCK_STREAM)
		receive_own(sock[THERE], 16);
	else
		receive_none(sock[THERE], EMSGSIZE);
	close_files(&file, 1);
}

static void descriptors_and_pidfds_are_closed(void)
{
	need_option(OPTION_PASSPIDFD);
	with_each_type(receive_with_more);
}

static void pieces_of_two_senders_have_none(void)
{
	int sock[2];
	pid_t child;

	open_pair(SOCK_STREAM, sock);
	CHECK_OK(ancillary_set_passcred(sock[THERE], 1), 0);
	for (unsigned lossless = 0; lossless <= ANCILLARY_LOSSLESS; lossless += ANCILLARY_LOSSLESS) {
		CHECK_OK(ancillary_send_creds(sock[HERE], NULL, "abc", 3, 0), 3);
		child = fork();
		CHECK(child >= 0);
		if (child == 0)
			_exit(ancillary_send_creds(sock[HERE], NULL, "def", 3, 0) != 3);
		check_child(child);
		dirty();
		CHECK_ERR(ancillary_recv_creds(sock[THERE], &creds, data, 6,
					       ANCILLARY_WAITALL | lossless),
			  ENOMSG);
		check_unknown();
		CHECK_OK(ancillary_send_creds(sock[HERE], NULL, "abc", 3, 0), 3);
		CHECK_OK(ancillary_send_creds(sock[HERE], NULL, "def", 3, 0), 3);
		dirty();
		CHECK_OK(ancillary_recv_creds(sock[THERE], &creds, data, 6,
					      ANCILLARY_WAITALL | lossless),
			 6);
		check_creds(getpid(), getuid(), getgid());
	}
	close_pair(sock);
}

static void a_sender_outside_the_namespace_has_no_pid(void)
{
	int sock[2];
	pid_t inside;

	need_root();
	open_pair(SOCK_STREAM, sock);
	CHECK_OK(ancillary_set_passcred(sock[THERE], 1), 0);
	CHECK_OK(ancillary_send_creds(sock[HERE], NULL, "abc", 3, 0), 3);
	inside = fork_in_new_pid_namespace();
	if (inside == 0) {
		dirty();
		CHECK_OK(ancillary_recv_creds(sock[THERE], &creds, data, LEN, 0), 3);
		check_creds(0, getuid(), getgid());
		_exit(0);
	}
	check_child(inside);
	close_pair(sock);
}

/* --- options --- */

static int option_of(int sock, int name)
{
	int value = -1;
	socklen_t len = sizeof value;

	CHECK(getsockopt(sock, SOL_SOCKET, name, &value, &len) == 0);
	return value;
}

static void refuse_descriptors(int type, int sock[2])
{
	int file, received[1];
	size_t nfds = 1;

	(void)type;
	open_files(&file, 1);
	CHECK_OK(ancillary_set_passrights(sock[THERE], 0), 0);
	CHECK_ERR(ancillary_send_fds(sock[HERE], &file, 1, "abc", 3, 0), EPERM);
	CHECK_ERR(ancillary_send_fd(sock[HERE], file), EPERM);
	check_nothing_there(sock[THERE]);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "abc", 3, 0), 3);
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, data, LEN, 0), 3);
	CHECK_IS(nfds, 0);
	CHECK_OK(ancillary_set_passrights(sock[THERE], 1), 0);
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	received[0] = ancillary_recv_fd(sock[THERE]);
	take_arrived(received, 1, &file, 1);
	close_files(&file, 1);
}

static void descriptors_can_be_refused(void)
{
	need_option(OPTION_PASSRIGHTS);
	with_each_type(refuse_descriptors);
}

static void set_and_clear(int type, int sock[2])
{
	static const struct {
		int (*set)(int sock, int on);
		int name;
	} options[] = {
		{ ancillary_set_passcred, SO_PASSCRED },
		{ ancillary_set_passpidfd, OPTION_PASSPIDFD },
		{ ancillary_set_passrights, OPTION_PASSRIGHTS },
	};
	int file, tcp = socket(AF_INET, SOCK_STREAM, 0);

	(void)type;
	open_files(&file, 1);
	for (size_t i = 0; i < LENGTH(options); i++) {
		check_about("option %d", options[i].name);
		if (!has_option(options[i].name)) {
			CHECK_ERR(options[i].set(sock[HERE], 1), ENOPROTOOPT);
			continue;
		}
		CHECK_OK(options[i].set(sock[HERE], 1), 0);
		CHECK_IS(option_of(sock[HERE], options[i].name), 1);
		CHECK_OK(options[i].set(sock[HERE], 0), 0);
		CHECK_IS(option_of(sock[HERE], options[i].name), 0);
		CHECK_OK(options[i].set(sock[HERE], -1), 0);
		CHECK_IS(option_of(sock[HERE], options[i].name), 1);
		CHECK_ERR(options[i].set(-1, 1), EBADF);
		CHECK_ERR(options[i].set(file, 1), ENOTSOCK);
		/* Before Linux 6.16 other sockets take them, where they mean nothing. */
		if (setsockopt(tcp, SOL_SOCKET, options[i].name, &(int){ 1 }, sizeof(int)) == 0)
			CHECK_OK(options[i].set(tcp, 1), 0);
		else
			CHECK_ERR(options[i].set(tcp, 1), EOPNOTSUPP);
		shim.missing_option = options[i].name;
		CHECK_ERR(options[i].set(sock[HERE], 1), ENOPROTOOPT);
		shim.missing_option = 0;
	}
	close_files(&file, 1);
	close_files(&tcp, 1);
}

static void options(void)
{
	with_each_type(set_and_clear);
}

static void options_as_both(void)
{
	as_both(options);
}

static void connections_inherit_them(void)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa_family_t);
	int listener, client, server, file, fds[1];
	struct iovec iov = { data, LEN };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1, .fds = fds };

	need_option(OPTION_PASSPIDFD);
	need_option(OPTION_PASSRIGHTS);
	open_files(&file, 1);
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(listener >= 0);
	CHECK_OK(ancillary_set_passcred(listener, 1), 0);
	CHECK_OK(ancillary_set_passpidfd(listener, 1), 0);
	CHECK_OK(ancillary_set_passrights(listener, 0), 0);
	/* The kernel picks an abstract name. */
	CHECK(bind(listener, (struct sockaddr *)&name, len) == 0);
	len = sizeof name;
	CHECK(getsockname(listener, (struct sockaddr *)&name, &len) == 0);
	CHECK(listen(listener, 1) == 0);
	client = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK(connect(client, (struct sockaddr *)&name, len) == 0);
	/* Sent before it is accepted. */
	CHECK_OK(ancillary_send_fds(client, NULL, 0, "abc", 3, 0), 3);
	CHECK_ERR(ancillary_send_fds(client, &file, 1, "abc", 3, 0), EPERM);
	server = accept(listener, NULL, NULL);
	CHECK(server >= 0);
	CHECK_OK(ancillary_recv_msg(server, &msg, 0), 3);
	CHECK_IS(msg.flags, ANCILLARY_HAS_CREDS | ANCILLARY_HAS_PIDFD);
	CHECK_IS(msg.creds.pid, getpid());
	close_files(&msg.pidfd, 1);
	close_files(&server, 1);
	close_files(&client, 1);
	close_files(&listener, 1);
	close_files(&file, 1);
}

/* --- bad arguments --- */

static void bad_arguments_are_refused(void)
{
	int sock[2], file;

	open_pair(SOCK_STREAM, sock);
	open_files(&file, 1);
	CHECK_ERR(ancillary_recv_creds(sock[THERE], NULL, data, LEN, 0), EINVAL);
	dirty();
	CHECK_ERR(ancillary_recv_creds(sock[THERE], &creds, data, LEN, MSG_PEEK), EINVAL);
	check_unknown();
	CHECK_ERR(ancillary_recv_creds(sock[THERE], &creds, data, 0, 0), EINVAL);
	CHECK_ERR(ancillary_recv_creds(sock[THERE], &creds, NULL, 1, 0), EINVAL);
	CHECK_ERR(ancillary_recv_creds(sock[THERE], &creds, data, (size_t)-1, 0), EINVAL);
	CHECK_ERR(ancillary_recv_creds(sock[THERE], &creds, data, LEN, ANCILLARY_DONTWAIT), EAGAIN);
	CHECK_ERR(ancillary_recv_creds(file, &creds, data, LEN, 0), ENOTSOCK);
	CHECK_ERR(ancillary_recv_creds(-1, &creds, data, LEN, 0), EBADF);
	check_unknown();
	CHECK_ERR(ancillary_send_creds(sock[HERE], NULL, data, LEN, ANCILLARY_LOSSLESS), EINVAL);
	CHECK_ERR(ancillary_send_creds(sock[HERE], NULL, data, 0, 0), EINVAL);
	CHECK_ERR(ancillary_send_creds(sock[HERE], NULL, NULL, 1, 0), EINVAL);
	CHECK_ERR(ancillary_send_creds(file, NULL, data, LEN, 0), ENOTSOCK);
	CHECK_ERR(ancillary_send_creds(-1, NULL, data, LEN, 0), EBADF);
	close_files(&file, 1);
	close_pair(sock);
}

CHECK_MAIN(CASE(own_as_both), CASE(the_real_user_is_sent), CASE(attached_before_passing_is_on),
	   CASE(forging_is_refused), CASE(root_sends_those_of_others), CASE(passing_is_off),
	   CASE(cut_short), CASE(the_end_is_nobodys),
	   CASE(what_comes_before_the_end_has_a_sender), CASE(an_empty_datagram_has_a_sender),
	   CASE(descriptors_and_pidfds_are_closed), CASE(pieces_of_two_senders_have_none),
	   CASE(a_sender_outside_the_namespace_has_no_pid), CASE(descriptors_can_be_refused),
	   CASE(options_as_both), CASE(connections_inherit_them), CASE(bad_arguments_are_refused))
