//! What becomes of requests: redirects, bounds, times.

use penstock_service::reference::Default::Value;
use penstock_service::reference::Form::{Count, Flag, List, Size, Time};
use penstock_service::reference::Key;

/// In the order in which a reader wants to know of them.
pub const KEYS: &[Key] = &[
    Key::new(
        "redirect.read",
        Flag,
        Value,
        "true",
        "Downloads are redirected to pools; else their bytes go through the door.",
        "The door is one machine, pools are many.",
    ),
    Key::new(
        "redirect.write",
        Flag,
        Value,
        "true",
        "The same for uploads whose client waits for an answer before it sends.",
        "Others have begun to send already.",
    ),
    Key::new(
        "redirect.not_for",
        List,
        Value,
        "[\"cadaver/\", \"davfs2/\", \"litmus/\", \"Microsoft-WebDAV-MiniRedir/\", \"WebDAVFS/\", \"WebDAVLib/\"]",
        "How the User-Agent of clients begins that take a redirect for an error: their bytes go through the door.",
        "These are known to.",
    ),
    Key::new(
        "limits.head_bytes",
        Size,
        Value,
        "\"16 KiB\"",
        "A request's head: request line and headers.",
        "Tokens of several KiB are common.",
    ),
    Key::new(
        "limits.xml_bytes",
        Size,
        Value,
        "\"64 KiB\"",
        "The body of a PROPFIND, PROPPATCH or LOCK.",
        "Clients send some hundred bytes; it is read into memory.",
    ),
    Key::new(
        "limits.connections",
        Count,
        Value,
        "4096",
        "Connections at once; more wait to be accepted.",
        "Each takes a descriptor, and one more where bytes go through the door.",
    ),
    Key::new(
        "limits.connections_per_client",
        Count,
        Value,
        "1024",
        "Those of one address, or of one network (/64) of IPv6; more get 429.",
        "A whole batch farm may come from one address; nobody should take all.",
    ),
    Key::new(
        "limits.transfers",
        Count,
        Value,
        "16384",
        "Transfers at once that this door follows; more get 503.",
        "A few KiB of memory each.",
    ),
    Key::new(
        "timeouts.head",
        Time,
        Value,
        "\"30s\"",
        "For a request's head, and between two requests of a connection.",
        "Who sends a byte now and then should not hold a connection.",
    ),
    Key::new(
        "timeouts.pool_start",
        Time,
        Value,
        "\"60s\"",
        "For a pool to be ready for a transfer, its queue included.",
        "Clients give up after a minute or two; a clear 503 before that is better.",
    ),
    Key::new(
        "timeouts.drain",
        Time,
        Value,
        "\"30s\"",
        "For transfers to end when the door is stopped.",
        "Those that pools do with redirected clients go on without it.",
    ),
    Key::new(
        "timeouts.digest",
        Time,
        Value,
        "\"15s\"",
        "For a checksum that is asked for and not stored: the pool computes it, and the request waits so long.",
        "The pool goes on, and the next who asks gets it at once.",
    ),
    Key::new(
        "timeouts.lock",
        Time,
        Value,
        "\"1h\"",
        "The longest time of a WebDAV lock that is not refreshed.",
        "A client that has died should not keep others out for a day.",
    ),
];
