//! Making tokens: the site's first one, which the admin then narrows and hands out.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::caveat;
use super::keys::{self, KeyError, KeyRing};
use super::macaroon::{Macaroon, MacaroonError};

/// How long the first token is valid: as the site's root password, it is replaced with its key, not by waiting.
const FIRST_TOKEN_LIFETIME: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// Why a token cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// Keys or files.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The location is too long for a packet.
    #[error("cannot make the token: {0}")]
    Macaroon(#[from] MacaroonError),
}

/// Makes the key file where it is missing. Tells whether it made it. Safe to call at every start.
pub fn init_keys(key_file: &Path) -> Result<bool, KeyError> {
    keys::create_if_missing(key_file)
}

/// Makes sure that a file holds a token for everything that the present keys accept: makes the keys and the token
/// where they are missing, and the token anew when its key or its time has gone. Tells whether it wrote a token.
pub fn init_first_token(token_file: &Path, key_file: &Path, location: &str) -> Result<bool, IssueError> {
    init_keys(key_file)?;
    let keys = KeyRing::load(key_file)?;
    let now = Timestamp::now();
    if fs::read(token_file).is_ok_and(|token| is_accepted(token.trim_ascii(), &keys, now)) {
        return Ok(false);
    }
    let issue_id = keys::random_id().map_err(KeyError::Random)?;
    // Ten years from any date that jiff knows but the last ten.
    let before = now.checked_add(FIRST_TOKEN_LIFETIME).unwrap_or(Timestamp::MAX);
    let (name, key) = keys.signing();
    let token = Macaroon::mint(location, name, key)
        .with_caveat(&format!("iid:{issue_id}"))
        .with_caveat("id:0;0;admin")
        .with_caveat(&format!("before:{before}"))
        .with_caveat("home:/")
        .encode()?;
    keys::write_private(token_file, format!("{token}\n").as_bytes())?;
    Ok(true)
}

fn is_accepted(token: &[u8], keys: &KeyRing, now: Timestamp) -> bool {
    Macaroon::decode(token).is_ok_and(|macaroon| {
        keys.find(macaroon.identifier()).is_some_and(|key| macaroon.verify(key).is_ok())
            && caveat::evaluate(macaroon.caveats(), IpAddr::V4(Ipv4Addr::LOCALHOST), now).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn the_first_token_is_made_once_is_private_and_opens_the_door() {
        let directory = tempfile::tempdir().unwrap();
        let (key_file, token_file) = (directory.path().join("keys"), directory.path().join("token"));
        assert!(init_first_token(&token_file, &key_file, "http://localhost:2880").unwrap());
        assert_eq!(fs::metadata(&token_file).unwrap().permissions().mode() & 0o777, 0o600);
        let token = fs::read(&token_file).unwrap();
        assert!(is_accepted(token.trim_ascii(), &KeyRing::load(&key_file).unwrap(), Timestamp::now()));
        assert!(!init_first_token(&token_file, &key_file, "http://localhost:2880").unwrap());
        assert_eq!(fs::read(&token_file).unwrap(), token);
    }

    #[test]
    fn a_token_of_a_lost_key_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let (key_file, token_file) = (directory.path().join("keys"), directory.path().join("token"));
        init_first_token(&token_file, &key_file, "x").unwrap();
        fs::remove_file(&key_file).unwrap();
        assert!(init_first_token(&token_file, &key_file, "x").unwrap());
        assert!(!init_first_token(&token_file, &key_file, "x").unwrap());
    }
}
