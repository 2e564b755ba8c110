/* ancillary_connect and ancillary_listen: arguments, waiting, signals, limits,
 * and what old systems lack. */

#include "check.h"
#include "kit.h"
#include "place.h"

#include <ancillary.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/net.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- arguments --- */

static void try_bad_arguments(void)
{
	static const int bad_types[] = { 0,
					 -1,
					 SOCK_RAW,
					 SOCK_RDM,
					 SOCK_PACKET,
					 6,
					 SOCK_NONBLOCK,
					 SOCK_STREAM | 0x100,
					 SOCK_STREAM | 1 << 20,
					 SOCK_STREAM | 1 << 30,
					 (int)(SOCK_STREAM | 1u << 31) };
	static const mode_t bad_modes[] = { 01000, 02666, 04777, S_IFSOCK | 0666, 1u << 31,
					    (mode_t)-1 };
	static const char *const names[] = { "s", "@s", "missing/s" };

	for (size_t n = 0; n < LENGTH(names); n++) {
		check_about("%s", names[n]);
		for (size_t i = 0; i < LENGTH(bad_types); i++) {
			CHECK_ERR(ancillary_listen(names[n], bad_types[i], 0666, 0), EINVAL);
			CHECK_ERR(ancillary_listen(names[n], bad_types[i], 0666, ANCILLARY_REPLACE),
				  EINVAL);
			CHECK_ERR(ancillary_connect(names[n], bad_types[i], 0), EINVAL);
		}
		for (size_t i = 0; i < LENGTH(bad_modes); i++)
			CHECK_ERR(ancillary_listen(names[n], SOCK_STREAM, bad_modes[i], 0), EINVAL);
		for (int bit = 0; bit < 32; bit++) {
			const unsigned known = ANCILLARY_DONTWAIT | ANCILLARY_INTR |
					       ANCILLARY_PASSCRED | ANCILLARY_PASSPIDFD |
					       ANCILLARY_NORIGHTS;
			unsigned flag = 1u << bit;

			if (flag & known)
				continue;
			CHECK_ERR(ancillary_connect(names[n], SOCK_STREAM, flag), EINVAL);
			if (flag == ANCILLARY_REPLACE)
				continue;
			CHECK_ERR(ancillary_listen(names[n], SOCK_STREAM, 0666, flag), EINVAL);
			CHECK_ERR(ancillary_listen(names[n], SOCK_STREAM, 0666,
						   flag | ANCILLARY_REPLACE | ANCILLARY_INTR),
				  EINVAL);
		}
	}
	check_holds(".", "");
}

static void arguments_that_are_not_known(void)
{
	in_a_place(try_bad_arguments);
}

static void try_flags(void)
{
	static const unsigned flags[] = { 0, ANCILLARY_DONTWAIT, ANCILLARY_INTR,
					  ANCILLARY_DONTWAIT | ANCILLARY_INTR };

	for (size_t i = 0; i < ALL_TYPES; i++) {
		for (size_t k = 0; k < 2 * LENGTH(flags); k++) {
			unsigned some = flags[k / 2];
			int listener, client;

			check_about("type %x, flags %x", (unsigned)types[i], some);
			NEW(listener, ancillary_listen("s", types[i], 0666,
						       some | (k % 2 ? ANCILLARY_REPLACE : 0)));
			check_socket(listener, types[i]);
			NEW(client, ancillary_connect("s", types[i], some));
			/* Also where the call itself may not wait. */
			check_socket(client, types[i]);
			check_talk(listener, client, types[i]);
			CHECK(close(listener) == 0);
			CHECK(unlink("s") == 0);
		}
	}
}

static void the_socket_is_as_asked_for(void)
{
	in_a_place(try_flags);
}

static void connect_across_types(void)
{
	for (size_t i = 0; i < ALL_TYPES; i++) {
		int listener;

		NEW(listener, ancillary_listen("s", types[i], 0666, 0));
		for (size_t k = 0; k < ALL_TYPES; k++) {
			check_about("type %x to %x", (unsigned)types[k], (unsigned)types[i]);
			if (i % PLAIN_TYPES != k % PLAIN_TYPES)
				CHECK_ERR(ancillary_connect("s", types[k], 0), EPROTOTYPE);
		}
		CHECK(close(listener) == 0);
		CHECK(unlink("s") == 0);
	}
}

static void the_type_must_be_the_same(void)
{
	in_a_place(connect_across_types);
}

/* --- waiting --- */

/* A listener with a queue for one, and a client in it. */
static void make_full(int type, int *listener, int *client)
{
	NEW(*listener, ancillary_listen("s", type, 0666, 0));
	CHECK(listen(*listener, 0) == 0);
	NEW(*client, ancillary_connect("s", type, 0));
}

/* One more, from a thread. */
struct call {
	int type;
	unsigned flags;
	volatile pid_t thread;
	volatile int result;
	bool cancelled;
};

static void *connect_in_thread(void *argument)
{
	struct call *call = argument;
	int result;

	call->thread = thread_number();
	errno = CHECK_ERRNO;
	result = ancillary_connect("s", call->type, call->flags);
	CHECK_IS(errno, result < 0 ? -result : CHECK_ERRNO);
	call->result = result;
	pthread_testcancel();
	CHECK(!call->cancelled);
	return NULL;
}

static pthread_t start_call(struct call *call)
{
	pthread_t thread;

	call->thread = 0;
	call->result = -1000;
	thread = start_thread(connect_in_thread, call);
	while (call->thread == 0)
		sleep_ms(1);
	wait_until_asleep(call->thread);
	CHECK_IS(call->result, -1000);
	return thread;
}

/* Takes the client that was there before, and then the one of the thread. */
static void let_through(int listener, int client, pthread_t thread, struct call *call)
{
	check_talk(listener, client, call->type);
	CHECK(end_thread(thread) == (call->cancelled ? PTHREAD_CANCELED : NULL));
	CHECK(call->result >= 0);
	check_socket(call->result, call->type);
	check_talk(listener, call->result, call->type);
}

static void wait_for_room(void)
{
	for (size_t i = 0; i < 2; i++) {
		struct call call = { .type = types[i] };
		int listener, client;
		pthread_t thread;

		check_about("type %x", (unsigned)types[i]);
		make_full(types[i], &listener, &client);
		CHECK_ERR(ancillary_connect("s", types[i], ANCILLARY_DONTWAIT), EAGAIN);
		CHECK_ERR(ancillary_connect("s", types[i] | SOCK_NONBLOCK, 0), EAGAIN);
		CHECK_ERR(ancillary_connect("s", types[i] | SOCK_NONBLOCK, ANCILLARY_DONTWAIT),
			  EAGAIN);
		CHECK_ERR(ancillary_connect("s", types[i], ANCILLARY_DONTWAIT | ANCILLARY_INTR),
			  EAGAIN);
		thread = start_call(&call);
		let_through(listener, client, thread, &call);
		CHECK(close(listener) == 0);
		CHECK(unlink("s") == 0);
	}
}

static void a_full_queue_is_waited_for(void)
{
	in_a_place(wait_for_room);
}

static void wait_with_signals(void)
{
	count_signal(SIGUSR1);
	for (size_t i = 0; i < 2; i++) {
		struct call call = { .type = types[i], .flags = ANCILLARY_INTR };
		int listener, client;
		pthread_t thread;

		make_full(types[i], &listener, &client);
		thread = start_call(&call);
		CHECK(pthread_kill(thread, SIGUSR1) == 0);
		end_thread(thread);
		CHECK_IS(call.result, -EINTR);
		/* Without the flag it goes on. */
		call.flags = 0;
		thread = start_call(&call);
		for (int times = 0; times < 3; times++) {
			signals_handled = 0;
			CHECK(pthread_kill(thread, SIGUSR1) == 0);
			while (signals_handled == 0)
				sleep_ms(1);
			wait_until_asleep(call.thread);
			CHECK_IS(call.result, -1000);
		}
		let_through(listener, client, thread, &call);
		/* And the one that was interrupted left nothing. */
		CHECK(fcntl(listener, F_SETFL, O_NONBLOCK) == 0);
		CHECK_IS(accept(listener, NULL, NULL), -1);
		CHECK_IS(errno, EAGAIN);
		CHECK(close(listener) == 0);
		CHECK(unlink("s") == 0);
	}
}

static void a_signal_ends_the_wait_if_asked_to(void)
{
	in_a_place(wait_with_signals);
}

static void wait_and_be_refused(void)
{
	struct call call = { .type = SOCK_STREAM };
	int listener, client;
	pthread_t thread;

	make_full(SOCK_STREAM, &listener, &client);
	thread = start_call(&call);
	CHECK(close(listener) == 0);
	end_thread(thread);
	CHECK_IS(call.result, -ECONNREFUSED);
	CHECK(close(client) == 0);
}

static void the_listener_may_go_meanwhile(void)
{
	in_a_place(wait_and_be_refused);
}

/* --- cancellation --- */

static void wait_while_cancelled(void)
{
	struct call call = { .type = SOCK_STREAM, .cancelled = true };
	int listener, client;
	pthread_t thread;

	make_full(SOCK_STREAM, &listener, &client);
	thread = start_call(&call);
	CHECK(pthread_cancel(thread) == 0);
	sleep_ms(20);
	CHECK_IS(call.result, -1000);
	let_through(listener, client, thread, &call);
	CHECK(close(listener) == 0);
}

static void a_wait_is_not_cancelled(void)
{
	in_a_place(wait_while_cancelled);
}

static int made[6];

/* All ways through the calls, while a cancellation is pending. */
static void *meet_cancelled(void *path)
{
	char other[5000];

	strcpy(other, path);
	other[strlen(other) - 1] = 't';
	CHECK(pthread_cancel(pthread_self()) == 0);
	NEW(made[0], ancillary_listen(path, SOCK_STREAM, 0600, 0));
	NEW(made[1], ancillary_connect(path, SOCK_STREAM, 0));
	CHECK_ERR(ancillary_listen(path, SOCK_STREAM, 0600, 0), EADDRINUSE);
	CHECK_ERR(ancillary_listen(path, SOCK_STREAM, 0600, ANCILLARY_REPLACE), EADDRINUSE);
	CHECK_ERR(ancillary_connect(path, SOCK_DGRAM, 0), EPROTOTYPE);
	CHECK_ERR(ancillary_connect(other, SOCK_STREAM, 0), ENOENT);
	NEW(made[2], ancillary_listen(other, SOCK_DGRAM, 0600, ANCILLARY_REPLACE));
	ancillary_close_fds(&made[2], 1);
	NEW(made[3], ancillary_listen(other, SOCK_DGRAM, 0600, ANCILLARY_REPLACE));
	NEW(made[4], ancillary_connect(other, SOCK_DGRAM, ANCILLARY_DONTWAIT));
	pthread_testcancel();
	check_failed(__FILE__, __LINE__, "it ends here");
}

static void cancel_at(const char *path)
{
	size_t before = open_descriptors();

	memset(made, -1, sizeof made);
	CHECK(end_thread(start_thread(meet_cancelled, (void *)(size_t)path)) == PTHREAD_CANCELED);
	CHECK(made[4] >= 0);
	ancillary_close_fds(made, LENGTH(made));
	CHECK_IS(open_descriptors(), before);
}

static void cancel_at_all(void)
{
	cancel_at("s");
	check_holds(".", "s t ");
	CHECK(unlink("s") == 0 && unlink("t") == 0);
	cancel_at(path_of(300, 100, false));
}

static void a_pending_cancellation_takes_effect_later(void)
{
	in_a_place(cancel_at_all);
}

/* --- a full table of descriptors --- */

static bool listens;
static unsigned with_flags;

static int call_with_slots(const char *path, size_t slots)
{
	rlim_t limit = leave_slots(slots);
	int result, error;

	errno = CHECK_ERRNO;
	result = listens ? ancillary_listen(path, SOCK_STREAM, 0600, with_flags) :
			   ancillary_connect(path, SOCK_STREAM, with_flags);
	error = errno;
	set_limit(limit);
	CHECK_IS(error, result < 0 ? -result : CHECK_ERRNO);
	return result;
}

/* With ever more room, until it works; then with one more than that. */
static void need_slots(const char *path, bool listening, unsigned flags)
{
	size_t slots = 0, before = open_descriptors();
	char names[300];
	bool stale = access(path, F_OK) == 0;
	struct stat old;
	int sock;

	listens = listening;
	with_flags = flags;
	CHECK(snprintf(names, sizeof names, "%s", names_in(".")) < (int)sizeof names);
	if (stale)
		old = found_at(path);
	for (;; slots++) {
		check_about("%zu slots, %zu bytes, listen %d, flags %x", slots, strlen(path),
			    listening, flags);
		sock = call_with_slots(path, slots);
		if (sock >= 0)
			break;
		CHECK_IS(sock, -EMFILE);
		CHECK_IS(open_descriptors(), before);
		check_holds(".", names);
		if (stale)
			check_still(path, old);
		else
			CHECK(access(path, F_OK) != 0);
	}
	CHECK(slots >= 1 && slots <= 5);
	CHECK_IS(open_descriptors(), before + 1);
	CHECK(close(sock) == 0);
	check_about("%s", "");
}

static void run_out_at(const char *path)
{
	int listener;

	need_slots(path, true, 0);
	need_slots(path, true, ANCILLARY_REPLACE);
	CHECK(unlink(path) == 0);
	need_slots(path, true, ANCILLARY_REPLACE);
	CHECK(unlink(path) == 0);
	NEW(listener, ancillary_listen(path, SOCK_STREAM, 0600, 0));
	need_slots(path, false, 0);
	need_slots(path, false, ANCILLARY_DONTWAIT);
	CHECK(close(listener) == 0);
}

static void run_out(void)
{
	run_out_at("s");
	CHECK(unlink("s") == 0);
	run_out_at(path_of(300, 100, false));
}

static void a_full_table_of_descriptors(void)
{
	in_a_place(run_out);
}

/* --- what a system may lack --- */

#ifndef SYS_socketcall
#define SYS_socketcall (-1)
#endif

/* What a call for sockets is as an argument of socketcall(2), by which some
 * 32-bit systems make it. */
static unsigned within_socketcall(unsigned call)
{
	return call == SYS_socket ? SYS_SOCKET :
	       call == SYS_bind	  ? SYS_BIND :
	       call == SYS_listen ? SYS_LISTEN :
				    0;
}

/* Makes a system call fail.  There is no way back. */
static void deny(unsigned call, unsigned error)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)SYS_socketcall, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, within_socketcall(call), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { LENGTH(filter), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		check_skip("no seccomp filters");
}

static void meet_by_link(const char *path)
{
	for (size_t i = 0; i < ALL_TYPES; i++) {
		struct stat before;
		int listener, client;

		check_about("%zu bytes, type %x", strlen(path), (unsigned)types[i]);
		NEW(listener, ancillary_listen(path, types[i], 0640, 0));
		before = found_at(path);
		CHECK_IS(before.st_mode, S_IFSOCK | 0640);
		CHECK_IS(before.st_nlink, 1);
		NEW(client, ancillary_connect(path, types[i], 0));
		check_talk(listener, client, types[i]);
		CHECK_ERR(ancillary_listen(path, types[i], 0640, 0), EADDRINUSE);
		CHECK_ERR(ancillary_listen(path, types[i], 0640, ANCILLARY_REPLACE), EADDRINUSE);
		check_still(path, before);
		CHECK(close(listener) == 0);
		CHECK_ERR(ancillary_listen(path, types[i], 0640, 0), EADDRINUSE);
		check_still(path, before);
		NEW(listener, ancillary_listen(path, types[i], 0600, ANCILLARY_REPLACE));
		CHECK_IS(found_at(path).st_mode, S_IFSOCK | 0600);
		CHECK_IS(found_at(path).st_nlink, 1);
		NEW(client, ancillary_connect(path, types[i], 0));
		check_talk(listener, client, types[i]);
		CHECK(close(listener) == 0);
		CHECK(unlink(path) == 0);
		NEW(listener, ancillary_listen(path, types[i], 0600, ANCILLARY_REPLACE));
		CHECK(close(listener) == 0);
		CHECK(unlink(path) == 0);
	}
	check_about("%s", "");
}

static void meet_without_rename(unsigned error)
{
	enter_place();
	deny(SYS_renameat2, error);
	meet_by_link("s");
	check_holds(".", "");
	meet_by_link(path_of(300, 100, false));
	meet_by_link(path_of(255, 255, false));
	CHECK(!strstr(names_in("."), ".ancillary"));
	CHECK_ERR(ancillary_listen(path_of(256, 256, false), SOCK_STREAM, 0600, 0), ENAMETOOLONG);
	CHECK(close(creat("file", 0666)) == 0);
	CHECK_ERR(ancillary_listen("file", SOCK_STREAM, 0600, 0), EEXIST);
	CHECK_ERR(ancillary_listen("file", SOCK_STREAM, 0600, ANCILLARY_REPLACE), EEXIST);
	leave_place();
}

static void a_file_system_that_cannot_rename_so(void)
{
	meet_without_rename(EINVAL);
}

static void a_kernel_that_cannot_rename_so(void)
{
	meet_without_rename(ENOSYS);
}

/* What fails in the middle leaves nothing. */
static void fail_in(unsigned call, unsigned error)
{
	struct stat before;

	enter_place();
	make_stale("s", SOCK_STREAM);
	before = found_at("s");
	check_about("call %u", call);
	deny(call, error);
	for (size_t i = 0; i < ALL_TYPES; i++) {
		if (call == SYS_listen && i % PLAIN_TYPES == 2)
			continue;
		CHECK_ERR(ancillary_listen("t", types[i], 0600, 0), (int)error);
		CHECK_ERR(ancillary_listen("t", types[i], 0600, ANCILLARY_REPLACE), (int)error);
		CHECK_ERR(ancillary_listen("s", types[i], 0600, ANCILLARY_REPLACE), (int)error);
		check_holds(".", "s ");
		check_still("s", before);
	}
	leave_place();
}

static void moving_the_file_may_fail(void)
{
	fail_in(SYS_renameat2, EDQUOT);
}

static void listening_may_fail(void)
{
	fail_in(SYS_listen, EACCES);
}

static void binding_may_fail(void)
{
	fail_in(SYS_bind, ENOSPC);
}

static void setting_the_mode_may_fail(void)
{
	fail_in(SYS_fchmodat, EPERM);
}

static void making_a_socket_may_fail(void)
{
	enter_place();
	deny(SYS_socket, ENFILE);
	CHECK_ERR(ancillary_listen("s", SOCK_STREAM, 0600, 0), ENFILE);
	CHECK_ERR(ancillary_listen("s", SOCK_STREAM, 0600, ANCILLARY_REPLACE), ENFILE);
	CHECK_ERR(ancillary_connect("s", SOCK_STREAM, 0), ENFILE);
	check_holds(".", "");
	leave_place();
}

CHECK_MAIN(CASE(arguments_that_are_not_known), CASE(the_socket_is_as_asked_for),
	   CASE(the_type_must_be_the_same), CASE(a_full_queue_is_waited_for),
	   CASE(a_signal_ends_the_wait_if_asked_to), CASE(the_listener_may_go_meanwhile),
	   CASE(a_wait_is_not_cancelled), CASE(a_pending_cancellation_takes_effect_later),
	   CASE(a_full_table_of_descriptors), CASE(a_file_system_that_cannot_rename_so),
	   CASE(a_kernel_that_cannot_rename_so), CASE(moving_the_file_may_fail),
	   CASE(listening_may_fail), CASE(binding_may_fail),
	   CASE(setting_the_mode_may_fail), CASE(making_a_socket_may_fail))
