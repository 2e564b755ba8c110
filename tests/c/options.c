/* Options of sockets that are switched between any two messages, on either side:
 * what was sent comes once, with its own bytes. */

#include "check.h"

#include "kit.h"

#include <ancillary.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { MESSAGES = 5, FILES = 4, ROOM = FILES + 1, LEN = 64 };

/* What is sent: with the first byte of each so many of the files, from one on. */
static const struct {
	const char *text;
	size_t first, nfds;
} messages[MESSAGES] = { { "head", 0, 0 }, { "body", 0, 1 }, { "more", 1, 0 }, { "of", 1, 2 },
			 { "all", 3, 1 } };

static int files[FILES], fds[ROOM];
static char data[LEN];

/* Not all are in every system, or for every type of socket. */
static const struct {
	const char *name;
	int option;
} options[] = {
	{ "SO_PASSCRED", SO_PASSCRED },	      { "SO_PASSPIDFD", OPTION_PASSPIDFD },
	{ "SO_PASSSEC", SO_PASSSEC },	      { "SO_TIMESTAMP", SO_TIMESTAMP },
	{ "SO_TIMESTAMPNS", SO_TIMESTAMPNS }, { "SO_INQ", OPTION_INQ },
};

/* --- a run --- */

/* What happens, in order: S sends a message, R receives.  Behind the end all that
 * is left is received. */
static const char *const orders[] = { "SSSSS", "SSRSSRRS", "SSSRRRSRS" };

static const struct plan {
	/* Of a receive: the room for bytes, and by which call. */
	size_t len;
	bool strict;
	unsigned flags;
	/* A receive with room for no descriptor is tried first each time. */
	bool refused;
} plans[] = {
	{ LEN, true, ANCILLARY_LOSSLESS, false },  { LEN, false, ANCILLARY_LOSSLESS, true },
	{ 4, true, ANCILLARY_LOSSLESS, false },	   { 3, false, ANCILLARY_LOSSLESS, true },
	{ 6, true, ANCILLARY_LOSSLESS, true },	   { 1, true, ANCILLARY_LOSSLESS, false },
	{ LEN, true, 0, false },		   { 5, false, 0, false },
};

static struct {
	int type, *sock;
	const struct plan *plan;
	/* How many messages were sent, and how far they were received. */
	size_t sent, received;
	/* Of the message that is next, or that has begun to come. */
	size_t at;
} run;

static void send_next(void)
{
	const char *text = messages[run.sent].text;

	CHECK_OK(ancillary_send_fds(run.sock[HERE], files + messages[run.sent].first,
				    messages[run.sent].nfds, text, strlen(text), 0),
		 strlen(text));
	run.sent++;
}

/* Checks that these bytes are those sent next, and these descriptors those sent with
 * them; closes them. */
static void take(size_t n, size_t slots, size_t nfds)
{
	size_t first = 0, count = 0;

	for (size_t i = 0; i < n; i++) {
		CHECK(run.received < run.sent);
		CHECK_IS(data[i], messages[run.received].text[run.at]);
		if (run.at == 0 && messages[run.received].nfds > 0) {
			/* One call never takes what belongs to two messages. */
			CHECK_IS(count, 0);
			first = messages[run.received].first;
			count = messages[run.received].nfds;
		}
		if (!messages[run.received].text[++run.at]) {
			run.received++;
			run.at = 0;
		}
	}
	CHECK_IS(nfds, count);
	take_arrived(fds, slots, files + first, count);
}

static ssize_t receive(size_t slots, size_t *nfds)
{
	struct iovec iov = { data, run.plan->len };
	struct ancillary_msg msg = { .size = sizeof msg,
				     .iov = &iov,
				     .iovlen = 1,
				     .fds = fds,
				     .nfds = slots };
	unsigned flags = run.plan->flags | ANCILLARY_DONTWAIT;
	ssize_t n;

	memset(data, 'x', sizeof data);
	memset(fds, 'x', sizeof fds);
	*nfds = slots;
	if (run.plan->strict)
		return ancillary_recv_fds(run.sock[THERE], fds, nfds, data, run.plan->len, flags);
	n = ancillary_recv_msg(run.sock[THERE], &msg, flags);
	CHECK_IS(msg.flags & ~(unsigned)(ANCILLARY_HAS_CREDS | ANCILLARY_HAS_PIDFD), 0);
	CHECK_IS(msg.error, 0);
	if (msg.pidfd >= 0)
		close_files(&msg.pidfd, 1);
	*nfds = msg.nfds;
	return n;
}

/* Receives with little room: plain bytes come, and nothing else. */
static void receive_refused(void)
{
	bool carries = run.at == 0 && messages[run.received].nfds > 0;
	size_t nfds;
	ssize_t n = receive(0, &nfds);

	if (carries)
		CHECK_IS(n, -E2BIG);
	if (n == -E2BIG)
		CHECK(carries);
	else
		CHECK(n > 0);
	take(n < 0 ? 0 : (size_t)n, 0, nfds);
}

static void receive_next(void)
{
	size_t nfds;
	ssize_t n;

	if (run.received == run.sent) {
		CHECK_IS(receive(ROOM, &nfds), -EAGAIN);
		CHECK_IS(nfds, 0);
		return;
	}
	if (run.plan->refused)
		receive_refused();
	if (run.received == run.sent)
		return;
	n = receive(ROOM, &nfds);
	CHECK(n > 0);
	take((size_t)n, ROOM, nfds);
}

/* --- when what is switched --- */

/* An option, on which side, and before which of the events it is switched on and
 * off again. */
struct change {
	int option;
	bool at[2];
	size_t on, off;
};

static void switch_option(const struct change *change, size_t event)
{
	for (int end = HERE; end <= THERE; end++)
		if (change->at[end] && (event == change->on || event == change->off))
			set_option(run.sock[end], change->option, event == change->on);
}

static void run_with(const struct change *change, const char *order)
{
	size_t event = 0;

	run.sent = run.received = run.at = 0;
	for (; *order; order++) {
		switch_option(change, event++);
		if (*order == 'S')
			send_next();
		else
			receive_next();
	}
	while (run.received < run.sent) {
		switch_option(change, event++);
		receive_next();
	}
	check_nothing_there(run.sock[THERE]);
	for (int end = HERE; end <= THERE; end++)
		if (change->at[end])
			set_option(run.sock[end], change->option, 0);
}

static bool fits(const struct plan *plan, int type)
{
	return type == SOCK_STREAM || plan->len == LEN;
}

/* With each plan and order. */
static void run_all_with(const char *name, const struct change *change)
{
	for (size_t plan = 0; plan < LENGTH(plans); plan++) {
		if (!fits(&plans[plan], run.type))
			continue;
		run.plan = &plans[plan];
		for (size_t order = 0; order < LENGTH(orders); order++) {
			if (!is_tried())
				continue;
			check_about("type %d, %s%s%s on %zu off %zu, %s, plan %zu", run.type, name,
				    change->at[HERE] ? " here" : "", change->at[THERE] ? " there" : "",
				    change->on, change->off, orders[order], plan);
			run_with(change, orders[order]);
		}
	}
}

static bool has_option_here(int sock, int option)
{
	int off = 0;

	return setsockopt(sock, SOL_SOCKET, option, &off, sizeof off) == 0;
}

/* At the end of the longest order all is switched that is to be. */
enum { EVENTS = 10, NEVER = 1000 };

static void switch_each(int type, int sock[2])
{
	run.type = type;
	run.sock = sock;
	for (size_t i = 0; i < LENGTH(options); i++) {
		struct change change = { .option = options[i].option };

		if (!has_option_here(sock[THERE], options[i].option))
			continue;
		for (int ends = 1; ends < 4; ends++) {
			change.at[HERE] = ends & 1;
			change.at[THERE] = ends & 2;
			for (change.on = 0; change.on < EVENTS; change.on++) {
				change.off = NEVER;
				run_all_with(options[i].name, &change);
				for (size_t for_ = 1; for_ < 4; for_++) {
					change.off = change.on + for_;
					run_all_with(options[i].name, &change);
				}
			}
		}
	}
}

static void switched_between_any_two_messages(void)
{
	open_files(files, FILES);
	with_each_type(switch_each);
	close_files(files, FILES);
}

/* --- one that was on when the message was sent --- */

/* All options on, then off one by one before each receive: what was noted when the
 * messages were sent is there or not. */
static void switch_off(int type, int sock[2])
{
	run.type = type;
	run.sock = sock;
	for (size_t plan = 0; plan < LENGTH(plans); plan++) {
		if (!fits(&plans[plan], type))
			continue;
		run.plan = &plans[plan];
		for (size_t first = 0; first < LENGTH(options); first++) {
			check_about("type %d, plan %zu, first off: %s", type, plan, options[first].name);
			run.sent = run.received = run.at = 0;
			for (size_t i = 0; i < LENGTH(options); i++)
				if (has_option_here(sock[THERE], options[i].option))
					set_option(sock[THERE], options[i].option, 1);
			while (run.sent < MESSAGES)
				send_next();
			for (size_t i = first; run.received < run.sent; i++) {
				int option = options[i % LENGTH(options)].option;

				if (has_option_here(sock[THERE], option))
					set_option(sock[THERE], option, i - first >= LENGTH(options));
				receive_next();
			}
			check_nothing_there(sock[THERE]);
		}
	}
}

static void all_on_and_then_off(void)
{
	open_files(files, FILES);
	with_each_type(switch_off);
	close_files(files, FILES);
}

CHECK_MAIN(CASE(switched_between_any_two_messages), CASE(all_on_and_then_off))
