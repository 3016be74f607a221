//! A transcript as subtitles: SubRip (`srt`) and WebVTT (`vtt`), in cues of a few lines.

use std::{collections::BTreeMap, time::Duration};

use super::{Segment, Transcript, script::is_unspaced};

/// Longest time of a cue, in milliseconds: the rule of most guides for subtitles.
const LONGEST: u128 = 7_000;

/// Pause between two words that ends a cue, in milliseconds: that which ends a sentence elsewhere.
const PAUSE: u128 = 700;

/// Size of a cue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Largest number of characters in a line; only a longer word has more.
    pub width: u16,
    /// Largest number of lines in a cue.
    pub count: u16,
}

impl Default for Lines {
    /// Two lines of 42 characters, as most guides for subtitles have them.
    fn default() -> Self {
        Self {
            width: 42,
            count: 2,
        }
    }
}

/// A text on the screen with its start and end in milliseconds.
struct Cue<'a> {
    start: u128,
    end: u128,
    lines: Vec<String>,
    speaker: Option<&'a str>,
}

/// A word, or a letter of a script without spaces, with its marks.
struct Unit<'a> {
    text: &'a str,
    /// True if a space precedes it.
    is_spaced: bool,
    start: u128,
    end: u128,
}

impl Transcript {
    /// The transcript as a `.srt` file, for players. A known speaker's name precedes each cue.
    pub fn srt(&self, lines: Lines) -> String {
        let mut file = String::new();
        for (number, cue) in (1..).zip(self.cues(lines, true)) {
            let [start, end] = [cue.start, cue.end].map(|time| clock(time, ','));
            file += &format!("{number}\n{start} --> {end}\n{}\n\n", cue.lines.join("\n"));
        }
        file
    }

    /// The transcript as a `.vtt` file, for browsers.
    pub fn vtt(&self, lines: Lines) -> String {
        let mut file = String::from("WEBVTT\n\n");
        for cue in self.cues(lines, false) {
            let [start, end] = [cue.start, cue.end].map(|time| clock(time, '.'));
            let text = escaped(&cue.lines.join("\n"));
            let voice = cue.speaker.map(|name| format!("<v {}>", escaped(name)));
            let voice = voice.unwrap_or_default();
            file += &format!("{start} --> {end}\n{voice}{text}\n\n");
        }
        file
    }

    /// The cues in order of time: one or more for each segment, cut at its pauses. Each ends after
    /// it begins, because WebVTT forbids even a cue of length zero, and before the next one of the
    /// same speaker begins. With `naming`, the names of speakers are a part of the text.
    fn cues(&self, lines: Lines, naming: bool) -> Vec<Cue<'_>> {
        let mut cues: Vec<Cue<'_>> = Vec::new();
        for segment in &self.segments {
            let first = cues.len();
            let speaker = segment.speaker.as_deref();
            let named = |text: &str| match speaker.filter(|_| naming) {
                Some(name) => format!("{name}: {text}"),
                None => text.to_owned(),
            };
            for unit in units(segment) {
                let open = cues.len() > first;
                match cues.last_mut().filter(|_| open) {
                    Some(cue) if cue.takes(&unit, lines) => cue.add(&unit, lines),
                    _ => cues.push(Cue {
                        start: unit.start,
                        end: unit.end,
                        lines: vec![named(unit.text)],
                        speaker,
                    }),
                }
            }
        }
        // Where the cue behind each one of the same speaker begins.
        let mut begins: BTreeMap<Option<&str>, u128> = BTreeMap::new();
        let next = cues.iter().rev();
        let next = next.map(|cue| begins.insert(cue.speaker, cue.start));
        let next: Vec<Option<u128>> = next.collect();
        let mut free: BTreeMap<Option<&str>, u128> = BTreeMap::new();
        for (cue, next) in cues.iter_mut().zip(next.into_iter().rev()) {
            let Cue { start, end, .. } = cue;
            let free = free.entry(cue.speaker).or_default();
            *start = (*free).max(*start);
            *end = (*end).min(next.filter(|next| *next > *start).unwrap_or(*end));
            *end = (*end).clamp(*start + 1, *start + LONGEST);
            *free = *end;
        }
        // People interrupt each other: a cue may begin before the last one of somebody else.
        cues.sort_by_key(|cue| cue.start);
        cues
    }
}

/// A text for WebVTT. Unescaped, these characters begin tags and character references, and an
/// arrow would make a line of times.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;")
}

impl Cue<'_> {
    /// True if the word belongs to this cue and has room in it.
    fn takes(&self, unit: &Unit<'_>, lines: Lines) -> bool {
        let has_room = self.lines.len() < lines.count.into() || self.has_line_for(unit, lines);
        let pause = unit.start.saturating_sub(self.end);
        has_room && pause < PAUSE && unit.end.saturating_sub(self.start) <= LONGEST
    }

    fn has_line_for(&self, unit: &Unit<'_>, lines: Lines) -> bool {
        let used = self.lines.last().map_or(0, |line| line.chars().count());
        used + usize::from(unit.is_spaced) + unit.text.chars().count() <= lines.width.into()
    }

    fn add(&mut self, unit: &Unit<'_>, lines: Lines) {
        let fits = self.has_line_for(unit, lines);
        match self.lines.last_mut().filter(|_| fits) {
            Some(line) => {
                if unit.is_spaced {
                    line.push(' ');
                }
                line.push_str(unit.text);
            }
            None => self.lines.push(unit.text.to_owned()),
        }
        self.end = self.end.max(unit.end);
    }
}

/// The words of a segment with their times. If the engine's words are not those of the text, the
/// segment's time is divided among the characters.
fn units(segment: &Segment) -> Vec<Unit<'_>> {
    let texts: Vec<&str> = segment.text.split_whitespace().collect();
    if texts.len() == segment.words.len() {
        let pairs = texts.into_iter().zip(&segment.words);
        let pairs = pairs.map(|(text, word)| unit(text, true, word.start, word.end));
        return pairs.collect();
    }
    if let Some(units) = found(segment) {
        return units;
    }
    let letters: Vec<(&str, bool)> = texts.into_iter().flat_map(letters).collect();
    let count = |text: &str| text.chars().count() as u32;
    let all = letters
        .iter()
        .map(|(text, _)| count(text))
        .sum::<u32>()
        .max(1);
    let length = segment.end.saturating_sub(segment.start);
    let mut before = 0;
    let place = letters.into_iter().map(|(text, is_spaced)| {
        let start = segment.start + length.mul_f64(f64::from(before) / f64::from(all));
        before += count(text);
        let end = segment.start + length.mul_f64(f64::from(before) / f64::from(all));
        unit(text, is_spaced, start, end)
    });
    place.collect()
}

fn unit(text: &str, is_spaced: bool, start: Duration, end: Duration) -> Unit<'_> {
    Unit {
        text,
        is_spaced,
        start: start.as_millis(),
        end: end.as_millis(),
    }
}

/// The words of a segment where they stand in its text, each with what follows up to the next one;
/// `None` if some word is not in the text, or is none that can stand in a line.
fn found(segment: &Segment) -> Option<Vec<Unit<'_>>> {
    let text = segment.text.as_str();
    let mut starts = Vec::new();
    let mut from = 0;
    for word in &segment.words {
        let at = from + text.get(from..)?.find(word.text.as_str())?;
        starts.push(at);
        from = at + word.text.len();
    }
    *starts.first_mut()? = 0;
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let places = starts.iter().zip(ends).zip(&segment.words);
    let units = places.map(|((start, end), word)| {
        let is_spaced = text[..*start].ends_with(char::is_whitespace);
        let own = text[*start..end].trim();
        let is_line = !own.is_empty() && !own.contains(|c: char| c.is_whitespace() && c != ' ');
        is_line.then(|| unit(own, is_spaced, word.start, word.end))
    });
    units.collect()
}

/// A word in parts between which a line may end: letters of scripts without spaces, each with the
/// marks behind it. The first part has a space before it.
fn letters(word: &str) -> Vec<(&str, bool)> {
    let mut parts = Vec::new();
    let mut from = 0;
    for (at, c) in word.char_indices().skip(1) {
        if is_unspaced(c) && c.is_alphabetic() {
            parts.push((&word[from..at], from == 0));
            from = at;
        }
    }
    parts.push((&word[from..], from == 0));
    parts
}

/// `01:02:03`, then `point` and the milliseconds.
fn clock(milliseconds: u128, point: char) -> String {
    let (seconds, rest) = (milliseconds / 1000, milliseconds % 1000);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    format!(
        "{hours:02}:{:02}:{:02}{point}{rest:03}",
        minutes % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::transcript::Word;

    fn transcript(segments: &[(&str, u64, u64)]) -> Transcript {
        let segment = |(text, start, end): &(&str, u64, u64)| Segment {
            text: (*text).into(),
            start: Duration::from_millis(*start),
            end: Duration::from_millis(*end),
            words: vec![],
            decoding: None,
            speaker: None,
        };
        Transcript {
            segments: segments.iter().map(segment).collect(),
            duration: Duration::from_secs(400_000),
            languages: Vec::new(),
        }
    }

    #[test]
    fn cues_have_numbers_and_times_up_to_hundreds_of_hours() {
        let transcript = transcript(&[
            ("go forward", 0, 1234),
            ("ten meters", 362_723_456, 362_724_000),
        ]);
        assert_eq!(
            transcript.srt(Lines::default()),
            "1\n00:00:00,000 --> 00:00:01,234\ngo forward\n\n\
             2\n100:45:23,456 --> 100:45:24,000\nten meters\n\n"
        );
        assert_eq!(
            transcript.vtt(Lines::default()),
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.234\ngo forward\n\n\
             100:45:23.456 --> 100:45:24.000\nten meters\n\n"
        );
    }

    #[test]
    fn silence_is_a_file_without_cues() {
        assert_eq!(Transcript::default().srt(Lines::default()), "");
        assert_eq!(Transcript::default().vtt(Lines::default()), "WEBVTT\n\n");
    }

    #[test]
    fn no_text_breaks_out_of_its_cue() {
        let transcript = transcript(&[("a\n\n2\n<i>b</i> & \t--> c", 0, 1)]);
        assert!(
            transcript
                .srt(Lines::default())
                .ends_with("\na 2 <i>b</i> & --> c\n\n")
        );
        let escaped = "\na 2 &lt;i&gt;b&lt;/i&gt; &amp; --&gt; c\n\n";
        assert!(transcript.vtt(Lines::default()).ends_with(escaped));
    }

    #[test]
    fn no_cue_is_empty_or_lasts_into_the_next() {
        let times = |segments| -> Vec<_> {
            let transcript = transcript(segments);
            let cues = transcript.cues(Lines::default(), true);
            cues.iter().map(|cue| (cue.start, cue.end)).collect()
        };
        assert_eq!(times(&[("a", 0, 20), ("b", 10, 10)]), [(0, 10), (10, 11)]);
        assert_eq!(times(&[("a", 5, 20), ("b", 5, 30)]), [(5, 20), (20, 30)]);
    }

    /// A segment whose words last 300 ms each and begin at these times.
    fn spoken(text: &str, words: &[(&str, u64)]) -> Transcript {
        let at = Duration::from_millis;
        let words = words.iter().map(|(text, start)| Word {
            text: (*text).into(),
            start: at(*start),
            end: at(*start + 300),
            confidence: None,
        });
        let words: Vec<Word> = words.collect();
        let (start, end) = (words[0].start, words[words.len() - 1].end);
        Transcript {
            segments: vec![Segment {
                text: text.into(),
                start,
                end,
                words,
                decoding: None,
                speaker: None,
            }],
            ..Transcript::default()
        }
    }

    fn shown(transcript: &Transcript, width: u16, count: u16) -> Vec<(u128, u128, String)> {
        let cues = transcript.cues(Lines { width, count }, true);
        let shown = cues
            .iter()
            .map(|cue| (cue.start, cue.end, cue.lines.join("|")));
        shown.collect()
    }

    #[test]
    fn no_cue_stays_over_a_pause() {
        let words = [
            ("go", 0),
            ("forward", 300),
            ("ten", 20_000),
            ("meters", 20_400),
        ];
        let transcript = spoken("Go forward, ten meters.", &words);
        assert_eq!(
            shown(&transcript, 42, 2),
            [
                (0, 600, "Go forward,".into()),
                (20_000, 20_700, "ten meters.".into())
            ]
        );
    }

    #[test]
    fn cues_are_as_wide_high_and_long_as_allowed() {
        let words: Vec<String> = (0..60).map(|n| format!("word{n}")).collect();
        let times = words
            .iter()
            .zip(0..)
            .map(|(word, n)| (word.as_str(), n * 500));
        let transcript = spoken(&words.join(" "), &times.collect::<Vec<_>>());
        for (width, count) in [(42, 2), (20, 1), (1, 3), (1_000, 9)] {
            let cues = shown(&transcript, width, count);
            let said: Vec<&str> = cues
                .iter()
                .flat_map(|cue| cue.2.split(['|', ' ']))
                .collect();
            assert_eq!(said, words);
            for (start, end, text) in &cues {
                assert!(end - start <= LONGEST);
                assert!(text.split('|').count() <= count.into());
                let longest = text.split('|').map(str::len).max().unwrap();
                assert!(longest <= usize::from(width).max("word59".len()));
            }
            assert!(cues.windows(2).all(|two| two[0].1 <= two[1].0));
        }
    }

    #[test]
    fn people_who_interrupt_each_other_have_cues_at_the_same_time() {
        let mut both = transcript(&[
            ("one two three four five six", 0, 6_000),
            ("a < b", 1_000, 2_000),
            ("seven", 6_000, 7_000),
        ]);
        for (segment, name) in both.segments.iter_mut().zip(["Ann", "Bob & Co", "Ann"]) {
            segment.speaker = Some(name.into());
        }
        let real = shown(&both, 14, 2);
        let texts: Vec<&str> = real.iter().map(|cue| cue.2.as_str()).collect();
        assert!(texts[0].starts_with("Ann: one"), "{texts:?}");
        assert!(texts[1].starts_with("Bob & Co: a"), "{texts:?}");
        assert_eq!(texts.last(), Some(&"Ann: seven"));
        assert!(real.iter().map(|cue| cue.0).is_sorted(), "{real:?}");
        let ann = real.iter().filter(|cue| cue.2.starts_with("Ann"));
        let ann: Vec<_> = ann.collect();
        assert!(ann.windows(2).all(|two| two[0].1 <= two[1].0), "{real:?}");
        let vtt = both.vtt(Lines::default());
        assert!(vtt.contains("\n<v Bob &amp; Co>a &lt; b\n"), "{vtt}");
    }

    #[test]
    fn a_text_without_spaces_or_without_times_is_divided() {
        let words = [("今天", 0), ("天气", 300), ("很好", 5_000)];
        let cues = shown(&spoken("今天天气，很好。", &words), 42, 2);
        assert_eq!(cues[0], (0, 600, "今天天气，".into()));
        assert_eq!(cues[1], (5_000, 5_300, "很好。".into()));
        let long = transcript(&[("很好的天气，今天的天气", 0, 11_000)]);
        let cues = shown(&long, 4, 1);
        let texts: Vec<&str> = cues.iter().map(|cue| cue.2.as_str()).collect();
        assert_eq!(texts, ["很好的天", "气，今天", "的天气"]);
        assert_eq!((cues[0].1, cues[2].1), (4_000, 11_000));
    }
}
