/* The randomised test: options that are switched on either side at any moment. */

#include "model.h"

#include <string.h>

static const struct {
	const char *name;
	int option;
} options[SWITCHES] = {
	[CREDS] = { "SO_PASSCRED", SO_PASSCRED },
	[PIDFDS] = { "SO_PASSPIDFD", OPTION_PASSPIDFD },
	[LABELS] = { "SO_PASSSEC", SO_PASSSEC },
	[TIMES] = { "SO_TIMESTAMP", SO_TIMESTAMP },
	[NANOTIMES] = { "SO_TIMESTAMPNS", SO_TIMESTAMPNS },
	[INQ] = { "SO_INQ", OPTION_INQ },
};

/* Some are not in every system, or not for every type of socket. */
void switch_option(struct world *w, int end, int what, bool on)
{
	int value = on;

	if (setsockopt(w->sock[end], SOL_SOCKET, options[what].option, &value, sizeof value) < 0) {
		CHECK(errno == ENOPROTOOPT || errno == EOPNOTSUPP);
		return;
	}
	w->on[end][what] = on;
	w->counts.switched++;
	note(w, "%s of the %s %s", options[what].name, end == HERE ? "sender" : "receiver",
	     on ? "on" : "off");
}

void switch_something(struct world *w)
{
	/* What has consequences is switched more often. */
	int what = chance(60) ? (int)below(LABELS) : (int)between(LABELS, SWITCHES - 1);
	int end = chance(30) ? HERE : THERE;

	switch_option(w, end, what, !w->on[end][what]);
}

struct ancillary_creds stamp(const struct world *w)
{
	const struct ancillary_creds nobody = { 0, (uid_t)-1, (gid_t)-1 };

	for (int end = HERE; end <= THERE; end++)
		if (w->on[end][CREDS] || w->on[end][PIDFDS])
			return *myself();
	return nobody;
}

bool is_nobody(const struct ancillary_creds *creds)
{
	return creds->pid == 0 && creds->uid == (uid_t)-1 && creds->gid == (gid_t)-1;
}

bool brings_pidfd(const struct world *w, const struct message *m)
{
	return passes(w, PIDFDS) && !is_nobody(&m->sender);
}
