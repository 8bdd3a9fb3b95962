#!/usr/bin/env bash
# Builds the packages: a .deb, and an .rpm where rpmbuild is there (Debian package rpm).
#
#   packaging/build.sh [--binaries DIR] [--output DIR]
#
# Without --binaries a release build is made first. What goes into a package stands in penstock/Cargo.toml, where
# `cargo deb` and `cargo generate-rpm` find it as well; they need target/manual, which this makes.
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
# Man pages and completions are what the programs say of themselves.
manual=target/manual
rm -rf "$manual"
mkdir -p "$manual"/{man1,bash,zsh,fish}
for program in penstock penstock-pool penstock-door penstock-bench; do
    "$binaries/$program" man --dir "$manual/man1"
    "$binaries/$program" completions bash >"$manual/bash/$program"
    "$binaries/$program" completions zsh >"$manual/zsh/_$program"
    "$binaries/$program" completions fish >"$manual/fish/$program.fish"
done
# Without a time in it: the same source gives the same package.
gzip -9n "$manual"/man1/*.1
exec python3 packaging/pack.py --binaries "$binaries" --output "$output"
