#include "reader.h"

#include "calls.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
	const unsigned char *start, *end, *at;
} script;

void read_script(const unsigned char *start, size_t len)
{
	script.start = script.at = start;
	script.end = start + len;
}

unsigned take(void)
{
	return script.at < script.end ? *script.at++ : 0;
}

uint64_t take_bytes(int count)
{
	uint64_t value = 0;

	for (int i = 0; i < count; i++)
		value |= (uint64_t)take() << 8 * i;
	return value;
}

bool script_has_ended(void)
{
	return script.at == script.end;
}

size_t script_length(void)
{
	return (size_t)(script.end - script.start);
}

void wrong(const char *format, ...)
{
	va_list arguments;

	on_call = make_call;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\nscript:");
	for (const unsigned char *at = script.start; at < script.end; at++)
		fprintf(stderr, " %02x", *at);
	fprintf(stderr, "\n");
	abort();
}
