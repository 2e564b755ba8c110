// SPDX-License-Identifier: MIT OR Apache-2.0

// Passes files between processes, as ../README.md says.

#include "ancillary.hpp"

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
	ancillary::Message message = ancillary::receive(sock, room, PAYLOAD_ROOM, ANCILLARY_WAITALL);
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
