//! Proxy certificates (RFC 3820) as users of grids have them, and a server that believes them, both by OpenSSL.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::certificates::{Authority, Identity};
use crate::daemon::Daemon;
use crate::patience::eventually;
use crate::ports;
use crate::room::Room;

/// What makes it a proxy with all rights of its owner.
const EXTENSIONS: &str = "proxyCertInfo = critical, language:id-ppl-inheritAll, pathlen:5\n\
                          keyUsage = critical, digitalSignature, keyEncipherment\n";

/// Makes a proxy of the certificate of `CN=owner`, good for a day: one file of its certificate, its key and its owner's
/// certificate, as programs of grids want it.
#[must_use]
pub fn proxy(directory: &Path, owner: &str, identity: &Identity) -> PathBuf {
    let path = |ending: &str| directory.join(format!("{owner}-proxy.{ending}"));
    let (key, request, certificate, extensions) = (path("key"), path("csr"), path("cert"), path("ext"));
    fs::write(&extensions, EXTENSIONS).expect("the directory can be written");
    openssl(
        Command::new("openssl")
            .args(["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj"])
            .arg(format!("/CN={owner}/CN=4711"))
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&request),
    );
    openssl(
        Command::new("openssl")
            .args(["x509", "-req", "-days", "1", "-set_serial", "4711", "-in"])
            .arg(&request)
            .arg("-CA")
            .arg(&identity.certificate)
            .arg("-CAkey")
            .arg(&identity.key)
            .arg("-extfile")
            .arg(&extensions)
            .arg("-out")
            .arg(&certificate),
    );
    let parts = [&certificate, &key, &identity.certificate];
    let all = parts.map(|part| fs::read_to_string(part).expect("it was made")).concat();
    let file = path("pem");
    fs::write(&file, all).expect("the directory can be written");
    file
}

/// A directory of an authority as OpenSSL looks into it: files named by the hash of the subject.
#[must_use]
pub fn hashed(directory: &Path, authority: &Authority) -> PathBuf {
    let hashed = directory.join("hashed");
    fs::create_dir_all(&hashed).expect("the directory can be made");
    fs::copy(authority.certificate(), hashed.join("authority.pem")).expect("the file can be copied");
    openssl(Command::new("openssl").arg("rehash").arg(&hashed));
    hashed
}

fn openssl(command: &mut Command) {
    let output = command.output().expect("openssl runs (Debian: apt-get install openssl)");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// `openssl s_server`, for clients with a certificate only, proxies of one included.
pub struct Believing {
    /// Its process, which says whom it has seen.
    pub daemon: Daemon,
    address: SocketAddr,
    room: Room,
}

impl Believing {
    /// Starts one that serves a file under a name.
    #[must_use]
    pub fn serving(name: &str, bytes: &[u8], authority: &Authority) -> Believing {
        let room = Room::new();
        let identity = authority.issue("believing");
        let mut answer =
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bytes.len())
                .into_bytes();
        answer.extend_from_slice(bytes);
        fs::write(room.join(name), answer).expect("the room can be written");
        let [address] = ports::free();
        let mut command = Command::new("openssl");
        command
            // -HTTP: files are whole answers, heads and all.
            .args([
                "s_server",
                "-HTTP",
                "-Verify",
                "9",
                "-verify_return_error",
                "-allow_proxy_certs",
                "-accept",
            ])
            .arg(address.to_string())
            .arg("-cert")
            .arg(&identity.certificate)
            .arg("-key")
            .arg(&identity.key)
            .arg("-CAfile")
            .arg(authority.certificate())
            .current_dir(room.path());
        let mut daemon = Daemon::spawn("openssl s_server", &mut command);
        eventually("openssl s_server listens", || {
            assert!(daemon.runs(), "openssl s_server ended: {}", daemon.stderr());
            TcpStream::connect(address).ok().map(drop)
        });
        Believing { daemon, address, room }
    }

    /// The URL of a file.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("https://localhost:{}/{name}", self.address.port())
    }

    /// Where its files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.room.path()
    }
}
