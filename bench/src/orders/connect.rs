//! The way to a pool's gRPC service: its socket, or TCP, with mutual TLS unless the pool wants none.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use hyper_util::rt::TokioIo;
use penstock_door_proto::v1::pool_client::PoolClient;
use tokio::net::UnixStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

use super::Access;

/// The generated client.
pub type Client = PoolClient<Channel>;

/// How long connecting may take, TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// A connected client, and the pool's process if the kernel tells.
pub async fn connect(access: &Access) -> anyhow::Result<(Client, Option<u32>)> {
    match (&access.socket, &access.address) {
        (Some(path), _) => {
            let failed = || {
                format!(
                    "no pool answers at {}; its configuration says where (grpc.socket, or root/grpc.sock)",
                    path.display()
                )
            };
            // The one that gRPC uses is out of reach, so ask on one of our own (SO_PEERCRED).
            let stream = match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => anyhow::bail!(
                    "no permission to open {}: who opens it commands the pool, so only the pool's own user may; run \
                     this as that user (sudo -u penstock …)",
                    path.display()
                ),
                other => other.with_context(failed)?,
            };
            let pid =
                stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(|pid| u32::try_from(pid).ok());
            let path = path.clone();
            // The URI only fills the :authority header.
            let channel = Endpoint::from_static("http://pool.invalid")
                .connect_timeout(CONNECT_LIMIT)
                .connect_with_connector(tower::service_fn(move |_: Uri| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                }))
                .await;
            Ok((Client::new(channel.with_context(failed)?), pid))
        }
        (None, Some(address)) => {
            let scheme = if access.ca.is_some() { "https" } else { "http" };
            let endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
                .with_context(|| format!("\"{address}\" is not an address: write it as host:port"))?
                .connect_timeout(CONNECT_LIMIT);
            let endpoint = match tls(access)? {
                Some(tls) => {
                    endpoint.tls_config(tls).context("the certificate, key or authority cannot be used")?
                }
                None => endpoint,
            };
            let channel = endpoint.connect().await.with_context(|| {
                let hint = if access.ca.is_some() { "" } else { "; it may want --ca, --cert and --key" };
                format!("no pool answers at {address} (grpc.listen){hint}")
            })?;
            Ok((Client::new(channel), None))
        }
        // clap asks for one of both.
        (None, None) => anyhow::bail!("give --socket or --address"),
    }
}

fn tls(access: &Access) -> anyhow::Result<Option<ClientTlsConfig>> {
    let (Some(ca), Some(cert), Some(key)) = (&access.ca, &access.cert, &access.key) else { return Ok(None) };
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(ca)?))
        .identity(Identity::from_pem(read(cert)?, read(key)?));
    Ok(Some(match &access.domain {
        Some(domain) => tls.domain_name(domain),
        None => tls,
    }))
}
