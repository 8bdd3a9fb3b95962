//! What stands before the keys: in a commented configuration, and on the page docs/configuration.md.

/// What stands before the keys of the commented configuration.
pub(super) const FILE_PREFACE: &str = "\
# Configuration of penstock-pool: every key with its default, commented out.
# Sizes are bytes, or text with a unit: B, kB, MB, GB, TB, PB, KiB, MiB, GiB, TiB, PiB (\"10 GiB\").
# Times are seconds, or text with a unit: ms, s, min, h, d (\"2 min\").
# Each key can be set in the environment, too (PENSTOCK_POOL_DATA_LISTEN for data.listen), and by --set data.listen=…
";

/// What stands before the tables of the page.
pub(super) const PAGE_PREFACE: &str = "\
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use penstock_service::reference::proof;

    use super::super::{Default, REFERENCE};
    use crate::config::Config;

    /// Every key that has a default value, with its comment sign taken away.
    fn uncommented() -> String {
        let is_value = |line: &str| {
            let name = line.strip_prefix('#').and_then(|rest| rest.split_once(" = ")).map(|(name, _)| name);
            name.is_some_and(|name| !name.starts_with(' '))
        };
        let lines = REFERENCE.commented();
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
                let key = REFERENCE.keys().find(|key| key.name == format!("{table}{own}"));
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
        let plain = REFERENCE.commented();
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
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        proof::page_is_made_of(&REFERENCE, &page, "penstock-pool");
    }
}
