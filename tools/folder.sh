# folder.sh - folders of the scripts beside this file, which remove in them alone

# Makes a folder and says in it that it was made here. One that others have filled is refused.
own() { # FOLDER
    mkdir -p "$1"
    if [ ! -e "$1/.made-by-libancillary" ]; then
        there=$(ls -A "$1") && [ -z "$there" ] || {
            echo "$(basename "$0" .sh): $1 has what was not made here" >&2
            exit 1
        }
        echo "The tools of libancillary remove what lies in this folder." \
            > "$1/.made-by-libancillary"
    fi
}
