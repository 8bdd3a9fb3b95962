//! Names for replicas that no upload brought through a door.

use jiff::Timestamp;

use super::database::reach::Reach;
use super::database::session::Session;
use super::database::{Namespace, NamespaceError, Transaction};
use super::lock::Shown;
use super::path::NsPath;
use super::upload::{CommitRules, Expectation, FinishedUpload, PendingUpload, is_known, name};

/// A replica that lies in a pool and wants a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foundling {
    /// Its id.
    pub replica: String,
    /// The pool's name.
    pub pool: String,
    /// The name it wants.
    pub path: NsPath,
    /// What the pool tells of it.
    pub file: FinishedUpload,
}

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adopted {
    /// It has its name.
    Named,
    /// It had one before, or has lost it since and is about to be deleted.
    Known,
    /// It gets none: why, in one line.
    Refused(String),
}

impl Namespace {
    /// Gives names to replicas, with the directories above them, all in one transaction. Nothing is replaced. Doing it
    /// again changes nothing.
    pub async fn adopt(&self, foundlings: &[Foundling]) -> Result<Vec<Adopted>, NamespaceError> {
        self.change(Adopt { foundlings: foundlings.to_vec() }).await
    }
}

struct Adopt {
    foundlings: Vec<Foundling>,
}

impl Transaction for Adopt {
    type Done = Vec<Adopted>;
    type Error = NamespaceError;

    /// So many names at once would collide with somebody else's too often.
    fn reach(&self) -> Reach {
        Reach::Tree
    }

    async fn run(&self, session: &mut Session<'_>) -> Result<Vec<Adopted>, NamespaceError> {
        const RULES: CommitRules = CommitRules { create_parents: true, late: false };
        let mut adopted = Vec::with_capacity(self.foundlings.len());
        for foundling in &self.foundlings {
            if is_known(session, &foundling.replica).await? {
                adopted.push(Adopted::Known);
                continue;
            }
            let upload = PendingUpload {
                transfer: String::new(),
                replica: foundling.replica.clone(),
                pool: foundling.pool.clone(),
                path: foundling.path.clone(),
                expects: Expectation::Absent,
                may_overwrite: false,
                shown: Shown::default(),
                copy_of: None,
                started_at: Timestamp::now(),
                refused: None,
            };
            adopted.push(match name(session, &upload, &foundling.file, RULES).await? {
                Ok(()) => Adopted::Named,
                Err(refused) => Adopted::Refused(refused.reason),
            });
        }
        Ok(adopted)
    }
}
