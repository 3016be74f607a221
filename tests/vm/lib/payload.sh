# shellcheck shell=bash
# Packs the package under test, the daemon with test engines, and the cases into a small read-only
# disk.

# Builds the package, the same as an earlier version, the daemon with the test engines (which are
# never in a package), and a model for Whisper.
build_binaries() {
    local began=$SECONDS version
    logged "$state/package.log" "$checkout/packaging/build" deb
    rm -rf "$state/deb"
    install -D -m 644 "$checkout"/target/packages/*.deb "$state/deb/current.deb"
    version=$(dpkg-deb --field "$state/deb/current.deb" Version)
    logged "$state/package.log" "$checkout/packaging/deb/earlier" "$version~earlier" "$state/deb/earlier.deb"
    rm -rf "${state:?}/bin"
    logged "$state/cargo.log" "$checkout/packaging/compile" whisper,fault-engine "$state/bin" stt-isolated
    mkdir -p "$state/models"
    # Run in the checkout, because its .cargo/config.toml says how to build whisper.cpp. With the
    # same features as `make test`, whose build can then be used again.
    logged "$state/cargo.log" env -C "$checkout" cargo run --locked --features fault-engine,whisper \
        --example make_model "$state/models/ggml-test.bin"
    say "package and binaries built in $((SECONDS - began)) s"
}

# pack_payload IMAGE KEEP CASE…
pack_payload() {
    local image=$1 keep=$2 tree=$1.tree
    shift 2
    rm -rf "$tree"
    mkdir -p "$tree/cases"
    cp -R "$here/guest" "$tree/guest"
    cp "$checkout/tests/engines/exec/program.py" "$checkout/tests/engines/converter/converter.sh" "$tree/guest/"
    cp "$@" "$tree/cases/"
    cp -R "$state/deb" "$tree/deb"
    cp -R "$state/bin" "$tree/bin"
    cp -R "$state/models" "$tree/models"
    [[ $keep = no ]] || touch "$tree/keep"
    local kib
    kib=$(du -sk "$tree" | cut -f1)
    truncate --size "$((kib + kib / 8 + 4096))K" "$image"
    mke2fs -q -t ext4 -O ^has_journal -m 0 -L payload -E root_owner=0:0 -d "$tree" "$image"
    rm -rf "$tree"
}
