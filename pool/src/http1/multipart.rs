//! The framing of several ranges in one answer: `multipart/byteranges` (RFC 9110 §14.6).

use std::io::Write;
use std::ops::Range;

use super::response::write_value;

/// The frame around the parts. The caller sends, for each part, its head and the bytes of its range, and then the end.
#[derive(Debug, Clone)]
pub struct Multipart {
    ranges: Vec<Range<u64>>,
    size: u64,
    content_type: String,
    boundary: String,
}

impl Multipart {
    /// `nonce` must be 128 random bits: the boundary must not occur in the data, which may come from an adversary.
    pub fn new(ranges: Vec<Range<u64>>, size: u64, content_type: &str, nonce: u128) -> Self {
        Self {
            ranges,
            size,
            content_type: content_type.to_owned(),
            boundary: format!("penstock-{nonce:032x}"),
        }
    }

    /// The ranges, one per part.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// The value of the answer's `Content-Type`.
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// Appends what stands before the bytes of a range. Nothing for an index beyond the parts.
    ///
    /// `Content-Range` comes last: davix takes the line behind it for the end of the part's head.
    pub fn write_part_head(&self, index: usize, out: &mut Vec<u8>) {
        let Some(range) = self.ranges.get(index) else { return };
        if index > 0 {
            out.extend_from_slice(b"\r\n");
        }
        // Writing to a Vec cannot fail.
        let _ = write!(out, "--{}\r\nContent-Type: ", self.boundary);
        write_value(out, &self.content_type);
        let _ = write!(
            out,
            "\r\nContent-Range: bytes {}-{}/{}\r\n\r\n",
            range.start,
            range.end.saturating_sub(1),
            self.size
        );
    }

    /// Appends what stands behind the last part.
    pub fn write_end(&self, out: &mut Vec<u8>) {
        let _ = write!(out, "\r\n--{}--\r\n", self.boundary);
    }

    /// The value of the answer's `Content-Length`: frame and data.
    pub fn content_length(&self) -> u64 {
        let mut frame = Vec::new();
        let mut total = 0u64;
        for (index, range) in self.ranges.iter().enumerate() {
            frame.clear();
            self.write_part_head(index, &mut frame);
            total = total.saturating_add(frame.len() as u64).saturating_add(range.end - range.start);
        }
        frame.clear();
        self.write_end(&mut frame);
        total.saturating_add(frame.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_is_that_of_the_standard_and_as_long_as_promised() {
        let data = b"0123456789";
        let multipart = Multipart::new(vec![0..2, 7..10], 10, "text/plain\r\nX: y", 0xabc);
        assert_eq!(
            multipart.content_type(),
            "multipart/byteranges; boundary=penstock-00000000000000000000000000000abc"
        );
        let mut answer = Vec::new();
        for (index, range) in multipart.ranges().iter().enumerate() {
            multipart.write_part_head(index, &mut answer);
            answer.extend_from_slice(&data[range.start as usize..range.end as usize]);
        }
        multipart.write_end(&mut answer);
        assert_eq!(
            String::from_utf8(answer.clone()).unwrap(),
            "--penstock-00000000000000000000000000000abc\r\nContent-Type: text/plain  X: y\r\n\
             Content-Range: bytes 0-1/10\r\n\r\n01\r\n\
             --penstock-00000000000000000000000000000abc\r\nContent-Type: text/plain  X: y\r\n\
             Content-Range: bytes 7-9/10\r\n\r\n789\r\n\
             --penstock-00000000000000000000000000000abc--\r\n"
        );
        assert_eq!(multipart.content_length(), answer.len() as u64);
        multipart.write_part_head(2, &mut answer);
        assert_eq!(multipart.content_length(), answer.len() as u64, "no third part");
    }
}
