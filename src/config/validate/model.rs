//! One model: its own table over the general ones.

use super::engine::engine;
use crate::config::{
    mode::Mode,
    names::valid_name,
    resolved::Model,
    schema::{File, ModelTable},
    source::Source,
    stamp::Stamp,
};

/// The model `name` as `table` and the general tables have it, all rules checked.
pub(super) fn model(
    name: &str,
    table: &ModelTable,
    file: &File,
    at_once: usize,
    source: &Source<'_>,
    wrong: &mut impl FnMut(&[&str], String),
) -> Model {
    let limits = table.limits.over(file.limits);
    let spares = table.spares.over(file.spares);
    let recycle = table.recycle.over(file.recycle);
    let mode = match (source.process_isolation(), table.mode) {
        // The switch is for the whole service.
        (Some(false), _) => Mode::Thread,
        (Some(true), Some(Mode::Thread)) => Mode::Process,
        (_, own) => own.unwrap_or(file.isolation.mode),
    };
    let mut wrong = |key: &[&str], what: String| {
        let path: Vec<&str> = ["models", name].iter().chain(key).copied().collect();
        wrong(&path, what);
    };
    if let Err(what) = valid_name(name) {
        wrong(&[], what);
    }
    limits.validate(mode, file.memory.budget, &mut wrong);
    spares.validate(&mut wrong);
    recycle.validate(&mut wrong);
    let engine = engine(
        table,
        mode,
        &limits,
        at_once,
        source.credentials(),
        &mut wrong,
    );
    Model {
        name: name.into(),
        aliases: table.aliases.clone(),
        mode,
        files: engine.files().iter().map(|file| Stamp::of(file)).collect(),
        engine,
        limits,
        spares,
        recycle,
    }
}
