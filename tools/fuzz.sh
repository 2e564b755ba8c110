#!/bin/sh
# Fuzzes the receiving functions for so many seconds. The flags are those of cargo-fuzz, which
# works here as well, but asks for a nightly toolchain. What the fuzzer makes stays in a folder of
# the build; --keep makes the fewest scripts that reach as much the committed ones.
#
# usage: fuzz.sh FOLDER SECONDS [LIBFUZZER-OPTION...]
#        fuzz.sh FOLDER --keep
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
folder=$(cd "$1" && pwd)
what=$2
shift 2
target=$(rustc -vV | sed -n 's/^host: //p')

RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$folder" RUSTFLAGS="--cfg fuzzing -Z sanitizer=address \
-C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
-C llvm-args=-sanitizer-coverage-inline-8bit-counters \
-C llvm-args=-sanitizer-coverage-pc-table -C llvm-args=-sanitizer-coverage-trace-compares \
-C codegen-units=1 -C debug-assertions" \
	"${CARGO:-cargo}" build --release --locked --manifest-path "$source/fuzz/Cargo.toml" --target "$target"
fuzzer=$folder/$target/release/receive
committed=$source/fuzz/corpus/receive
mkdir -p "$folder/corpus" "$folder/artifacts" "$committed"

if [ "$what" = --keep ]; then
	# The fewest scripts that reach what all of them reach.
	mv "$committed" "$folder/before"
	mkdir "$committed"
	"$fuzzer" -set_cover_merge=1 -max_len=1000 "$committed" "$folder/before" "$folder/corpus"
	rm -r "$folder/before"
	exit
fi
cd "$folder"
exec "$fuzzer" -artifact_prefix="$folder/artifacts/" -max_len=1000 -max_total_time="$what" \
	-timeout=30 -print_final_stats=1 "$@" "$folder/corpus" "$committed"
