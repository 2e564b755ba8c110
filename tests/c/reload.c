/* Loads the shared library that RELOAD_LIBRARY in the environment names, passes
 * a descriptor with it and unloads it, again and again: nothing is left. */

#include "check.h"
#include "kit.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { TIMES = 10000, MOST_GROWTH_KB = 64 };

typedef int send_fd(int sock, int fd);
typedef int recv_fd(int sock);

static void pass_one_with(const char *path, const int sock[2])
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL), *address;
	send_fd *send;
	recv_fd *receive;
	int fd;

	CHECK(library);
	CHECK(address = dlsym(library, "ancillary_send_fd"));
	memcpy(&send, &address, sizeof send);
	CHECK(address = dlsym(library, "ancillary_recv_fd"));
	memcpy(&receive, &address, sizeof receive);
	CHECK_IS(send(sock[HERE], sock[HERE]), 0);
	fd = receive(sock[THERE]);
	CHECK(same_file(fd, sock[HERE]));
	close_files(&fd, 1);
	CHECK_IS(dlclose(library), 0);
	CHECK(!dlopen(path, RTLD_NOW | RTLD_NOLOAD));
}

static void nothing_is_left(void)
{
	const char *path = getenv("RELOAD_LIBRARY");
	long kb = 0, growth;
	int sock[2];

	CHECK(path);
	open_pair(SOCK_STREAM, sock);
	for (int i = 0; i < TIMES; i++) {
		if (i == TIMES / 10)
			kb = memory_kb();
		pass_one_with(path, sock);
	}
	growth = memory_kb() - kb;
	close_pair(sock);
	check_about("%ld kB and %ld kB more", kb, growth);
	CHECK(growth <= MOST_GROWTH_KB);
}

CHECK_MAIN(CASE(nothing_is_left))
