//! Points of a scatter plot. Few points are all kept; of many, one stands for all that lie close
//! together.

use std::collections::BTreeMap;

/// Ratio of a cell's resolution in time to that in value, because plots are wider than high.
const ASPECT: u64 = 4;

/// Keeps a bounded number of points; in each cell the highest one.
#[derive(Debug)]
pub struct Thinned<T> {
    cells: BTreeMap<Key, Cell<T>>,
    most: usize,
    /// A cell spans 2^shift in each direction.
    time_shift: u32,
    value_shift: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Points of different groups never share a cell.
    group: u16,
    time: u64,
    value: u64,
}

/// A point that is shown.
#[derive(Debug)]
pub struct Cell<T> {
    /// Horizontal position (time) of the point.
    pub time: u64,
    /// Vertical position (value) of the point.
    pub value: u64,
    /// The thing at this point.
    pub what: T,
    /// Number of points that it stands for.
    pub count: u64,
}

impl<T> Thinned<T> {
    /// Keep at most `most` points. There must be fewer groups than that.
    pub fn new(most: usize) -> Thinned<T> {
        Thinned {
            cells: BTreeMap::new(),
            most,
            time_shift: 0,
            value_shift: 0,
        }
    }

    /// Adds a point, and coarsens the cells if there are too many.
    pub fn add(&mut self, group: u16, time: u64, value: u64, what: impl FnOnce() -> T) {
        let key = self.key(group, time, value);
        match self.cells.get_mut(&key) {
            Some(cell) if cell.value >= value => cell.count += 1,
            Some(cell) => {
                *cell = Cell {
                    time,
                    value,
                    what: what(),
                    count: cell.count + 1,
                }
            }
            None => {
                let what = what();
                let count = 1;
                let cell = Cell {
                    time,
                    value,
                    what,
                    count,
                };
                self.cells.insert(key, cell);
                while self.cells.len() > self.most && self.coarsen() {}
            }
        }
    }

    /// The points with their groups.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Cell<T>)> {
        self.cells.iter().map(|(key, cell)| (key.group, cell))
    }

    fn key(&self, group: u16, time: u64, value: u64) -> Key {
        Key {
            group,
            time: time.checked_shr(self.time_shift).unwrap_or(0),
            value: value.checked_shr(self.value_shift).unwrap_or(0),
        }
    }

    /// Doubles the size of cells in their finer direction; returns false if they cannot be larger.
    fn coarsen(&mut self) -> bool {
        let spread = |of: fn(&Key) -> u64| {
            let (least, most) = (
                self.cells.keys().map(of).min(),
                self.cells.keys().map(of).max(),
            );
            most.unwrap_or(0) - least.unwrap_or(0)
        };
        let (time, value) = (spread(|key| key.time), spread(|key| key.value));
        if time == 0 && value == 0 {
            return false;
        }
        if value == 0 || time / ASPECT > value {
            self.time_shift += 1;
        } else {
            self.value_shift += 1;
        }
        for (old, cell) in std::mem::take(&mut self.cells) {
            let key = self.key(old.group, cell.time, cell.value);
            match self.cells.get_mut(&key) {
                Some(kept) if kept.value >= cell.value => kept.count += cell.count,
                Some(kept) => {
                    let count = kept.count + cell.count;
                    *kept = Cell { count, ..cell };
                }
                None => {
                    self.cells.insert(key, cell);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_points_are_all_there() {
        let mut points = Thinned::new(100);
        for n in 0..100 {
            points.add(0, 1_700_000_000_000_000 + n, n, || n);
        }
        assert_eq!(points.iter().count(), 100);
        assert!(
            points
                .iter()
                .all(|(_, cell)| cell.count == 1 && cell.value == cell.what)
        );
    }

    #[test]
    fn many_points_are_thinned_evenly_and_neither_counts_nor_the_highest_are_lost() {
        let mut points = Thinned::new(2000);
        let mut random = 1u64;
        let mut highest = [0; 3];
        for n in 0..100_000u64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let (group, value) = (n % 3, (random >> 35) % (512 << 20));
            let of_group = &mut highest[usize::try_from(group).unwrap()];
            *of_group = value.max(*of_group);
            let time = 1_700_000_000_000_000 + n * 864_000;
            points.add(u16::try_from(group).unwrap(), time, value, || ());
        }
        let cells: Vec<_> = points.iter().collect();
        assert!((500..=2000).contains(&cells.len()), "{}", cells.len());
        let count: u64 = cells.iter().map(|(_, cell)| cell.count).sum();
        assert_eq!(count, 100_000);
        for (group, highest) in (0..).zip(highest) {
            let of_group = cells.iter().filter(|(other, _)| *other == group);
            assert_eq!(of_group.map(|(_, cell)| cell.value).max(), Some(highest));
        }
        let times: std::collections::BTreeSet<u64> = cells
            .iter()
            .map(|(_, cell)| cell.time >> points.time_shift)
            .collect();
        assert!(times.len() > 20, "{}", times.len());
    }

    #[test]
    fn nothing_that_comes_makes_more_points() {
        let mut points = Thinned::new(10);
        for n in 0..1000u64 {
            let extreme = [0, u64::MAX, n, u64::MAX - n][usize::try_from(n % 4).unwrap()];
            let group = u16::try_from(n % 3).unwrap();
            points.add(group, extreme, extreme.rotate_left(7), || ());
            assert!(points.iter().count() <= 10);
        }
    }
}
