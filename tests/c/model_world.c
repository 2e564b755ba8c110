/* The randomised test: chance, files, bytes, and the model of the queue. */

#include "model.h"

#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* --- telling what happened --- */

enum { NOTES = 12, NOTE = 256 };

static char notes[NOTES][NOTE];
static uint64_t seed_used;

void note(const struct world *w, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(notes[w->step % NOTES], NOTE, format, arguments);
	va_end(arguments);
}

static const char *type_name(int type)
{
	return type == SOCK_STREAM ? "stream" : type == SOCK_SEQPACKET ? "seqpacket" : "dgram";
}

void wrong(const struct world *w, const char *file, int line, const char *condition,
	   const char *format, ...)
{
	uint64_t first = w->step < NOTES ? 1 : w->step - NOTES + 1;
	va_list arguments;

	printf("%s%s%s%s, ANCILLARY_TEST_SEED=%llu, step %llu:\n", type_name(w->type),
	       w->lossless ? ", lossless" : "", passes(w, CREDS) ? ", SO_PASSCRED" : "",
	       passes(w, PIDFDS) ? ", SO_PASSPIDFD" : "", (unsigned long long)seed_used,
	       (unsigned long long)w->step);
	for (uint64_t step = first; step <= w->step; step++)
		printf("  %llu: %s\n", (unsigned long long)step, notes[step % NOTES]);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	check_failed(file, line, condition);
}

/* --- chance --- */

static __thread uint64_t state;

/* splitmix64 */
static uint64_t next_number(void)
{
	uint64_t mixed = state += 0x9e3779b97f4a7c15u;

	mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
	mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
	return mixed ^ mixed >> 31;
}

void set_seed(uint64_t seed)
{
	seed_used = seed;
	state = seed;
}

void seed_thread(unsigned int number)
{
	state = seed_used ^ (uint64_t)(number + 1) << 48;
}

uint64_t seed_wanted(void)
{
	const char *seed = getenv("ANCILLARY_TEST_SEED");
	struct timespec now;

	if (seed)
		return strtoull(seed, NULL, 10);
	CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

unsigned long rounds_wanted(void)
{
	const char *rounds = getenv("ANCILLARY_TEST_ROUNDS");

	return rounds ? strtoul(rounds, NULL, 10) : 1;
}

size_t below(size_t limit)
{
	return (size_t)(next_number() % limit);
}

size_t between(size_t least, size_t most)
{
	return least + below(most - least + 1);
}

size_t any_size(size_t least, size_t most)
{
	size_t count = most - least + 1, bits = 0;

	while (count >> bits)
		bits++;
	return least + below(lesser(count, (size_t)1 << below(bits + 1)));
}

bool chance(unsigned int percent)
{
	return below(100) < percent;
}

/* --- files --- */

/* The numbers below are left to what is received: a full array, one more
 * message, and what the test itself has open. */
enum { POOL_BASE = 1000 };

static int pool[MOST_FILES];
static struct stat pool_stat[MOST_FILES];
static size_t pooled;

void open_pool(void)
{
	struct rlimit limits;

	CHECK(getrlimit(RLIMIT_NOFILE, &limits) == 0);
	need_descriptors(POOL_BASE + MOST_SENT + 16);
	pooled = lesser(MOST_FILES, (size_t)limits.rlim_cur - POOL_BASE - 16);
	for (size_t i = 0; i < pooled; i++) {
		int low = memfd_create("file", MFD_CLOEXEC);

		CHECK(low >= 0);
		pool[i] = fcntl(low, F_DUPFD_CLOEXEC, POOL_BASE);
		CHECK(pool[i] >= POOL_BASE);
		CHECK(close(low) == 0);
		CHECK(fstat(pool[i], &pool_stat[i]) == 0);
	}
}

void close_pool(void)
{
	close_files(pool, pooled);
}

size_t pool_size(void)
{
	return pooled;
}

int pool_fd(uint64_t number)
{
	return pool[number % pooled];
}

static bool is_pooled(const struct stat *stat, size_t place)
{
	return stat->st_ino == pool_stat[place].st_ino && stat->st_dev == pool_stat[place].st_dev;
}

long pool_place(int fd, uint64_t guess)
{
	struct stat stat;

	CHECK(fstat(fd, &stat) == 0);
	for (size_t i = 0; i < pooled; i++, guess++)
		if (is_pooled(&stat, guess % pooled))
			return (long)(guess % pooled);
	return -1;
}

size_t open_below_pool(void)
{
	static struct pollfd each[POOL_BASE];
	int closed = 0;

	for (int fd = 0; fd < POOL_BASE; fd++)
		each[fd] = (struct pollfd){ .fd = fd };
	CHECK(poll(each, POOL_BASE, 0) >= 0);
	for (int fd = 0; fd < POOL_BASE; fd++)
		closed += (each[fd].revents & POLLNVAL) != 0;
	return (size_t)(POOL_BASE - closed);
}

static bool limit_holds(void)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof control };
	int sock[2], fd;
	rlim_t limit;

	open_pair(SOCK_STREAM, sock);
	CHECK_IS(send_by_hand(sock[HERE], "x", 1, &sock[HERE], 1), 1);
	limit = leave_slots(0);
	CHECK_IS(recvmsg(sock[THERE], &message, 0), 1);
	set_limit(limit);
	close_pair(sock);
	if (message.msg_controllen == 0)
		return true;
	memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
	close_files(&fd, 1);
	return false;
}

bool limits_hold(void)
{
	static int holds = -1;

	if (holds < 0)
		holds = limit_holds();
	return holds;
}

/* --- bytes --- */

/* A prime, so that no power of two is a period. */
enum { PERIOD = 99991 };

const unsigned char *bytes_at(uint64_t place)
{
	static unsigned char bytes[PERIOD + MOST_ROOM];
	static bool made;

	if (!made) {
		make_payload(bytes, PERIOD);
		memcpy(bytes + PERIOD, bytes, MOST_ROOM);
		made = true;
	}
	return bytes + place % PERIOD;
}

size_t cut_up(struct iovec *iov, size_t size, const unsigned char *start, size_t gap)
{
	size_t count = chance(50) ? 1 : chance(70) ? between(2, 6) : chance(90) ? between(7, 60) :
								      between(61, MOST_BUFFERS);
	unsigned char *place = (unsigned char *)(uintptr_t)start;

	for (size_t i = 0; i < count; i++) {
		size_t part = count - i == 1 ? size : chance(20) ? 0 :
			      chance(60) ? below(lesser(size, 2 * size / (count - i)) + 1) :
					   below(size + 1);

		iov[i].iov_base = part > 0 || chance(50) ? place : NULL;
		iov[i].iov_len = part;
		place += part + gap;
		size -= part;
	}
	return count;
}

/* --- the queue --- */

void open_world(struct world *w, int type, unsigned int options, bool lossless)
{
	static const int sizes[] = { 5000, 40000, 212992, 212992 };
	int size = sizes[below(LENGTH(sizes))];
	socklen_t length = sizeof size;

	memset(w, 0, sizeof *w);
	w->type = type;
	w->lossless = lossless;
	open_pair(type, w->sock);
	switch_option(w, THERE, CREDS, options & 1);
	switch_option(w, THERE, PIDFDS, options & 2);
	if (chance(50))
		set_option(w->sock[HERE], SO_SNDBUF, size);
	CHECK(getsockopt(w->sock[HERE], SOL_SOCKET, SO_SNDBUF, &size, &length) == 0);
	w->sndbuf = (size_t)size;
	w->uncut = lesser(32768, w->sndbuf / 2 - 64);
}

void close_world(struct world *w)
{
	close_pair(w->sock);
}

struct message *message_at(struct world *w, size_t index)
{
	return &w->queue[(w->head + index) % MOST_QUEUED];
}

void enqueue(struct world *w, const struct message *message)
{
	MUST(w, w->queued < MOST_QUEUED, "the model has no room for another message");
	*message_at(w, w->queued++) = *message;
	w->bytes_sent += message->len;
	w->fds_sent += message->nfds;
	w->counts.messages++;
	w->counts.fds += message->nfds;
}

void dequeue(struct world *w)
{
	w->head = (w->head + 1) % MOST_QUEUED;
	w->queued--;
}

size_t fds_on_the_way(const struct world *w)
{
	return (size_t)(w->fds_sent - w->fds_read);
}

size_t unread(const struct world *w)
{
	if (w->type == SOCK_STREAM || w->type == SOCK_SEQPACKET)
		return (size_t)(w->bytes_sent - w->bytes_read) - w->marked;
	return w->queued ? w->queue[w->head].len : 0;
}

/* Of bytes out of band that were dropped, Linux 6.18 goes on counting each. */
bool kernel_agrees(const struct world *w)
{
	static int told = -1;
	int said;

	if (told < 0)
		told = unread_is_told();
	CHECK(ioctl(w->sock[THERE], FIONREAD, &said) == 0);
	return !told || w->counts.marks > 0 || (size_t)said == unread(w);
}

bool is_at_mark(struct world *w)
{
	return w->queued > 0 && message_at(w, 0)->mark;
}

struct message *next_message(struct world *w)
{
	size_t next = is_at_mark(w);

	return next < w->queued ? message_at(w, next) : NULL;
}
