//! The tape REST API of WLCG, version 1, answered by a site without tapes: every file is on disk, to bring one there is
//! done at once, to release it changes nothing.
//!
//! gfal and FTS look for it at a fixed place and go on from there. It takes the names below that place away from the
//! namespace.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hyper::header::{self, HeaderValue};
use hyper::{Method, Response, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal, bare, full};
use super::exchange::Exchange;
use super::request_body;
use crate::auth::keys::random_id;
use crate::auth::{Access, Anonymous, Decision, Operation, decide};
use crate::namespace::{Lookup, NsPath};

/// Where clients look for it.
pub const PLACE: &str = "/.well-known/wlcg-tape-rest-api";
/// Longest body in bytes.
const MAX_BODY_BYTES: u64 = 1 << 20;
/// Files that one request may name.
const MAX_FILES: usize = 10_000;
/// Requests that are remembered, and files of all of them: the oldest are forgotten first. A client asks for its
/// request's state within seconds.
const MAX_REQUESTS: usize = 1000;
const MAX_REMEMBERED_FILES: usize = 100_000;

/// The error of a file that the client may not have.
const DENIED: &str = "Permission denied";

/// Requests for files to be brought from tape, all of which were done when they came.
#[derive(Debug, Default)]
pub struct Staged {
    requests: Mutex<VecDeque<Stage>>,
}

/// One request.
#[derive(Debug, Clone)]
struct Stage {
    id: String,
    subject: String,
    at: Timestamp,
    files: Vec<StagedFile>,
}

/// One file of it.
#[derive(Debug, Clone)]
struct StagedFile {
    path: String,
    /// Why it is not on disk.
    error: Option<&'static str>,
}

impl Staged {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Stage>> {
        // Whole requests are put in and taken out.
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, stage: Stage) {
        let mut requests = self.lock();
        requests.push_back(stage);
        while requests.len() > MAX_REQUESTS
            || (requests.len() > 1
                && requests.iter().map(|request| request.files.len()).sum::<usize>() > MAX_REMEMBERED_FILES)
        {
            forget_one(&mut requests);
        }
    }

    fn find(&self, id: &str, subject: &str) -> Option<Stage> {
        self.lock().iter().find(|request| request.id == id && request.subject == subject).cloned()
    }

    fn forget(&self, id: &str) {
        self.lock().retain(|request| request.id != id);
    }
}

/// Forgets the oldest request of whoever takes most of the room, so that nobody pushes out what others have asked for.
fn forget_one(requests: &mut VecDeque<Stage>) {
    let mut shares: HashMap<&str, usize> = HashMap::new();
    for request in requests.iter() {
        // A request takes room, and each of its files does.
        *shares.entry(&request.subject).or_default() +=
            MAX_REMEMBERED_FILES / MAX_REQUESTS + request.files.len();
    }
    let Some(subject) =
        shares.into_iter().max_by_key(|(_, share)| *share).map(|(subject, _)| subject.to_owned())
    else {
        return;
    };
    if let Some(oldest) = requests.iter().position(|request| request.subject == subject) {
        requests.remove(oldest);
    }
}

#[derive(Deserialize)]
struct StageBody {
    files: Vec<StageFile>,
}

#[derive(Deserialize)]
struct StageFile {
    path: String,
}

#[derive(Deserialize)]
struct PathsBody {
    paths: Vec<String>,
}

/// Whether a request is for this API.
pub fn is_for(exchange: &Exchange) -> bool {
    below(exchange).is_some()
}

/// Whether a name is taken away from the namespace for it.
pub fn reserves(view_path: &NsPath) -> bool {
    behind_place(view_path).is_some()
}

fn below(exchange: &Exchange) -> Option<&str> {
    behind_place(&exchange.view_path)
}

fn behind_place(view_path: &NsPath) -> Option<&str> {
    let rest = view_path.as_str().strip_prefix(PLACE)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    let rest = below(exchange).unwrap_or_default().to_owned();
    let parts: Vec<&str> = rest.split('/').skip(1).collect();
    if !parts.is_empty() && matches!(exchange.access, Access::Anonymous(Anonymous::None)) {
        return Err(exchange.unauthenticated());
    }
    match (exchange.head.method.clone(), parts.as_slice()) {
        (Method::GET | Method::HEAD, []) => discovery(exchange),
        (Method::POST, ["v1", "stage"]) => stage(exchange).await,
        (Method::GET | Method::HEAD, ["v1", "stage", id]) => state(exchange, id),
        (Method::DELETE, ["v1", "stage", id]) => {
            let id = find(exchange, id)?.id;
            exchange.service.staged.forget(&id);
            Ok(bare(StatusCode::OK))
        }
        (Method::POST, ["v1", "stage", id, "cancel"]) => {
            // Nothing is left that could be called off.
            find(exchange, id)?;
            paths(exchange).await.map(|_| bare(StatusCode::OK))
        }
        // Nothing is pinned; an id that is not known any more is as good.
        (Method::POST, ["v1", "release", _]) => paths(exchange).await.map(|_| bare(StatusCode::OK)),
        (Method::POST, ["v1", "archiveinfo"]) => archive_info(exchange).await,
        (_, parts) => {
            let Some(methods) = methods(parts) else { return Err(Refusal::not_found()) };
            let text = "the tape REST API does not do this method here";
            Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, text)
                .header(header::ALLOW, HeaderValue::from_static(methods)))
        }
    }
}

/// What a path of the API can be asked; `None` where it has none.
fn methods(parts: &[&str]) -> Option<&'static str> {
    match parts {
        [] => Some("GET, HEAD"),
        ["v1", "stage" | "archiveinfo"] | ["v1", "stage", _, "cancel"] | ["v1", "release", _] => Some("POST"),
        ["v1", "stage", _] => Some("GET, HEAD, DELETE"),
        _ => None,
    }
}

fn discovery(exchange: &Exchange) -> Result<Answer, Refusal> {
    Ok(answer(
        StatusCode::OK,
        &json!({
            "sitename": exchange.service.realm,
            "description": "all files are on disk",
            "endpoints": [{ "uri": format!("{}{PLACE}/v1", base(exchange)), "version": "v1", "metadata": {} }],
        }),
    ))
}

async fn stage(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    let body: StageBody = body(exchange).await?;
    let paths: Vec<String> = body.files.into_iter().map(|file| file.path).collect();
    check_count(&paths)?;
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let error = look(exchange, &path, Operation::Stage).await?.err();
        files.push(StagedFile { path, error });
    }
    let asked = files.iter().map(|file| (file.path.as_str(), file.error));
    tell_refusals(exchange, StatusCode::CREATED, asked);
    let id = random_id().map_err(|error| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the system gives no random bytes: {error}"))
    })?;
    let location = format!("{}{PLACE}/v1/stage/{id}", base(exchange));
    let subject = exchange.access.subject().to_owned();
    exchange.service.staged.remember(Stage { id: id.clone(), subject, at: Timestamp::now(), files });
    let mut answer = answer(StatusCode::CREATED, &json!({ "requestId": id }));
    if let Ok(location) = HeaderValue::from_str(&location) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    Ok(answer)
}

fn state(exchange: &Exchange, id: &str) -> Result<Answer, Refusal> {
    let stage = find(exchange, id)?;
    let at = stage.at.as_millisecond();
    let files: Vec<Value> = stage
        .files
        .iter()
        .map(|file| match file.error {
            None => json!({
                "path": file.path, "state": "COMPLETED", "onDisk": true, "startedAt": at, "finishedAt": at,
            }),
            Some(error) => json!({
                "path": file.path, "state": "FAILED", "error": error, "startedAt": at, "finishedAt": at,
            }),
        })
        .collect();
    let body = json!({
        "id": stage.id, "createdAt": at, "startedAt": at, "completedAt": at, "files": files,
    });
    Ok(answer(StatusCode::OK, &body))
}

async fn archive_info(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    let paths = paths(exchange).await?;
    let mut errors = Vec::with_capacity(paths.len());
    for path in &paths {
        errors.push(look(exchange, path, Operation::ReadMetadata).await?.err());
    }
    let asked = || paths.iter().map(String::as_str).zip(errors.iter().copied());
    tell_refusals(exchange, StatusCode::OK, asked());
    let infos = asked().map(|(path, error)| match error {
        None => json!({ "path": path, "locality": "DISK" }),
        Some(error) => json!({ "path": path, "error": error }),
    });
    Ok(answer(StatusCode::OK, &infos.collect()))
}

/// Tells the audit, once for a request, that it asked for what its client may not have: paths, and why each is refused.
fn tell_refusals<'a>(
    exchange: &Exchange,
    status: StatusCode,
    asked: impl Iterator<Item = (&'a str, Option<&'static str>)>,
) {
    let refused: Vec<&str> =
        asked.filter(|(_, error)| *error == Some(DENIED)).map(|(path, _)| path).collect();
    let Some(first) = refused.first() else { return };
    let why = match refused.len() {
        1 => DENIED.to_owned(),
        count => format!("{DENIED}, here and for {} more paths of the request", count - 1),
    };
    exchange.tell_refusal(first, status, why);
}

/// Whether a file is there for this client; the error is for it.
async fn look(
    exchange: &Exchange,
    path: &str,
    operation: Operation,
) -> Result<Result<(), &'static str>, Refusal> {
    let Ok(path) = NsPath::parse(path).and_then(|path| exchange.access.real_path(&path)) else {
        return Ok(Err("Invalid path"));
    };
    if decide(&exchange.access, operation, &path) != Decision::Allow {
        return Ok(Err(DENIED));
    }
    Ok(match exchange.service.namespace.lookup(&path).await? {
        Lookup::Found(entry) if entry.is_directory() => Err("Is a directory"),
        Lookup::Found(_) => Ok(()),
        Lookup::Missing | Lookup::NoParent | Lookup::NotADirectory => Err("No such file or directory"),
    })
}

fn find(exchange: &Exchange, id: &str) -> Result<Stage, Refusal> {
    exchange
        .service
        .staged
        .find(id, exchange.access.subject())
        .ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no such request of yours (any more)"))
}

async fn paths(exchange: &mut Exchange) -> Result<Vec<String>, Refusal> {
    let body: PathsBody = body(exchange).await?;
    check_count(&body.paths)?;
    Ok(body.paths)
}

fn check_count(paths: &[String]) -> Result<(), Refusal> {
    if paths.len() > MAX_FILES {
        let text = format!("the request names more than {MAX_FILES} files");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    Ok(())
}

async fn body<T: serde::de::DeserializeOwned>(exchange: &mut Exchange) -> Result<T, Refusal> {
    let bytes = request_body::read(exchange, MAX_BODY_BYTES).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        Refusal::new(StatusCode::BAD_REQUEST, format!("the body is not the JSON that is expected: {error}"))
    })
}

/// What clients call this door: as configured, else as this one does.
pub fn base(exchange: &Exchange) -> String {
    let host = exchange.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    match (exchange.service.own_url.as_str(), host) {
        ("", Some(host)) => format!("{}://{host}", exchange.connection.scheme()),
        // Nobody is led from https to plain HTTP.
        (own, Some(host)) if exchange.connection.encrypted() && own.starts_with("http://") => {
            format!("https://{host}")
        }
        (own, _) => own.trim_end_matches('/').to_owned(),
    }
}

fn answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(full(format!("{body}\n")));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(id: usize, files: usize) -> Stage {
        let file = StagedFile { path: "/f".into(), error: None };
        Stage { id: id.to_string(), subject: "paul".into(), at: Timestamp::now(), files: vec![file; files] }
    }

    #[test]
    fn the_oldest_requests_are_forgotten_first() {
        let staged = Staged::default();
        for id in 0..=MAX_REQUESTS {
            staged.remember(stage(id, 1));
        }
        assert!(staged.find("0", "paul").is_none() && staged.find("1", "paul").is_some());
        staged.remember(stage(9999, MAX_REMEMBERED_FILES));
        assert!(staged.find("1", "paul").is_none() && staged.find("9999", "paul").is_some());
    }

    #[test]
    fn who_asks_again_and_again_pushes_out_nobody_elses_request() {
        let staged = Staged::default();
        staged.remember(Stage { subject: "mary".into(), ..stage(0, 10) });
        for id in 1..=2 * MAX_REQUESTS {
            staged.remember(stage(id, 0));
        }
        staged.remember(stage(9999, MAX_REMEMBERED_FILES));
        assert!(staged.find("0", "mary").is_some() && staged.find("1", "paul").is_none());
    }

    #[test]
    fn a_request_is_shown_to_nobody_else() {
        let staged = Staged::default();
        staged.remember(stage(1, 1));
        assert!(staged.find("1", "mary").is_none());
    }
}
