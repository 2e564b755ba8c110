/* A child sends its parent the end of a pipe, as programs for the older
 * libancillary do. */

#include <ancillary.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void child(int sock)
{
	int ends[2];

	if (pipe(ends) || ancil_send_fd(sock, ends[0])) {
		perror("child");
		_exit(1);
	}
	close(ends[0]);
	_exit(write(ends[1], "hello", 5) != 5);
}

int main(void)
{
	int sock[2], fd, status;
	char text[6] = "";

	if (socketpair(PF_UNIX, SOCK_STREAM, 0, sock)) {
		perror("socketpair");
		return 1;
	}
	switch (fork()) {
	case -1:
		perror("fork");
		return 1;
	case 0:
		close(sock[0]);
		child(sock[1]);
	}
	close(sock[1]);
	if (ancil_recv_fd(sock[0], &fd)) {
		perror("ancil_recv_fd");
		return 1;
	}
	if (read(fd, text, 5) != 5 || strcmp(text, "hello") != 0)
		return 1;
	return wait(&status) < 0 || status != 0;
}
