//! Why a client's certificate is refused. The texts go to the client: they say what is wrong with what it has shown,
//! and nothing of others.

use jiff::Timestamp;

/// Why a client's certificate is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The client has shown too many, or the way to an authority is too long.
    #[error("the chain of certificates is too long")]
    TooLong,
    /// A certificate cannot be read.
    #[error("certificate {number} of the chain cannot be read: {problem}")]
    Malformed {
        /// Counted from 1, which is the client's own.
        number: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// Its time has not come.
    #[error("the certificate of {subject} is good from {from} on only: look at the clock of your machine")]
    NotYet {
        /// Whose.
        subject: String,
        /// From then on.
        from: Timestamp,
    },
    /// Its time is over.
    #[error("the certificate of {subject} has ended at {at}: get a new one, or make a new proxy")]
    Ended {
        /// Whose.
        subject: String,
        /// Since then.
        at: Timestamp,
    },
    /// It has ended while the connection was open.
    #[error(
        "the certificate of this connection has ended: get a new one, or make a new proxy, and connect again"
    )]
    EndedMeanwhile,
    /// Nobody known has signed it.
    #[error(
        "the certificate of {subject} is signed by {issuer}, which is no authority that this site trusts"
    )]
    UnknownAuthority {
        /// Whose.
        subject: String,
        /// By whom.
        issuer: String,
    },
    /// The signature is not that of its issuer.
    #[error("the certificate of {subject} is not signed by {issuer}, although it says so")]
    BadSignature {
        /// Whose.
        subject: String,
        /// By whom.
        issuer: String,
    },
    /// A way to sign that can be forged, or that is unknown here.
    #[error(
        "the certificate of {subject} is signed with {algorithm}, which is not accepted: use SHA-256 or better"
    )]
    Algorithm {
        /// Whose.
        subject: String,
        /// The algorithm: its name, or its object identifier.
        algorithm: String,
    },
    /// A key that can be broken.
    #[error("the key of {subject} is too weak: RSA needs at least 2048 bits")]
    WeakKey {
        /// Whose.
        subject: String,
    },
    /// The authority has taken it back.
    #[error("the certificate of {subject} was revoked by {issuer}")]
    Revoked {
        /// Whose.
        subject: String,
        /// By whom.
        issuer: String,
    },
    /// The authority's list of what it has taken back is too old to go by.
    #[error(
        "the revocation list of {issuer} has ended, so nothing of it is believed: the site must fetch a new one"
    )]
    ListEnded {
        /// Whose list.
        issuer: String,
    },
    /// The site does not believe this authority when it speaks of this name.
    #[error("{issuer} may not certify {subject}: its namespace at this site does not contain that name")]
    Namespace {
        /// Whose certificate.
        subject: String,
        /// By whom.
        issuer: String,
    },
    /// The issuer is no authority, or may not sign certificates.
    #[error("{issuer} has signed the certificate of {subject}, but may not sign certificates")]
    NotAnAuthority {
        /// Whose.
        subject: String,
        /// By whom.
        issuer: String,
    },
    /// More authorities lie between than one of them allows.
    #[error("{issuer} allows fewer authorities below it than there are in this chain")]
    AuthorityDepth {
        /// By whom.
        issuer: String,
    },
    /// It is for something else.
    #[error("the certificate of {subject} is not for {purpose}")]
    Purpose {
        /// Whose.
        subject: String,
        /// For what it is not.
        purpose: &'static str,
    },
    /// Something in it must be understood, and is not.
    #[error(
        "the certificate of {subject} demands that extension {extension} is understood, which this door does not"
    )]
    Critical {
        /// Whose.
        subject: String,
        /// Its object identifier.
        extension: String,
    },
    /// A name that can be mistaken for another.
    #[error("the name {subject} can be mistaken for another: it has a \"/\" and \"=\" within one part")]
    AmbiguousName {
        /// Whose.
        subject: String,
    },
    /// A proxy that breaks a rule of RFC 3820.
    #[error("the proxy {subject} is refused: {problem}")]
    Proxy {
        /// Which.
        subject: String,
        /// What is wrong.
        problem: &'static str,
    },
}
