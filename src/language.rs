//! Codes of languages, as ISO 639 and BCP 47 define them.

/// True for two or three small letters, like the codes of ISO 639.
pub fn is_language_code(text: &str) -> bool {
    (2..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase())
}

/// The language alone, without a region: `de` of `de-AT`.
pub fn primary_language(tag: &str) -> &str {
    tag.split(['-', '_']).next().unwrap_or(tag)
}
