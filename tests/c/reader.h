/* Scripts: bytes that say what happens.  Any bytes are one, so that a fuzzer can
 * write them. */

#ifndef READER_H
#define READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Begins to read a script. */
void read_script(const unsigned char *start, size_t len);

/* The next byte; or so many, the least significant first.  Behind the end all are 0. */
unsigned take(void);
uint64_t take_bytes(int count);

bool script_has_ended(void);
size_t script_length(void);

/* Says what is wrong, shows the script, and aborts. */
void wrong(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
