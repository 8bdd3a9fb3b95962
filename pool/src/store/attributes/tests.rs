use proptest::prelude::*;

use super::*;

const LINE: &str = "v=1 size=1048576 state=ready transfer=door1:7 path=/atlas/a%20b class=atlas:disk@osm \
                    created=2026-01-31T08:30:00Z verified=2026-02-01T00:00:00Z adler32=03da0195";

fn example() -> Attributes {
    Attributes {
        size: 1_048_576,
        state: ReplicaState::Ready,
        transfer: "door1:7".to_owned(),
        path: "/atlas/a b".to_owned(),
        class: "atlas:disk@osm".to_owned(),
        created_at: "2026-01-31T08:30:00Z".parse().unwrap(),
        verified_at: Some("2026-02-01T00:00:00Z".parse().unwrap()),
        broken_because: None,
        suspect_because: None,
        checksums: BTreeMap::from([("adler32".to_owned(), "03da0195".to_owned())]),
        unknown: BTreeMap::new(),
    }
}

#[test]
fn a_line_is_what_an_operator_can_read() {
    assert_eq!(example().format(), LINE);
    assert_eq!(Attributes::parse(LINE.as_bytes()).unwrap(), example());
}

#[test]
fn a_line_written_by_hand_may_end_with_a_line_feed() {
    assert_eq!(Attributes::parse(format!("{LINE}\n").as_bytes()).unwrap(), example());
}

#[test]
fn what_a_later_release_wrote_is_kept() {
    let line = format!("{LINE} blake3=00ff tape=no%20copy");
    let attributes = Attributes::parse(line.as_bytes()).unwrap();
    assert_eq!(attributes.unknown.get("tape").unwrap(), "no copy");
    assert_eq!(attributes.format(), line);
}

#[test]
fn each_thing_that_can_be_wrong_with_a_line_is_named() {
    let rest = "state=ready created=2026-01-31T08:30:00Z";
    let cases: [(&[u8], &str); 13] = [
        (b"", "user.penstock.replica does not begin with v="),
        (b"size=1", "user.penstock.replica does not begin with v="),
        (b"v=1 \xff", "user.penstock.replica is not UTF-8 text"),
        (b"v=2 size=1", "user.penstock.replica has version \"2\", this release knows version 1"),
        (b"v=1 size", "user.penstock.replica has \"size\", which is not key=value"),
        (b"v=1 Size=1", "user.penstock.replica has \"Size=1\", which is not key=value"),
        (b"v=1 size=1 size=1", "user.penstock.replica has size more than once"),
        (b"v=1 v=1", "user.penstock.replica has \"v=1\", which is not key=value"),
        (b"v=1 state=ready", "user.penstock.replica has no size"),
        (b"v=1 size=1", "user.penstock.replica has no state"),
        (b"v=1 size=1 state=ready", "user.penstock.replica has no created"),
        (b"v=1 size=-1", "user.penstock.replica has size=\"-1\", which is not a number of bytes"),
        (b"v=1 path=%ff", "user.penstock.replica has path=\"%ff\", which is not percent-encoded UTF-8"),
    ];
    for (line, expected) in cases {
        assert_eq!(Attributes::parse(line).unwrap_err().to_string(), expected);
    }
    for value in ["03DA0195", "03da019", "", "03da01zz"] {
        let line = format!("v=1 size=1 {rest} adler32={value}");
        let expected =
            format!("user.penstock.replica has adler32={value:?}, which is not a checksum in lower-case hex");
        assert_eq!(Attributes::parse(line.as_bytes()).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_path_that_is_too_long_keeps_its_end() {
    for part in ["/dir", "/dé", "/ %"] {
        let mut attributes = example();
        attributes.path = format!("{}/file.root", part.repeat(2_000));
        attributes.fit();
        let length = attributes.format().len();
        assert!(length <= ATTRIBUTE_MAX_BYTES, "{length} bytes");
        assert!(length > ATTRIBUTE_MAX_BYTES - 16, "{length} bytes: more was cut than had to be");
        assert!(attributes.path.starts_with('…') && attributes.path.ends_with("/file.root"));
    }
}

#[test]
fn a_line_that_fits_is_not_cut() {
    let mut attributes = example();
    attributes.fit();
    assert_eq!(attributes, example());
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,40}", ".{0,40}", any::<String>()]
}

fn time() -> impl Strategy<Value = Timestamp> {
    // The years 1970 to 2255.
    (0i64..9_000_000_000_000_000).prop_map(|micros| Timestamp::from_microsecond(micros).unwrap())
}

fn state() -> impl Strategy<Value = ReplicaState> {
    use ReplicaState::{Broken, Orphaned, Ready, Removing, Uploading};
    prop::sample::select(vec![Uploading, Ready, Broken, Orphaned, Removing])
}

fn checksums() -> impl Strategy<Value = BTreeMap<String, String>> {
    let key = prop::sample::select(&CHECKSUM_KEYS[..]).prop_map(str::to_owned);
    prop::collection::btree_map(key, "([0-9a-f]{2}){1,64}", 0..4)
}

fn unknown() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("x[a-z0-9_.-]{0,8}", text(), 0..3)
}

prop_compose! {
    fn attributes()(
        size in any::<u64>(), state in state(), transfer in text(), path in text(), class in text(),
        created_at in time(), verified_at in prop::option::of(time()), broken_because in prop::option::of(text()),
        suspect_because in prop::option::of(text()), checksums in checksums(), unknown in unknown(),
    ) -> Attributes {
        Attributes {
            size, state, transfer, path, class, created_at, verified_at, broken_because, suspect_because, checksums,
            unknown,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(attributes in attributes()) {
        let line = attributes.format();
        prop_assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", line);
        prop_assert_eq!(Attributes::parse(line.as_bytes()).unwrap(), attributes);
    }

    #[test]
    fn no_bytes_whatever_make_the_reader_panic(line in any::<Vec<u8>>()) {
        let _ = Attributes::parse(&line);
        let _ = Attributes::parse(&[b"v=1 ", &line[..]].concat());
    }

    #[test]
    fn a_line_that_was_made_to_fit_fits_and_is_read_back(
        attributes in attributes(), path in "(/[a-zé %…]{1,9}){0,900}", because in ".{0,400}",
    ) {
        let mut attributes = Attributes {
            path, broken_because: Some(because), unknown: BTreeMap::new(), transfer: "t:1".to_owned(), ..attributes
        };
        attributes.fit();
        let line = attributes.format();
        prop_assert!(line.len() <= ATTRIBUTE_MAX_BYTES, "{} bytes", line.len());
        prop_assert_eq!(Attributes::parse(line.as_bytes()).unwrap(), attributes);
    }
}
