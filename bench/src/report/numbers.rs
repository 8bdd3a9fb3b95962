//! Numbers as people read them.

/// With thousands apart, and only the decimals that mean something.
pub fn number(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    if value < 0.0 {
        grouped.push('-');
    }
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            // A narrow space that lines do not break at.
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    if !fraction.is_empty() {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

/// Microseconds in the unit that suits.
pub fn microseconds(value: u64) -> String {
    match value {
        0..10_000 => format!("{value} µs"),
        10_000..10_000_000 => format!("{} ms", number(value as f64 / 1e3, usize::from(value < 100_000))),
        _ => format!("{} s", number(value as f64 / 1e6, 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (value, decimals, text) in [
            (0.0, 0, "0"),
            (999.4, 0, "999"),
            (12_345.6, 1, "12\u{202f}345.6"),
            (1_234_567.0, 0, "1\u{202f}234\u{202f}567"),
            (-1234.0, 0, "-1\u{202f}234"),
            (0.0456, 3, "0.046"),
        ] {
            assert_eq!(number(value, decimals), text);
        }
    }

    #[test]
    fn times_have_the_unit_that_suits() {
        for (value, text) in
            [(7, "7 µs"), (9999, "9999 µs"), (12_340, "12.3 ms"), (250_400, "250 ms"), (12_000_000, "12.0 s")]
        {
            assert_eq!(microseconds(value), text);
        }
    }
}
