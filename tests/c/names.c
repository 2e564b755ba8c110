/* ancillary_msg.name: where a message comes from, and where it goes to. */

#include "check.h"
#include "kit.h"
#include "place.h"
#include "users.h"

#include <ancillary.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int file;
static char data[8];
static struct iovec iov;

/* A message to receive, with room for a descriptor, and for a name of so many
 * bytes in memory that is larger. */
static int received;
static char name[200];

static struct ancillary_msg room_for(size_t namelen)
{
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };

	memset(name, 'x', sizeof name);
	iov = (struct iovec){ data, sizeof data };
	msg.fds = &received;
	msg.nfds = 1;
	msg.name = name;
	msg.namelen = namelen;
	return msg;
}

/* A message to send, with a descriptor. */
static struct ancillary_msg to(const void *whom, size_t len)
{
	static char text[] = { 'a', 'n', 's', 'w', 'e', 'r' };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };

	iov = (struct iovec){ text, sizeof text };
	msg.fds = &file;
	msg.nfds = 1;
	msg.name = (void *)(uintptr_t)whom;
	msg.namelen = len;
	return msg;
}

static bool untouched(size_t from)
{
	while (from < sizeof name && name[from] == 'x')
		from++;
	return from == sizeof name;
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	CHECK(strlen(path) < sizeof address.sun_path);
	strcpy(address.sun_path, path);
	return address;
}

/* A datagram socket that is not connected, and has no name. */
static int new_socket(void)
{
	int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	CHECK(sock >= 0);
	return sock;
}

static void connect_to(int sock, const char *path)
{
	struct sockaddr_un address = address_of(path);

	CHECK(connect(sock, (struct sockaddr *)&address, sizeof address) == 0);
}

static int bound_to(const char *path, int type)
{
	int sock = bind_by_hand(path, strlen(path) + 1, type);

	CHECK(sock >= 0);
	return sock;
}

static void ask(int client)
{
	CHECK_OK(ancillary_send_fds(client, &file, 1, "ask", 3, 0), 3);
}

/* Checks that the answer, which is sent to a name, comes. */
static void hear(int client)
{
	size_t nfds = 1;

	CHECK_OK(ancillary_recv_fds(client, &received, &nfds, data, sizeof data, 0), 6);
	CHECK(memcmp(data, "answer", 6) == 0);
	CHECK_IS(nfds, 1);
	take_arrived(&received, 1, &file, 1);
}

/* --- a server answers --- */

static int server;

/* Answers a client with the name that it has, as far as anybody can use it: the
 * kernel counts a zero byte behind a path that fills the whole address, and
 * takes it from nobody. */
static void answer(int client)
{
	static const unsigned flags[] = { 0, ANCILLARY_DONTWAIT, ANCILLARY_WAITALL,
					  ANCILLARY_LOSSLESS };
	union {
		struct sockaddr_un address;
		char room[200];
	} own;
	socklen_t len = sizeof own;
	struct ancillary_msg msg;

	CHECK(getsockname(client, (struct sockaddr *)&own, &len) == 0);
	if (len > sizeof own.address)
		len = sizeof own.address;
	for (size_t i = 0; i < LENGTH(flags); i++) {
		ask(client);
		msg = room_for(sizeof name);
		CHECK_OK(ancillary_recv_msg(server, &msg, flags[i]), 3);
		take_arrived(&received, 1, &file, 1);
		CHECK_IS(msg.namelen, len);
		CHECK(msg.name == name && memcmp(name, own.room, len) == 0);
		msg = to(msg.name, msg.namelen);
		CHECK_OK(ancillary_send_msg(server, &msg, flags[i] & ANCILLARY_DONTWAIT), 6);
		hear(client);
		/* With room for an address, as programs have it. */
		ask(client);
		msg = room_for(sizeof own.address);
		CHECK_OK(ancillary_recv_msg(server, &msg, flags[i]), 3);
		take_arrived(&received, 1, &file, 1);
		CHECK_IS(msg.namelen, len);
		CHECK(memcmp(name, own.room, len) == 0 && untouched(sizeof own.address));
		msg = to(msg.name, msg.namelen);
		CHECK_OK(ancillary_send_msg(server, &msg, 0), 6);
		hear(client);
	}
}

static void answer_each(void)
{
	enum { WHOLE = sizeof(struct sockaddr_un) - sizeof(sa_family_t) };
	char path[WHOLE], abstract[WHOLE] = "";
	/* What is bound, by its length: paths with a zero byte and without. */
	const struct {
		const char *name;
		size_t len;
	} names[] = { { "client", 7 },	 { path, WHOLE - 1 },  { path, WHOLE },
		      { abstract, 0 },	 { abstract, 20 },     { abstract, WHOLE } };

	server = bound_to("server", SOCK_DGRAM);
	open_files(&file, 1);
	memset(path, 'p', sizeof path);
	/* Such names are the system's, where other tests may run as well. */
	snprintf(abstract + 1, sizeof abstract - 1, "names-%d", (int)getpid());
	for (size_t i = 0; i < LENGTH(names); i++) {
		int client = bind_by_hand(names[i].name, names[i].len, SOCK_DGRAM);

		check_about("name %zu", i);
		CHECK(client >= 0);
		connect_to(client, "server");
		answer(client);
		close_files(&client, 1);
	}
	close_files(&file, 1);
	close_files(&server, 1);
}

static void a_server_answers_whoever_has_a_name(void)
{
	in_a_place(answer_each);
}

/* --- names that are not there, or do not fit --- */

static void hear_of_nobody(int type, int sock[2])
{
	static const unsigned flags[] = { 0, ANCILLARY_LOSSLESS };

	(void)type;
	open_files(&file, 1);
	for (size_t i = 0; i < LENGTH(flags); i++) {
		struct ancillary_msg msg = room_for(sizeof name);

		ask(sock[HERE]);
		CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, flags[i]), 3);
		take_arrived(&received, 1, &file, 1);
		CHECK_IS(msg.namelen, 0);
		CHECK(msg.name == name && untouched(0));
		/* A call that fails has none either. */
		msg = room_for(sizeof name);
		CHECK_ERR(ancillary_recv_msg(sock[THERE], &msg, flags[i] | ANCILLARY_DONTWAIT),
			  EAGAIN);
		CHECK_IS(msg.namelen, 0);
		CHECK(msg.name == name && untouched(0));
	}
	close_files(&file, 1);
}

static void a_sender_without_a_name_has_none(void)
{
	with_each_type(hear_of_nobody);
}

static void cut_names(void)
{
	int client = bound_to("client", SOCK_DGRAM);
	struct sockaddr_un own = address_of("client");
	const size_t len = offsetof(struct sockaddr_un, sun_path) + sizeof "client";

	server = bound_to("server", SOCK_DGRAM);
	open_files(&file, 1);
	connect_to(client, "server");
	for (unsigned flags = 0; flags <= ANCILLARY_LOSSLESS; flags += ANCILLARY_LOSSLESS) {
		for (size_t room = 0; room <= len + 1; room++) {
			struct ancillary_msg msg = room_for(room);
			size_t filled = room < len ? room : len;

			check_about("room for %zu bytes of a name", room);
			ask(client);
			CHECK_OK(ancillary_recv_msg(server, &msg, flags), 3);
			/* The message is whole all the same. */
			CHECK_IS(msg.flags, 0);
			take_arrived(&received, 1, &file, 1);
			CHECK_IS(msg.namelen, len);
			CHECK(memcmp(name, &own, filled) == 0 && untouched(filled));
		}
		/* Without room none is asked for, whatever the length says. */
		for (size_t i = 0; i < 2; i++) {
			struct ancillary_msg msg = room_for(i);

			check_about("no room, length %zu", i);
			msg.name = NULL;
			ask(client);
			CHECK_OK(ancillary_recv_msg(server, &msg, flags), 3);
			take_arrived(&received, 1, &file, 1);
			CHECK(!msg.name && msg.namelen == 0);
		}
	}
	close_files(&file, 1);
	close_files(&server, 1);
	close_files(&client, 1);
}

static void a_cut_name_is_longer_than_its_room(void)
{
	in_a_place(cut_names);
}

/* --- connections --- */

/* The name of the other end, if it has one: that of an accepted socket is its
 * listener's. */
static void hear_of_listener(int type)
{
	struct sockaddr_un own = address_of("listener");
	int listener = bound_to("listener", type), client, accepted;

	CHECK(listen(listener, 1) == 0);
	client = connect_by_hand("listener", 9, type);
	accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	CHECK(client >= 0 && accepted >= 0);
	for (unsigned flags = 0; flags <= ANCILLARY_LOSSLESS; flags += ANCILLARY_LOSSLESS) {
		struct ancillary_msg msg = room_for(sizeof name);

		ask(accepted);
		CHECK_OK(ancillary_recv_msg(client, &msg, flags), 3);
		take_arrived(&received, 1, &file, 1);
		CHECK_IS(msg.namelen, offsetof(struct sockaddr_un, sun_path) + 9);
		CHECK(memcmp(name, &own, msg.namelen) == 0);
	}
	close_files((int[]){ listener, client, accepted }, 3);
	CHECK(unlink("listener") == 0);
}

static void hear_of_listeners(void)
{
	open_files(&file, 1);
	hear_of_listener(SOCK_STREAM);
	hear_of_listener(SOCK_SEQPACKET);
	close_files(&file, 1);
}

static void a_connection_tells_the_name_of_the_other_end(void)
{
	in_a_place(hear_of_listeners);
}

static void name_somebody_else(void)
{
	struct sockaddr_un other = address_of("other");
	struct ancillary_msg msg = to(&other, sizeof other);
	int sock[2], alone = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	server = bound_to("other", SOCK_DGRAM);
	open_files(&file, 1);
	open_pair(SOCK_STREAM, sock);
	CHECK_ERR(ancillary_send_msg(sock[HERE], &msg, 0), EISCONN);
	CHECK_ERR(ancillary_send_msg(alone, &msg, 0), EOPNOTSUPP);
	check_nothing_there(sock[THERE]);
	close_pair(sock);
	/* There the kernel does not look at it. */
	open_pair(SOCK_SEQPACKET, sock);
	CHECK_OK(ancillary_send_msg(sock[HERE], &msg, 0), 6);
	hear(sock[THERE]);
	close_pair(sock);
	/* A datagram socket that is connected sends to others all the same. */
	open_pair(SOCK_DGRAM, sock);
	CHECK_OK(ancillary_send_msg(sock[HERE], &msg, 0), 6);
	check_nothing_there(sock[THERE]);
	hear(server);
	close_pair(sock);
	close_files((int[]){ server, alone }, 2);
	close_files(&file, 1);
}

static void a_connection_has_one_other_end(void)
{
	in_a_place(name_somebody_else);
}

/* --- everything else of a message --- */

static void send_all_of_it(void)
{
	static const int lens[] = { 6, 0, 1 };
	struct sockaddr_un address = address_of("server");
	int client = new_socket();
	struct ancillary_msg msg;

	server = bound_to("server", SOCK_DGRAM);
	open_files(&file, 1);
	msg = to(&address, sizeof address);
	msg.flags = ANCILLARY_HAS_CREDS;
	msg.creds = (struct ancillary_creds){ getpid(), getuid(), getgid() };
	CHECK_OK(ancillary_send_msg(client, &msg, 0), 6);
	iov.iov_len = 0;
	CHECK_OK(ancillary_send_msg(client, &msg, 0), 0);
	msg.iov = NULL;
	msg.iovlen = 0;
	CHECK_OK(ancillary_send_msg(client, &msg, 0), 1);
	set_option(server, SO_PASSCRED, 1);
	for (size_t i = 0; i < LENGTH(lens); i++) {
		msg = room_for(sizeof name);
		CHECK_OK(ancillary_recv_msg(server, &msg, 0), lens[i]);
		CHECK_IS(msg.flags, ANCILLARY_HAS_CREDS);
		CHECK_IS(msg.creds.pid, getpid());
		CHECK_IS(msg.namelen, 0);
		take_arrived(&received, 1, &file, 1);
	}
	/* No name is none. */
	msg = to(&address, 0);
	CHECK_ERR(ancillary_send_msg(client, &msg, 0), ENOTCONN);
	msg = to(NULL, 0);
	CHECK_ERR(ancillary_send_msg(client, &msg, 0), ENOTCONN);
	close_files((int[]){ server, client }, 2);
	close_files(&file, 1);
}

static void a_name_goes_with_all_there_is(void)
{
	in_a_place(send_all_of_it);
}

/* --- names that lead to nobody --- */

static int client;

static void send_to(const char *path, int error)
{
	struct sockaddr_un address = address_of(path);
	struct ancillary_msg msg = to(&address, sizeof address);

	check_about("to %s", path);
	CHECK_ERR(ancillary_send_msg(client, &msg, 0), error);
}

static void send_to_nobody(void)
{
	struct sockaddr_un address = address_of("server");
	int stream = bound_to("stream", SOCK_STREAM), busy = bound_to("busy", SOCK_DGRAM);
	struct ancillary_msg msg;

	client = new_socket();
	server = bound_to("server", SOCK_DGRAM);
	connect_to(busy, "server");
	open_files(&file, 1);
	make_stale("dead", SOCK_DGRAM);
	CHECK(symlink("loop", "loop") == 0);
	send_to("nothing", ENOENT);
	send_to("server/", ENOTDIR);
	send_to("loop", ELOOP);
	send_to("dead", ECONNREFUSED);
	send_to(".", ECONNREFUSED);
	send_to("stream", EPROTOTYPE);
	send_to("busy", EPERM);
	for (size_t len = 1; len < sizeof name; len++) {
		msg = to(&address, len);
		if (len > offsetof(struct sockaddr_un, sun_path) && len <= sizeof address)
			continue;
		check_about("a name of %zu bytes", len);
		memcpy(name, &address, sizeof address);
		msg.name = name;
		CHECK_ERR(ancillary_send_msg(client, &msg, 0), EINVAL);
	}
	check_about("%s", "");
	msg = to(NULL, sizeof address);
	CHECK_ERR(ancillary_send_msg(client, &msg, 0), EINVAL);
	msg = to(&address, SIZE_MAX);
	CHECK_ERR(ancillary_send_msg(client, &msg, 0), EINVAL);
	msg = to((void *)8, sizeof address);
	CHECK_ERR(ancillary_send_msg(client, &msg, 0), EFAULT);
	address.sun_family = AF_INET;
	msg = to(&address, sizeof address);
	CHECK_ERR(ancillary_send_msg(client, &msg, 0), EINVAL);
	check_nothing_there(server);
	ask(busy);
	msg = room_for(SIZE_MAX);
	CHECK_ERR(ancillary_recv_msg(server, &msg, 0), EINVAL);
	CHECK_IS(msg.namelen, 0);
	/* Nothing was consumed. */
	msg = room_for(sizeof name);
	CHECK_OK(ancillary_recv_msg(server, &msg, 0), 3);
	take_arrived(&received, 1, &file, 1);
	close_files((int[]){ stream, busy, client, server, file }, 5);
}

static void names_that_lead_nowhere(void)
{
	in_a_place(send_to_nobody);
}

/* The message was consumed, and what it brings installed. */
static void receive_the_name_nowhere(void)
{
	struct ancillary_msg msg = room_for(sizeof name);

	client = bound_to("client", SOCK_DGRAM);
	server = bound_to("server", SOCK_DGRAM);
	connect_to(client, "server");
	open_files(&file, 1);
	ask(client);
	msg.name = (void *)8;
	CHECK_ERR(ancillary_recv_msg(server, &msg, 0), EFAULT);
	CHECK_IS(msg.nfds, 0);
	CHECK_IS(received, -1);
	check_nothing_there(server);
	close_files((int[]){ client, server, file }, 3);
}

static void a_name_into_nowhere_leaves_nothing(void)
{
	in_a_place(receive_the_name_nowhere);
}

static void send_without_permission(void)
{
	send_to("server", EACCES);
}

static void send_to_a_closed_one(void)
{
	client = new_socket();
	server = bound_to("server", SOCK_DGRAM);
	open_files(&file, 1);
	CHECK(chmod("server", 0) == 0);
	as_nobody(send_without_permission);
	close_files((int[]){ client, server, file }, 3);
}

static void a_name_can_be_closed_to_some(void)
{
	need_root();
	in_a_place(send_to_a_closed_one);
}

CHECK_MAIN(CASE(a_server_answers_whoever_has_a_name), CASE(a_sender_without_a_name_has_none),
	   CASE(a_cut_name_is_longer_than_its_room),
	   CASE(a_connection_tells_the_name_of_the_other_end),
	   CASE(a_connection_has_one_other_end), CASE(a_name_goes_with_all_there_is),
	   CASE(names_that_lead_nowhere), CASE(a_name_into_nowhere_leaves_nothing),
	   CASE(a_name_can_be_closed_to_some))
