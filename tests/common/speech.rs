//! Real weights of Whisper and people's speech in five languages, which `tests/weights/setup` puts
//! below `target/`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::clips;

/// The file or folder of this name among the weights. `None` if they were not to be had: a test has
/// nothing to do then, and `tests/run` says so at its end. `.ci/run` insists on them.
pub fn weights(name: &str) -> Option<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/weights");
    if all.join("made-of").exists() {
        return Some(all.join(name));
    }
    assert!(
        std::env::var_os("STT_REQUIRE_WEIGHTS").is_none(),
        "there are no real weights; run tests/weights/setup"
    );
    println!("skipped: no real weights (tests/weights/setup)");
    None
}

/// A prompt of a telephone exchange, spoken by a person.
#[derive(Clone, Debug)]
pub struct Prompt {
    pub text: String,
    /// 16 bits, mono.
    pub samples: Vec<u8>,
}

impl Prompt {
    /// The prompt `name` in this language (`en`, `es`, `fr`, `it` or `ru`), at 8 or 16 kHz.
    pub fn read(language: &str, kilohertz: u32, name: &str) -> Prompt {
        let folder = weights("speech").unwrap().join(language);
        let texts = fs::read_to_string(folder.join("texts")).unwrap();
        let text = texts
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let text = text.unwrap_or_else(|| panic!("no prompt {name} in {language}"));
        let file = fs::read(folder.join(format!("{kilohertz}/{name}.wav"))).unwrap();
        let data = file.windows(4).position(|four| four == b"data").unwrap() + 8;
        let length = u32::from_le_bytes(file[data - 4..data].try_into().unwrap());
        Prompt {
            text: text.to_owned(),
            samples: file[data..data + length as usize].to_vec(),
        }
    }
}

/// Prompts joined with pauses, and where each of them is.
pub struct Joined {
    pub wav: Vec<u8>,
    /// Beginning and end of each prompt in seconds.
    pub places: Vec<(f64, f64)>,
    pub text: String,
}

impl Joined {
    /// A pause of `pause` seconds follows each prompt.
    pub fn of(prompts: &[Prompt], kilohertz: u32, pause: f64) -> Joined {
        let second = f64::from(kilohertz * 2000);
        let mut samples = faint_noise(0.5, kilohertz);
        let mut places = Vec::new();
        for prompt in prompts {
            let start = samples.len() as f64 / second;
            samples.extend(&prompt.samples);
            places.push((start, samples.len() as f64 / second));
            samples.extend(faint_noise(pause, kilohertz));
        }
        let texts: Vec<&str> = prompts.iter().map(|prompt| prompt.text.as_str()).collect();
        Joined {
            wav: wav_of(kilohertz, &samples),
            places,
            text: texts.join(" "),
        }
    }
}

/// A pause as microphones have it: not digital silence but faint noise.
fn faint_noise(seconds: f64, kilohertz: u32) -> Vec<u8> {
    let samples = (seconds * f64::from(kilohertz * 1000)) as usize;
    let noise = clips::noise(1, samples).into_iter();
    noise
        .flat_map(|byte| i16::from(byte >> 4).wrapping_sub(8).to_le_bytes())
        .collect()
}

/// A WAV file of this rate, mono, 16 bits.
fn wav_of(kilohertz: u32, samples: &[u8]) -> Vec<u8> {
    let mut file = clips::wav(samples);
    file[24..28].copy_from_slice(&(kilohertz * 1000).to_le_bytes());
    file[28..32].copy_from_slice(&(kilohertz * 2000).to_le_bytes());
    file
}

/// The words of a text without case, punctuation, accents and figures, in which writers differ.
pub fn plain_words(text: &str) -> Vec<String> {
    let letter = |letter: char| match letter {
        'á' | 'à' | 'â' => 'a',
        'é' | 'è' | 'ê' => 'e',
        'í' | 'ì' | 'î' => 'i',
        'ó' | 'ò' | 'ô' => 'o',
        'ú' | 'ù' | 'û' => 'u',
        'ñ' => 'n',
        'ç' => 'c',
        'ё' => 'е',
        letter if letter.is_alphanumeric() => letter,
        _ => ' ',
    };
    let text: String = text.to_lowercase().chars().map(letter).collect();
    text.split_whitespace().flat_map(in_words).collect()
}

/// "10" as one word, any other number by its figures: nobody says more in these recordings.
fn in_words(word: &str) -> Vec<String> {
    const FIGURES: [&str; 10] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    ];
    let figures: Option<Vec<u32>> = word.chars().map(|letter| letter.to_digit(10)).collect();
    match figures {
        Some(figures) if figures == [1, 0] => vec!["ten".into()],
        Some(figures) => {
            let names = figures.iter().map(|figure| FIGURES[*figure as usize]);
            names.map(String::from).collect()
        }
        None => vec![word.into()],
    }
}

/// Share of the words of `said` that were put in, left out or exchanged in `heard`.
#[allow(clippy::cast_precision_loss)]
pub fn word_errors(said: &str, heard: &str) -> f64 {
    let (said, heard) = (plain_words(said), plain_words(heard));
    difference(&said, &heard) as f64 / said.len() as f64
}

/// How many words must be put in, left out or exchanged to make one of the other.
pub fn difference<Word: PartialEq>(a: &[Word], b: &[Word]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, word) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let exchanged = diagonal + usize::from(word != other);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
