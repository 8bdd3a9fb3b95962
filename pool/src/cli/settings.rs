//! `config`: the configuration in effect with the origin of each value, or the reference of all keys.

use std::path::PathBuf;
use std::process::ExitCode;

use penstock_pool::config::reference::REFERENCE;
use penstock_pool::config::sources::{Origin, Setting};
use serde_json::json;

use super::options::{ConfigWish, Options};
use super::reach::USUAL_CONFIG;
use super::show::{plain, print};
use super::table::{Align, Table};

/// Carries it out.
pub fn run(options: &Options, wish: &ConfigWish) -> anyhow::Result<ExitCode> {
    if wish.default {
        print(&REFERENCE.commented())?;
        return Ok(ExitCode::SUCCESS);
    }
    if wish.markdown {
        print(&REFERENCE.markdown())?;
        return Ok(ExitCode::SUCCESS);
    }
    let usual = || Some(PathBuf::from(USUAL_CONFIG)).filter(|path| path.exists());
    let sources = options.sources(options.config.clone().or_else(usual));
    let settings = sources.load()?.settings();
    let file = sources.file.map(|file| file.display().to_string()).unwrap_or_default();
    print(&if options.json { lines(&settings, &file) } else { table(&settings, &file) })?;
    Ok(ExitCode::SUCCESS)
}

fn origin(setting: &Setting, file: &str) -> String {
    match &setting.origin {
        Origin::File => file.to_owned(),
        other => other.to_string(),
    }
}

fn lines(settings: &[Setting], file: &str) -> String {
    let line = |setting: &Setting| {
        let object = json!({ "key": setting.key, "value": setting.value, "origin": origin(setting, file) });
        format!("{object}\n")
    };
    settings.iter().map(line).collect()
}

fn table(settings: &[Setting], file: &str) -> String {
    let mut table = Table::new([("KEY", Align::Left), ("VALUE", Align::Left), ("FROM", Align::Left)]);
    let mut text = String::new();
    for setting in settings {
        text.push_str(&table.add([setting.key.clone(), plain(&setting.value), origin(setting, file)]));
    }
    text + &table.finish()
}
