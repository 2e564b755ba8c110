# debian.sh - folders with Debian 12, for the scripts beside this file
#
# Who reads this has set `source`, the folder of the library, and `build`, one of its own; is root;
# and runs on Debian.

. "$source/tools/folder.sh"

step() {
    echo "== $*"
}

fail() {
    echo "$(basename "$0" .sh): $*" >&2
    exit 1
}

# Has the script done once more, in namespaces, and ends with it: no mount and no process outlives
# that, however it ends. Before, it sees to what needs the machine's own tools: the crates, in
# $VENDOR, or else fetched by $CARGO.
isolate() { # SECONDS
    [ "${ANCILLARY_ISOLATED-}" != 1 ] || return 0
    [ "$(id -u)" -eq 0 ] || fail "only root can make a folder with Debian"
    own "$build"
    exec 9> "$build/lock"
    flock -w 900 9 || fail "another run does not end"
    if [ -z "${VENDOR-}" ]; then
        VENDOR=$build/vendor
        "${CARGO:-cargo}" vendor --quiet --locked --manifest-path "$source/Cargo.toml" \
            "$VENDOR" > /dev/null
    fi
    export VENDOR ANCILLARY_ISOLATED=1
    setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc \
        timeout "$1" sh "$0" "$build" &
    # A signal ends this command, but not the wait for one in the foreground.
    trap 'exit 1' HUP INT TERM
    wait "$!"
    exit
}

# Runs a command in a folder with Debian, with an environment of its own.
inside() { # FOLDER USER COMMAND...
    folder=$1
    user=$2
    shift 2
    chroot --userspec="$user" "$folder" /usr/bin/env -i DEBIAN_FRONTEND=noninteractive \
        LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        ${http_proxy:+"http_proxy=$http_proxy"} "$@"
}

# Copies what is in the source package.
copy_source() { # FOLDER
    mkdir -p "$1"
    tar -C "$source" -cf - --exclude-vcs --exclude=./build --exclude=./vendor --exclude=target \
        --exclude=".${build#"$source"}" . | tar -C "$1" -xf -
}

# Makes a folder with Debian 12 from the mirror that this machine uses, and has SETUP do the rest
# in it; once, and anew where RECIPE, what it is made of, is another.
make_debian() { # FOLDER RECIPE SETUP
    [ "$(cat "$1/recipe" 2> /dev/null)" != "$2" ] || return 0
    step "a folder with Debian 12"
    trap 'tail -n 20 "$build/base.log"' EXIT
    bootstrap "$1" "$2" "$3" > "$build/base.log" 2>&1
    trap - EXIT
}

bootstrap() { # FOLDER RECIPE SETUP
    apt-get update -q
    command -v debootstrap > /dev/null ||
        apt-get install -y -q --no-install-recommends debootstrap
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Identifier: Packages' | sed -n 's/ bookworm main$//p' | head -n 1)
    [ -n "$mirror" ] || fail "this machine's apt has no mirror of Debian 12"
    eval "$(apt-config shell http_proxy Acquire::http::Proxy)"

    rm -rf --one-file-system "$1" "$1.new"
    ${http_proxy:+env "http_proxy=$http_proxy"} \
        debootstrap --variant=buildd --include=ca-certificates bookworm "$1.new" "$mirror"
    echo force-unsafe-io > "$1.new/etc/dpkg/dpkg.cfg.d/for-once"
    "$3" "$1.new"
    inside "$1.new" root apt-get clean
    echo "$2" > "$1.new/recipe"
    mv "$1.new" "$1"
}
