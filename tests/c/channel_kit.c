#include "channel_kit.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- a channel and its memory --- */

const struct room usual = { 4096, 16, 4096, 16 };

static void *guarded(struct end *end, int part, size_t len)
{
	unsigned char *block;

	if (len == 0)
		return NULL;
	/* Aligned as malloc(3) aligns, and GUARD is a multiple of that. */
	block = malloc(len + (size_t)2 * GUARD);
	CHECK(block);
	memset(block, 0xa5, len + (size_t)2 * GUARD);
	end->parts[part].block = block;
	end->parts[part].len = len;
	return block + GUARD;
}

static void check_guards(const struct end *end)
{
	for (int part = 0; part < PARTS; part++) {
		const unsigned char *block = end->parts[part].block;
		size_t len = end->parts[part].len;

		for (size_t i = 0; block && i < GUARD; i++) {
			CHECK_IS(block[i], 0xa5);
			CHECK_IS(block[GUARD + len + i], 0xa5);
		}
	}
}

void open_end(struct end *end, int sock, unsigned format, unsigned flags, struct room room)
{
	memset(end, 0, sizeof *end);
	end->channel.size = sizeof end->channel;
	end->channel.sock = sock;
	end->channel.format = format;
	end->channel.flags = flags;
	end->channel.in_data = guarded(end, 0, room.in_size);
	end->channel.in_size = room.in_size;
	end->channel.in_fds = guarded(end, 1, room.in_nfds * sizeof(int));
	end->channel.in_nfds = room.in_nfds;
	end->channel.out_data = guarded(end, 2, room.out_size);
	end->channel.out_size = room.out_size;
	end->channel.out_fds = guarded(end, 3, room.out_nfds * sizeof(int));
	end->channel.out_nfds = room.out_nfds;
}

void close_end_of(struct end *end)
{
	ancillary_channel_drop(&end->channel);
	check_guards(end);
	for (int part = 0; part < PARTS; part++)
		free(end->parts[part].block);
}

void enlarge(struct end *end, size_t in_size)
{
	unsigned char *old = end->parts[0].block;
	size_t len = end->channel.in_size;
	void *larger;

	check_guards(end);
	larger = guarded(end, 0, in_size);
	memcpy(larger, old + GUARD, len);
	memset(old, 0x5a, len + (size_t)2 * GUARD);
	free(old);
	end->channel.in_data = larger;
	end->channel.in_size = in_size;
}

void open_both(struct both *both, unsigned format, unsigned flags)
{
	open_pair(SOCK_STREAM, both->sock);
	for (int end = HERE; end <= THERE; end++)
		open_end(&both->ends[end], both->sock[end], format, flags, usual);
}

void close_both(struct both *both)
{
	for (int end = HERE; end <= THERE; end++)
		close_end_of(&both->ends[end]);
	close_pair(both->sock);
}

struct both both;

struct end *here(void)
{
	return &both.ends[HERE];
}

struct end *there(void)
{
	return &both.ends[THERE];
}

int events_of(const struct end *end)
{
	return ancillary_channel_events(&end->channel);
}

/* --- calls --- */

struct ancillary_frame message(uint32_t type, uint32_t id, const void *data, size_t len, int *fds,
			       size_t nfds)
{
	struct ancillary_frame frame;

	memset(&frame, 0, sizeof frame);
	frame.type = type;
	frame.id = id;
	frame.data = data;
	frame.len = len;
	frame.fds = fds;
	frame.nfds = nfds;
	return frame;
}

struct ancillary_frame unset(void)
{
	struct ancillary_frame frame;

	memset(&frame, 'x', sizeof frame);
	return frame;
}

struct ancillary_frame next(struct end *end)
{
	struct ancillary_frame frame = unset();

	CHECK_OK(ancillary_channel_recv(&end->channel, &frame, ANCILLARY_DONTWAIT), 1);
	for (size_t i = 0; i < LENGTH(frame.reserved); i++)
		CHECK_IS(frame.reserved[i], 0);
	return frame;
}

void expect(struct end *end, uint32_t type, uint32_t id, const void *data, size_t len,
	    const int *files, size_t nfds)
{
	const struct ancillary_channel *channel = &end->channel;
	struct ancillary_frame frame = next(end);

	CHECK_IS(frame.type, type);
	CHECK_IS(frame.id, id);
	CHECK_IS(frame.len, len);
	if (len > 0) {
		const char *start = frame.data, *whole = channel->in_data;

		CHECK(start >= whole && start + len <= whole + channel->in_size);
		CHECK(memcmp(start, data, len) == 0);
		if (channel->format == ANCILLARY_FORMAT_PLAIN)
			CHECK_IS((uintptr_t)start % 8, (uintptr_t)whole % 8);
	}
	CHECK_IS(frame.nfds, nfds);
	if (nfds > 0) {
		CHECK(frame.fds >= channel->in_fds &&
		      frame.fds + nfds <= channel->in_fds + channel->in_nfds);
		check_arrived(frame.fds, files, nfds);
	}
}

void expect_none(struct end *end, int result)
{
	static const struct ancillary_frame none;

	for (int times = 0; times < 2; times++) {
		struct ancillary_frame frame = unset();

		if (result < 0)
			CHECK_ERR(ancillary_channel_recv(&end->channel, &frame, ANCILLARY_DONTWAIT),
				  -result);
		else
			CHECK_OK(ancillary_channel_recv(&end->channel, &frame, ANCILLARY_DONTWAIT),
				 result);
		CHECK(frame.type == none.type && frame.id == none.id && frame.pid == none.pid);
		CHECK(frame.data == NULL && frame.len == 0 && frame.fds == NULL && frame.nfds == 0);
		CHECK(memcmp(frame.reserved, none.reserved, sizeof none.reserved) == 0);
	}
}

void expect_error(struct end *end, int number)
{
	expect_none(end, -number);
	CHECK_IS(ancillary_channel_events(&end->channel) & POLLIN, 0);
}

void put(struct end *end, struct ancillary_frame frame, unsigned flags)
{
	CHECK_OK(ancillary_channel_send(&end->channel, &frame, flags | ANCILLARY_DONTWAIT), 0);
}

void push(struct end *end)
{
	CHECK_OK(ancillary_channel_flush(&end->channel, ANCILLARY_DONTWAIT), 0);
}

void push_some(struct end *end)
{
	int result = ancillary_channel_flush(&end->channel, ANCILLARY_DONTWAIT);

	CHECK(result == 0 || result == -EAGAIN);
}

int duplicate(int file)
{
	int fd = fcntl(file, F_DUPFD_CLOEXEC, 0);

	CHECK(fd >= 0);
	return fd;
}

void duplicate_all(int *fds, const int *files, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fds[i] = duplicate(files[i]);
}

/* --- bytes --- */

void plain_header(unsigned char *bytes, uint32_t len, uint16_t nfds, uint16_t zero, uint32_t type,
		  uint32_t id)
{
	memcpy(bytes, &len, 4);
	memcpy(bytes + 4, &nfds, 2);
	memcpy(bytes + 6, &zero, 2);
	memcpy(bytes + 8, &type, 4);
	memcpy(bytes + 12, &id, 4);
}

size_t plain(unsigned char *bytes, uint32_t type, uint32_t id, const void *data, size_t len,
	     size_t nfds)
{
	size_t end = 16 + len;

	plain_header(bytes, (uint32_t)end, (uint16_t)nfds, 0, type, id);
	if (len > 0)
		memcpy(bytes + 16, data, len);
	while (end % 8 != 0)
		bytes[end++] = 0;
	return end;
}

void send_bytes(int sock, const void *bytes, size_t len)
{
	CHECK_IS(send_by_hand(sock, bytes, len, NULL, 0), (ssize_t)len);
}

void send_plain(int sock, uint32_t type, uint32_t id, const void *data, size_t len,
		const int *files, size_t nfds)
{
	unsigned char *bytes = malloc(16 + len + 8);
	size_t whole;

	CHECK(bytes);
	whole = plain(bytes, type, id, data, len, nfds);
	CHECK_IS(send_by_hand(sock, bytes, whole, files, nfds), (ssize_t)whole);
	free(bytes);
}

void receive_exactly(int sock, const void *bytes, size_t len, const int *files, size_t nfds)
{
	unsigned char *got = malloc(len + 1);
	int *received = malloc((nfds + MOST) * sizeof(int));
	size_t have = 0, count = 0;

	CHECK(got && received);
	while (have < len) {
		size_t more;
		ssize_t n = receive_by_hand(sock, got + have, len - have, received + count, &more);

		CHECK(n > 0);
		have += (size_t)n;
		count += more;
		CHECK(count <= nfds);
	}
	CHECK(memcmp(got, bytes, len) == 0);
	CHECK_IS(count, nfds);
	take_arrived(received, nfds, files, nfds);
	free(received);
	free(got);
}

bool little_endian(void)
{
	const uint16_t one = 1;
	unsigned char first;

	memcpy(&first, &one, 1);
	return first == 1;
}

void shorten(struct msghdr *message, struct iovec *iov, size_t parts, size_t most)
{
	size_t count = 0;

	for (size_t i = 0; most > 0 && i < (size_t)message->msg_iovlen; i++) {
		CHECK(count < parts);
		iov[count] = message->msg_iov[i];
		if (iov[count].iov_len > most)
			iov[count].iov_len = most;
		most -= iov[count++].iov_len;
	}
	message->msg_iov = iov;
	message->msg_iovlen = count;
}
