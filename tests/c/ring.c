/* Load: descriptors go round a ring of sockets of all types, through the
 * threads of several processes.  RING_PASSES in the environment: as many
 * descriptors are passed. */

#include "check.h"
#include "kit.h"

#include <ancillary.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	PROCESSES = 4,
	THREADS = 8,
	STATIONS = PROCESSES * THREADS,
	/* So few that all fit one socket: a ring of full sockets would stand
	 * still. */
	RECORDS = 64,
	/* Passed unless RING_PASSES says otherwise. */
	PASSES = 2000000,
	/* How much memory a process may take once it has passed a quarter. */
	MOST_GROWTH_KB = 256,
};

/* What goes round: a set of files, and which they are. */
struct record {
	uint32_t number, nfds;
	/* How often it is still to be passed on; when all have ended, one goes
	 * round to say so. */
	uint32_t hops, end;
	uint64_t files[MOST];
};

/* A thread, which receives from one socket and sends to the next. */
struct station {
	int from, to;
	pthread_t thread;
	size_t passed;
};

static struct station stations[STATIONS];

/* Shared by the processes. */
static struct {
	uint32_t ended;
	size_t passed;
} *shared;

static uint32_t size_of_record(uint32_t number)
{
	return number % 16 == 0 ? MOST : number % 4 == 0 ? 16 : 1 + number % 3;
}

static uint64_t file_number(int fd)
{
	struct stat info;

	CHECK(fstat(fd, &info) == 0);
	return info.st_ino;
}

/* --- a station --- */

/* Every descriptor must be there, in its place, and no other. */
static void check_record(const struct record *record, const int *fds, size_t nfds)
{
	CHECK(record->number < RECORDS);
	CHECK_IS(nfds, record->end ? 0 : size_of_record(record->number));
	CHECK_IS(nfds, record->nfds);
	for (size_t i = 0; i < nfds; i++)
		CHECK_IS(file_number(fds[i]), record->files[i]);
}

static void send_record(const struct station *station, const struct record *record, const int *fds)
{
	CHECK_IS(ancillary_send_fds(station->to, fds, record->nfds, record, sizeof *record, 0),
		 sizeof *record);
}

static void *pass_on(void *argument)
{
	struct station *station = argument;
	struct record record = { .end = 0 };
	int fds[MOST];

	while (!record.end) {
		size_t nfds = MOST;

		CHECK_IS(ancillary_recv_fds(station->from, fds, &nfds, &record, sizeof record,
					    ANCILLARY_WAITALL),
			 sizeof record);
		check_record(&record, fds, nfds);
		station->passed += nfds;
		if (record.hops > 0) {
			record.hops--;
			send_record(station, &record, fds);
		} else if (!record.end &&
			   __atomic_add_fetch(&shared->ended, 1, __ATOMIC_SEQ_CST) == RECORDS) {
			struct record end = { .end = 1, .hops = STATIONS - 1 };

			send_record(station, &end, NULL);
		}
		ancillary_close_fds(fds, nfds);
	}
	return NULL;
}

/* --- a process --- */

/* Waits until a quarter has been passed by one of its stations, which stands
 * for all. */
static void wait_for_a_quarter(const struct station *station, size_t passes)
{
	while (__atomic_load_n(&station->passed, __ATOMIC_RELAXED) < passes / STATIONS / 4)
		sleep_ms(1);
}

static void be_process(struct station *own, size_t passes)
{
	size_t before, passed = 0;
	long kb, kb_at_last;

	for (struct station *other = stations; other < stations + STATIONS; other++) {
		if (other >= own && other < own + THREADS)
			continue;
		close_files(&other->from, 1);
		close_files(&other->to, 1);
	}
	before = open_descriptors();
	for (int i = 0; i < THREADS; i++)
		own[i].thread = start_thread(pass_on, &own[i]);
	wait_for_a_quarter(own, passes);
	kb = memory_kb();
	for (int i = 0; i < THREADS; i++) {
		end_thread(own[i].thread);
		passed += own[i].passed;
	}
	kb_at_last = memory_kb();
	check_about("%ld kB after a quarter, %ld kB at last", kb, kb_at_last);
	CHECK(kb_at_last - kb <= MOST_GROWTH_KB);
	check_about("%s", "");
	CHECK_IS(open_descriptors(), before);
	__atomic_add_fetch(&shared->passed, passed, __ATOMIC_SEQ_CST);
	_exit(0);
}

/* --- the ring --- */

static void make_ring(void)
{
	static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
	int sock[2];

	for (int i = 0; i < STATIONS; i++) {
		open_pair(types[i % 3], sock);
		stations[i].to = sock[HERE];
		stations[(i + 1) % STATIONS].from = sock[THERE];
	}
}

/* Sends off a record, the files of which are open nowhere else then. */
static void start_record(uint32_t number, uint32_t hops)
{
	struct record record = { .number = number, .hops = hops };
	int fds[MOST];

	record.nfds = size_of_record(number);
	open_files(fds, record.nfds);
	for (uint32_t i = 0; i < record.nfds; i++)
		record.files[i] = file_number(fds[i]);
	send_record(&stations[number % STATIONS], &record, fds);
	close_files(fds, record.nfds);
}

static void every_descriptor_goes_round(void)
{
	const char *given = getenv("RING_PASSES");
	size_t passes = given ? strtoul(given, NULL, 10) : (size_t)some_of(PASSES), all = 0;
	pid_t processes[PROCESSES];
	uint32_t rounds;

	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(shared != MAP_FAILED);
	for (uint32_t i = 0; i < RECORDS; i++)
		all += size_of_record(i);
	/* Of an ordinary user no more may be in flight than may be open, unix(7). */
	need_descriptors(all);
	rounds = (uint32_t)((passes + all - 1) / all);
	make_ring();
	for (int i = 0; i < PROCESSES; i++) {
		processes[i] = fork();
		if (processes[i] == 0)
			be_process(&stations[i * THREADS], rounds * all);
	}
	for (uint32_t i = 0; i < RECORDS; i++)
		start_record(i, rounds - 1);
	for (int i = 0; i < STATIONS; i++) {
		close_files(&stations[i].from, 1);
		close_files(&stations[i].to, 1);
	}
	for (int i = 0; i < PROCESSES; i++)
		check_child(processes[i]);
	CHECK_IS(shared->passed, rounds * all);
	CHECK(munmap(shared, sizeof *shared) == 0);
}

CHECK_MAIN(CASE(every_descriptor_goes_round))
