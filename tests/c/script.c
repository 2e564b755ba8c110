#define _GNU_SOURCE

#include "script.h"

#include "calls.h"
#include "reader.h"

#include <ancillary.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>

enum { SCM_PIDFD_ = 4, MOST_CONTROL = 4096, MOST_SLOTS = 1000, ERRNO_BEFORE = 12345, SOCKET = 3 };

/* --- who calls --- */

static struct {
	enum function function;
	unsigned flags;
	size_t room;
	int *slots;
	unsigned char *payload;
	size_t len;
} caller;

/* A recvmsg(2) that the script makes, for DECODE. */
static struct {
	unsigned how;
	/* The header, and what it points to: of exactly that size, for what watches memory. */
	struct msghdr header;
	unsigned char *memory;
	size_t room;
	char name[256];
	size_t namelen;
	ssize_t result;
	/* What was made close-on-exec. */
	int closing[MOST_SLOTS];
	size_t closing_count;
	/* What is open after a failure, of which the kernel tells nobody. */
	int stray;
} elsewhere;

static bool is_old(void)
{
	return caller.function == OLD_RECV_FD || caller.function == OLD_RECV_FDS;
}

/* Whether what came is told in a struct ancillary_msg. */
static bool has_msg(void)
{
	return caller.function == RECV_MSG ||
	       (caller.function == DECODE && !(elsewhere.how & DROP));
}

/* --- descriptors --- */

/* They exist in these books alone, so that their numbers can be any: also the
 * highest there is, which no process can open. */
enum { LOWEST = 4, LOW_COUNT = 1 << 16, HIGH_COUNT = 256, HIGHEST_START = INT_MAX - HIGH_COUNT + 1 };

static struct {
	/* When it was installed, counted from 1; 0 if it is not open. */
	int low[LOW_COUNT], high[HIGH_COUNT];
	int next_low, next_high, installed, open;
} books;

static int *entry(int fd)
{
	if (fd >= LOWEST && fd < LOWEST + LOW_COUNT)
		return &books.low[fd - LOWEST];
	if (fd >= HIGHEST_START)
		return &books.high[fd - HIGHEST_START];
	return NULL;
}

static int install(int where)
{
	int fd;

	if (where == HIGH && books.next_high < HIGH_COUNT) {
		fd = HIGHEST_START + books.next_high++;
	} else {
		books.next_low += where == NEXT_BUT_ONE;
		if (books.next_low >= LOW_COUNT)
			wrong("the script installs too many");
		fd = LOWEST + books.next_low++;
	}
	*entry(fd) = ++books.installed;
	books.open++;
	return fd;
}

static void end_of(int fd, const char *how)
{
	int *when = entry(fd);

	if (!when || *when == 0)
		wrong("%d is %s, but it is not open", fd, how);
	*when = 0;
	books.open--;
}

static void clear_books(void)
{
	memset(books.low, 0, sizeof *books.low * (size_t)books.next_low);
	memset(books.high, 0, sizeof *books.high * (size_t)books.next_high);
	books.next_low = books.next_high = books.installed = books.open = 0;
}

/* --- control data --- */

static union {
	struct cmsghdr header;
	unsigned char bytes[MOST_CONTROL];
} control;

static int write_number(unsigned byte)
{
	return byte < NEGATIVE ? (int)(byte % 3) : -(int)(byte - NEGATIVE + 1);
}

/* Writes a control message as the script says, as far as it fits, and returns
 * where the next one goes. */
static size_t write_control_message(size_t at)
{
	static const int levels[KINDS] = { [RIGHTS] = SOL_SOCKET, [PIDFD] = SOL_SOCKET,
					   [CREDENTIALS] = SOL_SOCKET, [ANY_TYPE] = SOL_SOCKET };
	static const int kinds[KINDS] = { [RIGHTS] = SCM_RIGHTS, [PIDFD] = SCM_PIDFD_,
					  [CREDENTIALS] = SCM_CREDENTIALS };
	unsigned kind = take() % KINDS, length = take() % LENGTHS, count = take(), how = take();
	struct cmsghdr header = { .cmsg_level = levels[kind], .cmsg_type = kinds[kind] };
	size_t size = CMSG_LEN(count * sizeof(int));
	unsigned each = 0;

	header.cmsg_len = size;
	if (length == OFF)
		header.cmsg_len += (size_t)(long)(signed char)take();
	else if (length == SMALL)
		header.cmsg_len = take();
	else if (length == HUGE_LENGTH)
		header.cmsg_len = SIZE_MAX - take();
	else if (length == ANY_LENGTH)
		header.cmsg_len = (size_t)take_bytes(8);
	if (kind == ANY_LEVEL_AND_TYPE) {
		header.cmsg_level = (int)take_bytes(4);
		header.cmsg_type = (int)take_bytes(4);
	} else if (kind == ANY_TYPE) {
		header.cmsg_type = (int)take();
	} else if (kind == RIGHTS_OF_ANOTHER_LEVEL) {
		header.cmsg_level = (int)take() + SOL_SOCKET + 1;
		header.cmsg_type = SCM_RIGHTS;
	}
	if (at + CMSG_SPACE(count * sizeof(int)) > MOST_CONTROL)
		return at;
	memcpy(control.bytes + at, &header, sizeof header);
	for (unsigned i = 0; i < count; i++) {
		int number;

		if (i == 0 || !(how & SAME))
			each = take();
		number = write_number(each);
		memcpy(control.bytes + at + CMSG_LEN(0) + i * sizeof number, &number,
		       sizeof number);
	}
	return at + (how & UNALIGNED ? size : CMSG_SPACE(count * sizeof(int)));
}

/* What there is in control data: a second reading of cmsg(3). */
struct item {
	enum { IS_RIGHTS, IS_PIDFD, IS_CREDENTIALS } what;
	int *numbers;
	size_t count;
};

/* Finds the next control message that matters at or behind a place in the first
 * `len` bytes, which it moves.  What a length claims beyond them is not there; one
 * that is shorter than its header ends it all. */
static bool next_item(unsigned char *data, size_t len, size_t *place, struct item *item)
{
	while (*place <= len && len - *place >= CMSG_LEN(0)) {
		struct cmsghdr header;
		size_t left = len - *place, length, at = *place;

		memcpy(&header, data + at, sizeof header);
		length = header.cmsg_len < left ? header.cmsg_len : left;
		if (length < CMSG_LEN(0))
			return false;
		*place += CMSG_ALIGN(length);
		if (header.cmsg_level != SOL_SOCKET)
			continue;
		item->numbers = (int *)(void *)(data + at + CMSG_LEN(0));
		item->count = (length - CMSG_LEN(0)) / sizeof(int);
		item->what = header.cmsg_type == SCM_RIGHTS ? IS_RIGHTS
			   : header.cmsg_type == SCM_PIDFD_ ? IS_PIDFD
							    : IS_CREDENTIALS;
		if (header.cmsg_type == SCM_CREDENTIALS ? length == CMSG_LEN(sizeof(struct ucred))
							: item->what != IS_CREDENTIALS)
			return true;
	}
	return false;
}

/* --- what must come of a message, if it is the only one --- */

static struct {
	int slots[MOST_SLOTS];
	size_t room, nfds;
	bool wants_pidfd, surplus, data_cut, cut;
	int pidfd, lost;
	struct ancillary_creds creds;
	size_t bytes;
} expected;

static int full_table(int number)
{
	return number == -EMFILE || number == -ENFILE ? -number : 0;
}

static void expect_rights(const int *numbers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		/* A gap ends what is delivered. */
		if (expected.cut)
			continue;
		if (numbers[i] < 0) {
			expected.cut = true;
			if (!expected.lost)
				expected.lost = full_table(numbers[i]) ? -numbers[i] : EACCES;
		} else if (expected.nfds < expected.room) {
			expected.slots[expected.nfds++] = numbers[i];
		} else {
			expected.surplus = true;
		}
	}
}

static struct {
	unsigned system;
	/* Calls since the end of the script. */
	int behind;
	/* What ended the last recvmsg(2): an error number, or 0. */
	int error;
} kernel;

/* Something was discarded (MSG_CTRUNC), with so much room left: what took it all
 * were descriptors beyond the caller's room, or something else; else the table is
 * full, or a security module denied one. */
static void expect_cut(size_t left)
{
	bool taken = left < CMSG_SPACE(sizeof(int));

	/* How much room there was nobody knows afterwards. */
	if (caller.function == DECODE) {
		if (expected.nfds == expected.room)
			expected.surplus = true;
		else if (!expected.lost)
			expected.lost = EIO;
		return;
	}
	if (taken && expected.surplus)
		return;
	expected.lost = kernel.system & TABLE_FULL ? EMFILE : taken ? ENOBUFS : EACCES;
}

static void expect_item(const struct item *item)
{
	int first = item->count ? item->numbers[0] : -1;

	switch (item->what) {
	case IS_RIGHTS:
		expect_rights(item->numbers, item->count);
		break;
	case IS_PIDFD:
		if (!expected.wants_pidfd || expected.pidfd >= 0)
			break;
		if (!expected.lost)
			expected.lost = full_table(first);
		expected.pidfd = first < 0 ? -1 : first;
		break;
	case IS_CREDENTIALS:
		memcpy(&expected.creds, item->numbers, sizeof expected.creds);
		break;
	}
}

/* --- the kernel --- */

static size_t fill_payload(const struct msghdr *message, size_t most)
{
	/* Who takes no control data looks ahead, also into memory that is not there. */
	bool look_ahead = message->msg_controllen == 0 && message->msg_iovlen > 1;
	size_t filled = 0;

	for (size_t i = 0; i < message->msg_iovlen && filled < most; i++) {
		size_t here = message->msg_iov[i].iov_len;

		if (here > most - filled)
			here = most - filled;
		if (here > 0 && !look_ahead)
			memset(message->msg_iov[i].iov_base, 'p', here);
		filled += here;
	}
	return filled;
}

/* Numbers in the script stand for descriptors: installs them. */
static void install_items(size_t len)
{
	struct item item;
	size_t place = 0;

	while (next_item(control.bytes, len, &place, &item))
		for (size_t i = 0; item.what != IS_CREDENTIALS && i < item.count; i++)
			if (item.numbers[i] >= 0)
				item.numbers[i] = install(item.numbers[i] % 3);
}

/* As much as is left on the stack, and more than there is room for anywhere. */
enum { MOST_PRETENDED = 16384 };

/* Fills memory with what looks like control messages, with a descriptor that is not
 * open.  Where they begin depends on the length of the script. */
static void pretend(unsigned char *memory, size_t size)
{
	static unsigned char pattern[MOST_PRETENDED + 2 * CMSG_SPACE(sizeof(int))];
	static bool made;
	const size_t space = CMSG_SPACE(sizeof(int));
	size_t words = script_length();
	struct cmsghdr header = { .cmsg_len = CMSG_LEN(sizeof(int)),
				  .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SCM_RIGHTS };
	int number = 0x25252525;

	for (size_t at = 0; !made && at + space <= sizeof pattern; at += space) {
		memcpy(pattern + at, &header, sizeof header);
		memcpy(pattern + at + CMSG_LEN(0), &number, sizeof number);
	}
	made = true;
	memcpy(memory, pattern + words * sizeof(size_t) % space, size);
}

/* Delivers so many bytes, as far as there is room; or fills it, and says that there
 * are so many more. */
static void deliver_control(struct msghdr *message, size_t len, size_t beyond)
{
	size_t room = message->msg_controllen;
	size_t filled = beyond || len > room ? room : len;
	struct item item;
	size_t place = 0;

	if (room > MOST_CONTROL)
		wrong("there is room for %zu bytes of control data", room);
	install_items(filled);
	/* All of the room must be there. */
	if (room)
		pretend(message->msg_control, room);
	if (filled)
		memcpy(message->msg_control, control.bytes, filled);
	message->msg_controllen = beyond ? room + beyond : filled;
	while (next_item(control.bytes, filled, &place, &item))
		expect_item(&item);
}

static long receive_message(struct msghdr *message, bool raw)
{
	unsigned flags = take();
	size_t bytes = fill_payload(message, take()), len = 0, beyond = 0, room;
	unsigned count = take(), less;

	if (raw) {
		for (len = 0; len < count; len++)
			control.bytes[len] = (unsigned char)take();
	} else {
		for (unsigned i = 0; i < count % 8; i++)
			len = write_control_message(len);
	}
	less = take();
	if (less == MORE_THAN_ROOM)
		beyond = 1 + take();
	else
		len -= less < len ? less : len;
	message->msg_flags = (flags & DATA_CUT ? MSG_TRUNC : 0) |
			     (flags & CONTROL_CUT ? MSG_CTRUNC : 0) |
			     (flags & CLOEXEC ? MSG_CMSG_CLOEXEC : 0);
	if (flags & OTHER_FLAGS)
		message->msg_flags |= (int)take_bytes(4) & ~(MSG_TRUNC | MSG_CTRUNC);
	expected.data_cut = flags & DATA_CUT;
	expected.bytes = bytes;
	room = message->msg_controllen;
	deliver_control(message, len, beyond);
	if (flags & CONTROL_CUT)
		expect_cut(message->msg_controllen < room ? room - message->msg_controllen : 0);
	return (long)bytes;
}

static int fail(int error)
{
	errno = kernel.error = error;
	return -1;
}

/* Fails having delivered credentials and a pidfd, which is how a stream does. */
static int fail_with_pidfd(struct msghdr *message)
{
	size_t room = message->msg_controllen;
	unsigned what = take();
	size_t len = 0;

	for (int kind = 0; kind < 2; kind++) {
		size_t count = kind == 0 ? 3 : 1;
		struct cmsghdr header = { .cmsg_level = SOL_SOCKET,
					  .cmsg_type = kind == 0 ? SCM_CREDENTIALS : SCM_PIDFD_,
					  .cmsg_len = CMSG_LEN(count * sizeof(int)) };
		size_t space = CMSG_SPACE(count * sizeof(int));
		int number = kind == 0 ? 1 : what & 4 ? -EMFILE : install((int)(what >> 3) % 3);

		if (!(what >> kind & 1) || room - len < space) {
			if (kind == 1 && number >= 0)
				end_of(number, "not installed");
			continue;
		}
		/* It may say that there is more than there is. */
		if (kind == 1 && what & 32)
			header.cmsg_len += take();
		memset(control.bytes + len, 0, space);
		memcpy(control.bytes + len, &header, sizeof header);
		memcpy(control.bytes + len + CMSG_LEN(0), &number, sizeof number);
		len += space;
	}
	if (len)
		memcpy(message->msg_control, control.bytes, len);
	return fail(EFAULT);
}

static long receive(struct msghdr *message)
{
	static const int errors[] = { EAGAIN, EBADF, ECONNRESET, EINVAL, ENOMEM, ENOTCONN, ENOTSOCK };
	unsigned step;

	/* After a peek that found nothing, what may be out of band is dropped; nothing else
	 * is taken, into memory that cannot be written to.  An error may have come. */
	if (kernel.error == EAGAIN && message->msg_controllen == 0) {
		static const int dropping[] = { EAGAIN, EFAULT, ECONNRESET };
		int error = dropping[take() % 3];

		if (error == EFAULT) {
			errno = EFAULT;
			return -1;
		}
		return fail(error);
	}
	if (script_has_ended() && ++kernel.behind > 32)
		wrong("it goes on behind the end");
	if (script_has_ended()) {
		/* The peer has closed. */
		message->msg_flags = 0;
		message->msg_controllen = 0;
		kernel.error = 0;
		return 0;
	}
	step = take();
	switch (step % STEPS) {
	case INTERRUPTED:
		return fail(EINTR);
	case BAD_MEMORY:
		return fail_with_pidfd(message);
	case FAILURE:
		return fail(errors[step / STEPS % (sizeof errors / sizeof *errors)]);
	default:
		kernel.error = 0;
		return receive_message(message, step % STEPS == RAW);
	}
}

static int socket_type(int *value)
{
	static const int types[] = { [STREAM] = SOCK_STREAM,
				     [SEQPACKET] = SOCK_SEQPACKET,
				     [DGRAM] = SOCK_DGRAM };

	if ((kernel.system & 3) == NO_TYPE) {
		errno = ENOTSOCK;
		return -1;
	}
	*value = types[kernel.system & 3];
	return 0;
}

static int close_range_of(unsigned first, unsigned last)
{
	if (kernel.system & NO_CLOSE_RANGE) {
		errno = ENOSYS;
		return -1;
	}
	if (first > last || last - first >= LOW_COUNT || last > INT_MAX)
		wrong("%u to %u are closed", first, last);
	for (unsigned fd = first; fd <= last; fd++)
		end_of((int)fd, "closed in a range");
	return 0;
}

static int close_on_exec(int fd)
{
	const int *when = entry(fd);

	if (!when || *when == 0)
		wrong("%d is made close-on-exec, but it is not open", fd);
	if (elsewhere.closing_count == MOST_SLOTS)
		wrong("too many are made close-on-exec");
	elsewhere.closing[elsewhere.closing_count++] = fd;
	return 0;
}

static long scripted(const struct call *call)
{
	const long *a = call->arguments;

	switch (call->number) {
	case SYS_recvmsg:
		return receive((struct msghdr *)a[1]);
	case SYS_close:
		end_of((int)a[0], "closed");
		/* As it may, and the number is free all the same. */
		errno = EIO;
		return kernel.system & NO_CLOSE_RANGE ? -1 : 0;
	case SYS_close_range:
		return close_range_of((unsigned)a[0], (unsigned)a[1]);
	case SYS_fcntl:
		if (caller.function == DECODE && a[1] == F_SETFD && a[2] == FD_CLOEXEC)
			return close_on_exec((int)a[0]);
		if (a[1] == F_DUPFD_CLOEXEC && !(kernel.system & TABLE_FULL))
			return install(NEXT);
		errno = EMFILE;
		return -1;
	case SYS_getsockopt:
		if (a[1] == SOL_SOCKET && a[2] == SO_TYPE)
			return socket_type((int *)a[3]);
		if (a[1] == SOL_SOCKET && a[2] == SO_RCVTIMEO) {
			*(struct timeval *)a[3] = (struct timeval){ 0, 0 };
			return 0;
		}
		break;
	}
	wrong("%s is called", call->name);
}

/* --- the call --- */

static struct {
	long value;
	size_t nfds;
	struct ancillary_msg msg;
	struct ancillary_creds creds;
} got;

static const struct ancillary_creds unknown = { 0, (uid_t)-1, (gid_t)-1 };

static bool same_creds(const struct ancillary_creds *a, const struct ancillary_creds *b)
{
	return a->pid == b->pid && a->uid == b->uid && a->gid == b->gid;
}

/* So that what reads memory that nobody has filled closes some that are not open. */
static void __attribute__((noinline)) dirty_the_stack(void)
{
	unsigned char left[MOST_PRETENDED];

	pretend(left, sizeof left);
	/* It is written for what it leaves. */
	__asm__ volatile("" : : "r"(left) : "memory");
}

static void check_refused(long value, const struct msghdr *before, int open_before)
{
	if (value != -EINVAL || errno != EINVAL)
		wrong("what cannot be meant gives %ld, and errno %d", value, errno);
	if (memcmp(&elsewhere.header, before, sizeof *before) != 0 || books.open != open_before)
		wrong("what cannot be meant changes something");
}

/* Arguments that cannot be meant: nothing is touched, and it can be decoded again. */
static void decode_wrongly(struct ancillary_msg *msg)
{
	const struct msghdr header = elsewhere.header;
	struct ancillary_msg bad = got.msg;
	int open = books.open;

	check_refused(ancillary_decode(&elsewhere.header, elsewhere.result, msg, 1), &header, open);
	check_refused(ancillary_decode(&elsewhere.header, -4096, msg, 0), &header, open);
	bad.size = 1;
	check_refused(ancillary_decode(&elsewhere.header, elsewhere.result, &bad, 0), &header, open);
	bad = got.msg;
	bad.fds = NULL;
	bad.nfds = 1;
	check_refused(ancillary_decode(&elsewhere.header, elsewhere.result, &bad, 0), &header, open);
	if (bad.pidfd != got.msg.pidfd || bad.flags != got.msg.flags)
		wrong("what cannot be meant is filled");
	if (elsewhere.result < 0)
		return;
	elsewhere.header.msg_control = NULL;
	elsewhere.header.msg_controllen = 1;
	check_refused(ancillary_decode(&elsewhere.header, elsewhere.result, msg, 0),
		      &elsewhere.header, open);
	elsewhere.header = header;
}

static void receive_elsewhere(void)
{
	struct iovec iov = { caller.payload, caller.len };
	struct msghdr *header = &elsewhere.header;
	size_t odd = elsewhere.how & ODD ? 1 : 0;

	elsewhere.memory = malloc(elsewhere.room + odd);
	if (!elsewhere.memory)
		abort();
	header->msg_iov = &iov;
	header->msg_iovlen = 1;
	header->msg_control = elsewhere.room ? elsewhere.memory + odd : NULL;
	header->msg_controllen = elsewhere.room;
	elsewhere.result = receive(header);
	if (elsewhere.result < 0)
		elsewhere.result = -errno;
	if (elsewhere.result < 0)
		elsewhere.stray = books.open;
	/* The kernel never says more, and nobody would find out. */
	if (header->msg_controllen > elsewhere.room)
		header->msg_controllen = elsewhere.room;
	header->msg_iov = NULL;
	/* Without room for a name, the length is any. */
	header->msg_name = elsewhere.how & NAMED ? elsewhere.name : NULL;
	header->msg_namelen = (socklen_t)elsewhere.namelen;
}

static void decode(void)
{
	struct ancillary_msg *msg = elsewhere.how & DROP ? NULL : &got.msg;

	receive_elsewhere();
	memset(&got.msg, 'x', sizeof got.msg);
	got.msg.size = sizeof got.msg;
	got.msg.fds = caller.slots;
	got.msg.nfds = caller.room;
	if (elsewhere.how & WRONG_FIRST)
		decode_wrongly(msg);
	errno = ERRNO_BEFORE;
	got.value = ancillary_decode(&elsewhere.header, elsewhere.result, msg, 0);
	got.nfds = msg ? msg->nfds : 0;
}

/* Everything that came has been taken out, and what is delivered is close-on-exec. */
static void check_decoded(void)
{
	bool is_name = has_msg() && elsewhere.how & NAMED && elsewhere.result >= 0;
	size_t namelen = is_name ? elsewhere.namelen : 0, made = 0;
	int open = books.open;

	if (elsewhere.result >= 0 && !(elsewhere.header.msg_flags & MSG_CMSG_CLOEXEC))
		made = got.nfds;
	if (elsewhere.closing_count != made ||
	    memcmp(elsewhere.closing, caller.slots, made * sizeof(int)) != 0)
		wrong("%zu are made close-on-exec instead of %zu, or others",
		      elsewhere.closing_count, made);
	if (namelen > sizeof(struct sockaddr_un))
		namelen = sizeof(struct sockaddr_un);
	if (has_msg() && (got.msg.name != (is_name ? elsewhere.name : NULL) ||
			  got.msg.namelen != namelen))
		wrong("the name is at %p and has %zu bytes", got.msg.name, got.msg.namelen);
	if (elsewhere.result >= 0) {
		ssize_t again = ancillary_decode(&elsewhere.header, elsewhere.result, NULL, 0);

		if (again != elsewhere.result || elsewhere.header.msg_controllen != 0 ||
		    books.open != open)
			wrong("something is left in the buffer");
	}
	free(elsewhere.memory);
}

static void make_the_call(void)
{
	/* A buffer, an empty one, and the rest. */
	struct iovec iov[3] = { { caller.payload, caller.len / 2 },
				{ NULL, 0 },
				{ caller.payload + caller.len / 2, caller.len - caller.len / 2 } };

	switch (caller.function) {
	case RECV_FD:
		got.value = ancillary_recv_fd(SOCKET);
		if (got.value >= 0)
			caller.slots[got.nfds++] = (int)got.value;
		break;
	case RECV_FDS:
		got.nfds = caller.room;
		got.value = ancillary_recv_fds(SOCKET, caller.slots, &got.nfds, caller.payload,
					       caller.len, caller.flags);
		break;
	case RECV_MSG:
		got.msg = (struct ancillary_msg){ .size = sizeof got.msg,
						  .iov = caller.len ? iov : NULL,
						  .iovlen = caller.len ? 3 : 0,
						  .fds = caller.slots,
						  .nfds = caller.room };
		got.value = ancillary_recv_msg(SOCKET, &got.msg, caller.flags);
		got.nfds = got.msg.nfds;
		break;
	case RECV_CREDS:
		got.value = ancillary_recv_creds(SOCKET, &got.creds, caller.payload, caller.len,
						 caller.flags);
		break;
	case OLD_RECV_FD:
		got.value = ancil_recv_fd(SOCKET, caller.slots);
		got.nfds = got.value == 0;
		break;
	case DECODE:
		decode();
		break;
	default:
		got.value = ancil_recv_fds(SOCKET, caller.slots, (unsigned)caller.room);
		got.nfds = got.value > 0 ? (size_t)got.value : 0;
		break;
	}
}

/* What holds whatever the script says. */
static void check_books(void)
{
	int before = 0;

	if (got.nfds > caller.room)
		wrong("%zu descriptors are delivered", got.nfds);
	if (got.value < 0 && got.nfds)
		wrong("descriptors come with an error");
	for (size_t i = 0; i < caller.room; i++) {
		int fd = caller.slots[i], *when;

		if (i >= got.nfds && fd != -1 && caller.function != RECV_FD)
			wrong("slot %zu is %d", i, fd);
		if (i >= got.nfds)
			continue;
		when = entry(fd);
		if (!when || *when <= before)
			wrong("slot %zu is %d, which is not open, or out of order", i, fd);
		before = *when;
		end_of(fd, "delivered");
	}
	if (has_msg() && got.msg.pidfd != -1)
		end_of(got.msg.pidfd, "delivered as a pidfd");
	if (books.open != elsewhere.stray)
		wrong("%d descriptors are left open instead of %d", books.open, elsewhere.stray);
}

static void check_errno(void)
{
	int error = errno;

	if (got.value >= 0 && error != ERRNO_BEFORE)
		wrong("errno is %d after success", error);
	if (got.value < 0 && is_old() && got.value == -1)
		got.value = -error;
	if (got.value < 0 && error != -got.value)
		wrong("errno is %d, the value is %ld", error, got.value);
}

static void check_msg(void)
{
	const struct ancillary_msg *msg = &got.msg;
	unsigned flags = msg->flags;

	if (!(flags & ANCILLARY_HAS_PIDFD) != (msg->pidfd < 0))
		wrong("flags %x with pidfd %d", flags, msg->pidfd);
	if (!(flags & ANCILLARY_FDS_LOST) != (msg->error == 0))
		wrong("flags %x with error %d", flags, msg->error);
	if (!(flags & ANCILLARY_HAS_CREDS) && !same_creds(&msg->creds, &unknown))
		wrong("flags %x with credentials", flags);
	if (got.value < 0 && flags)
		wrong("flags %x with an error", flags);
}

/* What a single message, or what came instead, must give. */
static long expected_value(void)
{
	bool end = expected.bytes == 0 && (kernel.system & 3) != DGRAM;
	bool nobody = same_creds(&expected.creds, &unknown);
	bool strict = caller.function != RECV_MSG && caller.function != DECODE && !is_old();

	if (kernel.error)
		return -kernel.error;
	if (strict && expected.surplus)
		return -E2BIG;
	if (strict && expected.lost)
		return -expected.lost;
	if (strict && expected.data_cut)
		return -EMSGSIZE;
	switch (caller.function) {
	case RECV_FD:
		return expected.nfds ? expected.slots[0] : end ? -EPIPE : -ENOMSG;
	case RECV_CREDS:
		return nobody && !end ? -ENOMSG : (long)expected.bytes;
	case RECV_FDS:
	case RECV_MSG:
	case DECODE:
		return (long)expected.bytes;
	default:
		if (expected.nfds)
			return caller.function == OLD_RECV_FD ? 0 : (long)expected.nfds;
		if (end)
			return -EPIPE;
		return caller.room == 0 ? 0 : expected.lost ? -expected.lost : -ENOMSG;
	}
}

static void check_as_expected(void)
{
	const struct ancillary_creds *creds = &expected.creds;
	unsigned flags = 0;
	long value;

	/* At the end of no process, else 0/65534/65534, which are nobody's. */
	if (creds->pid == 0 &&
	    (expected.bytes == 0 || (creds->uid == 65534 && creds->gid == 65534)))
		expected.creds = unknown;
	value = expected_value();
	if (got.value != value)
		wrong("the value is %ld instead of %ld", got.value, value);
	if (value < 0)
		return;
	if (caller.function == RECV_CREDS && !same_creds(&got.creds, &expected.creds))
		wrong("other credentials are delivered");
	if (got.nfds != expected.nfds ||
	    memcmp(caller.slots, expected.slots, got.nfds * sizeof(int)) != 0)
		wrong("%zu descriptors instead of %zu, or others", got.nfds, expected.nfds);
	if (!has_msg())
		return;
	if (!same_creds(&expected.creds, &unknown))
		flags |= ANCILLARY_HAS_CREDS;
	if (expected.pidfd >= 0)
		flags |= ANCILLARY_HAS_PIDFD;
	if (expected.surplus)
		flags |= ANCILLARY_FDS_SURPLUS;
	if (expected.lost)
		flags |= ANCILLARY_FDS_LOST;
	if (expected.data_cut)
		flags |= ANCILLARY_DATA_TRUNCATED;
	if (got.msg.flags != flags || got.msg.error != expected.lost ||
	    got.msg.pidfd != expected.pidfd || !same_creds(&got.msg.creds, &expected.creds))
		wrong("flags %x instead of %x, error %d instead of %d, pidfd %d instead of %d",
		      got.msg.flags, flags, got.msg.error, expected.lost, got.msg.pidfd,
		      expected.pidfd);
}

static unsigned flags_of(unsigned bits)
{
	return (bits & WITH_DONTWAIT ? ANCILLARY_DONTWAIT : 0) |
	       (bits & WITH_INTR ? ANCILLARY_INTR : 0) |
	       (bits & WITH_WAITALL ? ANCILLARY_WAITALL : 0) |
	       (bits & WITH_LOSSLESS ? ANCILLARY_LOSSLESS : 0);
}

/* What a recvmsg(2) made elsewhere has room for. */
static void begin_elsewhere(unsigned bits)
{
	elsewhere.how = bits;
	elsewhere.namelen = bits & NAMED ? take() : 77;
	elsewhere.room = bits & ANY_ROOM ? take() * sizeof(size_t)
					 : ancillary_control_size(caller.room);
	if (bits & DROP)
		caller.room = 0;
	caller.flags = 0;
}

static void begin(void)
{
	unsigned bits;

	clear_books();
	memset(&kernel, 0, sizeof kernel);
	memset(&expected, 0, sizeof expected);
	memset(&got, 0, sizeof got);
	memset(control.bytes, 0, sizeof control);
	memset(&elsewhere, 0, sizeof elsewhere);
	caller.function = take() % FUNCTIONS;
	bits = take();
	caller.flags = flags_of(bits);
	caller.room = take();
	if (caller.room == MANY_SLOTS)
		caller.room = MOST_SLOTS;
	caller.len = take();
	kernel.system = take();
	if (caller.function == RECV_FD || caller.function == OLD_RECV_FD)
		caller.room = 1;
	if (caller.function == RECV_CREDS)
		caller.room = 0;
	if (caller.function == OLD_RECV_FDS && caller.room > 253)
		caller.room = 253;
	if (caller.function == RECV_FD || is_old())
		caller.flags = 0;
	if (caller.function == DECODE)
		begin_elsewhere(bits);
	expected.room = caller.room;
	expected.wants_pidfd = has_msg();
	expected.pidfd = -1;
	expected.creds = got.msg.creds = got.creds = unknown;
	/* Of exactly that size, for what watches memory. */
	caller.slots = malloc(caller.room * sizeof(int));
	caller.payload = caller.len ? malloc(caller.len) : NULL;
	if ((!caller.slots && caller.room) || (!caller.payload && caller.len))
		abort();
}

void follow_script(const unsigned char *start, size_t len)
{
	read_script(start, len);
	begin();
	on_call = scripted;
	dirty_the_stack();
	errno = ERRNO_BEFORE;
	make_the_call();
	check_errno();
	if (caller.function == DECODE)
		check_decoded();
	on_call = make_call;
	if (!(caller.flags & (ANCILLARY_WAITALL | ANCILLARY_LOSSLESS)))
		check_as_expected();
	if (has_msg())
		check_msg();
	check_books();
	free(caller.slots);
	free(caller.payload);
}
