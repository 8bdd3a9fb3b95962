//! A directory for a browser: a table of its names, with links that carry the query along, so that `?authz=…` goes with
//! them.
//!
//! Names are the users', so every one is escaped and kept from changing the direction of the text around it. The page
//! loads nothing and runs nothing but the one script that it brings along, which only sorts: without it everything else
//! works.

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use quick_xml::escape::escape;
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use super::answer::{Answer, bare, streamed};
use super::exchange::Exchange;
use super::listing::Listing;
use super::multistatus::{Told, href, text};
use super::propfind;
use crate::checksum::Checksum;
use crate::namespace::{Beside, Entry, NsPath};

const STYLE: &str = include_str!("directory_page.css");
const SCRIPT: &str = include_str!("directory_page.js");

/// Style and script are allowed by what they are (CSP Level 3 §2.3.1), so that no name can bring another.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; frame-ancestors 'none'; \
         base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    );
    // Base64 and words are a header value.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The answer to HEAD.
pub fn head() -> Answer {
    let mut answer = bare(StatusCode::OK);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The address may hold a token.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    answer
}

/// The answer to GET.
pub fn get(exchange: &Exchange, directory: &Entry) -> Answer {
    let query = exchange.head.uri.query().map(|query| format!("?{}", escape(query))).unwrap_or_default();
    let start = start(&exchange.view_path, &query);
    let listing = Listing::of(exchange, directory, propfind::circumstances(exchange), Beside::default());
    let (sender, body) = streamed();
    let write = async move {
        if sender.send(Ok(Bytes::from(start))).await.is_err() {
            return;
        }
        listing.stream(&sender, |html, told| write_row(html, told, &query)).await;
        // When the client has gone nobody misses it.
        let _ = sender.send(Ok(Bytes::from(end()))).await;
    };
    tokio::spawn(write.in_current_span());
    let mut answer = head();
    *answer.body_mut() = body;
    answer
}

fn start(view_path: &NsPath, query: &str) -> String {
    let title = label(view_path.as_str());
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         </head>\n<body>\n<header>\n{}</header>\n<main>\n<table>\n<caption>Files in <bdi>{title}</bdi></caption>\n\
         <thead><tr><th scope=\"col\" aria-sort=\"ascending\">Name</th><th scope=\"col\">Size</th>\
         <th scope=\"col\">Changed (UTC)</th><th scope=\"col\">Checksums</th></tr></thead>\n<tbody>\n{}",
        breadcrumbs(view_path, query),
        parent_row(view_path, query)
    )
}

/// The way from the root, each directory a link but the last.
fn breadcrumbs(view_path: &NsPath, query: &str) -> String {
    let mut html = String::from("<nav aria-label=\"Path\"><ol>\n");
    for ancestor in view_path.ancestors() {
        let name = label(ancestor.name().unwrap_or("/"));
        let label = if ancestor.is_root() { " aria-label=\"root\"" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(html, "<li><a href=\"{}{query}\"{label}><bdi>{name}</bdi></a></li>", url(&ancestor));
    }
    let name = label(view_path.name().unwrap_or("/"));
    let _ = writeln!(html, "<li><span aria-current=\"page\"><bdi>{name}</bdi></span></li>");
    html.push_str("</ol></nav>\n");
    html
}

fn parent_row(view_path: &NsPath, query: &str) -> String {
    view_path.parent().map_or_else(String::new, |parent| {
        format!(
            "<tr class=\"up\"><td colspan=\"4\"><a href=\"{}{query}\">../ <span>parent directory</span></a></td></tr>\n",
            url(&parent)
        )
    })
}

fn url(directory: &NsPath) -> String {
    let slash = if directory.is_root() { "" } else { "/" };
    format!("{}{slash}", directory.to_url())
}

fn write_row(html: &mut String, told: &Told<'_>, query: &str) {
    let entry = told.entry;
    let name = label(&entry.name);
    let kind = if entry.is_directory() { "dir" } else { "file" };
    let slash = if entry.is_directory() { "/" } else { "" };
    let (size, bytes, checksums) = match entry.file() {
        Some(file) => (human(file.size), file.size.to_string(), details(&file.checksums)),
        None => (String::new(), String::new(), String::new()),
    };
    let time = entry.modified_at.strftime("%Y-%m-%d %H:%M").to_string();
    let exact = entry.modified_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let _ = writeln!(
        html,
        "<tr class=\"{kind}\"><td><a href=\"{}{query}\"><bdi>{name}</bdi>{slash}</a></td>\
         <td data-key=\"{bytes}\" title=\"{bytes}\">{size}</td>\
         <td><time datetime=\"{exact}\">{time}</time></td><td>{checksums}</td></tr>",
        href(told.view_path, entry)
    );
}

/// A name as it is shown: characters that turn the direction of text around show as what they are, so that nobody takes
/// `txt.exe` for `exe.txt` (UAX #9 §2).
fn label(name: &str) -> String {
    let turns = |character| matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text(&name.replace(turns, "\u{fffd}"))
}

/// Shown when somebody opens them.
fn details(checksums: &[Checksum]) -> String {
    if checksums.is_empty() {
        return String::new();
    }
    let list: String =
        checksums.iter().map(|checksum| format!("<code>{}</code>", escape(checksum.to_digest()))).collect();
    format!("<details><summary>checksums</summary>{list}</details>")
}

/// A size with three digits that count.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // The last unit holds all that 64 bits can count.
    let unit = (bytes.ilog2() / 10 - 1).min(5) as usize;
    let value = bytes as f64 / 1024_f64.powi(unit as i32 + 1);
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {}", UNITS[unit])
}

fn end() -> String {
    format!("</tbody>\n</table>\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (15_000, "14.6 KiB"),
            (500_000, "488 KiB"),
            (1 << 30, "1.00 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, text) in table {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn no_name_looks_like_another() {
        assert_eq!(label("\u{202e}txt.exe"), "\u{fffd}txt.exe");
        assert_eq!(label("<b>\u{1}"), "&lt;b&gt;\u{fffd}");
        assert_eq!(label("שלום"), "שלום");
    }

    #[test]
    fn the_way_up_is_shown_and_carries_the_query() {
        let path = NsPath::parse("/a/<b>").unwrap();
        let html = start(&path, "?x=1");
        for part in [
            "<li><a href=\"/?x=1\" aria-label=\"root\"><bdi>/</bdi></a></li>",
            "<li><a href=\"/a/?x=1\"><bdi>a</bdi></a></li>",
            "<li><span aria-current=\"page\"><bdi>&lt;b&gt;</bdi></span></li>",
            "<a href=\"/a/?x=1\">../ ",
        ] {
            assert!(html.contains(part), "{part}\n{html}");
        }
        assert!(!start(&NsPath::root(), "").contains("../"), "nothing is above the root");
    }

    #[test]
    fn style_and_script_hold_nothing_that_would_end_them() {
        for text in [STYLE, SCRIPT] {
            assert!(!text.contains("</"), "it would end in the middle of the page");
        }
        assert!(POLICY.to_str().unwrap().contains("script-src 'sha256-"));
    }
}
