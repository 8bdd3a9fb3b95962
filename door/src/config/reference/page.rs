//! What stands before the keys: in a commented configuration, and on the page docs/door-configuration.md.

/// Of the commented configuration.
pub(super) const FILE_PREFACE: &str = "\
# Configuration of penstock-door: every key with its default, commented out.
# Sizes are bytes, or text with a unit: B, KiB, MiB, GiB (\"64 KiB\").
# Times are text with a unit: ms, s, m, h (\"90s\", \"1h 30m\").
# Each key can be set in the environment, too (PENSTOCK_DOOR_TLS_LISTEN for tls.listen), and by --set tls.listen=…
# Needed are namespace, macaroon_keys and a pool.
";

/// Of the page.
pub(super) const PAGE_PREFACE: &str = "\
# Configuration of a door

<!-- Made by `penstock-door config --markdown`; a test holds it against the code. -->

One TOML file, `/etc/penstock/door.toml` by custom. `penstock-door config --default` prints all of this as a file to start
from, `penstock-door config` what is in effect and where each value comes from, `penstock-door check` whether a door can run
with it on this machine.

**Forms.** A *size* is bytes, or text with a unit (`\"64 KiB\"`: B, KiB, MiB, GiB). A *time* is text with a unit (`\"90s\"`,
`\"1h 30m\"`: ms, s, m, h). Paths are absolute, or begin where the daemon was started. Keys of `[[…]]` stand in each of several
tables. A key that there is not is an error that names the nearest one.

**Three places**, of which the later goes first: the file; the environment, where `tls.listen` is
`PENSTOCK_DOOR_TLS_LISTEN`; the command line, `--set tls.listen=[::]:2443`. Values from outside the file are TOML too, and text
needs no quotes there: `PENSTOCK_DOOR_COPY_PORTS='[443, \"1024-65535\"]'`, `--set limits.connections=8192`. Of `[[…]]` only the
whole list can be set: `PENSTOCK_DOOR_POOLS='[{ name = \"pool01\", socket = \"/run/penstock/pool01.sock\" }]'`. A name that begins
with `PENSTOCK_DOOR_` and is no key is an error, as an unknown key in the file is, so that a slip of the pen is not silently
without effect (Kubernetes makes such names for a service called `penstock-door`: call it otherwise, or set
`enableServiceLinks: false`). What is said outside the file is read once; a reload reads the file again.

Nothing in it is secret but what the page says: keys, tokens and certificates are files, of which it holds the paths.
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use penstock_service::reference::proof;

    use super::super::{Default, REFERENCE};
    use crate::config::Config;

    const REQUIRED: &str = "namespace = \"/n\"\nmacaroon_keys = \"/k\"\n";
    const POOL: &str = "\n[[pools]]\nname = \"p\"\nsocket = \"/s\"\n";

    #[test]
    fn the_commented_file_is_a_good_file_once_what_is_required_is_given() {
        let least = Config::parse(&format!("{REQUIRED}{POOL}"), Path::new("least")).unwrap();
        let text = format!("{REQUIRED}{}{POOL}", REFERENCE.commented());
        assert_eq!(Config::parse(&text, Path::new("commented")).unwrap(), least);
    }

    #[test]
    fn every_key_stands_in_the_commented_file() {
        let text = REFERENCE.commented();
        for key in REFERENCE.keys().filter(|key| !REFERENCE.lists.contains(&key.name)) {
            let line = format!("#{} = {}", key.own_name(), key.example);
            assert!(text.lines().any(|other| other == line), "{line}");
            assert!(key.default != Default::Value || !key.example.is_empty());
        }
    }

    #[test]
    fn the_page_of_the_documentation_is_this_one() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/door-configuration.md");
        proof::page_is_made_of(&REFERENCE, &page, "penstock-door");
    }
}
