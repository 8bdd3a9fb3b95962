"""The rows: what is asked of the servers, and which of them can answer."""
import os
import re
import socket
import subprocess
import tempfile
import time

from measure import COST, GIB, MIB, SPEED, Table, resident_mib, timed

#: file, connections
SHAPES = [("f1g", 1), ("f512m", 4), ("f128m", 16)]
CURL = ["curl", "-sS", "-f", "-L", "--max-time", "300"]


def size_of(site, name):
    return os.path.getsize(site.source_file(name))


def title_of(site, name, connections):
    return f"{size_of(site, name) // MIB} MiB × {connections}"


def download(site, server, name, connections, tls=False):
    trust = ["--cacert", site.ca] if tls else []
    commands = [[*CURL, *trust, "-o", "/dev/null", server.get_url(name, tls)] for _ in range(connections)]
    wall, used, _ = timed(server, commands)
    total = size_of(site, name) * connections
    return total / MIB / wall, used / total * GIB


def upload(site, server, name, connections, tls=False, durable=True):
    server.clear_uploads()
    os.sync()
    trust = ["--cacert", site.ca] if tls else []
    size, source = size_of(site, name), site.source_file(name)
    commands = [[*CURL, *trust, "-o", "/dev/null", "-T", source, server.put_url(f"u{i}", size, tls)]
                for i in range(connections)]
    # Penstock answers when the bytes are durable; the peers leave that to the kernel.
    wall, used, _ = timed(server, commands, sync_after=durable and server.name in ("nginx", "xrootd"))
    return size * connections / MIB / wall, used / (size * connections) * GIB


def into_cache(path):
    with open(path, "rb") as file:
        while file.read(MIB):
            pass


def out_of_cache(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def heat(site, server, name):
    """Before each timed run all of the file comes into memory anew, in the same way for all servers: some systems drop
    what nobody has read for seconds, and a file whose pages came back in bits costs each server up to half as much
    again. And each server has sent it once, so that Penstock knows its blocks."""
    out_of_cache(server.file(name))
    into_cache(server.file(name))
    download(site, server, name, 1)


def warm(site, name):
    for server in site.servers():
        for _ in range(2):
            heat(site, server, name)


def hot(site, name, connections, tls=False):
    """One download of what lies in memory."""
    def once(server):
        heat(site, server, name)
        return download(site, server, name, connections, tls)
    return once


def get(site, runs):
    table = Table("GET, hot", SPEED, COST)
    for name, connections in SHAPES:
        warm(site, name)
        table.row(title_of(site, name, connections), [site.penstock, site.unverified, site.nginx, site.xrootd], runs,
                  hot(site, name, connections))


def verified(site, runs):
    table = Table("GET, verified beside unverified (both Penstock)", SPEED, COST)
    for name, connections in SHAPES:
        warm(site, name)
        title = title_of(site, name, connections)
        pair = [site.penstock, site.unverified]
        table.row(f"hot again, {title}", pair, runs, hot(site, name, connections))

        def first_time(server):
            server.restart()
            into_cache(server.file(name))
            return download(site, server, name, connections)

        table.row(f"hot, first time since the start, {title}", pair, runs, first_time)
    table = Table("GET, cold", SPEED, COST)
    for name, connections in SHAPES[:2]:
        def cold(server):
            out_of_cache(server.file(name))
            if server in (site.penstock, site.unverified):
                # What was read lately is read into the page cache: not what is measured here.
                server.restart()
            return download(site, server, name, connections)

        table.row(title_of(site, name, connections), [site.penstock, site.unverified, site.nginx, site.xrootd], runs,
                  cold)


def get_tls(site, runs):
    table = Table("GET by TLS, hot", SPEED, COST)
    for name, connections in SHAPES:
        warm(site, name)
        table.row(title_of(site, name, connections), [site.penstock, site.nginx, site.xrootd], runs,
                  hot(site, name, connections, tls=True))


def put(site, runs):
    table = Table("PUT, durable (a sync follows the peers' uploads)", SPEED, COST)
    for name, connections in SHAPES:
        table.row(title_of(site, name, connections), [site.penstock, site.nginx, site.xrootd], runs,
                  lambda server: upload(site, server, name, connections))
    clear(site)


def put_tls(site, runs):
    table = Table("PUT by TLS, durable (a sync follows the peers' uploads)", SPEED, COST)
    for name, connections in SHAPES:
        table.row(title_of(site, name, connections), [site.penstock, site.nginx, site.xrootd], runs,
                  lambda server: upload(site, server, name, connections, tls=True))
    clear(site)


def clear(site):
    for server in site.servers():
        server.clear_uploads()


def get_1m(site, runs):
    """1 MiB GETs one after another on kept-alive connections to where the bytes are. As ranges, because a pool's URL is
    used up by one GET of the whole file."""
    table = Table("1 MiB GETs on open connections, 4 clients × 250", SPEED, COST)
    warm(site, "f1m")

    def once(server):
        commands = []
        for _ in range(4):
            with tempfile.NamedTemporaryFile("w", dir=site.directory, suffix=".curl", delete=False) as file:
                file.write(f'url = "{server.open_url("f1m")}"\noutput = "/dev/null"\n' * 250)
            commands.append(["curl", "-sS", "-f", "--max-time", "60", "-r", f"0-{MIB - 1}", "-w", "%{http_code}\\n",
                             "-K", file.name])
        heat(site, server, "f1m")
        wall, used, said = timed(server, commands)
        if any(set(text.split()) != {"206"} for text in said):
            raise RuntimeError(f"{server.name}: not every answer is 206: {set(said[0].split())}")
        return 1000 / wall, used / 1000 * 1024

    table.row("1 MiB", [site.penstock, site.unverified, site.nginx, site.xrootd], runs, once)


def ranges(site, runs):
    """4 KiB ranges of one file over 64 kept-alive connections."""
    table = Table("4 KiB ranges of 1 MiB, 64 connections", ("requests/s", 0, max), ("server CPU µs/request", 1, min))
    warm(site, "f1m")
    script = f"{site.directory}/ranges.lua"
    with open(script, "w") as file:
        file.write("""
local n = 0
function request()
    n = (n + 97) % 256
    wrk.headers["Range"] = string.format("bytes=%d-%d", n * 4096, n * 4096 + 4095)
    return wrk.format("GET")
end
function done(summary)
    local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
    io.write(string.format("\\nRESULT %d %d %d\\n", summary.requests, summary.duration, failed))
end
""")

    def once(server):
        heat(site, server, "f1m")
        command = ["wrk", "-t1", "-c64", "-d4s", "-s", script, server.open_url("f1m")]
        _, used, said = timed(server, [command])
        requests, microseconds, failed = map(int, re.search(r"RESULT (\d+) (\d+) (\d+)", said[0]).groups())
        if failed:
            raise RuntimeError(f"{server.name}: {failed} of {requests} ranges failed")
        return requests / microseconds * 1e6, used / requests * 1e6

    table.row("4 KiB", [site.penstock, site.unverified, site.nginx, site.xrootd], runs, once)


def memory(site, _runs):
    """Memory while many clients are slow: 200 downloads, 200 uploads and 200 downloads by TLS, 20 kB/s each."""
    print("\n### Memory: 200 slow GETs, 200 slow PUTs, 200 slow GETs by TLS, each alone and all at once (MiB, peak)\n")
    print("| server | idle | GET | PUT | GET by TLS | all 600 |\n| --- | --- | --- | --- | --- | --- |")
    small = site.source_file("f128m")
    size = os.path.getsize(small)

    def commands(server, kind):
        slow = ["curl", "-sS", "-L", "--limit-rate", "20k", "--cacert", site.ca]
        if kind == "PUT":
            return [[*slow, "-T", small, "-o", "/dev/null", server.put_url(f"slow{i}", size)] for i in range(200)]
        tls = kind == "TLS"
        return [[*slow, "-o", "/dev/null", server.get_url("f128m", tls)] for _ in range(200)]

    for server in (site.penstock, site.nginx, site.xrootd):
        cells = [f"{resident_mib(server.pids()):.0f}"]
        for kinds in ["GET"], ["PUT"], ["TLS"], ["GET", "PUT", "TLS"]:
            clients = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                       for kind in kinds for command in commands(server, kind)]
            peak, until = 0, time.monotonic() + 12
            while time.monotonic() < until:
                peak = max(peak, resident_mib(server.pids()))
                time.sleep(0.5)
            alive = sum(client.poll() is None for client in clients)
            for client in clients:
                client.kill()
                client.wait()
            cells.append(f"{peak:.0f}" + ("" if alive == len(clients) else f" ({alive} of {len(clients)} clients)"))
            time.sleep(2)
            server.clear_uploads()
        print(f"| {server.name} | {' | '.join(cells)} |", flush=True)


def idle(site, _runs):
    """5 000 connections that have asked once and say nothing more."""
    print("\n### 5 000 idle keep-alive connections\n\n| server | KiB each |\n| --- | --- |")
    number = 5000
    for server in (site.penstock, site.nginx, site.xrootd):
        url = server.open_url("f1m")
        host, path = re.match(r"http://([^/]+)(/.*)", url).groups()
        address = (host.split(":")[0], int(host.split(":")[1]))
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nRange: bytes=0-99\r\n\r\n".encode()
        before = resident_mib(server.pids())
        sockets = []
        try:
            for _ in range(number):
                connection = socket.create_connection(address)
                connection.sendall(request)
                sockets.append(connection)
            for connection in sockets:
                connection.recv(4096)
            time.sleep(5)
            after = resident_mib(server.pids())
            print(f"| {server.name} | {(after - before) * 1024 / number:.1f} |", flush=True)
        except OSError as error:
            print(f"| {server.name} | {len(sockets)} connections, then {error} |", flush=True)
        finally:
            for connection in sockets:
                connection.close()
        time.sleep(2)


def tpc(site, runs):
    """Third-party copies of 1 GiB from nginx."""
    table = Table("Third-party copy (pull) of 1 GiB from nginx", SPEED, COST)
    warm(site, "f1g")
    size = size_of(site, "f1g")

    def once(server, tls, streams):
        server.clear_uploads()
        os.sync()
        into_cache(site.nginx.file("f1g"))
        headers = ["-H", f"Source: {site.nginx.get_url('f1g', tls)}", "-H", "Overwrite: T", "-H", "Credential: none"]
        if server is site.penstock:
            headers += ["-H", f"Authorization: Bearer {server.token}"]
        if streams > 1:
            headers += ["-H", f"X-Number-Of-Streams: {streams}"]
        # nginx tells no checksums.
        headers += ["-H", "RequireChecksumVerification: false"]
        command = ["curl", "-sS", "-f", "--max-time", "300", "-X", "COPY", *headers, f"{server.base}/put/pulled"]
        wall, used, said = timed(server, [command], sync_after=server is not site.penstock)
        if "success" not in said[0]:
            raise RuntimeError(f"{server.name}: {said[0][-300:]}")
        return size / MIB / wall, used / size * GIB

    for tls, streams in (False, 1), (True, 1), (False, 4):
        title = f"{'https' if tls else 'http'}, {streams} stream{'s' if streams > 1 else ''}"
        table.row(title, [site.penstock, site.xrootd], runs, lambda server: once(server, tls, streams))
    clear(site)


ALL = {"get": get, "verified": verified, "get-tls": get_tls, "put": put, "put-tls": put_tls, "get-1m": get_1m,
       "ranges": ranges, "memory": memory, "idle": idle, "tpc": tpc}
