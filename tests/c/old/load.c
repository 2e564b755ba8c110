/* A program that finds the functions while it runs: load LIBRARY. */

#include <ancillary.h>
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void *library;

static void find(void *function, const char *name)
{
	void *address = dlsym(library, name);

	if (!address)
		fprintf(stderr, "%s\n", dlerror());
	/* ISO C has no conversion from a pointer to a function. */
	memcpy(function, &address, sizeof address);
}

int main(int argc, char **argv)
{
	int (*send_fd)(int, int), (*recv_fd)(int, int *);
	int (*send_fds)(int, const int *, unsigned), (*recv_fds)(int, int *, unsigned);
	int (*send_with)(int, const int *, unsigned, void *);
	int (*recv_with)(int, int *, unsigned, void *);
	int s[2], fd, fds[2] = { 0, 0 };

	library = argc == 2 ? dlopen(argv[1], RTLD_NOW) : NULL;
	if (!library || socketpair(PF_UNIX, SOCK_STREAM, 0, s) < 0)
		return 1;
	find(&send_fd, "ancil_send_fd");
	find(&recv_fd, "ancil_recv_fd");
	find(&send_fds, "ancil_send_fds");
	find(&recv_fds, "ancil_recv_fds");
	find(&send_with, "ancil_send_fds_with_buffer");
	find(&recv_with, "ancil_recv_fds_with_buffer");
	if (!send_fd || !recv_fd || !send_fds || !recv_fds || !send_with || !recv_with)
		return 1;
	if (send_fd(s[0], 0) != 0 || recv_fd(s[1], &fd) != 0 || close(fd) != 0)
		return 1;
	if (send_fds(s[0], fds, 2) != 0 || recv_fds(s[1], fds, 2) != 2)
		return 1;
	if (send_with(s[0], fds, 2, NULL) != 0 || recv_with(s[1], fds, 2, NULL) != 2)
		return 1;
	return dlclose(library) != 0;
}
