/* Buffers of exactly the documented size, behind which there is no memory. */

#include <ancillary.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* A buffer that ends where memory ends. */
static void *buffer_of(size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), pages = size / page + 2;
	char *start = mmap(NULL, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (start == MAP_FAILED || mprotect(start + (pages - 1) * page, page, PROT_NONE) < 0) {
		perror("mmap");
		exit(1);
	}
	return start + (pages - 1) * page - size;
}

static int pass(int s[2], unsigned count, void *buffer)
{
	int sent[253], received[253];

	memset(sent, 0, sizeof sent);
	memset(received, 'x', sizeof received);
	if (ancil_send_fds_with_buffer(s[0], sent, count, buffer) != 0 ||
	    ancil_recv_fds_with_buffer(s[1], received, count, buffer) != (int)count) {
		perror("ancil");
		return 1;
	}
	for (unsigned i = 0; i < count; i++)
		if (close(received[i]) != 0)
			return 1;
	return 0;
}

/* As programs use the type. */
static ANCIL_FD_BUFFER(3) in_file;
typedef ANCIL_FD_BUFFER(3) buffer_of_three;

int main(void)
{
	buffer_of_three *allocated = malloc(sizeof(ANCIL_FD_BUFFER(3)));
	ANCIL_FD_BUFFER(1) on_stack;
	ANCIL_FD_BUFFER(253) large;
	int s[2];

	if (sizeof on_stack != (sizeof(struct cmsghdr) + sizeof(int) + 7) / 8 * 8 && sizeof(long) == 8)
		return 1;
	on_stack.h.cmsg_len = 0;
	on_stack.fd[0] = -1;
	large.fd[252] = -1;
	if (socketpair(PF_UNIX, SOCK_STREAM, 0, s) < 0)
		return 1;
	for (unsigned count = 1; count <= 253; count += 63)
		if (pass(s, count, buffer_of(sizeof(struct cmsghdr) + count * sizeof(int))))
			return 1;
	if (!allocated || pass(s, 3, allocated) || pass(s, 3, &in_file))
		return 1;
	free(allocated);
	return pass(s, 1, &on_stack) || pass(s, 253, &large) || pass(s, 3, NULL);
}
