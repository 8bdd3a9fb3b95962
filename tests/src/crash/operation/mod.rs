//! What clients do: a table. Another kind of operation is a function and a line in it.

mod abandon;
mod delete;
mod download;
mod mislead;
mod pull;
mod upload;

use super::client::{Client, End};
use super::random::Random;

/// One kind of operation.
#[derive(Debug)]
pub struct Operation {
    /// In the summary.
    pub name: &'static str,
    /// How often, against the others.
    pub weight: u64,
    /// Does it once and keeps the record: what was answered is the state of the slot, what was not is `unanswered`.
    pub run: fn(&mut Client<'_>) -> End,
}

/// All kinds.
pub const OPERATIONS: &[Operation] = &[
    Operation { name: "uploads", weight: 10, run: upload::run },
    Operation { name: "third-party copies", weight: 3, run: pull::run },
    Operation { name: "deletions", weight: 4, run: delete::run },
    Operation { name: "downloads", weight: 3, run: download::whole },
    Operation { name: "range downloads", weight: 3, run: download::range },
    Operation { name: "looks at others' files", weight: 2, run: download::anothers },
    Operation { name: "uploads given up", weight: 1, run: abandon::run },
    Operation { name: "uploads with a wrong checksum", weight: 1, run: mislead::run },
];

/// One of them.
pub fn choose(random: &mut Random) -> &'static Operation {
    let mut left = random.below(OPERATIONS.iter().map(|operation| operation.weight).sum());
    for operation in OPERATIONS {
        match left.checked_sub(operation.weight) {
            Some(less) => left = less,
            None => return operation,
        }
    }
    unreachable!("the number is less than the sum of the weights")
}
