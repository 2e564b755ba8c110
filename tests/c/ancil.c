/* The functions of the older libancillary: what is the same, and what is
 * mended. */

#include "check.h"
#include "kit.h"

/* NULL is passed here to see it refused. */
#define ANCILLARY_NONNULL(argument)
#include <ancillary.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A call fails as the older library's did. */
#define CHECK_OLD_ERR(call, number) \
	do { \
		errno = CHECK_ERRNO; \
		CHECK_IS(call, -1); \
		CHECK_IS(errno, number); \
	} while (0)

static int received[MOST + 1];

/* Takes what was received, which stays open over exec. */
static void take(const int *files, size_t count, size_t slots)
{
	for (size_t i = 0; i < count; i++) {
		CHECK(same_file(received[i], files[i]));
		CHECK_IS(fcntl(received[i], F_GETFD), 0);
		close_files(&received[i], 1);
	}
	CHECK(all_none(received + count, slots - count));
}

static int *none_yet(void)
{
	memset(received, 'x', sizeof received);
	return received;
}

/* --- the same --- */

static void pass(int type, int sock[2])
{
	int files[MOST];

	(void)type;
	open_files(files, MOST);
	CHECK_OK(ancil_send_fd(sock[HERE], files[0]), 0);
	CHECK_OK(ancil_recv_fd(sock[THERE], none_yet()), 0);
	take(files, 1, 1);
	for (unsigned count = 1; count <= MOST; count += 21) {
		CHECK_OK(ancil_send_fds(sock[HERE], files, count), 0);
		CHECK_OK(ancil_recv_fds(sock[THERE], none_yet(), count), count);
		take(files, count, count);
		CHECK_OK(ancil_send_fds_with_buffer(sock[HERE], files, count, NULL), 0);
		CHECK_OK(ancil_recv_fds_with_buffer(sock[THERE], none_yet(), count, NULL), count);
		take(files, count, count);
	}
	check_nothing_there(sock[THERE]);
	close_files(files, MOST);
}

static void one_and_many(void)
{
	with_each_type(pass);
}

static void pass_another_number(int type, int sock[2])
{
	int files[5];

	(void)type;
	open_files(files, 5);
	/* Fewer than asked for, and more. */
	CHECK_OK(ancil_send_fds(sock[HERE], files, 2), 0);
	CHECK_OK(ancil_recv_fds(sock[THERE], none_yet(), 7), 2);
	take(files, 2, 7);
	CHECK_OK(ancil_send_fds(sock[HERE], files, 5), 0);
	CHECK_OK(ancil_recv_fds(sock[THERE], none_yet(), 2), 2);
	take(files, 2, 2);
	CHECK_OK(ancil_send_fds(sock[HERE], files, 5), 0);
	CHECK_OK(ancil_recv_fd(sock[THERE], none_yet()), 0);
	take(files, 1, 1);
	close_files(files, 5);
}

static void another_number_than_asked_for(void)
{
	with_each_type(pass_another_number);
}

static void pass_the_bare_byte(int type, int sock[2])
{
	char byte = 0;
	int file;

	(void)type;
	CHECK_OK(ancil_send_fds(sock[HERE], NULL, 0), 0);
	CHECK_IS(recv(sock[THERE], &byte, 1, 0), 1);
	CHECK_IS(byte, '!');
	CHECK_OK(ancil_send_fds(sock[HERE], NULL, 0), 0);
	CHECK_OK(ancil_recv_fds(sock[THERE], NULL, 0), 0);
	/* A descriptor that comes with it is closed. */
	open_files(&file, 1);
	CHECK_OK(ancil_send_fd(sock[HERE], file), 0);
	CHECK_OK(ancil_recv_fds(sock[THERE], NULL, 0), 0);
	close_files(&file, 1);
	check_nothing_there(sock[THERE]);
}

static void none_is_the_bare_byte(void)
{
	with_each_type(pass_the_bare_byte);
}

/* --- mended --- */

static void receive_the_end(int type, int sock[2])
{
	(void)type;
	close_end(sock, HERE);
	CHECK_OLD_ERR(ancil_recv_fd(sock[THERE], none_yet()), EPIPE);
	CHECK_IS(received[0], -1);
	CHECK_OLD_ERR(ancil_recv_fds(sock[THERE], none_yet(), 3), EPIPE);
	CHECK(all_none(received, 3));
	CHECK_OLD_ERR(ancil_recv_fds(sock[THERE], NULL, 0), EPIPE);
	/* Nor does sending raise SIGPIPE, whose default is to end the process. */
	CHECK_OLD_ERR(ancil_send_fd(sock[THERE], sock[THERE]), EPIPE);
}

static void the_end_is_an_error(void)
{
	CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
	with_type(SOCK_STREAM, receive_the_end);
	with_type(SOCK_SEQPACKET, receive_the_end);
}

static void receive_a_byte(int type, int sock[2])
{
	(void)type;
	CHECK_IS(send(sock[HERE], "!", 1, 0), 1);
	CHECK_OLD_ERR(ancil_recv_fd(sock[THERE], none_yet()), ENOMSG);
	CHECK_IS(received[0], -1);
	CHECK_IS(send(sock[HERE], "!", 1, 0), 1);
	CHECK_OLD_ERR(ancil_recv_fds(sock[THERE], none_yet(), 3), ENOMSG);
	CHECK(all_none(received, 3));
	check_nothing_there(sock[THERE]);
}

static void a_byte_without_a_descriptor_is_an_error(void)
{
	with_each_type(receive_a_byte);
}

static void receive_with_few_slots(int type, int sock[2])
{
	int files[5];
	rlim_t limit;

	(void)type;
	open_files(files, 5);
	for (size_t slots = 0; slots <= 5; slots++) {
		CHECK_OK(ancil_send_fds(sock[HERE], files, 5), 0);
		none_yet();
		limit = leave_slots(slots);
		if (slots == 0)
			CHECK_OLD_ERR(ancil_recv_fds(sock[THERE], received, 5), EMFILE);
		else
			CHECK_OK(ancil_recv_fds(sock[THERE], received, 5), slots);
		set_limit(limit);
		take(files, slots, 5);
	}
	CHECK_OK(ancil_send_fd(sock[HERE], files[0]), 0);
	limit = leave_slots(0);
	CHECK_OLD_ERR(ancil_recv_fd(sock[THERE], none_yet()), EMFILE);
	set_limit(limit);
	CHECK_IS(received[0], -1);
	close_files(files, 5);
}

static void a_full_table(void)
{
	with_each_type(receive_with_few_slots);
}

static void send_too_many(int type, int sock[2])
{
	static int many[ANCIL_MAX_N_FDS + 1];

	(void)type;
	CHECK_OLD_ERR(ancil_send_fds(sock[HERE], many, MOST + 1), EINVAL);
	CHECK_OLD_ERR(ancil_send_fds(sock[HERE], many, ANCIL_MAX_N_FDS + 1), EINVAL);
	CHECK_OLD_ERR(ancil_recv_fds(sock[THERE], many, MOST + 1), EINVAL);
	check_nothing_there(sock[THERE]);
}

static void more_than_a_message_carries(void)
{
	with_each_type(send_too_many);
}

static void bad_arguments_are_refused(void)
{
	static int many[ANCIL_MAX_N_FDS + 1];
	int sock[2];

	open_pair(SOCK_STREAM, sock);
	CHECK_OLD_ERR(ancil_send_fds(sock[HERE], many, MOST + 1), EINVAL);
	CHECK_OLD_ERR(ancil_send_fds(sock[HERE], many, ANCIL_MAX_N_FDS + 1), EINVAL);
	CHECK_OLD_ERR(ancil_send_fds(sock[HERE], NULL, ~0U), EINVAL);
	CHECK_OLD_ERR(ancil_send_fds(sock[HERE], NULL, 1), EINVAL);
	CHECK_OLD_ERR(ancil_send_fd(sock[HERE], -1), EBADF);
	CHECK_OLD_ERR(ancil_send_fd(-1, sock[HERE]), EBADF);
	check_nothing_there(sock[THERE]);
	CHECK_IS(send(sock[HERE], "kept", 4, 0), 4);
	CHECK_OLD_ERR(ancil_recv_fds(sock[THERE], many, MOST + 1), EINVAL);
	CHECK_IS(many[MOST], -1);
	CHECK_OLD_ERR(ancil_recv_fds(sock[THERE], NULL, 1), EINVAL);
	CHECK_OLD_ERR(ancil_recv_fd(sock[THERE], NULL), EINVAL);
	CHECK_OLD_ERR(ancil_recv_fd(-1, many), EBADF);
	CHECK_IS(many[0], -1);
	CHECK_IS(recv(sock[THERE], many, 5, MSG_DONTWAIT), 4);
	close_pair(sock);
}

/* Has it handle signals while it waits, one after another. */
static void interrupt(pid_t thread)
{
	for (int handled = 0; handled < 3; handled++) {
		wait_until_asleep(thread);
		CHECK(syscall(SYS_tgkill, getpid(), thread, SIGUSR1) == 0);
		while (signals_handled == handled)
			sleep_ms(1);
	}
}

struct late {
	int sock;
	pid_t thread;
};

static void *send_late(void *argument)
{
	struct late *late = argument;

	interrupt(late->thread);
	CHECK_IS(ancil_send_fd(late->sock, late->sock), 0);
	return NULL;
}

static void interrupted_calls_go_on(void)
{
	struct late late;
	pthread_t sender;
	int sock[2];

	count_signal(SIGUSR1);
	open_pair(SOCK_STREAM, sock);
	late = (struct late){ sock[HERE], thread_number() };
	sender = start_thread(send_late, &late);
	CHECK_OK(ancil_recv_fd(sock[THERE], none_yet()), 0);
	end_thread(sender);
	CHECK_IS(signals_handled, 3);
	take(&sock[HERE], 1, 1);
	close_pair(sock);
}

static void receive_a_pidfd(int type, int sock[2])
{
	(void)type;
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	CHECK_OK(ancil_send_fd(sock[HERE], sock[HERE]), 0);
	CHECK_OK(ancil_recv_fd(sock[THERE], none_yet()), 0);
	take(&sock[HERE], 1, 1);
}

static void a_pidfd_nobody_asked_for_is_closed(void)
{
	with_each_type(receive_a_pidfd);
}

/* --- on the wire --- */

static void pass_to_others(int type, int sock[2])
{
	char data[4] = "";
	int files[3];
	size_t nfds;

	(void)type;
	open_files(files, 3);
	/* By hand, both ways. */
	nfds = 3;
	CHECK_OK(ancil_send_fds(sock[HERE], files, 3), 0);
	CHECK_IS(receive_by_hand(sock[THERE], data, 4, received, &nfds), 1);
	CHECK_IS(data[0], '!');
	CHECK_IS(nfds, 3);
	close_files(received, 3);
	CHECK_IS(send_by_hand(sock[HERE], "x", 1, files, 3), 1);
	CHECK_OK(ancil_recv_fds(sock[THERE], none_yet(), 3), 3);
	take(files, 3, 3);
	/* The newer calls, both ways. */
	CHECK_OK(ancil_send_fd(sock[HERE], files[0]), 0);
	received[0] = ancillary_recv_fd(sock[THERE]);
	take_arrived(received, 1, files, 1);
	CHECK_OK(ancillary_send_fd(sock[HERE], files[0]), 0);
	CHECK_OK(ancil_recv_fd(sock[THERE], none_yet()), 0);
	take(files, 1, 1);
	check_nothing_there(sock[THERE]);
	close_files(files, 3);
}

static void others_understand_it(void)
{
	with_each_type(pass_to_others);
}

CHECK_MAIN(CASE(one_and_many), CASE(another_number_than_asked_for), CASE(none_is_the_bare_byte),
	   CASE(the_end_is_an_error), CASE(a_byte_without_a_descriptor_is_an_error),
	   CASE(a_full_table), CASE(more_than_a_message_carries), CASE(bad_arguments_are_refused), CASE(interrupted_calls_go_on),
	   CASE(a_pidfd_nobody_asked_for_is_closed), CASE(others_understand_it))
