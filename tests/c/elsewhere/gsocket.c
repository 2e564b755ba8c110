/* GLib's GSocket on one side, with control messages of its own; and on the other
 * system calls of this program's, with control data of the library's. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <gio/gio.h>
#include <gio/gunixcredentialsmessage.h>
#include <gio/gunixfdmessage.h>
#include <string.h>
#include <unistd.h>

static int files[MOST], arrived[MOST];
static char control[ANCILLARY_CONTROL_SIZE(MOST)];
static char sent[] = "abc", came[8];

/* --- from GLib --- */

static void send_from_glib(GSocket *from, size_t nfds, bool creds)
{
	GSocketControlMessage *messages[2];
	GOutputVector part = { sent, 3 };
	int count = 0;

	if (creds)
		messages[count++] = g_unix_credentials_message_new();
	if (nfds > 0) {
		messages[count] = g_unix_fd_message_new();
		for (size_t i = 0; i < nfds; i++)
			CHECK(g_unix_fd_message_append_fd(G_UNIX_FD_MESSAGE(messages[count]),
							  files[i], NULL));
		count++;
	}
	CHECK_IS(g_socket_send_message(from, NULL, &part, 1, messages, count, 0, NULL, NULL), 3);
	while (count > 0)
		g_object_unref(messages[--count]);
}

static void hear_glib(GSocket *from, int sock, size_t nfds, bool creds)
{
	struct iovec iov = { came, sizeof came };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct ancillary_msg msg = { .size = sizeof msg, .fds = arrived, .nfds = nfds };
	ssize_t n;

	check_about("%zu descriptors, %d", nfds, creds);
	send_from_glib(from, nfds, creds);
	header.msg_control = control;
	header.msg_controllen = ANCILLARY_CONTROL_SIZE(nfds);
	n = recvmsg(sock, &header, 0);
	CHECK_OK(ancillary_decode(&header, n, &msg, 0), 3);
	CHECK(memcmp(came, sent, 3) == 0);
	CHECK_IS(msg.flags, creds ? ANCILLARY_HAS_CREDS : 0);
	if (creds) {
		CHECK_IS(msg.creds.pid, getpid());
		CHECK_IS(msg.creds.uid, getuid());
	}
	CHECK_IS(msg.nfds, nfds);
	take_arrived(arrived, nfds, files, nfds);
}

/* --- to GLib --- */

static void send_to_glib(int sock, size_t nfds, bool creds)
{
	struct iovec iov = { sent, 3 };
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1, .fds = files };
	struct msghdr header;

	msg.nfds = nfds;
	if (creds) {
		msg.creds = (struct ancillary_creds){ getpid(), getuid(), getgid() };
		msg.flags = ANCILLARY_HAS_CREDS;
	}
	header.msg_control = control;
	header.msg_controllen = sizeof control;
	CHECK_OK(ancillary_encode(&header, &msg), 0);
	CHECK_IS(sendmsg(sock, &header, MSG_NOSIGNAL), 3);
}

static void look_at(GSocketControlMessage *message, size_t *fds, bool *creds)
{
	if (G_IS_UNIX_CREDENTIALS_MESSAGE(message)) {
		GCredentials *sender = g_unix_credentials_message_get_credentials(
			G_UNIX_CREDENTIALS_MESSAGE(message));

		CHECK_IS(g_credentials_get_unix_pid(sender, NULL), getpid());
		CHECK_IS(g_credentials_get_unix_user(sender, NULL), getuid());
		*creds = true;
	} else {
		int count, *taken;

		CHECK(G_IS_UNIX_FD_MESSAGE(message));
		taken = g_unix_fd_message_steal_fds(G_UNIX_FD_MESSAGE(message), &count);
		*fds = (size_t)count;
		take_arrived(taken, *fds, files, *fds);
		g_free(taken);
	}
}

static void tell_glib(GSocket *to, int sock, size_t nfds, bool creds)
{
	GInputVector part = { came, sizeof came };
	GSocketControlMessage **messages;
	size_t fds = 0;
	bool known = false;
	int count;

	check_about("%zu descriptors, %d", nfds, creds);
	send_to_glib(sock, nfds, creds);
	CHECK_IS(g_socket_receive_message(to, NULL, &part, 1, &messages, &count, NULL, NULL, NULL),
		 3);
	CHECK(memcmp(came, sent, 3) == 0);
	for (int i = 0; i < count; i++) {
		look_at(messages[i], &fds, &known);
		g_object_unref(messages[i]);
	}
	g_free(messages);
	CHECK_IS(fds, nfds);
	CHECK_IS(known, creds);
}

/* --- both --- */

static void talk(int type, int sock[2],
		 void (*pass)(GSocket *glib, int sock, size_t nfds, bool creds), int receiver)
{
	static const size_t counts[] = { 0, 1, 2, 5, MOST };
	GSocket *glib;

	(void)type;
	open_files(files, MOST);
	for (int creds = 0; creds <= 1; creds++) {
		set_option(sock[receiver], SO_PASSCRED, creds);
		glib = g_socket_new_from_fd(dup(sock[HERE]), NULL);
		CHECK(glib);
		for (size_t i = 0; i < LENGTH(counts); i++)
			pass(glib, sock[THERE], counts[i], creds);
		g_object_unref(glib);
	}
	close_files(files, MOST);
}

static void hear(int type, int sock[2])
{
	talk(type, sock, hear_glib, THERE);
}

static void tell(int type, int sock[2])
{
	talk(type, sock, tell_glib, HERE);
}

static void what_it_sends_is_taken_apart(void)
{
	with_type(SOCK_STREAM, hear);
	with_type(SOCK_DGRAM, hear);
}

static void it_understands_what_is_put_together(void)
{
	with_type(SOCK_STREAM, tell);
	with_type(SOCK_DGRAM, tell);
}

CHECK_MAIN(CASE(what_it_sends_is_taken_apart), CASE(it_understands_what_is_put_together))
