//! The bytes of a simulated file: sparse, cheap to copy, and for each page known whether the medium has it and whether
//! the page cache has a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use super::random::Random;

/// The unit of allocation, of the cache, and of the alignment of direct I/O.
pub(super) const PAGE_BYTES: u64 = 4096;
const PAGE: usize = PAGE_BYTES as usize;
/// What a medium writes whole or not at all, when the power fails.
const SECTOR: usize = 512;

type Pages = BTreeMap<u64, Arc<[u8; PAGE]>>;

/// Length, space and time of a file: what its inode says of its data.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub size: u64,
    pub allocated: PageRanges,
    pub modified_at: SystemTime,
}

/// The content of a file: what a reader sees, what the page cache has, and what the medium has.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub shape: Shape,
    /// As the medium would give them, and above that what it has still to be given.
    pages: Pages,
    /// Copies that were read. They stay as they are when the medium rots under them, and may rot themselves.
    cache: Pages,
    /// Pages that the next sync writes. After a failed sync they are lost: the kernel drops them and says so once.
    dirty: BTreeSet<u64>,
    durable_shape: Shape,
    durable_pages: Pages,
}

fn pages_of(offset: u64, length: u64) -> std::ops::Range<u64> {
    offset / PAGE_BYTES..offset.saturating_add(length).div_ceil(PAGE_BYTES)
}

impl Content {
    pub fn new(now: SystemTime) -> Self {
        let shape = Shape { size: 0, allocated: PageRanges::default(), modified_at: now };
        Self {
            shape: shape.clone(),
            pages: Pages::new(),
            cache: Pages::new(),
            dirty: BTreeSet::new(),
            durable_shape: shape,
            durable_pages: Pages::new(),
        }
    }

    /// Pages that a range needs and does not have.
    pub fn missing(&self, offset: u64, length: u64) -> u64 {
        self.shape.allocated.missing(pages_of(offset, length))
    }

    pub fn allocate(&mut self, offset: u64, length: u64) {
        self.shape.allocated.insert(pages_of(offset, length));
    }

    pub fn write(&mut self, data: &[u8], offset: u64, now: SystemTime) {
        let mut done = 0;
        while done < data.len() {
            let position = offset + done as u64;
            let within = (position % PAGE_BYTES) as usize;
            let length = (PAGE - within).min(data.len() - done);
            let number = position / PAGE_BYTES;
            let page = self.pages.entry(number).or_insert_with(|| Arc::new([0; PAGE]));
            Arc::make_mut(page)[within..within + length].copy_from_slice(&data[done..done + length]);
            self.cache.remove(&number);
            self.dirty.insert(number);
            done += length;
        }
        self.shape.size = self.shape.size.max(offset + data.len() as u64);
        self.shape.modified_at = now;
    }

    /// Reads past the cache.
    pub fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        self.read_from(buffer, offset, |number| self.pages.get(&number))
    }

    /// Reads through the cache. If a page of it was missing there, so many pages behind the range come into it, too.
    pub fn read_cached(&mut self, buffer: &mut [u8], offset: u64, read_ahead: u64) -> usize {
        let end = self.shape.size.min(offset.saturating_add(buffer.len() as u64));
        let wanted = pages_of(offset, end.saturating_sub(offset));
        let last = self.shape.size.div_ceil(PAGE_BYTES);
        if wanted.clone().any(|number| !self.is_cached(number)) {
            for number in wanted.start..wanted.end.saturating_add(read_ahead).min(last) {
                if !self.is_cached(number) {
                    let page = self.pages.get(&number).cloned().unwrap_or_else(|| Arc::new([0; PAGE]));
                    self.cache.insert(number, page);
                }
            }
        }
        self.read_from(buffer, offset, |number| self.cache.get(&number).or_else(|| self.pages.get(&number)))
    }

    fn read_from<'a>(
        &'a self,
        buffer: &mut [u8],
        offset: u64,
        page: impl Fn(u64) -> Option<&'a Arc<[u8; PAGE]>>,
    ) -> usize {
        let length = (self.shape.size.saturating_sub(offset)).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < length {
            let position = offset + done as u64;
            let within = (position % PAGE_BYTES) as usize;
            let part = (PAGE - within).min(length - done);
            let target = &mut buffer[done..done + part];
            match page(position / PAGE_BYTES) {
                Some(page) => target.copy_from_slice(&page[within..within + part]),
                None => target.fill(0),
            }
            done += part;
        }
        length
    }

    /// What is dirty is in the cache and nowhere else.
    fn is_cached(&self, number: u64) -> bool {
        self.cache.contains_key(&number) || self.dirty.contains(&number)
    }

    /// Bytes of a range that are in the cache, in whole pages.
    pub fn cached(&self, offset: u64, length: u64) -> u64 {
        pages_of(offset, length).filter(|number| self.is_cached(*number)).count() as u64 * PAGE_BYTES
    }

    pub fn truncate(&mut self, size: u64, now: SystemTime) {
        let end = size.div_ceil(PAGE_BYTES);
        self.pages.split_off(&end);
        self.cache.split_off(&(size / PAGE_BYTES));
        self.dirty.split_off(&end);
        self.shape.allocated.cut(end);
        // What was behind the end must not come back when the file grows again.
        let within = (size % PAGE_BYTES) as usize;
        if within != 0
            && let Some(page) = self.pages.get_mut(&(size / PAGE_BYTES))
        {
            Arc::make_mut(page)[within..].fill(0);
            self.dirty.insert(size / PAGE_BYTES);
        }
        self.shape.size = size;
        self.shape.modified_at = now;
    }

    /// Bytes of a range that are dirty.
    pub fn dirty(&self, offset: u64, length: u64) -> u64 {
        self.dirty.range(pages_of(offset, length)).count() as u64 * PAGE_BYTES
    }

    /// Everything dirty reaches the medium.
    pub fn sync(&mut self) {
        for number in std::mem::take(&mut self.dirty) {
            if let Some(page) = self.pages.get(&number) {
                self.durable_pages.insert(number, page.clone());
            }
        }
        self.durable_pages.split_off(&self.shape.size.div_ceil(PAGE_BYTES));
        self.durable_shape = self.shape.clone();
    }

    /// The cache drops what it has of a range and is not dirty.
    pub fn evict(&mut self, offset: u64, length: u64) {
        for number in pages_of(offset, length.min(self.shape.size.saturating_sub(offset))) {
            self.cache.remove(&number);
        }
    }

    /// The medium refused: what was dirty is believed clean, and never gets there.
    pub fn lose(&mut self) {
        self.dirty.clear();
    }

    /// Flips a bit on the medium and in the cache.
    pub fn corrupt(&mut self, byte: u64, bit: u8) {
        self.corrupt_medium(byte, bit);
        self.corrupt_cached(byte, bit);
    }

    /// Flips a bit on the medium, where a copy in the cache hides it.
    pub fn corrupt_medium(&mut self, byte: u64, bit: u8) {
        for pages in [&mut self.pages, &mut self.durable_pages] {
            flip(pages, byte, bit);
        }
    }

    /// Flips a bit of the copy in the cache, if there is one.
    pub fn corrupt_cached(&mut self, byte: u64, bit: u8) {
        flip(&mut self.cache, byte, bit);
    }

    /// What is left when the power fails: what was synced, and by chance some of what was not.
    pub fn after_crash(&self, random: &mut Random) -> Self {
        let shape = if random.chance(0.5) { self.shape.clone() } else { self.durable_shape.clone() };
        let mut pages = self.durable_pages.clone();
        for &number in &self.dirty {
            if let Some(new) = self.pages.get(&number) {
                let page = pages.entry(number).or_insert_with(|| Arc::new([0; PAGE]));
                for (old, new) in Arc::make_mut(page).chunks_mut(SECTOR).zip(new.chunks(SECTOR)) {
                    if random.chance(0.5) {
                        old.copy_from_slice(new);
                    }
                }
            }
        }
        pages.split_off(&shape.size.div_ceil(PAGE_BYTES));
        Self {
            durable_shape: shape.clone(),
            shape,
            durable_pages: pages.clone(),
            pages,
            cache: Pages::new(),
            dirty: BTreeSet::new(),
        }
    }
}

fn flip(pages: &mut Pages, byte: u64, bit: u8) {
    if let Some(page) = pages.get_mut(&(byte / PAGE_BYTES)) {
        Arc::make_mut(page)[(byte % PAGE_BYTES) as usize] ^= 1 << (bit % 8);
    }
}

/// A set of pages, kept as ranges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PageRanges {
    /// End by start; ranges neither overlap nor touch.
    ranges: BTreeMap<u64, u64>,
}

impl PageRanges {
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }

    /// How many pages of a range are not in the set.
    pub fn missing(&self, range: std::ops::Range<u64>) -> u64 {
        let held = self
            .ranges
            .range(..range.end)
            .map(|(&start, &end)| end.min(range.end).saturating_sub(start.max(range.start)));
        range.end.saturating_sub(range.start) - held.sum::<u64>()
    }

    pub fn insert(&mut self, range: std::ops::Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        let touching: Vec<u64> =
            self.ranges.range(..=end).filter(|&(_, &held)| held >= start).map(|(&held, _)| held).collect();
        for held in touching {
            if let Some(held_end) = self.ranges.remove(&held) {
                start = start.min(held);
                end = end.max(held_end);
            }
        }
        self.ranges.insert(start, end);
    }

    /// Takes all pages from `end` on out of the set.
    pub fn cut(&mut self, end: u64) {
        self.ranges.split_off(&end);
        if let Some(mut last) = self.ranges.last_entry() {
            let cut = end.min(*last.get());
            *last.get_mut() = cut;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn page_ranges_behave_like_a_set_of_pages(
            steps in prop::collection::vec((0u64..40, 0u64..12, prop::bool::weighted(0.2)), 1..40)
        ) {
            let mut ranges = PageRanges::default();
            let mut set = BTreeSet::new();
            for (start, length, cut) in steps {
                if cut {
                    ranges.cut(start);
                    set.split_off(&start);
                } else {
                    let missing = (start..start + length).filter(|page| !set.contains(page)).count() as u64;
                    prop_assert_eq!(ranges.missing(start..start + length), missing);
                    ranges.insert(start..start + length);
                    set.extend(start..start + length);
                }
                prop_assert_eq!(ranges.count(), set.len() as u64);
                prop_assert_eq!(ranges.missing(0..60), 60 - set.len() as u64);
            }
        }
    }

    #[test]
    fn a_page_that_was_synced_survives_and_one_that_was_not_may_go() {
        // Given a file with a synced page, and another page written after that
        let now = SystemTime::UNIX_EPOCH;
        let mut content = Content::new(now);
        content.write(&[1; PAGE], 0, now);
        content.sync();
        content.write(&[2; PAGE], PAGE_BYTES, now);
        // When the power fails, many times
        let mut sizes = BTreeSet::new();
        for seed in 0..64 {
            let after = content.after_crash(&mut Random::new(seed));
            // Then the synced page is there
            let mut page = [0; PAGE];
            assert_eq!(after.read(&mut page, 0), PAGE);
            assert_eq!(page, [1; PAGE]);
            sizes.insert(after.shape.size);
        }
        // And the other sometimes is, sometimes not
        assert_eq!(sizes, BTreeSet::from([PAGE_BYTES, 2 * PAGE_BYTES]));
    }

    #[test]
    fn a_copy_in_the_cache_hides_what_becomes_of_the_medium_until_it_is_evicted() {
        // Given two pages on the medium, of which the first is read through the cache, with one page of read-ahead
        let now = SystemTime::UNIX_EPOCH;
        let mut content = Content::new(now);
        content.write(&[1; 3 * PAGE], 0, now);
        content.sync();
        assert_eq!(content.cached(0, 3 * PAGE_BYTES), 0);
        let mut byte = [0];
        content.read_cached(&mut byte, 0, 1);
        assert_eq!(content.cached(0, 3 * PAGE_BYTES), 2 * PAGE_BYTES);
        // When both rot on the medium
        content.corrupt_medium(0, 1);
        content.corrupt_medium(PAGE_BYTES, 1);
        // Then it shows past the cache, and through it only after an eviction
        let mut through = |content: &mut Content, offset| {
            content.read_cached(&mut byte, offset, 0);
            byte
        };
        assert_eq!((through(&mut content, 0), through(&mut content, PAGE_BYTES)), ([1], [1]));
        content.evict(0, PAGE_BYTES);
        assert_eq!((through(&mut content, 0), through(&mut content, PAGE_BYTES)), ([3], [1]));
        content.read(&mut byte, PAGE_BYTES);
        assert_eq!(byte, [3]);
    }

    #[test]
    fn what_a_failed_sync_lost_stays_lost_although_the_next_sync_succeeds() {
        let now = SystemTime::UNIX_EPOCH;
        let mut content = Content::new(now);
        content.write(&[1; PAGE], 0, now);
        content.lose();
        content.sync();
        let mut page = [9; PAGE];
        content.after_crash(&mut Random::new(1)).read(&mut page, 0);
        assert_eq!(page, [0; PAGE]);
    }
}
