//! A directory for a browser: its names as links, which carry the query along, so that `?authz=…` goes with them.
//!
//! Names are the users', so every one is escaped, and the page may neither load nor run anything.

use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use quick_xml::escape::escape;
use tracing::Instrument as _;

use super::answer::{Answer, bare, streamed};
use super::exchange::Exchange;
use super::multistatus::href;
use super::propfind::Listing;
use crate::namespace::{Entry, NsPath};

/// The answer to HEAD.
pub fn head() -> Answer {
    let mut answer = bare(StatusCode::OK);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ),
    );
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The address may hold a token.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    answer
}

/// The answer to GET.
pub fn get(exchange: &Exchange, directory: &Entry) -> Answer {
    let query = exchange.head.uri.query().map(|query| format!("?{}", escape(query))).unwrap_or_default();
    let title = escape(exchange.view_path.as_str()).into_owned();
    let up = exchange.view_path.parent().map(|parent| parent_link(&parent, &query)).unwrap_or_default();
    let start = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
         <body>\n<h1>{title}</h1>\n<ul>\n{up}"
    );
    let listing = Listing {
        service: Arc::clone(&exchange.service),
        access: exchange.access.clone(),
        directory: directory.id,
        view_path: exchange.view_path.clone(),
        path: exchange.path.clone(),
    };
    let (sender, body) = streamed();
    let write = async move {
        if sender.send(Ok(Bytes::from(start))).await.is_err() {
            return;
        }
        listing.stream(&sender, |html, view_path, entry| write_item(html, view_path, entry, &query)).await;
        // When the client has gone nobody misses it.
        let _ = sender.send(Ok(Bytes::from_static(b"</ul>\n</body>\n</html>\n"))).await;
    };
    tokio::spawn(write.in_current_span());
    let mut answer = head();
    *answer.body_mut() = body;
    answer
}

fn parent_link(parent: &NsPath, query: &str) -> String {
    let slash = if parent.is_root() { "" } else { "/" };
    format!("<li><a href=\"{}{slash}{query}\">../</a></li>\n", parent.to_url())
}

fn write_item(html: &mut String, view_path: &NsPath, entry: &Entry, query: &str) {
    let name = escape(entry.name.as_str());
    let (slash, size) = match entry.file() {
        Some(file) => ("", format!(" {} bytes", file.size)),
        None => ("/", String::new()),
    };
    html.push_str(&format!(
        "<li><a href=\"{}{query}\">{name}{slash}</a>{size}</li>\n",
        href(view_path, entry)
    ));
}
