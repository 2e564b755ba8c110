# all.mk - builds for all machines, and runs all tests
#
# Used by tools/check-cross.sh, which sets
#
#   OUT              the folder for what is built, with `logs`: NAME.make is what make says of
#                    NAME, and NAME.passed is there if nothing failed
#   MACHINES         which are built for
#   PACKAGES         which Debian packages are built for
#
# and in $(OUT)/tests.mk TESTS, the tests, and for each of them
#
#   VARIABLES_TEST   the variables of build.mk

HERE := $(abspath $(dir $(lastword $(MAKEFILE_LIST))))
LOGS := $(OUT)/logs
ONE := $(MAKE) --file=$(HERE)/build.mk OUT=$(OUT)

include $(OUT)/tests.mk

.PHONY: build test
build: $(MACHINES:%=build-%)
test: $(TESTS:%=test-%) $(PACKAGES:%=packages-%)

build-%:
	+@$(ONE) MACHINE=$* build > $(LOGS)/$@.make 2>&1 && touch $(LOGS)/$@.passed

test-%:
	+@$(ONE) LOGS=$(LOGS)/$* $(VARIABLES_$*) > $(LOGS)/$*.make 2>&1 && touch $(LOGS)/$*.passed

# A symbol that is missing or new fails the build.
packages-%:
	@cd $(OUT)/$@/source && MAKEFLAGS= DEB_BUILD_OPTIONS=nocheck \
		dpkg-buildpackage --host-arch=$* --build-profiles=cross,nocheck -us -uc -b \
		> $(LOGS)/$@.make 2>&1 && touch $(LOGS)/$@.passed
