//! The command `config` of every daemon: its settings in effect, or the reference of all keys.

use clap::Args;

use super::{Configuration, Sources, effective};
use crate::manual::print;

/// What of the configuration to print.
#[derive(Debug, Clone, Args)]
pub struct ConfigWish {
    /// The reference: every key with its form, default and reason, commented out.
    #[arg(long)]
    pub default: bool,
    /// The reference as docs/ have it.
    #[arg(long, hide = true, conflicts_with = "default")]
    pub markdown: bool,
}

impl ConfigWish {
    /// Carries it out.
    pub fn run<C: Configuration>(&self, sources: &Sources, json: bool) -> anyhow::Result<()> {
        let text = if self.default {
            C::REFERENCE.commented()
        } else if self.markdown {
            C::REFERENCE.markdown()
        } else {
            let settings = sources.load::<C>()?.settings();
            let form = if json { effective::lines } else { effective::table };
            form(&settings, &sources.file_name())
        };
        print(text.as_bytes())
    }
}
