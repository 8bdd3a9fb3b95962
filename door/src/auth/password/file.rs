//! The password file: a line `user:hash` for each user, as `htpasswd` writes it. Beside it may lie a file of groups, with
//! `.groups` behind its name: a line `group: user user …` for each group, as Apache has it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::MAX_NAME_BYTES;
use super::hash::Hash;
use sha2::{Digest as _, Sha256};

/// Largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Why the passwords cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordFileError {
    /// The file cannot be read.
    #[error("cannot read the passwords {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Everybody can read it.
    #[error("the passwords {path} can be read by everybody (mode {mode:04o}): chmod o-rwx {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A line is of no use.
    #[error("{path}:{line}: {problem}")]
    BadLine {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// There is nobody in it.
    #[error("the passwords {path} are empty: add a user with \"htpasswd -B {path} USER\"")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The system gives no random bytes.
    #[error("cannot keep passwords: the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The users of a file.
#[derive(Debug)]
pub struct Users {
    users: HashMap<String, User>,
    /// Somebody to hold a password against that is nobody's.
    order: Vec<String>,
}

#[derive(Debug)]
struct User {
    hash: Hash,
    groups: Vec<String>,
}

/// Where the groups of a password file's users are.
pub fn groups_path(passwords: &Path) -> PathBuf {
    let mut path = passwords.as_os_str().to_owned();
    path.push(".groups");
    PathBuf::from(path)
}

impl Users {
    /// Reads the file and that of the groups, where there is one.
    pub fn read(path: &Path) -> Result<Self, PasswordFileError> {
        let mode = fs::metadata(path)
            .map_err(|source| PasswordFileError::Read { path: path.to_owned(), source })?
            .permissions()
            .mode();
        if mode & 0o007 != 0 {
            return Err(PasswordFileError::Exposed { path: path.to_owned(), mode: mode & 0o7777 });
        }
        let mut users = HashMap::new();
        let mut order = Vec::new();
        for (line, text) in lines(&read(path)?) {
            let wrong = |problem: String| PasswordFileError::BadLine { path: path.to_owned(), line, problem };
            let (name, rest) = text.split_once(':').ok_or_else(|| wrong("it is no \"user:hash\"".into()))?;
            check_name(name).map_err(wrong)?;
            // Some tools put more fields behind.
            let hash = Hash::parse(rest.split(':').next().unwrap_or_default())
                .map_err(|problem| wrong(format!("the password of {name} is {problem}")))?;
            match users.entry(name.to_owned()) {
                Entry::Occupied(_) => return Err(wrong(format!("{name} is there twice"))),
                Entry::Vacant(place) => place.insert(User { hash, groups: Vec::new() }),
            };
            order.push(name.to_owned());
        }
        if users.is_empty() {
            return Err(PasswordFileError::Empty { path: path.to_owned() });
        }
        let mut users = Self { users, order };
        let groups = groups_path(path);
        if groups.exists() {
            users.read_groups(&groups)?;
        }
        Ok(users)
    }

    fn read_groups(&mut self, path: &Path) -> Result<(), PasswordFileError> {
        for (line, text) in lines(&read(path)?) {
            let wrong = |problem: String| PasswordFileError::BadLine { path: path.to_owned(), line, problem };
            let (group, members) =
                text.split_once(':').ok_or_else(|| wrong("it is no \"group: user user\"".into()))?;
            let group = group.trim();
            check_name(group).map_err(wrong)?;
            for member in members.split_whitespace() {
                // Files of groups often name more people than have a password.
                if let Some(user) = self.users.get_mut(member)
                    && !user.groups.iter().any(|known| known == group)
                {
                    user.groups.push(group.to_owned());
                }
            }
        }
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Never: a file without users is refused.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Whether a password is that user's. Takes as long for a user who is not there.
    pub fn check(&self, name: &str, password: &[u8]) -> bool {
        match self.users.get(name) {
            Some(user) => user.hash.is_of(password),
            None => {
                // Always the same one for a name, as for a name that is there: costs may differ from user to user.
                let digest = Sha256::digest(name.as_bytes());
                let number = digest.iter().take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
                let index = usize::try_from(number % self.order.len().max(1) as u64).unwrap_or(0);
                let stand_in = self.order.get(index).and_then(|other| self.users.get(other));
                // Whatever comes of it.
                let _ = std::hint::black_box(stand_in.map(|user| user.hash.is_of(password)));
                false
            }
        }
    }

    /// The groups of a user; `None`: there is no such user.
    pub fn groups(&self, name: &str) -> Option<&[String]> {
        self.users.get(name).map(|user| user.groups.as_slice())
    }
}

fn read(path: &Path) -> Result<String, PasswordFileError> {
    let read_error = |source| PasswordFileError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(read_error)?.len() > MAX_FILE_BYTES {
        return Err(read_error(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes"))));
    }
    fs::read_to_string(path).map_err(read_error)
}

/// Lines that say something, counted from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn check_name(name: &str) -> Result<(), String> {
    let good = (1..=MAX_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
    good.then_some(()).ok_or_else(|| "the name is empty, too long, or has signs that do not show".into())
}
