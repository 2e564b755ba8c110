/* What test programs need beside the library, and made without it: files to
 * send, sockets, messages put together by hand, signals, limits. */

#ifndef KIT_H
#define KIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* What one message carries at most; where the C library takes less, its
 * compiler is told so. */
#ifndef MOST
#define MOST 253
#endif

/* --- files --- */

/* Opens so many different files; the content of each is its number.  Where there
 * cannot be as many copies of them beside them, the case is skipped. */
void open_files(int *fds, size_t count);

/* Closes each of these, all of which must be open. */
void close_files(const int *fds, size_t count);

/* Checks that these arrived: for each one sent, in order, a close-on-exec
 * descriptor of its own for the same open file. */
void check_arrived(const int *received, const int *sent, size_t count);

/* The same, and -1 in the slots behind; closes what arrived. */
void take_arrived(const int *received, size_t slots, const int *sent, size_t count);

bool same_file(int a, int b);
bool all_none(const int *fds, size_t count);
bool is_open(int fd);
size_t open_descriptors(void);

/* Closes all from that number on.  What runs a program, such as valgrind, keeps its own. */
void close_from(int first);

/* Sets the soft limit of descriptors to the hard one. */
void raise_limit(void);

/* Skips the case where the hard limit allows no more than so many descriptors,
 * and some others. */
void need_descriptors(size_t count);

/* Sets the soft limit so that exactly so many more descriptors can be opened,
 * and returns what it was.  Where limits do not bind, the case is skipped. */
rlim_t leave_slots(size_t slots);
void set_limit(rlim_t limit);

/* --- sockets --- */

enum { HERE, THERE };

/* Not in every system's headers: SO_PASSPIDFD and others. */
enum { OPTION_PASSPIDFD = 76, OPTION_PEERPIDFD = 77, OPTION_PASSRIGHTS = 83, OPTION_INQ = 84 };

/* A connected pair of a type, which may be with SOCK_NONBLOCK. */
void open_pair(int type, int sock[2]);
void close_pair(int sock[2]);
void close_end(int sock[2], int end);

/* For each of the three types of socket: opens a pair, runs, and closes what
 * is left of the pair.  Failures name the type. */
void with_each_type(void (*run)(int type, int sock[2]));
void with_type(int type, void (*run)(int type, int sock[2]));

/* How many bytes can be sent before the socket would block, sending them. */
size_t fill(int sock);

/* Receives and drops all there is. */
void drain(int sock);

/* Checks that there is nothing to be received. */
void check_nothing_there(int sock);

/* Whether FIONREAD tells how many bytes of a stream are unread: some versions of
 * Linux (6.17 to 6.18.15) go on counting those that were read of a message. */
bool unread_is_told(void);

/* Sets SO_RCVTIMEO or SO_SNDTIMEO. */
void set_timeout(int sock, int option, int milliseconds);
void set_option(int sock, int option, int value);

/* Whether the system has one of those options above that can be set; and skips
 * the case where it has not, as set_option does. */
bool has_option(int option);
void need_option(int option);

/* --- messages by hand --- */

/* sendmsg with so many descriptors in one SCM_RIGHTS message, if any. */
ssize_t send_by_hand(int sock, const void *data, size_t len, const int *fds, size_t nfds);

/* recvmsg; *nfds is how many descriptors came, in one SCM_RIGHTS message. */
ssize_t receive_by_hand(int sock, void *data, size_t len, int *fds, size_t *nfds);

/* --- payload --- */

/* Bytes in which the place of each can be told. */
void make_payload(unsigned char *data, size_t len);
bool is_payload(const unsigned char *data, size_t len, size_t from);

/* --- processes, threads and time --- */

/* So often; or, where ANCILLARY_TEST_SHARE in the environment says that it is
 * slow here, as often divided by that. */
int some_of(int often);
bool is_slow(void);

/* Of very many combinations, whether this one is tried: each is; or, where it is
 * slow here, one in so many, and the same ones each time. */
bool is_tried(void);

pthread_t start_thread(void *(*run)(void *), void *argument);
void *end_thread(pthread_t thread);

/* How much memory this process takes, without that of files: of these there is
 * more or less as the kernel sees fit. */
long memory_kb(void);

/* Checks that a forked process ends with 0. */
void check_child(pid_t pid);

/* The process that a pidfd names, or -1 if that has been waited for. */
pid_t pid_of(int pidfd);

void sleep_ms(int milliseconds);

/* Milliseconds of a clock that only goes forward. */
long milliseconds(void);

/* Since then at least so many milliseconds have passed, and fewer than the most. */
void check_took(long since, long least, long most);

/* Waits until the thread with this number sleeps in a system call. */
pid_t thread_number(void);
void wait_until_asleep(pid_t thread);

/* Counts signals in signals_handled, without SA_RESTART. */
extern volatile int signals_handled;
void count_signal(int number);

#endif
