//! Apache httpd with mod_dav. It tells a `Content-MD5` with every file (`ContentDigest`), also of those that it has
//! just been given.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::{WebServer, directory_of, parts_of, program};
use crate::certificates::Identity;
use crate::ports;
use crate::room::Room;

/// Where distributions keep its modules.
const MODULE_DIRECTORIES: [&str; 2] = ["/usr/lib/apache2/modules", "/usr/lib64/httpd/modules"];
const MODULES: [&str; 5] = ["mpm_event", "authz_core", "dav", "dav_fs", "ssl"];

/// Starts one at an address of this machine.
#[must_use]
pub fn start(at: IpAddr, identity: &Identity) -> WebServer {
    // Started by root it becomes another user, who must get there.
    let room = Room::for_everyone();
    let [http, https] = ports::free().map(|free| SocketAddr::new(at, free.port()));
    for directory in [directory_of(&room), parts_of(&room)] {
        fs::create_dir_all(&directory).expect("the room can be written");
        fs::set_permissions(&directory, PermissionsExt::from_mode(0o777)).expect("the owner may do that");
    }
    let config = room.join("httpd.conf");
    fs::write(&config, text(&room, http, https, identity)).expect("the room can be written");
    let mut command = Command::new(program("apache2"));
    // One process, so that it goes with the story.
    command.arg("-X").arg("-f").arg(&config);
    WebServer::start("apache2 (Debian: apt-get install apache2-bin)", &mut command, http, https, room)
}

fn text(room: &Room, http: SocketAddr, https: SocketAddr, identity: &Identity) -> String {
    let directory = MODULE_DIRECTORIES.iter().find(|directory| Path::new(directory).is_dir());
    let directory = directory.expect("Apache's modules are where distributions put them");
    let modules: String =
        MODULES.iter().map(|name| format!("LoadModule {name}_module {directory}/mod_{name}.so\n")).collect();
    format!(
        r#"
{modules}
ServerRoot "{room}"
DefaultRuntimeDir "{room}"
PidFile "{room}/httpd.pid"
Mutex file:{room} default
ServerName localhost
ErrorLog "/dev/stderr"
User www-data
Group www-data
Listen {http}
Listen {https}
DocumentRoot "{files}"
DavLockDB "{parts}/locks"
LimitRequestBody 0
<Directory "{files}">
    Dav On
    ContentDigest On
    AllowOverride None
    Require all granted
</Directory>
<VirtualHost {https}>
    ServerName localhost
    DocumentRoot "{files}"
    SSLEngine on
    SSLCertificateFile "{certificate}"
    SSLCertificateKeyFile "{key}"
</VirtualHost>
"#,
        room = room.path().display(),
        files = directory_of(room).display(),
        parts = parts_of(room).display(),
        certificate = identity.certificate.display(),
        key = identity.key.display(),
    )
}
