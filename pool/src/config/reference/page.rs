//! The reference as text: a configuration with everything commented out, and the page docs/configuration.md.

use super::{Default, KEYS, Key, LISTS};

/// Longest line of comments.
const LINE: usize = 100;

/// What stands before the keys of the commented configuration.
const PREFACE: &str = "\
# Configuration of penstock-pool: every key with its default, commented out.
# Sizes are bytes, or text with a unit: B, kB, MB, GB, TB, PB, KiB, MiB, GiB, TiB, PiB (\"10 GiB\").
# Times are seconds, or text with a unit: ms, s, min, h, d (\"2 min\").
# Each key can be set in the environment, too (PENSTOCK_POOL_DATA_LISTEN for data.listen), and by --set data.listen=…
";

/// What stands before the tables of the page.
const PAGE_PREFACE: &str = "\
# Configuration of a pool

<!-- Made by `penstock-pool config --markdown`; a test holds it against the code. -->

One TOML file, `/etc/penstock/pool.toml` by custom. `penstock-pool config --default` prints all of this as a file to start
from, `penstock-pool config` what is in effect and where each value comes from, `penstock-pool check` whether a pool can run
with it on this machine.

**Forms.** A *size* is bytes, or text with a unit (`\"10 GiB\"`: B, kB, MB, GB, TB, PB, KiB, MiB, GiB, TiB, PiB). A *time* is
seconds, or text with a unit (`\"2 min\"`: ms, s, min, h, d). Paths are absolute.

**Three places**, of which the later goes first: the file; the environment, where `data.listen` is
`PENSTOCK_POOL_DATA_LISTEN`; the command line, `--set data.listen=[::]:2881`. Values from outside the file are TOML too, and
text needs no quotes there: `PENSTOCK_POOL_CHECKSUMS='[\"md5\"]'`, `--set shards=4`, `--set doors.door1=https://door1:2880`.
A name that begins with `PENSTOCK_POOL_` and is no key is an error, as an unknown key in the file is, so that a slip of the
pen is not silently without effect (Kubernetes makes such names for a service called `penstock-pool`: call it otherwise, or
set `enableServiceLinks: false`).

Nothing in it is secret: keys and certificates are files, of which it holds the paths.
";

/// A configuration with every key at its default, commented out.
#[must_use]
pub fn commented() -> String {
    let mut text = PREFACE.to_owned();
    let mut table = "";
    for key in KEYS {
        // A table after others would belong to the last of them: these two come behind all.
        if key.name == "doors" || LISTS.contains(&key.name) {
            continue;
        }
        if key.table() != table {
            table = key.table();
            // A list of tables begins anew with each header.
            let header = if key.in_list() { format!("#[[{table}]]") } else { format!("[{table}]") };
            text.push_str(&format!("\n{header}\n"));
        }
        text.push('\n');
        text.push_str(&comment(key.what));
        text.push_str(&comment(&format!("{} {}", default_words(key), key.why)));
        text.push_str(&format!("#{} = {}\n", key.own_name(), key.example));
    }
    let doors = KEYS.iter().filter(|key| key.name == "doors");
    for key in doors {
        text.push_str(&format!("\n[{}]\n\n{}", key.name, comment(&format!("{} {}", key.what, key.why))));
        text.push_str("#door1 = \"https://door1.example.org:2880\"\n");
    }
    text
}

/// The page of the documentation.
#[must_use]
pub fn markdown() -> String {
    let mut page = PAGE_PREFACE.to_owned();
    let mut tables: Vec<&str> = Vec::new();
    for key in KEYS {
        if !tables.contains(&key.table()) {
            tables.push(key.table());
        }
    }
    for table in tables {
        let title = match table {
            "" => "At the top".to_owned(),
            table if LISTS.contains(&table) => format!("`[[{table}]]`"),
            table => format!("`[{table}]`"),
        };
        page.push_str(&format!(
            "\n## {title}\n\n| key | form | default | what it does, and why so |\n| --- | --- | --- | --- |\n"
        ));
        for key in KEYS.iter().filter(|key| key.table() == table) {
            let default = match key.default {
                Default::Value => format!("`{}`", key.example),
                Default::Otherwise(words) => words.to_owned(),
                Default::Required => "required".to_owned(),
            };
            let words = format!("{} *{}*", key.what, key.why).replace('|', "\\|");
            page.push_str(&format!("| `{}` | {} | {default} | {words} |\n", key.name, key.form.words()));
        }
    }
    page
}

fn default_words(key: &Key) -> String {
    match key.default {
        Default::Value => format!("Form: {}.", key.form.words()),
        Default::Otherwise(words) => format!("Form: {}. Default: {words}.", key.form.words()),
        Default::Required => format!("Form: {}. Required.", key.form.words()),
    }
}

/// Words in lines of a comment.
fn comment(words: &str) -> String {
    let mut text = String::new();
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > LINE {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    /// Every key that has a default value, with its comment sign taken away.
    fn uncommented() -> String {
        let is_value = |line: &str| {
            let name = line.strip_prefix('#').and_then(|rest| rest.split_once(" = ")).map(|(name, _)| name);
            name.is_some_and(|name| !name.starts_with(' '))
        };
        let lines = commented();
        let mut table = String::new();
        let mut text = String::new();
        for line in lines.lines() {
            if let Some(name) = line.strip_prefix('[') {
                table = format!("{}.", name.trim_end_matches(']'));
            } else if line.starts_with("#[[") {
                table = "queues.".to_owned();
            }
            let kept = is_value(line) && {
                let own = line[1..].split(" = ").next().unwrap();
                let key = KEYS.iter().find(|key| key.name == format!("{table}{own}"));
                key.is_some_and(|key| key.default == Default::Value && key.table() != "queues")
            };
            text.push_str(if kept { &line[1..] } else { line });
            text.push('\n');
        }
        text
    }

    #[test]
    fn the_commented_file_is_a_good_file_once_the_two_that_are_required_are_given() {
        let required = "name = \"p\"\nroot = \"/r\"\ndata.advertise = \"p:1\"\n";
        let least = Config::parse(required, Path::new("least")).unwrap();
        let plain = commented();
        assert_eq!(
            Config::parse(
                &format!(
                    "name = \"p\"\nroot = \"/r\"\n{}",
                    plain.replacen("[data]\n", "[data]\nadvertise = \"p:1\"\n", 1)
                ),
                Path::new("x")
            )
            .unwrap(),
            least
        );
        let values = uncommented();
        assert!(values.contains("\nlisten = \"0.0.0.0:2881\"\n"), "{values}");
        let text = format!(
            "name = \"p\"\nroot = \"/r\"\n{}",
            values.replacen("[data]\n", "[data]\nadvertise = \"p:1\"\n", 1)
        );
        assert_eq!(Config::parse(&text, Path::new("y")).unwrap(), least, "{text}");
    }

    #[test]
    fn the_page_of_the_documentation_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        let page = std::fs::read_to_string(&path).unwrap();
        assert!(
            page == markdown(),
            "docs/configuration.md is not as the code has it; make it again: penstock-pool config --markdown > \
             docs/configuration.md"
        );
    }

    #[test]
    fn comments_are_as_wide_as_pages() {
        assert!(commented().lines().all(|line| !line.starts_with("# ") || line.len() <= LINE + 40));
        assert_eq!(comment("a b"), "# a b\n");
    }
}
