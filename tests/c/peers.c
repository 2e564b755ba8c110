/* Conversations with a program written without the library, which has the
 * socket as its standard input: PEER in the environment, run with PEER_SCRIPT
 * if there is that.  It answers each message with its payload in upper case,
 * and each descriptor with one for a file of its own. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pid_t start_peer(int sock[2])
{
	const char *program = getenv("PEER");
	pid_t pid;

	CHECK(program);
	pid = fork();
	if (pid == 0) {
		CHECK(dup2(sock[THERE], STDIN_FILENO) == STDIN_FILENO);
		execlp(program, program, getenv("PEER_SCRIPT"), (char *)NULL);
		CHECK(!"the peer could be executed");
	}
	close_end(sock, THERE);
	return pid;
}

/* The other end sees the end of the stream, and leaves; this one sees that. */
static void end_peer(int sock, pid_t peer)
{
	int file;
	size_t nfds = 0;
	char byte;

	CHECK(shutdown(sock, SHUT_WR) == 0);
	CHECK_ERR(ancillary_recv_fd(sock), EPIPE);
	CHECK_OK(ancillary_recv_fds(sock, NULL, &nfds, &byte, 1, 0), 0);
	check_child(peer);
	open_files(&file, 1);
	CHECK_ERR(ancillary_send_fd(sock, file), EPIPE);
	close_files(&file, 1);
}

static void with_peer(int type, void (*talk)(int sock))
{
	int sock[2];
	pid_t peer;

	check_about("%s", type == SOCK_STREAM ? "stream" : "seqpacket");
	open_pair(type, sock);
	peer = start_peer(sock);
	talk(sock[HERE]);
	end_peer(sock[HERE], peer);
	close_pair(sock);
}

static void with_both_types(void (*talk)(int sock))
{
	with_peer(SOCK_STREAM, talk);
	with_peer(SOCK_SEQPACKET, talk);
}

/* Checks that these are the answers to the files with these numbers, and
 * closes them. */
static void take_answers(const int *received, size_t first, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char expected[40], content[40] = "";

		snprintf(expected, sizeof expected, "answer to %zu", first + i);
		CHECK_IS(fcntl(received[i], F_GETFD), FD_CLOEXEC);
		CHECK(pread(received[i], content, sizeof content - 1, 0) > 0);
		if (strcmp(content, expected) != 0)
			check_about("\"%s\" instead of \"%s\"", content, expected);
		CHECK(strcmp(content, expected) == 0);
	}
	close_files(received, count);
}

/* --- one descriptor at a time, as any peer can --- */

static void take_turns(int sock)
{
	int files[MOST];

	open_files(files, MOST);
	for (size_t i = 0; i < MOST; i++) {
		int received;

		CHECK_OK(ancillary_send_fd(sock, files[i]), 0);
		received = ancillary_recv_fd(sock);
		take_answers(&received, i, 1);
	}
	close_files(files, MOST);
}

static void each_is_answered(void)
{
	with_both_types(take_turns);
}

static void let_them_queue(int sock)
{
	enum { AHEAD = 20 };
	int files[AHEAD], received[2];

	open_files(files, AHEAD);
	for (size_t i = 0; i < AHEAD; i++)
		CHECK_OK(ancillary_send_fds(sock, &files[i], 1, NULL, 0, 0), 1);
	close_files(files, AHEAD);
	for (size_t i = 0; i < AHEAD; i++) {
		size_t nfds = 2;

		CHECK_OK(ancillary_recv_fds(sock, received, &nfds, NULL, 0, 0), 1);
		CHECK_IS(nfds, 1);
		CHECK_IS(received[1], -1);
		take_answers(received, i, 1);
	}
}

static void several_may_queue(void)
{
	with_both_types(let_them_queue);
}

/* What the peer sent before it left is there when it has gone. */
static void answers_outlive_the_peer(void)
{
	int sock[2], file, received;
	pid_t peer;

	open_pair(SOCK_STREAM, sock);
	open_files(&file, 1);
	peer = start_peer(sock);
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	CHECK(shutdown(sock[HERE], SHUT_WR) == 0);
	check_child(peer);
	received = ancillary_recv_fd(sock[HERE]);
	take_answers(&received, 0, 1);
	CHECK_ERR(ancillary_recv_fd(sock[HERE]), EPIPE);
	close_files(&file, 1);
	close_pair(sock);
}

/* --- whole messages --- */

static void make_text(char *data, size_t len)
{
	make_payload((unsigned char *)data, len);
	for (size_t i = 0; i < len; i++)
		data[i] = (char)('a' + (unsigned char)data[i] % 26);
}

static bool is_answer(const char *answer, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (answer[i] != toupper(data[i]))
			return false;
	return true;
}

static void send_with_payload(int sock)
{
	static const size_t counts[] = { 0, 1, 2, 3, 16, MOST - 1, MOST };
	int files[MOST], received[MOST];
	char text[100], answer[200];

	make_text(text, sizeof text);
	open_files(files, MOST);
	for (size_t i = 0; i < LENGTH(counts); i++) {
		size_t nfds = MOST;

		CHECK_OK(ancillary_send_fds(sock, files, counts[i], text, sizeof text, 0),
			 sizeof text);
		CHECK_OK(ancillary_recv_fds(sock, received, &nfds, answer, sizeof answer, 0),
			 sizeof text);
		CHECK(is_answer(answer, text, sizeof text));
		CHECK_IS(nfds, counts[i]);
		CHECK(all_none(received + nfds, MOST - nfds));
		take_answers(received, 0, nfds);
	}
	close_files(files, MOST);
}

static void any_number_goes_with_a_payload(void)
{
	with_both_types(send_with_payload);
}

static void compare_markers(int sock)
{
	int files[7], received[7];
	size_t nfds = 1;
	char byte = '#';

	open_files(files, 7);
	CHECK_OK(ancillary_send_fd(sock, files[0]), 0);
	CHECK_OK(ancillary_recv_fds(sock, received, &nfds, &byte, 1, 0), 1);
	CHECK_IS(byte, 0);
	take_answers(received, 0, 1);
	nfds = 7;
	byte = '#';
	CHECK_OK(ancillary_send_fds(sock, files, 7, NULL, 0, 0), 1);
	CHECK_OK(ancillary_recv_fds(sock, received, &nfds, &byte, 1, 0), 1);
	CHECK_IS(byte, 0);
	CHECK_IS(nfds, 7);
	take_answers(received, 0, 7);
	close_files(files, 7);
}

static void the_marker_is_a_zero_byte(void)
{
	with_both_types(compare_markers);
}

static void send_a_bare_byte(int sock)
{
	CHECK_OK(ancillary_send_fds(sock, NULL, 0, "x", 1, 0), 1);
	CHECK_ERR(ancillary_recv_fd(sock), ENOMSG);
}

static void a_bare_byte_is_answered_with_one(void)
{
	with_both_types(send_a_bare_byte);
}

static void send_too_many(int sock)
{
	int files[3], received[2];
	size_t nfds = 2;

	open_files(files, 3);
	CHECK_OK(ancillary_send_fds(sock, files, 3, NULL, 0, 0), 1);
	CHECK_ERR(ancillary_recv_fds(sock, received, &nfds, NULL, 0, 0), E2BIG);
	CHECK(all_none(received, 2));
	close_files(files, 3);
}

static void more_answers_than_room_are_refused(void)
{
	with_both_types(send_too_many);
}

/* The kernel and the peer may cut it into pieces anywhere. */
static void send_a_long_payload(int sock)
{
	enum { LONG = 100000 };
	static char text[LONG], answer[LONG];
	int files[MOST], received[MOST];
	size_t nfds = MOST;

	make_text(text, LONG);
	open_files(files, MOST);
	CHECK_OK(ancillary_send_fds(sock, files, MOST, text, LONG, 0), LONG);
	CHECK_OK(ancillary_recv_fds(sock, received, &nfds, answer, LONG, ANCILLARY_WAITALL), LONG);
	CHECK(is_answer(answer, text, LONG));
	CHECK_IS(nfds, MOST);
	take_answers(received, 0, MOST);
	close_files(files, MOST);
}

static void a_long_payload_arrives_whole(void)
{
	with_peer(SOCK_STREAM, send_a_long_payload);
}

static void send_three_messages(int sock)
{
	enum { MANY = 600 };
	int files[MANY], received[MANY];
	size_t nfds = MANY;
	char answer[] = "#####";

	open_files(files, MANY);
	CHECK_OK(ancillary_send_fds(sock, files, MANY, "abcde", 5, 0), 5);
	CHECK_OK(ancillary_recv_fds(sock, received, &nfds, answer, 5, ANCILLARY_WAITALL), 5);
	CHECK(strcmp(answer, "ABCDE") == 0);
	CHECK_IS(nfds, MANY);
	take_answers(received, 0, MANY);
	close_files(files, MANY);
}

static void more_than_a_message_carries_arrive(void)
{
	with_peer(SOCK_STREAM, send_three_messages);
}

CHECK_MAIN(CASE(each_is_answered), CASE(several_may_queue), CASE(answers_outlive_the_peer),
	   CASE(any_number_goes_with_a_payload), CASE(the_marker_is_a_zero_byte),
	   CASE(a_bare_byte_is_answered_with_one), CASE(more_answers_than_room_are_refused),
	   CASE(a_long_payload_arrives_whole), CASE(more_than_a_message_carries_arrive))
