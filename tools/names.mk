# Names of folders that make, Rust, the shell or pkg-config would read otherwise than they are meant.
# They are refused before anything is done; all others are quoted where they are used.
#
# Variables that no user gives are `override`, here and in the files that read this one: with -e, make
# takes all that are in the environment, also what is removed.

override define newline


endef
override comma := ,
override hash := \#

# A word of the shell.
override quote = '$(subst ','\'',$(1))'
# $(call refuse,WHY,IF)
override refuse = $(if $(strip $(2)),$(error $(1)))
# $(call has,CHARACTERS,TEXT)
override has = $(strip $(foreach character,$(1),$(findstring $(character),$(2))))
# What was given for a variable, if anything, but for what it may well begin with.
override given = $(if $(filter file,$(origin $(1))),,$(subst $$(PREFIX),,$(subst $${PREFIX},,$(value $(1)))))

# make takes "$b" for a variable, and begins another command at a line break.
$(foreach name,BUILD DESTDIR PREFIX LIBDIR INCLUDEDIR MANDIR LICENSEDIR VENDOR, \
	$(call refuse,There is a $$ in $(name),$(call has,$$,$(call given,$(name)))) \
	$(call refuse,There is a line break in $(name),$(if $(findstring $(newline),$(call given,$(name))),yes)))

# Of BUILD make has targets.
override unfit = $(findstring !,$(shell printf %s $(call quote,$(1)) | LC_ALL=C tr -c 'A-Za-z0-9_./+@\200-\377-' '!'))
$(call refuse,BUILD is empty,$(if $(BUILD),,yes))
$(call refuse,BUILD is given on the command line alone,$(filter environment,$(origin BUILD)))
$(call refuse,BUILD has to be a path of letters$(comma) digits and ./_+@-,$(call unfit,$(BUILD))$(filter -%,$(BUILD)))
$(call refuse,BUILD has // in it or /. at its end,$(findstring //,$(BUILD))$(filter %/. %/..,$(BUILD)))

# Rust's linkers, and the lists of folders that cargo makes.
$(call refuse,Nothing can be built in a folder with : or % in its name: make BUILD=/ANOTHER/FOLDER, \
	$(if $(filter /%,$(BUILD)),,$(call has,: %,$(CURDIR))))

$(foreach name,LIBDIR INCLUDEDIR MANDIR LICENSEDIR, \
	$(call refuse,$(name) is not a full path,$(if $(filter /%,$(firstword $($(name)))),,yes)))
$(foreach name,LIBDIR INCLUDEDIR, \
	$(call refuse,A pkg-config file cannot have $(name) with a " \ or $(hash),$(call has," \ $(hash),$($(name)))))

$(call refuse,VENDOR is no folder with crates: $(VENDOR), \
	$(if $(VENDOR),$(shell test -d $(call quote,$(VENDOR)) || echo it is none)))
