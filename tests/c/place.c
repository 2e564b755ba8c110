#include "check.h"

#include "place.h"

#include "kit.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

const int types[6] = {
	SOCK_STREAM,
	SOCK_SEQPACKET,
	SOCK_DGRAM,
	SOCK_STREAM | SOCK_NONBLOCK,
	SOCK_SEQPACKET | SOCK_NONBLOCK,
	SOCK_DGRAM | SOCK_NONBLOCK,
};

/* --- a folder --- */

/* What a folder may be called in which that is made: there are to be shorter paths. */
enum { LONGEST = 100 };

static char place[200];

static bool may_all_go_to(const char *folder)
{
	char path[LONGEST + 1];
	struct stat found;
	char *slash;

	snprintf(path, sizeof path, "%s", folder);
	do {
		if (stat(path, &found) != 0 || !(found.st_mode & S_IXOTH))
			return false;
		slash = strrchr(path, '/');
		if (slash)
			*slash = '\0';
	} while (slash && slash > path);
	return true;
}

void enter_place(void)
{
	const char *parent = getenv("TMPDIR");

	/* It may be one of a single user, and cases become another. */
	if (!parent || strlen(parent) > LONGEST || !may_all_go_to(parent))
		parent = "/tmp";
	snprintf(place, sizeof place, "%s/place-XXXXXX", parent);
	CHECK(mkdtemp(place));
	CHECK(chmod(place, 0777) == 0);
	CHECK(chdir(place) == 0);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *at)
{
	(void)info;
	(void)kind;
	return at->level == 0 ? 0 : remove(path);
}

void leave_place(void)
{
	/* Not every C library goes deeper than it may open directories. */
	CHECK(nftw(".", remove_one, PATH_MAX / 2, FTW_DEPTH | FTW_PHYS) == 0);
	CHECK(chdir("/") == 0);
	CHECK(rmdir(place) == 0);
}

void in_a_place(void (*run)(void))
{
	enter_place();
	run();
	leave_place();
}

static int real_names(const struct dirent *entry)
{
	return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

const char *names_in(const char *folder)
{
	static char names[2000];
	struct dirent **entries;
	int count = scandir(folder, &entries, real_names, alphasort);

	CHECK(count >= 0);
	names[0] = '\0';
	for (int i = 0; i < count; i++) {
		size_t len = strlen(names);

		snprintf(names + len, sizeof names - len, "%s ", entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return names;
}

void check_holds(const char *folder, const char *names)
{
	const char *there = names_in(folder);

	if (strcmp(there, names) != 0) {
		printf("there is: %s\n", there);
		check_failed(__FILE__, __LINE__, names);
	}
}

size_t shortest_path(size_t last)
{
	return strlen(place) + 1 + last;
}

char *path_of(size_t len, size_t last, bool absolute)
{
	static char path[6000];
	size_t made = absolute ? (size_t)snprintf(path, sizeof path, "%s/", place) : 0;

	CHECK(len < sizeof path && made + last <= len);
	while (made + last < len) {
		/* A folder of at most 200 bytes; what is behind needs one and a slash. */
		size_t rest = len - last - made;
		size_t folder = rest <= 201 ? rest - 1 : rest <= 203 ? 100 : 200;

		if (folder == 0) {
			/* Two slashes are one. */
			path[made++] = '/';
			if (made == 1)
				check_failed(__FILE__, __LINE__, "no such path");
			continue;
		}
		memset(path + made, 'd', folder);
		path[made + folder] = '\0';
		CHECK(mkdir(path, 0777) == 0 ? chmod(path, 0777) == 0 : errno == EEXIST);
		path[made + folder] = '/';
		made += folder + 1;
	}
	memset(path + made, 's', last);
	path[len] = '\0';
	return path;
}

struct stat found_at(const char *path)
{
	struct stat found;

	CHECK(lstat(path, &found) == 0);
	return found;
}

void check_still(const char *path, struct stat before)
{
	struct stat now = found_at(path);

	CHECK_IS(now.st_ino, before.st_ino);
	CHECK_IS(now.st_mode, before.st_mode);
	CHECK_IS(now.st_nlink, before.st_nlink);
}

/* --- sockets --- */

static int by_hand(const char *name, size_t len, int type,
		   int (*call)(int, const struct sockaddr *, socklen_t))
{
	/* valgrind looks for a zero byte, which a name need not have. */
	struct {
		struct sockaddr_un address;
		char end;
	} named = { .address = { .sun_family = AF_UNIX } };
	int sock = socket(AF_UNIX, type | SOCK_CLOEXEC, 0), error;

	CHECK(sock >= 0);
	CHECK(len <= sizeof named.address.sun_path);
	memcpy(named.address.sun_path, name, len);
	if (call(sock, (struct sockaddr *)&named,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0)
		return sock;
	error = errno;
	close(sock);
	errno = error;
	return -1;
}

int bind_by_hand(const char *name, size_t len, int type)
{
	return by_hand(name, len, type, bind);
}

int connect_by_hand(const char *name, size_t len, int type)
{
	return by_hand(name, len, type, connect);
}

void make_old(const char *path)
{
	static const struct timespec times[2];

	CHECK(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) == 0);
}

void make_stale(const char *path, int type)
{
	int sock = bind_by_hand(path, strlen(path) + 1, type);

	CHECK(sock >= 0);
	CHECK(close(sock) == 0);
	make_old(path);
}

void check_talk(int listener, int client, int type)
{
	bool datagram = (type & ~SOCK_NONBLOCK) == SOCK_DGRAM;
	int end = datagram ? listener : accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	char byte = 0;

	CHECK(end >= 0);
	CHECK_IS(send(client, "x", 1, MSG_NOSIGNAL), 1);
	CHECK_IS(recv(end, &byte, 1, 0), 1);
	CHECK_IS(byte, 'x');
	if (!datagram)
		CHECK(close(end) == 0);
	CHECK(close(client) == 0);
}

void check_socket(int sock, int type)
{
	int is = -1;
	socklen_t len = sizeof is;

	CHECK_IS(fcntl(sock, F_GETFD), FD_CLOEXEC);
	CHECK_IS(fcntl(sock, F_GETFL), O_RDWR | (type & SOCK_NONBLOCK ? O_NONBLOCK : 0));
	CHECK(getsockopt(sock, SOL_SOCKET, SO_TYPE, &is, &len) == 0);
	CHECK_IS(is, type & ~SOCK_NONBLOCK);
}
