//! Stories of bodies that are no files: how long they may take, and what becomes of the connection behind them.

use std::time::Duration;

use crate::site::{RawClient, Site};
use penstock_door::Anonymous;
use penstock_door::config::value::Period;

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n";

#[tokio::test]
async fn a_body_that_does_not_come_holds_no_connection() {
    let site = Site::open_with(|config| config.timeouts.head = Period(Duration::from_millis(300))).await;
    let mut client = RawClient::connect(site.address()).await;
    client.write(b"PROPFIND / HTTP/1.1\r\nHost: door\r\nContent-Length: 10\r\n\r\n<").await;

    let answer = client.read_to_end().await;

    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn who_may_not_ask_for_a_token_is_not_waited_for() {
    let site = Site::open_with(|config| {
        config.anonymous = Anonymous::None;
        config.timeouts.head = Period(Duration::from_secs(600));
    })
    .await;
    let macaroon = "Content-Type: application/macaroon-request\r\nContent-Length: 10\r\n";
    for (path, headers) in [("/.oauth2/token", FORM), ("/file", macaroon)] {
        let mut client = RawClient::connect(site.address()).await;
        client.write(format!("POST {path} HTTP/1.1\r\nHost: door\r\n{headers}\r\n").as_bytes()).await;

        assert_eq!(client.read_head().await.status(), 401, "{path}");
    }
}

#[tokio::test]
async fn a_refusal_ends_the_connection_only_when_the_body_was_not_read() {
    let site = Site::open().await;
    let mut client = RawClient::connect(site.address()).await;
    for path in ["/none", "/neither"] {
        let body = "<propfind xmlns='DAV:'><allprop/></propfind>";
        let head = format!("Host: door\r\nDepth: 0\r\nContent-Length: {}", body.len());
        client.write(format!("PROPFIND {path} HTTP/1.1\r\n{head}\r\n\r\n{body}").as_bytes()).await;

        let head = client.read_head().await;

        assert_eq!(head.status(), 404, "{path}");
        let length = head.head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        client.skip(length.parse().unwrap()).await;
    }
    client.write(b"DELETE /none HTTP/1.1\r\nHost: door\r\nContent-Length: 10\r\n\r\n").await;
    assert!(client.read_to_end().await.contains("connection: close"));
}
