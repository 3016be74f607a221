# shellcheck shell=bash
# Packs what is under test (binaries, units, configuration) and the cases into a small read-only disk.

# Builds the daemon and its client with the test engines in, and lays them aside: the next build without those engines
# puts other binaries in the same place. And a model for Whisper.
build_binaries() {
    local began=$SECONDS
    # In the checkout: how whisper.cpp is built stands in its .cargo/config.toml.
    logged "$state/cargo.log" env -C "$checkout" cargo build --release \
        --features fault-engine,whisper --bins --example make_model
    local built=${CARGO_TARGET_DIR:-$checkout/target}/release
    install -D -t "$state/bin" "$built"/{stt-isolated,sttctl}
    "$built/examples/make_model" "$state/bin/ggml-test.bin"
    say "cargo: binaries built in $((SECONDS - began)) s"
}

# The files under test, where the package would put them. Everything below payload/root is copied onto / in the machine.
stage_product() {
    local root=$1 file
    install -D -t "$root/usr/bin" "$state"/bin/{stt-isolated,sttctl}
    for file in "$checkout"/systemd/*.{socket,service}; do
        [[ ! -e $file ]] || install -D -m 644 -t "$root/usr/lib/systemd/system" "$file"
    done
    for file in "$checkout"/packaging/{sysusers.d,tmpfiles.d}/*.conf; do
        [[ ! -e $file ]] || install -D -m 644 -t "$root/usr/lib/$(basename "$(dirname "$file")")" "$file"
    done
    install -D -m 644 -t "$root/usr/lib/systemd/catalog" "$checkout"/packaging/journal/*.catalog
    install -D -m 644 -t "$root/var/lib/stt-isolated-tests" "$state/bin/ggml-test.bin"
    file=$checkout/config/stt-isolated.toml
    [[ ! -e $file ]] || install -D -m 644 -t "$root/etc/stt-isolated" "$file"
}

# pack_payload IMAGE KEEP CASE…
pack_payload() {
    local image=$1 keep=$2 tree=$1.tree
    shift 2
    rm -rf "$tree"
    mkdir -p "$tree/cases"
    cp -R "$here/guest" "$tree/guest"
    cp "$@" "$tree/cases/"
    stage_product "$tree/root"
    [[ $keep = no ]] || touch "$tree/keep"
    local kib
    kib=$(du -sk "$tree" | cut -f1)
    truncate --size "$((kib + kib / 8 + 4096))K" "$image"
    mke2fs -q -t ext4 -O ^has_journal -m 0 -L payload -E root_owner=0:0 -d "$tree" "$image"
    rm -rf "$tree"
}
