#include "kept.h"

#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static DIR *open_folder(const char *target)
{
	const char *folder = getenv("ANCILLARY_TEST_SCRIPTS");
	char path[PATH_MAX];

	if (!folder)
		check_skip("ANCILLARY_TEST_SCRIPTS names no folder");
	snprintf(path, sizeof path, "%s/%s", folder, target);
	return opendir(path);
}

void follow_kept_scripts(const char *target, void (*follow)(const unsigned char *script,
							     size_t len))
{
	DIR *dir = open_folder(target);
	struct dirent *entry;
	int count = 0;

	CHECK(dir);
	while ((entry = readdir(dir))) {
		static unsigned char script[1 << 16];
		int file = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
		ssize_t size;

		CHECK(file >= 0);
		if (*entry->d_name != '.') {
			check_about("%s", entry->d_name);
			size = read(file, script, sizeof script);
			CHECK(size >= 0);
			follow(script, (size_t)size);
			count++;
		}
		CHECK(close(file) == 0);
	}
	closedir(dir);
	CHECK(count > 10);
}
