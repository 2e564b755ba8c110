/* Arguments that cannot be meant. */

#include "check.h"
#include "kit.h"

/* NULL is passed here to see it refused. */
#define ANCILLARY_NONNULL(argument)
#include <ancillary.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* Too many descriptors, too many bytes. */
static const size_t huge_counts[] = { (size_t)INT_MAX + 1, SIZE_MAX / 4, SIZE_MAX / 4 + 1,
				      SSIZE_MAX, SIZE_MAX - 1, SIZE_MAX };
static const size_t huge_lens[] = { (size_t)SSIZE_MAX + 1, SIZE_MAX - 1, SIZE_MAX };

/* --- sending --- */

static void send_badly(int type, int sock[2])
{
	int files[2];
	int s = sock[HERE];

	open_files(files, 2);
	for (int bit = 0; bit < 32; bit++) {
		unsigned flag = 1u << bit;

		check_about("type %d, flag %#x", type, flag);
		if (flag == ANCILLARY_DONTWAIT || flag == ANCILLARY_INTR ||
		    flag == MSG_NOSIGNAL || flag == MSG_CMSG_CLOEXEC)
			continue;
		CHECK_ERR(ancillary_send_fds(s, files, 2, "abc", 3, flag), EINVAL);
		CHECK_ERR(ancillary_send_fds(s, files, 2, NULL, 0, flag | ANCILLARY_DONTWAIT),
			  EINVAL);
	}
	check_about("type %d", type);
	CHECK_ERR(ancillary_send_fds(s, files, 2, "abc", 3, UINT_MAX), EINVAL);
	CHECK_ERR(ancillary_send_fds(s, NULL, 2, "abc", 3, 0), EINVAL);
	CHECK_ERR(ancillary_send_fds(s, NULL, 1, NULL, 0, 0), EINVAL);
	CHECK_ERR(ancillary_send_fds(s, files, 2, NULL, 3, 0), EINVAL);
	if (type == SOCK_STREAM)
		CHECK_ERR(ancillary_send_fds(s, files, 2, "abc", 0, 0), EINVAL);
	CHECK_ERR(ancillary_send_fds(s, NULL, 0, "abc", 0, 0), EINVAL);
	CHECK_ERR(ancillary_send_fds(s, NULL, 0, NULL, 3, 0), EINVAL);
	CHECK_ERR(ancillary_send_fds(s, NULL, 0, NULL, 0, 0), EINVAL);
	CHECK_ERR(ancillary_send_fds(s, files, 0, NULL, 0, 0), EINVAL);
	for (size_t i = 0; i < LENGTH(huge_counts); i++) {
		check_about("type %d, %zu descriptors", type, huge_counts[i]);
		CHECK_ERR(ancillary_send_fds(s, files, huge_counts[i], "abc", 3, 0), EINVAL);
		CHECK_ERR(ancillary_send_fds(s, files, huge_counts[i], NULL, 0, 0), EINVAL);
		CHECK_ERR(ancillary_send_fds(s, NULL, huge_counts[i], NULL, 0, 0), EINVAL);
	}
	for (size_t i = 0; i < LENGTH(huge_lens); i++) {
		check_about("type %d, %zu bytes", type, huge_lens[i]);
		CHECK_ERR(ancillary_send_fds(s, files, 2, "abc", huge_lens[i], 0), EINVAL);
		CHECK_ERR(ancillary_send_fds(s, NULL, 0, "abc", huge_lens[i], 0), EINVAL);
		CHECK_ERR(ancillary_send_fds(s, files, 2, NULL, huge_lens[i], 0), EINVAL);
	}
	check_nothing_there(sock[THERE]);
	close_files(files, 2);
}

static void a_send_refuses_them(void)
{
	with_each_type(send_badly);
}

/* --- receiving --- */

static int received[3];
static size_t nfds;
static char got[8];

static size_t *room_for(size_t count)
{
	memset(received, 'x', sizeof received);
	nfds = count;
	return &nfds;
}

/* A receive with room for two descriptors is refused, and says that there are
 * none. */
#define REFUSED(data, len, flags) \
	do { \
		CHECK_ERR(ancillary_recv_fds(s, received, room_for(2), data, len, flags), EINVAL); \
		CHECK_IS(nfds, 0); \
		CHECK(all_none(received, 2)); \
		CHECK(received[2] != -1); \
	} while (0)

static void receive_badly(int type, int sock[2])
{
	int files[2];
	int s = sock[THERE];

	open_files(files, 2);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 2, "abc", 3, 0), 3);
	for (int bit = 0; bit < 32; bit++) {
		unsigned flag = 1u << bit;

		check_about("type %d, flag %#x", type, flag);
		if (flag == ANCILLARY_DONTWAIT || flag == ANCILLARY_INTR ||
		    flag == ANCILLARY_WAITALL || flag == ANCILLARY_LOSSLESS ||
		    flag == MSG_NOSIGNAL || flag == MSG_CMSG_CLOEXEC)
			continue;
		REFUSED(got, 8, flag);
		REFUSED(NULL, 0, flag | ANCILLARY_WAITALL);
	}
	check_about("type %d", type);
	REFUSED(got, 8, UINT_MAX);
	REFUSED(NULL, 8, 0);
	REFUSED(got, 0, 0);
	REFUSED(got, 0, ANCILLARY_WAITALL);
	for (size_t i = 0; i < LENGTH(huge_lens); i++) {
		REFUSED(got, huge_lens[i], 0);
		REFUSED(NULL, huge_lens[i], 0);
	}
	CHECK_ERR(ancillary_recv_fds(s, received, NULL, got, 8, 0), EINVAL);
	CHECK_ERR(ancillary_recv_fds(s, NULL, NULL, NULL, 0, 0), EINVAL);
	CHECK_ERR(ancillary_recv_fds(s, NULL, room_for(2), got, 8, 0), EINVAL);
	CHECK_IS(nfds, 0);
	for (size_t i = 0; i < LENGTH(huge_counts); i++) {
		check_about("type %d, room for %zu", type, huge_counts[i]);
		CHECK_ERR(ancillary_recv_fds(s, received, room_for(huge_counts[i]), got, 8, 0),
			  EINVAL);
		CHECK_IS(nfds, 0);
		CHECK_ERR(ancillary_recv_fds(s, NULL, room_for(huge_counts[i]), NULL, 0, 0),
			  EINVAL);
		CHECK_IS(nfds, 0);
	}

	/* Nothing was consumed. */
	CHECK_OK(ancillary_recv_fds(s, received, room_for(2), got, 8, 0), 3);
	CHECK_IS(nfds, 2);
	take_arrived(received, 2, files, 2);
	close_files(files, 2);
}

static void a_receive_refuses_them(void)
{
	with_each_type(receive_badly);
}

/* --- flags --- */

/* Those of sendmsg(2) and recvmsg(2) that the system's headers have. */
static const struct {
	const char *name;
	unsigned value;
} of_messages[] = {
#define FLAG(name) { #name, name }
	FLAG(MSG_OOB),	     FLAG(MSG_PEEK),	 FLAG(MSG_DONTROUTE),  FLAG(MSG_CTRUNC),
	FLAG(MSG_TRUNC),     FLAG(MSG_DONTWAIT), FLAG(MSG_EOR),	       FLAG(MSG_WAITALL),
	FLAG(MSG_NOSIGNAL),  FLAG(MSG_MORE),	 FLAG(MSG_WAITFORONE), FLAG(MSG_CMSG_CLOEXEC),
#ifdef MSG_TRYHARD
	FLAG(MSG_TRYHARD),
#endif
#ifdef MSG_PROXY
	FLAG(MSG_PROXY),
#endif
#ifdef MSG_PROBE
	FLAG(MSG_PROBE),
#endif
#ifdef MSG_FIN
	FLAG(MSG_FIN),
#endif
#ifdef MSG_SYN
	FLAG(MSG_SYN),
#endif
#ifdef MSG_CONFIRM
	FLAG(MSG_CONFIRM),
#endif
#ifdef MSG_RST
	FLAG(MSG_RST),
#endif
#ifdef MSG_ERRQUEUE
	FLAG(MSG_ERRQUEUE),
#endif
#ifdef MSG_BATCH
	FLAG(MSG_BATCH),
#endif
#ifdef MSG_SOCK_DEVMEM
	FLAG(MSG_SOCK_DEVMEM),
#endif
#ifdef MSG_ZEROCOPY
	FLAG(MSG_ZEROCOPY),
#endif
#ifdef MSG_FASTOPEN
	FLAG(MSG_FASTOPEN),
#endif
};

static int one_file;
static struct ancillary_creds creds;

static struct ancillary_msg one_message(void)
{
	static struct iovec iov;
	struct ancillary_msg msg = { .size = sizeof msg, .iov = &iov, .iovlen = 1 };

	iov = (struct iovec){ got, 3 };
	return msg;
}

static long send_descriptors(const int sock[2], unsigned flags)
{
	return ancillary_send_fds(sock[HERE], &one_file, 1, "abc", 3, flags);
}

static long send_message(const int sock[2], unsigned flags)
{
	struct ancillary_msg msg = one_message();

	return ancillary_send_msg(sock[HERE], &msg, flags);
}

static long send_identity(const int sock[2], unsigned flags)
{
	return ancillary_send_creds(sock[HERE], NULL, "abc", 3, flags);
}

static long receive_descriptors(const int sock[2], unsigned flags)
{
	return ancillary_recv_fds(sock[THERE], received, room_for(1), got, 3, flags);
}

static long receive_message(const int sock[2], unsigned flags)
{
	struct ancillary_msg msg = one_message();

	return ancillary_recv_msg(sock[THERE], &msg, flags);
}

static long receive_identity(const int sock[2], unsigned flags)
{
	return ancillary_recv_creds(sock[THERE], &creds, got, 3, flags);
}

/* Each call that has flags, and those that mean something to it, or always hold. */
enum {
	TO_SEND = ANCILLARY_DONTWAIT | ANCILLARY_INTR | MSG_NOSIGNAL | MSG_CMSG_CLOEXEC,
	TO_RECEIVE = TO_SEND | ANCILLARY_WAITALL | ANCILLARY_LOSSLESS,
};
static const struct {
	const char *name;
	long (*make)(const int sock[2], unsigned flags);
	unsigned known;
} calls[] = {
	{ "send_fds", send_descriptors, TO_SEND },
	{ "send_msg", send_message, TO_SEND },
	{ "send_creds", send_identity, TO_SEND },
	{ "recv_fds", receive_descriptors, TO_RECEIVE },
	{ "recv_msg", receive_message, TO_RECEIVE },
	{ "recv_creds", receive_identity, TO_RECEIVE },
};

/* A call that is refused has sent nothing, and consumed nothing. */
static void give_flag(const int sock[2], const char *name, unsigned flag)
{
	for (size_t i = 0; i < LENGTH(calls); i++) {
		bool sends = calls[i].known == TO_SEND, known = !(flag & ~calls[i].known);

		check_about("%s, %s %#x", calls[i].name, name, flag);
		if (!sends)
			CHECK_IS(send(sock[HERE], "abc", 3, 0), 3);
		if (known) {
			CHECK_OK(calls[i].make(sock, flag), 3);
		} else {
			CHECK_ERR(calls[i].make(sock, flag), EINVAL);
			CHECK_ERR(calls[i].make(sock, flag | calls[i].known), EINVAL);
		}
		if (sends == known)
			CHECK_IS(recv(sock[THERE], got, 8, MSG_DONTWAIT), 3);
		check_nothing_there(sock[THERE]);
	}
}

static void give_flags(int type, int sock[2])
{
	(void)type;
	open_files(&one_file, 1);
	set_option(sock[THERE], SO_PASSCRED, 1);
	for (size_t i = 0; i < LENGTH(of_messages); i++)
		give_flag(sock, of_messages[i].name, of_messages[i].value);
	for (int bit = 0; bit < 32; bit++)
		give_flag(sock, "bit", 1u << bit);
	/* Those that have a meaning here alone stand in the way of no other. */
	for (size_t i = 0; i < LENGTH(of_messages); i++)
		CHECK_IS(of_messages[i].value & (ANCILLARY_INTR | ANCILLARY_LOSSLESS), 0);
	close_files(&one_file, 1);
}

static void flags_of_system_calls_mean_the_same_or_nothing(void)
{
	with_each_type(give_flags);
}

/* --- sockets --- */

static void a_socket_is_needed(void)
{
	int file, s;

	open_files(&file, 1);
	s = file;
	CHECK_ERR(ancillary_send_fds(s, &file, 1, "abc", 3, 0), ENOTSOCK);
	CHECK_ERR(ancillary_send_fds(s, NULL, 0, "abc", 3, 0), ENOTSOCK);
	CHECK_ERR(ancillary_recv_fds(s, received, room_for(2), got, 8, 0), ENOTSOCK);
	CHECK(nfds == 0 && all_none(received, 2));
	CHECK_ERR(ancillary_recv_fds(s, received, room_for(2), got, 8, ANCILLARY_WAITALL),
		  ENOTSOCK);
	CHECK(nfds == 0 && all_none(received, 2));
	close_files(&file, 1);
	CHECK_ERR(ancillary_send_fds(s, NULL, 0, "abc", 3, 0), EBADF);
	CHECK_ERR(ancillary_recv_fds(s, received, room_for(2), got, 8, 0), EBADF);
	CHECK(nfds == 0 && all_none(received, 2));
	CHECK_ERR(ancillary_recv_fds(-1, received, room_for(2), NULL, 0, 0), EBADF);
	CHECK(nfds == 0 && all_none(received, 2));
}

/* More than one message takes another way, which asks for the type. */
static void a_socket_is_needed_for_many(void)
{
	int files[300];

	open_files(files, 300);
	CHECK_ERR(ancillary_send_fds(files[0], files, 300, "abc", 3, 0), ENOTSOCK);
	CHECK_ERR(ancillary_send_fds(-1, files, 300, "abc", 3, 0), EBADF);
	close_files(files, 300);
}

/* A payload that cannot be stops a send before its first message. */
static void a_huge_payload_sends_no_part(void)
{
	int sock[2], files[300];

	open_pair(SOCK_STREAM, sock);
	open_files(files, 300);
	for (size_t i = 0; i < LENGTH(huge_lens); i++)
		CHECK_ERR(ancillary_send_fds(sock[HERE], files, 300, "abc", huge_lens[i], 0),
			  EINVAL);
	check_nothing_there(sock[THERE]);
	close_files(files, 300);
	close_pair(sock);
}

/* --- memory that is not there --- */

static void receive_into_nowhere(int type, int sock[2])
{
	int files[2];
	size_t before;

	(void)type;
	open_files(files, 2);
	before = open_descriptors();
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 2, "abc", 3, 0), 3);
	CHECK_ERR(ancillary_recv_fds(sock[THERE], received, room_for(2), (void *)8, 8, 0), EFAULT);
	CHECK(nfds == 0 && all_none(received, 2));
	CHECK_IS(open_descriptors(), before);
	CHECK_ERR(ancillary_send_fds(sock[HERE], files, 2, (void *)8, 8, 0), EFAULT);
	close_files(files, 2);
}

static void a_payload_that_is_not_there_leaks_nothing(void)
{
	with_each_type(receive_into_nowhere);
}

static void receive_pidfd_into_nowhere(int type, int sock[2])
{
	int file, received[1];
	size_t open, nfds;

	(void)type;
	set_option(sock[THERE], OPTION_PASSPIDFD, 1);
	open_files(&file, 1);
	for (int creds = 0; creds < 2; creds++) {
		set_option(sock[THERE], SO_PASSCRED, creds);
		for (int count = 0; count < 2; count++) {
			for (unsigned flags = 0; flags <= ANCILLARY_LOSSLESS;
			     flags += ANCILLARY_LOSSLESS) {
				check_about("type %d, credentials %d, %d descriptors, flags %u", type,
					    creds, count, flags);
				CHECK_OK(ancillary_send_fds(sock[HERE], &file, (size_t)count, "abc", 3, 0),
					 3);
				open = open_descriptors();
				nfds = 1;
				CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, (void *)1, 3,
							     flags),
					  EFAULT);
				CHECK_IS(open_descriptors(), open);
				drain(sock[THERE]);
			}
		}
	}
	close_files(&file, 1);
}

static void nor_does_a_pidfd_with_it(void)
{
	with_each_type(receive_pidfd_into_nowhere);
}

CHECK_MAIN(CASE(a_send_refuses_them), CASE(a_receive_refuses_them),
	   CASE(flags_of_system_calls_mean_the_same_or_nothing), CASE(a_socket_is_needed),
	   CASE(a_socket_is_needed_for_many), CASE(a_huge_payload_sends_no_part),
	   CASE(a_payload_that_is_not_there_leaks_nothing), CASE(nor_does_a_pidfd_with_it))
