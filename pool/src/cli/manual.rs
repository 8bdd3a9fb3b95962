//! `completions`, `man`: what shells and man(1) know of the commands, made from the command line itself.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::options::Options;
use super::show::print;

/// As it is installed.
const PROGRAM: &str = "penstock-pool";

/// Prints what a shell reads to complete the commands.
pub fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Options::command(), PROGRAM, &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the man page or, into a directory, writes it and those of all commands.
pub fn man(directory: Option<&Path>) -> anyhow::Result<ExitCode> {
    let command = Options::command();
    match directory {
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            print(&String::from_utf8_lossy(&page))?;
        }
        Some(directory) => {
            std::fs::create_dir_all(directory)
                .and_then(|()| clap_mangen::generate_to(command, directory))
                .with_context(|| format!("--dir: cannot write man pages to {}", directory.display()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_gets_a_page() {
        let directory = tempfile::tempdir().unwrap();
        man(Some(directory.path())).unwrap();
        for command in Options::command().get_subcommands() {
            let page = directory.path().join(format!("{PROGRAM}-{}.1", command.get_name()));
            assert!(page.is_file(), "{}", page.display());
        }
        assert!(directory.path().join(format!("{PROGRAM}.1")).is_file());
    }

    #[test]
    fn every_shell_learns_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Options::command(), PROGRAM, &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("replicas") && script.contains("transfers"), "{shell}");
        }
    }
}
