//! The service manager's socket (sd_notify): what a daemon tells of itself while it starts, runs and ends.
//!
//! Without `NOTIFY_SOCKET` nobody listens, and everything here does nothing.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Where the service manager says that it listens (sd_notify(3)).
const SOCKET_VARIABLE: &str = "NOTIFY_SOCKET";
/// A service manager that takes no word for so long does not get it: the daemon has other things to do.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest status line in bytes: what fits in a terminal, and far below what a datagram may hold.
const STATUS_MAX_BYTES: usize = 512;

/// One thing to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word<'a> {
    /// It serves; also the end of a reload.
    Ready,
    /// It reads its configuration again, and will say that it is ready.
    Reloading,
    /// It ends.
    Stopping,
    /// It is alive.
    Alive,
    /// How it is, for people: the line that `systemctl status` shows.
    Status(&'a str),
    /// What it does now may take so long from now.
    NeedsTime(Duration),
}

/// The way to the service manager.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
}

impl Notifier {
    /// To the service manager that has started this process, if one has.
    #[must_use]
    pub fn from_environment() -> Self {
        let Some(path) = std::env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty()) else {
            return Self::default();
        };
        match Self::to(&path) {
            Ok(notifier) => notifier,
            Err(error) => {
                tracing::warn!(%error, "the service manager cannot be told anything: {SOCKET_VARIABLE} leads nowhere");
                Self::default()
            }
        }
    }

    /// To a socket: a path, or "@" and a name without a place in the file system (unix(7)).
    pub fn to(path: &OsStr) -> io::Result<Self> {
        let address = match path.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(OsString::from(path))?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self { socket: Some(socket) })
    }

    /// Tells some things at once.
    pub fn tell(&self, words: &[Word<'_>]) {
        let Some(socket) = &self.socket else { return };
        let text: String = words.iter().map(|word| format!("{}\n", line(*word))).collect();
        if let Err(error) = socket.send(text.as_bytes()) {
            // It notices what it does not hear; and the next word may get through.
            tracing::debug!(%error, "the service manager does not listen");
        }
    }
}

fn line(word: Word<'_>) -> String {
    match word {
        Word::Ready => "READY=1".to_owned(),
        // The time stamp tells apart reloads that overlap (systemd 253 and newer want it).
        Word::Reloading => format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_us()),
        Word::Stopping => "STOPPING=1".to_owned(),
        Word::Alive => "WATCHDOG=1".to_owned(),
        Word::Status(text) => format!("STATUS={}", one_short_line(text)),
        Word::NeedsTime(time) => format!("EXTEND_TIMEOUT_USEC={}", time.as_micros()),
    }
}

/// A line break would begin another word.
fn one_short_line(text: &str) -> String {
    crate::beginning(text, STATUS_MAX_BYTES).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn monotonic_us() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.saturating_mul(1_000_000).saturating_add(now.tv_nsec / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 4096];
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn words_arrive_as_lines_of_one_datagram() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str()).unwrap();

        notifier.tell(&[Word::Ready, Word::Status("3 transfers"), Word::NeedsTime(Duration::from_secs(2))]);

        assert_eq!(received(&manager), "READY=1\nSTATUS=3 transfers\nEXTEND_TIMEOUT_USEC=2000000\n");
    }

    #[test]
    fn a_socket_without_a_place_in_the_file_system_is_found_too() {
        let name = format!("penstock-notify-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let notifier = Notifier::to(OsStr::new(&format!("@{name}"))).unwrap();

        notifier.tell(&[Word::Alive]);

        assert_eq!(received(&manager), "WATCHDOG=1\n");
    }

    #[test]
    fn a_status_is_one_line_of_bounded_length_and_can_smuggle_nothing_in() {
        assert_eq!(line(Word::Status("well\nREADY=1")), "STATUS=well READY=1");
        let long = "ä".repeat(STATUS_MAX_BYTES);
        let told = line(Word::Status(&long));
        assert_eq!(told.len(), "STATUS=".len() + STATUS_MAX_BYTES);
    }

    #[test]
    fn a_reload_carries_the_monotonic_clock() {
        let told = line(Word::Reloading);
        let (_, stamp) = told.split_once("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!((1..=monotonic_us()).contains(&stamp.parse().unwrap()), "{told}");
    }

    #[test]
    fn with_nobody_listening_nothing_happens() {
        Notifier::default().tell(&[Word::Ready]);
        let dir = tempfile::tempdir().unwrap();
        assert!(Notifier::to(dir.path().join("nobody").as_os_str()).is_err());
    }
}
