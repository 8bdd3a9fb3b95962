//! The admin port over a real connection.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::pool::Stage;
use super::put;
use crate::transfer::{ClaimMethod, Failure};

/// Status and body of one request.
async fn ask(stage: &Stage, method: &str, path: &str) -> (u16, String) {
    ask_for(stage, method, path, "*/*").await
}

/// The same for an answer of this media type.
async fn ask_for(stage: &Stage, method: &str, path: &str, accept: &str) -> (u16, String) {
    let (head, body) = whole_answer(stage, method, path, accept).await;
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

/// Head and body.
async fn whole_answer(stage: &Stage, method: &str, path: &str, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(stage.pool.admin_addr()).await.unwrap();
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[tokio::test]
async fn the_pools_health_is_one_line_and_a_status() {
    let stage = Stage::new().await;
    assert_eq!(ask(&stage, "GET", "/healthz").await, (200, "ok\n".into()));
    stage.client.clone().drain(penstock_door_proto::v1::DrainRequest::default()).await.unwrap();
    assert_eq!(ask(&stage, "GET", "/healthz").await, (503, "draining\n".into()));
}

#[tokio::test]
async fn transfers_are_listed_as_json_without_their_secrets() {
    let stage = Stage::new().await;
    let url = stage.start(put("t1", "r1")).await.unwrap().ready().await;
    let (status, body) = ask(&stage, "GET", "/transfers").await;
    assert_eq!(status, 200);
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    let transfer = &json["transfers"][0];
    assert_eq!(transfer["transfer"], "t1");
    assert_eq!(transfer["state"], "ready");
    assert_eq!(transfer["subject"], "ada");
    assert_eq!(transfer["limited_by"], "source");
    let capability = &url[url.find('=').unwrap() + 1..][..32];
    assert!(!body.contains(capability));
}

#[tokio::test]
async fn prometheus_finds_transfers_and_space() {
    let stage = Stage::new().await;
    stage.start(put("t1", "r1")).await.unwrap();
    let (status, body) = ask(&stage, "GET", "/metrics").await;
    assert_eq!(status, 200);
    assert!(body.contains("penstock_transfers_running{queue=\"default\"} 1"), "{body}");
    assert!(body.contains("penstock_space_bytes{part=\"available\"}"), "{body}");
    assert!(!body.contains("# EOF"), "{body}");
    let (status, body) = ask_for(&stage, "GET", "/metrics", "application/openmetrics-text").await;
    assert_eq!(status, 200);
    assert!(body.ends_with("# EOF\n"), "{body}");
}

#[tokio::test]
async fn people_get_an_overview_and_a_way_on() {
    let stage = Stage::new().await;
    let (status, body) = ask(&stage, "GET", "/").await;
    assert_eq!(status, 200);
    for part in ["Penstock pool pool1", "health     ok", "queue      default: 0 of 1000 running", "/metrics"]
    {
        assert!(body.contains(part), "{part} is not in\n{body}");
    }
}

#[tokio::test]
async fn what_the_port_does_not_have_or_do_is_said() {
    let stage = Stage::new().await;
    let (status, body) = ask(&stage, "GET", "/etc/passwd").await;
    assert_eq!(status, 404);
    assert_eq!(
        body,
        "there is no \"/etc/passwd\" here; there are /, /overview, /healthz, /metrics, /status, /transfers\n"
    );
    assert_eq!(ask(&stage, "DELETE", "/transfers").await, (405, "this port is read-only\n".into()));
}

#[tokio::test]
async fn a_browser_gets_a_page_that_may_ask_nobody_but_this_pool() {
    let stage = Stage::new().await;
    let (head, body) = whole_answer(&stage, "GET", "/", "text/html,application/xhtml+xml,*/*;q=0.8").await;
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200 ") && head.contains("content-type: text/html"), "{head}");
    assert!(head.contains("content-security-policy: default-src 'none'; "), "{head}");
    assert!(body.starts_with("<!doctype html>") && body.trim_end().ends_with("</html>"));
}

#[tokio::test]
async fn the_page_is_told_of_transfers_and_failures_without_their_secrets() {
    let stage = Stage::new().await;
    let url = stage.start(put("t1", "r1")).await.unwrap().ready().await;
    let failing = stage.start(put("t2", "r2")).await.unwrap().ready().await;
    stage.come(&failing, ClaimMethod::Put).unwrap().fail(Failure::disk("the disk gives no answer"));

    let (status, body) = ask(&stage, "GET", "/status").await;

    assert_eq!(status, 200);
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["pool_name"], "pool1");
    assert_eq!(json["transfers"].as_array().unwrap().len(), 1);
    assert_eq!(json["transfers"][0]["transfer"], "t1");
    assert_eq!(json["failures"][0]["why"], "the disk gives no answer");
    assert_eq!(json["failures"][0]["error"]["code"], "disk-error");
    assert_eq!(json["history"]["period_seconds"], 10);
    let capability = &url[url.find('=').unwrap() + 1..][..32];
    assert!(!body.contains(capability));
}
