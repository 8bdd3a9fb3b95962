//! What all engines share: what a request asks for, and the heads of the answers.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use penstock_pool::http1::{BodyLength, Limits, Method, Parsed, parse};
use rustix::fs::{Mode, OFlags};

/// The longest head.
pub const HEAD_BYTES: usize = 16 << 10;
/// The answer to an upload.
pub const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n";
/// New files are for nobody else.
const FILE_MODE: Mode = Mode::from_raw_mode(0o600);

/// A request.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// Send a file; `hot`: it is in the page cache.
    Get {
        /// Which.
        path: PathBuf,
        /// Whether it is in the page cache.
        hot: bool,
    },
    /// Take a new file of so many bytes.
    Put {
        /// How many.
        size_bytes: u64,
    },
}

/// What the head at the beginning of `bytes` asks for, and its length. `None`: more has to come.
pub fn asked(bytes: &[u8], directory: &Path) -> io::Result<Option<(Asked, usize)>> {
    let nonsense = || io::Error::from(io::ErrorKind::InvalidData);
    match parse(bytes, &Limits::default()).map_err(|_| nonsense())? {
        Parsed::Partial if bytes.len() < HEAD_BYTES => Ok(None),
        Parsed::Partial => Err(nonsense()),
        Parsed::Complete { head, consumed } => {
            let asked = match (head.method(), head.body_length()) {
                (Method::Put, BodyLength::Length(size_bytes)) => Asked::Put { size_bytes },
                (Method::Get, _) => get(head.path(), directory).ok_or_else(nonsense)?,
                _ => return Err(nonsense()),
            };
            Ok(Some((asked, consumed)))
        }
    }
}

/// `/hot/3`, `/cold/3`.
pub fn get(path: &str, directory: &Path) -> Option<Asked> {
    let (kind, number) = path.strip_prefix('/')?.split_once('/')?;
    let number: u32 = number.parse().ok()?;
    let hot = match kind {
        "hot" => true,
        "cold" => false,
        _ => return None,
    };
    Some(Asked::Get { path: directory.join(number.to_string()), hot })
}

/// The head of an answer with so many bytes.
pub fn ok(length: u64) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes()
}

/// A new file without a name.
pub fn new_file(directory: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    Ok(rustix::fs::open(directory, flags, FILE_MODE)?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_understood() {
        let directory = Path::new("/data");
        let ask = |text: &str| asked(text.as_bytes(), directory).map(|found| found.map(|(asked, _)| asked));
        let get = |hot| Some(Asked::Get { path: "/data/3".into(), hot });
        assert_eq!(ask("GET /hot/3 HTTP/1.1\r\nHost: h\r\n\r\n").unwrap(), get(true));
        assert_eq!(ask("GET /cold/3 HTTP/1.1\r\nHost: h\r\n\r\n").unwrap(), get(false));
        let put = ask("PUT /put/0 HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\n\r\n").unwrap();
        assert_eq!(put, Some(Asked::Put { size_bytes: 7 }));
        assert_eq!(ask("GET /hot/3 HT").unwrap(), None);
        for wrong in ["GET /hot/../secret", "GET /hot/x", "DELETE /hot/3", "GET /"] {
            assert!(ask(&format!("{wrong} HTTP/1.1\r\nHost: h\r\n\r\n")).is_err(), "{wrong}");
        }
    }
}
