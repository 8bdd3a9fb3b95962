"""The servers that are compared: how each is set up, started, asked and stopped."""
import contextlib
import glob
import http.client
import os
import shutil
import signal
import subprocess
import time
import urllib.parse

import measure

NEEDED = ["nginx", "xrootd", "curl", "wrk", "openssl", "cc"]
PACKAGES = ["nginx", "libnginx-mod-http-dav-ext", "xrootd-server", "xrootd-server-plugins", "curl", "wrk", "openssl",
            "gcc", "libc6-dev"]
LIB = f"/usr/lib/{os.uname().machine}-linux-gnu"

NGINX = """
load_module modules/ngx_http_dav_ext_module.so;
{user}
worker_processes 2;
pid {dir}/nginx.pid;
error_log {dir}/nginx.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000;
  client_max_body_size 0; client_body_buffer_size 1m; client_body_temp_path {dir}/nginx-tmp;
  server {{
    listen 127.0.0.1:{http} backlog=1024; listen 127.0.0.1:{https} ssl backlog=1024;
    ssl_certificate {dir}/host.pem; ssl_certificate_key {dir}/host.key;
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:S:10m;
    root {dir}/nginx; dav_methods PUT DELETE; create_full_put_path on;
  }}
}}
"""

XROOTD = """
all.role server
all.export /
oss.localroot {dir}/xrootd
xrd.port {xroot}
xrd.network nodnr
all.adminpath {dir}/xrootd-admin
all.pidpath {dir}/xrootd-admin
xrootd.chksum max 4 adler32
xrd.tls {dir}/xrootd.pem {dir}/xrootd.key
xrd.tlsca certfile {dir}/ca.pem
xrd.protocol XrdHttp:{http} {lib}/libXrdHttp-5.so
http.exthandler xrdtpc {lib}/libXrdHttpTPC-5.so
http.header2cgi Authorization authz
http.desthttps no
http.selfhttps2http no
http.listingdeny no
http.cadir {dir}/certificates
xrd.sched mint 8 avlt 8 idle 780
all.sitename COMPARED
"""

# XRootD cannot be bound to one address: this makes every bind to any address one to loopback.
LOOPBACK_ONLY = r"""
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
int bind(int fd, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "bind");
    struct sockaddr_storage changed = *(const struct sockaddr_storage *)address;
    struct sockaddr_in *four = (void *)&changed;
    struct sockaddr_in6 *six = (void *)&changed;
    if (address->sa_family == AF_INET && four->sin_addr.s_addr == INADDR_ANY) {
        four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return real(fd, (void *)&changed, length);
    }
    if (address->sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr)) {
        inet_pton(AF_INET6, "::ffff:127.0.0.1", &six->sin6_addr);
        return real(fd, (void *)&changed, length);
    }
    return real(fd, address, length);
}
"""


def install():
    subprocess.run(["apt-get", "update", "-qq"], check=True)
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *PACKAGES], check=True, env=quiet)


class Peer:
    """A server whose files lie below one directory under the names that clients ask for."""

    def __init__(self, name, root, base, tls_base):
        self.name, self.root, self.base, self.tls_base = name, root, base, tls_base
        self.process = None

    def pids(self):
        return [self.process.pid]

    def get_url(self, name, tls=False):
        return f"{self.tls_base if tls else self.base}/{name}"

    open_url = get_url

    def put_url(self, name, size, tls=False):
        return f"{self.tls_base if tls else self.base}/put/{name}"

    def store(self, name, source):
        shutil.copyfile(source, f"{self.root}/{name}")

    def file(self, name):
        return f"{self.root}/{name}"

    def clear_uploads(self):
        for path in glob.glob(f"{self.root}/put/*"):
            os.unlink(path)


class Penstock:
    """A pool and a door, each its own process, talking over the pool's socket."""

    def __init__(self, name, site, port, verify_reads):
        self.name, self.site = name, site
        self.root = f"{site.directory}/{name}"
        self.door, self.data, self.tls_data, self.admin = port, port + 1, port + 2, port + 3
        self.base = f"http://127.0.0.1:{self.door}"
        os.makedirs(self.root)
        self.write("pool.toml", f"""
name = "{name}"
root = "{self.root}/pool"
verify_reads = "{verify_reads}"
[data]
listen = "127.0.0.1:{self.data}"
tls_listen = "127.0.0.1:{self.tls_data}"
cert = "{site.directory}/host.pem"
key = "{site.directory}/host.key"
[admin]
listen = "127.0.0.1:{self.admin}"
[limits]
connections = 20000
[tpc]
allow_loopback = true
ca = "{site.directory}/ca.pem"
""")
        self.write("door.toml", f"""
name = "door-{name}"
listen = "127.0.0.1:{self.door}"
url = "{self.base}"
namespace = "{self.root}/namespace.db"
macaroon_keys = "{self.root}/macaroon.keys"
anonymous = "write"
[copy]
allow_loopback = true
[[pools]]
name = "{name}"
socket = "{self.root}/pool/grpc.sock"
""")
        os.makedirs(f"{self.root}/pool")
        self.processes = []
        self.sizes = {}

    def write(self, name, text):
        with open(f"{self.root}/{name}", "w") as file:
            file.write(text)

    def start(self):
        door = self.binary("penstock-door")
        subprocess.run([door, "--config", f"{self.root}/door.toml", "--init-token", f"{self.root}/token"], check=True)
        self.token = open(f"{self.root}/token").read().strip()
        self.run_daemons()

    def run_daemons(self):
        for daemon, config in ("penstock-pool", "pool.toml"), ("penstock-door", "door.toml"):
            log = open(f"{self.root}/{daemon}.log", "a")
            process = subprocess.Popen([self.binary(daemon), "--config", f"{self.root}/{config}"],
                                       stdout=subprocess.PIPE, stderr=log, text=True)
            self.processes.append(process)
            if "ready" not in process.stdout.readline():
                raise RuntimeError(f"{daemon} did not start: " + open(log.name).read()[-2000:])
        for _ in range(100):  # Until the door has found the pool.
            if self.ask("PUT", "/.probe", body=b"?")[0] // 100 == 2 or self.ask("HEAD", "/.probe")[0] == 200:
                return
            time.sleep(0.1)
        raise RuntimeError("the door did not find the pool")

    def restart(self):
        """Forgets what is remembered in memory only; the page cache stays."""
        self.stop()
        self.run_daemons()

    def stop(self):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(timeout=60)
        self.processes = []

    def binary(self, name):
        return f"{self.site.source}/target/release/{name}"

    def pids(self):
        return [process.pid for process in self.processes]

    def ask(self, method, path, body=None, headers={}):
        """One request at the door. Status and headers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.door, timeout=60)
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.headers
        finally:
            connection.close()

    def redirected(self, method, path, headers, tls):
        """Where the door sends a request to, and the same place by TLS."""
        connection = http.client.HTTPConnection("127.0.0.1", self.door, timeout=60)
        connection.putrequest(method, path)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        location = answer.headers["Location"]
        connection.close()
        if answer.status != 307:
            raise RuntimeError(f"{method} {path}: {answer.status} instead of a redirect")
        plain, secure = f"http://127.0.0.1:{self.data}/", f"https://127.0.0.1:{self.tls_data}/"
        return location.replace(plain, secure, 1) if tls else location

    def get_url(self, name, tls=False):
        """By TLS, the place in the pool: the door of this comparison has no TLS."""
        return self.redirected("GET", f"/{name}", {}, True) if tls else f"{self.base}/{name}"

    def open_url(self, name, tls=False):
        """An open transfer at the pool itself."""
        return self.redirected("GET", f"/{name}", {}, tls)

    def put_url(self, name, size, tls=False):
        if not tls:
            return f"{self.base}/put/{name}"
        headers = {"Expect": "100-continue", "Content-Length": str(size)}
        return self.redirected("PUT", f"/put/{name}", headers, True)

    def store(self, name, source):
        subprocess.run(["curl", "-sS", "-f", "-L", "-T", source, f"{self.base}/{name}"], check=True,
                       stdout=subprocess.DEVNULL)
        self.sizes[name] = os.path.getsize(source)

    def file(self, name):
        """The replica's file: the one of that size."""
        for path in glob.glob(f"{self.root}/pool/data/*/*/*"):
            # What was replaced just now may go meanwhile.
            with contextlib.suppress(FileNotFoundError):
                if os.path.getsize(path) == self.sizes[name]:
                    return path
        raise RuntimeError(f"no replica of {self.sizes[name]} bytes")

    def clear_uploads(self):
        listed = subprocess.run(["curl", "-sS", "-X", "PROPFIND", "-H", "Depth: 1", f"{self.base}/put/"],
                                capture_output=True, text=True).stdout
        for piece in listed.split("<D:href>")[1:]:
            path = piece.split("</")[0]
            if not path.endswith("/"):
                self.ask("DELETE", urllib.parse.urlsplit(path).path)


class Site:
    """All servers of a run, and the files they serve."""

    FILES = {"f1g": 1024, "f512m": 512, "f128m": 128, "f1m": 1}

    def __init__(self, source, directory, port):
        self.source, self.directory = source, directory
        self.port = port
        self.nginx = Peer("nginx", f"{directory}/nginx", f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port + 1}")
        both = f"127.0.0.1:{port + 2}"
        self.xrootd = Peer("xrootd", f"{directory}/xrootd", f"http://{both}", f"https://{both}")
        self.penstock = Penstock("penstock", self, port + 4, "from-disk")
        self.unverified = Penstock("unverified", self, port + 8, "never")
        self.ca = f"{directory}/ca.pem"

    def start(self):
        for binary in "penstock-pool", "penstock-door":
            if not os.path.exists(f"{self.source}/target/release/{binary}"):
                raise SystemExit(f"no target/release/{binary}: run cargo build --release --workspace")
        for name in "nginx/put", "nginx/m1", "nginx-tmp", "xrootd/put", "xrootd/m1", "xrootd-admin", "source":
            os.makedirs(f"{self.directory}/{name}")
        self.make_certificates()
        self.start_nginx()
        self.start_xrootd()
        self.penstock.start()
        self.unverified.start()
        for name, size_mib in self.FILES.items():
            self.make(f"source/{name}", size_mib)
            for server in self.servers():
                server.store(name, self.source_file(name))
        self.own()
        time.sleep(1)

    def stop(self):
        self.penstock.stop()
        self.unverified.stop()
        for peer in self.nginx, self.xrootd:
            if peer.process:
                peer.process.terminate()
                peer.process.wait(timeout=60)

    def servers(self):
        return [self.penstock, self.unverified, self.nginx, self.xrootd]

    def source_file(self, name):
        return f"{self.directory}/source/{name}"

    def make(self, name, size_mib):
        with open(f"{self.directory}/{name}", "wb") as file:
            for _ in range(size_mib):
                file.write(os.urandom(measure.MIB))

    def own(self):
        """XRootD gives up root."""
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", "xrootd:", f"{self.directory}/xrootd", f"{self.directory}/xrootd-admin"],
                           check=True)

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, cwd=self.directory, stderr=subprocess.DEVNULL)

    def make_certificates(self):
        """RSA, as grid sites have them: the peers' figures are of such certificates."""
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "7", "-subj", "/CN=Compared CA",
                     "-keyout", "ca.key", "-out", "ca.pem")
        self.openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", "host.key",
                     "-out", "host.csr")
        with open(f"{self.directory}/host.ext", "w") as file:
            file.write("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n")
        self.openssl("x509", "-req", "-in", "host.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                     "-days", "7", "-extfile", "host.ext", "-out", "host.pem")
        os.makedirs(f"{self.directory}/certificates")
        hashed = subprocess.run(["openssl", "x509", "-hash", "-noout", "-in", "ca.pem"], cwd=self.directory,
                                check=True, capture_output=True, text=True).stdout.strip()
        shutil.copy(f"{self.directory}/ca.pem", f"{self.directory}/certificates/{hashed}.0")
        for name in "pem", "key":
            shutil.copy(f"{self.directory}/host.{name}", f"{self.directory}/xrootd.{name}")
        os.chmod(f"{self.directory}/xrootd.key", 0o400)
        if os.getuid() == 0:
            shutil.chown(f"{self.directory}/xrootd.key", "xrootd")

    def start_nginx(self):
        user = "user root root;" if os.getuid() == 0 else ""
        with open(f"{self.directory}/nginx.conf", "w") as file:
            file.write(NGINX.format(dir=self.directory, user=user, http=self.port, https=self.port + 1))
        self.nginx.process = subprocess.Popen(["nginx", "-c", f"{self.directory}/nginx.conf", "-g", "daemon off;"])

    def start_xrootd(self):
        self.own()
        with open(f"{self.directory}/bind.c", "w") as file:
            file.write(LOOPBACK_ONLY)
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", "bind.so", "bind.c", "-ldl"], cwd=self.directory,
                       check=True)
        with open(f"{self.directory}/xrootd.cfg", "w") as file:
            file.write(XROOTD.format(dir=self.directory, lib=LIB, http=self.port + 2, xroot=self.port + 3))
        environment = {**os.environ, "LD_PRELOAD": f"{self.directory}/bind.so",
                       "X509_CERT_DIR": f"{self.directory}/certificates"}
        as_user = ["-R", "xrootd"] if os.getuid() == 0 else []
        self.xrootd.process = subprocess.Popen(
            ["xrootd", *as_user, "-n", "compared", "-c", f"{self.directory}/xrootd.cfg"], env=environment,
            stdin=subprocess.DEVNULL, stdout=open(f"{self.directory}/xrootd.log", "w"), stderr=subprocess.STDOUT)
