//! Which servers may speak for which VO: a directory as grids have it (`/etc/grid-security/vomsdir`), with a file
//! `VO/HOST.lsc` for each server. Read with the authorities.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use penstock_trust::CertificateError as FileError;

use crate::auth::certificate::name::canonical;

/// Largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 << 10;
/// VOs, and servers of one.
const MAX_ENTRIES: usize = 1000;
/// Between two chains of one file, which count each for itself: while a server changes from one certificate to another.
const NEXT_CHAIN: &str = "NEXT CHAIN";
const ENDING: &str = "lsc";

/// The servers of all VOs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Servers {
    known: HashMap<(String, String), Vec<Chain>>,
}

/// Names of a server's certificate and of those above it, from below, as far as the site has written them down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain(Vec<String>);

impl Chain {
    /// Whether a server's certificate and those above it have these names.
    pub fn fits(&self, path: &[String]) -> bool {
        self.0.len() <= path.len() && self.0.iter().zip(path).all(|(known, name)| *known == canonical(name))
    }
}

impl Servers {
    /// Reads the directory. What is wrong with one file is told in `passed_over`, and does not keep out the others.
    pub fn read(place: &Path, passed_over: &mut Vec<String>) -> Result<Self, FileError> {
        let mut servers = Self::default();
        let failed = |error| FileError::read(place, error);
        for vo in entries(place).map_err(failed)? {
            // Files that lie beside the directories are of an older kind, certificates of servers.
            let Some(name) = vo.file_name().and_then(|name| name.to_str()).filter(|_| vo.is_dir()) else {
                continue;
            };
            match entries(&vo) {
                Ok(files) => {
                    for file in files {
                        servers.add(name, &file, passed_over);
                    }
                }
                Err(error) => passed_over.push(format!("{}: {error}", vo.display())),
            }
        }
        Ok(servers)
    }

    /// Those of which one has to fit a server; none when the site does not know it. `host`: in lower case.
    pub fn chains(&self, vo: &str, host: &str) -> &[Chain] {
        self.known.get(&(vo.to_owned(), host.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    fn add(&mut self, vo: &str, file: &Path, passed_over: &mut Vec<String>) {
        if file.extension().is_none_or(|ending| ending != ENDING) {
            return;
        }
        let Some(host) = file.file_stem().and_then(|stem| stem.to_str()) else { return };
        match read_chains(file) {
            Ok(chains) => drop(self.known.insert((vo.to_owned(), host.to_ascii_lowercase()), chains)),
            Err(problem) => passed_over.push(format!("{}: {problem}", file.display())),
        }
    }
}

/// The directories of VOs in such a directory: what has to be looked at to notice a change.
pub fn directories(place: &Path) -> Vec<PathBuf> {
    let found = entries(place).unwrap_or_default();
    found.into_iter().filter(|path| path.is_dir()).collect()
}

/// What lies in a directory, in the order of the names.
fn entries(place: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(place)? {
        if found.len() >= MAX_ENTRIES {
            return Err(io::Error::other(format!("there are more than {MAX_ENTRIES} entries")));
        }
        found.push(entry?.path());
    }
    found.sort();
    Ok(found)
}

fn read_chains(file: &Path) -> Result<Vec<Chain>, String> {
    let length = fs::metadata(file).map_err(|error| error.to_string())?.len();
    if length > MAX_FILE_BYTES {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes"));
    }
    parse(&fs::read_to_string(file).map_err(|error| error.to_string())?)
}

/// A distinguished name on each line: the server's, that of its authority, and so on.
fn parse(text: &str) -> Result<Vec<Chain>, String> {
    let mut chains = vec![Vec::new()];
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('-') && line.trim_matches(['-', ' ']).eq_ignore_ascii_case(NEXT_CHAIN) {
            chains.push(Vec::new());
        } else if line.starts_with('/') {
            // There is one to begin with.
            if let Some(last) = chains.last_mut() {
                last.push(canonical(line));
            }
        } else if !line.is_empty() && !line.starts_with('#') {
            return Err(format!(
                "line {} is neither a distinguished name nor \"------ {NEXT_CHAIN} ------\"",
                index + 1
            ));
        }
    }
    chains.retain(|chain| !chain.is_empty());
    // The server's name alone would let any authority make one of that name.
    if chains.is_empty() || chains.iter().any(|chain| chain.len() < 2) {
        return Err(
            "it takes two lines at least: the name of the server and that of its authority".to_owned()
        );
    }
    Ok(chains.into_iter().map(Chain).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str = "/DC=org/CN=voms.example.org";
    const AUTHORITY: &str = "/DC=org/CN=CA";

    fn path(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_file_names_a_server_and_its_authority_once_or_more() {
        let one = parse(&format!("{SERVER}\n{AUTHORITY}\n")).unwrap();
        assert!(
            one[0].fits(&path(&[SERVER, AUTHORITY])) && one[0].fits(&path(&[SERVER, AUTHORITY, "/CN=root"]))
        );
        assert!(!one[0].fits(&path(&[SERVER])) && !one[0].fits(&path(&[SERVER, "/CN=other"])));
        assert!(!one[0].fits(&path(&["/CN=other", AUTHORITY])));

        let two = parse(&format!(
            "# old\n{SERVER}\n{AUTHORITY}\n\n------ NEXT CHAIN ------\n  /CN=new/Email=a@b  \n{AUTHORITY}\n"
        ));
        let two = two.unwrap();
        assert_eq!(two.len(), 2);
        assert!(
            two[1].fits(&path(&["/CN=new/emailAddress=a@b", AUTHORITY])),
            "mail is written in several ways"
        );
    }

    #[test]
    fn a_file_that_says_something_else_is_told_of() {
        for (text, expected) in [
            ("", "two lines at least"),
            ("/CN=alone\n", "two lines at least"),
            ("/CN=a\n/CN=b\n------ NEXT CHAIN ------\n/CN=alone\n", "two lines at least"),
            ("/CN=a\nCN=b,O=c\n", "line 2 is neither"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_directory_is_read_and_one_bad_file_keeps_out_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let vo = dir.path().join("vo");
        fs::create_dir(&vo).unwrap();
        let good = format!("{SERVER}\n{AUTHORITY}\n");
        for (name, text) in
            [("Voms.example.org.lsc", &*good), ("bad.example.org.lsc", "x"), ("server.pem", "x")]
        {
            fs::write(vo.join(name), text).unwrap();
        }
        fs::write(dir.path().join("old.pem"), "x").unwrap();
        let mut passed_over = Vec::new();
        let servers = Servers::read(dir.path(), &mut passed_over).unwrap();
        assert_eq!((servers.count(), passed_over.len()), (1, 1), "{passed_over:?}");
        assert!(passed_over[0].contains("bad.example.org.lsc: line 1"), "{passed_over:?}");
        assert_eq!(servers.chains("vo", "voms.example.org").len(), 1);
        assert!(servers.chains("other", "voms.example.org").is_empty());

        let error = Servers::read(&dir.path().join("nothing"), &mut passed_over).unwrap_err().to_string();
        assert!(error.contains("nothing"), "{error}");
    }
}
