// Passes files between processes, as ../README.md says. The wrapper is the namespace ancillary.

#include <ancillary.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

// Files and credentials over Unix sockets. Errors are std::system_error, made from what the
// function returned, and everything received has an owner that closes it.
namespace ancillary {

class Descriptor {
public:
	explicit Descriptor(int number) noexcept : fd(number) {}
	Descriptor(Descriptor &&other) noexcept : fd(std::exchange(other.fd, -1)) {}
	Descriptor &operator=(Descriptor &&other) noexcept
	{
		std::swap(fd, other.fd);
		return *this;
	}
	~Descriptor()
	{
		if (fd >= 0)
			close(fd);
	}
	int get() const noexcept { return fd; }

private:
	int fd;
};

inline std::size_t checked(ssize_t result)
{
	if (result < 0)
		throw std::system_error(static_cast<int>(-result), std::generic_category());
	return static_cast<std::size_t>(result);
}

// A stream socket that others connect to, in the place of a dead one. The file stays.
inline Descriptor listen(const std::string &path, mode_t mode)
{
	int fd = ancillary_listen(path.c_str(), SOCK_STREAM, mode, ANCILLARY_REPLACE);
	checked(fd);
	return Descriptor(fd);
}

inline Descriptor connect(const std::string &path)
{
	int fd = ancillary_connect(path.c_str(), SOCK_STREAM, 0);
	checked(fd);
	return Descriptor(fd);
}

// Sends files with data, and returns how many bytes have gone. Without data, a byte of zero goes
// for each message that it takes.
inline std::size_t send(const Descriptor &sock, const std::vector<Descriptor> &files,
                        std::string_view data)
{
	std::vector<int> fds;
	for (const Descriptor &file : files)
		fds.push_back(file.get());
	return checked(ancillary_send_fds(sock.get(), fds.data(), fds.size(),
	                                  data.empty() ? nullptr : data.data(), data.size(), 0));
}

struct Message {
	std::string data;
	std::vector<Descriptor> files;
};

// Receives until the peer has closed or there are size bytes. More files than room, or than the
// process can have open, are an error.
inline Message receive_all(const Descriptor &sock, std::size_t room, std::size_t size)
{
	Message message{std::string(size, '\0'), {}};
	std::vector<int> fds(room);
	// There is no memory to be found once they have come.
	message.files.reserve(room);
	message.data.resize(checked(ancillary_recv_fds(sock.get(), fds.data(), &room,
	                                               message.data.data(), size, ANCILLARY_WAITALL)));
	for (std::size_t i = 0; i < room; i++)
		message.files.emplace_back(fds[i]);
	return message;
}

// Asks for the identity of the sender with each message that the socket receives.
inline void pass_creds(const Descriptor &sock)
{
	checked(ancillary_set_passcred(sock.get(), 1));
}

// Sends data with the identity of this process; without data, a byte of zero.
inline std::size_t send_creds(const Descriptor &sock, std::string_view data)
{
	return checked(ancillary_send_creds(sock.get(), nullptr, data.empty() ? nullptr : data.data(),
	                                    data.size(), 0));
}

// Receives up to size bytes with the identity of their sender.
inline std::pair<std::string, ancillary_creds> receive_creds(const Descriptor &sock,
                                                             std::size_t size)
{
	std::pair<std::string, ancillary_creds> message{std::string(size, '\0'), {}};
	auto &[data, creds] = message;
	data.resize(checked(ancillary_recv_creds(sock.get(), &creds, data.data(), size, 0)));
	return message;
}

// The identity of the process on the other end.
inline ancillary_creds peer(const Descriptor &sock)
{
	ancillary_creds creds;
	checked(ancillary_peer_creds(sock.get(), &creds));
	return creds;
}

} // namespace ancillary

namespace {

using ancillary::Descriptor;

const char USAGE[] = "Usage: pass send SOCKET N [PAYLOAD]\n"
                     "       pass recv SOCKET MAX [TIMES]\n"
                     "       pass creds SOCKET [TIMES]\n"
                     "       pass peer SOCKET\n";

const std::size_t PAYLOAD_ROOM = 65536;

class Closed : public std::exception {};

// The result of a function of the C library.
int checked(int result)
{
	if (result < 0)
		throw std::system_error(errno, std::generic_category());
	return result;
}

// Does something that may fail, tells why, and returns whether all of it went well.
bool attempt(const std::string &command, const std::function<bool()> &action)
{
	try {
		return action();
	} catch (const std::system_error &error) {
		std::cerr << command << ": " << error.code().message() << std::endl;
	} catch (const Closed &) {
		std::cerr << command << ": The peer has closed" << std::endl;
	}
	return false;
}

// A temporary file without a name, which is at its beginning.
Descriptor unnamed(const std::string &content)
{
	std::string name = std::filesystem::temp_directory_path() / "pass-XXXXXX";
	Descriptor file(checked(mkostemp(name.data(), O_CLOEXEC)));
	unlink(name.c_str());
	// What is written so leaves the position, which the receiver shares, where it is.
	checked(static_cast<int>(pwrite(file.get(), content.data(), content.size(), 0)));
	return file;
}

std::string read_all(const Descriptor &file)
{
	std::string content;
	char part[4096];
	while (int length = checked(static_cast<int>(read(file.get(), part, sizeof part))))
		content.append(part, static_cast<std::size_t>(length));
	return content;
}

// Sends, and closes the files and the socket.
std::size_t send_and_close(Descriptor sock, std::size_t count, const std::string &payload)
{
	if (count == 0)
		return ancillary::send_creds(sock, payload);
	std::vector<Descriptor> files;
	for (std::size_t i = 1; i <= count; i++)
		files.push_back(unnamed("file " + std::to_string(i) + " of " + std::to_string(count) +
		                        ", made by " + std::to_string(getpid()) + "\n"));
	return ancillary::send(sock, files, payload);
}

bool send_one(Descriptor sock, std::size_t count, const std::string &payload)
{
	std::size_t sent = send_and_close(std::move(sock), count, payload);
	std::cout << "sent " << count << " descriptors, " << sent << " bytes" << std::endl;
	return true;
}

// Sends each line of standard input on a connection of its own.
bool send_lines(const std::string &path, std::size_t count)
{
	bool fine = true;
	for (;;) {
		Descriptor sock = ancillary::connect(path);
		std::string line;
		if (!std::getline(std::cin, line))
			return fine;
		fine &= attempt("send", [&] { return send_one(std::move(sock), count, line); });
	}
}

void receive_files(Descriptor sock, std::size_t room)
{
	ancillary::Message message = ancillary::receive_all(sock, room, PAYLOAD_ROOM);
	if (message.data.empty())
		throw Closed();
	std::cout << "received " << message.files.size() << " descriptors, " << message.data.size()
	          << " bytes\npayload: " << message.data << std::endl;
	for (const Descriptor &file : message.files)
		std::cout << read_all(file);
}

std::ostream &operator<<(std::ostream &out, const ancillary_creds &creds)
{
	return out << "pid " << creds.pid << " uid " << creds.uid << " gid " << creds.gid;
}

void receive_creds(Descriptor sock)
{
	ancillary::pass_creds(sock);
	auto [payload, sender] = ancillary::receive_creds(sock, PAYLOAD_ROOM);
	if (payload.empty())
		throw Closed();
	std::cout << sender << ", " << payload.size() << " bytes\npayload: " << payload << std::endl;
}

// Removes the file of a socket in the end.
struct Removed {
	const std::string &path;
	~Removed() { unlink(path.c_str()); }
};

// Has each connection served, and closed.
bool serve(const std::string &command, const std::string &path, std::size_t times,
           const std::function<void(Descriptor)> &receive)
{
	bool fine = true;
	Descriptor listener = ancillary::listen(path, 0600);
	Removed removed{path};
	while (times-- > 0) {
		Descriptor sock(checked(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)));
		std::cout << "accepted" << std::endl;
		fine &= attempt(command, [&] {
			receive(std::move(sock));
			return true;
		});
		std::cout << "done" << std::endl;
	}
	return fine;
}

std::size_t number(std::string_view text)
{
	std::size_t value = 0;
	auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
	if (error != std::errc() || end != text.data() + text.size())
		throw std::invalid_argument("not a number");
	return value;
}

// What the arguments ask for.
std::function<bool()> action(const std::vector<std::string> &arguments)
{
	if (arguments.size() < 2)
		throw std::invalid_argument("too few");
	const std::string &command = arguments[0], &path = arguments[1];
	auto given = [&](std::size_t least, std::size_t most) {
		return arguments.size() >= least && arguments.size() <= most;
	};
	auto optional = [&](std::size_t i, const char *otherwise) {
		return i < arguments.size() ? arguments[i] : otherwise;
	};
	if (command == "send" && given(3, 4)) {
		std::size_t count = number(arguments[2]);
		std::string payload = optional(3, "");
		if (payload == "-")
			return [=] { return send_lines(path, count); };
		return [=] { return send_one(ancillary::connect(path), count, payload); };
	}
	if (command == "recv" && given(3, 4)) {
		std::size_t room = number(arguments[2]), times = number(optional(3, "1"));
		return [=] {
			return serve("recv", path, times, [room](Descriptor sock) {
				receive_files(std::move(sock), room);
			});
		};
	}
	if (command == "creds" && given(2, 3)) {
		std::size_t times = number(optional(2, "1"));
		return [=] { return serve("creds", path, times, receive_creds); };
	}
	if (command == "peer" && given(2, 2))
		return [=] {
			std::cout << ancillary::peer(ancillary::connect(path)) << std::endl;
			return true;
		};
	throw std::invalid_argument("no such command");
}

} // namespace

int main(int argc, char **argv)
{
	std::vector<std::string> arguments(argv + 1, argv + argc);
	std::function<bool()> asked;
	try {
		asked = action(arguments);
	} catch (const std::invalid_argument &) {
		std::cerr << USAGE;
		return 2;
	}
	return attempt(arguments[0], asked) ? 0 : 1;
}
