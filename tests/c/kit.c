#include "check.h"
#include "kit.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- files --- */

void open_files(int *fds, size_t count)
{
	need_descriptors(2 * count);
	for (size_t i = 0; i < count; i++) {
		fds[i] = memfd_create("file", MFD_CLOEXEC);
		CHECK(fds[i] >= 0);
		CHECK(dprintf(fds[i], "%zu", i) > 0);
	}
}

void close_files(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		CHECK(close(fds[i]) == 0);
}

bool same_file(int a, int b)
{
	struct stat of_a, of_b;

	return fstat(a, &of_a) == 0 && fstat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
	       of_a.st_ino == of_b.st_ino;
}

void check_arrived(const int *received, const int *sent, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		off_t place = (off_t)(1000 + i);

		CHECK(received[i] >= 0);
		CHECK_IS(fcntl(received[i], F_GETFD), FD_CLOEXEC);
		CHECK(same_file(received[i], sent[i]));
		/* Duplicates share the offset; the file opened twice would not. */
		CHECK_IS(lseek(sent[i], place, SEEK_SET), place);
		CHECK_IS(lseek(received[i], 0, SEEK_CUR), place);
	}
}

void take_arrived(const int *received, size_t slots, const int *sent, size_t count)
{
	check_arrived(received, sent, count);
	CHECK(all_none(received + count, slots - count));
	close_files(received, count);
}

bool all_none(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i] != -1)
			return false;
	return true;
}

bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

size_t open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	size_t count = 0;

	CHECK(dir);
	while ((entry = readdir(dir)))
		count += *entry->d_name != '.' && atoi(entry->d_name) != dirfd(dir);
	closedir(dir);
	return count;
}

void close_from(int first)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	CHECK(dir);
	while ((entry = readdir(dir)))
		if (*entry->d_name != '.' && atoi(entry->d_name) >= first &&
		    atoi(entry->d_name) != dirfd(dir))
			close(atoi(entry->d_name));
	closedir(dir);
}

/* Whether the kernel goes by a limit: poll(2) takes no more descriptors than
 * that.  What runs a program, such as valgrind, can keep the limit to itself. */
static bool is_in_force(rlim_t limit)
{
	struct pollfd *none = calloc(limit + 1, sizeof *none);
	int result;

	CHECK(none);
	for (rlim_t i = 0; i <= limit; i++)
		none[i].fd = -1;
	result = poll(none, limit + 1, 0);
	free(none);
	return result < 0 && errno == EINVAL;
}

void set_limit(rlim_t limit)
{
	struct rlimit limits;
	rlim_t before;

	CHECK(getrlimit(RLIMIT_NOFILE, &limits) == 0);
	before = limits.rlim_cur;
	limits.rlim_cur = limit;
	CHECK(setrlimit(RLIMIT_NOFILE, &limits) == 0);
	if (limit < before && !is_in_force(limit))
		check_skip("no limit of descriptors that binds");
}

void raise_limit(void)
{
	struct rlimit limits;

	CHECK(getrlimit(RLIMIT_NOFILE, &limits) == 0);
	set_limit(limits.rlim_max);
}

void need_descriptors(size_t count)
{
	/* What a case and its harness have open beside them. */
	enum { OTHERS = 64 };
	struct rlimit limits;

	CHECK(getrlimit(RLIMIT_NOFILE, &limits) == 0);
	if (limits.rlim_max < count + OTHERS)
		check_skip("a limit of descriptors that is high enough");
}

rlim_t leave_slots(size_t slots)
{
	struct rlimit limits;
	int fd = 0;

	CHECK(getrlimit(RLIMIT_NOFILE, &limits) == 0);
	for (size_t closed = 0;; fd++)
		if (!is_open(fd) && closed++ == slots)
			break;
	set_limit((rlim_t)fd);
	return limits.rlim_cur;
}

/* --- sockets --- */

void open_pair(int type, int sock[2])
{
	CHECK(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, sock) == 0);
}

void close_end(int sock[2], int end)
{
	CHECK(close(sock[end]) == 0);
	sock[end] = -1;
}

void close_pair(int sock[2])
{
	for (int end = HERE; end <= THERE; end++)
		if (sock[end] >= 0)
			close_end(sock, end);
}

static const char *type_name(int type)
{
	return type == SOCK_STREAM ? "stream" : type == SOCK_SEQPACKET ? "seqpacket" : "dgram";
}

void with_type(int type, void (*run)(int type, int sock[2]))
{
	int sock[2];

	check_about("%s", type_name(type));
	open_pair(type, sock);
	run(type, sock);
	close_pair(sock);
	check_about("%s", "");
}

void with_each_type(void (*run)(int type, int sock[2]))
{
	with_type(SOCK_STREAM, run);
	with_type(SOCK_SEQPACKET, run);
	with_type(SOCK_DGRAM, run);
}

size_t fill(int sock)
{
	char block[4096];
	size_t size = sizeof block, sent = 0;

	memset(block, 'f', sizeof block);
	while (size > 0) {
		ssize_t n = send(sock, block, size, MSG_DONTWAIT);

		if (n > 0) {
			sent += (size_t)n;
			continue;
		}
		CHECK(errno == EAGAIN);
		size /= 2;
	}
	return sent;
}

void drain(int sock)
{
	char block[4096];

	while (recv(sock, block, sizeof block, MSG_DONTWAIT) > 0)
		;
}

void check_nothing_there(int sock)
{
	char byte;

	CHECK_IS(recv(sock, &byte, 1, MSG_DONTWAIT | MSG_PEEK), -1);
	CHECK_IS(errno, EAGAIN);
}

bool unread_is_told(void)
{
	char byte;
	int sock[2], unread;

	open_pair(SOCK_STREAM, sock);
	CHECK_IS(send(sock[HERE], "abc", 3, 0), 3);
	CHECK_IS(recv(sock[THERE], &byte, 1, 0), 1);
	CHECK(ioctl(sock[THERE], FIONREAD, &unread) == 0);
	close_pair(sock);
	return unread == 2;
}

void set_timeout(int sock, int option, int milliseconds)
{
	struct timeval time = { milliseconds / 1000, milliseconds % 1000 * 1000 };

	CHECK(setsockopt(sock, SOL_SOCKET, option, &time, sizeof time) == 0);
}

static void skip_without(int option)
{
	check_skip(option == OPTION_PASSPIDFD  ? "no SO_PASSPIDFD" :
		   option == OPTION_PASSRIGHTS ? "no SO_PASSRIGHTS" :
						 "no such option of sockets");
}

void set_option(int sock, int option, int value)
{
	int result = setsockopt(sock, SOL_SOCKET, option, &value, sizeof value);

	if (result < 0 && errno == ENOPROTOOPT)
		skip_without(option);
	CHECK(result == 0);
}

bool has_option(int option)
{
	int sock = socket(AF_UNIX, SOCK_STREAM, 0), on = 1;
	bool has = setsockopt(sock, SOL_SOCKET, option, &on, sizeof on) == 0;

	CHECK(has || errno == ENOPROTOOPT);
	close_files(&sock, 1);
	return has;
}

void need_option(int option)
{
	if (!has_option(option))
		skip_without(option);
}

/* --- messages by hand --- */

union control {
	struct cmsghdr header;
	char room[CMSG_SPACE(MOST * sizeof(int))];
};

ssize_t send_by_hand(int sock, const void *data, size_t len, const int *fds, size_t nfds)
{
	union control control;
	struct iovec iov = { (void *)(uintptr_t)data, len };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	memset(&control, 0, sizeof control);
	if (nfds > 0) {
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, nfds * sizeof(int));
	}
	return sendmsg(sock, &message, MSG_NOSIGNAL);
}

ssize_t receive_by_hand(int sock, void *data, size_t len, int *fds, size_t *nfds)
{
	union control control;
	struct iovec iov = { data, len };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof control };
	ssize_t n = recvmsg(sock, &message, MSG_CMSG_CLOEXEC);
	struct cmsghdr *header;

	*nfds = 0;
	if (n < 0)
		return n;
	CHECK_IS(message.msg_flags & (MSG_CTRUNC | MSG_TRUNC), 0);
	header = CMSG_FIRSTHDR(&message);
	if (header) {
		CHECK_IS(header->cmsg_level, SOL_SOCKET);
		CHECK_IS(header->cmsg_type, SCM_RIGHTS);
		*nfds = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(header), *nfds * sizeof(int));
		CHECK(!CMSG_NXTHDR(&message, header));
	}
	return n;
}

/* --- payload --- */

static unsigned char payload_byte(size_t place)
{
	uint32_t mixed = (uint32_t)place * 2654435761u;

	return (unsigned char)(mixed >> 24);
}

void make_payload(unsigned char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = payload_byte(i);
}

bool is_payload(const unsigned char *data, size_t len, size_t from)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] != payload_byte(from + i))
			return false;
	return true;
}

/* --- processes, threads and time --- */

int some_of(int often)
{
	const char *share = getenv("ANCILLARY_TEST_SHARE");

	return share ? often / atoi(share) : often;
}

bool is_tried(void)
{
	static uint32_t drawn;
	const char *share = getenv("ANCILLARY_TEST_SHARE");

	/* No step from one to the next: loops would have some always or never. */
	drawn = drawn * 1664525 + 1013904223;
	return !share || (drawn >> 16) % (uint32_t)atoi(share) == 0;
}

bool is_slow(void)
{
	return some_of(2) < 2;
}

pthread_t start_thread(void *(*run)(void *), void *argument)
{
	pthread_t thread;

	CHECK(pthread_create(&thread, NULL, run, argument) == 0);
	return thread;
}

void *end_thread(pthread_t thread)
{
	void *result;

	CHECK(pthread_join(thread, &result) == 0);
	return result;
}

/* The kernel keeps a count as well, which is wrong by some pages for each
 * processor (VmRSS); this it counts now. */
static long count_memory_kb(void)
{
	char line[128];
	long kb = 0;
	FILE *memory = fopen("/proc/self/smaps_rollup", "re");

	CHECK(memory);
	while (fgets(line, sizeof line, memory))
		if (sscanf(line, "Anonymous: %ld", &kb) == 1)
			break;
	fclose(memory);
	CHECK(kb > 0);
	return kb;
}

long memory_kb(void)
{
	/* Looking takes some, too, the first time. */
	count_memory_kb();
	return count_memory_kb();
}

void check_child(pid_t pid)
{
	int status;
	pid_t ended;

	CHECK(pid > 0);
	do
		ended = waitpid(pid, &status, 0);
	while (ended < 0 && errno == EINTR);
	CHECK_IS(ended, pid);
	CHECK_IS(status, 0);
}

void sleep_ms(int milliseconds)
{
	struct timespec left = { milliseconds / 1000, milliseconds % 1000 * 1000000L };

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

long milliseconds(void)
{
	struct timespec time;

	CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
	return time.tv_sec * 1000L + time.tv_nsec / 1000000;
}

void check_took(long since, long least, long most)
{
	long took = milliseconds() - since;

	/* Times are counted in the ticks of the kernel's clock.  An emulated one can be
	 * late with them, and has many at once then. */
	if (took < (is_slow() ? 1 : least - 10))
		check_differs(__FILE__, __LINE__, "it waits so long", took, least);
	if (took >= most)
		check_differs(__FILE__, __LINE__, "it waits no longer", took, least);
}

pid_t thread_number(void)
{
	return (pid_t)syscall(SYS_gettid);
}

static bool asleep(pid_t thread)
{
	char path[64], line[256];
	FILE *file;
	char state = 0;

	snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
	file = fopen(path, "re");
	CHECK(file);
	if (fgets(line, sizeof line, file)) {
		char *end_of_name = strrchr(line, ')');

		if (end_of_name)
			state = end_of_name[2];
	}
	fclose(file);
	return state == 'S';
}

void wait_until_asleep(pid_t thread)
{
	/* Twice, because a thread that starts can wait for other things. */
	for (int times = 0; times < 2; times++) {
		sleep_ms(5);
		while (!asleep(thread))
			sleep_ms(1);
	}
}

volatile int signals_handled;

static void count(int number)
{
	(void)number;
	__atomic_add_fetch(&signals_handled, 1, __ATOMIC_SEQ_CST);
}

void count_signal(int number)
{
	struct sigaction action = { .sa_handler = count };

	CHECK(sigaction(number, &action, NULL) == 0);
}

pid_t pid_of(int pidfd)
{
	char path[64], line[128];
	FILE *info;
	int pid = -2;

	snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
	info = fopen(path, "re");
	CHECK(info != NULL);
	while (fgets(line, sizeof line, info))
		if (sscanf(line, "Pid: %d", &pid) == 1)
			break;
	fclose(info);
	return pid;
}
