//! LOCK: a write lock, taken or refreshed (RFC 4918 §9.10). On a name that is free it makes an empty file (§7.3).

use std::time::Duration;

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::answer::{Answer, Refusal, full};
use super::depth::Depth;
use super::exchange::Exchange;
use super::multistatus::{self, active_lock, write_status};
use super::xml::{self, DAV, Element};
use super::{condition, locked, propfind, put, request_body};
use crate::auth::Operation;
use crate::namespace::lock::{LockError, MAX_TOLD, NewLock};
use crate::namespace::{Entry, Lock, Lookup, NsPath, Shown, Touch};

/// What a lock gets whose client asks for no time.
const USUAL_TIMEOUT: Duration = Duration::from_secs(600);
/// Longest element `owner` in bytes.
const MAX_OWNER_BYTES: usize = 4096;
/// Where the token of a new lock stands.
static LOCK_TOKEN: HeaderName = HeaderName::from_static("lock-token");

/// A lock that a body asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Not shared.
    pub exclusive: bool,
    /// An element; may be empty.
    pub owner: String,
}

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    exchange.allow(Operation::Lock)?;
    let body = request_body::xml(exchange).await?;
    let bad = |text: String| Refusal::new(StatusCode::BAD_REQUEST, text);
    let longest = exchange.service.lock_timeout;
    let timeout = timeout(exchange.headers(), longest);
    match xml::parse(&body).map_err(|error| bad(error.to_string()))? {
        None => refresh(exchange, timeout).await,
        Some(root) => {
            let wish = wish(&root).map_err(|text| bad(text.to_owned()))?;
            take(exchange, wish, timeout).await
        }
    }
}

async fn take(exchange: &Exchange, wish: Wish, timeout: Duration) -> Result<Answer, Refusal> {
    let depth = Depth::all_or_nothing(exchange.headers(), "LOCK")?;
    let shown = condition::check_all(exchange).await?.shown;
    let made = match exchange.service.namespace.lookup(&exchange.path).await? {
        Lookup::Found(_) => {
            // A lock keeps others from what is there: not for those who may only add to it.
            if !exchange.may(Operation::Overwrite, &exchange.path) {
                exchange.allow(Operation::Delete)?;
            }
            None
        }
        Lookup::Missing | Lookup::NoParent | Lookup::NotADirectory => {
            make_file(exchange, &wish, shown.clone()).await?;
            Some(exchange.existing().await?)
        }
    };
    let new = NewLock {
        token: new_token()?,
        path: exchange.path.clone(),
        deep: depth == Depth::Infinity,
        exclusive: wish.exclusive,
        owner: wish.owner,
        subject: exchange.access.subject().to_owned(),
        timeout,
    };
    let lock = match exchange.service.namespace.lock(new).await {
        Ok(lock) => lock,
        Err(error) => {
            if let Some(made) = &made {
                unmake(exchange, made, &shown).await;
            }
            return match error {
                LockError::Locked(locks) if !locks.iter().any(|lock| covers(exchange, lock)) => {
                    Ok(refuse_tree(exchange, &locks))
                }
                error => Err(refuse(exchange, error)),
            };
        }
    };
    let status = if made.is_some() { StatusCode::CREATED } else { StatusCode::OK };
    let mut answer = tell(exchange, &lock, status);
    // A token is made of hexadecimal digits.
    if let Ok(value) = HeaderValue::from_str(&format!("<{}>", lock.token)) {
        answer.headers_mut().insert(LOCK_TOKEN.clone(), value);
    }
    Ok(answer)
}

/// Takes away the empty file that was made for a lock that could not be had.
async fn unmake(exchange: &Exchange, made: &Entry, shown: &Shown) {
    match exchange.service.namespace.delete(&exchange.path, made, shown).await {
        Ok(()) => exchange.service.transfers.replica_owed(),
        // Somebody else has it by now.
        Err(error) => tracing::warn!(%error, "the empty file of a lock that was refused stays"),
    }
}

/// Makes the empty file that is to be locked; looks first whether the lock can be had.
async fn make_file(exchange: &Exchange, wish: &Wish, shown: Shown) -> Result<(), Refusal> {
    exchange.allow(Operation::Upload)?;
    put::target(exchange).await?;
    let mut against = exchange.service.namespace.all_locks(&[Touch::Entry(&exchange.path)]).await?;
    against.retain(|lock| lock.exclusive || wish.exclusive);
    if !against.is_empty() {
        return Err(locked::refuse_lock(exchange, &against));
    }
    locked::check_name(exchange, &exchange.path, false, &shown).await?;
    put::create_empty(exchange, shown).await
}

async fn refresh(exchange: &Exchange, timeout: Duration) -> Result<Answer, Refusal> {
    let tokens = condition::tokens(exchange.headers())?;
    let [token] = tokens.as_slice() else {
        // RFC 4918 §9.10.2.
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "a LOCK without a body refreshes the lock whose one token stands in the header If",
        ));
    };
    let none = || {
        Refusal::new(StatusCode::PRECONDITION_FAILED, "there is no such lock of yours here (any more)")
            .condition("<d:lock-token-matches-request-uri/>")
    };
    let namespace = &exchange.service.namespace;
    let lock =
        namespace.find_lock(token).await?.filter(|lock| is_yours(exchange, lock) && covers(exchange, lock));
    if lock.is_none() {
        return Err(none());
    }
    let lock = namespace.refresh_lock(token, timeout).await?.ok_or_else(none)?;
    Ok(tell(exchange, &lock, StatusCode::OK))
}

/// Whether a lock is on the request's path.
pub fn covers(exchange: &Exchange, lock: &Lock) -> bool {
    exchange.path == lock.path || (lock.deep && exchange.path.is_within(&lock.path))
}

/// Whether who asks has taken the lock (RFC 4918 §6.4).
pub fn is_yours(exchange: &Exchange, lock: &Lock) -> bool {
    exchange.access.subject() == lock.subject
}

fn tell(exchange: &Exchange, lock: &Lock, status: StatusCode) -> Answer {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <d:prop xmlns:d=\"DAV:\"><d:lockdiscovery>{}</d:lockdiscovery></d:prop>\n",
        active_lock(lock, &exchange.view_root())
    );
    let mut answer = Response::new(full(body));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("application/xml; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn refuse(exchange: &Exchange, error: LockError) -> Refusal {
    match error {
        LockError::Locked(locks) => locked::refuse_lock(exchange, &locks),
        LockError::NotFound => {
            Refusal::new(StatusCode::CONFLICT, "it was removed by someone else in the meantime")
        }
        LockError::TooMany | LockError::TooManyOfYours | LockError::TooManyHere => {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
        }
        LockError::Namespace(error) => error.into(),
    }
}

/// The answer where locks below the path are in the way: they are what is locked, not what was asked for (RFC 4918 §9.10.3).
fn refuse_tree(exchange: &Exchange, locks: &[Lock]) -> Answer {
    let root = exchange.view_root();
    let mut xml = String::from(multistatus::HEAD);
    for lock in locks.iter().take(MAX_TOLD) {
        let path = lock.path.below(&root).unwrap_or_else(NsPath::root);
        write_status(&mut xml, &path.to_url(), "423 Locked", "somebody holds a lock on it");
    }
    let whole = "it holds what is locked";
    write_status(&mut xml, &exchange.view_path.to_url(), "424 Failed Dependency", whole);
    xml.push_str(multistatus::TAIL);
    propfind::xml_answer(full(xml))
}

/// Reads a `lockinfo` (RFC 4918 §14.11).
pub fn wish(root: &Element) -> Result<Wish, &'static str> {
    if !root.is(DAV, "lockinfo") {
        return Err("the body is not a lockinfo element of namespace DAV:");
    }
    let scope = root.dav("lockscope").ok_or("the lockinfo has no lockscope")?;
    let exclusive = match (scope.dav("exclusive"), scope.dav("shared")) {
        (Some(_), None) => true,
        (None, Some(_)) => false,
        _ => return Err("the lockscope is neither exclusive nor shared"),
    };
    if root.dav("locktype").and_then(|kind| kind.dav("write")).is_none() {
        return Err("the locktype is not write");
    }
    let owner = root.dav("owner").map(Element::standalone).unwrap_or_default();
    if owner.len() > MAX_OWNER_BYTES {
        return Err("the owner is longer than is kept");
    }
    Ok(Wish { exclusive, owner })
}

/// The first time in the header `Timeout` that can be read (RFC 4918 §10.7), within what the door allows.
fn timeout(headers: &HeaderMap, longest: Duration) -> Duration {
    let values = headers.get_all("timeout").iter().filter_map(|value| value.to_str().ok());
    let mut times = values.flat_map(|value| value.split(',')).filter_map(|time| {
        let time = time.trim();
        if time.eq_ignore_ascii_case("infinite") {
            return Some(longest);
        }
        let (unit, number) = time.split_once('-')?;
        let seconds = number.parse().ok().filter(|seconds| *seconds > 0)?;
        unit.eq_ignore_ascii_case("second").then(|| Duration::from_secs(seconds))
    });
    times.next().unwrap_or(USUAL_TIMEOUT).min(longest)
}

/// A UUID of version 4 (RFC 9562 §5.4), as a URI.
fn new_token() -> Result<String, Refusal> {
    let random = getrandom::u64().and_then(|high| Ok((high, getrandom::u64()?)));
    let (high, low) = random.map_err(|error| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the system gives no random bytes: {error}"))
    })?;
    let high = (high & !0xf000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    Ok(format!(
        "urn:uuid:{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Wish, &'static str> {
        wish(&xml::parse(body.as_bytes()).unwrap().unwrap())
    }

    #[test]
    fn a_lockinfo_says_scope_and_owner() {
        let body = |scope: &str, owner: &str| {
            format!(
                "<D:lockinfo xmlns:D='DAV:'><D:lockscope><D:{scope}/></D:lockscope>\
                 <D:locktype><D:write/></D:locktype>{owner}</D:lockinfo>"
            )
        };
        assert_eq!(
            read(&body("exclusive", "<D:owner>me &amp; you</D:owner>")),
            Ok(Wish { exclusive: true, owner: "<D:owner xmlns:D=\"DAV:\">me &amp; you</D:owner>".into() })
        );
        assert_eq!(read(&body("shared", "")), Ok(Wish { exclusive: false, owner: String::new() }));
        assert!(read(&body("other", "")).is_err());
        assert!(read("<lockinfo xmlns='DAV:'/>").is_err());
        assert!(read("<propfind xmlns='DAV:'/>").is_err());
        let long = format!("<D:owner>{}</D:owner>", "x".repeat(MAX_OWNER_BYTES));
        assert!(read(&body("shared", &long)).is_err());
    }

    #[test]
    fn a_lock_lasts_as_long_as_is_asked_for_and_allowed() {
        let table = [
            ("Second-60", 60),
            ("Infinite, Second-60", 3600),
            ("Extend, Second-30", 30),
            ("Second-4100000000", 3600),
            ("Second-0", 600),
            ("nonsense", 600),
        ];
        for (value, seconds) in table {
            let mut headers = HeaderMap::new();
            headers.insert("timeout", value.parse().unwrap());
            let longest = Duration::from_secs(3600);
            assert_eq!(timeout(&headers, longest), Duration::from_secs(seconds), "{value}");
        }
    }

    #[test]
    fn every_token_is_another_uuid_of_version_4() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert_ne!(one, other);
        let uuid = one.strip_prefix("urn:uuid:").unwrap();
        assert_eq!(uuid.len(), 36);
        assert_eq!(&uuid[14..15], "4");
        assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"), "{uuid}");
    }
}
