/* A folder for sockets, and sockets made by hand. */

#ifndef PLACE_H
#define PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Makes a folder in which anybody may make files, and goes there. */
void enter_place(void);

/* Goes away and removes it with all there is in it. */
void leave_place(void);

/* Runs in a place of its own. */
void in_a_place(void (*run)(void));

/* Checks that exactly these names are in a folder: sorted, with a space behind
 * each. */
void check_holds(const char *folder, const char *names);

/* What is in a folder, in that form. */
const char *names_in(const char *folder);

/* A path of so many bytes, relative or absolute, to a file that does not exist.
 * Its folders are made; its last component has so many bytes.  It is good until
 * the next call. */
char *path_of(size_t len, size_t last, bool absolute);

/* The least bytes that an absolute one has, with such a last component. */
size_t shortest_path(size_t last);

/* What stat(2), for the link itself, finds at a path. */
struct stat found_at(const char *path);

/* Checks that the same file is there. */
void check_still(const char *path, struct stat before);

/* A socket bound to a name of exactly so many bytes, with a zero byte counted
 * or in front or not; or connected to it.  Returns -1 as the system calls do. */
int bind_by_hand(const char *name, size_t len, int type);
int connect_by_hand(const char *name, size_t len, int type);

/* Lets a file seem to have been there for years. */
void make_old(const char *path);

/* Leaves the file of a socket that nobody is bound to any more, since long. */
void make_stale(const char *path, int type);

/* Checks that a byte goes from a client, which is closed, to a socket that
 * listens for connections, or is a datagram socket. */
void check_talk(int listener, int client, int type);

/* Checks that this is a new socket of a type: close-on-exec, and non-blocking if
 * the type says so. */
void check_socket(int sock, int type);

/* The types of sockets, without and with SOCK_NONBLOCK. */
extern const int types[6];
enum { PLAIN_TYPES = 3, ALL_TYPES = 6 };

/* A descriptor that a call of the library returns; errno is left alone. */
#define NEW(variable, call) \
	do { \
		errno = CHECK_ERRNO; \
		variable = (call); \
		if (variable < 0) \
			check_differs(__FILE__, __LINE__, #call " succeeds", variable, 0); \
		if (errno != CHECK_ERRNO) \
			check_differs(__FILE__, __LINE__, #call " keeps errno", errno, \
				      CHECK_ERRNO); \
	} while (0)

#endif
