//! COPY from name to name at this door (RFC 4918 §9.8): the pool that holds a file makes a second replica of it. No
//! byte passes the door, or the network.
//!
//! A directory is copied name by name; what fails is told, and the rest goes on.

use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream;
use hyper::{HeaderMap, StatusCode};

use super::super::answer::{Answer, Refusal, bare, full};
use super::super::depth::Depth;
use super::super::destination::{self, Destination, Reference};
use super::super::exchange::Exchange;
use super::super::multistatus::{self, write_status};
use super::super::precondition::{self, Verdict};
use super::super::{condition, delete, digest, head, locked, propfind, rename};
use super::headers::single;
use crate::auth::Operation;
use crate::auth::keys::random_id;
use crate::namespace::upload::Expectation;
use crate::namespace::{ChangeError, Entry, Kind, Lookup, NsPath, Shown, Touch};
use crate::transfers::copy::{CopyError, LocalCopyRequest};
use crate::transfers::{TransferError, UploadRequest};

/// Files of one request that are copied at once.
const AT_ONCE: usize = 4;
/// Entries of a directory that are read at a time.
const PAGE: u32 = 500;
/// Failures that are told; the rest is only counted.
const MAX_TOLD: usize = 100;

/// Headers that only clients of third-party copies send; hyper has names in lower case.
const TRANSFER_HEADERS: [&str; 6] = [
    "clientinfo",
    "copy-flags",
    "credential",
    "requirechecksumverification",
    "secure-redirection",
    "x-number-of-streams",
];

/// Where a COPY leads if it is one from name to name; `None` for a third-party copy.
pub fn destination(exchange: &Exchange) -> Result<Option<Destination>, Refusal> {
    if single(exchange.headers(), "source")?.is_some() {
        return Ok(None);
    }
    let Some(url) = single(exchange.headers(), "destination")? else { return Ok(None) };
    match destination::read(exchange, url, "Destination") {
        Ok(Reference::Here(view_path)) => Destination::at(exchange, view_path).map(Some),
        Err(refusal) if url.contains('#') => Err(refusal),
        // What is wrong with it is said with the third-party copy that it would be.
        Ok(Reference::Elsewhere) | Err(_) => Ok(None),
    }
}

/// Answers it.
pub async fn handle(exchange: &mut Exchange, destination: Destination) -> Result<Answer, Refusal> {
    exchange.allow(Operation::Download)?;
    exchange.allow_at(Operation::Upload, &destination.path)?;
    if exchange.has_body() {
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a COPY with a body is not known"));
    }
    let depth = Depth::all_or_nothing(exchange.headers(), "COPY")?;
    let entry = exchange.existing().await?;
    if entry.is_directory() {
        exchange.allow(Operation::List)?;
    }
    let (verdict, _) = precondition::for_write(exchange.headers(), Some(&entry));
    if verdict != Verdict::Proceed {
        return Err(head::refuse(verdict));
    }
    let shown = condition::check(exchange).await?.shown;
    let (from, to) = (&exchange.path, &destination.path);
    if from == to || from.is_within(to) || (entry.is_directory() && to.is_within(from)) {
        return Err(delete::refuse(exchange, ChangeError::IntoItself));
    }
    // Before anything is removed for it.
    let place = exchange.service.transfers.place_for_copy()?;
    if let Kind::File(file) = &entry.kind {
        exchange.service.transfers.pools().for_download(&file.pool).map_err(TransferError::from)?;
    }
    let existing = existing(exchange, &destination).await?;
    let touches = [Touch::Tree(to), Touch::Name(to)];
    let touches = if existing.is_some() { &touches[..1] } else { &touches[..] };
    let locks = exchange.service.namespace.obstacles(touches, &shown).await?;
    if !locks.is_empty() {
        return Err(locked::refuse(exchange, &locks));
    }
    exchange.note_under_way(true);
    // Data is put in the place of data at once; whatever else is there goes first.
    if let Some(existing) = &existing
        && (entry.is_directory() || existing.is_directory())
    {
        exchange.allow_at(Operation::Delete, to)?;
        let deleted = exchange.service.namespace.delete(to, existing, &shown).await;
        deleted.map_err(|error| delete::refuse(exchange, error))?;
        exchange.note_change();
        exchange.service.transfers.replica_owed();
    }
    if !entry.is_directory() && wants_markers(exchange.headers()) {
        let request = Copying::request(exchange, &destination, &shown, &entry, &destination.view_path, to)?;
        exchange.note_transfer(&request.transfer);
        exchange.note_change();
        let copy = exchange.service.transfers.begin_copy_here(request, place);
        return Ok(super::answer(exchange, copy));
    }
    let copying = Copying { exchange, destination: &destination, shown: &shown, failures: Mutex::default() };
    match &entry.kind {
        Kind::File(_) => copying.file(&entry, from, &destination.view_path, to).await?,
        Kind::Directory => copying.tree(&entry, depth).await?,
    }
    drop(place);
    let failures = copying.failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !failures.xml.is_empty() {
        tracing::info!(failures = failures.count, "a copy of a directory is not complete");
        let xml = format!("{}{}{}", multistatus::HEAD, failures.xml, multistatus::TAIL);
        return Ok(propfind::xml_answer(full(xml)));
    }
    let mut answer = bare(if existing.is_some() { StatusCode::NO_CONTENT } else { StatusCode::CREATED });
    if !entry.is_directory() {
        describe(exchange, to, answer.headers_mut()).await?;
    }
    Ok(answer)
}

/// Tells of the new file what was asked for.
async fn describe(exchange: &Exchange, to: &NsPath, headers: &mut HeaderMap) -> Result<(), Refusal> {
    if let Lookup::Found(entry) = exchange.service.namespace.lookup(to).await?
        && let Some(file) = entry.file()
        && exchange.may(Operation::ReadMetadata, to)
    {
        head::describe(&entry, file, headers);
        digest::answer(exchange.headers(), &file.checksums, headers);
    }
    Ok(())
}

/// Whether a client takes the copy for a third-party one, as davix and FTS take every COPY: it waits for markers and a
/// last line, and a plain 201 would be no end to it.
fn wants_markers(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        TRANSFER_HEADERS.contains(&name) || name.starts_with("transferheader")
    })
}

/// What is at the destination now; refuses what cannot be replaced.
async fn existing(exchange: &Exchange, destination: &Destination) -> Result<Option<Entry>, Refusal> {
    let conflict = |text: &str| Refusal::new(StatusCode::CONFLICT, text);
    match exchange.service.namespace.lookup(&destination.path).await? {
        Lookup::Found(_) if !destination.overwrite => Err(rename::exists()),
        Lookup::Found(entry) => {
            exchange.allow_at(Operation::Overwrite, &destination.path)?;
            Ok(Some(entry))
        }
        Lookup::Missing => Ok(None),
        Lookup::NoParent if exchange.service.transfers.create_parents() => Ok(None),
        Lookup::NoParent => Err(conflict("the parent directory of the Destination does not exist")),
        Lookup::NotADirectory => {
            Err(conflict("a component above the Destination is a file, not a directory"))
        }
    }
}

/// A copy under way.
struct Copying<'a> {
    exchange: &'a Exchange,
    destination: &'a Destination,
    shown: &'a Shown,
    failures: Mutex<Failures>,
}

/// What could not be copied of a directory.
#[derive(Default)]
struct Failures {
    xml: String,
    count: usize,
}

/// One name to be copied.
struct Errand {
    entry: Entry,
    from: NsPath,
    view_to: NsPath,
    to: NsPath,
}

impl Copying<'_> {
    async fn file(&self, entry: &Entry, from: &NsPath, view_to: &NsPath, to: &NsPath) -> Result<(), Refusal> {
        match self.replica(entry, view_to, to).await {
            Err(CopyError::Start(error)) if error.replica_is_gone() => {
                // Replaced or deleted between the look at the name and the pool's look at the disk: once more.
                let again = match self.exchange.service.namespace.lookup(from).await? {
                    Lookup::Found(again) if again.file().is_some() && !again.is_same(entry) => again,
                    Lookup::Found(_) => return Err(error.into()),
                    Lookup::Missing | Lookup::NoParent | Lookup::NotADirectory => {
                        return Err(Refusal::not_found());
                    }
                };
                self.replica(&again, view_to, to).await.map_err(Refusal::from)
            }
            result => result.map_err(Refusal::from),
        }
    }

    async fn replica(&self, entry: &Entry, view_to: &NsPath, to: &NsPath) -> Result<(), CopyError> {
        let request = Self::request(self.exchange, self.destination, self.shown, entry, view_to, to)?;
        if *to == self.destination.path {
            self.exchange.note_transfer(&request.transfer);
        }
        self.exchange.service.transfers.copy_here(request).await
    }

    /// What a pool is asked for. There is nothing to ask it for of a directory.
    fn request(
        exchange: &Exchange,
        destination: &Destination,
        shown: &Shown,
        entry: &Entry,
        view_to: &NsPath,
        to: &NsPath,
    ) -> Result<LocalCopyRequest, CopyError> {
        let file = entry.file().ok_or(CopyError::NotFound)?;
        let maximum_bytes = exchange.access.max_upload();
        if let Some(maximum) = maximum_bytes.filter(|maximum| file.size > *maximum) {
            return Err(CopyError::TooLarge { maximum });
        }
        let upload = UploadRequest {
            // No packet carries it.
            marking: None,
            client: exchange.client(),
            view_path: view_to.clone(),
            path: to.clone(),
            size_bytes: Some(file.size),
            maximum_bytes,
            wanted: digest::wanted(exchange.headers()),
            expects: if destination.overwrite { Expectation::Anything } else { Expectation::Absent },
            may_overwrite: exchange.may(Operation::Overwrite, to),
            replaces: false,
            shown: shown.clone(),
            copy_of: Some(entry.id),
        };
        let transfer = random_id().map_err(TransferError::Random)?;
        Ok(LocalCopyRequest { transfer, upload, source: file.clone() })
    }

    /// A directory, and with all depth what is below.
    async fn tree(&self, entry: &Entry, depth: Depth) -> Result<(), Refusal> {
        let root = Errand {
            entry: entry.clone(),
            from: self.exchange.path.clone(),
            view_to: self.destination.view_path.clone(),
            to: self.destination.path.clone(),
        };
        self.directory(&root).await?;
        let mut waiting = if depth == Depth::Infinity { vec![root] } else { Vec::new() };
        while let Some(directory) = waiting.pop() {
            let mut after: Option<String> = None;
            loop {
                let namespace = &self.exchange.service.namespace;
                let page = namespace.list_page(directory.entry.id, after.as_deref(), PAGE).await?;
                let Some(last) = page.last() else { break };
                after = Some(last.name.clone());
                let made = stream::iter(page)
                    .map(|entry| self.child(&directory, entry))
                    .buffer_unordered(AT_ONCE)
                    .collect::<Vec<_>>()
                    .await;
                waiting.extend(made.into_iter().flatten());
            }
        }
        Ok(())
    }

    /// Copies one entry of a directory; gives it back if it is a directory whose entries are to be copied next.
    async fn child(&self, directory: &Errand, entry: Entry) -> Option<Errand> {
        let name = entry.name.clone();
        let paths = directory
            .from
            .child(&name)
            .and_then(|from| Ok((from, directory.view_to.child(&name)?, directory.to.child(&name)?)));
        let (from, view_to, to) = match paths {
            Ok(paths) => paths,
            Err(error) => {
                self.failed(&directory.view_to, &error.into());
                return None;
            }
        };
        let errand = Errand { entry, from, view_to, to };
        let made = match errand.entry.kind {
            Kind::Directory => self.directory(&errand).await,
            Kind::File(_) => self.file(&errand.entry, &errand.from, &errand.view_to, &errand.to).await,
        };
        match made {
            Ok(()) => errand.entry.is_directory().then_some(errand),
            Err(refusal) => {
                self.failed(&errand.view_to, &refusal);
                None
            }
        }
    }

    async fn directory(&self, errand: &Errand) -> Result<(), Refusal> {
        let namespace = &self.exchange.service.namespace;
        let create_parents = self.exchange.service.transfers.create_parents();
        let copied = namespace.copy_directory(errand.entry.id, &errand.to, create_parents, self.shown).await;
        copied.map_err(|error| delete::refuse(self.exchange, error))
    }

    fn failed(&self, view_to: &NsPath, refusal: &Refusal) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.count += 1;
        if failures.count <= MAX_TOLD {
            let status = refusal.status();
            let status = format!("{} {}", status.as_str(), status.canonical_reason().unwrap_or("Error"));
            write_status(&mut failures.xml, &view_to.to_url(), &status, refusal.text());
        }
    }
}
