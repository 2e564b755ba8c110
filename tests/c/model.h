/* The randomised test: what its parts share.
 *
 * A world is one connected pair of sockets and a model of what is on the way
 * from one to the other.  model_send.c puts random messages in, model_receive.c
 * takes them out by random calls, and model_judge.c compares what each call
 * did with what the model says it had to do.  model_options.c switches options of
 * both sockets between any two of these. */

#ifndef MODEL_H
#define MODEL_H

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum {
	MOST_PAYLOAD = 70000, /* in a message sent */
	MOST_ROOM = 80000, /* for payload, when receiving */
	MOST_SLOTS = 520, /* for descriptors, when receiving */
	MOST_SENT = 800, /* descriptors in one call, on a stream */
	MOST_BUFFERS = 1024, /* IOV_MAX */
	MOST_QUEUED = 4096, /* messages on the way */
	MOST_FILES = 2000,
	PLENTY = 100000, /* free descriptor numbers, where they are not limited */
};

/* One message on the way: on a stream what one system call sent, or the part
 * of it that went. */
struct message {
	uint64_t start; /* the place of its first byte among all sent */
	size_t len;
	size_t whole; /* so much of it comes together at least */
	bool zeros; /* marker bytes; else their values tell their place */
	size_t nfds;
	uint64_t first_fd; /* the place of its first descriptor among all sent */
	struct ancillary_creds sender; /* nobody, if nothing asked for it when it was sent */
	bool mark; /* a byte out of band: a read ends in front of it, or drops it first */
};

struct counts {
	uint64_t messages, short_sends, full;
	uint64_t fds, delivered, dropped;
	uint64_t received, refused, surplus, lost, cut, without_sender, pidfds;
	uint64_t switched, marks, dropped_marks, meanwhile;
};

/* Options that are switched. */
enum { CREDS, PIDFDS, LABELS, TIMES, NANOTIMES, INQ, SWITCHES };

struct world {
	int type;
	bool lossless;
	int sock[2];
	bool on[2][SWITCHES]; /* of which socket */
	size_t sndbuf;
	size_t uncut; /* what the kernel does not cut a message below */

	struct message queue[MOST_QUEUED];
	size_t head, queued; /* the oldest, and how many there are */
	uint64_t bytes_sent, bytes_read; /* so these are the places of the next ones */
	uint64_t fds_sent, fds_read;
	bool marked; /* one of the messages is a mark */

	uint64_t step;
	struct counts counts;
};

/* One call to receive: what was asked for, and what came of it. */
struct call {
	enum { RECV_FDS, RECV_FD, RECV_MSG, RECV_CREDS } function;
	unsigned int flags;
	bool markers;
	size_t room; /* for payload */
	size_t iovlen;
	struct iovec iov[MOST_BUFFERS];
	size_t slots; /* for descriptors */
	size_t free; /* descriptor numbers that are free */

	ssize_t result;
	size_t nfds;
	int fds[MOST_SLOTS + 1];
	struct ancillary_creds creds;
	int pidfd;
	unsigned int came; /* the flags of a struct ancillary_msg */
	int error;
	bool no_sender; /* it failed for want of one alone (RECV_CREDS), which is no other result */
	size_t consumed; /* bytes of a stream */
	bool at_mark; /* one was next when it was made */
	size_t queued, unread; /* messages and bytes there then: more can come meanwhile */
};

/* --- model_world.c --- */

/* Ends the test, and tells how it came to that and how to run it again. */
void wrong(const struct world *w, const char *file, int line, const char *condition,
	   const char *format, ...) __attribute__((noreturn, format(printf, 5, 6)));

#define MUST(w, condition, ...) \
	((condition) ? (void)0 : wrong(w, __FILE__, __LINE__, #condition, __VA_ARGS__))

/* Says what the current step is, for wrong() to tell. */
void note(const struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

void set_seed(uint64_t seed);
void seed_thread(unsigned int number); /* each has numbers of its own */
uint64_t seed_wanted(void);
unsigned long rounds_wanted(void);

/* Random numbers: below a limit, from one to another, and the same with small
 * ones as likely as large ones; and whether something of that many percent
 * happens. */
size_t below(size_t limit);
size_t between(size_t least, size_t most);
size_t any_size(size_t least, size_t most);
bool chance(unsigned int percent);

static inline size_t lesser(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* The files that are sent, over and over: the descriptor sent as number k is
 * number k modulo their count. */
void open_pool(void);
void close_pool(void);
size_t pool_size(void);
int pool_fd(uint64_t number);
/* Which of the pool an open file is, probably that sent as this number; -1 if
 * it is none. */
long pool_place(int fd, uint64_t guess);

/* The bytes sent from this place on, MOST_ROOM of them. */
const unsigned char *bytes_at(uint64_t place);

/* Whether a limit of descriptors holds for those received; under valgrind it
 * does not. */
bool limits_hold(void);

/* How many descriptors are open of those with numbers below the pool's. */
size_t open_below_pool(void);

/* Cuts a size into random parts, some of them empty, one behind the other in
 * memory with some bytes between; returns how many there are. */
size_t cut_up(struct iovec *iov, size_t size, const unsigned char *start, size_t between);

void open_world(struct world *w, int type, unsigned int options, bool lossless);
void close_world(struct world *w);

/* How many bytes can be read, and whether FIONREAD says the same as far as it can be
 * relied on. */
size_t unread(const struct world *w);
bool kernel_agrees(const struct world *w);

struct message *message_at(struct world *w, size_t index);
void enqueue(struct world *w, const struct message *message);
void dequeue(struct world *w);
size_t fds_on_the_way(const struct world *w);

/* The oldest message that is no mark, or NULL. */
struct message *next_message(struct world *w);
bool is_at_mark(struct world *w);

/* --- model_options.c --- */

/* Whether an option of the receiver is on. */
static inline bool passes(const struct world *w, int what)
{
	return w->on[THERE][what];
}

void switch_option(struct world *w, int end, int what, bool on);
void switch_something(struct world *w);

/* The sender of what is sent now and has no identity attached. */
struct ancillary_creds stamp(const struct world *w);
bool is_nobody(const struct ancillary_creds *creds);

/* Whether a pidfd comes with a message, if there is a number for it. */
bool brings_pidfd(const struct world *w, const struct message *m);

/* --- the others --- */

void find_senders(void);
const struct ancillary_creds *myself(void);
void send_something(struct world *w);
void send_mark(struct world *w);

/* Whether there are marks here, and whether a peek sees what is behind one. */
bool has_marks(void);
bool peeks_behind_marks(void);

void receive_something(struct world *w);
void receive_all(struct world *w);
void receive_the_end(struct world *w);

void judge(struct world *w, struct call *c);

void two_readers(void);
void lossless_while_sending(void);

#endif
