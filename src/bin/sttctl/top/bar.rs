//! Bars: a share of a limit, with a mark at the highest share so far.

/// A bar of `width` columns, including its brackets. Any value above 0 is visible.
pub fn bar(now: Option<f64>, peak: Option<f64>, width: usize) -> String {
    let inside = width.saturating_sub(2);
    let cells = |share: Option<f64>| match share {
        Some(share) if share > 0.0 => {
            let cells = (share.min(1.0) * inside as f64).round() as usize;
            cells.max(1)
        }
        _ => 0,
    };
    let (filled, mark) = (cells(now), cells(peak));
    let inner = (1..=inside).map(|cell| match cell {
        cell if cell == mark => '|',
        cell if cell <= filled => '#',
        _ => ' ',
    });
    format!("[{}]", inner.collect::<String>())
}

/// `part` divided by `limit`.
pub fn share(part: Option<u64>, limit: Option<u64>) -> Option<f64> {
    Some(part? as f64 / limit? as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_its_share() {
        for (now, peak, shown) in [
            (None, None, "[          ]"),
            (Some(0.0), Some(0.0), "[          ]"),
            (Some(0.0), Some(0.5), "[    |     ]"),
            (Some(0.001), None, "[#         ]"),
            (Some(0.5), None, "[#####     ]"),
            (Some(0.5), Some(0.5), "[####|     ]"),
            (Some(0.5), Some(1.0), "[#####    |]"),
            (Some(0.96), None, "[##########]"),
            (Some(1.0), None, "[##########]"),
            (Some(1.0), Some(1.0), "[#########|]"),
            (Some(7.0), None, "[##########]"),
            (Some(f64::NAN), Some(-1.0), "[          ]"),
        ] {
            assert_eq!(bar(now, peak, 12), shown, "{now:?} {peak:?}");
        }
        assert_eq!(bar(Some(1.0), None, 3), "[#]");
        assert_eq!(share(Some(1), Some(2)), Some(0.5));
        assert_eq!(bar(share(Some(0), Some(0)), None, 4), "[  ]");
    }
}
