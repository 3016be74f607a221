//! Codes and names of languages, as ISO 639 and BCP 47 define them.

use isolang::Language;

/// Longest tag that is read, in bytes: BCP 47 asks for room for 35, and an encoding may follow.
const MAX_TAG: usize = 64;

/// Longest part of a tag after the language, in bytes (BCP 47).
const MAX_SUBTAG: usize = 8;

/// Shortest name that is taken for one, in bytes.
const SHORTEST_NAME: usize = 4;

/// Names that Whisper's own programs take beside the English ones, with their codes.
const OTHER_NAMES: [(&str, &str); 14] = [
    ("burmese", "my"),
    ("valencian", "ca"),
    ("flemish", "nl"),
    ("haitian creole", "ht"),
    ("letzeburgesch", "lb"),
    ("pushto", "ps"),
    ("panjabi", "pa"),
    ("moldavian", "ro"),
    ("moldovan", "ro"),
    ("sinhalese", "si"),
    ("castilian", "es"),
    ("mandarin", "zh"),
    ("cantonese", "yue"),
    ("farsi", "fa"),
];

/// True for two or three small letters, like the codes of ISO 639.
pub fn is_language_code(text: &str) -> bool {
    (2..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase())
}

/// True if two tags name the same language, by codes of two letters or three: `de-AT` and `ger`.
pub fn is_same_language(one: &str, other: &str) -> bool {
    let one = one.to_ascii_lowercase();
    let other = other.to_ascii_lowercase();
    let (one, other) = (primary_language(&one), primary_language(&other));
    one == other || language(one).is_some_and(|one| language(other) == Some(one))
}

/// The language of a code of two or three letters.
fn language(code: &str) -> Option<Language> {
    // ISO 639-2 has two codes for some languages. Containers of video use the older one.
    const OLDER: [(&str, &str); 20] = [
        ("alb", "sqi"),
        ("arm", "hye"),
        ("baq", "eus"),
        ("bur", "mya"),
        ("chi", "zho"),
        ("cze", "ces"),
        ("dut", "nld"),
        ("fre", "fra"),
        ("geo", "kat"),
        ("ger", "deu"),
        ("gre", "ell"),
        ("ice", "isl"),
        ("mac", "mkd"),
        ("mao", "mri"),
        ("may", "msa"),
        ("per", "fas"),
        ("rum", "ron"),
        ("slo", "slk"),
        ("tib", "bod"),
        ("wel", "cym"),
    ];
    let newer = OLDER.iter().find(|(older, _)| *older == code);
    let code = newer.map_or(code, |(_, newer)| newer);
    Language::from_639_1(code).or_else(|| Language::from_639_3(code))
}

/// The language alone, without a region: `de` of `de-AT`.
pub fn primary_language(tag: &str) -> &str {
    tag.split(['-', '_']).next().unwrap_or(tag)
}

/// The tag in small letters for what a person or a program wrote: `pt-br` for `pt_BR` and
/// `pt_BR.UTF-8`, `en` for `eng`, `English` and `english`. `None` if it is neither a tag nor the
/// English name of a language.
pub fn tag(written: &str) -> Option<String> {
    let written = written.trim();
    if written.len() > MAX_TAG {
        return None;
    }
    // A locale of POSIX may also name an encoding and a variant.
    let locale = written.split(['.', '@']).next().unwrap_or_default();
    let tag = locale.to_ascii_lowercase().replace('_', "-");
    let mut parts = tag.split('-');
    let primary = parts.next().unwrap_or_default();
    let is_part = |part: &str| {
        (1..=MAX_SUBTAG).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    if !is_language_code(primary) || !parts.all(is_part) {
        return code_of_name(&written.to_lowercase());
    }
    let short = Language::from_639_3(primary).and_then(|language| language.to_639_1());
    Some(match short {
        Some(short) => tag.replacen(primary, short, 1),
        None => tag,
    })
}

/// Of the codes or tags `known`, the one that is nearest to `tag`: the same, else the one that is
/// the longest beginning of it, else the first of the same language.
pub fn nearest<'a>(tag: &str, known: &[&'a str]) -> Option<&'a str> {
    let same = |a: &str, b: &str| {
        let plain = |c: char| {
            if c == '_' {
                '-'
            } else {
                c.to_ascii_lowercase()
            }
        };
        a.chars().map(plain).eq(b.chars().map(plain))
    };
    let mut beginning = tag;
    loop {
        if let Some(code) = known.iter().find(|code| same(code, beginning)) {
            return Some(code);
        }
        match beginning.rfind(['-', '_']) {
            Some(end) => beginning = &beginning[..end],
            None => break,
        }
    }
    let language = primary_language(tag);
    let mut known = known.iter();
    known
        .find(|code| same(primary_language(code), language))
        .copied()
}

/// English name of the language with this code, as OpenAI gives it: `english`. `None` if it has
/// none.
pub fn english_name(code: &str) -> Option<String> {
    let primary = primary_language(code);
    let language = Language::from_639_1(primary).or_else(|| Language::from_639_3(primary));
    language.map(plain_name)
}

/// Its name without remarks, as in `Modern Greek (1453-)`.
fn plain_name(language: Language) -> String {
    let name = language.to_name().split(" (").next().unwrap_or_default();
    name.strip_prefix("Modern ").unwrap_or(name).to_lowercase()
}

/// The code for an English name in small letters.
fn code_of_name(name: &str) -> Option<String> {
    // There are languages called E and Vo; what is so short was meant for a code.
    if name.len() < SHORTEST_NAME {
        return None;
    }
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == name);
    let other = other.map(|(_, code)| (*code).to_owned());
    // Languages with a short code first: many names are those of several languages.
    let mut long = None;
    for language in isolang::languages().filter(|language| plain_name(*language) == name) {
        match language.to_639_1() {
            Some(short) => return other.or(Some(short.to_owned())),
            None => long = long.or(Some(language.to_639_3().to_owned())),
        }
    }
    other.or(long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_names_are_read_as_people_write_them() {
        for (written, expected) in [
            ("en", "en"),
            ("EN", "en"),
            (" de ", "de"),
            ("pt_BR", "pt-br"),
            ("pt-BR", "pt-br"),
            ("de_DE.UTF-8", "de-de"),
            ("ca_ES.UTF-8@valencia", "ca-es"),
            ("zh-CN-sichuan", "zh-cn-sichuan"),
            ("zh-Hant-TW", "zh-hant-tw"),
            ("eng", "en"),
            ("deu-AT", "de-at"),
            ("yue", "yue"),
            ("english", "en"),
            ("German", "de"),
            ("GREEK", "el"),
            ("Mandarin", "zh"),
            ("haitian creole", "ht"),
            ("cantonese", "yue"),
        ] {
            assert_eq!(tag(written).as_deref(), Some(expected), "{written}");
        }
        for written in ["", "e", "klingonese", "en-", "en-é", "12", "en us"] {
            assert_eq!(tag(written), None, "{written}");
        }
        assert_eq!(tag(&"en-us".repeat(20)), None);
    }

    #[test]
    fn every_name_that_is_told_is_understood() {
        for code in ["en", "de", "el", "zh", "pt", "sw", "nn", "ms", "ht", "yue"] {
            let name = english_name(code).unwrap_or_default();
            assert_eq!(tag(&name).as_deref(), Some(code), "{name}");
        }
    }

    #[test]
    fn the_nearest_known_language_is_taken() {
        let known = ["en", "zh", "pt_BR", "de-AT"];
        for (asked, expected) in [
            ("en", Some("en")),
            ("en-us", Some("en")),
            ("zh-cn-sichuan", Some("zh")),
            ("pt-br", Some("pt_BR")),
            ("pt", Some("pt_BR")),
            ("pt-pt", Some("pt_BR")),
            ("de", Some("de-AT")),
            ("fr", None),
            ("e", None),
        ] {
            assert_eq!(nearest(asked, &known), expected, "{asked}");
        }
    }
}
