//! A directory as it is written for a client: page by page while it is read, so that a listing of any length takes
//! little memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::answer::BodySender;
use super::exchange::Exchange;
use super::multistatus::{Circumstances, Told};
use super::service::Service;
use crate::auth::{Decision, Operation, decide};
use crate::namespace::{Beside, DeadProperty, Entry, Lock, NamespaceError, NsPath, Touch};

/// Entries that are read and written at a time.
pub const PAGE: u32 = 500;

/// A directory to be written.
pub struct Listing {
    /// The door.
    pub service: Arc<Service>,
    /// The directory's id.
    pub directory: i64,
    /// What the client calls it.
    pub view_path: NsPath,
    /// What it is.
    pub path: NsPath,
    /// Who asks: what it may not see is left out.
    pub circumstances: Circumstances,
    /// What is looked up.
    pub lookups: Beside,
}

/// What was looked up of the entries of one page.
#[derive(Default)]
struct Found {
    dead: BTreeMap<i64, Vec<DeadProperty>>,
    locks: Vec<Lock>,
}

impl Listing {
    /// Of the directory that a request is for.
    pub fn of(exchange: &Exchange, directory: &Entry, circumstances: Circumstances, lookups: Beside) -> Self {
        Self {
            service: Arc::clone(&exchange.service),
            directory: directory.id,
            view_path: exchange.view_path.clone(),
            path: exchange.path.clone(),
            circumstances,
            lookups,
        }
    }

    /// Sends every entry, written by `write`, in pages. Ends early when the client has gone; after an error the body
    /// is cut off, so that it cannot be taken for whole.
    pub async fn stream(&self, sender: &BodySender, write: impl FnMut(&mut String, &Told<'_>)) {
        if let Err(error) = self.send(sender, write).await {
            tracing::error!(%error, "a listing was cut off");
            let _ = sender.send(Err(error.into())).await;
        }
    }

    async fn send(
        &self,
        sender: &BodySender,
        mut write: impl FnMut(&mut String, &Told<'_>),
    ) -> Result<(), NamespaceError> {
        let namespace = &self.service.namespace;
        let inherited = match self.lookups.locks {
            true => namespace.locks(&[Touch::Entry(&self.path)]).await?,
            false => Vec::new(),
        };
        let inherited: Vec<Lock> = inherited.into_iter().filter(|lock| lock.deep).collect();
        let mut after: Option<String> = None;
        loop {
            let page = namespace.list_page(self.directory, after.as_deref(), PAGE).await?;
            let found = self.look_up(&page).await?;
            let mut text = String::new();
            for entry in &page {
                // A name that makes the path too long for a request cannot be asked for either.
                let (Ok(view_path), Ok(path)) =
                    (self.view_path.child(&entry.name), self.path.child(&entry.name))
                else {
                    continue;
                };
                let access = &self.circumstances.access;
                if decide(access, Operation::ReadMetadata, &path) != Decision::Allow {
                    continue;
                }
                let own = found.locks.iter().filter(|lock| lock.path == path);
                let locks: Vec<Lock> = inherited.iter().chain(own).cloned().collect();
                let told = Told {
                    view_path: &view_path,
                    path: &path,
                    entry,
                    dead: found.dead.get(&entry.id).map_or(&[], Vec::as_slice),
                    locks: &locks,
                    circumstances: &self.circumstances,
                };
                write(&mut text, &told);
            }
            if !text.is_empty() && sender.send(Ok(Bytes::from(text))).await.is_err() {
                return Ok(());
            }
            let is_full = page.len() == PAGE as usize;
            match page.into_iter().next_back() {
                Some(last) if is_full => after = Some(last.name),
                _ => return Ok(()),
            }
        }
    }

    async fn look_up(&self, page: &[Entry]) -> Result<Found, NamespaceError> {
        let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(Found::default()) };
        let namespace = &self.service.namespace;
        let mut found = Found::default();
        if self.lookups.dead {
            found.dead = namespace.properties_of_page(self.directory, &first.name, &last.name).await?;
        }
        if self.lookups.locks {
            found.locks = namespace.locks_of_page(&self.path, &first.name, &last.name).await?;
        }
        Ok(found)
    }
}
