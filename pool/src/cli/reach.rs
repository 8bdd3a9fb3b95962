//! Finds a pool that runs, and speaks with it as doors do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use penstock_door_proto::v1::pool_client::PoolClient;
use penstock_pool::config::{Config, GrpcEndpoint};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::options::Options;

/// The contract's client.
pub type Client = PoolClient<Channel>;

/// Where a configuration is looked for when nothing is said: as the service has it.
pub const USUAL_CONFIG: &str = "/etc/penstock/pool.toml";
/// How long connecting may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// Where, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    url: String,
    tls: Option<Tls>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tls {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    /// Whose certificate the pool must show, where that is not the host of the URL.
    domain: Option<String>,
}

/// Connects.
pub async fn connect(options: &Options) -> anyhow::Result<Client> {
    let Target { url, tls } = target(options)?;
    let mut endpoint = Endpoint::from_shared(url.clone())
        .with_context(|| format!("--address: \"{url}\" is no address: write \"https://host:port\""))?
        .connect_timeout(CONNECT_TIME);
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls_config(&tls)?).context("the TLS files cannot be used")?;
    }
    match endpoint.connect().await {
        Ok(channel) => Ok(PoolClient::new(channel)),
        Err(error) => {
            let mut cause: &dyn std::error::Error = &error;
            while let Some(source) = cause.source() {
                cause = source;
            }
            Err(anyhow!("cannot reach the pool at {url}: {cause}; is penstock-pool running?"))
        }
    }
}

fn target(options: &Options) -> anyhow::Result<Target> {
    let reach = &options.reach;
    if let Some(socket) = &reach.socket {
        return Ok(Target { url: socket_url(socket)?, tls: None });
    }
    if let Some(address) = &reach.address {
        let url = if address.contains("://") { address.clone() } else { format!("https://{address}") };
        if url.starts_with("http://") {
            return Ok(Target { url, tls: None });
        }
        let (Some(ca), Some(cert), Some(key)) = (&reach.ca, &reach.cert, &reach.key) else {
            bail!("--address {url} needs --ca, --cert and --key: a pool shows itself, and asks who comes");
        };
        let tls = Tls { ca: ca.clone(), cert: cert.clone(), key: key.clone(), domain: None };
        return Ok(Target { url, tls: Some(tls) });
    }
    let sources = options.usual_sources();
    if sources.are_empty() {
        bail!("which pool? Give --config FILE, --socket PATH or --address URL ({USUAL_CONFIG} is not there)");
    }
    of_config(&sources.load::<Config>()?.config, options)
}

/// As the pool's own configuration has it. Where that asks for certificates, the pool's own is shown: the authority that
/// it trusts has signed it too, in a site with one authority.
fn of_config(config: &Config, options: &Options) -> anyhow::Result<Target> {
    match &config.grpc {
        GrpcEndpoint::Socket(path) => Ok(Target { url: socket_url(path)?, tls: None }),
        GrpcEndpoint::Insecure { listen } => Ok(Target { url: format!("http://{listen}"), tls: None }),
        GrpcEndpoint::Tls { listen, files } => {
            let mut listen = *listen;
            if listen.ip().is_unspecified() {
                let loopback: std::net::IpAddr = match listen.is_ipv4() {
                    true => std::net::Ipv4Addr::LOCALHOST.into(),
                    false => std::net::Ipv6Addr::LOCALHOST.into(),
                };
                listen.set_ip(loopback);
            }
            let host = config.data_advertise.as_deref().and_then(|advertise| advertise.rsplit_once(':'));
            let reach = &options.reach;
            let tls = Tls {
                ca: reach.ca.as_ref().unwrap_or(&files.client_ca).clone(),
                cert: reach.cert.as_ref().unwrap_or(&files.cert).clone(),
                key: reach.key.as_ref().unwrap_or(&files.key).clone(),
                domain: host.map(|(host, _)| host.to_owned()),
            };
            Ok(Target { url: format!("https://{listen}"), tls: Some(tls) })
        }
    }
}

fn socket_url(path: &Path) -> anyhow::Result<String> {
    let text =
        path.to_str().with_context(|| format!("{}: the socket's path is not UTF-8", path.display()))?;
    Ok(format!("unix:{text}"))
}

fn tls_config(tls: &Tls) -> anyhow::Result<ClientTlsConfig> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let config = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(&tls.ca)?))
        .identity(Identity::from_pem(read(&tls.cert)?, read(&tls.key)?));
    Ok(match &tls.domain {
        Some(domain) => config.domain_name(domain),
        None => config,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use penstock_pool::config::TlsFiles;

    use super::*;

    fn options(words: &[&str]) -> Options {
        Options::parse_from(["penstock-pool"].iter().chain(words).chain(&["status"]))
    }

    #[test]
    fn what_is_said_goes_before_what_is_configured() {
        let words = ["--config", "/nonexistent", "--socket", "/run/p.sock"];
        assert_eq!(target(&options(&words)).unwrap(), Target { url: "unix:/run/p.sock".into(), tls: None });
    }

    #[test]
    fn an_address_needs_certificates_unless_it_is_unprotected() {
        assert!(target(&options(&["--address", "http://127.0.0.1:1"])).unwrap().tls.is_none());
        let error = target(&options(&["--address", "pool:2883", "--ca", "/ca"])).unwrap_err().to_string();
        assert!(error.starts_with("--address https://pool:2883 needs --ca, --cert and --key"), "{error}");
    }

    #[test]
    fn a_pool_with_tls_is_shown_its_own_certificate_and_asked_for_its_own_name() {
        let mut config = Config::new("p", "/srv");
        let files = TlsFiles { cert: "/c".into(), key: "/k".into(), client_ca: "/ca".into() };
        config.grpc = GrpcEndpoint::Tls { listen: "0.0.0.0:2883".parse().unwrap(), files };
        config.data_advertise = Some("pool01.example.org:2881".into());
        let Target { url, tls } = of_config(&config, &options(&["--ca", "/other"])).unwrap();
        assert_eq!(url, "https://127.0.0.1:2883");
        let tls = tls.unwrap();
        assert_eq!((tls.ca, tls.cert, tls.key), ("/other".into(), "/c".into(), "/k".into()));
        assert_eq!(tls.domain.as_deref(), Some("pool01.example.org"));
    }

    #[tokio::test]
    async fn a_pool_that_does_not_run_is_missed_in_words() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("grpc.sock");
        let error = connect(&options(&["--socket", socket.to_str().unwrap()])).await.unwrap_err().to_string();
        assert!(error.contains("No such file") && error.ends_with("is penstock-pool running?"), "{error}");
    }
}
