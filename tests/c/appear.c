/* The file of ancillary_listen: who sees it finds the mode asked for, and can
 * connect. */

#include "check.h"
#include "kit.h"
#include "place.h"
#include "users.h"

#include <ancillary.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The mask of this process is nobody's business but its own, not even for a
 * moment: other threads make files meanwhile. */
static bool mask_is_fixed;

mode_t umask(mode_t mask)
{
	CHECK(!mask_is_fixed);
	return (mode_t)syscall(SYS_umask, mask);
}

/* How a listener is made, and what its observer has to see. */
struct round {
	const char *path;
	mode_t mask, mode;
	int type;
	unsigned flags;
	/* A file that is there before. */
	bool stale;
	struct stat old;
};

/* What is there is what was before, if anything: not yet the new file. */
static bool is_before(const struct round *round)
{
	struct stat found;

	if (lstat(round->path, &found) != 0) {
		CHECK_IS(errno, ENOENT);
		CHECK(!round->stale);
		return true;
	}
	if (round->stale && found.st_ino == round->old.st_ino) {
		CHECK_IS(found.st_mode, round->old.st_mode);
		return true;
	}
	CHECK_IS(found.st_mode, S_IFSOCK | round->mode);
	return false;
}

static void see_the_mode(const struct round *round)
{
	while (is_before(round))
		;
	/* And it stays so. */
	for (int times = 0; times < 20; times++)
		CHECK(!is_before(round));
}

/* Connects when the file is there: by hand, to lose no time. */
static void connect_when_seen(const struct round *round)
{
	int client;

	while (access(round->path, F_OK) != 0)
		;
	client = connect_by_hand(round->path, strlen(round->path) + 1, round->type);
	CHECK(client >= 0);
	CHECK(close(client) == 0);
}

/* Connects when that is possible: there is no moment without a file. */
static void connect_when_alive(const struct round *round)
{
	int client;

	do
		client = connect_by_hand(round->path, strlen(round->path) + 1, round->type);
	while (client < 0 && errno == ECONNREFUSED);
	CHECK(client >= 0);
	CHECK(close(client) == 0);
}

static void connect_in_any_case(const struct round *round)
{
	int client;

	do
		client = ancillary_connect(round->path, round->type, 0);
	while (client == -ENOENT);
	CHECK(client >= 0);
	CHECK(close(client) == 0);
}

/* Listens while another process observes. */
static void listen_in_view(struct round round, void (*observe)(const struct round *round))
{
	int ready[2], listener;
	pid_t child;
	char byte = 0;

	check_about("umask %o, mode %o, type %x, flags %x", round.mask, round.mode,
		    (unsigned)round.type, round.flags);
	if (round.stale) {
		make_stale(round.path, SOCK_STREAM);
		/* Unlike all the modes to come. */
		CHECK(chmod(round.path, 0723) == 0);
		round.old = found_at(round.path);
	}
	CHECK(pipe2(ready, O_CLOEXEC) == 0);
	child = fork();
	if (child == 0) {
		CHECK_IS(write(ready[1], "r", 1), 1);
		observe(&round);
		_exit(0);
	}
	CHECK_IS(read(ready[0], &byte, 1), 1);
	close_files(ready, 2);
	umask(round.mask);
	mask_is_fixed = true;
	NEW(listener, ancillary_listen(round.path, round.type, round.mode, round.flags));
	mask_is_fixed = false;
	CHECK_IS(umask(0), round.mask);
	check_child(child);
	CHECK(unlink(round.path) == 0);
	check_holds(".", "");
	CHECK(close(listener) == 0);
	check_about("%s", "");
}

static void show_modes(void)
{
	static const mode_t masks[] = { 0, 022, 077, 0777 };
	static const mode_t modes[] = { 0, 0600, 0666, 0777, 0640, 0222, 0111 };

	for (int n = 0; n < some_of(12 * 28); n++) {
		struct round round = { .path = "s",
				       .mask = masks[n % 4],
				       .mode = modes[n % 7],
				       .type = types[n % ALL_TYPES],
				       .flags = n % 5 < 2 ? ANCILLARY_REPLACE : 0,
				       .stale = n % 5 == 0 };

		listen_in_view(round, see_the_mode);
	}
}

static void the_mode_is_exact_at_all_times(void)
{
	enter_place();
	umask(0);
	as_both(show_modes);
	leave_place();
}

static void run_clients(int type, unsigned flags, bool stale,
			void (*observe)(const struct round *round), int rounds)
{
	struct round round = {
		.path = "s", .mask = 022, .mode = 0666, .type = type, .flags = flags, .stale = stale
	};

	enter_place();
	for (rounds = some_of(rounds); rounds > 0; rounds--)
		listen_in_view(round, observe);
	leave_place();
}

static void a_client_that_waits_for_the_file_is_not_refused(void)
{
	run_clients(SOCK_STREAM, 0, false, connect_when_seen, 1000);
	run_clients(SOCK_SEQPACKET, 0, false, connect_when_seen, 1000);
	run_clients(SOCK_DGRAM, 0, false, connect_when_seen, 100);
	run_clients(SOCK_STREAM, ANCILLARY_REPLACE, false, connect_when_seen, 300);
}

static void a_client_that_tries_again_and_again_is_not_refused(void)
{
	run_clients(SOCK_STREAM, 0, false, connect_in_any_case, 300);
	run_clients(SOCK_SEQPACKET, ANCILLARY_REPLACE, false, connect_in_any_case, 300);
}

static void a_stale_file_stays_until_there_is_a_new_one(void)
{
	run_clients(SOCK_STREAM, ANCILLARY_REPLACE, true, connect_when_alive, 300);
	run_clients(SOCK_SEQPACKET, ANCILLARY_REPLACE, true, connect_when_alive, 300);
}

/* --- threads --- */

static volatile bool done;

static void *make_files(void *count)
{
	for (; !done; ++*(size_t *)count) {
		struct stat made;
		int file = open("mine", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);

		CHECK(file >= 0);
		CHECK(fstat(file, &made) == 0);
		CHECK_IS(made.st_mode, S_IFREG | 0640);
		CHECK(close(file) == 0);
		CHECK(unlink("mine") == 0);
	}
	return NULL;
}

static void the_umask_is_not_touched(void)
{
	int rounds = some_of(2000);
	size_t count = 0;
	pthread_t thread;

	enter_place();
	umask(0026);
	mask_is_fixed = true;
	thread = start_thread(make_files, &count);
	for (int round = 0; round < rounds || count < (size_t)rounds; round++) {
		int listener;

		NEW(listener, ancillary_listen("s", types[round % ALL_TYPES], 0777,
					       round % 3 ? 0 : ANCILLARY_REPLACE));
		CHECK_IS(found_at("s").st_mode, S_IFSOCK | 0777);
		CHECK(unlink("s") == 0);
		CHECK(close(listener) == 0);
	}
	done = true;
	end_thread(thread);
	leave_place();
}

enum { ROUNDS = 300 };

/* Threads of one process, each with a name of its own in the same folder, or all
 * with the same. */
struct starter {
	char path[8];
	unsigned flags;
	int wins;
};

static void *start_often(void *argument)
{
	struct starter *starter = argument;

	for (int round = some_of(ROUNDS); round > 0; round--) {
		int listener = ancillary_listen(starter->path, SOCK_STREAM, 0600, starter->flags);

		if (listener < 0) {
			CHECK_IS(listener, -EADDRINUSE);
			continue;
		}
		starter->wins++;
		CHECK_IS(found_at(starter->path).st_mode, S_IFSOCK | 0600);
		CHECK(unlink(starter->path) == 0);
		CHECK(close(listener) == 0);
	}
	return NULL;
}

static void start_threads(const char *names, unsigned flags, int least_wins)
{
	struct starter starters[6];
	pthread_t threads[6];

	enter_place();
	for (int i = 0; i < 6; i++) {
		starters[i] = (struct starter){ { names[i], '\0' }, flags, 0 };
		threads[i] = start_thread(start_often, &starters[i]);
	}
	for (int i = 0; i < 6; i++) {
		end_thread(threads[i]);
		CHECK(starters[i].wins >= least_wins);
	}
	check_holds(".", "");
	leave_place();
}

static void threads_do_not_disturb_each_other(void)
{
	start_threads("abcdef", 0, some_of(ROUNDS));
	start_threads("abcdef", ANCILLARY_REPLACE, some_of(ROUNDS));
	start_threads("ssssss", 0, 0);
	start_threads("ssssss", ANCILLARY_REPLACE, 0);
}

CHECK_MAIN(CASE(the_mode_is_exact_at_all_times),
	   CASE(a_client_that_waits_for_the_file_is_not_refused),
	   CASE(a_client_that_tries_again_and_again_is_not_refused),
	   CASE(a_stale_file_stays_until_there_is_a_new_one), CASE(the_umask_is_not_touched),
	   CASE(threads_do_not_disturb_each_other))
