//! Recordings that are cut while they are spoken.

use super::speech_f32;
use crate::audio::{Keep, LiveCutter, Part, SAMPLE_RATE};

const RATE: usize = SAMPLE_RATE as usize;

/// A piece: its first sample, its length, and how much of the recording had come when its first and
/// its last samples were given.
#[derive(Debug, Default)]
struct Heard {
    start: usize,
    length: usize,
    first: usize,
    last: usize,
}

/// The pieces of a recording that comes in blocks of a tenth of a second.
fn pieces(recording: &[f32], keep: Keep) -> Vec<Heard> {
    let mut cutter = LiveCutter::new(keep);
    let (mut pieces, mut come, mut is_open) = (Vec::<Heard>::new(), 0, false);
    let blocks = recording.chunks(RATE / 10).map(Some).chain([None]);
    for block in blocks {
        match block {
            Some(block) => cutter.push(block),
            None => cutter.finish(),
        }
        come += block.map_or(0, <[f32]>::len);
        while let Some(part) = cutter.next_part() {
            match part {
                Part::Begin(start) => {
                    assert!(!is_open);
                    is_open = true;
                    let end = pieces.last().map_or(0, |piece| piece.start + piece.length);
                    assert!(start as usize >= end);
                    pieces.push(Heard {
                        start: start as usize,
                        ..Heard::default()
                    });
                }
                Part::Samples(samples) => {
                    let piece = pieces.last_mut().filter(|_| is_open).unwrap();
                    let at = piece.start + piece.length;
                    assert!(!samples.is_empty() && samples == recording[at..at + samples.len()]);
                    if piece.length == 0 {
                        piece.first = come;
                    }
                    piece.length += samples.len();
                    piece.last = come;
                    assert!(piece.length <= 30 * RATE);
                }
                Part::End => {
                    assert!(is_open);
                    is_open = false;
                }
            }
        }
    }
    assert!(!is_open && cutter.is_over());
    assert_eq!(cutter.position() as usize, recording.len());
    pieces
}

#[test]
fn a_sentence_is_given_while_it_is_spoken() {
    let speech = speech_f32();
    // It begins with half a second of silence.
    let recording = [&vec![0.0; 3 * RATE][..], &speech, &vec![0.0; 3 * RATE]].concat();
    let [piece] = &pieces(&recording, Keep::Speech)[..] else {
        panic!("not one piece");
    };
    assert!((2 * RATE..4 * RATE).contains(&piece.start), "{piece:?}");
    assert!(piece.length < speech.len() + RATE / 2, "{piece:?}");
    // At most half a second after it began.
    assert!(piece.first < piece.start + RATE * 5 / 4, "{piece:?}");
    assert!(
        piece.last <= piece.start + piece.length + RATE / 4,
        "{piece:?}"
    );
}

#[test]
fn pauses_end_pieces_and_short_ones_do_not() {
    let speech = speech_f32();
    let short = [&speech[..], &vec![0.0; RATE / 10], &speech].concat();
    assert_eq!(pieces(&speech, Keep::Speech).len(), 1);
    let long = [&speech[..], &vec![0.0; RATE], &speech].concat();
    assert_eq!(pieces(&long, Keep::Speech).len(), 2);
    assert!(pieces(&short, Keep::Speech).len() <= 2);
    assert_eq!(pieces(&vec![0.0; 5 * RATE], Keep::Speech).len(), 0);
    assert_eq!(pieces(&[], Keep::Speech).len(), 0);
}

#[test]
fn nothing_is_left_out_if_everything_is_kept() {
    let speech = speech_f32();
    let recording = [&vec![0.0; 2 * RATE][..], &speech].concat().repeat(10);
    let pieces = pieces(&recording, Keep::Everything);
    assert_eq!(
        pieces.iter().map(|piece| piece.length).sum::<usize>(),
        recording.len()
    );
    assert!(
        pieces.len() >= 2 && pieces[0].length > 20 * RATE,
        "{pieces:?}"
    );
}

#[test]
fn speech_without_a_pause_is_cut_after_thirty_seconds() {
    let speech = speech_f32();
    // The spoken part again and again.
    let spoken = speech[RATE / 2..speech.len() - RATE / 2].repeat(40);
    let pieces = pieces(&spoken, Keep::Speech);
    assert!(
        pieces.len() > 1 && pieces[0].length > 20 * RATE,
        "{pieces:?}"
    );
    let heard: usize = pieces.iter().map(|piece| piece.length).sum();
    assert!(heard > spoken.len() * 9 / 10, "{heard} of {}", spoken.len());
}
