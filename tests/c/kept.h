/* What a fuzzer has found worth keeping. */

#ifndef KEPT_H
#define KEPT_H

#include <stddef.h>

/* Follows each script that one of its targets has kept, in the folder that
 * ANCILLARY_TEST_SCRIPTS in the environment names; without that, the case is skipped. */
void follow_kept_scripts(const char *target, void (*follow)(const unsigned char *script,
							     size_t len));

#endif
