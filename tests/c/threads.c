/* Several threads at once, and the child of a program that has them. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READERS = 2, FILES = 50, ROUNDS = 60, MESSAGES = FILES * ROUNDS };

/* --- one socket, several readers --- */

struct shared {
	int sock;
	const int *files;
	/* How often each file has come, over all readers. */
	int came[FILES];
	int messages;
};

static int number_of(int fd)
{
	char content[8] = "";
	int number = 0;

	CHECK(pread(fd, content, sizeof content - 1, 0) > 0);
	for (const char *digit = content; *digit; digit++)
		number = number * 10 + *digit - '0';
	CHECK(number < FILES);
	return number;
}

static void count_one(struct shared *shared, int fd)
{
	__atomic_add_fetch(&shared->came[number_of(fd)], 1, __ATOMIC_SEQ_CST);
	close_files(&fd, 1);
}

/* Returns whether there is another message to receive. */
static bool another(struct shared *shared)
{
	return __atomic_add_fetch(&shared->messages, 1, __ATOMIC_SEQ_CST) <= MESSAGES;
}

static void *read_one_by_one(void *argument)
{
	struct shared *shared = argument;

	while (another(shared)) {
		int fd = ancillary_recv_fd(shared->sock);

		CHECK(fd >= 0);
		count_one(shared, fd);
	}
	return NULL;
}

static void *read_with_payload(void *argument)
{
	struct shared *shared = argument;

	while (another(shared)) {
		int fds[3], number;
		size_t nfds = 3;

		CHECK_IS(ancillary_recv_fds(shared->sock, fds, &nfds, &number, sizeof number, 0),
			 sizeof number);
		CHECK_IS(nfds, 1);
		CHECK_IS(number_of(fds[0]), number);
		count_one(shared, fds[0]);
	}
	return NULL;
}

static void check_each_came(const struct shared *shared)
{
	for (int i = 0; i < FILES; i++)
		CHECK_IS(shared->came[i], ROUNDS);
}

static void read_by_two(int type, int sock[2])
{
	struct shared shared = { .sock = sock[THERE] };
	pthread_t readers[READERS];
	int files[FILES];

	open_files(files, FILES);
	for (int i = 0; i < READERS; i++)
		readers[i] = start_thread(read_one_by_one, &shared);
	for (int i = 0; i < MESSAGES; i++)
		CHECK_OK(ancillary_send_fd(sock[HERE], files[i % FILES]), 0);
	for (int i = 0; i < READERS; i++)
		end_thread(readers[i]);
	check_each_came(&shared);
	check_nothing_there(sock[THERE]);
	if (type != SOCK_STREAM) {
		memset(&shared, 0, sizeof shared);
		shared.sock = sock[THERE];
		for (int i = 0; i < READERS; i++)
			readers[i] = start_thread(read_with_payload, &shared);
		for (int i = 0; i < MESSAGES; i++) {
			int number = i % FILES;

			CHECK_OK(ancillary_send_fds(sock[HERE], &files[number], 1, &number,
						    sizeof number, 0),
				 sizeof number);
		}
		for (int i = 0; i < READERS; i++)
			end_thread(readers[i]);
		check_each_came(&shared);
	}
	close_files(files, FILES);
}

static void two_readers_share_a_socket(void)
{
	with_each_type(read_by_two);
}

static void *write_one_by_one(void *argument)
{
	struct shared *shared = argument;

	for (int i = 0; i < MESSAGES / READERS; i++)
		CHECK_OK(ancillary_send_fd(shared->sock, shared->files[i % FILES]), 0);
	return NULL;
}

static void write_by_two(int type, int sock[2])
{
	struct shared out = { .sock = sock[HERE] }, in = { .sock = sock[THERE] };
	pthread_t writers[READERS];
	int files[FILES];

	(void)type;
	open_files(files, FILES);
	out.files = files;
	for (int i = 0; i < READERS; i++)
		writers[i] = start_thread(write_one_by_one, &out);
	read_one_by_one(&in);
	for (int i = 0; i < READERS; i++)
		end_thread(writers[i]);
	check_each_came(&in);
	check_nothing_there(sock[THERE]);
	close_files(files, FILES);
}

static void two_writers_share_a_socket(void)
{
	with_each_type(write_by_two);
}

/* --- after fork --- */

static bool enough;

static void *pass_all_the_time(void *argument)
{
	int sock[2], file, received[2];
	char got[2];

	(void)argument;
	open_pair(SOCK_STREAM, sock);
	open_files(&file, 1);
	while (!__atomic_load_n(&enough, __ATOMIC_SEQ_CST)) {
		size_t nfds = 2;

		CHECK_IS(ancillary_send_fds(sock[HERE], &file, 1, "ab", 2, 0), 2);
		CHECK_IS(ancillary_recv_fds(sock[THERE], received, &nfds, got, 2,
					    ANCILLARY_WAITALL),
			 2);
		CHECK(same_file(received[0], file));
		ancillary_close_fds(received, nfds);
	}
	close_files(&file, 1);
	close_pair(sock);
	return NULL;
}

/* Only what may be called between fork and exec. */
static void pass_in_child(const int sock[2])
{
	int received[2];
	size_t nfds = 2;
	char got[2];

	if (ancillary_send_fd(sock[HERE], sock[HERE]) != 0)
		_exit(1);
	received[0] = ancillary_recv_fd(sock[THERE]);
	if (received[0] < 0)
		_exit(2);
	ancillary_close_fds(received, 1);
	if (ancillary_send_fds(sock[HERE], sock, 2, "ab", 2, 0) != 2)
		_exit(3);
	if (ancillary_recv_fds(sock[THERE], received, &nfds, got, 2, ANCILLARY_WAITALL) != 2)
		_exit(4);
	ancillary_close_fds(received, nfds);
	_exit(0);
}

static void the_child_of_a_threaded_program_may_pass(void)
{
	pthread_t busy[2];
	int sock[2];

	open_pair(SOCK_SEQPACKET, sock);
	for (size_t i = 0; i < LENGTH(busy); i++)
		busy[i] = start_thread(pass_all_the_time, NULL);
	for (int times = 0; times < 50; times++) {
		pid_t pid = fork();

		if (pid == 0)
			pass_in_child(sock);
		check_child(pid);
	}
	__atomic_store_n(&enough, true, __ATOMIC_SEQ_CST);
	for (size_t i = 0; i < LENGTH(busy); i++)
		end_thread(busy[i]);
	close_pair(sock);
}

static void receive_from_the_dead(int type, int sock[2])
{
	int files[10], received[10];
	size_t nfds = 10;
	char got[3];
	pid_t pid;

	(void)type;
	pid = fork();
	if (pid == 0) {
		close_end(sock, THERE);
		open_files(files, 10);
		CHECK_OK(ancillary_send_fds(sock[HERE], files, 10, "abc", 3, 0), 3);
		_exit(0);
	}
	check_child(pid);
	/* The files are open nowhere but in the message. */
	CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 3, 0), 3);
	CHECK_IS(nfds, 10);
	for (int i = 0; i < 10; i++)
		CHECK_IS(number_of(received[i]), i);
	ancillary_close_fds(received, 10);
}

static void a_message_outlives_its_sender(void)
{
	with_each_type(receive_from_the_dead);
}

CHECK_MAIN(CASE(two_readers_share_a_socket), CASE(two_writers_share_a_socket),
	   CASE(the_child_of_a_threaded_program_may_pass), CASE(a_message_outlives_its_sender))
