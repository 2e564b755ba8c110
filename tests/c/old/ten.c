/* An array of ten descriptors. */

#include <ancillary.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	int s[2], sent[10], received[ANCIL_MAX_N_FDS];
	struct stat a, b;

	if (socketpair(PF_UNIX, SOCK_DGRAM, 0, s) < 0)
		return 1;
	for (int i = 0; i < 10; i += 2)
		if (pipe(sent + i) < 0)
			return 1;
	if (ancil_send_fds(s[0], sent, 10) != 0 || ancil_recv_fds(s[1], received, 10) != 10) {
		perror("ancil");
		return 1;
	}
	for (int i = 0; i < 10; i++) {
		if (fstat(sent[i], &a) < 0 || fstat(received[i], &b) < 0)
			return 1;
		if (a.st_ino != b.st_ino || received[i] == sent[i])
			return 1;
	}
	return 0;
}
