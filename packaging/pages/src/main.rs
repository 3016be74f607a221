//! Writes manual pages and shell completions: `stt-isolated-pages FOLDER VERSION DATE`.

#[path = "../../../src/arguments.rs"]
mod arguments;
#[allow(dead_code, missing_docs)]
#[path = "../../../src/bin/sttctl/cli.rs"]
mod cli;
mod endpoint;
mod key;
mod pages;
#[allow(dead_code, missing_docs)]
#[path = "../../../src/bin/sttctl/raw.rs"]
mod raw;
mod settings;

use std::{fs, io, path::Path, process::ExitCode};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, version, date] = arguments.as_slice() else {
        eprintln!("usage: stt-isolated-pages FOLDER VERSION DATE");
        return ExitCode::from(2);
    };
    match write(Path::new(folder), &Edition { version, date }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stt-isolated-pages: cannot write to {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Facts that every page states about itself.
struct Edition<'a> {
    version: &'a str,
    /// Date of the release, not of the build, so that builds of one version are identical.
    date: &'a str,
}

fn write(folder: &Path, edition: &Edition) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let (daemon, client) = (daemon(edition.version), client(edition.version));
    for (name, text) in pages::all(&daemon, &client, edition) {
        fs::write(folder.join(name), text)?;
    }
    for mut command in [daemon, client] {
        let name = command.get_name().to_owned();
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut command, &name, folder)?;
        }
    }
    Ok(())
}

/// The daemon's command line, without the command that it uses only for itself.
fn daemon(version: &str) -> Command {
    let full = arguments::Arguments::command();
    let mut shown = Command::new("stt-isolated")
        .version(version.to_owned())
        .about(full.get_about().cloned().unwrap_or_default())
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true);
    for argument in full.get_arguments() {
        shown = shown.arg(argument.clone());
    }
    for command in full
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
    {
        shown = shown.subcommand(command.clone());
    }
    shown
}

fn client(version: &str) -> Command {
    cli::Cli::command()
        .version(version.to_owned())
        .disable_help_subcommand(true)
}
