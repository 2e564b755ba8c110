#define _GNU_SOURCE

#include "channel_script.h"

#include "calls.h"
#include "reader.h"
#include "stream_end.h"

#include <ancillary.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEADER = 16, MOST_PAYLOAD = 65600, MOST_FDS = 700 };

static struct ancillary_channel *channel;

/* --- formats: a second reading of them --- */

struct message {
	/* 0: the bytes are too few to tell; or a negative error number. */
	int told;
	/* All of it; what the caller sees; and what stands behind. */
	size_t len, header, padding;
	size_t nfds;
	uint32_t type, id, pid;
};

static const struct message untold;

static struct message bad(int error)
{
	struct message message = untold;

	message.told = -error;
	return message;
}

static uint32_t word_at(const unsigned char *data)
{
	uint32_t word;

	memcpy(&word, data, sizeof word);
	return word;
}

static struct message read_plain(const unsigned char *data, size_t have)
{
	struct message message = { .told = 1, .header = HEADER };
	uint16_t halves[2];

	if (have < HEADER)
		return untold;
	message.len = word_at(data);
	memcpy(halves, data + 4, sizeof halves);
	message.nfds = halves[0];
	message.type = word_at(data + 8);
	message.id = word_at(data + 12);
	message.padding = (8 - message.len % 8) % 8;
	return message.len < HEADER || halves[1] != 0 ? bad(EBADMSG) : message;
}

static struct message read_imsg(const unsigned char *data, size_t have)
{
	struct message message = { .told = 1, .header = HEADER };
	uint32_t second;

	if (have < HEADER)
		return untold;
	message.type = word_at(data);
	message.id = word_at(data + 8);
	message.pid = word_at(data + 12);
	second = word_at(data + 4);
	/* The new layout, and, with a length in one half of the word, the old one. */
	if ((second & 0x7fff0000) == 0) {
		message.len = second & 0xffff;
		message.nfds = second >> 31;
	} else {
		uint16_t halves[2];

		memcpy(halves, data + 4, sizeof halves);
		message.len = halves[0];
		message.nfds = halves[1];
		if (message.nfds > 1)
			return bad(EBADMSG);
	}
	return message.len < HEADER ? bad(EMSGSIZE) : message;
}

static struct message read_own(const unsigned char *data, size_t have)
{
	struct message message = { .told = 1, .type = data[0] };

	switch (data[0]) {
	case NEVER_TOLD:
		return untold;
	case SAYS_BADMSG:
		return bad(EBADMSG);
	case SAYS_PROTO:
	case SAYS_SEVEN:
	case SAYS_EMPTY:
	case SAYS_RESERVED:
		return bad(EPROTO);
	case SAYS_MSGSIZE:
		return bad(EMSGSIZE);
	case SAYS_ENDLESS:
		message.len = SIZE_MAX;
		return message;
	case SAYS_MANY_FDS:
		message.len = 1;
		message.nfds = SIZE_MAX;
		return message;
	case ALONE:
		message.len = 1;
		return message;
	}
	if (have < 2)
		return untold;
	message.nfds = data[1];
	message.len = 2 + (size_t)data[0];
	if (data[0] != THREE_BYTES)
		return message;
	if (have < 5)
		return untold;
	message.len = 5 + (data[2] | (size_t)data[3] << 8 | (size_t)data[4] << 16);
	return message;
}

static struct message read_message(const unsigned char *data, size_t have)
{
	if (have == 0)
		return untold;
	switch (channel->format) {
	case ANCILLARY_FORMAT_PLAIN:
		return read_plain(data, have);
	case ANCILLARY_FORMAT_OWN:
		return read_own(data, have);
	default:
		return read_imsg(data, have);
	}
}

/* Writes what stands in front of a payload, and returns how much that is.  The format of
 * one's own has it in the payload. */
static size_t write_header(unsigned char *header, const struct ancillary_frame *frame)
{
	size_t len = frame->len, nfds = frame->nfds;
	uint32_t pid = frame->pid ? frame->pid : (uint32_t)getpid();
	uint32_t words[4] = { frame->type, 0, frame->id, pid };
	uint16_t halves[2] = { (uint16_t)(len + HEADER), (uint16_t)nfds };

	switch (channel->format) {
	case ANCILLARY_FORMAT_PLAIN:
		words[0] = (uint32_t)len + HEADER;
		halves[0] = (uint16_t)nfds;
		halves[1] = 0;
		memcpy(words + 1, halves, sizeof halves);
		words[2] = frame->type;
		words[3] = frame->id;
		break;
	case ANCILLARY_FORMAT_IMSG:
		words[1] = (uint32_t)(len + HEADER) | (uint32_t)(nfds != 0) << 31;
		break;
	case ANCILLARY_FORMAT_IMSG_OLD:
		memcpy(words + 1, halves, sizeof halves);
		break;
	default:
		return 0;
	}
	memcpy(header, words, sizeof words);
	return sizeof words;
}

static size_t padding_behind(size_t len)
{
	return channel->format == ANCILLARY_FORMAT_PLAIN ? (8 - len % 8) % 8 : 0;
}

/* --- what the program has sent --- */

enum { MOST_GOING = 1 << 20, MOST_MESSAGES = 4096, MOST_GOING_FDS = 1 << 14 };

static struct {
	unsigned char bytes[MOST_GOING];
	size_t len, sent;
	int files[MOST_GOING_FDS];
	size_t nfds, fds_sent;
	/* Those with descriptors. */
	struct going {
		size_t start, end, first_fd, fds_end;
		bool alone;
	} messages[MOST_MESSAGES];
	size_t count, next;
	/* What has ended sending. */
	int over;
} going;

static void check_sent(const unsigned char *data, size_t len, const int *files, size_t nfds)
{
	const struct going *message = &going.messages[going.next];

	if (len > going.len - going.sent || memcmp(data, going.bytes + going.sent, len) != 0)
		wrong("%zu bytes are sent that are others, or behind the end", len);
	if (nfds > going.nfds - going.fds_sent ||
	    memcmp(files, going.files + going.fds_sent, nfds * sizeof *files) != 0)
		wrong("%zu descriptors are sent that are others, or too many", nfds);
	if (nfds > 0) {
		/* Byte i of a message carries those from MAX_FDS * i on. */
		size_t carrier = message->start +
				 (going.fds_sent - message->first_fd) / ANCILLARY_MAX_FDS;
		bool others = going.fds_sent + nfds > message->fds_end;

		if (message->alone ? others || carrier != going.sent : carrier < going.sent)
			wrong("%zu descriptors are sent with other bytes", nfds);
	}
	going.sent += len;
	going.fds_sent += nfds;
	while (going.next < going.count && going.messages[going.next].fds_end <= going.fds_sent)
		going.next++;
	if (going.next < going.count && going.messages[going.next].end <= going.sent)
		wrong("a message is sent without its descriptors");
}

/* Notes a message that is about to be sent. */
static void note(const struct ancillary_frame *frame)
{
	unsigned char *place = going.bytes + going.len;
	size_t header = write_header(place, frame);
	size_t len = header + frame->len, padding = padding_behind(len);

	if (frame->len > 0)
		memcpy(place + header, frame->data, frame->len);
	memset(place + len, 0, padding);
	for (size_t i = 0; i < frame->nfds; i++)
		going.files[going.nfds + i] = file_of(frame->fds[i]);
	if (frame->nfds > 0)
		going.messages[going.count++] = (struct going){
			.start = going.len,
			.end = going.len + len,
			.first_fd = going.nfds,
			.fds_end = going.nfds + frame->nfds,
			.alone = channel->format != ANCILLARY_FORMAT_PLAIN ||
				 frame->nfds > ANCILLARY_MAX_FDS,
		};
	going.len += len + padding;
	going.nfds += frame->nfds;
}

static bool can_be_noted(size_t len, size_t nfds)
{
	return going.count < MOST_MESSAGES && nfds <= MOST_GOING_FDS - going.nfds &&
	       len + HEADER + 8 <= MOST_GOING - going.len;
}

/* Whether the format has such messages. */
static bool is_possible(const struct ancillary_frame *frame)
{
	switch (channel->format) {
	case ANCILLARY_FORMAT_PLAIN:
		return true;
	case ANCILLARY_FORMAT_OWN:
		return frame->len > 0 && frame->nfds <= frame->len * ANCILLARY_MAX_FDS;
	default:
		return frame->nfds <= 1 && frame->len <= 65535 - HEADER;
	}
}

/* What can be tried again, or is the caller's mistake. */
static bool ends_sending(int error)
{
	switch (error) {
	case -EAGAIN:
	case -EINTR:
	case -EMSGSIZE:
	case -E2BIG:
	case -EBADF:
	case -EINVAL:
	case -EFAULT:
	case -ETOOMANYREFS:
	case -ENOMEM:
	case -ENOBUFS:
	case -EPERM:
		return false;
	default:
		return error < 0;
	}
}

static bool is_mistake(int error)
{
	return error == -EMSGSIZE || error == -E2BIG || error == -EINVAL;
}

/* Of a call that sends, which has made as many system calls as it may. */
static void check_sending(int value, unsigned flags, size_t calls)
{
	/* A send for each waiting message with descriptors and for what is between, what is
	 * asked of the socket, and what is closed. */
	size_t bound = 40 + 4 * (going.count + going.nfds) + 64;

	if (end.calls - calls > bound)
		wrong("%zu system calls are made", end.calls - calls);
	if (value > 0 || (value == -EINTR && !(flags & ANCILLARY_INTR)))
		wrong("sending is %d", value);
	if (going.over && value != going.over && !is_mistake(value))
		wrong("sending is %d after %d", value, going.over);
	if (ends_sending(value))
		going.over = value;
	if (going.over && ancillary_channel_events(channel) & POLLOUT)
		wrong("events wait for what has ended");
}

/* --- what the program has received --- */

static struct {
	/* Where the next message begins. */
	size_t at, fds_at;
	/* More descriptors waited at a time than there is room for. */
	bool too_many;
	/* Without ANCILLARY_LOSSLESS, at least once: what was lost then can be told later. */
	bool lossy;
	/* What has ended receiving: 0 too. */
	bool ended;
	int value;
	/* The last message, if it can still be read. */
	bool readable;
	struct ancillary_frame frame;
	/* How often the caller's function was asked, in this call. */
	size_t asked;
} coming;

/* The context, which is passed on. */
static int context;

static int cut(const void *start, size_t have, struct ancillary_layout *layout, void *given)
{
	static const struct ancillary_layout empty;
	struct message message;
	const unsigned char *data = start;

	coming.asked++;
	if (given != &context || have == 0 || memcmp(layout, &empty, sizeof empty) != 0)
		wrong("cut is asked for %zu bytes, or something else", have);
	if (have > end.received - coming.at ||
	    memcmp(data, end.arriving + coming.at, have) != 0)
		wrong("cut is shown other bytes than have come");
	message = read_own(data, have);
	layout->len = message.len;
	layout->nfds = message.nfds;
	layout->type = message.type;
	layout->id = message.id;
	layout->reserved[3] = data[0] == SAYS_RESERVED;
	if (data[0] == SAYS_SEVEN)
		return 7;
	return data[0] == SAYS_EMPTY || data[0] == SAYS_RESERVED ? 1 : message.told;
}

/* What has come of the next message. */
static struct message next_message(void)
{
	size_t have = end.received > coming.at ? end.received - coming.at : 0;

	return read_message(end.arriving + coming.at, have);
}

static bool lies_in(const void *part, size_t len, const void *whole, size_t size)
{
	uintptr_t start = (uintptr_t)part, first = (uintptr_t)whole;

	return len == 0 || (start >= first && len <= size && start - first <= size - len);
}

static void check_message(const struct ancillary_frame *frame)
{
	struct message message = next_message();
	size_t len = message.len - message.header;

	if (message.told != 1 || message.len > end.received - coming.at)
		wrong("a message comes that has not");
	if (frame->len != len || frame->type != message.type || frame->id != message.id ||
	    frame->pid != message.pid ||
	    memcmp(frame->data, end.arriving + coming.at + message.header, len) != 0)
		wrong("another message comes than was sent");
	if (frame->nfds != message.nfds)
		wrong("%zu descriptors come instead of %zu", frame->nfds, message.nfds);
	for (size_t i = 0; i < frame->nfds; i++)
		if (file_of(frame->fds[i]) != (int)(coming.fds_at + i))
			wrong("descriptor %zu is another", i);
	if (!lies_in(frame->data, len, channel->in_data, channel->in_size) ||
	    !lies_in(frame->fds, frame->nfds * sizeof(int), channel->in_fds,
		     channel->in_nfds * sizeof(int)))
		wrong("a message lies somewhere else");
	if (channel->format == ANCILLARY_FORMAT_PLAIN && (uintptr_t)frame->data % 8 != 0)
		wrong("a payload is not aligned");
	coming.at += message.len + message.padding;
	coming.fds_at += message.nfds;
}

/* Whether an error that ends receiving has a reason. */
static bool has_reason(int value)
{
	struct message message = next_message();
	size_t have = end.received > coming.at ? end.received - coming.at : 0;
	bool whole = message.told == 1 && message.len <= have;

	if (value == message.told)
		return true;
	if (value != -EPROTO)
		return message.told >= 0 ? value != -EBADMSG && value != -EMSGSIZE
					 : value == -EMFILE || value == -ECONNRESET;
	return coming.too_many || (message.told == 1 && message.nfds > channel->in_nfds) ||
	       (whole && message.nfds > end.fds_received - coming.fds_at) ||
	       (end.peer_has_closed && end.pieces == 0 &&
		(have > 0 || end.fds_received > coming.fds_at));
}

static bool may_go_on(int value, const struct ancillary_frame *frame)
{
	switch (value) {
	case -EAGAIN:
	case -EINTR:
	case -EINVAL:
		return true;
	case -EMSGSIZE:
		return frame->len > 0;
	case -EMFILE:
		return !coming.lossy || ancillary_channel_events(channel) & POLLIN;
	default:
		return false;
	}
}

static void check_no_message(int value, const struct ancillary_frame *frame, unsigned flags)
{
	struct message message = next_message();
	size_t have = end.received > coming.at ? end.received - coming.at : 0;
	bool waits = !((flags | channel->flags) & ANCILLARY_DONTWAIT) && !end.nonblocking;
	bool whole = message.told == 1 && message.len <= have;

	if (frame->data || frame->nfds)
		wrong("there is a message, and %d", value);
	if (value == -EAGAIN && (waits || end.pieces > 0 || whole))
		wrong("it is to be tried again, but need not");
	if (value == -EINTR && !(flags & ANCILLARY_INTR))
		wrong("it is interrupted");
	if (value == -EINVAL && channel->in_size > 0)
		wrong("it cannot be received");
	if (value == -EMSGSIZE && frame->len > 0 &&
	    (frame->len <= channel->in_size ||
	     (message.told ? frame->len != message.len
			   : frame->len != channel->in_size + 1 || have < channel->in_size)))
		wrong("%zu bytes are too long", frame->len);
	if (value == 0 && (!end.peer_has_closed || end.pieces > 0 || have > 0 ||
			   end.fds_received > coming.fds_at))
		wrong("it has not ended yet");
	if (channel->in_size > 0 && may_go_on(value, frame) &&
	    !(ancillary_channel_events(channel) & POLLIN) && !coming.ended)
		wrong("%d has ended receiving", value);
	if (channel->in_size > 0 && !may_go_on(value, frame) && !coming.ended) {
		if (value < 0 && !has_reason(value))
			wrong("%d ends receiving for no reason", value);
		coming.ended = true;
		coming.value = value;
	}
	if (coming.ended && (end.open_received > 0 || ancillary_channel_events(channel) & POLLIN))
		wrong("receiving has ended, and something is held or waited for");
}

/* --- steps --- */

static unsigned take_call_flags(void)
{
	unsigned bits = take();

	return (bits & CALL_DONTWAIT ? ANCILLARY_DONTWAIT : 0) |
	       (bits & CALL_INTR ? ANCILLARY_INTR : 0) | (bits & CALL_MORE ? ANCILLARY_MORE : 0) |
	       (bits & CALL_TAKE ? ANCILLARY_TAKE : 0);
}

static void receive_one(unsigned flags, unsigned taken)
{
	struct ancillary_frame *frame = &coming.frame;
	size_t calls = end.calls, pieces = end.pieces, held = end.open_received;
	int value;

	memset(frame, 'x', sizeof *frame);
	coming.asked = 0;
	coming.readable = false;
	coming.lossy |= !(channel->flags & ANCILLARY_LOSSLESS);
	coming.too_many |= end.fds_arrived - coming.fds_at > channel->in_nfds;
	errno = 0;
	value = ancillary_channel_recv(channel, frame, flags);
	if (value < 0 ? errno != -value : errno != 0)
		wrong("errno is %d, the value is %d", errno, value);
	/* Every system call that receives takes a piece, or a part of one with all the
	 * room; each descriptor is closed once. */
	if (end.calls - calls > 300 + 12 * (pieces + 1) + 2 * (held + channel->in_nfds))
		wrong("%zu system calls are made", end.calls - calls);
	if (coming.asked > pieces + 2)
		wrong("cut is asked %zu times", coming.asked);
	if (end.open_received > channel->in_nfds)
		wrong("%zu descriptors are held", end.open_received);
	if (coming.ended && value != coming.value)
		wrong("receiving is %d after %d", value, coming.value);
	if (value != 1) {
		check_no_message(value, frame, flags);
		return;
	}
	check_message(frame);
	coming.readable = true;
	for (size_t i = 0; i < frame->nfds; i++) {
		if (!(taken >> i % 8 & 1))
			continue;
		close_number(frame->fds[i], "taken");
		frame->fds[i] = -1;
	}
}

static void receive_some(void)
{
	unsigned flags = take_call_flags() & (ANCILLARY_DONTWAIT | ANCILLARY_INTR);
	unsigned times = take() % 16, taken = take();

	do
		receive_one(flags, taken);
	while (coming.readable && times-- > 0);
}

/* Sends a message, which may not be possible. */
static int send_noted(const struct ancillary_frame *frame, unsigned flags)
{
	bool possible = is_possible(frame);
	size_t len = going.len, nfds = going.nfds, count = going.count, calls = end.calls;
	int value;

	if (possible)
		note(frame);
	errno = 0;
	value = ancillary_channel_send(channel, frame, flags);
	if (value < 0 ? errno != -value : errno != 0)
		wrong("errno is %d, the value is %d", errno, value);
	if (value == 0 && !possible)
		wrong("a message is sent that cannot be");
	if (value < 0) {
		/* Nothing of it has gone. */
		if (going.sent > len || going.fds_sent > nfds)
			wrong("a message has gone in part, but was not taken");
		going.len = len;
		going.nfds = nfds;
		going.count = count;
		if (going.next > count)
			going.next = count;
	}
	check_sending(value, flags, calls);
	return value;
}

static void check_lent(const int *fds, const int *before, size_t nfds, int value, unsigned flags)
{
	for (size_t i = 0; i < nfds; i++) {
		bool taken = value == 0 && flags & ANCILLARY_TAKE;

		if (fds[i] != (taken ? -1 : before[i]))
			wrong("slot %zu is %d instead of %d", i, fds[i], before[i]);
	}
	if (value == 0 && nfds > 0 && !(flags & ANCILLARY_TAKE) && going.fds_sent < going.nfds &&
	    !going.over && !(ancillary_channel_events(channel) & POLLOUT))
		wrong("descriptors that are lent have not gone");
}

/* Bytes in which the place of each can be told, from a place on. */
static const unsigned char *payload_from(size_t place)
{
	enum { PERIOD = 251 };
	static unsigned char pattern[MOST_PAYLOAD + PERIOD];
	static bool made;

	for (size_t i = 0; !made && i < sizeof pattern; i++)
		pattern[i] = (unsigned char)(i % PERIOD);
	made = true;
	return pattern + place % PERIOD;
}

static void send_one(void)
{
	static uint32_t id;
	unsigned flags = take_call_flags();
	size_t len = take();
	unsigned how = take();
	size_t nfds = take(), opened = 0;
	int *fds, before[MOST_FDS];
	struct ancillary_frame frame = { .type = how, .id = ++id };
	int value;

	len *= how & LONG ? 257 : 1;
	nfds *= how & LONG && nfds < 256 ? 2 : 1;
	if (!can_be_noted(len, nfds))
		return;
	/* Of exactly that size, for what watches memory. */
	fds = malloc(nfds * sizeof *fds);
	if (!fds && nfds > 0)
		abort();
	while (opened < nfds && (fds[opened] = open_own()) >= 0)
		opened++;
	nfds = opened;
	if (nfds > 0 && how & NONE_AMONG) {
		close_number(fds[nfds / 2], "given up");
		fds[nfds / 2] = -1;
	} else if (nfds > 0 && how & CLOSED_AMONG && !(flags & ANCILLARY_TAKE)) {
		close_number(fds[nfds / 2], "given up");
	}
	memcpy(before, fds, nfds * sizeof *fds);
	frame.data = payload_from(id);
	frame.len = len;
	frame.fds = fds;
	frame.nfds = nfds;
	value = send_noted(&frame, flags);
	if (value == 0 && nfds > 0 && file_of(before[nfds / 2]) < 0 && !(flags & ANCILLARY_TAKE))
		wrong("a descriptor is sent that is not open");
	check_lent(fds, before, nfds, value, flags);
	for (size_t i = 0; i < nfds; i++)
		if (fds[i] >= 0 && file_of(fds[i]) >= 0)
			close_number(fds[i], "closed by its owner");
	free(fds);
}

static void send_on(void)
{
	unsigned flags = take_call_flags();
	struct ancillary_frame frame = coming.frame;
	int before[MOST_FDS], value;

	if (!coming.readable || !can_be_noted(frame.len, frame.nfds) || frame.nfds > MOST_FDS)
		return;
	if (frame.nfds > 0)
		memcpy(before, frame.fds, frame.nfds * sizeof *before);
	value = send_noted(&frame, flags);
	check_lent(frame.fds, before, frame.nfds, value, flags);
	for (size_t i = 0; value == 0 && flags & ANCILLARY_TAKE && i < frame.nfds; i++)
		make_own(before[i]);
}

static void flush(void)
{
	unsigned flags = take_call_flags() & (ANCILLARY_DONTWAIT | ANCILLARY_INTR);
	size_t calls = end.calls;
	int value = ancillary_channel_flush(channel, flags);

	check_sending(value, flags, calls);
	if (value == 0 && (going.sent < going.len || going.fds_sent < going.nfds))
		wrong("something still waits");
}

static void drop(void)
{
	ancillary_channel_drop(channel);
	if (end.open_received > 0 || end.open_own > 0)
		wrong("%zu descriptors are left open", end.open_received + end.open_own);
	for (size_t i = 0; i < sizeof channel->state / sizeof *channel->state; i++)
		if (channel->state[i])
			wrong("it is not as new");
	coming.at = end.received;
	coming.fds_at = end.fds_received;
	coming.ended = coming.readable = false;
	coming.too_many = coming.lossy = false;
	going.len = going.sent;
	going.nfds = going.fds_sent;
	going.count = going.next = 0;
	going.over = 0;
}

static void peer_sends_any(void)
{
	unsigned char data[256];
	unsigned len = take();
	size_t nfds = take();

	for (unsigned i = 0; i < len; i++)
		data[i] = (unsigned char)take();
	peer_sends(data, len, nfds);
}

static void peer_sends_message(void)
{
	static unsigned char data[HEADER + MOST_PAYLOAD];
	size_t len = take();
	unsigned how = take();
	size_t nfds = take(), piece = take(), header;
	struct ancillary_frame frame = { .type = how, .id = (uint32_t)piece, .nfds = nfds };

	len *= how & LONG ? 257 : 1;
	frame.len = len;
	if (how & ONE_MORE_SAID)
		frame.nfds++;
	if (how & ONE_LESS_SAID && frame.nfds > 0)
		frame.nfds--;
	header = write_header(data, &frame);
	if (header == 0) {
		data[0] = THREE_BYTES;
		data[1] = (unsigned char)frame.nfds;
		data[2] = (unsigned char)len;
		data[3] = (unsigned char)(len >> 8);
		data[4] = (unsigned char)(len >> 16);
		header = 5;
	}
	memcpy(data + header, payload_from(len), len);
	len += header;
	memset(data + len, 0, padding_behind(len));
	len += padding_behind(len);
	if (piece == 0)
		piece = len;
	for (size_t at = 0; at < len; at += piece)
		peer_sends(data + at, len - at < piece ? len - at : piece, at == 0 ? nfds : 0);
}

static void set_flags(unsigned bits)
{
	channel->flags = (bits & WITH_LOSSLESS ? ANCILLARY_LOSSLESS : 0) |
			 (bits & WITH_DONTWAIT ? ANCILLARY_DONTWAIT : 0);
	end.nonblocking = bits & NONBLOCKING;
}

static void *allocate(size_t size)
{
	void *memory = size ? malloc(size) : NULL;

	if (!memory && size)
		abort();
	return memory;
}

static void move(void)
{
	struct ancillary_channel *other = allocate(sizeof *other);
	size_t more = take() * (size_t)16;
	unsigned char *data = allocate(channel->in_size + more);

	if (channel->in_size > 0)
		memcpy(data, channel->in_data, channel->in_size);
	free(channel->in_data);
	*other = *channel;
	memset(channel, 'x', sizeof *channel);
	free(channel);
	channel = other;
	channel->in_data = data;
	channel->in_size += more;
	coming.readable = false;
}

static void take_step(void)
{
	static const int receive_errors[] = { ECONNRESET, ENOMEM, EFAULT },
			 send_errors[] = { EPIPE,  ECONNRESET, ETOOMANYREFS,
					   ENOMEM, ENOBUFS,    EPERM };
	unsigned room;

	switch (take() % CHANNEL_STEPS) {
	case PEER_SENDS:
		peer_sends_any();
		break;
	case PEER_SENDS_MESSAGE:
		peer_sends_message();
		break;
	case RECEIVE:
		receive_some();
		break;
	case SEND:
		send_one();
		break;
	case SEND_ON:
		send_on();
		break;
	case FLUSH:
		flush();
		break;
	case DROP:
		drop();
		break;
	case SET_FORMAT:
		channel->format = take() % (ANCILLARY_FORMAT_OWN + 1);
		break;
	case SET_FLAGS:
		set_flags(take());
		break;
	case RECEIVE_FAILS:
		end.receive_error = receive_errors[take() % 3];
		break;
	case SEND_FAILS:
		end.send_error = send_errors[take() % 6];
		break;
	case SET_LIMIT:
		end.limit = end.open_received + end.open_own + take();
		break;
	case SET_ROOM:
		room = take();
		end.room = room == 255 ? SIZE_MAX : room * (size_t)8;
		break;
	case INTERRUPT:
		end.interruptions = take() % 8;
		break;
	case PEER_CLOSES:
		end.peer_has_closed = true;
		break;
	case MOVE:
		move();
		break;
	}
}

static size_t take_size(size_t huge)
{
	size_t size = take();

	return size < HUGE_SIZES ? size : (size - HUGE_SIZES + 1) * huge;
}

static void begin(void)
{
	end_begin();
	memset(&coming, 0, sizeof coming);
	going.len = going.sent = going.nfds = going.fds_sent = going.count = going.next = 0;
	going.over = 0;
	channel = allocate(sizeof *channel);
	*channel = (struct ancillary_channel){ .size = sizeof *channel,
					       .sock = END_SOCKET,
					       .cut = cut,
					       .context = &context };
	channel->in_size = take_size(12000);
	channel->in_nfds = take_size(112);
	channel->out_size = take_size(12000);
	channel->out_nfds = take_size(112);
	channel->format = take() % (ANCILLARY_FORMAT_OWN + 1);
	set_flags(take());
	channel->in_data = allocate(channel->in_size);
	channel->in_fds = allocate(channel->in_nfds * sizeof(int));
	channel->out_data = allocate(channel->out_size);
	channel->out_fds = allocate(channel->out_nfds * sizeof(int));
}

void follow_channel_script(const unsigned char *start, size_t len)
{
	read_script(start, len);
	on_sent = check_sent;
	begin();
	on_call = end_call;
	while (!script_has_ended())
		take_step();
	drop();
	on_call = make_call;
	free(channel->in_data);
	free(channel->in_fds);
	free(channel->out_data);
	free(channel->out_fds);
	free(channel);
}
