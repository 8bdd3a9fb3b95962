//! What is printed when the site is ready: one line for programs, and three to copy and paste.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::site::Site;

/// A file that every Debian and Ubuntu has, for the first upload.
const EXAMPLE_FILE: &str = "/etc/os-release";
/// The name that it gets.
const EXAMPLE_NAME: &str = "first-upload.txt";

/// Writes the ready line and the three examples.
pub fn ready(site: &Site, out: &mut impl io::Write) -> io::Result<()> {
    write(out, site.door_url(), site.pool_addr(), site.admin_addr(), site.token())?;
    // Whoever waits for this line reads it through a pipe.
    out.flush()
}

fn write(
    out: &mut impl io::Write,
    door: &str,
    pool: SocketAddr,
    admin: SocketAddr,
    token: &Path,
) -> io::Result<()> {
    writeln!(
        out,
        "penstock ready: door={door} pool=http://{pool} admin=http://{admin} token={}",
        token.display()
    )?;
    let token = token.to_string_lossy();
    let curl = format!("curl -fL -H \"Authorization: Bearer $(cat {})\"", quoted(&token));
    writeln!(out, "{curl} -H 'Expect: 100-continue' -T {EXAMPLE_FILE} {door}/{EXAMPLE_NAME}")?;
    writeln!(out, "{curl} {door}/{EXAMPLE_NAME}")?;
    writeln!(out, "{curl} -I -H 'Want-Digest: adler32' {door}/{EXAMPLE_NAME}")
}

/// As one word of a shell.
fn quoted(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_names_every_address_and_the_examples_use_them() {
        let mut out = Vec::new();
        let (pool, admin) = ("127.0.0.1:2881".parse().unwrap(), "127.0.0.1:2882".parse().unwrap());
        write(&mut out, "http://127.0.0.1:2880", pool, admin, Path::new("my data/token")).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "penstock ready: door=http://127.0.0.1:2880 pool=http://127.0.0.1:2881 admin=http://127.0.0.1:2882 \
             token=my data/token"
        );
        assert_eq!(
            lines[1],
            "curl -fL -H \"Authorization: Bearer $(cat 'my data/token')\" -H 'Expect: 100-continue' \
             -T /etc/os-release http://127.0.0.1:2880/first-upload.txt"
        );
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_path_stays_one_word_of_the_shell() {
        for (text, word) in
            [("a/b", "a/b"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("", "''"), ("$x", "'$x'")]
        {
            assert_eq!(quoted(text), word);
        }
    }
}
