/* Answers messages with sendmsg(2), recvmsg(2) and cmsg(3): each payload in
 * upper case, with a new file for each descriptor. */

#define _GNU_SOURCE
#include <ctype.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 253 };

static char data[65536];
static union {
	struct cmsghdr header;
	char room[CMSG_SPACE(MOST * sizeof(int))];
} control;

static int answer_to(int fd)
{
	char content[100];
	ssize_t len = pread(fd, content, sizeof content, 0);
	int answer = memfd_create("answer", MFD_CLOEXEC);

	if (len < 0 || close(fd) < 0 || answer < 0)
		err(1, "descriptor %d", fd);
	if (dprintf(answer, "answer to %.*s", (int)len, content) < 0)
		err(1, "answer");
	return answer;
}

/* Puts an answer in the place of each descriptor. */
static size_t answer_all(struct msghdr *message, int *answers)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	size_t count;

	if (!header)
		return 0;
	if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		errx(1, "control message of type %d", header->cmsg_type);
	count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	memcpy(answers, CMSG_DATA(header), count * sizeof(int));
	for (size_t i = 0; i < count; i++)
		answers[i] = answer_to(answers[i]);
	memcpy(CMSG_DATA(header), answers, count * sizeof(int));
	return count;
}

int main(void)
{
	for (;;) {
		struct iovec part = { data, sizeof data };
		struct msghdr message = { .msg_iov = &part,
					  .msg_iovlen = 1,
					  .msg_control = &control,
					  .msg_controllen = sizeof control };
		ssize_t len = recvmsg(STDIN_FILENO, &message, MSG_CMSG_CLOEXEC);
		int answers[MOST];
		size_t count;

		if (len < 0)
			err(1, "recvmsg");
		if (len == 0)
			return 0;
		if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
			errx(1, "cut short");
		count = answer_all(&message, answers);
		for (ssize_t i = 0; i < len; i++)
			data[i] = (char)toupper((unsigned char)data[i]);
		part.iov_len = (size_t)len;
		if (sendmsg(STDIN_FILENO, &message, MSG_NOSIGNAL) != len)
			err(1, "sendmsg");
		for (size_t i = 0; i < count; i++)
			close(answers[i]);
	}
}
