"""Penstock beside nginx and XRootD on this machine: speed, processor time and memory, all rows in one run.

    cargo build --release --workspace
    sudo python3 bench/compare --install        # Debian packages of the peers and clients
    python3 bench/compare [--runs 5] [--rows get,put,…] [--directory DIR]

Starts all servers on loopback with their data in one directory, and asks them in turn (A B C A B C …), so that a
machine whose speed drifts drifts for all. Prints Markdown tables: medians, the range, and Penstock's ratio to the best
peer. Processor time is user + system time of all threads of a server's processes (of Penstock: pool and door) over one
run, per GiB. Sets one congestion control (cubic) for all while it runs, where it may: on loopback, bbr's pacing costs
every server up to three times the processor time and hides the differences.
"""
import argparse
import os
import shutil
import sys
import tempfile

import rows
import servers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CONGESTION = "/proc/sys/net/ipv4/tcp_congestion_control"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each row, after one that does not count")
    parser.add_argument("--rows", default=",".join(rows.ALL), help="which rows, by name, separated by commas")
    parser.add_argument("--directory", help="where the data go (default: a new one under the temporary directory)")
    parser.add_argument("--port", type=int, default=23080, help="first of twenty ports on loopback")
    parser.add_argument("--install", action="store_true", help="install what is compared (Debian, root), and end")
    options = parser.parse_args()
    if options.install:
        return servers.install()
    chosen = options.rows.split(",")
    unknown = [name for name in chosen if name not in rows.ALL]
    if unknown:
        sys.exit(f"no such row: {', '.join(unknown)}; there are {', '.join(rows.ALL)}")
    missing = [name for name in servers.NEEDED if not shutil.which(name)]
    if missing:
        sys.exit(f"missing: {', '.join(missing)}; run: sudo python3 bench/compare --install")
    directory = tempfile.mkdtemp(prefix="penstock-compare-", dir=options.directory)
    os.chmod(directory, 0o755)
    congestion = open(CONGESTION).read().strip()
    site = servers.Site(ROOT, directory, options.port)
    try:
        if os.access(CONGESTION, os.W_OK):
            open(CONGESTION, "w").write("cubic")
        site.start()
        control = open(CONGESTION).read().strip()
        print(f"{os.cpu_count()} processors, Linux {os.uname().release}, {control}; {options.runs} runs in turn\n")
        for name in chosen:
            rows.ALL[name](site, options.runs)
    finally:
        site.stop()
        if os.access(CONGESTION, os.W_OK):
            open(CONGESTION, "w").write(congestion)
        shutil.rmtree(directory, ignore_errors=True)


main()
