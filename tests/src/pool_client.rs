//! A door's view of a pool: the contract's client, over the Unix socket, for stories about the contract itself.

use std::path::Path;

use hyper_util::rt::TokioIo;
use penstock_door_proto::v1 as proto;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::patience::PATIENCE;

/// The generated client.
pub type Client = proto::pool_client::PoolClient<Channel>;

/// A runtime and a client on it, so that stories stay plain functions.
pub struct PoolClient {
    runtime: Runtime,
    client: Client,
}

impl PoolClient {
    /// Connects to a pool's socket.
    #[must_use]
    pub fn connect(socket: &Path) -> PoolClient {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let path = socket.to_owned();
        let channel = runtime.block_on(async {
            // The address is only for the `:authority` header: the connector knows where to go.
            Endpoint::from_static("http://pool")
                .connect_with_connector(tower::service_fn(move |_: Uri| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                }))
                .await
        });
        let channel = channel.unwrap_or_else(|error| panic!("no pool at {}: {error}", socket.display()));
        PoolClient { runtime, client: Client::new(channel) }
    }

    /// Makes calls, to the end or to the end of patience.
    pub fn call<T>(&self, calls: impl AsyncFnOnce(Client) -> T) -> T {
        let client = self.client.clone();
        self.runtime.block_on(async {
            tokio::time::timeout(PATIENCE, calls(client)).await.expect("the pool answers in time")
        })
    }
}
