//! Every key of the configuration: its form, its default, what it does, and why the default is what it is.
//!
//! The one source of `penstock-pool config --default`, of docs/configuration.md, and of what may be set in the environment
//! and by --set. Tests hold it against the keys that [`super::file`] takes and the defaults that it gives.

pub mod keys;
mod page;

pub use keys::KEYS;
pub use penstock_service::reference::{Default, Form, Key, Reference};

/// Before the name of a key in the environment.
pub const ENVIRONMENT_PREFIX: &str = "PENSTOCK_POOL_";

/// All that there is to say.
pub const REFERENCE: Reference = Reference {
    keys: KEYS,
    lists: &["queues", "marking.override"],
    named: &[("doors", "door1 = \"https://door1.example.org:2880\"")],
    environment_prefix: ENVIRONMENT_PREFIX,
    file_preface: page::FILE_PREFACE,
    page_preface: page::PAGE_PREFACE,
};

#[cfg(test)]
mod tests {
    use penstock_service::reference::proof;

    use super::*;
    use crate::config::Config;

    const LEAST: &str = "name = \"p\"\nroot = \"/r\"\ndata.listen = \"127.0.0.1:1\"\n";

    #[test]
    fn the_reference_has_every_key_of_the_file_and_no_other() {
        proof::every_key_is_told::<Config>();
    }

    #[test]
    fn every_default_is_what_the_daemon_does_without_the_key() {
        proof::every_default_holds::<Config>(LEAST);
    }

    #[test]
    fn every_example_of_a_single_key_is_taken() {
        proof::every_example_is_taken::<Config>(LEAST);
    }

    #[test]
    fn every_key_says_what_it_does_and_why() {
        proof::every_key_speaks(&REFERENCE);
    }

    #[test]
    fn the_name_in_the_environment_begins_with_the_daemons() {
        let key = REFERENCE.find("data.tls_listen").unwrap();
        assert_eq!(REFERENCE.environment_name(key), "PENSTOCK_POOL_DATA_TLS_LISTEN");
    }
}
