/* Descriptors left with s6-fdholderd(8) over a channel: many requests on one
 * connection.  The daemon listens at SOCKET in the environment, and lets us store, list
 * and retrieve names that begin with "kept/". */

#include "check.h"
#include "fdholder_message.h"
#include "kit.h"
#include "talk.h"

#include <ancillary.h>
#include <fcntl.h>

static int cut(const void *start, size_t have, struct ancillary_layout *layout, void *context)
{
	const unsigned char *data = start;

	(void)context;
	if (have < HEADER)
		return 0;
	layout->len = HEADER + number_at(data, 4);
	layout->nfds = number_at(data + 4, 2);
	return 1;
}

static struct ancillary_frame ask(struct talk *talk, struct message question)
{
	struct ancillary_frame answer;

	say(talk, question.data, question.len, &question.fd, question.fd >= 0);
	answer = hear(talk);
	CHECK(answer.len > HEADER);
	return answer;
}

static int outcome(struct ancillary_frame answer)
{
	const unsigned char *data = answer.data;

	CHECK_IS(answer.len, HEADER + 1);
	return data[HEADER];
}

/* The error number of an answer without a descriptor. */
static int refusal(struct ancillary_frame answer)
{
	CHECK_IS(answer.nfds, 0);
	return outcome(answer);
}

static void check_list(struct talk *talk, const char *const *names, size_t count)
{
	struct ancillary_frame list = ask(talk, list_request());
	const unsigned char *data = list.data;

	check_names(data + HEADER, list.len - HEADER, names, count);
}

static const char *const names[] = { "kept/one", "kept/two", "kept/the third" };

static void three_are_kept_for_another_connection(void)
{
	struct talk here, there;
	int files[3];

	open_files(files, 3);
	begin_talk(&here, cut, NULL);
	begin_talk(&there, cut, NULL);
	check_list(&there, NULL, 0);
	for (size_t i = 0; i < 3; i++)
		CHECK_IS(refusal(ask(&here, store_request(names[i], files[i]))), 0);
	check_list(&there, names, 3);
	for (size_t i = 0; i < 3; i++) {
		struct ancillary_frame answer = ask(&there, retrieve_request(names[i]));
		int file;

		CHECK_IS(outcome(answer), 0);
		file = take_fd(&answer);
		check_arrived(&file, &files[i], 1);
		close_files(&file, 1);
		/* Those that nobody takes are closed. */
		CHECK_IS(ask(&there, retrieve_request(names[i])).nfds, 1);
		CHECK_IS(refusal(ask(&there, delete_request(names[i]))), 0);
		check_list(&here, names + i + 1, 2 - i);
	}
	end_talk(&here);
	end_talk(&there);
	close_files(files, 3);
}

static void errors_come_without_a_descriptor(void)
{
	struct talk talk;
	int file;

	open_files(&file, 1);
	begin_talk(&talk, cut, NULL);
	CHECK_IS(refusal(ask(&talk, retrieve_request(names[0]))), ENOENT);
	CHECK_IS(refusal(ask(&talk, delete_request(names[0]))), ENOENT);
	CHECK_IS(refusal(ask(&talk, store_request("lost/one", file))), EPERM);
	CHECK_IS(refusal(ask(&talk, store_request(names[0], file))), 0);
	CHECK_IS(refusal(ask(&talk, store_request(names[0], file))), EBUSY);
	CHECK_IS(refusal(ask(&talk, delete_request(names[0]))), 0);
	end_talk(&talk);
	close_files(&file, 1);
}

CHECK_MAIN(CASE(three_are_kept_for_another_connection), CASE(errors_come_without_a_descriptor))
