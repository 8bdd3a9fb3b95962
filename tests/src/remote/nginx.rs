//! nginx with its DAV module.
//!
//! It tells a strong ETag and no checksums, so that some places say one with each file that is fetched there:
//!
//! | place | what it is |
//! | --- | --- |
//! | `/` | read and written |
//! | `/digested/HEX/` | the same files, told to have that adler32 |
//! | `/paced/HEX/` | likewise, and no connection gets more than [`PACE`] bytes per second |
//! | `/private/` | read and written with `Authorization: Bearer` and [`TOKEN`] only |
//! | `/of/NAME/` | read and written with a certificate of `CN=NAME` only, where such are looked at |

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use super::{WebServer, directory_of, parts_of, program};
use crate::certificates::Identity;
use crate::ports;
use crate::room::Room;

/// What `/private/` wants to see.
pub const TOKEN: &str = "far-away-very-secret-token";
/// Bytes per second of a connection at `/paced/`.
pub const PACE: u64 = 4 << 20;

/// Starts one at an address of this machine, or of the namespace of the thread that asks.
#[must_use]
pub fn start(at: IpAddr, identity: &Identity) -> WebServer {
    start_with(at, identity, "")
}

/// One whose https is for clients only that have a certificate of that authority.
#[must_use]
pub fn start_demanding(at: IpAddr, identity: &Identity, authority: &Path) -> WebServer {
    start_with(
        at,
        identity,
        &format!("ssl_client_certificate {}; ssl_verify_client on;", authority.display()),
    )
}

fn start_with(at: IpAddr, identity: &Identity, tls: &str) -> WebServer {
    let room = Room::new();
    let [http, https] = ports::free().map(|free| SocketAddr::new(at, free.port()));
    for directory in [directory_of(&room), parts_of(&room), directory_of(&room).join("private")] {
        fs::create_dir_all(directory).expect("the room can be written");
    }
    let config = room.join("nginx.conf");
    let text = format!(
        r#"
# One process, so that it goes with the story.
daemon off;
master_process off;
pid {room}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type application/octet-stream;
    client_max_body_size 0;
    client_body_timeout 5s;
    client_body_temp_path {parts}/body;
    proxy_temp_path {parts}/proxy;
    fastcgi_temp_path {parts}/fastcgi;
    uwsgi_temp_path {parts}/uwsgi;
    scgi_temp_path {parts}/scgi;
    sendfile on;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    {tls}
    server {{
        listen {http};
        listen {https} ssl;
        root {files};
        location / {{
            dav_methods PUT DELETE;
            create_full_put_path on;
        }}
        location ~ ^/digested/([0-9a-f]+)/(.+)$ {{
            alias {files}/$2;
            add_header Digest adler32=$1;
        }}
        location ~ ^/paced/([0-9a-f]+)/(.+)$ {{
            alias {files}/$2;
            add_header Digest adler32=$1;
            limit_rate {PACE};
        }}
        location ~ ^/of/([a-z]+)/ {{
            if ($ssl_client_s_dn != "CN=$1") {{ return 403; }}
            dav_methods PUT DELETE;
            create_full_put_path on;
        }}
        location /private/ {{
            if ($http_authorization != "Bearer {TOKEN}") {{ return 401; }}
            dav_methods PUT DELETE;
            create_full_put_path on;
        }}
    }}
}}
"#,
        room = room.path().display(),
        parts = parts_of(&room).display(),
        files = directory_of(&room).display(),
        certificate = identity.certificate.display(),
        key = identity.key.display(),
    );
    fs::write(&config, text).expect("the room can be written");
    let mut command = Command::new(program("nginx"));
    command.arg("-e").arg("stderr").arg("-p").arg(room.path()).arg("-c").arg(&config);
    WebServer::start("nginx (Debian: apt-get install nginx)", &mut command, http, https, room)
}
