# libancillary: build, try, test.
#
#   make              the shared and the static library, in $(BUILD)
#   make demo         watch a process serve a connection that it never accepted
#   make check        the tests
#   make check-msrv   whether the library builds with Rust 1.63 (on Debian)
#   make header       generate include/ancillary.h anew from the sources
#   make clean        remove $(BUILD) and target

CARGO ?= cargo
CC ?= cc
OBJCOPY ?= objcopy
AR ?= ar
CFLAGS ?= -O2
BUILD ?= build

SOURCE := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' $(SOURCE)/Cargo.toml)
MAJOR := $(firstword $(subst ., ,$(VERSION)))
SONAME := libancillary.so.$(MAJOR)
SHARED := $(BUILD)/libancillary.so.$(VERSION)
STATIC := $(BUILD)/libancillary.a

RUST_SOURCES := $(wildcard $(SOURCE)/src/*.rs $(SOURCE)/src/*/*.rs) $(addprefix $(SOURCE)/,Cargo.toml Cargo.lock build.rs)
RUST_ARCHIVE := $(BUILD)/cargo/release/libancillary.a
HEADER_TOOL = CARGO_TARGET_DIR=$(abspath $(BUILD))/tools $(CARGO) run --quiet --locked \
	--manifest-path $(SOURCE)/tools/header/Cargo.toml --
EXAMPLES := $(patsubst $(SOURCE)/c-examples/%.c,$(BUILD)/examples/%,$(wildcard $(SOURCE)/c-examples/*.c))

.PHONY: all examples demo check check-msrv header check-header clean
.DELETE_ON_ERROR:

all: $(SHARED) $(STATIC)

# A thread that is cancelled in a call is unwound through the library: that takes unwind tables,
# which not every target of the compiler has by default. With frame pointers they are a quarter
# smaller.
$(RUST_ARCHIVE): $(RUST_SOURCES)
	CARGO_TARGET_DIR=$(abspath $(BUILD))/cargo $(CARGO) rustc --release --lib --locked \
		--manifest-path $(SOURCE)/Cargo.toml -- -C force-unwind-tables=yes -C force-frame-pointers=yes
	@touch $@

# Cargo's archive also holds the Rust compiler's support code, of which nothing is used here.
# What is installed is our one object, with no global names but those of the version script.
$(STATIC): $(RUST_ARCHIVE) $(SOURCE)/pkg/ancillary.map
	rm -rf $@ $(BUILD)/object && mkdir -p $(BUILD)/object
	cd $(BUILD)/object && $(AR) x $(abspath $(RUST_ARCHIVE)) && rm -f *compiler_builtins*
	sed -n 's/^\t\(anc[a-z_]*\);$$/\1/p' $(SOURCE)/pkg/ancillary.map > $(BUILD)/object/names
	cd $(BUILD)/object && $(OBJCOPY) --keep-global-symbols=names ancillary*.o ancillary.o
	$(AR) rcsD $@ $(BUILD)/object/ancillary.o

# rustc links a cdylib with a version script of its own and leaves no place for ours, so the
# shared library is linked from the archive. noseparate-code keeps the pages together: 6 kB
# instead of 14.
$(SHARED): $(STATIC)
	$(CC) $(CFLAGS) -shared -nostartfiles -o $@ \
		-Wl,-soname,$(SONAME) -Wl,--version-script=$(SOURCE)/pkg/ancillary.map \
		-Wl,--whole-archive $(STATIC) -Wl,--no-whole-archive -Wl,--gc-sections \
		-Wl,--no-undefined-version,-z,defs,-z,relro,-z,now,-z,noexecstack,-z,noseparate-code \
		$(LDFLAGS)
	ln -sf $(notdir $@) $(BUILD)/$(SONAME)
	ln -sf $(SONAME) $(BUILD)/libancillary.so

$(BUILD)/examples/%: $(SOURCE)/c-examples/%.c $(SOURCE)/include/ancillary.h $(STATIC)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=c99 -Wall -Wextra -Wpedantic -I$(SOURCE)/include -o $@ $< $(STATIC) $(LDFLAGS)

examples: $(EXAMPLES)

demo: examples
	@sh $(SOURCE)/tools/demo.sh $(BUILD)

header:
	$(HEADER_TOOL)

check-header:
	$(HEADER_TOOL) --check

check: check-header
	CARGO_TARGET_DIR=$(abspath $(BUILD))/check $(CARGO) test --locked --manifest-path $(SOURCE)/Cargo.toml

check-msrv:
	sh $(SOURCE)/tools/check-msrv.sh $(BUILD)/msrv

clean:
	rm -rf $(BUILD) $(SOURCE)/target
