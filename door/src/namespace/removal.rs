//! Replicas that no name points to any more, until their pool has confirmed that they are gone.

use super::database::{Namespace, NamespaceError};
use super::entry::now_micros;

impl Namespace {
    /// Up to `limit` replicas that a pool still has to delete, the oldest first.
    pub async fn owed_removals(&self, pool: &str, limit: u32) -> Result<Vec<String>, NamespaceError> {
        let replicas =
            sqlx::query_scalar("SELECT replica FROM removals WHERE pool = ?1 ORDER BY owed_at LIMIT ?2")
                .bind(pool)
                .bind(limit)
                .fetch_all(&self.readers)
                .await?;
        Ok(replicas)
    }

    /// The pool has deleted these replicas.
    pub async fn removals_done(&self, replicas: &[String]) -> Result<(), NamespaceError> {
        let mut change = self.begin().await?;
        for replica in replicas {
            sqlx::query("DELETE FROM removals WHERE replica = ?1")
                .bind(replica)
                .execute(&mut *change)
                .await?;
        }
        change.commit().await?;
        Ok(())
    }

    /// The pool could not delete a replica now: it goes to the end of the line, so that it does not hold up others.
    pub async fn removal_failed(&self, replica: &str) -> Result<(), NamespaceError> {
        let mut change = self.begin().await?;
        sqlx::query("UPDATE removals SET owed_at = ?2 WHERE replica = ?1")
            .bind(replica)
            .bind(now_micros())
            .execute(&mut *change)
            .await?;
        change.commit().await?;
        Ok(())
    }
}
