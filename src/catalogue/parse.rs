//! From the text of a file to entries. Each wrong line has a message and costs only its own entry.

use std::{collections::BTreeSet, ops::Range, path::Path};

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::entry::{Engine, Entry, ModelFile};
use crate::{names::valid_name, units::ByteSize};

/// Most files of one model.
const MAX_FILES: usize = 64;

/// Most mistakes of the form that a file of this kind has. Any other file has one for each line.
const MAX_ERRORS: usize = 100;

/// Most remarks about one file.
const MAX_REMARKS: usize = 100;

/// Largest file.
const MAX_SIZE: u64 = 64 << 30;

type Key<'a> = Spanned<std::borrow::Cow<'a, str>>;

/// The entries of `text`, and a remark for each mistake, both in the order of the lines.
pub(super) fn parse(file: &Path, text: &str) -> (Vec<Entry>, Vec<String>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.len() > MAX_ERRORS {
        let what = "it is not TOML: more than 100 places are wrong; move it elsewhere";
        return (Vec::new(), vec![format!("{}:1: {what}", file.display())]);
    }
    let mut models: Vec<_> = document.into_inner().into_iter().collect();
    models.sort_by_key(|(name, _)| name.span().start);
    let mut reader = Reader {
        file,
        text,
        wrong: Vec::new(),
    };
    // Text that is not TOML spoils the entry in which it is, and gives one message for each line.
    let mut lines = BTreeSet::new();
    let mut spoiled = BTreeSet::new();
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        let inside = models
            .iter()
            .rev()
            .find(|(name, _)| name.span().start <= at);
        spoiled.extend(inside.map(|(name, _)| name.span().start));
        if lines.insert(reader.line(at)) {
            let what = error.message().to_owned();
            reader
                .wrong
                .push((at, inside.map(|(name, _)| name.get_ref().to_string()), what));
        }
    }
    let mut entries = Vec::new();
    for (name, value) in models {
        if !spoiled.contains(&name.span().start) {
            entries.extend(reader.entry(&name, value));
        }
    }
    (entries, reader.remarks())
}

/// Reads the entries of one file and collects mistakes.
struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    /// Offset, key and sentence of each mistake.
    wrong: Vec<(usize, Option<String>, String)>,
}

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    fn add(&mut self, span: Range<usize>, key: impl Into<String>, what: impl Into<String>) {
        self.wrong.push((span.start, Some(key.into()), what.into()));
    }

    fn remarks(mut self) -> Vec<String> {
        self.wrong.sort_by_key(|(at, ..)| *at);
        self.wrong.truncate(MAX_REMARKS);
        let remark = |(at, key, what): &(usize, Option<String>, String)| {
            let key = key
                .as_ref()
                .map(|key| format!("{key}: "))
                .unwrap_or_default();
            format!("{}:{}: {key}{what}", self.file.display(), self.line(*at))
        };
        self.wrong.iter().map(remark).collect()
    }

    /// One entry, unless something in it is wrong.
    fn entry(&mut self, name: &Key<'_>, value: Spanned<DeValue<'_>>) -> Option<Entry> {
        let before = self.wrong.len();
        let key = name.get_ref().to_string();
        let DeValue::Table(table) = value.into_inner() else {
            let what =
                "each model has a table of its own; a name with a dot needs quotes: [\"tiny.en\"]";
            self.add(name.span(), key, what);
            return None;
        };
        if let Err(what) = valid_name(&key) {
            self.add(name.span(), &*key, what);
        }
        let mut table = Fields {
            at: name.span(),
            key,
            table,
        };
        let engine: Option<Engine> = self.field(&mut table, "engine");
        let licence = self.field(&mut table, "licence");
        let languages = self.field(&mut table, "languages");
        let memory: Option<ByteSize> = self.field(&mut table, "memory");
        let hears = self.field(&mut table, "hears");
        let files = self.files(&mut table, engine);
        self.unknown(&table);
        let entry = Entry {
            engine: engine?,
            licence: licence?,
            languages: languages?,
            memory: memory?,
            hears: hears?,
            files: files?,
            name: table.key,
        };
        (self.wrong.len() == before).then_some(entry)
    }

    fn files(&mut self, entry: &mut Fields<'_>, engine: Option<Engine>) -> Option<Vec<ModelFile>> {
        let key = format!("{}.files", entry.key);
        let Some((at, value)) = entry.take("files") else {
            let what = "missing: add a table [[NAME.files]] with name, url, size and sha256";
            self.add(entry.at.clone(), key, what);
            return None;
        };
        let DeValue::Array(array) = value.into_inner() else {
            self.add(
                at,
                key,
                "must be a list: write [[NAME.files]] with two brackets",
            );
            return None;
        };
        let array: Vec<_> = array.into_iter().collect();
        let one = engine == Some(Engine::Whisper);
        if array.is_empty() || array.len() > MAX_FILES || (one && array.len() != 1) {
            let what = match one {
                true => "a model for `whisper` is exactly one file".into(),
                false => format!("a model has 1 to {MAX_FILES} files"),
            };
            self.add(at, key, what);
            return None;
        }
        let mut files: Vec<ModelFile> = Vec::new();
        for value in array {
            let at = value.span();
            let DeValue::Table(table) = value.into_inner() else {
                self.add(at, &*key, "must be a table with name, url, size and sha256");
                continue;
            };
            let Some(file) = self.file(Fields {
                at: at.clone(),
                key: key.clone(),
                table,
            }) else {
                continue;
            };
            let under = |a: &str, b: &str| a == b || a.starts_with(&format!("{b}/"));
            let (new, clash) = (file.name.as_str(), |other: &ModelFile| {
                under(file.name.as_str(), other.name.as_str())
                    || under(other.name.as_str(), file.name.as_str())
            });
            if files.iter().any(clash) {
                self.add(
                    at,
                    format!("{key}.name"),
                    format!("there is another file `{new}`"),
                );
            } else {
                files.push(file);
            }
        }
        Some(files)
    }

    fn file(&mut self, mut table: Fields<'_>) -> Option<ModelFile> {
        let name = self.field(&mut table, "name");
        let url = self.field(&mut table, "url");
        let at = table.span("size");
        let size: Option<u64> = self.field(&mut table, "size");
        let sha256 = self.field(&mut table, "sha256");
        self.unknown(&table);
        if size.is_some_and(|size| !(1..=MAX_SIZE).contains(&size)) {
            let what = "the number of bytes is at least 1 and at most 64 GiB";
            self.add(at, format!("{}.size", table.key), what);
        }
        Some(ModelFile {
            name: name?,
            url: url?,
            size: size?,
            sha256: sha256?,
        })
    }

    /// The value of a key that must be there.
    fn field<T: DeserializeOwned>(&mut self, table: &mut Fields<'_>, key: &str) -> Option<T> {
        let path = format!("{}.{key}", table.key);
        let Some((_, value)) = table.take(key) else {
            self.add(table.at.clone(), path, "missing: add this key");
            return None;
        };
        let at = value.span();
        match T::deserialize(ValueDeserializer::from(value)) {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(at, path, error.message().trim_end());
                None
            }
        }
    }

    /// Reports the keys that nobody has taken.
    fn unknown(&mut self, table: &Fields<'_>) {
        for (key, _) in &table.table {
            let path = format!("{}.{}", table.key, key.get_ref());
            self.add(
                key.span(),
                path,
                "there is no such key: remove it, or correct its name",
            );
        }
    }
}

/// A table whose keys are taken out one after another.
struct Fields<'a> {
    /// Place of the table.
    at: Range<usize>,
    /// Dotted path of the table.
    key: String,
    table: DeTable<'a>,
}

impl<'a> Fields<'a> {
    fn take(&mut self, key: &str) -> Option<(Range<usize>, Spanned<DeValue<'a>>)> {
        let (name, value) = self.table.remove_entry(key)?;
        Some((name.span(), value))
    }

    /// Place of a key's value, or of the table if it does not have the key.
    fn span(&self, key: &str) -> Range<usize> {
        let value = self.table.get(key);
        value.map_or_else(|| self.at.clone(), Spanned::span)
    }
}
