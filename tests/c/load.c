/* load LIBRARY NAME...: loads a shared library, finds a function of each name
 * in it, and prints the version of the library. */

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	const char *(*version)(void) = NULL;
	void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;

	if (!library) {
		fprintf(stderr, "load: %s\n", argc > 1 ? dlerror() : "no library named");
		return 1;
	}
	for (int i = 2; i < argc; i++) {
		void *address = dlsym(library, argv[i]);

		if (!address) {
			fprintf(stderr, "load: %s\n", dlerror());
			return 1;
		}
		if (strcmp(argv[i], "ancillary_version") == 0)
			memcpy(&version, &address, sizeof version);
	}
	if (version)
		puts(version());
	return dlclose(library) != 0;
}
