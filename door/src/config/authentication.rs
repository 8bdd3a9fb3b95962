//! Who clients are: what each scheme needs to know; and what they may do.

use std::path::PathBuf;
use std::time::Duration;

use penstock_service::records::RecordTarget;
use penstock_service::settings::Wrong;
use penstock_trust::CertificateError;
use serde::{Deserialize, Deserializer, de};

use super::value::{Period, PublicUrl};
use crate::auth::certificate::Authorities;
use crate::auth::request::Lifetimes;
use crate::auth::token::issuer::MAX_ISSUERS;
use crate::auth::token::{Profile, TrustedIssuer};

/// No macaroon lives longer, whatever is configured.
const LONGEST_MACAROON: Duration = Duration::from_secs(7 * 24 * 3600);

/// The table `[authentication]`. A scheme is off whose key is missing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authentication {
    /// Client certificates: the authorities that the site trusts, as a directory that grids have
    /// (`/etc/grid-security/certificates`) or as a PEM file. Read again when something in it changes. Needs `[tls]`.
    pub authorities: Option<PathBuf>,
    /// Groups and roles in proxies: the servers of VOs that may sign them, as a directory that grids have
    /// (`/etc/grid-security/vomsdir`). Read again when something in it changes. Needs `authorities`.
    pub voms: Option<PathBuf>,
    /// Basic: users and their passwords, as `htpasswd -B` makes them. Read again when it changes. Needs `[tls]`.
    pub passwords: Option<PathBuf>,
    /// Kerberos by SPNEGO, in builds that have it: the service that clients ask tickets for, as `HTTP@door.example.org`.
    /// Its keys are in the keytab (`KRB5_KTNAME`). Needs `[tls]`.
    pub kerberos: Option<String>,
    /// Who may do what and where: docs/authentication.md. Without it, whoever is known by a certificate, a password or a
    /// signed token may do no more than anybody. Macaroons say themselves what they are for.
    pub policy: Option<PathBuf>,
    /// Whose signed tokens are taken.
    pub issuers: Vec<TrustedIssuer>,
    /// The authorities that the issuers' own servers are checked with, a PEM file. Default: the system's.
    pub issuer_authorities: Option<PathBuf>,
    /// A directory of the door's own where issuers' keys are kept, so that a door that starts while an issuer is away takes
    /// its tokens, for no longer than it would have without a start. Default: in memory only.
    pub issuer_keys: Option<PathBuf>,
    /// How long a macaroon lives whose client asks for no time. Default 24 h.
    pub macaroon_lifetime: Period,
    /// How long a macaroon lives at most that a client asks for. Default, and at most, 168 h: 7 days.
    pub macaroon_longest: Period,
    /// Where a line of JSON is written for each refusal and each change of the namespace: an absolute path, opened again at
    /// SIGHUP; `"journal"`; or `"stderr"`. Default: nowhere.
    #[serde(deserialize_with = "target")]
    pub audit: Option<RecordTarget>,
}

impl Default for Authentication {
    fn default() -> Self {
        Self {
            authorities: None,
            voms: None,
            passwords: None,
            kerberos: None,
            policy: None,
            issuers: Vec::new(),
            issuer_authorities: None,
            issuer_keys: None,
            macaroon_lifetime: Period(Duration::from_secs(24 * 3600)),
            macaroon_longest: Period(LONGEST_MACAROON),
            audit: None,
        }
    }
}

fn target<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RecordTarget>, D::Error> {
    String::deserialize(deserializer)?.parse().map(Some).map_err(de::Error::custom)
}

impl Authentication {
    /// Reads the authorities of clients, if certificates are asked for; `door` is what clients call it. Blocks.
    pub fn load_authorities(
        &self,
        door: Option<&PublicUrl>,
    ) -> Option<Result<Authorities, CertificateError>> {
        let host = door.and_then(PublicUrl::host);
        let load = |place| Authorities::load(place, self.voms.as_deref());
        self.authorities.as_deref().map(load).map(|read| read.map(|all| all.called(host.as_deref())))
    }

    /// How long macaroons live.
    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes { usual: self.macaroon_lifetime.0, longest: self.macaroon_longest.0 }
    }

    /// The issuers, with the door's URL as the audience of those that name none.
    pub fn issuers_of(&self, door: Option<&PublicUrl>) -> Vec<TrustedIssuer> {
        let own: Vec<String> = door.map(|url| url.as_str().to_owned()).into_iter().collect();
        let filled = self.issuers.iter().map(|issuer| {
            let audiences = if issuer.audiences.is_empty() { &own } else { &issuer.audiences };
            TrustedIssuer { audiences: audiences.clone(), ..issuer.clone() }
        });
        filled.collect()
    }

    /// What holds between its keys. `None` when all is well, else what to change.
    pub(crate) fn contradiction(&self, door: Option<&PublicUrl>) -> Option<Wrong> {
        if self.macaroon_longest.0 > LONGEST_MACAROON {
            return Some(Wrong::new("authentication.macaroon_longest", "must be at most \"168h\" (7 days)"));
        }
        if self.macaroon_lifetime.0 > self.macaroon_longest.0 {
            return Some(Wrong::new("authentication.macaroon_lifetime", "must be at most macaroon_longest"));
        }
        if self.voms.is_some() && self.authorities.is_none() {
            return Some(Wrong::new(
                "authentication.voms",
                "has no effect without certificates: set authentication.authorities",
            ));
        }
        let wrong_issuer = |problem: String| Some(Wrong::new("authentication.issuers", problem));
        if self.issuers.len() > MAX_ISSUERS {
            return wrong_issuer(format!("there are more than {MAX_ISSUERS}"));
        }
        for (index, issuer) in self.issuers.iter().enumerate() {
            if self.issuers[..index].iter().any(|other| other.url == issuer.url) {
                return wrong_issuer(format!("two have the url \"{}\": remove one", issuer.url));
            }
            // The profiles have an audience of their own that is for every service.
            if issuer.audiences.is_empty() && door.is_none() && issuer.profile == Profile::Oidc {
                return wrong_issuer(format!(
                    "{}: no token of it could be for this door: set audiences, or url at the top",
                    issuer.url
                ));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Authentication, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_table_is_read_and_its_defaults_are_those_of_the_profiles() {
        let table = read(
            "audit = \"/var/log/penstock/door-audit.jsonl\"\n[[issuers]]\nurl = \"https://vo.example/\"\nprefix = \"/vo\"\n",
        )
        .unwrap();
        assert_eq!(table.audit, Some(RecordTarget::File("/var/log/penstock/door-audit.jsonl".into())));
        assert_eq!(table.issuers[0].profile, Profile::Wlcg);
        assert_eq!(table.lifetimes().usual, Duration::from_secs(86_400));
        let door: PublicUrl = "https://door.example.org:2880".parse().unwrap();
        assert_eq!(table.issuers_of(Some(&door))[0].audiences, ["https://door.example.org:2880"]);
        assert_eq!(read("").unwrap(), Authentication::default());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_do() {
        for (text, expected) in [
            ("[[issuers]]\nurl = \"http://vo.example\"", "is no issuer: write it as its tokens do"),
            ("[[issuers]]\nurl = \"https://vo.example?x\"", "is no issuer"),
            ("[[issuers]]\nurl = \"https://vo.example\"\nprefix = \"vo\"", "does not begin with"),
            ("[[issuers]]\nurl = \"https://vo.example\"\nprofile = \"jwt\"", "unknown variant"),
            ("audit = \"audit.jsonl\"", "write an absolute path"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        for (text, expected) in [
            ("macaroon_longest = \"169h\"", "at most \"168h\""),
            ("macaroon_lifetime = \"2h\"\nmacaroon_longest = \"1h\"", "at most macaroon_longest"),
            ("[[issuers]]\nurl = \"https://a\"\n[[issuers]]\nurl = \"https://a\"", "two have the url"),
            ("[[issuers]]\nurl = \"https://a\"\nprofile = \"oidc\"", "set audiences"),
        ] {
            let text_of = read(text).unwrap().contradiction(None).unwrap().to_string();
            assert!(text_of.contains(expected), "{text}: {text_of}");
        }
    }
}
