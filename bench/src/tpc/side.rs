//! What the pool copies from and to: the server of this program, or a URL.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use penstock_door_proto::v1 as proto;
use penstock_pool::tls::ServerTls;
use penstock_pool::tls::server::ServerFiles;

use super::case::{Direction, Scheme};
use super::far::Server;
use super::options::Options;
use crate::arguments::read_token;
use crate::orders::{Refused, own_address_towards};

/// What the pool copies from and to.
pub enum FarSide {
    /// The server of this program.
    Own {
        /// Running.
        server: Server,
        /// How it is spoken with.
        schemes: Vec<Scheme>,
        /// Of its files.
        sizes: Vec<u64>,
    },
    /// A file at a URL.
    Url {
        /// May be a capability.
        url: String,
        /// Its beginning.
        scheme: Scheme,
        /// Sent along.
        headers: Vec<proto::Header>,
    },
}

impl FarSide {
    /// As the options name it. The server listens from now on.
    pub fn of(options: &Options) -> anyhow::Result<Self> {
        if let Some(url) = &options.source {
            let scheme = match url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref()
            {
                Some("http") => Scheme::Http,
                Some("https") => Scheme::Https,
                _ => anyhow::bail!("--source: what is given is no URL: write http:// or https://"),
            };
            // Not shown: what stands before "@" is a secret.
            let authority = url.split("://").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next());
            anyhow::ensure!(
                authority.is_some_and(|authority| !authority.is_empty() && !authority.contains('@')),
                "--source: the URL names no host, or a user; write http://HOST/PATH, and a token with --source-token-file"
            );
            anyhow::ensure!(
                options.direction.contains(&Direction::Pull),
                "--source is pulled from, nothing is written there: leave --direction out"
            );
            let headers = options.source_token_file.as_deref().map(bearer).transpose()?;
            return Ok(FarSide::Url { url: url.clone(), scheme, headers: headers.into_iter().collect() });
        }
        let tls = match (&options.server_cert, &options.server_key) {
            (Some(cert), Some(key)) => {
                let files = ServerFiles { cert: cert.clone(), key: key.clone() };
                Some(ServerTls::load(files).context("--server-cert and --server-key")?.config())
            }
            _ => None,
        };
        let schemes = match &options.scheme {
            Some(schemes) => schemes.clone(),
            None if tls.is_some() => vec![Scheme::Http, Scheme::Https],
            None => vec![Scheme::Http],
        };
        anyhow::ensure!(
            tls.is_some() || !schemes.contains(&Scheme::Https),
            "--scheme https needs --server-cert and --server-key: a certificate for this host that the pool believes (tpc.ca)"
        );
        let listen = match options.listen {
            Some(listen) => listen,
            None => nearest(options)?,
        };
        let sizes: Vec<u64> = options.size.iter().map(|size| size.0).collect();
        let server = Server::start(listen, options.host.as_deref(), tls, &schemes, &sizes)?;
        Ok(FarSide::Own { server, schemes, sizes })
    }

    /// Where a file of that size is, or may be put.
    pub fn url(&self, scheme: Scheme, size_bytes: u64, name: &str) -> anyhow::Result<String> {
        match self {
            FarSide::Own { server, .. } => server.url(scheme, size_bytes, name),
            FarSide::Url { url, .. } => Ok(url.clone()),
        }
    }

    /// What the pool is to send along.
    pub fn headers(&self) -> Vec<proto::Header> {
        match self {
            FarSide::Own { .. } => Vec::new(),
            FarSide::Url { headers, .. } => headers.clone(),
        }
    }

    /// In words, without what may be a capability.
    pub fn shown(&self) -> String {
        match self {
            FarSide::Own { server, .. } => format!("this program, as {}", server.host()),
            FarSide::Url { url, .. } => url.split(['?', '#']).next().unwrap_or_default().to_owned(),
        }
    }

    /// What a reader of the results has to know.
    pub fn notes(&self, cpu_known: bool) -> Vec<String> {
        let mut notes = Vec::new();
        match self {
            FarSide::Own { schemes, .. } => {
                notes.push(
                    "The other side is this program; where it runs beside the pool, it shares its processors."
                        .to_owned(),
                );
                if !schemes.contains(&Scheme::Https) {
                    notes.push(
                        "https was not measured: it needs --server-cert and --server-key of a certificate that the pool believes \
                         (tpc.ca)."
                            .to_owned(),
                    );
                }
            }
            FarSide::Url { .. } => notes.push("Pulls only: nothing is written to other servers.".to_owned()),
        }
        notes.push(match cpu_known {
            true => {
                "Processor time is that of the pool's whole process; the kernel counts it in steps of 10 ms."
                    .to_owned()
            }
            false => {
                "The pool's processor time is not known: give --pid where it runs on this machine.".to_owned()
            }
        });
        notes
    }

    /// What to do when the pool cannot copy from there.
    pub fn advice(&self, refused: &Refused) -> &'static str {
        match (self, refused.code) {
            (FarSide::Own { .. }, proto::FailureCode::RemoteForbidden) => {
                "; allow it in the pool's configuration, or choose with --listen an address of this host that the pool \
                 may connect to"
            }
            (FarSide::Own { .. }, proto::FailureCode::Tls) => {
                "; the pool has to believe --server-cert (tpc.ca), which has to hold the name of --host"
            }
            (FarSide::Own { .. }, proto::FailureCode::RemoteUnreachable) => {
                "; choose with --listen and --host where the pool reaches this host"
            }
            _ => "",
        }
    }
}

/// A field that shows the token of a file.
fn bearer(path: &Path) -> anyhow::Result<proto::Header> {
    let token = read_token(path, "--source-token-file")?;
    Ok(proto::Header { name: "Authorization".to_owned(), value: format!("Bearer {token}") })
}

/// The address of this host on the way to the pool.
fn nearest(options: &Options) -> anyhow::Result<SocketAddr> {
    let Some(pool) = &options.access.address else { return Ok(SocketAddr::from(([127, 0, 0, 1], 0))) };
    let own = own_address_towards(pool).context("give it with --listen")?;
    Ok(SocketAddr::new(own, 0))
}
