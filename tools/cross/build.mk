# build.mk - builds the library and its C tests for one machine, and runs the tests
#
# Used by tools/check-cross.sh, which sets
#
#   MACHINE      which
#   OUT          the folder for what is built, with one for each machine
#   LOGS         the folder for what the programs say, in PROGRAM-LINK.log
#   RUN          the command that runs programs, if not the usual one
#   PEER         the machine that the mixed programs talk to, if not the same
#   PROGRAMS     which are run, if not all

# What Rust calls them, what the GNU tools call them, and what runs their programs where the kernel
# cannot.
RUST_amd64   := x86_64-unknown-linux-gnu
RUST_i386    := i686-unknown-linux-gnu
RUST_arm64   := aarch64-unknown-linux-gnu
RUST_armhf   := armv7-unknown-linux-gnueabihf
RUST_s390x   := s390x-unknown-linux-gnu
RUST_ppc64el := powerpc64le-unknown-linux-gnu
RUST_musl    := x86_64-unknown-linux-musl

GNU_amd64    := x86_64-linux-gnu
GNU_i386     := i686-linux-gnu
GNU_arm64    := aarch64-linux-gnu
GNU_armhf    := arm-linux-gnueabihf
GNU_s390x    := s390x-linux-gnu
GNU_ppc64el  := powerpc64le-linux-gnu
GNU_musl     := x86_64-linux-gnu

RUN_arm64    := qemu-aarch64-static
RUN_armhf    := qemu-arm-static
RUN_s390x    := qemu-s390x-static
RUN_ppc64el  := qemu-ppc64le-static

CC := $(GNU_$(MACHINE))-gcc
CFLAGS := -std=c99 -Wall -Wextra -Wpedantic -Werror -O1 -pthread
RUN := $(RUN_$(MACHINE))
PEER := $(MACHINE)
# What all programs are linked with, and a few with the other as well: that it is whole.
LINK := shared
OTHER := static

ifeq ($(MACHINE),musl)
CC := musl-gcc
LINK := static
OTHER := shared
# It comes without the headers of the kernel, and takes less control data than that.
CFLAGS += -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu -DMOST=252
endif

HERE := $(OUT)/$(MACHINE)
LIBRARY := $(HERE)/library
SELF := $(abspath $(lastword $(MAKEFILE_LIST)))
SOURCE := $(patsubst %/tools/cross/,%,$(dir $(SELF)))
C := $(SOURCE)/tests/c
MAKEFLAGS += --no-builtin-rules --no-print-directory

.DEFAULT_GOAL := test
.PHONY: build test library FORCE
.DELETE_ON_ERROR:
.SECONDARY:
.SECONDEXPANSION:

# The programs, each with the files that it is made of.
$(HERE)/programs.mk: $(SOURCE)/tools/c-programs.sh $(SOURCE)/tests/behaviour.rs $(SELF)
	@mkdir -p $(@D)
	cd $(SOURCE) && sh tools/c-programs.sh > $@.lines
	awk '{ \
			files = $$1 " check kit"; flags = ""; \
			for (i = 2; i <= NF; i++) { \
				if (sub(/^tests\/c\//, "", $$i)) { sub(/\.c$$/, "", $$i); files = files " " $$i } \
				else flags = flags " " $$i; \
			} \
			print "LISTED += " $$1 "\nFILES_" $$1 " := " files "\nFLAGS_" $$1 " :=" flags \
		}' $@.lines > $@

include $(HERE)/programs.mk
PROGRAMS ?= $(LISTED)
FEW := abi ancil anywhere meet mixed passing wire
# These begin, so that the others are done meanwhile.
LONG := $(filter model timeouts replace encode,$(PROGRAMS))

LINKED := $(patsubst %,%-$(LINK),$(LONG) $(filter-out $(LONG),$(PROGRAMS))) \
	$(patsubst %,%-$(OTHER),$(filter $(FEW),$(PROGRAMS)))

build: $(LINKED:%=$(HERE)/%) $(patsubst amd64,$(HERE)/older,$(filter amd64,$(MACHINE)))
test: $(LINKED:%=run-%)

# The Makefile knows whether there is anything to be done.
library:
	@$(MAKE) --directory=$(SOURCE) BUILD=$(LIBRARY) RUST_TARGET=$(RUST_$(MACHINE)) CC=$(CC) \
		AR=$(GNU_$(MACHINE))-ar OBJCOPY=$(GNU_$(MACHINE))-objcopy

$(LIBRARY)/libancillary.a: library ;

$(HERE)/%.o: $(C)/%.c $(wildcard $(C)/*.h) $(SOURCE)/include/ancillary.h $(SELF)
	$(CC) $(CFLAGS) $(FLAGS_$*) -I$(SOURCE)/include -c -o $@ $<

percent := %
objects = $$(patsubst $$(percent),$(HERE)/$$(percent).o,$$(FILES_$$*))

$(HERE)/%-shared: $(objects) $(LIBRARY)/libancillary.a
	$(CC) $(CFLAGS) -o $@ $(filter %.o,$^) -L$(LIBRARY) -lancillary -Wl,-rpath,$(LIBRARY)

$(HERE)/%-static: $(objects) $(LIBRARY)/libancillary.a
	$(CC) $(CFLAGS) -o $@ $^

# Runs what runs programs as an older kernel would.
$(HERE)/older: $(HERE)/older.o
	$(CC) $(CFLAGS) -o $@ $^

run-%: $(HERE)/% FORCE
	@mkdir -p $(LOGS)
	ANCILLARY_TEST_PEER='$(RUN_$(PEER)) $(OUT)/$(PEER)/$*' \
		sh $(SOURCE)/tools/cross/run-cases.sh '$(if $(RUN_$(PEER)),$(PEER))' '$(RUN)' $< > $(LOGS)/$*.log 2>&1

FORCE:
