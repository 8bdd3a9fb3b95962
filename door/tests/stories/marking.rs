//! Stories of packet marking: what the pool is told of whose traffic a transfer is.

use crate::site::{RawClient, Site};
use penstock_door_proto::v1 as proto;

fn mark(scitag: u32) -> Option<proto::Marking> {
    Some(proto::Marking { scitag })
}

/// The marks of all transfers that the pool was asked for.
fn marks(site: &Site) -> Vec<Option<proto::Marking>> {
    site.pool.requests().into_iter().map(|request| request.marking).collect()
}

#[tokio::test]
async fn a_tag_belongs_to_one_request_of_a_connection_that_is_kept_alive() {
    let site = Site::open().await;
    site.put("/file", b"hello").await;
    let mut client = RawClient::connect(site.address()).await;
    for head in [
        "GET /file HTTP/1.1\r\nHost: door\r\nSciTag: 130\r\n\r\n",
        "GET /file HTTP/1.1\r\nHost: door\r\n\r\n",
        "GET /file?scitag.flow=195 HTTP/1.1\r\nHost: door\r\n\r\n",
        "GET /file HTTP/1.1\r\nHost: door\r\n\r\n",
        "GET /file HTTP/1.1\r\nHost: door\r\nSciTag: 64\r\n\r\n",
    ] {
        client.write(head.as_bytes()).await;
        assert_eq!(client.read_head().await.status(), 307, "{head}");
    }
    assert_eq!(marks(&site), [None, mark(130), None, mark(195), None, mark(0)]);
}

#[tokio::test]
async fn uploads_and_downloads_that_say_nothing_are_marked_as_the_site_says() {
    let rules = "default_tag = 65\n[[experiments]]\npath = \"/atlas\"\nexperiment = \"atlas\"\n\
                 [[activities]]\npath = \"/atlas/datadisk\"\nactivity = 4\n";
    let site = Site::open_with(|config| config.marking = toml::from_str(rules).unwrap()).await;
    site.put("/atlas/datadisk/file", b"1").await;
    site.put("/atlas/file", b"2").await;
    site.put("/file", b"3").await;
    site.send("PUT", "/atlas/other", &[("scitag", "195")], b"4").await;
    site.get("/atlas/file").await;
    let (atlas, data) = (2 << 6 | 1, 2 << 6 | 4);
    assert_eq!(marks(&site), [mark(data), mark(atlas), mark(65), mark(195), mark(atlas)]);
}

#[tokio::test]
async fn a_copys_tag_for_the_other_side_counts_here_too_and_is_passed_on() {
    let site = Site::open().await;
    let copying = site.pull("/file", &[("transferheaderscitag", "130")]).await;
    assert_eq!(marks(&site), [mark(130)]);
    let headers = site.pool.last_pull().remote.unwrap().headers;
    assert_eq!(headers[0], proto::Header { name: "scitag".into(), value: "130".into() });
    drop(copying);
}
