//! Which trace a piece of work belongs to, as it travels in the header `traceparent` (W3C Trace Context §3.2).

use std::fmt;
use std::future::Future;
use std::str::FromStr;

/// The header, and the key of gRPC metadata.
pub const HEADER: &str = "traceparent";
/// Its length in version 00; later versions may only append (§3.2.4).
const LENGTH: usize = 55;
/// The flag of a trace that somebody records (§3.2.3.1).
const SAMPLED: u8 = 1;

/// A place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace: never 0.
    pub trace: u128,
    /// The part of it that whatever comes next is a part of: never 0.
    pub span: u64,
    /// Whether it is recorded.
    pub sampled: bool,
}

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// Where in a trace the task that asks is.
#[must_use]
pub fn current() -> Option<TraceContext> {
    CURRENT.try_with(|context| *context).ok()
}

/// Work at a place in a trace; what it begins is a part of that.
pub async fn within<F: Future>(context: Option<TraceContext>, work: F) -> F::Output {
    match context {
        Some(context) => CURRENT.scope(context, work).await,
        None => work.await,
    }
}

/// Work for another task, at this task's place.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    within(current(), work)
}

/// It is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no traceparent as W3C Trace Context has it")]
pub struct NoContext;

impl FromStr for TraceContext {
    type Err = NoContext;

    fn from_str(text: &str) -> Result<Self, NoContext> {
        let lower = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let bytes = text.as_bytes();
        let dashes = [2, 35, 52];
        let form = bytes.len() >= LENGTH
            && bytes[..LENGTH]
                .iter()
                .enumerate()
                .all(|(at, c)| if dashes.contains(&at) { *c == b'-' } else { lower(*c) });
        let version = form.then(|| &text[..2]).ok_or(NoContext)?;
        let end_is_good = match version {
            "ff" => false,
            "00" => bytes.len() == LENGTH,
            _ => bytes.len() == LENGTH || bytes[LENGTH] == b'-',
        };
        // All digits are hexadecimal, as was seen above.
        let trace = u128::from_str_radix(&text[3..35], 16).map_err(|_| NoContext)?;
        let span = u64::from_str_radix(&text[36..52], 16).map_err(|_| NoContext)?;
        let flags = u8::from_str_radix(&text[53..55], 16).map_err(|_| NoContext)?;
        if !end_is_good || trace == 0 || span == 0 {
            return Err(NoContext);
        }
        Ok(Self { trace, span, sampled: flags & SAMPLED != 0 })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_example_of_the_standard_is_read_and_written() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        let expected = TraceContext {
            trace: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            span: 0x00f0_67aa_0ba9_02b7,
            sampled: true,
        };
        assert_eq!(context, expected);
        assert_eq!(context.to_string(), EXAMPLE);
    }

    #[tokio::test]
    async fn the_place_in_a_trace_goes_along_with_the_work_also_to_another_task() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert_eq!(current(), None);
        let seen = within(Some(context), async {
            let other = tokio::spawn(carried(async { current() }));
            (current(), other.await.unwrap(), tokio::spawn(async { current() }).await.unwrap())
        });
        assert_eq!(seen.await, (Some(context), Some(context), None));
        assert_eq!(within(None, async { current() }).await, None);
    }

    #[test]
    fn what_is_no_traceparent_is_refused_and_what_is_newer_is_read_as_far_as_it_is_known() {
        let cases = [
            (EXAMPLE.replace("-01", "-00"), Some(false)),
            (EXAMPLE.replacen("00", "cc", 1), Some(true)),
            (EXAMPLE.replacen("00", "cc", 1) + "-what-comes", Some(true)),
            (EXAMPLE.replacen("00", "cc", 1) + "what-comes", None),
            (EXAMPLE.to_owned() + "-more", None),
            (EXAMPLE.replacen("00", "ff", 1), None),
            (EXAMPLE.to_uppercase(), None),
            (EXAMPLE.replace('-', "_"), None),
            (EXAMPLE[..54].to_owned(), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            (format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16)), None),
            ("é".repeat(30), None),
            (String::new(), None),
        ];
        for (text, sampled) in cases {
            assert_eq!(text.parse::<TraceContext>().ok().map(|context| context.sampled), sampled, "{text}");
        }
    }
}
