//! What a grid's users have: certificates of an authority with its directory, and proxies. Made by OpenSSL and by the
//! grid's own tools.

use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An authority of users, and the directory that makes a site trust it.
pub struct Grid {
    directory: PathBuf,
    hash: String,
}

/// A certificate or proxy with what it needs: one file as `curl -E` takes it.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The certificate, its key, and those above it.
    pub file: PathBuf,
    name: String,
    subject: String,
}

/// The authority's own name.
pub const AUTHORITY: &str = "/C=XX/O=Grid/CN=Users CA";

/// What a proxy is to be like.
#[derive(Debug, Clone, Copy)]
pub struct Proxy<'a> {
    /// `proxyCertInfo` as OpenSSL writes it, behind "critical,".
    pub info: &'a str,
    /// What stands behind its issuer's name.
    pub below: &'a str,
}

impl Default for Proxy<'_> {
    fn default() -> Self {
        Proxy { info: "language:id-ppl-inheritAll", below: "/CN=1234567" }
    }
}

impl Grid {
    /// A new one in that directory.
    #[must_use]
    pub fn new(room: &Path) -> Grid {
        let directory = room.join("grid");
        fs::create_dir_all(directory.join("trust")).expect("the directory can be made");
        let grid = Grid { directory, hash: String::new() };
        let (certificate, key) = (grid.path("ca.pem"), grid.path("ca.key"));
        let extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"];
        let mut words =
            vec!["req", "-x509", "-new", "-nodes", "-newkey", "rsa:2048", "-sha256", "-days", "30"];
        words.extend(["-config", "/dev/null", "-subj", AUTHORITY]);
        words.extend(extensions.iter().flat_map(|extension| ["-addext", extension]));
        openssl(words.iter().map(OsStr::new).chain([
            OsStr::new("-keyout"),
            key.as_os_str(),
            OsStr::new("-out"),
            certificate.as_os_str(),
        ]));
        let hash = openssl(
            ["x509", "-noout", "-hash", "-in"].map(OsStr::new).into_iter().chain([certificate.as_os_str()]),
        );
        let grid = Grid { hash: hash.trim().to_owned(), ..grid };
        fs::copy(&certificate, grid.trusted("0")).expect("the file can be copied");
        grid.limit_names("/C=XX/O=Grid/*");
        fs::write(grid.path("index.txt"), "").expect("the file can be written");
        fs::write(
            grid.path("ca.cnf"),
            format!(
                "[ca]\ndefault_ca=site\n[site]\ndatabase={}\ndefault_md=sha256\ndefault_crl_days=7\n\
                 private_key={}\ncertificate={}\n",
                grid.path("index.txt").display(),
                key.display(),
                certificate.display()
            ),
        )
        .expect("the file can be written");
        grid
    }

    /// The directory that makes a site trust it.
    #[must_use]
    pub fn trust(&self) -> PathBuf {
        self.directory.join("trust")
    }

    /// The names that it may certify.
    pub fn limit_names(&self, pattern: &str) {
        let text = format!(
            "access_id_CA X509 '{AUTHORITY}'\npos_rights globus CA:sign\ncond_subjects globus '\"{pattern}\"'\n"
        );
        fs::write(self.trusted("signing_policy"), text).expect("the file can be written");
    }

    /// A user's certificate.
    #[must_use]
    pub fn user(&self, name: &str) -> Credential {
        self.issue(name, &format!("/C=XX/O=Grid/CN={name}"), &[])
    }

    /// One that ended yesterday.
    #[must_use]
    pub fn user_of_the_past(&self, name: &str) -> Credential {
        self.issue(name, &format!("/C=XX/O=Grid/CN={name}"), &["-days", "-1"])
    }

    /// One with a name of that kind.
    #[must_use]
    pub fn issue(&self, name: &str, subject: &str, more: &[&str]) -> Credential {
        let extensions = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,keyEncipherment\n\
                          extendedKeyUsage=clientAuth\n";
        let (ca, key) = (self.path("ca.pem"), self.path("ca.key"));
        self.sign(name, subject, extensions, (&ca, &key), more, "")
    }

    /// One that nobody vouches for but itself.
    #[must_use]
    pub fn self_signed(&self, name: &str) -> Credential {
        let subject = format!("/C=XX/O=Grid/CN={name}");
        let (key, certificate) = (self.path(&format!("{name}.key")), self.path(&format!("{name}.cert")));
        let words =
            ["req", "-x509", "-new", "-nodes", "-newkey", "rsa:2048", "-days", "30", "-config", "/dev/null"];
        openssl(words.map(OsStr::new).into_iter().chain([
            OsStr::new("-subj"),
            OsStr::new(&subject),
            OsStr::new("-keyout"),
            key.as_os_str(),
            OsStr::new("-out"),
            certificate.as_os_str(),
        ]));
        self.gather(name, &subject, "")
    }

    /// A proxy of a user, or of a proxy.
    #[must_use]
    pub fn proxy(&self, name: &str, of: &Credential, proxy: Proxy<'_>) -> Credential {
        self.proxy_with(name, of, proxy, &["-days", "1"])
    }

    /// The same with other words for OpenSSL.
    #[must_use]
    pub fn proxy_with(&self, name: &str, of: &Credential, proxy: Proxy<'_>, more: &[&str]) -> Credential {
        let extensions = if proxy.info.is_empty() {
            "keyUsage=critical,digitalSignature\n".to_owned()
        } else {
            format!("keyUsage=critical,digitalSignature\nproxyCertInfo=critical,{}\n", proxy.info)
        };
        let above = fs::read_to_string(&of.file).expect("the credential can be read");
        let above: String = certificates(&above).collect();
        let subject = format!("{}{}", of.subject, proxy.below);
        let signer = (self.path(&format!("{}.cert", of.name)), self.path(&format!("{}.key", of.name)));
        self.sign(name, &subject, &extensions, (&signer.0, &signer.1), more, &above)
    }

    /// A proxy made from one that a grid's tool has made, which is all in one file.
    #[must_use]
    pub fn proxy_of_file(&self, name: &str, of: &Credential) -> Credential {
        let above = fs::read_to_string(&of.file).expect("the proxy can be read");
        let above: String = certificates(&above).collect();
        let subject = openssl(
            ["x509", "-noout", "-subject", "-nameopt", "compat", "-in"]
                .map(OsStr::new)
                .into_iter()
                .chain([of.file.as_os_str()]),
        );
        let subject = subject.trim().trim_start_matches("subject=").trim().to_owned();
        let usage = "keyUsage=critical,digitalSignature\nproxyCertInfo=critical,language:id-ppl-inheritAll\n";
        let subject = format!("{subject}/CN=7654321");
        self.sign(name, &subject, usage, (&of.file, &of.file), &["-days", "1"], &above)
    }

    /// Takes certificates back: a new list, with all of these.
    pub fn revoke(&self, credentials: &[&Credential]) {
        let config = self.path("ca.cnf");
        for credential in credentials {
            let certificate = self.path(&format!("{}.cert", credential.name));
            openssl([
                OsStr::new("ca"),
                OsStr::new("-config"),
                config.as_os_str(),
                OsStr::new("-revoke"),
                certificate.as_os_str(),
            ]);
        }
        let list = self.trusted("r0");
        openssl([
            OsStr::new("ca"),
            OsStr::new("-config"),
            config.as_os_str(),
            OsStr::new("-gencrl"),
            OsStr::new("-out"),
            list.as_os_str(),
        ]);
    }

    /// Runs a grid's tool that makes a proxy of a user: `grid-proxy-init` or `voms-proxy-init`, with more words.
    #[must_use]
    pub fn tool(&self, tool: &str, of: &Credential, words: &[&str]) -> Credential {
        // A name of one length, however long the words are: some are paths, and a file's name has 255 bytes at most.
        let mut hasher = DefaultHasher::new();
        words.hash(&mut hasher);
        let file = self.path(&format!("{}.{tool}.{:016x}", of.name, hasher.finish()));
        let (certificate, key) =
            (self.path(&format!("{}.cert", of.name)), self.path(&format!("{}.key", of.name)));
        let output = Command::new(tool)
            .args(words)
            .arg("-cert")
            .arg(certificate)
            .arg("-key")
            .arg(key)
            .arg("-out")
            .arg(&file)
            .arg("-certdir")
            .arg(self.trust())
            .env("X509_CERT_DIR", self.trust())
            .output()
            .unwrap_or_else(|error| panic!("{tool}: {error} (Debian: globus-proxy-utils, voms-clients)"));
        assert!(
            output.status.success(),
            "{tool}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Credential { file, name: of.name.clone(), subject: of.subject.clone() }
    }

    fn sign(
        &self,
        name: &str,
        subject: &str,
        extensions: &str,
        (issuer, issuer_key): (&Path, &Path),
        more: &[&str],
        above: &str,
    ) -> Credential {
        let (key, request, certificate, wishes) = (
            self.path(&format!("{name}.key")),
            self.path(&format!("{name}.csr")),
            self.path(&format!("{name}.cert")),
            self.path(&format!("{name}.ext")),
        );
        fs::write(&wishes, extensions).expect("the file can be written");
        let words =
            ["req", "-new", "-nodes", "-newkey", "rsa:2048", "-config", "/dev/null", "-subj", subject];
        openssl(words.map(OsStr::new).into_iter().chain([
            OsStr::new("-keyout"),
            key.as_os_str(),
            OsStr::new("-out"),
            request.as_os_str(),
        ]));
        let days = ["-days", "20"];
        let more = if more.is_empty() { &days[..] } else { more };
        let serial = format!("0x{:x}", fnv(name));
        let words = ["x509", "-req", "-sha256", "-set_serial", &serial];
        openssl(words.iter().chain(more).map(OsStr::new).chain([
            OsStr::new("-in"),
            request.as_os_str(),
            OsStr::new("-CA"),
            issuer.as_os_str(),
            OsStr::new("-CAkey"),
            issuer_key.as_os_str(),
            OsStr::new("-extfile"),
            wishes.as_os_str(),
            OsStr::new("-out"),
            certificate.as_os_str(),
        ]));
        self.gather(name, subject, above)
    }

    fn gather(&self, name: &str, subject: &str, above: &str) -> Credential {
        let key = self.path(&format!("{name}.key"));
        // What the grid's tools demand.
        fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).expect("the key is ours");
        let read = |path: &Path| fs::read_to_string(path).expect("OpenSSL has made it");
        let file = self.path(&format!("{name}.pem"));
        let text = format!("{}{}{above}", read(&self.path(&format!("{name}.cert"))), read(&key));
        fs::write(&file, text).expect("the file can be written");
        Credential { file, name: name.to_owned(), subject: subject.to_owned() }
    }

    fn trusted(&self, end: &str) -> PathBuf {
        self.trust().join(format!("{}.{end}", self.hash))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// The certificates of a PEM file, without keys.
fn certificates(text: &str) -> impl Iterator<Item = String> + '_ {
    const END: &str = "-----END CERTIFICATE-----\n";
    text.split("-----BEGIN CERTIFICATE-----").skip(1).filter_map(|part| {
        let (inside, _) = part.split_once(END)?;
        Some(format!("-----BEGIN CERTIFICATE-----{inside}{END}"))
    })
}

/// A serial number for a name.
fn fnv(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)) >> 1
}

fn openssl<'a>(words: impl IntoIterator<Item = &'a OsStr>) -> String {
    let output =
        Command::new("openssl").args(words).output().expect("openssl is installed (Debian: openssl)");
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
