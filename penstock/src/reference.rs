//! Every key of the site's configuration: its form, its default, what it does, and why the default is what it is.
//!
//! The one source of `penstock config --default`, of docs/site-configuration.md, and of what may be set in the environment and
//! by --set. A new key is one entry in [`keys`]; a test names those that are missing here.

mod keys;
mod page;

use penstock_door::config::reference::keys::marking as door_marking;
use penstock_pool::config::reference::keys::marking as pool_marking;
use penstock_service::reference::Reference;

/// All that there is to say.
pub const REFERENCE: Reference = Reference {
    keys: &[keys::KEYS, pool_marking::KEYS, door_marking::RULES],
    lists: &["marking.override", "marking.experiments", "marking.activities"],
    named: &[],
    // No other program's names may begin so: it would take them for its own.
    environment_prefix: "PENSTOCK_SITE_",
    file_preface: page::FILE_PREFACE,
    page_preface: page::PAGE_PREFACE,
};

#[cfg(test)]
mod tests {
    use penstock_service::reference::proof;

    use super::*;
    use crate::settings::Settings;

    #[test]
    fn the_reference_has_every_key_of_the_file_and_no_other() {
        proof::every_key_is_told::<Settings>();
    }

    #[test]
    fn every_default_is_what_the_site_does_without_the_key() {
        proof::every_default_holds::<Settings>("");
    }

    #[test]
    fn every_example_of_a_single_key_is_taken() {
        proof::every_example_is_taken::<Settings>("");
    }

    #[test]
    fn every_key_says_what_it_does_and_why() {
        proof::every_key_speaks(&REFERENCE);
    }
}
