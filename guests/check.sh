#!/usr/bin/env bash
# Checks that guests/prebuilt/ is what guests/build.sh makes of the sources.
#
#   guests/check.sh             no toolchain needed: the files are whole (SHA256SUMS), and no source has changed
#                               since they were built (BUILD)
#   guests/check.sh --rebuild   builds again as well; the same toolchain must give the same bytes, another one must
#                               build
set -euo pipefail

guests=$(cd "$(dirname "$0")" && pwd)

# One digest over every file that the binaries are made from.
sources() {
    cd "$guests/.."
    find guests/rust guests/build.sh wit -type f \
        \( -name '*.rs' -o -name 'Cargo.*' -o -name '*.wit' -o -name build.sh \) -not -path 'guests/rust/target/*' |
        LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d ' ' -f 1
}

if [ "${1:-}" = --print-sources ]; then
    sources
    exit
fi

(cd "$guests/prebuilt" && sha256sum --check --quiet SHA256SUMS)
for file in "$guests"/prebuilt/*.wasm; do
    grep -q " $(basename "$file")\$" "$guests/prebuilt/SHA256SUMS" ||
        { echo "check.sh: $file is not in SHA256SUMS" >&2; exit 1; }
done
if ! grep -qx "sources $(sources)" "$guests/prebuilt/BUILD"; then
    echo "check.sh: the sources have changed since guests/prebuilt was built: run guests/build.sh" >&2
    exit 1
fi

if [ "${1:-}" = --rebuild ]; then
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    "$guests/build.sh" "$fresh"
    if ! cmp --quiet "$fresh/BUILD" "$guests/prebuilt/BUILD"; then
        echo "check.sh: built, but with another toolchain than guests/prebuilt; bytes not compared:"
        diff "$guests/prebuilt/BUILD" "$fresh/BUILD" || true
    elif ! cmp --quiet "$fresh/SHA256SUMS" "$guests/prebuilt/SHA256SUMS"; then
        echo "check.sh: the same toolchain gave other bytes than guests/prebuilt:" >&2
        diff "$guests/prebuilt/SHA256SUMS" "$fresh/SHA256SUMS" >&2
        exit 1
    fi
fi
echo "guests/prebuilt is up to date"
