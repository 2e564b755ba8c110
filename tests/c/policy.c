/* What comes of descriptors that a real security module withholds: of each call
 * that receives, wherever in the message the withheld one is, whatever room there
 * is besides. Run by tools/check-kernel.sh. */

#include "check.h"
#include "policy_kit.h"

#include <ancillary.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

enum { LEN = 8 };

static char data[LEN];
static int fds[MOST];

static void it_cannot_be_opened(void)
{
	CHECK(open("/secure/secret", O_RDWR | O_CLOEXEC) < 0);
	CHECK_IS(errno, EACCES);
}

static void the_policy_is_in_force(void)
{
	open_both();
	as("withheld", it_cannot_be_opened);
	close_both();
}

/* --- what there is --- */

static const char *const messages[] = { "s", "sff", "fsf", "ffs" };

/* So many free numbers in the table; or as many as those take that stand in front
 * of the withheld one, and some. */
enum { MANY = -2, NONE = -1, IN_FRONT = 0, ONE_MORE = 1 };

static const struct circumstance {
	const char *name;
	size_t room;
	int slots;
} circumstances[] = {
	{ "enough room", MOST, MANY },
	{ "room for one", 1, MANY },
	{ "no room", 0, MANY },
	{ "full table", MOST, NONE },
	{ "table full then", MOST, IN_FRONT },
	{ "table not full", MOST, ONE_MORE },
};

/* What a call makes of it. It knows of those in front, and whether the table is
 * full; and says that first of which it is sure. */
struct made {
	size_t came, room;
	/* Why the rest did not come: EMFILE or EACCES. */
	int why;
	/* What a call says that gives nothing. */
	int error;
};

static struct made made_of(const char *which, const struct circumstance *is, size_t room)
{
	struct made made = { .came = is->slots == NONE ? 0 : strcspn(which, "s"), .room = room };

	made.why = is->slots == NONE || is->slots == IN_FRONT ? EMFILE : EACCES;
	made.error = made.came > room ? E2BIG : made.why;
	return made;
}

/* --- the calls --- */

static void recv_fd(unsigned flags, const struct made *made)
{
	CHECK_IS(flags, 0);
	CHECK_ERR(ancillary_recv_fd(sock[THERE]), made->error);
}

static void recv_fds(unsigned flags, const struct made *made)
{
	size_t n = made->room;

	CHECK_ERR(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, flags), made->error);
	CHECK_IS(n, 0);
	CHECK(all_none(fds, made->room));
}

static void recv_creds(unsigned flags, const struct made *made)
{
	struct ancillary_creds creds;

	CHECK_ERR(ancillary_recv_creds(sock[THERE], &creds, data, LEN, flags), made->error);
	CHECK_IS(creds.pid, 0);
}

/* Those in front, as far as there is room. */
static void take(size_t n, const struct made *made)
{
	CHECK_IS(n, made->came < made->room ? made->came : made->room);
	for (size_t i = 0; i < n; i++)
		CHECK(same_file(fds[i], file));
	CHECK(all_none(fds + n, made->room - n));
	close_files(fds, n);
}

static struct ancillary_msg empty_msg(const struct made *made)
{
	static struct iovec iov = { data, LEN };

	return (struct ancillary_msg){ .size = sizeof(struct ancillary_msg), .iov = &iov,
				       .iovlen = 1, .fds = fds, .nfds = made->room, .pidfd = -1 };
}

static void recv_msg(unsigned flags, const struct made *made)
{
	struct ancillary_msg msg = empty_msg(made);

	if (flags & ANCILLARY_LOSSLESS) {
		CHECK_ERR(ancillary_recv_msg(sock[THERE], &msg, flags), made->error);
		CHECK_IS(msg.nfds, 0);
		return;
	}
	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, flags), 3);
	CHECK_IS(msg.flags, ANCILLARY_FDS_LOST |
				    (made->came > made->room ? ANCILLARY_FDS_SURPLUS : 0));
	CHECK_IS(msg.error, made->why);
	take(msg.nfds, made);
}

/* It does not see the socket: what came in full may have been too much, and what did
 * not may be for any reason. */
static void decode(unsigned flags, const struct made *made)
{
	static char control[CMSG_SPACE(MOST * sizeof(int))];
	struct ancillary_msg msg = empty_msg(made);
	struct msghdr header = { .msg_iov = msg.iov, .msg_iovlen = 1, .msg_control = control,
				 .msg_controllen = sizeof control };
	ssize_t n = recvmsg(sock[THERE], &header, (int)flags | MSG_CMSG_CLOEXEC);
	bool lost = made->came < made->room;

	CHECK_OK(ancillary_decode(&header, n, &msg, 0), 3);
	CHECK_IS(msg.flags, lost ? ANCILLARY_FDS_LOST : ANCILLARY_FDS_SURPLUS);
	CHECK_IS(msg.error, lost ? EIO : 0);
	take(msg.nfds, made);
}

/* Where nothing is in front, that is an error. */
static void take_older(int result, const struct made *made)
{
	int error = errno;

	if (made->came == 0) {
		CHECK_IS(result, -1);
		CHECK_IS(error, made->why);
		CHECK(all_none(fds, made->room));
	} else {
		take((size_t)result, made);
	}
}

static void older_fds(unsigned flags, const struct made *made)
{
	CHECK_IS(flags, 0);
	take_older(ancil_recv_fds(sock[THERE], fds, (unsigned)made->room), made);
}

static void older_buffer(unsigned flags, const struct made *made)
{
	CHECK_IS(flags, 0);
	take_older(ancil_recv_fds_with_buffer(sock[THERE], fds, (unsigned)made->room, NULL), made);
}

static void older_fd(unsigned flags, const struct made *made)
{
	int result;

	CHECK_IS(flags, 0);
	result = ancil_recv_fd(sock[THERE], fds);
	take_older(result == 0 ? 1 : result, made);
}

enum { FLAGS = 1, KEEPS = 2 };

static const struct call {
	const char *name;
	void (*run)(unsigned flags, const struct made *made);
	/* The room that it has at least and at most. */
	size_t least, most;
	/* Whether it takes flags, and ANCILLARY_LOSSLESS. */
	unsigned can;
} calls[] = {
	{ "recv_fd", recv_fd, 1, 1, 0 },
	{ "recv_fds", recv_fds, 0, MOST, FLAGS | KEEPS },
	{ "recv_creds", recv_creds, 0, 0, FLAGS | KEEPS },
	{ "recv_msg", recv_msg, 0, MOST, FLAGS | KEEPS },
	{ "decode", decode, 0, MOST, FLAGS },
	{ "ancil_recv_fd", older_fd, 1, 1, 0 },
	{ "ancil_recv_fds", older_fds, 1, MOST, 0 },
	{ "ancil_recv_fds_with_buffer", older_buffer, 1, MOST, 0 },
};

static void receive(const struct call *call, unsigned flags, const char *which,
		    const struct circumstance *is)
{
	size_t room = is->room < call->least ? call->least :
		      is->room > call->most ? call->most : is->room;
	size_t open = open_descriptors();
	struct made made = made_of(which, is, room);
	rlim_t limit = 0;

	check_about("%s %#x, %.3s of %zu, %s, type %d", call->name, flags, which, strlen(which),
		    is->name, type);
	if (is->slots != MANY)
		limit = leave_slots(is->slots == NONE ? 0 : made.came + (size_t)is->slots);
	call->run(flags, &made);
	if (is->slots != MANY)
		set_limit(limit);
	CHECK_IS(open_descriptors(), open);
}

/* --- with loss --- */

/* That of the older library takes a byte, and so does recv_fd. */
static void send_and_receive(const struct call *call, unsigned flags)
{
	for (size_t i = 0; i < LENGTH(messages); i++)
		for (size_t k = 0; k < LENGTH(circumstances); k++) {
			send_with(messages[i], call->can & FLAGS ? 3 : 1);
			receive(call, flags, messages[i], &circumstances[k]);
			check_nothing_there(sock[THERE]);
		}
}

static void receive_all_ways(void)
{
	for (const struct call *call = calls; call < calls + LENGTH(calls); call++) {
		send_and_receive(call, 0);
		if (call->can & FLAGS) {
			send_and_receive(call, ANCILLARY_DONTWAIT);
			send_and_receive(call, ANCILLARY_WAITALL);
		}
	}
}

static void from_who_may_not_have_it(void)
{
	as("withheld", receive_all_ways);
}

static void every_call_says_so(void)
{
	in_all_types(from_who_may_not_have_it);
}

static void get_with_sender(void)
{
	size_t open = open_descriptors();
	struct made made = { .room = MOST };
	struct ancillary_msg msg = empty_msg(&made);

	CHECK_OK(ancillary_recv_msg(sock[THERE], &msg, 0), 3);
	CHECK_IS(msg.flags, ANCILLARY_FDS_LOST | ANCILLARY_HAS_CREDS | ANCILLARY_HAS_PIDFD);
	CHECK_IS(msg.error, EACCES);
	close_files(fds, msg.nfds);
	close_files(&msg.pidfd, 1);
	CHECK_IS(open_descriptors(), open);
	check_nothing_there(sock[THERE]);
}

static void with_sender(void)
{
	CHECK_OK(ancillary_set_passpidfd(sock[THERE], 1), 0);
	CHECK_OK(ancillary_set_passcred(sock[THERE], 1), 0);
	for (size_t i = 0; i < LENGTH(messages); i++)
		with_message(messages[i], get_with_sender);
}

static void the_sender_is_told_all_the_same(void)
{
	need_option(OPTION_PASSPIDFD);
	in_all_types(with_sender);
}

/* --- without loss --- */

static const char *kept;

static void refuse_all_ways(void)
{
	static const unsigned flags[] = { 0, ANCILLARY_DONTWAIT, ANCILLARY_WAITALL };

	for (const struct call *call = calls; call < calls + LENGTH(calls); call++)
		for (size_t k = 0; call->can & KEEPS && k < LENGTH(circumstances); k++)
			for (size_t i = 0; i < LENGTH(flags); i++) {
				receive(call, ANCILLARY_LOSSLESS | flags[i], kept, &circumstances[k]);
				CHECK_IS(recv(sock[THERE], data, LEN, MSG_DONTWAIT | MSG_PEEK), 3);
			}
}

/* One that may have it takes the message whole. */
static void keep(const char *which)
{
	kept = which;
	with_message(which, refuse_all_ways);
	take_all(which);
}

static void keep_each(void)
{
	static char most[MOST + 1];

	for (size_t i = 0; i < LENGTH(messages); i++)
		keep(messages[i]);
	memset(most, 'f', MOST);
	most[MOST - 1] = 's';
	keep(most);
}

static void lossless_keeps_it_for_who_may_have_it(void)
{
	in_all_types(keep_each);
}

static void take_two_bytes_and_refuse(void)
{
	size_t n = MOST;

	CHECK_OK(ancillary_recv_fds(sock[THERE], fds, &n, data, LEN, ANCILLARY_LOSSLESS), 2);
	CHECK_IS(n, 0);
	check_refused(EACCES);
}

static void lossless_gives_the_bytes_in_front(void)
{
	open_both();
	open_pair(SOCK_STREAM, sock);
	for (size_t i = 0; i < LENGTH(messages); i++) {
		CHECK_IS(send(sock[HERE], "ab", 2, 0), 2);
		with_message(messages[i], take_two_bytes_and_refuse);
		take_all(messages[i]);
	}
	close_pair(sock);
	close_both();
}

/* --- on a channel --- */

static struct ancillary_channel channel;
static uint64_t in_data[32];

static void open_channel(unsigned flags)
{
	channel = (struct ancillary_channel){ .size = sizeof channel, .sock = sock[THERE],
					      .flags = flags | ANCILLARY_DONTWAIT,
					      .format = ANCILLARY_FORMAT_PLAIN,
					      .in_data = in_data, .in_size = sizeof in_data,
					      .in_fds = fds, .in_nfds = MOST };
}

static void send_frame(const char *which)
{
	struct { uint32_t len; uint16_t nfds, zero; uint32_t type, id; } header = {
		.len = sizeof header, .nfds = (uint16_t)strlen(which)
	};
	int sent[MOST];

	for (size_t i = 0; i < header.nfds; i++)
		sent[i] = which[i] == 's' ? secret : file;
	CHECK_IS(send_by_hand(sock[HERE], &header, sizeof header, sent, header.nfds),
		 sizeof header);
}

static void recv_on_channel(unsigned flags, const struct made *made)
{
	struct ancillary_frame frame = { .reserved = { 0 } };

	channel.in_nfds = made->room;
	CHECK_ERR(ancillary_channel_recv(&channel, &frame, flags),
		  made->error == E2BIG ? EPROTO : made->error);
}

static const struct call on_channel = { "channel_recv", recv_on_channel, 0, MOST, 0 };
static const struct circumstance *here;

/* It has ended, or says the same again. */
static void next_is_refused(void)
{
	bool keeps = channel.flags & ANCILLARY_LOSSLESS;

	for (int i = 0; i < 3; i++)
		receive(&on_channel, 0, kept, here);
	CHECK_IS(recv(sock[THERE], data, 1, MSG_DONTWAIT | MSG_PEEK), keeps ? 1 : -1);
}

static void take_next(const char *which)
{
	struct ancillary_frame frame = { .reserved = { 0 } };
	size_t open = open_descriptors();

	channel.in_nfds = MOST;
	CHECK_OK(ancillary_channel_recv(&channel, &frame, 0), 1);
	CHECK_IS(frame.nfds, strlen(which));
	CHECK(are_these(frame.fds, which));
	ancillary_channel_drop(&channel);
	CHECK_IS(open_descriptors(), open);
}

static void pass_on_channel(unsigned flags)
{
	open_channel(flags);
	send_frame(kept);
	as("withheld", next_is_refused);
}

static void a_channel_says_so_too(void)
{
	open_both();
	for (size_t i = 0; i < LENGTH(messages); i++)
		for (size_t k = 0; k < LENGTH(circumstances); k++) {
			kept = messages[i];
			here = &circumstances[k];
			open_pair(SOCK_STREAM, sock);
			pass_on_channel(0);
			pass_on_channel(ANCILLARY_LOSSLESS);
			take_next(kept);
			close_pair(sock);
		}
	close_both();
}

CHECK_MAIN(CASE(the_policy_is_in_force), CASE(every_call_says_so),
	   CASE(the_sender_is_told_all_the_same), CASE(lossless_keeps_it_for_who_may_have_it),
	   CASE(lossless_gives_the_bytes_in_front), CASE(a_channel_says_so_too))
