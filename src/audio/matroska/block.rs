//! Takes the frames of a block apart.

use super::ebml::number_in;

/// How frames are laced together in a block.
fn lacing(flags: u8) -> u8 {
    flags >> 1 & 3
}

/// The frames in `block`, which starts behind the flags; `None` if their lengths contradict.
pub(super) fn frames(block: &[u8], flags: u8) -> Option<Vec<&[u8]>> {
    if lacing(flags) == 0 {
        return Some(vec![block]);
    }
    let count = usize::from(*block.first()?) + 1;
    let rest = &block[1..];
    let (lengths, mut rest) = match lacing(flags) {
        1 => xiph(rest, count)?,
        2 => {
            let each = rest.len() / count;
            let fits = each * count == rest.len();
            return (fits && each > 0).then(|| rest.chunks_exact(each).collect());
        }
        _ => ebml(rest, count)?,
    };
    let mut frames = Vec::with_capacity(count);
    for length in lengths {
        let (frame, others) = rest.split_at_checked(length)?;
        frames.push(frame);
        rest = others;
    }
    frames.push(rest);
    Some(frames)
}

/// Lengths of all frames but the last, and the bytes behind them.
fn xiph(mut bytes: &[u8], count: usize) -> Option<(Vec<usize>, &[u8])> {
    let mut lengths = Vec::with_capacity(count);
    while lengths.len() + 1 < count {
        let mut length = 0_usize;
        loop {
            let (byte, rest) = bytes.split_first()?;
            bytes = rest;
            length += usize::from(*byte);
            if *byte < 255 {
                break;
            }
        }
        lengths.push(length);
    }
    Some((lengths, bytes))
}

/// Like [`xiph`]; each length but the first is given as the difference from the one before.
fn ebml(mut bytes: &[u8], count: usize) -> Option<(Vec<usize>, &[u8])> {
    let mut lengths: Vec<usize> = Vec::with_capacity(count);
    while lengths.len() + 1 < count {
        let (number, width) = number_in(bytes)?;
        bytes = &bytes[width..];
        let number = i64::try_from(number).ok()?;
        let length = match lengths.last() {
            None => number,
            Some(last) => {
                let bias = (1_i64 << (7 * width - 1)) - 1;
                i64::try_from(*last).ok()?.checked_add(number - bias)?
            }
        };
        lengths.push(usize::try_from(length).ok()?);
    }
    Some((lengths, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(block: &[u8], flags: u8) -> Option<Vec<usize>> {
        frames(block, flags).map(|frames| frames.iter().map(|frame| frame.len()).collect())
    }

    /// Bytes of a head, and as many others as the frames have.
    fn block(head: &[u8], rest: usize) -> Vec<u8> {
        [head, &vec![7; rest]].concat()
    }

    #[test]
    fn frames_are_found_in_every_lacing() {
        assert_eq!(lengths(&block(&[], 5), 0x80), Some(vec![5]));
        let xiph = block(&[2, 255, 45, 0], 310);
        assert_eq!(lengths(&xiph, 2), Some(vec![300, 0, 10]));
        assert_eq!(lengths(&block(&[2], 9), 4), Some(vec![3, 3, 3]));
        // 300, 300 − 60, and what is left.
        let ebml = block(&[2, 0x41, 0x2c, 0x5f, 0xc3], 550);
        assert_eq!(lengths(&ebml, 6), Some(vec![300, 240, 10]));
    }

    #[test]
    fn lengths_that_contradict_the_block_are_damage() {
        for flags in [2, 4, 6] {
            assert_eq!(lengths(&[], flags), None);
        }
        assert_eq!(lengths(&block(&[1, 200], 100), 2), None);
        assert_eq!(lengths(&block(&[1], 3), 4), None);
        assert_eq!(lengths(&block(&[255], 3), 4), None);
        assert_eq!(lengths(&block(&[2, 0x81, 0x80], 9), 6), None);
    }
}
