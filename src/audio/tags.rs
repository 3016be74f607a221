//! What programs put around any kind of recording: lengths of tags, and another recording.

/// Warning about a recording that is not heard. A reader that finds it behind its own ends with
/// this error.
pub(super) const FOLLOWED: &str = "another recording follows in the file and was not transcribed: \
                                   send each one by itself";

/// Length in bytes of the APE tag that starts `head`, including the tag's header.
pub(super) fn ape_len(head: &[u8]) -> Option<u64> {
    let size = head.strip_prefix(b"APETAGEX")?.get(4..8)?;
    let size = u32::from_le_bytes(*size.first_chunk()?);
    Some(32 + u64::from(size))
}

/// Length in bytes of the ID3v2 tag that starts `head`, including the tag's header.
pub(super) fn id3_len(head: &[u8]) -> Option<u64> {
    let header = head.get(..12).filter(|head| head.starts_with(b"ID3"))?;
    let size = &header[6..10];
    if size.iter().any(|byte| byte & 0x80 != 0) {
        return None;
    }
    let size = size
        .iter()
        .fold(0, |size, byte| size << 7 | u64::from(*byte));
    let footer = if header[5] & 0x10 == 0 { 0 } else { 10 };
    // The tag cannot be shorter than the bytes read to find it, and no tag with contents is.
    Some((10 + size + footer).max(12))
}
