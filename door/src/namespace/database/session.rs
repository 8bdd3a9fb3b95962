//! What statements are made of, whichever database runs them: texts, values, rows.
//!
//! On SQLite each call here returns without waiting, as the connection is the calling thread's own; on PostgreSQL it is a
//! way to the server and back.

use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::reach::Reach;
use super::{NamespaceError, QueryError};

/// A statement with its parameters as `?1`, `?2`. One text where both databases take it.
#[derive(Debug, Clone, Copy)]
pub struct Sql {
    sqlite: &'static str,
    postgres: &'static str,
}

impl Sql {
    /// For each its own.
    pub const fn each(sqlite: &'static str, postgres: &'static str) -> Self {
        Self { sqlite, postgres }
    }

    /// PostgreSQL writes parameters as `$1`. No statement has a question mark for anything else.
    fn for_postgres(self) -> String {
        self.postgres.replace('?', "$")
    }
}

impl From<&'static str> for Sql {
    fn from(text: &'static str) -> Self {
        Self { sqlite: text, postgres: text }
    }
}

/// A parameter.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A whole number, or NULL.
    Integer(Option<i64>),
    /// A text, or NULL.
    Text(Option<&'a str>),
    /// Yes or no.
    Flag(bool),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Integer(Some(number))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Value::Integer(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Value::Integer(Some(number.into()))
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Value::Flag(flag)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::Text(Some(text))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Value::Text(Some(text))
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        use rusqlite::types::{ToSqlOutput, ValueRef};
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Integer(Some(number)) => ValueRef::Integer(*number),
            Value::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Value::Integer(None) | Value::Text(None) => ValueRef::Null,
            Value::Flag(flag) => ValueRef::Integer((*flag).into()),
        }))
    }
}

/// A row, its columns by their place in the statement.
pub enum Row<'r> {
    /// SQLite's.
    Sqlite(&'r rusqlite::Row<'r>),
    /// PostgreSQL's.
    Postgres(&'r PgRow),
}

/// A column of a type that both know.
macro_rules! column {
    ($(#[$meta:meta])* $name:ident -> $type:ty) => {
        $(#[$meta])*
        pub fn $name(&self, column: usize) -> Result<$type, NamespaceError> {
            match self {
                Row::Sqlite(row) => row.get(column).map_err(|error| QueryError::from(error).into()),
                Row::Postgres(row) => row.try_get(column).map_err(|error| QueryError::from(error).into()),
            }
        }
    };
}

impl Row<'_> {
    column!(
        /// A text.
        text -> String);
    column!(
        /// A text or NULL.
        maybe_text -> Option<String>);
    column!(
        /// A whole number.
        integer -> i64);
    column!(
        /// A whole number or NULL.
        maybe_integer -> Option<i64>);
    column!(
        /// Yes or no.
        flag -> bool);
}

/// A connection while it is lent to a transaction.
pub enum Session<'c> {
    /// A file.
    Sqlite(&'c mut rusqlite::Connection),
    /// A server.
    Postgres(Link<'c>),
}

/// A connection to PostgreSQL, and what has come up in the transaction on it.
pub struct Link<'c> {
    connection: &'c mut PgConnection,
    reach: Reach,
    /// It has to be done again.
    pub again: Option<Again>,
}

/// Why a transaction is done again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Another got in between.
    Conflict,
    /// It has to run alone, as it has turned out.
    Alone,
    /// The connection broke.
    Lost,
}

impl<'c> Link<'c> {
    /// Nothing has come up yet.
    pub fn new(connection: &'c mut PgConnection, reach: Reach) -> Self {
        Self { connection, reach, again: None }
    }

    fn failed(&mut self, error: sqlx::Error) -> NamespaceError {
        if is_conflict(&error) {
            self.again = Some(Again::Conflict);
        } else if is_lost(&error) {
            self.again = Some(Again::Lost);
        }
        QueryError::from(error).into()
    }
}

/// Whether a statement or commit failed only because another transaction ran at the same time.
pub(super) fn is_conflict(error: &sqlx::Error) -> bool {
    // Of its class of errors: serialization_failure, deadlock_detected; foreign_key_violation and unique_violation, as a
    // row that was or was not there when it was looked for has come or gone since.
    const CONFLICTS: [&str; 4] = ["40001", "40P01", "23503", "23505"];
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| CONFLICTS.contains(&&*code))
}

/// Whether it was the connection that failed, or the server that stopped.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        // Of the class "operator intervention" all that ends connections; 57014 ends a statement.
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code.starts_with("57P")),
        _ => false,
    }
}

impl Session<'_> {
    /// Runs a statement. Returns how many rows it changed.
    pub async fn execute(
        &mut self,
        sql: impl Into<Sql> + Send,
        values: &[Value<'_>],
    ) -> Result<u64, NamespaceError> {
        let sql = sql.into();
        match self {
            Session::Sqlite(connection) => {
                let changed = execute_here(connection, sql.sqlite, values).map_err(QueryError::from)?;
                Ok(u64::try_from(changed).unwrap_or(u64::MAX))
            }
            Session::Postgres(link) => {
                let done = bound(sql, values).execute(&mut *link.connection).await;
                done.map(|done| done.rows_affected()).map_err(|error| link.failed(error))
            }
        }
    }

    /// The rows that a statement gives.
    pub async fn fetch<T, R>(
        &mut self,
        sql: impl Into<Sql> + Send,
        values: &[Value<'_>],
        read: R,
    ) -> Result<Vec<T>, NamespaceError>
    where
        R: Fn(&Row<'_>) -> Result<T, NamespaceError> + Send,
    {
        let sql = sql.into();
        match self {
            Session::Sqlite(connection) => fetch_here(connection, sql.sqlite, values, read),
            Session::Postgres(link) => {
                let rows = bound(sql, values).fetch_all(&mut *link.connection).await;
                let rows = rows.map_err(|error| link.failed(error))?;
                rows.iter().map(|row| read(&Row::Postgres(row))).collect()
            }
        }
    }

    /// The row that a statement gives, if any; it gives at most one.
    pub async fn fetch_optional<T, R>(
        &mut self,
        sql: impl Into<Sql> + Send,
        values: &[Value<'_>],
        read: R,
    ) -> Result<Option<T>, NamespaceError>
    where
        T: Send,
        R: Fn(&Row<'_>) -> Result<T, NamespaceError> + Send,
    {
        Ok(self.fetch(sql, values, read).await?.pop())
    }

    /// The row of a statement that always gives one.
    pub async fn fetch_one<T, R>(
        &mut self,
        sql: impl Into<Sql> + Send,
        values: &[Value<'_>],
        read: R,
    ) -> Result<T, NamespaceError>
    where
        T: Send,
        R: Fn(&Row<'_>) -> Result<T, NamespaceError> + Send,
    {
        self.fetch_optional(sql, values, read).await?.ok_or(NamespaceError::Corrupt("number of rows"))
    }

    /// Whether a way to the database is long, so that one large statement is better than several small ones.
    pub fn is_far(&self) -> bool {
        matches!(self, Session::Postgres(_))
    }

    /// From here on the change touches whatever is below a name. Where it began as one of single names it ends here, and
    /// begins anew, alone.
    pub fn touch_tree(&mut self) -> Result<(), NamespaceError> {
        match self {
            Session::Sqlite(_) => Ok(()),
            Session::Postgres(link) if link.reach == Reach::Tree => Ok(()),
            Session::Postgres(link) => {
                link.again = Some(Again::Alone);
                Err(QueryError::Conflict.into())
            }
        }
    }

    /// What was looked at is not there any more, as another change ran at the same time: it begins anew.
    pub fn overtaken(&mut self) -> NamespaceError {
        match self {
            // Nothing runs at the same time.
            Session::Sqlite(_) => {}
            Session::Postgres(link) => link.again = Some(Again::Conflict),
        }
        QueryError::Conflict.into()
    }
}

fn execute_here(
    connection: &rusqlite::Connection,
    sql: &str,
    values: &[Value<'_>],
) -> Result<usize, rusqlite::Error> {
    connection.prepare_cached(sql)?.execute(rusqlite::params_from_iter(values))
}

fn fetch_here<T>(
    connection: &rusqlite::Connection,
    sql: &str,
    values: &[Value<'_>],
    read: impl Fn(&Row<'_>) -> Result<T, NamespaceError>,
) -> Result<Vec<T>, NamespaceError> {
    let mut found = Vec::new();
    let mut statement = connection.prepare_cached(sql).map_err(QueryError::from)?;
    let mut rows = statement.query(rusqlite::params_from_iter(values)).map_err(QueryError::from)?;
    while let Some(row) = rows.next().map_err(QueryError::from)? {
        found.push(read(&Row::Sqlite(row))?);
    }
    Ok(found)
}

fn bound<'q>(
    sql: Sql,
    values: &'q [Value<'q>],
) -> sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments> {
    // The text is one of this crate's, with another sign for parameters; all that comes from outside is bound.
    let mut query = sqlx::query(sqlx::AssertSqlSafe(sql.for_postgres()));
    for value in values {
        query = match value {
            Value::Integer(number) => query.bind(*number),
            Value::Text(text) => query.bind(*text),
            Value::Flag(flag) => query.bind(*flag),
        };
    }
    query
}
