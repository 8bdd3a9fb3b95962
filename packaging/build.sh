#!/usr/bin/env bash
# Builds the packages: a .deb, and an .rpm where rpmbuild is there (Debian package rpm).
#
#   packaging/build.sh [--binaries DIR] [--output DIR]
#
# Without --binaries a release build is made first. What goes into a package stands in penstock/Cargo.toml, where
# `cargo deb` and `cargo generate-rpm` find it as well.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binaries=
output=target/packages
while (($# > 0)); do
    case $1 in
        --binaries) binaries=${2:?--binaries needs a directory}; shift 2 ;;
        --output) output=${2:?--output needs a directory}; shift 2 ;;
        *) echo "packaging/build.sh: unknown argument $1" >&2; exit 2 ;;
    esac
done
if [[ -z $binaries ]]; then
    cargo build --release --locked -p penstock -p penstock-pool -p penstock-door -p penstock-bench
    binaries=${CARGO_TARGET_DIR:-target}/release
fi
mkdir -p "$output"
exec python3 packaging/pack.py --binaries "$binaries" --output "$output"
