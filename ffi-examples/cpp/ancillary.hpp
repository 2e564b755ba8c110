// SPDX-License-Identifier: MIT OR Apache-2.0

/// \file
/// Files and credentials over Unix sockets: libancillary for C++17.
///
/// A process hands an open file to another over a Unix socket, and tells who it is:
///
///     ancillary::Descriptor listener = ancillary::listen("/run/example", 0600);      // one process
///     ancillary::Descriptor sock(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
///     ancillary::Message message = ancillary::receive(sock, 1, 4096);
///     ... read(message.files.at(0).get(), ...
///
///     ancillary::Descriptor sock = ancillary::connect("/run/example");               // another
///     std::vector<ancillary::Descriptor> files;
///     files.emplace_back(open("/etc/hostname", O_RDONLY | O_CLOEXEC));
///     ancillary::send(sock, files, "a name");
///
/// Whatever comes has an owner, a Descriptor, which closes it when it goes out of scope; it can be
/// moved and not copied. Descriptors are close-on-exec. What is sent stays the sender's.
///
/// Errors are std::system_error, made from what the function of the library has returned:
/// std::errc::argument_list_too_long (more descriptors came than there is room for),
/// too_many_files_open, broken_pipe (the peer has closed), no_message (a message without
/// credentials), resource_unavailable_try_again (a call that may not wait came too early). What
/// came with such a message is closed; with ANCILLARY_LOSSLESS it stays queued where there is too
/// little room for it, and can be received later. A path with a zero byte is a
/// std::invalid_argument.
///
/// An exception loses nothing: memory is there before something can come. Nor does the end of a
/// thread that is cancelled while it waits (pthread_cancel(3)), which unwinds its stack: what has
/// come is closed. (A message that comes in that very moment can be lost with the thread. Where
/// that matters, wait in poll(2), and receive with ANCILLARY_DONTWAIT while cancellation is
/// disabled.) Closing is no cancellation point, so destructors do not end a thread.
///
/// All functions may be called by several threads at once. A Descriptor belongs to one of them at a
/// time; one that others are in a call with is not to be destroyed: its number can be that of
/// another file then.

#ifndef ANCILLARY_HPP
#define ANCILLARY_HPP

#include <ancillary.h>

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/socket.h>
#include <sys/types.h>

namespace ancillary {

/// An open file, pipe, socket or whatever else, which is closed with this.
class Descriptor {
public:
	/// Takes a number over; a negative one is no descriptor.
	explicit Descriptor(int number) noexcept : fd(number) {}
	Descriptor(Descriptor &&other) noexcept : fd(other.release()) {}
	Descriptor &operator=(Descriptor &&other) noexcept
	{
		std::swap(fd, other.fd);
		return *this;
	}
	Descriptor(const Descriptor &) = delete;
	Descriptor &operator=(const Descriptor &) = delete;
	~Descriptor() { ancillary_close_fds(&fd, 1); }

	/// The number, which stays this object's to close.
	int get() const noexcept { return fd; }
	/// The number, which is the caller's to close.
	int release() noexcept { return std::exchange(fd, -1); }

private:
	int fd;
};

/// What a function of the library has returned, or its error as an exception.
inline std::size_t checked(ssize_t result)
{
	if (result < 0)
		throw std::system_error(static_cast<int>(-result), std::generic_category());
	return static_cast<std::size_t>(result);
}

/// A path for C, which would take one with a zero byte for a shorter one.
/// \throws std::invalid_argument
inline const char *whole(const std::string &path)
{
	if (path.find('\0') != std::string::npos)
		throw std::invalid_argument("the path contains null bytes");
	return path.c_str();
}

/// A stream socket that others connect to.
/// \param path of its file, which stays; one that begins with @ is an abstract name, without a file
/// \param mode the permissions of the file, less the umask
/// \param flags ANCILLARY_REPLACE: a file that nobody listens on gives way; and, for the first message
///        already and inherited by what accept(2) returns: ANCILLARY_PASSCRED (the identity of the
///        sender comes with each message), ANCILLARY_PASSPIDFD, ANCILLARY_NORIGHTS (descriptors are
///        refused)
inline Descriptor listen(const std::string &path, mode_t mode, unsigned flags = ANCILLARY_REPLACE)
{
	Descriptor sock(ancillary_listen(whole(path), SOCK_STREAM, mode, flags));
	checked(sock.get());
	return sock;
}

/// A stream socket that is connected.
/// \param flags ANCILLARY_DONTWAIT, ANCILLARY_INTR, and the last three of listen()
inline Descriptor connect(const std::string &path, unsigned flags = 0)
{
	Descriptor sock(ancillary_connect(whole(path), SOCK_STREAM, flags));
	checked(sock.get());
	return sock;
}

/// Sends descriptors with data; without data, a byte of zero goes for each message that it takes.
/// \param flags ANCILLARY_DONTWAIT, ANCILLARY_INTR
/// \returns how many bytes have gone: all of them, if the call may wait and no signal ends it
inline std::size_t send(const Descriptor &sock, const std::vector<Descriptor> &files,
                        std::string_view data, unsigned flags = 0)
{
	std::vector<int> fds;
	fds.reserve(files.size());
	for (const Descriptor &file : files)
		fds.push_back(file.get());
	return checked(ancillary_send_fds(sock.get(), fds.data(), fds.size(),
	                                  data.empty() ? nullptr : data.data(), data.size(), flags));
}

/// What has been received.
struct Message {
	std::string data;
	std::vector<Descriptor> files;
};

/// Receives up to size bytes with up to room descriptors. Without data the peer has closed.
/// \param flags ANCILLARY_WAITALL: until the peer has closed or there are size bytes;
///        ANCILLARY_LOSSLESS, ANCILLARY_DONTWAIT, ANCILLARY_INTR
inline Message receive(const Descriptor &sock, std::size_t room, std::size_t size,
                       unsigned flags = 0)
{
	// The library writes to these numbers. What is not handed over is closed, also when the stack
	// is unwound because the thread is cancelled.
	struct Numbers : std::vector<int> {
		using vector::vector;
		~Numbers() { ancillary_close_fds(data(), size()); }
	};
	Numbers fds(room, -1);
	Message message{std::string(size, '\0'), {}};
	message.files.reserve(room);
	message.data.resize(checked(ancillary_recv_fds(sock.get(), fds.data(), &room,
	                                               message.data.data(), size, flags)));
	for (std::size_t i = 0; i < room; i++)
		message.files.emplace_back(std::exchange(fds[i], -1));
	return message;
}

/// Asks for the identity of the sender with each message that the socket receives.
inline void pass_creds(const Descriptor &sock, bool on = true)
{
	checked(ancillary_set_passcred(sock.get(), on));
}

/// Sends data with the identity of this process; without data, a byte of zero.
inline std::size_t send_creds(const Descriptor &sock, std::string_view data, unsigned flags = 0)
{
	return checked(ancillary_send_creds(sock.get(), nullptr, data.empty() ? nullptr : data.data(),
	                                    data.size(), flags));
}

/// Receives up to size bytes with the identity of their sender. Without data the peer has closed.
inline std::pair<std::string, ancillary_creds> receive_creds(const Descriptor &sock,
                                                             std::size_t size, unsigned flags = 0)
{
	std::pair<std::string, ancillary_creds> message{std::string(size, '\0'), {}};
	auto &[data, creds] = message;
	data.resize(checked(ancillary_recv_creds(sock.get(), &creds, data.data(), size, flags)));
	return message;
}

/// The identity of the process on the other end.
inline ancillary_creds peer(const Descriptor &sock)
{
	ancillary_creds creds;
	checked(ancillary_peer_creds(sock.get(), &creds));
	return creds;
}

} // namespace ancillary

#endif // ANCILLARY_HPP
