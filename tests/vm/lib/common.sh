# shellcheck shell=bash
# Shared by all parts of the test bed: folders and messages.

here=${here:?the folder of this test bed, set by who sources this}
checkout=$(cd "$here/../.." && pwd)
state=$checkout/target/vm

say() { printf '%s\n' "$*"; }

die() {
    printf 'tests/vm: %s\n' "$*" >&2
    exit 2
}

# Runs a command with its output in a log; shows the end of the log only if it fails.
logged() {
    local log=$1
    shift
    if ! "$@" >"$log" 2>&1 </dev/null; then
        say "failed: $* (all of it: $log)"
        tail -n 40 "$log"
        return 1
    fi
}
