#!/bin/sh
# make bench: seqd beside its peers; kernels, start-up and the shipped models by themselves.
#   run.sh BUILD_DIR
# BENCH=quick runs a part in two minutes. What is fetched and made stays in build/bench;
# without Python or the network the peers are skipped, with a message.
set -eu
build=$1
mode=${BENCH:-full}
work=build/bench
peers=tests/bench/peers
case $mode in full | quick) ;; *) echo "BENCH is full or quick" >&2 && exit 2 ;; esac
sh tests/lint/packages.sh wrk
mkdir -p "$work"

# venv NAME REQUIREMENTS [OPTION]: made once for each version of its requirements.
venv() {
    cmp -s "$2" "$work/$1/requirements.txt" && return
    echo "making $work/$1" >&2
    rm -rf "${work:?}/$1"
    # shellcheck disable=SC2086
    /usr/bin/python3 -m venv ${3:-} "$work/$1" &&
        "$work/$1/bin/pip" install -q --disable-pip-version-check -r "$2" &&
        cp "$2" "$work/$1/requirements.txt"
}

# The package's own install script fetches parts for GPUs alone: it isn't run.
node_modules() {
    cmp -s "$peers/package.json" "$work/node/package.json" && return
    rm -rf "$work/node"
    mkdir -p "$work/node.new"
    cp "$peers/package.json" "$work/node.new/"
    (cd "$work/node.new" &&
        npm install --silent --no-audit --no-fund --ignore-scripts >&2) &&
        cp "$peers/package.json" "$work/node.new/" && mv "$work/node.new" "$work/node"
}

status=0
if sh tests/lint/packages.sh python3-venv python3-torch &&
    venv venv "$peers/requirements.txt" --system-site-packages; then
    venv server-venv "$peers/requirements-server.txt" ||
        echo "no FastAPI server: its packages can't be installed" >&2
    if command -v node >/dev/null && command -v npm >/dev/null; then
        node_modules || echo "no Node server: its packages can't be installed" >&2
    else
        echo "no Node server: node and npm are not installed" >&2
    fi
    "$work/venv/bin/python" "$peers/bench.py" "$build" "$work" "$mode" || status=$?
else
    echo "no peers: Debian's python3-torch or Python packages can't be installed" >&2
fi
[ "$mode" = full ] || exit $status
for each in bench_kernels bench_attention bench_recurrent bench_crew bench_generate \
    bench_typing; do
    [ -x "$build/tests/bench/$each" ] || continue
    echo
    echo "## $each"
    "$build/tests/bench/$each"
done
echo
echo "## start and memory, all shipped models"
"$build/tests/bench/bench_start" "$build/seqd"
echo
echo "## the HTTP path beside nginx, the shipped classifiers, short texts beside long ones"
sh tests/bench/bench_http.sh "$build" 2 3
exit $status
