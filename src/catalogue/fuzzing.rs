//! Fuzzing: any text as a catalogue gives entries that keep the rules, or mistakes with lines.

use std::path::Path;

use super::{entry, parse::parse};

const FILE: &str = "fuzz.toml";

/// Read a file of the catalogue.
pub fn catalogue(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (entries, remarks) = parse(Path::new(FILE), text);
    for entry in &entries {
        assert!(!entry.files.is_empty() && !entry.name.starts_with('.'));
        assert!(entry.engine.takes_folder() || entry.files.len() == 1);
        for file in &entry.files {
            let (name, url) = (file.name.as_str(), file.url.as_str());
            assert!(!name.contains("..") || !name.split('/').any(|part| part.starts_with('.')));
            assert!(!name.starts_with('/') && file.size > 0 && file.sha256.as_str().len() == 64);
            let rest = url.strip_prefix("http://");
            let host = rest.map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
            let here = |host: &str| host.starts_with('[') || entry::is_loopback(host);
            assert!(url.to_ascii_lowercase().starts_with("http"), "{url}");
            assert!(host.is_none_or(here), "{url}");
        }
    }
    let lines = text.matches('\n').count() + 1;
    for remark in &remarks {
        let rest = remark.strip_prefix("fuzz.toml:");
        let line = rest.and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
        assert!(
            line.is_some_and(|line| (1..=lines).contains(&line)),
            "{remark}"
        );
    }
}
