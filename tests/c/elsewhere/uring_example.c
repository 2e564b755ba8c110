/* The example of ancillary_encode(3), which is to be copied, beside signals: EXAMPLE is the file
 * that it has been put into. */

#define main main_of_the_example
#include EXAMPLE
#undef main

#include "check.h"
#include "kit.h"

#include <signal.h>
#include <sys/time.h>

enum { SIGNALS = 3 };

static struct io_uring ring;
static int sock[2], file, caught;

static void send_late(int number)
{
	(void)number;
	if (++caught == SIGNALS)
		CHECK(send_by_hand(sock[HERE], "late", 5, &file, 1) == 5);
}

static void drain_late(int number)
{
	(void)number;
	if (++caught == SIGNALS)
		drain(sock[THERE]);
}

static void start_signals(void (*handler)(int))
{
	const struct sigaction action = { .sa_handler = handler };
	const struct itimerval often = { { 0, 10000 }, { 0, 10000 } };

	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
}

static void open_all(void)
{
	int result = io_uring_queue_init(2, &ring, 0);

	if (result == -ENOSYS || result == -EPERM || result == -EACCES)
		check_skip("no io_uring");
	CHECK_IS(result, 0);
	open_pair(SOCK_SEQPACKET, sock);
	open_files(&file, 1);
}

static void close_all(void)
{
	const struct itimerval never = { { 0, 0 }, { 0, 0 } };

	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	close_files(&file, 1);
	close_pair(sock);
	io_uring_queue_exit(&ring);
}

static void signals_do_not_end_a_receive(void)
{
	int fd;

	open_all();
	start_signals(send_late);
	fd = receive_file(&ring, sock[THERE]);
	check_arrived(&fd, &file, 1);
	CHECK(caught >= SIGNALS);
	close(fd);
	close_all();
}

static void signals_do_not_end_a_send(void)
{
	open_all();
	fill(sock[HERE]);
	start_signals(drain_late);
	CHECK_IS(send_file(&ring, sock[HERE], file), sizeof "standard output");
	CHECK(caught >= SIGNALS);
	close_all();
}

CHECK_MAIN(CASE(signals_do_not_end_a_receive), CASE(signals_do_not_end_a_send))
