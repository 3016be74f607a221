//! The kinds of models, and which one a folder holds: by the names of its files, and by what its
//! ONNX file says.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::onnx::{self, Metadata};

/// Most entries of a model's folder that are looked at.
const MAX_ENTRIES: usize = 1000;

/// Longest list of tokens that is read, in bytes. Those of Whisper have 0.8 MB.
const MAX_TOKENS: u64 = 64 << 20;

/// A family of models that the library runs in one way, by the name of its setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// OpenAI's Whisper and its descendants.
    Whisper,
    /// Transducers of icefall: Zipformer, Conformer.
    Transducer,
    /// Transducers of NeMo: Parakeet TDT, FastConformer.
    NemoTransducer,
    /// Moonshine, both exports.
    Moonshine,
    /// SenseVoice of FunASR.
    SenseVoice,
    /// Canary of NeMo.
    Canary,
    /// FireRedASR with encoder and decoder.
    FireRedAsr,
    /// Paraformer of FunASR.
    Paraformer,
    /// CTC models of NeMo, and GigaAM.
    NemoCtc,
    /// Zipformer with CTC, of icefall.
    ZipformerCtc,
    /// CTC models of WeNet.
    WenetCtc,
    /// CTC models of TeleSpeech.
    TelespeechCtc,
    /// Dolphin.
    Dolphin,
    /// Meta's Omnilingual ASR with CTC.
    Omnilingual,
    /// FireRedASR with CTC.
    FireRedAsrCtc,
    /// Google's MedASR.
    MedasrCtc,
}

/// One file's part in a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Encoder,
    Decoder,
    Joiner,
    Preprocessor,
    UncachedDecoder,
    CachedDecoder,
    MergedDecoder,
    /// The only ONNX file of its model.
    Whole,
}

/// The sets of files that models have.
const TRANSDUCER: &[Part] = &[Part::Encoder, Part::Decoder, Part::Joiner];
const PAIR: &[Part] = &[Part::Encoder, Part::Decoder];
const MOONSHINE: &[Part] = &[
    Part::Encoder,
    Part::Preprocessor,
    Part::UncachedDecoder,
    Part::CachedDecoder,
];
const MERGED: &[Part] = &[Part::Encoder, Part::MergedDecoder];
const WHOLE: &[Part] = &[Part::Whole];

impl Kind {
    /// The sets of files that a model of this kind can have.
    fn sets(self) -> &'static [&'static [Part]] {
        match self {
            Self::Transducer | Self::NemoTransducer => &[TRANSDUCER],
            Self::Whisper | Self::Canary | Self::FireRedAsr => &[PAIR],
            Self::Moonshine => &[MOONSHINE, MERGED],
            _ => &[WHOLE],
        }
    }

    /// The kind that `model_type`, an entry of the metadata, stands for in a model of these files.
    fn of_type(model_type: &str, parts: &[Part]) -> Option<Self> {
        let kind = match model_type {
            kind if kind.starts_with("whisper") => Self::Whisper,
            "conformer" | "zipformer" | "zipformer2" => Self::Transducer,
            "EncDecHybridRNNTCTCBPEModel" if parts == WHOLE => Self::NemoCtc,
            "EncDecRNNTBPEModel" | "EncDecHybridRNNTCTCBPEModel" => Self::NemoTransducer,
            "EncDecCTCModelBPE" | "EncDecCTCModel" => Self::NemoCtc,
            "EncDecMultiTaskModel" => Self::Canary,
            "sense_voice_ctc" => Self::SenseVoice,
            "paraformer" => Self::Paraformer,
            "zipformer2_ctc" => Self::ZipformerCtc,
            "wenet_ctc" => Self::WenetCtc,
            "telespeech_ctc" => Self::TelespeechCtc,
            "medasr_ctc" => Self::MedasrCtc,
            _ => return None,
        };
        Some(kind)
    }
}

/// The files of a model.
#[derive(Clone, Debug)]
pub(super) struct Files {
    parts: BTreeMap<Part, PathBuf>,
    pub(super) tokens: PathBuf,
    /// The vocabulary of a model whose words are cut into pieces, for words to expect.
    pub(super) vocabulary: Option<PathBuf>,
}

impl Files {
    /// The file with this part, if the model has one.
    pub(super) fn part(&self, part: Part) -> Option<&Path> {
        self.parts.get(&part).map(PathBuf::as_path)
    }

    fn parts(&self) -> Vec<Part> {
        self.parts.keys().copied().collect()
    }
}

/// The part that a file's name tells, and how much another file of that part would be preferred to
/// it; `None` if the file has nothing to do with the library.
fn part(name: &str) -> Option<(Part, u8)> {
    let name = name.to_ascii_lowercase();
    let stem = name
        .strip_suffix(".onnx")
        .or_else(|| name.strip_suffix(".ort"))?;
    let has = |word: &str| stem.contains(word);
    let part = if has("uncached") {
        Part::UncachedDecoder
    } else if has("cached") {
        Part::CachedDecoder
    } else if has("merged") {
        Part::MergedDecoder
    } else if has("preprocess") {
        Part::Preprocessor
    } else if has("joiner") {
        Part::Joiner
    } else if has("encode") {
        Part::Encoder
    } else if has("decode") {
        Part::Decoder
    } else {
        Part::Whole
    };
    let rank = if has("int8") {
        0
    } else if has("fp16") {
        2
    } else {
        1
    };
    Some((part, rank))
}

/// The files of the model in `folder`, by their names alone. Of several precisions int8 is taken.
///
/// # Errors
/// It cannot be read, or has no model, or more than one: half a sentence.
pub(super) fn files(folder: &Path) -> Result<Files, String> {
    let mut found: BTreeMap<Part, (u8, String)> = BTreeMap::new();
    let mut tokens: Vec<String> = Vec::new();
    let mut vocabulary = None;
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let mut names: Vec<String> = entries
        .take(MAX_ENTRIES)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    for name in names {
        if name.starts_with('.') {
            continue;
        }
        if name.ends_with("tokens.txt") {
            tokens.push(name);
        } else if name == "bpe.vocab" {
            vocabulary = Some(folder.join(name));
        } else if let Some((part, rank)) = part(&name) {
            match found.get(&part) {
                Some((other, _)) if *other < rank => {}
                Some((other, first)) if *other == rank => {
                    return Err(format!(
                        "both {first} and {name} could be used; leave one of them in the folder"
                    ));
                }
                _ => {
                    found.insert(part, (rank, name));
                }
            }
        }
    }
    let parts: Vec<Part> = found.keys().copied().collect();
    if ![TRANSDUCER, PAIR, MOONSHINE, MERGED, WHOLE]
        .iter()
        .any(|set| is_same(set, &parts))
    {
        return Err(format!("it has {}; {SHAPES}", named(&found)));
    }
    let [tokens] = &tokens[..] else {
        return Err(match &tokens[..] {
            [] => "it has no tokens.txt, which names the model's tokens".into(),
            _ => format!("it has {}; leave one of them", tokens.join(" and ")),
        });
    };
    Ok(Files {
        parts: found
            .into_iter()
            .map(|(part, (_, name))| (part, folder.join(name)))
            .collect(),
        tokens: folder.join(tokens),
        vocabulary,
    })
}

/// The sets of files, in words.
const SHAPES: &str = "a model for sherpa has tokens.txt and either one .onnx file, or encoder and decoder, or encoder, decoder and joiner, or Moonshine's files";

fn is_same(set: &[Part], parts: &[Part]) -> bool {
    set.len() == parts.len() && set.iter().all(|part| parts.contains(part))
}

/// The names of the ONNX files that were found.
fn named(found: &BTreeMap<Part, (u8, String)>) -> String {
    if found.is_empty() {
        return "no .onnx file".into();
    }
    let names: Vec<&str> = found.values().map(|(_, name)| name.as_str()).collect();
    format!("only {}", names.join(", "))
}

/// A model in a folder: its files and their kind.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) kind: Kind,
    pub(super) files: Files,
    /// Entries of the metadata of the file that has them.
    pub(super) metadata: Metadata,
}

/// The model in `folder`, of the kind that the settings name, if they do. Every ONNX file is looked
/// at, and none is loaded.
///
/// # Errors
/// A file is missing, damaged or of another kind: half a sentence that says what to do.
pub(super) fn look(folder: &Path, kind: Option<Kind>) -> Result<Model, String> {
    let files = files(folder)?;
    let mut metadata = Metadata::new();
    for path in files.parts.values() {
        let own = onnx::read(path)?;
        // That of the encoder, which comes first, counts.
        for (key, value) in own {
            metadata.entry(key).or_insert(value);
        }
    }
    check_tokens(&files.tokens, &metadata)?;
    let parts = files.parts();
    let model_type = metadata.get("model_type").map(String::as_str);
    let is_moonshine = Kind::Moonshine
        .sets()
        .iter()
        .any(|set| is_same(set, &parts));
    let found = if is_moonshine {
        Some(Kind::Moonshine)
    } else {
        model_type.and_then(|model_type| Kind::of_type(model_type, &parts))
    };
    let Some(kind) = kind.or(found) else {
        return Err(format!(
            "its files do not tell its kind{}; models.<name>.sherpa.kind names it",
            model_type.map_or(String::new(), |it| format!(" (model_type is {it:.64})"))
        ));
    };
    if !kind.sets().iter().any(|set| is_same(set, &parts)) {
        return Err(format!(
            "its files are not those of the kind {}; {SHAPES}",
            kind.name()
        ));
    }
    if metadata.contains_key("decode_chunk_len") {
        let what = "it is a model for streams, which hears worse and is not run by this engine; use the one for whole recordings";
        return Err(what.into());
    }
    Ok(Model {
        kind,
        files,
        metadata,
    })
}

/// Check that the list of tokens is one, and has those of the model: the library leaves out the
/// text of a token that is not there.
fn check_tokens(path: &Path, metadata: &Metadata) -> Result<(), String> {
    crate::engine::files::check(path)?;
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_TOKENS).read_to_end(&mut text));
    read.map_err(|error| format!("{}: {error}", path.display()))?;
    let lines: Vec<&[u8]> = text
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .collect();
    let number = lines
        .first()
        .and_then(|line| line.rsplit(|byte| *byte == b' ').next());
    if !number.is_some_and(|it| !it.is_empty() && it.iter().all(u8::is_ascii_digit)) {
        return Err(format!(
            "{}: it has no tokens: each line is a token and its number; download it again",
            path.display()
        ));
    }
    let size = ["n_vocab", "vocab_size"]
        .iter()
        .find_map(|key| metadata.get(*key));
    let size: usize = size.and_then(|size| size.trim().parse().ok()).unwrap_or(0);
    // Lists of Whisper leave out its signs, which are 3 of 100.
    if lines.len().saturating_mul(10) < size.saturating_mul(9) {
        return Err(format!(
            "{}: it has {} tokens, and the model has {size}: it is cut off, or another model's",
            path.display(),
            lines.len()
        ));
    }
    Ok(())
}

impl Kind {
    /// The kind's name, as in `kind = "…"`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Whisper => "whisper",
            Self::Transducer => "transducer",
            Self::NemoTransducer => "nemo_transducer",
            Self::Moonshine => "moonshine",
            Self::SenseVoice => "sense_voice",
            Self::Canary => "canary",
            Self::FireRedAsr => "fire_red_asr",
            Self::Paraformer => "paraformer",
            Self::NemoCtc => "nemo_ctc",
            Self::ZipformerCtc => "zipformer_ctc",
            Self::WenetCtc => "wenet_ctc",
            Self::TelespeechCtc => "telespeech_ctc",
            Self::Dolphin => "dolphin",
            Self::Omnilingual => "omnilingual",
            Self::FireRedAsrCtc => "fire_red_asr_ctc",
            Self::MedasrCtc => "medasr_ctc",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_parts_of_published_models() {
        for (name, expected) in [
            ("tiny.en-encoder.int8.onnx", Some((Part::Encoder, 0))),
            ("encoder-epoch-99-avg-1.onnx", Some((Part::Encoder, 1))),
            ("joiner.int8.onnx", Some((Part::Joiner, 0))),
            ("preprocess.onnx", Some((Part::Preprocessor, 1))),
            (
                "uncached_decode.int8.onnx",
                Some((Part::UncachedDecoder, 0)),
            ),
            ("cached_decode.int8.onnx", Some((Part::CachedDecoder, 0))),
            ("encode.int8.onnx", Some((Part::Encoder, 0))),
            ("encoder_model.ort", Some((Part::Encoder, 1))),
            ("decoder_model_merged.ort", Some((Part::MergedDecoder, 1))),
            ("model.fp16.onnx", Some((Part::Whole, 2))),
            ("bpe.model", None),
            ("encoder.weights", None),
        ] {
            assert_eq!(part(name), expected, "{name}");
        }
    }

    #[test]
    fn a_folder_is_a_model_by_its_names_and_int8_is_preferred() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| fs::write(folder.path().join(name), "").unwrap();
        let error = |folder: &Path| files(folder).unwrap_err();
        assert!(error(folder.path()).starts_with("it has no .onnx file"));
        write("a-encoder.onnx");
        assert!(error(folder.path()).starts_with("it has only a-encoder.onnx"));
        write("a-decoder.onnx");
        assert!(error(folder.path()).contains("no tokens.txt"));
        write("a-tokens.txt");
        write("a-encoder.int8.onnx");
        let files = super::files(folder.path()).unwrap();
        let encoder = files.part(Part::Encoder).unwrap();
        assert!(encoder.ends_with("a-encoder.int8.onnx"), "{encoder:?}");
        write("b-encoder.int8.onnx");
        assert!(error(folder.path()).contains("both a-encoder.int8.onnx and b-encoder"));
    }

    #[test]
    fn kinds_have_the_names_of_their_setting() {
        for kind in [Kind::NemoTransducer, Kind::FireRedAsrCtc, Kind::MedasrCtc] {
            let name = serde_json::to_value(kind).unwrap();
            assert_eq!(name, kind.name());
        }
    }
}
