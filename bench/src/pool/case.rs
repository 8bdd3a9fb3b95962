//! What a pool is asked to do.

use super::options::Options;
use crate::arguments::show_byte_size;

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Uploads of new files
    Put,
    /// Downloads of files that were read before
    Get,
    /// Downloads of files that were just uploaded, and so are on the disk alone (with io_mode = "direct")
    FirstGet,
    /// Ranges at random places of one download each
    Ranges,
    /// Uploads of small files
    SmallPut,
    /// Downloads of small files
    SmallGet,
    /// 7 downloads for 3 uploads
    Mixed,
}

impl Kind {
    /// All, in the order in which they are measured.
    pub const ALL: [Kind; 7] =
        [Kind::Put, Kind::FirstGet, Kind::Get, Kind::Ranges, Kind::SmallPut, Kind::SmallGet, Kind::Mixed];
}

/// A kind of work on files of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// The kind.
    pub kind: Kind,
    /// The size of each file.
    pub file_bytes: u64,
    /// Bytes that a request moves.
    pub request_bytes: u64,
}

impl Case {
    /// Those that were asked for.
    pub fn all(options: &Options) -> Vec<Case> {
        let kinds = options.cases.clone().unwrap_or_else(|| Kind::ALL.to_vec());
        let mut cases = Vec::new();
        for kind in kinds {
            let case = |file_bytes, request_bytes| Case { kind, file_bytes, request_bytes };
            match kind {
                Kind::Put | Kind::Get | Kind::FirstGet | Kind::Mixed => {
                    cases.push(case(options.size.0, options.size.0));
                }
                Kind::SmallPut | Kind::SmallGet => {
                    cases.push(case(options.small_size.0, options.small_size.0))
                }
                Kind::Ranges => {
                    let inside = options.ranges.iter().map(|range| range.0.min(options.size.0));
                    cases.extend(inside.map(|range| case(options.size.0, range)));
                }
            }
        }
        cases
    }

    /// Its name in JSON.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Put => "put",
            Kind::Get => "get",
            Kind::FirstGet => "first-get",
            Kind::Ranges => "ranges",
            Kind::SmallPut => "small-put",
            Kind::SmallGet => "small-get",
            Kind::Mixed => "mixed",
        }
    }

    /// Its heading.
    pub fn title(&self) -> String {
        let (file, request) = (show_byte_size(self.file_bytes), show_byte_size(self.request_bytes));
        match self.kind {
            Kind::Put => format!("PUT of new files, {file}"),
            Kind::Get => format!("GET of files read before, {file}"),
            Kind::FirstGet => format!("GET of files never read before, {file}"),
            Kind::Ranges => format!("GET of ranges, {request}"),
            Kind::SmallPut => format!("PUT of small files, {file}"),
            Kind::SmallGet => format!("GET of small files, {file}"),
            Kind::Mixed => format!("7 GETs for 3 PUTs, {file}"),
        }
    }

    /// What belongs to a request.
    pub fn about(&self) -> &'static str {
        match self.kind {
            Kind::Ranges => {
                "each client asks for ranges at random places, over one connection and one redirect"
            }
            Kind::Put | Kind::SmallPut | Kind::Mixed => {
                "a request is all of it: the door's order, the URL, the bytes, the sync, the door's word, 201"
            }
            Kind::Get | Kind::FirstGet | Kind::SmallGet => {
                "a request is all of it: the door's order, the URL, the bytes"
            }
        }
    }

    /// Files that have to be there before it begins, for so many clients.
    pub fn files_needed(&self, clients: u32, space_bytes: u64) -> u64 {
        match self.kind {
            Kind::Put | Kind::SmallPut => 0,
            Kind::Get | Kind::Ranges | Kind::Mixed | Kind::SmallGet => u64::from(clients).min(4),
            // Each is read once.
            Kind::FirstGet => (space_bytes / self.file_bytes.max(1)).clamp(u64::from(clients), 256),
        }
    }

    /// Whether requests, rather than bytes, are what counts.
    pub fn is_small(&self) -> bool {
        self.request_bytes <= 64 << 10
    }
}
