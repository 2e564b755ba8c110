/* What a socket of ancillary_listen or ancillary_connect passes is settled before
 * anybody can reach it; and a datagram socket has a name, so that it can be
 * answered. */

#include "check.h"
#include "calls.h"
#include "kit.h"
#include "place.h"

#include <ancillary.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

enum { OPTIONS = 3, ALL_FLAGS = 1 << OPTIONS };

static const struct {
	unsigned flag;
	int option, without;
} options[OPTIONS] = {
	{ ANCILLARY_PASSCRED, SO_PASSCRED, 0 },
	{ ANCILLARY_PASSPIDFD, OPTION_PASSPIDFD, 0 },
	{ ANCILLARY_NORIGHTS, OPTION_PASSRIGHTS, 1 },
};

/* Whether this kernel has the options of all these flags. */
static bool has_options_of(unsigned flags)
{
	for (int i = 0; i < OPTIONS; i++)
		if (flags & options[i].flag && !has_option(options[i].option))
			return false;
	return true;
}

/* The options of a socket are as these flags say. */
static void check_options(int sock, unsigned flags)
{
	for (int i = 0; i < OPTIONS; i++) {
		bool asked_for = flags & options[i].flag;
		int on = -1;
		socklen_t len = sizeof on;

		if (getsockopt(sock, SOL_SOCKET, options[i].option, &on, &len) == 0)
			CHECK_IS(on, asked_for ? !options[i].without : options[i].without);
		else
			CHECK(errno == ENOPROTOOPT && !asked_for);
	}
}

static bool is_datagram(int type)
{
	return (type & ~SOCK_NONBLOCK) == SOCK_DGRAM;
}

/* --- in which order --- */

/* A letter for each call that is made for a socket. */
static char order[40];

static long note(const struct call *call)
{
	static const struct {
		const char *name, *letter;
	} letters[] = { { "setsockopt", "o" }, { "bind", "b" }, { "connect", "c" }, { "listen", "l" } };

	for (size_t i = 0; i < LENGTH(letters); i++)
		if (strcmp(call->name, letters[i].name) == 0)
			strcat(order, letters[i].letter);
	return make_call(call);
}

static void begin_order(void)
{
	order[0] = '\0';
	on_call = note;
}

/* "o" is for as many options as there are. */
static void check_order(const char *expected, unsigned flags)
{
	char whole[40] = "";

	on_call = make_call;
	for (const char *each = expected; *each; each++)
		for (unsigned i = 0; i < OPTIONS; i++)
			if (*each == 'o' ? flags & options[i].flag : i == 0)
				strncat(whole, each, 1);
	if (strcmp(order, whole) != 0) {
		printf("the order is: %s\n", order);
		check_failed(__FILE__, __LINE__, whole);
	}
}

static void meet_with(unsigned flags, int type, const char *path)
{
	int listener, client, end;

	check_about("flags %x, type %x, %s", flags, (unsigned)type, path);
	begin_order();
	NEW(listener, ancillary_listen(path, type, 0600, flags));
	check_order(is_datagram(type) ? "ob" : "obl", flags);
	check_options(listener, flags);
	check_socket(listener, type);
	begin_order();
	NEW(client, ancillary_connect(path, type, flags));
	check_order(is_datagram(type) ? "cob" : "oc", flags);
	check_options(client, flags);
	check_socket(client, type);
	if (!is_datagram(type)) {
		end = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		CHECK(end >= 0);
		check_options(end, flags);
		CHECK(close(end) == 0);
	}
	close_files((int[]){ listener, client }, 2);
	if (*path != '@')
		CHECK(unlink(path) == 0);
	check_about("%s", "");
}

static void meet_with_options(void)
{
	char abstract[40];

	snprintf(abstract, sizeof abstract, "@passing-%d", (int)getpid());
	for (unsigned all = 0; all < ALL_FLAGS; all++) {
		unsigned flags = 0;

		for (int i = 0; i < OPTIONS; i++)
			flags |= all & 1u << i ? options[i].flag : 0;
		for (size_t i = 0; i < ALL_TYPES && has_options_of(flags); i++) {
			meet_with(flags, types[i], "s");
			meet_with(flags | ANCILLARY_DONTWAIT, types[i], path_of(300, 100, false));
			meet_with(flags, types[i], abstract);
		}
	}
}

static void options_are_set_before_others_come(void)
{
	in_a_place(meet_with_options);
}

/* --- an option that the kernel does not have --- */

static int missing;

static long lack_an_option(const struct call *call)
{
	if (strcmp(call->name, "setsockopt") == 0 && (int)call->arguments[2] == missing) {
		errno = ENOPROTOOPT;
		return -1;
	}
	return make_call(call);
}

static void lack_each(void)
{
	for (size_t i = 0; i < ALL_TYPES; i++) {
		for (int k = 0; k < OPTIONS; k++) {
			unsigned flag = options[k].flag;
			int listener;

			check_about("type %x, flag %x", (unsigned)types[i], flag);
			missing = options[k].option;
			on_call = lack_an_option;
			CHECK_ERR(ancillary_listen("s", types[i], 0600, flag), ENOPROTOOPT);
			CHECK_ERR(ancillary_listen("@lacking", types[i], 0600, flag), ENOPROTOOPT);
			check_holds(".", "");
			NEW(listener, ancillary_listen("s", types[i], 0600, 0));
			CHECK_ERR(ancillary_connect("s", types[i], flag), ENOPROTOOPT);
			on_call = make_call;
			CHECK(close(listener) == 0);
			CHECK(unlink("s") == 0);
		}
	}
}

static void a_missing_option_leaves_nothing(void)
{
	in_a_place(lack_each);
}

/* --- messages --- */

/* Receives one, and returns whether credentials came with it. */
static bool receive_creds(int sock, struct ucred *creds)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof control };
	struct cmsghdr *header;

	CHECK_IS(recvmsg(sock, &message, 0), 1);
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_CREDENTIALS)
		return false;
	memcpy(creds, CMSG_DATA(header), sizeof *creds);
	return true;
}

/* Sends when the file is seen: before the call that makes the socket returns. */
static long send_at_once(const struct call *call)
{
	long result = make_call(call);

	if (strcmp(call->name, "renameat2") == 0 && result == 0) {
		int client = connect_by_hand("s", 2, SOCK_DGRAM);

		CHECK(client >= 0);
		CHECK_IS(send(client, "x", 1, 0), 1);
		CHECK(close(client) == 0);
	}
	return result;
}

static void be_early(void)
{
	struct ucred creds;
	int sock;

	on_call = send_at_once;
	NEW(sock, ancillary_listen("s", SOCK_DGRAM, 0600, ANCILLARY_PASSCRED));
	on_call = make_call;
	CHECK(receive_creds(sock, &creds));
	CHECK_IS(creds.pid, getpid());
	CHECK_IS(creds.uid, getuid());
	CHECK(close(sock) == 0);
}

static void the_first_datagram_has_credentials(void)
{
	in_a_place(be_early);
}

/* --- names of datagram sockets --- */

/* The other side answers to where a datagram came from, and the answer arrives;
 * with credentials, if asked for. */
static void answer(unsigned flags)
{
	struct sockaddr_un from;
	socklen_t len = sizeof from;
	struct ucred creds;
	int server, client;
	char byte;

	NEW(server, ancillary_listen("s", SOCK_DGRAM, 0600, 0));
	NEW(client, ancillary_connect("s", SOCK_DGRAM, flags));
	CHECK_IS(send(client, "x", 1, 0), 1);
	CHECK_IS(recvfrom(server, &byte, 1, 0, (struct sockaddr *)&from, &len), 1);
	/* An abstract name. */
	CHECK(len > offsetof(struct sockaddr_un, sun_path) + 1 && from.sun_path[0] == '\0');
	CHECK_IS(sendto(server, "y", 1, 0, (struct sockaddr *)&from, len), 1);
	CHECK_IS(receive_creds(client, &creds), (flags & ANCILLARY_PASSCRED) != 0);
	if (flags & ANCILLARY_PASSCRED)
		CHECK_IS(creds.pid, getpid());
	/* Nobody else's gets in. */
	close_files(&server, 1);
	CHECK(unlink("s") == 0);
	server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK(server >= 0);
	CHECK_IS(sendto(server, "z", 1, 0, (struct sockaddr *)&from, len), -1);
	CHECK_IS(errno, EPERM);
	close_files((int[]){ server, client }, 2);
}

static void answer_with_and_without(void)
{
	answer(0);
	answer(ANCILLARY_PASSCRED);
	answer(ANCILLARY_DONTWAIT);
}

static void datagrams_can_be_answered(void)
{
	in_a_place(answer_with_and_without);
}

static int refusal;

static long refuse_names(const struct call *call)
{
	if (strcmp(call->name, "bind") == 0) {
		errno = refusal;
		return -1;
	}
	return make_call(call);
}

static void go_without_name(void)
{
	static const int refusals[] = { EACCES, EPERM, ENOMEM, ENOSPC, EINVAL };
	int server;

	NEW(server, ancillary_listen("s", SOCK_DGRAM, 0600, 0));
	for (size_t i = 0; i < LENGTH(refusals); i++) {
		struct sockaddr_un name;
		socklen_t len = sizeof name;
		int client;

		refusal = refusals[i];
		on_call = refuse_names;
		NEW(client, ancillary_connect("s", SOCK_DGRAM, 0));
		on_call = make_call;
		CHECK(getsockname(client, (struct sockaddr *)&name, &len) == 0);
		CHECK_IS(len, sizeof name.sun_family);
		check_talk(server, client, SOCK_DGRAM);
	}
	CHECK(close(server) == 0);
}

static void a_name_may_be_refused(void)
{
	in_a_place(go_without_name);
}

CHECK_MAIN(CASE(options_are_set_before_others_come), CASE(a_missing_option_leaves_nothing),
	   CASE(the_first_datagram_has_credentials), CASE(datagrams_can_be_answered),
	   CASE(a_name_may_be_refused))
