/* What goes over the socket, against messages put together and taken apart by
 * hand, as programs without the library do. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* --- sent by the library --- */

static void send_one(int type, int sock[2])
{
	int file, received[MOST];
	size_t nfds;
	char got[8] = "########";

	(void)type;
	open_files(&file, 1);
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	CHECK_IS(receive_by_hand(sock[THERE], got, sizeof got, received, &nfds), 1);
	CHECK(got[0] == 0 && got[1] == '#');
	CHECK_IS(nfds, 1);
	take_arrived(received, 1, &file, 1);
	check_nothing_there(sock[THERE]);
	close_files(&file, 1);
}

static void one_descriptor_comes_with_a_zero_byte(void)
{
	with_each_type(send_one);
}

static void send_several(int type, int sock[2])
{
	int files[MOST], received[MOST];
	size_t nfds;
	char got[8];

	(void)type;
	open_files(files, MOST);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, MOST, "abc", 3, 0), 3);
	CHECK_IS(receive_by_hand(sock[THERE], got, sizeof got, received, &nfds), 3);
	CHECK(memcmp(got, "abc", 3) == 0);
	CHECK_IS(nfds, MOST);
	take_arrived(received, MOST, files, MOST);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, 7, NULL, 0, 0), 1);
	CHECK_IS(receive_by_hand(sock[THERE], got, sizeof got, received, &nfds), 1);
	CHECK_IS(got[0], 0);
	CHECK_IS(nfds, 7);
	take_arrived(received, 7, files, 7);
	CHECK_OK(ancillary_send_fds(sock[HERE], NULL, 0, "abc", 3, 0), 3);
	CHECK_IS(receive_by_hand(sock[THERE], got, sizeof got, received, &nfds), 3);
	CHECK_IS(nfds, 0);
	check_nothing_there(sock[THERE]);
	close_files(files, MOST);
}

static void several_come_in_one_control_message(void)
{
	with_each_type(send_several);
}

/* Without a payload, each message is a zero byte. */
static void many_come_in_several_messages(void)
{
	enum { MANY = 600 };
	int sock[2], files[MANY], received[MOST];
	size_t nfds;
	char got[8] = "########";

	open_pair(SOCK_STREAM, sock);
	open_files(files, MANY);
	CHECK_OK(ancillary_send_fds(sock[HERE], files, MANY, NULL, 0, 0), 3);
	for (size_t i = 0; i < 3; i++) {
		CHECK_IS(receive_by_hand(sock[THERE], got, sizeof got, received, &nfds), 1);
		CHECK(got[0] == 0 && got[1] == '#');
		CHECK_IS(nfds, i < 2 ? MOST : MANY - 2 * MOST);
		take_arrived(received, nfds, files + i * MOST, nfds);
	}
	check_nothing_there(sock[THERE]);
	close_files(files, MANY);
	close_pair(sock);
}

/* --- sent by hand --- */

static void receive_any_marker(int type, int sock[2])
{
	int file, received;

	(void)type;
	open_files(&file, 1);
	for (int byte = 0; byte < 256; byte += 51) {
		unsigned char marker = (unsigned char)byte;

		CHECK_IS(send_by_hand(sock[HERE], &marker, 1, &file, 1), 1);
		received = ancillary_recv_fd(sock[THERE]);
		take_arrived(&received, 1, &file, 1);
	}
	close_files(&file, 1);
}

static void the_marker_may_have_any_value(void)
{
	with_each_type(receive_any_marker);
}

/* Several control messages in one message, in an order given by letters: r, R
 * descriptors (2, 3), c credentials. */
static ssize_t send_in_order(int sock, const char *order, const int *files)
{
	union {
		struct cmsghdr header;
		char room[200];
	} control;
	struct iovec iov = { (char[]){ "abc" }, 3 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control };
	struct ucred own = { getpid(), getuid(), getgid() };
	char *end = control.room;

	memset(&control, 0, sizeof control);
	for (; *order; order++) {
		size_t size = *order == 'c' ? sizeof own : (*order == 'r' ? 2 : 3) * sizeof(int);
		struct cmsghdr *header = (struct cmsghdr *)(void *)end;

		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = *order == 'c' ? SCM_CREDENTIALS : SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(size);
		memcpy(CMSG_DATA(header), *order == 'c' ? (const void *)&own : files, size);
		if (*order != 'c')
			files += size / sizeof(int);
		end += CMSG_SPACE(size);
	}
	message.msg_controllen = (size_t)(end - control.room);
	return sendmsg(sock, &message, 0);
}

static void receive_any_order(int type, int sock[2])
{
	static const struct {
		const char *order;
		size_t count;
	} cases[] = {
		{ "r", 2 },	{ "rr", 4 },   { "rR", 5 },  { "Rr", 5 },   { "RRR", 9 },
		{ "cr", 2 },	{ "rc", 2 },   { "rcR", 5 }, { "crrcr", 6 }, { "c", 0 },
	};
	int files[9], received[10];

	open_files(files, 9);
	for (int passcred = 0; passcred <= 1; passcred++) {
		set_option(sock[THERE], SO_PASSCRED, passcred);
		for (size_t i = 0; i < LENGTH(cases); i++) {
			size_t nfds = 10;
			char got[8];

			check_about("type %d: %s", type, cases[i].order);
			CHECK_IS(send_in_order(sock[HERE], cases[i].order, files), 3);
			CHECK_OK(ancillary_recv_fds(sock[THERE], received, &nfds, got, 8, 0), 3);
			CHECK_IS(nfds, cases[i].count);
			take_arrived(received, 10, files, nfds);
			if (cases[i].count == 0)
				continue;
			nfds = cases[i].count - 1;
			CHECK_IS(send_in_order(sock[HERE], cases[i].order, files), 3);
			CHECK_ERR(ancillary_recv_fds(sock[THERE], received, &nfds, got, 8, 0),
				  E2BIG);
		}
	}
	close_files(files, 9);
}

static void control_messages_come_in_any_order(void)
{
	with_each_type(receive_any_order);
}

/* --- bytes in front, read by hand --- */

static void a_library_call_goes_on_where_read_stopped(void)
{
	int sock[2], file, received;
	char got[8];

	open_pair(SOCK_STREAM, sock);
	open_files(&file, 1);
	CHECK_IS(write(sock[HERE], "size", 4), 4);
	CHECK_OK(ancillary_send_fd(sock[HERE], file), 0);
	CHECK_IS(read(sock[THERE], got, 4), 4);
	received = ancillary_recv_fd(sock[THERE]);
	take_arrived(&received, 1, &file, 1);
	close_files(&file, 1);
	close_pair(sock);
}

CHECK_MAIN(CASE(one_descriptor_comes_with_a_zero_byte), CASE(several_come_in_one_control_message),
	   CASE(many_come_in_several_messages), CASE(the_marker_may_have_any_value),
	   CASE(control_messages_come_in_any_order),
	   CASE(a_library_call_goes_on_where_read_stopped))
