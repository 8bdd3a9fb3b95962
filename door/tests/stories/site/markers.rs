//! A strict reader of marker streams: whatever davix, gfal2, FTS or Pelican could stumble on is a failed story.

use std::collections::BTreeMap;

/// A line of davix must fit into this with its end.
const LINE_BUFFER_BYTES: usize = 1024;
/// Fields that only a copy has that moves.
const MOVING_FIELDS: [&str; 5] = [
    "Stripe Start Time",
    "Stripe Last Transferred",
    "Stripe Transfer Time",
    "Stripe Bytes Transferred",
    "Stripe Status",
];
/// A line that begins so ends a marker or a stream for some parser.
const ENDING_PREFIXES: [&str; 5] = ["end", "success", "failure", "failed", "aborted"];

/// A stream that has come to its end.
#[derive(Debug)]
pub struct Markers {
    pub markers: Vec<Marker>,
    /// The last line: success, or the text of the failure.
    pub result: Result<(), String>,
}

/// One marker.
#[derive(Debug)]
pub struct Marker {
    fields: BTreeMap<String, String>,
}

impl Markers {
    /// Reads a whole stream; panics where a client would be lost.
    pub fn parse(text: &str) -> Self {
        let body = text.strip_suffix('\n').unwrap_or_else(|| panic!("the last line does not end:\n{text}"));
        assert!(!text.contains('\r'), "a line ends with CR:\n{text}");
        let mut lines = body.split('\n');
        let mut markers = Vec::new();
        while let Some(line) = lines.next() {
            assert!(line.len() < LINE_BUFFER_BYTES, "too long: {line}");
            let result = match (line, line.strip_prefix("failure: ")) {
                ("Perf Marker", _) => {
                    markers.push(Marker { fields: BTreeMap::new() });
                    continue;
                }
                ("End", _) => {
                    let marker = markers.last().expect("End before a marker");
                    marker.check();
                    continue;
                }
                ("success: Created", _) => Ok(()),
                (_, Some(why)) => Err(why.to_owned()),
                _ => {
                    markers.last_mut().expect("a field before a marker").take(line);
                    continue;
                }
            };
            assert_eq!(lines.next(), None, "something follows the last line:\n{text}");
            let starts = text.matches("Perf Marker\n").count();
            assert_eq!(text.matches("\nEnd\n").count(), starts, "a marker does not end:\n{text}");
            return Self { markers, result };
        }
        panic!("connection terminated abruptly, status unknown:\n{text}");
    }

    pub fn first(&self) -> &Marker {
        self.markers.first().unwrap()
    }

    pub fn last(&self) -> &Marker {
        self.markers.last().unwrap()
    }
}

impl Marker {
    fn take(&mut self, line: &str) {
        let field = line.strip_prefix("    ").unwrap_or_else(|| panic!("not indented: {line:?}"));
        let (name, value) = field.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}"));
        assert!(!name.starts_with(' ') && !value.starts_with(' '), "not one space: {line:?}");
        let lower = name.to_ascii_lowercase();
        assert!(ENDING_PREFIXES.iter().all(|prefix| !lower.starts_with(prefix)), "ends a stream: {line:?}");
        assert!(self.fields.insert(name.to_owned(), value.to_owned()).is_none(), "twice: {line:?}");
    }

    fn check(&self) {
        assert!(self.number("Timestamp") > 1_600_000_000);
        assert!(self.number("Stripe Index") < self.number("Total Stripe Count"));
        assert!(!self.get("State description").unwrap().is_empty());
        let moving = match self.number("State") {
            3 => false,
            10 => true,
            other => panic!("no state is {other}"),
        };
        for name in MOVING_FIELDS {
            assert_eq!(self.fields.contains_key(name), moving, "{name}: {self:?}");
        }
        if moving {
            assert!(self.number("Stripe Start Time") <= self.number("Stripe Last Transferred"));
            self.number("Stripe Transfer Time");
            self.number("Stripe Bytes Transferred");
            let status = self.get("Stripe Status").unwrap();
            assert!(["NEW", "QUEUED", "RUNNING", "DONE", "CANCELED"].contains(&status), "{status}");
        }
        let addresses = ["RemoteConnections", "Stripe Source", "Stripe Destination"];
        for value in addresses.iter().filter_map(|name| self.get(name)) {
            value.split(',').for_each(check_address);
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    pub fn number(&self, name: &str) -> u64 {
        let value = self.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"));
        value.parse().unwrap_or_else(|_| panic!("{name} is no number: {value:?}"))
    }
}

/// `tcp:[2001:db8::1]:2345` or `tcp:192.0.2.1:1234`.
fn check_address(text: &str) {
    let address = text.strip_prefix("tcp:").unwrap_or_else(|| panic!("no transport: {text}"));
    address.parse::<std::net::SocketAddr>().unwrap_or_else(|_| panic!("no address: {text}"));
}

/// The stream with times taken out, for comparison with what is written down.
pub fn without_times(text: &str) -> String {
    let mut plain = String::new();
    for line in text.lines() {
        let timed = [
            "    Timestamp: ",
            "    Stripe Start Time: ",
            "    Stripe Last Transferred: ",
            "    Stripe Transfer Time: ",
        ];
        match timed.iter().find(|prefix| line.starts_with(**prefix)) {
            Some(prefix) => plain.extend([prefix, "*\n"]),
            None => plain.extend([line, "\n"]),
        }
    }
    plain
}
