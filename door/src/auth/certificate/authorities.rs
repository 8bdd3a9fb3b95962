//! The authorities that a site trusts: a directory as grids have it, or a file of their certificates. Read at the start
//! and when it has changed, never for a client.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use penstock_service::watch::{Look, Watched};
use penstock_trust::CertificateError as FileError;
use penstock_trust::certificate::read_chain;
use penstock_trust::directory::{self, Kind};
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use super::error::CertificateError;
use super::facts::Certificate;
use super::name::Name;
use super::namespace::{Namespaces, PolicyError};
use super::revocation::RevocationList;
use super::voms::servers::{self, Servers};
use super::{namespaces, path, signing_policy};
use crate::auth::identity::Identity;

/// Largest policy file that is read, in bytes.
const MAX_POLICY_BYTES: u64 = 1 << 20;

/// The authorities of the site.
pub struct Authorities {
    place: PathBuf,
    voms: Option<PathBuf>,
    host: Option<String>,
    watched: Watched<Trust>,
    changes: watch::Sender<u64>,
}

/// How much was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stock {
    /// Certificates of authorities.
    pub authorities: usize,
    /// Revocation lists.
    pub revocation_lists: usize,
    /// Authorities whose names are limited.
    pub namespaces: usize,
    /// Servers of VOs that sign groups and roles.
    pub voms_servers: usize,
    /// Files that were passed over, with the reason: what is wrong with one authority must not cut off the others.
    pub passed_over: Vec<String>,
}

/// What was read at one time.
#[derive(Debug, Default)]
pub struct Trust {
    anchors: HashMap<Name, Vec<Anchor>>,
    /// Which names each may certify.
    pub namespaces: Namespaces,
    servers: Option<Servers>,
    stock: Stock,
}

/// One authority.
#[derive(Debug)]
pub struct Anchor {
    /// Its certificate.
    pub certificate: Certificate,
    /// Its newest list.
    pub list: Option<RevocationList>,
}

impl std::fmt::Debug for Authorities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorities").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Authorities {
    /// Reads them, and from the directory `voms` which servers may speak for which VO: without it, for none. Blocks.
    pub fn load(place: &Path, voms: Option<&Path>) -> Result<Self, FileError> {
        let watched = Watched::new(look(place, voms), || Trust::read(place, voms))?;
        let voms = voms.map(Path::to_owned);
        Ok(Self { place: place.to_owned(), voms, host: None, watched, changes: watch::Sender::new(0) })
    }

    /// Tells what the door is called: attributes that are meant for certain hosts count only where that is one of them.
    #[must_use]
    pub fn called(mut self, host: Option<&str>) -> Self {
        self.host = host.map(str::to_ascii_lowercase);
        self
    }

    /// Reads them again if something has changed, or anyway when `force` is set; an error leaves in use what was read
    /// before, and is told once. True when there is something new. Blocks.
    pub fn reload(&self, force: bool) -> Result<bool, FileError> {
        let (place, voms) = (&self.place, self.voms.as_deref());
        let is_new = self.watched.reload(force, look(place, voms), || Trust::read(place, voms))?;
        if is_new {
            self.changes.send_modify(|generation| *generation += 1);
        }
        Ok(is_new)
    }

    /// Where they are.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// How much was read.
    pub fn stock(&self) -> Stock {
        self.watched.current().stock.clone()
    }

    /// Changes when they were read again: who was believed before may not be now.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whose a chain of certificates is, as a client has shown it: its own first, the others in any order.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<Identity, CertificateError> {
        path::verify(&self.watched.current(), self.host.as_deref(), chain, now)
    }
}

fn look(place: &Path, voms: Option<&Path>) -> Look {
    let of_vos = voms.map(servers::directories).unwrap_or_default();
    Look::at([place].into_iter().chain(voms).chain(of_vos.iter().map(PathBuf::as_path)))
}

impl Trust {
    /// The authorities of that name: more than one when one has got a new key.
    pub fn named(&self, name: &Name) -> &[Anchor] {
        self.anchors.get(name).map_or(&[], Vec::as_slice)
    }

    /// Which servers may speak for which VO; `None` where the site does without.
    pub fn servers(&self) -> Option<&Servers> {
        self.servers.as_ref()
    }

    fn read(place: &Path, voms: Option<&Path>) -> Result<Self, FileError> {
        let mut trust = Self::default();
        let is_directory = std::fs::metadata(place).map_err(|error| FileError::read(place, error))?.is_dir();
        if is_directory {
            trust.read_directory(place)?;
        } else {
            drop(trust.add_authorities(place)?);
        }
        trust.stock.authorities = trust.anchors.values().map(Vec::len).sum();
        trust.stock.namespaces = trust.namespaces.len();
        if trust.anchors.is_empty() {
            return Err(FileError::Nothing { path: place.to_owned(), what: "certificate of an authority" });
        }
        if let Some(voms) = voms {
            let servers = Servers::read(voms, &mut trust.stock.passed_over)?;
            trust.stock.voms_servers = servers.count();
            trust.servers = Some(servers);
        }
        Ok(trust)
    }

    fn read_directory(&mut self, place: &Path) -> Result<(), FileError> {
        // Files of one authority differ in their ends only.
        let mut names: HashMap<OsString, Vec<String>> = HashMap::new();
        let (mut lists, mut policies) = (Vec::new(), Vec::new());
        directory::each_file(place, |kind, path| match kind {
            Kind::Authority => match self.add_authorities(path) {
                Ok(found) => {
                    let stem = path.file_stem().unwrap_or_default().to_owned();
                    names.entry(stem).or_default().extend(found);
                }
                Err(error) => self.stock.passed_over.push(error.to_string()),
            },
            Kind::RevocationList => lists.push(path.to_owned()),
            Kind::SigningPolicy | Kind::Namespaces => policies.push((kind, path.to_owned())),
        })?;
        for path in lists {
            if let Err(problem) = self.add_lists(&path) {
                self.stock.passed_over.push(problem);
            }
        }
        for (kind, path) in policies {
            let own = path.file_stem().and_then(|stem| names.get(stem)).map_or(&[][..], Vec::as_slice);
            if let Err(problem) = self.add_policy(kind, &path, own) {
                self.stock.passed_over.push(problem);
            }
        }
        Ok(())
    }

    /// Adds what is in a file, and returns whose certificates that are.
    fn add_authorities(&mut self, path: &Path) -> Result<Vec<String>, FileError> {
        let mut names = Vec::new();
        for der in read_chain(path)? {
            match Certificate::parse(&der) {
                Ok(certificate) => {
                    names.push(certificate.subject.to_string());
                    let known = self.anchors.entry(certificate.subject.clone()).or_default();
                    // Directories have each twice: by its hash and by its alias.
                    if known.iter().all(|anchor| anchor.certificate.der != certificate.der) {
                        known.push(Anchor { certificate, list: None });
                    }
                }
                Err(problem) => self.stock.passed_over.push(format!("{}: {problem}", path.display())),
            }
        }
        Ok(names)
    }

    fn add_lists(&mut self, path: &Path) -> Result<(), String> {
        for der in directory::read_revocation_lists(path).map_err(|error| error.to_string())? {
            let at = |problem: &str| format!("{}: {problem}", path.display());
            let list = RevocationList::parse(&der).map_err(at)?;
            let Some(anchors) = self.anchors.get_mut(&list.issuer) else {
                return Err(at(&format!("{} is not among the authorities", list.issuer)));
            };
            let mut problem = None;
            let mut is_somebodys = false;
            for anchor in anchors {
                if let Err(found) = list.check_signature(&anchor.certificate) {
                    problem.get_or_insert(found);
                    continue;
                }
                is_somebodys = true;
                // Directories have each twice here, too.
                if anchor.list.as_ref().is_none_or(|known| known.this_update < list.this_update) {
                    self.stock.revocation_lists += usize::from(anchor.list.is_none());
                    anchor.list = Some(list.clone().checked());
                }
            }
            if let (false, Some(problem)) = (is_somebodys, problem) {
                return Err(at(&problem));
            }
        }
        Ok(())
    }

    fn add_policy(&mut self, kind: Kind, path: &Path, own: &[String]) -> Result<(), String> {
        let at = |problem: String| format!("{}: {problem}", path.display());
        let read = std::fs::metadata(path)
            .and_then(|facts| match facts.len() {
                ..=MAX_POLICY_BYTES => std::fs::read(path),
                _ => Err(std::io::Error::other(format!("it is larger than {MAX_POLICY_BYTES} bytes"))),
            })
            // Comments are in any encoding.
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let unreadable = PolicyError { line: 0, problem: "the file cannot be read" };
        let text = read.as_ref().map_err(|_| unreadable);
        let problem = if kind == Kind::Namespaces {
            let parsed = text.and_then(|text| namespaces::parse(text));
            let problem = parsed.as_ref().err().copied();
            self.namespaces.add_namespaces(own, parsed);
            problem
        } else {
            let parsed = text.and_then(|text| signing_policy::parse(text));
            let problem = parsed.as_ref().err().copied();
            self.namespaces.add_signing_policy(own, parsed);
            problem
        };
        match (read, problem) {
            (Err(error), _) => Err(at(error.to_string())),
            (Ok(_), Some(problem)) => Err(at(problem.to_string())),
            (Ok(_), None) => Ok(()),
        }
    }
}
