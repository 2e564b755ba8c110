/* Descriptors left with s6-fdholderd(8), which listens at SOCKET in the
 * environment, and lets us store, list and retrieve names that begin with
 * "kept/".
 *
 * Requests and answers are the length of what follows (32 bits, the most
 * significant byte first), how many descriptors there are (16 bits), and a
 * payload.  That of a request begins with a letter, that of an answer with 0 or
 * an error number.  A name is its length, its bytes and a zero byte. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEADER = 6, SPACE = 500 };

struct message {
	unsigned char data[HEADER + SPACE];
	size_t len;
	int fd;
};

/* --- requests and answers --- */

static struct message request(char letter)
{
	struct message message = { .data = { 0 }, .len = HEADER, .fd = -1 };

	message.data[message.len++] = (unsigned char)letter;
	return message;
}

static void add_byte(struct message *message, unsigned char byte)
{
	message->data[message->len++] = byte;
}

static void add_name(struct message *message, const char *name)
{
	size_t len = strlen(name);

	CHECK(len < 256 && message->len + len + 2 <= sizeof message->data);
	add_byte(message, (unsigned char)len);
	memcpy(message->data + message->len, name, len + 1);
	message->len += len + 1;
}

static void send_request(int sock, struct message *message)
{
	size_t payload = message->len - HEADER, nfds = message->fd >= 0;

	CHECK(payload < 65536);
	message->data[2] = (unsigned char)(payload >> 8);
	message->data[3] = (unsigned char)payload;
	message->data[5] = (unsigned char)nfds;
	CHECK_OK(ancillary_send_fds(sock, &message->fd, nfds, message->data, message->len, 0),
		 message->len);
}

static size_t number_at(const unsigned char *data, size_t bytes)
{
	size_t number = 0;

	for (size_t i = 0; i < bytes; i++)
		number = number << 8 | data[i];
	return number;
}

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
	send_request(sock, &question);
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
	/* Until when, as TAI64N: some 73 thousand million years from now. */
	static const unsigned char never[12] = { 0x60 };
	struct message message = request('S');

	memcpy(message.data + message.len, never, sizeof never);
	message.len += sizeof never;
	add_name(&message, name);
	message.fd = fd;
	return outcome(ask(message));
}

static struct message retrieve(const char *name)
{
	struct message message = request('R');

	/* It is kept. */
	add_byte(&message, 0);
	add_name(&message, name);
	return ask(message);
}

static int delete(const char *name)
{
	struct message message = request('D');

	add_name(&message, name);
	return outcome(ask(message));
}

/* The names in a list, in any order. */
static void check_list(const char *const *names, size_t count)
{
	struct message list = ask(request('L'));
	const char *end = (const char *)list.data + list.len;
	size_t found = 0;

	CHECK(list.len >= 5);
	CHECK_IS(list.data[0], 0);
	CHECK_IS(number_at(list.data + 1, 4), count);
	for (const char *name = (const char *)list.data + 5; name < end; name += strlen(name) + 1)
		for (size_t i = 0; i < count; i++)
			found += strcmp(name, names[i]) == 0;
	CHECK_IS(found, count);
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
