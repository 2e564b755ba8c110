# libancillary: build, try, test, install.
#
#   make              the shared and the static library, in $(BUILD)
#   make demo         watch a process serve a connection that it never accepted
#   make check        the tests
#   make check-hostile   the examples against a peer that does its worst, for a minute
#   make check-valgrind  the C tests under valgrind
#   make check-threads   those in which threads share a socket, under ThreadSanitizer
#   make html         the manual pages as HTML, in $(BUILD)/html (with mandoc)
#   make install      libraries, header, pkg-config file and manual pages, below $(DESTDIR)$(PREFIX)
#   make uninstall    removes them
#   make bench        what it takes, beside the system calls and other libraries (in $(BENCH_PAGE))
#   make check-msrv   whether the library builds with Rust 1.63 (on Debian)
#   make fuzz         feed hostile control data to the library for $(FUZZ_SECONDS)
#   make compare-abi  the ABI with that of the last release (with abidiff)
#   make check-deb    whether Debian 12 suffices to build, install and remove it (on Debian, as root)
#   make cross-check  whether it works on other machines, with musl, as if Linux were 4.18 (the same)
#   make header       generate include/ancillary.h anew from the sources
#   make abi          describe the ABI anew in pkg/ancillary.abi
#   make picture      draw docs/passing.svg anew (with Python)
#   make clean        remove $(BUILD) and target
#
# With the crates in a folder `vendor` beside this file (`cargo vendor`), or in $(VENDOR), nothing
# is fetched.
#
# To build for another machine, RUST_TARGET is what Rust calls it, and CC, AR and OBJCOPY are the
# tools for it.

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
DESTDIR ?=
BUILD ?= build

CARGO ?= cargo
RUST_TARGET ?=
CC ?= cc
AR ?= ar
OBJCOPY ?= objcopy
READELF ?= readelf
INSTALL ?= install
CFLAGS ?= -O2
FUZZ_SECONDS ?= 60
HOSTILE_SECONDS ?= 10

SOURCE := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' $(SOURCE)/Cargo.toml)
MAJOR := $(firstword $(subst ., ,$(VERSION)))
SONAME := libancillary.so.$(MAJOR)
SHARED := $(BUILD)/libancillary.so.$(VERSION)
STATIC := $(BUILD)/libancillary.a

VENDOR ?= $(wildcard $(SOURCE)/vendor)
ifneq ($(VENDOR),)
CARGO_OFFLINE := --offline --config 'source.crates-io.replace-with="vendored"' \
	--config 'source.vendored.directory="$(abspath $(VENDOR))"'
endif

RUST_SOURCES := $(wildcard $(SOURCE)/src/*.rs $(SOURCE)/src/*/*.rs) $(addprefix $(SOURCE)/,Cargo.toml Cargo.lock build.rs)
RUST_ARCHIVE := $(BUILD)/cargo/$(if $(RUST_TARGET),$(RUST_TARGET)/)release/libancillary.a
HEADER_TOOL = CARGO_TARGET_DIR=$(abspath $(BUILD))/tools $(CARGO) run --quiet --locked \
	--manifest-path $(SOURCE)/tools/header/Cargo.toml --
TESTS = CARGO_TARGET_DIR=$(abspath $(BUILD))/check $(CARGO) test --locked \
	--manifest-path $(SOURCE)/Cargo.toml
EXAMPLES := $(patsubst $(SOURCE)/c-examples/%.c,$(BUILD)/examples/%,$(wildcard $(SOURCE)/c-examples/*.c))

.PHONY: all examples demo html bench bench-build check fuzz check-hostile check-valgrind \
	check-threads check-msrv check-deb cross-check compare-abi abi header check-header picture \
	install uninstall clean
.DELETE_ON_ERROR:

all: $(SHARED) $(STATIC)

# A thread that is cancelled in a call is unwound through the library: that takes unwind tables,
# which not every target of the compiler has by default. Without a frame pointer they are larger than
# the code that it saves where arguments go by the stack.
FRAME_POINTERS := $(if $(filter i%86-%,$(shell $(CC) -dumpmachine)),-C force-frame-pointers=yes)
$(RUST_ARCHIVE): $(RUST_SOURCES)
	CARGO_TARGET_DIR=$(abspath $(BUILD))/cargo $(CARGO) rustc --release --lib --locked $(CARGO_OFFLINE) \
		$(if $(RUST_TARGET),--target $(RUST_TARGET)) --manifest-path $(SOURCE)/Cargo.toml -- \
		$(if $(RUST_TARGET),-C linker=$(CC)) -C force-unwind-tables=yes $(FRAME_POINTERS)
	@touch $@

# Cargo's archive also holds the Rust compiler's support code. What is installed is one object: our
# code with what it needs of that, which is nothing from today's compilers, and with no global
# names but those of the version script.
$(STATIC): $(RUST_ARCHIVE) $(SOURCE)/pkg/ancillary.map
	rm -rf $@ $(BUILD)/object && mkdir -p $(BUILD)/object
	cd $(BUILD)/object && $(AR) x $(abspath $(RUST_ARCHIVE)) && rm -f *compiler_builtins*
	sed -n 's/^\t\(anc[a-z_]*\);$$/\1/p' $(SOURCE)/pkg/ancillary.map > $(BUILD)/object/names
	$(CC) -r -nostdlib -o $(BUILD)/object/all.o $(BUILD)/object/ancillary*.o $(RUST_ARCHIVE)
	$(OBJCOPY) --keep-global-symbols=$(BUILD)/object/names $(BUILD)/object/all.o $(BUILD)/object/ancillary.o
	$(AR) rcsD $@ $(BUILD)/object/ancillary.o

# rustc links a cdylib with a version script of its own and leaves no place for ours, so the
# shared library is linked from the archive. noseparate-code keeps the pages together.
LINK = $(CC) $(CFLAGS) -shared -nostartfiles -o $@ \
	-Wl,-soname,$(SONAME) -Wl,--version-script=$(SOURCE)/pkg/ancillary.map \
	-Wl,--whole-archive $(STATIC) -Wl,--no-whole-archive -Wl,--gc-sections \
	-Wl,--no-undefined-version,-z,defs,-z,relro,-z,now,-z,noexecstack,-z,noseparate-code

# What is read-only after relocation has to end with a page, and GNU ld pads the file in front of
# it for that. It is linked again with padding behind it instead, which takes memory of that page
# and nothing of the file. Where that part is not the whole of its segment, this would gain nothing.
GAP = $(READELF) -lW $@ | awk '$$1 == "LOAD" { before = end; start = $$2; end = $$2 " " $$5 } \
	$$1 == "GNU_RELRO" && $$2 " " $$5 == end { print start, before }'

$(SHARED): $(STATIC)
	$(LINK) $(LDFLAGS)
	set -- $$($(GAP)) && test $$# -ne 3 || gap=$$(($$1 - $$2 - $$3)) && test "$${gap:-0}" -lt 16 || { \
		printf 'SECTIONS { .relro_padding (NOLOAD) : { . = . + %d; } /DISCARD/ : { *(.comment) } } INSERT AFTER .got;\n' \
			$$((gap / 16 * 16)) > $(BUILD)/padding.ld && \
		$(LINK) $(LDFLAGS) -T $(BUILD)/padding.ld; }
	ln -sf $(notdir $@) $(BUILD)/$(SONAME)
	ln -sf $(SONAME) $(BUILD)/libancillary.so

$(BUILD)/examples/%: $(SOURCE)/c-examples/%.c $(SOURCE)/include/ancillary.h $(STATIC)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=c99 -Wall -Wextra -Wpedantic -I$(SOURCE)/include -o $@ $< $(STATIC) $(LDFLAGS)

examples: $(EXAMPLES)

demo: examples
	@sh $(SOURCE)/tools/demo.sh $(BUILD)

# mandoc looks for the pages that a page refers to in the current folder: those are linked to each
# other, and all others to the pages of the system.
HTML := $(abspath $(BUILD))/html
SYSTEM_PAGES := https://man7.org/linux/man-pages/man%S/%N.%S.html
html:
	rm -rf $(HTML) && mkdir -p $(HTML)
	cp $(SOURCE)/docs/manual.css $(HTML)
	cd $(SOURCE)/man && for page in *.[37]; do \
		mandoc -T html -O 'style=manual.css,toc,man=%N.%S.html;$(SYSTEM_PAGES)' $$page \
			> $(HTML)/$$page.html || exit 1; \
	done

picture:
	python3 $(SOURCE)/tools/picture.py > $(SOURCE)/docs/passing.svg

# The page of docs with the results of this machine, and its plots, go to BENCH_PAGE. Each of the
# cases takes BENCH_SECONDS or a fraction of that.
BENCH_PAGE ?= $(BUILD)/bench
BENCH_SECONDS ?= 20
BENCH := $(BUILD)/bench/cargo/release/bench

bench-build: all examples
	CARGO_TARGET_DIR=$(abspath $(BUILD))/bench/cargo ANCILLARY_BUILD=$(abspath $(BUILD)) \
		$(CARGO) build --release --locked --manifest-path $(SOURCE)/bench/Cargo.toml

bench: bench-build
	$(BENCH) measure $(BUILD)/bench/results.json $(BENCH_SECONDS)
	$(BENCH) show $(BUILD)/bench/results.json $(SOURCE)/docs/performance.md $(BENCH_PAGE)

header:
	$(HEADER_TOOL)

check-header:
	$(HEADER_TOOL) --check

check: check-header
	$(TESTS)

abi:
	ANCILLARY_WRITE_ABI=1 $(TESTS) --test description

fuzz:
	CARGO='$(CARGO)' sh $(SOURCE)/tools/fuzz.sh $(BUILD)/fuzz $(FUZZ_SECONDS)

compare-abi:
	sh $(SOURCE)/tools/compare-abi.sh $(BUILD)/abi

check-hostile:
	ANCILLARY_TEST_SECONDS=$(HOSTILE_SECONDS) $(TESTS) --test hostile

# Memory that is not there or not initialised, also where it is given to the kernel. valgrind keeps
# limits of descriptors to itself, so cases that fill the table are skipped. The model and the races
# of many processes take it too long, and call nothing that the others do not; `mixed` executes
# itself by a name in /proc, which there is valgrind.
check-valgrind:
	ANCILLARY_REQUIRE_ALL= CHECK_SECONDS=300 RING_PASSES=50000 \
	ANCILLARY_TEST_RUNNER='valgrind -q --num-callers=20 --fair-sched=try --error-exitcode=99 --suppressions=$(SOURCE)/tools/memcheck.supp' \
	$(TESTS) --test behaviour shared -- --skip appear --skip mixed --skip model --skip replace

# The library itself is not instrumented. The sanitizer's runtime stands in front of the C library,
# and sees from the arguments of sendmsg(2) and recvmsg(2) which memory they read and write, also that
# of the library, of which two threads must not share any. It does not see close_range(2), and takes
# a number that is used again for a race, so only cases that close one by one are run.
check-threads: $(SHARED)
	$(CC) -fsanitize=thread -std=c99 -g -O1 -pthread -I$(SOURCE)/include -o $(BUILD)/threads \
		$(addprefix $(SOURCE)/tests/c/,threads.c check.c kit.c) $(SHARED) -Wl,-rpath,$(abspath $(BUILD))
	TSAN_OPTIONS=halt_on_error=1 $(BUILD)/threads two_readers_share_a_socket two_writers_share_a_socket

check-msrv:
	sh $(SOURCE)/tools/check-msrv.sh $(BUILD)/msrv

check-deb:
	CARGO='$(CARGO)' VENDOR='$(VENDOR)' sh $(SOURCE)/tools/check-deb.sh $(BUILD)/deb

cross-check:
	CARGO='$(CARGO)' VENDOR='$(VENDOR)' sh $(SOURCE)/tools/check-cross.sh $(BUILD)/cross

# What is installed, and where: of the pkg-config file the paths that lie below the prefix are
# relative to it.
PKGCONFIGDIR := $(LIBDIR)/pkgconfig
MAN3 := $(notdir $(wildcard $(SOURCE)/man/*.3))
MAN7 := $(notdir $(wildcard $(SOURCE)/man/*.7))
# A page has the names of all its functions (mdoc(7), .Nm); the first is that of its file.
names_of = $(filter-out $(basename $(1)),$(shell sed -n '/^.Sh NAME/,/^.Nd/s/^.Nm \([a-z_]*\).*/\1/p' $(SOURCE)/man/$(1)))
MAN3_LINKS := $(foreach page,$(MAN3),$(addsuffix .3,$(call names_of,$(page))))
MANPAGES := $(addprefix $(MANDIR)/man3/,$(MAN3) $(MAN3_LINKS)) $(addprefix $(MANDIR)/man7/,$(MAN7))
INSTALLED := $(addprefix $(LIBDIR)/,libancillary.so.$(VERSION) $(SONAME) libancillary.so libancillary.a) \
	$(INCLUDEDIR)/ancillary.h $(PKGCONFIGDIR)/ancillary.pc $(MANPAGES)
below_prefix = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))

$(BUILD)/ancillary.pc: $(SOURCE)/pkg/ancillary.pc.in $(SOURCE)/Makefile FORCE
	@mkdir -p $(@D)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(call below_prefix,$(LIBDIR))|' \
		-e 's|@INCLUDEDIR@|$(call below_prefix,$(INCLUDEDIR))|' \
		-e 's|@VERSION@|$(VERSION)|' $< > $@

# Its contents depend on variables of this call.
FORCE:

install: all $(BUILD)/ancillary.pc
	$(INSTALL) -d $(addprefix $(DESTDIR),$(LIBDIR) $(INCLUDEDIR) $(PKGCONFIGDIR) $(sort $(dir $(MANPAGES))))
	$(INSTALL) -m 755 $(SHARED) $(DESTDIR)$(LIBDIR)
	ln -sf libancillary.so.$(VERSION) $(DESTDIR)$(LIBDIR)/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(LIBDIR)/libancillary.so
	$(INSTALL) -m 644 $(STATIC) $(DESTDIR)$(LIBDIR)
	$(INSTALL) -m 644 $(SOURCE)/include/ancillary.h $(DESTDIR)$(INCLUDEDIR)
	$(INSTALL) -m 644 $(BUILD)/ancillary.pc $(DESTDIR)$(PKGCONFIGDIR)
	$(INSTALL) -m 644 $(addprefix $(SOURCE)/man/,$(MAN3)) $(DESTDIR)$(MANDIR)/man3
	$(foreach page,$(MAN3),$(foreach name,$(call names_of,$(page)), \
		ln -sf $(page) $(DESTDIR)$(MANDIR)/man3/$(name).3 &&)) :
	$(if $(MAN7),$(INSTALL) -m 644 $(addprefix $(SOURCE)/man/,$(MAN7)) $(DESTDIR)$(MANDIR)/man7)

uninstall:
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))

clean:
	rm -rf $(BUILD) $(SOURCE)/target
