//! The door that is measured, and the directory of ours in its namespace.

use std::cell::Cell;
use std::time::UNIX_EPOCH;

use anyhow::Context as _;

use super::options::Options;
use crate::arguments::{parse_token, read_token};
use crate::http::{Answer, Client, HttpError, Location};
use crate::terminal::Interrupt;

/// A door, and what is said to it.
pub struct Door {
    authority: String,
    /// Path of the directory, without "/" at its end.
    directory: String,
    /// The line of a head that shows the token, with its end; empty without one.
    authorization: String,
}

impl Door {
    /// As the options name it. Asks nobody yet.
    pub fn of(options: &Options) -> anyhow::Result<Self> {
        let given = Location::parse(&options.url)
            .map_err(|_| anyhow::anyhow!("what is given is no door: write http://HOST:PORT"))?;
        // Not shown: what stands before "@" is a secret.
        anyhow::ensure!(
            !given.authority.contains('@'),
            "the door's URL names a user; write http://HOST:PORT, and a token with --token-file"
        );
        let directory = match &options.directory {
            Some(path) => {
                let usable = path.len() > 1
                    && path.starts_with('/')
                    && path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
                anyhow::ensure!(
                    usable,
                    "--directory: \"{path}\" is no path: begin with \"/\", and write what is not ASCII as in a URL"
                );
                path.trim_end_matches('/').to_owned()
            }
            None => {
                let nanoseconds = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
                format!("/penstock-bench-{:x}-{nanoseconds:x}", std::process::id())
            }
        };
        Ok(Self {
            directory: format!("{}{directory}", given.target.trim_end_matches('/')),
            authority: given.authority,
            authorization: token(options)?
                .map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n")),
        })
    }

    /// Where it is.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A file in the directory.
    pub fn file(&self, name: &str) -> Location {
        Location { authority: self.authority.clone(), target: format!("{}/{name}", self.directory) }
    }

    /// The line that shows the token, and what else the head is to have.
    pub fn fields(&self, more: &str) -> String {
        format!("{}{more}", self.authorization)
    }

    fn directory(&self) -> Location {
        Location { authority: self.authority.clone(), target: self.directory.clone() }
    }

    /// Why it does not do what it was asked for, and what helps.
    fn refused(&self, what: &str, answer: &Answer) -> anyhow::Error {
        let Answer { status, text, .. } = answer;
        let said = if text.is_empty() { String::new() } else { format!(": {text}") };
        let door = &self.authority;
        match status {
            401 if self.authorization.is_empty() => anyhow::anyhow!(
                "the door at {door} wants a token{said}; give it with --token-file (penstock writes the first one to \
                 token in its data directory)"
            ),
            401 => anyhow::anyhow!(
                "the door at {door} refuses the token{said}; give a good one with --token-file"
            ),
            403 => anyhow::anyhow!(
                "the token does not allow {what}{said}; it has to allow LIST, UPLOAD, DOWNLOAD, DELETE and MANAGE, where \
                 --directory is"
            ),
            _ => anyhow::anyhow!("{what} failed, the door at {door} answered {status}{said}"),
        }
    }
}

/// The token, if one is given.
fn token(options: &Options) -> anyhow::Result<Option<String>> {
    match (&options.token, &options.token_file) {
        (Some(token), _) => parse_token(token, "--token").map(Some),
        (None, Some(path)) => read_token(path, "--token-file").map(Some),
        (None, None) => Ok(None),
    }
}

/// The directory in the door's namespace. Removed, with all in it, when dropped.
pub struct Directory<'a> {
    door: &'a Door,
    removed: Cell<bool>,
}

impl<'a> Directory<'a> {
    /// Makes it. What is there already is nobody's to remove, so it must not be there.
    pub fn make(door: &'a Door, interrupt: &Interrupt) -> anyhow::Result<Self> {
        let mut client = Client::small(interrupt);
        let answer = client.ask(&door.directory(), "MKCOL", &door.authorization).map_err(|error| match error {
            HttpError::Connect { .. } => {
                anyhow::anyhow!("{error}; does the door run, and is that where it listens (listen in its configuration)?")
            }
            error => error.into(),
        })?;
        match answer.status {
            201 => Ok(Self { door, removed: Cell::new(false) }),
            // RFC 4918 §9.3.1: 405 for a name that is taken.
            405 => anyhow::bail!(
                "{} exists at the door; nothing is measured in what was there before: name another with --directory",
                door.directory
            ),
            _ => Err(door.refused(&format!("making {}", door.directory), &answer)),
        }
    }

    /// Removes it, an interrupt notwithstanding.
    pub fn remove(&self) -> anyhow::Result<()> {
        if self.removed.replace(true) {
            return Ok(());
        }
        let mut client = Client::small(&Interrupt::never());
        let left =
            || format!("{} is left at the door {}; delete it", self.door.directory, self.door.authority);
        let answer =
            client.ask(&self.door.directory(), "DELETE", &self.door.authorization).with_context(left)?;
        match answer.status {
            200 | 204 | 404 => Ok(()),
            _ => Err(self.door.refused("deleting the files", &answer).context(left())),
        }
    }
}

impl Drop for Directory<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("warning: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn door(arguments: &[&str]) -> anyhow::Result<Door> {
        Door::of(&Line::try_parse_from([&["bench"], arguments].concat()).unwrap().options)
    }

    #[test]
    fn files_are_in_the_directory_and_the_token_in_the_head() {
        let door = door(&["http://door:2880/", "--token", "abc", "--directory", "/data/x/"]).unwrap();
        let file = door.file("7");
        assert_eq!((file.authority.as_str(), file.target.as_str()), ("door:2880", "/data/x/7"));
        assert_eq!(
            door.fields("Expect: 100-continue\r\n"),
            "Authorization: Bearer abc\r\nExpect: 100-continue\r\n"
        );
    }

    #[test]
    fn each_run_has_a_directory_of_its_own() {
        let (one, other) = (door(&["http://d:1"]).unwrap(), door(&["http://d:1"]).unwrap());
        assert_ne!(one.directory, other.directory);
        assert!(one.directory.starts_with("/penstock-bench-"));
    }

    #[test]
    fn what_makes_no_sense_is_said_and_a_token_is_never_shown() {
        for (arguments, expected) in [
            (&["door:2880"][..], "is no door: write http://HOST:PORT"),
            (&["http://me:ret;@d:1"], "names a user"),
            (&["http://d:1", "--directory", "data"], "begin with \"/\""),
            (&["http://d:1", "--directory", "/"], "begin with \"/\""),
            (&["http://d:1", "--directory", "/a b"], "begin with \"/\""),
            (&["http://d:1", "--token", "sec ret"], "--token: what is given is no token"),
            (&["http://d:1", "--token-file", "/nowhere/token"], "--token-file: cannot read /nowhere/token"),
        ] {
            let error = format!("{:#}", door(arguments).err().unwrap());
            assert!(error.contains(expected) && !error.contains("ret;"), "{error}");
        }
    }

    #[test]
    fn refusals_say_what_helps() {
        let answer = |status, text: &str| Answer { status, location: None, text: text.to_owned() };
        let open = door(&["http://d:1"]).unwrap();
        let known = door(&["http://d:1", "--token", "abc"]).unwrap();
        for (door, status, text, expected) in [
            (
                &open,
                401,
                "a token is needed",
                "the door at d:1 wants a token: a token is needed; give it with --token-file",
            ),
            (&known, 401, "expired", "the door at d:1 refuses the token: expired; give a good one"),
            (&known, 403, "", "the token does not allow making /x; it has to allow LIST"),
            (&known, 503, "no pool", "making /x failed, the door at d:1 answered 503: no pool"),
        ] {
            let error = door.refused("making /x", &answer(status, text)).to_string();
            assert!(error.starts_with(expected) && !error.contains("abc"), "{error}");
        }
    }
}
