/* Records of one size, as the processes of a web server tell each other what to do: one
 * of the commands comes with a descriptor.  On the other side of the channel is what such
 * servers do, which is one system call for each record. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum command { OPEN = 1, CLOSE, QUIT };

struct record {
	uint32_t command;
	int32_t pid, slot, fd;
};

static int cut(const void *start, size_t have, struct ancillary_layout *layout, void *context)
{
	struct record record;

	(void)context;
	if (have < sizeof record)
		return 0;
	memcpy(&record, start, sizeof record);
	layout->len = sizeof record;
	layout->type = record.command;
	layout->nfds = record.command == OPEN;
	return record.command >= OPEN && record.command <= QUIT ? 1 : -EBADMSG;
}

enum { RECORDS = 300, ROOM = 10 };

struct end {
	struct ancillary_channel channel;
	struct record in[ROOM], out[ROOM];
	/* One of a record, and one that comes beside it. */
	int in_fds[2], out_fds[ROOM];
};

static void begin(struct end *end, int sock)
{
	end->channel = (struct ancillary_channel){
		.size = sizeof end->channel,
		.sock = sock,
		.flags = ANCILLARY_DONTWAIT,
		.format = ANCILLARY_FORMAT_OWN,
		.cut = cut,
		.in_data = end->in,
		.in_size = sizeof end->in,
		.in_fds = end->in_fds,
		.in_nfds = LENGTH(end->in_fds),
		.out_data = end->out,
		.out_size = sizeof end->out,
		.out_fds = end->out_fds,
		.out_nfds = LENGTH(end->out_fds),
	};
}

/* Every third opens something. */
static struct record record_of(int slot)
{
	return (struct record){ slot % 3 == 0 ? OPEN : CLOSE, getpid(), slot, -1 };
}

static void check_record(const struct record *record, int slot)
{
	const struct record expected = record_of(slot);

	CHECK(memcmp(record, &expected, sizeof expected) == 0);
}

static void records_of_a_server_are_received(void)
{
	int sock[2], file;
	struct end end;
	struct ancillary_frame frame;

	open_pair(SOCK_STREAM, sock);
	open_files(&file, 1);
	begin(&end, sock[THERE]);
	for (int slot = 0, received = 0; received < RECORDS;) {
		/* Some at a time, so that they come together. */
		for (int some = slot % 7 + 1; some > 0 && slot < RECORDS; some--, slot++) {
			struct record record = record_of(slot);

			CHECK_IS(send_by_hand(sock[HERE], &record, sizeof record, &file,
					      record.command == OPEN),
				 sizeof record);
		}
		while (ancillary_channel_recv(&end.channel, &frame, 0) == 1) {
			check_about("record %d", received);
			check_record(frame.data, received);
			CHECK_IS(frame.type, record_of(received).command);
			CHECK_IS(frame.nfds, received % 3 == 0);
			if (frame.nfds > 0)
				check_arrived(frame.fds, &file, 1);
			received++;
		}
		CHECK_IS(errno, EAGAIN);
	}
	ancillary_channel_drop(&end.channel);
	close_files(&file, 1);
	close_pair(sock);
}

static void a_server_receives_records(void)
{
	int sock[2], files[RECORDS / 3];
	struct end end;
	int sent = 0;

	open_pair(SOCK_STREAM, sock);
	open_files(files, LENGTH(files));
	begin(&end, sock[HERE]);
	for (int received = 0; received < RECORDS; received++) {
		struct record record;
		int fds[2];
		size_t nfds = LENGTH(fds);

		/* As many as can wait. */
		while (sent < RECORDS && sent - received < ROOM / 2) {
			struct record next = record_of(sent);
			int fd = next.command == OPEN ? dup(files[sent / 3]) : -1;
			struct ancillary_frame frame = {
				.data = &next, .len = sizeof next, .fds = &fd, .nfds = fd >= 0
			};

			CHECK_OK(ancillary_channel_send(&end.channel, &frame,
							ANCILLARY_MORE | ANCILLARY_TAKE),
				 0);
			CHECK_IS(fd, -1);
			sent++;
		}
		CHECK_OK(ancillary_channel_flush(&end.channel, 0), 0);
		check_about("record %d", received);
		CHECK_IS(receive_by_hand(sock[THERE], &record, sizeof record, fds, &nfds),
			 sizeof record);
		check_record(&record, received);
		CHECK_IS(nfds, received % 3 == 0);
		if (nfds > 0)
			CHECK(same_file(fds[0], files[received / 3]));
		close_files(fds, nfds);
	}
	ancillary_channel_drop(&end.channel);
	close_files(files, LENGTH(files));
	close_pair(sock);
}

static void what_is_no_record_ends_it(void)
{
	int sock[2], file;
	struct end end;
	struct record record = record_of(1);
	struct ancillary_frame frame;

	open_pair(SOCK_STREAM, sock);
	open_files(&file, 1);
	begin(&end, sock[THERE]);
	CHECK_IS(send_by_hand(sock[HERE], &record, sizeof record, NULL, 0), sizeof record);
	record.command = 77;
	CHECK_IS(send_by_hand(sock[HERE], &record, sizeof record, &file, 1), sizeof record);
	CHECK_OK(ancillary_channel_recv(&end.channel, &frame, 0), 1);
	for (int times = 0; times < 2; times++)
		CHECK_ERR(ancillary_channel_recv(&end.channel, &frame, 0), EBADMSG);
	close_files(&file, 1);
	close_pair(sock);
}

CHECK_MAIN(CASE(records_of_a_server_are_received), CASE(a_server_receives_records),
	   CASE(what_is_no_record_ends_it))
