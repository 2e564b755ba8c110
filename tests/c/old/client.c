/* A client connects to a path, sends a descriptor, and waits for an answer of
 * one byte, for a second at the most: client PATH. */

#include <ancillary.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Takes a descriptor, writes through it, and answers if told to. */
static void serve(int listener, int answers)
{
	int sock = accept(listener, NULL, NULL), fd;

	if (sock < 0 || ancil_recv_fd(sock, &fd) != 0 || write(fd, "served", 6) != 6)
		_exit(1);
	if (answers && write(sock, "+", 1) != 1)
		_exit(1);
	/* Until the client has gone. */
	_exit(read(sock, &fd, 1) != 0);
}

/* Returns what read(2) returned for the answer. */
static ssize_t ask(const struct sockaddr_un *address, int fd)
{
	int sock = socket(PF_UNIX, SOCK_STREAM, 0);
	struct timeval second = { 1, 0 };
	char answer;
	ssize_t n;

	if (sock < 0 || connect(sock, (const struct sockaddr *)address, sizeof *address) < 0 ||
	    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second) < 0 ||
	    ancil_send_fd(sock, fd) < 0) {
		perror("client");
		return -2;
	}
	n = read(sock, &answer, 1);
	close(sock);
	return n;
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(PF_UNIX, SOCK_STREAM, 0), ends[2], status;
	char text[7] = "";

	if (argc != 2 || strlen(argv[1]) >= sizeof address.sun_path || pipe(ends) < 0)
		return 1;
	strcpy(address.sun_path, argv[1]);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
	    listen(listener, 2) < 0) {
		perror(argv[1]);
		return 1;
	}
	for (int answers = 0; answers < 2; answers++) {
		if (fork() == 0)
			serve(listener, answers);
		if (ask(&address, ends[1]) != (answers ? 1 : -1))
			return 1;
		if (read(ends[0], text, 6) != 6 || strcmp(text, "served") != 0)
			return 1;
		if (wait(&status) < 0 || status != 0)
			return 1;
	}
	return unlink(argv[1]) != 0;
}
