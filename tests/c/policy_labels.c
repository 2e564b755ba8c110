/* The labels that a real security module gives: where there is one, and where there
 * is none. Run by tools/check-kernel.sh. */

#include "check.h"
#include "policy_kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { LEN = 8, ROOM = 5 };

/* Not in every system's headers: SCM_SECURITY and SCM_PIDFD. */
enum { SECURITY = 3, PIDFD = 4 };

/* What the policy for SELinux says of all that has no label of its own. */
static const char unlabelled[] = "u:r:rest:s0";

static char data[LEN];
static int fds[ROOM];

static bool linux_is(int major, int minor)
{
	struct utsname system;
	int is_major, is_minor;

	CHECK(uname(&system) == 0);
	CHECK_IS(sscanf(system.release, "%d.%d", &is_major, &is_minor), 2);
	return is_major > major || (is_major == major && is_minor >= minor);
}

/* What the module shows of a process. */
static const char *label_of(pid_t pid)
{
	static char label[LABEL];
	char path[40];
	ssize_t n;
	int attr;

	snprintf(path, sizeof path, "/proc/%d/attr/current", (int)pid);
	attr = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(attr >= 0);
	n = read(attr, label, sizeof label - 1);
	CHECK(n > 0);
	CHECK(close(attr) == 0);
	label[n] = '\0';
	label[strcspn(label, "\n")] = '\0';
	return label;
}

/* --- of peers --- */

/* The library says what the kernel says of a socket, in every room. Returns the
 * label, or "" if there is none. */
static const char *label_at(int s)
{
	static char label[LABEL], raw[LABEL], tight[LABEL + 8];
	socklen_t len = sizeof raw;
	size_t n;

	if (getsockopt(s, SOL_SOCKET, SO_PEERSEC, raw, &len) < 0) {
		CHECK_IS(errno, ENOPROTOOPT);
		CHECK_ERR(ancillary_peer_label(s, label, sizeof label), ENOPROTOOPT);
		return "";
	}
	n = strnlen(raw, len);
	/* No module gives an empty one. */
	CHECK(n > 0);
	CHECK_OK(ancillary_peer_label(s, label, sizeof label), n);
	CHECK(memcmp(label, raw, n) == 0 && label[n] == '\0');
	for (size_t room = n > 40 ? n - 40 : 1; room <= n + 3; room++) {
		memset(tight, '?', sizeof tight);
		if (room <= n) {
			CHECK_ERR(ancillary_peer_label(s, tight, room), ERANGE);
		} else {
			CHECK_OK(ancillary_peer_label(s, tight, room), n);
			CHECK(strcmp(tight, label) == 0);
		}
		CHECK_IS(tight[room], '?');
	}
	return label;
}

static void check_label(int s, const char *expected)
{
	const char *label = label_at(s);

	if (strcmp(label, expected) != 0)
		printf("# \"%s\" instead of \"%s\"\n", label, expected);
	CHECK(strcmp(label, expected) == 0);
}

/* SELinux gives none on datagram sockets; AppArmor none at all before 6.17. */
static const char *expected_of(pid_t pid, int kind)
{
	bool is_there = is_selinux() ? kind != SOCK_DGRAM : linux_is(6, 17);

	return is_there ? label_of(pid) : "";
}

static void label_of_pair(void)
{
	check_label(sock[HERE], expected_of(getpid(), type));
	check_label(sock[THERE], expected_of(getpid(), type));
}

static void a_pair_has_the_label_of_who_made_it(void)
{
	in_all_types(label_of_pair);
}

static void a_socket_alone(void)
{
	int alone = socket(AF_UNIX, SOCK_STREAM, 0);

	check_label(alone, is_selinux() ? unlabelled : "");
	CHECK(close(alone) == 0);
}

/* Not that of the process. */
static void a_socket_that_is_not_connected(void)
{
	as("opener", a_socket_alone);
}

static int kind;

static void connect_to(void)
{
	int s = ancillary_connect("/tmp/labels", kind, 0);
	char byte;

	CHECK(s >= 0);
	check_label(s, expected_of(getppid(), kind));
	/* Until the other side has seen this one. */
	CHECK_IS(read(s, &byte, 1), 0);
	CHECK(close(s) == 0);
}

static void each_end_sees_the_other(void)
{
	int listener = ancillary_listen("/tmp/labels", kind, 0666, ANCILLARY_REPLACE);
	int connected;
	pid_t child;

	CHECK(listener >= 0);
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		become("withheld", "s0");
		connect_to();
		_exit(0);
	}
	connected = accept(listener, NULL, NULL);
	CHECK(connected >= 0);
	check_label(connected, expected_of(child, kind));
	if (expected_of(child, kind)[0])
		CHECK(strstr(label_at(connected), "withheld"));
	CHECK(close(connected) == 0);
	check_child(child);
	CHECK(close(listener) == 0);
	CHECK(unlink("/tmp/labels") == 0);
}

static void a_label_is_what_the_module_shows(void)
{
	kind = SOCK_STREAM;
	each_end_sees_the_other();
	kind = SOCK_SEQPACKET;
	each_end_sees_the_other();
}

/* --- of messages --- */

/* A call has so much room beside the descriptors that it asks for, or it says that
 * this was too little; without loss it looks again, with more. */
enum { BESIDE = 112 };

/* The next message comes with this label, or with none if that is "". */
static void check_message_label(const char *expected)
{
	static union {
		struct cmsghdr first;
		char bytes[2 * LABEL];
	} control;
	struct iovec iov = { data, LEN };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = sizeof control };
	size_t size = 0;

	CHECK(recvmsg(sock[THERE], &header, MSG_PEEK | MSG_CMSG_CLOEXEC) > 0);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
		size_t len = c->cmsg_len - CMSG_LEN(0);

		if (c->cmsg_type == SECURITY) {
			size = len;
			CHECK(size > 0 && memcmp(CMSG_DATA(c), expected, size) == 0);
		} else if (c->cmsg_type == SCM_RIGHTS || c->cmsg_type == PIDFD) {
			close_files((int *)(void *)CMSG_DATA(c), len / sizeof(int));
		}
	}
	/* With its zero byte. */
	CHECK_IS(size, *expected ? strlen(expected) + 1 : 0);
}

static void receive_labelled(const char *label)
{
	size_t n = ROOM;

	send_with("ffs", 3);
	check_message_label(label);
	if (CMSG_SPACE(strlen(label) + 1) > BESIDE + CMSG_SPACE(ROOM * sizeof(int))) {
		CHECK_ERR(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, 0), ENOBUFS);
		CHECK_IS(n, 0);
	} else {
		CHECK_OK(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, 0), 3);
		CHECK_IS(n, 3);
	}
	close_files(fds, n);
	send_with("fsf", 3);
	take_all("fsf");
	CHECK_IS(send(sock[HERE], "ab", 2, 0), 2);
	n = ROOM;
	CHECK_OK(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, ANCILLARY_LOSSLESS), 2);
	CHECK_IS(n, 0);
}

static void receive_nothing(void)
{
	size_t open = open_descriptors(), n = ROOM;

	CHECK_ERR(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, 0), EACCES);
	CHECK_IS(n, 0);
	CHECK_IS(open_descriptors(), open);
	check_nothing_there(sock[THERE]);
}

static void refuse(void)
{
	for (int i = 0; i < 3; i++)
		check_refused(EACCES);
}

static bool label_is_long;

/* A stream looks for the sender only where credentials are asked for. */
static void with_labels(void)
{
	const char *own = is_selinux() ? label_of(getpid()) : "";
	const char *at_first = is_selinux() && type == SOCK_STREAM ? unlabelled : own;
	size_t open = open_descriptors();

	CHECK(!is_selinux() || strcmp(own, unlabelled) != 0);
	CHECK(!label_is_long || strlen(own) > 840);
	set_option(sock[THERE], SO_PASSSEC, 1);
	/* What a long one may have left no room for is not said to be withheld. */
	if (!label_is_long) {
		with_message("fsf", receive_nothing);
		with_message("fsf", refuse);
		take_all("fsf");
	}
	receive_labelled(at_first);
	set_option(sock[THERE], SO_PASSCRED, 1);
	receive_labelled(own);
	if (has_option(OPTION_PASSPIDFD)) {
		set_option(sock[THERE], OPTION_PASSPIDFD, 1);
		receive_labelled(own);
	}
	CHECK_IS(open_descriptors(), open);
}

static void label_in_all_types(void)
{
	in_all_types(with_labels);
}

static void messages_come_with_labels(void)
{
	as("opener", label_in_all_types);
}

/* Many categories make a label long. */
static void with_a_long_label(void)
{
	static char level[LABEL] = "s0";
	size_t len = strlen(level);

	for (int category = 0; category < 400; category += 2)
		len += (size_t)snprintf(level + len, sizeof level - len, "%sc%d",
					category ? "," : ":", category);
	become("opener", level);
	label_is_long = true;
	open_pair(SOCK_STREAM, sock);
	check_label(sock[THERE], label_of(getpid()));
	CHECK(strlen(label_of(getpid())) > 840);
	close_pair(sock);
	in_all_types(with_labels);
}

static void a_label_can_be_long(void)
{
	if (!is_selinux())
		check_skip("only SELinux has long labels");
	as("opener", with_a_long_label);
}

CHECK_MAIN(CASE(a_pair_has_the_label_of_who_made_it), CASE(a_socket_that_is_not_connected),
	   CASE(a_label_is_what_the_module_shows), CASE(messages_come_with_labels),
	   CASE(a_label_can_be_long))
