#!/usr/bin/env python3
"""Packs what penstock/Cargo.toml lists into a .deb with dpkg-deb and into an .rpm with rpmbuild.

cargo-deb and cargo-generate-rpm read the same lists; this needs no tool that has to be built first. Files have the time of
the last commit, or SOURCE_DATE_EPOCH, so that the same source gives the same package.
"""

import argparse
import glob
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
MANIFEST = TOP / "penstock" / "Cargo.toml"
BINARY_PREFIX = "target/release/"
# Where zsh looks for completions: on Debian, elsewhere.
ZSH = ("usr/share/zsh/vendor-completions/", "usr/share/zsh/site-functions/")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--binaries", type=Path, required=True, help="where the executables are")
    arguments.add_argument("--output", type=Path, required=True, help="where the packages go")
    options = arguments.parse_args()
    with open(MANIFEST, "rb") as file:
        metadata = tomllib.load(file)["package"]["metadata"]
    with open(TOP / "Cargo.toml", "rb") as file:
        version = tomllib.load(file)["workspace"]["package"]["version"]
    deb, rpm = metadata["deb"], metadata["generate-rpm"]
    files = resolve([tuple(asset) for asset in deb["assets"]], options.binaries)
    rpm_assets = [(asset["source"], asset["dest"].lstrip("/"), asset["mode"]) for asset in rpm["assets"]]
    rpm_files = resolve(rpm_assets, options.binaries)
    as_in_deb = [(name.replace(*reversed(ZSH)), source, mode) for name, source, mode in rpm_files]
    if sorted(as_in_deb) != files:
        sys.exit("penstock/Cargo.toml: the assets of deb and generate-rpm differ")
    os.umask(0o022)
    print(build_deb(deb, version, files, options))
    if shutil.which("rpmbuild"):
        print(build_rpm(rpm, version, rpm_files, options))
    else:
        print("no .rpm: rpmbuild is not here (Debian package rpm)", file=sys.stderr)


def resolve(assets, binaries):
    """Source, destination and mode of every single file, sorted by destination."""
    files = {}
    for source, destination, mode in assets:
        if source.startswith(BINARY_PREFIX):
            found = [binaries / source.removeprefix(BINARY_PREFIX)]
        else:
            found = [Path(path) for path in sorted(glob.glob(str(MANIFEST.parent / source)))]
        if not found or not all(path.is_file() for path in found):
            sys.exit(f"penstock/Cargo.toml: there is no {source}")
        for path in found:
            name = destination + path.name if destination.endswith("/") else destination
            files[name] = (path.resolve(), int(mode, 8))
    return sorted((name, path, mode) for name, (path, mode) in files.items())


def lay_out(files, root):
    for name, source, mode in files:
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        if name.startswith("usr/bin/"):
            # Debug information is in the build, for whoever needs it there.
            subprocess.run(["strip", "--strip-unneeded", target], check=True)
        target.chmod(mode)


def glibc_needed(files):
    """The newest version of the C library's symbols that the executables use."""
    versions = {(2, 17)}
    for name, source, _ in files:
        if name.startswith("usr/bin/"):
            found = re.findall(rb"GLIBC_(\d+)\.(\d+)", source.read_bytes())
            versions.update((int(major), int(minor)) for major, minor in found)
    return ".".join(map(str, max(versions)))


def epoch():
    if "SOURCE_DATE_EPOCH" in os.environ:
        return os.environ["SOURCE_DATE_EPOCH"]
    log = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=TOP, capture_output=True, text=True, check=False)
    return log.stdout.strip() or "0"


def set_times(root):
    stamp = int(epoch())
    for path in [root, *root.rglob("*")]:
        os.utime(path, (stamp, stamp), follow_symlinks=False)


def build_deb(deb, version, files, options):
    architecture = run("dpkg", "--print-architecture")
    package = options.output / f"{deb['name']}_{version}-1_{architecture}.deb"
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        lay_out(files, root)
        documents = root / "usr/share/doc" / deb["name"]
        licence = (MANIFEST.parent / deb["license-file"][0]).read_text()
        (documents / "copyright").write_text(f"Copyright: {deb['copyright']}\nLicense: Apache-2.0\n\n{licence}")
        changes = f"{deb['name']} ({version}-1) unstable; urgency=medium\n\n  * See the history of the source.\n\n"
        changes += f" -- {deb['maintainer']}  {run('date', '-Ru', '-d', '@' + epoch())}\n"
        with open(documents / "changelog.Debian.gz", "wb") as file:
            file.write(gzip.compress(changes.encode(), 9, mtime=0))
        control = root / "DEBIAN"
        control.mkdir()
        depends = deb["depends"].replace("$auto", f"libc6 (>= {glibc_needed(files)}), libgcc-s1")
        size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) // 1024
        description = " ".join(deb["extended-description"].split())
        with open(MANIFEST, "rb") as file:
            synopsis = tomllib.load(file)["package"]["description"]
        (control / "control").write_text(
            f"Package: {deb['name']}\nVersion: {version}-1\nArchitecture: {architecture}\n"
            f"Maintainer: {deb['maintainer']}\nInstalled-Size: {size}\nDepends: {depends}\n"
            f"Recommends: {deb['recommends']}\nSuggests: {deb['suggests']}\n"
            f"Section: {deb['section']}\nPriority: {deb['priority']}\n"
            f"Description: {synopsis}\n {description}\n"
        )
        (control / "conffiles").write_text("".join(f"{name}\n" for name in deb["conf-files"]))
        for script in sorted((MANIFEST.parent / deb["maintainer-scripts"]).iterdir()):
            # debhelper's token means nothing to dpkg.
            (control / script.name).write_text(script.read_text().replace("#DEBHELPER#\n", ""))
            (control / script.name).chmod(0o755)
        set_times(root)
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", root, package], check=True, stdout=subprocess.DEVNULL
        )
    return package


def build_rpm(rpm, version, files, options):
    architecture = run("uname", "-m")
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        lay_out(files, root)
        set_times(root)
        scripts = {"post": "post_install_script", "preun": "pre_uninstall_script", "postun": "post_uninstall_script"}
        sections = "".join(
            f"%{section}\n{(MANIFEST.parent / rpm[key]).read_text()}\n" for section, key in scripts.items()
        )
        configuration = {asset["dest"] for asset in rpm["assets"] if asset.get("config")}
        listed = []
        for name, source, mode in files:
            is_config = any(f"/{name}" == dest or f"/{name}".startswith(dest) for dest in configuration)
            kind = "%config(noreplace) " if is_config else "%doc " if "/doc/" in name or "/man/" in name else ""
            listed.append(f"%attr({mode:o}, root, root) {kind}/{name}")
        requires = "\n".join(f"Requires: {name}" for name in rpm["requires"])
        spec = Path(directory) / "penstock.spec"
        # The files are there already: nothing is to be built, stripped or looked through.
        spec.write_text(
            f"%global debug_package %{{nil}}\n%global __os_install_post %{{nil}}\n"
            f"Name: {rpm['name']}\nVersion: {version}\nRelease: 1\nSummary: {rpm['summary']}\n"
            f"License: {rpm['license']}\n{requires}\n%description\n{rpm['summary']}\n"
            f"%install\nmkdir -p %{{buildroot}}\ncp -a {root}/. %{{buildroot}}/\n{sections}"
            "%files\n" + "\n".join(listed) + "\n"
        )
        subprocess.run(
            ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {directory}/rpm", "--define",
             f"_rpmdir {options.output.resolve()}", "--define", "_build_name_fmt %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm",
             "--define", "_buildhost reproducible", "--define", "_build_id_links none", "--define", "use_source_date_epoch_as_buildtime 1", spec],
            check=True, env={**os.environ, "SOURCE_DATE_EPOCH": epoch()},
        )
    return options.output / f"{rpm['name']}-{version}-1.{architecture}.rpm"


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
