//! Packet marking: whose traffic a transfer is, decided for each request by itself.
//!
//! * [`wish`]: what the request says. [`rules`]: what the site says where the request says nothing.
//!
//! The pool does the marking; it gets a number: experiment << 6 | activity.
#![forbid(unsafe_code)]

pub mod rules;
pub mod wish;

pub use rules::MarkingRules;

use hyper::HeaderMap;
use penstock_door_proto::v1 as proto;

use crate::namespace::NsPath;
use rules::ExperimentKey;
use wish::Wish;

/// What the contract says for "not to be marked".
const UNMARKED: u32 = 0;

/// The mark of a transfer: what the request wishes, else what the rules say of client and path. `None`: nothing is
/// said, and the pool's default counts. `granted`: the experiment by whose rights the client is here.
pub fn of_request(
    headers: &HeaderMap,
    parameter: Option<&str>,
    rules: &MarkingRules,
    client: &proto::Client,
    path: &NsPath,
    granted: Option<ExperimentKey>,
) -> Option<proto::Marking> {
    let scitag = match wish::read(headers, parameter) {
        Wish::Tagged(tag) => Some(tag),
        Wish::Invalid { from, value } => {
            tracing::warn!(
                from,
                value,
                "no SciTag: it is a number from 65 to 65535; the transfer is not marked"
            );
            Some(UNMARKED)
        }
        Wish::Unsaid => rules.tag(client, path, granted),
    };
    scitag.map(|scitag| proto::Marking { scitag })
}
