//! Every scheme × right or caveat × operation × path, against what the profile and the guide say of them in a table of its
//! own: some ten thousand rows.

use super::*;
use crate::auth::caveat;
use crate::auth::identity::{Identity, Scheme};
use crate::auth::known::{Granted, Known};
use crate::auth::rights::{Reach, Right};

/// A column for each of [`OPERATIONS`]: stat, list, download, stage, upload, overwrite, make a directory, delete, move,
/// update metadata, lock.
const RIGHTS: [(Right, &str); 5] = [
    (Right::Stat, "x .. . .. ... . ."),
    (Right::Read, "x xx . .. ... . ."),
    (Right::Create, "x .. . x. x.x . x"),
    (Right::Modify, "x x. . xx xxx x x"),
    (Right::Stage, "x .. x .. ... . ."),
];

/// The same for a macaroon's activities.
const ACTIVITIES: [(&str, &str); 12] = [
    ("READ_METADATA", "x .. . .. ... . ."),
    ("LIST", "x x. . .. ... . ."),
    ("DOWNLOAD", "x .x . .. ... . ."),
    ("STAGE", "x .. x .. ... . ."),
    ("UPLOAD", "x .. . x. x.. . x"),
    ("DELETE", "x .. . .. .x. . x"),
    ("MANAGE", "x .. . .. x.x . x"),
    ("UPDATE_METADATA", "x .. . .. ... x x"),
    ("UPLOAD,DELETE", "x .. . xx xx. . x"),
    ("LIST,DOWNLOAD", "x xx . .. ... . ."),
    ("LIST,DOWNLOAD,MANAGE,UPLOAD,DELETE", "x xx . xx xxx . x"),
    ("UPLOAD,MANAGE", "x .. . x. x.x . x"),
];

const PREFIXES: [&str; 4] = ["/", "/a", "/a/b", "/c"];
const PATHS: [&str; 9] = ["/", "/a", "/a/b", "/a/b/x", "/a/bc", "/ab", "/c", "/c/d/e", "/é"];

/// What a row of a table says of an operation.
fn says(row: &str, operation: usize) -> bool {
    row.chars().filter(|mark| *mark != ' ').nth(operation) == Some('x')
}

/// Whether a path lies within another, or (for stat, list and making a directory) above it: by components, one by one.
fn lies(path: &str, prefix: &str, operation: usize) -> bool {
    let components = |text: &str| -> Vec<String> {
        text.split('/').filter(|component| !component.is_empty()).map(str::to_owned).collect()
    };
    let (path, prefix) = (components(path), components(prefix));
    let shared = path.iter().zip(&prefix).take_while(|(one, other)| one == other).count();
    let on_the_way = matches!(operation, 0 | 1 | 6);
    shared == prefix.len() || (on_the_way && shared == path.len())
}

fn known(scopes: Option<&[(Right, &str)]>, granted: &[(Right, &str)]) -> Access {
    let reach = |(right, prefix): &(Right, &str)| Reach {
        prefix: NsPath::parse(prefix).unwrap(),
        rights: vec![*right],
    };
    Access::Known(Box::new(Known {
        identity: Identity::new(Scheme::Certificate, "/CN=a"),
        scopes: scopes.map(|scopes| scopes.iter().map(reach).collect()),
        granted: granted.iter().map(|one| Granted { reach: reach(one), experiment: None }).collect(),
        anonymous: Anonymous::None,
        proof: None,
    }))
}

fn macaroon(activities: &str, limit: &str) -> Access {
    let caveats = ["iid:x", "id:1;1;a", &format!("path:{limit}"), &format!("activity:{activities}")];
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let caveats = caveats.iter().map(|caveat| caveat.as_bytes());
    Access::Token(Box::new(caveat::evaluate(caveats, "192.0.2.7".parse().unwrap(), now).unwrap()))
}

/// Checks all operations on all paths; gives how many rows these were.
fn check(what: &str, access: &Access, expected: impl Fn(usize, &str) -> bool) -> usize {
    for path in PATHS {
        for (index, operation) in OPERATIONS.into_iter().enumerate() {
            let decision = decide(access, operation, &NsPath::parse(path).unwrap());
            let allowed = decision == Decision::Allow;
            assert_eq!(allowed, expected(index, path), "{what}: {operation:?} {path}: {decision:?}");
        }
    }
    PATHS.len() * OPERATIONS.len()
}

#[test]
fn every_row_of_the_table_is_decided_as_the_profile_and_the_guide_say() {
    let mut rows = 0;
    for (mode, row) in [
        (Anonymous::None, "........... "),
        (Anonymous::Read, "x xx x .. ... . ."),
        (Anonymous::Write, "xxxxxxxxxxx"),
    ] {
        rows += check(&format!("{mode:?}"), &Access::Anonymous(mode), |operation, _| says(row, operation));
    }
    for (activities, row) in ACTIVITIES {
        for limit in PREFIXES {
            let what = format!("macaroon {activities} {limit}");
            rows += check(&what, &macaroon(activities, limit), |operation, path| {
                says(row, operation) && lies(path, limit, operation)
            });
        }
    }
    for (right, row) in RIGHTS {
        for prefix in PREFIXES {
            let holds = |operation: usize, path: &str| says(row, operation) && lies(path, prefix, operation);
            rows += check(&format!("policy {right:?} {prefix}"), &known(None, &[(right, prefix)]), holds);
            for (other, other_row) in RIGHTS {
                for other_prefix in PREFIXES {
                    let other_holds = |operation: usize, path: &str| {
                        says(other_row, operation) && lies(path, other_prefix, operation)
                    };
                    let both = [(right, prefix), (other, other_prefix)];
                    rows += check(
                        &format!("scope {right:?} {prefix}, policy {other:?} {other_prefix}"),
                        &known(Some(&both[..1]), &both[1..]),
                        |operation, path| holds(operation, path) && other_holds(operation, path),
                    );
                    rows += check(
                        &format!("policy {right:?} {prefix} and {other:?} {other_prefix}"),
                        &known(None, &both),
                        |operation, path| holds(operation, path) || other_holds(operation, path),
                    );
                }
            }
        }
    }
    assert!(rows > 80_000, "{rows}");
}
