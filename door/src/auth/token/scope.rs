//! What a token may be used for: the capability scopes of its profile, as rights at paths.
//!
//! A path in a scope is relative to the prefix that the site gives to the issuer, is percent-encoded as in a URL, and
//! stands for itself and what is below, by whole components.

use super::issuer::Profile;
use crate::auth::rights::{Reach, Right};
use crate::namespace::NsPath;

/// Scopes of one token that are looked at.
pub const MAX_SCOPES: usize = 256;

/// Why the scopes of a token cannot be obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// More than are looked at.
    #[error("the token has more than {MAX_SCOPES} scopes")]
    TooMany,
    /// The profile makes the path mandatory.
    #[error("the token has a scope \"{0}\" without a path")]
    NoPath(&'static str),
    /// No absolute path in normal form.
    #[error("the token has a scope \"{0}\" with a path that is not absolute and normal")]
    BadPath(&'static str),
}

/// The words of a profile.
fn words(profile: Profile) -> &'static [(&'static str, Right)] {
    match profile {
        // OpenID providers that know storage use the words of the WLCG profile.
        Profile::Wlcg | Profile::Oidc => &[
            ("storage.read", Right::Read),
            ("storage.create", Right::Create),
            ("storage.modify", Right::Modify),
            ("storage.stage", Right::Stage),
            // To ask whether something is on disk is to ask for metadata.
            ("storage.poll", Right::Stat),
        ],
        Profile::Scitokens => &[("read", Right::Read), ("write", Right::Modify)],
    }
}

/// Reads a claim `scope`. `None` when no scope speaks of storage.
pub fn read(
    scope: Option<&str>,
    profile: Profile,
    prefix: &NsPath,
) -> Result<Option<Vec<Reach>>, ScopeError> {
    let Some(scope) = scope else { return Ok(None) };
    let mut reaches: Vec<Reach> = Vec::new();
    for (index, text) in scope.split_ascii_whitespace().enumerate() {
        if index == MAX_SCOPES {
            return Err(ScopeError::TooMany);
        }
        let (word, path) = text.split_once(':').map_or((text, None), |(word, path)| (word, Some(path)));
        // Others are for other services.
        let Some((name, right)) = words(profile).iter().find(|(name, _)| *name == word) else { continue };
        let path = path.filter(|path| !path.is_empty()).ok_or(ScopeError::NoPath(name))?;
        let below = NsPath::from_url(path).map_err(|_| ScopeError::BadPath(name))?;
        let prefix = prefix.join(&below).map_err(|_| ScopeError::BadPath(name))?;
        match reaches.iter_mut().find(|reach| reach.prefix == prefix) {
            Some(reach) => reach.rights.push(*right),
            None => reaches.push(Reach { prefix, rights: vec![*right] }),
        }
    }
    Ok((!reaches.is_empty()).then_some(reaches))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rights by their paths.
    type Plain = Vec<(String, Vec<Right>)>;

    fn read_in(profile: Profile, scope: &str) -> Result<Option<Plain>, ScopeError> {
        let reaches = read(Some(scope), profile, &NsPath::parse("/vo").unwrap())?;
        let plain = |reach: Reach| (reach.prefix.to_string(), reach.rights);
        Ok(reaches.map(|reaches| reaches.into_iter().map(plain).collect()))
    }

    fn one(path: &str, right: Right) -> Result<Option<Plain>, ScopeError> {
        Ok(Some(vec![(path.to_owned(), vec![right])]))
    }

    #[test]
    fn the_words_of_a_profile_count_below_the_issuers_prefix() {
        use Profile::*;
        let table = [
            (Wlcg, "storage.read:/", one("/vo", Right::Read)),
            (Wlcg, "openid storage.create:/a", one("/vo/a", Right::Create)),
            (Wlcg, "storage.modify:/a//b/ compute.read", one("/vo/a/b", Right::Modify)),
            (Wlcg, "storage.stage:/a%20b", one("/vo/a b", Right::Stage)),
            (Wlcg, "storage.poll:/a", one("/vo/a", Right::Stat)),
            (Wlcg, "openid profile", Ok(None)),
            (Wlcg, "read:/a write:/a", Ok(None)),
            (Wlcg, "storage.readonly:/a", Ok(None)),
            (Oidc, "storage.read:/a", one("/vo/a", Right::Read)),
            (Scitokens, "read:/a", one("/vo/a", Right::Read)),
            (Scitokens, "write:/a", one("/vo/a", Right::Modify)),
            (Scitokens, "storage.read:/a", Ok(None)),
            (Wlcg, "storage.read", Err(ScopeError::NoPath("storage.read"))),
            (Wlcg, "storage.read:", Err(ScopeError::NoPath("storage.read"))),
            (Wlcg, "storage.read:a", Err(ScopeError::BadPath("storage.read"))),
            (Wlcg, "storage.modify:/a/../b", Err(ScopeError::BadPath("storage.modify"))),
            (Wlcg, "storage.modify:/a/%2e%2e/b", Err(ScopeError::BadPath("storage.modify"))),
            (Wlcg, "storage.create:/a%2fb", Err(ScopeError::BadPath("storage.create"))),
            (Wlcg, "storage.create:/a%00", Err(ScopeError::BadPath("storage.create"))),
            (Wlcg, "storage.read:/a storage.read:/../x", Err(ScopeError::BadPath("storage.read"))),
        ];
        for (profile, scope, expected) in table {
            assert_eq!(read_in(profile, scope), expected, "{profile:?} {scope}");
        }
    }

    #[test]
    fn scopes_add_up() {
        let scope = "storage.read:/a storage.create:/b storage.stage:/a";
        let expected =
            vec![("/vo/a".into(), vec![Right::Read, Right::Stage]), ("/vo/b".into(), vec![Right::Create])];
        assert_eq!(read_in(Profile::Wlcg, scope), Ok(Some(expected)));
        let many = "storage.read:/a ".repeat(MAX_SCOPES + 1);
        assert_eq!(read_in(Profile::Wlcg, &many), Err(ScopeError::TooMany));
    }
}
