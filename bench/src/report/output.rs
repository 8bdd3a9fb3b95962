//! Where a report goes: stdout, and the page if one is wanted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::{Report, html, json, table};
use crate::arguments::Common;

/// Where the results are to go, made certain of before anything is measured.
#[derive(Debug)]
pub struct Output {
    json: bool,
    page: Option<Page>,
}

impl Output {
    /// As asked for. Makes the page's file at once, so that hours of measuring do not end in "permission denied".
    pub fn prepare(common: &Common) -> anyhow::Result<Self> {
        let page = common.html.as_deref().map(Page::reserve).transpose()?;
        Ok(Self { json: common.json, page })
    }

    /// Writes the report: results to stdout, doubts to stderr.
    pub fn write(self, report: &Report) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &json::write(report)).context("cannot write to stdout")?;
            writeln!(out)
        } else {
            write!(out, "{}", table::write(report))
        }
        .and_then(|()| out.flush())
        .context("cannot write to stdout")?;
        for doubt in &report.doubts {
            eprintln!("warning: {doubt}");
        }
        if let Some(page) = self.page {
            page.write(&html::write(report))?;
        }
        Ok(())
    }
}

/// A file that is removed again unless it was written.
#[derive(Debug)]
struct Page {
    path: PathBuf,
    file: File,
    written: bool,
}

impl Page {
    fn reserve(path: &Path) -> anyhow::Result<Self> {
        let file = match OpenOptions::new().write(true).create_new(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                anyhow::bail!("--html: {} exists and is left as it is; choose another name", path.display())
            }
            other => other.with_context(|| format!("--html: cannot make {}", path.display()))?,
        };
        Ok(Self { path: path.to_owned(), file, written: false })
    }

    fn write(mut self, text: &str) -> anyhow::Result<()> {
        self.file
            .write_all(text.as_bytes())
            .with_context(|| format!("--html: cannot write {}", self.path.display()))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if !self.written {
            // It was made by us, a moment ago; nothing better can be done when it cannot be removed.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_was_never_written_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.html");
        drop(Page::reserve(&path).unwrap());
        assert!(!path.exists());
        Page::reserve(&path).unwrap().write("page").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "page");
    }

    #[test]
    fn a_file_that_is_there_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.html");
        std::fs::write(&path, "precious").unwrap();
        let error = Page::reserve(&path).unwrap_err().to_string();
        assert!(error.contains("exists and is left as it is"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
