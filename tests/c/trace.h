/* Which system calls the functions of the library make, by ptrace(2). */

#ifndef TRACE_H
#define TRACE_H

/* What a call shows: what the function does when all is well, or what else it
 * can do. */
enum path { PLAIN, RARE };

/* Runs in a process that is traced, and writes a line for each system call
 * made between the marks: `plain` or `rare`, the function, the system call,
 * and the option or command that it is about, if any; and a line for each flag
 * of messages: `flag`, the system call, and the flag.  The same line can come
 * many times. */
void trace(void (*run)(void));

/* Calls a function between marks; the value is that of the call. */
#define TRACED(path, function, ...) \
	(trace_begin(path, #function), trace_end((long long)function(__VA_ARGS__)))

/* The same, of a function without a value. */
#define TRACED_VOID(path, function, ...) \
	(trace_begin(path, #function), function(__VA_ARGS__), (void)trace_end(0))

void trace_begin(enum path path, const char *function);
long long trace_end(long long value);

/* From here on this process has no such system calls: ENOSYS. */
void forbid(const long *numbers, unsigned count);

#endif
