#!/bin/sh
# Runs test programs one after another and adds up what libcheck says:
#   run.sh BUILD_DIR PROGRAM...
# A program that ends without libcheck's line (a crash, a sanitizer's report) counts as one
# failure. The closing line is "N passed, N failed".
set -u
build=$1
shift
TEST_BINARY=$build/seqd
# Absurd sizes must fail like an exhausted heap, not end the test.
ASAN_OPTIONS=allocator_may_return_null=1:${ASAN_OPTIONS:-}
export TEST_BINARY ASAN_OPTIONS
passed=0
failed=0
out=$(mktemp)
trap 'rm -f "$out"' EXIT
for program in "$@"; do
    "$program" >"$out" 2>&1
    status=$?
    line=$(grep -E '^[0-9]+%: Checks: [0-9]+, Failures: [0-9]+, Errors: [0-9]+' "$out" | tail -n 1)
    counts=$(echo "$line" | sed 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 \2 \3/')
    if [ -z "$line" ]; then
        failed=$((failed + 1))
        echo "FAIL ${program#"$build"/} (exit status $status)"
        tail -n 40 "$out"
        continue
    fi
    set_counts() { checks=$1 bad=$(($2 + $3)); }
    # shellcheck disable=SC2086
    set_counts $counts
    [ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
    passed=$((passed + checks - bad))
    failed=$((failed + bad))
    if [ "$bad" -gt 0 ]; then
        echo "FAIL ${program#"$build"/}: $bad of $checks"
        grep -vE '^Running suite' "$out" | tail -n 60
    else
        echo "ok   ${program#"$build"/}: $checks"
        grep -iE '^skipped' "$out" | sed 's/^/     /'
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
