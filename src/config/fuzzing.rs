//! Fuzzing: any text as a configuration gives possible values, or a mistake with its place.

use std::path::Path;

use super::{Config, ConfigError};

const FILE: &str = "fuzz.toml";

/// The configuration without a file.
pub fn usual() -> Config {
    Config::of(Path::new(FILE), "", std::iter::empty()).expect("no settings are needed")
}

/// Read a configuration file; after NUL bytes follow environment variables, `NAME=VALUE` each.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut parts = text.split('\0');
    let file = parts.next().unwrap_or_default();
    let variables = parts.filter_map(|variable| {
        let (name, value) = variable.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    match Config::of(Path::new(FILE), file, variables) {
        Ok(config) => {
            assert!(config.model(&config.default_model).is_some());
            assert!((1..=1024).contains(&config.jobs.max_running));
            for model in &config.models {
                assert!(model.spares.min <= model.spares.max);
                assert!(!model.limits.stall.is_zero());
            }
        }
        Err(ConfigError::Invalid(problems)) => {
            assert!(!problems.is_empty());
            let lines = file.matches('\n').count() + 1;
            for problem in problems {
                assert!(!problem.what.is_empty());
                let place = problem.place.strip_prefix(FILE);
                let line = place.and_then(|place| place.strip_prefix(':'));
                match line.map(str::parse::<usize>) {
                    Some(line) => assert!((1..=lines).contains(&line.expect("a line"))),
                    None => assert!(place == Some("") || problem.place.starts_with("environment")),
                }
            }
        }
        Err(error) => panic!("{error}"),
    }
}
