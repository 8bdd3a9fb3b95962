//! GET: a redirect to the pool that has the file, or its bytes through the door; a page for a directory.

use hyper::StatusCode;
use hyper::header::HeaderValue;
use hyper::header::{self, HeaderName};

use super::answer::{Answer, Refusal, bare};
use super::exchange::Exchange;
use super::{digest, directory_page, head, proxy};
use crate::auth::Operation;
use crate::namespace::{Entry, FileEntry, Kind};
use crate::transfers::{DownloadRequest, Ready};

/// Headers of the request that the pool looks at.
static HANDED_ON: [&HeaderName; 4] =
    [&header::RANGE, &header::IF_RANGE, &digest::WANT_DIGEST, &digest::WANT_REPR_DIGEST];

/// Answers it.
pub async fn handle(exchange: &mut Exchange) -> Result<Answer, Refusal> {
    // Who may neither read nor list learns nothing; which of the two is needed depends on what is there.
    if !exchange.may(Operation::List, &exchange.path) {
        exchange.allow(Operation::Download)?;
    }
    let entry = exchange.existing().await?;
    let Kind::File(file) = &entry.kind else {
        exchange.allow(Operation::List)?;
        return Ok(directory_page::get(exchange, &entry));
    };
    exchange.allow(Operation::Download)?;
    if let Some(answer) = head::check_preconditions(exchange, &entry, file)? {
        return Ok(answer);
    }
    // So that the pool has them to tell; what takes too long is left out.
    digest::known(exchange, file).await;
    let request = request(exchange, file.clone(), entry);
    let ready = match exchange.service.transfers.download(&request).await {
        Err(error) if error.replica_is_gone() => {
            // Replaced or deleted between the look at the name and the pool's look at the disk: once more.
            let entry = exchange.existing().await?;
            match &entry.kind {
                Kind::File(file) if file.replica != request.file.replica => {
                    let again = self::request(exchange, file.clone(), entry);
                    exchange.service.transfers.download(&again).await?
                }
                Kind::File(_) | Kind::Directory => return Err(error.into()),
            }
        }
        ready => ready?,
    };
    exchange.note_transfer(&ready.transfer);
    if redirects(exchange) {
        return redirect(&ready);
    }
    let transfers = &exchange.service.transfers;
    let data_ports = exchange.service.data_ports.as_ref();
    match proxy::get(data_ports, &ready.url, exchange.headers(), &HANDED_ON).await {
        Ok(answer) => Ok(answer),
        Err(error) => {
            transfers.cancel(&ready, "the door cannot reach the data port").await;
            Err(error.into_refusal(&ready.pool))
        }
    }
}

/// What a pool is asked for.
pub fn request(exchange: &Exchange, file: FileEntry, entry: Entry) -> DownloadRequest {
    let client = if redirects(exchange) { exchange.redirected_client() } else { exchange.client() };
    DownloadRequest {
        marking: exchange.marking(&client),
        client,
        view_path: exchange.view_path.clone(),
        path: exchange.path.clone(),
        file,
        entry,
    }
}

fn redirects(exchange: &Exchange) -> bool {
    exchange.service.redirect.read && exchange.follows_redirects()
}

/// Sends the client to the pool, method and body unchanged (RFC 9110 §15.4.8).
pub fn redirect(ready: &Ready) -> Result<Answer, Refusal> {
    let mut answer = bare(StatusCode::TEMPORARY_REDIRECT);
    let location = HeaderValue::from_str(&ready.url).map_err(|_| {
        Refusal::new(StatusCode::BAD_GATEWAY, format!("pool {} gave a URL that is none", ready.pool))
    })?;
    answer.headers_mut().insert(header::LOCATION, location);
    answer.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    // The URL is good for one use; nobody may keep it.
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}
