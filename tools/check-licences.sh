#!/bin/sh
# check-licences.sh - whether each file says on what terms it may be used, or REUSE.toml for it
#
#   tools/check-licences.sh [REUSE]
#
# REUSE is the command of the tool of that name, 4.0 or newer.

set -eu

cd "$(dirname "$0")/.."
"${1:-reuse}" lint --lines
"${1:-reuse}" --version | head -n 1

# REUSE wants the texts in a folder of their own; where people and packagers look, they are as well.
cmp LICENSE-MIT LICENSES/MIT.txt
cmp LICENSE-APACHE LICENSES/Apache-2.0.txt

# What is made to be copied into other projects loses REUSE.toml on the way.
files=$(git ls-files c-examples ffi-examples include man | grep -Ev '\.(json|lock|md|mod|toml)$')
# shellcheck disable=SC2086
lacking=$(grep -L 'Identifier: MIT OR Apache-2\.0' $files) || true
if [ -n "$lacking" ]; then
    printf 'These are made to be copied, and name no licence:\n%s\n' "$lacking" >&2
    exit 1
fi
