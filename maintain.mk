# Tests, documents, measurements. The Makefile includes this file, so these are targets of `make`:
#
#   make demo         watch a process serve a connection that it never accepted
#   make html         the manual pages as HTML, in $(BUILD)/html (with mandoc)
#
#   make check        the tests
#   make check-c      those in C alone, for which no Rust is needed but that of the library
#   make check-make   what make does in folders of any name, and with what lies in the way
#   make check-mutants   whether they notice when a rule of the core is broken
#   make check-as-user   those that it matters for, as a user without privileges, offline (as root)
#   make check-hostile   the examples against a peer that does its worst, for a minute
#   make check-valgrind  the C tests under valgrind
#   make check-threads   those in which threads share a socket, under ThreadSanitizer
#   make check-msrv   whether the library builds with Rust 1.63 (on Debian)
#   make check-deb    whether Debian 12 suffices to build, install and remove it (on Debian, as root)
#   make cross-check  whether it works on other machines, with musl, as if Linux were 4.18 (the same)
#   make kernel-check  whether it works on Debian's other kernels (on Debian, in virtual machines)
#   make compare-abi  the ABI with that of the last release (with abidiff)
#   make dist         what is released, in $(BUILD)/dist (RELEASING.md)
#   make check-release   whether all is filled in for that
#   make check-dist   whether it can be made, and is enough (as root)
#   make check-rpm    whether packages for Fedora can be made of it (with rpmbuild and rpmlint, as root)
#   make check-arch   whether a package for Arch can be made of it (with makepkg and pacman, as root)
#   make check-licences  whether each file says on what terms it may be used (with $(REUSE))
#   make fuzz         feed the library what no kernel or peer should, for $(FUZZ_SECONDS)
#   make bench        what it takes, beside the system calls and other libraries (in $(BENCH_PAGE))
#
#   make header       generate include/ancillary.h anew from the sources
#   make abi          describe the ABI anew in pkg/ancillary.abi
#   make map          draw the map of the sources in CONTRIBUTING.md anew
#   make picture      draw docs/passing.svg anew (with Python)

FUZZ_SECONDS ?= 60
HOSTILE_SECONDS ?= 10

# The same path from everywhere, as a word of the shell.
override full = $(if $(filter /%,$(firstword $(1))),,"$$PWD"/)$(call quote,$(1))

# Also what .ci/run puts there.
override MADE += abi bench check clippy cross cyclonedx deb examples fuzz go html kernel lint msrv node_modules package.json \
	package-lock.json passing.svg prefix tests threads tools user venv

override HEADER_TOOL = $(CARGO) run --quiet --locked $(OFFLINE) --target-dir $(BUILD)/tools \
	--manifest-path tools/header/Cargo.toml --
# What the tests build, they build with the same crates.
override TESTS = $(if $(VENDOR),VENDOR=$(call full,$(VENDOR))) $(CARGO) test --locked $(OFFLINE) \
	--target-dir $(BUILD)/check
override EXAMPLES := $(patsubst c-examples/%.c,$(BUILD)/examples/%,$(wildcard c-examples/*.c))

.PHONY: examples demo html bench bench-build check check-c check-make check-mutants check-as-user fuzz check-hostile check-valgrind \
	check-threads check-msrv check-deb cross-check kernel-check compare-abi abi map header check-header picture

$(BUILD)/examples/%: c-examples/%.c c-examples/service.h include/ancillary.h $(STATIC)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=c99 -Wall -Wextra -Wpedantic -Iinclude -o $@ $< $(STATIC) $(LDFLAGS)

examples: $(EXAMPLES)

demo: examples
	@sh tools/demo.sh $(BUILD)

# mandoc looks for the pages that a page refers to in the current folder: those are linked to each
# other, and all others to the pages of the system.
override SYSTEM_PAGES := https://man7.org/linux/man-pages/man%S/%N.%S.html
html: | $(MARK)
	rm -rf $(BUILD)/html && mkdir $(BUILD)/html
	cp docs/manual.css $(BUILD)/html
	html=$(call full,$(BUILD)/html) && cd man && for page in *.[37]; do \
		mandoc -T html -O 'style=manual.css,toc,man=%N.%S.html;$(SYSTEM_PAGES)' "$$page" \
			> "$$html/$$page.html" || exit 1; \
	done

picture: | $(MARK)
	python3 tools/picture.py > $(BUILD)/passing.svg
	mv $(BUILD)/passing.svg docs

# The page of docs with the results of this machine, and its plots, go to BENCH_PAGE. All is measured
# BENCH_RUNS times, each of the cases for BENCH_SECONDS or a fraction of that.
BENCH_PAGE = $(BUILD)/bench
BENCH_RUNS ?= 3
BENCH_SECONDS ?= 6
override BENCH := $(BUILD)/bench/cargo/release/bench

bench-build: all examples
	ANCILLARY_BUILD=$(call full,$(BUILD)) $(CARGO) build --release --locked \
		--target-dir $(BUILD)/bench/cargo --manifest-path bench/Cargo.toml

bench: bench-build
	$(BENCH) measure $(BUILD)/bench/results.json $(BENCH_SECONDS) $(BENCH_RUNS)
	$(BENCH) show $(BUILD)/bench/results.json docs/performance.md $(call quote,$(BENCH_PAGE))

header: | $(MARK)
	$(HEADER_TOOL)

check-header: | $(MARK)
	@$(CARGO) fetch --quiet --locked $(OFFLINE) --manifest-path tools/header/Cargo.toml || \
		{ echo "The crates of tools/header are not here" >&2; exit 1; }
	$(HEADER_TOOL) --check

# Of all programs with tests, or of those named: make check ONLY="behaviour examples"
ONLY =
check: | $(MARK)
	@sh tools/check.sh $(BUILD)/check/summary $(call quote,$(TESTS) $(ONLY:%=--test %) --no-fail-fast)

check-c: all
	CC=$(call quote,$(CC)) sh tools/check-c.sh $(BUILD) $(ONLY)

check-make: | $(MARK)
	$(TESTS) --test make

check-mutants: | $(MARK)
	$(TESTS) --test mutants -- --nocapture

check-as-user: | $(MARK)
	CARGO=$(call quote,$(CARGO)) VENDOR=$(call quote,$(VENDOR)) sh tools/check-as-user.sh $(BUILD)/user \
		$(ONLY)

abi: | $(MARK)
	ANCILLARY_WRITE_ABI=1 $(TESTS) --test description

map: | $(MARK)
	ANCILLARY_WRITE_MAP=1 $(TESTS) --test house the_map

fuzz: | $(MARK)
	CARGO=$(call quote,$(CARGO)) sh tools/fuzz.sh $(BUILD)/fuzz $(FUZZ_SECONDS)

compare-abi: | $(MARK)
	sh tools/compare-abi.sh $(BUILD)/abi

check-hostile: | $(MARK)
	ANCILLARY_TEST_SECONDS=$(HOSTILE_SECONDS) $(TESTS) --test hostile

# Memory that is not there or not initialised, also where it is given to the kernel. valgrind keeps
# limits of descriptors to itself, so cases that fill the table are skipped, and the models, of calls
# and of channels, which fill it now and then; they and the races of many processes take it too long
# as well, and call nothing that the others do not. `mixed` executes itself by a name in /proc, which
# there is valgrind.
check-valgrind: | $(MARK)
	ANCILLARY_REQUIRE_ALL= ANCILLARY_TEST_SHARE=10 RING_PASSES=50000 \
	ANCILLARY_TEST_RUNNER='valgrind -q --num-callers=20 --fair-sched=try --error-exitcode=99 --suppressions=tools/memcheck.supp' \
	$(TESTS) --test behaviour shared -- --skip appear --skip mixed --skip model --skip replace

# The library itself is not instrumented. The sanitizer's runtime stands in front of the C library,
# and sees from the arguments of sendmsg(2) and recvmsg(2) which memory they read and write, also that
# of the library, of which two threads must not share any. It does not see close_range(2), and takes
# a number that is used again for a race, so only cases that close one by one are run. It has fixed
# places in memory, and does not start where the kernel takes them for something else.
check-threads: $(SHARED)
	$(CC) -fsanitize=thread -std=c99 -g -O1 -pthread -Iinclude -o $(BUILD)/threads \
		$(addprefix tests/c/,threads.c check.c kit.c) $(SHARED) -Wl,-rpath,'$$ORIGIN'
	TSAN_OPTIONS=halt_on_error=1 $$(setarch -R true 2> /dev/null && echo setarch -R) \
		$(BUILD)/threads two_readers_share_a_socket two_writers_share_a_socket

check-msrv: | $(MARK)
	sh tools/check-msrv.sh $(BUILD)/msrv

check-deb: | $(MARK)
	CARGO=$(call quote,$(CARGO)) VENDOR=$(call quote,$(VENDOR)) sh tools/check-deb.sh $(BUILD)/deb

cross-check: | $(MARK)
	CARGO=$(call quote,$(CARGO)) VENDOR=$(call quote,$(VENDOR)) sh tools/check-cross.sh $(BUILD)/cross

kernel-check: all
	CC=$(call quote,$(CC)) sh tools/check-kernel.sh $(BUILD)/kernel

# --- a release ---

.PHONY: dist check-release check-dist check-rpm check-arch check-licences

override MADE += dist

dist: | $(MARK)
	CARGO=$(call quote,$(CARGO)) sh tools/dist.sh $(BUILD)/dist

check-release:
	sh tools/check-release.sh

check-dist:
	CARGO=$(call quote,$(CARGO)) sh tools/check-dist.sh

check-rpm:
	CARGO=$(call quote,$(CARGO)) sh tools/check-rpm.sh

check-arch:
	CARGO=$(call quote,$(CARGO)) sh tools/check-arch.sh

REUSE ?= reuse

check-licences:
	sh tools/check-licences.sh $(call quote,$(REUSE))
