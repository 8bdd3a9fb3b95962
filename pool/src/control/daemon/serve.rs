//! What doors find at the gRPC endpoint.

use std::sync::Arc;

use penstock_door_proto::v1::pool_server::PoolServer;
use tokio::sync::watch;
use tonic_health::ServingStatus;

use super::PoolError;
use crate::control::grpc::listen::{Bound, Serving};
use crate::control::grpc::service::PoolService;
use crate::control::registry::Registry;

/// The contract's service with the standard health and reflection services beside it.
pub(super) fn serve(
    grpc: Bound,
    service: PoolService,
    registry: Arc<Registry>,
    mut health_changes: watch::Receiver<u64>,
) -> Result<Serving, PoolError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(penstock_door_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let serving = grpc.serve(move |server| {
        server.add_service(PoolServer::new(service)).add_service(health).add_service(reflection)
    });
    tokio::spawn(async move {
        loop {
            // A read-only pool serves: its replicas can be read. Doors see in PoolStatus that it takes no uploads.
            let word = if registry.draining() { ServingStatus::NotServing } else { ServingStatus::Serving };
            reporter.set_service_status("", word).await;
            reporter.set_service_status("penstock.pool.v1.Pool", word).await;
            if health_changes.changed().await.is_err() {
                return;
            }
        }
    });
    Ok(serving)
}
