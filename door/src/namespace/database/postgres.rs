//! PostgreSQL: one database, any number of doors.
//!
//! Changes run at READ COMMITTED, each with an advisory lock that all doors know: shared by those of single names,
//! exclusive for those that touch whatever is below a name ([`Reach`]). The first run side by side, as a busy directory has
//! to take many uploads at once; unique names, references and held rows keep them apart, and one that collides is done
//! again. SERIALIZABLE would need no such thought, but two uploads into one directory read and write the same page of its
//! index, which is a conflict there: of many at once all but one would be thrown away.

use std::path::Path;
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _};

use super::connections::{Connections, Lent};
use super::presence::Presence;
use super::reach::Reach;
use super::session::{Again, Link, Session, is_conflict};
use super::{NamespaceError, NamespacePlace, QueryError, Transaction, migration};
use crate::config::{NamespaceFiles, PostgresUrl};

/// Lookups at once.
const READERS: usize = 8;
/// Changes at once. Beyond what a server's disk commits in one sync there is nothing to gain.
const WRITERS: usize = 16;
/// How often a change that collides with others is begun.
const ATTEMPTS: u32 = 12;
/// A collided change pauses up to so long for each attempt before it.
const PAUSE: Duration = Duration::from_millis(4);
/// How long a lookup or a change of single names may take: a server that cannot be reached any more says nothing.
const SHORT: Duration = Duration::from_secs(60);
/// The same of a change of a whole tree, which may be of millions of names.
const LONG: Duration = Duration::from_secs(3600);
/// The oldest server that is known to do: of those, PostgreSQL's own project ended the support in 2024.
const OLDEST_VERSION: i64 = 120_000;
/// The longest password file; one line is read of it.
const MOST_PASSWORD_BYTES: usize = 4096;

/// What is asked of the server for each connection.
const SETTINGS: [(&str, &str); 9] = [
    // A pool forgets an upload once its name is committed, so the commit must survive a power cut.
    ("synchronous_commit", "on"),
    ("default_transaction_isolation", "read committed"),
    // Indexes lead to all that is asked for. A plan that was made while there were few names, and reads them all instead, is
    // kept as long as the connection; a night's uploads are enough to make that slow.
    ("enable_seqscan", "off"),
    // What has no index (there are few locks) counts as too dear for words then, and is not worth a compiler.
    ("jit", "off"),
    ("lock_timeout", "30s"),
    // A door whose machine dies in the middle of a change must not keep the others from theirs for long,
    ("idle_in_transaction_session_timeout", "60s"),
    // nor its next start: its session is gone a minute after.
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// Beginnings of a change. The lock is PostgreSQL's advisory one, which it gives back at the end of the transaction.
const BEGIN_NAMES: &str =
    "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock_shared(1346720339, 1)";
const BEGIN_TREE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pg_advisory_xact_lock(1346720339, 1)";

/// An open database.
#[derive(Debug, Clone)]
pub struct Postgres {
    readers: Connections,
    writers: Connections,
    options: Arc<PgConnectOptions>,
    place: NamespacePlace,
    door: Arc<str>,
    presence: Arc<Mutex<Option<Presence>>>,
}

impl Postgres {
    /// Connects, and makes the tables or brings them up to date.
    pub async fn open(
        url: &PostgresUrl,
        files: NamespaceFiles<'_>,
        door: &str,
    ) -> Result<Self, NamespaceError> {
        let place = NamespacePlace::Postgres(url.clone());
        let open_error =
            |error: sqlx::Error| NamespaceError::Open { place: place.clone(), source: error.into() };
        let (mut connection, options) = connect(url, files, door).await?;
        // Several doors that start at once take turns here. Not `run`, whose future cannot be shown to be Send (sqlx's
        // own way around it).
        migration::of_postgres()
            .run_direct(None, &mut connection, false)
            .await
            .map_err(|source| NamespaceError::Migrate { place: place.clone(), source: Arc::new(source) })?;
        connection.close().await.map_err(open_error)?;
        let options = Arc::new(options);
        Ok(Self {
            readers: Connections::new(Arc::clone(&options), READERS),
            writers: Connections::new(Arc::clone(&options), WRITERS),
            options,
            place,
            door: door.into(),
            presence: Arc::default(),
        })
    }

    /// Makes sure, from now on, that no other door of this name works here.
    pub async fn be_the_only_door_of_its_name(&self) -> Result<(), NamespaceError> {
        let presence = Presence::take(&self.options, &self.place, &self.door).await?;
        *self.presence.lock().unwrap_or_else(PoisonError::into_inner) = Some(presence);
        Ok(())
    }

    /// Looks something up.
    pub async fn read<T: Transaction>(&self, transaction: &T) -> Result<T::Done, T::Error> {
        loop {
            let mut lent = self.readers.take().await.map_err(failed::<T>)?;
            let reading = run(transaction, &mut lent, Reach::Own);
            let Ok((result, again)) = tokio::time::timeout(SHORT, reading).await else {
                return Err(failed::<T>(QueryError::Busy));
            };
            match (result, again) {
                (Err(_), Some(Again::Lost)) if !lent.is_new() => {}
                (Err(error), Some(Again::Lost)) => return Err(error),
                (result, _) => {
                    lent.give_back();
                    return result;
                }
            }
        }
    }

    /// Makes a change.
    pub async fn change<T: Transaction>(&self, transaction: T) -> Result<T::Done, T::Error> {
        let mut reach = transaction.reach();
        for attempt in 1..=ATTEMPTS {
            let limit = if reach == Reach::Tree { LONG } else { SHORT };
            let Ok(ended) = tokio::time::timeout(limit, self.attempt(&transaction, reach)).await else {
                return Err(failed::<T>(QueryError::Busy));
            };
            match ended {
                Ended::Well(done) => return Ok(done),
                Ended::Badly(error) => return Err(error),
                Ended::For(Again::Alone) => reach = Reach::Tree,
                Ended::For(Again::Conflict) => tokio::time::sleep(pause(attempt)).await,
                Ended::For(Again::Lost) => {}
            }
        }
        Err(failed::<T>(QueryError::Conflict))
    }

    /// Makes a change, or finds that it has to be begun anew. A connection is kept only where nothing is left on it; the
    /// server undoes what was begun on the others.
    async fn attempt<T: Transaction>(&self, transaction: &T, reach: Reach) -> Ended<T> {
        let mut lent = match self.begin(reach).await {
            Ok(lent) => lent,
            Err(error) => return Ended::Badly(failed::<T>(error)),
        };
        let (result, again) = run(transaction, &mut lent, reach).await;
        let ended = match (result, again) {
            (Ok(done), None) => match end(&mut lent, reach, "COMMIT").await {
                Ok(()) => {
                    lent.give_back();
                    return Ended::Well(done);
                }
                Err(error) if is_conflict(&error) => return Ended::For(Again::Conflict),
                Err(error) => return Ended::Badly(failed::<T>(error.into())),
            },
            (Err(error), Some(Again::Lost)) => {
                let was_idle = reach == Reach::Own && !lent.is_new();
                return if was_idle { Ended::For(Again::Lost) } else { Ended::Badly(error) };
            }
            (_, Some(again)) => Ended::For(again),
            (Err(error), None) => Ended::Badly(error),
        };
        if end(&mut lent, reach, "ROLLBACK").await.is_ok() {
            lent.give_back();
        }
        ended
    }

    /// A connection on which a change has begun.
    async fn begin(&self, reach: Reach) -> Result<Lent, QueryError> {
        loop {
            let mut lent = self.writers.take().await?;
            let begin = match reach {
                Reach::Own => return Ok(lent),
                Reach::Names => BEGIN_NAMES,
                Reach::Tree => BEGIN_TREE,
            };
            match sqlx::raw_sql(begin).execute(lent.connection()).await {
                Ok(_) => return Ok(lent),
                // The server was restarted since the connection was used: the next one, or a new one.
                Err(error) if super::session::is_lost(&error) && !lent.is_new() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Closes all connections when what runs has ended.
    pub async fn close(&self) {
        let presence = self.presence.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.readers.close().await;
        self.writers.close().await;
        if let Some(presence) = presence {
            presence.end().await;
        }
    }
}

/// How an attempt to make a change has ended.
enum Ended<T: Transaction> {
    Well(T::Done),
    Badly(T::Error),
    /// To be begun anew.
    For(Again),
}

/// Runs a transaction's statements, and tells whether it has to be done again.
async fn run<T: Transaction>(
    transaction: &T,
    lent: &mut Lent,
    reach: Reach,
) -> (Result<T::Done, T::Error>, Option<Again>) {
    let mut session = Session::Postgres(Link::new(lent.connection(), reach));
    let result = transaction.run(&mut session).await;
    let again = match session {
        Session::Postgres(link) => link.again,
        Session::Sqlite(_) => None,
    };
    (result, again)
}

async fn end(lent: &mut Lent, reach: Reach, how: &'static str) -> Result<(), sqlx::Error> {
    match reach {
        Reach::Own => Ok(()),
        Reach::Names | Reach::Tree => sqlx::raw_sql(how).execute(lent.connection()).await.map(drop),
    }
}

fn failed<T: Transaction>(error: QueryError) -> T::Error {
    NamespaceError::from(error).into()
}

/// Not the same for all that have collided.
fn pause(attempt: u32) -> Duration {
    let nanos = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_nanos());
    let longest = PAUSE * attempt;
    longest.mul_f64(f64::from(nanos % 1000) / 1000.0)
}

/// Connects to a server and a database that are fit for it, and says how to do so again.
pub(super) async fn connect(
    url: &PostgresUrl,
    files: NamespaceFiles<'_>,
    door: &str,
) -> Result<(PgConnection, PgConnectOptions), NamespaceError> {
    let place = NamespacePlace::Postgres(url.clone());
    let open_error = |error: sqlx::Error| NamespaceError::Open { place: place.clone(), source: error.into() };
    let mut options = PgConnectOptions::from_str(url.as_str())
        .map_err(open_error)?
        .application_name(&format!("penstock-door {door}"))
        .options(SETTINGS)
        .disable_statement_logging();
    if let Some(path) = files.password {
        options = options.password(&read_password(path)?);
    }
    if let Some(path) = files.ca {
        // For a text that names the file. Each connection reads it again, so that it can be replaced.
        penstock_trust::certificate::read_chain(path).map_err(Arc::new)?;
        options = options.ssl_mode(PgSslMode::VerifyFull).ssl_root_cert(path);
    }
    let mut connection = PgConnection::connect_with(&options).await.map_err(|error| match error {
        error if is_about_tls(&error) => {
            NamespaceError::Unsafe { place: place.clone(), source: error.into() }
        }
        error => open_error(error),
    })?;
    let (encoding, version): (String, i64) = sqlx::query_as(
        "SELECT current_setting('server_encoding'), current_setting('server_version_num')::bigint",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(open_error)?;
    let unsuited = |problem: String| NamespaceError::Unsuited { place: place.clone(), problem };
    if encoding != "UTF8" {
        return Err(unsuited(format!(
            "its encoding is {encoding}, and names are UTF-8: make it with CREATE DATABASE … ENCODING 'UTF8' \
             TEMPLATE template0"
        )));
    }
    if version < OLDEST_VERSION {
        return Err(unsuited(format!(
            "the server is PostgreSQL {}, and at least {} is needed",
            version / 10_000,
            OLDEST_VERSION / 10_000
        )));
    }
    Ok((connection, options))
}

/// Whether a connection was given up since its server did not prove who it is, or does not encrypt.
fn is_about_tls(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        // What rustls finds in a handshake comes as an error of input.
        sqlx::Error::Io(error) => error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
        _ => false,
    }
}

fn read_password(path: &Path) -> Result<String, NamespaceError> {
    let wrong =
        |problem: &str| NamespaceError::Password { path: path.to_owned(), problem: problem.to_owned() };
    let bytes = std::fs::read(path).map_err(|error| wrong(&error.to_string()))?;
    if bytes.len() > MOST_PASSWORD_BYTES {
        return Err(wrong("it is too long for a password"));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(wrong("it is empty")),
        line if line.contains('\n') => Err(wrong("it has several lines; write the password alone")),
        line => Ok(line.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        for (text, expected) in [
            ("hidden\n", Ok("hidden")),
            ("hid den\r\n", Ok("hid den")),
            ("", Err("it is empty")),
            ("hidden\nhidden\n", Err("several lines")),
        ] {
            std::fs::write(&path, text).unwrap();
            match (read_password(&path), expected) {
                (Ok(password), Ok(expected)) => assert_eq!(password, expected),
                (Err(error), Err(expected)) => {
                    let error = error.to_string();
                    assert!(error.contains(expected) && !error.contains("hidden"), "{error}");
                }
                (got, _) => panic!("{text:?}: {got:?}"),
            }
        }
        assert!(read_password(&directory.path().join("none")).is_err());
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        for attempt in 1..=ATTEMPTS {
            assert!(pause(attempt) <= PAUSE * attempt);
        }
    }
}
