// SPDX-License-Identifier: MIT OR Apache-2.0

// What the wrapper promises beyond what pass.cpp shows.

#include "ancillary.hpp"

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

using ancillary::Descriptor;

namespace {

#define CHECK(holds) check(holds, __LINE__, #holds)

void check(bool holds, int line, const char *what)
{
	if (holds)
		return;
	std::cerr << "line " << line << ": " << what << std::endl;
	std::exit(1);
}

std::ptrdiff_t descriptors()
{
	std::filesystem::directory_iterator all("/proc/self/fd");
	return std::distance(begin(all), end(all));
}

Descriptor null()
{
	return Descriptor(open("/dev/null", O_RDONLY | O_CLOEXEC));
}

bool is_open(int number)
{
	return fcntl(number, F_GETFD) >= 0;
}

std::vector<Descriptor> nulls(std::size_t count)
{
	std::vector<Descriptor> files;
	while (files.size() < count)
		files.push_back(null());
	return files;
}

std::error_code error_of(const std::function<void()> &call)
{
	try {
		call();
	} catch (const std::system_error &error) {
		return error.code();
	}
	return {};
}

std::pair<Descriptor, Descriptor> connection()
{
	int both[2];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, both) == 0);
	return {Descriptor(both[0]), Descriptor(both[1])};
}

void a_descriptor_has_one_owner()
{
	Descriptor first = null();
	const int number = first.get();
	Descriptor second = std::move(first);
	CHECK(second.get() == number);
	Descriptor third = null();
	const int other = third.get();
	third = std::move(second);
	CHECK(third.get() == number && is_open(other));
	const int released = third.release();
	CHECK(released == number && third.get() == -1 && is_open(number));
	Descriptor taken(released);
	{
		Descriptor last = std::move(taken);
	}
	CHECK(!is_open(number));
}

void what_comes_is_closed_with_the_message()
{
	auto [ours, theirs] = connection();
	const auto before = descriptors();
	ancillary::send(theirs, nulls(3), "data");
	{
		const ancillary::Message message = ancillary::receive(ours, 3, 10);
		CHECK(message.data == "data" && message.files.size() == 3);
		CHECK(descriptors() == before + 3);
	}
	CHECK(descriptors() == before);
	ancillary::send(theirs, nulls(3), "data");
	CHECK(error_of([&, &sock = ours] { ancillary::receive(sock, 2, 10); }) ==
	      std::errc::argument_list_too_long);
	CHECK(descriptors() == before);
}

void without_loss_what_there_is_no_room_for_stays_queued()
{
	auto [ours, theirs] = connection();
	const Descriptor &sock = ours;
	ancillary::send(theirs, nulls(2), "data");
	CHECK(error_of([&] { ancillary::receive(sock, 1, 10, ANCILLARY_LOSSLESS); }) ==
	      std::errc::argument_list_too_long);
	CHECK(error_of([&] { ancillary::receive_creds(sock, 10, ANCILLARY_LOSSLESS); }) ==
	      std::errc::argument_list_too_long);
	const ancillary::Message message = ancillary::receive(sock, 2, 10, ANCILLARY_LOSSLESS);
	CHECK(message.data == "data" && message.files.size() == 2);
}

void a_path_is_not_cut()
{
	const std::string name = "/nowhere/name" + std::string("\0more", 5);
	const std::function<void()> calls[] = {
		[&] { ancillary::listen(name, 0600); },
		[&] { ancillary::connect(name); },
	};
	for (const auto &call : calls) {
		bool refused = false;
		try {
			call();
		} catch (const std::invalid_argument &) {
			refused = true;
		} catch (const std::system_error &) {
			// What was made of it has been looked for.
		}
		CHECK(refused);
	}
}

void options_hold_for_the_first_message()
{
	const std::string name = "@ancillary-" + std::to_string(getpid());
	const Descriptor listener = ancillary::listen(name, 0600, ANCILLARY_PASSCRED);
	const Descriptor sock = ancillary::connect(name);
	ancillary::send(sock, {}, "data");
	const Descriptor accepted(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
	CHECK(ancillary::receive_creds(accepted, 10).second.pid == getpid());
	Descriptor refusing(-1);
	const std::error_code error =
		error_of([&] { refusing = ancillary::connect(name, ANCILLARY_NORIGHTS); });
	if (error) {
		// Linux has it since 6.16.
		CHECK(error == std::errc::no_protocol_option);
		return;
	}
	const Descriptor other(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
	CHECK(error_of([&] { ancillary::send(other, nulls(1), ""); }) ==
	      std::errc::operation_not_permitted);
}

// How many bytes have not been received yet.
int queued(const Descriptor &sock)
{
	int bytes = 0;
	CHECK(ioctl(sock.get(), FIONREAD, &bytes) == 0);
	return bytes;
}

// Whether a thread of this process waits in a system call.
bool sleeps(pid_t thread)
{
	std::string line;
	std::getline(std::ifstream("/proc/self/task/" + std::to_string(thread) + "/stat"), line);
	return line.find(") S ") != std::string::npos;
}

void what_has_come_is_closed_when_a_thread_is_cancelled()
{
	for (int round = 0; round < 100; round++) {
		auto [ours, theirs] = connection();
		const Descriptor &sock = ours;
		const auto before = descriptors();
		ancillary::send(theirs, nulls(3), "some");
		std::atomic<pid_t> number = 0;
		std::thread waiting([&] {
			number = gettid();
			ancillary::receive(sock, 3, 10, ANCILLARY_WAITALL);
		});
		// It has taken what there is, and waits for more.
		while (number == 0 || queued(sock) > 0 || !sleeps(number))
			std::this_thread::yield();
		CHECK(pthread_cancel(waiting.native_handle()) == 0);
		waiting.join();
		CHECK(descriptors() == before);
	}
}

void destructors_do_not_end_a_thread()
{
	bool survived = false;
	std::thread closing([&] {
		Descriptor file = null();
		pthread_cancel(pthread_self());
		{
			const Descriptor closed = std::move(file);
		}
		int old = 0;
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
		survived = true;
	});
	closing.join();
	CHECK(survived);
}

} // namespace

int main()
{
	// What the first thread opens, the C library keeps.
	std::thread([] {}).join();
	const auto before = descriptors();
	a_descriptor_has_one_owner();
	what_comes_is_closed_with_the_message();
	without_loss_what_there_is_no_room_for_stays_queued();
	a_path_is_not_cut();
	options_hold_for_the_first_message();
	what_has_come_is_closed_when_a_thread_is_cancelled();
	destructors_do_not_end_a_thread();
	CHECK(descriptors() == before);
}
