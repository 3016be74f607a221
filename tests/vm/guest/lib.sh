# shellcheck shell=bash
# Functions that cases share: source it with `. ./lib.sh`, in the folder in which every case starts.

# Fails the case with a reason.
fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# Ends the case as skipped, with a reason.
skip() {
    printf '%s\n' "$*"
    exit 77
}

# fact NAME VALUE: a line of the table that the host prints at the end.
fact() { printf 'fact %s=%s\n' "$1" "$2"; }

# expect WHAT WANTED GOT
expect() { [[ $2 == "$3" ]] || fail "$1: wanted '$2', got '$3'"; }

# The suite of this machine: bookworm or trixie.
suite() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }

# property UNIT NAME
property() { systemctl show --property="$2" --value "$1"; }

# The folder of a unit's cgroup.
cgroup_of() { echo "/sys/fs/cgroup$(property "$1" ControlGroup)"; }

# field FILE KEY: the value of a line "KEY VALUE", as in memory.events.
field() { awk -v key="$2" '$1 == key { print $2 }' "$1"; }

# eventually SECONDS COMMAND…: repeats the command until it succeeds; fails the case after that
# time.
eventually() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || fail "never came true: $*"
        sleep 0.1
    done
}
