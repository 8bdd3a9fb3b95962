//! Kerberos by SPNEGO (RFC 4559): `Authorization: Negotiate …` names a principal of a realm.
//!
//! * [`gssapi`]: by MIT's libraries, in builds with the feature `kerberos`. [`absent`]: in all others.
//!
//! The door proves itself as the principal whose keys are in the keytab, which MIT's libraries find by `KRB5_KTNAME`, and
//! asks nobody: all that it needs is in the client's ticket and the keytab.
#![forbid(unsafe_code)]

#[cfg(not(feature = "kerberos"))]
mod absent;
#[cfg(feature = "kerberos")]
mod gssapi;

#[cfg(not(feature = "kerberos"))]
pub use absent::Kerberos;
#[cfg(feature = "kerberos")]
pub use gssapi::Kerberos;

/// Longest token, in bytes: those of Active Directory, with all groups of a user, are the longest.
pub const MAX_TOKEN_BYTES: usize = 64 << 10;

/// Why Kerberos cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum KerberosSetupError {
    /// No keys.
    #[error(
        "authentication.kerberos: no keys for {service} in the keytab (KRB5_KTNAME, else /etc/krb5.keytab): {problem}"
    )]
    Keytab {
        /// For whom.
        service: String,
        /// What the library says.
        problem: String,
    },
    /// Not in this build.
    #[error(
        "authentication.kerberos: this door was built without Kerberos: build it with the feature \"kerberos\""
    )]
    NotBuilt,
}

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KerberosError {
    /// Not what the header should hold: 400.
    #[error("what follows Negotiate is no token in base64")]
    Form,
    /// Too long: 400.
    #[error("the Negotiate token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Another mechanism, or one that needs another round: 401.
    #[error("this door takes Kerberos only, in one round: get a ticket (kinit) and try again")]
    Mechanism,
    /// The ticket is no good: 401. What the library says of it is in the log.
    #[error("the Kerberos ticket is not accepted: is it for this door, and is your clock right?")]
    Ticket,
    /// The door stops.
    #[error("the door stops")]
    Stopping,
}

impl KerberosError {
    /// The request itself is wrong.
    pub fn is_of_form(&self) -> bool {
        match self {
            KerberosError::Form | KerberosError::TooLong => true,
            KerberosError::Mechanism | KerberosError::Ticket | KerberosError::Stopping => false,
        }
    }
}
