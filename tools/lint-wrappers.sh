#!/bin/sh
# What the usual tool of each language says of its wrapper, for .ci/run. On Debian they are in
#   checkstyle clang-tidy default-jdk-headless eslint go-staticcheck golang-go libjna-java
#   libperl-critic-perl lua-check perl php-cli php-codesniffer pylint rubocop
# and the library has to be installed where pkg-config finds it.
#
#   sh tools/lint-wrappers.sh BUILD
#
# BUILD is a folder for what is compiled. All tools run, also behind one that complains.
set -u
mkdir -p "$1/lint" && build=$(cd "$1/lint" && pwd) || exit 1
cd "$(dirname "$0")/../ffi-examples" || exit 1
failed=

lint() { # FOLDER COMMAND...
	(cd "$1" && shift && "$@") || { echo "lint-wrappers: $1: $2" >&2 && failed=1; }
}

cflags=$(pkg-config --cflags ancillary) || exit 1
# shellcheck disable=SC2086 # several flags
lint cpp clang-tidy --quiet pass.cpp test_ancillary.cpp -- -std=c++17 $cflags

lint go go vet ./...
lint go go-staticcheck ./...

jna=/usr/share/java/jna.jar
lint java javac --release 17 -Xlint:all -Xdoclint:all,-missing -Werror -cp "$jna" -d "$build" \
	Ancillary.java Pass.java TestAncillary.java
lint java checkstyle -c checkstyle.xml Ancillary.java Pass.java TestAncillary.java

lint luajit luacheck --quiet --std luajit --max-line-length 100 .

# Debian's eslint finds its parts only with Debian's node by itself.
lint node env NODE_PATH=/usr/share/nodejs eslint --format compact --max-warnings 0 .

# It takes signatures for prototypes, and modes of files for mistakes.
lint perl perlcritic --gentle --quiet --exclude ProhibitSubroutinePrototypes \
	--exclude ProhibitLeadingZeros .
lint perl podchecker -warnings Ancillary.pm

# A wrapper is one file, and functions are called as they are elsewhere.
lint php phpcs --standard=PSR12 --exclude=PSR1.Classes.ClassDeclaration,PSR1.Files.SideEffects,PSR2.Methods.FunctionCallSignature .

# The standard library has names like type, and calls of __init__ are what the wrapper is about.
python=too-many-arguments,too-many-locals,too-few-public-methods,redefined-builtin,invalid-name,unnecessary-dunder-call,import-error
for folder in with-ctypes with-cffi; do
	lint "python/$folder" pylint --score=n --disable="$python" ancillary.py
	# Programs and tests: what is wrong, not how it looks.
	lint python env PYTHONPATH="$folder" pylint --score=n \
		--disable=C,R,import-error,keyword-arg-before-vararg \
		pass.py test_ancillary.py test_event_loops.py with-cffi/build_ancillary.py
done

lint ruby rubocop --format emacs .

[ -z "$failed" ]
