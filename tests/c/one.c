/* ancillary_send_fd and ancillary_recv_fd. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

/* --- what arrives --- */

static void pass_one(int type, int sock[2])
{
	int file, received;

	(void)type;
	open_files(&file, 1);
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	errno = CHECK_ERRNO;
	received = ancillary_recv_fd(sock[THERE]);
	CHECK_IS(errno, CHECK_ERRNO);
	take_arrived(&received, 1, &file, 1);
	check_nothing_there(sock[THERE]);
	close_files(&file, 1);
}

static void the_same_open_file_arrives(void)
{
	with_each_type(pass_one);
}

static void send_and_close(int type, int sock[2])
{
	int file, received;
	char content[2] = "";

	(void)type;
	open_files(&file, 1);
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	close_files(&file, 1);
	close_end(sock, HERE);
	received = ancillary_recv_fd(sock[THERE]);
	CHECK_IS(pread(received, content, 2, 0), 1);
	CHECK_IS(content[0], '0');
	close_files(&received, 1);
}

static void the_sender_may_close_at_once(void)
{
	with_each_type(send_and_close);
}

static void pass_every_kind(int type, int sock[2])
{
	int kinds[7], received, pipe_ends[2];

	(void)type;
	CHECK(pipe(pipe_ends) == 0);
	kinds[0] = pipe_ends[0];
	kinds[1] = pipe_ends[1];
	kinds[2] = open("/", O_RDONLY | O_DIRECTORY);
	kinds[3] = open("/", O_PATH);
	kinds[4] = epoll_create1(0);
	kinds[5] = socket(AF_INET, SOCK_DGRAM, 0);
	kinds[6] = open("/dev/null", O_WRONLY);
	for (size_t i = 0; i < LENGTH(kinds); i++) {
		check_about("kind %zu", i);
		CHECK(kinds[i] >= 0);
		CHECK_OK(ancillary_send_fd(sock[HERE], kinds[i]), 0);
		received = ancillary_recv_fd(sock[THERE]);
		CHECK(received >= 0);
		CHECK(same_file(received, kinds[i]));
		CHECK_IS(fcntl(received, F_GETFD), FD_CLOEXEC);
		CHECK_IS(fcntl(received, F_GETFL), fcntl(kinds[i], F_GETFL));
		close_files(&received, 1);
	}
	close_files(kinds, LENGTH(kinds));
}

static void every_kind_of_descriptor_passes(void)
{
	with_each_type(pass_every_kind);
}

static void pass_its_own_socket(int type, int sock[2])
{
	int received;

	(void)type;
	CHECK_OK(ancillary_send_fd(sock[HERE], sock[HERE]), 0);
	received = ancillary_recv_fd(sock[THERE]);
	CHECK(received >= 0);
	CHECK(same_file(received, sock[HERE]));
	close_files(&received, 1);
}

static void the_socket_itself_passes(void)
{
	with_each_type(pass_its_own_socket);
}

static void pass_several(int type, int sock[2])
{
	int files[10], received;

	(void)type;
	open_files(files, 10);
	for (int i = 0; i < 10; i++)
		CHECK_OK(ancillary_send_fd(sock[HERE], files[i]), 0);
	for (int i = 0; i < 10; i++) {
		received = ancillary_recv_fd(sock[THERE]);
		take_arrived(&received, 1, &files[i], 1);
	}
	close_files(files, 10);
}

static void several_arrive_in_order(void)
{
	with_each_type(pass_several);
}

/* --- what does not --- */

static void receive_a_byte_alone(int type, int sock[2])
{
	(void)type;
	CHECK_IS(send(sock[HERE], "x", 1, 0), 1);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), ENOMSG);
	check_nothing_there(sock[THERE]);
}

static void a_byte_without_a_descriptor_is_no_message(void)
{
	with_each_type(receive_a_byte_alone);
}

static void an_empty_datagram_is_no_message(void)
{
	int sock[2];

	open_pair(SOCK_DGRAM, sock);
	CHECK_IS(send(sock[HERE], "", 0, 0), 0);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), ENOMSG);
	check_nothing_there(sock[THERE]);
	close_pair(sock);
}

static void an_empty_seqpacket_message_looks_like_the_end(void)
{
	int sock[2];

	open_pair(SOCK_SEQPACKET, sock);
	CHECK_IS(send(sock[HERE], "", 0, 0), 0);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), EPIPE);
	check_nothing_there(sock[THERE]);
	close_pair(sock);
}

static void pass_with_nothing(int type, int sock[2])
{
	int file, received;

	(void)type;
	open_files(&file, 1);
	CHECK_IS(send_by_hand(sock[HERE], NULL, 0, &file, 1), 0);
	received = ancillary_recv_fd(sock[THERE]);
	take_arrived(&received, 1, &file, 1);
	close_files(&file, 1);
}

static void an_empty_message_carries_a_descriptor(void)
{
	with_type(SOCK_SEQPACKET, pass_with_nothing);
	with_type(SOCK_DGRAM, pass_with_nothing);
}

static void pass_two(int type, int sock[2])
{
	int files[2], received;

	(void)type;
	open_files(files, 2);
	CHECK_IS(send_by_hand(sock[HERE], "", 1, files, 2), 1);
	CHECK_OK(ancillary_send_fd(sock[HERE], files[0]), 0);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), E2BIG);
	received = ancillary_recv_fd(sock[THERE]);
	take_arrived(&received, 1, files, 1);
	close_files(files, 2);
}

static void two_are_too_many(void)
{
	with_each_type(pass_two);
}

static void one_byte_is_read(void)
{
	int sock[2], file, received;
	char rest[4];

	open_pair(SOCK_STREAM, sock);
	open_files(&file, 1);
	CHECK_IS(send_by_hand(sock[HERE], "abc", 3, &file, 1), 3);
	received = ancillary_recv_fd(sock[THERE]);
	take_arrived(&received, 1, &file, 1);
	CHECK_IS(recv(sock[THERE], rest, sizeof rest, 0), 2);
	CHECK(rest[0] == 'b' && rest[1] == 'c');
	close_files(&file, 1);
	close_pair(sock);
}

static void pass_in_a_longer_packet(int type, int sock[2])
{
	int file;

	(void)type;
	open_files(&file, 1);
	CHECK_IS(send_by_hand(sock[HERE], "ab", 2, &file, 1), 2);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), EMSGSIZE);
	check_nothing_there(sock[THERE]);
	close_files(&file, 1);
}

static void a_longer_packet_is_refused(void)
{
	with_type(SOCK_SEQPACKET, pass_in_a_longer_packet);
	with_type(SOCK_DGRAM, pass_in_a_longer_packet);
}

/* --- the socket --- */

static void receive_the_end(int type, int sock[2])
{
	int file, received;

	(void)type;
	open_files(&file, 1);
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	close_end(sock, HERE);
	received = ancillary_recv_fd(sock[THERE]);
	take_arrived(&received, 1, &file, 1);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), EPIPE);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), EPIPE);
	close_files(&file, 1);
}

static void the_end_is_reported(void)
{
	with_type(SOCK_STREAM, receive_the_end);
	with_type(SOCK_SEQPACKET, receive_the_end);
}

static void send_to_nobody(int type, int sock[2])
{
	int file;

	CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
	open_files(&file, 1);
	close_end(sock, THERE);
	if (type == SOCK_STREAM || type == SOCK_SEQPACKET)
		CHECK_ERR(ancillary_send_fd(sock[HERE], file), EPIPE);
	else
		CHECK_ERR(ancillary_send_fd(sock[HERE], file), ECONNREFUSED);
	close_files(&file, 1);
}

static void sending_to_a_closed_peer_raises_no_signal(void)
{
	with_each_type(send_to_nobody);
}

static void do_not_wait(int type, int sock[2])
{
	int file;

	(void)type;
	open_files(&file, 1);
	CHECK(fcntl(sock[HERE], F_SETFL, O_NONBLOCK) == 0);
	CHECK(fcntl(sock[THERE], F_SETFL, O_NONBLOCK) == 0);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), EAGAIN);
	fill(sock[HERE]);
	CHECK_ERR(ancillary_send_fd(sock[HERE], file), EAGAIN);
	close_files(&file, 1);
}

static void a_nonblocking_socket_does_not_wait(void)
{
	with_each_type(do_not_wait);
}

static void send_what_is_not_open(int type, int sock[2])
{
	int closed = dup(sock[HERE]);

	(void)type;
	close_files(&closed, 1);
	CHECK_ERR(ancillary_send_fd(sock[HERE], -1), EBADF);
	CHECK_ERR(ancillary_send_fd(sock[HERE], closed), EBADF);
	check_nothing_there(sock[THERE]);
}

static void a_closed_descriptor_is_not_sent(void)
{
	with_each_type(send_what_is_not_open);
}

static void a_socket_is_needed(void)
{
	int file;

	open_files(&file, 1);
	CHECK_ERR(ancillary_send_fd(file, file), ENOTSOCK);
	CHECK_ERR(ancillary_recv_fd(file), ENOTSOCK);
	CHECK_ERR(ancillary_send_fd(-1, file), EBADF);
	CHECK_ERR(ancillary_recv_fd(-1), EBADF);
	close_files(&file, 1);
	CHECK_ERR(ancillary_recv_fd(file), EBADF);
}

CHECK_MAIN(CASE(the_same_open_file_arrives), CASE(the_sender_may_close_at_once),
	   CASE(every_kind_of_descriptor_passes), CASE(the_socket_itself_passes),
	   CASE(several_arrive_in_order), CASE(a_byte_without_a_descriptor_is_no_message),
	   CASE(an_empty_datagram_is_no_message),
	   CASE(an_empty_seqpacket_message_looks_like_the_end),
	   CASE(an_empty_message_carries_a_descriptor), CASE(two_are_too_many),
	   CASE(one_byte_is_read), CASE(a_longer_packet_is_refused), CASE(the_end_is_reported),
	   CASE(sending_to_a_closed_peer_raises_no_signal),
	   CASE(a_nonblocking_socket_does_not_wait), CASE(a_closed_descriptor_is_not_sent),
	   CASE(a_socket_is_needed))
