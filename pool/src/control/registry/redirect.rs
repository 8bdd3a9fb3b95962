//! Where clients are sent: the URL of a ready transfer at the data port.

use std::borrow::Cow;
use std::sync::OnceLock;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::control::data_port::DataPort;
use crate::transfer::Transfer;
use crate::transfer::connection::{DOOR_KEY, TRANSFER_KEY};

/// RFC 3986 §3.3: what may stand in a path as it is.
const PATH_ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b':')
    .remove(b'@');

/// The data port as clients name it.
#[derive(Debug, Default)]
pub struct Redirects {
    /// "http://host:port", known once the data port answers.
    plain: OnceLock<String>,
    /// "https://host:port", where the data port speaks TLS.
    secure: OnceLock<String>,
}

impl Redirects {
    /// "http://host:port". Set once, before the first transfer.
    pub fn set_plain(&self, url: String) {
        // A second address would not be known to those who have the first.
        let _ = self.plain.set(url);
    }

    /// For clients that came to the door by https: "https://host:port". Set once, before the first transfer.
    pub fn set_secure(&self, url: String) {
        let _ = self.secure.set(url);
    }

    /// Where the data port answers.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        [&self.plain, &self.secure].into_iter().filter_map(OnceLock::get).cloned().collect()
    }

    /// The URL that a ready transfer's client is sent to. Holds the capability: never logged.
    pub(super) fn url(&self, transfer: &Transfer, data_port: Option<&dyn DataPort>) -> String {
        let request = transfer.request();
        let path = utf8_percent_encode(&request.path, PATH_ENCODED);
        let capability = transfer.capability().expose();
        let secure = self.secure.get().filter(|_| request.client.secure);
        let base = secure.or(self.plain.get()).map_or("", String::as_str);
        let labelled = data_port.and_then(|data_port| labelled_port(transfer, data_port, secure.is_some()));
        let base = labelled.map_or(Cow::Borrowed(base), |port| Cow::Owned(with_port(base, port)));
        let mut url = format!("{base}{path}?{TRANSFER_KEY}={capability}");
        if !request.door.name.is_empty() {
            let door = utf8_percent_encode(&request.door.name, NON_ALPHANUMERIC);
            url.push_str(&format!("&{DOOR_KEY}={door}"));
        }
        url
    }
}

/// The port that a transfer's client is to come to, so that packets to it carry the flow label.
fn labelled_port(transfer: &Transfer, data_port: &dyn DataPort, secure: bool) -> Option<u16> {
    let mark = transfer.mark()?;
    let local = if secure { data_port.secure_address()? } else { data_port.address() };
    let client = transfer.request().client.address.parse().ok();
    mark.labels_client(client, local.ip()).then(|| data_port.labelled_port(mark, secure)).flatten()
}

/// "scheme://host:port" with another port.
fn with_port(base: &str, port: u16) -> String {
    let host = base.rsplit_once(':').map_or(base, |(host, _)| host);
    format!("{host}:{port}")
}
