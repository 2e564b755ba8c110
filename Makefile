# libancillary: build and install. The tests, and what else there is to make, are in maintain.mk.
#
#   make            the shared and the static library, in $(BUILD)
#   make install    these, header, pkg-config file, manual and licences, below $(DESTDIR)$(PREFIX)
#   make install-strip   the same, with a shared library that is stripped
#   make uninstall  removes them
#   make clean      removes what was built
#
# With the crates in a folder `vendor` beside this file (`cargo vendor --locked`), or in $(VENDOR),
# nothing is fetched. To build for another machine, RUST_TARGET is what Rust calls it, and CC, AR
# and OBJCOPY are the tools for it.

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
LICENSEDIR ?= $(PREFIX)/share/licenses/libancillary
VENDOR ?= $(wildcard vendor)
# Not from the environment, where it may be another's.
BUILD = build

CARGO ?= cargo
AR ?= ar
OBJCOPY ?= objcopy
INSTALL ?= install
STRIP ?= strip
CFLAGS ?= -O2

# All paths are relative: the name of this folder, which make may not be able to handle, is in none.
ifeq ($(filter Makefile ./Makefile,$(lastword $(MAKEFILE_LIST))),)
$(error Run make in the folder of its Makefile: make -C FOLDER)
endif
include tools/names.mk
# With it, cd(1) may lead elsewhere.
unexport CDPATH

override VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
override SONAME := libancillary.so.$(firstword $(subst ., ,$(VERSION)))
override SHARED := $(BUILD)/libancillary.so.$(VERSION)
override STATIC := $(BUILD)/libancillary.a
override ARCHIVE := $(BUILD)/cargo/libancillary.a
override OBJECT := $(BUILD)/object/ancillary.o
override SOURCES := src Cargo.toml Cargo.lock build.rs pkg/ancillary.map

all: $(SHARED) $(STATIC)
	@touch $(MARK)
.PHONY: all install install-strip uninstall clean FORCE
.DELETE_ON_ERROR:
# What is asked for at once, such as clean, all and install, is done in that order.
.NOTPARALLEL:

# What there may be in $(BUILD), and what says that it was made here, and when all of it was up to date.
override MADE := cargo linker object libancillary.a libancillary.so*
override MARK := $(BUILD)/.made-by-libancillary
override is_empty = there=$$(ls -A $(BUILD)) && test -z "$$there"
$(MARK):
	@mkdir -p $(BUILD) && $(is_empty) || \
		{ echo "$(BUILD) has what was not built here (no $(@F)): make BUILD=ANOTHER/FOLDER" >&2; exit 1; }
	@echo "'make clean' removes what 'make' has made in this folder." > $@

# Cargo knows whether anything is to be done. The library takes unwind tables, for a thread that is
# cancelled in a call, and link-time optimisation, whatever its user has set for all programs.
# Without a frame pointer the tables of i386 are larger than the code that it saves.
override RUSTC_FLAGS = -C force-unwind-tables=yes $(if \
	$(filter i%86-%,$(shell $(CC) -dumpmachine)),-C force-frame-pointers=yes)
override PROFILE := --config 'profile.release.lto="fat"' --config 'profile.release.panic="abort"' \
	--config profile.release.codegen-units=1
override OFFLINE = $(if $(VENDOR),--offline --config 'source.crates-io.replace-with="vendored"' \
	--config $(call quote,source.vendored.directory='''$(VENDOR)'''))
# CC may be several words, and Rust takes one.
override LINKER := $(BUILD)/linker
override LINK = $(if $(RUST_TARGET),--config "target.$(RUST_TARGET).linker='$(LINKER)'")
$(ARCHIVE): FORCE | $(MARK)
	@printf '#!/bin/sh\nexec %s "$$@"\n' $(call quote,$(CC)) > $(LINKER) && chmod +x $(LINKER)
	target=$(RUST_TARGET) && target=$${target:-$$($(CARGO) -vV | sed -n 's/^host: //p')} && \
	CARGO_INCREMENTAL=0 $(CARGO) rustc --release --lib --locked $(OFFLINE) $(PROFILE) $(LINK) \
		--target-dir $(BUILD)/cargo --target "$$target" -- $(RUSTC_FLAGS) && \
	built=$(BUILD)/cargo/$$target/release/libancillary.a && { cmp -s "$$built" $@ || cp "$$built" $@; }

# Cargo's archive also holds the Rust compiler's support code. What is installed is one object: our
# code with what it needs of that, which is nothing from today's compilers, and with no global
# names but those of the version script. It gets its name when it is whole, as the libraries do: what
# is left where make was killed is not taken for one.
$(OBJECT): $(ARCHIVE) pkg/ancillary.map Makefile
	rm -rf $(@D) && mkdir $(@D)
	cd $(@D) && $(AR) x ../cargo/libancillary.a && rm -f *compiler_builtins*
	sed -n 's/^\t\(anc[a-z_]*\);$$/\1/p' pkg/ancillary.map > $(@D)/names
	$(CC) -r -nostdlib -o $(@D)/all.o $(@D)/ancillary*.o $(ARCHIVE)
	$(OBJCOPY) --keep-global-symbols=$(@D)/names $(@D)/all.o $(@D)/whole.o
	mv $(@D)/whole.o $@

# rustc links a cdylib with a version script of its own and leaves no place for ours. This ends the
# build where a panic can be reached: the function that it would call is nowhere.
$(SHARED): $(OBJECT)
	$(CC) $(CFLAGS) -shared -nostartfiles -o $(<D)/$(@F) $< -Wl,-soname,$(SONAME) \
		-Wl,--version-script=pkg/ancillary.map,--no-undefined-version \
		-Wl,-z,defs,-z,relro,-z,now,-z,noexecstack $(LDFLAGS) || \
		{ echo "If a name is undefined, a panic can be reached, or link-time optimisation is off." >&2; exit 1; }
	mv $(<D)/$(@F) $@
	ln -sfn $(@F) $(BUILD)/$(SONAME)
	ln -sfn $(SONAME) $(BUILD)/libancillary.so

# After the link of the other, which proves that nothing but libc is needed.
$(STATIC): $(SHARED)
	rm -f $(OBJECT:.o=.a)
	$(AR) rcsD $(OBJECT:.o=.a) $(OBJECT)
	mv $(OBJECT:.o=.a) $@

override lib = $(call quote,$(DESTDIR)$(LIBDIR))
override include = $(call quote,$(DESTDIR)$(INCLUDEDIR))
override man = $(call quote,$(DESTDIR)$(MANDIR))
override licences = $(call quote,$(DESTDIR)$(LICENSEDIR))
override below_prefix = $(call quote,$(subst $(newline),,$(subst $(newline)$(PREFIX)/,$${prefix}/,$(newline)$(1))))
# For each name that a page of the manual has (mdoc(7), .Nm); the first is that of its file.
override for_names = for page in man/*.[37]; do section=$${page\#\#*.}; \
	for name in $$(sed -n '/^.Sh NAME/,/^.Nd/s/^.Nm \([a-z_]*\).*/\1/p' "$$page"); do

# It builds nothing: root would leave files in a user's folder. What was built before the sources
# became others is refused. What stands in the place of a file is replaced, also a link, wherever
# that leads.
install:
	@test -e $(SHARED) && test -e $(STATIC) && test -e $(MARK) || \
		{ echo "Nothing is built yet: make" >&2; exit 1; }
	@newer=$$(find $(SOURCES) -type f -name '[!.]*' -newer $(MARK) | head -n 1) && \
		{ test -z "$$newer" || { echo "$$newer is newer than what is built: make" >&2; exit 1; }; }
	umask 022 && mkdir -p $(lib)/pkgconfig $(include) $(man)/man3 $(man)/man7 $(licences)
	$(INSTALL) -m 755 $(SHARED) $(lib)
	ln -sfn libancillary.so.$(VERSION) $(lib)/$(SONAME)
	ln -sfn $(SONAME) $(lib)/libancillary.so
	$(INSTALL) -m 644 $(STATIC) $(lib)
	$(INSTALL) -m 644 include/ancillary.h $(include)
	rm -f $(lib)/pkgconfig/ancillary.pc
	{ printf '%s\n' prefix=$(call quote,$(PREFIX)) libdir=$(call below_prefix,$(LIBDIR)) \
		includedir=$(call below_prefix,$(INCLUDEDIR)) 'Version: $(VERSION)' && \
		cat pkg/ancillary.pc.in; } > $(lib)/pkgconfig/ancillary.pc
	chmod 644 $(lib)/pkgconfig/ancillary.pc
	$(for_names) if test "$$page" = "man/$$name.$$section"; \
		then $(INSTALL) -m 644 "$$page" $(man)/man$$section; \
		else ln -sfn "$${page#man/}" $(man)/man$$section/$$name.$$section; fi || exit 1; done; done
	$(INSTALL) -m 644 LICENSE-MIT LICENSE-APACHE $(licences)

install-strip: install
	$(STRIP) --strip-unneeded $(lib)/libancillary.so.$(VERSION)

uninstall:
	rm -f $(lib)/libancillary.so.$(VERSION) $(lib)/$(SONAME) $(lib)/libancillary.so \
		$(lib)/libancillary.a $(lib)/pkgconfig/ancillary.pc $(include)/ancillary.h \
		$(licences)/LICENSE-MIT $(licences)/LICENSE-APACHE
	$(for_names) rm -f $(man)/man$$section/$$name.$$section || exit 1; done; done

# A link to a folder elsewhere is its maker's.
clean:
	@if test -e $(MARK); then rm -rf $(addprefix $(BUILD)/,$(MADE)) && \
		if test "$$(ls -A $(BUILD))" = $(notdir $(MARK)); then \
			rm $(MARK) && { test -L $(BUILD:%/=%) || rmdir $(BUILD); }; fi; \
	elif test -e $(BUILD) && ! { $(is_empty); }; then echo "$(BUILD) was not built here" >&2; exit 1; fi

include maintain.mk
