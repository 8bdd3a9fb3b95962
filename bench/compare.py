#!/usr/bin/env python3
"""Penstock beside nginx on this machine: speed, processor time and memory, in one run.

    cargo build --release -p penstock
    bench/compare.py [--runs 5] [--size-mib 1024] [--slow 200] [--directory DIR]

Needs nginx with its WebDAV module and curl (Debian: nginx curl). Starts both servers on loopback with their data in
one directory, and asks them in turn (A B A B …), so that a machine whose speed drifts drifts for both. Prints Markdown
tables: medians, the range, and the ratio Penstock : nginx.

Processor time is user + system time of all threads of the server's processes over one transfer, per GiB. nginx neither
computes checksums nor syncs; Penstock computes adler32 and answers when the bytes are durable. For PUT the speed of
nginx is also given with a sync behind it.
"""
import argparse, os, shutil, signal, statistics, subprocess, sys, tempfile, time

TICKS = os.sysconf("SC_CLK_TCK")
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

NGINX = """
worker_processes 2;
pid {dir}/nginx.pid;
error_log {dir}/nginx.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_max_body_size 0; client_body_buffer_size 1m; client_body_temp_path {dir}/nginx-tmp;
  server {{ listen 127.0.0.1:{port}; root {dir}/nginx-data; dav_methods PUT DELETE; create_full_put_path on; }}
}}
"""


def tree(pid):
    """The process and its children."""
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                todo += map(int, open(f"/proc/{pid}/task/{task}/children").read().split())
        except OSError:
            pass
    return found


def processor_seconds(pids):
    total = 0
    for pid in pids:
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_mib(pids, key):
    """Proportional set size: pages that processes share are counted once."""
    total = 0
    for pid in pids:
        for line in open(f"/proc/{pid}/smaps_rollup"):
            if line.startswith(key + ":"):
                total += int(line.split()[1])
    return total / 1024


class Server:
    def __init__(self, name, pid, base, curl):
        self.name, self.pid, self.base, self.curl = name, pid, base, curl

    def transfer(self, arguments, size_mib, sync_after=False):
        """One transfer: MiB/s and processor seconds per GiB."""
        pids = tree(self.pid)
        before, began = processor_seconds(pids), time.monotonic()
        command = ["curl", "-sS", "-f", "--max-time", "120", *self.curl, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        if sync_after:
            os.sync()
        took = time.monotonic() - began
        return size_mib / took, (processor_seconds(pids) - before) * 1024 / size_mib


def spread(values, digits):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def compare(title, servers, runs, once):
    results = {server.name: [] for server in servers}
    for run in range(-1, runs):
        for server in servers:
            result = once(server)
            if run >= 0:
                results[server.name].append(result)
    medians = {}
    for server in servers:
        speeds, costs = zip(*results[server.name])
        medians[server.name] = statistics.median(speeds), statistics.median(costs)
        print(f"| {title} | {server.name} | {spread(speeds, 0)} | {spread(costs, 3)} |")
    (a_speed, a_cost), (b_speed, b_cost) = medians["penstock"], medians["nginx"]
    print(f"| {title} | ratio | {a_speed / b_speed:.2f} | {a_cost / b_cost:.2f} |", flush=True)


def slow_clients(server, source, number):
    """Resident memory while so many clients upload and as many download, 20 kB/s each, for 15 s."""
    clients = []
    for i in range(number):
        put = ["-T", source, f"{server.base}/slow/{i}"]
        get = ["-o", "/dev/null", f"{server.base}/big"]
        for arguments in (put, get):
            command = ["curl", "-sS", "--limit-rate", "20k", *server.curl, *arguments]
            clients.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    peak, until = 0, time.monotonic() + 15
    while time.monotonic() < until:
        peak = max(peak, memory_mib(tree(server.pid), "Pss"))
        time.sleep(0.5)
    alive = sum(client.poll() is None for client in clients)
    for client in clients:
        client.kill()
        client.wait()
    print(f"| {server.name} | {alive} of {len(clients)} | {peak:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--size-mib", type=int, default=1024)
    parser.add_argument("--slow", type=int, default=200, help="slow uploads, and as many slow downloads; 0: none")
    parser.add_argument("--directory", help="where the data go (default: a new one under the temporary directory)")
    parser.add_argument("--port", type=int, default=23080, help="first of five ports on loopback")
    options = parser.parse_args()
    binary = os.path.join(HERE, "target/release/penstock")
    if not os.path.exists(binary) or not shutil.which("nginx") or not shutil.which("curl"):
        sys.exit("needs target/release/penstock (cargo build --release -p penstock), nginx and curl")
    directory = tempfile.mkdtemp(prefix="penstock-compare-", dir=options.directory)
    os.chmod(directory, 0o755)
    processes = []
    try:
        run(options, binary, directory, processes)
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
        shutil.rmtree(directory, ignore_errors=True)


def run(options, binary, directory, processes):
    port, size = options.port, options.size_mib
    for name in ("nginx-data/put", "nginx-data/slow", "nginx-tmp"):
        os.makedirs(f"{directory}/{name}")
    with open(f"{directory}/nginx.conf", "w") as file:
        user = "user root root;" if os.getuid() == 0 else ""
        file.write(user + NGINX.format(dir=directory, port=port))
    nginx = subprocess.Popen(["nginx", "-c", f"{directory}/nginx.conf", "-g", "daemon off;"])
    processes.append(nginx)
    penstock = subprocess.Popen(
        [binary, "serve", "--data", f"{directory}/penstock", "--listen", f"127.0.0.1:{port + 1}",
         "--pool-listen", f"127.0.0.1:{port + 2}", "--admin-listen", f"127.0.0.1:{port + 3}", "--anonymous", "write"],
        stdout=subprocess.PIPE, stderr=open(f"{directory}/penstock.log", "w"), text=True)
    processes.append(penstock)
    if "ready" not in penstock.stdout.readline():
        sys.exit("penstock did not start: " + open(f"{directory}/penstock.log").read())
    time.sleep(1)
    source = f"{directory}/source"
    with open(source, "wb") as file:
        for _ in range(size):
            file.write(os.urandom(1 << 20))
    servers = [Server("penstock", penstock.pid, f"http://127.0.0.1:{port + 1}", ["-L"]),
               Server("nginx", nginx.pid, f"http://127.0.0.1:{port}", [])]
    for server in servers:
        server.transfer(["-T", source, f"{server.base}/big"], size)
    for _ in range(3):  # Until both files are in the page cache.
        for server in servers:
            server.transfer(["-o", "/dev/null", f"{server.base}/big"], size)
    control = open("/proc/sys/net/ipv4/tcp_congestion_control").read().strip()
    print(f"{os.cpu_count()} processors, {os.uname().release}, {control}; {options.runs} runs in turn, 1 connection, {size} MiB\n")
    print("| case | server | MiB/s median (range) | server CPU s/GiB median (range) |\n| --- | --- | --- | --- |")
    compare("GET, hot", servers, options.runs,
            lambda server: server.transfer(["-o", "/dev/null", f"{server.base}/big"], size))

    def put(server, sync):
        os.sync()
        if server.name == "nginx":
            for name in os.listdir(f"{directory}/nginx-data/put"):
                os.unlink(f"{directory}/nginx-data/put/{name}")
        return server.transfer(["-T", source, f"{server.base}/put/x"], size, sync_after=sync and server.name == "nginx")

    compare("PUT, nginx as it is", servers, options.runs, lambda server: put(server, False))
    compare("PUT, both durable", servers, options.runs, lambda server: put(server, True))
    if options.slow:
        print(f"\n{options.slow} slow uploads and {options.slow} slow downloads at once\n")
        print("| server | clients still at it | resident MiB (peak) |\n| --- | --- | --- |")
        # Penstock promises each upload its space: 200 times the large file may be more than there is.
        small = f"{directory}/small"
        with open(source, "rb") as file, open(small, "wb") as copy:
            copy.write(file.read(16 << 20))
        for server in servers:
            slow_clients(server, small, options.slow)


if __name__ == "__main__":
    main()
