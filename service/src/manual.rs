//! What shells and man(1) know of a program, made from its command line: `completions` and `man` of every program.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use clap_complete::Shell;

/// The two commands, to be flattened into a program's own.
#[derive(Debug, Clone, Subcommand)]
pub enum Manual {
    /// Prints what a shell reads to complete these commands.
    Completions {
        /// For which shell.
        shell: Shell,
    },
    /// Prints the man page.
    Man {
        /// Writes it, and those of all commands, into this directory.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

impl Manual {
    /// Carries it out for a program's command line.
    pub fn run(&self, command: clap::Command) -> anyhow::Result<()> {
        match self {
            Manual::Completions { shell } => print(&completions(*shell, command)),
            Manual::Man { dir: None } => {
                let mut page = Vec::new();
                clap_mangen::Man::new(command).render(&mut page)?;
                print(&page)
            }
            Manual::Man { dir: Some(directory) } => write_pages(command, directory),
        }
    }
}

fn completions(shell: Shell, mut command: clap::Command) -> Vec<u8> {
    let program = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, program, &mut script);
    script
}

fn write_pages(command: clap::Command, directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(command, directory))
        .with_context(|| format!("--dir: cannot write man pages to {}", directory.display()))
}

/// Prints to the standard output. Whoever reads it may have seen enough (`head`): then that is the end, in order.
pub fn print(text: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    /// A program.
    #[derive(Parser)]
    #[command(name = "example")]
    struct Example {
        #[command(subcommand)]
        _command: Commands,
    }

    #[derive(Subcommand)]
    enum Commands {
        /// Looks.
        Check,
        #[command(flatten)]
        Manual(Manual),
    }

    #[test]
    fn every_command_gets_a_page() {
        let directory = tempfile::tempdir().unwrap();
        let wish = Manual::Man { dir: Some(directory.path().join("man1")) };
        wish.run(Example::command()).unwrap();
        for page in ["example.1", "example-check.1", "example-man.1", "example-completions.1"] {
            assert!(directory.path().join("man1").join(page).is_file(), "{page}");
        }
    }

    #[test]
    fn every_shell_learns_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(completions(shell, Example::command())).unwrap();
            assert!(script.contains("check") && script.contains("completions"), "{shell}");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let wish = Manual::Man { dir: Some("/proc/nowhere".into()) };
        assert!(wish.run(Example::command()).unwrap_err().to_string().contains("/proc/nowhere"));
    }
}
