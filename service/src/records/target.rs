//! Where records go: a file, the journal, or the standard error. A write is whole or leaves nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::{Record, RecordTarget};

/// Where the journal listens (systemd, "Native Journal Protocol").
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
/// As large a message as systemd's own library asks room for; the kernel gives what net.core.wmem_max allows.
const JOURNAL_MESSAGE_BYTES: usize = 8 << 20;
/// Records name users: not for everybody.
const FILE_MODE: u32 = 0o640;

/// An open target.
#[derive(Debug)]
pub(super) enum Target {
    /// Lines at the end of a file.
    File(Lines),
    /// Messages to the journal, with fields to search by.
    Journal {
        /// Ours.
        socket: UnixDatagram,
        /// The journal's.
        path: PathBuf,
    },
    /// Lines on the standard error.
    Stderr,
}

/// A file of lines.
#[derive(Debug)]
pub(super) struct Lines {
    path: PathBuf,
    /// `None` after it could not be opened again.
    file: Option<File>,
    /// A line was cut short, and what there is of it could not be taken back.
    torn: bool,
}

impl Target {
    /// Opens what the configuration names.
    pub fn open(target: &RecordTarget) -> io::Result<Target> {
        match target {
            RecordTarget::File(path) => Lines::open(path).map(Target::File),
            RecordTarget::Journal => Self::journal(Path::new(JOURNAL_SOCKET)),
            RecordTarget::Stderr => Ok(Target::Stderr),
        }
    }

    fn journal(path: &Path) -> io::Result<Target> {
        let socket = UnixDatagram::unbound()?;
        // Without it, only a very long record would not fit.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, JOURNAL_MESSAGE_BYTES);
        // So that a machine without a journal is told of at the start.
        std::fs::metadata(path)?;
        Ok(Target::Journal { socket, path: path.to_owned() })
    }

    /// Opens the file at the path again, which may be another one by now (logrotate).
    pub fn reopen(&mut self) -> io::Result<()> {
        match self {
            Target::File(lines) => lines.reopen(),
            Target::Journal { .. } | Target::Stderr => Ok(()),
        }
    }

    /// Writes records. Gives how many were written, and why not all were.
    pub fn write(&mut self, identifier: &str, records: &[Record]) -> (usize, io::Result<()>) {
        match self {
            Target::File(lines) => match lines.write(records) {
                Ok(()) => (records.len(), Ok(())),
                Err(error) => (0, Err(error)),
            },
            Target::Journal { socket, path } => {
                for (written, record) in records.iter().enumerate() {
                    if let Err(error) = socket.send_to(&journal_message(identifier, record), &path) {
                        return (written, Err(error));
                    }
                }
                (records.len(), Ok(()))
            }
            Target::Stderr => match io::stderr().lock().write_all(&lines_of(records)) {
                Ok(()) => (records.len(), Ok(())),
                Err(error) => (0, Err(error)),
            },
        }
    }
}

impl Lines {
    fn open(path: &Path) -> io::Result<Lines> {
        Ok(Lines { path: path.to_owned(), file: Some(open_file(path)?), torn: false })
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = None;
        self.torn = false;
        self.file = Some(open_file(&self.path)?);
        Ok(())
    }

    fn write(&mut self, records: &[Record]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(open_file(&self.path)?),
        };
        let metadata = file.metadata()?;
        let mut bytes = lines_of(records);
        if self.torn {
            bytes.insert(0, b'\n');
        }
        if let Err(error) = file.write_all(&bytes) {
            // A full disk may have taken a part of it. Half a line would spoil the next one.
            self.torn = !(metadata.is_file() && file.set_len(metadata.len()).is_ok());
            return Err(error);
        }
        self.torn = false;
        Ok(())
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path)
}

fn lines_of(records: &[Record]) -> Vec<u8> {
    let length = records.iter().map(|record| record.json.len() + 1).sum::<usize>();
    let mut bytes = Vec::with_capacity(length + 1);
    for record in records {
        bytes.extend_from_slice(record.json.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

/// Fields of one line each; JSON has no line ends in it.
fn journal_message(identifier: &str, record: &Record) -> Vec<u8> {
    let json = &record.json;
    let mut message =
        format!("MESSAGE={json}\nPRIORITY=6\nSYSLOG_IDENTIFIER={identifier}\nPENSTOCK_RECORD=1\n");
    for (name, value) in &record.fields {
        let value: String = value.chars().filter(|letter| !letter.is_control()).collect();
        message.push_str(&format!("{name}={value}\n"));
    }
    message.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u32) -> Record {
        Record {
            json: format!("{{\"n\":{number}}}"),
            fields: vec![("PENSTOCK_TRANSFER", format!("t{number}\n"))],
        }
    }

    fn file(path: &Path) -> Target {
        Target::open(&RecordTarget::File(path.to_owned())).unwrap()
    }

    #[test]
    fn lines_are_added_to_what_is_there_and_are_not_for_everybody() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("records");
        assert!(file(&path).write("test", &[record(1)]).1.is_ok());
        assert!(file(&path).write("test", &[record(2), record(3)]).1.is_ok());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o007, 0);
    }

    #[test]
    fn after_a_rotation_the_new_file_is_written_and_the_old_one_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("records"), dir.path().join("records.1"));
        let mut target = file(&path);
        target.write("test", &[record(1)]).1.unwrap();
        std::fs::rename(&path, &old).unwrap();
        target.write("test", &[record(2)]).1.unwrap();
        target.reopen().unwrap();
        target.write("test", &[record(3)]).1.unwrap();
        assert_eq!(std::fs::read_to_string(&old).unwrap(), "{\"n\":1}\n{\"n\":2}\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"n\":3}\n");
    }

    #[test]
    fn a_device_that_is_full_says_so_and_nothing_was_written() {
        let mut target = file(Path::new("/dev/full"));
        let (written, result) = target.write("test", &[record(1)]);
        assert_eq!(
            (written, result.unwrap_err().raw_os_error()),
            (0, Some(rustix::io::Errno::NOSPC.raw_os_error()))
        );
    }

    #[test]
    fn a_file_that_could_not_be_opened_again_is_tried_at_each_write() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("log");
        std::fs::create_dir(&inner).unwrap();
        let path = inner.join("records");
        let mut target = file(&path);
        std::fs::remove_dir_all(&inner).unwrap();
        assert!(target.reopen().is_err());
        assert!(target.write("test", &[record(1)]).1.is_err());
        std::fs::create_dir(&inner).unwrap();
        assert!(target.write("test", &[record(2)]).1.is_ok());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"n\":2}\n");
    }

    #[test]
    fn the_journal_gets_fields_to_search_by() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let journal = UnixDatagram::bind(&path).unwrap();
        let mut target = Target::journal(&path).unwrap();
        assert_eq!(target.write("test", &[record(7)]).0, 1);
        let mut message = [0; 1000];
        let length = journal.recv(&mut message).unwrap();
        let text = std::str::from_utf8(&message[..length]).unwrap();
        assert!(text.starts_with("MESSAGE={\"n\":7}\n"), "{text}");
        assert!(
            text.contains("\nPENSTOCK_TRANSFER=t7\n") && text.contains("\nSYSLOG_IDENTIFIER=test\n"),
            "{text}"
        );
    }

    #[test]
    fn a_machine_without_a_journal_is_told_of_at_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Target::journal(&dir.path().join("none")).is_err());
    }
}
