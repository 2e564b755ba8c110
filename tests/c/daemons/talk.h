/* Talking with a daemon over a channel, in a format that it knows. */

#ifndef TALK_H
#define TALK_H

#include <ancillary.h>
#include <stddef.h>

/* Larger than any message here. */
enum { TALK_SIZE = 8192, TALK_FDS = 64 };

struct talk {
	struct ancillary_channel channel;
	unsigned char in[TALK_SIZE], out[TALK_SIZE];
	int fds[TALK_FDS];
};

/* Connects to the daemon, which listens at SOCKET in the environment; what it says is
 * cut so. */
void begin_talk(struct talk *talk, ancillary_cut cut, void *context);

/* Sends a message, with descriptors that stay ours. */
void say(struct talk *talk, const void *message, size_t len, const int *fds, size_t nfds);

/* Waits for the next message. */
struct ancillary_frame hear(struct talk *talk);

/* Takes the only descriptor of a message. */
int take_fd(const struct ancillary_frame *frame);

/* Waits for the end: 0, or an error that is one. */
int hear_the_end(struct talk *talk);

void end_talk(struct talk *talk);

#endif
