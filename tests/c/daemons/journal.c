/* What a program does that logs to journald: an entry is a datagram, or, where it
 * is too long for one, a sealed file in memory, sent with an empty datagram
 * (systemd's "Native Journal Protocol"). */

#include "check.h"
#include "kit.h"
#include "users.h"

#include <ancillary.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* As tests/daemons.rs has it. */
enum { LONG = 1 << 20 };

static int sock;

static const char *entry_of(const char *message)
{
	static char entry[LONG + 100];

	snprintf(entry, sizeof entry, "SYSLOG_IDENTIFIER=ancillary\nMESSAGE=%s\n", message);
	return entry;
}

static const char *long_text(char letter)
{
	static char text[LONG + 1];

	memset(text, letter, LONG);
	return text;
}

static int in_memory(const char *entry, int seals)
{
	size_t len = strlen(entry);
	int fd = memfd_create("file", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	CHECK(fd >= 0);
	CHECK_IS(write(fd, entry, len), len);
	CHECK(seals == 0 || fcntl(fd, F_ADD_SEALS, seals) == 0);
	return fd;
}

static void send_short(const char *message)
{
	const char *entry = entry_of(message);

	CHECK_OK(ancillary_send_fds(sock, NULL, 0, entry, strlen(entry), 0), strlen(entry));
}

/* With nothing but the descriptor: with a payload, journald drops it. */
static void send_long(char letter, int seals)
{
	const char *entry = entry_of(long_text(letter));
	int fd = in_memory(entry, seals);

	CHECK_ERR(ancillary_send_fds(sock, NULL, 0, entry, strlen(entry), 0), EMSGSIZE);
	CHECK_OK(ancillary_send_fds(sock, &fd, 1, "", 0, 0), 0);
	close_files(&fd, 1);
}

/* Of root, journald takes also what is not sealed. */
static void log_as_nobody(void)
{
	send_short("the first");
	send_long('s', F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	send_long('u', 0);
	send_short("the last");
}

static void a_long_entry_goes_in_sealed_memory(void)
{
	sock = ancillary_connect(getenv("SOCKET"), SOCK_DGRAM, 0);
	CHECK(sock >= 0);
	as_nobody(log_as_nobody);
	close_files(&sock, 1);
}

CHECK_MAIN(CASE(a_long_entry_goes_in_sealed_memory))
