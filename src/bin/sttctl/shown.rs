//! Names of files and words of transcripts, made fit for a terminal: nothing in them can steer it,
//! or forge a line.

use std::{fmt::Write, os::unix::ffi::OsStrExt, path::Path};

use console::measure_text_width;

/// A file's name on one line. Control characters, characters that hide or reverse others, and bytes
/// that are no text appear as `\n`, `\u001b` and `\xff`, and a backslash is doubled.
pub fn name(name: &Path) -> String {
    let mut shown = String::new();
    for chunk in name.as_os_str().as_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => shown.push_str("\\\\"),
                '\n' => shown.push_str("\\n"),
                '\r' => shown.push_str("\\r"),
                '\t' => shown.push_str("\\t"),
                c if c.is_control() || hides(c) => escape(&mut shown, c),
                c => shown.push(c),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

/// The end of a name in at most `width` columns.
pub fn short(name: &Path, width: usize) -> String {
    let whole = self::name(name);
    if measure_text_width(&whole) <= width {
        return whole;
    }
    let fits = |rest: &str| measure_text_width(rest) < width;
    let rest = whole.char_indices().map(|(at, _)| whole.split_at(at).1);
    let rest = rest.into_iter().find(|rest| fits(rest));
    format!("…{}", rest.unwrap_or_default())
}

/// Words for a terminal: control characters other than line ends and tabs appear as `\u001b`, which
/// means the same within JSON.
pub fn words(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(bytes).chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            c if c.is_control() => escape(&mut shown, c),
            c => shown.push(c),
        }
    }
    shown
}

/// All these characters have at most four hexadecimal digits.
fn escape(shown: &mut String, c: char) {
    let _ = write!(shown, "\\u{:04x}", u32::from(c));
}

/// Whether the character changes the direction of others, or is a line end or mark without width.
/// Joiners are not among these: some scripts cannot be written without them.
fn hides(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn named(bytes: &[u8]) -> String {
        name(Path::new(OsStr::from_bytes(bytes)))
    }

    #[test]
    fn a_name_is_one_line_that_steers_nothing() {
        assert_eq!(named(b"a\x1b[2J\nb: forged"), "a\\u001b[2J\\nb: forged");
        assert_eq!(named(b"\xff\xfe.wav"), "\\xff\\xfe.wav");
        assert_eq!(named(b"a\\n.wav"), "a\\\\n.wav");
        assert_eq!(
            named("\u{202e}vaw.\u{9b}1m\u{200b}".as_bytes()),
            "\\u202evaw.\\u009b1m\\u200b"
        );
        // Decomposed letters, joined emoji and other scripts stay as they are.
        for kept in [
            "e\u{301}.wav",
            "👩\u{200d}💻.wav",
            "音声 может.wav",
            "-x.wav",
        ] {
            assert_eq!(named(kept.as_bytes()), kept);
        }
        for byte in 0..=u8::MAX {
            assert!(!named(&[byte]).contains(char::is_control), "{byte}");
        }
    }

    #[test]
    fn the_end_of_a_long_name_is_shown() {
        assert_eq!(short(Path::new("a.wav"), 5), "a.wav");
        assert_eq!(short(Path::new("folder/a.wav"), 7), "…/a.wav");
        assert_eq!(short(Path::new("音声.wav"), 7), "…声.wav");
    }

    #[test]
    fn words_stay_words_and_json_stays_json() {
        assert_eq!(words(b"one\ttwo\nthree"), "one\ttwo\nthree");
        assert_eq!(
            words(b"\x1b]0;x\x07\r\xff"),
            "\\u001b]0;x\\u0007\\u000d\u{fffd}"
        );
        let json = "{\"text\":\"a\u{9b}b\"}";
        let shown: serde_json::Value = serde_json::from_str(&words(json.as_bytes())).unwrap();
        assert_eq!(shown["text"], "a\u{9b}b");
    }
}
