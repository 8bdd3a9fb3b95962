//! Who somebody is, as a scheme of authentication has proved it. What they may do is the policy's matter.

use jiff::Timestamp;

/// How an identity was proved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// A user's name and password (RFC 7617).
    Password,
    /// A client certificate, or a proxy made from one (RFC 5280, RFC 3820).
    Certificate,
    /// A signed token of an issuer that the site trusts.
    Token,
    /// Kerberos (RFC 4559).
    Kerberos,
}

/// Somebody, with what was proved about them. Fields that the scheme says nothing about are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// How it was proved.
    pub scheme: Scheme,
    /// For logs, lists and records; never empty.
    pub name: String,
    /// The user in the password file, or the Kerberos principal.
    pub user: Option<String>,
    /// The token's `iss`.
    pub issuer: Option<String>,
    /// The token's `sub`.
    pub subject: Option<String>,
    /// The token's `jti`: for records, it opens nothing.
    pub token_id: Option<String>,
    /// The distinguished name of the certificate's owner (without those of proxies), as `/DC=org/…/CN=name`.
    pub distinguished_name: Option<String>,
    /// Groups that the token, the password file's neighbour or a VO's server says the user is in, as `/experiment/role`.
    pub groups: Vec<String>,
    /// What was shown along with the proof and does not count, with the reason: for whoever wonders what is missing.
    pub ignored: Option<String>,
    /// When the proof ends.
    pub expires_at: Option<Timestamp>,
    /// A limited proxy proved it: it may do what its owner may, but its rights may not be delegated further.
    pub limited: bool,
}

impl Identity {
    /// Somebody of whom nothing is known yet but a name.
    pub fn new(scheme: Scheme, name: impl Into<String>) -> Self {
        Self {
            scheme,
            name: name.into(),
            user: None,
            issuer: None,
            subject: None,
            token_id: None,
            distinguished_name: None,
            groups: Vec::new(),
            ignored: None,
            expires_at: None,
            limited: false,
        }
    }
}
