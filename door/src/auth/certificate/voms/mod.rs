//! Attributes of a VOMS in a proxy: groups and roles of a VO, which a server of the VO has signed for the proxy's owner.
//!
//! * [`attribute_certificate`]: what stands in the proxy (RFC 5755, with what VOMS has made of it).
//! * [`servers`]: which servers may speak for which VO.
//! * [`targets`]: for which hosts it is meant.
//! * [`error`]: why attributes do not count. [`warnings`]: how often the journal is told.
//!
//! What does not count takes nothing from its owner, who is known by the certificate; it only adds nothing.

pub mod attribute_certificate;
pub mod error;
pub mod servers;
mod targets;
pub mod warnings;

#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

use super::authorities::Trust;
use super::facts::Certificate;
use super::name::Name;
use super::path::{self, Signatures};
use super::signature::SignatureProblem;
use attribute_certificate::AttributeCertificate;
use error::{Problem, VomsError};
use servers::Servers;

/// A server makes attributes at the moment when they are asked for, and its clock may be before the door's.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What VOs say of somebody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Groups and roles, as `/vo/group/Role=role`, in the order of their servers: the first is the one that counts most.
    pub groups: Vec<String>,
    /// When the first of them ends.
    pub ends_at: Option<Timestamp>,
    /// Why others do not count: the first reason.
    pub ignored: Option<VomsError>,
}

/// What is asked of every attribute certificate in one proxy.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Whom the site believes.
    pub trust: &'a Trust,
    /// Which servers may speak for which VO.
    pub servers: &'a Servers,
    /// What the door is called, in lower case; `None` where that is not configured.
    pub host: Option<&'a str>,
    /// The certificate of the proxy's owner.
    pub owner: &'a Certificate,
    /// When.
    pub now: Timestamp,
}

/// What the attributes in a proxy say of its owner. `extension`: as it stands in the proxy. Never more signatures are
/// looked at than `signatures` still allows.
pub fn attributes(asked: Asked<'_>, extension: &[u8], signatures: &mut Signatures) -> Attributes {
    let mut all = Attributes::default();
    let found = match attribute_certificate::parse_all(extension) {
        Ok(found) => found,
        Err(problem) => {
            all.ignored = Some(VomsError { vo: None, problem: Problem::Unreadable(problem) });
            return all;
        }
    };
    for one in found {
        match check(&one, asked, signatures) {
            Ok(()) => {
                all.ends_at = Some(all.ends_at.map_or(one.not_after, |first| first.min(one.not_after)));
                for group in one.groups {
                    if !all.groups.contains(&group) {
                        all.groups.push(group);
                    }
                }
            }
            Err(problem) => {
                all.ignored.get_or_insert(VomsError { vo: Some(one.vo), problem });
            }
        }
    }
    all
}

fn check(one: &AttributeCertificate, asked: Asked<'_>, signatures: &mut Signatures) -> Result<(), Problem> {
    let Asked { trust, servers, host, owner, now } = asked;
    // What costs least comes first.
    if now + CLOCK_SKEW < one.not_before {
        return Err(Problem::NotYet(one.not_before));
    }
    if now > one.not_after {
        return Err(Problem::Ended(one.not_after));
    }
    if let Some(extension) = &one.unknown_critical {
        return Err(Problem::Critical(extension.clone()));
    }
    if let Some(targets) = &one.targets
        && !host.is_some_and(|host| targets.iter().any(|target| target == host))
    {
        return Err(Problem::Target { host: host.map(str::to_owned) });
    }
    // RFC 5755 §4.2.2 has the issuer of the owner's certificate there; servers of VOMS put the owner's own name, and its
    // checkers take either. The number is the same in both.
    let named = one.holder.names.iter().any(|name| *name == owner.issuer || *name == owner.subject);
    if !named || one.holder.serial != owner.serial {
        return Err(Problem::Holder);
    }
    let chains = servers.chains(&one.vo, &one.host);
    if chains.is_empty() {
        return Err(Problem::UnknownServer { host: one.host.clone() });
    }
    let shown = one.certificates.iter().map(|der| Certificate::parse(der)).collect::<Result<Vec<_>, _>>();
    let shown = shown.map_err(Problem::Server)?;
    let server = shown.first().ok_or(Problem::NoCertificate)?;
    if one.issuer != server.subject {
        return Err(Problem::Server("it is not the issuer's"));
    }
    if server.usage.is_some_and(|usage| !usage.digital_signature) {
        return Err(Problem::Server("it is not for signatures"));
    }
    server.key.verify(&one.signed).map_err(|problem| match problem {
        SignatureProblem::Algorithm => Problem::Algorithm(one.signed.algorithm_name.clone()),
        SignatureProblem::Wrong => Problem::Signature,
    })?;
    let path = path::of_server(trust, &shown, now, signatures).map_err(Problem::Chain)?;
    let path: Vec<String> = path.into_iter().map(Name::to_string).collect();
    if chains.iter().any(|chain| chain.fits(&path)) {
        Ok(())
    } else {
        Err(Problem::OtherServer { host: one.host.clone(), subject: server.subject.to_string() })
    }
}
