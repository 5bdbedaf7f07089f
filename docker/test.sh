#!/bin/sh
# Runs the image as one should run it (read-only root, no capabilities, not root) and asks it
# for a sentiment. Image names: TAG (default seqd) with models, seqd-bare without.
set -eu
cd "$(dirname "$0")/.."
tag=${TAG:-seqd}
port=${PORT:-18473}
limits="--read-only --cap-drop all --security-opt no-new-privileges --memory 1g --pids-limit 128"

if docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then
    engine() { docker "$@"; }
    run="$limits -p 127.0.0.1:$port:$port"
else
    . docker/store.sh
    # runc, because crun refuses mixed cgroups; plain files instead of journald; limits that
    # a container without CAP_SYS_RESOURCE may set.
    mkdir -p "$STORE"
    cat >"$STORE/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
CONF
    CONTAINERS_CONF=$STORE/containers.conf
    export CONTAINERS_CONF
    engine() { store podman "$@"; }
    run="$limits --network host --no-healthcheck"
fi

# shellcheck disable=SC2086
id=$(engine run -d $run -e SEQD_PORT="$port" "$tag")
trap 'engine rm -f "$id" >/dev/null 2>&1 || true' EXIT
tries=0
until curl -sf "http://127.0.0.1:$port/readyz" >/dev/null; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ]; then
        echo "the container is not ready after 10 s:" >&2
        engine logs "$id" >&2 || true
        exit 1
    fi
    sleep 0.1
done
answer=$(curl -sf -d '{"text":"I loved every minute of it"}' "http://127.0.0.1:$port/v1/sentiment")
echo "$answer"
case $answer in
*'"label":"positive"'*) ;;
*) echo "unexpected answer" >&2; exit 1 ;;
esac
engine exec "$id" /bin/seqd --healthcheck
engine stop -t 10 "$id" >/dev/null
code=$(engine inspect --format '{{.State.ExitCode}}' "$id")
[ "$code" = 0 ] || { echo "exit status $code after SIGTERM" >&2; exit 1; }
bytes=$(engine image inspect --format '{{.Size}}' "${BARE:-seqd-bare}" 2>/dev/null || echo 0)
if [ "$bytes" -gt 0 ]; then
    echo "image without weights: $((bytes / 1000000)) MB"
    [ "$bytes" -lt 20000000 ] || { echo "over 20 MB" >&2; exit 1; }
fi
echo "container: ready, answered, stopped with status 0"
