//! A look at a PostgreSQL database, for the command `check`: nothing is made or changed there.

use std::collections::BTreeMap;

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use super::NamespaceError;
use super::migration;
use super::postgres::connect;
use crate::config::{NamespaceFiles, NamespacePlace, PostgresUrl};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The server's version, as it tells it.
    pub server: String,
    /// The namespace's tables.
    pub tables: Tables,
}

/// How the tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tables {
    /// As this version needs them.
    UpToDate,
    /// Steps are missing, which the next start makes: all of them in a new database.
    Behind {
        /// How many there are.
        done: usize,
        /// How many are needed.
        needed: usize,
    },
    /// No start of this version can use them.
    Unsuited(String),
}

/// What the database remembers of a step: its digest, and whether it was done to its end.
type Remembered = (Vec<u8>, bool);

/// Connects as the door does, and looks.
pub async fn inspect(
    url: &PostgresUrl,
    files: NamespaceFiles<'_>,
    door: &str,
) -> Result<Inspection, NamespaceError> {
    let place = NamespacePlace::Postgres(url.clone());
    let failed = |error: sqlx::Error| NamespaceError::Open { place: place.clone(), source: error.into() };
    let (mut connection, _) = connect(url, files, door).await?;
    let server: String = sqlx::query_scalar("SELECT current_setting('server_version')")
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    let done = remembered(&mut connection).await.map_err(failed)?;
    connection.close().await.map_err(failed)?;
    let steps = migration::of_postgres();
    let needed = steps.iter().map(|step| (step.version, step.checksum.to_vec())).collect();
    Ok(Inspection { server, tables: compare(&needed, &done) })
}

/// The steps that were done, by their numbers.
async fn remembered(connection: &mut PgConnection) -> Result<BTreeMap<i64, Remembered>, sqlx::Error> {
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !is_there {
        return Ok(BTreeMap::new());
    }
    let rows: Vec<(i64, Vec<u8>, bool)> =
        sqlx::query_as("SELECT version, checksum, success FROM _sqlx_migrations")
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().map(|(version, checksum, success)| (version, (checksum, success))).collect())
}

fn compare(needed: &BTreeMap<i64, Vec<u8>>, done: &BTreeMap<i64, Remembered>) -> Tables {
    for (version, (checksum, success)) in done {
        match needed.get(version) {
            None => {
                return Tables::Unsuited(format!(
                    "step {version} of its tables is of a newer version of Penstock"
                ));
            }
            Some(_) if !success => {
                return Tables::Unsuited(format!("step {version} of its tables was not done to its end"));
            }
            Some(known) if known != checksum => {
                return Tables::Unsuited(format!(
                    "step {version} of its tables is not the one of this version"
                ));
            }
            Some(_) => {}
        }
    }
    if done.len() == needed.len() {
        Tables::UpToDate
    } else {
        Tables::Behind { done: done.len(), needed: needed.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_up_to_date_behind_or_of_another_version() {
        let needed = BTreeMap::from([(1, vec![1]), (2, vec![2])]);
        let unsuited = |text: &str| Tables::Unsuited(format!("step {text}"));
        for (done, expected) in [
            (vec![], Tables::Behind { done: 0, needed: 2 }),
            (vec![(1, (vec![1], true))], Tables::Behind { done: 1, needed: 2 }),
            (vec![(1, (vec![1], true)), (2, (vec![2], true))], Tables::UpToDate),
            (vec![(3, (vec![3], true))], unsuited("3 of its tables is of a newer version of Penstock")),
            (vec![(1, (vec![1], false))], unsuited("1 of its tables was not done to its end")),
            (vec![(1, (vec![9], true))], unsuited("1 of its tables is not the one of this version")),
        ] {
            assert_eq!(compare(&needed, &done.into_iter().collect()), expected);
        }
    }
}
