/* A disk of qemu-storage-daemon(1), driven over a channel (vhost-user), and read through
 * shared memory (a virtqueue of a virtio block device).  The daemon listens at SOCKET in
 * the environment; all bytes of a sector are its number. */

#include "check.h"
#include "kit.h"
#include "talk.h"

#include <ancillary.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- messages, as QEMU's documentation of vhost-user has them --- */

enum request {
	GET_FEATURES = 1,
	SET_FEATURES,
	SET_OWNER,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR,
	SET_VRING_BASE,
	GET_VRING_BASE,
	SET_VRING_KICK,
	SET_VRING_CALL,
	GET_PROTOCOL_FEATURES = 15,
	SET_PROTOCOL_FEATURES,
	SET_VRING_ENABLE = 18,
	GET_INFLIGHT_FD = 31,
	SET_INFLIGHT_FD,
};

enum { VERSION = 1, IS_REPLY = 1 << 2, NEEDS_REPLY = 1 << 3 };

/* Features: bits. */
#define PROTOCOL_FEATURES (UINT64_C(1) << 30)
#define VIRTIO_1 (UINT64_C(1) << 32)
#define ACKNOWLEDGES (UINT64_C(1) << 3)

struct header {
	uint32_t request, flags, size;
};

static int cut(const void *start, size_t have, struct ancillary_layout *layout, void *context)
{
	struct header header;

	(void)context;
	if (have < sizeof header)
		return 0;
	memcpy(&header, start, sizeof header);
	if (header.size > TALK_SIZE)
		return -EMSGSIZE;
	layout->type = header.request;
	layout->id = header.flags;
	layout->len = sizeof header + header.size;
	layout->nfds = header.request == GET_INFLIGHT_FD;
	return 1;
}

static void tell_with(struct talk *talk, enum request request, uint32_t flags, const void *payload,
		      size_t len, const int *fds, size_t nfds)
{
	struct header header = { request, VERSION | flags, (uint32_t)len };
	unsigned char message[200];

	CHECK(sizeof header + len <= sizeof message);
	memcpy(message, &header, sizeof header);
	if (len > 0)
		memcpy(message + sizeof header, payload, len);
	say(talk, message, sizeof header + len, fds, nfds);
}

static void tell(struct talk *talk, enum request request, const void *payload, size_t len)
{
	tell_with(talk, request, 0, payload, len, NULL, 0);
}

/* Waits for the answer, whose payload is so long. */
static struct ancillary_frame answer_to(struct talk *talk, enum request request, void *payload,
					size_t len)
{
	struct ancillary_frame frame = hear(talk);

	CHECK_IS(frame.type, request);
	CHECK_IS(frame.id, VERSION | IS_REPLY);
	CHECK_IS(frame.len, sizeof(struct header) + len);
	memcpy(payload, (const unsigned char *)frame.data + sizeof(struct header), len);
	return frame;
}

static uint64_t ask(struct talk *talk, enum request request)
{
	uint64_t value;

	tell(talk, request, NULL, 0);
	answer_to(talk, request, &value, sizeof value);
	return value;
}

static void agree(struct talk *talk)
{
	const uint64_t features = PROTOCOL_FEATURES | VIRTIO_1, more = ACKNOWLEDGES;

	CHECK((ask(talk, GET_FEATURES) & features) == features);
	CHECK_IS(ask(talk, GET_PROTOCOL_FEATURES) & more, more);
	tell(talk, SET_PROTOCOL_FEATURES, &more, sizeof more);
	tell(talk, SET_OWNER, NULL, 0);
	tell(talk, SET_FEATURES, &features, sizeof features);
}

/* --- shared memory: a queue, and what is read --- */

enum { PART = 65536, PARTS = 2, ENTRIES = 4, SECTOR = 512 };

struct entry {
	uint64_t address;
	uint32_t len;
	uint16_t flags, next;
};
enum { HAS_NEXT = 1, IS_WRITTEN_TO = 2 };

struct queue {
	struct entry entries[ENTRIES];
	struct {
		uint16_t flags, count, ring[ENTRIES], unused;
	} offered;
	struct {
		uint16_t flags, count;
		struct {
			uint32_t id, len;
		} ring[ENTRIES];
	} used;
	/* What is asked for: to read, from a sector on. */
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} wanted;
	uint8_t status;
};

struct disk {
	struct talk talk;
	int memory[PARTS], kick, call;
	struct queue *queue;
	unsigned char *data;
};

static void *map_part(int fd)
{
	void *place;

	CHECK_IS(ftruncate(fd, PART), 0);
	place = mmap(NULL, PART, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(place != MAP_FAILED);
	return place;
}

static uint64_t address(const void *place)
{
	return (uint64_t)(uintptr_t)place;
}

/* Its addresses are ours. */
static void share_memory(struct disk *disk)
{
	struct {
		uint32_t count, padding;
		struct {
			uint64_t guest, size, user, offset;
		} parts[PARTS];
	} table = { .count = PARTS };
	uint64_t outcome;

	open_files(disk->memory, PARTS);
	disk->queue = map_part(disk->memory[0]);
	disk->data = map_part(disk->memory[1]);
	for (int i = 0; i < PARTS; i++) {
		table.parts[i].guest = table.parts[i].user =
			i == 0 ? address(disk->queue) : address(disk->data);
		table.parts[i].size = PART;
	}
	tell_with(&disk->talk, SET_MEM_TABLE, NEEDS_REPLY, &table, sizeof table, disk->memory,
		  PARTS);
	answer_to(&disk->talk, SET_MEM_TABLE, &outcome, sizeof outcome);
	CHECK_IS(outcome, 0);
}

/* The daemon makes memory for what is under way, and gets it back.  It does so whether
 * it offers that as a feature or not. */
static void pass_inflight(struct talk *talk)
{
	struct {
		uint64_t size, offset;
		uint16_t queues, entries, padding[2];
	} inflight = { .queues = 1, .entries = ENTRIES };
	struct ancillary_frame answer;
	int fd;

	tell(talk, GET_INFLIGHT_FD, &inflight, sizeof inflight);
	answer = answer_to(talk, GET_INFLIGHT_FD, &inflight, sizeof inflight);
	CHECK(inflight.size > 0);
	fd = take_fd(&answer);
	tell_with(talk, SET_INFLIGHT_FD, 0, &inflight, sizeof inflight, &fd, 1);
	close_files(&fd, 1);
}

static void start_queue(struct disk *disk)
{
	const struct {
		uint32_t index, number;
	} entries = { 0, ENTRIES }, base = { 0, 0 }, on = { 0, 1 };
	const struct {
		uint32_t index, flags;
		uint64_t entries, used, offered, log;
	} places = { 0, 0, address(disk->queue->entries), address(&disk->queue->used),
		     address(&disk->queue->offered), 0 };
	const uint64_t index = 0;

	disk->kick = eventfd(0, EFD_CLOEXEC);
	disk->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	CHECK(disk->kick >= 0 && disk->call >= 0);
	tell(&disk->talk, SET_VRING_NUM, &entries, sizeof entries);
	tell(&disk->talk, SET_VRING_BASE, &base, sizeof base);
	tell(&disk->talk, SET_VRING_ADDR, &places, sizeof places);
	tell_with(&disk->talk, SET_VRING_CALL, 0, &index, sizeof index, &disk->call, 1);
	tell_with(&disk->talk, SET_VRING_KICK, 0, &index, sizeof index, &disk->kick, 1);
	tell(&disk->talk, SET_VRING_ENABLE, &on, sizeof on);
}

static void offer_request(struct queue *queue, unsigned char *data, uint64_t sector)
{
	queue->wanted.type = 0;
	queue->wanted.sector = sector;
	queue->status = 0xff;
	queue->entries[0] =
		(struct entry){ address(&queue->wanted), sizeof queue->wanted, HAS_NEXT, 1 };
	queue->entries[1] = (struct entry){ address(data), SECTOR, HAS_NEXT | IS_WRITTEN_TO, 2 };
	queue->entries[2] = (struct entry){ address(&queue->status), 1, IS_WRITTEN_TO, 0 };
	queue->offered.ring[queue->offered.count % ENTRIES] = 0;
	__atomic_store_n(&queue->offered.count, (uint16_t)(queue->offered.count + 1),
			 __ATOMIC_SEQ_CST);
}

static void read_sector(struct disk *disk, uint64_t sector)
{
	struct pollfd called = { .fd = disk->call, .events = POLLIN };
	uint64_t one = 1;

	offer_request(disk->queue, disk->data, sector);
	CHECK_IS(write(disk->kick, &one, sizeof one), sizeof one);
	/* It calls when it starts, too. */
	while (__atomic_load_n(&disk->queue->used.count, __ATOMIC_SEQ_CST) !=
	       disk->queue->offered.count) {
		CHECK_IS(poll(&called, 1, -1), 1);
		CHECK_IS(read(disk->call, &one, sizeof one), sizeof one);
		one = 1;
	}
	CHECK_IS(disk->queue->status, 0);
}

static void stop_queue(struct disk *disk)
{
	struct {
		uint32_t index, number;
	} base = { 0, 0 };

	tell(&disk->talk, GET_VRING_BASE, &base, sizeof base);
	answer_to(&disk->talk, GET_VRING_BASE, &base, sizeof base);
	CHECK_IS(base.number, disk->queue->offered.count);
}

static void a_sector_is_read(void)
{
	struct disk disk;

	begin_talk(&disk.talk, cut, NULL);
	agree(&disk.talk);
	pass_inflight(&disk.talk);
	share_memory(&disk);
	start_queue(&disk);
	for (uint64_t sector = 2; sector < 5; sector++) {
		memset(disk.data, 'x', SECTOR);
		read_sector(&disk, sector);
		for (size_t i = 0; i < SECTOR; i++)
			CHECK_IS(disk.data[i], sector);
	}
	stop_queue(&disk);
	end_talk(&disk.talk);
	munmap(disk.queue, PART);
	munmap(disk.data, PART);
	close_files(disk.memory, PARTS);
	close_files(&disk.kick, 1);
	close_files(&disk.call, 1);
}

CHECK_MAIN(CASE(a_sector_is_read))
