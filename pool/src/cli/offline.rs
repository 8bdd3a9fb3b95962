//! `index rebuild`, `import`: work on the directory of a pool that does not run. Its lock sees to that.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use penstock_pool::config::Config;
use penstock_pool::engine::disk::KernelDisk;
use penstock_pool::store::import::{ImportOptions, ImportReport, import as import_files};
use penstock_pool::store::rebuild::{RebuildDepth, RebuildReport, rebuild as rebuild_index};
use serde_json::json;

use super::options::{Import, Options};
use super::reach::USUAL_CONFIG;
use super::show::{self, ProgressLine, bytes, print};

/// The pool's configuration: such work is done where the pool is.
fn config(options: &Options) -> anyhow::Result<Config> {
    if options.reach.is_given() {
        bail!("this is done to the files of a pool that does not run: give --config FILE alone");
    }
    let sources = options.usual_sources();
    if sources.are_empty() {
        bail!("which pool? Give --config FILE ({USUAL_CONFIG} is not there)");
    }
    let config = sources.load::<Config>()?.config;
    if let Ok(metadata) = config.root.metadata() {
        must_not_take_over(&config.root, rustix::process::geteuid().as_raw(), metadata.uid())?;
    }
    Ok(config)
}

/// What root makes in another user's directory, that user's daemon could not change.
fn must_not_take_over(root: &Path, we: u32, owner: u32) -> anyhow::Result<()> {
    let root = root.display();
    anyhow::ensure!(
        we != 0 || owner == 0,
        "{root} belongs to user {owner}, and this runs as root: the pool could not change what is made here; run it as \
         that user (sudo runuser -u $(stat -c %U {root}) -- penstock-pool ...)"
    );
    Ok(())
}

/// Makes the index anew from the files.
pub fn rebuild(options: &Options, quick: bool) -> anyhow::Result<ExitCode> {
    let config = config(options)?;
    let depth = if quick { RebuildDepth::Attributes } else { RebuildDepth::Bytes };
    let mut line = ProgressLine::new();
    let mut progress = |report: &RebuildReport| {
        line.show(format!("{} replicas, {} read", report.replicas, bytes(report.bytes_read)));
        true
    };
    let report = rebuild_index(Arc::new(KernelDisk), &config.root, &config.name, depth, &mut progress)?;
    drop(line);
    print(&if options.json { rebuild_json(&report) } else { rebuild_text(&report) })?;
    let good = report.broken == 0 && report.problems == 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn rebuild_json(report: &RebuildReport) -> String {
    let object = json!({
        "replicas": report.replicas,
        "replicas_before": report.replicas_before,
        "bytes_read": report.bytes_read,
        "broken": report.broken,
        "problems": report.problems,
        "findings": report.findings,
    });
    format!("{object}\n")
}

fn rebuild_text(report: &RebuildReport) -> String {
    let before =
        report.replicas_before.map_or_else(String::new, |before| format!(" (the old index had {before})"));
    let mut text = show::facts(&[
        ("replicas", format!("{}{before}", report.replicas)),
        ("read", bytes(report.bytes_read)),
        ("found broken", report.broken.to_string()),
        ("problems", report.problems.to_string()),
    ]);
    text.push_str(&listed(&report.findings, report.broken + report.problems));
    text
}

/// Makes replicas of the files of a directory tree.
pub fn import(options: &Options, wish: &Import) -> anyhow::Result<ExitCode> {
    let config = config(options)?;
    let import_options = ImportOptions {
        prefix: wish.prefix.trim_end_matches('/').to_owned(),
        class: wish.class.clone(),
        sample_every: wish.sample_every.get(),
        checksums: wish.checksums.iter().copied().chain(config.checksums.iter()).collect(),
        remove_names: wish.remove_names,
        dry_run: wish.dry_run,
    };
    let mut list = open_list(wish.list.as_deref())?;
    let mut line = ProgressLine::new();
    let mut progress = |report: &ImportReport| {
        let ImportReport { imported, present, bytes_read, .. } = report;
        line.show(format!("{imported} imported, {present} there already, {} read", bytes(*bytes_read)));
        true
    };
    let disk = Arc::new(KernelDisk);
    let report =
        import_files(disk, &config.store(), &wish.directory, &import_options, &mut list, &mut progress)?;
    drop(line);
    list.flush().context("cannot write the list of imported replicas")?;
    print(&if options.json { import_json(&report) } else { import_text(&report, wish.dry_run) })?;
    Ok(if report.problems == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn open_list(path: Option<&Path>) -> anyhow::Result<Box<dyn Write>> {
    match path {
        None => Ok(Box::new(io::sink())),
        Some(path) if path == Path::new("-") => Ok(Box::new(BufWriter::new(io::stdout()))),
        Some(path) => {
            let file =
                File::create(path).with_context(|| format!("--list: cannot make {}", path.display()))?;
            Ok(Box::new(BufWriter::new(file)))
        }
    }
}

fn import_json(report: &ImportReport) -> String {
    let object = json!({
        "imported": report.imported,
        "bytes": report.bytes,
        "present": report.present,
        "believed": report.believed,
        "read": report.read,
        "bytes_read": report.bytes_read,
        "distrusted_after": report.distrusted_after,
        "problems": report.problems,
        "problem_texts": report.problem_texts,
    });
    format!("{object}\n")
}

fn import_text(report: &ImportReport, dry_run: bool) -> String {
    let imported = if dry_run { "would be imported" } else { "imported" };
    let distrusted = report.distrusted_after.as_ref().map_or_else(String::new, |file| {
        format!("no checksum attribute was believed after {}, whose own was wrong", file.display())
    });
    let mut text = show::facts(&[
        (imported, format!("{} files, {}", report.imported, bytes(report.bytes))),
        ("there already", format!("{} files", report.present)),
        ("believed", format!("{} files by their checksum attributes", report.believed)),
        ("read", format!("{} files, {}", report.read, bytes(report.bytes_read))),
        ("distrust", distrusted),
        ("left alone", format!("{} files", report.problems)),
    ]);
    text.push_str(&listed(&report.problem_texts, report.problems));
    text
}

/// Lines that were kept, and how many more there are.
fn listed(lines: &[String], all: u64) -> String {
    let mut text: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    let more = all.saturating_sub(lines.len() as u64);
    if more > 0 {
        text.push_str(&format!("  and {more} more\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_listed_and_what_was_not_kept_is_counted() {
        let report = RebuildReport {
            replicas: 7,
            replicas_before: Some(9),
            broken: 1,
            problems: 2,
            findings: vec!["r1: broken".into()],
            ..Default::default()
        };
        let text = rebuild_text(&report);
        assert!(text.starts_with("replicas      7 (the old index had 9)\n"), "{text}");
        assert!(text.ends_with("  r1: broken\n  and 2 more\n"), "{text}");
    }

    #[test]
    fn a_dry_run_says_what_would_be() {
        let report = ImportReport { imported: 3, bytes: 2048, ..Default::default() };
        assert!(import_text(&report, true).starts_with("would be imported  3 files, 2.0 KiB\n"));
        assert!(import_text(&report, false).starts_with("imported       3 files, 2.0 KiB\n"));
    }

    #[test]
    fn root_leaves_nothing_in_the_directory_of_another_user() {
        let root = Path::new("/srv/pool");
        assert!(must_not_take_over(root, 995, 995).is_ok());
        assert!(must_not_take_over(root, 0, 0).is_ok());
        assert!(must_not_take_over(root, 1000, 995).is_ok(), "the kernel says what it may");
        let refused = must_not_take_over(root, 0, 995).unwrap_err().to_string();
        assert!(refused.contains("belongs to user 995") && refused.contains("runuser"), "{refused}");
    }
}
