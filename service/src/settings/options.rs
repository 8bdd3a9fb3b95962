//! Where settings come from, as the command line of a daemon with commands says it: `--config` and `--set`, anywhere in it.

use std::path::PathBuf;

use clap::Args;

use super::Sources;
use crate::reference::Reference;

/// The two options, to be flattened into a daemon's own.
#[derive(Debug, Clone, Default, Args)]
pub struct SettingsOptions {
    /// The configuration. Commands look where the service has it, in /etc/penstock, when nothing is said.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Sets a key of the configuration, whatever the file and the environment say: "log=debug".
    #[arg(long, value_name = "KEY=VALUE", global = true)]
    pub set: Vec<String>,
}

impl SettingsOptions {
    /// What the file, the environment and the command line say.
    #[must_use]
    pub fn sources(&self, reference: &Reference) -> Sources {
        Sources::of_process(reference, self.config.clone(), self.set.clone())
    }

    /// The same for commands, with the file that the service has where none is named and that one is there.
    #[must_use]
    pub fn usual_sources(&self, reference: &Reference, usual: &str) -> Sources {
        let usual = || Some(PathBuf::from(usual)).filter(|path| path.exists());
        Sources::of_process(reference, self.config.clone().or_else(usual), self.set.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::EXAMPLE;

    #[test]
    fn commands_have_the_usual_file_where_it_is_there_and_none_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let usual = directory.path().join("usual.toml");
        let file = |config: Option<PathBuf>| {
            let options = SettingsOptions { config, set: Vec::new() };
            options.usual_sources(&EXAMPLE, usual.to_str().unwrap()).file
        };
        assert_eq!(file(None), None);
        std::fs::write(&usual, "").unwrap();
        assert_eq!(file(None), Some(usual.clone()));
        assert_eq!(file(Some("/named".into())), Some("/named".into()));
    }

    #[test]
    fn the_daemon_has_only_what_it_is_told() {
        let options = SettingsOptions { config: None, set: vec!["name=x".to_owned()] };
        let sources = options.sources(&EXAMPLE);
        assert_eq!((sources.file, sources.flags), (None, vec!["name=x".to_owned()]));
    }
}
