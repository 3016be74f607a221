# shellcheck shell=bash
# Turns a machine's messages on its results port into lines for people and a count for CI.
#
# A message is a line, a word and its rest:
#   booted SECONDS | start CASE LIMIT | out TEXT | log TEXT | fact NAME=VALUE
#   | ok CASE SECONDS | skip CASE SECONDS | fail CASE SECONDS | end

# follow_machine SUITE FOLDER DESCRIPTOR: returns when the machine has reported everything, has
# ended, or was silent for too long.
follow_machine() {
    local suite=$1 folder=$2 descriptor=$3
    local patience=$boot_patience word rest case='' status limit
    mkdir -p "$folder/output"
    while :; do
        status=0
        IFS=' ' read -r -t "$patience" -u "$descriptor" word rest || status=$?
        if ((status)); then
            ((status > 128)) && status="silent for $patience s" || status="ended by itself"
            lost_machine "$suite" "$folder" "$case" "$status"
            return
        fi
        case $word in
        booted)
            say "$suite: machine up after $rest s"
            patience=$boot_patience
            ;;
        start)
            read -r case limit <<<"$rest"
            patience=$((limit + case_grace))
            : >"$folder/output/$case"
            ;;
        out) printf '%s\n' "$rest" >>"$folder/output/$case" ;;
        log) printf '%s\n' "$rest" >>"$folder/output/$case.journal" ;;
        fact) printf '%s\n' "$rest" >>"$folder/facts" ;;
        ok | skip | fail)
            read -r case limit <<<"$rest"
            outcome "$suite" "$folder" "$word" "$case" "$limit s"
            case=''
            ;;
        end)
            await_end_of_journal "$folder/journal.log"
            return
            ;;
        *) say "$suite: not understood: $word $rest" ;;
        esac
    done
}

# The journal comes through its own port, and may be a moment late.
await_end_of_journal() {
    local tries=50
    until grep -q 'vm-tests.*: cases are through$' "$1" || ((tries-- == 0)); do sleep 0.1; done
}

# outcome SUITE FOLDER ok|skip|fail CASE REMARK
outcome() {
    local suite=$1 folder=$2 word=$3 case=$4 remark=$5 shown=$3
    printf '%s %s\n' "$word" "$case" >>"$folder/outcomes"
    [[ $word != fail ]] || shown='not ok'
    {
        printf '%s: %s %s (%s)\n' "$suite" "$shown" "$case" "$remark"
        [[ $word != skip ]] || indented "$folder/output/$case" '#' 5
        if [[ $word = fail ]]; then
            indented "$folder/output/$case" '|' 200
            indented "$folder/output/$case.journal" 'journal:' 200
        fi
    } >"$folder/shown"
    cat "$folder/shown" # at once, so that two suites do not mix their lines
}

indented() {
    [[ ! -s $1 ]] || tail -n "$3" "$1" | sed "s/^/    $2 /"
}

lost_machine() {
    local suite=$1 folder=$2 case=$3 why=$4
    say "$suite: the machine is lost: $why; the end of its console ($folder/console.log) and journal:"
    indented "$folder/console.log" '|' 60
    indented "$folder/journal.log" 'journal:' 60
    indented "$folder/qemu.log" 'qemu:' 20
    [[ -z $case ]] || outcome "$suite" "$folder" fail "$case" "machine lost: $why"
}

# Every case must be counted, even if the machine died.
fail_the_unheard() {
    local suite=$1 folder=$state/$1 path case
    shift
    for path in "$@"; do
        case=${path##*/}
        grep -qE "^(ok|skip|fail) $case\$" "$folder/outcomes" || outcome "$suite" "$folder" fail "$case" "never ran"
    done
}

# A table of the facts that the cases reported, with one column for each suite.
show_facts() {
    local suite files=()
    for suite in "$@"; do
        [[ ! -s $state/$suite/facts ]] || files+=("$state/$suite/facts")
    done
    ((${#files[@]})) || return 0
    awk '
        FNR == 1 { column++; n = split(FILENAME, path, "/"); name[column] = path[n - 1] }
        {
            at = index($0, "="); key = substr($0, 1, at - 1)
            if (!(key in seen)) { seen[key] = 1; order[++rows] = key }
            value[key, column] = substr($0, at + 1)
        }
        END {
            printf "%-34s", "fact"
            for (c = 1; c <= column; c++) printf "  %-24s", name[c]
            print ""
            for (r = 1; r <= rows; r++) {
                printf "%-34s", order[r]
                for (c = 1; c <= column; c++) printf "  %-24s", ((order[r], c) in value) ? value[order[r], c] : "-"
                print ""
            }
        }' "${files[@]}" | sed 's/ *$//'
}

# The closing lines name the failed cases, because a log may be cut. They also set the exit status.
show_count() {
    local suite passed=0 failed=0 skipped=0 word case
    for suite in "$@"; do
        while read -r word case _; do
            case $word in
            ok) passed=$((passed + 1)) ;;
            skip) skipped=$((skipped + 1)) ;;
            *) failed=$((failed + 1)); say "failed: $suite: $case" ;;
            esac
        done <"$state/$suite/outcomes"
    done
    if ((skipped)); then
        say "$passed passed, $failed failed, $skipped skipped"
    else
        say "$passed passed, $failed failed"
    fi
    ((failed == 0))
}
