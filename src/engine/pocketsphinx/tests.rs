//! Proves the engine with the real library and the real model, on real speech.
//!
//! Needs the packages `libpocketsphinx3`, `pocketsphinx-en-us` and `pocketsphinx-testdata`.

use std::path::PathBuf;

use super::*;
use crate::request::Ask;

/// Where `pocketsphinx-testdata` puts its recordings.
const RECORDINGS: &str = "/usr/share/pocketsphinx/test/data";

/// Samples handed over in blocks of an awkward length.
struct Blocks {
    samples: Vec<f32>,
    at: usize,
}

impl Blocks {
    fn new(samples: &[i16]) -> Self {
        let samples = samples.iter().map(|&s| f32::from(s) / 32768.0).collect();
        Self { samples, at: 0 }
    }
}

impl AudioSource for Blocks {
    fn next_block(&mut self) -> Result<Option<&[f32]>, EngineError> {
        let end = (self.at + 997).min(self.samples.len());
        let block = &self.samples[self.at..end];
        self.at = end;
        Ok((!block.is_empty()).then_some(block))
    }
}

/// The samples of a recording of `pocketsphinx-testdata`: raw, or WAV with the plain header of 44
/// bytes.
fn recording(name: &str) -> Vec<i16> {
    let path = format!("{RECORDINGS}/{name}");
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{path}: {error}; see the top of this file"));
    let header = if bytes.starts_with(b"RIFF") {
        assert_eq!(&bytes[36..40], b"data", "{path}");
        44
    } else {
        0
    };
    let samples = bytes[header..].chunks_exact(2);
    samples
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

fn engine() -> Pocketsphinx {
    load(&PocketsphinxSettings::default()).expect("see the top of this file")
}

fn transcribe(engine: &mut Pocketsphinx, samples: &[i16]) -> Option<Segment> {
    let mut segments = Vec::new();
    engine
        .transcribe(&mut Blocks::new(samples), &Ask::default(), &mut |said| {
            match said {
                Said::Segment(segment) => segments.push(segment),
                Said::Hypothesis(hypothesis) => panic!("nobody asked for {hypothesis:?}"),
            }
            ControlFlow::Continue(())
        })
        .expect("transcribes");
    assert!(segments.len() <= 1, "{segments:?}");
    let segment = segments.pop()?;
    assert_well_formed(&segment, length(samples.len()));
    Some(segment)
}

fn assert_well_formed(segment: &Segment, end: Duration) {
    assert!(!segment.words.is_empty(), "{segment:?}");
    let mut earliest = Duration::ZERO;
    for word in &segment.words {
        assert!(
            !word.text.is_empty() && word.text.trim() == word.text,
            "{segment:?}"
        );
        assert!(
            !word.text.contains(['<', '>', '[', ']', '(', ')', '+']),
            "{segment:?}"
        );
        assert!(
            earliest <= word.start && word.start <= word.end,
            "{segment:?}"
        );
        let confidence = word.confidence.expect("has a confidence");
        assert!((0.0..=1.0).contains(&confidence), "{segment:?}");
        earliest = word.end;
    }
    assert!(earliest <= end, "{segment:?}");
    assert_eq!(segment.start, segment.words[0].start);
    assert_eq!(segment.end, earliest);
    let texts: Vec<_> = segment
        .words
        .iter()
        .map(|word| word.text.as_str())
        .collect();
    assert_eq!(segment.text, texts.join(" "));
}

/// A fresh engine says exactly `text`, and takes some time for each word.
fn assert_says(name: &str, text: &str) {
    let segment = transcribe(&mut engine(), &recording(name)).expect("speech");
    assert_eq!(segment.text, text, "{name}");
    for word in &segment.words {
        let spoken = word.end - word.start;
        assert!(
            (Duration::from_millis(50)..Duration::from_millis(1500)).contains(&spoken),
            "{word:?}"
        );
    }
}

#[test]
fn speech_becomes_its_words() {
    assert_says("goforward.raw", "go forward ten meters");
    assert_says("something.raw", "go somewhere and do something");
    assert_says("tidigits/dhd.2934z.raw", "two nine three four zero");
}

#[test]
fn short_commands_become_their_words() {
    assert_says("cards/001.wav", "ten of clubs");
    assert_says("cards/003.wav", "seven of clubs");
    assert_says("cards/004.wav", "five five");
    assert_says(
        "cards/005.wav",
        "eight of spades four of clubs seven of hearts",
    );
}

#[test]
fn long_sentences_are_well_formed() {
    let segment = transcribe(
        &mut engine(),
        &recording("librivox/sense_and_sensibility_01_austen_64kb-0930.wav"),
    );
    let text = segment.expect("speech").text;
    assert!(text.starts_with("he might even have been made"), "{text}");
}

#[test]
fn times_count_from_the_beginning_of_the_recording() {
    let mut engine = engine();
    let speech = recording("goforward.raw");
    let alone = transcribe(&mut engine, &speech).expect("speech");
    let pause = vec![0; 5 * SAMPLE_RATE as usize];
    let padded = [&pause, &speech[..], &pause, &speech[..], &pause].concat();
    let padded = transcribe(&mut engine, &padded).expect("speech");
    assert_eq!(padded.text, "go forward ten meters go forward ten meters");
    let second = length(pause.len() * 2 + speech.len());
    for (at, first_word) in [(length(pause.len()), 0), (second, 4)] {
        for (word, expected) in padded.words[first_word..].iter().zip(&alone.words) {
            assert_eq!(word.text, expected.text);
            for (time, expected) in [(word.start, expected.start), (word.end, expected.end)] {
                let error = time.abs_diff(expected + at);
                assert!(
                    error <= Duration::from_millis(80),
                    "{word:?} is off by {error:?}"
                );
            }
        }
    }
}

#[test]
fn frames_of_the_second_run_are_those_of_the_first() {
    let mut engine = engine();
    let mut check = |samples: &[i16]| {
        engine.decoder.decode(samples).expect("decodes");
        let frames = engine.decoder.searched_frames(samples).expect("agrees");
        assert!(frames.is_sorted_by(|a, b| a < b));
        assert!(
            frames
                .last()
                .is_none_or(|&last| last <= samples.len() / 160)
        );
    };
    check(&recording("something.raw"));
    check(&recording("cards/002.wav"));
    check(&[vec![0; 20_000], recording("cards/001.wav"), vec![0; 20_000]].concat());
    // Every kind of remainder after the last whole frame, with and without speech before it.
    let samples = recording("cards/001.wav");
    for cut in [1, 2, 40, 80, 120, 159, 160, 161] {
        check(&samples[..samples.len() - cut]);
    }
    for length in [1, 160, 409, 410, 411, 569, 570, 571, 4000] {
        check(&samples[..length]);
        check(&noise(i16::MAX, 1)[..length]);
    }
}

#[test]
fn what_was_decoded_before_leaves_no_trace() {
    let (first, second) = (recording("cards/005.wav"), recording("something.raw"));
    let fresh = transcribe(&mut engine(), &first);
    let mut used = engine();
    for before in [
        &second,
        &noise(8000, 5),
        &vec![0; 32_000],
        &Vec::new(),
        &vec![1; 160],
    ] {
        transcribe(&mut used, before);
        assert_eq!(transcribe(&mut used, &first), fresh);
    }
}

/// White noise.
fn noise(amplitude: i16, seconds: usize) -> Vec<i16> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..seconds * SAMPLE_RATE as usize)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let sample = i64::try_from(state >> 48).expect("16 bits") - 32768;
            i16::try_from(sample * i64::from(amplitude) / 32768).expect("16 bits")
        })
        .collect()
}

/// A sine of 1 kHz.
fn tone(seconds: usize) -> Vec<i16> {
    (0..seconds * SAMPLE_RATE as usize)
        .map(|i| to_i16(0.5 * (i as f32 * std::f32::consts::TAU / 16.0).sin()))
        .collect()
}

#[test]
fn silence_has_no_words() {
    let mut engine = engine();
    for samples in [
        vec![],
        vec![0; 1],
        vec![0; 160],
        vec![0; 409],
        vec![0; 410],
        vec![0; 160_000],
    ] {
        assert_eq!(
            transcribe(&mut engine, &samples),
            None,
            "{} samples of silence",
            samples.len()
        );
    }
}

#[test]
fn sounds_that_are_no_speech_are_survived() {
    let mut engine = engine();
    let square = |i: usize| {
        if (i / 40).is_multiple_of(2) {
            i16::MAX
        } else {
            i16::MIN
        }
    };
    let click = |i: usize| if i == 8000 { i16::MAX } else { 0 };
    for (what, samples) in [
        ("white noise", noise(i16::MAX, 10)),
        ("faint noise", noise(2, 10)),
        ("a tone", tone(5)),
        ("full-scale square wave", (0..80_000).map(square).collect()),
        ("constant offset", vec![i16::MIN; 80_000]),
        ("a click", (0..16_000).map(click).collect()),
        ("160 samples", noise(i16::MAX, 1)[..160].to_vec()),
        ("one sample", vec![i16::MAX]),
    ] {
        // `transcribe` checks the form of whatever comes.
        let words = transcribe(&mut engine, &samples);
        eprintln!("{what}: {:?}", words.map(|segment| segment.text));
    }
    let text = transcribe(&mut engine, &recording("goforward.raw")).map(|segment| segment.text);
    assert_eq!(text.as_deref(), Some("go forward ten meters"));
}

#[test]
fn an_answer_that_nobody_wants_is_no_error() {
    let mut emitted = 0;
    let mut blocks = Blocks::new(&recording("goforward.raw"));
    let result = engine().transcribe(&mut blocks, &Ask::default(), &mut |_| {
        emitted += 1;
        ControlFlow::Break(())
    });
    assert!(result.is_ok());
    assert_eq!(emitted, 1);
}

#[test]
fn an_error_of_the_source_is_passed_on() {
    struct Broken;
    impl AudioSource for Broken {
        fn next_block(&mut self) -> Result<Option<&[f32]>, EngineError> {
            Err(failed("no more audio".into()))
        }
    }
    let error = engine()
        .transcribe(&mut Broken, &Ask::default(), &mut |_| {
            panic!("nothing to emit")
        })
        .expect_err("the source fails");
    assert_eq!(error.to_string(), "pocketsphinx failed: no more audio");
}

#[test]
fn an_engine_can_move_to_another_thread() {
    let mut engine = engine();
    let text = std::thread::spawn(move || transcribe(&mut engine, &recording("goforward.raw")))
        .join()
        .expect("the thread ends well")
        .map(|segment| segment.text);
    assert_eq!(text.as_deref(), Some("go forward ten meters"));
}

#[test]
fn sixteen_bits_survive_the_way_through_floats() {
    for sample in i16::MIN..=i16::MAX {
        assert_eq!(to_i16(f32::from(sample) / 32768.0), sample);
    }
    assert_eq!(to_i16(1.0), i16::MAX);
    assert_eq!(to_i16(-1.5), i16::MIN);
    assert_eq!(to_i16(f32::INFINITY), i16::MAX);
    assert_eq!(to_i16(f32::NAN), 0);
}

#[test]
fn fillers_are_dropped_and_pronunciations_merged() {
    for filler in [
        "<s>",
        "</s>",
        "<sil>",
        "[NOISE]",
        "[SPEECH]",
        "++UM++",
        "++NOISE++",
        "<unk>",
        "",
        " ",
    ] {
        assert_eq!(spoken(filler), None, "{filler}");
    }
    for (entry, word) in [
        ("read", "read"),
        ("read(2)", "read"),
        ("a(12)", "a"),
        ("it's", "it's"),
        ("c++", "c++"),
        ("x(y)", "x(y)"),
        ("x()", "x()"),
    ] {
        assert_eq!(spoken(entry), Some(word));
    }
    assert_eq!(spoken("(2)"), None);
}

#[test]
fn odd_times_and_probabilities_are_mended() {
    let piece = |entry: &str, first_frame, last_frame, probability| ffi::Piece {
        entry: entry.into(),
        first_frame,
        last_frame,
        probability,
    };
    let pieces = [
        piece("<s>", 0, 4, 1.0),
        piece("a(2)", 5, 9, 1.000_1),
        piece("b", 8, 7, f64::NAN),
        piece("c", 15, 900, -1.0),
        piece("d", 901, usize::MAX, f64::INFINITY),
    ];
    let millis = Duration::from_millis;
    let words = words(&pieces, None, 100, millis(200));
    let times: Vec<_> = words.iter().map(|word| (word.start, word.end)).collect();
    assert_eq!(
        times,
        [
            (millis(50), millis(100)),
            (millis(100), millis(100)),
            (millis(150), millis(200)),
            (millis(200), millis(200)),
        ]
    );
    let confidences: Vec<_> = words.iter().map(|word| word.confidence).collect();
    assert_eq!(confidences, [Some(1.0), None, Some(0.0), Some(1.0)]);
    assert_eq!(segment(words).expect("words").text, "a b c d");
    assert_eq!(segment(vec![]), None);
}

#[test]
fn dropped_frames_are_given_back() {
    let pieces = [ffi::Piece {
        entry: "a".into(),
        first_frame: 1,
        last_frame: 2,
        probability: 1.0,
    }];
    let words = words(&pieces, Some(&[40, 41, 52]), 100, Duration::from_secs(1));
    assert_eq!(words[0].start, Duration::from_millis(410));
    assert_eq!(words[0].end, Duration::from_millis(530));
}

/// The message of a load that must fail.
fn load_error(settings: &PocketsphinxSettings) -> String {
    match load(settings) {
        Err(EngineError::Unavailable(message)) => message,
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("loaded"),
    }
}

#[test]
fn a_missing_file_is_named_with_its_key() {
    let missing = PathBuf::from("/nowhere/to/be/found");
    let cases = [
        (
            PocketsphinxSettings {
                acoustic_model: missing.clone(),
                ..Default::default()
            },
            "acoustic_model",
        ),
        (
            PocketsphinxSettings {
                language_model: missing.clone(),
                ..Default::default()
            },
            "language_model",
        ),
        (
            PocketsphinxSettings {
                dictionary: missing,
                ..Default::default()
            },
            "dictionary",
        ),
    ];
    for (settings, key) in cases {
        let error = load_error(&settings);
        assert!(
            error.contains("/nowhere/to/be/found: No such file"),
            "{error}"
        );
        assert!(
            error.contains(&format!("models.<name>.pocketsphinx.{key}")),
            "{error}"
        );
        assert!(!error.contains(MODEL_PACKAGE), "{error}");
    }
}

#[test]
fn an_incomplete_or_misplaced_model_is_found_out_before_the_library_sees_it() {
    let default = PocketsphinxSettings::default();
    let settings = PocketsphinxSettings {
        acoustic_model: default.acoustic_model.parent().expect("has one").to_owned(),
        ..Default::default()
    };
    assert!(
        load_error(&settings).contains("/mdef: No such file"),
        "{}",
        load_error(&settings)
    );
    let settings = PocketsphinxSettings {
        acoustic_model: default.dictionary.clone(),
        ..Default::default()
    };
    assert!(load_error(&settings).contains("is not a folder"));
    let settings = PocketsphinxSettings {
        dictionary: default.acoustic_model.clone(),
        ..Default::default()
    };
    assert!(load_error(&settings).contains("Is a directory"));
    let settings = PocketsphinxSettings {
        language_model: "/dev/null".into(),
        ..Default::default()
    };
    assert!(load_error(&settings).contains("/dev/null is empty"));
}

#[test]
fn what_the_library_says_about_a_model_is_passed_on() {
    let settings = PocketsphinxSettings {
        language_model: PocketsphinxSettings::default().dictionary,
        ..Default::default()
    };
    let error = load_error(&settings);
    assert!(
        error.starts_with("pocketsphinx cannot load the model: "),
        "{error}"
    );
    assert!(
        !error.contains("no reason") && !error.contains("ERROR"),
        "{error}"
    );
    eprintln!("{error}");
}

#[test]
fn a_damaged_model_ends_the_process_with_the_reason_on_standard_error() {
    const FOLDER: &str = "STT_ISOLATED_TEST_DAMAGED_MODEL";
    if let Some(folder) = std::env::var_os(FOLDER) {
        // The child: the library is going to call `exit(1)`.
        let settings = PocketsphinxSettings {
            acoustic_model: folder.into(),
            ..Default::default()
        };
        panic!("came back: {:?}", load(&settings).err());
    }
    let folder =
        std::env::temp_dir().join(format!("stt-isolated-damaged-model-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the test");
    for entry in
        std::fs::read_dir(PocketsphinxSettings::default().acoustic_model).expect("the model")
    {
        let path = entry.expect("an entry").path();
        let content = std::fs::read(&path).expect("can be read");
        let name = path.file_name().expect("has a name");
        let keep = if name == "transition_matrices" {
            100
        } else {
            content.len()
        };
        std::fs::write(folder.join(name), &content[..keep]).expect("can be written");
    }
    let test = "engine::pocketsphinx::tests::a_damaged_model_ends_the_process_with_the_reason_on_standard_error";
    let child = std::process::Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, &folder)
        .output()
        .expect("runs");
    std::fs::remove_dir_all(&folder).expect("can be removed");
    let message = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.code(), Some(1), "{message}");
    assert!(
        message.contains("pocketsphinx: ") && message.contains("transition_matrices"),
        "{message}"
    );
    assert!(!message.contains("INFO"), "{message}");
}

#[test]
fn a_missing_library_names_its_package() {
    let reason = ffi::Api::open(ffi::Sonames {
        base: "libsphinxbase-that-nobody-has.so.3",
        ..ffi::SONAMES
    });
    let error = library_missing(reason.err().expect("no such library")).to_string();
    assert!(
        error.contains("libsphinxbase-that-nobody-has.so.3"),
        "{error}"
    );
    assert!(
        error.contains("install the package libpocketsphinx3"),
        "{error}"
    );
}

#[test]
fn the_search_begins_within_a_self_test() {
    let mut engine = load(&PocketsphinxSettings::default()).unwrap();
    // A job is a floor above. This can only be tested with both together.
    let (_, wav) = crate::job::self_test();
    let samples: Vec<i16> = wav[44..]
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    engine.decoder.decode(&samples).unwrap();
    let searched = engine.decoder.searched_frames(&samples).unwrap();
    assert!(!searched.is_empty());
}
