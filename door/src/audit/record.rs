//! One record of the audit, as docs/authentication.md describes it. There is no field for a credential.

use std::net::IpAddr;

use jiff::Timestamp;
use penstock_service::records::Record;
use serde_json::{Value, json};

use crate::auth::Access;
use crate::auth::claimed::Claimed;
use crate::auth::identity::Scheme;

/// Changes when a field goes or means something else, not when one is added.
pub const RECORD_VERSION: u32 = 1;
/// Longest text of a field, in bytes.
const MAX_TEXT_BYTES: usize = 512;
/// Groups of somebody that are told.
const MAX_GROUPS: usize = 4;

/// Who did something, or tried to. What is not known is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The address.
    pub client: IpAddr,
    /// How it was proved: `anonymous`, `macaroon`, `token`, `certificate`, `password`, `kerberos`; `None` when nothing
    /// was.
    pub scheme: Option<&'static str>,
    /// A name for people.
    pub name: Option<String>,
    /// The token's issuer.
    pub issuer: Option<String>,
    /// The token's subject.
    pub subject: Option<String>,
    /// `jti` of a token, `iid` of a macaroon.
    pub token_id: Option<String>,
    /// The certificate's owner.
    pub distinguished_name: Option<String>,
    /// The first of the groups that somebody is in, by what they have shown.
    pub groups: Vec<String>,
    /// Whom a credential names that was refused: nothing of it is proved.
    pub claimed: Option<Claimed>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// A request was refused.
    Refused {
        /// What was asked.
        request: Request,
        /// Why, as the client was told.
        why: String,
    },
    /// A change of the namespace was made, or begun where bytes have to move first: then the record with the same
    /// transfer and the event `named` is the end of it.
    Changed {
        /// What was asked.
        request: Request,
        /// Where a MOVE or COPY leads.
        destination: Option<String>,
        /// Of an upload or a copy.
        transfer: Option<String>,
    },
    /// A macaroon was given.
    Issued {
        /// What was asked.
        request: Request,
        /// The `iid` of the macaroon.
        issued: String,
    },
    /// Something became of a proxy that a user has lent the door.
    Delegation {
        /// What.
        step: DelegationStep,
        /// Its id, unique among those of its owner.
        delegation: String,
        /// The path of the copy that it was used for.
        path: Option<String>,
    },
    /// A file that was uploaded or copied has its name.
    Named {
        /// Which transfer.
        transfer: String,
        /// The name; `None` when it was given before and this is told once more.
        path: Option<String>,
        /// Where its bytes are.
        pool: String,
        /// Its size in bytes.
        size: u64,
    },
}

/// What became of a delegation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DelegationStep {
    /// There is a new one, good until then.
    Created(Timestamp),
    /// It has taken the place of one with the same id, and is good until then.
    Renewed(Timestamp),
    /// It was given to a pool, for a third-party copy.
    Used,
    /// Its owner has taken it back.
    Destroyed,
}

impl DelegationStep {
    fn event(self) -> &'static str {
        match self {
            DelegationStep::Created(_) => "delegation-created",
            DelegationStep::Renewed(_) => "delegation-renewed",
            DelegationStep::Used => "delegation-used",
            DelegationStep::Destroyed => "delegation-destroyed",
        }
    }

    fn ends_at(self) -> Option<Timestamp> {
        match self {
            DelegationStep::Created(ends_at) | DelegationStep::Renewed(ends_at) => Some(ends_at),
            DelegationStep::Used | DelegationStep::Destroyed => None,
        }
    }
}

/// A request, without header and query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its path: in the namespace where it is known, else as it stood in the request.
    pub path: String,
    /// The answer's status; `None` when the client went before there was one.
    pub status: Option<u16>,
}

/// Something that happened, with all that is told of it.
#[derive(Debug)]
pub struct Event {
    pub(super) at: Timestamp,
    pub(super) door: String,
    pub(super) who: Who,
    pub(super) happening: Happening,
    /// Refusals before it that are not recorded.
    pub(super) left_out: u64,
}

impl Who {
    /// Somebody at an address of whom nothing else was proved.
    pub fn unknown(client: IpAddr) -> Self {
        Self {
            client,
            scheme: None,
            name: None,
            issuer: None,
            subject: None,
            token_id: None,
            distinguished_name: None,
            groups: Vec::new(),
            claimed: None,
        }
    }

    /// Who has shown a certificate of that name by TLS.
    pub fn of_certificate(client: IpAddr, distinguished_name: &str) -> Self {
        Self {
            scheme: Some("certificate"),
            name: Some(distinguished_name.to_owned()),
            distinguished_name: Some(distinguished_name.to_owned()),
            ..Self::unknown(client)
        }
    }

    /// The door itself, for what ends without anybody asking.
    pub fn door() -> Self {
        Self { scheme: Some("door"), ..Self::unknown(std::net::Ipv4Addr::UNSPECIFIED.into()) }
    }

    /// Who has access.
    pub fn of(client: IpAddr, access: &Access) -> Self {
        let nobody = Self { name: Some(access.subject().to_owned()), ..Self::unknown(client) };
        match access {
            Access::Anonymous(_) => Self { scheme: Some("anonymous"), ..nobody },
            Access::Token(grant) => {
                Self { scheme: Some("macaroon"), token_id: Some(grant.issue_id.clone()), ..nobody }
            }
            Access::Known(known) => {
                let identity = &known.identity;
                let scheme = match identity.scheme {
                    Scheme::Password => "password",
                    Scheme::Certificate => "certificate",
                    Scheme::Token => "token",
                    Scheme::Kerberos => "kerberos",
                };
                Self {
                    scheme: Some(scheme),
                    issuer: identity.issuer.clone(),
                    subject: identity.subject.clone(),
                    token_id: identity.token_id.clone(),
                    distinguished_name: identity.distinguished_name.clone(),
                    groups: identity.groups.iter().take(MAX_GROUPS).map(|group| short(group)).collect(),
                    ..nobody
                }
            }
        }
    }
}

impl Event {
    /// One line of JSON, and what the journal can be searched by.
    pub fn record(self) -> Record {
        let who = &self.who;
        let event = match &self.happening {
            Happening::Refused { .. } => "refused",
            Happening::Changed { .. } => "changed",
            Happening::Issued { .. } => "issued",
            Happening::Delegation { step, .. } => step.event(),
            Happening::Named { .. } => "named",
        };
        let (mut destination, mut transfer, mut why) = (Value::Null, Value::Null, Value::Null);
        let (mut issued, mut pool, mut size) = (Value::Null, Value::Null, Value::Null);
        let (mut delegation, mut ends_at, mut of_file) = (Value::Null, Value::Null, None);
        let request = match self.happening {
            Happening::Refused { request, why: text } => {
                why = short(&text).into();
                Some(request)
            }
            Happening::Changed { request, destination: to, transfer: id } => {
                destination = to.as_deref().map(short).into();
                transfer = id.into();
                Some(request)
            }
            Happening::Issued { request, issued: id } => {
                issued = id.into();
                Some(request)
            }
            Happening::Delegation { step, delegation: id, path } => {
                (delegation, ends_at) = (id.into(), step.ends_at().map(|at| at.to_string()).into());
                of_file = path;
                None
            }
            Happening::Named { transfer: id, path, pool: name, size: bytes } => {
                (transfer, pool, size) = (id.into(), name.into(), bytes.into());
                of_file = path;
                None
            }
        };
        let client = (who.scheme != Some("door")).then(|| who.client.to_canonical().to_string());
        let json = json!({
            "record_version": RECORD_VERSION,
            "at": self.at.to_string(),
            "door": self.door,
            "event": event,
            "client": client,
            "scheme": who.scheme,
            "who": who.name.as_deref().map(short),
            "issuer": who.issuer.as_deref().map(short),
            "subject": who.subject.as_deref().map(short),
            "token_id": who.token_id.as_deref().map(short),
            "dn": who.distinguished_name.as_deref().map(short),
            "groups": who.groups,
            "claimed": who.claimed,
            "method": request.as_ref().map(|request| short(&request.method)),
            "path": request.as_ref().map(|request| &request.path).or(of_file.as_ref()).map(|path| short(path)),
            "status": request.as_ref().and_then(|request| request.status),
            "destination": destination,
            "transfer": transfer,
            "issued": issued,
            "delegation": delegation,
            "ends_at": ends_at,
            "pool": pool,
            "size": size,
            "why": why,
            "left_out": self.left_out,
        });
        let fields = vec![
            ("PENSTOCK_EVENT", event.to_owned()),
            ("PENSTOCK_CLIENT", client.unwrap_or_default()),
            ("PENSTOCK_WHO", who.name.clone().unwrap_or_default()),
        ];
        Record { json: json.to_string(), fields }
    }
}

/// What others wrote does not make a record long, whatever it holds is escaped by JSON.
fn short(text: &str) -> String {
    let end = (0..=MAX_TEXT_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Anonymous;
    use crate::auth::identity::Identity;
    use crate::auth::known::Known;

    fn record(who: Who, happening: Happening) -> Value {
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        let event = Event { at, door: "door01".into(), who, happening, left_out: 3 };
        serde_json::from_str(&event.record().json).unwrap()
    }

    fn client() -> IpAddr {
        "192.0.2.7".parse().unwrap()
    }

    fn request(path: &str) -> Request {
        Request { method: "PUT".into(), path: path.into(), status: Some(403) }
    }

    #[test]
    fn a_refusal_says_who_what_and_why() {
        let mut identity = Identity::new(Scheme::Token, "a@https://vo.example");
        identity.issuer = Some("https://vo.example".into());
        identity.subject = Some("a".into());
        identity.token_id = Some("jti1".into());
        identity.groups = (1..=9).map(|number| format!("/vo/{number}")).collect();
        let known =
            Known { identity, scopes: None, granted: vec![], anonymous: Anonymous::None, proof: None };
        let who = Who::of(client(), &Access::Known(Box::new(known)));
        let json = record(who, Happening::Refused { request: request("/a"), why: "no right\n".into() });
        assert_eq!(
            json,
            serde_json::json!({
                "record_version": 1, "at": "2026-01-01T00:00:00Z", "door": "door01", "event": "refused",
                "client": "192.0.2.7", "scheme": "token", "who": "a@https://vo.example",
                "issuer": "https://vo.example", "subject": "a", "token_id": "jti1", "dn": null,
                "groups": ["/vo/1", "/vo/2", "/vo/3", "/vo/4"], "claimed": null,
                "method": "PUT", "path": "/a", "status": 403, "destination": null, "transfer": null,
                "issued": null, "delegation": null, "ends_at": null, "pool": null, "size": null, "why": "no right\n", "left_out": 3,
            })
        );
    }

    #[test]
    fn every_event_has_every_field_and_no_text_is_long() {
        let everybody = Who::of(client(), &Access::Anonymous(Anonymous::Write));
        let long = format!("/{}", "é".repeat(5000));
        let events = [
            record(Who::unknown(client()), Happening::Refused { request: request(&long), why: long.clone() }),
            record(
                everybody,
                Happening::Changed {
                    request: request(&long),
                    destination: Some(long.clone()),
                    transfer: Some("t".into()),
                },
            ),
            record(Who::unknown(client()), Happening::Issued { request: request("/"), issued: "i".into() }),
            record(
                Who::of_certificate(client(), &long),
                Happening::Delegation {
                    step: DelegationStep::Used,
                    delegation: "d".into(),
                    path: Some(long.clone()),
                },
            ),
            record(
                Who::door(),
                Happening::Named {
                    transfer: "t".into(),
                    path: Some(long.clone()),
                    pool: "p".into(),
                    size: 5,
                },
            ),
        ];
        for event in &events {
            assert_eq!(event.as_object().unwrap().len(), 25, "{event}");
            assert!(event.to_string().len() < 3 * MAX_TEXT_BYTES + 1024);
        }
        assert_eq!(events[1]["scheme"], "anonymous");
        assert_eq!((&events[4]["client"], &events[4]["size"]), (&Value::Null, &json!(5)));
    }

    #[test]
    fn a_delegation_is_told_of_with_its_id_its_end_and_the_copy_it_was_used_for() {
        let ends_at: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let alice = || Who::of_certificate(client(), "/O=Grid/CN=alice");
        for (step, path, event, ends) in [
            (DelegationStep::Created(ends_at), None, "delegation-created", json!("2026-01-02T00:00:00Z")),
            (DelegationStep::Renewed(ends_at), None, "delegation-renewed", json!("2026-01-02T00:00:00Z")),
            (DelegationStep::Used, Some("/atlas/file"), "delegation-used", Value::Null),
            (DelegationStep::Destroyed, None, "delegation-destroyed", Value::Null),
        ] {
            let path = path.map(str::to_owned);
            let told =
                record(alice(), Happening::Delegation { step, delegation: "d1".into(), path: path.clone() });
            assert_eq!((&told["event"], &told["delegation"]), (&json!(event), &json!("d1")));
            assert_eq!((&told["ends_at"], &told["path"]), (&ends, &json!(path)));
            assert_eq!((&told["scheme"], &told["dn"]), (&json!("certificate"), &json!("/O=Grid/CN=alice")));
        }
    }
}
