//! The service manager's part (systemd): a socket that daemons tell their state, and sockets that they are handed.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::binaries::binary;
use crate::daemon::Daemon;
use crate::patience::eventually;

/// Largest message that a daemon sends.
const MESSAGE_MAX_BYTES: usize = 4096;

/// Listens to what one daemon tells of itself.
pub struct Manager {
    socket: std::path::PathBuf,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Manager {
    /// One whose socket is in that directory.
    #[must_use]
    pub fn new(directory: &Path) -> Manager {
        let socket = directory.join("notify");
        let listening = UnixDatagram::bind(&socket).expect("a socket can be made");
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hearing = Arc::clone(&heard);
        // Ends with the process; stories are few.
        std::thread::spawn(move || {
            let mut buffer = [0; MESSAGE_MAX_BYTES];
            while let Ok(length) = listening.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                let mut heard = hearing.lock().unwrap_or_else(PoisonError::into_inner);
                heard.extend(text.lines().map(str::to_owned));
            }
        });
        Manager { socket, heard }
    }

    /// Starts a daemon under it, with a watchdog of so long.
    #[must_use]
    pub fn start(&self, program: &str, arguments: &[&Path], watchdog: Duration) -> Daemon {
        let mut command = Command::new(binary(program));
        command.args(arguments);
        command.env("NOTIFY_SOCKET", &self.socket).env("WATCHDOG_USEC", watchdog.as_micros().to_string());
        Daemon::spawn(program, &mut command)
    }

    /// Every word so far, in order.
    #[must_use]
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often it heard that word.
    #[must_use]
    pub fn count(&self, word: &str) -> usize {
        self.heard().iter().filter(|heard| *heard == word).count()
    }

    /// Forgets what it has heard.
    pub fn forget(&self) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits for a word that begins so.
    pub fn waits_for(&self, beginning: &str) -> String {
        eventually(&format!("the daemon tells {beginning}"), || {
            self.heard().into_iter().find(|word| word.starts_with(beginning))
        })
    }
}

/// Starts a daemon and hands it a listener that stays open here, as socket units do.
#[must_use]
pub fn start_on(listener: &TcpListener, program: &str, arguments: &[&Path]) -> Daemon {
    start_named_on(listener, "unknown", program, arguments)
}

/// The same with the name that the socket's unit gives it (`FileDescriptorName=`).
#[must_use]
pub fn start_named_on(listener: &TcpListener, name: &str, program: &str, arguments: &[&Path]) -> Daemon {
    let descriptor = OwnedFd::from(listener.try_clone().expect("a descriptor can be doubled"));
    // sd_listen_fds(3): descriptors from 3 on, for the process of that id.
    let hand_over = "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"";
    let mut command = Command::new("sh");
    command.env("LISTEN_FDNAMES", name);
    command.args(["-c", hand_over, "sh"]).arg(binary(program)).args(arguments);
    Daemon::spawn_with_stdin(program, &mut command, Stdio::from(descriptor))
}
