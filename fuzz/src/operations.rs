//! Everything that can be asked of the door's one decision.

use penstock_door::auth::Operation;

pub(crate) const OPERATIONS: [Operation; 11] = [
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
