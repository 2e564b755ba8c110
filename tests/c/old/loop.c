/* A loop that receives descriptors until there are no more. */

#include <ancillary.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void)
{
	int s[2], fd, count = 0;

	if (socketpair(PF_UNIX, SOCK_STREAM, 0, s) < 0)
		return 1;
	for (int i = 0; i < 20; i++)
		if (ancil_send_fd(s[0], 0) != 0)
			return 1;
	close(s[0]);
	while (ancil_recv_fd(s[1], &fd) == 0) {
		count++;
		if (close(fd) != 0)
			return 1;
	}
	printf("%d descriptors, then: errno %d, fd %d\n", count, errno, fd);
	return !(count == 20 && errno == EPIPE && fd == -1);
}
