//! Hashes of passwords: bcrypt and argon2. All others that such files may hold can be guessed too fast, and are refused.

use argon2::{Argon2, Params, PasswordHash, PasswordVerifier as _};

use crate::auth::secret::Secret;

/// Highest cost of bcrypt: about a second.
const MAX_BCRYPT_COST: u32 = 14;
/// Most memory of argon2, in KiB, and most rounds.
const MAX_ARGON2_KIB: u32 = 256 * 1024;
const MAX_ARGON2_ROUNDS: u32 = 32;

/// A hash that a password can be held against.
#[derive(Debug, Clone)]
pub enum Hash {
    /// `$2y$…`
    Bcrypt(Secret),
    /// `$argon2id$…`
    Argon2(Secret),
}

impl Hash {
    /// A hash as it stands in a file. The error says what is wrong, and nothing of the hash.
    pub fn parse(text: &str) -> Result<Self, String> {
        const CURE: &str = "set the password anew with \"htpasswd -B\"";
        if ["$2y$", "$2b$", "$2a$"].iter().any(|begin| text.starts_with(begin)) {
            let parts: bcrypt::HashParts =
                text.parse().map_err(|_| format!("a bcrypt hash that is not complete: {CURE}"))?;
            if parts.get_cost() > MAX_BCRYPT_COST {
                return Err(format!(
                    "a bcrypt cost of {}: more than {MAX_BCRYPT_COST} keeps the door busy for seconds",
                    parts.get_cost()
                ));
            }
            return Ok(Self::Bcrypt(Secret::new(text)));
        }
        if text.starts_with("$argon2") {
            let broken = || format!("an argon2 hash that cannot be read: {CURE}");
            let hash = PasswordHash::new(text).map_err(|_| broken())?;
            let params = Params::try_from(&hash).map_err(|_| broken())?;
            if hash.hash.is_none() || hash.salt.is_none() {
                return Err(broken());
            }
            if params.m_cost() > MAX_ARGON2_KIB || params.t_cost() > MAX_ARGON2_ROUNDS {
                return Err(format!(
                    "an argon2 hash with m={} and t={}: at most {MAX_ARGON2_KIB} and {MAX_ARGON2_ROUNDS} are accepted",
                    params.m_cost(),
                    params.t_cost()
                ));
            }
            return Ok(Self::Argon2(Secret::new(text)));
        }
        let kind = match text {
            "" => "no password at all",
            text if text.starts_with("$apr1$") || text.starts_with("$1$") => "MD5",
            text if text.starts_with("{SHA}") => "SHA-1",
            text if text.starts_with("$5$") || text.starts_with("$6$") => "crypt's SHA-2",
            _ => "crypt's DES, or a password in clear",
        };
        Err(format!("{kind}: only bcrypt and argon2 are accepted: {CURE}"))
    }

    /// Whether it is this password's. Slow.
    pub fn is_of(&self, password: &[u8]) -> bool {
        match self {
            // Both were read when the file was.
            Hash::Bcrypt(hash) => std::str::from_utf8(hash.expose())
                .is_ok_and(|hash| bcrypt::verify(password, hash).unwrap_or(false)),
            Hash::Argon2(hash) => std::str::from_utf8(hash.expose())
                .is_ok_and(|hash| Argon2::default().verify_password(password, hash).is_ok()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `htpasswd -nbB -C 4 paul hunter2`
    const BCRYPT: &str = "$2y$04$tr9VXus4TgggO9X2Hy3yeOfroADenDRkjc6PlZmA/FRiESDDvhfEa";

    #[test]
    fn what_can_be_guessed_is_refused_and_named() {
        for (text, named) in [
            ("$apr1$salt$0123456789", "MD5"),
            ("{SHA}0123456789=", "SHA-1"),
            ("$6$salt$hash", "SHA-2"),
            ("hunter2", "in clear"),
            ("", "no password"),
            ("$2y$05$short", "not complete"),
            ("$argon2id$v=19$m=1,t=1,p=1", "cannot be read"),
            ("$argon2id$v=19$m=9999999,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA", "m=9999999"),
        ] {
            let error = Hash::parse(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
        let dear = BCRYPT.replace("$04$", "$15$");
        assert!(Hash::parse(&dear).unwrap_err().contains("cost of 15"));
    }
}
