//! Request heads of the data port.
//!
//! A head that arrives in pieces is the head that arrives at once; what is wrong stays wrong whatever follows; what was
//! understood can be written again and is then understood alike; and nothing exceeds its limits.

use penstock_pool::http1::{
    BodyLength, Condition, Limits, Parsed, Request, Validators, Version, check_put, evaluate, expectation,
    parse,
};

/// Whole heads up to here are looked at byte by byte, others at some places.
const SHORT: usize = 512;
/// Generous, since bytes that are not UTF-8 grow when they are replaced.
const WIDE: Limits = Limits { head_bytes: 1 << 20, headers: Limits::MAX_HEADERS };

/// Checks an input.
pub fn check(data: &[u8]) {
    let limits = Limits::default();
    let whole = parse(data, &limits);
    let ends = (0..data.len()).step_by(if data.len() <= SHORT { 1 } else { data.len() / 64 });
    for end in ends {
        match (parse(&data[..end], &limits), &whole) {
            (Ok(Parsed::Partial), _) | (Err(_), Err(_)) => {}
            (Ok(Parsed::Complete { head, consumed }), whole) => {
                let Ok(Parsed::Complete { head: same, consumed: same_end }) = whole else {
                    panic!("complete after {end} bytes, and not any more with what follows: {whole:?}")
                };
                assert_eq!((&head, consumed), (same, *same_end));
                assert!(consumed <= end);
            }
            (Err(refused), Ok(whole)) => panic!("refused after {end} bytes ({refused}), then {whole:?}"),
        }
    }
    match whole {
        Ok(Parsed::Complete { head, consumed }) => {
            assert!(consumed <= data.len() && consumed <= limits.head_bytes);
            assert_eq!(
                parse(&data[..consumed - 1], &limits),
                Ok(Parsed::Partial),
                "it was whole before its end"
            );
            understood(&head, &limits);
        }
        Ok(Parsed::Partial) => {
            assert!(data.len() < limits.head_bytes, "a buffer of the limit's size is waited on")
        }
        Err(refused) => {
            assert!(matches!(refused.status, 400 | 414 | 431 | 501 | 505), "{}", refused.status);
            assert!(!refused.text.contains(['\r', '\n']));
        }
    }
}

fn understood(head: &Request, limits: &Limits) {
    let fields: Vec<(&str, &str)> = head.all_headers().collect();
    assert!(fields.len() <= limits.headers);
    for (name, value) in &fields {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':'));
        assert!(!value.contains(['\r', '\n', '\0']) && value.trim_matches([' ', '\t']) == *value);
        assert!(head.headers(&name.to_ascii_uppercase()).any(|other| other == *value));
    }
    assert!(head.target().len() <= Limits::TARGET_BYTES);
    assert!(!head.path().contains('\0') && (head.path().starts_with('/') || head.path() == "*"));
    assert!(fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("host")).count() <= 1);
    framing(head, &fields);
    written_again(head, &fields);
    // Whatever asks must get an answer.
    for key in ["penstock-transfer", "authz", ""] {
        let _ = head.query(key);
    }
    let validators = Validators { etag: "tag", last_modified: Some(784_111_777) };
    let now = evaluate(head, Some(&validators));
    let conditional = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"];
    if conditional.iter().all(|name| head.header(name).is_none()) {
        assert_eq!(now, Condition::Proceed);
    }
}

/// Two headers of framing are never both there, and the length is a file's.
fn framing(head: &Request, fields: &[(&str, &str)]) {
    let count = |wanted: &str| fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).count();
    match head.body_length() {
        BodyLength::None => assert_eq!(count("content-length") + count("transfer-encoding"), 0),
        BodyLength::Length(length) => {
            assert!(i64::try_from(length).is_ok());
            assert_eq!((count("content-length"), count("transfer-encoding")), (1, 0));
        }
        BodyLength::Chunked => {
            assert_eq!((count("content-length"), count("transfer-encoding")), (0, 1));
            assert_eq!(head.version(), Version::Http11);
        }
    }
    if let Err(refused) = check_put(head) {
        assert!(matches!(refused.status, 400 | 411 | 415));
    }
    if let Err(refused) = expectation(head) {
        assert_eq!(refused.status, 417);
    }
}

fn written_again(head: &Request, fields: &[(&str, &str)]) {
    let version = if head.version() == Version::Http10 { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut text = format!("{} {} {version}\r\n", head.method().as_str(), head.target());
    for (name, value) in fields {
        text.push_str(&format!("{name}:{value}\r\n"));
    }
    text.push_str("\r\n");
    match parse(text.as_bytes(), &WIDE) {
        Ok(Parsed::Complete { head: again, consumed }) => {
            assert_eq!(consumed, text.len());
            assert_eq!(*again, *head);
        }
        other => panic!("{text:?} became {other:?}"),
    }
}
