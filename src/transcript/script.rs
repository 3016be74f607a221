//! Tells where words are separated by spaces: that depends on the script.

/// Scripts that write sentences without spaces between words, with their punctuation and wide
/// letters: Thai, Lao, Tibetan, Burmese, Khmer, Tai, Balinese, Javanese, Chinese, Japanese, Yi.
/// Korean has spaces.
const UNSPACED: [(u32, u32); 18] = [
    (0x0E00, 0x109F),
    (0x1780, 0x17FF),
    (0x1950, 0x19FF),
    (0x1A20, 0x1AAF),
    (0x1B00, 0x1B7F),
    (0x2E80, 0x312F),
    (0x3190, 0x9FFF),
    (0xA000, 0xA4CF),
    (0xA980, 0xA9FF),
    (0xAA60, 0xAADF),
    (0xF900, 0xFAFF),
    (0xFE30, 0xFE4F),
    (0xFF01, 0xFF9F),
    (0x16FE0, 0x18DFF),
    (0x1AFF0, 0x1B2FF),
    (0x1F200, 0x1F2FF),
    (0x20000, 0x2FFFF),
    (0x30000, 0x3FFFF),
];

/// True for a character of a script without spaces.
pub(super) fn is_unspaced(c: char) -> bool {
    let code = u32::from(c);
    UNSPACED
        .iter()
        .any(|(from, to)| (*from..=*to).contains(&code))
}

/// Separator between two texts that follow each other: a space, unless one of them has a wide mark
/// at the join, or both are of scripts without spaces there. Digits and other marks belong to the
/// nearest letter.
pub fn between(left: &str, right: &str) -> &'static str {
    let last = left.chars().next_back();
    let first = right.chars().next();
    let is_mark =
        |c: Option<char>| c.is_some_and(|c| is_unspaced(c) && !c.is_alphanumeric() && !is_sign(c));
    if is_mark(last) || is_mark(first) {
        return "";
    }
    let letter = |c: &char| c.is_alphabetic() || is_sign(*c);
    let sides = (left.chars().rev().find(letter), right.chars().find(letter));
    let joined = match sides {
        (Some(left), Some(right)) => is_unspaced(left) && is_unspaced(right),
        (Some(one), None) | (None, Some(one)) => is_unspaced(one),
        (None, None) => false,
    };
    if joined { "" } else { " " }
}

/// True if [`between`] gives the same for any longer text that begins with `right`.
pub fn decides_separator(right: &str) -> bool {
    right.chars().any(|c| c.is_alphabetic() || is_sign(c))
}

/// True for a sign above or below a letter of Southern Asia, which is no letter by itself.
fn is_sign(c: char) -> bool {
    matches!(u32::from(c), 0x0E00..=0x109F | 0x1780..=0x17FF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_at_the_join_decides() {
        for (left, right) in [
            ("今天天气", "很好"),
            ("今天。", "很好"),
            ("これは", "テストです"),
            ("共有25", "个人"),
            ("共有", "25个人"),
            ("สวัสดี", "ครับ"),
            ("ສະບາຍ", "ດີ"),
            ("សួស្តី", "អ្នក"),
            ("မင်္ဂလာ", "ပါ"),
            ("我用Python。", "Java"),
        ] {
            assert_eq!(between(left, right), "", "{left}|{right}");
        }
        for (left, right) in [
            ("go forward", "ten meters"),
            ("안녕", "하세요"),
            ("今天", "hello"),
            ("hello", "今天"),
            ("привет", "мир"),
            ("10", "20"),
            ("said.", "\"No\""),
        ] {
            assert_eq!(between(left, right), " ", "{left}|{right}");
        }
    }
}
