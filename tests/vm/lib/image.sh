# shellcheck shell=bash
# Builds a suite's root file system image, cached under target/vm by a hash of all its inputs.

# Prints the folder that holds root.img, vmlinuz and initrd for a suite.
image_folder() {
    local suite=$1 hash
    hash=$({
        echo "$suite"
        cat "$here"/image/* "$here/lib/image.sh"
    } | sha256sum)
    say "$state/cache/$suite-${hash:0:16}"
}

ensure_image() {
    local suite=$1 folder began=$SECONDS
    folder=$(image_folder "$suite")
    if [[ -e $folder/root.img ]]; then
        say "$suite: image is cached"
        return
    fi
    rm -rf --one-file-system "$state/cache/$suite-"*
    mkdir -p "$folder.new"
    logged "$state/$suite-image.log" fill_root "$suite" "$folder.new/root"
    local filled=$((SECONDS - began))
    logged "$state/$suite-mke2fs.log" pack_root "$folder.new"
    mv "$folder.new" "$folder"
    say "$suite: image built: mmdebstrap $filled s, mke2fs $((SECONDS - began - filled)) s"
}

fill_root() {
    local suite=$1 root=$2 mirror packages
    mirror=$(debian_mirror) || return
    packages=$(grep -v '^#' "$here/image/packages" | paste -sd,) || return
    apt_access_options >"${root%/root}/apt.conf" || return
    # The excluded files are not needed in the machine. dpkg need not flush, because an interrupted
    # build is thrown away.
    mmdebstrap --mode=root --variant=minbase --include="$packages" \
        --aptopt="${root%/root}/apt.conf" \
        --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/lib/udev/hwdb.d/*' \
        --essential-hook="$here/image/before-packages" \
        --customize-hook="$here/image/after-packages" \
        "$suite" "$root" "deb $mirror $suite main"
}

pack_root() {
    local folder=$1
    mv "$folder"/root/boot/vmlinuz-* "$folder/vmlinuz" &&
        mv "$folder"/root/boot/initrd.img-* "$folder/initrd" &&
        truncate --size 3G "$folder/root.img" &&
        mke2fs -q -t ext4 -O ^has_journal -m 0 -L root -d "$folder/root" "$folder/root.img" &&
        rm -rf --one-file-system "$folder/root" "$folder/apt.conf"
}
