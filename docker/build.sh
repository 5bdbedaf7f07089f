#!/bin/sh
# Builds the image: build.sh VERSION. With docker where an engine answers, else with buildah.
# Without an engine and without a cached base image the base is made from this machine's own
# Debian sources. STORE (default build/containers) holds buildah's images; TAG the name.
set -eu
cd "$(dirname "$0")/.."
version=${1:-dev}
tag=${TAG:-seqd}
target=${TARGET:-full}
base=docker.io/library/debian:bookworm-slim

if docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then
    exec docker build -f docker/Dockerfile --target "$target" \
        --label "org.opencontainers.image.version=$version" -t "$tag" .
fi

sh tests/lint/packages.sh buildah runc podman mmdebstrap uidmap
. docker/store.sh
if ! store podman image exists "$base"; then
    slim=$(mktemp -d)/slim.tar
    mkdir -p "$STORE"
    # What debian:bookworm-slim is: a minimal system without manuals and translations. The
    # hook keeps /bin and /lib merged into /usr, or perl comes along.
    mmdebstrap --quiet --variant=minbase \
        --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook='rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/var/log/*' \
        bookworm "$slim"
    store podman import "$slim" "$base" >/dev/null
    rm -rf "$(dirname "$slim")"
fi
store buildah bud --isolation chroot --pull-never --layers --format docker \
    --label "org.opencontainers.image.version=$version" --target "$target" \
    -f docker/Dockerfile -t "$tag" .
