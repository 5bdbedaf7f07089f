#!/bin/sh
# make test-web: the page in a browser.
#   run.sh BUILD_DIR [PATTERN]
# PATTERN, a regular expression, chooses tests by their names.
# Installs what is missing: Chromium and Node as Debian packages, the two libraries of
# package-lock.json under build/web. Screenshots and figures stay in build/web.
set -eu
build=$1
work=build/web
here=tests/web
tools=chromium
command -v node >/dev/null || tools="$tools nodejs"
command -v npm >/dev/null || tools="$tools npm"
# shellcheck disable=SC2086
sh tests/lint/packages.sh $tools

if ! cmp -s "$here/package-lock.json" "$work/modules/package-lock.json"; then
    rm -rf "$work/modules" "$work/modules.new"
    mkdir -p "$work/modules.new"
    cp "$here/package.json" "$here/package-lock.json" "$work/modules.new/"
    (cd "$work/modules.new" && npm ci --silent --no-audit --no-fund --ignore-scripts >&2)
    mv "$work/modules.new" "$work/modules"
fi
WEB_BUILD=$build WEB_WORK=$work exec node --test-reporter=spec \
    ${2:+--test-name-pattern="$2"} "$here/all.js"
