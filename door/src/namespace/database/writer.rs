//! The thread that makes all changes of an SQLite file, and commits together those that wait.
//!
//! A commit is a sync of the disk, which takes much longer than the changes themselves. So while one runs others gather,
//! and the next commit is for all of them: the more there is to do, the less each costs, and nobody ever waits for
//! company. Each change is a savepoint of its own: one that is refused is undone by itself.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::sqlite::{TURN_TIMEOUT, batch, run};
use super::{NamespaceError, QueryError, Transaction};

/// Changes that wait for their turn; more wait outside.
const QUEUE: usize = 1024;
/// Changes in one commit: it bounds how long the first waits for the last, and what one failing disk fails.
const MOST_TOGETHER: usize = 256;

/// The way to the thread. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: mpsc::Sender<Message>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

enum Message {
    Change(Box<dyn Change>),
    Close,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Message::Change(_) => "Change",
            Message::Close => "Close",
        })
    }
}

impl Writer {
    /// Starts the thread.
    pub fn start(connection: Connection) -> io::Result<Self> {
        let (queue, messages) = mpsc::channel(QUEUE);
        let thread =
            std::thread::Builder::new().name("namespace".into()).spawn(move || work(connection, messages))?;
        Ok(Self { queue, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Makes a change. It is made also when nobody waits for it any more.
    pub async fn change<T: Transaction>(&self, transaction: T) -> Result<T::Done, T::Error> {
        let failed = |error: QueryError| T::Error::from(error.into());
        let (answer, answered) = oneshot::channel();
        let change = Message::Change(Box::new(Waiting { transaction, result: None, answer }));
        tokio::time::timeout(TURN_TIMEOUT, self.queue.send(change))
            .await
            .map_err(|_| failed(QueryError::Busy))?
            .map_err(|_| failed(QueryError::Closed))?;
        answered.await.map_err(|_| failed(QueryError::Closed))?
    }

    /// Makes the changes that wait, then ends the thread.
    pub async fn close(&self) {
        // An error: it has ended before.
        let _ = self.queue.send(Message::Close).await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // An error would be a panic, which has been told of.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

/// A change that waits, whatever comes of it.
trait Change: Send {
    /// Makes it, and keeps what came of it. Returns whether it is to be kept.
    fn run(&mut self, connection: &mut Connection) -> bool;
    /// Tells who waits what came of it, or that it was not committed.
    fn answer(self: Box<Self>, committed: Result<(), QueryError>);
}

struct Waiting<T: Transaction> {
    transaction: T,
    result: Option<Result<T::Done, T::Error>>,
    answer: oneshot::Sender<Result<T::Done, T::Error>>,
}

impl<T: Transaction> Change for Waiting<T> {
    fn run(&mut self, connection: &mut Connection) -> bool {
        let result = run(&self.transaction, connection);
        let kept = result.is_ok();
        self.result = Some(result);
        kept
    }

    fn answer(self: Box<Self>, committed: Result<(), QueryError>) {
        let result = match (self.result, committed) {
            // A refusal is true whether the others were committed or not.
            (Some(Err(refused)), _) => Err(refused),
            (Some(Ok(done)), Ok(())) => Ok(done),
            (Some(Ok(_)), Err(error)) => Err(NamespaceError::from(error).into()),
            // It has panicked.
            (None, _) => Err(NamespaceError::from(QueryError::Closed).into()),
        };
        // Who waited may have gone.
        let _ = self.answer.send(result);
    }
}

fn work(mut connection: Connection, mut messages: mpsc::Receiver<Message>) {
    let mut open = true;
    while open && let Some(first) = messages.blocking_recv() {
        let mut group = Vec::new();
        let mut next = Some(first);
        let mut state = connection.execute_batch("BEGIN IMMEDIATE").map_err(QueryError::from);
        loop {
            match next {
                Some(Message::Change(mut change)) => {
                    if state.is_ok() {
                        state = one(&mut connection, &mut *change);
                    }
                    group.push(change);
                }
                Some(Message::Close) => open = false,
                None => break,
            }
            next = if open && state.is_ok() && group.len() < MOST_TOGETHER {
                messages.try_recv().ok()
            } else {
                None
            };
        }
        let committed = state.and_then(|()| connection.execute_batch("COMMIT").map_err(QueryError::from));
        if !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "the namespace cannot undo a change that failed");
        }
        if let Err(error) = &committed {
            tracing::error!(%error, changes = group.len(), "changes of the namespace were not committed");
        }
        for change in group {
            change.answer(committed.clone());
        }
    }
}

/// Makes one change within the group's transaction. An error is the whole group's.
fn one(connection: &mut Connection, change: &mut dyn Change) -> Result<(), QueryError> {
    batch(connection, "SAVEPOINT change")?;
    // What it leaves behind after a panic is undone below. The panic has been told of.
    let kept = catch_unwind(AssertUnwindSafe(|| change.run(connection))).unwrap_or(false);
    // A full disk, or memory that ends, makes SQLite undo the whole transaction by itself.
    if connection.is_autocommit() {
        return Err(QueryError::Together(Arc::new(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT_ROLLBACK),
            None,
        ))));
    }
    if !kept {
        batch(connection, "ROLLBACK TO change")?;
    }
    Ok(batch(connection, "RELEASE change")?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::sync::Barrier;

    use super::super::session::Session;
    use super::*;

    /// Writes a line, then does what it is told.
    struct Note {
        number: i64,
        sql: Option<&'static str>,
        then: Box<dyn Fn() -> Result<i64, NamespaceError> + Send + Sync>,
    }

    impl Transaction for Note {
        type Done = i64;
        type Error = NamespaceError;

        async fn run(&self, session: &mut Session<'_>) -> Result<i64, NamespaceError> {
            session.execute("INSERT INTO notes (number) VALUES (?1)", &[self.number.into()]).await?;
            if let Some(sql) = self.sql {
                session.execute(sql, &[]).await?;
            }
            (self.then)()
        }
    }

    fn note(number: i64, then: impl Fn() -> Result<i64, NamespaceError> + Send + Sync + 'static) -> Note {
        Note { number, sql: None, then: Box::new(then) }
    }

    struct Book {
        writer: Writer,
        path: PathBuf,
        _directory: tempfile::TempDir,
    }

    fn book() -> Book {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("book.db");
        let connection = Connection::open(&path).unwrap();
        connection.pragma_update(None, "journal_mode", "wal").unwrap();
        connection.execute_batch("CREATE TABLE notes (number INTEGER PRIMARY KEY)").unwrap();
        Book { writer: Writer::start(connection).unwrap(), path, _directory: directory }
    }

    /// What others see.
    fn committed(path: &Path) -> Vec<i64> {
        let connection = Connection::open(path).unwrap();
        let mut statement = connection.prepare("SELECT number FROM notes ORDER BY number").unwrap();
        let numbers = statement.query_map([], |row| row.get(0)).unwrap();
        numbers.collect::<Result<_, _>>().unwrap()
    }

    /// A first change that writes 0, and these, all of which wait before the first goes on.
    async fn together(book: &Book, notes: Vec<Note>) -> Vec<Result<i64, NamespaceError>> {
        let (at_work, gate) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let first = note(0, {
            let (at_work, gate) = (Arc::clone(&at_work), Arc::clone(&gate));
            move || {
                at_work.wait();
                gate.wait();
                Ok(0)
            }
        });
        let start = |note: Note| {
            let writer = book.writer.clone();
            tokio::spawn(async move { writer.change(note).await })
        };
        let first = start(first);
        at_work.wait();
        let tasks: Vec<_> = notes.into_iter().map(start).collect();
        while book.writer.queue.max_capacity() - book.writer.queue.capacity() < tasks.len() {
            tokio::task::yield_now().await;
        }
        gate.wait();
        // It shares the fate of the others.
        let _ = first.await.unwrap();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        results
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn changes_that_wait_are_committed_in_one_transaction() {
        let book = book();
        let path = book.path.clone();
        let mut notes: Vec<_> = (1..20).map(|number| note(number, move || Ok(number))).collect();
        // This one looks from outside: nothing of the group is committed yet.
        notes.push(note(20, move || Ok(committed(&path).len() as i64)));

        let results = together(&book, notes).await;

        assert_eq!(results.into_iter().map(Result::unwrap).collect::<BTreeSet<_>>(), (0..20).collect());
        assert_eq!(committed(&book.path), (0..=20).collect::<Vec<_>>());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_that_is_refused_or_panics_is_undone_by_itself() {
        let book = book();
        let notes = vec![
            note(1, || Ok(1)),
            note(2, || Err(NamespaceError::Corrupt("note"))),
            note(3, || panic!("a panic, as the story has it")),
            note(4, || Ok(4)),
            // Its line is there already.
            note(0, || Ok(5)),
        ];

        let results = together(&book, notes).await;

        assert!(matches!(results[0], Ok(1)));
        assert!(matches!(results[1], Err(NamespaceError::Corrupt("note"))));
        assert!(matches!(results[2], Err(NamespaceError::Query(QueryError::Closed))));
        assert!(matches!(results[3], Ok(4)));
        assert!(matches!(results[4], Err(NamespaceError::Query(QueryError::Sqlite(_)))));
        assert_eq!(committed(&book.path), [0, 1, 4]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn when_the_transaction_breaks_nobody_is_told_that_a_change_was_made() {
        let book = book();
        // As SQLite does it by itself when the disk is full.
        let breaking = Note { sql: Some("ROLLBACK"), ..note(2, || Ok(2)) };

        let results = together(&book, vec![note(1, || Ok(1)), breaking, note(3, || Ok(3))]).await;

        let made = committed(&book.path);
        for (number, result) in [1, 2, 3].into_iter().zip(&results) {
            assert_eq!(result.is_ok(), made.contains(&number), "{number}: {result:?}, {made:?}");
        }
        assert!(matches!(results[1], Err(NamespaceError::Query(QueryError::Together(_)))), "{results:?}");
        assert!(matches!(book.writer.change(note(9, || Ok(9))).await, Ok(9)));
    }

    #[tokio::test]
    async fn after_the_end_changes_are_refused() {
        let book = book();
        assert!(matches!(book.writer.change(note(1, || Ok(1))).await, Ok(1)));
        book.writer.close().await;
        let closed = book.writer.change(note(2, || Ok(2))).await;
        assert!(matches!(closed, Err(NamespaceError::Query(QueryError::Closed))));
    }
}
