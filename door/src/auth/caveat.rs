//! What the caveats of a macaroon mean: from a list of texts to the identity and the restrictions of a request.
//!
//! The order matters: `root` and `path` are relative to those before them. Whoever holds a macaroon can add caveats,
//! so no caveat may ever widen what those before it allow. An unknown caveat is one that we cannot honour: refused.

use std::net::IpAddr;

use jiff::Timestamp;

use super::activity::Activities;
use super::macaroon::Macaroon;
use super::network::Network;
use crate::namespace::NsPath;

/// Longest user name taken from an `id` caveat.
const MAX_NAME_BYTES: usize = 256;

/// Why a macaroon, although it is ours, does not let the request in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaveatError {
    /// A caveat is not UTF-8, or not `key:value`.
    #[error("the macaroon has a caveat that is not \"key:value\"")]
    Malformed,
    /// A key that this door does not know.
    #[error("the macaroon has a caveat that this door does not know")]
    Unknown,
    /// A known key with a value that has no meaning.
    #[error("the macaroon has a \"{0}\" caveat with a value that cannot be read")]
    BadValue(&'static str),
    /// `iid` is missing, not the first, or there twice.
    #[error("the macaroon must have exactly one \"iid\" caveat, as the first")]
    IssueId,
    /// `id` is missing or there twice.
    #[error("the macaroon must have exactly one \"id\" caveat")]
    Identity,
    /// A `before` has passed.
    #[error("the macaroon expired at {0}")]
    Expired(Timestamp),
    /// The client's address is not in every `ip` caveat.
    #[error("the macaroon is not valid from this address")]
    Address,
}

/// Who the token speaks for, from its `id` caveat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Numeric user id.
    pub uid: u32,
    /// Numeric group ids, the primary one first.
    pub gids: Vec<u32>,
    /// User name.
    pub name: String,
}

/// What a verified macaroon grants to this client at this time.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Who.
    pub identity: Identity,
    /// The id of its issue, for the record. It opens nothing.
    pub issue_id: String,
    /// The user's home, for clients that ask.
    pub home: NsPath,
    /// Prefixed to every path of the request.
    pub root: NsPath,
    /// Real paths, each of which a path must be within.
    pub path_limits: Vec<NsPath>,
    /// What may be done.
    pub activities: Activities,
    /// Largest upload in bytes.
    pub max_upload: Option<u64>,
    /// It is good from some addresses only: the bytes have to come from, and go to, where the request came from.
    pub address_bound: bool,
    /// All `path` caveats so far, below the root: what a further one is relative to.
    pub below_root: NsPath,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// What was evaluated, so that it can be narrowed. It does not print its signature.
    pub macaroon: Option<Macaroon>,
}

/// Evaluates caveats in their order for a client at an address and a time.
pub fn evaluate<'a>(
    caveats: impl Iterator<Item = &'a [u8]>,
    client: IpAddr,
    now: Timestamp,
) -> Result<Grant, CaveatError> {
    let mut issue_id = None;
    let mut identity = None;
    let mut home = NsPath::root();
    let mut root = NsPath::root();
    let mut below_root = NsPath::root();
    let mut path_limits = Vec::new();
    let mut activities = Activities::ALL;
    let mut max_upload: Option<u64> = None;
    let mut address_bound = false;
    let mut expires_at: Option<Timestamp> = None;
    for (index, caveat) in caveats.enumerate() {
        let caveat = std::str::from_utf8(caveat).map_err(|_| CaveatError::Malformed)?;
        let (key, value) = caveat.split_once(':').ok_or(CaveatError::Malformed)?;
        match key {
            "iid" if index == 0 && !value.is_empty() => issue_id = Some(value.to_owned()),
            "iid" => return Err(CaveatError::IssueId),
            "id" if identity.is_some() => return Err(CaveatError::Identity),
            "id" => identity = Some(parse_identity(value).ok_or(CaveatError::BadValue("id"))?),
            "before" => {
                let before: Timestamp = value.parse().map_err(|_| CaveatError::BadValue("before"))?;
                if now >= before {
                    return Err(CaveatError::Expired(before));
                }
                expires_at = Some(expires_at.map_or(before, |earlier| earlier.min(before)));
            }
            "home" => home = NsPath::parse(value).map_err(|_| CaveatError::BadValue("home"))?,
            "root" => {
                root = resolve(&root, value).ok_or(CaveatError::BadValue("root"))?;
            }
            "path" => {
                // Kept as a real path, so that a later `root` cannot move the limit somewhere else.
                below_root = resolve(&below_root, value).ok_or(CaveatError::BadValue("path"))?;
                path_limits.push(root.join(&below_root).map_err(|_| CaveatError::BadValue("path"))?);
            }
            "activity" => {
                let named = Activities::parse(value).ok_or(CaveatError::BadValue("activity"))?;
                activities = activities.and(named);
            }
            "ip" => {
                let networks: Option<Vec<Network>> = value.split(',').map(Network::parse).collect();
                let networks = networks.ok_or(CaveatError::BadValue("ip"))?;
                if !networks.iter().any(|network| network.contains(client)) {
                    return Err(CaveatError::Address);
                }
                address_bound = true;
            }
            "max-upload" => {
                let bytes: u64 = value.parse().map_err(|_| CaveatError::BadValue("max-upload"))?;
                max_upload = Some(max_upload.map_or(bytes, |before| before.min(bytes)));
            }
            _ => return Err(CaveatError::Unknown),
        }
    }
    Ok(Grant {
        identity: identity.ok_or(CaveatError::Identity)?,
        issue_id: issue_id.ok_or(CaveatError::IssueId)?,
        home,
        root,
        path_limits,
        activities,
        max_upload,
        address_bound,
        below_root,
        expires_at,
        macaroon: None,
    })
}

fn resolve(base: &NsPath, value: &str) -> Option<NsPath> {
    base.join(&NsPath::parse(value).ok()?).ok()
}

/// `uid;gid,gid…;name`.
fn parse_identity(value: &str) -> Option<Identity> {
    let mut parts = value.splitn(3, ';');
    let uid = parts.next()?.parse().ok()?;
    let gids = parts.next()?.split(',').map(|gid| gid.parse().ok()).collect::<Option<Vec<u32>>>()?;
    let name = parts.next()?;
    let sound = !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.chars().any(char::is_control);
    sound.then(|| Identity { uid, gids, name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::activity::Activity;

    const BASE: [&str; 2] = ["iid:GaVltWFP", "id:2002;2002,0;paul"];

    fn with(more: &[&str]) -> Result<Grant, CaveatError> {
        evaluate_all(&[&BASE[..], more].concat())
    }

    fn evaluate_all(caveats: &[&str]) -> Result<Grant, CaveatError> {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        evaluate(caveats.iter().map(|caveat| caveat.as_bytes()), "192.0.2.7".parse().unwrap(), now)
    }

    #[test]
    fn the_identity_is_read() {
        let grant = with(&[]).unwrap();
        let identity = Identity { uid: 2002, gids: vec![2002, 0], name: "paul".into() };
        assert_eq!((grant.identity, grant.issue_id.as_str()), (identity, "GaVltWFP"));
        assert_eq!(grant.activities, Activities::ALL);
    }

    #[test]
    fn iid_is_the_first_and_only_one_and_id_is_there_once() {
        let cases: [(&[&str], CaveatError); 6] = [
            (&["id:1;1;a"], CaveatError::IssueId),
            (&["id:1;1;a", "iid:x"], CaveatError::IssueId),
            (&["iid:x", "id:1;1;a", "iid:y"], CaveatError::IssueId),
            (&["iid:", "id:1;1;a"], CaveatError::IssueId),
            (&["iid:x"], CaveatError::Identity),
            (&["iid:x", "id:1;1;a", "id:1;1;a"], CaveatError::Identity),
        ];
        for (caveats, error) in cases {
            assert_eq!(evaluate_all(caveats).unwrap_err(), error, "{caveats:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_is_unknown_is_refused() {
        let cases = [
            ("colour:blue", CaveatError::Unknown),
            ("nothing", CaveatError::Malformed),
            ("before:yesterday", CaveatError::BadValue("before")),
            ("path:relative", CaveatError::BadValue("path")),
            ("root:/a/../b", CaveatError::BadValue("root")),
            ("home:", CaveatError::BadValue("home")),
            ("activity:FLY", CaveatError::BadValue("activity")),
            ("activity:", CaveatError::BadValue("activity")),
            ("ip:192.0.2.0/33", CaveatError::BadValue("ip")),
            ("ip:", CaveatError::BadValue("ip")),
            ("max-upload:-1", CaveatError::BadValue("max-upload")),
        ];
        for (caveat, error) in cases {
            assert_eq!(with(&[caveat]).unwrap_err(), error, "{caveat}");
        }
        for id in ["id:1", "id:1;1", "id:x;1;a", "id:1;;a", "id:1;1;", "id:-1;1;a", "id:1;1;a\nb"] {
            assert_eq!(evaluate_all(&["iid:x", id]).unwrap_err(), CaveatError::BadValue("id"), "{id}");
        }
    }

    #[test]
    fn every_before_must_lie_in_the_future() {
        assert!(with(&["before:2026-01-01T00:00:00.001Z"]).is_ok());
        for caveats in [
            &["before:2026-01-01T00:00:00Z"][..],
            &["before:2039-01-01T00:00:00Z", "before:2025-12-31T23:59:59Z"],
            &["before:2025-12-31T23:59:59Z", "before:2039-01-01T00:00:00Z"],
        ] {
            assert!(matches!(with(caveats), Err(CaveatError::Expired(_))), "{caveats:?}");
        }
    }

    #[test]
    fn every_ip_caveat_must_match() {
        assert!(with(&["ip:192.0.2.0/24"]).is_ok());
        assert!(with(&["ip:198.51.100.1,192.0.2.7"]).is_ok());
        assert_eq!(with(&["ip:198.51.100.0/24"]).unwrap_err(), CaveatError::Address);
        assert_eq!(with(&["ip:192.0.2.0/24", "ip:198.51.100.0/24"]).unwrap_err(), CaveatError::Address);
    }

    #[test]
    fn roots_and_paths_add_up() {
        let grant = with(&["root:/foo", "root:/bar", "path:/a", "path:/b"]).unwrap();
        assert_eq!(grant.root.as_str(), "/foo/bar");
        let limits: Vec<_> = grant.path_limits.iter().map(NsPath::as_str).collect();
        assert_eq!(limits, ["/foo/bar/a", "/foo/bar/a/b"]);
    }

    #[test]
    fn a_later_root_does_not_move_an_earlier_path_limit() {
        let grant = with(&["path:/public", "root:/secret"]).unwrap();
        assert_eq!(grant.path_limits, [NsPath::parse("/public").unwrap()]);
        assert_eq!(grant.root.as_str(), "/secret");
    }

    #[test]
    fn a_later_activity_only_narrows() {
        let grant = with(&["activity:LIST,DOWNLOAD", "activity:DOWNLOAD,UPLOAD"]).unwrap();
        assert!(grant.activities.has(Activity::Download));
        assert!(grant.activities.has(Activity::ReadMetadata));
        assert!(!grant.activities.has(Activity::List));
        assert!(!grant.activities.has(Activity::Upload));
    }

    #[test]
    fn the_smallest_max_upload_counts() {
        assert_eq!(with(&["max-upload:10", "max-upload:5", "max-upload:7"]).unwrap().max_upload, Some(5));
    }
}
