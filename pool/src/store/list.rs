//! Listing replicas, page by page, from the index; from the files' names where there is none.

use std::time::UNIX_EPOCH;

use super::attributes::Attributes;
use super::error::StoreError;
use super::id::ReplicaId;
use super::replica::{Identity, ReplicaStat, ReplicaState};
use super::upload::Uploading;
use super::{Store, scan};

/// Replicas in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most as many as were asked for.
    pub replicas: Vec<ReplicaStat>,
    /// Where to go on; `None` after the last page.
    pub next: Option<ReplicaId>,
}

/// Ids of replicas, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdPage {
    /// At most as many as were asked for; there can be fewer, or none, before the last page.
    pub ids: Vec<ReplicaId>,
    /// Where to go on; `None` after the last page.
    pub next: Option<ReplicaId>,
}

impl Store {
    /// Replicas in the order of their ids: the first `limit` after `after`, those included that are being uploaded.
    /// All changes that were acknowledged before are in it; files are not opened. Blocks.
    ///
    /// Replicas without usable attributes are left out (they are in the report of the start).
    pub fn list(&self, after: Option<&ReplicaId>, limit: usize) -> Result<Page, StoreError> {
        if limit == 0 {
            return Ok(Page { replicas: Vec::new(), next: None });
        }
        let mut page = match self.list_index(after, limit) {
            Some(page) => page,
            None => self.list_files(after, limit)?,
        };
        self.add_uploads(after, limit, &mut page);
        Ok(page)
    }

    /// `None` where there is no index.
    fn list_index(&self, after: Option<&ReplicaId>, limit: usize) -> Option<Page> {
        let found = self.inner.index.records(after, limit)?;
        let mut replicas = Vec::with_capacity(found.records.len());
        for (id, record, removing) in found.records {
            // A line that the index took once can be read again.
            let mut stat = record.stat(id).ok()?;
            if removing {
                stat.attributes.state = ReplicaState::Removing;
            }
            replicas.push(stat);
        }
        Some(Page { replicas, next: found.next })
    }

    fn list_files(&self, after: Option<&ReplicaId>, limit: usize) -> Result<Page, StoreError> {
        let chosen = scan::first_ids(&*self.inner.disk, &self.inner.layout, after, limit)?;
        let next = if chosen.len() == limit { chosen.last().cloned() } else { None };
        let mut replicas = Vec::with_capacity(chosen.len());
        for id in &chosen {
            match self.stat(id) {
                Ok(stat) => replicas.push(stat),
                Err(StoreError::NotFound { .. } | StoreError::Attributes { .. }) => {}
                Err(StoreError::WrongLength { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Page { replicas, next })
    }

    /// Puts uploads that run into their places.
    fn add_uploads(&self, after: Option<&ReplicaId>, limit: usize, page: &mut Page) {
        let claims = self.inner.claims();
        let within = |id: &ReplicaId| {
            after.is_none_or(|after| id > after) && page.next.as_ref().is_none_or(|next| id <= next)
        };
        let mut uploads: Vec<ReplicaStat> = claims
            .iter()
            .filter(|(id, _)| within(id))
            .filter(|(id, _)| page.replicas.binary_search_by(|stat| stat.id.cmp(id)).is_err())
            .map(|(id, uploading)| uploading_stat(id, uploading))
            .collect();
        drop(claims);
        if uploads.is_empty() {
            return;
        }
        page.replicas.append(&mut uploads);
        page.replicas.sort_by(|one, other| one.id.cmp(&other.id));
        if page.replicas.len() > limit {
            page.replicas.truncate(limit);
            page.next = page.replicas.last().map(|last| last.id.clone());
        }
    }

    /// Replicas whose blocks have no checksums, in the order of their ids: at most `limit` after `after`. The scrub
    /// computes them first. Blocks.
    pub fn without_blocks(&self, after: Option<&ReplicaId>, limit: usize) -> IdPage {
        let found = self.inner.index.without_blocks(after, limit);
        // Without an index there is no place for them either.
        found.map_or_else(IdPage::default, |(ids, next)| IdPage { ids, next })
    }
}

/// What can be told of an upload that runs.
fn uploading_stat(id: &ReplicaId, uploading: &Uploading) -> ReplicaStat {
    let spec = &uploading.spec;
    let size = spec.size.unwrap_or(0);
    ReplicaStat {
        id: id.clone(),
        size,
        allocated: 0,
        identity: Identity { inode: 0, size, modified_at: UNIX_EPOCH },
        attributes: Attributes {
            size,
            state: ReplicaState::Uploading,
            transfer: spec.transfer.clone(),
            path: spec.path.clone(),
            class: spec.class.clone(),
            created_at: uploading.since,
            verified_at: None,
            broken_because: None,
            suspect_because: None,
            checksums: Default::default(),
            unknown: Default::default(),
        },
    }
}
