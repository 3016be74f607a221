//! `sttctl model list`: what the models directory has, and what the catalogue offers.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal, Write},
    path::Path,
};

use crossterm::terminal;
use serde::Serialize;
use stt_isolated::catalogue::{Catalogue, Entry};

use super::{
    catalogue,
    error::Error,
    partial,
    place::{self, EXTENSION},
};
use crate::{
    cli::List,
    line::{self, Line},
    text::{Text, size},
};

/// Headings of the catalogue's columns.
const AVAILABLE: [&str; 7] = [
    "NAME",
    "SIZE",
    "MEMORY",
    "LANGUAGES",
    "LICENCE",
    "INSTALLED",
    "HEARS",
];

/// Headings of the directory's columns.
const INSTALLED: [&str; 3] = ["NAME", "SIZE", "CATALOGUE"];

/// Most entries of the directory that are looked at, as many as the service looks at.
const MAX_ENTRIES: usize = 1000;

/// Prints the list.
///
/// # Errors
///
/// There is no catalogue, the directory cannot be read, or the list cannot be written.
pub fn list(arguments: &List) -> Result<(), Error> {
    let catalogue = catalogue();
    let directory = &arguments.directory;
    let models = models(directory)?;
    let text = match (arguments.available, arguments.json) {
        (true, _) if catalogue.entries().next().is_none() => return Err(Error::NoCatalogue),
        (true, true) => json(&offers(&catalogue, directory, &models)),
        (true, false) => return print(&available(&offers(&catalogue, directory, &models))),
        (false, true) => json(&installed(&catalogue, directory, &models)),
        (false, false) => return print(&rows(&installed(&catalogue, directory, &models))),
    };
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(Error::Write)
}

fn json(list: &impl Serialize) -> String {
    // Strings and numbers can always be written.
    serde_json::to_string_pretty(list).unwrap_or_default()
}

fn print<const N: usize>(rows: &[[String; N]]) -> Result<(), Error> {
    let terminal = io::stdout().is_terminal();
    let width = match terminal::size() {
        Ok((columns @ 1.., _)) if terminal => columns.into(),
        _ => usize::MAX,
    };
    let lines: Vec<Line> = line::columns(rows, width);
    line::print(&lines, terminal).map_err(Error::Write)
}

/// Name and bytes of each file `NAME.bin`, and of each folder, which counts 0.
fn models(directory: &Path) -> Result<BTreeMap<String, u64>, Error> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        entries => entries.map_err(Error::in_directory(directory))?,
    };
    let mut models = BTreeMap::new();
    for entry in entries.take(MAX_ENTRIES).flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        match fs::symlink_metadata(&path) {
            _ if name.starts_with('.') => {}
            Ok(there) if there.is_dir() => {
                models.insert(name.into_owned(), 0);
            }
            Ok(there) if there.is_file() => {
                if let Some(name) = name.strip_suffix(&format!(".{EXTENSION}")) {
                    models.insert(name.into(), there.len());
                }
            }
            _ => {}
        }
    }
    Ok(models)
}

/// True if the model `name` in `directory` has the files of `entry`, by their sizes. Their sums
/// would take a minute.
fn is(entry: &Entry, directory: &Path, name: &str) -> bool {
    let folder = entry.engine.takes_folder();
    let target = place::target(directory, name, folder);
    entry.files.iter().all(|file| {
        let path = match folder {
            true => target.join(file.name.as_str()),
            false => target.clone(),
        };
        fs::symlink_metadata(path).is_ok_and(|there| there.is_file() && there.len() == file.size)
    })
}

/// A model of the catalogue.
#[derive(Serialize)]
struct Offer<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    /// Bytes of all its files.
    size: u64,
    /// Names under which it is in the models directory.
    installed: Vec<&'a str>,
    /// Bytes that an unfinished download has brought.
    downloaded: u64,
}

fn offers<'a>(
    catalogue: &'a Catalogue,
    directory: &Path,
    models: &'a BTreeMap<String, u64>,
) -> Vec<Offer<'a>> {
    let come = |sum: &str| {
        fs::symlink_metadata(partial::path(directory, sum)).map_or(0, |there| there.len())
    };
    let offer = |entry: &'a Entry| Offer {
        entry,
        size: entry.size(),
        installed: models
            .keys()
            .map(String::as_str)
            .filter(|name| is(entry, directory, name))
            .collect(),
        downloaded: entry
            .files
            .iter()
            .map(|file| come(file.sha256.as_str()))
            .sum(),
    };
    catalogue.entries().map(offer).collect()
}

fn available(offers: &[Offer<'_>]) -> Vec<[String; 7]> {
    let row = |offer: &Offer<'_>| {
        let entry = offer.entry;
        let installed = match (&offer.installed[..], offer.downloaded) {
            ([], 0) => "-".into(),
            ([], come) => format!("{} % come", come.saturating_mul(100) / offer.size.max(1)),
            ([name], _) if *name == entry.name => "yes".into(),
            (names, _) => names.join(", "),
        };
        [
            entry.name.clone(),
            size(offer.size),
            size(entry.memory.bytes()),
            shown(entry.languages.as_str()),
            shown(entry.licence.as_str()),
            shown(&installed),
            shown(entry.hears.as_str()),
        ]
    };
    let heading = AVAILABLE.map(str::to_owned);
    std::iter::once(heading)
        .chain(offers.iter().map(row))
        .collect()
}

/// A model in the models directory.
#[derive(Serialize)]
struct Installed<'a> {
    name: &'a str,
    /// Bytes of its file; 0 for a folder.
    size: u64,
    /// The name of the catalogue's model that has the same size.
    catalogue: Option<&'a str>,
}

fn installed<'a>(
    catalogue: &'a Catalogue,
    directory: &Path,
    models: &'a BTreeMap<String, u64>,
) -> Vec<Installed<'a>> {
    let model = |(name, size): (&'a String, &u64)| {
        let entry = catalogue.entries().find(|entry| is(entry, directory, name));
        Installed {
            name,
            size: entry.map_or(*size, Entry::size),
            catalogue: entry.map(|entry| &*entry.name),
        }
    };
    models.iter().map(model).collect()
}

fn rows(models: &[Installed<'_>]) -> Vec<[String; 3]> {
    let row = |model: &Installed<'_>| {
        let bytes = match model.size {
            0 => "-".into(),
            bytes => size(bytes),
        };
        [
            shown(model.name),
            bytes,
            shown(model.catalogue.unwrap_or("-")),
        ]
    };
    let heading = INSTALLED.map(str::to_owned);
    std::iter::once(heading)
        .chain(models.iter().map(row))
        .collect()
}

/// Text of a file, made safe to show.
fn shown(text: &str) -> String {
    Text::from(text.to_owned()).to_string()
}
