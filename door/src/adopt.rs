//! Names for what lies in a pool already: the files that `penstock-pool import` has made replicas of.
//!
//! Name first, then the pool's word that it is claimed: what a crash leaves between the two is claimed the next time.

use penstock_door_proto::v1 as proto;

use crate::checksum::Checksum;
use crate::config::Config;
use crate::namespace::adopt::{Adopted, Foundling};
use crate::namespace::upload::FinishedUpload;
use crate::namespace::{Namespace, NamespaceError, NsPath};
use crate::pools::Pools;
use crate::pools::connection::ConnectError;

/// Replicas that are named in one transaction and claimed in one call.
const PAGE: u64 = 500;
/// The transfer that a pool says imported replicas come from. Uploads that no door followed are not meant: their clients
/// were told that they failed.
const IMPORT_TRANSFER: &str = "import";

/// Why it ended early. What was named until then stays.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Not configured.
    #[error("there is no pool \"{0}\" in this door's configuration")]
    NoPool(String),
    /// A pool's certificates.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The door's own names.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The pool's answer.
    #[error("pool {pool} does not answer: {}; it has to run", .status.message())]
    Pool {
        /// Its name.
        pool: String,
        /// What it said.
        status: tonic::Status,
    },
}

/// How many, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Adoption {
    /// New names.
    pub named: u64,
    /// Had a name before.
    pub known: u64,
    /// Got none.
    pub refused: u64,
}

/// Gives names to all imported replicas of a pool. `refused` hears of each that gets none, and why.
pub async fn adopt(
    config: &Config,
    pool: &str,
    mut refused: impl FnMut(&str, &str),
) -> Result<Adoption, AdoptError> {
    let pools = Pools::new(&config.pools)?;
    let Some(pool) = pools.iter().find(|known| known.name() == pool) else {
        return Err(AdoptError::NoPool(pool.to_owned()));
    };
    let failed = |status| AdoptError::Pool { pool: pool.name().to_owned(), status };
    let namespace = Namespace::open(&config.namespace, config.namespace_files(), &config.name).await?;
    let mut client = pool.client();
    let mut adoption = Adoption::default();
    let mut after_id = String::new();
    loop {
        let request = proto::ListReplicasRequest {
            after_id: after_id.clone(),
            limit: PAGE,
            states: vec![proto::ReplicaState::Orphaned.into()],
        };
        let mut listed = client.list_replicas(request).await.map_err(failed)?.into_inner();
        let mut page = Vec::new();
        while let Some(replica) = listed.message().await.map_err(failed)? {
            page.push(replica);
        }
        let Some(last) = page.last() else { break };
        after_id.clone_from(&last.replica_id);
        let mut foundlings = Vec::new();
        for replica in page.iter().filter(|replica| replica.transfer_id == IMPORT_TRANSFER) {
            match NsPath::parse(&replica.path) {
                Ok(path) => foundlings.push(foundling(pool.name(), path, replica)),
                Err(error) => {
                    adoption.refused += 1;
                    refused(&replica.path, &error.to_string());
                }
            }
        }
        let mut claimed = Vec::new();
        for (foundling, adopted) in foundlings.iter().zip(namespace.adopt(&foundlings).await?) {
            match adopted {
                Adopted::Named => adoption.named += 1,
                Adopted::Known => adoption.known += 1,
                Adopted::Refused(why) => {
                    adoption.refused += 1;
                    refused(foundling.path.as_str(), &why);
                    continue;
                }
            }
            claimed.push(foundling.replica.clone());
        }
        if !claimed.is_empty() {
            client
                .claim_replicas(proto::ClaimReplicasRequest { replica_ids: claimed })
                .await
                .map_err(failed)?;
        }
    }
    namespace.close().await;
    Ok(adoption)
}

fn foundling(pool: &str, path: NsPath, replica: &proto::ReplicaInfo) -> Foundling {
    let checksums = replica.checksums.iter().filter_map(Checksum::from_proto).collect();
    Foundling {
        replica: replica.replica_id.clone(),
        pool: pool.to_owned(),
        path,
        file: FinishedUpload { size: replica.size, checksums },
    }
}
