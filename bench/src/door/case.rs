//! What a door and its pools are asked to do.

/// A kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Uploads of new files
    Put,
    /// Downloads
    Get,
}

impl Kind {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Put => "put",
            Kind::Get => "get",
        }
    }

    /// Its heading begins so.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Put => "PUT of new files",
            Kind::Get => "GET of files",
        }
    }

    /// What belongs to a request.
    pub fn about(self) -> &'static str {
        match self {
            Kind::Put => {
                "redirect: the PUT at the door, up to its 307; data: the PUT at the pool with the bytes, the sync, the \
                 name in the namespace, up to 201. A door may close a connection on which it has redirected an upload, as it \
                 cannot know whether the body comes after all (RFC 9110 §10.1.1); then the next one needs a new one"
            }
            Kind::Get => {
                "redirect: the GET at the door, up to its 307; data: the GET at the pool, up to the last byte"
            }
        }
    }
}
