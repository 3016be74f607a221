//! A transcript as subtitles: SubRip (`srt`) and WebVTT (`vtt`), one cue for each segment.

use super::Transcript;

/// A text on the screen with its start and end in milliseconds.
struct Cue {
    start: u128,
    end: u128,
    text: String,
}

impl Transcript {
    /// The transcript as a `.srt` file, for players.
    pub fn srt(&self) -> String {
        let mut file = String::new();
        for (number, cue) in (1..).zip(self.cues()) {
            let [start, end] = [cue.start, cue.end].map(|time| clock(time, ','));
            file += &format!("{number}\n{start} --> {end}\n{}\n\n", cue.text);
        }
        file
    }

    /// The transcript as a `.vtt` file, for browsers.
    pub fn vtt(&self) -> String {
        let mut file = String::from("WEBVTT\n\n");
        for cue in self.cues() {
            let [start, end] = [cue.start, cue.end].map(|time| clock(time, '.'));
            // Unescaped, these characters begin tags and character references, and an arrow would
            // make a line of times.
            let text = (cue.text.replace('&', "&amp;"))
                .replace('<', "&lt;")
                .replace('>', "&gt;");
            file += &format!("{start} --> {end}\n{text}\n\n");
        }
        file
    }

    /// One cue for each segment, in order of time. Each cue ends after it begins: WebVTT forbids
    /// even a cue of length zero. No cue lasts into the next one, unless both begin at the same
    /// time.
    fn cues(&self) -> impl Iterator<Item = Cue> {
        let starts = self.segments.iter().skip(1).map(|next| Some(next.start));
        let following = starts.chain([None]);
        self.segments.iter().zip(following).map(|(segment, next)| {
            let next = next.filter(|next| *next > segment.start);
            let end = next.map_or(segment.end, |next| next.min(segment.end));
            let start = segment.start.as_millis();
            // A blank line would end the cue.
            let words: Vec<&str> = segment.text.split_whitespace().collect();
            Cue {
                start,
                end: end.as_millis().max(start + 1),
                text: words.join(" "),
            }
        })
    }
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
    use crate::transcript::Segment;

    fn transcript(segments: &[(&str, u64, u64)]) -> Transcript {
        let segment = |(text, start, end): &(&str, u64, u64)| Segment {
            text: (*text).into(),
            start: Duration::from_millis(*start),
            end: Duration::from_millis(*end),
            words: vec![],
            decoding: None,
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
            transcript.srt(),
            "1\n00:00:00,000 --> 00:00:01,234\ngo forward\n\n\
             2\n100:45:23,456 --> 100:45:24,000\nten meters\n\n"
        );
        assert_eq!(
            transcript.vtt(),
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.234\ngo forward\n\n\
             100:45:23.456 --> 100:45:24.000\nten meters\n\n"
        );
    }

    #[test]
    fn silence_is_a_file_without_cues() {
        assert_eq!(Transcript::default().srt(), "");
        assert_eq!(Transcript::default().vtt(), "WEBVTT\n\n");
    }

    #[test]
    fn no_text_breaks_out_of_its_cue() {
        let transcript = transcript(&[("a\n\n2\n<i>b</i> & \t--> c", 0, 1)]);
        assert!(transcript.srt().ends_with("\na 2 <i>b</i> & --> c\n\n"));
        let escaped = "\na 2 &lt;i&gt;b&lt;/i&gt; &amp; --&gt; c\n\n";
        assert!(transcript.vtt().ends_with(escaped));
    }

    #[test]
    fn no_cue_is_empty_or_lasts_into_the_next() {
        let times = |segments| -> Vec<_> {
            let transcript = transcript(segments);
            transcript.cues().map(|cue| (cue.start, cue.end)).collect()
        };
        assert_eq!(times(&[("a", 0, 20), ("b", 10, 10)]), [(0, 10), (10, 11)]);
        assert_eq!(times(&[("a", 5, 20), ("b", 5, 30)]), [(5, 20), (5, 30)]);
    }
}
