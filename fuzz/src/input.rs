//! The fuzzer's bytes as what a target needs beside its text: a number, a choice, lines.

/// Takes bytes from the front, zeros where there are none.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_be_bytes(std::array::from_fn(|_| self.byte()))
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_be_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Lines, without their ends; at most `most` of them.
    pub(crate) fn lines(self, most: usize) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(|byte| *byte == b'\n').take(most)
    }
}

/// A head with these fields, those left out that could not stand in one.
pub(crate) fn head<'a>(first: &str, fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut head = format!("{first}\r\n").into_bytes();
    for (name, value) in fields {
        if value.iter().all(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f)) {
            head.extend_from_slice(name.as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}
