//! Rights at paths: the common form of a token's scopes and of the policy's rules.
//!
//! The words and what they imply are those of the WLCG token profile (scopes `storage.*`), which SciTokens and the site's
//! policy share.

use super::decision::Operation;
use crate::namespace::NsPath;

/// One right. Each of them implies seeing that a name exists, and its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Metadata, and nothing else.
    Stat,
    /// Data and lists.
    Read,
    /// New names: nothing that has one is replaced or removed.
    Create,
    /// All changes, those of [`Right::Create`] among them, and lists; reading is not.
    Modify,
    /// Bringing data from tape. Reading it is another right.
    Stage,
}

/// Rights at a path and below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The path.
    pub prefix: NsPath,
    /// The rights.
    pub rights: Vec<Right>,
}

impl Right {
    /// Whether it allows an operation, where it holds.
    pub fn allows(self, operation: Operation) -> bool {
        match operation {
            Operation::ReadMetadata => true,
            Operation::List => matches!(self, Right::Read | Right::Modify),
            Operation::Download => self == Right::Read,
            Operation::Stage => self == Right::Stage,
            // To rename is to create a name; what the new one would replace is asked for with Delete.
            Operation::Upload | Operation::MakeDirectory | Operation::Move | Operation::Lock => {
                matches!(self, Right::Create | Right::Modify)
            }
            Operation::Overwrite | Operation::Delete | Operation::UpdateMetadata => self == Right::Modify,
        }
    }
}

impl Reach {
    /// Whether it allows an operation on a path: within it, or on the way to it.
    pub fn allows(&self, operation: Operation, path: &NsPath) -> bool {
        self.rights.iter().any(|right| right.allows(operation)) && reaches(&self.prefix, operation, path)
    }

    /// Whether it allows an operation on a path and all that is or will be below.
    pub fn covers(&self, operation: Operation, path: &NsPath) -> bool {
        path.is_within(&self.prefix) && self.rights.iter().any(|right| right.allows(operation))
    }
}

/// Whether a limit to a path and what is below lets an operation happen elsewhere. The way to what is allowed may be
/// walked and built: its directories are seen, listed (without what lies beside the way) and made.
pub fn reaches(limit: &NsPath, operation: Operation, path: &NsPath) -> bool {
    let on_the_way =
        matches!(operation, Operation::ReadMetadata | Operation::List | Operation::MakeDirectory);
    path.is_within(limit) || (on_the_way && limit.is_within(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::decision::OPERATIONS;
    use Operation::*;

    fn allowed(rights: &[Right], path: &str) -> Vec<Operation> {
        let reach = Reach { prefix: NsPath::parse("/a/b").unwrap(), rights: rights.to_vec() };
        let path = NsPath::parse(path).unwrap();
        OPERATIONS.into_iter().filter(|operation| reach.allows(*operation, &path)).collect()
    }

    #[test]
    fn each_right_allows_what_the_profile_says_of_it_and_always_metadata() {
        let create = vec![ReadMetadata, Upload, MakeDirectory, Move, Lock];
        let table: [(&[Right], Vec<Operation>); 7] = [
            (&[], vec![]),
            (&[Right::Stat], vec![ReadMetadata]),
            (&[Right::Read], vec![ReadMetadata, List, Download]),
            (&[Right::Create], create),
            (
                &[Right::Modify],
                vec![
                    ReadMetadata,
                    List,
                    Upload,
                    Overwrite,
                    MakeDirectory,
                    Delete,
                    Move,
                    UpdateMetadata,
                    Lock,
                ],
            ),
            (&[Right::Stage], vec![ReadMetadata, Stage]),
            (&[Right::Read, Right::Stage], vec![ReadMetadata, List, Download, Stage]),
        ];
        for (rights, expected) in table {
            assert_eq!(allowed(rights, "/a/b/c"), expected, "{rights:?}");
        }
    }

    #[test]
    fn a_reach_shows_the_way_to_it_and_nothing_beside_it() {
        for (rights, path, expected) in [
            (&[Right::Read], "/a", vec![ReadMetadata, List]),
            (&[Right::Create], "/", vec![ReadMetadata, MakeDirectory]),
            (&[Right::Read], "/a/bc", vec![]),
            (&[Right::Modify], "/a/c", vec![]),
        ] {
            assert_eq!(allowed(rights, path), expected, "{rights:?} {path}");
        }
    }
}
