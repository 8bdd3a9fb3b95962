//! The header `If` (RFC 4918 §10.4): what must hold, and which lock tokens the client shows by naming them.

use std::collections::BTreeMap;

use hyper::StatusCode;
use hyper::header::HeaderMap;

use super::answer::Refusal;
use super::destination::{self, Reference};
use super::exchange::Exchange;
use super::head;
use super::precondition::{self, Verdict};
use crate::auth::Operation;
use crate::namespace::{Entry, Lookup, NsPath, Shown, Touch};

/// Resources that one header may name: each is looked up.
const MAX_RESOURCES: usize = 16;

/// The header: it holds when one of its lists does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IfHeader {
    /// Never empty.
    pub lists: Vec<List>,
}

/// Conditions on a resource that must hold together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// As the client wrote it; `None`: the request's own.
    pub resource: Option<String>,
    /// Never empty.
    pub conditions: Vec<Condition>,
}

/// What must be, or must not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `Not` stands before it.
    pub negated: bool,
    /// What.
    pub state: State,
}

/// How a resource may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is locked with this token.
    Token(String),
    /// It has this entity tag, which is weak or not.
    Etag {
        /// `W/` stands before it.
        weak: bool,
        /// Without quotes.
        value: String,
    },
}

/// What a request's header says, when it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// The tokens in it.
    pub shown: Shown,
    /// It speaks of entity tags, which must be the same when the change is made.
    pub by_etag: bool,
}

/// What a condition is held against.
struct Resource {
    etag: Option<String>,
    tokens: Vec<String>,
}

impl IfHeader {
    /// Reads it. `None` when it is none.
    pub fn parse(value: &str) -> Option<Self> {
        let mut lists = Vec::new();
        let mut resource = None;
        let mut rest = value.trim_start();
        while !rest.is_empty() {
            if let Some(tag) = rest.strip_prefix('<') {
                let (uri, after) = tag.split_once('>')?;
                resource = Some(uri.trim().to_owned());
                rest = after.trim_start();
                if !rest.starts_with('(') {
                    return None;
                }
                continue;
            }
            let (conditions, after) = conditions(rest.strip_prefix('(')?)?;
            lists.push(List { resource: resource.clone(), conditions });
            rest = after.trim_start();
        }
        (!lists.is_empty()).then_some(Self { lists })
    }

    /// The lock tokens that it names, in their order.
    pub fn tokens(&self) -> Vec<String> {
        let states = self.lists.iter().flat_map(|list| &list.conditions).map(|condition| &condition.state);
        states
            .filter_map(|state| match state {
                State::Token(token) => Some(token.clone()),
                State::Etag { .. } => None,
            })
            .collect()
    }

    fn speaks_of_etags(&self) -> bool {
        let mut conditions = self.lists.iter().flat_map(|list| &list.conditions);
        conditions.any(|condition| matches!(condition.state, State::Etag { .. }))
    }

    fn holds(&self, resources: &BTreeMap<Option<String>, Resource>) -> bool {
        self.lists.iter().any(|list| {
            let resource = resources.get(&list.resource);
            list.conditions
                .iter()
                .all(|condition| resource.is_some_and(|it| it.is(&condition.state)) != condition.negated)
        })
    }
}

/// The conditions of a list, and what follows its end.
fn conditions(mut rest: &str) -> Option<(Vec<Condition>, &str)> {
    let mut conditions = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix(')') {
            return (!conditions.is_empty()).then_some((conditions, after));
        }
        let negated = rest.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("not"));
        if negated {
            rest = rest[3..].trim_start();
        }
        let (state, after) = if let Some(tag) = rest.strip_prefix('<') {
            let (token, after) = tag.split_once('>')?;
            (State::Token(token.trim().to_owned()), after)
        } else {
            etag(rest.strip_prefix('[')?)?
        };
        conditions.push(Condition { negated, state });
        rest = after;
    }
}

/// An entity tag, which may hold brackets, and what follows its closing bracket.
fn etag(text: &str) -> Option<(State, &str)> {
    let text = text.trim_start();
    let (weak, tag) = text.strip_prefix("W/").map_or((false, text), |tag| (true, tag));
    let (value, after) = match tag.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        // As with If-Match, quotes that are left out are forgiven.
        None => tag.split_at(tag.find(']')?),
    };
    let after = after.trim_start().strip_prefix(']')?;
    Some((State::Etag { weak, value: value.trim().to_owned() }, after))
}

impl Resource {
    fn is(&self, state: &State) -> bool {
        match state {
            State::Token(token) => self.tokens.contains(token),
            // RFC 9110 §8.8.3.2: the strong comparison.
            State::Etag { weak, value } => !weak && self.etag.as_ref() == Some(value),
        }
    }
}

/// The same for a method that does not look at the entry before: what HTTP itself has for conditions counts, too
/// (RFC 9110 §13.1: none of them may be passed over).
pub async fn check_all(exchange: &Exchange) -> Result<Checked, Refusal> {
    if precondition::are_in(exchange.headers()) {
        let entry = match exchange.service.namespace.lookup(&exchange.path).await? {
            Lookup::Found(entry) => Some(entry),
            Lookup::Missing | Lookup::NoParent | Lookup::NotADirectory => None,
        };
        let (verdict, _) = precondition::for_write(exchange.headers(), entry.as_ref());
        if verdict != Verdict::Proceed {
            return Err(head::refuse(verdict));
        }
    }
    check(exchange).await
}

/// What the request's header says; 412 when it does not hold.
pub async fn check(exchange: &Exchange) -> Result<Checked, Refusal> {
    let subject = exchange.access.subject().to_owned();
    let Some(header) = read(exchange.headers())? else {
        return Ok(Checked { shown: Shown { tokens: Vec::new(), subject }, by_etag: false });
    };
    let mut resources = BTreeMap::new();
    for list in &header.lists {
        if resources.contains_key(&list.resource) {
            continue;
        }
        if resources.len() == MAX_RESOURCES {
            let text = format!("the header If names more than {MAX_RESOURCES} resources");
            return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
        }
        let path = match &list.resource {
            None => exchange.path.clone(),
            Some(uri) => match destination::read(exchange, uri, "If")? {
                Reference::Here(view_path) => exchange.access.real_path(&view_path)?,
                // Nothing is known of it, so that no condition on it holds.
                Reference::Elsewhere => continue,
            },
        };
        // Whether a condition holds tells what is there: to those only who may see it.
        if exchange.may(Operation::ReadMetadata, &path) {
            resources.insert(list.resource.clone(), look_up(exchange, &path).await?);
        }
    }
    if !header.holds(&resources) {
        let text = "the header If does not hold: another lock, or other data, than the client knows of";
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, text));
    }
    let shown = Shown { tokens: header.tokens(), subject };
    Ok(Checked { shown, by_etag: header.speaks_of_etags() })
}

/// Reads the header. `None` when there is none.
pub fn read(headers: &HeaderMap) -> Result<Option<IfHeader>, Refusal> {
    let bad = || Refusal::new(StatusCode::BAD_REQUEST, "the header If cannot be read (RFC 4918 §10.4)");
    let mut values = headers.get_all("if").iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad());
    }
    let value = value.to_str().map_err(|_| bad())?;
    IfHeader::parse(value).map(Some).ok_or_else(bad)
}

/// The tokens in the header, whether it holds or not.
pub fn tokens(headers: &HeaderMap) -> Result<Vec<String>, Refusal> {
    Ok(read(headers)?.map(|header| header.tokens()).unwrap_or_default())
}

async fn look_up(exchange: &Exchange, path: &NsPath) -> Result<Resource, Refusal> {
    let namespace = &exchange.service.namespace;
    let etag = match namespace.lookup(path).await? {
        Lookup::Found(entry) => etag_of(&entry),
        Lookup::Missing | Lookup::NoParent | Lookup::NotADirectory => None,
    };
    let locks = namespace.all_locks(&[Touch::Entry(path)]).await?;
    Ok(Resource { etag, tokens: locks.into_iter().map(|lock| lock.token).collect() })
}

fn etag_of(entry: &Entry) -> Option<String> {
    entry.file().map(|file| file.etag().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resources() -> BTreeMap<Option<String>, Resource> {
        let resource = |etag: &str, token: &str| Resource {
            etag: Some(etag.to_owned()),
            tokens: vec![token.to_owned()],
        };
        BTreeMap::from([(None, resource("a]b", "urn:1")), (Some("/x".into()), resource("x", "urn:2"))])
    }

    #[test]
    fn the_header_holds_as_rfc_4918_section_10_4_says() {
        let table = [
            ("(<urn:1>)", true),
            ("(<urn:2>)", false),
            ("(Not <urn:2>)", true),
            ("(<urn:1> [\"a]b\"])", true),
            ("(<urn:1>[\"other\"])", false),
            ("(<urn:1> [\"other\"]) (Not <DAV:no-lock>)", true),
            ("(<urn:1> [\"other\"]) (not <DAV:no-lock> [\"other\"])", false),
            ("([W/\"a]b\"])", false),
            ("</x> (<urn:2> [x])", true),
            ("</x> (<urn:1>)", false),
            ("</x> (<urn:1>) (<urn:2>)", true),
            ("</elsewhere> (<urn:1>)", false),
            ("</elsewhere> (Not <urn:1>)", true),
            ("</x> (<urn:1>) </elsewhere> (<urn:2>)", false),
        ];
        for (header, holds) in table {
            assert_eq!(IfHeader::parse(header).unwrap().holds(&resources()), holds, "{header}");
        }
    }

    #[test]
    fn every_token_that_is_named_is_shown() {
        let header = IfHeader::parse("(<urn:1> [\"e\"]) </x> (Not <urn:2>)").unwrap();
        assert_eq!(header.tokens(), ["urn:1", "urn:2"]);
        assert!(header.speaks_of_etags());
        assert!(!IfHeader::parse("(<urn:1>)").unwrap().speaks_of_etags());
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for text in [
            "",
            "(",
            ")",
            "()",
            "(Not)",
            "<urn:1>",
            "(<urn:1>",
            "(<urn:1)",
            "([\"a\")",
            "([a",
            "</x>",
            "</x> </y> (<urn:1>)",
            "(<urn:1>) x",
            "(urn:1)",
            "(Not Not <urn:1>)",
        ] {
            assert_eq!(IfHeader::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[<>()\\[\\]\"Not /W:a-cé]{0,60}") {
            let _ = IfHeader::parse(&text);
        }
    }
}
