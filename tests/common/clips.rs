//! Real human speech (Debian package pocketsphinx-testdata) and what was said in it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const SPEECH: &str = "/usr/share/pocketsphinx/test/data";

/// One recording: 16 kHz, mono, 16 bits.
#[derive(Clone, Copy, Debug)]
pub struct Clip {
    path: &'static str,
    pub text: &'static str,
}

pub const GOFORWARD: Clip = Clip {
    path: "goforward.raw",
    text: "go forward ten meters",
};

/// The shortest: 1.1 s.
pub const TEN_OF_CLUBS: Clip = Clip {
    path: "cards/001.wav",
    text: "ten of clubs",
};

pub const SOMETHING: Clip = Clip {
    path: "something.raw",
    text: "go somewhere and do something",
};

/// All that the default engine hears without a mistake.
pub const CLIPS: [Clip; 7] = [
    GOFORWARD,
    TEN_OF_CLUBS,
    Clip {
        path: "cards/003.wav",
        text: "seven of clubs",
    },
    Clip {
        path: "cards/004.wav",
        text: "five five",
    },
    Clip {
        path: "cards/005.wav",
        text: "eight of spades four of clubs seven of hearts",
    },
    SOMETHING,
    Clip {
        path: "tidigits/dhd.2934z.raw",
        text: "two nine three four zero",
    },
];

/// Those in which it makes mistakes: most are sentences of a novel, read aloud.
pub const HARDER_CLIPS: [Clip; 6] = [
    Clip {
        path: "cards/002.wav",
        text: "four queen of clubs",
    },
    Clip {
        path: "librivox/sense_and_sensibility_01_austen_64kb-0870.wav",
        text: "and mister john dashwood had then leisure to consider how much there might be prudently in his power to do \
               for them",
    },
    Clip {
        path: "librivox/sense_and_sensibility_01_austen_64kb-0880.wav",
        text: "he was not an ill disposed young man",
    },
    Clip {
        path: "librivox/sense_and_sensibility_01_austen_64kb-0890.wav",
        text: "unless to be rather cold hearted and rather selfish is to be ill disposed",
    },
    Clip {
        path: "librivox/sense_and_sensibility_01_austen_64kb-0920.wav",
        text: "had he married a more amiable woman he might have been made still more respectable than he was",
    },
    Clip {
        path: "librivox/sense_and_sensibility_01_austen_64kb-0930.wav",
        text: "he might even have been made amiable himself",
    },
];

/// An encoding, as the name of a file shows it, and how ffmpeg is told to make it.
#[derive(Clone, Copy, Debug)]
pub struct Encoding {
    pub extension: &'static str,
    pub arguments: &'static str,
}

pub const ENCODINGS: [Encoding; 5] = [
    Encoding {
        extension: "flac",
        arguments: "-c:a flac",
    },
    Encoding {
        extension: "mp3",
        arguments: "-c:a libmp3lame -b:a 64k",
    },
    Encoding {
        extension: "ogg",
        arguments: "-c:a libvorbis -q:a 6",
    },
    Encoding {
        extension: "opus",
        arguments: "-c:a libopus -b:a 48k",
    },
    // At 48 and 64 kbit/s ffmpeg's encoder spoils one word of cards/005 ("for up close"), from 96
    // kbit/s on none.
    Encoding {
        extension: "m4a",
        arguments: "-c:a aac -b:a 128k",
    },
];

impl Clip {
    /// The samples, 16 bits each, low byte first.
    pub fn samples(&self) -> Vec<u8> {
        let path = Path::new(SPEECH).join(self.path);
        let bytes = fs::read(&path).unwrap_or_else(|error| {
            panic!("{}: {error}; install pocketsphinx-testdata", path.display())
        });
        if self.path.ends_with(".raw") {
            return bytes;
        }
        let data = bytes.windows(4).position(|four| four == b"data").unwrap();
        bytes[data + 8..].to_vec()
    }

    /// The clip in a WAV file.
    pub fn wav(&self) -> Vec<u8> {
        wav(&self.samples())
    }

    /// The clip in this encoding, made once.
    pub fn encoded(&self, encoding: Encoding) -> Vec<u8> {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("clips");
        fs::create_dir_all(&folder).unwrap();
        let name = format!("{}{}", self.path, encoding.arguments)
            .replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let path = folder.join(format!("{name}.{}", encoding.extension));
        if let Ok(bytes) = fs::read(&path) {
            return bytes;
        }
        // Other tests may be making the same file: each makes its own, and the last one is kept.
        let folder = tempfile::tempdir_in(&folder).unwrap();
        let [source, target] =
            ["a.wav".into(), format!("b.{}", encoding.extension)].map(|n| folder.path().join(n));
        fs::write(&source, self.wav()).unwrap();
        let output = Command::new("ffmpeg")
            .args(["-nostdin", "-loglevel", "error", "-i"])
            .arg(&source)
            .args(encoding.arguments.split_whitespace())
            .arg(&target)
            .output()
            .expect("install ffmpeg");
        assert!(output.status.success(), "{output:?}");
        fs::rename(&target, &path).unwrap();
        fs::read(&path).unwrap()
    }
}

/// A WAV file of 16 kHz, mono, 16 bits.
pub fn wav(samples: &[u8]) -> Vec<u8> {
    let length = u32::try_from(samples.len()).unwrap();
    let mut file = wav_header(length);
    file.extend(samples);
    file
}

/// The header of a WAV file that claims `length` bytes of samples.
pub fn wav_header(length: u32) -> Vec<u8> {
    let mut header = b"RIFF".to_vec();
    header.extend(length.saturating_add(36).to_le_bytes());
    header.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    header.extend(16_000u32.to_le_bytes());
    header.extend(32_000u32.to_le_bytes());
    header.extend(b"\x02\0\x10\0data");
    header.extend(length.to_le_bytes());
    header
}

/// A WAV file that takes an engine some ten seconds: long enough to do something to its job
/// meanwhile.
pub fn long() -> Vec<u8> {
    wav(&GOFORWARD.samples().repeat(12))
}

/// Bytes in which no part is like another; of one seed always the same.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ seed.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}

/// The samples of a clip, between so many seconds of silence.
pub fn speech(clip: &Clip, before: f64, after: f64) -> Vec<f64> {
    let samples = clip.samples();
    let samples = samples.as_chunks::<2>().0.iter();
    let samples = samples.map(|two| f64::from(i16::from_le_bytes(*two)));
    let pause = |seconds: f64| vec![0.0; (seconds * 16_000.0) as usize];
    let mut all: Vec<f64> = pause(before).into_iter().chain(samples).collect();
    all.extend(pause(after));
    all
}

/// A WAV file with these channels. Each is heard in all others, so much fainter.
pub fn recording(channels: &[Vec<f64>], crosstalk: f64) -> Vec<u8> {
    let frames = channels.iter().map(Vec::len).max().unwrap();
    let count = channels.len() as u16;
    let at = |channel: &Vec<f64>, n: usize| channel.get(n).copied().unwrap_or(0.0);
    let mut samples = Vec::new();
    for n in 0..frames {
        let all: f64 = channels.iter().map(|channel| at(channel, n)).sum();
        for channel in channels {
            let own = at(channel, n);
            let sample = own + crosstalk * (all - own);
            samples.extend((sample.clamp(-32_768.0, 32_767.0) as i16).to_le_bytes());
        }
    }
    let length = u32::try_from(samples.len()).unwrap();
    let mut file = b"RIFF".to_vec();
    file.extend((length + 36).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    file.extend(count.to_le_bytes());
    file.extend(16_000u32.to_le_bytes());
    file.extend((32_000 * u32::from(count)).to_le_bytes());
    file.extend((2 * count).to_le_bytes());
    file.extend(b"\x10\0data");
    file.extend(length.to_le_bytes());
    file.extend(samples);
    file
}

/// Two people on a line that lets a tenth through (−20 dB). The second one begins a second before
/// the first one ends.
pub fn call() -> Vec<u8> {
    let first = speech(&GOFORWARD, 0.0, 3.5);
    let begin = first.len() as f64 / 16_000.0 - 3.5 - 1.0;
    recording(&[first, speech(&SOMETHING, begin, 0.3)], 0.1)
}
