//! Rules that hold for every recording with any bytes, and the list of the decoder's known panics;
//! for tests and fuzzers.

use std::{
    cell::RefCell,
    fs::File,
    io::Write as _,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::{AudioError, Decoder, Hint, is_decoding};

/// Result of decoding a file.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) samples: Vec<f32>,
    pub(super) warnings: Vec<String>,
}

/// A sealed upload, as jobs get it.
pub(super) fn memfd(bytes: &[u8]) -> File {
    let mut file = File::from(memfd_create("recording", MFdFlags::MFD_CLOEXEC).expect("a memfd"));
    file.write_all(bytes).expect("room in the memory");
    file
}

/// Decodes to the end, or to the limit of a model, and checks the rules that hold for every file.
pub(super) fn hear(file: File, hint: Hint<'_>, limit: usize) -> Result<Heard, AudioError> {
    let mut decoder = Decoder::open(file, hint)?;
    let mut samples = Vec::new();
    while let Some(block) = decoder.next_block()? {
        assert!(
            (1..=16_000).contains(&block.len()),
            "a block of {} samples",
            block.len()
        );
        assert!(
            block.iter().all(|sample| (-1.0..=1.0).contains(sample)),
            "a sample out of range"
        );
        samples.extend_from_slice(block);
        let position = decoder.position().as_secs_f64() * 16_000.0;
        assert!(
            (position - samples.len() as f64).abs() < 1.0,
            "wrong position"
        );
        if samples.len() > limit {
            break;
        }
    }
    assert!(
        samples.len() > limit || matches!(decoder.next_block(), Ok(None)),
        "something after the end"
    );
    assert!(
        samples.len() >= 1_600,
        "{} samples are less than 0.1 s",
        samples.len()
    );
    let warnings = decoder.warnings();
    assert!(warnings.len() <= 5);
    Ok(Heard { samples, warnings })
}

thread_local! {
    /// Place of this thread's last panic inside the decoder, recorded by the hook.
    static PANICKED_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work`. If it panics inside the decoder, as a job's panic hook would see it, the error is
/// the place.
pub(super) fn forgiving<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| match info.location() {
            Some(location) if is_decoding() => {
                PANICKED_AT.set(Some(location.to_string()));
            }
            _ => usual(info),
        }));
    });
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let location = PANICKED_AT.take();
        location.unwrap_or_else(|| panic::resume_unwind(payload))
    })
}

/// Repairs the checksums of Ogg pages. Otherwise only the check of them would be tested.
pub(super) fn mend_pages(bytes: &mut [u8]) {
    let mut start = 0;
    while let Some(at) = bytes[start..].windows(4).position(|four| four == b"OggS") {
        start += at;
        let page = &mut bytes[start..];
        let segments = page.get(26).copied().unwrap_or(0).into();
        let lengths = page.iter().skip(27).take(segments);
        let length = 27 + segments + lengths.map(|length| usize::from(*length)).sum::<usize>();
        let length = length.min(page.len());
        if let Some(checksum) = page.get_mut(22..26) {
            checksum.fill(0);
            let crc = page[..length].iter().fold(0, |crc: u32, byte| {
                (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
                    crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 }
                })
            });
            page[22..26].copy_from_slice(&crc.to_le_bytes());
        }
        start += length.max(4);
    }
}
