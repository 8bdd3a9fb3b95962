//! Bytes to write and to send: without a pattern, so that nothing on the way can compress or share them.

/// So many bytes, always the same (xorshift64, Marsaglia 2003).
pub fn payload(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut data = Vec::with_capacity(length.next_multiple_of(8));
    while data.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_ne_bytes());
    }
    data.truncate(length);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_have_no_pattern_and_are_always_the_same() {
        let data = payload((1 << 16) + 3);
        assert_eq!((data.len(), &data), ((1 << 16) + 3, &payload((1 << 16) + 3)));
        let mut counts = [0u32; 256];
        data.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        assert!(counts.iter().all(|count| (150..400).contains(count)), "{counts:?}");
    }
}
