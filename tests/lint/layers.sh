#!/bin/sh
# Checks the arrows of the layers from the #includes, and who may include which library.
# Each line of the tables: a folder (or file) and what its files may include, as prefixes.
set -eu
cd "$(dirname "$0")/../.."

allowed() {
    case $1 in
    model/base/*) echo "model/base/" ;;
    model/kernels/*) echo "model/kernels/" ;;
    model/load/*) echo "model/base/ model/load/" ;;
    model/text/*) echo "model/base/ model/load/ model/text/" ;;
    model/nets/*) echo "model/base/ model/kernels/ model/load/ model/nets/" ;;
    model/tasks/* | model/seq.[ch]) echo "model/" ;;
    server/*) echo "model/seq.h server/" ;;
    weights/*) echo "model/seq.h" ;;
    *) echo "" ;;
    esac
}

bad=0
for file in $(find model server weights -name '*.c' -o -name '*.h' | sort); do
    ok=$(allowed "$file")
    for inc in $(sed -n 's/^#include "\([^"]*\)".*/\1/p' "$file"); do
        hit=no
        for prefix in $ok; do
            case $inc in "$prefix"*) hit=yes ;; esac
        done
        if [ $hit = no ]; then
            echo "$file: includes $inc; its layer may include: $ok"
            bad=1
        fi
    done
done

# Libraries that have one home each.
only() { # header, regular expression of the files that may include it
    for file in $(grep -rlE "^#include <$1>" model server weights --include='*.[ch]' |
        grep -vE "$2" || true); do
        echo "$file: includes <$1>, which only $2 may"
        bad=1
    done
}
only 'microhttpd\.h' '^server/http\.[ch]$'
only 'jansson\.h' '^(model/load/|server/json_(read|types|data)\.[ch]$|server/hub/files\.c$|server/commands/tokenize\.c$|server/api/|server/options)'
only 'cblas\.h' '^model/kernels/'
only '[a-z0-9]*intrin\.h' '^model/kernels/'
only 'pcre2\.h' '^model/text/'
only 'curl/.*' '^server/hub/transfer\.c$'
only 'gnutls/.*' '^server/hub/digest\.c$'
exit $bad
