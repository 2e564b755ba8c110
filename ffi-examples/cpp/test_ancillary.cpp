// SPDX-License-Identifier: MIT OR Apache-2.0

// What the wrapper promises beyond what pass.cpp shows.

#include "ancillary.hpp"

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

using ancillary::Descriptor;

namespace {

// How many times this thread still gets memory, until it is refused once; 0: always.
thread_local unsigned memory_left = 0;

void *memory(std::size_t size)
{
	void *found = memory_left > 0 && --memory_left == 0 ? nullptr : std::malloc(size);
	return found != nullptr ? found : throw std::bad_alloc();
}

} // namespace

// Those of the whole program.
void *operator new(std::size_t size) { return memory(size); }
void operator delete(void *old) noexcept { std::free(old); }
void operator delete(void *old, std::size_t) noexcept { std::free(old); }

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

// A number of the environment.
unsigned setting(const char *name, unsigned otherwise)
{
	const char *given = std::getenv(name);
	return given != nullptr ? static_cast<unsigned>(std::stoul(given)) : otherwise;
}

// What comes at random, the same for the same seed.
class Chance {
public:
	Chance() { std::cerr << "seed " << seed << std::endl; }
	// One of so many numbers.
	unsigned of(unsigned count)
	{
		return std::uniform_int_distribution<unsigned>(0, count - 1)(numbers);
	}

private:
	unsigned seed = setting("ANCILLARY_TEST_SEED", std::random_device()());
	std::mt19937 numbers{seed};
};

// Opens and closes files as long as it is there: nobody else may close one of them.
class Bystander {
public:
	Bystander() = default;
	Bystander(const Bystander &) = delete;
	Bystander &operator=(const Bystander &) = delete;
	~Bystander()
	{
		leaves = true;
		opening.join();
	}

private:
	void run() const
	{
		struct stat expected;
		CHECK(stat("/dev/null", &expected) == 0);
		while (!leaves) {
			for (const Descriptor &file : nulls(8)) {
				struct stat found;
				CHECK(fstat(file.get(), &found) == 0 && found.st_rdev == expected.st_rdev);
			}
			// The others are to get on.
			std::this_thread::sleep_for(std::chrono::microseconds(50));
		}
	}

	std::atomic<bool> leaves = false;
	std::thread opening{[this] { run(); }};
};

// Takes what is still queued.
void drain(const Descriptor &sock)
{
	while (queued(sock) > 0) {
		try {
			ancillary::receive(sock, 8, 100, ANCILLARY_DONTWAIT);
		} catch (const std::system_error &) {
			// More files than that.
		}
	}
}

// Lets what a thread does go on for a while.
void let_go_on(Chance &chance)
{
	for (unsigned left = chance.of(30); left > 0; left--)
		std::this_thread::yield();
}

void wherever_memory_is_refused_each_descriptor_is_closed_once(Chance &chance)
{
	const unsigned wanted = setting("ANCILLARY_TEST_INTERRUPTIONS", 500);
	const auto before = descriptors();
	{
		const Bystander bystander;
		const std::string name = "@ancillary-" + std::to_string(getpid());
		const auto [ours, theirs] = connection();
		ancillary::pass_creds(ours);
		for (unsigned count = 0; count < wanted; drain(ours)) {
			const unsigned files = chance.of(6), room = chance.of(6);
			const bool bytes_alone = chance.of(4) == 0;
			memory_left = 1 + chance.of(25);
			try {
				const Descriptor listener = ancillary::listen(name, 0600);
				const Descriptor sock = ancillary::connect(name);
				ancillary::send(theirs, nulls(files), "some");
				ancillary::send_creds(theirs, "more");
				if (bytes_alone)
					ancillary::receive_creds(ours, 8, ANCILLARY_DONTWAIT);
				else
					ancillary::receive(ours, room, 8, ANCILLARY_WAITALL);
			} catch (const std::bad_alloc &) {
				count++;
			} catch (const std::system_error &) {
				// More files have come than there was room for.
			}
			memory_left = 0;
		}
	}
	CHECK(descriptors() == before);
}

void whenever_a_thread_is_cancelled_each_descriptor_is_closed_once(Chance &chance)
{
	const unsigned wanted = setting("ANCILLARY_TEST_INTERRUPTIONS", 300);
	const auto before = descriptors();
	{
		const Bystander bystander;
		for (unsigned count = 0; count < wanted; count++) {
			const auto ends = connection();
			const auto &[ours, theirs] = ends;
			const auto send = [&chance, &sock = theirs] {
				ancillary::send(sock, nulls(chance.of(4)), "some");
			};
			// In one call, which is not to be cancelled just when something comes.
			const bool in_one = chance.of(2) == 0;
			std::atomic<pid_t> number = 0;
			std::thread waiting([in_one, &number, &sock = ours] {
				number = gettid();
				if (in_one)
					ancillary::receive(sock, 20, 100, ANCILLARY_WAITALL);
				for (;;) {
					pollfd readable = {sock.get(), POLLIN, 0};
					poll(&readable, 1, -1);
					int old = 0;
					pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
					try {
						ancillary::receive(sock, 3, 2, ANCILLARY_DONTWAIT);
					} catch (const std::system_error &) {
						// It has been read by the last call.
					}
					pthread_setcancelstate(old, &old);
				}
			});
			for (unsigned left = chance.of(4); left > 0; left--) {
				send();
				let_go_on(chance);
			}
			while (in_one && (number == 0 || queued(ours) > 0 || !sleeps(number)))
				std::this_thread::yield();
			CHECK(pthread_cancel(waiting.native_handle()) == 0);
			if (!in_one)
				send();
			waiting.join();
		}
	}
	CHECK(descriptors() == before);
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
	Chance chance;
	wherever_memory_is_refused_each_descriptor_is_closed_once(chance);
	whenever_a_thread_is_cancelled_each_descriptor_is_closed_once(chance);
	CHECK(descriptors() == before);
}
