//! The cases of `penstock-bench tpc`.

use std::fmt;

use super::options::Options;
use crate::arguments::show_byte_size;
use crate::report::Label;

/// Smaller files are pulled over one stream, whatever is asked for: the pool's smallest piece.
const LEAST_PIECE_BYTES: u64 = 16 << 20;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Direction {
    /// From the other side to the pool
    Pull,
    /// From the pool to the other side
    Push,
}

impl Direction {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Pull => "pull",
            Direction::Push => "push",
        }
    }

    /// What the other side is.
    pub fn far(self) -> &'static str {
        match self {
            Direction::Pull => "source",
            Direction::Push => "destination",
        }
    }
}

/// With TLS or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scheme {
    /// Without TLS
    Http,
    /// With TLS
    Https,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        })
    }
}

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Which way.
    pub direction: Direction,
    /// With TLS or without.
    pub scheme: Scheme,
    /// Size of each file.
    pub size_bytes: u64,
    /// Copies at once.
    pub parallel: u32,
    /// Streams of each.
    pub streams: u32,
}

impl Case {
    /// Everything that was asked for, combined, for files of these sizes.
    pub fn all(options: &Options, schemes: &[Scheme], sizes: &[u64]) -> Vec<Case> {
        let mut cases = Vec::new();
        for direction in &options.direction {
            for scheme in schemes {
                for size_bytes in sizes.iter().copied() {
                    for parallel in &options.parallel {
                        let mut seen = Vec::new();
                        for streams in &options.streams {
                            let several = *direction == Direction::Pull && size_bytes > LEAST_PIECE_BYTES;
                            let streams = if several { streams.0 } else { 1 };
                            if !seen.contains(&streams) {
                                seen.push(streams);
                                let (direction, scheme, parallel) = (*direction, *scheme, parallel.0);
                                cases.push(Case { direction, scheme, size_bytes, parallel, streams });
                            }
                        }
                    }
                }
            }
        }
        cases
    }

    /// Bytes that its copies take at once: each that is made, and the one that is pushed.
    pub fn space_bytes(&self) -> u64 {
        match self.direction {
            Direction::Pull => self.size_bytes.saturating_mul(u64::from(self.parallel) + 1),
            Direction::Push => self.size_bytes,
        }
    }

    /// What it is, for a report.
    pub fn labels(&self) -> Vec<Label> {
        vec![
            Label::bytes("size_bytes", "size", self.size_bytes),
            Label::count("parallel", "at once", self.parallel),
            Label::count("streams", "streams", self.streams),
        ]
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { direction, scheme, size_bytes, parallel, streams } = self;
        let (direction, size) = (direction.name(), show_byte_size(*size_bytes));
        write!(f, "{direction} {scheme}, {size}, {parallel} at once, {streams} streams")
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn streams_count_where_there_can_be_several() {
        let line =
            Line::try_parse_from(["x", "--socket", "s", "--parallel", "2", "--streams", "1,4,8"]).unwrap();
        let cases = Case::all(&line.options, &[Scheme::Http], &[1 << 20, 64 << 20]);
        let of = |direction, size_bytes: u64| {
            let of_it =
                cases.iter().filter(|case| case.direction == direction && case.size_bytes == size_bytes);
            of_it.map(|case| case.streams).collect::<Vec<_>>()
        };
        assert_eq!(of(Direction::Pull, 1 << 20), [1]);
        assert_eq!(of(Direction::Pull, 64 << 20), [1, 4, 8]);
        assert_eq!(of(Direction::Push, 64 << 20), [1]);
        assert_eq!(cases[0].space_bytes(), 3 << 20, "two at once, and the one that is kept");
    }
}
