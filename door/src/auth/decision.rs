//! The one place where it is decided whether a request may do what it asks.
//!
//! It looks at who asks and at the path, never at the namespace: a refusal tells nothing of what exists.

use super::activity::{Activities, Activity};
use super::caveat::Grant;
use super::identity::Identity;
use super::known::{Known, Missing};
use super::rights::reaches;
use crate::marking::rules::ExperimentKey;
use crate::namespace::{NsPath, PathError};

/// What those may do who show no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anonymous {
    /// Nothing.
    #[default]
    None,
    /// Read and list everything.
    Read,
    /// Everything.
    Write,
}

/// Who asks, and with what restrictions.
#[derive(Debug, Clone)]
pub enum Access {
    /// Without a token.
    Anonymous(Anonymous),
    /// With a verified token.
    Token(Box<Grant>),
    /// With an identity that was proved: its rights are those of the site's policy and, for a token with capability
    /// scopes, only those that the token names as well.
    Known(Box<Known>),
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// HEAD, PROPFIND of one entry.
    ReadMetadata,
    /// The entries of a directory.
    List,
    /// A file's data.
    Download,
    /// Bringing a file's data from tape.
    Stage,
    /// A new file.
    Upload,
    /// New data for an existing name.
    Overwrite,
    /// A new directory.
    MakeDirectory,
    /// Removing a name and all below it.
    Delete,
    /// Giving a name, and all below it, another place: asked of the old and of the new one.
    Move,
    /// What clients keep on a name.
    UpdateMetadata,
    /// Keeping others from changing a name.
    Lock,
}

/// All of them, for tables.
pub const OPERATIONS: [Operation; 11] = [
    Operation::ReadMetadata,
    Operation::List,
    Operation::Download,
    Operation::Stage,
    Operation::Upload,
    Operation::Overwrite,
    Operation::MakeDirectory,
    Operation::Delete,
    Operation::Move,
    Operation::UpdateMetadata,
    Operation::Lock,
];

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Go on.
    Allow,
    /// A token is needed: 401.
    Unauthenticated,
    /// The token does not allow it: 403, with why.
    Forbidden(&'static str),
}

impl Access {
    /// For the log: a user's name, never a token.
    pub fn subject(&self) -> &str {
        match self {
            Access::Anonymous(_) => "anonymous",
            Access::Token(grant) => &grant.identity.name,
            Access::Known(known) => &known.identity.name,
        }
    }

    /// Who it is, as far as that was proved.
    pub fn identity(&self) -> Option<&Identity> {
        match self {
            Access::Anonymous(_) | Access::Token(_) => None,
            Access::Known(known) => Some(&known.identity),
        }
    }

    /// Whose traffic it is at a path, as the site's policy says.
    pub fn experiment(&self, path: &NsPath) -> Option<ExperimentKey> {
        match self {
            Access::Anonymous(_) | Access::Token(_) => None,
            Access::Known(known) => known.experiment(path),
        }
    }

    /// The real path of one that the client named.
    pub fn real_path(&self, view: &NsPath) -> Result<NsPath, PathError> {
        match self {
            Access::Anonymous(_) | Access::Known(_) => Ok(view.clone()),
            Access::Token(grant) => grant.root.join(view),
        }
    }

    /// Whether it may be used from some addresses only, so that no other place may do what it allows.
    pub fn is_address_bound(&self) -> bool {
        match self {
            Access::Anonymous(_) | Access::Known(_) => false,
            Access::Token(grant) => grant.address_bound,
        }
    }

    /// The largest upload in bytes.
    pub fn max_upload(&self) -> Option<u64> {
        match self {
            Access::Anonymous(_) | Access::Known(_) => None,
            Access::Token(grant) => grant.max_upload,
        }
    }
}

/// Decides on an operation on a real path.
pub fn decide(access: &Access, operation: Operation, path: &NsPath) -> Decision {
    match access {
        Access::Anonymous(mode) if mode.allows(operation) => Decision::Allow,
        Access::Anonymous(_) => Decision::Unauthenticated,
        Access::Token(grant) => decide_grant(grant, operation, path),
        Access::Known(known) => match known.decide(operation, path) {
            Ok(()) => Decision::Allow,
            Err(Missing::Scope) => Decision::Forbidden("the token has no scope for this"),
            Err(Missing::Policy) => Decision::Forbidden("the site's policy gives you no right to this"),
        },
    }
}

impl Anonymous {
    /// Whether everybody may do it.
    pub fn allows(self, operation: Operation) -> bool {
        let reads = matches!(
            operation,
            Operation::ReadMetadata | Operation::List | Operation::Download | Operation::Stage
        );
        match self {
            Anonymous::Write => true,
            Anonymous::Read => reads,
            Anonymous::None => false,
        }
    }
}

/// Whether a set of activities allows an operation.
pub fn activities_allow(activities: Activities, operation: Operation) -> bool {
    let has = |activity| activities.has(activity);
    match operation {
        Operation::ReadMetadata => has(Activity::ReadMetadata),
        Operation::List => has(Activity::List),
        Operation::Download => has(Activity::Download),
        Operation::Stage => has(Activity::Stage),
        Operation::Upload => has(Activity::Upload),
        Operation::Overwrite => has(Activity::Upload) && has(Activity::Delete),
        // Who may put a file below a directory may make the directory.
        Operation::MakeDirectory => has(Activity::Upload) || has(Activity::Manage),
        Operation::Delete => has(Activity::Delete),
        Operation::Move => has(Activity::Manage),
        Operation::UpdateMetadata => has(Activity::UpdateMetadata),
        // Who may change anything may keep others from doing so meanwhile.
        Operation::Lock => {
            has(Activity::Upload)
                || has(Activity::Delete)
                || has(Activity::Manage)
                || has(Activity::UpdateMetadata)
        }
    }
}

fn decide_grant(grant: &Grant, operation: Operation, path: &NsPath) -> Decision {
    if !activities_allow(grant.activities, operation) {
        return Decision::Forbidden("the token does not allow this activity");
    }
    if grant.path_limits.iter().all(|limit| reaches(limit, operation, path)) {
        Decision::Allow
    } else {
        Decision::Forbidden("the token does not reach this path")
    }
}

#[cfg(test)]
mod table;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::caveat;
    use Operation::*;

    fn token(caveats: &[&str]) -> Access {
        let all = [&["iid:x", "id:1;1;paul"], caveats].concat();
        let grant = caveat::evaluate(
            all.iter().map(|caveat| caveat.as_bytes()),
            "192.0.2.7".parse().unwrap(),
            "2026-01-01T00:00:00Z".parse().unwrap(),
        );
        Access::Token(Box::new(grant.unwrap()))
    }

    fn allowed(access: &Access, path: &str) -> Vec<Operation> {
        let path = NsPath::parse(path).unwrap();
        let allows = |operation: &Operation| decide(access, *operation, &path) == Decision::Allow;
        OPERATIONS.into_iter().filter(allows).collect()
    }

    #[test]
    fn each_kind_of_access_allows_just_what_it_names() {
        let reads = vec![ReadMetadata, List, Download];
        let everybody_reads = vec![ReadMetadata, List, Download, Stage];
        let table = [
            (Access::Anonymous(Anonymous::None), vec![]),
            (Access::Anonymous(Anonymous::Read), everybody_reads),
            (Access::Anonymous(Anonymous::Write), OPERATIONS.to_vec()),
            (token(&[]), OPERATIONS.to_vec()),
            (token(&["activity:LIST,DOWNLOAD"]), reads),
            (token(&["activity:READ_METADATA"]), vec![ReadMetadata]),
            (token(&["activity:STAGE"]), vec![ReadMetadata, Stage]),
            (token(&["activity:UPLOAD"]), vec![ReadMetadata, Upload, MakeDirectory, Lock]),
            (
                token(&["activity:UPLOAD,DELETE"]),
                vec![ReadMetadata, Upload, Overwrite, MakeDirectory, Delete, Lock],
            ),
            (token(&["activity:DELETE"]), vec![ReadMetadata, Delete, Lock]),
            (token(&["activity:MANAGE"]), vec![ReadMetadata, MakeDirectory, Move, Lock]),
            (token(&["activity:UPDATE_METADATA"]), vec![ReadMetadata, UpdateMetadata, Lock]),
            (token(&["activity:LIST", "activity:DOWNLOAD"]), vec![ReadMetadata]),
        ];
        for (access, expected) in table {
            assert_eq!(allowed(&access, "/a/b"), expected, "{access:?}");
        }
    }

    #[test]
    fn a_path_limit_shows_the_way_and_opens_only_what_is_below() {
        let access = token(&["path:/a/b"]);
        let way = vec![ReadMetadata, List, MakeDirectory];
        for (path, expected) in [
            ("/", way.clone()),
            ("/a", way),
            ("/a/b", OPERATIONS.to_vec()),
            ("/a/b/c", OPERATIONS.to_vec()),
            ("/a/bc", vec![]),
            ("/z", vec![]),
        ] {
            assert_eq!(allowed(&access, path), expected, "{path}");
        }
    }

    #[test]
    fn a_root_added_to_a_limited_token_reaches_nothing_new() {
        let access = token(&["path:/public", "root:/secret"]);
        let real = access.real_path(&NsPath::parse("/public").unwrap()).unwrap();
        assert_eq!(real.as_str(), "/secret/public");
        assert_eq!(allowed(&access, real.as_str()), vec![]);
    }

    #[test]
    fn who_shows_nothing_is_asked_for_a_token_and_who_shows_too_little_is_refused() {
        let path = NsPath::root();
        assert_eq!(decide(&Access::Anonymous(Anonymous::Read), Upload, &path), Decision::Unauthenticated);
        assert!(matches!(decide(&token(&["activity:LIST"]), Upload, &path), Decision::Forbidden(_)));
    }
}
