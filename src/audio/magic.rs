//! Tells a file's format by its first bytes, before any demuxer sees them.
//!
//! A demuxer that searches for its own beginning finds one in files of other kinds. So only the
//! demuxer of the format that is named here is asked.

use super::{
    AudioError,
    frames::{self, Sort},
    intake::Intake,
    tags::id3_len,
};

/// Bytes from the front that tell most formats: four packets of a transport stream.
pub(super) const FRONT: usize = 4 * 204 + 4;

/// Bytes that tell any format but that behind a long tag: [`MANY`] frames.
pub(super) const CERTAIN: usize = 64 << 10;

/// Bytes that are searched for MPEG audio or ADTS if nothing else is known.
pub(super) const SEARCH: usize = 1 << 20;

/// Frames of one stream that must follow each other for MPEG audio or ADTS to be believed.
const FEW: usize = 3;

/// The same far from the front, where chunks of other containers may have some.
const MANY: usize = 16;

/// Length of the longest MPEG frame and then some: junk that a cut leaves in front.
const NEAR: usize = 4096;

/// Bytes of a GSM 06.10 frame, and how many of them must begin with its mark.
const GSM: (usize, usize) = (33, 8);

/// Formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Wav,
    W64,
    Aiff,
    Caf,
    Au,
    Sphere,
    Voc,
    Flac,
    Ogg,
    Mp4,
    Matroska,
    /// MPEG audio or ADTS.
    Frames(Sort),
    Avi,
    Flv,
    /// MPEG transport stream: bytes in front of the first packet, and of each packet.
    Ts {
        skip: usize,
        packet: usize,
    },
    /// MPEG program stream.
    Ps,
    Gsm,
    AmrNb,
    AmrWb,
    Unknown,
}

/// Beginnings of formats that are read.
const READ: [(usize, &[u8], Format); 16] = [
    (8, b"WAVE", Format::Wav),
    (0, b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb", Format::W64),
    (8, b"AIFF", Format::Aiff),
    (8, b"AIFC", Format::Aiff),
    (0, b"caff", Format::Caf),
    (0, b".snd", Format::Au),
    (0, b"dns.", Format::Au),
    (0, b"NIST_1A\n", Format::Sphere),
    (0, b"Creative Voice File\x1a", Format::Voc),
    (0, b"fLaC", Format::Flac),
    (4, b"ftyp", Format::Mp4),
    (0, b"\x1a\x45\xdf\xa3", Format::Matroska),
    (0, b"FLV\x01", Format::Flv),
    (0, b"\0\0\x01\xba", Format::Ps),
    (0, b"#!AMR\n", Format::AmrNb),
    (0, b"#!AMR-WB\n", Format::AmrWb),
];

/// Beginnings of formats of sound and film that are known, but not read.
const NAMED: [(usize, &[u8], &str); 84] = [
    (0, b"wvpk", "WavPack"),
    (0, b"TTA1", "TTA"),
    (0, b"TTA2", "TTA"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"MP+", "Musepack"),
    (0, b"MPCK", "Musepack"),
    (0, b"tBaK", "TAK"),
    (0, b"ajkg", "Shorten"),
    (0, b"OFR ", "OptimFROG"),
    (0, b"LA0", "Lossless Audio"),
    (0, b"\x0b\x77", "AC-3"),
    (0, b"\x77\x0b", "AC-3"),
    (0, b"\x7f\xfe\x80\x01", "DTS"),
    (0, b"\xfe\x7f\x01\x80", "DTS"),
    (0, b"\x1f\xff\xe8\0", "DTS"),
    (0, b"\xff\x1f\0\xe8", "DTS"),
    (0, b"\x64\x58\x20\x25", "DTS-HD"),
    (0, b"DTSHDHDR", "DTS-HD"),
    (4, b"\xf8\x72\x6f\xba", "TrueHD"),
    (4, b"\xf8\x72\x6f\xbb", "MLP"),
    (
        0,
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
        "Windows Media (ASF, WMA, WMV)",
    ),
    (0, b".RMF", "RealMedia"),
    (0, b".ra\xfd", "RealAudio"),
    (0, b"#!AMR_MC1.0\n", "AMR of several channels"),
    (0, b"#!AMR-WB_MC1.0\n", "AMR-WB of several channels"),
    (0, b"#!EVS_MC1.0\n", "EVS"),
    (0, b"#!SILK_V3", "SILK"),
    (0, b"\x02#!SILK_V3", "SILK"),
    (0, b"#!iLBC", "iLBC"),
    (8, b"QLCM", "QCP (QCELP, EVRC)"),
    (0, b"ADIF", "AAC in ADIF"),
    (0, b"DSD ", "DSD (DSF)"),
    (0, b"FRM8", "DSD (DSDIFF)"),
    (0, b"#!SpeexDec", "Speex"),
    (8, b"8SVX", "8SVX"),
    (8, b"16SV", "16SV"),
    (8, b"MAUD", "MAUD"),
    (8, b"CDXA", "Video CD"),
    (8, b"sfbk", "a SoundFont"),
    (8, b"XWMA", "xWMA"),
    (8, b"RMID", "MIDI, which are notes"),
    (0, b"\x1f\x07\0", "DV, the film of digital cameras"),
    (0, b"MThd", "MIDI, which are notes"),
    (0, b"Extended Module:", "a module of notes (XM)"),
    (0, b"PVF1\n", "PVF"),
    (0, b"PVF2\n", "PVF"),
    (0, b"\x02dss", "DSS of dictation machines"),
    (0, b"\x03dss", "DSS of dictation machines"),
    (0, b"\x03ds2", "DS2 of dictation machines"),
    (0, b"MS_VOICE", "MSV of dictation machines"),
    (0, b"VAGp", "VAG"),
    (0, b"IMPM", "a module of notes (IT)"),
    (0, b"2BIT", "AVR"),
    (0, b".SoX", "SoX's own format"),
    (0, b"XoS.", "SoX's own format"),
    (0, b"fap ", "PAF"),
    (0, b" paf", "PAF"),
    (0, b"\x64\xa3\x01\0", "IRCAM"),
    (0, b"\x64\xa3\x02\0", "IRCAM"),
    (0, b"\x64\xa3\x03\0", "IRCAM"),
    (0, b"\x64\xa3\x04\0", "IRCAM"),
    (0, b"\0\x01\xa3\x64", "IRCAM"),
    (0, b"\0\x02\xa3\x64", "IRCAM"),
    (0, b"\0\x03\xa3\x64", "IRCAM"),
    (0, b"\0\x04\xa3\x64", "IRCAM"),
    (0, b"SOUND SAMPLE DATA", "SampleVision"),
    (0, b"ALawSoundFile**", "Psion"),
    (0, b"GSMS", "GSM with a header"),
    (65, b"FSSD", "HCOM"),
    (0, b"EA3\x01", "ATRAC (OMA)"),
    (0, b"ea3\x03", "ATRAC (OMA)"),
    (0, b"FSB", "FSB"),
    (0, b"RKA", "RK Audio"),
    (0, b"FWS", "Flash (SWF)"),
    (0, b"CWS", "Flash (SWF)"),
    (0, b"NSVf", "NSV"),
    (0, b"nut/multimedia", "NUT"),
    (0, b"\x06\x0e\x2b\x34", "MXF"),
    (0, b"\xb7\xd8\0\x20\x37\x49\xda\x11", "WTV"),
    (0, b"BIKi", "Bink"),
    (0, b"SMK2", "Smacker"),
    (0, b"DKIF", "IVF, which has no sound"),
    (0, b"\0\0\x01\xb3", "MPEG video without sound"),
    (0, b"\0\0\0\x01\x67", "H.264 video without sound"),
];

/// Beginnings of files that are no recordings.
const OTHER: [(usize, &[u8], &str); 24] = [
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "compressed with gzip"),
    (0, b"BZh", "compressed with bzip2"),
    (0, b"\xfd7zXZ\0", "compressed with xz"),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89PNG", "a picture"),
    (0, b"\xff\xd8\xff", "a picture"),
    (0, b"GIF8", "a picture"),
    (8, b"WEBP", "a picture"),
    (0, b"#EXTM3U", "a playlist"),
    (0, b"[playlist]", "a playlist"),
    (0, b"<!doctype", "a web page"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"<?xml", "an XML document"),
    (0, b"{\"", "JSON"),
    (
        0,
        b"data:",
        "a data URL, whose Base64 must be decoded first",
    ),
    (0, b"version https://git-lfs", "a pointer of Git LFS"),
    (0, b"\x7fELF", "a program"),
    (0, b"SQLite format 3", "a database"),
];

fn find<T: Copy>(table: &[(usize, &[u8], T)], front: &[u8]) -> Option<T> {
    let is_there = |at: usize, magic: &[u8]| front.get(at..).is_some_and(|f| f.starts_with(magic));
    let mut rows = table.iter();
    rows.find(|row| is_there(row.0, row.1)).map(|row| row.2)
}

/// True if the first bytes of a file, [`CERTAIN`] or all, are those of a format that samples do not
/// have by chance, so that the file is no mere samples, whatever its sender calls it.
pub(super) fn is_certain(bytes: &[u8]) -> bool {
    let front = &bytes[..bytes.len().min(FRONT)];
    match format(front) {
        Ok(Format::Unknown) => {
            let tag = id3_len(front).and_then(|len| usize::try_from(len).ok());
            let frames = bytes.get(tag.unwrap_or(0)..).unwrap_or_default();
            // A tag that is longer than these bytes has a picture.
            frames.is_empty() && !bytes.is_empty() || frames::begins_run(frames, MANY)
        }
        Ok(Format::Ts { skip, packet }) => {
            let packets = front[skip..].chunks(packet);
            // Each has a body or an adaptation field, and no error.
            let mut heads = packets.filter_map(<[u8]>::first_chunk::<4>);
            heads.all(|head| head[1] & 0x80 == 0 && head[3] & 0x30 != 0)
        }
        Ok(Format::Ps) => pack(front),
        found => found.is_ok(),
    }
}

/// True if a header of MPEG's program stream begins here, and a start code follows it.
fn pack(bytes: &[u8]) -> bool {
    let Some([0, 0, 1, 0xba, first, rest @ ..]) = bytes.first_chunk::<14>() else {
        return false;
    };
    // ISO/IEC 13818-1, 2.5.3.4, and its predecessor.
    let len = match first {
        first if first & 0xc4 == 0x44 => 14 + usize::from(rest[8] & 7),
        first if first & 0xf1 == 0x21 => 12,
        _ => return false,
    };
    bytes
        .get(len..)
        .is_some_and(|next| next.starts_with(b"\0\0\x01"))
}

/// True if these bytes are out of a program stream whose beginning was cut off.
pub(super) fn is_program_stream(bytes: &[u8]) -> bool {
    let starts = bytes.windows(4).enumerate();
    let starts = starts.filter(|(_, four)| *four == b"\0\0\x01\xba");
    starts.filter(|(at, _)| pack(&bytes[*at..])).count() >= FEW
}

/// True if the front is that of GSM 06.10: each frame begins with four certain bits. Silence in
/// A-law has them in every byte.
fn is_gsm(front: &[u8]) -> bool {
    let mut marks = front.iter().step_by(GSM.0);
    let is_mark = |byte: &u8| byte >> 4 == 0xd;
    let others = front.iter().filter(|byte| !is_mark(byte)).count();
    marks.len() >= GSM.1 && marks.all(is_mark) && others > front.len() / 4
}

/// True if a file of QuickTime begins here that has no `ftyp`, as older programs and cameras write
/// it.
fn is_old_quicktime(front: &[u8]) -> bool {
    let Some(len) = front.first_chunk().map(|len| u32::from_be_bytes(*len)) else {
        return false;
    };
    let name = |at: usize| front.get(at..at + 4).unwrap_or_default();
    match name(4) {
        b"moov" => [&b"mvhd"[..], b"cmov", b"trak", b"iods", b"udta"].contains(&name(12)),
        b"mdat" => !(2..8).contains(&len),
        b"wide" => len == 8 && name(12) == b"mdat",
        b"pnot" => len == 20,
        b"free" | b"skip" => {
            let next = (len as usize).saturating_add(4);
            let boxes: [&[u8]; 6] = [b"mdat", b"moov", b"wide", b"ftyp", b"free", b"skip"];
            len >= 8 && boxes.contains(&name(next))
        }
        _ => false,
    }
}

/// The format of a file with this front: its first [`FRONT`] bytes, or fewer if there are no more.
/// [`Format::Unknown`] may still be found by [`search`].
///
/// # Errors
/// The format is known, and is not read.
pub(super) fn format(front: &[u8]) -> Result<Format, AudioError> {
    let chunked = ["RIFF", "RF64", "BW64", "RIFX", "FORM"];
    let is_chunked = chunked.iter().any(|id| front.starts_with(id.as_bytes()));
    if front.starts_with(b"RIFF") && front.get(8..11) == Some(b"AVI") {
        return Ok(Format::Avi);
    }
    if front.starts_with(b"OggS") {
        return ogg(front);
    }
    if let Some(format) = find(&READ, front)
        && (is_chunked || ![Format::Wav, Format::Aiff].contains(&format))
    {
        return Ok(format);
    }
    if is_old_quicktime(front) {
        return Ok(Format::Mp4);
    }
    if let Some(stream) = transport_stream(front) {
        return Ok(stream);
    }
    if let Some(what) = without_beginning(front) {
        return Err(AudioError::NoBeginning(what));
    }
    if let Some(name) = find(&NAMED, front) {
        // Both begin alike; the version of the bit stream is in the sixth byte.
        let is_enhanced = name == "AC-3" && front.get(5).is_some_and(|byte| byte >> 3 > 10);
        return Err(AudioError::UnsupportedFormat(if is_enhanced {
            "E-AC-3"
        } else {
            name
        }));
    }
    if let Some(what) = find(&OTHER, front) {
        return Err(AudioError::Unsupported(format!("it is {what}")));
    }
    Ok(if is_gsm(front) {
        Format::Gsm
    } else {
        Format::Unknown
    })
}

/// Contents of the first pages of Ogg: each stream begins with a page of its own.
fn ogg(front: &[u8]) -> Result<Format, AudioError> {
    const READ: [&[u8]; 4] = [b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"fLaC"];
    const NAMED: [(&[u8], &str); 3] = [
        (b"Speex   ", "Speex"),
        (b"CELT    ", "CELT"),
        (b"PCM     ", "PCM in Ogg"),
    ];
    let (mut at, mut named) = (0, None);
    while let Some(page) = front.get(at..).filter(|page| page.starts_with(b"OggS")) {
        let Some(segments) = page.get(26).map(|count| usize::from(*count)) else {
            break;
        };
        let (Some(lengths), Some(packet)) =
            (page.get(27..27 + segments), page.get(27 + segments..))
        else {
            break;
        };
        if page[5] & 2 == 0 {
            if at == 0 {
                return Err(AudioError::NoBeginning("Ogg"));
            }
            break;
        }
        if READ.iter().any(|magic| packet.starts_with(magic)) {
            return Ok(Format::Ogg);
        }
        let found = NAMED.iter().find(|row| packet.starts_with(row.0));
        named = named.or(found.map(|row| row.1));
        at += 27 + segments + lengths.iter().map(|len| usize::from(*len)).sum::<usize>();
    }
    match named {
        Some(name) => Err(AudioError::UnsupportedCodec(name.into())),
        None => Ok(Format::Ogg),
    }
}

/// Finds MPEG audio or ADTS in `bytes`, the first [`SEARCH`] bytes of the file; `is_all` tells that
/// it has no more. Returns the place of the first frame.
///
/// # Errors
/// It is AAC in a stream that is not read.
pub(super) fn search(bytes: &[u8], is_all: bool) -> Result<Option<(usize, Sort)>, AudioError> {
    if is_latm(bytes) {
        return Err(AudioError::UnsupportedFormat("AAC in LATM"));
    }
    let wanted = |at| if at < NEAR { FEW } else { MANY };
    let found = frames::first_run(bytes, is_all, wanted);
    Ok(found.map(|(at, frame)| (at, frame.sort)))
}

/// True if AAC in LATM with LOAS starts here: 11 bits of synchronisation, 13 bits of length.
fn is_latm(bytes: &[u8]) -> bool {
    let mut at = 0;
    for _ in 0..FEW {
        let Some(head) = bytes.get(at..).and_then(|rest| rest.first_chunk::<3>()) else {
            return false;
        };
        if head[0] != 0x56 || head[1] & 0xe0 != 0xe0 {
            return false;
        }
        at += 3 + (usize::from(head[1] & 0x1f) << 8 | usize::from(head[2]));
    }
    true
}

/// Packets of 188 bytes begin with 0x47. Blu-ray puts a time of four bytes before each, and some
/// broadcasters a checksum of 16 behind. A stream that was cut may begin within a packet.
fn transport_stream(front: &[u8]) -> Option<Format> {
    for packet in [188, 192, 204] {
        let is_start = |skip: &usize| {
            let starts = (0..4).map(|n| front.get(skip + n * packet));
            let present = starts.clone().flatten();
            present.clone().count() >= 3 && present.into_iter().all(|byte| *byte == 0x47)
        };
        if let Some(skip) = (0..packet).find(is_start) {
            return Some(Format::Ts { skip, packet });
        }
    }
    None
}

/// Names the container of which this is a later part, as browsers record it piece by piece.
fn without_beginning(front: &[u8]) -> Option<&'static str> {
    if front.starts_with(b"\x1f\x43\xb6\x75") || is_block(front) {
        return Some("WebM");
    }
    let boxes: [&[u8]; 4] = [b"moof", b"styp", b"sidx", b"emsg"];
    let kind = front.get(4..8)?;
    boxes.contains(&kind).then_some("MP4")
}

/// True if WebM's element SimpleBlock starts here: its length, a track below 8, a time, flags. The
/// next element must be another or a cluster.
fn is_block(front: &[u8]) -> bool {
    let Some([0xa3, first, rest @ ..]) = front.first_chunk::<12>() else {
        return false;
    };
    // The number of leading zeros of the first byte is that of the bytes that follow.
    let more = first.leading_zeros() as usize;
    if more > 3 {
        return false;
    }
    let value = u64::from(*first) & (0x7f >> more);
    let len = rest[..more]
        .iter()
        .fold(value, |len, byte| len << 8 | u64::from(*byte));
    let is_track = (0x81..0x88).contains(&rest[more]);
    let is_flags = rest[more + 3] & 0x70 == 0;
    let next = usize::try_from(len)
        .ok()
        .and_then(|len| front.get(2 + more + len..));
    let is_next = next.is_none_or(|next| {
        let ids: [&[u8]; 4] = [b"\xa3", b"\xa0", b"\x1f\x43\xb6\x75", b"\x1c\x53\xbb\x6b"];
        next.is_empty() || ids.iter().any(|id| next.starts_with(id))
    });
    is_track && is_flags && is_next
}
/// The way to the first frame of MPEG audio or ADTS: bytes to skip, and the sort of frames.
///
/// # Errors
/// There is none near enough.
pub(super) fn frames(intake: &mut Intake) -> Result<(u64, Sort), AudioError> {
    let bytes = intake.peek(SEARCH)?;
    let found = search(&bytes, bytes.len() < SEARCH)?;
    let (at, sort) =
        found.ok_or_else(|| AudioError::Corrupt("no frame of sound is found".into()))?;
    Ok((at as u64, sort))
}
