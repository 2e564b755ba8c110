/* ancillary_listen and ancillary_connect: names of all kinds, and what is in
 * the way. */

#include "check.h"
#include "kit.h"
#include "place.h"
#include "users.h"

/* NULL is passed here to see it refused. */
#define ANCILLARY_NONNULL(argument)
#include <ancillary.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* --- paths --- */

/* The socket tells that it was bound to a temporary name beside the path. */
static void check_own_name(int sock)
{
	struct sockaddr_un address;
	socklen_t len = sizeof address;
	char *last;

	memset(&address, 'x', sizeof address);
	CHECK(getsockname(sock, (struct sockaddr *)&address, &len) == 0);
	CHECK_IS(len, offsetof(struct sockaddr_un, sun_path) + strlen(address.sun_path) + 1);
	last = strrchr(address.sun_path, '/');
	CHECK(last);
	CHECK(strncmp(last, "/.ancillary-", 12) == 0);
	CHECK_IS(strspn(last + 12, "0123456789"), strlen(last + 12));
	CHECK(last[12] != '\0');
}

static void meet_at(const char *path, int type, unsigned flags)
{
	int listener, client;

	check_about("%zu bytes, type %x, flags %x", strlen(path), (unsigned)type, flags);
	NEW(listener, ancillary_listen(path, type, 0640, flags));
	check_socket(listener, type);
	check_own_name(listener);
	CHECK_IS(found_at(path).st_mode, S_IFSOCK | 0640);
	CHECK_IS(found_at(path).st_nlink, 1);
	NEW(client, ancillary_connect(path, type, 0));
	check_socket(client, type);
	check_talk(listener, client, type);
	/* Where the path fits into an address, anybody can connect to it. */
	if (strlen(path) < 108) {
		client = connect_by_hand(path, strlen(path) + 1, type);
		CHECK(client >= 0);
		check_talk(listener, client, type);
	}
	CHECK_ERR(ancillary_listen(path, type, 0640, flags), EADDRINUSE);
	CHECK(close(listener) == 0);
	CHECK_ERR(ancillary_connect(path, type, 0), ECONNREFUSED);
	CHECK_ERR(ancillary_listen(path, type, 0640, 0), EADDRINUSE);
	CHECK(unlink(path) == 0);
	CHECK_ERR(ancillary_connect(path, type, 0), ENOENT);
	check_about("%s", "");
}

/* Without and with ANCILLARY_REPLACE, for all types. */
static void meet_in_all_ways(const char *path)
{
	for (size_t i = 0; i < ALL_TYPES; i++) {
		meet_at(path, types[i], 0);
		meet_at(path, types[i], ANCILLARY_REPLACE);
	}
}

static void meet_at_all_lengths(void)
{
	static const size_t lengths[] = { 1,   2,   3,	 50,  79,  80,	81,  82,   106,	 107,
					  108, 109, 110, 120, 255, 300, 600, 4000, 4094, 4095 };

	for (size_t i = 0; i < LENGTH(lengths); i++) {
		size_t len = lengths[i];

		if (len != 2)
			meet_in_all_ways(path_of(len, 1, false));
		meet_in_all_ways(path_of(len, len < 20 ? len : 20, false));
		/* Below the folder, whatever its name is. */
		if (len >= shortest_path(10))
			meet_in_all_ways(path_of(len, 10, true));
	}
}

static void paths_of_many_lengths(void)
{
	enter_place();
	as_both(meet_at_all_lengths);
	leave_place();
}

static void last_components(void)
{
	static const size_t before[] = { 0, 70, 79, 80, 81, 82, 101, 1000, 3800 };

	for (size_t i = 0; i < LENGTH(before); i++)
		for (size_t last = 60; last <= 255; last += last < 120 ? 7 : 15)
			meet_at(path_of(before[i] + last, last, false), SOCK_STREAM,
				i % 2 ? ANCILLARY_REPLACE : 0);
	meet_in_all_ways(path_of(255, 255, false));
	meet_in_all_ways(path_of(4095, 255, false));
}

static void last_components_of_many_lengths(void)
{
	in_a_place(last_components);
}

/* Listening and connecting there fail, in all ways. */
static void check_refused_as(const char *path, int of_listen, int of_connect)
{
	check_about("%.60s (%zu bytes)", path, strlen(path));
	for (size_t i = 0; i < ALL_TYPES; i++) {
		CHECK_ERR(ancillary_listen(path, types[i], 0666, 0), of_listen);
		CHECK_ERR(ancillary_listen(path, types[i], 0666, ANCILLARY_REPLACE), of_listen);
		CHECK_ERR(ancillary_connect(path, types[i], 0), of_connect);
		CHECK_ERR(ancillary_connect(path, types[i], ANCILLARY_DONTWAIT), of_connect);
	}
	check_about("%s", "");
}

static void check_refused(const char *path, int error)
{
	check_refused_as(path, error, error);
}

static void try_bad_names(void)
{
	char *path;

	CHECK_ERR(ancillary_listen(NULL, SOCK_STREAM, 0, 0), EINVAL);
	CHECK_ERR(ancillary_connect(NULL, SOCK_STREAM, 0), EINVAL);
	check_refused("", ENOENT);
	check_refused("@", EINVAL);
	check_refused("/", EISDIR);
	check_refused("d/", EISDIR);
	check_refused("d//", EISDIR);
	check_refused("missing/", EISDIR);
	check_refused("missing/s", ENOENT);
	check_refused("d/missing/s", ENOENT);
	check_refused("/missing-here/s", ENOENT);
	check_refused("file/s", ENOTDIR);
	check_refused("file/s/s", ENOTDIR);
	check_refused("socket/s", ENOTDIR);
	check_refused("nowhere/s", ENOENT);
	check_refused("loop/s", ELOOP);
	check_refused_as("d/.", EEXIST, ECONNREFUSED);
	check_refused_as("d/..", EEXIST, ECONNREFUSED);
	check_refused_as(".", EEXIST, ECONNREFUSED);
	/* Too long for a file name, with folders that fit an address or do not. */
	check_refused(path_of(256, 256, false), ENAMETOOLONG);
	check_refused(path_of(300, 256, false), ENAMETOOLONG);
	check_refused(path_of(1000, 256, false), ENAMETOOLONG);
	check_refused(path_of(3000, 1000, false), ENAMETOOLONG);
	/* Too long for a path; at the end is what would be one. */
	path = path_of(4090, 10, false);
	memset(path + 4089, 's', 100);
	path[4096] = '\0';
	check_refused(path, ENAMETOOLONG);
	memset(path, '/', 5000);
	path[4096] = 's';
	path[4097] = '\0';
	check_refused(path, ENAMETOOLONG);
	path[4999] = 's';
	path[5000] = '\0';
	check_refused(path, ENAMETOOLONG);
}

static void names_that_are_none(void)
{
	enter_place();
	CHECK(mkdir("d", 0777) == 0);
	CHECK(chmod("d", 0777) == 0);
	CHECK(close(creat("file", 0666)) == 0);
	CHECK(symlink("/missing-here", "nowhere") == 0);
	CHECK(symlink("loop", "loop") == 0);
	make_stale("socket", SOCK_STREAM);
	as_both(try_bad_names);
	check_holds("d", "");
	leave_place();
}

/* --- folders that are not for everybody --- */

/* To replace a file there takes the lock, which takes reading; the first start does
 * not. */
static void meet_in_unlistable(void)
{
	char path[300];
	int listener, client;

	for (size_t i = 0; i < 2 * ALL_TYPES; i++) {
		int type = types[i / 2];
		unsigned flags = i % 2 ? ANCILLARY_REPLACE : 0;

		for (size_t len = 1; len <= 255; len += 127) {
			memset(path, 's', sizeof path);
			memcpy(path, "blind/", 6);
			path[6 + len] = '\0';
			check_about("%zu bytes, type %x, flags %x", len, (unsigned)type, flags);
			NEW(listener, ancillary_listen(path, type, 0600, flags));
			CHECK_IS(found_at(path).st_mode, S_IFSOCK | 0600);
			NEW(client, ancillary_connect(path, type, 0));
			check_talk(listener, client, type);
			CHECK_ERR(ancillary_listen(path, type, 0600, 0), EADDRINUSE);
			CHECK_ERR(ancillary_listen(path, type, 0600, ANCILLARY_REPLACE), EACCES);
			CHECK(close(listener) == 0);
			CHECK_ERR(ancillary_listen(path, type, 0600, 0), EADDRINUSE);
			CHECK_ERR(ancillary_listen(path, type, 0600, ANCILLARY_REPLACE), EACCES);
			CHECK(unlink(path) == 0);
		}
	}
	CHECK_IS(open("blind", O_RDONLY), -1);
	CHECK_IS(errno, EACCES);
}

static void a_folder_that_cannot_be_listed(void)
{
	enter_place();
	CHECK(mkdir("blind", 0777) == 0);
	CHECK(chmod("blind", 0333) == 0);
	as_nobody(meet_in_unlistable);
	CHECK(chmod("blind", 0777) == 0);
	check_holds("blind", "");
	leave_place();
}

static void try_unwritable(void)
{
	struct stat before = found_at("locked/stale");

	check_refused_as("locked/s", EACCES, ENOENT);
	check_refused_as("locked/file", EEXIST, EACCES);
	check_refused("shut/s", EACCES);
	for (size_t i = 0; i < ALL_TYPES; i++) {
		CHECK_ERR(ancillary_listen("locked/stale", types[i], 0666, 0), EADDRINUSE);
		CHECK_ERR(ancillary_listen("locked/stale", types[i], 0666, ANCILLARY_REPLACE),
			  EACCES);
	}
	check_still("locked/stale", before);
}

static void a_folder_that_cannot_be_written(void)
{
	enter_place();
	CHECK(mkdir("locked", 0777) == 0);
	make_stale("locked/stale", SOCK_STREAM);
	CHECK(chmod("locked/stale", 0777) == 0);
	CHECK(close(open("locked/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0400)) == 0);
	CHECK(chmod("locked/file", 0400) == 0);
	CHECK(chmod("locked", 0555) == 0);
	CHECK(mkdir("shut", 0700) == 0);
	CHECK(chmod("shut", 0600) == 0);
	as_nobody(try_unwritable);
	CHECK(chmod("locked", 0777) == 0);
	CHECK(chmod("shut", 0700) == 0);
	check_holds("locked", "file stale ");
	check_holds("shut", "");
	leave_place();
}

/* A socket that may not be connected to is not taken for a dead one. */
static void try_forbidden_socket(void)
{
	CHECK_ERR(ancillary_connect("private", SOCK_STREAM, 0), EACCES);
	CHECK_ERR(ancillary_listen("private", SOCK_STREAM, 0666, 0), EADDRINUSE);
	CHECK_ERR(ancillary_listen("private", SOCK_STREAM, 0666, ANCILLARY_REPLACE), EACCES);
}

static void a_socket_that_may_not_be_connected_to(void)
{
	struct stat before;
	int listener;

	need_root();
	enter_place();
	NEW(listener, ancillary_listen("private", SOCK_STREAM, 0755, 0));
	before = found_at("private");
	as_nobody(try_forbidden_socket);
	check_still("private", before);
	CHECK(close(listener) == 0);
	as_nobody(try_forbidden_socket);
	check_still("private", before);
	check_holds(".", "private ");
	leave_place();
}

static void a_file_system_that_cannot_be_written(void)
{
	need_root();
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0)
		check_skip("no mount namespaces");
	enter_place();
	CHECK(mkdir("fixed", 0777) == 0);
	CHECK(mount("none", "fixed", "tmpfs", 0, NULL) == 0);
	make_stale("fixed/stale", SOCK_STREAM);
	CHECK(mount("none", "fixed", "none", MS_REMOUNT | MS_RDONLY, NULL) == 0);
	check_refused_as("fixed/s", EROFS, ENOENT);
	CHECK_ERR(ancillary_listen("fixed/stale", SOCK_STREAM, 0666, 0), EADDRINUSE);
	CHECK_ERR(ancillary_listen("fixed/stale", SOCK_STREAM, 0666, ANCILLARY_REPLACE), EROFS);
	check_holds("fixed", "stale ");
	CHECK(umount("fixed") == 0);
	leave_place();
}

/* --- where proc(5) is not mounted --- */

/* A folder of so many bytes, with a slash in front, and a file in it. */
static const char *in_a_folder_of(size_t folder, size_t last)
{
	static char path[1200];

	memset(path, 'd', sizeof path);
	path[0] = '/';
	path[folder] = '\0';
	CHECK(mkdir(path, 0777) == 0 ? chmod(path, 0777) == 0 : errno == EEXIST);
	path[folder] = '/';
	memset(path + folder + 1, 's', last);
	path[folder + 1 + last] = '\0';
	return path;
}

static void meet_without_proc(const char *path, unsigned flags)
{
	for (size_t i = 0; i < ALL_TYPES; i++) {
		int listener, client;

		check_about("%zu bytes, type %x, flags %x", strlen(path), (unsigned)types[i],
			    flags);
		NEW(listener, ancillary_listen(path, types[i], 0666, flags));
		if (strlen(path) <= 107) {
			NEW(client, ancillary_connect(path, types[i], 0));
			check_talk(listener, client, types[i]);
		} else {
			CHECK_ERR(ancillary_connect(path, types[i], 0), ENOENT);
		}
		CHECK(close(listener) == 0);
		/* It is there to be replaced by the next one. */
		if (flags && i + 1 < ALL_TYPES)
			continue;
		CHECK(unlink(path) == 0);
	}
	check_about("%s", "");
}

/* What the manual says of each length. */
static void use_names_without_proc(void)
{
	/* Listening: the folder, up to its last slash. */
	meet_without_proc("/s", 0);
	meet_without_proc("s", 0);
	meet_without_proc(in_a_folder_of(85, 1), 0);
	meet_without_proc(in_a_folder_of(85, 21), 0);
	meet_without_proc(in_a_folder_of(85, 22), 0);
	meet_without_proc(in_a_folder_of(85, 255), 0);
	CHECK_ERR(ancillary_listen(in_a_folder_of(86, 1), SOCK_STREAM, 0666, 0), ENOENT);
	CHECK_ERR(ancillary_listen(in_a_folder_of(86, 1), SOCK_STREAM, 0666, ANCILLARY_REPLACE),
		  ENOENT);
	/* Replacing, and connecting: the whole of it. */
	meet_without_proc("/s", ANCILLARY_REPLACE);
	meet_without_proc(in_a_folder_of(85, 21), ANCILLARY_REPLACE);
	make_stale(in_a_folder_of(50, 1), SOCK_STREAM);
	CHECK(rename(in_a_folder_of(50, 1), "stale") == 0);
	CHECK(rename("stale", in_a_folder_of(50, 57)) == 0);
	CHECK_ERR(ancillary_listen(in_a_folder_of(50, 57), SOCK_STREAM, 0666, ANCILLARY_REPLACE),
		  ENOENT);
	CHECK_ERR(ancillary_connect(in_a_folder_of(50, 57), SOCK_STREAM, 0), ENOENT);
	CHECK_ERR(ancillary_connect(in_a_folder_of(50, 56), SOCK_STREAM, 0), ENOENT);
	CHECK(rename(in_a_folder_of(50, 57), "stale") == 0);
	CHECK(rename("stale", in_a_folder_of(50, 56)) == 0);
	CHECK_ERR(ancillary_connect(in_a_folder_of(50, 56), SOCK_STREAM, 0), ECONNREFUSED);
	meet_without_proc(in_a_folder_of(50, 56), ANCILLARY_REPLACE);
}

static void in_a_root_of_its_own(void (*run)(void))
{
	pid_t child;

	need_root();
	enter_place();
	child = fork();
	if (child == 0) {
		CHECK(chroot(".") == 0);
		as_both(run);
		_exit(0);
	}
	check_child(child);
	leave_place();
}

static void no_proc(void)
{
	in_a_root_of_its_own(use_names_without_proc);
}

/* --- where files can be made, and not moved or removed --- */

#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#endif

/* landlock(7): of these rights on files, only some in this folder.  There is no way
 * back. */
enum { READ_DIR = 1 << 3, REMOVE_FILE = 1 << 5, MAKE_SOCK = 1 << 9 };

static void confine(unsigned allowed)
{
	struct {
		uint64_t handled;
	} rights = { READ_DIR | REMOVE_FILE | MAKE_SOCK };
	struct {
		uint64_t allowed;
		int32_t folder;
	} __attribute__((packed)) rule = { allowed, open(".", O_PATH | O_DIRECTORY | O_CLOEXEC) };
	int rules = (int)syscall(SYS_landlock_create_ruleset, &rights, sizeof rights, 0);

	if (rules < 0)
		check_skip("no Landlock");
	/* A rule that allows nothing is refused. */
	CHECK(allowed == 0 || syscall(SYS_landlock_create_ruleset + 1, rules, 1, &rule, 0) == 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(syscall(SYS_landlock_create_ruleset + 2, rules, 0) == 0);
	close_files((int[]){ rules, rule.folder }, 2);
}

static const char *left_there;

/* Fails again and again, from processes of their own, and leaves no more than one
 * file. */
static void listen_confined(unsigned allowed, unsigned flags, bool stale)
{
	enter_place();
	if (stale)
		make_stale("s", SOCK_STREAM);
	for (int times = 0; times < 3; times++) {
		pid_t child = fork();

		check_about("allowed: %x, flags %x, stale: %d, %d", allowed, flags, stale, times);
		if (child == 0) {
			confine(allowed);
			CHECK_ERR(ancillary_listen("s", SOCK_STREAM, 0600, flags), EACCES);
			CHECK_ERR(ancillary_listen("t", SOCK_STREAM, 0600, flags), EACCES);
			_exit(0);
		}
		check_child(child);
		check_holds(".", left_there);
	}
	leave_place();
	check_about("%s", "");
}

static void no_more_than_one_file_is_left(void)
{
	/* In a process of its own, to be skipped here. */
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 1)
		check_skip("no Landlock");
	left_there = ".ancillary-0 ";
	listen_confined(MAKE_SOCK, 0, false);
	listen_confined(MAKE_SOCK, ANCILLARY_REPLACE, false);
	listen_confined(MAKE_SOCK | READ_DIR, 0, false);
	left_there = ".ancillary-0 s ";
	listen_confined(MAKE_SOCK | READ_DIR, ANCILLARY_REPLACE, true);
}

static void in_a_child(void (*function)(void))
{
	pid_t child = fork();

	if (child == 0) {
		function();
		_exit(0);
	}
	check_child(child);
}

static void meet_confined(void)
{
	confine(MAKE_SOCK | READ_DIR | REMOVE_FILE);
	meet_in_all_ways("s");
}

static void what_a_confined_process_needs(void)
{
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 1)
		check_skip("no Landlock");
	enter_place();
	in_a_child(meet_confined);
	leave_place();
}

static void use_what_is_there(void)
{
	int client;

	confine(0);
	NEW(client, ancillary_connect("s", SOCK_STREAM, 0));
	CHECK_OK(ancillary_send_fd(client, STDIN_FILENO), 0);
	close_files(&client, 1);
	CHECK_ERR(ancillary_listen("t", SOCK_STREAM, 0600, 0), EACCES);
}

static void make_what_is_not_there(void)
{
	int listener;

	confine(MAKE_SOCK | REMOVE_FILE);
	NEW(listener, ancillary_listen("t", SOCK_STREAM, 0600, ANCILLARY_REPLACE));
	close_files(&listener, 1);
	CHECK(unlink("t") == 0);
}

static void what_can_be_done_with_fewer_rights(void)
{
	int listener;

	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1) < 1)
		check_skip("no Landlock");
	enter_place();
	NEW(listener, ancillary_listen("s", SOCK_STREAM, 0600, 0));
	in_a_child(use_what_is_there);
	in_a_child(make_what_is_not_there);
	check_holds(".", "s ");
	close_files(&listener, 1);
	leave_place();
}

/* --- what is in the way --- */

static void check_in_the_way(const char *path, int of_listen, int of_replace, int of_connect)
{
	struct stat before = found_at(path);

	check_about("%.40s", path);
	for (size_t i = 0; i < ALL_TYPES; i++) {
		CHECK_ERR(ancillary_listen(path, types[i], 0666, 0), of_listen);
		CHECK_ERR(ancillary_listen(path, types[i], 0666, ANCILLARY_REPLACE), of_replace);
		if (of_connect)
			CHECK_ERR(ancillary_connect(path, types[i], 0), of_connect);
		check_still(path, before);
	}
	check_about("%s", "");
}

static void fill_the_way(const char *folder)
{
	CHECK(chdir(folder) == 0);
	CHECK(close(creat("file", 0666)) == 0);
	CHECK(mkdir("folder", 0777) == 0);
	CHECK(mkfifo("fifo", 0666) == 0);
	make_stale("stale", SOCK_STREAM);
	CHECK(symlink("missing", "to-nothing") == 0);
	CHECK(symlink("file", "to-file") == 0);
	CHECK(symlink("folder", "to-folder") == 0);
	CHECK(symlink("stale", "to-stale") == 0);
	CHECK(symlink("live", "to-live") == 0);
	CHECK(symlink("to-itself", "to-itself") == 0);
}

static const char everything[] = "fifo file folder live stale to-file to-folder to-itself to-live "
				 "to-nothing to-stale ";

/* Tries all that is in a folder whose path, with a slash, is given. */
static void try_the_way(const char *folder)
{
	static const struct {
		const char *name;
		int of_listen, of_replace, of_connect;
	} cases[] = {
		{ "file", EEXIST, EEXIST, ECONNREFUSED },
		{ "folder", EEXIST, EEXIST, ECONNREFUSED },
		{ "fifo", EEXIST, EEXIST, ECONNREFUSED },
		{ "to-nothing", EEXIST, EEXIST, ENOENT },
		{ "to-file", EEXIST, EEXIST, ECONNREFUSED },
		{ "to-folder", EEXIST, EEXIST, ECONNREFUSED },
		{ "to-stale", EEXIST, EEXIST, ECONNREFUSED },
		{ "to-live", EEXIST, EEXIST, 0 },
		{ "to-itself", EEXIST, EEXIST, ELOOP },
		{ "live", EADDRINUSE, EADDRINUSE, 0 },
	};
	char path[5000];
	struct stat before;

	for (size_t i = 0; i < LENGTH(cases); i++) {
		snprintf(path, sizeof path, "%s%s", folder, cases[i].name);
		check_in_the_way(path, cases[i].of_listen, cases[i].of_replace,
				 cases[i].of_connect);
	}
	snprintf(path, sizeof path, "%sstale", folder);
	before = found_at(path);
	CHECK_ERR(ancillary_listen(path, SOCK_STREAM, 0666, 0), EADDRINUSE);
	CHECK_ERR(ancillary_connect(path, SOCK_STREAM, 0), ECONNREFUSED);
	check_still(path, before);
}

static void what_is_no_socket_is_left_alone(void)
{
	char *folder, path[5000];
	int home, live, client;

	enter_place();
	home = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (size_t len = 20; len <= 4000; len += 1990) {
		folder = path_of(len, 1, false);
		folder[len - 1] = '\0';
		fill_the_way(folder);
		live = bind_by_hand("live", 5, SOCK_STREAM);
		CHECK(listen(live, 100) == 0);
		CHECK(fchdir(home) == 0);
		try_the_way(folder);
		check_holds(folder, everything);
		/* A client may come by a link. */
		snprintf(path, sizeof path, "%sto-live", folder);
		NEW(client, ancillary_connect(path, SOCK_STREAM, 0));
		check_talk(live, client, SOCK_STREAM);
		CHECK(close(live) == 0);
	}
	CHECK(close(home) == 0);
	leave_place();
}

/* The folder may be a link. */
static void links_to_folders(void)
{
	int listener, client;

	enter_place();
	CHECK(mkdir("folder", 0777) == 0);
	CHECK(symlink("folder", "link") == 0);
	for (size_t i = 0; i < 2; i++) {
		unsigned flags = i ? ANCILLARY_REPLACE : 0;

		NEW(listener, ancillary_listen("link/s", SOCK_STREAM, 0666, flags));
		NEW(client, ancillary_connect("folder/s", SOCK_STREAM, 0));
		check_talk(listener, client, SOCK_STREAM);
		check_holds("folder", "s ");
		CHECK(unlink("folder/s") == 0);
		CHECK(close(listener) == 0);
	}
	leave_place();
}

/* --- abstract names --- */

/* The names of other programs are not those here. */
static void have_own_names(void)
{
	if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
		check_skip("no network namespaces");
}

static char name[200];

/* `@` and so many bytes; the same with a zero byte in place of the `@`, for by
 * hand. */
static const char *abstract_name(size_t len, char first)
{
	name[0] = first;
	for (size_t i = 1; i <= len; i++)
		name[i] = (char)(i % 31 == 30 ? '/' : i % 7 == 6 ? '@' : 'a' + i % 26);
	name[1 + len] = '\0';
	return name;
}

static void meet_at_abstract(size_t len, int type)
{
	int listener, client;

	check_about("%zu bytes, type %x", len, (unsigned)type);
	NEW(listener, ancillary_listen(abstract_name(len, '@'), type, 0, 0));
	check_socket(listener, type);
	NEW(client, ancillary_connect(name, type, 0));
	check_socket(client, type);
	check_talk(listener, client, type);
	CHECK_ERR(ancillary_listen(name, type, 0, 0), EADDRINUSE);
	CHECK_ERR(ancillary_listen(name, type, 0, ANCILLARY_REPLACE), EADDRINUSE);
	client = connect_by_hand(abstract_name(len, '\0'), 1 + len, type);
	CHECK(client >= 0);
	check_talk(listener, client, type);
	/* One more zero byte would be another name. */
	if (len < 107) {
		CHECK_IS(connect_by_hand(name, 1 + len + 1, type), -1);
		CHECK_IS(errno, ECONNREFUSED);
	}
	CHECK(close(listener) == 0);
	/* It ends with the socket. */
	CHECK_ERR(ancillary_connect(abstract_name(len, '@'), type, 0), ECONNREFUSED);
	listener = bind_by_hand(abstract_name(len, '\0'), 1 + len, type);
	CHECK(listener >= 0);
	if ((type & ~SOCK_NONBLOCK) != SOCK_DGRAM)
		CHECK(listen(listener, 1) == 0);
	NEW(client, ancillary_connect(abstract_name(len, '@'), type, 0));
	check_talk(listener, client, type);
	CHECK_ERR(ancillary_listen(name, type, 0, 0), EADDRINUSE);
	CHECK(close(listener) == 0);
	NEW(listener, ancillary_listen(name, type, 0, ANCILLARY_REPLACE));
	CHECK(close(listener) == 0);
	check_about("%s", "");
}

static void meet_at_all_abstract(void)
{
	for (size_t len = 1; len <= 107; len++)
		for (size_t i = 0; i < ALL_TYPES; i++)
			meet_at_abstract(len, types[i]);
	check_refused(abstract_name(108, '@'), ENAMETOOLONG);
	check_refused(abstract_name(150, '@'), ENAMETOOLONG);
}

static void abstract_names(void)
{
	char longer[5000];

	have_own_names();
	as_both(meet_at_all_abstract);
	memset(longer, '@', sizeof longer);
	longer[sizeof longer - 1] = '\0';
	check_refused(longer, ENAMETOOLONG);
}

static void abstract_names_make_no_file(void)
{
	int listener, client;

	have_own_names();
	enter_place();
	NEW(listener, ancillary_listen("@name", SOCK_STREAM, 0, ANCILLARY_REPLACE));
	check_holds(".", "");
	CHECK_ERR(ancillary_connect("./@name", SOCK_STREAM, 0), ENOENT);
	CHECK(close(listener) == 0);
	/* While this is a file. */
	NEW(listener, ancillary_listen("./@name", SOCK_STREAM, 0666, 0));
	check_holds(".", "@name ");
	CHECK_ERR(ancillary_connect("@name", SOCK_STREAM, 0), ECONNREFUSED);
	NEW(client, ancillary_connect("./@name", SOCK_STREAM, 0));
	check_talk(listener, client, SOCK_STREAM);
	CHECK(close(listener) == 0);
	leave_place();
}

/* --- threads --- */

static void *meet_at_a_long_name(void *unused)
{
	char name[201];
	int listener, client;

	/* From here on the descriptors are its own: those of the first thread
	 * have other numbers. */
	CHECK(unshare(CLONE_FILES) == 0);
	CHECK(close(dup(0)) == 0);
	memset(name, 'n', 200);
	name[200] = '\0';
	for (int i = 0; i < 8; i++)
		CHECK(dup(0) >= 0);
	NEW(listener, ancillary_listen(name, SOCK_STREAM, 0600, 0));
	NEW(client, ancillary_connect(name, SOCK_STREAM, 0));
	check_talk(listener, client, SOCK_STREAM);
	CHECK(unlink(name) == 0);
	return unused;
}

static void a_thread_with_descriptors_of_its_own(void)
{
	enter_place();
	end_thread(start_thread(meet_at_a_long_name, NULL));
	leave_place();
}

CHECK_MAIN(CASE(paths_of_many_lengths), CASE(last_components_of_many_lengths),
	   CASE(names_that_are_none), CASE(a_folder_that_cannot_be_listed),
	   CASE(a_folder_that_cannot_be_written), CASE(a_socket_that_may_not_be_connected_to),
	   CASE(a_file_system_that_cannot_be_written), CASE(no_proc),
	   CASE(no_more_than_one_file_is_left), CASE(what_a_confined_process_needs),
	   CASE(what_can_be_done_with_fewer_rights),
	   CASE(what_is_no_socket_is_left_alone), CASE(links_to_folders), CASE(abstract_names),
	   CASE(abstract_names_make_no_file),
	   CASE(a_thread_with_descriptors_of_its_own))
