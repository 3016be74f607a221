//! Drives demuxer and decoder packet by packet, and decides when a file counts as damaged.

use std::{fs::File, mem, sync::Arc, time::Duration};

use symphonia::core::{
    audio::GenericAudioBufferRef,
    codecs::audio::{AudioDecoder, well_known::CODEC_ID_OPUS},
    errors::Error,
    formats::{FormatId, FormatReader, Track, well_known::FORMAT_ID_ISOMP4},
    packet::Packet,
    units,
};

use super::{
    AudioError, SAMPLE_RATE,
    bounds::{check_channel, check_channels, check_rate},
    codecs::opus_samples,
    damage::Damage,
    floats,
    formats::{
        decoder_of, demuxer, is_bare, is_decodable, is_raw, never_is_empty, promise,
        reports_gaps_early, starts_anywhere,
    },
    hint::Hint,
    intake::Watch,
    mark::Mark,
    mix::Mixer,
    resample::Resampler,
    samples::scale_warning,
    source::Source,
    tags::FOLLOWED,
    timeline::{Place, Timeline},
    tracks::{self, Heard, Wanted},
    voices::Voices,
};

/// Shortest accepted recording, in samples: 0.1 s, the rule of OpenAI's service. No block but the
/// last is shorter, so no block is returned before the rule is known to hold.
const SHORTEST: usize = SAMPLE_RATE as usize / 10;

/// Longest returned block, in samples: 1 s.
const LONGEST_BLOCK: usize = SAMPLE_RATE as usize;

/// Number of frames of a decoded packet that are converted at once. A packet can be one hostile
/// object of 12 MiB, so its samples are converted only when they are needed.
const PIECE: usize = 4096;

/// Number of packets in a row, of any track, without audio after which the rest is not read. An
/// index of a few bytes can promise four billion packets of 0 bytes.
const MOST_BARREN: u64 = 1 << 20;

/// How often a file may start anew (concatenated Ogg streams) or change its rate. Each time costs a
/// few milliseconds, for which the file needs no bytes.
const MOST_RESTARTS: u32 = 64;

/// How often an Ogg stream may lose pages. Each time costs the parsing of its headers.
const MOST_GAPS: u32 = 4096;

/// A packet that is presented for less than this share of its sound only primes the decoder.
const MOMENT: u64 = 16;

/// How often in a row the demuxer may fail before the rest is given up.
const MOST_FAILURES: u32 = 16;

/// Decodes a recording block by block to 16 kHz mono samples.
///
/// Memory is bounded for any length of the recording, except for the index of an MP4 or CAF file.
pub struct Decoder {
    /// The file again, for a second attempt if this one fails.
    again: Option<Source>,
    format: Box<dyn FormatReader>,
    watch: Arc<Watch>,
    end: End,
    /// The decoded track.
    track: Track,
    wanted: Wanted,
    /// Warning about tracks that are not heard.
    others: Option<String>,
    timeline: Timeline,
    /// Length of the last packet of Opus of which container and packet say the same, at 48 kHz.
    usual: Option<u64>,
    /// Length of the last decoded packet, in seconds.
    step: f64,
    /// Silent frames that come before those of the last decoded packet.
    silence: u64,
    decoder: Box<dyn AudioDecoder>,
    /// Number of frames that the container announces, counted from time 0.
    length: Option<u64>,
    /// Packets last as long as the container says, so far.
    agrees: bool,
    /// Number of frames that the track should have, if its container can be trusted.
    promised: Option<u64>,
    resampler: Option<Resampler>,
    /// Frames of the last decoded packet that were converted, and all of them.
    cursor: usize,
    frames: usize,
    mixer: Mixer,
    mono: Vec<f32>,
    /// Converted samples that were not returned yet.
    ready: Vec<f32>,
    block: Vec<f32>,
    state: State,
    handed_out: u64,
    /// Length of the recording when the current stream began, in seconds.
    began: f64,
    barren: u64,
    failures: u32,
    restarts: u32,
    damage: Damage,
    /// Warnings about the file as a whole, found before it was decoded.
    warnings: Vec<String>,
}

/// Meaning of the demuxer's end of input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The format decides whether this is the normal end.
    Unclear,
    /// The header announced this end.
    Expected,
    /// The front of the file promised more.
    Early,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Decoding,
    /// All samples are in `ready`.
    Drained,
    /// `None` or an error was returned.
    Over,
}

impl Decoder {
    /// Finds the format of the file and prepares to decode the sound that the file itself enables,
    /// all channels mixed.
    ///
    /// A regular file (or memfd) is read from its start; its offset is neither used nor changed.
    /// Anything else is read as a pipe, from front to back.
    ///
    /// # Errors
    /// The file is empty, is not audio, holds no audio that can be decoded, or cannot be read.
    pub fn open(file: impl Into<Arc<File>>, hint: Hint<'_>) -> Result<Self, AudioError> {
        Self::open_for(file, hint, &Wanted::default())
    }

    /// Like [`Self::open`], for the wanted track and channel. If the recording has no such channel,
    /// [`Self::next_block`] returns an error.
    ///
    /// # Errors
    /// As [`Self::open`], or the file has no such track.
    pub fn open_for(
        file: impl Into<Arc<File>>,
        hint: Hint<'_>,
        wanted: &Wanted,
    ) -> Result<Self, AudioError> {
        let _mark = Mark::set();
        let source = Source::open(file, hint)?;
        let (again, floats) = (source.as_stream(), source.again());
        match (Self::of(source, wanted), again) {
            (Err(AudioError::Corrupt(reason)), Some(again)) => {
                Self::of_stream(again, wanted).map_err(|_| AudioError::Corrupt(reason))
            }
            (decoder, again) => {
                let mut decoder = decoder?;
                let scale = floats::scale(&decoder.track, floats);
                decoder.mixer.multiply(scale);
                decoder.warnings.extend(scale_warning(scale));
                Ok(Self { again, ..decoder })
            }
        }
    }

    fn of(mut source: Source, wanted: &Wanted) -> Result<Self, AudioError> {
        let watch = source.watch();
        let end = if source.open_ended {
            End::Expected
        } else {
            End::Unclear
        };
        let warnings = mem::take(&mut source.warnings);
        let last_granule = source.last_granule();
        let format = demuxer(source, &watch)?;
        let Heard {
            track,
            decoder,
            others,
        } = tracks::heard(format.as_ref(), wanted)?;
        let promised = promise(format.as_ref(), &track);
        let timeline = Timeline::of(format.as_ref(), &track);
        let track_length = track.num_frames;
        Ok(Self {
            again: None,
            format,
            watch,
            end,
            track: Track {
                num_frames: track.num_frames.or(last_granule),
                ..track
            },
            wanted: wanted.clone(),
            others,
            timeline,
            usual: None,
            step: 0.0,
            silence: 0,
            decoder,
            length: track_length,
            agrees: false,
            promised,
            resampler: None,
            cursor: 0,
            frames: 0,
            mixer: Mixer::of(wanted),
            mono: Vec::new(),
            ready: Vec::new(),
            block: Vec::new(),
            state: State::Decoding,
            handed_out: 0,
            began: 0.0,
            barren: 0,
            failures: 0,
            restarts: 0,
            damage: Damage::default(),
            warnings,
        })
    }

    /// Like [`Self::of`], for a file that could not be decoded as the format that it claims.
    fn of_stream(source: Source, wanted: &Wanted) -> Result<Self, AudioError> {
        let decoder = Self::of(source, wanted)?;
        let end = if decoder.end == End::Unclear {
            End::Early
        } else {
            decoder.end
        };
        Ok(Self { end, ..decoder })
    }

    /// The next block of mono samples (−1 … 1, 16 kHz): never empty, never longer than 1 s; `None`
    /// at the end.
    ///
    /// The intact parts of a damaged file are returned, and [`Self::warnings`] reports the rest.
    ///
    /// # Errors
    /// The whole recording lasts less than 0.1 s (then no block was returned before), or the
    /// descriptor cannot be read further. After an error every call returns `None`.
    pub fn next_block(&mut self) -> Result<Option<&[f32]>, AudioError> {
        if self.state == State::Over {
            return Ok(None);
        }
        let mark = Mark::set();
        let filled = self.fill_somehow();
        drop(mark);
        if let Err(error) = filled {
            self.state = State::Over;
            return Err(error);
        }
        if self.ready.is_empty() {
            self.state = State::Over;
            return self.damage.verdict().map(|()| None);
        }
        self.block.clear();
        let length = self.ready.len().min(LONGEST_BLOCK);
        self.block.extend(self.ready.drain(..length));
        self.handed_out += length as u64;
        Ok(Some(&self.block))
    }

    /// Length of the audio as the file claims it, which may be exact or a lie; `None` without a
    /// claim.
    #[must_use]
    pub fn announced(&self) -> Option<Duration> {
        let rate = self.decoder.codec_params().sample_rate?;
        Duration::try_from_secs_f64(self.track.num_frames? as f64 / f64::from(rate)).ok()
    }

    /// Length of the audio returned so far.
    #[must_use]
    pub fn position(&self) -> Duration {
        Duration::from_micros(self.handed_out * 1_000_000 / u64::from(SAMPLE_RATE))
    }

    /// Warnings for the sender: damage of a file that was decoded nevertheless, and channels that
    /// cancel out. Complete after the last block, and at most six sentences.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let damage = self.damage.warnings(self.position(), self.timeline.leap());
        let about_file = self.warnings.iter().chain(&self.others).cloned();
        about_file
            .chain(damage)
            .chain(self.mixer.warning())
            .collect()
    }

    /// The comparison of the channels, if it was wanted. Complete after the last block.
    #[must_use]
    pub fn voices(&self) -> Option<Voices> {
        self.mixer.voices()
    }

    /// Like [`Self::fill`]. If it fails, tries again without looking at the end of the file.
    fn fill_somehow(&mut self) -> Result<(), AudioError> {
        let filled = self.fill();
        let again = self.again.take();
        if let (Err(AudioError::Corrupt(_) | AudioError::TooShort { .. }), Some(again)) =
            (&filled, again)
            && let Ok(mut second) = Self::of_stream(again, &self.wanted)
            && second.fill().is_ok()
        {
            *self = second;
            return Ok(());
        }
        filled
    }

    /// Decode until a block can be returned or everything is decoded.
    fn fill(&mut self) -> Result<(), AudioError> {
        while self.state == State::Decoding && self.ready.len() < SHORTEST {
            if self.silence > 0 {
                self.convert_silence()?;
            } else if self.cursor < self.frames {
                self.convert()?;
            } else {
                self.next_packet()?;
            }
        }
        if self.handed_out == 0 && self.ready.len() < SHORTEST {
            return Err(self.nothing_usable());
        }
        Ok(())
    }

    /// Convert a part of the silence into `ready`.
    fn convert_silence(&mut self) -> Result<(), AudioError> {
        let piece = self.silence.min(PIECE as u64);
        self.silence -= piece;
        self.mono.clear();
        self.mono.resize(piece as usize, 0.0);
        self.resample()
    }

    /// Convert the next frames of the decoded packet into `ready`.
    fn convert(&mut self) -> Result<(), AudioError> {
        let piece = self.cursor..self.frames.min(self.cursor + PIECE);
        self.cursor = piece.end;
        self.mono.clear();
        let buffer = self.decoder.last_decoded();
        self.mixer.append(&buffer, piece, &mut self.mono);
        self.resample()
    }

    fn resample(&mut self) -> Result<(), AudioError> {
        match &mut self.resampler {
            Some(resampler) => resampler.push(&self.mono, &mut self.ready),
            None => Ok(()),
        }
    }

    /// Read and decode one packet, or notice the end.
    fn next_packet(&mut self) -> Result<(), AudioError> {
        // Tags are not needed here, and would pile up.
        self.format.metadata().skip_to_latest();
        match self.format.next_packet() {
            Ok(Some(packet)) => {
                self.failures = 0;
                self.barren += 1;
                if self.barren > MOST_BARREN {
                    return self.give_up("nothing but packets without audio follow");
                }
                if packet.track_id == self.track.id {
                    return self.decode(packet);
                }
                Ok(())
            }
            Ok(None) => {
                let is_short = self.is_short_of_promise();
                let is_mpeg = is_bare(self.format_id());
                if let Some(promised) = self.promised.filter(|_| is_short && is_mpeg) {
                    // Nothing tells where in the file frames are missing.
                    self.damage.announced = Some(promised as f64 / f64::from(self.rate()));
                }
                self.finish(is_short && !is_mpeg)
            }
            Err(error) => self.demuxer_failed(&error),
        }
    }

    fn demuxer_failed(&mut self, error: &Error) -> Result<(), AudioError> {
        if let Some(failure) = self.watch.failure() {
            return Err(failure);
        }
        if self.watch.refused() {
            return self.give_up("no audio is found in the bytes that follow");
        }
        match error {
            Error::IoError(_) => self.finish(self.is_cut_off()),
            Error::ResetRequired => self.start_anew(),
            Error::Unsupported(reason) if *reason == FOLLOWED => {
                self.warnings.push((*reason).into());
                self.finish(false)
            }
            error => {
                self.damage.broke(error);
                self.timeline.broke();
                self.failures += 1;
                if self.failures < MOST_FAILURES {
                    return Ok(());
                }
                self.give_up(&error.to_string())
            }
        }
    }

    /// Continue with the next of several concatenated streams, or behind a gap in this one.
    fn start_anew(&mut self) -> Result<(), AudioError> {
        let Heard { track, decoder, .. } = match tracks::heard(self.format.as_ref(), &self.wanted) {
            Ok(heard) => heard,
            Err(error) => return self.give_up(&error.to_string()),
        };
        let goes_on = (track.id, track.time_base) == (self.track.id, self.track.time_base);
        self.restarts += 1;
        let most = if goes_on { MOST_GAPS } else { MOST_RESTARTS };
        if self.restarts > most {
            return self.give_up("it starts anew again and again");
        }
        if !goes_on {
            self.timeline.join(self.format.as_ref(), &track);
        }
        self.began = self.timeline.seconds();
        self.promised = promise(self.format.as_ref(), &track);
        (self.track, self.decoder) = (track, decoder);
        (self.cursor, self.frames) = (0, 0);
        Ok(())
    }

    fn decode(&mut self, mut packet: Packet) -> Result<(), AudioError> {
        (self.cursor, self.frames) = (0, 0);
        if !is_decodable(&packet, self.decoder.codec_params()) {
            return self.skip_packet(&packet, "a packet is empty or too long, or all zeros");
        }
        if self.is_false_opus(&packet) {
            return self.skip_packet(&packet, "a packet of Opus has a false length");
        }
        let trims = self.trims(&mut packet);
        let mut decoded = measure(self.decoder.decode(&packet));
        if matches!(decoded, Err(Error::DecodeError(reason)) if reason.contains("signal spec"))
            && let Ok(mut decoder) = decoder_of(self.format.as_ref(), &self.track)
        {
            // The MPEG decoder requires the rate and the channels of the first packet that it saw.
            decoded = measure(decoder.decode(&packet));
            self.decoder = decoder;
        }
        let (rate, channels, frames) = match decoded {
            // A damaged packet of these codecs may look like one without sound.
            Ok((_, _, 0)) if never_is_empty(self.decoder.codec_params()) => {
                return self.skip_packet(&packet, "a packet holds no sound");
            }
            Ok((_, _, 0)) => return Ok(()),
            Ok(measures) => measures,
            Err(error) => return self.skip_packet(&packet, error),
        };
        let checked = check_rate(rate)
            .and_then(|()| check_channels(channels))
            .and_then(|()| check_channel(self.wanted.channel, channels));
        if let Err(error) = checked {
            // The packets before this one were fine.
            return if self.resampler.is_some() {
                self.give_up(&error.to_string())
            } else {
                Err(error)
            };
        }
        self.watch.progress();
        self.barren = 0;
        self.place(&packet, trims, frames, rate);
        self.resample_from(rate)
    }

    /// True if a packet of Opus, whose first byte tells its length, lasts shorter or longer than
    /// the container says. libopus decodes any bytes to something. The last packet may be cut.
    fn is_false_opus(&mut self, packet: &Packet) -> bool {
        if self.decoder.codec_params().codec != CODEC_ID_OPUS {
            return false;
        }
        let units = packet.block_dur();
        let length = if self.timeline.is_by_clock() {
            self.timeline.frames(units, 48_000)
        } else {
            units.get()
        };
        let told = opus_samples(&packet.data).unwrap_or(0);
        if told.abs_diff(length) <= 48 {
            self.usual = Some(length);
            return false;
        }
        // A browser that records as it goes writes when a packet came, not how long it lasts.
        self.usual == Some(length)
    }

    /// Go on without a packet that cannot be decoded.
    fn skip_packet(&mut self, packet: &Packet, reason: impl ToString) -> Result<(), AudioError> {
        let length = self.timeline.length(packet.block_dur(), self.rate());
        let seconds = if length > 0.0 { length } else { self.step };
        self.damage.skipped(reason, seconds);
        self.timeline.broke();
        self.timeline.lose(packet.block_dur().get());
        Ok(())
    }

    /// Durations to trim from the start and from the end of what this packet decodes to. Only some
    /// decoders trim, so none shall where the timeline can.
    fn trims(&self, packet: &mut Packet) -> (units::Duration, units::Duration) {
        if self.timeline.is_by_clock() {
            let none = units::Duration::ZERO;
            (
                std::mem::replace(&mut packet.trim_start, none),
                std::mem::replace(&mut packet.trim_end, none),
            )
        } else {
            Default::default()
        }
    }

    /// Put the decoded frames where they belong.
    fn place(
        &mut self,
        packet: &Packet,
        (start, end): (units::Duration, units::Duration),
        frames: usize,
        rate: u32,
    ) {
        let (frames, start_trim) = (frames as u64, start);
        let end = frames.saturating_sub(self.timeline.frames(end, rate));
        let start = self.timeline.frames(start, rate).min(end);
        let end = self.presented(packet, frames, start, end, rate);
        let at = packet.pts.saturating_add(start_trim);
        let Place { silence, skip } = self.timeline.place(at, end - start, rate);
        let id = self.format_id();
        if silence > 0 && starts_anywhere(id) {
            // Where frames are numbered, a gap is damage.
            self.damage.broke("frames are missing");
        }
        let seconds = |frames: u64| frames as f64 / f64::from(rate);
        self.step = seconds(frames);
        self.damage.is_estimate |= is_bare(id);
        let is_late = reports_gaps_early(id);
        self.damage
            .heard(seconds(end - start), seconds(silence), is_late);
        self.silence = silence;
        (self.cursor, self.frames) = ((start + skip) as usize, end as usize);
    }

    /// Editors that join parts of MP4 give packets that only prime the decoder the shortest time
    /// that there is. No more of them is presented.
    fn presented(&mut self, packet: &Packet, frames: u64, start: u64, end: u64, rate: u32) -> u64 {
        let length = self.timeline.frames(packet.dur, rate);
        if self.format_id() != FORMAT_ID_ISOMP4 || packet.dur.get() == 0 {
            return end;
        }
        if self.agrees && length * MOMENT < frames {
            self.timeline.broke();
            return end.min(start + length);
        }
        self.agrees |= length.abs_diff(frames) * 8 <= frames;
        end
    }

    /// Make the resampler take `rate`, which may change in the middle of a file.
    fn resample_from(&mut self, rate: u32) -> Result<(), AudioError> {
        if self
            .resampler
            .as_ref()
            .is_some_and(|resampler| resampler.rate() == rate)
        {
            return Ok(());
        }
        if let Some(mut old) = self.resampler.take() {
            old.finish(&mut self.ready)?;
            self.restarts += 1;
            if self.restarts > MOST_RESTARTS {
                return self.give_up("its sample rate changes again and again");
            }
        }
        self.resampler = Some(Resampler::new(rate)?);
        Ok(())
    }

    fn give_up(&mut self, reason: &str) -> Result<(), AudioError> {
        self.damage.found(reason);
        self.damage.given_up = Some(reason.to_owned());
        self.finish(false)
    }

    fn finish(&mut self, cut_off: bool) -> Result<(), AudioError> {
        // Where damage reaches to the end, the file's own length tells what is missing.
        let told = self
            .length
            .map_or(0.0, |frames| frames as f64 / f64::from(self.rate()));
        self.damage.end((told - self.timeline.reach()).max(0.0));
        self.damage.cut_off = cut_off;
        (self.cursor, self.frames, self.silence) = (0, 0, 0);
        self.state = State::Drained;
        match &mut self.resampler {
            Some(resampler) => resampler.finish(&mut self.ready),
            None => Ok(()),
        }
    }

    /// The error to report if not a single block was decoded.
    fn nothing_usable(&self) -> AudioError {
        let seconds = self.ready.len() as f64 / f64::from(SAMPLE_RATE);
        self.damage.nothing_usable(seconds)
    }

    /// True if the demuxer has ended before the announced number of frames. A tenth of a second may
    /// be lost to priming and rounding.
    fn is_short_of_promise(&self) -> bool {
        let seconds = self.timeline.seconds() - self.began + 0.1;
        self.promised
            .is_some_and(|promised| seconds < promised as f64 / f64::from(self.rate()))
    }

    /// True if the demuxer ran into the end of the file unexpectedly. This is the normal end if
    /// nothing announces it, because the samples' length is left open.
    fn is_cut_off(&self) -> bool {
        // A header around frames told it already, and in bytes.
        if is_bare(self.format_id()) && !self.warnings.is_empty() {
            return false;
        }
        match self.end {
            // Samples last as long as the file, but frames have an end of their own.
            End::Expected => is_bare(self.format_id()),
            End::Early => true,
            End::Unclear if is_raw(self.format_id()) => self.promised.is_some(),
            End::Unclear => true,
        }
    }

    /// Sample rate of the recording, in hertz.
    fn rate(&self) -> u32 {
        self.resampler.as_ref().map_or(SAMPLE_RATE, Resampler::rate)
    }

    fn format_id(&self) -> FormatId {
        self.format.format_info().format
    }
}

/// Sample rate, channels and frames of decoded audio.
fn measure(
    decoded: Result<GenericAudioBufferRef<'_>, Error>,
) -> Result<(u32, usize, usize), Error> {
    let buffer = decoded?;
    Ok((
        buffer.spec().rate(),
        buffer.spec().channels().count(),
        buffer.frames(),
    ))
}
