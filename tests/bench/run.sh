#!/bin/sh
# make bench: kernels beside OpenBLAS, start-up time and memory, and the daemon under load.
#   run.sh BUILD_DIR
# Load goes to 127.0.0.1 only. BENCH_SECONDS (default 4) is the length of one load run.
set -eu
build=$1
seconds=${BENCH_SECONDS:-4}
sh tests/lint/packages.sh wrk

echo "# machine: $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | sed 's/^ //'), $(nproc) cores"
echo
echo "## matrix kernel beside cblas_sgemm, one thread"
"$build/tests/bench/bench_kernels"
echo
echo "## start and memory, all shipped models"
"$build/tests/bench/bench_start" "$build/seqd"
echo
echo "## POST /v1/sentiment, a text of 12 words, ${seconds} s a run"
log=$(mktemp)
"$build/seqd" --port 0 --log-level warn --queue-limit 1024 2>"$log" &
pid=$!
script=$(mktemp)
trap 'kill $pid 2>/dev/null || true; rm -f "$log" "$script"' EXIT
port=
while [ -z "$port" ]; do
    kill -0 $pid || { cat "$log"; exit 1; }
    port=$(sed -n 's/.*"listening".*"address":"127\.0\.0\.1:\([0-9]*\)".*/\1/p' "$log")
    sleep 0.05
done
printf '%-24s %11s %12s %9s %9s %8s\n' model connections requests/s p50 p99 errors
for model in sentiment-lstm sentiment-transformer; do
    cat >"$script" <<LUA
wrk.method = "POST"
wrk.body = '{"model":"$model","text":"This is one of the best films I have seen all year"}'
wrk.headers["Content-Type"] = "application/json"
done = function(summary, latency)
  local e = summary.errors
  io.write(string.format("%-24s %11s %12.0f %7.2fms %7.2fms %8d\n", "$model", os.getenv("CONNECTIONS"),
    summary.requests / (summary.duration / 1e6), latency:percentile(50) / 1e3,
    latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
LUA
    for connections in 1 16 64; do
        CONNECTIONS=$connections wrk -t1 -c$connections -d"${seconds}s" --timeout 5s --latency \
            -s "$script" "http://127.0.0.1:$port/v1/sentiment" | grep "^$model"
    done
done
