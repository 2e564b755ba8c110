#!/bin/sh
# Fuzzes the library for so many seconds, which the targets share. The flags are those of cargo-fuzz,
# which works here as well, but asks for a nightly toolchain. What the fuzzer makes stays in a folder
# of the build; --keep makes the fewest scripts that reach as much the committed ones.
#
# usage: fuzz.sh FOLDER SECONDS [LIBFUZZER-OPTION...]
#        fuzz.sh FOLDER --keep
set -eu
source=$(cd "$(dirname "$0")/.." && pwd)
. "$source/tools/folder.sh"
own "$1"
folder=$(cd "$1" && pwd)
what=$2
shift 2
machine=$(rustc -vV | sed -n 's/^host: //p')
targets='receive channel'

RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$folder" RUSTFLAGS="--cfg fuzzing -Z sanitizer=address \
-C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
-C llvm-args=-sanitizer-coverage-inline-8bit-counters \
-C llvm-args=-sanitizer-coverage-pc-table -C llvm-args=-sanitizer-coverage-trace-compares \
-C codegen-units=1 -C debug-assertions" \
	"${CARGO:-cargo}" build --release --locked --manifest-path "$source/fuzz/Cargo.toml" --target "$machine"

for target in $targets; do
	fuzzer=$folder/$machine/release/$target
	committed=$source/fuzz/corpus/$target
	found=$folder/corpus/$target
	mkdir -p "$found" "$folder/artifacts" "$committed"
	if [ "$what" = --keep ]; then
		# The fewest scripts that reach what all of them reach.
		rm -rf "$folder/kept" "$folder/before/$target"
		mkdir -p "$folder/kept" "$folder/before"
		"$fuzzer" -set_cover_merge=1 -max_len=1000 "$folder/kept" "$committed" "$found"
		mv "$committed" "$folder/before/$target"
		mv "$folder/kept" "$committed"
		continue
	fi
	(
		cd "$folder"
		exec "$fuzzer" -artifact_prefix="$folder/artifacts/$target-" -max_len=1000 \
			-max_total_time="$((what > 1 ? what / 2 : 1))" -timeout=30 -print_final_stats=1 "$@" \
			"$found" "$committed"
	)
done
