//! Long recordings in pieces: only speech is found, and every sample keeps its place.

use std::f32::consts::TAU;

use super::*;
use crate::audio::{Cutter, Keep, Piece, SAMPLE_RATE};

const RATE: usize = SAMPLE_RATE as usize;

fn pieces(samples: &[f32], keep: Keep) -> Vec<Piece> {
    pieces_of(Cutter::new(keep), samples)
}

/// Pieces of a recording that comes in blocks of an awkward length.
fn pieces_of(mut cutter: Cutter, samples: &[f32]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for block in samples.chunks(3_777) {
        cutter.push(block);
        pieces.extend(std::iter::from_fn(|| cutter.next_piece()));
    }
    cutter.finish();
    pieces.extend(std::iter::from_fn(|| cutter.next_piece()));
    assert_eq!(cutter.next_piece(), None);
    // Pieces are in order, do not overlap, are not too long, and hold the samples of their place.
    let mut end = 0;
    for Piece {
        start,
        samples: own,
    } in &pieces
    {
        let start = *start as usize;
        assert!(start >= end && (1..=30 * RATE).contains(&own.len()));
        end = start + own.len();
        assert!(own[..] == samples[start..end]);
    }
    pieces
}

fn speech_pieces(samples: &[f32]) -> Vec<Piece> {
    pieces(samples, Keep::Speech)
}

/// `seconds` seconds of a sound, given as a function of the time in seconds.
fn sound(seconds: usize, at: impl Fn(f32) -> f32) -> Vec<f32> {
    let samples = 0..seconds * RATE;
    samples.map(|n| at(n as f32 / RATE as f32)).collect()
}

/// A melody of plucked strings with inharmonic overtones, like a piano's.
fn piano(seconds: usize) -> Vec<f32> {
    let notes = [60, 64, 67, 72, 71, 67, 65, 62, 59, 62, 65, 69];
    let step = RATE * 3 / 10;
    sound(seconds, |_| 0.0)
        .iter()
        .enumerate()
        .map(|(n, _)| {
            let played = |back: usize| {
                let at = (n / step).checked_sub(back)?;
                let time = (n - at * step) as f32 / RATE as f32;
                let hertz = 440.0 * ((notes[at % notes.len()] as f32 - 69.0) / 12.0).exp2();
                let overtone = |k: f32| {
                    let stretched = k * hertz * (1.0 + 4e-4 * k * k).sqrt();
                    (TAU * stretched * time).sin() * (-(1.5 + 0.6 * k) * time).exp() / k
                };
                Some((1..=8).map(|k| overtone(k as f32)).sum::<f32>())
            };
            // Each note sounds on while the next ones are struck.
            0.2 * (0..4).filter_map(played).sum::<f32>()
        })
        .collect()
}

fn white_noise(seconds: usize, amplitude: f32) -> Vec<f32> {
    let mut state = 1_u32;
    sound(seconds, |_| 0.0)
        .into_iter()
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            amplitude * ((state >> 16) as f32 / 32_768.0 - 1.0)
        })
        .collect()
}

fn silence(seconds: usize) -> Vec<f32> {
    vec![0.0; seconds * RATE]
}

#[test]
fn a_short_recording_is_cut_only_where_nobody_speaks_for_long() {
    let speech = speech_f32();
    let whole = |recording: &[f32]| {
        let pieces = speech_pieces(recording);
        assert_eq!(pieces.len(), 1);
        assert!(pieces[0].start == 0 && pieces[0].samples == recording);
    };
    whole(&speech);
    whole(
        &[
            silence(2),
            speech.clone(),
            silence(1),
            speech.clone(),
            silence(2),
        ]
        .concat(),
    );
    // Silence and music of some seconds would become words, and subtitles would stay over them.
    for quiet in [silence(10), piano(10)] {
        let recording = [&quiet[..], &speech, &quiet, &speech].concat();
        let pieces = speech_pieces(&recording);
        assert_eq!(pieces.len(), 2);
        for (piece, start) in pieces
            .iter()
            .zip([quiet.len(), 2 * quiet.len() + speech.len()])
        {
            let near = start..start + RATE / 2;
            assert!(near.contains(&(piece.start as usize)), "{}", piece.start);
            assert!(piece.samples.len() < speech.len() + RATE);
        }
    }
}

#[test]
fn long_pieces_have_pauses_in_them_but_no_long_ones() {
    let speech = speech_f32();
    let after = |pause: usize| [&speech[..], &silence(pause)].concat();
    // Three sentences, a long pause, and more sentences than one piece can hold.
    let recording = [after(1), after(1), after(5), after(1).repeat(10)].concat();
    let long = pieces_of(Cutter::new(Keep::Speech).long(), &recording);
    assert_eq!(pieces(&recording, Keep::Speech).len(), 13);
    assert_eq!(
        long.len(),
        3,
        "{:?}",
        long.iter().map(|p| p.start).collect::<Vec<_>>()
    );
    let rest = recording.len() - after(1).len() * 10;
    assert!(long[1].start as usize > rest - RATE && long[1].samples.len() > 22 * RATE);
}

#[test]
fn faint_loud_and_noisy_speech_is_speech() {
    for gain in [0.003, 0.01, 0.1, 1.0, 30.0] {
        let speech = speech_f32();
        // Rounded to 16 bits, which changes faint sounds.
        let scale = |sample: &f32| (sample * gain * 32_768.0).round() / 32_768.0;
        let scaled: Vec<f32> = speech.iter().map(|s| scale(s).clamp(-1.0, 1.0)).collect();
        assert_eq!(speech_pieces(&scaled).len(), 1, "{gain} times as loud");
    }
    for other in [white_noise(3, 0.01), piano(3), vec![0.2; 3 * RATE]] {
        let pairs = speech_f32().into_iter().zip(other);
        // As loud as goforward, whose loud parts are at −24 dB, and 10 dB less.
        let mixed: Vec<f32> = pairs.map(|(a, b)| a + 0.3 * b).collect();
        assert_eq!(speech_pieces(&mixed).len(), 1);
    }
}

#[test]
fn speech_on_an_offset_is_speech() {
    // Each 17 dB below the offset, as faulty sound cards record it.
    for offset in [0.02, -0.3] {
        let gain = 0.14 * f32::abs(offset);
        let loud = speech_f32()
            .into_iter()
            .map(|sample| offset + gain * 3.0 * sample);
        assert_eq!(
            speech_pieces(&loud.collect::<Vec<_>>()).len(),
            1,
            "{offset}"
        );
    }
}

#[test]
fn a_faint_speaker_is_heard_after_a_loud_one() {
    let loud = speech_f32();
    let faint: Vec<f32> = loud.iter().map(|sample| sample * 0.05).collect();
    // For a minute both speak in turn, the second 26 dB fainter, with pauses of a second.
    let turn = [&loud[..], &silence(1), &faint, &silence(1)].concat();
    let recording = turn.repeat(8);
    let pieces = speech_pieces(&recording);
    let starts: Vec<usize> = pieces.iter().map(|piece| piece.start as usize).collect();
    assert_eq!(pieces.len(), 16, "{starts:?}");
}

#[test]
fn what_is_no_speech_makes_no_piece() {
    let sine = |hertz: f32, time: f32| (TAU * hertz * time).sin();
    for seconds in [1, 25, 45] {
        let sounds = [
            ("silence", silence(seconds)),
            ("faint noise", white_noise(seconds, 0.0001)),
            ("noise", white_noise(seconds, 0.05)),
            ("loud noise", white_noise(seconds, 1.0)),
            ("piano", piano(seconds)),
            ("tone", sound(seconds, |time| 0.5 * sine(440.0, time))),
            (
                "hum",
                sound(seconds, |time| {
                    0.2 * sine(50.0, time) + 0.1 * sine(100.0, time) + 0.05 * sine(150.0, time)
                }),
            ),
            (
                "chord",
                sound(seconds, |time| {
                    let notes = [261.6, 329.6, 392.0, 523.2];
                    notes.map(|hertz| 0.1 * sine(hertz, time)).iter().sum()
                }),
            ),
            (
                "sweep",
                sound(seconds, |time| {
                    0.5 * sine(50.0 + 800.0 * (time % 4.0), time % 4.0)
                }),
            ),
            (
                "dialling",
                sound(seconds, |time| {
                    let on = f32::from(time % 0.2 < 0.1);
                    on * 0.3 * (sine(697.0, time) + sine(1_209.0, time))
                }),
            ),
        ];
        for (what, sound) in sounds {
            assert_eq!(speech_pieces(&sound), [], "{what}, {seconds} s");
        }
    }
}

#[test]
fn a_long_recording_is_cut_at_its_pauses() {
    let speech = speech_f32();
    let mut recording = silence(10);
    let mut starts = Vec::new();
    for pause in [2, 1, 40, 3, 7] {
        starts.push(recording.len());
        recording.extend(&speech);
        recording.extend(silence(pause));
    }
    let pieces = speech_pieces(&recording);
    assert_eq!(pieces.len(), starts.len());
    for (piece, start) in pieces.iter().zip(starts) {
        // The words last from 0.46 to 2.12 s of the clip.
        let (words, end) = (start + RATE * 46 / 100, start + RATE * 212 / 100);
        let first = piece.start as usize;
        let last = first + piece.samples.len();
        assert!(
            first <= words - RATE / 5 && first + RATE >= words,
            "{first} for {words}"
        );
        assert!(
            last >= end + RATE / 5 && last <= end + RATE,
            "{last} for {end}"
        );
    }
}

#[test]
fn speech_without_a_pause_is_cut_where_it_is_quietest() {
    // The loudest second repeated, with one place that is a little quieter.
    let words = &speech_f32()[RATE * 6 / 10..RATE * 16 / 10];
    let mut recording = words.repeat(40);
    let quiet = 25 * RATE..25 * RATE + RATE / 4;
    recording[quiet.clone()]
        .iter_mut()
        .for_each(|sample| *sample *= 0.05);
    let pieces = speech_pieces(&recording);
    assert_eq!(pieces.len(), 2);
    let cut = pieces[1].start as usize;
    assert!(quiet.contains(&cut), "{cut}");
    assert_eq!(pieces[0].start as usize + pieces[0].samples.len(), cut);
    let end = cut + pieces[1].samples.len();
    assert!(recording.len() - end < RATE / 2, "{end}");
}

#[test]
fn everything_is_kept_if_asked_for() {
    for seconds in [1, 30, 31, 100] {
        let recording = white_noise(seconds, 0.1);
        let pieces = pieces(&recording, Keep::Everything);
        assert_eq!(pieces.len(), seconds.div_ceil(30));
        let kept: Vec<f32> = pieces.into_iter().flat_map(|piece| piece.samples).collect();
        assert!(kept == recording);
    }
}

#[test]
fn recordings_of_any_length_are_cut() {
    assert_eq!(speech_pieces(&[]), []);
    for samples in [1, 511, 512, 513, 30 * RATE - 1, 30 * RATE, 30 * RATE + 1] {
        assert_eq!(speech_pieces(&vec![0.0; samples]), [], "{samples}");
        let speech = speech_f32();
        let recording: Vec<f32> = speech.iter().copied().cycle().take(samples).collect();
        let pieces = speech_pieces(&recording);
        assert_eq!(pieces.is_empty(), samples <= 513, "{samples}");
    }
}
