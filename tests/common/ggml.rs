//! Model files in the format of whisper.cpp, of any of the real shapes, that "hear" one text in
//! every recording.
//!
//! Nearly all weights are zero, which costs as much to compute as any others, and lets the file be
//! mostly holes. The decoder's positions decide: the one at which a token is said looks like that
//! token, no matter what was heard.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    missing_docs
)]

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Seek, SeekFrom, Write},
    path::Path,
};

/// Sizes of a model.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Places of what is heard in 30 s. The library lets no text begin after the first thirtieth of
    /// them, counted as 0.02 s.
    pub audio: usize,
    pub state: usize,
    pub heads: usize,
    pub layers: usize,
}

/// No real one: as small as the library takes.
pub const TOY: Shape = Shape {
    audio: 300,
    state: 64,
    heads: 1,
    layers: 1,
};

pub const SMALL: Shape = Shape {
    audio: 1500,
    state: 768,
    heads: 12,
    layers: 12,
};

const TEXT: usize = 448;
const MELS: usize = 80;
const BANDS: usize = 201;
/// Where the words' tokens begin in the vocabulary.
const WORDS: i32 = 1000;

/// By how many seconds a translation begins later than a transcript: by that they are told apart.
pub const TRANSLATED_LATER: f64 = 0.2;

/// A model in the making.
#[derive(Clone, Debug)]
pub struct Ggml {
    pub shape: Shape,
    /// The number of the language in which it takes every recording to be; `None`: a model of
    /// English only.
    pub language: Option<i32>,
    /// Words, and times in seconds: one at the beginning, one at the end, and two between two
    /// segments.
    pub script: Vec<Say>,
    /// Distance between the likely token and all others. Below 11 the library finds the text
    /// unlikely.
    pub certainty: f32,
}

#[derive(Clone, Copy, Debug)]
pub enum Say {
    Word(&'static str),
    Time(f64),
}

/// A segment from `start` to `end`.
pub fn segment(start: f64, text: &'static str, end: f64) -> Vec<Say> {
    let words = text.split(' ').map(Say::Word);
    let times = [Say::Time(start), Say::Time(end)];
    times[..1]
        .iter()
        .copied()
        .chain(words)
        .chain([times[1]])
        .collect()
}

impl Ggml {
    pub fn multilingual(language: i32, script: Vec<Say>) -> Ggml {
        Ggml {
            language: Some(language),
            ..Ggml::english(script)
        }
    }

    pub fn english(script: Vec<Say>) -> Ggml {
        Ggml {
            shape: TOY,
            language: None,
            script,
            certainty: 32.0,
        }
    }

    /// The token that ends a text; the one that begins it follows, then the languages.
    fn end(&self) -> i32 {
        50_256 + i32::from(self.language.is_some())
    }

    fn tokens(&self) -> i32 {
        51_864 + i32::from(self.language.is_some())
    }

    fn time(&self, seconds: f64) -> i32 {
        self.end() + 107 + (seconds / 0.02).round() as i32
    }

    /// The token to be said at each position, the last of which stands for all that follow. In a
    /// multilingual model the first says the language, the second is not asked for, and at the
    /// third the task alone decides.
    fn said(&self) -> Vec<Option<i32>> {
        let mut said = match self.language {
            None => Vec::new(),
            Some(language) => vec![Some(self.end() + 2 + language), None, None],
        };
        let mut words = WORDS..;
        let script = self.script.iter().map(|say| match *say {
            Say::Word(_) => words.next(),
            Say::Time(seconds) => Some(self.time(seconds)),
        });
        // The first time is the task's.
        said.extend(script.skip(usize::from(self.language.is_some())));
        said.resize(TEXT, Some(self.end()));
        said
    }

    /// The token that `token` looks like, itself or another; `None` if it looks like nothing. A
    /// request to transcribe begins with the first time of the script, one to translate
    /// [`TRANSLATED_LATER`].
    fn looks(&self) -> BTreeMap<i32, i32> {
        let mut looks: BTreeMap<i32, i32> =
            self.said().into_iter().flatten().map(|t| (t, t)).collect();
        if self.language.is_some() {
            let Some(Say::Time(first)) = self.script.first() else {
                panic!("a script begins with a time");
            };
            let translated = self.time(first + TRANSLATED_LATER);
            let transcribed = self.time(*first);
            looks.extend([(translated, translated), (transcribed, transcribed)]);
            // The library lets nobody say these two.
            looks.extend([
                (self.end() + 101, translated),
                (self.end() + 102, transcribed),
            ]);
        }
        looks
    }

    pub fn write(&self, path: &Path) {
        let mut file = Output {
            file: BufWriter::new(File::create(path).unwrap()),
            hole: 0,
        };
        let Shape {
            audio,
            state,
            heads,
            layers,
        } = self.shape;
        file.numbers(&[0x6767_6d6c, self.tokens()]);
        for size in [
            audio, state, heads, layers, TEXT, state, heads, layers, MELS, 1,
        ] {
            file.numbers(&[size as i32]);
        }
        file.numbers(&[MELS as i32, BANDS as i32]);
        // Each filter hears a band of its own; what it hears makes no difference.
        for filter in 0..MELS {
            let bands = (0..BANDS).map(|band| f32::from(u8::from(band / 2 == filter)));
            file.floats(bands);
        }
        self.vocabulary(&mut file);
        self.weights(&mut file);
        // A hole at its end is part of it.
        let hole = file.hole as u64;
        let mut file = file.file.into_inner().unwrap();
        let length = file.stream_position().unwrap() + hole;
        file.set_len(length).unwrap();
    }

    fn vocabulary(&self, file: &mut Output) {
        let mut words: BTreeMap<i32, String> = BTreeMap::new();
        let said = self.script.iter().filter_map(|say| match say {
            Say::Word(word) => Some(format!(" {word}")),
            Say::Time(_) => None,
        });
        words.extend((WORDS..).zip(said));
        let count = 50_257;
        file.numbers(&[count]);
        for token in 0..count {
            let text = match (token, words.get(&token)) {
                (_, Some(word)) => word.clone().into_bytes(),
                // The library looks for this one.
                (220, _) => b" ".to_vec(),
                (32, _) => b"  ".to_vec(),
                (0..256, _) => vec![token as u8],
                _ => format!(" w{token:05}").into_bytes(),
            };
            file.numbers(&[text.len() as i32]);
            file.bytes(&text);
        }
    }

    fn weights(&self, file: &mut Output) {
        let Shape {
            audio,
            state,
            layers,
            ..
        } = self.shape;
        file.zeros("encoder.positional_embedding", &[state, audio], 4);
        file.zeros("encoder.conv1.weight", &[3, MELS, state], 2);
        file.zeros("encoder.conv1.bias", &[1, state], 4);
        file.zeros("encoder.conv2.weight", &[3, state, state], 2);
        file.zeros("encoder.conv2.bias", &[1, state], 4);
        file.norm("encoder.ln_post", state);
        for layer in 0..layers {
            let name = format!("encoder.blocks.{layer}");
            file.attention(&name, "attn", state);
            file.feed_forward(&name, state);
        }
        file.tensor("decoder.positional_embedding", &[state, TEXT], 4);
        for token in self.said() {
            match token {
                // So much louder than the token that stands there.
                Some(token) => file.floats(self.look(token).map(|x| x * 20.0)),
                None => file.skip(state * 4),
            }
        }
        let looks = self.looks();
        file.tensor(
            "decoder.token_embedding.weight",
            &[state, self.tokens() as usize],
            2,
        );
        for token in 0..self.tokens() {
            match looks.get(&token) {
                Some(&look) => file.halves(self.look(look)),
                None => file.skip(state * 2),
            }
        }
        file.norm("decoder.ln", state);
        for layer in 0..layers {
            let name = format!("decoder.blocks.{layer}");
            file.attention(&name, "attn", state);
            file.attention(&name, "cross_attn", state);
            file.feed_forward(&name, state);
        }
    }

    /// How a token looks: signs by chance (splitmix64), the same in every file.
    fn look(&self, token: i32) -> impl Iterator<Item = f32> + use<> {
        let state = self.shape.state;
        let size = self.certainty / state as f32;
        (0..state).map(move |index| {
            let mut bits = (token as u64) << 32 | index as u64;
            bits = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            if (bits ^ (bits >> 31)) & 1 == 0 {
                size
            } else {
                -size
            }
        })
    }
}

struct Output {
    file: BufWriter<File>,
    /// Bytes that were left out since the last that were written.
    hole: usize,
}

impl Output {
    fn bytes(&mut self, bytes: &[u8]) {
        if self.hole > 0 {
            let hole = self.hole as i64;
            self.file.seek(SeekFrom::Current(hole)).unwrap();
            self.hole = 0;
        }
        self.file.write_all(bytes).unwrap();
    }

    fn numbers(&mut self, numbers: &[i32]) {
        numbers.iter().for_each(|n| self.bytes(&n.to_le_bytes()));
    }

    fn floats(&mut self, floats: impl Iterator<Item = f32>) {
        floats.for_each(|x| self.bytes(&x.to_le_bytes()));
    }

    /// Floats of 16 bits, cut off.
    fn halves(&mut self, floats: impl Iterator<Item = f32>) {
        for float in floats {
            let bits = float.to_bits();
            let exponent = (bits >> 23 & 0xff) as i32 - 127 + 15;
            let half = (bits >> 16 & 0x8000) | (exponent as u32) << 10 | (bits >> 13 & 0x3ff);
            self.bytes(&(half as u16).to_le_bytes());
        }
    }

    fn skip(&mut self, length: usize) {
        self.hole += length;
    }

    /// The head of a tensor of numbers of this many bytes.
    fn tensor(&mut self, name: &str, sizes: &[usize], bytes: usize) {
        self.numbers(&[sizes.len() as i32, name.len() as i32, i32::from(bytes == 2)]);
        sizes.iter().for_each(|size| self.numbers(&[*size as i32]));
        self.bytes(name.as_bytes());
    }

    fn zeros(&mut self, name: &str, sizes: &[usize], bytes: usize) {
        self.tensor(name, sizes, bytes);
        self.skip(sizes.iter().product::<usize>() * bytes);
    }

    fn norm(&mut self, name: &str, state: usize) {
        self.tensor(&format!("{name}.weight"), &[state], 4);
        self.floats(std::iter::repeat_n(1.0, state));
        self.zeros(&format!("{name}.bias"), &[state], 4);
    }

    fn attention(&mut self, layer: &str, kind: &str, state: usize) {
        self.norm(&format!("{layer}.{kind}_ln"), state);
        for part in ["query", "key", "value", "out"] {
            let name = format!("{layer}.{kind}.{part}");
            self.zeros(&format!("{name}.weight"), &[state, state], 2);
            if part != "key" {
                self.zeros(&format!("{name}.bias"), &[state], 4);
            }
        }
    }

    fn feed_forward(&mut self, layer: &str, state: usize) {
        let wide = 4 * state;
        self.norm(&format!("{layer}.mlp_ln"), state);
        self.zeros(&format!("{layer}.mlp.0.weight"), &[state, wide], 2);
        self.zeros(&format!("{layer}.mlp.0.bias"), &[wide], 4);
        self.zeros(&format!("{layer}.mlp.2.weight"), &[wide, state], 2);
        self.zeros(&format!("{layer}.mlp.2.bias"), &[state], 4);
    }
}
