//! Two doors of one name would take each other's uploads for their own, and undo them. So each holds a lock of its name
//! as long as it works, which the server gives back when the connection ends.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::task::JoinHandle;

use super::{NamespaceError, NamespacePlace, QueryError};

/// How long a starting door waits for one of its name to go: the server needs a moment to see that a process has died.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// Between two looks whether it has gone.
const LOOK: Duration = Duration::from_millis(200);
/// Between two looks whether the lock's connection still stands.
const PERIOD: Duration = Duration::from_secs(15);
/// The first half of the lock's number; the second is made of the name.
const CLASS: i32 = 1_346_720_340;

/// A lock of a door's name. Ends when dropped.
#[derive(Debug)]
pub struct Presence {
    keeping: JoinHandle<()>,
}

impl Presence {
    /// Takes it, or tells that another has it.
    pub async fn take(
        options: &Arc<PgConnectOptions>,
        place: &NamespacePlace,
        door: &str,
    ) -> Result<Self, NamespaceError> {
        let open_error =
            |error: sqlx::Error| NamespaceError::Open { place: place.clone(), source: error.into() };
        let mut connection = PgConnection::connect_with(options).await.map_err(open_error)?;
        let began_at = tokio::time::Instant::now();
        while !lock(&mut connection, door).await.map_err(open_error)? {
            if began_at.elapsed() > PATIENCE {
                return Err(NamespaceError::Unsuited {
                    place: place.clone(),
                    problem: format!(
                        "another door with the name \"{door}\" works there: give each door a name of its own; if that \
                         door has died with its machine, wait for two minutes"
                    ),
                });
            }
            tokio::time::sleep(LOOK).await;
        }
        let (options, door) = (Arc::clone(options), door.to_owned());
        Ok(Self { keeping: tokio::spawn(keep(connection, options, door)) })
    }

    /// Gives it back.
    pub async fn end(mut self) {
        self.keeping.abort();
        // An error says that it was aborted, as it should be. Its connection has ended with it.
        let _ = (&mut self.keeping).await;
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

/// Holds the lock; takes it anew when the server was restarted.
async fn keep(connection: PgConnection, options: Arc<PgConnectOptions>, door: String) {
    let mut held = Some(connection);
    loop {
        tokio::time::sleep(PERIOD).await;
        if let Some(connection) = &mut held {
            if connection.ping().await.is_ok() {
                continue;
            }
            held = None;
        }
        let retaken = async {
            let mut connection = PgConnection::connect_with(&options).await?;
            let locked = lock(&mut connection, &door).await?;
            Ok::<_, QueryError>(locked.then_some(connection))
        };
        match retaken.await {
            Ok(Some(connection)) => held = Some(connection),
            Ok(None) => tracing::error!(
                door,
                "another door with this door's name works in the same namespace: stop one of them, or they undo each \
                 other's uploads"
            ),
            Err(error) => tracing::warn!(%error, "the namespace's server does not answer"),
        }
    }
}

async fn lock(connection: &mut PgConnection, door: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1, hashtext($2))")
        .bind(CLASS)
        .bind(door)
        .fetch_one(connection)
        .await
}
