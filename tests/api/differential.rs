//! Times of sound, against ffmpeg's: every container with every codec, whole, late, cut, with gaps,
//! with two tracks and damaged.
//!
//! Both decode the same file. The length and the first and last moment of speech must agree.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use stt_isolated::audio::{Decoder, Hint};
use tempfile::TempDir;

use crate::common::clips::GOFORWARD;

/// Greatest difference, in seconds.
const TOLERANCE: f64 = 0.02;

/// Extension, how the sound is coded, and the muxer's own arguments.
type Kind = (&'static str, &'static str, &'static str);

const KINDS: [Kind; 27] = [
    ("mp4", "-c:a aac -b:a 96k", ""),
    (
        "mp4",
        "-c:a aac -b:a 96k -ar 44100 -ac 2",
        "-movflags +faststart",
    ),
    ("mp4", "-c:a alac", ""),
    ("mp4", "-c:a libopus -b:a 48k", "-strict -2"),
    ("mp4", "-c:a flac", "-strict -2"),
    ("mp4", "-c:a libmp3lame -b:a 64k", ""),
    ("mp4", "-c:a aac -b:a 96k", FRAGMENTED),
    ("mp4", "-c:a libopus -b:a 48k", FRAGMENTED),
    ("mp4", "-c:a flac", FRAGMENTED),
    (
        "mp4",
        "-c:a aac -b:a 96k",
        "-movflags +dash+delay_moov -frag_duration 300000",
    ),
    ("m4a", "-c:a aac -b:a 64k -ar 48000", "-f ipod"),
    ("mov", "-c:a aac -b:a 96k", ""),
    ("mov", "-c:a pcm_s16le", ""),
    ("mov", "-c:a pcm_s24be -ar 48000 -ac 2", ""),
    ("mov", "-c:a alac", ""),
    ("3gp", "-c:a aac -b:a 96k", ""),
    ("mkv", "-c:a aac -b:a 96k", SHORT_CLUSTERS),
    ("mkv", "-c:a libopus -b:a 48k", SHORT_CLUSTERS),
    ("mkv", "-c:a libvorbis -q:a 6", SHORT_CLUSTERS),
    ("mkv", "-c:a flac", SHORT_CLUSTERS),
    ("mkv", "-c:a pcm_s16le", SHORT_CLUSTERS),
    ("mkv", "-c:a libmp3lame -b:a 64k", SHORT_CLUSTERS),
    ("webm", "-c:a libopus -b:a 48k", SHORT_CLUSTERS),
    ("webm", "-c:a libvorbis -q:a 6", "-live 1"),
    ("ogg", "-c:a libopus -b:a 48k", "-page_duration 200000"),
    ("ogg", "-c:a libvorbis -q:a 6", "-page_duration 200000"),
    ("ogg", "-c:a flac", "-page_duration 200000"),
];

/// Streams without a container, whose frames are only counted, and FLAC, which numbers them.
const STREAMS: [Kind; 3] = [
    ("flac", "-c:a flac", ""),
    ("mp3", "-c:a libmp3lame -b:a 64k", ""),
    ("aac", "-c:a aac -b:a 96k", ""),
];

const FRAMES_ONLY: [Fate; 3] = [Fate::Plain, Fate::Cut, Fate::Damaged];

/// Containers that are read by code of our own, whole and damaged.
const OTHERS: [Kind; 7] = [
    ("mp3", "-c:a libmp3lame -b:a 64k -write_xing 0", ""),
    ("mp2", "-c:a mp2 -b:a 384k -ar 44100", ""),
    ("wav", "-c:a libmp3lame -b:a 64k", ""),
    ("flv", "-c:a aac -b:a 96k", ""),
    ("avi", "-c:a libmp3lame -b:a 64k", ""),
    ("ts", "-c:a aac -b:a 96k", ""),
    ("caf", "-c:a alac", ""),
];

const WHOLE_OR_DAMAGED: [Fate; 2] = [Fate::Plain, Fate::Damaged];

/// Formats in which the time of lost bytes is estimated, within a frame of AAC.
const ESTIMATED: [&str; 4] = ["mp3", "mp2", "aac", "wav"];
const ESTIMATE: f64 = 0.07;

const FRAGMENTED: &str = "-strict -2 -movflags +frag_keyframe+empty_moov -frag_duration 300000";

const SHORT_CLUSTERS: &str = "-cluster_time_limit 300";

/// Treatment of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Plain,
    /// The sound starts 4.9 s after the picture.
    Late,
    /// The sound has no picture, and its time stamps start at 100 s.
    Offset,
    /// Its first 0.9 s and its end are cut away without coding it again.
    Cut,
    /// 0.7 s are missing, and the time stamps say so.
    Gap,
    /// The second of two tracks, which is the default.
    Second,
    /// A twentieth of the file, in its middle, is overwritten.
    Damaged,
}

const FATES: [Fate; 7] = [
    Fate::Plain,
    Fate::Late,
    Fate::Offset,
    Fate::Cut,
    Fate::Gap,
    Fate::Second,
    Fate::Damaged,
];

/// Cases in which the two may differ, and why.
const EXPLAINED: [(&str, &str, Fate, &str); 7] = [
    ("mp4", "+dash", Fate::Plain, FRAGMENTS),
    ("mp4", "+dash", Fate::Cut, FRAGMENTS),
    ("mp4", "+dash", Fate::Second, FRAGMENTS),
    ("mp4", "+dash", Fate::Damaged, FRAGMENTS),
    (
        "ogg",
        "opus",
        Fate::Cut,
        "ffmpeg plays what has a negative time",
    ),
    ("ogg", "flac", Fate::Cut, "ffmpeg does not trim FLAC's end"),
    ("mov", "pcm", Fate::Damaged, "no damage shows in PCM"),
];

/// Players leave out the priming of AAC where an edit list says so.
const FRAGMENTS: &str = "ffmpeg 5 ignores edit lists of fragmented files";

struct Case {
    kind: Kind,
    fate: Fate,
}

impl Case {
    fn name(&self) -> String {
        let (extension, codec, muxer) = self.kind;
        format!("{extension} {codec} {muxer} {:?}", self.fate)
    }

    fn explanation(&self) -> Option<&'static str> {
        let extension = self.kind.0;
        let codec = format!("{} {}", self.kind.1, self.kind.2);
        let mut all = EXPLAINED.iter();
        all.find(|(kind, part, fate, _)| {
            extension == *kind && codec.contains(part) && self.fate == *fate
        })
        .map(|row| row.3)
    }

    /// Overwrites a part of the file.
    fn damage(&self, path: &Path) {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        let len = bytes.len() / 20;
        for (number, byte) in bytes[middle..middle + len].iter_mut().enumerate() {
            *byte = (number * 7_919 % 251) as u8;
        }
        fs::write(path, bytes).unwrap();
    }

    /// Makes the file.
    fn make(&self, folder: &Path, number: usize) -> PathBuf {
        let (extension, codec, muxer) = self.kind;
        let path = folder.join(format!("{number}.{extension}"));
        let speech = "-f s16le -ar 16000 -ac 1 -i goforward.raw";
        let whole = format!("whole{number}.{extension}");
        let video = match extension {
            "webm" => "-c:v libvpx",
            "ogg" => "-c:v libtheora",
            _ => "-c:v mpeg4",
        };
        let picture = "-f lavfi -i color=c=black:s=64x64:r=5:d=9";
        let out = path.file_name().unwrap().to_str().unwrap();
        match self.fate {
            Fate::Plain | Fate::Damaged => {
                ffmpeg(folder, &format!("{speech} {codec} {muxer} {out}"));
            }
            Fate::Late => {
                let late = speech.replace("-i ", "-itsoffset 4.9 -i ");
                let maps = "-map 0:v -map 1:a";
                ffmpeg(
                    folder,
                    &format!("{picture} {late} {maps} {video} {codec} {muxer} {out}"),
                );
            }
            Fate::Offset => {
                let offset = "-output_ts_offset 100";
                ffmpeg(folder, &format!("{speech} {codec} {muxer} {offset} {out}"));
            }
            Fate::Cut => {
                ffmpeg(folder, &format!("{speech} {codec} {muxer} {whole}"));
                let cut = "-ss 0.9 -t 1.0";
                ffmpeg(folder, &format!("{cut} -i {whole} -c copy {muxer} {out}"));
            }
            Fate::Gap => {
                ffmpeg(folder, &format!("{speech} {codec} {muxer} {whole}"));
                let list = format!("file {whole}\nduration 5.5\nfile {whole}\n");
                fs::write(folder.join(format!("{number}.txt")), list).unwrap();
                ffmpeg(
                    folder,
                    &format!("-f concat -i {number}.txt -c copy {muxer} {out}"),
                );
            }
            Fate::Second => {
                let late = speech.replace("-i ", "-itsoffset 0.5 -i ");
                let other = "-f lavfi -i sine=f=440:r=16000:d=3";
                let maps = "-map 0:a -map 1:a -disposition:a:0 0 -disposition:a:1 default";
                ffmpeg(
                    folder,
                    &format!("{other} {late} {maps} {codec} {muxer} {out}"),
                );
            }
        }
        path
    }

    /// Number of the sound track that is heard, from 0. Ogg cannot say which is the default.
    fn track(&self) -> u8 {
        u8::from(self.fate == Fate::Second && self.kind.0 != "ogg")
    }
}

/// The samples as ffmpeg plays them.
fn reference(folder: &Path, path: &Path, track: u8) -> Vec<f32> {
    let name = path.display();
    let raw = path.with_extension("pcm");
    let filter = "-af aresample=async=1:first_pts=0";
    let arguments = format!("-i {name} -map 0:a:{track} {filter} -f s16le -ar 16000 -ac 1");
    ffmpeg(folder, &format!("{arguments} {}", raw.display()));
    let bytes = fs::read(raw).unwrap();
    let samples = bytes.chunks_exact(2);
    samples
        .map(|two| f32::from(i16::from_le_bytes([two[0], two[1]])) / 32_768.0)
        .collect()
}

fn ffmpeg(folder: &Path, arguments: &str) {
    let output = Command::new("ffmpeg")
        .current_dir(folder)
        .args(["-nostdin", "-v", "error", "-y", "-threads", "1"])
        .args(arguments.split_whitespace())
        .output()
        .expect("install ffmpeg");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ffmpeg {arguments}: {log}");
}

/// The samples as the service hears them, and its warnings.
fn ours(path: &Path) -> Result<(Vec<f32>, Vec<String>), String> {
    let file = File::open(path).unwrap();
    let mut decoder = Decoder::open(file, Hint::default()).map_err(|error| error.to_string())?;
    let mut samples = Vec::new();
    while let Some(block) = decoder.next_block().map_err(|error| error.to_string())? {
        samples.extend_from_slice(block);
    }
    Ok((samples, decoder.warnings()))
}

/// Length, first and last moment of speech, in seconds.
fn moments(samples: &[f32]) -> [f64; 3] {
    let step = 80;
    let loud: Vec<f32> = samples
        .chunks(step)
        .map(|chunk| (chunk.iter().map(|x| x * x).sum::<f32>() / chunk.len() as f32).sqrt())
        .collect();
    let loudest = loud.iter().copied().fold(0.0, f32::max);
    let is_speech = |level: &f32| *level > loudest / 8.0;
    let seconds = |steps: Option<usize>| steps.map_or(0.0, |steps| (steps * step) as f64 / 16e3);
    [
        samples.len() as f64 / 16e3,
        seconds(loud.iter().position(is_speech)),
        seconds(loud.iter().rposition(is_speech)),
    ]
}

/// One line of the table, and whether the two agree.
fn compare(case: &Case, folder: &Path, number: usize) -> (String, bool) {
    let path = case.make(folder, number);
    let theirs = moments(&reference(folder, &path, case.track()));
    if case.fate == Fate::Damaged {
        // The time line must hold, whatever becomes of the damaged part.
        case.damage(&path);
    }
    let show = |[length, first, last]: [f64; 3]| format!("{length:7.3} {first:7.3} {last:7.3}");
    let (text, agree) = match ours(&path) {
        Ok((samples, warnings)) => {
            let ours = moments(&samples);
            let near = |at: usize| (ours[at] - theirs[at]).abs() <= TOLERANCE + 1e-9;
            let agree = match case.fate {
                Fate::Damaged => {
                    let is_estimate = ESTIMATED.contains(&case.kind.0);
                    let apart = (ours[0] - theirs[0]).abs();
                    (near(0) || is_estimate && apart <= ESTIMATE) && !warnings.is_empty()
                }
                _ => (0..3).all(near),
            };
            (format!("{} {warnings:?}", show(ours)), agree)
        }
        Err(error) => (error, false),
    };
    let verdict = match (agree, case.explanation()) {
        (true, None) => "same",
        (true, Some(_)) => "NOT TRUE",
        (false, Some(reason)) => reason,
        (false, None) => "DIFFERENT",
    };
    let line = format!("{verdict:10} {}: {} | {text}", case.name(), show(theirs));
    // An explanation for what agrees is none.
    (line, agree == case.explanation().is_none())
}

#[test]
fn sound_is_where_ffmpeg_plays_it() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("goforward.raw"), GOFORWARD.samples()).unwrap();
    let streams = FRAMES_ONLY.iter().flat_map(|fate| {
        STREAMS.iter().map(|kind| Case {
            kind: *kind,
            fate: *fate,
        })
    });
    let cases: Vec<Case> = FATES
        .iter()
        .flat_map(|fate| {
            KINDS.iter().map(|kind| Case {
                kind: *kind,
                fate: *fate,
            })
        })
        .chain(streams)
        .chain(WHOLE_OR_DAMAGED.iter().flat_map(|fate| {
            OTHERS.iter().map(|kind| Case {
                kind: *kind,
                fate: *fate,
            })
        }))
        .collect();
    let next = AtomicUsize::new(0);
    let lines = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { break };
                    let line = compare(case, folder.path(), number);
                    lines.lock().unwrap().push((number, line));
                }
            });
        }
    });
    let mut lines = lines.into_inner().unwrap();
    lines.sort();
    lines.iter().for_each(|(_, (line, _))| println!("{line}"));
    let bad = lines.iter().filter(|(_, (_, agree))| !agree).count();
    assert_eq!(lines.len(), cases.len());
    assert_eq!(bad, 0, "of {} cases: see the table", cases.len());
}

#[test]
fn compressed_tracks_are_inflated() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("goforward.raw"), GOFORWARD.samples()).unwrap();
    let speech = "-f s16le -ar 16000 -ac 1 -i goforward.raw";
    for (extension, codec) in [
        ("wav", "-c:a pcm_s16le"),
        ("mp3", "-c:a libmp3lame"),
        ("opus", "-c:a libopus"),
        ("flac", "-c:a flac"),
    ] {
        let source = format!("source.{extension}");
        ffmpeg(folder.path(), &format!("{speech} {codec} {source}"));
        let [plain, packed] = ["none", "zlib"].map(|compression| {
            let output = Command::new("mkvmerge")
                .current_dir(folder.path())
                .args(["-q", "--compression", &format!("0:{compression}")])
                .args(["-o", "made.mka", &source])
                .output()
                .expect("install mkvtoolnix");
            assert!(output.status.success(), "{output:?}");
            ours(&folder.path().join("made.mka")).unwrap()
        });
        assert!(plain == packed, "{extension}: {:?}", packed.1);
        let theirs = moments(&reference(
            folder.path(),
            &folder.path().join("made.mka"),
            0,
        ));
        let pairs = moments(&plain.0).into_iter().zip(theirs);
        let apart = pairs.map(|(ours, theirs)| (ours - theirs).abs());
        assert!(apart.fold(0.0, f64::max) <= TOLERANCE + 1e-9, "{extension}");
        assert_eq!(plain.1, [""; 0], "{extension}");
    }
}
