/* The calls on channels, for syscalls.c. */

#ifndef SYSCALLS_CHANNEL_H
#define SYSCALLS_CHANNEL_H

/* Makes each, on its plain path and those that are rare. */
void use_channels(void);

#endif
