//! A small wide-area network for packet marking: the site in one network namespace, a remote host in another, and a
//! router between them that captures what passes. For root only, with `ip` and `tshark`.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;
use serde_json::Value;

use crate::binaries::binary;
use crate::cluster::make_keys;
use crate::daemon::Daemon;
use crate::patience::eventually;
use crate::room::Room;

/// The site's address. Both are of private networks (RFC 4193), to which third-party copies may go.
pub const SITE: &str = "fd00:1::1";
/// The remote host's address.
pub const REMOTE: &str = "fd00:2::1";
/// The remote host's HTTP server.
pub const REMOTE_PORT: u16 = 8080;
/// The door's port, and the pool's data port.
const DOOR_PORT: u16 = 2880;
const DATA_PORT: u16 = 2881;
/// A capture with nothing in it but its own head is no longer.
const EMPTY_CAPTURE_BYTES: u64 = 2048;
/// Ports of the pool whose connections carry flow labels.
pub const LABELLED_PORTS: std::ops::RangeInclusive<u16> = 24_000..=24_007;

/// Gives and takes files: the little that third-party copies need.
const REMOTE_SERVER: &str = r#"
import http.server, socket, sys, zlib

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files = {"/source": b"0123456789abcdef" * 65536}

    def answer(self, status, body=b"", length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        data = self.files.get(self.path)
        if data is not None:
            self.send_header("Digest", "adler32=%08x" % zlib.adler32(data))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self):
        data = self.files.get(self.path)
        self.answer(404) if data is None else self.answer(200, length=len(data))

    def do_GET(self):
        data = self.files.get(self.path)
        self.answer(404) if data is None else self.answer(200, data)

    def do_PUT(self):
        self.files[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(201)

    def log_message(self, *words):
        pass

class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6

server = Server(("::", int(sys.argv[1])), Handler)
print("ready", flush=True)
server.serve_forever()
"#;

/// Why there can be no such network here; `None`: there can.
#[must_use]
pub fn obstacle() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".to_owned());
    }
    for (program, argument) in [("ip", "-V"), ("tshark", "--version")] {
        let found = Command::new(program).arg(argument).output().is_ok_and(|output| output.status.success());
        if !found {
            return Some(format!("{program} is not installed (Debian: iproute2, tshark)"));
        }
    }
    let name = format!("pk{}x", std::process::id());
    if !Command::new("ip").args(["netns", "add", &name]).output().is_ok_and(|output| output.status.success())
    {
        return Some("no network namespace can be made here".to_owned());
    }
    let _ = Command::new("ip").args(["netns", "delete", &name]).output();
    None
}

/// The network. Its namespaces go with it.
struct Namespaces {
    site: String,
    router: String,
    remote: String,
}

impl Namespaces {
    fn make() -> Namespaces {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = |which: &str| format!("pk{}-{number}{which}", std::process::id());
        let all = Namespaces { site: name("s"), router: name("r"), remote: name("f") };
        for namespace in [&all.site, &all.router, &all.remote] {
            ip(&["netns", "add", namespace]);
            ip(&["-n", namespace, "link", "set", "lo", "up"]);
        }
        let sides = [(&all.site, "site", SITE, "fd00:1::ff"), (&all.remote, "remote", REMOTE, "fd00:2::ff")];
        for (namespace, link, address, gateway) in sides {
            ip(&[
                "link",
                "add",
                link,
                "netns",
                &all.router,
                "type",
                "veth",
                "peer",
                "name",
                "wan0",
                "netns",
                namespace,
            ]);
            for (at, device, address) in [(&all.router, link, gateway), (namespace, "wan0", address)] {
                // Without asking whether somebody else has the address: nobody has.
                ip(&["-n", at, "address", "add", &format!("{address}/64"), "dev", device, "nodad"]);
                ip(&["-n", at, "link", "set", "dev", device, "up"]);
            }
            ip(&["-n", namespace, "route", "add", "default", "via", gateway]);
        }
        let forward = ["sysctl", "-q", "-w", "net.ipv6.conf.all.forwarding=1"];
        let done = all.command(&all.router, "sysctl", &forward[1..]).output().expect("sysctl runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        all
    }

    /// A program in one of them.
    fn command(&self, namespace: &str, program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program).args(arguments);
        command
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for namespace in [&self.site, &self.router, &self.remote] {
            // What cannot be removed now goes with the machine.
            let _ = Command::new("ip").args(["netns", "delete", namespace]).output();
        }
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A site, a remote host, and what passes between them.
pub struct MarkedSite {
    // In the order in which they go.
    capture: Option<Daemon>,
    _remote: Daemon,
    _door: Daemon,
    _pool: Daemon,
    namespaces: Namespaces,
    capture_file: PathBuf,
    room: Room,
}

impl MarkedSite {
    /// Starts all of it; the capture runs.
    #[must_use]
    pub fn start() -> MarkedSite {
        let (room, namespaces) = (Room::new(), Namespaces::make());
        let pool_config = room.join("pool.toml");
        let text = format!(
            "name = \"pool01\"\nroot = \"{root}\"\nbuffer_memory = \"16 MiB\"\nreserve = 0\n\
             [data]\nlisten = \"[{SITE}]:{DATA_PORT}\"\n[admin]\nlisten = \"[::1]:2882\"\n\
             [grpc]\nsocket = \"{socket}\"\n[timeouts]\nlinger = \"200 ms\"\n\
             [marking]\nports = \"{first}-{last}\"\n",
            root = room.join("pool").display(),
            socket = room.join("grpc.sock").display(),
            first = LABELLED_PORTS.start(),
            last = LABELLED_PORTS.end(),
        );
        std::fs::write(&pool_config, text).expect("the room can be written");
        let door_config = room.join("door.toml");
        let text = format!(
            "name = \"door01\"\nlisten = \"[{SITE}]:{DOOR_PORT}\"\nnamespace = \"{}\"\nmacaroon_keys = \"{}\"\n\
             [[pools]]\nname = \"pool01\"\nsocket = \"{}\"\n",
            room.join("namespace.db").display(),
            room.join("macaroon.keys").display(),
            room.join("grpc.sock").display(),
        );
        std::fs::write(&door_config, text).expect("the room can be written");
        make_keys(&door_config, &room.join("token"));
        let start = |name: &str, config: &Path| {
            let config = config.to_str().expect("the room's name is text");
            let mut command = namespaces.command(&namespaces.site, binary(name), &["--config", config]);
            let mut daemon = Daemon::spawn(name, &mut command);
            let _ = daemon.line(&format!("{name} ready: "));
            daemon
        };
        let (pool, door) = (start("penstock-pool", &pool_config), start("penstock-door", &door_config));
        let port = REMOTE_PORT.to_string();
        let mut server =
            namespaces.command(&namespaces.remote, "python3", &["-I", "-S", "-c", REMOTE_SERVER, &port]);
        let mut remote = Daemon::spawn("the remote server", &mut server);
        let _ = remote.line("ready");
        let capture_file = room.join("capture.pcapng");
        let file = capture_file.to_str().expect("the room's name is text");
        // Heads and fireflies whole, and room for a burst of them: what is dropped looks as if it was never sent.
        let words = ["-q", "-i", "site", "-s", "1600", "-B", "64", "-w", file];
        let mut tshark = namespaces.command(&namespaces.router, "tshark", &words);
        let capture = Daemon::spawn("tshark", &mut tshark);
        eventually("tshark captures", || capture.stderr().contains("Capturing on").then_some(()));
        let site = MarkedSite {
            capture: Some(capture),
            _remote: remote,
            _door: door,
            _pool: pool,
            namespaces,
            capture_file,
            room,
        };
        // The capture has begun when it shows what passes; and the door has found its pool.
        let probe = site.room.join("door.toml");
        eventually("the door has found its pool, and the capture shows it", || {
            let answer = site.curl("/.probe", &["--location", "--upload-file", probe.to_str()?]);
            let captures =
                std::fs::metadata(&site.capture_file).is_ok_and(|file| file.len() > EMPTY_CAPTURE_BYTES);
            (captures && (answer == "201" || answer == "204")).then_some(())
        });
        site
    }

    /// The URL of a path at the door.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://[{SITE}]:{DOOR_PORT}{path}")
    }

    /// curl on the remote host, at a path of the door, with the token; gives the last status.
    #[must_use]
    pub fn curl(&self, path: &str, arguments: &[&str]) -> String {
        let output = self.curl_command(path, arguments).output().expect("curl runs");
        status_of(&output)
    }

    /// Several at once.
    #[must_use]
    pub fn curl_at_once(&self, wishes: &[(&str, &[&str])]) -> Vec<String> {
        let running: Vec<_> = wishes
            .iter()
            .map(|(path, arguments)| {
                let mut command = self.curl_command(path, arguments);
                command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
                command.spawn().expect("curl runs")
            })
            .collect();
        running.into_iter().map(|child| status_of(&child.wait_with_output().expect("curl ends"))).collect()
    }

    fn curl_command(&self, path: &str, arguments: &[&str]) -> Command {
        let token = std::fs::read_to_string(self.room.join("token")).expect("a token was made");
        let authorization = format!("Authorization: Bearer {}", token.trim());
        let url = self.url(path);
        let all = [
            "--disable",
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--globoff",
            "--output",
            "/dev/null",
        ];
        let mut command = self.namespaces.command(&self.namespaces.remote, "curl", &all);
        command.args(["--write-out", "%{http_code}", "--header", &authorization]);
        command.args(["--expect100-timeout", "30"]).args(arguments).arg(url);
        command
    }

    /// A third-party copy, to its last line.
    #[must_use]
    pub fn copy(&self, path: &str, headers: &[(&str, &str)]) -> String {
        let token = std::fs::read_to_string(self.room.join("token")).expect("a token was made");
        let url = self.url(path);
        let all =
            ["--disable", "--silent", "--show-error", "--max-time", "60", "--globoff", "--request", "COPY"];
        let mut command = self.namespaces.command(&self.namespaces.remote, "curl", &all);
        command.args(["--header", &format!("Authorization: Bearer {}", token.trim())]);
        for (name, value) in headers {
            command.args(["--header", &format!("{name}: {value}")]);
        }
        let output = command.arg(url).output().expect("curl runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().last().unwrap_or_default().to_owned()
    }

    /// The URL of a file at the remote host.
    #[must_use]
    pub fn remote_url(&self, path: &str) -> String {
        format!("http://[{REMOTE}]:{REMOTE_PORT}{path}")
    }

    /// A file of so many bytes on the remote host.
    #[must_use]
    pub fn file(&self, name: &str, length: usize) -> String {
        let path = self.room.join(name);
        std::fs::write(&path, vec![b'x'; length]).expect("the room can be written");
        path.to_str().expect("the room's name is text").to_owned()
    }

    /// Ends the capture and gives what it has.
    #[must_use]
    pub fn captured(&mut self) -> Capture {
        // What is on its way to the capture file.
        std::thread::sleep(std::time::Duration::from_secs(1));
        if let Some(mut capture) = self.capture.take() {
            capture.signal(Signal::INT);
            let _ = capture.ended();
        }
        Capture { file: self.capture_file.clone() }
    }
}

fn status_of(output: &Output) -> String {
    assert!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What passed the router.
pub struct Capture {
    file: PathBuf,
}

/// One TCP packet.
#[derive(Debug, Clone)]
pub struct Packet {
    /// From where.
    pub from: (Ipv6Addr, u16),
    /// To where.
    pub to: (Ipv6Addr, u16),
    /// Its flow label.
    pub label: u32,
    /// It opens a connection, or answers to that.
    pub syn: bool,
    /// It acknowledges.
    pub ack: bool,
    /// Bytes of data.
    pub length: usize,
}

impl Capture {
    /// All TCP packets, in order.
    #[must_use]
    pub fn packets(&self) -> Vec<Packet> {
        let fields = [
            "ipv6.src",
            "tcp.srcport",
            "ipv6.dst",
            "tcp.dstport",
            "ipv6.flow",
            "tcp.flags.syn",
            "tcp.flags.ack",
            "tcp.len",
        ];
        let number = |text: &str| -> u32 {
            match text.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16).expect("a number"),
                None => match text {
                    "True" => 1,
                    "False" => 0,
                    digits => digits.parse().unwrap_or_else(|_| panic!("no number: {digits}")),
                },
            }
        };
        let port = |text: &str| u16::try_from(number(text)).expect("a port");
        self.read("ipv6 && tcp", &fields)
            .iter()
            .map(|line| Packet {
                from: (line[0].parse().expect("an address"), port(&line[1])),
                to: (line[2].parse().expect("an address"), port(&line[3])),
                label: number(&line[4]),
                syn: number(&line[5]) == 1,
                ack: number(&line[6]) == 1,
                length: number(&line[7]) as usize,
            })
            .collect()
    }

    /// All fireflies that passed, as their headers and messages.
    #[must_use]
    pub fn fireflies(&self) -> Vec<(String, Value)> {
        // Nobody listens there, and the refusals quote them.
        let payloads = self.read("udp.dstport == 10514 && !icmpv6", &["udp.payload"]);
        let bytes = |hex: &str| -> Vec<u8> {
            let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
            let pair = |pair: &[u8]| {
                u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits")
            };
            digits.chunks(2).map(pair).collect()
        };
        let parts = |payload: Vec<u8>| {
            let text = String::from_utf8(payload).expect("a firefly is text");
            let start = text.find('{').expect("a firefly has JSON");
            (text[..start].to_owned(), serde_json::from_str(&text[start..]).expect("a firefly has JSON"))
        };
        payloads.iter().map(|line| parts(bytes(&line[0]))).collect()
    }

    fn read(&self, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.file).args(["-Y", filter, "-T", "fields", "-E", "separator=|"]);
        for field in fields {
            command.args(["-e", field]);
        }
        let output = command.output().expect("tshark runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
    }
}

/// Experiment and activity of a flow label, by the layout as it is published; independent of the pool's own code.
#[must_use]
pub fn tag_of(label: u32) -> (u32, u32) {
    // EE CCCCCCCCC E AAAAAA EE, the experiment with its bits in reverse order.
    let experiment = (0..9).map(|bit| (label >> (17 - bit) & 1) << bit).sum();
    (experiment, label >> 2 & 0x3F)
}

/// The tags of data packets by the port of the site that sent them.
#[must_use]
pub fn tags_by_port(packets: &[Packet]) -> BTreeMap<u16, Vec<(u32, u32)>> {
    let site: Ipv6Addr = SITE.parse().expect("an address");
    let mut tags: BTreeMap<u16, Vec<(u32, u32)>> = BTreeMap::new();
    for packet in packets.iter().filter(|packet| packet.from.0 == site && packet.length > 0) {
        let known = tags.entry(packet.from.1).or_default();
        let tag = tag_of(packet.label);
        if !known.contains(&tag) {
            known.push(tag);
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::tag_of;

    #[test]
    fn the_published_labels_are_read() {
        for (label, tag) in [(0x2_0004, (1, 1)), (0x1_0040, (2, 16)), (0x3_0034, (3, 13)), (196_664, (3, 14))]
        {
            assert_eq!(tag_of(label), tag);
            assert_eq!(tag_of(label | 0xC_0103), tag, "entropy means nothing");
        }
    }
}
