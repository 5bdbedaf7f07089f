#!/bin/sh
# Runs test programs, a few at a time, and adds up what libcheck says:
#   run.sh BUILD_DIR PROGRAM...
# A program that ends without libcheck's line (a crash, a sanitizer's report) counts as one
# failure. The closing line is "N passed, N failed". TEST_JOBS says how many run at once;
# without it one a core, 4 at most.
set -u

# One program; what it counts goes to a file of $counts.
run_one() {
    program=$1
    out=$(mktemp)
    told=$(mktemp)
    "$program" >"$out" 2>&1
    status=$?
    line=$(grep -E '^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+' "$out" | tail -n 1)
    # shellcheck disable=SC2046
    set -- $(echo "$line" | sed 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 \2 \3/')
    checks=${1:-1}
    if [ -z "$line" ]; then
        bad=1
        echo "FAIL ${program#"$build"/} (exit status $status)"
        tail -n 40 "$out"
    else
        bad=$(($2 + $3))
        [ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
        if [ "$bad" -gt 0 ]; then
            echo "FAIL ${program#"$build"/}: $bad of $checks"
            grep -vE '^Running suite' "$out" | tail -n 60
        else
            echo "ok   ${program#"$build"/}: $checks"
            grep -iE '^skipped' "$out" | sed 's/^/     /'
        fi
    fi >"$told"
    cat "$told" # at once, so that two programs' lines don't mix
    echo "$((checks - bad)) $bad" >"$(mktemp -p "$counts")"
    rm -f "$out" "$told"
}

if [ "$1" = --one ]; then
    run_one "$2"
    exit
fi

build=$1
shift
TEST_BINARY=$build/seqd
# Absurd sizes must fail like an exhausted heap, not end the test.
ASAN_OPTIONS=allocator_may_return_null=1:${ASAN_OPTIONS:-}
counts=$(mktemp -d)
export TEST_BINARY ASAN_OPTIONS build counts
trap 'rm -rf "$counts"' EXIT
jobs=$(nproc)
[ "$jobs" -le 4 ] || jobs=4
printf '%s\0' "$@" | xargs -0 -n 1 -P "${TEST_JOBS:-$jobs}" sh "$0" --one
passed=0
failed=0
for file in "$counts"/*; do
    read -r good bad <"$file"
    passed=$((passed + good))
    failed=$((failed + bad))
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ] && [ "$(find "$counts" -type f | wc -l)" -eq $# ]
