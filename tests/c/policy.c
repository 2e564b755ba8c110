/* What a real security module withholds, and the labels that it gives: run by
 * tools/check-kernel.sh, whose policies say that `withheld` may not have what
 * is in /secure, and `opener` may.
 *
 * SECURITY_MODULE in the environment is the module: apparmor or selinux. */

#include "check.h"

#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* A label is never longer. */
enum { LABEL = 4096 };

enum { LEN = 8, ROOM = 5 };

/* Not in every system's headers: SCM_SECURITY and SCM_PIDFD. */
enum { SECURITY = 3, PIDFD = 4 };

static char data[LEN];
static int fds[MOST];
static int secret, file;

static bool is_selinux(void)
{
	const char *module = getenv("SECURITY_MODULE");

	CHECK(module && (strcmp(module, "selinux") == 0 || strcmp(module, "apparmor") == 0));
	return strcmp(module, "selinux") == 0;
}

/* --- this process --- */

/* Goes on as who the module is to see. */
static void become(const char *who, const char *level)
{
	static char text[LABEL];
	int attr = open("/proc/self/attr/current", O_WRONLY | O_CLOEXEC);
	int len = is_selinux() ? snprintf(text, sizeof text, "u:r:%s:%s", who, level) :
				 snprintf(text, sizeof text, "changeprofile %s", who);

	CHECK(attr >= 0);
	CHECK_IS(write(attr, text, (size_t)len), len);
	CHECK(close(attr) == 0);
}

/* Runs in a child that is somebody else to the module. */
static void as(const char *who, void (*run)(void))
{
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		become(who, "s0");
		run();
		_exit(0);
	}
	check_child(child);
}

static int pipe_to_opener[2];

static void open_secret(void)
{
	int opened = open("/secure/secret", O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	CHECK(opened >= 0);
	CHECK_IS(send_by_hand(pipe_to_opener[THERE], "x", 1, &opened, 1), 1);
}

/* AppArmor lets everybody have what a process has opened that is not confined. */
static void open_both(void)
{
	size_t one = 1;
	char byte;

	open_pair(SOCK_STREAM, pipe_to_opener);
	as("opener", open_secret);
	CHECK_IS(receive_by_hand(pipe_to_opener[HERE], &byte, 1, &secret, &one), 1);
	CHECK_IS(one, 1);
	close_pair(pipe_to_opener);
	open_files(&file, 1);
}

static void close_both(void)
{
	close_files(&secret, 1);
	close_files(&file, 1);
}

static void it_cannot_be_opened(void)
{
	CHECK(open("/secure/secret", O_RDWR | O_CLOEXEC) < 0);
	CHECK_IS(errno, EACCES);
}

static void the_policy_is_in_force(void)
{
	open_both();
	as("withheld", it_cannot_be_opened);
	close_both();
}

/* --- descriptors --- */

static int sock[2];

/* For each letter, `s` the secret, `f` the other file. */
static void send_with(const char *which, size_t len)
{
	int sent[MOST];
	size_t n = strlen(which);

	for (size_t i = 0; i < n; i++)
		sent[i] = which[i] == 's' ? secret : file;
	CHECK_OK(ancillary_send_fds(sock[HERE], sent, n, "abc", len, 0), len);
}

static void send_files(const char *which)
{
	send_with(which, 3);
}

/* What a process that may not have the secret does with a message. */
static void with_message(const char *which, void (*receive)(void))
{
	send_files(which);
	as("withheld", receive);
}

static void in_all_types(void (*run)(void))
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
	static const char *const names[] = { "stream", "seqpacket", "dgram" };

	open_both();
	for (size_t i = 0; i < LENGTH(types); i++) {
		check_about("%s", names[i]);
		open_pair(types[i], sock);
		run();
		close_pair(sock);
	}
	close_both();
}

static void check_nothing_left(size_t open)
{
	CHECK_IS(open_descriptors(), open);
	check_nothing_there(sock[THERE]);
}

static void recv_fd(void)
{
	size_t open = open_descriptors();

	CHECK_ERR(ancillary_recv_fd(sock[THERE]), EACCES);
	check_nothing_left(open);
}

static void recv_fds(void)
{
	size_t open = open_descriptors(), n = ROOM;

	CHECK_ERR(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, 0), EACCES);
	CHECK_IS(n, 0);
	CHECK(all_none(fds, ROOM));
	check_nothing_left(open);
}

/* With too little room besides, that is told. */
static void recv_fds_in_one(void)
{
	size_t open = open_descriptors(), n = 1;

	CHECK_ERR(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, 0), E2BIG);
	CHECK_IS(n, 0);
	check_nothing_left(open);
}

static void recv_creds_into(int error)
{
	size_t open = open_descriptors();
	struct ancillary_creds creds;

	CHECK_ERR(ancillary_recv_creds(sock[THERE], &creds, data, LEN, 0), error);
	CHECK_IS(creds.pid, 0);
	check_nothing_left(open);
}

/* It has no room for any: of one that comes it is told first. */
static void recv_creds(void) { recv_creds_into(EACCES); }
static void recv_creds_and_one(void) { recv_creds_into(E2BIG); }

static void strict(void)
{
	send_with("s", 1);
	as("withheld", recv_fd);
	with_message("sff", recv_creds);
	with_message("fsf", recv_creds_and_one);
	with_message("ffs", recv_creds_and_one);
	with_message("sff", recv_fds);
	with_message("fsf", recv_fds);
	with_message("ffs", recv_fds);
	with_message("ffs", recv_fds_in_one);
}

static void strict_calls_give_nothing(void)
{
	in_all_types(strict);
}

/* A tolerant call gives what stands in front. */
static void get(unsigned flags, size_t room, size_t n, unsigned outcome)
{
	size_t open = open_descriptors();
	struct iovec iov = { data, LEN };
	struct ancillary_msg msg = {
		.size = sizeof msg, .iov = &iov, .iovlen = 1, .fds = fds, .nfds = room, .pidfd = -1
	};

	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, flags), 3);
	CHECK_IS(msg.nfds, n);
	CHECK_IS(msg.flags, outcome);
	CHECK_IS(msg.error, outcome & ANCILLARY_FDS_LOST ? EACCES : 0);
	CHECK_IS(open_descriptors(), open + n + (msg.pidfd >= 0));
	for (size_t i = 0; i < n; i++)
		CHECK(same_file(fds[i], file));
	close_files(fds, n);
	if (msg.pidfd >= 0)
		close_files(&msg.pidfd, 1);
	check_nothing_left(open);
}

static void get_none(void) { get(0, ROOM, 0, ANCILLARY_FDS_LOST); }
static void get_one(void) { get(0, ROOM, 1, ANCILLARY_FDS_LOST); }
static void get_two(void) { get(0, ROOM, 2, ANCILLARY_FDS_LOST); }
static void get_one_at_once(void) { get(ANCILLARY_DONTWAIT, ROOM, 1, ANCILLARY_FDS_LOST); }
static void get_one_of_all(void) { get(ANCILLARY_WAITALL, ROOM, 1, ANCILLARY_FDS_LOST); }
static void get_in_one(void) { get(0, 1, 1, ANCILLARY_FDS_LOST | ANCILLARY_FDS_SURPLUS); }

static void tolerant(void)
{
	with_message("sff", get_none);
	with_message("fsf", get_one);
	with_message("ffs", get_two);
	with_message("fsf", get_one_at_once);
	with_message("fsf", get_one_of_all);
	with_message("ffs", get_in_one);
}

static void tolerant_calls_give_what_is_in_front(void)
{
	in_all_types(tolerant);
}

/* In front of the first there is nothing, and that is an error. */
static void old_recv_fd(void)
{
	size_t open = open_descriptors();
	int fd = 0;

	CHECK_IS(ancil_recv_fd(sock[THERE], &fd), -1);
	CHECK_IS(errno, EACCES);
	CHECK_IS(fd, -1);
	check_nothing_left(open);
}

static void old_recv_fds(size_t n)
{
	size_t open = open_descriptors();

	CHECK_IS(ancil_recv_fds(sock[THERE], fds, ROOM), n);
	for (size_t i = 0; i < n; i++)
		CHECK(same_file(fds[i], file));
	CHECK(all_none(fds + n, ROOM - n));
	close_files(fds, n);
	check_nothing_left(open);
}

static void old_recv_one(void) { old_recv_fds(1); }
static void old_recv_two(void) { old_recv_fds(2); }

static void old(void)
{
	send_with("s", 1);
	as("withheld", old_recv_fd);
	send_with("fsf", 1);
	as("withheld", old_recv_one);
	send_with("ffs", 1);
	as("withheld", old_recv_two);
}

static void so_do_the_old_ones(void)
{
	in_all_types(old);
}

static void recv_all(void)
{
	size_t open = open_descriptors(), n = ROOM;

	CHECK_ERR(ancillary_recv_fds(sock[THERE], fds, &n, data, 3, ANCILLARY_WAITALL), EACCES);
	CHECK_IS(n, 0);
	check_nothing_left(open);
}

static void waiting_for_all_changes_nothing(void)
{
	open_both();
	open_pair(SOCK_STREAM, sock);
	with_message("fsf", recv_all);
	close_pair(sock);
	close_both();
}

static void get_with_sender(void)
{
	get(0, ROOM, 1, ANCILLARY_FDS_LOST | ANCILLARY_HAS_CREDS | ANCILLARY_HAS_PIDFD);
}

static void with_sender(void)
{
	CHECK_OK(ancillary_set_passpidfd(sock[THERE], 1), 0);
	CHECK_OK(ancillary_set_passcred(sock[THERE], 1), 0);
	with_message("fsf", get_with_sender);
}

static void the_sender_is_told_all_the_same(void)
{
	need_option(OPTION_PASSPIDFD);
	in_all_types(with_sender);
}

/* --- without loss --- */

static void check_kept(size_t room, int error)
{
	size_t open = open_descriptors(), n = room;

	CHECK_ERR(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, ANCILLARY_LOSSLESS), error);
	CHECK_IS(n, 0);
	CHECK(all_none(fds, room));
	CHECK_IS(open_descriptors(), open);
	CHECK_IS(recv(sock[THERE], data, LEN, MSG_DONTWAIT | MSG_PEEK), 3);
}

static void refuse(void)
{
	for (int i = 0; i < 3; i++)
		check_kept(MOST, EACCES);
}

/* With a full table besides, that is what can be told. */
static void refuse_with_full_table(void)
{
	rlim_t limit = leave_slots(0);
	size_t n = MOST;

	CHECK_ERR(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, ANCILLARY_LOSSLESS), EMFILE);
	CHECK_IS(n, 0);
	set_limit(limit);
	check_kept(MOST, EACCES);
}

/* One that may have it takes the message whole. */
static void take_all(const char *which)
{
	size_t n = MOST;

	CHECK_OK(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, ANCILLARY_LOSSLESS), 3);
	CHECK_IS(n, strlen(which));
	for (size_t i = 0; i < n; i++)
		CHECK(same_file(fds[i], which[i] == 's' ? secret : file));
	close_files(fds, n);
	check_nothing_there(sock[THERE]);
}

static void keep(const char *which)
{
	with_message(which, refuse);
	as("withheld", refuse_with_full_table);
	take_all(which);
}

static void lossless(void)
{
	static char most[MOST + 1];

	keep("s");
	keep("sff");
	keep("fsf");
	keep("ffs");
	memset(most, 'f', MOST);
	most[MOST - 1] = 's';
	keep(most);
}

static void lossless_keeps_it_for_who_may_have_it(void)
{
	in_all_types(lossless);
}

static void take_two_bytes_and_refuse(void)
{
	size_t n = ROOM;

	CHECK_OK(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, ANCILLARY_LOSSLESS), 2);
	CHECK_IS(n, 0);
	refuse();
}

static void lossless_gives_the_bytes_in_front(void)
{
	open_both();
	open_pair(SOCK_STREAM, sock);
	CHECK_IS(write(sock[HERE], "ab", 2), 2);
	with_message("fsf", take_two_bytes_and_refuse);
	take_all("fsf");
	close_pair(sock);
	close_both();
}

/* --- on a channel --- */

static struct ancillary_channel channel;
static uint64_t in_data[32];

static void open_channel(unsigned flags)
{
	channel = (struct ancillary_channel){ .size = sizeof channel, .sock = sock[THERE],
					      .flags = flags | ANCILLARY_DONTWAIT,
					      .format = ANCILLARY_FORMAT_PLAIN,
					      .in_data = in_data, .in_size = sizeof in_data,
					      .in_fds = fds, .in_nfds = ROOM };
}

static void send_frame(const char *which)
{
	struct { uint32_t len; uint16_t nfds, zero; uint32_t type, id; } header = {
		.len = sizeof header, .nfds = (uint16_t)strlen(which)
	};
	int sent[ROOM];

	for (size_t i = 0; i < header.nfds; i++)
		sent[i] = which[i] == 's' ? secret : file;
	CHECK_IS(send_by_hand(sock[HERE], &header, sizeof header, sent, header.nfds),
		 sizeof header);
}

static void next_is_refused(void)
{
	size_t open = open_descriptors();
	struct ancillary_frame frame = { .reserved = { 0 } };

	for (int i = 0; i < 3; i++) {
		CHECK_ERR(ancillary_channel_recv(&channel, &frame, 0), EACCES);
		CHECK_IS(open_descriptors(), open);
	}
	CHECK_IS(recv(sock[THERE], data, 1, MSG_DONTWAIT | MSG_PEEK),
		 channel.flags & ANCILLARY_LOSSLESS ? 1 : -1);
}

static void take_next(const char *which)
{
	struct ancillary_frame frame = { .reserved = { 0 } };
	size_t open = open_descriptors();

	CHECK_OK(ancillary_channel_recv(&channel, &frame, 0), 1);
	CHECK_IS(frame.nfds, strlen(which));
	for (size_t i = 0; i < frame.nfds; i++)
		CHECK(same_file(frame.fds[i], which[i] == 's' ? secret : file));
	ancillary_channel_drop(&channel);
	CHECK_IS(open_descriptors(), open);
}

static void a_channel_says_so_too(void)
{
	static const char *const messages[] = { "s", "sff", "fsf", "ffs" };

	open_both();
	for (size_t i = 0; i < LENGTH(messages); i++) {
		check_about("%s", messages[i]);
		open_pair(SOCK_STREAM, sock);
		open_channel(0);
		send_frame(messages[i]);
		as("withheld", next_is_refused);
		open_channel(ANCILLARY_LOSSLESS);
		send_frame(messages[i]);
		as("withheld", next_is_refused);
		take_next(messages[i]);
		close_pair(sock);
	}
	close_both();
}

/* --- labels of peers --- */

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
	CHECK(n >= 0);
	CHECK(close(attr) == 0);
	label[n] = '\0';
	label[strcspn(label, "\n")] = '\0';
	return label;
}

/* The library says what the kernel says of a socket, in every room. Returns the
 * label, or NULL if there is none. */
static const char *label_at(int s)
{
	static char label[LABEL], raw[LABEL], tight[LABEL + 8];
	socklen_t len = sizeof raw;
	size_t n;

	if (getsockopt(s, SOL_SOCKET, SO_PEERSEC, raw, &len) < 0) {
		CHECK_ERR(ancillary_peer_label(s, label, sizeof label), errno);
		return NULL;
	}
	n = strnlen(raw, len);
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

static void check_label(int s, pid_t pid, const char *what)
{
	const char *label = label_at(s);

	printf("# %s: %s, SO_PEERSEC %s\n", what, label_of(pid), label ? label : "none");
	CHECK(!label || strcmp(label, label_of(pid)) == 0);
}

static void connect_to(void)
{
	int s = ancillary_connect("/tmp/labels", SOCK_STREAM, 0);
	char byte;

	CHECK(s >= 0);
	check_label(s, getppid(), "the process that listens");
	/* Until the other side has seen this one. */
	CHECK_IS(read(s, &byte, 1), 0);
	CHECK(close(s) == 0);
}

static void a_label_is_what_the_module_shows(void)
{
	int listener = ancillary_listen("/tmp/labels", SOCK_STREAM, 0666, ANCILLARY_REPLACE);
	int connected, none = socket(AF_UNIX, SOCK_STREAM, 0);
	pid_t child;

	CHECK(listener >= 0);
	printf("# not connected: %s\n", label_at(none) ? label_at(none) : "none");
	CHECK(close(none) == 0);
	for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
		open_pair(type, sock);
		check_label(sock[HERE], getpid(), type == SOCK_STREAM ? "a pair" : "of datagrams");
		close_pair(sock);
	}
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		become("withheld", "s0");
		connect_to();
		_exit(0);
	}
	connected = accept(listener, NULL, NULL);
	CHECK(connected >= 0);
	check_label(connected, child, "the process that connects");
	CHECK(close(connected) == 0);
	check_child(child);
	CHECK(close(listener) == 0);
	CHECK(unlink("/tmp/labels") == 0);
}

/* --- labels of messages --- */

/* A call has so much room beside the descriptors that it asks for, or it says that
 * this was too little; without loss it looks again, with more. */
enum { BESIDE = 112 };

/* How long the label is that the next message comes with, or 0. */
static size_t size_of_label(void)
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

		if (c->cmsg_type == SECURITY)
			size = len;
		else if (c->cmsg_type == SCM_RIGHTS || c->cmsg_type == PIDFD)
			close_files((int *)(void *)CMSG_DATA(c), len / sizeof(int));
	}
	return size;
}

static void receive_labelled(void)
{
	size_t n = ROOM, size;

	send_files("ffs");
	size = size_of_label();
	if (CMSG_SPACE(size) > BESIDE + CMSG_SPACE(ROOM * sizeof(int))) {
		CHECK_ERR(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, 0), ENOBUFS);
		CHECK_IS(n, 0);
	} else {
		CHECK_OK(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, 0), 3);
		CHECK_IS(n, 3);
	}
	close_files(fds, n);
	send_files("fsf");
	take_all("fsf");
	CHECK_IS(write(sock[HERE], "ab", 2), 2);
	n = ROOM;
	CHECK_OK(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, ANCILLARY_LOSSLESS), 2);
	CHECK_IS(n, 0);
}

static bool label_is_long;

static void with_labels(void)
{
	size_t open = open_descriptors();

	set_option(sock[THERE], SO_PASSSEC, 1);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "a", 1, 0), 1);
	printf("# a message: %zu bytes of label\n", size_of_label());
	CHECK_IS(recv(sock[THERE], data, LEN, 0), 1);
	/* What a long one may have left no room for is not said to be withheld. */
	if (!label_is_long) {
		with_message("fsf", recv_fds);
		with_message("fsf", refuse);
		take_all("fsf");
	}
	receive_labelled();
	set_option(sock[THERE], SO_PASSCRED, 1);
	receive_labelled();
	if (has_option(OPTION_PASSPIDFD)) {
		set_option(sock[THERE], OPTION_PASSPIDFD, 1);
		receive_labelled();
	}
	CHECK_IS(open_descriptors(), open);
}

static void messages_come_with_labels(void)
{
	in_all_types(with_labels);
}

/* Many categories make a label long. */
static void with_a_long_label(void)
{
	static char level[LABEL] = "s0";
	size_t len = strlen(level);
	const char *label;

	for (int category = 0; category < 400; category += 2)
		len += (size_t)snprintf(level + len, sizeof level - len, "%sc%d",
					category ? "," : ":", category);
	become("opener", level);
	label_is_long = true;
	open_pair(SOCK_STREAM, sock);
	label = label_at(sock[THERE]);
	CHECK(label && strcmp(label, label_of(getpid())) == 0);
	CHECK(strlen(label) > 840);
	close_pair(sock);
	in_all_types(with_labels);
}

static void a_label_can_be_long(void)
{
	pid_t child;

	if (!is_selinux())
		check_skip("only SELinux has long labels");
	child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		with_a_long_label();
		_exit(fflush(stdout) != 0);
	}
	check_child(child);
}

CHECK_MAIN(CASE(the_policy_is_in_force), CASE(strict_calls_give_nothing),
	   CASE(tolerant_calls_give_what_is_in_front), CASE(so_do_the_old_ones),
	   CASE(waiting_for_all_changes_nothing),
	   CASE(the_sender_is_told_all_the_same), CASE(lossless_keeps_it_for_who_may_have_it),
	   CASE(lossless_gives_the_bytes_in_front), CASE(a_channel_says_so_too),
	   CASE(a_label_is_what_the_module_shows),
	   CASE(messages_come_with_labels), CASE(a_label_can_be_long))
