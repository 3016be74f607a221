# shellcheck shell=bash
# Prepares this machine: the tools, installed by name if missing, and a Debian mirror for building
# images.

prepare_host() {
    local missing=()
    command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
    command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
    command -v mke2fs >/dev/null || missing+=(e2fsprogs)
    [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] || missing+=(debian-archive-keyring)
    ((${#missing[@]})) || return 0

    say "installing with apt: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    logged "$state/apt.log" apt-get -o DPkg::Lock::Timeout=300 update
    logged "$state/apt.log" apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"
}

# The archive of this machine's own apt; STT_VM_MIRROR overrides it.
debian_mirror() {
    if [[ -n ${STT_VM_MIRROR:-} ]]; then
        say "$STT_VM_MIRROR"
        return
    fi
    local uri
    uri=$(indexed_mirror)
    if [[ -z $uri ]]; then
        logged "$state/apt.log" apt-get -o DPkg::Lock::Timeout=300 update >&2
        uri=$(indexed_mirror)
    fi
    [[ -n $uri ]] || die "no Debian archive among this machine's apt sources: set STT_VM_MIRROR"
    say "$uri"
}

# shellcheck disable=SC2016  # the dollars are apt's own
indexed_mirror() {
    apt-get indextargets --format '$(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 == "main" && uri == "" { uri = $3 } END { print uri }'
}

# Options with which this machine's apt reaches its archive (proxies, clock checks), for the apt
# that fills an image.
apt_access_options() {
    apt-config dump | grep -E '^Acquire::(Check-Valid-Until|Check-Date|Retries|ForceIPv[46]|https?::)' || true
}
