/* ancillary.h - file descriptors and credentials over Unix domain sockets
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Link with -lancillary.  A connected AF_UNIX socket carries, beside its
 * bytes, open file descriptors: the receiver gets a duplicate of each, for the
 * same open file.  unix(7) calls this ancillary data.
 *
 * Sockets.  Stream, seqpacket and datagram sockets behave alike except where a
 * function says otherwise.  Blocking and non-blocking sockets both work.  A
 * stream carries descriptors only together with at least one byte.
 *
 * Results.  A function that can fail returns a negative errno value and also
 * sets errno to it.  On success errno keeps the value it had.
 *
 * Ownership.  Sending borrows descriptors: you still close your own.  Receiving
 * gives them: you close what you got.  They are close-on-exec.  Whatever the
 * peer sends, every descriptor that arrives is either handed to you or closed
 * before the call returns.
 *
 * Flags.  Those of sendmsg(2) and recvmsg(2) that mean the same have the same
 * value: ANCILLARY_DONTWAIT is MSG_DONTWAIT, ANCILLARY_WAITALL is MSG_WAITALL.
 * Calls that send or receive also accept MSG_NOSIGNAL and MSG_CMSG_CLOEXEC,
 * which always hold and change nothing.  Every other flag, such as MSG_PEEK or
 * MSG_OOB, is -EINVAL.
 *
 * Time.  SO_RCVTIMEO and SO_SNDTIMEO limit a whole call: however slowly the
 * peer writes or reads, a receive with ANCILLARY_WAITALL, a send on a stream and
 * a call on a channel end within that time.  What was transferred by then is
 * kept and counted; if nothing was, the error is -EAGAIN.  Signals do not start
 * the time anew, though where they interrupt a call that is one system call, it
 * can take twice the time (sending a datagram, three times).
 *
 * Signals and threads.  Every function may be called from several threads at
 * once, from a signal handler (ancillary_listen() and ANCILLARY_LOSSLESS say with
 * what exceptions), and between fork and exec.  None raises SIGPIPE.
 * Interrupted system calls are made again unless ANCILLARY_INTR is given.  No
 * handler may leave a call that it has interrupted by siglongjmp(3) or an
 * exception: descriptors would stay open, and cancellation disabled.  A
 * call that waits to send or to receive is a cancellation point, as sendmsg(2)
 * and recvmsg(2) are.  As with these, descriptors that arrive just when a thread
 * is cancelled (pthread_cancel(3)) are lost with it, which does happen under
 * load.  To avoid that, wait with poll(2), and receive with ANCILLARY_DONTWAIT
 * while cancellation is disabled (pthread_setcancelstate(3)).
 *
 * Memory.  Arrays and buffers given to one call must not overlap.  A call takes
 * at most 16 KiB of stack: a thread with a small stack, and an alternate stack of
 * signal handlers (sigaltstack(2)), need that beside what they take themselves.
 *
 * No function allocates memory, or keeps anything between calls but in a
 * channel, which is memory of yours.
 */

#ifndef ANCILLARY_H
#define ANCILLARY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* What compilers can be told beyond the prototypes: that a result must be looked
 * at, and that a pointer is never rightly NULL (which is -EINVAL).  A compiler
 * or a reader of headers that knows none of it can have these defined as
 * nothing before. */
#ifndef ANCILLARY_MUST_CHECK
#ifdef __GNUC__
#define ANCILLARY_MUST_CHECK __attribute__((__warn_unused_result__))
#else
#define ANCILLARY_MUST_CHECK
#endif
#endif
#ifndef ANCILLARY_NONNULL
#ifdef __GNUC__
#define ANCILLARY_NONNULL(argument) __attribute__((__nonnull__(argument)))
#else
#define ANCILLARY_NONNULL(argument)
#endif
#endif

/* A constant expression for ancillary_control_size(). */
#define ANCILLARY_CONTROL_SIZE(nfds) \
	(CMSG_SPACE(((size_t)(nfds) < ANCILLARY_MAX_FDS ? (size_t)(nfds) : ANCILLARY_MAX_FDS) * sizeof(int)) + \
	 CMSG_SPACE(3 * sizeof(int)) + CMSG_SPACE(16) + 2 * CMSG_SPACE(sizeof(int)))

/* Of the older libancillary: as many descriptors as its arrays had room for
 * (a message carries no more than ANCILLARY_MAX_FDS), and the type of the buffers
 * it asked for, which are not used any more. */
#define ANCIL_MAX_N_FDS 960
#define ANCIL_FD_BUFFER(n) \
	struct { \
		struct cmsghdr h; \
		int fd[n]; \
	}

#ifdef __cplusplus
extern "C" {
#endif


/**
 * Version of this header.  ancillary_version() tells that of the library a
 * program runs with.
 */
#define ANCILLARY_VERSION_MAJOR 1

#define ANCILLARY_VERSION_MINOR 0

#define ANCILLARY_VERSION_PATCH 0

/**
 * The most descriptors that one message carries.  ancillary_max_fds() tells
 * that of the library a program runs with, which is 252 where the C library is
 * musl on a 64-bit system: its sendmsg() takes 1024 bytes of control data.
 */
#define ANCILLARY_MAX_FDS 253

/**
 * Flag: this call does not wait.  Where it would, it fails with -EAGAIN.  The
 * socket itself is left as it is; one with O_NONBLOCK set never waits.  (That
 * flag is shared by all who have the same open socket: any of them can change
 * it.)  The value is that of MSG_DONTWAIT.
 */
#define ANCILLARY_DONTWAIT (1 << 6)

/**
 * Flag: a signal whose handler runs while the call waits ends it with -EINTR,
 * if nothing has been transferred yet, and with what has been transferred
 * otherwise.  The handler must have been installed without SA_RESTART
 * (sigaction(2); signal(3) sets it): with it, the kernel itself goes on
 * waiting, unless SO_RCVTIMEO or SO_SNDTIMEO is set.  Without this flag the
 * call goes on waiting, for what is left of the time of these options.
 */
#define ANCILLARY_INTR (1 << 19)

/**
 * Flag for receiving on a stream: come back when all the payload asked for is
 * there, the peer has closed, or an error.  The descriptors of all its pieces
 * are collected.  On seqpacket and datagram sockets, where one call receives
 * one message, it changes nothing.  The value is that of MSG_WAITALL.
 */
#define ANCILLARY_WAITALL (1 << 8)

/**
 * Flag for receiving: a message that cannot be delivered whole, because the
 * table of descriptors is full or there is no room for all it carries, stays
 * queued.  The call fails, having consumed nothing, and a later one gets all
 * of it.  Options of the socket, such as SO_PASSCRED, may be switched at any
 * time.  For a socket with one reader at a time, and without SO_PEEK_OFF: no
 * other process or thread receives from it meanwhile, nor a signal handler
 * that interrupts such a receive.  A call that fails can have written to the
 * payload's buffers.  One that fails, and at times one that succeeds, closes
 * duplicates of descriptors, which drops this process's fcntl(2) locks on
 * their files (ancillary(7)).
 */
#define ANCILLARY_LOSSLESS (1 << 20)

/**
 * Flag for ancillary_channel_send(): the message may wait for the next one.
 * The value is that of MSG_MORE.
 */
#define ANCILLARY_MORE (1 << 15)

/**
 * Flag for ancillary_channel_send(): the descriptors become the channel's,
 * which closes them when they have gone.
 */
#define ANCILLARY_TAKE (1 << 21)

/**
 * Formats of the messages on a channel: this library's own; OpenBSD's imsg, as
 * it is since 2025 and as it was before (this says which is sent: either is
 * understood); one of the caller's.
 */
#define ANCILLARY_FORMAT_PLAIN 0

#define ANCILLARY_FORMAT_IMSG 1

#define ANCILLARY_FORMAT_IMSG_OLD 2

#define ANCILLARY_FORMAT_OWN 3

/**
 * Flag for ancillary_listen(): a socket file that no process is bound to any
 * more is replaced.
 */
#define ANCILLARY_REPLACE (1 << 0)

/**
 * Flags for ancillary_listen() and ancillary_connect(): what
 * ancillary_set_passcred(), ancillary_set_passpidfd() and, to switch it off,
 * ancillary_set_passrights() do, before anybody can reach the socket.
 */
#define ANCILLARY_PASSCRED (1 << 1)

#define ANCILLARY_PASSPIDFD (1 << 2)

#define ANCILLARY_NORIGHTS (1 << 3)

/**
 * In ancillary_msg.flags.  Sending: attach the identity in creds.  Received:
 * creds holds the identity of the sender.
 */
#define ANCILLARY_HAS_CREDS (1 << 8)

/**
 * In ancillary_msg.flags, received: pidfd holds a pidfd of the sender.
 */
#define ANCILLARY_HAS_PIDFD (1 << 9)

/**
 * In ancillary_msg.flags, received: more descriptors came than there was room
 * for; those were closed.
 */
#define ANCILLARY_FDS_SURPLUS (1 << 10)

/**
 * In ancillary_msg.flags, received: the kernel could not install some of the
 * descriptors, and they are gone; error says why.
 */
#define ANCILLARY_FDS_LOST (1 << 11)

/**
 * In ancillary_msg.flags, received: a datagram was longer than the room for
 * its payload, and the rest is gone.
 */
#define ANCILLARY_DATA_TRUNCATED (1 << 12)

/**
 * The identity of a process: who sent a message, or who is on the other end
 * of a connection.
 *
 * An identity that is not known reads pid 0, uid -1 and gid -1: never that of
 * root.  A pid of 0 with a uid and gid is that of a process outside the
 * reader's pid namespace (pid_namespaces(7)), and a uid or gid of 65534 can be
 * one that the reader's user namespace does not map (user_namespaces(7)).
 */
struct ancillary_creds {
        /**
         * process, as its reader numbers it
         */
        pid_t pid;
        /**
         * user; -1 is nobody's
         */
        uid_t uid;
        /**
         * group; -1 is nobody's
         */
        gid_t gid;
};

/**
 * A message whole: payload, descriptors, credentials.
 *
 * Set it up with
 *
 *   struct ancillary_msg msg = { .size = sizeof msg };
 *
 * and fill in what the call needs; before each call anew, because a receive
 * changes nfds, namelen and flags.
 */
struct ancillary_msg {
        /**
         * sizeof(struct ancillary_msg), which lets the struct grow: a library
         * that knows less serves a larger one, up to 4096 bytes, if what it does
         * not know is all zero; one that knows more serves this one as it is
         */
        size_t size;
        /**
         * the payload, or room for it.  NULL, with iovlen 0: marker bytes, as
         * with data NULL in ancillary_send_fds() and ancillary_recv_fds().
         * Sending: not NULL, with no byte in it: an empty message, as there
         */
        struct iovec *iov;
        /**
         * how many elements iov has, at most IOV_MAX (1024)
         */
        size_t iovlen;
        /**
         * descriptors to send, or room for those received.  May be NULL if
         * nfds is 0
         */
        int *fds;
        /**
         * sending: how many.  Receiving: in, how much room; out, how many were
         * delivered
         */
        size_t nfds;
        /**
         * a socket address, such as struct sockaddr_un.  Sending: where to, on
         * a datagram socket.  Receiving: room for where from.  NULL: none
         */
        void *name;
        /**
         * how long the address is, 0: none; or the room for it.  Received: how
         * long the sender's is, 0 if it has none, and more than the room where it
         * was cut.  A whole one can be sent to as it is
         */
        size_t namelen;
        /**
         * sending: the identity to attach, with ANCILLARY_HAS_CREDS.  Received:
         * that of the sender, with ANCILLARY_HAS_CREDS; else unknown
         */
        struct ancillary_creds creds;
        /**
         * received: a pidfd of the sender, with ANCILLARY_HAS_PIDFD; else -1.
         * It is yours to close, and close-on-exec.  Not used for sending
         */
        int pidfd;
        /**
         * sending: ANCILLARY_HAS_CREDS or 0, what to attach.  Received: what
         * came, and what did not
         */
        unsigned int flags;
        /**
         * received: why descriptors were lost, an errno value (EMFILE, ENFILE,
         * EACCES, ENOBUFS); else 0.  Not used for sending
         */
        int error;
};

/**
 * What a protocol says of a message.  Its size never changes.
 */
struct ancillary_layout {
        /**
         * bytes of all of it, header included
         */
        size_t len;
        /**
         * descriptors that belong to it
         */
        size_t nfds;
        /**
         * what ancillary_channel_recv() is to say of it
         */
        uint32_t type;
        uint32_t id;
        /**
         * zero
         */
        uint32_t reserved[4];
};

/**
 * A function of yours that knows a protocol, for ANCILLARY_FORMAT_OWN.
 *
 *   start    what has been received and not taken yet: a message begins here
 *   have     how many bytes that is, at least 1: less than a message, or more
 *   layout   all zero: fill in what the bytes say of that message
 *   context  that of the channel
 *
 * Returns 1: layout is filled in; 0: the bytes are too few for that; -EBADMSG,
 * -EPROTO or -EMSGSIZE: this is no message, which ends receiving with that
 * error, as anything else does with -EPROTO.
 *
 * It may be called again for the same bytes, and has no side effects; it does
 * not use the channel, and neither throws nor jumps.
 */
typedef int (*ancillary_cut)(const void *start,
                             size_t have,
                             struct ancillary_layout *layout,
                             void *context);

/**
 * One end of a stream on which messages travel whole, each with its
 * descriptors.
 *
 * The memory is yours: set up
 *
 *   struct ancillary_channel channel = {
 *           .size = sizeof channel, .sock = sock,
 *           .in_data = in, .in_size = sizeof in, ... };
 *
 * and leave state alone, which is all zero to begin with.  Nothing else has to
 * be done before the first call; after the last, ancillary_channel_drop().
 *
 * Between two calls the struct may be moved, flags be changed, and a buffer be
 * put in the place of a smaller one whose content has been copied to its
 * beginning; between two messages also format, cut and context.  The buffers
 * must not overlap.  No size is over INT_MAX.
 *
 * Use it from one thread at a time, not from a signal handler that interrupts a
 * call on it, and after fork(2) on one side only.  A thread is cancelled
 * (pthread_cancel(3)) in a call only while that waits, and nothing is lost then:
 * the channel goes on where it was, or is dropped.  Whether a message that
 * was being sent has been taken, only its slots tell, with ANCILLARY_TAKE.
 */
struct ancillary_channel {
        /**
         * sizeof(struct ancillary_channel); as that of struct ancillary_msg
         */
        size_t size;
        /**
         * a connected stream socket: yours, also to close
         */
        int sock;
        /**
         * ANCILLARY_LOSSLESS and ANCILLARY_DONTWAIT or'ed together, for each call,
         * or 0
         */
        unsigned int flags;
        /**
         * ANCILLARY_FORMAT_PLAIN, _IMSG, _IMSG_OLD or _OWN
         */
        unsigned int format;
        /**
         * with ANCILLARY_FORMAT_OWN, to receive: tells where a message ends
         */
        ancillary_cut cut;
        /**
         * what cut gets
         */
        void *context;
        /**
         * what has been received and not taken yet: room for the longest message,
         * header included, at least.  0: this end only sends
         */
        void *in_data;
        size_t in_size;
        /**
         * room for its descriptors; if more come, that is -EPROTO.  Those of one
         * sendmsg(2) of the peer can still be here when those of the next come:
         * twice the most that it sends at once.  imsg: 2.  A peer that uses this
         * library: twice its out_nfds, or twice what it lends if that is more.  506
         * are always enough; for messages of more than 253, as many as these have
         * and 253 more
         */
        int *in_fds;
        size_t in_nfds;
        /**
         * what waits to be sent: room for the longest message, header included, at
         * least; in the plain format rounded up to a multiple of 8.  A message with
         * descriptors takes at most 16 bytes more.  0: this end only receives
         */
        void *out_data;
        size_t out_size;
        /**
         * room for its descriptors.  0: nothing waits with descriptors
         */
        int *out_fds;
        size_t out_nfds;
        /**
         * the library's: all zero to begin with
         */
        uint64_t state[16];
};

/**
 * One message of a channel.  Its size never changes.
 */
struct ancillary_frame {
        /**
         * what it is: up to you
         */
        uint32_t type;
        /**
         * what it belongs to, such as the request that it answers: up to you
         */
        uint32_t id;
        /**
         * in the imsg formats alone: the sender's process, as it says itself.
         * Sending: 0 stands for getpid(2)
         */
        uint32_t pid;
        /**
         * payload; may be NULL if len is 0
         */
        const void *data;
        /**
         * how many bytes that is
         */
        size_t len;
        /**
         * descriptors; may be NULL if nfds is 0.  Written to when sending with
         * ANCILLARY_TAKE, and yours to write to when received
         */
        int *fds;
        size_t nfds;
        /**
         * zero
         */
        uint32_t reserved[4];
};

/**
 * The version of the library, a string such as "1.0.0".  It is constant; do not
 * free it.  Never fails.
 */
ANCILLARY_MUST_CHECK
const char *ancillary_version(void);

/**
 * The most descriptors that one message carries: ANCILLARY_MAX_FDS of the
 * library in use.  ancillary_send_fds() on a stream takes more and splits
 * them; on seqpacket and datagram sockets it is the limit.  Never fails.
 */
ANCILLARY_MUST_CHECK size_t ancillary_max_fds(void);

/**
 * Send one descriptor.
 *
 *   sock   a connected AF_UNIX socket of any type
 *   fd     the descriptor.  It is borrowed: the receiver gets a duplicate,
 *          and you close your own whenever you like, also at once; one that
 *          epoll(7) watches, after EPOLL_CTL_DEL.
 *
 * What goes over the socket is one zero byte with one SCM_RIGHTS descriptor,
 * which is what programs without this library send as well.
 *
 * Returns 0, or a negative errno value, and then nothing was sent.  Errors:
 * those of ancillary_send_fds().
 */
ANCILLARY_MUST_CHECK int ancillary_send_fd(int sock, int fd);

/**
 * Receive one descriptor.
 *
 *   sock   an AF_UNIX socket of any type
 *
 * Reads exactly one byte, whatever its value, and the descriptor that comes
 * with it.
 *
 * Returns the descriptor, which is yours to close and close-on-exec, or a
 * negative errno value, and then there is no descriptor:
 *
 *   -EPIPE      The peer has closed; there is nothing more to receive.  (On
 *               seqpacket an empty message without a descriptor looks the
 *               same.)
 *   -ENOMSG     A byte, or an empty datagram, came without a descriptor.  It
 *               has been consumed.
 *   -E2BIG      More than one descriptor came.  They were closed.
 *   -EMSGSIZE   seqpacket, datagram: more than one byte came.
 *   -EAGAIN, -EMFILE, -ENFILE, -EACCES, -ENOBUFS, -EBADF, -ENOTSOCK, -EINVAL,
 *   -ENOTCONN, -ECONNRESET, -ENOMEM
 *               As from ancillary_recv_fds().
 */
ANCILLARY_MUST_CHECK int ancillary_recv_fd(int sock);

/**
 * Send descriptors with a payload.
 *
 *   sock    a connected AF_UNIX socket of any type
 *   fds     the descriptors, borrowed: the receiver gets duplicates, and you
 *           close your own whenever you like; one that epoll(7) watches,
 *           after EPOLL_CTL_DEL, or it goes on being reported, by a number
 *           that is closed.  May be NULL if nfds is 0.
 *   nfds    how many, 0 or more.  On a stream any number; on seqpacket and
 *           datagram sockets at most ancillary_max_fds().
 *   data    the payload.  NULL, with len 0 and nfds not 0: a marker byte of
 *           zero is sent for each message needed, because on a stream
 *           descriptors travel only with bytes.
 *   len     bytes of payload; on a stream at least one for each
 *           ancillary_max_fds() descriptors or part of that many.  0, with
 *           data not NULL and nfds not 0: an empty message is sent, as
 *           journald's protocol has them; not on a stream.
 *   flags   0, or ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed together
 *
 * The call finishes what it began: on a blocking stream it returns when all of
 * the payload is sent, and each descriptor is sent once however often it had
 * to wait.  It does not raise SIGPIPE.
 *
 * More descriptors than one message carries are split on a stream: byte i of
 * the payload carries the descriptors from ancillary_max_fds() * i onwards,
 * and the last message carries the rest of the payload.  The receiver collects
 * them with ANCILLARY_WAITALL.
 *
 * Returns the number of payload bytes sent, 0 for an empty message.  It is less
 * than asked for only on a stream: if the call may not wait (any longer:
 * ANCILLARY_DONTWAIT, O_NONBLOCK, SO_SNDTIMEO), if a signal ended it
 * (ANCILLARY_INTR), or if an error came after a part was sent; the next call
 * reports that error.  With the first k bytes, k being 1 or more, the first
 * k * ancillary_max_fds() descriptors have gone, or all if there are fewer: go
 * on with the others and the rest of the payload.
 *
 * Or returns a negative errno value, and then nothing was sent:
 *
 *   -EAGAIN        The call may not wait, and the socket's buffer is full:
 *                  wait for POLLOUT.
 *   -EINTR         ANCILLARY_INTR, and a signal was handled.
 *   -EINVAL        A flag this call does not know; fds NULL with nfds not 0;
 *                  nfds over INT_MAX; data NULL with len not 0; len over
 *                  SSIZE_MAX, or on a stream too small for nfds; nothing to
 *                  send, neither bytes nor descriptors; a descriptor that
 *                  cannot be sent (io_uring).
 *   -E2BIG         More than ancillary_max_fds() descriptors, and the socket
 *                  is not a stream.
 *   -EBADF         sock, or one of fds, is not an open descriptor.
 *   -EMSGSIZE      seqpacket, datagram: len is more than the socket takes
 *                  (SO_SNDBUF).
 *   -EPIPE, -ECONNRESET, -ECONNREFUSED, -ENOTCONN
 *                  The peer has closed, or there is none.
 *   -ETOOMANYREFS  Too many descriptors of this user are in flight: sent, and
 *                  not received yet.  Try again later (unix(7)).
 *   -EPERM         The receiver refuses descriptors (SO_PASSRIGHTS).
 *   -ENOTSOCK      sock is not a socket.
 *   -EFAULT        The payload is not readable memory.
 *   -ENOMEM, -ENOBUFS
 *                  The system is short of memory.
 *
 * sock must be an AF_UNIX socket, which is not checked: that would cost a
 * system call.  Linux drops descriptors sent over TCP without an error.
 */
ANCILLARY_MUST_CHECK
ssize_t ancillary_send_fds(int sock,
                           const int *fds,
                           size_t nfds,
                           const void *data,
                           size_t len,
                           unsigned int flags);

/**
 * Receive descriptors with a payload.
 *
 *   sock    an AF_UNIX socket of any type
 *   fds     where the descriptors go.  May be NULL if *nfds is 0.
 *   nfds    in: how many descriptors there is room for, 0 or more.  Out: how
 *           many were delivered; 0 on failure.
 *   data    where the payload goes.  NULL, with len 0: one marker byte is
 *           received and dropped; with ANCILLARY_WAITALL as many marker bytes
 *           as *nfds descriptors take, one for each ancillary_max_fds(), for
 *           which it waits also if fewer descriptors come.
 *   len     bytes of room for the payload, 1 or more
 *   flags   0, or ANCILLARY_DONTWAIT, ANCILLARY_INTR, ANCILLARY_WAITALL and
 *           ANCILLARY_LOSSLESS or'ed together
 *
 * What is delivered in fds is yours to close, and close-on-exec (fcntl(2)
 * clears that).  The rest of fds is filled with -1, on failure all of it
 * (unless *nfds is over INT_MAX).
 *
 * One call receives the descriptors of one message.  On a stream it can join
 * payload without descriptors to the payload of the message behind it, so the
 * place of a descriptor among the bytes is not known, as with recvmsg(2).
 *
 * The call is strict: if what came is not what there was room for, every
 * descriptor that came is closed, the payload received so far is dropped, and
 * the first of -E2BIG, -EMFILE or -ENFILE, -EACCES or -ENOBUFS, -EMSGSIZE that
 * applies is returned.  What comes beyond the room takes at most 29 numbers of
 * the table, until the call returns.  (Closing can block, also for what nobody
 * wanted: a file of a network file system that no longer answers, or of one
 * that the peer serves itself.)  With ANCILLARY_LOSSLESS these errors mean that
 * nothing has been consumed: the message is still there.  (Poll finds it there
 * as well, so wait for what makes room instead of polling.)
 *
 * Returns the number of payload bytes received; 0 when the peer has closed.
 * (On seqpacket 0 can also be an empty message, and on a datagram socket, which
 * has no end unless it is shut down, it is one.  Such a message can carry
 * descriptors: look at *nfds.)  Less than len is usual on a stream, unless
 * ANCILLARY_WAITALL is given; then it means that the peer has closed, or that a
 * signal (ANCILLARY_INTR), the end of the time to wait or an error came after a
 * part was received.  Unlike sending, the next call need not report that error:
 * -ECONNRESET, for one, is reported once.  (MSG_WAITALL of recvmsg(2) is the
 * same.)
 *
 * Or returns a negative errno value:
 *
 *   -EAGAIN     The call may not wait, or not any longer (ANCILLARY_DONTWAIT,
 *               O_NONBLOCK, SO_RCVTIMEO), and there is nothing: wait for
 *               POLLIN.
 *   -EINTR      ANCILLARY_INTR, and a signal was handled.
 *   -E2BIG      More descriptors came than *nfds, as far as the kernel tells:
 *               what it could not install is not counted here.
 *   -EMFILE, -ENFILE
 *               The table of descriptors of the process, or of the system,
 *               was full, and the kernel did not install all of them.
 *   -EACCES     A security policy of the system withheld some of them; or the
 *               table was full for a moment, while other threads close
 *               descriptors: the kernel reports both alike.
 *   -ENOBUFS    A security label (SO_PASSSEC), or a second time stamp beside
 *               one (SO_TIMESTAMPING beside SO_TIMESTAMP), took the room of
 *               some of them.  ANCILLARY_LOSSLESS looks again with more room,
 *               up to 4 KiB; what does not fit that stays queued until the
 *               option is off.
 *   -EMSGSIZE   seqpacket, datagram: the payload was longer than len.
 *   -EINVAL     A flag this call does not know; nfds NULL; fds NULL with
 *               *nfds not 0; *nfds over INT_MAX; one of data and len given and
 *               the other not; len over SSIZE_MAX; a stream socket that is
 *               not connected.  Nothing was consumed.
 *   -EBADF, -ENOTSOCK
 *               sock is not open, or not a socket.
 *   -ECONNRESET The peer closed while data for it was unread.
 *   -ENOTCONN   A seqpacket socket that is not connected.
 *   -EFAULT     The payload is not writable memory.
 *   -ENOMEM     The system is short of memory.
 *
 * If a thread is cancelled (pthread_cancel(3)) while it waits in this call
 * with ANCILLARY_WAITALL, the descriptors that have come so far are in fds:
 * set it to -1 before, and give it to ancillary_close_fds() in a clean-up
 * handler.
 */
ANCILLARY_MUST_CHECK
ssize_t ancillary_recv_fds(int sock,
                           int *fds,
                           size_t *nfds,
                           void *data,
                           size_t len,
                           unsigned int flags)
ANCILLARY_NONNULL(3);

/**
 * Close descriptors, such as a receive gave.
 *
 *   fds     the descriptors; negative ones are skipped.  Every slot is left
 *           at -1, so closing the same array again does nothing.  NULL is
 *           allowed and does nothing.
 *   nfds    how many slots there are; over INT_MAX nothing is done
 *
 * Consecutive numbers are closed together, which for many descriptors takes
 * little more than half the time of closing each (close_range(2), since Linux
 * 5.9; before that each is closed).  Keeps errno.
 */
void ancillary_close_fds(int *fds, size_t nfds);

/**
 * Move descriptors to consecutive numbers, as a program that is about to be
 * executed (execve(2)) expects them: 0 to 2, or 3 onwards where it goes by
 * sd_listen_fds(3).
 *
 *   fds     the descriptors, in any order.  They may be among the numbers that
 *           they are to have, and the same one may be there twice.  Out: the
 *           new numbers.  May be NULL if nfds is 0.
 *   nfds    how many
 *   first   the number that the first one is to have, 0 or more; the next one
 *           has the next number, and so on
 *
 * At their new numbers they are not close-on-exec.  The old ones are closed;
 * so is whatever else stands at the new numbers, as by dup2(2).  That drops
 * the locks of this process by fcntl(2) on these files, also where a
 * descriptor keeps its number.  A descriptor that is among the new numbers is
 * duplicated behind them for a moment: so many more must be free there.
 *
 * Returns 0, or a negative errno value.  Then no file of fds is closed: each
 * is open under the number that is in fds then, which can be a new one.
 *
 *   -EBADF      One of fds is not open.  Nothing has changed.
 *   -EMFILE     A number would be over the limit (RLIMIT_NOFILE, getrlimit(2)),
 *               or too few are free behind them.
 *   -EBUSY      Another thread is just opening a file that gets one of the new
 *               numbers.  What stood at those behind it may be closed.
 *   -EINVAL     fds NULL with nfds not 0; first negative, or a number over
 *               INT_MAX.  Nothing has changed.
 *   -ENOMEM     The system is short of memory.
 *
 * For a process with one thread, or between fork and exec: other threads would
 * meet other files at these numbers, and what they execute meanwhile inherits
 * them.
 */
ANCILLARY_MUST_CHECK
int ancillary_place_fds(int *fds,
                        size_t nfds,
                        int first);

/**
 * Send everything in one message.
 *
 *   sock    an AF_UNIX socket of any type, connected; or a datagram socket
 *           that need not be, with a name in msg
 *   msg     what to send: iov, iovlen, fds, nfds, name, namelen, and creds if
 *           flags in it says ANCILLARY_HAS_CREDS.  Nothing in it is changed;
 *           the descriptors are borrowed.
 *   flags   0, or ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed together
 *
 * As ancillary_send_fds(), with the payload in several buffers and, if asked
 * for, an identity, which travels with the first byte: as for
 * ancillary_send_creds().
 *
 * A datagram server answers by giving the name and namelen that
 * ancillary_recv_msg() has stored.  A seqpacket socket sends to its peer
 * whatever the name.
 *
 * Returns the number of payload bytes sent, which on a stream can be less than
 * asked for as in ancillary_send_fds(), or a negative errno value, and then
 * nothing was sent.  Errors: those of ancillary_send_fds(), and
 *
 *   -EINVAL     msg NULL; size in it not known; iov NULL with iovlen not 0;
 *               iovlen over IOV_MAX; on a stream, no byte in all of iov; a
 *               flag in it other than ANCILLARY_HAS_CREDS; a uid or gid to
 *               attach that is -1, or not mapped in this user namespace;
 *               name NULL with namelen not 0; a name that is no address.
 *   -EPERM      The identity is not one that this process may attach; or the
 *               socket of that name is connected to another.
 *   -ESRCH      There is no process with that pid.
 *   -EFAULT     A buffer in iov, or the name, is not readable.
 *   -EISCONN, -EOPNOTSUPP
 *               A name on a stream socket, connected or not.
 *   -ECONNREFUSED, -ENOENT, -ENOTDIR, -ELOOP
 *               No socket is bound to that name.
 *   -EACCES     This process may not write to that socket file, or not search
 *               a directory on the way.
 *   -EPROTOTYPE The socket of that name is of another type.
 */
ANCILLARY_MUST_CHECK
ssize_t ancillary_send_msg(int sock,
                           const struct ancillary_msg *msg,
                           unsigned int flags)
ANCILLARY_NONNULL(2);

/**
 * Receive everything in one message, and tell every outcome apart.
 *
 *   sock    an AF_UNIX socket of any type
 *   msg     in: size, and the room: iov, iovlen, fds, nfds, name, namelen.
 *           Out: nfds, namelen, creds, pidfd, flags, error; the slots of fds
 *           that hold no descriptor are -1.
 *   flags   0, or ANCILLARY_DONTWAIT, ANCILLARY_INTR, ANCILLARY_WAITALL and
 *           ANCILLARY_LOSSLESS or'ed together
 *
 * The tolerant form of ancillary_recv_fds(): what did not fit is closed, and
 * the rest is kept.  flags in msg says what came: ANCILLARY_HAS_CREDS,
 * ANCILLARY_HAS_PIDFD; and what did not: ANCILLARY_FDS_SURPLUS,
 * ANCILLARY_FDS_LOST, ANCILLARY_DATA_TRUNCATED.  What is delivered in fds is
 * always the beginning of what was sent, in order.  A pidfd that the kernel
 * could not install counts as lost.  But where ANCILLARY_FDS_SURPLUS is set,
 * the descriptors that were too many can have taken its room; and from Linux
 * 6.5 to 6.15 a message of a sender that has exited and been waited for comes
 * without one: with neither ANCILLARY_HAS_PIDFD nor ANCILLARY_FDS_LOST.
 *
 * Credentials come if SO_PASSCRED is on, a pidfd if SO_PASSPIDFD is (Linux
 * 6.5).  ancillary_set_passcred() says when to set them, so that no message is
 * missed.  Credentials that say nothing are not reported: those at the end of
 * a stream, and of messages sent before SO_PASSCRED was on; nor those that
 * look the same, of which ancillary_recv_creds() tells.
 *
 * With ANCILLARY_LOSSLESS a datagram that is longer than its room is cut all
 * the same.  With ANCILLARY_WAITALL, pieces from different senders have no
 * identity in common, and none is reported; without SO_PASSCRED on the same
 * holds for several pieces with a pidfd.  It ends also when something did not
 * fit.  If a thread is cancelled while it waits so, what has come so far is in
 * fds and pidfd, for a clean-up handler to close: set them to -1 before the
 * call.
 *
 * Returns the number of payload bytes received, 0 when the peer has closed,
 * as ancillary_recv_fds(); or a negative errno value, and then nothing was
 * delivered.  Errors: those of ancillary_recv_fds() but for -E2BIG, -EMFILE,
 * -ENFILE, -EACCES, -ENOBUFS and -EMSGSIZE, which are outcomes here unless
 * ANCILLARY_LOSSLESS is given, and
 *
 *   -EINVAL     msg NULL, or size in it not known: then nothing in it was
 *               changed; iov NULL with iovlen not 0; iovlen over IOV_MAX; no
 *               room in all of iov; namelen over INT_MAX.
 *   -EFAULT     A buffer in iov, or the room for the name, is not writable.
 *   -E2BIG, -EMFILE, -ENFILE, -EACCES, -ENOBUFS
 *               With ANCILLARY_LOSSLESS: the descriptors, or a pidfd, cannot
 *               be delivered whole; nothing was consumed.
 */
ANCILLARY_MUST_CHECK
ssize_t ancillary_recv_msg(int sock,
                           struct ancillary_msg *msg,
                           unsigned int flags)
ANCILLARY_NONNULL(2);

/**
 * Ask for the credentials of the sender with every message received
 * (SO_PASSCRED).
 *
 *   sock   an AF_UNIX socket of any type
 *   on     0: off, anything else: on
 *
 * Messages sent while neither end has it on carry none, unless the sender used
 * ancillary_send_creds().  On a socketpair, set it before the other end sends.
 * A connection inherits it from the listening socket when the client connects,
 * not when accept(2) returns it: it has to be on before listen(2), and on a
 * datagram socket, which can be sent to as soon as it has a name, before
 * bind(2).  ancillary_listen() has flags for that (ANCILLARY_PASSCRED); on the
 * socket that it returns this comes too late for messages sent meanwhile.
 *
 * Returns 0, or a negative errno value:
 *
 *   -EBADF, -ENOTSOCK     sock is not open, or not a socket.
 *   -EOPNOTSUPP           sock is not an AF_UNIX socket (since Linux 6.16;
 *                         before that, 0).
 */
ANCILLARY_MUST_CHECK
int ancillary_set_passcred(int sock,
                           int on);

/**
 * Ask for a pidfd of the sender with every message received (SO_PASSPIDFD,
 * Linux 6.5).
 *
 * As ancillary_set_passcred(), also in how it is inherited and when to set it.
 * ancillary_recv_msg() delivers the pidfd; the other functions close it.
 *
 * Returns 0, or a negative errno value: those of ancillary_set_passcred(),
 * and
 *
 *   -ENOPROTOOPT   This kernel does not have it.
 */
ANCILLARY_MUST_CHECK
int ancillary_set_passpidfd(int sock,
                            int on);

/**
 * Take descriptors from the peer, or refuse them (SO_PASSRIGHTS, Linux 6.16).
 *
 *   sock   an AF_UNIX socket of any type
 *   on     0: refuse, anything else: take them, which is what a new socket does
 *
 * While descriptors are refused, sending them to this socket fails with
 * -EPERM at the sender; payload without descriptors passes.  Those sent before
 * are still delivered.  It is inherited as with ancillary_set_passcred(): to
 * refuse all of them, give ANCILLARY_NORIGHTS to ancillary_listen(), or set it
 * before listen(2), of a datagram socket before bind(2).  On a kernel without it,
 * receive with no room for descriptors: they are closed.
 *
 * Returns 0, or a negative errno value: those of ancillary_set_passcred(),
 * and
 *
 *   -ENOPROTOOPT   This kernel does not have it.
 */
ANCILLARY_MUST_CHECK
int ancillary_set_passrights(int sock,
                             int on);

/**
 * Send a payload with credentials.
 *
 *   sock    a connected AF_UNIX socket of any type
 *   creds   the identity to attach; NULL for the caller's own: its pid, real
 *           uid and real gid
 *   data    the payload.  NULL, with len 0: one marker byte of zero is sent.
 *   len     bytes of payload.  0, with data not NULL: an empty message is
 *           sent; not on a stream.
 *   flags   0, or ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed together
 *
 * The kernel checks the identity: a process may attach its own pid and its
 * real, effective or saved uid and gid; with CAP_SYS_ADMIN also another
 * process's pid, with CAP_SETUID and CAP_SETGID any uid and gid (unix(7)).
 * Credentials attached so arrive also if the receiver turns SO_PASSCRED on
 * only later; those that the kernel attaches by itself do not.
 *
 * Returns the number of payload bytes sent, which on a stream can be less than
 * asked for as in ancillary_send_fds(); the credentials travel with the first.
 * Or a negative errno value, and then nothing was sent: those of
 * ancillary_send_fds(), and
 *
 *   -EPERM    The identity is not one that this process may attach.
 *   -ESRCH    There is no process with that pid.
 *   -EINVAL   As there; or a uid or gid of -1, or one that is not mapped in
 *             this user namespace (user_namespaces(7)): that of the caller can
 *             be such a one, with creds NULL as well.  Sent without naming it,
 *             a message carries what the kernel attaches.
 */
ANCILLARY_MUST_CHECK
ssize_t ancillary_send_creds(int sock,
                             const struct ancillary_creds *creds,
                             const void *data,
                             size_t len,
                             unsigned int flags);

/**
 * Receive a payload with the credentials of its sender.
 *
 *   sock    an AF_UNIX socket of any type, with SO_PASSCRED on
 *           (ancillary_set_passcred())
 *   creds   where the identity goes
 *   data    where the payload goes.  NULL, with len 0: one marker byte is
 *           received and dropped.
 *   len     bytes of room for the payload, 1 or more
 *   flags   0, or ANCILLARY_DONTWAIT, ANCILLARY_INTR, ANCILLARY_WAITALL and
 *           ANCILLARY_LOSSLESS or'ed together
 *
 * On a stream one call never joins the bytes of two senders, but for
 * ANCILLARY_WAITALL: then they have no identity in common, which is -ENOMSG.
 *
 * The kernel shows credentials that are missing as pid 0, uid and gid 65534, by
 * which they are recognised.  Where kernel.overflowuid or kernel.overflowgid
 * has been changed (proc(5)), they look like those of that user and group,
 * from outside of the pid namespace: a pid of 0 proves nothing there.
 *
 * Returns the number of payload bytes received; 0 when the peer has closed,
 * with creds unknown (pid 0, uid -1, gid -1).  Or a negative errno value, with
 * creds unknown as well: those of ancillary_recv_fds(), and
 *
 *   -ENOMSG   A message came without usable credentials, and was consumed:
 *             SO_PASSCRED is off, or was off when the message was sent; or
 *             ANCILLARY_WAITALL joined pieces of several senders; or the
 *             sender is outside of this pid namespace, and the message is
 *             empty, or its uid and gid are both not mapped here: which looks
 *             as the end of a stream does, or as no credentials.
 *   -E2BIG    Descriptors came with it; they were closed.
 *   -EINVAL   As there; or creds NULL.
 */
ANCILLARY_MUST_CHECK
ssize_t ancillary_recv_creds(int sock,
                             struct ancillary_creds *creds,
                             void *data,
                             size_t len,
                             unsigned int flags)
ANCILLARY_NONNULL(2);

/**
 * Tell how large a buffer for control data has to be.
 *
 *   nfds   how many descriptors are expected, or sent
 *
 * Returns the bytes that these take, and beside them credentials, a pidfd, a
 * time stamp (SO_TIMESTAMP, SO_TIMESTAMPNS) and SO_INQ: 112 bytes more on
 * 64-bit systems.  A security label (SO_PASSSEC) takes more.  For more than
 * ANCILLARY_MAX_FDS, the most of one message, it is as much as for these.  Give
 * recvmsg(2) no larger buffer: as many descriptors as fit into it, a peer can put
 * into your table until you decode.
 *
 * ANCILLARY_CONTROL_SIZE() is the same as a constant expression, for an array.
 */
ANCILLARY_MUST_CHECK
size_t ancillary_control_size(size_t nfds);

/**
 * Fill a header for a sendmsg(2) that is made elsewhere.
 *
 *   header   in: msg_control and msg_controllen are a buffer for control data,
 *            of any alignment; ANCILLARY_CONTROL_SIZE() bytes are enough.
 *            Out: all of it, padding included: ready to be sent
 *   msg      what to send, as for ancillary_send_msg(); not changed.  iov has
 *            to have a byte: a stream would lose what is attached to none
 *
 * The header points to the buffer, and to iov and name of msg: these have to
 * stay as they are until the system call is made, or its completion has come.
 * The descriptors are borrowed: keep them open as long.
 * msg_controllen becomes what was used; where there is nothing to attach,
 * msg_control becomes NULL and msg_controllen 0.  Send with MSG_NOSIGNAL.  When
 * the kernel has taken a part of a message on a stream, all its descriptors
 * have gone: send the rest without control data.
 *
 * Makes no system call.  Returns 0, or a negative errno value, and then header
 * is as it was:
 *
 *   -EINVAL    header or msg NULL; size in msg not known; iov NULL, or no byte
 *              in it, or more than SSIZE_MAX in all; iovlen over IOV_MAX; fds
 *              NULL with nfds not 0; nfds over INT_MAX; name NULL with namelen
 *              not 0; a flag in msg other than ANCILLARY_HAS_CREDS.
 *   -E2BIG     nfds is more than ancillary_max_fds(): that takes several
 *              messages.
 *   -ENOBUFS   The buffer is too small.
 */
ANCILLARY_MUST_CHECK
int ancillary_encode(struct msghdr *header,
                     const struct ancillary_msg *msg)
ANCILLARY_NONNULL(1) ANCILLARY_NONNULL(2);

/**
 * Take apart what a recvmsg(2) that was made elsewhere has received.
 *
 *   header   what it has left: msg_control (of any alignment), msg_controllen,
 *            msg_flags, msg_name, msg_namelen.  msg_controllen becomes 0: what
 *            was in the buffer is taken out of it.  Set it anew before the next
 *            recvmsg(2)
 *   result   the bytes received (of recvmmsg(2): msg_len), or a negative errno
 *            value, as in a completion: where recvmsg(2) returned -1, -errno
 *   msg      in: size, and room for descriptors: fds, nfds.  Out: as of
 *            ancillary_recv_msg(), but for the two things below.  iov and
 *            iovlen are not used.  NULL: everything that came is closed, which
 *            is how to drop a completion nobody wants
 *   flags    0
 *
 * Every descriptor that arrived is either in fds, or in pidfd, or closed.
 * Descriptors that the call did not ask to be close-on-exec (MSG_CMSG_CLOEXEC
 * in msg_flags) are made so.  Control messages that are not known are skipped.
 * Nothing behind msg_controllen bytes is read, whatever lengths they claim.
 *
 * io_uring has the header, and what it points to, until the completion has
 * come: a wait for it that fails, as when a signal comes, has ended nothing.
 * Wait again, or cancel, and keep them as long.
 *
 * Two things cannot be known afterwards.  Where control data was discarded
 * (MSG_CTRUNC), ANCILLARY_FDS_SURPLUS is set if nfds descriptors came, and
 * else ANCILLARY_FDS_LOST with EIO in error.  And name is set to msg_name:
 * nothing is copied.
 *
 * Returns result.  If that is negative, nothing was received: msg says so, and
 * errno is set to it.  Or returns a negative errno value:
 *
 *   -EINVAL   header NULL; flags not 0; size in msg not known; fds NULL with
 *             nfds not 0; nfds over INT_MAX; msg_control NULL with
 *             msg_controllen not 0; result below -4095.  Nothing was touched,
 *             unless result itself was -EINVAL: decode again.
 */
ANCILLARY_MUST_CHECK
ssize_t ancillary_decode(struct msghdr *header,
                         ssize_t result,
                         struct ancillary_msg *msg,
                         unsigned int flags)
ANCILLARY_NONNULL(1);

/**
 * Tell what to wait for in poll(2) for a channel.
 *
 *   channel   the channel
 *
 * Returns POLLIN, if in_size is not 0, until the end or an error of receiving,
 * and POLLOUT, while something waits to be sent and sending has not ended,
 * or'ed together; 0 where neither is left; or -EINVAL: channel NULL, or size not
 * known.
 */
ANCILLARY_MUST_CHECK
int ancillary_channel_events(const struct ancillary_channel *channel)
ANCILLARY_NONNULL(1);

/**
 * Close the descriptors that a channel holds: received and not taken, or taken
 * and not sent.
 *
 *   channel   the channel; afterwards it is as new.  NULL: nothing is done
 *
 * The socket is yours, and stays open.  A message of which a part has been sent
 * or received is lost, and with it the stream: close the socket as well.
 */
void ancillary_channel_drop(struct ancillary_channel *channel);

/**
 * Send a message on a channel, whole, behind those sent before.
 *
 *   channel   the channel
 *   frame     the message; only its fds are written to, with ANCILLARY_TAKE
 *   flags     0, or ANCILLARY_DONTWAIT, ANCILLARY_INTR, ANCILLARY_MORE and
 *             ANCILLARY_TAKE or'ed together
 *
 * What cannot go at once waits in out_data, and goes with the next call that
 * sends, or flushes.  On a blocking socket the call waits until all has gone.
 *
 * Descriptors are borrowed: they stay yours, and have gone when the call
 * returns 0.  So the message is taken only if they can go at once, what waits
 * having gone before; they are at most ancillary_max_fds().  With ANCILLARY_TAKE
 * they become the channel's, and their slots in frame -1: it closes each once,
 * when it has gone, or in ancillary_channel_drop(), so name none twice.  Then
 * the message can wait, and may have as many as out_fds has room for.
 *
 * With ANCILLARY_MORE a message without borrowed descriptors only waits, if
 * there is room for it, and goes together with the next one without the flag,
 * or with ancillary_channel_flush(): many messages with one system call, in the
 * plain format also with the descriptors of many.
 *
 * Returns 0: the message has gone, or waits; or a negative errno value, and
 * then nothing of it was taken, and its descriptors are still yours.  What goes
 * wrong with what waits is reported by the next call.
 *
 *   -EAGAIN     There is no room for it to wait, or its descriptors are
 *               borrowed, and the peer has not read what was sent before: try
 *               again after POLLOUT.  On a blocking socket: SO_SNDTIMEO has
 *               passed.
 *   -EINTR      With ANCILLARY_INTR: a signal came.
 *   -EMSGSIZE   The message, with its header and padding, is longer than
 *               out_size, or, with ANCILLARY_TAKE, has more descriptors than
 *               out_nfds, or is longer than its format allows.
 *   -E2BIG      More descriptors than ancillary_max_fds(), borrowed; or more
 *               than its format allows: 1 in the imsg formats, 65535 in the
 *               plain one.
 *   -EBADF      A descriptor is negative, or not open; or sock is not.  (One
 *               that waited, having been taken, ends sending.)
 *   -EINVAL     channel or frame NULL; size not known; a flag or format that is
 *               not known; NULL for an array that is not empty; reserved not
 *               zero; ANCILLARY_FORMAT_OWN and no payload, or fewer bytes than
 *               one for each ancillary_max_fds() descriptors; a descriptor of
 *               io_uring(7), which the kernel does not send.  (Among what waits,
 *               that ends sending.)
 *   -EFAULT     The payload is not readable.  (Where it is copied to wait, that
 *               is SIGSEGV.)
 *   -ETOOMANYREFS, -ENOMEM, -ENOBUFS, -EPERM
 *               As ancillary_send_fds().  What waits is kept: try again.
 *
 * Any other error ends sending: what waited is closed, and every later call
 * returns the same.  Receiving goes on: what the peer sent before it closed is
 * still to be read.
 *
 *   -EPIPE, -ECONNRESET
 *               The peer has closed.
 *   -ENOTSOCK, -ENOTCONN
 *               sock is no socket, or has no peer.
 *   Others are those of sendmsg(2).
 *
 * An error of poll(2), while the call waits, ends nothing.
 */
ANCILLARY_MUST_CHECK
int ancillary_channel_send(struct ancillary_channel *channel,
                           const struct ancillary_frame *frame,
                           unsigned int flags)
ANCILLARY_NONNULL(1) ANCILLARY_NONNULL(2);

/**
 * Send what waits on a channel.
 *
 *   channel   the channel
 *   flags     0, or ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed together
 *
 * Returns 0: all has gone; or a negative errno value: -EAGAIN: something still
 * waits; else as ancillary_channel_send().  Nothing is lost by trying again.
 */
ANCILLARY_MUST_CHECK
int ancillary_channel_flush(struct ancillary_channel *channel,
                            unsigned int flags)
ANCILLARY_NONNULL(1);

/**
 * Receive the next message of a channel.
 *
 *   channel   the channel
 *   frame     the message; data and fds in it point into the memory of the
 *             channel.  All zero where none has come
 *   flags     0, or ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed together
 *
 * The message is valid until the next call of this function, or of
 * ancillary_channel_drop(); sending leaves it alone, so that it can be answered,
 * or sent on as it lies, meanwhile.  Its descriptors stay the channel's until
 * you take them: write -1 into the slot of one that you have taken, for the
 * next call closes the others.  They are close-on-exec.
 *
 * Several messages can come with one system call, and none is made while a
 * whole message is there.  So take messages until -EAGAIN before you wait in
 * poll(2); in a server with ANCILLARY_DONTWAIT, because a peer that has the
 * same open socket can switch O_NONBLOCK off.
 *
 * Descriptors belong to the messages in order, as many to each as its header,
 * or cut, says.
 *
 * Returns 1: a message; 0: the peer has closed, between two messages; or a
 * negative errno value:
 *
 *   -EAGAIN     None is whole yet: wait for POLLIN.  On a blocking socket:
 *               SO_RCVTIMEO has passed.
 *   -EINTR      With ANCILLARY_INTR: a signal came.
 *   -EMSGSIZE   With a len in frame: the message is longer than in_size, which
 *               has to be that at least.  Nothing is lost: copy the in_size
 *               bytes to the beginning of a larger buffer, and put that in
 *               place.  (With len 0 the format does not allow such a length,
 *               which ends receiving.)
 *   -EMFILE, -ENFILE, -EACCES, -ENOBUFS
 *               With ANCILLARY_LOSSLESS: descriptors cannot be installed, as
 *               for ancillary_recv_fds().  They stay queued: try again later.
 *               The socket stays readable meanwhile, so do not wait for POLLIN.
 *   -EINVAL     channel or frame NULL; size not known; a flag or format that is
 *               not known; NULL for an array that is not empty; in_size 0;
 *               ANCILLARY_FORMAT_OWN without cut.
 *
 * Any other error ends receiving: what is held is closed, and every later call
 * returns the same.  Sending goes on.
 *
 *   -EPROTO     A message lacks descriptors; more have come than in_nfds; some
 *               are left over at the end; the end came within a message; or cut
 *               said so.
 *   -EBADMSG    This is no message of the format.
 *   -EPROTOTYPE sock is no stream.  (It shows where an empty message comes.)
 *   -EMFILE, -ENFILE, -EACCES, -ENOBUFS
 *               Without ANCILLARY_LOSSLESS: descriptors are lost.
 *   -ECONNRESET The peer has closed without reading all that was sent to it:
 *               an end, too.
 *   -EBADF, -ENOTSOCK
 *               sock is not open, or no socket.
 *   Others are those of recvmsg(2).
 *
 * An error of poll(2), while the call waits, ends nothing: -ENOMEM, mostly.
 */
ANCILLARY_MUST_CHECK
int ancillary_channel_recv(struct ancillary_channel *channel,
                           struct ancillary_frame *frame,
                           unsigned int flags)
ANCILLARY_NONNULL(1) ANCILLARY_NONNULL(2);

/**
 * Who is on the other end: its pid, effective uid and effective gid
 * (SO_PEERCRED).
 *
 *   sock    a connected AF_UNIX socket; of type datagram, one of a socketpair
 *   creds   where the identity goes
 *
 * It is that of the process that called connect(), listen() or socketpair(),
 * as it was then; it stays when that process has exited, or changed its ids.
 * A pid can belong to another process by the time you look at it:
 * ancillary_peer_pidfd() names the process for good.
 *
 * Returns 0, or a negative errno value, with creds unknown (pid 0, uid -1,
 * gid -1):
 *
 *   -ENOTCONN           There is no other end: the socket is not connected, or
 *                       is a datagram socket not made by socketpair(), or not
 *                       an AF_UNIX socket.
 *   -EBADF, -ENOTSOCK   sock is not open, or not a socket.
 *   -EINVAL             creds NULL.
 *
 * On a listening socket it is the process that called listen().
 */
ANCILLARY_MUST_CHECK
int ancillary_peer_creds(int sock,
                         struct ancillary_creds *creds)
ANCILLARY_NONNULL(2);

/**
 * A pidfd of the process on the other end (SO_PEERPIDFD, Linux 6.5).
 *
 *   sock   as for ancillary_peer_creds()
 *
 * It names that process and no other, also when it has exited and its pid
 * is in use again.  poll(2) finds the pidfd readable when the process has
 * exited; pidfd_send_signal(2) and waitid(2) take it.
 *
 * Returns the pidfd, which is yours to close and close-on-exec, or a negative
 * errno value:
 *
 *   -ENOTCONN           There is no other end, as in ancillary_peer_creds().
 *   -EMFILE, -ENFILE    The table of descriptors of the process, or of the
 *                       system, is full.
 *   -ESRCH, -EINVAL     Linux before 6.16: the process has exited and been
 *                       waited for.
 *   -ENOPROTOOPT        This kernel does not have it.
 *   -EBADF, -ENOTSOCK   sock is not open, or not a socket.
 */
ANCILLARY_MUST_CHECK int ancillary_peer_pidfd(int sock);

/**
 * The supplementary groups of the process on the other end (SO_PEERGROUPS,
 * Linux 4.13).
 *
 *   sock      as for ancillary_peer_creds()
 *   groups    where they go.  May be NULL if ngroups is 0.
 *   ngroups   room for how many; 0 asks how many there are.  No process has
 *             more than NGROUPS_MAX (65536).
 *
 * Returns the number of groups, 0 or more, or a negative errno value:
 *
 *   -ERANGE             There are more than ngroups; nothing was written.
 *   -ENOTCONN           There is no other end, as in ancillary_peer_creds().
 *   -EINVAL             groups NULL and ngroups not 0.
 *   -EBADF, -ENOTSOCK   sock is not open, or not a socket.
 *   -ENOPROTOOPT        This kernel does not have it.
 */
ANCILLARY_MUST_CHECK
ssize_t ancillary_peer_groups(int sock,
                              gid_t *groups,
                              size_t ngroups);

/**
 * The security label of the process on the other end (SO_PEERSEC), where a
 * security module such as SELinux or Smack, or AppArmor from Linux 6.17 on,
 * keeps one.
 *
 *   sock    as for ancillary_peer_creds()
 *   label   where it goes, as a string that ends with a zero byte.  May be
 *           NULL if len is 0.
 *   len     bytes of room; 0 asks how long the label is at the most, to
 *           which one byte is to be added
 *
 * Returns the length of the label in bytes, the zero byte not counted, which is
 * 0 for an empty one, or a negative errno value:
 *
 *   -ERANGE             The label and the zero byte do not fit; none of it
 *                       was written.
 *   -ENOPROTOOPT        There is no label: no security module that keeps them
 *                       is active, or there is no other end.
 *   -EINVAL             label NULL and len not 0.
 *   -EBADF, -ENOTSOCK   sock is not open, or not a socket.
 */
ANCILLARY_MUST_CHECK
ssize_t ancillary_peer_label(int sock,
                             char *label,
                             size_t len);

/**
 * Make a socket that others connect to, under a name.
 *
 *   path    a file name of any length the file system takes; or `@` and an
 *           abstract name of 1 to 107 bytes, which is used exactly as given
 *           (a file whose name begins with `@`: `./@name`).  An abstract name
 *           that other programs pad with zero bytes is a different one, which
 *           cannot be given here.
 *   type    SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM, with SOCK_NONBLOCK
 *           or'ed in or not; SOCK_CLOEXEC changes nothing
 *   mode    permission bits of the file, 0 to 0777, exactly these whatever
 *           the umask; connecting needs write permission, and so does
 *           replacing for the owner.  Not used for an abstract name: anyone
 *           can connect to that.
 *   flags   0, or ANCILLARY_REPLACE, ANCILLARY_PASSCRED, ANCILLARY_PASSPIDFD,
 *           ANCILLARY_NORIGHTS, ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed
 *           together
 *
 * The file appears when everything is done: who sees it can connect, and
 * finds the mode asked for.  The umask is neither used nor touched.  The group
 * of the file is that of the directory if that has the set-group-ID bit, else
 * the effective one of this process (setegid(2)).
 *
 * To this end the socket is bound to a temporary name in the same directory
 * and listens before it is moved.  getsockname(2), ss(8) and rules of security
 * modules go on telling that name: `.ancillary-0`, of all sockets made in a
 * directory, or `.ancillary-` and another number if that was in use.  Who is
 * handed several listeners must be told which is which.  The other side sees
 * it as the address of datagrams from here, so it cannot answer them.
 *
 * The directory must be one in which only trusted users can make and rename
 * files, and, for ANCILLARY_REPLACE, take locks (flock(2)), for which reading
 * is enough.
 *
 * With ANCILLARY_REPLACE a socket file that no process is bound to any more
 * is replaced, so no one has to remove it first.  Of several processes that
 * start at once one wins.  Those that find a file in their way wait for each
 * other, with a lock on the directory that leaves no file behind;
 * ANCILLARY_DONTWAIT and ANCILLARY_INTR (whether the handler has SA_RESTART or
 * not) apply to that wait, which is short and which any socket that is
 * replaced in that directory can cause: after -EAGAIN try again.
 *
 * What connections inherit must be set before a client can connect, and what
 * a datagram socket delivers with a message before that is sent: after this
 * call is too late.  Give ANCILLARY_PASSCRED, ANCILLARY_PASSPIDFD or
 * ANCILLARY_NORIGHTS for that.  (By hand: set the options before bind(2).)
 *
 * As many connections wait to be accepted as the system allows
 * (/proc/sys/net/core/somaxconn); call listen(2) again for fewer.
 *
 * Returns the socket, which is yours to close and close-on-exec; the file
 * stays when you close it.  So unlink(2) it before, if it still is yours: its
 * device and inode (lstat(2)) are what they were right after this call.  Or
 * returns a negative errno value, and then nothing has changed but for what is
 * said below:
 *
 *   -EADDRINUSE     The name is in use: another socket is bound to it, or,
 *                   without ANCILLARY_REPLACE, its file is there.
 *   -EEXIST         Something else that is not a socket is there.
 *   -ENOENT         path is empty; its directory does not exist, or is moved
 *                   during the call; or /proc is needed and not mounted.
 *   -ENOTDIR        A part of path is not a directory.
 *   -EISDIR         path ends with a slash.
 *   -ENAMETOOLONG   path is longer than PATH_MAX, its last part is longer than
 *                   the file system takes, or an abstract name is longer than
 *                   107 bytes.
 *   -EACCES, -EPERM, -EROFS
 *                   This process may not make a file there, or not move or
 *                   remove it; or, where ANCILLARY_REPLACE finds a socket
 *                   file, may not read the directory, or write to that file.
 *   -EBUSY          ANCILLARY_REPLACE: for 5 seconds, somebody has had a lock
 *                   on the directory (flock(2)), perhaps this process; or the
 *                   file that is there is a mount point.
 *   -ELOOP          path has too many symbolic links.
 *   -EINVAL         path NULL, or `@` alone; a type, mode or flag not known.
 *   -ENOPROTOOPT    ANCILLARY_PASSPIDFD before Linux 6.5, ANCILLARY_NORIGHTS
 *                   before Linux 6.16.
 *   -EAGAIN         ANCILLARY_DONTWAIT, and somebody has that lock: a process
 *                   that is just replacing a socket there, or one that keeps
 *                   it.  Try again, for some seconds at the most.
 *   -EINTR          ANCILLARY_INTR, and a signal was handled.
 *   -EMFILE, -ENFILE, -ENOMEM, -ENOBUFS, -ENOLCK, -ENOSPC, -EDQUOT
 *                   A table, memory or the file system is full.
 *   -EIO            The file system has failed.
 *   -EAFNOSUPPORT   This process may not make AF_UNIX sockets, or the system
 *                   has none.
 *
 * A process that is killed in this very call can leave the temporary file
 * behind, which the next call that replaces a socket in that directory
 * removes.  (If several calls run there at once, also one with the number of
 * the process, or the next one that was free.)  So does a failure where files
 * can be made and not moved or removed (landlock(7) without
 * LANDLOCK_ACCESS_FS_REMOVE_FILE), though not more than one; in a directory to
 * which files can only be added (FS_APPEND_FL, ioctl_iflags(2)) each call
 * leaves one.  If the directory is moved during the call, it can be in the one
 * that is at its path then.  If another process has bound its socket at path
 * just before this call replaced a dead one there, and the file system refuses
 * to put it back, that socket is at the temporary name, and a dead one at path.
 *
 * An address has room for 107 bytes of path.  So /proc (proc(5)) is needed if
 * there are more than 85 in front of the last slash, or if there are more than
 * 107 in all and a socket file is to be replaced.
 *
 * Not a cancellation point (pthread_cancel(3)).  In a signal handler
 * ANCILLARY_REPLACE needs ANCILLARY_DONTWAIT: the handler may have interrupted
 * a call that has the lock.
 */
ANCILLARY_MUST_CHECK
int ancillary_listen(const char *path,
                     int type,
                     mode_t mode,
                     unsigned int flags)
ANCILLARY_NONNULL(1);

/**
 * Make a socket and connect it to a name.
 *
 *   path    as for ancillary_listen()
 *   type    SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM, that of the other
 *           socket, with SOCK_NONBLOCK or'ed in or not
 *   flags   0, or ANCILLARY_PASSCRED, ANCILLARY_PASSPIDFD, ANCILLARY_NORIGHTS,
 *           ANCILLARY_DONTWAIT and ANCILLARY_INTR or'ed together
 *
 * Waits while the other side has more connections waiting than it listens for,
 * unless ANCILLARY_DONTWAIT or SOCK_NONBLOCK is given.
 *
 * A datagram socket gets an abstract name that the kernel chooses, by which
 * the other side, and nobody else, can answer.  From another network namespace
 * it cannot, and with a policy that forbids it (landlock(7)) it may not: there,
 * pass it one end of a socketpair(2).  Where the name is refused the socket has
 * none.  (With ANCILLARY_PASSCRED or ANCILLARY_PASSPIDFD the kernel gives the
 * others such a name as well.)
 *
 * Returns the socket, which is yours to close and close-on-exec, or a negative
 * errno value:
 *
 *   -ECONNREFUSED   No process is bound to that name, or it does not listen;
 *                   or the file is not a socket.
 *   -ENOENT         path is empty, or the file does not exist; or path is
 *                   longer than 107 bytes, and /proc (proc(5)), which it takes
 *                   then, is not mounted.
 *   -EACCES         This process may not write to the socket file, or not
 *                   search a directory on the way.
 *   -EPROTOTYPE     The other socket is of another type.
 *   -EAGAIN         The call may not wait, and the other side has no room for
 *                   a connection now.
 *   -EINTR          ANCILLARY_INTR, and a signal was handled.
 *   -ENOTDIR, -EISDIR, -ENAMETOOLONG, -ELOOP, -EINVAL, -ENOPROTOOPT
 *                   As for ancillary_listen().
 *   -EPERM          A datagram socket that is connected to another one; or a
 *                   security policy forbids it.
 *   -EMFILE, -ENFILE, -ENOMEM, -ENOBUFS
 *                   A table or memory is full.
 *   -EIO            The file system has failed.
 *   -EAFNOSUPPORT   As for ancillary_listen().
 *
 * Not a cancellation point (pthread_cancel(3)).
 */
ANCILLARY_MUST_CHECK
int ancillary_connect(const char *path,
                      int type,
                      unsigned int flags)
ANCILLARY_NONNULL(1);

/**
 * Send descriptors, in the way of the older libancillary.
 *
 * For programs written to that library, which had the six functions whose
 * names begin with ancil_; new ones do better with ancillary_send_fds().  See
 * ancil_send_fd(3) for what is the same and what is mended.
 *
 *   sock     a connected AF_UNIX socket
 *   fds      the descriptors, borrowed
 *   n_fds    how many, 0 to 253; with 0 the bare byte is sent
 *   buffer   not used any more; may be NULL
 *
 * What goes over the socket is one byte, '!', with one SCM_RIGHTS message.
 *
 * Returns 0, or -1 with errno set as by ancillary_send_fds(); more than 253
 * descriptors are EINVAL.
 */
int ancil_send_fds_with_buffer(int sock,
                               const int *fds,
                               unsigned int n_fds,
                               void *buffer);

/**
 * Receive descriptors, in the way of the older libancillary.
 *
 *   sock     an AF_UNIX socket
 *   fds      where they go
 *   n_fds    how many are asked for, 0 to 253; with 0 the bare byte is
 *            received
 *   buffer   not used any more; may be NULL
 *
 * Receives one byte, whatever its value.  The descriptors are yours to close,
 * and not close-on-exec.  If more come than asked for, the others are closed.
 *
 * Returns how many were received, with -1 in the slots behind them; or -1 with
 * errno set, and -1 in all slots: to ENOMSG for a byte without a descriptor
 * where some were asked for, to EPIPE when the peer has closed, to EMFILE when
 * the table of descriptors is so full that none could be received, to EINVAL
 * for more than 253, else as by ancillary_recv_fds().
 */
int ancil_recv_fds_with_buffer(int sock,
                               int *fds,
                               unsigned int n_fds,
                               void *buffer);

/**
 * ancil_send_fds_with_buffer() without a buffer.
 */
int ancil_send_fds(int sock, const int *fds, unsigned int n_fds);

/**
 * ancil_recv_fds_with_buffer() without a buffer.
 */
int ancil_recv_fds(int sock, int *fds, unsigned int n_fds);

/**
 * Send one descriptor, in the way of the older libancillary: as
 * ancil_send_fds() with one.
 */
int ancil_send_fd(int sock, int fd);

/**
 * Receive one descriptor, in the way of the older libancillary.
 *
 *   sock   an AF_UNIX socket
 *   fd     where it goes: yours to close, and not close-on-exec
 *
 * Returns 0, or -1 with errno set as by ancil_recv_fds(), and *fd is -1.
 */
int ancil_recv_fd(int sock, int *fd) ANCILLARY_NONNULL(2);

#ifdef __cplusplus
}
#endif

#endif /* ANCILLARY_H */
