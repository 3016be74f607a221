//! Engine `vosk`: Vosk (Kaldi), from the shared library of its Python package.
//!
//! - The model is loaded into the zygote, which has one thread afterwards; jobs share it.
//! - A recogniser is made for each piece of a recording, because one that is used again continues
//!   its times.
//! - If a folder is not a model, the library only writes a line on standard error and returns a
//!   null pointer. So the files that it needs are checked first.

mod ffi;
mod result;
mod settings;

use std::ffi::CString;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::rc::Rc;

pub use self::settings::VoskSettings;
use super::{
    AudioSource, Emit, Engine, EngineError, HearsSamples, SAMPLE_RATE, Said, files, samples::to_i16,
};
use crate::{request::Ask, transcript::Hypothesis};

/// Name of the engine in the configuration and in messages.
pub const NAME: &str = "vosk";

/// Files without which the library cannot use a model.
const MODEL_FILES: [&str; 3] = ["am/final.mdl", "conf/mfcc.conf", "conf/model.conf"];

/// The graph, whole or in two parts that are put together while decoding: one of these sets.
const GRAPHS: [&[&str]; 2] = [&["graph/HCLG.fst"], &["graph/HCLr.fst", "graph/Gr.fst"]];

/// A loaded model, shared by the recognisers that are made from it.
pub struct Vosk {
    model: Rc<ffi::Model>,
}

/// Load the library and the model.
///
/// # Errors
/// [`EngineError::Unavailable`]: the library is missing or unfit, a file is missing or cannot be
/// read, or the library refuses the model. The message says what to do.
pub fn load(settings: &VoskSettings) -> Result<Vosk, EngineError> {
    let folder = &settings.model;
    check_files(folder).map_err(|reason| {
        EngineError::Unavailable(format!(
            "{} is no model for vosk: {reason}; models.<name>.vosk.model is the folder in which am, conf and graph are",
            folder.display()
        ))
    })?;
    let path = CString::new(folder.as_os_str().as_bytes()).map_err(|_| {
        EngineError::Unavailable(format!(
            "{}: a path cannot hold a NUL byte",
            folder.display()
        ))
    })?;
    let model = ffi::Model::load(settings.library.as_os_str(), &path).map_err(|reason| {
        EngineError::Unavailable(format!(
            "vosk is not available: {reason}; models.<name>.vosk.library is the path of libvosk.so"
        ))
    })?;
    let model = model.ok_or_else(|| {
        EngineError::Unavailable(format!(
            "vosk cannot load the model in {}: a file is damaged, or made for another version",
            folder.display()
        ))
    })?;
    Ok(Vosk {
        model: Rc::new(model),
    })
}

/// Check that every file that the library needs exists.
///
/// # Errors
/// The first file that does not.
fn check_files(folder: &Path) -> Result<(), String> {
    for file in MODEL_FILES {
        files::check(&folder.join(file))?;
    }
    let [whole, parts] = GRAPHS.map(|files| {
        files
            .iter()
            .try_for_each(|file| files::check(&folder.join(file)))
    });
    whole.or_else(|reason| parts.map_err(|_| reason))
}

impl Engine for Vosk {}

impl HearsSamples for Vosk {
    fn hears_live(&self) -> bool {
        true
    }

    /// Emits each utterance when it has ended. Until then all its words may change.
    fn transcribe(
        &mut self,
        audio: &mut dyn AudioSource,
        options: &Ask,
        emit: &mut Emit<'_>,
    ) -> Result<(), EngineError> {
        #[allow(clippy::cast_possible_truncation)]
        const RATE: u16 = SAMPLE_RATE as u16;
        let mut recognizer = ffi::Recognizer::new(&self.model, RATE).map_err(failed)?;
        let mut samples = Vec::with_capacity(ffi::BLOCK);
        let mut guess = String::new();
        while let Some(block) = audio.next_block()? {
            for block in block.chunks(ffi::BLOCK) {
                samples.clear();
                samples.extend(block.iter().map(|&sample| to_i16(sample)));
                let said = match recognizer.accept(&samples).map_err(failed)? {
                    ffi::Heard::Utterance => {
                        guess.clear();
                        let result = recognizer.result().map_err(failed)?;
                        result::segment(result).map_err(failed)?.map(Said::Segment)
                    }
                    ffi::Heard::Nothing if options.partials => {
                        let result = recognizer.partial_result().map_err(failed)?;
                        let words = result::partial(result).map_err(failed)?;
                        let is_new = words != guess;
                        guess.clone_from(&words);
                        is_new.then(|| Said::Hypothesis(Hypothesis::guess(words)))
                    }
                    ffi::Heard::Nothing => None,
                };
                if said.is_some_and(|said| emit(said).is_break()) {
                    return Ok(());
                }
            }
        }
        if let Some(segment) =
            result::segment(recognizer.final_result().map_err(failed)?).map_err(failed)?
        {
            // This is the last segment, so the answer makes no difference.
            let (ControlFlow::Continue(()) | ControlFlow::Break(())) = emit(Said::Segment(segment));
        }
        Ok(())
    }
}

/// An error of this engine.
fn failed(reason: String) -> EngineError {
    EngineError::Failed {
        engine: NAME,
        reason,
    }
}
