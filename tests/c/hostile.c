/* hostile SOCKET SEED: does its worst to whoever listens at a stream socket,
 * until its standard input is closed, and writes how often it did what. */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

enum {
	/* What a message carries at most, and what it is tried with. */
	MOST = 253,
	TOO_MANY = 260,
	/* So many connections are kept open at once. */
	KEPT = 600,
	LONGEST = 200000,
};

static struct sockaddr_un address;
static int kept[KEPT];
static char bytes[LONGEST];

/* What is sent: one of each kind. */
enum { SOCKET, LISTENER, FIFO, FOLDER, DEVICE, FILE_, EPOLL, PIDFD, NESTED, KINDS };
static int kinds[KINDS];

/* --- chance --- */

static uint64_t state;

static uint32_t below(uint32_t bound)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(((state >> 33) * bound) >> 31);
}

/* --- what it is made of --- */

static int make_socket(int type)
{
	int sock = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (sock < 0) {
		perror("hostile: socket");
		exit(1);
	}
	return sock;
}

/* Returns a connection, or -1 where there is none to be had now. */
static int reach(void)
{
	int sock = make_socket(SOCK_STREAM);

	if (connect(sock, (struct sockaddr *)&address, sizeof address) == 0)
		return sock;
	close(sock);
	return -1;
}

/* Keeps a connection in the place of another, or closes it. */
static void keep(int sock)
{
	int *place = &kept[below(KEPT)];

	if (*place >= 0)
		close(*place);
	*place = sock;
}

static ssize_t send_control(int sock, size_t len, int type, const void *control, size_t control_len)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(TOO_MANY * sizeof(int))];
	} buffer;
	struct iovec iov = { bytes, len };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	memset(&buffer, 0, sizeof buffer);
	message.msg_control = &buffer;
	message.msg_controllen = CMSG_SPACE(control_len);
	buffer.header.cmsg_level = SOL_SOCKET;
	buffer.header.cmsg_type = type;
	buffer.header.cmsg_len = CMSG_LEN(control_len);
	memcpy(CMSG_DATA(&buffer.header), control, control_len);
	return sendmsg(sock, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Descriptors of all kinds, or the socket itself. */
static ssize_t send_fds(int sock, size_t len, uint32_t count)
{
	int fds[TOO_MANY];
	int own = below(4) == 0;

	for (uint32_t i = 0; i < count; i++)
		fds[i] = own ? sock : kinds[below(KINDS)];
	return send_control(sock, len, SCM_RIGHTS, fds, count * sizeof(int));
}

/* A socket on its way through itself, with others inside. */
static int make_nested(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	for (int i = 0; i < 10; i++)
		if (send_fds(pair[0], 1, 1 + below(20)) < 0)
			break;
	send_control(pair[0], 1, SCM_RIGHTS, pair, sizeof pair);
	close(pair[0]);
	return pair[1];
}

/* --- what it does --- */

static void come_and_go(void)
{
	int sock = reach();

	if (sock >= 0)
		close(sock);
}

static void say_nothing(void)
{
	int sock = reach();

	if (sock >= 0)
		keep(sock);
}

/* What a server of files is asked with: a message of the plain format (ancillary_channel(3)). */
static size_t make_request(char request[64], const char *path)
{
	uint32_t len = 16 + (uint32_t)strlen(path), type = below(5);

	memset(request, 0, 64);
	memcpy(request, &len, sizeof len);
	memcpy(request + 8, &type, sizeof type);
	memcpy(request + 16, path, strlen(path));
	return (len + 7) / 8 * 8;
}

static void half_a_message(void)
{
	char request[64];
	size_t len = make_request(request, "/etc/passwd");
	int sock = reach();

	if (sock < 0)
		return;
	send(sock, request, 1 + below((uint32_t)len - 1), MSG_NOSIGNAL);
	if (below(3) == 0)
		shutdown(sock, below(3));
	if (below(2))
		keep(sock);
	else
		close(sock);
}

static void every_size(void)
{
	int sock = reach();

	if (sock < 0)
		return;
	send(sock, bytes, 1u << below(17), MSG_NOSIGNAL);
	send(sock, bytes, below(LONGEST), MSG_NOSIGNAL | (below(8) ? 0 : MSG_OOB));
	close(sock);
}

static void nothing_in_a_message(void)
{
	int sock = reach();

	if (sock < 0)
		return;
	send(sock, bytes, 0, MSG_NOSIGNAL);
	send_fds(sock, 0, 1 + below(MOST));
	keep(sock);
}

/* Until there is no room, or they are refused. */
static void flood_of_descriptors(void)
{
	int sock = reach();

	if (sock < 0)
		return;
	for (uint32_t i = 0; i < 300; i++)
		if (send_fds(sock, 1 + below(3), 1 + below(below(2) ? 3 : MOST)) < 0)
			break;
	send_fds(sock, 1, TOO_MANY);
	if (below(2))
		keep(sock);
	else
		close(sock);
}

/* What a worker has to do, and at times as much of it as it takes. */
static void connections_in_bulk(void)
{
	int fds[MOST];
	uint32_t count = below(4) ? 1 + below(16) : MOST;
	int sock = reach();

	if (sock < 0)
		return;
	for (uint32_t i = 0; i < count; i++)
		fds[i] = kinds[SOCKET];
	send_control(sock, 1, SCM_RIGHTS, fds, count * sizeof(int));
	keep(sock);
}

/* One at a time, as a worker takes them. */
static void wrong_kinds(void)
{
	int sock = reach();

	if (sock < 0)
		return;
	send_fds(sock, 1, 1);
	keep(sock);
}

static void nested_sockets(void)
{
	int sock = reach(), nested = make_nested();

	if (sock >= 0 && nested >= 0)
		send_control(sock, 1, SCM_RIGHTS, &nested, sizeof nested);
	if (nested >= 0)
		close(nested);
	if (sock >= 0)
		close(sock);
}

static void flood_of_credentials(void)
{
	struct {
		int pid;
		unsigned uid, gid;
	} creds;
	int sock = reach();

	if (sock < 0)
		return;
	for (int i = 0; i < 200; i++) {
		creds.pid = below(2) ? getpid() : (int)below(40000);
		creds.uid = below(2) ? getuid() : below(70000);
		creds.gid = below(2) ? getgid() : below(70000);
		send_control(sock, 1 + below(4), SCM_CREDENTIALS, &creds, sizeof creds);
	}
	if (below(2))
		keep(sock);
	else
		close(sock);
}

/* Asks well, for what is not to be had and for what is, and does not listen. */
static void ask_and_not_read(void)
{
	static const char *const paths[] = { "/", "/dev/null", "/etc/passwd", "/proc/self/mem", "x" };
	char request[64];
	size_t len = make_request(request, paths[below(LENGTH(paths))]);
	int sock = reach();

	if (sock < 0)
		return;
	/* More than one at times. */
	for (uint32_t i = 0; i <= below(2); i++)
		send(sock, request, len, MSG_NOSIGNAL);
	if (below(4))
		keep(sock);
	else
		close(sock);
}

static void wrong_type(void)
{
	int sock = make_socket(below(2) ? SOCK_DGRAM : SOCK_SEQPACKET);

	connect(sock, (struct sockaddr *)&address, sizeof address);
	send_fds(sock, 1, 1);
	close(sock);
}

static void stir(void)
{
	for (int i = 0; i < 20; i++) {
		int sock = kept[below(KEPT)];

		if (sock >= 0)
			send_fds(sock, below(20), 1 + below(5));
	}
}

static void let_all_go(void)
{
	for (int i = 0; i < KEPT; i++) {
		if (kept[i] >= 0)
			close(kept[i]);
		kept[i] = -1;
	}
}

/* More than any server listens to at once. */
static void take_all_places(void)
{
	for (int i = 0; i < KEPT; i++)
		if (kept[i] < 0)
			kept[i] = reach();
}

/* The last two are rare, and the very last comes first. */
enum { RARE = 2 };
static void (*const acts[])(void) = {
	come_and_go,	      say_nothing,	   half_a_message,	 every_size,
	nothing_in_a_message, flood_of_descriptors, wrong_kinds,	 nested_sockets,
	flood_of_credentials, ask_and_not_read,	   wrong_type,		 stir,
	connections_in_bulk,  let_all_go,	   take_all_places,
};

static const char *const names[] = {
	"came and went",     "said nothing",	     "half a message",	   "every size",
	"an empty message",  "flood of descriptors", "a wrong descriptor", "nested sockets",
	"flood of creds",    "asked and left",	     "a wrong type",	   "stirred",
	"in bulk",	     "let all go",	     "took all places",
};

static void open_kinds(void)
{
	int pair[2], ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) < 0 || pipe(ends) < 0)
		exit(1);
	kinds[SOCKET] = pair[0];
	kinds[LISTENER] = make_socket(SOCK_STREAM);
	if (bind(kinds[LISTENER], (struct sockaddr *)&(sa_family_t){ AF_UNIX }, sizeof(sa_family_t)) ||
	    listen(kinds[LISTENER], 1))
		exit(1);
	kinds[FIFO] = ends[0];
	kinds[FOLDER] = open("/", O_RDONLY | O_DIRECTORY);
	kinds[DEVICE] = open("/dev/null", O_RDWR);
	kinds[FILE_] = memfd_create("file", 0);
	kinds[EPOLL] = epoll_create1(0);
	kinds[PIDFD] = (int)syscall(SYS_pidfd_open, getpid(), 0);
	kinds[NESTED] = dup(kinds[DEVICE]);
	for (int i = 0; i < KINDS; i++)
		if (kinds[i] < 0)
			exit(1);
	close(kinds[NESTED]);
	kinds[NESTED] = make_nested();
}

int main(int argc, char **argv)
{
	struct rlimit limits;
	struct pollfd input = { .fd = 0, .events = POLLIN };
	unsigned long counts[LENGTH(acts)] = { 0 };

	if (argc != 3 || strlen(argv[1]) >= sizeof address.sun_path) {
		fprintf(stderr, "Usage: hostile SOCKET SEED\n");
		return 1;
	}
	address.sun_family = AF_UNIX;
	strcpy(address.sun_path, argv[1]);
	state = strtoull(argv[2], NULL, 10);
	signal(SIGPIPE, SIG_IGN);
	if (getrlimit(RLIMIT_NOFILE, &limits) == 0) {
		limits.rlim_cur = limits.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limits);
	}
	memset(kept, -1, sizeof kept);
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)below(256);
	open_kinds();
	for (uint32_t act = LENGTH(acts) - 1; poll(&input, 1, 0) == 0;) {
		acts[act]();
		counts[act]++;
		if (below(200))
			act = below(LENGTH(acts) - RARE);
		else
			act = (uint32_t)LENGTH(acts) - 1 - below(RARE);
	}
	for (size_t i = 0; i < LENGTH(acts); i++)
		printf("%s: %lu\n", names[i], counts[i]);
	return 0;
}
