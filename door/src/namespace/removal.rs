//! Replicas that no name points to any more, until their pool has confirmed that they are gone.
//!
//! Any door sees to them, whichever has owed them: a pool that is asked twice has nothing to delete the second time.

use super::database::reach::Reach;
use super::database::session::{Session, Sql};
use super::database::{Namespace, NamespaceError, Transaction};
use super::entry::now_micros;
use super::read::to_json;

impl Namespace {
    /// Up to `limit` replicas that a pool still has to delete, the oldest first.
    pub async fn owed_removals(&self, pool: &str, limit: u32) -> Result<Vec<String>, NamespaceError> {
        self.read(Owed { pool: pool.to_owned(), limit }).await
    }

    /// The pool has deleted these replicas.
    pub async fn removals_done(&self, replicas: &[String]) -> Result<(), NamespaceError> {
        self.change(Done { replicas: to_json(replicas.iter().map(String::as_str)) }).await
    }

    /// The pool could not delete a replica now: it goes to the end of the line, so that it does not hold up others.
    pub async fn removal_failed(&self, replica: &str) -> Result<(), NamespaceError> {
        self.change(Failed { replica: replica.to_owned() }).await
    }
}

struct Owed {
    pool: String,
    limit: u32,
}

impl Transaction for Owed {
    type Done = Vec<String>;
    type Error = NamespaceError;

    async fn run(&self, session: &mut Session<'_>) -> Result<Vec<String>, NamespaceError> {
        session
            .fetch(
                "SELECT replica FROM removals WHERE pool = ?1 ORDER BY owed_at LIMIT ?2",
                &[(&self.pool).into(), self.limit.into()],
                |row| row.text(0),
            )
            .await
    }
}

struct Done {
    /// In JSON.
    replicas: String,
}

impl Transaction for Done {
    type Done = ();
    type Error = NamespaceError;

    fn reach(&self) -> Reach {
        Reach::Own
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), NamespaceError> {
        const DELETE: Sql = Sql::each(
            "DELETE FROM removals WHERE replica IN (SELECT value FROM json_each(?1))",
            "DELETE FROM removals WHERE replica IN (SELECT json_array_elements_text(CAST(?1 AS json)))",
        );
        session.execute(DELETE, &[(&self.replicas).into()]).await.map(drop)
    }
}

struct Failed {
    replica: String,
}

impl Transaction for Failed {
    type Done = ();
    type Error = NamespaceError;

    fn reach(&self) -> Reach {
        Reach::Own
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<(), NamespaceError> {
        session
            .execute(
                "UPDATE removals SET owed_at = ?2 WHERE replica = ?1",
                &[(&self.replica).into(), now_micros().into()],
            )
            .await
            .map(drop)
    }
}
