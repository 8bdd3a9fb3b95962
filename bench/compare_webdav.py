#!/usr/bin/env python3
"""The door beside Apache's mod_dav, in one run: HEAD and PROPFIND of the same tree, and a listing of 100 000 entries.

    cargo build --release -p penstock-door
    cargo bench --no-run -p penstock-door --bench names      # prints where it is: give that as --names
    bench/compare_webdav.py --names target/release/deps/names-…

Needs apache2-bin (Debian). Both servers stand on this machine and share its processors with the client, which is part of
that bench, as one in Python would take most of the time for itself; they are asked in turn, and medians are printed. The
door needs no pool for what is asked.
"""

import argparse
import atexit
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

FILES, DIRECTORIES, WIDE = 1000, 10, 100_000

APACHE = """
ServerRoot {root}
PidFile {root}/pid
Listen 127.0.0.1:{port}
ServerName localhost
{user}
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule dav_module {modules}/mod_dav.so
LoadModule dav_fs_module {modules}/mod_dav_fs.so
DAVLockDB {root}/locks
DocumentRoot {root}/tree
ErrorLog {root}/error.log
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
<Directory {root}/tree>
    Dav On
    Require all granted
</Directory>
"""

DOOR = """
listen = "127.0.0.1:{port}"
namespace = "{root}/names.db"
macaroon_keys = "{root}/keys"
anonymous = "read"
log = "warn"
[[pools]]
name = "pool01"
socket = "{root}/no-pool"
"""

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(pids):
    ticks = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid):
    found = [pid]
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


class Server:
    def __init__(self, name, command, port):
        self.name, self.port = name, port
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        # Whatever becomes of this program.
        atexit.register(self.process.terminate)
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        sys.exit(f"{name} does not start")

    def pids(self):
        return children(self.process.pid)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def tree(root):
    """The names that the door has, as files for Apache."""
    for number in range(DIRECTORIES):
        directory = root / "000" / f"{number:02}"
        directory.mkdir(parents=True)
        for file in range(FILES):
            with open(directory / f"file{file:03}", "wb") as opened:
                opened.truncate(4096)


def load(server, method, depth, single, options):
    """Answers in a second, and the server's processor time for each, in microseconds."""
    command = [options.names, "ask", str(server.port), "--method", method, "--files", str(FILES),
               "--directories", str(DIRECTORIES), "--parallel", str(options.parallel), "--seconds", str(options.seconds)]
    command += ["--depth", depth] if depth else []
    command += [] if single else ["--directory"]
    cpu = cpu_seconds(server.pids())
    answered = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    cpu = cpu_seconds(server.pids()) - cpu
    done, seconds = answered.split()
    return int(done) / float(seconds), cpu / int(done) * 1e6


def first_byte(port, method, path, fields):
    """Seconds to the first byte of the body and to its end, and its length."""
    with socket.create_connection(("127.0.0.1", port)) as stream:
        began = time.monotonic()
        stream.sendall(f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n".encode())
        first, length = None, 0
        while piece := stream.recv(1 << 20):
            length += len(piece)
            if first is None:
                first = time.monotonic() - began
        return first, time.monotonic() - began, length


def memory(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


def door(options, root, names, files, directories, program=None):
    """A door with so many names, and no pool."""
    root.mkdir()
    subprocess.run(
        [options.names, "large", root / "names.db", "--names", str(names), "--files", str(files),
         "--directories", str(directories), "--seconds", "1"],
        check=True, stdout=subprocess.DEVNULL,
    )
    port = free_port()
    config = root / "door.toml"
    config.write_text(DOOR.format(port=port, root=root))
    name = f"Penstock ({program})" if program else "Penstock"
    program = program or options.binaries / "penstock-door"
    subprocess.run([program, "--config", config, "--init-token", root / "token"], check=True, stdout=subprocess.DEVNULL)
    return Server(name, [program, "--config", config], port)


def apache(root):
    root.mkdir()
    os.chmod(root, 0o755)
    (root / "tree").mkdir()
    tree(root / "tree")
    port = free_port()
    user = "User nobody\nGroup nogroup" if os.geteuid() == 0 else ""
    config = root / "httpd.conf"
    config.write_text(APACHE.format(root=root, port=port, user=user, modules="/usr/lib/apache2/modules"))
    return Server("mod_dav", ["apache2", "-f", config, "-D", "FOREGROUND"], port)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", required=True, type=pathlib.Path, help="the program of the door's bench \"names\"")
    parser.add_argument("--binaries", default="target/release", type=pathlib.Path)
    parser.add_argument("--parallel", default=16, type=int, help="connections")
    parser.add_argument("--seconds", default=3, type=int, help="of each run")
    parser.add_argument("--runs", default=5, type=int)
    parser.add_argument("--against", type=pathlib.Path, help="another build of the door, asked in turn with both")
    options = parser.parse_args()
    options.names, options.binaries = options.names.resolve(), options.binaries.resolve()
    with tempfile.TemporaryDirectory(prefix="penstock-webdav-") as name:
        root = pathlib.Path(name)
        os.chmod(root, 0o755)
        servers = [apache(root / "apache"), door(options, root / "door", FILES * DIRECTORIES, FILES, DIRECTORIES)]
        if options.against:
            servers.append(door(options, root / "against", FILES * DIRECTORIES, FILES, DIRECTORIES, options.against))
        cases = [
            ("HEAD of a file", "HEAD", "", True),
            ("PROPFIND, depth 0, of a file", "PROPFIND", "0", True),
            (f"PROPFIND, depth 1, of {FILES} files", "PROPFIND", "1", False),
        ]
        names = " | ".join(server.name for server in servers)
        print(f"| {options.parallel} connections, requests/s (server CPU us each) | {names} | ratio |")
        print("| --- |" + " --- |" * (len(servers) + 1))
        for title, method, depth, single in cases:
            for server in servers:
                load(server, method, depth, single, options)
            found = {server.name: [] for server in servers}
            for _ in range(options.runs):
                for server in servers:
                    found[server.name].append(load(server, method, depth, single, options))
            rates = [statistics.median(rate for rate, _ in found[server.name]) for server in servers]
            costs = [statistics.median(cost for _, cost in found[server.name]) for server in servers]
            cells = [f"{rate:.0f} ({cost:.0f})" for rate, cost in zip(rates, costs)]
            print(f"| {title} | {' | '.join(cells)} | {rates[1] / rates[0]:.1f} |", flush=True)
        for server in servers:
            server.stop()
        wide = door(options, root / "wide", WIDE, WIDE, 1)
        pid = wide.process.pid
        print(f"\n| {WIDE} entries, door's memory before {memory(pid, 'VmRSS'):.0f} MiB | first byte, ms | last, ms | MiB |")
        print("| --- | --- | --- | --- |")
        for title, method, fields in [
            ("PROPFIND, depth 1", "PROPFIND", "Depth: 1\r\nContent-Length: 0\r\n"),
            ("directory page", "GET", "Accept: text/html\r\n"),
        ]:
            seen = [first_byte(wide.port, method, "/000/00/", fields) for _ in range(options.runs)]
            first, last = (statistics.median(run[index] for run in seen) * 1e3 for index in (0, 1))
            print(f"| {title} | {first:.1f} | {last:.0f} | {seen[0][2] / (1 << 20):.0f} |")
        print(f"\nThe most memory that the door has had: {memory(pid, 'VmHWM'):.0f} MiB")
        wide.stop()


if __name__ == "__main__":
    main()
