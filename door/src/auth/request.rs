//! A macaroon that somebody asks for: never with more than they may themselves, never for longer than they are let in.
//!
//! Who shows a macaroon gets the same one, narrowed. Who is known otherwise gets a new one, limited to a path at and below
//! which all that it says is theirs.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::activity::{Activities, Activity};
use super::caveat::{self, CaveatError, Grant};
use super::decision::{Access, OPERATIONS, Operation, activities_allow};
use super::keys::{KeyRing, random_id};
use super::known::Known;
use super::macaroon::{MAX_CAVEATS, MAX_TOKEN_BYTES, Macaroon, MacaroonError};
use crate::namespace::NsPath;

/// Caveats that one request may ask for.
pub const MAX_WISHES: usize = 64;
/// Whom macaroons speak for that have no account: "nobody". The name says who it is.
const NOBODY: u32 = 65_534;
/// Longest name in a macaroon, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// How long macaroons live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Without a wish.
    pub usual: Duration,
    /// At most.
    pub longest: Duration,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wish {
    /// Restrictions, as caveats.
    pub caveats: Vec<String>,
    /// How long it is to live.
    pub validity: Option<Duration>,
}

/// A macaroon that was made.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The token itself.
    pub macaroon: String,
    /// The id of its issue, for the record.
    pub issue_id: String,
    /// How long it lives.
    pub lifetime: Duration,
}

/// Why no macaroon is made.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// 401.
    #[error("a macaroon is given to those who show who they are")]
    Anonymous,
    /// 403.
    #[error("you have no rights at this path that a macaroon could carry: ask at a path that is yours")]
    NoRights,
    /// 400.
    #[error("the request has more than {MAX_WISHES} caveats")]
    TooMany,
    /// 400.
    #[error("a caveat of the request is not accepted: {0}")]
    Caveat(CaveatError),
    /// 400.
    #[error("the macaroon would be too long to be used: ask for fewer caveats")]
    TooLong,
    /// 500.
    #[error("the system gives no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// 500.
    #[error("the macaroon cannot be written: {0}")]
    Macaroon(#[from] MacaroonError),
}

/// Makes a macaroon for a path, as its holder will see it.
pub fn issue(
    keys: &KeyRing,
    location: &str,
    access: &Access,
    view_path: &NsPath,
    wish: &Wish,
    lifetimes: Lifetimes,
    now: Timestamp,
) -> Result<Issued, RequestError> {
    if wish.caveats.len() > MAX_WISHES {
        return Err(RequestError::TooMany);
    }
    for caveat in &wish.caveats {
        check(caveat, now).map_err(RequestError::Caveat)?;
    }
    let (macaroon, issue_id, own_end) = match access {
        Access::Anonymous(_) => return Err(RequestError::Anonymous),
        Access::Token(grant) => (narrowed(grant, view_path)?, grant.issue_id.clone(), grant.expires_at),
        Access::Known(known) => {
            let issue_id = random_id()?;
            let macaroon = fresh(keys, location, known, view_path, &issue_id)?;
            (macaroon, issue_id, known.identity.expires_at)
        }
    };
    let wished = wish.validity.unwrap_or(lifetimes.usual).min(lifetimes.longest);
    let wished = SignedDuration::try_from(wished).unwrap_or(SignedDuration::MAX);
    let end = now.checked_add(wished).unwrap_or(Timestamp::MAX);
    let end = own_end.map_or(end, |own| own.min(end));
    let mut macaroon = macaroon.with_caveat(&format!("before:{end}"));
    for caveat in &wish.caveats {
        macaroon = macaroon.with_caveat(caveat);
    }
    let too_long = macaroon.caveats().count() > MAX_CAVEATS;
    let macaroon = macaroon.encode()?;
    if too_long || macaroon.len() > MAX_TOKEN_BYTES {
        return Err(RequestError::TooLong);
    }
    let lifetime = Duration::try_from(end.duration_since(now)).unwrap_or_default();
    Ok(Issued { macaroon, issue_id, lifetime })
}

/// Whether a caveat says something to this door. That it keeps out who asks for it is their own affair.
fn check(caveat: &str, now: Timestamp) -> Result<(), CaveatError> {
    let base: [&[u8]; 2] = [b"iid:check", b"id:0;0;check"];
    let all = base.into_iter().chain([caveat.as_bytes()]);
    match caveat::evaluate(all, std::net::Ipv4Addr::UNSPECIFIED.into(), now) {
        Ok(_) | Err(CaveatError::Address) => Ok(()),
        Err(error) => Err(error),
    }
}

fn narrowed(grant: &Grant, view_path: &NsPath) -> Result<Macaroon, RequestError> {
    let macaroon = grant.macaroon.clone().ok_or(RequestError::NoRights)?;
    match view_path.below(&grant.below_root) {
        Some(further) if further.is_root() => Ok(macaroon),
        Some(further) => Ok(macaroon.with_caveat(&format!("path:{further}"))),
        // Above what it is limited to: it stays as narrow as it is.
        None if grant.below_root.is_within(view_path) => Ok(macaroon),
        None => Err(RequestError::NoRights),
    }
}

fn fresh(
    keys: &KeyRing,
    location: &str,
    known: &Known,
    path: &NsPath,
    issue_id: &str,
) -> Result<Macaroon, RequestError> {
    let activities = activities_of(known, path).ok_or(RequestError::NoRights)?;
    let (name, key) = keys.signing();
    let who = beginning(&known.identity.name, MAX_NAME_BYTES);
    let mut macaroon = Macaroon::mint(location, name, key)
        .with_caveat(&format!("iid:{issue_id}"))
        .with_caveat(&format!("id:{NOBODY};{NOBODY};{who}"));
    if !path.is_root() {
        macaroon = macaroon.with_caveat(&format!("path:{path}"));
    }
    Ok(macaroon.with_caveat(&format!("activity:{}", activities.words())))
}

/// The activities whose every operation somebody may do at a path and below. `None`: none at all.
fn activities_of(known: &Known, path: &NsPath) -> Option<Activities> {
    let covered = |set: Activities| {
        let mut asked = OPERATIONS.into_iter().filter(|operation| activities_allow(set, *operation));
        asked.all(|operation| known.covers(operation, path))
    };
    let mut held: Vec<Activity> = Vec::new();
    for (activity, _) in Activity::ALL {
        // Some operations need two activities: each has to be fine together with those before it.
        held.push(activity);
        if !covered(Activities::of_all(&held)) {
            held.pop();
        }
    }
    (!held.is_empty() && known.covers(Operation::ReadMetadata, path)).then(|| Activities::of_all(&held))
}

fn beginning(text: &str, most_bytes: usize) -> &str {
    let end = (0..=most_bytes.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests;
