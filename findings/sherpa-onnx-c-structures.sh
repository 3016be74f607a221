#!/usr/bin/env bash
# sherpa-onnx's C structures grow from release to release, but its soname never changes.
#
# Seen with: sherpa-onnx-core 1.12.9, 1.13.8 and 2.0.1 from PyPI (x86-64), gcc 12, binutils 2.40.
#
# Guess before the run: version 2.0 has another soname than 1.x, or symbol versions. So a program
# that was built with the header of 1.x does not start with the library of 2.0.
#
# Seen: all three libraries have the soname `libsherpa-onnx-c-api.so`, without a number and without
# symbol versions. The structure that a caller fills in for SherpaOnnxCreateOfflineRecognizer has
# 376, 608 and 624 bytes, and the one that SherpaOnnxGetOfflineStreamResult returns 80, 128 and 128.
# No structure has a field for its own size. So a program that was linked with one release starts
# with any other, and the library reads settings beyond the end of the caller's structure.
#
# Consequence: a program that opens this library at run time must ask it for its version first, and
# must know the layout of exactly that version.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cat >sums <<'SUMS'
sherpa-onnx-core==1.12.9 --hash=sha256:3afb13a8a0644fb7e1a751ea316d86d7842c78c3942c7456d2f0683aa0f1d5cd
sherpa-onnx-core==1.13.8 --hash=sha256:4da90acf435373d7b2ba9cc0be806e7e274d28f63f5780880b5dea6721626e36
sherpa-onnx-core==2.0.1 --hash=sha256:f4ee0ab91c4ae596e0e49d7de32522a946295e038a652f1c1884d89014ee4ec2
SUMS
while read -r package hash; do
    version=${package#*==}
    printf '%s %s\n' "$package" "$hash" >requirements.txt
    pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --platform manylinux2014_x86_64 --dest "$version" --requirement requirements.txt
    python3 -m zipfile -e "$version"/*.whl "$version/files"
    header=$(find "$version/files" -name c-api.h)
    library=$(find "$version/files" -name libsherpa-onnx-c-api.so)
    cat >sizes.c <<C
#include <stdio.h>
#include "$work/$header"
int main(void) {
    printf("settings %zu, result %zu", sizeof(SherpaOnnxOfflineRecognizerConfig),
           sizeof(SherpaOnnxOfflineRecognizerResult));
}
C
    gcc -o sizes sizes.c
    soname=$(readelf --dynamic "$library" | sed -n 's/.*soname: \[\(.*\)\]/\1/p')
    versions=$(readelf --version-info "$library" | grep -c 'Version definition' || true)
    printf '%s: %s, soname %s, symbol versions %s\n' "$version" "$(./sizes)" "$soname" "$versions"
done <sums | tee seen

diff - seen <<'EXPECTED'
1.12.9: settings 376, result 80, soname libsherpa-onnx-c-api.so, symbol versions 0
1.13.8: settings 608, result 128, soname libsherpa-onnx-c-api.so, symbol versions 0
2.0.1: settings 624, result 128, soname libsherpa-onnx-c-api.so, symbol versions 0
EXPECTED
