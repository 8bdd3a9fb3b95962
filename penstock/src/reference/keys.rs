//! The keys that are the site's own. Packet marking has those of pool and door.

use penstock_service::reference::Default::{Otherwise, Value};
use penstock_service::reference::Form::{Address, Authority, Flag, List, Path, Size, Text, Time};
use penstock_service::reference::Key;

/// In the order in which a reader wants to know of them.
pub const KEYS: &[Key] = &[
    Key::new(
        "data",
        Path,
        Value,
        "\"penstock-data\"",
        "The directory of files, names, keys and the first token; made if it is not there.",
        "In the current directory, for a trial; a service has /var/lib/penstock. Best a file system of its own.",
    ),
    Key::new(
        "listen",
        Address,
        Value,
        "\"127.0.0.1:2880\"",
        "Where users come to: the door.",
        "Loopback, until somebody decides who may come. While it is, copies to and from this machine are allowed.",
    ),
    Key::new(
        "url",
        Text,
        Otherwise("http:// and listen"),
        "\"https://storage.example.org\"",
        "What users call the door; pools send lost clients there, and the first token says so.",
        "Needed where the door listens on every address, or has a proxy before it.",
    ),
    Key::new(
        "pool_listen",
        Address,
        Value,
        "\"127.0.0.1:2881\"",
        "Where the door sends users for the bytes: the pool.",
        "Clients must be able to reach it as they reach the door.",
    ),
    Key::new(
        "pool_advertise",
        Authority,
        Otherwise("pool_listen"),
        "\"storage.example.org:2881\"",
        "The pool as users reach it, in redirects.",
        "Needed where pool_listen is every address.",
    ),
    Key::new(
        "admin_listen",
        Address,
        Value,
        "\"127.0.0.1:2882\"",
        "Where admins and Prometheus come to.",
        "It shows all transfers to whoever asks: loopback, or behind a firewall.",
    ),
    Key::new(
        "anonymous",
        Text,
        Value,
        "\"none\"",
        "What those may do who show no token: \"none\", \"read\" (download and list) or \"write\" (everything).",
        "Nothing is open that nobody has opened.",
    ),
    Key::new(
        "create_parents",
        Flag,
        Value,
        "true",
        "An upload makes the directories above it that are missing.",
        "What grid clients expect; plain WebDAV answers 409.",
    ),
    Key::new(
        "capacity",
        Size,
        Otherwise("all that the file system has, less reserve"),
        "\"100 TiB\"",
        "The most that files may take on the disk.",
        "Set it where others use the same file system, or where part of it is to stay free.",
    ),
    Key::new(
        "reserve",
        Size,
        Value,
        "\"256 MiB\"",
        "Space of the file system that uploads never take.",
        "A file system that is full to the brim becomes slow and fails strangely; names and index need room, too.",
    ),
    Key::new(
        "max_file_size",
        Size,
        Otherwise("what fits"),
        "\"1 TiB\"",
        "The largest file; larger uploads are refused with 413.",
        "Only where somebody uploads by mistake what nobody wants to keep.",
    ),
    Key::new(
        "checksums",
        List,
        Value,
        "[]",
        "Computed for every upload beside adler32: \"md5\", \"crc32\", \"crc32c\", \"sha1\", \"sha256\", \"sha512\".",
        "md5 and sha take a processor for every 0.6 to 2 GB/s; clients that want one of them ask for it.",
    ),
    Key::new(
        "log",
        Text,
        Otherwise("\"info\""),
        "\"info\"",
        "What is logged: \"error\", \"warn\", \"info\", \"debug\", \"trace\", or levels by module \
         (\"info,penstock_door=debug\"). Read again at SIGHUP.",
        "RUST_LOG goes first.",
    ),
    Key::new(
        "drain",
        Time,
        Value,
        "\"30 s\"",
        "From SIGTERM to the end, whatever still runs.",
        "The unit waits 60 s (TimeoutStopSec=): raise both.",
    ),
];
