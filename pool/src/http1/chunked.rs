//! Decoding a chunked body (RFC 9112 §7.1) in place, and past the decoder where it can be.
//!
//! The decoder copies nothing: it says which part of its input is data. While a chunk's data is outstanding
//! ([`ChunkedDecoder::remaining_in_chunk`]), the caller may receive it straight to where it belongs and say how much
//! that was ([`ChunkedDecoder::advance`]).

use super::BadRequest;
use super::head::is_token_byte;

/// A size has at most as many digits as 64 bits need.
const MAX_SIZE_DIGITS: u32 = 16;
/// Bytes of one chunk's extensions, which are read past.
const MAX_EXTENSION_BYTES: u32 = 1 << 10;
/// How far the extensions of all chunks together may exceed the data: signed chunks stay far below, a client that
/// sends little else than extensions is cut off.
const MAX_EXTENSION_EXCESS_BYTES: u64 = 16 << 10;
/// Bytes of all trailer fields, which are checked and dropped.
const MAX_TRAILER_BYTES: u32 = 8 << 10;
/// Trailer fields.
const MAX_TRAILERS: u32 = 64;

/// What the decoder made of its input. In every case the caller goes on behind what is named here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// `input[skip..skip + len]` is data of the body; `len` is never 0. Go on at `skip + len`.
    Data {
        /// Framing before the data.
        skip: usize,
        /// Length of the data.
        len: usize,
    },
    /// All of the input was framing and more is needed.
    NeedMore {
        /// The input's length.
        consumed: usize,
    },
    /// The body has ended; what follows belongs to the next request.
    End {
        /// Framing up to the end.
        consumed: usize,
    },
}

/// Why a body is not chunked coding. Its connection must be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// No digit where a chunk's size must be.
    #[error("chunked body: a chunk's size is missing or not hexadecimal")]
    Size,
    /// More than 16 digits, or more bytes than a file can have.
    #[error("chunked body: a chunk's size, or that of all chunks, is larger than any file can be (2^63 - 1)")]
    TooLarge,
    /// Something else than CR LF at a line's end.
    #[error("chunked body: a line does not end with CR LF")]
    LineEnd,
    /// A chunk's data is not followed by CR LF.
    #[error("chunked body: a chunk's data is not followed by CR LF; its size is wrong")]
    DataEnd,
    /// Control characters in an extension.
    #[error("chunked body: a chunk extension holds a control character")]
    Extension,
    /// Too long extensions, of one chunk or of all.
    #[error(
        "chunked body: chunk extensions are longer than 1024 bytes, or together exceed the data by 16 KiB"
    )]
    ExtensionTooLong,
    /// A trailer line that is no field.
    #[error("chunked body: a trailer line is not 'Name: value'")]
    Trailer,
    /// Too many or too long trailers.
    #[error("chunked body: more than 64 trailer fields or 8192 bytes of them")]
    TrailersTooLong,
}

impl From<ChunkError> for BadRequest {
    fn from(error: ChunkError) -> Self {
        BadRequest::malformed(error.to_string())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In a chunk's size; the digits read so far.
    Size {
        digits: u32,
    },
    /// Behind the size: white space that only an extension may follow (RFC 9112 §7.1.1).
    BeforeExtension,
    /// In the extensions.
    Extension,
    /// CR of the size line was read.
    SizeLf,
    /// In the data.
    Data,
    /// Behind the data.
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends the body.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    /// CR of the last line was read.
    EndLf,
    End,
    /// Every further call fails as the first one did.
    Failed(ChunkError),
}

/// A chunked body that is being received.
#[derive(Debug, Clone)]
pub struct ChunkedDecoder {
    state: State,
    /// The size that is being read, then the data that is outstanding.
    remaining: u64,
    /// Data of all chunks whose size was read.
    total: u64,
    /// Bytes of this chunk's extensions; in the trailers, bytes of all of them.
    line_bytes: u32,
    /// By how much the extensions exceed the data so far.
    extension_excess: u64,
    trailers: u32,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkedDecoder {
    /// At the start of a body.
    pub fn new() -> Self {
        let state = State::Size { digits: 0 };
        Self { state, remaining: 0, total: 0, line_bytes: 0, extension_excess: 0, trailers: 0 }
    }

    /// Data of the present chunk that has not been seen yet. While this is not 0, all that comes next is data.
    pub fn remaining_in_chunk(&self) -> u64 {
        match self.state {
            State::Data => self.remaining,
            _ => 0,
        }
    }

    /// Says that the next `bytes` of data were received without the decoder; at most
    /// [`Self::remaining_in_chunk`], more is ignored.
    pub fn advance(&mut self, bytes: u64) {
        debug_assert!(bytes <= self.remaining_in_chunk(), "received past the chunk's end");
        if self.state == State::Data {
            self.remaining = self.remaining.saturating_sub(bytes);
            if self.remaining == 0 {
                self.state = State::DataCr;
            }
        }
    }

    /// Has the body ended?
    pub fn is_end(&self) -> bool {
        self.state == State::End
    }

    /// Looks at the next received bytes.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, ChunkError> {
        for (i, byte) in input.iter().enumerate() {
            match self.state {
                State::Data => {
                    let rest = input.len() - i;
                    // The smaller of the two fits both types.
                    let len = self.remaining.min(rest as u64) as usize;
                    self.advance(len as u64);
                    return Ok(Step::Data { skip: i, len });
                }
                State::End => return Ok(Step::End { consumed: i }),
                _ => {
                    self.state = self.next(*byte).unwrap_or_else(State::Failed);
                    if let State::Failed(error) = self.state {
                        return Err(error);
                    }
                }
            }
        }
        match self.state {
            State::End => Ok(Step::End { consumed: input.len() }),
            State::Failed(error) => Err(error),
            _ => Ok(Step::NeedMore { consumed: input.len() }),
        }
    }

    /// One byte of framing. `Data`, `End` and `Failed` take none.
    fn next(&mut self, byte: u8) -> Result<State, ChunkError> {
        Ok(match (self.state, byte) {
            (State::Size { digits: MAX_SIZE_DIGITS }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                return Err(ChunkError::TooLarge);
            }
            (State::Size { digits }, b'0'..=b'9') => self.digit(digits, byte - b'0'),
            (State::Size { digits }, b'a'..=b'f') => self.digit(digits, byte - b'a' + 10),
            (State::Size { digits }, b'A'..=b'F') => self.digit(digits, byte - b'A' + 10),
            (State::Size { digits: 0 }, _) => return Err(ChunkError::Size),
            (State::Size { .. } | State::BeforeExtension, b';') => self.extension_byte()?,
            (State::Size { .. } | State::BeforeExtension, b' ' | b'\t') => {
                self.extension_byte()?;
                State::BeforeExtension
            }
            (State::Size { .. } | State::Extension, b'\r') => State::SizeLf,
            (State::Size { .. } | State::Extension, b'\n') => return Err(ChunkError::LineEnd),
            (State::Size { .. } | State::BeforeExtension, _) => return Err(ChunkError::Size),
            (State::Extension, byte) if is_value_byte(byte) => self.extension_byte()?,
            (State::Extension, _) => return Err(ChunkError::Extension),
            (State::SizeLf, b'\n') => self.start_data()?,
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::End,
            (State::SizeLf | State::TrailerLf | State::EndLf, _) => return Err(ChunkError::LineEnd),

            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { digits: 0 },
            (State::DataCr | State::DataLf, _) => return Err(ChunkError::DataEnd),

            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart, byte) if is_token_byte(&byte) => {
                self.trailers += 1;
                if self.trailers > MAX_TRAILERS {
                    return Err(ChunkError::TrailersTooLong);
                }
                self.trailer_byte(State::TrailerName)?
            }
            (State::TrailerName, byte) if is_token_byte(&byte) => self.trailer_byte(State::TrailerName)?,
            (State::TrailerName, b':') => self.trailer_byte(State::TrailerValue)?,
            (State::TrailerValue, b'\r') => State::TrailerLf,
            (State::TrailerValue, byte) if is_value_byte(byte) => self.trailer_byte(State::TrailerValue)?,
            (State::TrailerStart | State::TrailerName | State::TrailerValue, b'\n') => {
                return Err(ChunkError::LineEnd);
            }
            (State::TrailerStart | State::TrailerName | State::TrailerValue, _) => {
                return Err(ChunkError::Trailer);
            }

            (state @ (State::Data | State::End | State::Failed(_)), _) => state,
        })
    }

    fn digit(&mut self, digits: u32, value: u8) -> State {
        self.remaining = self.remaining << 4 | u64::from(value);
        State::Size { digits: digits + 1 }
    }

    fn extension_byte(&mut self) -> Result<State, ChunkError> {
        self.line_bytes += 1;
        self.extension_excess += 1;
        if self.line_bytes > MAX_EXTENSION_BYTES || self.extension_excess > MAX_EXTENSION_EXCESS_BYTES {
            return Err(ChunkError::ExtensionTooLong);
        }
        Ok(State::Extension)
    }

    fn trailer_byte(&mut self, state: State) -> Result<State, ChunkError> {
        self.line_bytes += 1;
        if self.line_bytes > MAX_TRAILER_BYTES {
            return Err(ChunkError::TrailersTooLong);
        }
        Ok(state)
    }

    /// The size line has ended.
    fn start_data(&mut self) -> Result<State, ChunkError> {
        self.line_bytes = 0;
        if self.remaining == 0 {
            return Ok(State::TrailerStart);
        }
        // Offsets in files are signed 64-bit numbers.
        self.total = self.total.checked_add(self.remaining).ok_or(ChunkError::TooLarge)?;
        if self.total > i64::MAX as u64 {
            return Err(ChunkError::TooLarge);
        }
        self.extension_excess = self.extension_excess.saturating_sub(self.remaining);
        Ok(State::Data)
    }
}

/// RFC 9110 §5.5: visible characters, obs-text, space and tab.
fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type BodyAndRest = (Vec<u8>, Vec<u8>);

    /// Decodes input that arrives in these pieces; the body and what follows it, or `None` if more is needed.
    fn decode(pieces: &[&[u8]]) -> Result<Option<BodyAndRest>, ChunkError> {
        let (mut decoder, mut body) = (ChunkedDecoder::new(), Vec::new());
        for (n, piece) in pieces.iter().enumerate() {
            let mut input = *piece;
            loop {
                match decoder.decode(input)? {
                    Step::Data { skip, len } => {
                        assert!(len > 0);
                        body.extend_from_slice(&input[skip..skip + len]);
                        input = &input[skip + len..];
                    }
                    Step::NeedMore { consumed } => {
                        assert_eq!(consumed, input.len());
                        break;
                    }
                    Step::End { consumed } => {
                        assert!(decoder.is_end());
                        let rest = [&[&input[consumed..]], &pieces[n + 1..]].concat().concat();
                        return Ok(Some((body, rest)));
                    }
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn chunks_extensions_and_trailers_are_read() {
        let cases: [(&[u8], &[u8]); 6] = [
            (b"0\r\n\r\n", b""),
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
            (b"5;a=b;c=\"d;e\"\r\nhello\r\n000;x\r\n\r\n", b"hello"),
            (b"5 \t;a\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!"),
            (b"A\r\n0123456789\r\n0\r\nDigest: md5=x\r\nX:\r\n\r\n", b"0123456789"),
            (b"000000000000000a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ];
        for (input, expected) in cases {
            let with_next = [input, b"GET /"].concat();
            let decoded = decode(&[&with_next]).unwrap().unwrap();
            assert_eq!(decoded, (expected.to_vec(), b"GET /".to_vec()), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn what_is_not_chunked_coding_is_refused() {
        use ChunkError::*;
        let cases: [(&[u8], ChunkError); 24] = [
            (b"\r\n", Size),
            (b"g\r\n", Size),
            (b"-1\r\n", Size),
            (b"+1\r\n", Size),
            (b"0x1\r\n", Size),
            (b" 1\r\n", Size),
            (b";a\r\n", Size),
            (b"1 \r\n", Size),
            (b"1 2\r\n", Size),
            (b"1\n", LineEnd),
            (b"1\rx", LineEnd),
            (b"1;a\n", LineEnd),
            (b"1;\0\r\n", Extension),
            (b"00000000000000001\r\n", TooLarge),
            (b"8000000000000000\r\n", TooLarge),
            (b"ffffffffffffffff\r\n", TooLarge),
            (b"1\r\nab", DataEnd),
            (b"1\r\na\n", DataEnd),
            (b"1\r\na\r\r", DataEnd),
            (b"0\r\n x: y\r\n", Trailer),
            (b"0\r\nx : y\r\n", Trailer),
            (b"0\r\nx\r\n", Trailer),
            (b"0\r\nx: y\n", LineEnd),
            (b"0\r\n\r\r", LineEnd),
        ];
        for (input, expected) in cases {
            assert_eq!(decode(&[input]), Err(expected), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn the_sizes_of_all_chunks_together_are_bounded() {
        let mut decoder = ChunkedDecoder::new();
        assert_eq!(decoder.decode(b"7fffffffffffffff\r\n"), Ok(Step::NeedMore { consumed: 18 }));
        decoder.advance(i64::MAX as u64);
        assert_eq!(decoder.decode(b"\r\n1\r\n"), Err(ChunkError::TooLarge));
    }

    #[test]
    fn endless_extensions_and_trailers_are_refused() {
        let long = [b"1;".to_vec(), vec![b'x'; MAX_EXTENSION_BYTES as usize]].concat();
        assert_eq!(decode(&[&long]), Err(ChunkError::ExtensionTooLong));
        // Each chunk's extensions are small, but there is hardly any data.
        let many = b"1;xxxxxxxxx\r\na\r\n".repeat(2_000);
        assert_eq!(decode(&[&many]), Err(ChunkError::ExtensionTooLong));
        // The same extensions are nothing beside real chunks.
        let signed = [b"40;xxxxxxxxx\r\n".as_slice(), &[b'd'; 64], b"\r\n"].concat().repeat(5_000);
        assert_eq!(decode(&[&signed]), Ok(None));

        let fields = [b"0\r\n".to_vec(), b"a: b\r\n".repeat(MAX_TRAILERS as usize + 1)].concat();
        assert_eq!(decode(&[&fields]), Err(ChunkError::TrailersTooLong));
        let long = [b"0\r\na: ".to_vec(), vec![b'x'; MAX_TRAILER_BYTES as usize]].concat();
        assert_eq!(decode(&[&long]), Err(ChunkError::TrailersTooLong));
    }

    #[test]
    fn data_may_be_received_past_the_decoder() {
        let mut decoder = ChunkedDecoder::new();
        assert_eq!(decoder.remaining_in_chunk(), 0);
        assert_eq!(decoder.decode(b"400\r\n"), Ok(Step::NeedMore { consumed: 5 }));
        assert_eq!(decoder.remaining_in_chunk(), 1024);
        decoder.advance(1000);
        assert_eq!(decoder.remaining_in_chunk(), 24);
        assert_eq!(decoder.decode(&[0; 10]), Ok(Step::Data { skip: 0, len: 10 }));
        decoder.advance(14);
        assert_eq!(decoder.remaining_in_chunk(), 0);
        assert_eq!(decoder.decode(b"\r\n0\r\n\r\nX"), Ok(Step::End { consumed: 7 }));
        assert_eq!(decoder.decode(b"X"), Ok(Step::End { consumed: 0 }));
    }

    #[test]
    fn a_failed_decoder_stays_failed() {
        let mut decoder = ChunkedDecoder::new();
        assert_eq!(decoder.decode(b"x"), Err(ChunkError::Size));
        assert_eq!(decoder.decode(b"0\r\n\r\n"), Err(ChunkError::Size));
    }

    proptest! {
        #[test]
        fn any_body_cut_anywhere_decodes_to_itself(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..8),
            extension in "(;[a-z]{1,8}(=[a-z0-9]{1,8})?)?",
            trailer in "([A-Z][a-z-]{0,8}: [ -~]{0,10}\r\n){0,3}",
            upper: bool,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            rest in prop::collection::vec(any::<u8>(), 0..10),
        ) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                let size = if upper { format!("{:X}", chunk.len()) } else { format!("{:x}", chunk.len()) };
                coded.extend(format!("{size}{extension}\r\n").bytes());
                coded.extend(chunk);
                coded.extend(b"\r\n");
            }
            coded.extend(format!("0{extension}\r\n{trailer}\r\n").bytes());
            let coded_length = coded.len();
            coded.extend(&rest);

            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(coded.len() + 1)).collect();
            cuts.extend([0, coded.len()]);
            cuts.sort();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &coded[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(&pieces), Ok(Some((chunks.concat(), rest.clone()))));
            // And every shorter prefix needs more.
            prop_assert_eq!(decode(&[&coded[..coded_length - 1]]), Ok(None));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&[&input]);
            let _ = decode(&[b"5\r\nhello\r\n", &input]);
            let _ = decode(&[b"0\r\n", &input]);
        }
    }
}
