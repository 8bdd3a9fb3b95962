//! Connections to PostgreSQL that are kept open, a bounded number of them.
//!
//! One is kept only when its work has come to a clean end. A request that goes away in the middle takes its connection
//! along, and the server undoes what was begun on it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::QueryError;

/// How long a request waits for its turn, and for a new connection, before it is told to come back.
const TURN_TIMEOUT: Duration = Duration::from_secs(30);

/// A number of connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: Arc<PgConnectOptions>,
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<PgConnection>>,
}

/// A connection while it is used.
pub struct Lent {
    connection: PgConnection,
    new: bool,
    lender: Connections,
    _turn: OwnedSemaphorePermit,
}

impl Connections {
    /// At most so many; none is there yet.
    pub fn new(options: Arc<PgConnectOptions>, most: usize) -> Self {
        Self(Arc::new(Inner { options, turns: Arc::new(Semaphore::new(most)), idle: Mutex::default() }))
    }

    fn idle(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        // A list of connections is whole whatever happened to the thread that held it.
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that nobody uses.
    pub async fn take(&self) -> Result<Lent, QueryError> {
        let turn = tokio::time::timeout(TURN_TIMEOUT, Arc::clone(&self.0.turns).acquire_owned())
            .await
            .map_err(|_| QueryError::Busy)?
            .map_err(|_| QueryError::Closed)?;
        let idle = self.idle().pop();
        let new = idle.is_none();
        let connection = match idle {
            Some(connection) => connection,
            None => tokio::time::timeout(TURN_TIMEOUT, PgConnection::connect_with(&self.0.options))
                .await
                .map_err(|_| QueryError::Busy)??,
        };
        Ok(Lent { connection, new, lender: self.clone(), _turn: turn })
    }

    /// Ends those that nobody uses; the others end when they are given back.
    pub async fn close(&self) {
        self.0.turns.close();
        let idle = std::mem::take(&mut *self.idle());
        for connection in idle {
            // It ends one way or the other.
            let _ = connection.close().await;
        }
    }
}

impl Lent {
    /// The connection.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Whether it was made for this: then it is not one that broke while nobody looked.
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// It is as good as new.
    pub fn give_back(self) {
        let Lent { connection, lender, .. } = self;
        if !lender.0.turns.is_closed() {
            lender.idle().push(connection);
        }
    }
}
