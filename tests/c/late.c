#include "late.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

void (*when_it_waits)(void);

bool waits(const struct call *call)
{
	bool transfers = call->number == SYS_sendmsg || call->number == SYS_recvmsg;

	return strcmp(call->name, "poll") == 0 ||
	       (transfers && !(call->arguments[2] & MSG_DONTWAIT));
}

long make_late(const struct call *call)
{
	/* What is done then is none of the library's calls. */
	long (*before)(const struct call *) = on_call;
	void (*act)(void) = when_it_waits;

	if (act && waits(call)) {
		int error = errno;

		when_it_waits = NULL;
		on_call = make_call;
		act();
		on_call = before;
		errno = error;
	}
	return make_call(call);
}
