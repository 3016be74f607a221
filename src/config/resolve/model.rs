//! Resolves one model: its own table over the general ones, with all rules checked.

use crate::{
    config::{
        audio::Converter, file::File, limits::Limits, mode::Mode, model::ModelTable,
        resolved::Model, source::Source, stamp::Stamp,
    },
    engine::Circumstances,
    names::valid_name,
    problems::Problems,
};

/// The settings outside the models' own tables. `jobs.max_running` is at least 1.
#[derive(Clone, Copy)]
pub(super) struct General<'a> {
    /// The file, for its general tables.
    pub(super) file: &'a File,
    /// The source of the settings: file and environment.
    pub(super) source: &'a Source<'a>,
}

impl General<'_> {
    /// The model `name` from `table` and the general tables, with all rules checked.
    pub(super) fn model(self, name: &str, table: &ModelTable, problems: &mut Problems) -> Model {
        problems.within(&["models", name], |problems| {
            self.resolve(name, table, problems)
        })
    }

    fn resolve(self, name: &str, table: &ModelTable, problems: &mut Problems) -> Model {
        let file = self.file;
        let limits = table.limits.over(file.limits);
        let spares = table.spares.over(file.spares);
        let recycle = table.recycle.over(file.recycle);
        let mode = self.mode(table);
        if let Err(what) = valid_name(name) {
            problems.here(what);
        }
        let budget = file.memory.budget;
        problems.within(&["limits"], |problems| limits.check(mode, budget, problems));
        problems.within(&["spares"], |problems| spares.check(problems));
        problems.within(&["recycle"], |problems| recycle.check(problems));
        let engine = table.settings(&self.circumstances(&limits), problems);
        let refusal = match mode {
            Mode::Process => None,
            Mode::Hybrid => engine.no_hybrid(),
            Mode::Thread => engine.no_thread(),
        };
        if let Some(what) = refusal {
            problems.add("mode", what);
        }
        // In the service itself, recordings are never given to a program.
        let converter = file.audio.converter().filter(|_| mode != Mode::Thread);
        let converter = converter.map(|program| Converter {
            program: program.into(),
            recordings: file.http.spool_folder(),
        });
        let program = converter
            .as_ref()
            .map(|converter| converter.program.clone());
        let files = engine.needs().reach.files.into_iter().chain(program);
        Model {
            name: name.into(),
            aliases: table.aliases.clone(),
            hints: table.hints,
            speakers: table.speakers,
            mode,
            files: files.map(|file| Stamp::of(&file)).collect(),
            converter,
            engine,
            limits,
            spares,
            recycle,
        }
    }

    fn mode(self, table: &ModelTable) -> Mode {
        match (self.source.process_isolation(), table.mode) {
            // The switch applies to the whole service.
            (Some(false), _) => Mode::Thread,
            (Some(true), Some(Mode::Thread)) => Mode::Process,
            (_, own) => own.unwrap_or(self.file.isolation.mode),
        }
    }

    fn circumstances(&self, limits: &Limits) -> Circumstances<'_> {
        Circumstances {
            jobs: self.file.jobs.max_running,
            pids: limits.pids,
            cpus: limits.cpus,
            stall: limits.stall,
            credentials: self.source.credentials(),
        }
    }
}
