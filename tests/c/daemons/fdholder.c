/* Descriptors left with s6-fdholderd(8), which listens at SOCKET in the
 * environment, and lets us store, list and retrieve names that begin with
 * "kept/". */

#include "check.h"
#include "fdholder_message.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* --- requests and answers --- */

/* The payload of an answer; a descriptor comes with its first byte. */
static struct message receive_answer(int sock)
{
	unsigned char header[HEADER];
	struct message message = { .fd = -1 };
	size_t nfds = 1;

	CHECK_OK(ancillary_recv_fds(sock, &message.fd, &nfds, header, HEADER, ANCILLARY_WAITALL),
		 HEADER);
	message.len = number_at(header, 4);
	CHECK(message.len > 0 && message.len <= sizeof message.data);
	CHECK_IS(number_at(header + 4, 2), nfds);
	nfds = 0;
	CHECK_OK(ancillary_recv_fds(sock, NULL, &nfds, message.data, message.len,
				    ANCILLARY_WAITALL),
		 message.len);
	return message;
}

static struct message ask(struct message question)
{
	const char *path = getenv("SOCKET");
	struct message answer;
	int sock;

	CHECK(path);
	sock = ancillary_connect(path, SOCK_STREAM, 0);
	CHECK(sock >= 0);
	CHECK_OK(ancillary_send_fds(sock, &question.fd, question.fd >= 0, question.data,
				    question.len, 0),
		 question.len);
	answer = receive_answer(sock);
	close_files(&sock, 1);
	return answer;
}

/* Returns the error number of an answer that has nothing else. */
static int outcome(struct message answer)
{
	CHECK_IS(answer.len, 1);
	CHECK_IS(answer.fd, -1);
	return answer.data[0];
}

static int store(const char *name, int fd)
{
	return outcome(ask(store_request(name, fd)));
}

static struct message retrieve(const char *name)
{
	return ask(retrieve_request(name));
}

static int delete(const char *name)
{
	return outcome(ask(delete_request(name)));
}

static void check_list(const char *const *names, size_t count)
{
	struct message list = ask(list_request());

	check_names(list.data, list.len, names, count);
}

/* --- what is kept --- */

static const char *const names[] = { "kept/one", "kept/two", "kept/the third" };

static void take_in_another_process(const char *name, char content)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct message answer = retrieve(name);
		char found[2];

		CHECK_IS(answer.len, 1);
		CHECK_IS(answer.data[0], 0);
		CHECK_IS(fcntl(answer.fd, F_GETFD), FD_CLOEXEC);
		CHECK_IS(pread(answer.fd, found, sizeof found, 0), 1);
		CHECK_IS(found[0], content);
		close_files(&answer.fd, 1);
		_exit(0);
	}
	check_child(pid);
}

static void three_are_kept_for_other_processes(void)
{
	int files[3];

	open_files(files, 3);
	check_list(NULL, 0);
	for (size_t i = 0; i < 3; i++)
		CHECK_IS(store(names[i], files[i]), 0);
	close_files(files, 3);
	check_list(names, 3);
	for (int times = 0; times < 2; times++)
		for (size_t i = 0; i < 3; i++)
			take_in_another_process(names[i], (char)('0' + i));
	for (size_t i = 0; i < 3; i++) {
		CHECK_IS(delete(names[i]), 0);
		check_list(names + i + 1, 2 - i);
	}
}

static void errors_come_without_a_descriptor(void)
{
	int file;

	open_files(&file, 1);
	CHECK_IS(outcome(retrieve(names[0])), ENOENT);
	CHECK_IS(delete(names[0]), ENOENT);
	CHECK_IS(store("lost/one", file), EPERM);
	CHECK_IS(store(names[0], file), 0);
	CHECK_IS(store(names[0], file), EBUSY);
	CHECK_IS(outcome(retrieve(names[1])), ENOENT);
	CHECK_IS(delete(names[0]), 0);
	CHECK_IS(delete(names[0]), ENOENT);
	close_files(&file, 1);
}

CHECK_MAIN(CASE(three_are_kept_for_other_processes), CASE(errors_come_without_a_descriptor))
