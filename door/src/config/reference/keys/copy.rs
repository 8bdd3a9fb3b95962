//! Third-party copies.

use penstock_service::reference::Default::Value;
use penstock_service::reference::Form::{Count, Flag, List, Time};
use penstock_service::reference::Key;

/// In the order in which a reader wants to know of them.
pub const KEYS: &[Key] = &[
    Key::new(
        "copy.transfers",
        Count,
        Value,
        "1000",
        "Third-party copies at once; more get 429.",
        "FTS slows down by itself at 429.",
    ),
    Key::new(
        "copy.marker_period",
        Time,
        Value,
        "\"5s\"",
        "Between two performance markers of a copy.",
        "What FTS expects; it takes long silence for a stall.",
    ),
    Key::new(
        "copy.reader_timeout",
        Time,
        Value,
        "\"60s\"",
        "A client that takes no markers for so long has gone, and its copy is cancelled.",
        "A copy belongs to its client.",
    ),
    Key::new(
        "copy.allow_loopback",
        Flag,
        Value,
        "false",
        "A copy's URL may name this machine itself (localhost, 127.0.0.0/8, [::1]); else it is 403 at once.",
        "What listens there trusts whoever comes from inside. The pool's tpc.allow_loopback counts for the address that is connected to.",
    ),
    Key::new(
        "copy.allow_link_local",
        Flag,
        Value,
        "false",
        "A copy's URL may name a link-local address.",
        "Clouds keep their keys there.",
    ),
    Key::new(
        "copy.allow_private",
        Flag,
        Value,
        "true",
        "A copy's URL may name an address of a private network (RFC 1918, RFC 4193, RFC 6598).",
        "Many sites have their storage there; false where nobody has business there.",
    ),
    Key::new(
        "copy.ports",
        List,
        Value,
        "[80, 443, \"1024-65535\"]",
        "Ports that a copy's URL may name: numbers and ranges.",
        "Mail, shells and the like are on the others.",
    ),
];
