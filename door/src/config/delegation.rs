//! The keys of what users lend this door for third-party copies: proxies, and tokens.

use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;
use penstock_service::settings::Wrong;
use serde::Deserialize;
use url::Url;

use super::value::Period;

/// Issuers with which tokens can be exchanged.
const MAX_EXCHANGES: usize = 64;

/// How users lend this door credentials.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DelegationRules {
    /// Clients with a certificate may delegate proxies of it (GridSite), and are asked to for third-party copies. Default
    /// true.
    pub gridsite: bool,
    /// The path of that service: a POST to it is not for a file. Default `/gridsite-delegation`.
    pub path: String,
    /// The URLs at which clients are told to delegate. Default: the path at the host that they came to.
    pub endpoints: Vec<String>,
    /// For how long a delegated proxy may be good. Default 24 h.
    pub lifetime: Period,
    /// Issuers with which this door exchanges tokens (RFC 8693).
    pub exchange: Vec<ExchangeRules>,
}

/// An issuer with which tokens are exchanged.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExchangeRules {
    /// What its tokens have as `iss`, byte for byte; https.
    pub issuer: String,
    /// The file with what this door is known by to the issuer: the client's id in the first line, its secret in the
    /// second.
    pub client: PathBuf,
    /// Where tokens are exchanged; https. Default: what the issuer's description says.
    pub token_endpoint: Option<String>,
    /// The scopes to ask for. Default: those of the user's token.
    pub scope: Option<String>,
    /// The audience to ask for. Default: the issuer's choice.
    pub audience: Option<String>,
}

impl Default for DelegationRules {
    fn default() -> Self {
        Self {
            gridsite: true,
            path: "/gridsite-delegation".to_owned(),
            endpoints: Vec::new(),
            lifetime: Period(Duration::from_secs(24 * 3600)),
            exchange: Vec::new(),
        }
    }
}

impl DelegationRules {
    /// For how long a delegated proxy may be good.
    pub fn longest(&self) -> SignedDuration {
        SignedDuration::try_from(self.lifetime.0).unwrap_or(SignedDuration::MAX)
    }

    /// What has no meaning. `None` when all is well, else what to change.
    pub(super) fn contradiction(&self) -> Option<Wrong> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.~-".contains(&byte);
        if !self.path.starts_with('/') || self.path.len() < 2 || !self.path.bytes().all(plain) {
            let problem =
                format!("\"{}\" is no path for it: write it as \"/gridsite-delegation\"", self.path);
            return Some(Wrong::new("delegation.path", problem));
        }
        let is_https = |text: &String| {
            let no_space = text.bytes().all(|byte| byte.is_ascii_graphic());
            no_space && Url::parse(text).is_ok_and(|url| url.scheme() == "https" && url.has_host())
        };
        if let Some(wrong) = self.endpoints.iter().find(|text| !is_https(text)) {
            return Some(Wrong::new("delegation.endpoints", format!("\"{wrong}\" is no URL of https")));
        }
        let wrong_exchange = |problem: String| Some(Wrong::new("delegation.exchange", problem));
        if self.exchange.len() > MAX_EXCHANGES {
            return wrong_exchange(format!("there are more than {MAX_EXCHANGES}"));
        }
        for (index, rules) in self.exchange.iter().enumerate() {
            if let Some(wrong) =
                [&rules.issuer].into_iter().chain(&rules.token_endpoint).find(|text| !is_https(text))
            {
                return wrong_exchange(format!("\"{wrong}\" is no URL of https"));
            }
            if self.exchange[..index].iter().any(|other| other.issuer == rules.issuer) {
                return wrong_exchange(format!("{} is there twice: remove one", rules.issuer));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contradiction(text: &str) -> Option<String> {
        toml::from_str::<DelegationRules>(text).unwrap().contradiction().map(|wrong| wrong.to_string())
    }

    #[test]
    fn the_defaults_and_a_full_table_have_a_meaning() {
        assert_eq!(contradiction(""), None);
        let full = "gridsite = true\npath = \"/d\"\nendpoints = [\"https://door.example.org/d\"]\nlifetime = \"12h\"\n\
                    [[exchange]]\nissuer = \"https://idp.example.org/\"\nclient = \"/etc/client\"\n\
                    token_endpoint = \"https://idp.example.org/token\"\nscope = \"a b\"\naudience = \"c\"";
        assert_eq!(contradiction(full), None);
    }

    #[test]
    fn what_has_none_is_told_with_its_key() {
        let exchange = |issuer: &str| format!("[[exchange]]\nissuer = \"{issuer}\"\nclient = \"/c\"\n");
        for (text, expected) in [
            ("path = \"\"".to_owned(), "delegation.path: "),
            ("path = \"/\"".to_owned(), "delegation.path: "),
            ("path = \"/a b\"".to_owned(), "delegation.path: "),
            ("path = \"/a?b\"".to_owned(), "delegation.path: "),
            ("endpoints = [\"http://a/b\"]".to_owned(), "delegation.endpoints: "),
            ("endpoints = [\"https://a/b https://c\"]".to_owned(), "delegation.endpoints: "),
            (exchange("http://a"), "delegation.exchange: \"http://a\" is no URL of https"),
            (exchange("https://a").repeat(2), "delegation.exchange: https://a is there twice"),
        ] {
            let said = contradiction(&text).unwrap_or_else(|| panic!("{text} is accepted"));
            assert!(said.starts_with(expected), "{text}: {said}");
        }
    }
}
