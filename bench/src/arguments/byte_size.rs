//! Sizes on the command line.

/// Reads `4096`, `64KiB`, `1 GiB` or `10MB`: a whole number and a unit, binary or decimal.
pub fn parse_byte_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(digits_end);
    let unit_bytes: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => {
            return Err(format!(
                "'{text}' is not a size: write a whole number of B, KiB, MiB, GiB, kB, MB or GB"
            ));
        }
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_bytes)).ok_or_else(|| {
        format!("'{text}' is not a size: write a whole number below 2^64 and a unit, as in 64MiB")
    })
}

/// Writes a size in the largest binary unit that leaves it whole.
pub fn show_byte_size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.iter().find(|(_, bits)| bytes > 0 && bytes.trailing_zeros() >= *bits) {
        Some((unit, bits)) => format!("{} {unit}", bytes >> bits),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        let cases = [
            ("0", 0),
            ("4096", 4096),
            ("64MiB", 64 << 20),
            ("1 gib", 1 << 30),
            ("3kB", 3000),
            ("10MB", 10_000_000),
            ("7b", 7),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_byte_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_named() {
        for text in ["", "MiB", "-1", "1.5GiB", "64M", "1 GiB/s", "99999999999999999999", "99999999999TiB"] {
            let error = parse_byte_size(text).unwrap_err();
            assert!(error.starts_with(&format!("'{text}' is not a size")), "{error}");
        }
    }

    #[test]
    fn sizes_are_shown_in_whole_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (1000, "1000 B"),
            (64 << 20, "64 MiB"),
            (1536, "1536 B"),
            (3 << 30, "3 GiB"),
            (5 << 40, "5 TiB"),
        ] {
            assert_eq!(show_byte_size(bytes), text);
        }
    }
}
