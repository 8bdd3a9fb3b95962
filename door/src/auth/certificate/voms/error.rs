//! Why attributes do not count. The texts go to whoever has shown them, and into the audit.

use jiff::Timestamp;

use crate::auth::certificate::CertificateError;

/// Why attributes do not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the VOMS attributes{} do not count: {problem}", of(.vo.as_deref()))]
pub struct VomsError {
    /// Whose; `None` where that cannot be read.
    pub vo: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

fn of(vo: Option<&str>) -> String {
    vo.map(|vo| format!(" of {vo}")).unwrap_or_default()
}

fn called(host: Option<&str>) -> String {
    host.map_or_else(|| " (whose own name is not configured: url)".to_owned(), |host| format!(" ({host})"))
}

/// What is wrong with attributes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// They are not written as they should be.
    #[error("{0}")]
    Unreadable(&'static str),
    /// Their time has not come.
    #[error("they are good from {0} on only: look at the clock of your machine")]
    NotYet(Timestamp),
    /// Their time is over.
    #[error("they have ended at {0}: make a new proxy")]
    Ended(Timestamp),
    /// Something in them must be understood, and is not.
    #[error("they demand that extension {0} is understood, which this door does not")]
    Critical(String),
    /// They are for certain hosts, and not for this one.
    #[error("they are for certain hosts only, of which this door{} is none", called(.host.as_deref()))]
    Target {
        /// What the door is called; `None` where it has not been told.
        host: Option<String>,
    },
    /// They were made for the owner of another certificate.
    #[error("they are for another certificate than that of the proxy's owner")]
    Holder,
    /// The site knows no such server of that VO.
    #[error("this site knows no server {host} of this VO")]
    UnknownServer {
        /// Which server.
        host: String,
    },
    /// The server's certificate is not in them.
    #[error("the certificate of the server that has signed them is not among them")]
    NoCertificate,
    /// The server's certificate is no good.
    #[error("the certificate of the server that has signed them is no good: {0}")]
    Server(&'static str),
    /// It is not signed by an authority that the site trusts, has ended, was taken back.
    #[error("the server that has signed them is not believed: {0}")]
    Chain(CertificateError),
    /// The site expects another server or authority there.
    #[error("{subject} has signed them, which is not the server {host} that this site knows")]
    OtherServer {
        /// Which server it says it is.
        host: String,
        /// Which it is.
        subject: String,
    },
    /// An algorithm that is not accepted.
    #[error("they are signed with {0}, which is not accepted")]
    Algorithm(String),
    /// The signature is not the server's.
    #[error("their signature is not that of the server")]
    Signature,
}
