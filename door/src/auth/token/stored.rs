//! Issuers' keys on a disk, so that a door that starts while an issuer is away lets its users in all the same, for as long
//! as a door that had not been started again would.
//!
//! A file for each issuer, in a directory that is the door's alone: whoever can write there can sign tokens. What is in a
//! file has come over https from that issuer; its age counts from then, not from the start. It is read once, at the start.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::fetch::MAX_DOCUMENT_BYTES;
use super::held::EXPIRE_AFTER;
use super::jwks::Jwks;
use crate::auth::keys::write_private;

/// Of the form of a file.
const VERSION: u32 = 1;
/// Longest file: a document, each byte of which takes two at most in JSON's quotes, and a little more.
const MAX_FILE_BYTES: u64 = 2 * MAX_DOCUMENT_BYTES as u64 + 4096;
/// A clock that was set back by more than that makes what is kept worthless.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(60);

/// Why keys cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory is not there, and cannot be made.
    #[error("authentication.issuer_keys: cannot use the directory {path}: {source}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could put keys there.
    #[error(
        "authentication.issuer_keys: others than this user can write to {path} (mode {mode:04o}, owner {owner}): make it this user's own, and chmod 700 {path}"
    )]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Its owner's number.
        owner: u32,
    },
}

/// Why a file is not used. Its content is in no text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
enum Unusable {
    #[error("it cannot be read: {0}")]
    Read(io::ErrorKind),
    #[error("others than this user can read or write it, or own it")]
    Exposed,
    #[error("it is longer than {MAX_FILE_BYTES} bytes, or not of the form that this door writes")]
    Form,
    #[error("it is another issuer's")]
    OtherIssuer,
    #[error("it is older than {} hours", EXPIRE_AFTER.as_secs() / 3600)]
    TooOld,
    #[error("it is from the future: was the clock set back?")]
    Future,
}

/// What a file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    issuer: String,
    /// RFC 3339.
    fetched_at: String,
    /// The document as the issuer publishes it.
    keys: String,
}

/// The directory.
#[derive(Debug, Clone)]
pub struct KeyStore {
    directory: PathBuf,
}

impl KeyStore {
    /// In that directory, which is made when there is something to keep: a check leaves nothing behind. Blocks.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Directory { path: directory.to_owned(), source };
        let about = match fs::metadata(directory) {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // In it, it can be made.
                let above = directory.parent().unwrap_or(directory);
                fs::metadata(above).map_err(failed)?;
                return Ok(Self { directory: directory.to_owned() });
            }
            Err(error) => return Err(failed(error)),
        };
        if !about.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        let (mode, owner) = (about.permissions().mode() & 0o7777, about.uid());
        // root looks at the directories of others when it checks a configuration.
        if mode & 0o022 != 0 || (owner != own_user() && own_user() != 0) {
            return Err(StoreError::Exposed { path: directory.to_owned(), mode, owner });
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// The keys of an issuer, and how old they are; `None` when there are none that are of use. Blocks.
    pub fn load(&self, issuer: &str, now: Timestamp) -> Option<(Jwks, Duration)> {
        let path = self.file(issuer);
        match read(&path, issuer, now) {
            Ok(found) => Some(found),
            Err(Unusable::Read(io::ErrorKind::NotFound)) => None,
            Err(reason) => {
                tracing::warn!(file = %path.display(), issuer, %reason, "an issuer's stored keys are not used");
                None
            }
        }
    }

    /// Keeps what an issuer publishes now, in the place of what it has published before. Blocks.
    pub fn keep(&self, issuer: &str, document: &[u8], now: Timestamp) {
        let Ok(keys) = std::str::from_utf8(document) else { return };
        let (issuer_url, fetched_at) = (issuer.to_owned(), now.to_string());
        let written = Written { version: VERSION, issuer: issuer_url, fetched_at, keys: keys.to_owned() };
        let write = || -> Result<(), String> {
            let text = serde_json::to_vec(&written).map_err(|error| error.to_string())?;
            self.make().map_err(|error| format!("{}: {error}", self.directory.display()))?;
            write_private(&self.file(issuer), &text).map_err(|error| error.to_string())
        };
        if let Err(error) = write() {
            tracing::warn!(issuer, error, "the issuer's keys cannot be stored; they are in memory only");
        }
    }

    fn make(&self) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    /// Named by a hash: an issuer's URL is no file name.
    fn file(&self, issuer: &str) -> PathBuf {
        let hash = Sha256::digest(issuer);
        let name: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("{name}.json"))
    }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn read(path: &Path, issuer: &str, now: Timestamp) -> Result<(Jwks, Duration), Unusable> {
    let failed = |error: io::Error| Unusable::Read(error.kind());
    let file = fs::File::open(path).map_err(failed)?;
    // Of the file that is open, whatever is put in its place.
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() || about.permissions().mode() & 0o077 != 0 || about.uid() != own_user() {
        return Err(Unusable::Exposed);
    }
    let mut text = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(Unusable::Form);
    }
    let written: Written = serde_json::from_slice(&text).map_err(|_| Unusable::Form)?;
    if written.version != VERSION {
        return Err(Unusable::Form);
    }
    if written.issuer != issuer {
        return Err(Unusable::OtherIssuer);
    }
    let fetched_at: Timestamp = written.fetched_at.parse().map_err(|_| Unusable::Form)?;
    let age = now.duration_since(fetched_at);
    if age < -CLOCK_SKEW {
        return Err(Unusable::Future);
    }
    let age = Duration::try_from(age).unwrap_or_default();
    if age >= EXPIRE_AFTER {
        return Err(Unusable::TooOld);
    }
    Ok((Jwks::parse(written.keys.as_bytes()).map_err(|_| Unusable::Form)?, age))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://vo.example/";
    const KEYS: &str = r#"{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}"#;

    struct Stage {
        store: KeyStore,
        now: Timestamp,
        directory: tempfile::TempDir,
    }

    impl Stage {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let store = KeyStore::open(&directory.path().join("keys")).unwrap();
            Self { store, now: "2026-01-01T12:00:00Z".parse().unwrap(), directory }
        }

        /// Nobody has been told of it, but the log.
        fn unusable(&self, now: Timestamp) -> Unusable {
            assert!(self.store.load(ISSUER, now).is_none());
            read(&self.store.file(ISSUER), ISSUER, now).unwrap_err()
        }

        fn write(&self, text: &str) {
            self.store.make().unwrap();
            write_private(&self.store.file(ISSUER), text.as_bytes()).unwrap();
        }
    }

    #[test]
    fn what_is_kept_is_found_again_with_its_age_and_is_private() {
        let stage = Stage::new();
        assert!(stage.store.load(ISSUER, stage.now).is_none());
        assert!(!stage.store.directory.exists(), "nothing is left behind that holds nothing");
        stage.store.keep(ISSUER, KEYS.as_bytes(), stage.now);
        let hour = SignedDuration::from_hours(1);
        let again = KeyStore::open(&stage.directory.path().join("keys")).unwrap();
        let (keys, age) = again.load(ISSUER, stage.now + hour).unwrap();
        assert_eq!(keys, Jwks::parse(KEYS.as_bytes()).unwrap());
        assert_eq!(age, Duration::from_secs(3600));
        assert!(again.load("https://vo.example", stage.now).is_none(), "another one's");
        for (path, mode) in [(stage.store.file(ISSUER), 0o600), (stage.store.directory.clone(), 0o700)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
    }

    #[test]
    fn keys_are_good_for_no_longer_than_in_memory_and_never_from_the_future() {
        let stage = Stage::new();
        stage.store.keep(ISSUER, KEYS.as_bytes(), stage.now);
        let end = stage.now + SignedDuration::try_from(EXPIRE_AFTER).unwrap();
        let second = SignedDuration::from_secs(1);
        assert!(stage.store.load(ISSUER, end - second).is_some());
        assert_eq!(stage.unusable(end), Unusable::TooOld);
        let (_, age) = stage.store.load(ISSUER, stage.now - second).unwrap();
        assert_eq!(age, Duration::ZERO);
        assert_eq!(stage.unusable(stage.now - CLOCK_SKEW - second), Unusable::Future);
    }

    #[test]
    fn what_another_could_have_written_is_not_used() {
        let stage = Stage::new();
        stage.store.keep(ISSUER, KEYS.as_bytes(), stage.now);
        let file = stage.store.file(ISSUER);
        for mode in [0o620, 0o602, 0o640] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(stage.unusable(stage.now), Unusable::Exposed);
        }
        let directory = stage.directory.path().join("keys");
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(KeyStore::open(&directory), Err(StoreError::Exposed { mode: 0o777, .. })));
        let below_nothing = stage.directory.path().join("none/keys");
        assert!(matches!(KeyStore::open(&below_nothing), Err(StoreError::Directory { .. })));
        assert!(matches!(KeyStore::open(&file), Err(StoreError::Directory { .. })), "no directory");
    }

    #[test]
    fn a_file_that_is_broken_long_or_anothers_is_not_used() {
        let stage = Stage::new();
        let written = |version: u32, issuer: &str, keys: &str| {
            let fetched_at = stage.now.to_string();
            let written = Written { version, issuer: issuer.into(), fetched_at, keys: keys.into() };
            serde_json::to_string(&written).unwrap()
        };
        let good = written(VERSION, ISSUER, KEYS);
        for (text, expected) in [
            (good[..good.len() - 1].to_owned(), Unusable::Form),
            (String::new(), Unusable::Form),
            (written(2, ISSUER, KEYS), Unusable::Form),
            (good.replace("2026-01-01", "2026-13-01"), Unusable::Form),
            (written(VERSION, ISSUER, "{\"keys\":[]}"), Unusable::Form),
            (written(VERSION, "https://evil.example/", KEYS), Unusable::OtherIssuer),
            (format!("{good}{}", " ".repeat(MAX_FILE_BYTES as usize)), Unusable::Form),
        ] {
            stage.write(&text);
            assert_eq!(stage.unusable(stage.now), expected, "{text:.80}");
        }
        stage.write(&good);
        assert!(stage.store.load(ISSUER, stage.now).is_some());
    }
}
