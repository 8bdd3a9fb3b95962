//! Chunked bodies.
//!
//! However a body is cut into pieces, and whether its data pass the decoder or go around it, the same bytes come out and
//! it ends at the same place, or fails alike. A second, naive reading of the grammar agrees. What came out, written as
//! chunks, comes out again.

use penstock_pool::http1::{ChunkError, ChunkedDecoder, Step};

use crate::input::Input;

/// What a body came to: its data, and where it ended.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    data: Vec<u8>,
    /// `None`: more is needed.
    end: Option<Result<usize, ChunkError>>,
}

/// Checks an input: a byte for the size of the pieces, then the body.
pub fn check(data: &[u8]) {
    let mut input = Input(data);
    let piece = usize::from(input.byte()).max(1);
    let body = input.0;
    let whole = decode(body, body.len().max(1), false);
    assert_eq!(decode(body, piece, false), whole, "in pieces of {piece}");
    assert_eq!(decode(body, 1, false), whole, "byte by byte");
    assert_eq!(decode(body, piece, true), whole, "in pieces of {piece}, data around the decoder");
    if let Some(Ok(end)) = whole.end {
        assert_eq!(naive(&body[..end]).as_deref(), Some(whole.data.as_slice()));
        let again = encode(&whole.data, piece);
        assert_eq!(
            decode(&again, again.len(), false),
            Outcome { data: whole.data, end: Some(Ok(again.len())) }
        );
    }
}

fn decode(body: &[u8], piece: usize, around: bool) -> Outcome {
    let mut decoder = ChunkedDecoder::new();
    let mut data = Vec::new();
    let mut at = 0;
    while at < body.len() {
        let outstanding = usize::try_from(decoder.remaining_in_chunk()).unwrap_or(usize::MAX);
        if around && outstanding > 0 {
            let taken = outstanding.min(piece).min(body.len() - at);
            data.extend_from_slice(&body[at..at + taken]);
            decoder.advance(taken as u64);
            at += taken;
            continue;
        }
        let input = &body[at..body.len().min(at + piece)];
        match decoder.decode(input) {
            Ok(Step::Data { skip, len }) => {
                assert!(len > 0);
                data.extend_from_slice(&input[skip..skip + len]);
                at += skip + len;
            }
            Ok(Step::NeedMore { consumed }) => {
                assert_eq!(consumed, input.len());
                at += consumed;
            }
            Ok(Step::End { consumed }) => {
                assert!(decoder.is_end());
                return Outcome { data, end: Some(Ok(at + consumed)) };
            }
            Err(error) => {
                assert_eq!(decoder.decode(b"0\r\n\r\n"), Err(error), "a broken body became whole");
                return Outcome { data, end: Some(Err(error)) };
            }
        }
        // The end may have been the last byte of a piece.
        if decoder.is_end() {
            return Outcome { data, end: Some(Ok(at)) };
        }
    }
    Outcome { data, end: None }
}

/// RFC 9112 §7.1, read line by line; only of bodies that the decoder has found good.
fn naive(mut body: &[u8]) -> Option<Vec<u8>> {
    fn line<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
        let end = body.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &body[..end];
        *body = &body[end + 2..];
        Some(line)
    }
    let mut data = Vec::new();
    loop {
        let size = line(&mut body)?;
        let digits = size.split(|byte| b"; \t".contains(byte)).next()?;
        let size = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        if size == 0 {
            break;
        }
        data.extend_from_slice(body.get(..size)?);
        body = body[size..].strip_prefix(b"\r\n")?;
    }
    while !line(&mut body)?.is_empty() {}
    body.is_empty().then_some(data)
}

fn encode(data: &[u8], piece: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for chunk in data.chunks(piece) {
        body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
        body.extend_from_slice(chunk);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"0\r\n\r\n");
    body
}
