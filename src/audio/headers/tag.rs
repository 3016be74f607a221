//! The numbers by which WAV and AVI name codecs.

/// A codec's number in `fmt ` or `strf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) u16);

impl Tag {
    /// The codec's common name, for messages. Numbers from Microsoft's mmreg.h, and those that
    /// FFmpeg and Asterisk write.
    pub(crate) fn name(self) -> String {
        let name = match self.0 {
            0x0010 | 0x0017 => "OKI ADPCM",
            0x0014 | 0x0111 | 0xa100 | 0x0042 => "G.723.1",
            0x0020 => "Yamaha ADPCM",
            0x0022 => "TrueSpeech",
            0x0030 | 0x0092 | 0x2000 => "AC-3",
            0x0031 | 0x0032 => "GSM 6.10",
            0x0040 => "G.721",
            0x0045 | 0x0064 | 0x0140 | 0x0085 => "G.726",
            0x0050 => "MPEG audio",
            0x0055 => "MP3",
            0x0057 | 0x7a21 | 0x7361 => "AMR-NB",
            0x0058 | 0x7a22 => "AMR-WB",
            0x0061 | 0x0062 => "Duck ADPCM",
            0x0065 | 0x028f => "G.722",
            0x0069 => "Xbox ADPCM",
            0x0075 => "Voxware",
            0x0041 | 0x0083 | 0x0133 | 0xa123 => "G.729",
            0x0070 | 0x0130 => "ACELP",
            0x000a | 0x0160..=0x0163 => "Windows Media Audio",
            0x00ff | 0x1600..=0x1610 | 0x4143 | 0x706d | 0xa106 => "AAC",
            0x0270 => "ATRAC3",
            0x0401..=0x0403 | 0x0405 => "Intel Music Coder or IMC",
            0x2001 | 0x0008 => "DTS",
            0x566f | 0x674f..=0x6771 => "Vorbis",
            0x5756 => "WavPack",
            0x704f => "Opus",
            0x77a1 => "TTA",
            0xa109 => "Speex",
            0xf1ac => "FLAC",
            other => return format!("WAV format {other:#06x}"),
        };
        name.to_owned()
    }
}
