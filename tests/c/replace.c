/* ANCILLARY_REPLACE: dead sockets are replaced, live ones never. */

#include "check.h"
#include "calls.h"
#include "kit.h"
#include "place.h"
#include "users.h"

#include <ancillary.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- dead ones --- */

static void replace_stale(const char *path)
{
	for (int n = 0; n < PLAIN_TYPES * ALL_TYPES; n++) {
		int old = types[n / ALL_TYPES], new = types[n % ALL_TYPES], listener, client;
		struct stat before;

		check_about("%zu bytes, type %x over %x", strlen(path), (unsigned)new,
			    (unsigned)old);
		NEW(listener, ancillary_listen(path, old, 0200, 0));
		before = found_at(path);
		CHECK(close(listener) == 0);
		CHECK_ERR(ancillary_listen(path, new, 0640, 0), EADDRINUSE);
		check_still(path, before);
		NEW(listener, ancillary_listen(path, new, 0640, ANCILLARY_REPLACE));
		check_socket(listener, new);
		CHECK_IS(found_at(path).st_mode, S_IFSOCK | 0640);
		CHECK(found_at(path).st_ino != before.st_ino);
		NEW(client, ancillary_connect(path, new, 0));
		check_talk(listener, client, new);
		CHECK_ERR(ancillary_listen(path, new, 0640, ANCILLARY_REPLACE), EADDRINUSE);
		CHECK(close(listener) == 0);
		/* Again and again. */
		NEW(listener, ancillary_listen(path, new, 0600, ANCILLARY_REPLACE));
		CHECK(close(listener) == 0);
		CHECK(unlink(path) == 0);
	}
	check_about("%s", "");
}

static void replace_stale_ones(void)
{
	replace_stale("s");
	replace_stale(path_of(107, 20, false));
	replace_stale(path_of(108, 20, false));
	replace_stale(path_of(109, 20, false));
	replace_stale(path_of(255, 255, false));
	replace_stale(path_of(300, 1, false));
	replace_stale(path_of(4000, 200, false));
	replace_stale(path_of(150, 10, true));
	CHECK(!strstr(names_in("."), ".ancillary"));
}

static void dead_ones_are_replaced(void)
{
	enter_place();
	as_both(replace_stale_ones);
	leave_place();
}

/* --- live ones --- */

static bool is_datagram(int type)
{
	return (type & ~SOCK_NONBLOCK) == SOCK_DGRAM;
}

/* Tries to steal what is at "s", a socket of this process. */
static void try_to_steal(int sock)
{
	struct stat before = found_at("s");

	for (size_t i = 0; i < ALL_TYPES; i++) {
		struct pollfd polled = { .fd = sock, .events = POLLIN | POLLPRI | POLLRDHUP };

		CHECK_ERR(ancillary_listen("s", types[i], 0666, ANCILLARY_REPLACE), EADDRINUSE);
		CHECK_ERR(ancillary_listen("s", types[i], 0666,
					   ANCILLARY_REPLACE | ANCILLARY_DONTWAIT),
			  EADDRINUSE);
		CHECK_ERR(ancillary_listen("s", types[i], 0666, 0), EADDRINUSE);
		CHECK_IS(poll(&polled, 1, 0) > 0 ? polled.revents & ~POLLHUP : 0, 0);
		check_still("s", before);
		check_holds(".", "s ");
	}
}

/* It has not seen anything of that. */
static void check_undisturbed(int sock, int type)
{
	char byte;

	if (is_datagram(type)) {
		CHECK_IS(recv(sock, &byte, 1, MSG_DONTWAIT), -1);
	} else {
		CHECK(fcntl(sock, F_SETFL, O_NONBLOCK) == 0);
		CHECK_IS(accept(sock, NULL, NULL), -1);
		CHECK(fcntl(sock, F_SETFL, 0) == 0);
	}
	CHECK_IS(errno, EAGAIN);
}

/* Sockets of all types that nobody has connected to. */
static void idle_ones(void)
{
	for (size_t i = 0; i < ALL_TYPES; i++) {
		int listener, client;

		check_about("type %x", (unsigned)types[i]);
		NEW(listener, ancillary_listen("s", types[i], 0666, 0));
		try_to_steal(listener);
		check_undisturbed(listener, types[i]);
		NEW(client, ancillary_connect("s", types[i], 0));
		check_talk(listener, client, types[i]);
		CHECK(unlink("s") == 0);
		CHECK(close(listener) == 0);
	}
}

static void a_live_socket_is_not_stolen(void)
{
	in_a_place(idle_ones);
}

/* Where a probe cannot do without a trace, as under gVisor, it keeps its name all the same. */
static void a_live_socket_keeps_its_name(void)
{
	enter_place();
	for (size_t i = 0; i < ALL_TYPES; i++) {
		const char path[] = { (char)('a' + i), '\0' };
		struct stat before;
		int listener;

		check_about("type %x", (unsigned)types[i]);
		NEW(listener, ancillary_listen(path, types[i], 0666, 0));
		before = found_at(path);
		for (size_t k = 0; k < ALL_TYPES; k++)
			CHECK_ERR(ancillary_listen(path, types[k], 0666, ANCILLARY_REPLACE),
				  EADDRINUSE);
		check_still(path, before);
		CHECK(unlink(path) == 0);
		CHECK(close(listener) == 0);
	}
	leave_place();
}

/* As other programs leave it for a moment. */
static void bound_ones(void)
{
	for (size_t i = 0; i < PLAIN_TYPES; i++) {
		int sock = bind_by_hand("s", 2, types[i]), client;

		check_about("type %x", (unsigned)types[i]);
		CHECK(sock >= 0);
		CHECK_ERR(ancillary_connect("s", SOCK_STREAM, 0),
			  types[i] == SOCK_STREAM ? ECONNREFUSED : EPROTOTYPE);
		try_to_steal(sock);
		if (!is_datagram(types[i]))
			CHECK(listen(sock, 10) == 0);
		check_undisturbed(sock, types[i]);
		NEW(client, ancillary_connect("s", types[i], 0));
		check_talk(sock, client, types[i]);
		CHECK(unlink("s") == 0);
		CHECK(close(sock) == 0);
	}
}

static void a_socket_that_does_not_listen_yet_is_not_stolen(void)
{
	in_a_place(bound_ones);
}

static void full_ones(void)
{
	for (size_t i = 0; i < 2; i++) {
		int listener, client, clients[2];

		check_about("type %x", (unsigned)types[i]);
		NEW(listener, ancillary_listen("s", types[i], 0666, ANCILLARY_REPLACE));
		/* The queue takes one more than this. */
		CHECK(listen(listener, 1) == 0);
		for (size_t k = 0; k < 2; k++)
			NEW(clients[k], ancillary_connect("s", types[i], ANCILLARY_DONTWAIT));
		CHECK_ERR(ancillary_connect("s", types[i], ANCILLARY_DONTWAIT), EAGAIN);
		for (int times = 0; times < 20; times++) {
			struct stat before = found_at("s");

			CHECK_ERR(ancillary_listen("s", types[times % ALL_TYPES], 0666,
						   ANCILLARY_REPLACE),
				  EADDRINUSE);
			check_still("s", before);
			check_holds(".", "s ");
		}
		/* There are these two, and no others. */
		check_talk(listener, clients[0], types[i]);
		check_talk(listener, clients[1], types[i]);
		check_undisturbed(listener, types[i]);
		NEW(client, ancillary_connect("s", types[i], 0));
		check_talk(listener, client, types[i]);
		CHECK(unlink("s") == 0);
		CHECK(close(listener) == 0);
	}
}

static void a_full_queue_does_not_matter(void)
{
	in_a_place(full_ones);
}

static void connected_datagram_socket(void)
{
	int elsewhere, sock;

	NEW(elsewhere, ancillary_listen("elsewhere", SOCK_DGRAM, 0666, 0));
	NEW(sock, ancillary_listen("s", SOCK_DGRAM, 0666, 0));
	CHECK(connect(sock, (struct sockaddr *)&(struct sockaddr_un){ AF_UNIX, "elsewhere" },
		      sizeof(struct sockaddr_un)) == 0);
	CHECK_ERR(ancillary_connect("s", SOCK_DGRAM, 0), EPERM);
	CHECK(unlink("elsewhere") == 0);
	try_to_steal(sock);
	CHECK(close(elsewhere) == 0);
	try_to_steal(sock);
	CHECK(close(sock) == 0);
	/* And now it is dead. */
	NEW(sock, ancillary_listen("s", SOCK_DGRAM, 0666, ANCILLARY_REPLACE));
	CHECK(close(sock) == 0);
}

static void a_connected_datagram_socket_is_not_stolen(void)
{
	in_a_place(connected_datagram_socket);
}

/* A slow server, clients, and starters that come all the time. */
static void serve_slowly(void)
{
	enum { CLIENTS = 100 };
	pid_t client, starter;
	int listener, count = 0;

	NEW(listener, ancillary_listen("s", SOCK_STREAM, 0666, 0));
	CHECK(listen(listener, 2) == 0);
	client = fork();
	if (client == 0) {
		close(listener);
		for (int i = 0; i < CLIENTS; i++) {
			int link;

			NEW(link, ancillary_connect("s", SOCK_STREAM, 0));
			CHECK_IS(write(link, "c", 1), 1);
			CHECK(close(link) == 0);
		}
		_exit(0);
	}
	starter = fork();
	if (starter == 0) {
		close(listener);
		for (;;) {
			int stolen = ancillary_listen("s", SOCK_STREAM, 0666, ANCILLARY_REPLACE);

			CHECK_IS(stolen, -EADDRINUSE);
		}
	}
	for (; count < CLIENTS; count++) {
		char byte = 0;
		int link;

		sleep_ms(2);
		link = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		CHECK(link >= 0);
		CHECK_IS(read(link, &byte, 1), 1);
		CHECK_IS(byte, 'c');
		CHECK(close(link) == 0);
	}
	check_child(client);
	check_undisturbed(listener, SOCK_STREAM);
	CHECK(kill(starter, SIGKILL) == 0);
	CHECK(waitpid(starter, NULL, 0) == starter);
	CHECK(close(listener) == 0);
}

static void a_slow_server_sees_its_clients_only(void)
{
	in_a_place(serve_slowly);
}

/* --- several starters --- */

enum { STARTERS = 6 };

static struct shared {
	pthread_barrier_t barrier;
	char path[5000];
	int results[STARTERS];
	volatile bool over;
	volatile int started;
} *shared;

static void share(void)
{
	pthread_barrierattr_t attributes;

	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(shared != MAP_FAILED);
	CHECK(pthread_barrierattr_init(&attributes) == 0);
	CHECK(pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0);
	CHECK(pthread_barrier_init(&shared->barrier, &attributes, STARTERS + 1) == 0);
}

static void meet_others(void)
{
	int result = pthread_barrier_wait(&shared->barrier);

	CHECK(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
}

/* A process that starts in each round, and serves one client if it wins. */
static void start_and_serve(int number, unsigned flags)
{
	for (;;) {
		int listener;

		meet_others();
		if (shared->over)
			return;
		listener = ancillary_listen(shared->path, SOCK_STREAM, 0600, flags);
		shared->results[number] = listener;
		meet_others();
		if (listener >= 0) {
			int link = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

			CHECK(link >= 0);
			CHECK_IS(write(link, &number, sizeof number), sizeof number);
			CHECK(close(link) == 0);
			CHECK(close(listener) == 0);
		}
		meet_others();
	}
}

/* The one that has won, and is reached by a client. */
static void find_winner(void)
{
	int winner = -1, client, served_by = -1;

	for (int i = 0; i < STARTERS; i++) {
		if (shared->results[i] >= 0) {
			CHECK_IS(winner, -1);
			winner = i;
		} else {
			CHECK_IS(shared->results[i], -EADDRINUSE);
		}
	}
	CHECK(winner >= 0);
	NEW(client, ancillary_connect(shared->path, SOCK_STREAM, 0));
	CHECK_IS(read(client, &served_by, sizeof served_by), sizeof served_by);
	CHECK_IS(served_by, winner);
	CHECK(close(client) == 0);
}

/* Rounds with a stale file, which is that of the last one, or with none. */
static void race(const char *path, unsigned flags, bool stale, int rounds)
{
	pid_t starters[STARTERS];

	check_about("%zu bytes, flags %x, stale: %d", strlen(path), flags, stale);
	share();
	strcpy(shared->path, path);
	for (int i = 0; i < STARTERS; i++) {
		starters[i] = fork();
		if (starters[i] == 0) {
			start_and_serve(i, flags);
			_exit(0);
		}
	}
	for (rounds = some_of(rounds); rounds > 0; rounds--) {
		if (!stale)
			CHECK(unlink(path) == 0 || errno == ENOENT);
		meet_others();
		meet_others();
		find_winner();
		meet_others();
	}
	shared->over = true;
	meet_others();
	for (int i = 0; i < STARTERS; i++)
		check_child(starters[i]);
	CHECK(unlink(path) == 0);
	check_about("%s", "");
}

static void of_several_starters_one_wins(void)
{
	enter_place();
	race("s", ANCILLARY_REPLACE, true, 300);
	race("s", ANCILLARY_REPLACE, false, 100);
	race("s", 0, false, 100);
	check_holds(".", "");
	race(path_of(300, 100, false), ANCILLARY_REPLACE, true, 100);
	race(path_of(4000, 100, false), ANCILLARY_REPLACE, true, 100);
	leave_place();
}

/* --- in the middle of a call --- */

/* Called before each system call of the library, with its name. */
static void (*before_each)(const char *function);

static long look_before(const struct call *call)
{
	if (before_each) {
		int error = errno;

		on_call = make_call;
		before_each(call->name);
		on_call = look_before;
		errno = error;
	}
	return make_call(call);
}

static void look(void (*each)(const char *function))
{
	before_each = each;
	on_call = each ? look_before : make_call;
}

/* --- starters that are killed --- */

/* A call that finds nothing in its way, or a dead socket file. */
static void start_again(void)
{
	int listener, client;

	NEW(listener, ancillary_listen("s", SOCK_SEQPACKET, 0600, ANCILLARY_REPLACE));
	NEW(client, ancillary_connect("s", SOCK_SEQPACKET, 0));
	check_talk(listener, client, SOCK_SEQPACKET);
	CHECK(close(listener) == 0);
}

/* What the manual says can be left is left, and nothing is after the next one has
 * replaced a file. */
static void check_left(void)
{
	const char *left = names_in("."), *own = ".ancillary-0 ";

	if (strncmp(left, own, strlen(own)) == 0) {
		left += strlen(own);
		make_old(".ancillary-0");
	}
	CHECK(strcmp(left, "s ") == 0 || strcmp(left, "") == 0);
	start_again();
	start_again();
	check_holds(".", "s ");
}

static void start_and_stay(unsigned flags)
{
	CHECK(ancillary_listen("s", SOCK_STREAM, 0600, flags) >= 0);
	for (;;)
		pause();
}

static int calls_left;

static void kill_at_the_last(const char *function)
{
	(void)function;
	if (calls_left-- == 0)
		raise(SIGKILL);
}

/* Kills one before each of its calls, and behind the last; returns when it comes
 * so far. */
static void kill_in_each_place(unsigned flags, bool stale, int least)
{
	for (int place = 0;; place++) {
		pid_t child;
		int status;

		check_about("flags %x, stale: %d, place %d", flags, stale, place);
		unlink("s");
		if (stale)
			make_stale("s", SOCK_STREAM);
		child = fork();
		if (child == 0) {
			calls_left = place;
			look(kill_at_the_last);
			CHECK(ancillary_listen("s", SOCK_STREAM, 0600, flags) >= 0);
			look(NULL);
			_exit(0);
		}
		CHECK(waitpid(child, &status, 0) == child);
		check_left();
		if (WIFEXITED(status)) {
			CHECK_IS(status, 0);
			CHECK(place >= least);
			break;
		}
		CHECK_IS(WTERMSIG(status), SIGKILL);
	}
	check_about("%s", "");
}

static void one_may_be_killed_anywhere(void)
{
	enter_place();
	kill_in_each_place(ANCILLARY_REPLACE, true, 7);
	kill_in_each_place(ANCILLARY_REPLACE, false, 5);
	kill_in_each_place(0, false, 4);
	leave_place();
}

static void one_may_be_killed_at_any_time(void)
{
	const char *given = getenv("SEED");
	unsigned seed = given ? (unsigned)atoi(given) : (unsigned)(time(NULL) ^ getpid());

	printf("SEED=%u\n", seed);
	check_about("SEED=%u", seed);
	srand(seed);
	enter_place();
	share();
	for (int round = 0, rounds = some_of(600); round < rounds; round++) {
		unsigned flags = round % 3 ? ANCILLARY_REPLACE : 0;
		int spins = rand() % 20000;
		pid_t child;

		if (flags == 0)
			unlink("s");
		shared->started = 0;
		child = fork();
		if (child == 0) {
			shared->started = 1;
			start_and_stay(flags);
		}
		while (!shared->started)
			;
		for (volatile int i = 0; i < spins; i++)
			;
		CHECK(kill(child, SIGKILL) == 0);
		CHECK(waitpid(child, NULL, 0) == child);
		check_left();
	}
	check_about("%s", "");
	leave_place();
}

/* Several are killed while others start: the lock goes with its owner. */
static void killed_ones_do_not_block_others(void)
{
	enter_place();
	share();
	srand(1);
	/* Where nothing is to be replaced they take no lock, and each can leave a file. */
	make_stale("s", SOCK_STREAM);
	for (int round = some_of(100 - 1); round >= 0; round--) {
		pid_t children[4];
		int listener;

		shared->started = 0;
		for (int i = 0; i < 4; i++) {
			children[i] = fork();
			if (children[i] == 0) {
				__atomic_add_fetch(&shared->started, 1, __ATOMIC_SEQ_CST);
				listener = ancillary_listen("s", SOCK_STREAM, 0600,
							    ANCILLARY_REPLACE);
				CHECK(listener >= 0 || listener == -EADDRINUSE);
				for (;;)
					pause();
			}
		}
		while (shared->started < 4)
			;
		for (volatile int i = rand() % 20000; i > 0; i--)
			;
		for (int i = 0; i < 4; i++)
			CHECK(kill(children[i], SIGKILL) == 0);
		for (int i = 0; i < 4; i++)
			CHECK(waitpid(children[i], NULL, 0) == children[i]);
		check_left();
	}
	leave_place();
}

/* --- what is at the temporary names --- */

static void check_temporary(unsigned flags, const char *expected)
{
	struct sockaddr_un address;
	socklen_t len = sizeof address;
	int listener, client;

	NEW(listener, ancillary_listen("s", SOCK_STREAM, 0600, flags));
	CHECK(getsockname(listener, (struct sockaddr *)&address, &len) == 0);
	CHECK(strcmp(address.sun_path, expected) == 0);
	NEW(client, ancillary_connect("s", SOCK_STREAM, 0));
	check_talk(listener, client, SOCK_STREAM);
	CHECK(unlink("s") == 0);
	CHECK(close(listener) == 0);
}

static const char first_name[] = "./.ancillary-0";

/* Whoever is there, and whatever it is, stays there. */
static void check_taken(unsigned flags, bool stale, const char *expected)
{
	struct stat before = found_at(first_name);

	if (stale)
		make_stale("s", SOCK_STREAM);
	check_temporary(flags, expected);
	check_still(first_name, before);
}

static void check_taken_always(const char *expected)
{
	check_taken(0, false, expected);
	check_taken(ANCILLARY_REPLACE, false, expected);
	check_taken(ANCILLARY_REPLACE, true, expected);
}

static void temporary_names_can_be_taken(void)
{
	char names[3][40];
	int live;

	enter_place();
	for (int i = 0; i < 3; i++)
		snprintf(names[i], sizeof names[i], "./.ancillary-%d", (int)getpid() + i);
	check_temporary(0, first_name);
	check_temporary(ANCILLARY_REPLACE, first_name);
	for (size_t i = 0; i < PLAIN_TYPES; i++) {
		live = bind_by_hand(first_name, sizeof first_name, types[i]);
		CHECK(live >= 0);
		check_taken_always(names[0]);
		CHECK(close(live) == 0);
		/* Dead, or about to be bound: bind(2) makes the file first. */
		check_taken_always(names[0]);
		/* Dead: to remove it takes the lock, which is for who replaces. */
		make_old(first_name);
		check_taken(0, false, names[0]);
		check_taken(ANCILLARY_REPLACE, false, names[0]);
		make_stale("s", SOCK_STREAM);
		check_temporary(ANCILLARY_REPLACE, first_name);
		check_holds(".", "");
	}
	/* What nobody but this library makes, and is no socket, is no temporary file. */
	CHECK(close(creat(first_name, 0666)) == 0);
	check_taken_always(names[0]);
	CHECK(unlink(first_name) == 0);
	CHECK(mkdir(first_name, 0777) == 0);
	check_taken_always(names[0]);
	/* The others can be taken as well. */
	make_stale(names[0], SOCK_STREAM);
	check_taken_always(names[1]);
	CHECK(close(creat(names[1], 0666)) == 0);
	check_taken_always(names[2]);
	CHECK(unlink(names[0]) == 0 && unlink(names[1]) == 0 && rmdir(first_name) == 0);
	check_holds(".", "");
	leave_place();
}

/* The temporary file never allows more than what is asked for either: who watches
 * the folder could connect to it. */
static void look_at_temporary(const char *function)
{
	const char *there = names_in(".");

	/* The file is the last thing to appear. */
	if (strcmp(function, "fchmodat") == 0 || strcmp(function, "listen") == 0)
		CHECK(access("s", F_OK) != 0);

	if (strncmp(there, ".ancillary-", 11) == 0) {
		char path[40];

		CHECK(sscanf(there, "%39s", path) == 1);
		CHECK_IS(found_at(path).st_mode & ~(S_IFSOCK | 0640u), 0);
		if (strcmp(function, "listen") == 0)
			CHECK_IS(found_at(path).st_mode, S_IFSOCK | 0640);
	}
}

static void temporary_files_allow_no_more(void)
{
	enter_place();
	umask(0);
	for (size_t i = 0; i < 2 * ALL_TYPES; i++) {
		int listener;

		look(look_at_temporary);
		NEW(listener, ancillary_listen("s", types[i / 2], 0640,
					       i % 2 ? ANCILLARY_REPLACE : 0));
		look(NULL);
		CHECK(unlink("s") == 0);
		CHECK(close(listener) == 0);
	}
	leave_place();
}

/* --- others that interfere --- */

static const char *at_function;
static void (*interference)(void);

static void interfere(const char *function)
{
	if (strcmp(function, at_function) == 0) {
		before_each = NULL;
		interference();
	}
}

static int listen_with(const char *function, void (*what)(void), unsigned flags)
{
	int result;

	at_function = function;
	interference = what;
	look(interfere);
	result = ancillary_listen("s", SOCK_STREAM, 0600, flags);
	CHECK(before_each == NULL);
	return result;
}

static int other;

static void another_listens(void)
{
	other = bind_by_hand("s", 2, SOCK_STREAM);
	CHECK(other >= 0);
	CHECK(listen(other, 10) == 0);
}

static void a_file_is_made(void)
{
	CHECK(close(creat("s", 0666)) == 0);
}

static void the_file_goes(void)
{
	CHECK(unlink("s") == 0);
}

static void another_program_may_be_faster(void)
{
	enter_place();
	for (int i = 0; i < 2; i++) {
		unsigned flags = i ? ANCILLARY_REPLACE : 0;
		int client, listener;

		CHECK_ERR(listen_with("fchmodat", another_listens, flags), EADDRINUSE);
		check_holds(".", "s ");
		NEW(client, ancillary_connect("s", SOCK_STREAM, 0));
		check_talk(other, client, SOCK_STREAM);
		CHECK(close(other) == 0);
		CHECK(unlink("s") == 0);
		CHECK_ERR(listen_with("bind", a_file_is_made, flags), EADDRINUSE);
		CHECK(S_ISREG(found_at("s").st_mode));
		check_holds(".", "s ");
		CHECK(unlink("s") == 0);
		if (flags == 0)
			continue;
		/* The stale file may go, before the probe or behind it. */
		make_stale("s", SOCK_STREAM);
		NEW(listener, listen_with("connect", the_file_goes, flags));
		NEW(client, ancillary_connect("s", SOCK_STREAM, 0));
		check_talk(listener, client, SOCK_STREAM);
		CHECK(close(listener) == 0);
		NEW(listener, listen_with("fchmodat", the_file_goes, flags));
		NEW(client, ancillary_connect("s", SOCK_STREAM, 0));
		check_talk(listener, client, SOCK_STREAM);
		CHECK(close(listener) == 0);
		CHECK(unlink("s") == 0);
	}
	leave_place();
}

static void the_file_goes_and_another_listens(void)
{
	the_file_goes();
	another_listens();
}

static void the_file_goes_for_another(void)
{
	the_file_goes();
	a_file_is_made();
}

static int moves;

/* Of two moves, the second one brings back what the first one has exchanged. */
static void the_file_goes_before_the_second_move(const char *function)
{
	if (strcmp(function, "renameat2") == 0 && ++moves == 2) {
		before_each = NULL;
		the_file_goes();
	}
}

static void another_listens_and_its_name_goes(void)
{
	the_file_goes_and_another_listens();
	moves = 0;
	before_each = the_file_goes_before_the_second_move;
}

static void what_comes_back_finds_its_name_gone(void)
{
	int client;

	enter_place();
	make_stale("s", SOCK_STREAM);
	CHECK_ERR(listen_with("fchmodat", another_listens_and_its_name_goes, ANCILLARY_REPLACE),
		  EADDRINUSE);
	CHECK_IS(moves, 2);
	check_holds(".", "s ");
	NEW(client, ancillary_connect("s", SOCK_STREAM, 0));
	check_talk(other, client, SOCK_STREAM);
	CHECK(close(other) == 0);
	leave_place();
}

/* Another one listens there, and of the moves only the first one succeeds. */
static long fail_to_put_back(const struct call *call)
{
	if (strcmp(call->name, "renameat2") == 0) {
		if (moves++ == 0) {
			on_call = make_call;
			the_file_goes_and_another_listens();
			on_call = fail_to_put_back;
		} else {
			errno = EIO;
			return -1;
		}
	}
	return make_call(call);
}

static void what_cannot_be_put_back_is_not_removed(void)
{
	int client;

	enter_place();
	make_stale("s", SOCK_STREAM);
	moves = 0;
	on_call = fail_to_put_back;
	CHECK_ERR(ancillary_listen("s", SOCK_STREAM, 0600, ANCILLARY_REPLACE), EIO);
	on_call = make_call;
	CHECK(moves > 1);
	/* The other one has got the name that was there last, and lives. */
	check_holds(".", ".ancillary-0 s ");
	NEW(client, ancillary_connect(".ancillary-0", SOCK_STREAM, 0));
	check_talk(other, client, SOCK_STREAM);
	start_again();
	check_holds(".", ".ancillary-0 s ");
	NEW(client, ancillary_connect(".ancillary-0", SOCK_STREAM, 0));
	check_talk(other, client, SOCK_STREAM);
	CHECK(close(other) == 0);
	/* Dead, it goes. */
	make_old(".ancillary-0");
	start_again();
	check_holds(".", "s ");
	leave_place();
}

/* --- calls that a signal interrupts when they are done --- */

static const char *interrupted_call;
static int interruptions;
static bool without_renameat2;

/* As a file system does that is served by a process or over a network. */
static long done_and_interrupted(const struct call *call)
{
	long result;

	if (without_renameat2 && strcmp(call->name, "renameat2") == 0) {
		errno = ENOSYS;
		return -1;
	}
	result = make_call(call);
	if (result == 0 && strcmp(call->name, interrupted_call) == 0 && interruptions++ == 0) {
		errno = EINTR;
		return -1;
	}
	return result;
}

static void listen_interrupted(const char *function, bool old)
{
	static const unsigned flags[] = { 0, ANCILLARY_REPLACE };

	check_about("%s, without renameat2: %d", function, old);
	interrupted_call = function;
	without_renameat2 = old;
	for (size_t i = 0; i < 3; i++) {
		int listener, client;

		/* Nothing is there, or, last, a dead one. */
		if (i == 2)
			make_stale("s", SOCK_STREAM);
		interruptions = 0;
		on_call = done_and_interrupted;
		NEW(listener, ancillary_listen("s", SOCK_STREAM, 0600, flags[i > 0]));
		on_call = make_call;
		check_holds(".", "s ");
		NEW(client, ancillary_connect("s", SOCK_STREAM, 0));
		check_talk(listener, client, SOCK_STREAM);
		CHECK(close(listener) == 0);
		CHECK(unlink("s") == 0);
	}
	/* At the last one at least. */
	CHECK(interruptions > 0);
	check_about("%s", "");
}

static void what_is_done_is_not_done_again(void)
{
	enter_place();
	listen_interrupted("renameat2", false);
	listen_interrupted("unlinkat", false);
	listen_interrupted("fchmodat", false);
	listen_interrupted("fchmod", false);
	listen_interrupted("fstatat", false);
	listen_interrupted("flock", false);
	listen_interrupted("renameat", true);
	leave_place();
}

static void a_link_that_is_made_is_not_made_again(void)
{
	int listener;

	enter_place();
	for (int i = 0; i < 2; i++) {
		interrupted_call = i ? "unlinkat" : "linkat";
		without_renameat2 = true;
		interruptions = 0;
		on_call = done_and_interrupted;
		NEW(listener, ancillary_listen("s", SOCK_STREAM, 0600, 0));
		on_call = make_call;
		CHECK(interruptions > 0);
		check_holds(".", "s ");
		CHECK(close(listener) == 0);
		CHECK(unlink("s") == 0);
	}
	leave_place();
}

/* Another one listens where a dead file was found, and each exchange is interrupted. */
static long exchange_interrupted(const struct call *call)
{
	long result;

	if (strcmp(call->name, "renameat2") != 0)
		return make_call(call);
	if (moves++ == 0) {
		on_call = make_call;
		the_file_goes_and_another_listens();
		on_call = exchange_interrupted;
	}
	result = make_call(call);
	if (result == 0)
		errno = EINTR;
	return -1;
}

static void what_is_put_back_is_put_back_once(void)
{
	int client;

	enter_place();
	make_stale("s", SOCK_STREAM);
	moves = 0;
	on_call = exchange_interrupted;
	CHECK_ERR(ancillary_listen("s", SOCK_STREAM, 0600, ANCILLARY_REPLACE), EADDRINUSE);
	on_call = make_call;
	CHECK_IS(moves, 2);
	check_holds(".", "s ");
	NEW(client, ancillary_connect("s", SOCK_STREAM, 0));
	check_talk(other, client, SOCK_STREAM);
	CHECK(close(other) == 0);
	leave_place();
}

static void what_comes_instead_of_a_stale_file_stays(void)
{
	int client;

	enter_place();
	make_stale("s", SOCK_STREAM);
	/* Bound there after the probe, by one who takes no lock. */
	CHECK_ERR(listen_with("fchmodat", the_file_goes_and_another_listens, ANCILLARY_REPLACE),
		  EADDRINUSE);
	check_holds(".", "s ");
	NEW(client, ancillary_connect("s", SOCK_STREAM, 0));
	check_talk(other, client, SOCK_STREAM);
	CHECK(close(other) == 0);
	CHECK_ERR(listen_with("fchmodat", the_file_goes_for_another, ANCILLARY_REPLACE), EADDRINUSE);
	CHECK(S_ISREG(found_at("s").st_mode));
	check_holds(".", "s ");
	CHECK(unlink("s") == 0);
	leave_place();
}

static pid_t forked;

static void a_process_is_forked(void)
{
	forked = fork();
	CHECK(forked >= 0);
	if (forked == 0)
		for (;;)
			pause();
}

static void a_forked_process_does_not_keep_the_lock(void)
{
	int listener;

	enter_place();
	make_stale("s", SOCK_STREAM);
	NEW(listener, listen_with("fchmodat", a_process_is_forked, ANCILLARY_REPLACE));
	CHECK(close(listener) == 0);
	/* It has the folder open, and lives. */
	make_stale("t", SOCK_STREAM);
	NEW(listener, ancillary_listen("t", SOCK_STREAM, 0600,
				       ANCILLARY_REPLACE | ANCILLARY_DONTWAIT));
	CHECK(close(listener) == 0);
	CHECK(kill(forked, SIGKILL) == 0);
	CHECK(waitpid(forked, NULL, 0) == forked);
	CHECK(unlink("s") == 0);
	CHECK(unlink("t") == 0);
	leave_place();
}

/* --- folders that are moved --- */

/* The folder of the call has another name by then, and there is another one in
 * its place. */
static void the_folder_is_moved(void)
{
	CHECK(rename("folder", "moved") == 0);
	CHECK(rename("new", "folder") == 0);
}

static void make_folders(void)
{
	CHECK(mkdir("folder", 0777) == 0);
	CHECK(mkdir("new", 0777) == 0);
}

static void remove_folders(const char *moved, const char *folder)
{
	check_holds("moved", moved);
	check_holds("folder", folder);
	CHECK(rename("folder", "new") == 0 && rename("moved", "folder") == 0);
}

static void empty_folder(const char *which)
{
	char names[2000], *name, path[300];

	strcpy(names, names_in(which));
	for (name = strtok(names, " "); name; name = strtok(NULL, " ")) {
		CHECK(snprintf(path, sizeof path, "%s/%s", which, name) < (int)sizeof path);
		CHECK(unlink(path) == 0);
	}
}

static int listen_in_folder(const char *function, void (*what)(void), unsigned flags)
{
	int result;

	at_function = function;
	interference = what;
	look(interfere);
	errno = CHECK_ERRNO;
	result = ancillary_listen("folder/s", SOCK_STREAM, 0600, flags);
	CHECK_IS(errno, result < 0 ? -result : CHECK_ERRNO);
	CHECK(before_each == NULL);
	return result;
}

static void bind_while_it_is_moved(unsigned flags)
{
	struct stat before;
	int live;

	check_about("flags %x", flags);
	/* Where the socket is bound then, nothing else is touched. */
	CHECK_IS(listen_in_folder("bind", the_folder_is_moved, flags), -ENOENT);
	remove_folders("", ".ancillary-0 ");
	empty_folder("new");
	/* Nor is what is in the other folder under that name. */
	live = bind_by_hand("folder/.ancillary-0", 20, SOCK_STREAM);
	CHECK(live >= 0);
	CHECK(chmod("folder/.ancillary-0", 0644) == 0);
	before = found_at("folder/.ancillary-0");
	CHECK_IS(listen_in_folder("bind", the_folder_is_moved, flags), -ENOENT);
	check_still("moved/.ancillary-0", before);
	remove_folders(".ancillary-0 ", ".ancillary-0 ");
	empty_folder("new");
	CHECK(close(live) == 0);
	empty_folder("folder");
	/* Once it is bound, it goes where it belongs. */
	live = listen_in_folder("listen", the_folder_is_moved, flags);
	CHECK(live >= 0);
	remove_folders("s ", "");
	CHECK(close(live) == 0);
	empty_folder("folder");
	check_about("%s", "");
}

/* A live one, and a dead one of the same name in the folder that comes in its
 * place. */
static void replace_while_it_is_moved(const char *function)
{
	struct stat before, stale;
	int live = bind_by_hand("folder/s", 9, SOCK_STREAM), client;

	check_about("%s", function);
	CHECK(live >= 0 && listen(live, 1) == 0);
	make_stale("new/s", SOCK_STREAM);
	before = found_at("folder/s");
	stale = found_at("new/s");
	CHECK_IS(listen_in_folder(function, the_folder_is_moved, ANCILLARY_REPLACE), -EADDRINUSE);
	check_still("moved/s", before);
	check_still("folder/s", stale);
	NEW(client, ancillary_connect("moved/s", SOCK_STREAM, 0));
	check_talk(live, client, SOCK_STREAM);
	CHECK(close(live) == 0);
	remove_folders("s ", "s ");
	empty_folder("new");
	empty_folder("folder");
	check_about("%s", "");
}

static void a_folder_may_be_moved_meanwhile(void)
{
	enter_place();
	make_folders();
	bind_while_it_is_moved(0);
	bind_while_it_is_moved(ANCILLARY_REPLACE);
	replace_while_it_is_moved("flock");
	replace_while_it_is_moved("connect");
	leave_place();
}

/* Another thread may change the folder of the process. */
static void the_process_goes_elsewhere(void)
{
	CHECK(chdir("elsewhere") == 0);
}

static void the_folder_of_the_process_may_change(void)
{
	enter_place();
	CHECK(mkdir("elsewhere", 0777) == 0);
	CHECK_ERR(listen_with("bind", the_process_goes_elsewhere, 0), ENOENT);
	CHECK(chdir("..") == 0);
	check_holds(".", "elsewhere ");
	check_holds("elsewhere", ".ancillary-0 ");
	leave_place();
}

/* --- mount points --- */

static void a_mount_point_cannot_be_replaced(void)
{
	need_root();
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0)
		check_skip("no mount namespaces");
	enter_place();
	make_stale("one", SOCK_STREAM);
	make_stale("s", SOCK_STREAM);
	CHECK(mount("one", "s", "none", MS_BIND, NULL) == 0);
	CHECK_ERR(ancillary_listen("s", SOCK_STREAM, 0600, ANCILLARY_REPLACE), EBUSY);
	CHECK_ERR(ancillary_listen("s", SOCK_STREAM, 0600, 0), EADDRINUSE);
	check_holds(".", "one s ");
	CHECK(umount("s") == 0);
	leave_place();
}

/* --- gVisor --- */

static int type_of(int sock)
{
	int type;
	socklen_t len = sizeof type;

	CHECK(getsockopt(sock, SOL_SOCKET, SO_TYPE, &type, &len) == 0);
	return type;
}

/* There, a socket that connects to one of another type is refused, as if nobody
 * were there. */
static long refuse_other_types(const struct call *call)
{
	long result = make_call(call);

	if (result < 0 && errno == EPROTOTYPE && strcmp(call->name, "connect") == 0)
		errno = ECONNREFUSED;
	return result;
}

static void without_eprototype(void)
{
	for (size_t i = 0; i < PLAIN_TYPES; i++) {
		int listener, client, clients[2];
		struct stat before;

		NEW(listener, ancillary_listen("s", types[i], 0666, 0));
		CHECK_IS(type_of(listener), types[i]);
		before = found_at("s");
		on_call = refuse_other_types;
		for (size_t k = 0; k < ALL_TYPES; k++) {
			check_about("type %x for %x", (unsigned)types[k], (unsigned)types[i]);
			CHECK_ERR(ancillary_listen("s", types[k], 0666, ANCILLARY_REPLACE),
				  EADDRINUSE);
			check_still("s", before);
			check_holds(".", "s ");
			/* It has been connected to, and that is over. */
			if (is_datagram(types[i]))
				continue;
			client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
			CHECK(client >= 0);
			CHECK_IS(recv(client, &(char){ 0 }, 1, 0), 0);
			CHECK(close(client) == 0);
		}
		if (!is_datagram(types[i])) {
			/* Nor is a full queue waited for. */
			CHECK(listen(listener, 1) == 0);
			for (size_t k = 0; k < 2; k++)
				NEW(clients[k], ancillary_connect("s", types[i], 0));
			CHECK_ERR(ancillary_listen("s", types[i], 0666, ANCILLARY_REPLACE),
				  EADDRINUSE);
			close_files(clients, 2);
		}
		on_call = make_call;
		CHECK(close(listener) == 0);
		on_call = refuse_other_types;
		NEW(listener, ancillary_listen("s", types[i], 0666, ANCILLARY_REPLACE));
		on_call = make_call;
		CHECK(close(listener) == 0);
		CHECK(unlink("s") == 0);
	}
	check_about("%s", "");
}

static void a_live_socket_of_another_type_may_refuse(void)
{
	in_a_place(without_eprototype);
}

/* --- the lock --- */

static int folder;
static volatile pid_t waiting;
static volatile int result;

static void lock_folder(int how)
{
	folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(folder >= 0);
	CHECK(flock(folder, how) == 0);
}

static void *listen_and_wait(void *flags)
{
	waiting = thread_number();
	errno = CHECK_ERRNO;
	result = ancillary_listen("s", SOCK_STREAM, 0600, *(unsigned *)flags);
	CHECK_IS(errno, result < 0 ? -result : CHECK_ERRNO);
	return NULL;
}

static pthread_t start_waiting(unsigned *flags)
{
	pthread_t thread;

	waiting = 0;
	result = -1000;
	thread = start_thread(listen_and_wait, flags);
	while (waiting == 0)
		sleep_ms(1);
	wait_until_asleep(waiting);
	CHECK_IS(result, -1000);
	return thread;
}

/* Where nothing is in the way, a lock is nobody's business. */
static void listen_beside_the_lock(void)
{
	static const unsigned flags[] = { 0, ANCILLARY_REPLACE,
					  ANCILLARY_REPLACE | ANCILLARY_DONTWAIT };

	for (size_t i = 0; i < LENGTH(flags); i++) {
		int listener;

		NEW(listener, ancillary_listen("new", SOCK_STREAM, 0600, flags[i]));
		CHECK(close(listener) == 0);
		CHECK(unlink("new") == 0);
	}
}

static void others_are_waited_for(void)
{
	unsigned flags = ANCILLARY_REPLACE, interruptible = ANCILLARY_REPLACE | ANCILLARY_INTR;
	int listener;
	pthread_t thread;

	enter_place();
	make_stale("s", SOCK_STREAM);
	lock_folder(LOCK_EX);
	CHECK_ERR(ancillary_listen("s", SOCK_STREAM, 0600,
				   ANCILLARY_REPLACE | ANCILLARY_DONTWAIT),
		  EAGAIN);
	CHECK_ERR(ancillary_listen("s", SOCK_STREAM, 0600,
				   ANCILLARY_REPLACE | ANCILLARY_DONTWAIT | ANCILLARY_INTR),
		  EAGAIN);
	check_holds(".", "s ");
	listen_beside_the_lock();
	/* A signal ends the wait, or not. */
	count_signal(SIGUSR1);
	thread = start_waiting(&interruptible);
	/* One can come just between two looks at the lock. */
	while (result == -1000) {
		CHECK(pthread_kill(thread, SIGUSR1) == 0);
		sleep_ms(1);
	}
	end_thread(thread);
	CHECK_IS(result, -EINTR);
	check_holds(".", "s ");
	thread = start_waiting(&flags);
	for (int times = 0; times < 3; times++) {
		signals_handled = 0;
		CHECK(pthread_kill(thread, SIGUSR1) == 0);
		while (signals_handled == 0)
			sleep_ms(1);
		wait_until_asleep(waiting);
		CHECK_IS(result, -1000);
	}
	CHECK(flock(folder, LOCK_UN) == 0);
	end_thread(thread);
	CHECK(result >= 0);
	check_socket(result, SOCK_STREAM);
	check_holds(".", "s ");
	CHECK(close(result) == 0);
	/* Nobody holds it any more. */
	CHECK(flock(folder, LOCK_EX | LOCK_NB) == 0);
	CHECK(close(folder) == 0);
	NEW(listener, ancillary_listen("s", SOCK_STREAM, 0600,
				       ANCILLARY_REPLACE | ANCILLARY_DONTWAIT));
	check_socket(listener, SOCK_STREAM);
	CHECK(close(listener) == 0);
	leave_place();
}

/* Where somebody has the lock and does not give it back. */
static void wait_in_vain(int how)
{
	struct stat before = found_at("s");
	struct timespec start, end;

	lock_folder(how);
	CHECK(clock_gettime(CLOCK_MONOTONIC, &start) == 0);
	CHECK_ERR(ancillary_listen("s", SOCK_STREAM, 0600, ANCILLARY_REPLACE), EBUSY);
	CHECK(clock_gettime(CLOCK_MONOTONIC, &end) == 0);
	CHECK(end.tv_sec - start.tv_sec >= 4 && end.tv_sec - start.tv_sec < 30);
	CHECK(close(folder) == 0);
	check_still("s", before);
	check_holds(".", "s ");
}

static void nobody_is_waited_for_for_ever(void)
{
	enter_place();
	make_stale("s", SOCK_STREAM);
	wait_in_vain(LOCK_EX);
	wait_in_vain(LOCK_SH);
	start_again();
	leave_place();
}

static void *listen_cancelled(void *flags)
{
	listen_and_wait(flags);
	/* Now it takes effect. */
	pthread_testcancel();
	return NULL;
}

static void waiting_is_not_cancelled(void)
{
	unsigned flags = ANCILLARY_REPLACE;
	pthread_t thread;

	enter_place();
	make_stale("s", SOCK_STREAM);
	lock_folder(LOCK_EX);
	waiting = 0;
	result = -1000;
	thread = start_thread(listen_cancelled, &flags);
	while (waiting == 0)
		sleep_ms(1);
	wait_until_asleep(waiting);
	CHECK(pthread_cancel(thread) == 0);
	sleep_ms(20);
	CHECK_IS(result, -1000);
	CHECK(close(folder) == 0);
	CHECK(end_thread(thread) == PTHREAD_CANCELED);
	CHECK(result >= 0);
	CHECK(close(result) == 0);
	check_holds(".", "s ");
	leave_place();
}

CHECK_MAIN(CASE(dead_ones_are_replaced), CASE(a_live_socket_is_not_stolen),
	   CASE(a_live_socket_keeps_its_name), CASE(a_socket_that_does_not_listen_yet_is_not_stolen),
	   CASE(a_full_queue_does_not_matter), CASE(a_connected_datagram_socket_is_not_stolen),
	   CASE(a_slow_server_sees_its_clients_only), CASE(of_several_starters_one_wins),
	   CASE(one_may_be_killed_anywhere), CASE(one_may_be_killed_at_any_time),
	   CASE(killed_ones_do_not_block_others), CASE(temporary_names_can_be_taken),
	   CASE(temporary_files_allow_no_more), CASE(another_program_may_be_faster),
	   CASE(what_is_done_is_not_done_again), CASE(a_link_that_is_made_is_not_made_again),
	   CASE(what_is_put_back_is_put_back_once),
	   CASE(what_comes_instead_of_a_stale_file_stays),
	   CASE(what_comes_back_finds_its_name_gone),
	   CASE(what_cannot_be_put_back_is_not_removed), CASE(a_folder_may_be_moved_meanwhile),
	   CASE(the_folder_of_the_process_may_change), CASE(a_mount_point_cannot_be_replaced),
	   CASE(a_live_socket_of_another_type_may_refuse),
	   CASE(a_forked_process_does_not_keep_the_lock),
	   CASE(others_are_waited_for), CASE(nobody_is_waited_for_for_ever),
	   CASE(waiting_is_not_cancelled))
