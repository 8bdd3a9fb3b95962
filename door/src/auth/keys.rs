//! The keys that macaroons are signed with, in a file that only the door can read.
//!
//! One key a line: its name, a space, its bytes in hexadecimal. New macaroons are signed with the first; all are
//! accepted, so that a key can be replaced while tokens of the old one still live.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::secret::Secret;
use crate::checksum::{from_hex, to_hex};

/// Shortest key in bytes: as long as the output of SHA-256 (RFC 2104 §3).
const MIN_KEY_BYTES: usize = 32;
/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error(
        "cannot read the macaroon keys {path}: {source}; make them with \"penstock-door --config FILE --init-token FILE\""
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file cannot be made.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error("the macaroon keys {path} can be read by others (mode {mode:04o}): chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A line is not a key.
    #[error("{path}:{line}: not a key: expected a name, a space and at least 64 hexadecimal digits")]
    BadLine {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// There is no key in it.
    #[error("the macaroon keys {path} are empty: remove the file and make new ones")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("cannot make a key: the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The door's macaroon keys.
#[derive(Debug, Clone)]
pub struct KeyRing {
    keys: Vec<(String, Secret)>,
}

impl KeyRing {
    /// Reads the key file.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let read_error = |source| KeyError::Read { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(read_error)?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
        if metadata.len() > MAX_FILE_BYTES {
            return Err(read_error(io::Error::other("the file is larger than 64 KiB")));
        }
        let text = fs::read_to_string(path).map_err(read_error)?;
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let bad_line = || KeyError::BadLine { path: path.to_owned(), line: index + 1 };
            let (name, hex) = line.split_once(' ').ok_or_else(bad_line)?;
            let key = from_hex(hex.trim()).filter(|key| key.len() >= MIN_KEY_BYTES).ok_or_else(bad_line)?;
            keys.push((name.to_owned(), Secret::new(key)));
        }
        if keys.is_empty() {
            return Err(KeyError::Empty { path: path.to_owned() });
        }
        Ok(Self { keys })
    }

    /// The key that new macaroons are signed with, and its name.
    pub fn signing(&self) -> (&str, &Secret) {
        // `load` refuses an empty ring, and there is no other way to make one.
        let (name, key) = &self.keys[0];
        (name, key)
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// The key of a name.
    pub fn find(&self, name: &[u8]) -> Option<&Secret> {
        self.keys.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, key)| key)
    }
}

/// Makes the key file if it is not there. Tells whether it made it.
pub fn create_if_missing(path: &Path) -> Result<bool, KeyError> {
    if path.exists() {
        return Ok(false);
    }
    write_private(path, new_line()?.as_bytes())?;
    Ok(true)
}

/// Puts a new key in front of the others: new macaroons are signed with it, and those that are out there still open.
pub fn rotate(path: &Path) -> Result<(), KeyError> {
    // What is there must be sound, or it would be so no more than before.
    KeyRing::load(path)?;
    let before =
        fs::read_to_string(path).map_err(|source| KeyError::Read { path: path.to_owned(), source })?;
    write_private(path, format!("{}{before}", new_line()?).as_bytes())
}

fn new_line() -> Result<String, KeyError> {
    let mut key = [0; MIN_KEY_BYTES];
    getrandom::fill(&mut key).map_err(KeyError::Random)?;
    let name = random_id().map_err(KeyError::Random)?;
    Ok(format!("{} {}\n", &name[..8], to_hex(&key)))
}

/// Writes a file that only its owner can read: whole under its name, or not at all.
pub(super) fn write_private(path: &Path, content: &[u8]) -> Result<(), KeyError> {
    let write = || -> io::Result<()> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".new");
        let partial = PathBuf::from(partial);
        // What a crash left behind must not lend its permissions to the new file.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    };
    write().map_err(|source| KeyError::Write { path: path.to_owned(), source })
}

/// 128 random bits in hexadecimal: an id that is unique for all time.
pub(crate) fn random_id() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(to_hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_can_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        assert!(create_if_missing(&path).unwrap());
        let first = fs::read(&path).unwrap();
        assert!(!create_if_missing(&path).unwrap());
        assert_eq!(fs::read(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let ring = KeyRing::load(&path).unwrap();
        let (name, key) = ring.signing();
        assert_eq!(ring.find(name.as_bytes()).unwrap().expose(), key.expose());
    }

    #[test]
    fn a_new_key_signs_and_the_old_ones_still_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        create_if_missing(&path).unwrap();
        let before = KeyRing::load(&path).unwrap();
        rotate(&path).unwrap();
        let after = KeyRing::load(&path).unwrap();
        let (old, new) = (before.signing(), after.signing());
        assert_ne!(old.0, new.0);
        assert_eq!(after.find(old.0.as_bytes()).unwrap().expose(), old.1.expose());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        create_if_missing(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(KeyRing::load(&path), Err(KeyError::Exposed { mode: 0o640, .. })));
    }

    #[test]
    fn a_bad_line_is_named_without_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        write_private(&path, format!("good {}\nbad 0123\n", "00".repeat(32)).as_bytes()).unwrap();
        let error = KeyRing::load(&path).unwrap_err().to_string();
        assert!(error.contains("keys:2:") && !error.contains("0123"), "{error}");
    }
}
