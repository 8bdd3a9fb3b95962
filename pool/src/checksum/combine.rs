//! The checksum of two parts from the checksums of each, so that parts may be computed in any order.
//!
//! Works for adler32 and the CRCs only; md5 and sha need the bytes in order.

/// adler32's modulus, the largest prime below 2¹⁶ (RFC 1950 §9).
const ADLER_BASE: u64 = 65_521;

/// The adler32 of `left` followed by `right`.
///
/// Of the two sums, the low one adds the bytes (from 1) and the high one adds up the low one at every byte. Behind
/// `left` each of the `right_bytes` steps of the high sum meets a low sum that is larger by `left`'s own, less the 1
/// that both started from.
pub fn adler32_combine(left: u32, right: u32, right_bytes: u64) -> u32 {
    let (left_low, left_high) = (u64::from(left & 0xffff), u64::from(left >> 16));
    let (right_low, right_high) = (u64::from(right & 0xffff), u64::from(right >> 16));
    let shift = (left_low + ADLER_BASE - 1) % ADLER_BASE;
    let low = (shift + right_low) % ADLER_BASE;
    let high = (left_high + right_high + right_bytes % ADLER_BASE * shift) % ADLER_BASE;
    // Both are below 2¹⁶.
    (high << 16 | low) as u32
}

/// The CRC-32 of `left` followed by `right`.
pub fn crc32_combine(left: u32, right: u32, right_bytes: u64) -> u32 {
    let mut whole = crc32fast::Hasher::new_with_initial_len(left, 0);
    whole.combine(&crc32fast::Hasher::new_with_initial_len(right, right_bytes));
    whole.finalize()
}

/// The CRC-32C of `left` followed by `right`.
pub fn crc32c_combine(left: u32, right: u32, right_bytes: u64) -> u32 {
    let algorithm = crc_fast::CrcAlgorithm::Crc32Iscsi;
    crc_fast::checksum_combine(algorithm, u64::from(left), u64::from(right), right_bytes) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A reflected CRC by its definition: bit by bit, over the reversed polynomial.
    fn crc_by_definition(reversed_polynomial: u32, data: &[u8]) -> u32 {
        !data.iter().fold(!0, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                if crc & 1 == 1 { crc >> 1 ^ reversed_polynomial } else { crc >> 1 }
            })
        })
    }

    fn crc32(data: &[u8]) -> u32 {
        crc_by_definition(0xedb8_8320, data)
    }

    fn crc32c(data: &[u8]) -> u32 {
        crc_by_definition(0x82f6_3b78, data)
    }

    fn adler32(data: &[u8]) -> u32 {
        adler32::adler32(data).unwrap()
    }

    #[test]
    fn the_definition_gives_the_catalogues_check_values() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b"dog"), 0x0a72_a4df);
    }

    proptest! {
        #[test]
        fn two_parts_give_the_whole(
            data in prop::collection::vec(any::<u8>(), 0..4096),
            cut in any::<prop::sample::Index>(),
        ) {
            let (left, right) = data.split_at(cut.index(data.len() + 1));
            let length = right.len() as u64;
            prop_assert_eq!(adler32_combine(adler32(left), adler32(right), length), adler32(&data));
            prop_assert_eq!(crc32_combine(crc32(left), crc32(right), length), crc32(&data));
            prop_assert_eq!(crc32c_combine(crc32c(left), crc32c(right), length), crc32c(&data));
        }

        #[test]
        fn what_the_hashers_compute_is_what_the_definition_says(
            data in prop::collection::vec(any::<u8>(), 0..4096),
        ) {
            use crate::checksum::{Algorithm, Checksum, MultiHasher};
            let mut hashers = MultiHasher::new([Algorithm::Crc32, Algorithm::Crc32c]);
            hashers.update(&data);
            prop_assert_eq!(hashers.finish(), [Checksum::crc32(crc32(&data)), Checksum::crc32c(crc32c(&data))]);
        }
    }

    #[test]
    fn lengths_beyond_32_bits_combine() {
        // Given the parts of 2⁴⁰ zeros, put together by doubling
        let (mut adler, mut crc, mut crcc) = (adler32(&[0; 1024]), crc32(&[0; 1024]), crc32c(&[0; 1024]));
        for exponent in 10..40 {
            let length = 1u64 << exponent;
            adler = adler32_combine(adler, adler, length);
            crc = crc32_combine(crc, crc, length);
            crcc = crc32c_combine(crcc, crcc, length);
        }
        // Then splitting the same zeros elsewhere gives the same
        let odd = 1u64 << 33 | 4097;
        let zeros = |combine: fn(u32, u32, u64) -> u32, of: fn(&[u8]) -> u32, mut bytes: u64| {
            let (mut whole, mut power, mut length) = (of(&[]), of(&[0]), 1u64);
            while bytes > 0 {
                if bytes & 1 == 1 {
                    whole = combine(whole, power, length);
                }
                power = combine(power, power, length);
                length = length.saturating_mul(2);
                bytes >>= 1;
            }
            whole
        };
        let rest = (1u64 << 40) - odd;
        for (combine, of, expected) in [
            (adler32_combine as fn(u32, u32, u64) -> u32, adler32 as fn(&[u8]) -> u32, adler),
            (crc32_combine, crc32, crc),
            (crc32c_combine, crc32c, crcc),
        ] {
            assert_eq!(combine(zeros(combine, of, odd), zeros(combine, of, rest), rest), expected);
        }
    }
}
