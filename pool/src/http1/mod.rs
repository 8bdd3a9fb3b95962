//! HTTP/1.1 as the data port speaks it: heads, framing, ranges, conditions and digest headers.
//!
//! Pure code: bytes in, decisions and bytes out. It never touches a socket, a clock or a file; the engine feeds it.
//! What it must never do is guess: a message whose end two readers could see at different places is refused and its
//! connection closed (RFC 9112 §11.2).
#![forbid(unsafe_code)]

mod answer_digest;
mod answer_head;
mod bad_request;
mod body;
mod chunked;
mod conditional;
mod date;
mod digest;
mod head;
mod list;
mod multipart;
mod put_rules;
mod range;
mod request;
mod response;
mod target;

pub use answer_digest::{answered_checksums, want_digest_header, want_repr_digest_header};
pub use answer_head::{
    AnswerBody, AnswerError, AnswerHead, ContentRange, EntityTag, MAX_ANSWER_HEAD_BYTES, ParsedAnswer,
    parse_answer,
};
pub use bad_request::BadRequest;
pub use body::{BodyLength, Expectation, expectation};
pub use chunked::{ChunkError, ChunkedDecoder, Step};
pub use conditional::{Condition, Validators, evaluate};
pub use date::{HttpDate, parse_date};
pub use digest::{WantedDigests, digest_header, repr_digest_header, stated_checksums};
pub use head::{Limits, Parsed, parse};
pub use list::elements;
pub use multipart::Multipart;
pub use put_rules::{PutLength, check_put};
pub use range::{MAX_RANGES, Ranges, content_range, if_range_holds, parse_ranges, unsatisfied_range};
pub use request::{Method, Request, Version};
pub use response::{CONTINUE, ResponseHead, TextAnswer, standard_reason};
