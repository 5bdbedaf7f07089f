#!/bin/sh
# Runs every command of README.md and compares what it prints with what README.md shows.
#
# In ```console blocks a line "$ command" is run (localhost:8080 becomes the test's daemon);
# the lines behind it are its output, where "..." stands for anything and numbers may differ
# by one in a thousand (kernels of different CPUs round differently). ```python blocks are
# saved and run with a python3 that has torch, if there is one. Closes with a line like
# libcheck's. readme.sh --show prints what the commands really say.
set -u
cd "$(dirname "$0")/../.."
seqd=${TEST_BINARY:-build/release/seqd}
seqd=$PWD/$seqd
show=${1:-}
work=$(mktemp -d)
pid=
cleanup() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
checks=0
failures=0

# Starts a daemon with the arguments given and waits until it listens; sets pid and port.
serve() {
    [ -z "$pid" ] || { kill "$pid"; wait "$pid" 2>/dev/null; }
    : >"$work/log"
    "$seqd" --port 0 "$@" 2>"$work/log" &
    pid=$!
    port=
    tries=0
    while [ -z "$port" ] && [ $tries -lt 200 ] && kill -0 $pid 2>/dev/null; do
        port=$(sed -n 's/.*"address":"127\.0\.0\.1:\([0-9]*\)".*/\1/p' "$work/log")
        tries=$((tries + 1))
        sleep 0.05
    done
    [ -n "$port" ] || { echo "the daemon does not start:"; cat "$work/log"; }
}

# Splits the README into numbered files: N.cmd and N.want, or N.py.
awk -v dir="$work" '
    /^```/ { if (kind) { kind = ""; close(out) } else { kind = substr($0, 4); out = "" } ; next }
    kind == "python" { if (!out) out = sprintf("%s/%03d.py", dir, ++n); print > out; next }
    kind == "console" && more { print > cmd; more = /\\$/; next }
    kind == "console" && /^\$ / {
        cmd = sprintf("%s/%03d.cmd", dir, ++n); out = sprintf("%s/%03d.want", dir, n)
        print substr($0, 3) > cmd; printf "" > out; more = /\\$/; next }
    kind == "console" { print > out }
' README.md

# Compares two texts word by word; prints the first difference.
compare() { # wanted, got
    awk '
    function split_text(s, parts,    n, at) {
        n = 0
        while (match(s, /-?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?/)) {
            parts[++n] = substr(s, 1, RSTART - 1); parts[++n] = substr(s, RSTART, RLENGTH)
            s = substr(s, RSTART + RLENGTH)
        }
        parts[++n] = s
        return n
    }
    function same(w, g,    a, b, na, nb, i, d) {
        if (w == g) return 1
        na = split_text(w, a); nb = split_text(g, b)
        if (na != nb) return 0
        for (i = 1; i <= na; i++) {
            if (a[i] == b[i]) continue
            if (i % 2) return 0
            d = a[i] - b[i]; if (d < 0) d = -d
            if (a[i] !~ /\./ || d > 0.001 + 0.001 * (a[i] < 0 ? -a[i] : a[i])) return 0
        }
        return 1
    }
    # A wanted text with "..." is a list of pieces that must come in this order.
    function fits(w, g,    at, head, rest, i) {
        at = index(w, "...")
        if (!at) return same(w, g)
        head = substr(w, 1, at - 1); rest = substr(w, at + 3)
        for (i = length(head) - 8; i <= length(head) + 8; i++)
            if (i >= 0 && i <= length(g) && same(head, substr(g, 1, i))) break
        if (i > length(head) + 8) return 0
        for (i++; i <= length(g) + 1; i++)
            if (fits(rest, substr(g, i))) return 1
        return 0
    }
    # README.md breaks long lines: line ends and indents do not count.
    { sub(/^ +/, "") }
    NR == FNR { want = want $0; next }
    { got = got $0 }
    END { exit fits(want, got) ? 0 : 1 }' "$1" "$2"
}

run_command() {
    command=$(sed "s/localhost:8080/127.0.0.1:${port:-0}/g" "$1")
    case $command in
    'make test' | 'make run' | 'make docker' | 'sudo '*)
        # make test is running this; CI builds the image; a daemon runs already.
        return 2 ;;
    'make run ARGS='*)
        folder=$(echo "$command" | sed 's/make run ARGS=//')
        [ -d "$folder" ] || return 2
        serve "$folder" ;;
    *) PATH="$(dirname "$seqd"):$PATH" sh -c "$command" >"$work/got" 2>&1 ;;
    esac
}

serve
for file in "$work"/[0-9]*.cmd "$work"/[0-9]*.py; do echo "$file"; done | sort >"$work/list"
while read -r file; do
    case $file in
    *.py)
        python=$(command -v /usr/bin/python3 || command -v python3)
        if ! "$python" -c 'import torch' 2>/dev/null; then
            echo "skipped: a python block, there is no python3 with torch"
            continue
        fi
        checks=$((checks + 1))
        "$python" "$file" >"$work/got" 2>&1 || {
            failures=$((failures + 1))
            echo "README's python block fails:"
            tail -n 5 "$work/got"
        }
        continue ;;
    esac
    : >"$work/got"
    run_command "$file"
    status=$?
    [ $status -ne 2 ] || continue
    checks=$((checks + 1))
    if [ -n "$show" ]; then
        printf '$ '
        cat "$file" "$work/got"
        echo
    fi
    want=${file%.cmd}.want
    [ -s "$want" ] || continue
    if ! compare "$want" "$work/got"; then
        failures=$((failures + 1))
        printf 'README.md shows for: %s\n%s\nbut it says:\n%s\n' "$(cat "$file")" \
            "$(cat "$want")" "$(cat "$work/got")"
    fi
done <"$work/list"

# Every setting of the program has its line in the README.
for option in $("$seqd" --help | grep -oE '^ *--[a-z-]+' | tr -d ' '); do
    checks=$((checks + 1))
    grep -q -e "\`$option" README.md || {
        failures=$((failures + 1))
        echo "README.md does not mention $option"
    }
done
passed=0
[ "$checks" -eq 0 ] || passed=$((100 * (checks - failures) / checks))
echo "$passed%: Checks: $checks, Failures: $failures, Errors: 0"
[ "$failures" -eq 0 ] && [ "$checks" -gt 0 ]
