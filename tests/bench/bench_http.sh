#!/bin/sh
# The HTTP path by itself, and short requests beside long ones.
#   bench_http.sh BUILD_DIR [SECONDS [ROUNDS [REQUESTS]]]
# Throughput of /livez and nginx's `return 200` in turn (median, least to most), the CPU
# time of a request whose model is tiny, resident memory before and after, and bench_http
# on the shipped classifiers; with REQUESTS (1000000 take some two minutes) also resident
# memory over so many of them. Load goes to 127.0.0.1 only.
set -eu
build=$1
seconds=${2:-2}
rounds=${3:-5}
requests=${4:-0}
sh tests/lint/packages.sh wrk nginx-light
work=$(mktemp -d)
pids=
trap 'for p in $pids; do kill $p 2>/dev/null || true; done; rm -rf "$work"' EXIT

# serve NAME ARGUMENTS...: seqd; sets pid and port.
serve() {
    log=$work/$1.log
    shift
    "$build/seqd" --port 0 --log-level info "$@" 2>"$log" &
    pid=$!
    pids="$pids $pid"
    port=
    while [ -z "$port" ]; do
        kill -0 $pid || { cat "$log"; exit 1; }
        port=$(sed -n 's/.*"listening".*"address":"127\.0\.0\.1:\([0-9]*\)".*/\1/p' "$log")
        sleep 0.05
    done
}

# Requests per second at so many connections.
rate() {
    wrk -t1 -c"$1" -d"${seconds}s" "$2" | awk '/^Requests\/sec/ { print int($2) }'
}

# Median, least and most of the numbers in a file.
median() {
    sort -n "$1" | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)], v[1], v[NR] }'
}

# Microseconds of CPU that a process has used, and its resident memory in KiB.
cpu_us() { awk -v hz="$(getconf CLK_TCK)" '{ print int(($14 + $15) * 1e6 / hz) }' "/proc/$1/stat"; }
resident_kib() { awk '/^VmRSS/ { print $2 }' "/proc/$1/status"; }

nginx_port=8799
cat >"$work/nginx.conf" <<CONF
worker_processes 1;
daemon off;
pid $work/nginx.pid;
error_log /dev/null;
events { worker_connections 4096; }
http {
    access_log off;
    keepalive_requests 1000000000;
    server { listen 127.0.0.1:$nginx_port; location / { return 200 "{\"status\":\"ok\"}\n"; } }
}
CONF
nginx -c "$work/nginx.conf" 2>/dev/null &
pids="$pids $!"
serve tiny tests/fixtures/models/tiny-bilstm
before=$(resident_kib $pid)
printf '%-12s %32s %32s %6s\n' connections 'seqd /livez, requests/s' "nginx 'return 200'" ratio
for connections in 16 64 128 256; do
    : >"$work/ours"
    : >"$work/theirs"
    i=0
    while [ $((i += 1)) -le "$rounds" ]; do
        rate $connections "http://127.0.0.1:$port/livez" >>"$work/ours"
        rate $connections "http://127.0.0.1:$nginx_port/" >>"$work/theirs"
    done
    echo "$connections $(median "$work/ours") $(median "$work/theirs")" |
        awk '{ printf "%-12s %12d (%d to %d) %12d (%d to %d) %6.2f\n",
               $1, $2, $3, $4, $5, $6, $7, $2 / $5 }'
done
cat >"$work/tiny.lua" <<LUA
wrk.method = "POST"
wrk.body = '{"model":"tiny-bilstm","text":"good"}'
wrk.headers["Content-Type"] = "application/json"
LUA
: >"$work/cost"
i=0
while [ $((i += 1)) -le "$rounds" ]; do
    start=$(cpu_us $pid)
    n=$(wrk -t1 -c16 -d"${seconds}s" -s "$work/tiny.lua" "http://127.0.0.1:$port/v1/sentiment" |
        awk '/requests in/ { print $1 }')
    echo $((($(cpu_us $pid) - start) / n)) >>"$work/cost"
done
echo "CPU of a request to a tiny model, 16 connections, computing and log line included:" \
    "$(median "$work/cost") us (median, least, most)"
echo "resident: $before KiB before, $(resident_kib $pid) KiB behind this load"
serve shipped
for model in sentiment-transformer sentiment-lstm; do
    "$build/tests/bench/bench_http" "$port" $model "$seconds" "$rounds"
done
if [ "$requests" -gt 0 ]; then
    serve steady tests/fixtures/models/tiny-bilstm tests/fixtures/models/tiny-lstm
    "$build/tests/bench/bench_resident" "$port" $pid "$requests"
fi
