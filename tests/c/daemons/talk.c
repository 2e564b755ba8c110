#include "talk.h"

#include "check.h"
#include "kit.h"

#include <stdlib.h>
#include <string.h>

void begin_talk(struct talk *talk, ancillary_cut cut, void *context)
{
	const char *path = getenv("SOCKET");

	CHECK(path);
	talk->channel = (struct ancillary_channel){
		.size = sizeof talk->channel,
		.sock = ancillary_connect(path, SOCK_STREAM, 0),
		.format = ANCILLARY_FORMAT_OWN,
		.cut = cut,
		.context = context,
		.in_data = talk->in,
		.in_size = sizeof talk->in,
		.in_fds = talk->fds,
		.in_nfds = LENGTH(talk->fds),
		.out_data = talk->out,
		.out_size = sizeof talk->out,
	};
	CHECK(talk->channel.sock >= 0);
}

void say(struct talk *talk, const void *message, size_t len, const int *fds, size_t nfds)
{
	/* Descriptors that are lent are only read. */
	struct ancillary_frame frame = {
		.data = message, .len = len, .fds = (int *)fds, .nfds = nfds
	};

	CHECK_OK(ancillary_channel_send(&talk->channel, &frame, 0), 0);
}

struct ancillary_frame hear(struct talk *talk)
{
	struct ancillary_frame frame;

	CHECK_OK(ancillary_channel_recv(&talk->channel, &frame, 0), 1);
	return frame;
}

int take_fd(const struct ancillary_frame *frame)
{
	int fd;

	CHECK_IS(frame->nfds, 1);
	fd = frame->fds[0];
	frame->fds[0] = -1;
	return fd;
}

int hear_the_end(struct talk *talk)
{
	struct ancillary_frame frame;
	int heard;

	do
		heard = ancillary_channel_recv(&talk->channel, &frame, 0);
	while (heard == 1);
	return heard;
}

void end_talk(struct talk *talk)
{
	ancillary_channel_drop(&talk->channel);
	close_files(&talk->channel.sock, 1);
}
