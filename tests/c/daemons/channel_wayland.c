/* A client of a Wayland compositor over a channel.  It listens at SOCKET in the
 * environment.
 *
 * A message is the number of an object (32 bits), an operation (16 bits), its length
 * with these (16 bits), and arguments; what it carries depends on what the object is. */

#include "check.h"
#include "kit.h"
#include "talk.h"

#include <ancillary.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Objects: the first is there, the others we make; these numbers are ours to choose, one
 * after the other. */
enum { DISPLAY = 1, REGISTRY, BOUND, FIRST_OTHER };

/* Requests of these, and events. */
enum { DISPLAY_SYNC, DISPLAY_GET_REGISTRY };
enum { DISPLAY_ERROR };
enum { REGISTRY_BIND };
enum { REGISTRY_GLOBAL };
enum { SHM_CREATE_POOL };
enum { POOL_DESTROY = 1 };
enum { SEAT_GET_KEYBOARD = 1 };
enum { SEAT_CAPABILITIES };
enum { HAS_KEYBOARD = 2 };
enum { KEYBOARD_KEYMAP };

enum { HEADER = 8 };

/* --- where messages end --- */

/* What must be known of objects: which one is a keyboard. */
struct objects {
	uint32_t keyboard;
};

static int cut(const void *start, size_t have, struct ancillary_layout *layout, void *context)
{
	const struct objects *objects = context;
	uint32_t words[2];

	if (have < HEADER)
		return 0;
	memcpy(words, start, sizeof words);
	layout->id = words[0];
	layout->type = words[1] & 0xffff;
	layout->len = words[1] >> 16;
	layout->nfds = layout->id == objects->keyboard && layout->type == KEYBOARD_KEYMAP;
	return layout->len < HEADER ? -EBADMSG : 1;
}

/* --- requests and events --- */

static void request(struct talk *talk, uint32_t object, uint32_t operation, const void *arguments,
		    size_t len, const int *fd)
{
	uint32_t words[50] = { object, operation | (uint32_t)(HEADER + len) << 16 };

	CHECK(HEADER + len <= sizeof words);
	if (len > 0)
		memcpy(words + 2, arguments, len);
	say(talk, words, HEADER + len, fd, fd != NULL);
}

/* A request with one number, which is mostly that of a new object. */
static void request_one(struct talk *talk, uint32_t object, uint32_t operation, uint32_t number)
{
	request(talk, object, operation, &number, sizeof number, NULL);
}

static uint32_t argument(const struct ancillary_frame *frame, size_t which)
{
	uint32_t word;

	CHECK(HEADER + (which + 1) * sizeof word <= frame->len);
	memcpy(&word, (const unsigned char *)frame->data + HEADER + which * sizeof word,
	       sizeof word);
	return word;
}

/* Waits for an event of an object; others are passed over, but for errors. */
static struct ancillary_frame hear_of(struct talk *talk, uint32_t object, uint32_t event)
{
	for (;;) {
		struct ancillary_frame frame = hear(talk);

		if (frame.id == object && frame.type == event)
			return frame;
		CHECK(frame.id != DISPLAY || frame.type != DISPLAY_ERROR);
	}
}

/* Waits until all that was asked for is done. */
static void synchronise(struct talk *talk, uint32_t callback)
{
	request_one(talk, DISPLAY, DISPLAY_SYNC, callback);
	hear_of(talk, callback, 0);
}

/* Binds the global object of an interface. */
static void bind_global(struct talk *talk, const char *interface)
{
	size_t len = strlen(interface) + 1, words = (len + 3) / 4;
	struct ancillary_frame global;
	uint32_t arguments[20] = { 0 };

	do
		global = hear_of(talk, REGISTRY, REGISTRY_GLOBAL);
	while (argument(&global, 1) != len ||
	       memcmp((const char *)global.data + HEADER + 8, interface, len) != 0);
	/* Its number, interface, version, and the number that it has here. */
	arguments[0] = argument(&global, 0);
	arguments[1] = (uint32_t)len;
	CHECK(words + 4 <= LENGTH(arguments));
	memcpy(arguments + 2, interface, len);
	arguments[2 + words] = 1;
	arguments[3 + words] = BOUND;
	request(talk, REGISTRY, REGISTRY_BIND, arguments, (words + 4) * sizeof *arguments, NULL);
}

static void begin(struct talk *talk, struct objects *objects, const char *interface)
{
	objects->keyboard = 0;
	begin_talk(talk, cut, objects);
	request_one(talk, DISPLAY, DISPLAY_GET_REGISTRY, REGISTRY);
	bind_global(talk, interface);
}

static void create_pool(struct talk *talk, uint32_t pool, int fd)
{
	const uint32_t arguments[] = { pool, 4096 };

	request(talk, BOUND, SHM_CREATE_POOL, arguments, sizeof arguments, &fd);
}

/* --- cases --- */

static void memory_is_shared(void)
{
	enum { POOLS = 5 };
	struct objects objects;
	struct talk talk;
	int files[POOLS];

	open_files(files, POOLS);
	begin(&talk, &objects, "wl_shm");
	for (uint32_t i = 0; i < POOLS; i++) {
		CHECK_IS(ftruncate(files[i], 4096), 0);
		create_pool(&talk, FIRST_OTHER + i, files[i]);
	}
	synchronise(&talk, FIRST_OTHER + POOLS);
	for (uint32_t i = 0; i < POOLS; i++)
		request(&talk, FIRST_OTHER + i, POOL_DESTROY, NULL, 0, NULL);
	synchronise(&talk, FIRST_OTHER + POOLS + 1);
	end_talk(&talk);
	close_files(files, POOLS);
}

/* It says what is wrong, and closes. */
static void what_cannot_be_shared_is_an_error(void)
{
	struct objects objects;
	struct talk talk;
	struct ancillary_frame event;
	int ends[2], ended;

	CHECK_IS(pipe(ends), 0);
	begin(&talk, &objects, "wl_shm");
	create_pool(&talk, FIRST_OTHER, ends[0]);
	do
		event = hear(&talk);
	while (event.id != DISPLAY || event.type != DISPLAY_ERROR);
	CHECK_IS(argument(&event, 0), BOUND);
	ended = hear_the_end(&talk);
	CHECK(ended == 0 || ended == -ECONNRESET);
	end_talk(&talk);
	close_files(ends, 2);
}

static void a_keymap_comes_with_a_descriptor(void)
{
	static const char beginning[] = "xkb_keymap";
	struct objects objects;
	struct talk talk;
	struct ancillary_frame event;
	struct stat status;
	int file;
	size_t size;
	void *map;

	begin(&talk, &objects, "wl_seat");
	event = hear_of(&talk, BOUND, SEAT_CAPABILITIES);
	CHECK(argument(&event, 0) & HAS_KEYBOARD);
	objects.keyboard = FIRST_OTHER;
	request_one(&talk, BOUND, SEAT_GET_KEYBOARD, objects.keyboard);
	event = hear_of(&talk, objects.keyboard, KEYBOARD_KEYMAP);
	size = argument(&event, 1);
	file = take_fd(&event);
	synchronise(&talk, FIRST_OTHER + 1);
	CHECK_IS(fstat(file, &status), 0);
	CHECK(size > sizeof beginning && (size_t)status.st_size >= size);
	map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
	CHECK(map != MAP_FAILED);
	CHECK(memcmp(map, beginning, sizeof beginning - 1) == 0);
	CHECK_IS(munmap(map, size), 0);
	close_files(&file, 1);
	end_talk(&talk);
}

CHECK_MAIN(CASE(memory_is_shared), CASE(what_cannot_be_shared_is_an_error),
	   CASE(a_keymap_comes_with_a_descriptor))
