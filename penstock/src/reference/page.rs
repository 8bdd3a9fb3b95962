//! What stands before the keys: in a commented configuration, and on the page docs/site-configuration.md.

/// Of the commented configuration.
pub(super) const FILE_PREFACE: &str = "\
# Configuration of penstock, door and pool in one process: every key with its default, commented out.
# Sizes are bytes, or text with a unit: B, kB, MB, GB, TB, PB, KiB, MiB, GiB, TiB, PiB (\"10 GiB\").
# Times are seconds, or text with a unit: ms, s, min, h, d (\"2 min\").
# Each key can be set in the environment, too (PENSTOCK_SITE_LISTEN for listen), and by --set listen=…
";

/// Of the page.
pub(super) const PAGE_PREFACE: &str = "\
# Configuration of a site in one process

<!-- Made by `penstock config --markdown`; a test holds it against the code. -->

`penstock` needs no configuration: without any, all is on loopback and kept below the current directory. One TOML file,
`/etc/penstock/penstock.toml` by custom and named with `--config`, says otherwise. `penstock config --default` prints all of
this as a file to start from; `penstock config`, with the options that the daemon gets, what is in effect and where each
value comes from; `penstock check`, with the same, whether a site can run on this machine with it. A site that needs more keys than these runs [pool](configuration.md) and [door](door-configuration.md)
apart.

**Forms.** A *size* is bytes, or text with a unit (`\"10 GiB\"`: B, kB, MB, GB, TB, PB, KiB, MiB, GiB, TiB, PiB). A *time* is
seconds, or text with a unit (`\"2 min\"`: ms, s, min, h, d). Paths are absolute, or begin where the daemon was started. Keys of
`[[…]]` stand in each of several tables. A key that there is not is an error that names the nearest one.

**Four places**, of which the later goes first: the file; the environment, where `marking.ports` is
`PENSTOCK_SITE_MARKING_PORTS`; the command line, `--set marking.ports=24000-24063`; and there the options with a name of their
own, `--data`, `--listen`, `--pool-listen`, `--admin-listen`, `--anonymous`. Values from outside the file are TOML too, and text
needs no quotes there: `PENSTOCK_SITE_CHECKSUMS='[\"md5\"]'`, `--set capacity='10 TiB'`. Of `[[…]]` only the whole list can be
set: `PENSTOCK_SITE_MARKING_EXPERIMENTS='[{ path = \"/atlas\", experiment = \"atlas\" }]'`. A name that begins with
`PENSTOCK_SITE_` and is no key is an error, as an unknown key in the file is, so that a slip of the pen is not silently without
effect (Kubernetes makes such names for a service called `penstock-site`: call it otherwise, or set
`enableServiceLinks: false`). What is said outside the file is read once; a reload reads the file again.

Nothing in it is secret: keys and tokens are files in `data`.
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use penstock_service::reference::proof;
    use penstock_service::settings::Configuration as _;

    use super::super::REFERENCE;
    use crate::settings::Settings;

    #[test]
    fn the_commented_file_says_nothing() {
        let nothing = Settings::parse("", Path::new("nothing")).unwrap();
        assert_eq!(Settings::parse(&REFERENCE.commented(), Path::new("commented")).unwrap(), nothing);
    }

    #[test]
    fn the_page_of_the_documentation_is_this_one() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/site-configuration.md");
        proof::page_is_made_of(&REFERENCE, &page, "penstock");
    }
}
