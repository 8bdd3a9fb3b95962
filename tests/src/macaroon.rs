//! Narrowing a token as its bearer does, with nothing of ours: a caveat is added and signed with the signature so far.

use crate::python;

/// libmacaroons' format 1: packets of four hexadecimal digits (their length), a key, a blank, a value, a line end.
const NARROW: &str = r#"
import base64, hashlib, hmac, sys
def packet(key, value):
    data = key + b" " + value + b"\n"
    return b"%04x" % (4 + len(data)) + data
token = sys.argv[1]
raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
packets, at = [], 0
while at < len(raw):
    length = int(raw[at:at + 4], 16)
    packets.append(raw[at + 4:at + length - 1].split(b" ", 1))
    at += length
key, signature = packets.pop()
assert key == b"signature", key
for caveat in sys.argv[2:]:
    packets.append((b"cid", caveat.encode()))
    signature = hmac.new(signature, caveat.encode(), hashlib.sha256).digest()
packets.append((b"signature", signature))
print(base64.urlsafe_b64encode(b"".join(packet(*each) for each in packets)).rstrip(b"=").decode())
"#;

/// The token with these caveats behind its own.
#[must_use]
pub fn narrow(token: &str, caveats: &[&str]) -> String {
    let words = std::iter::once(token).chain(caveats.iter().copied());
    python::run(NARROW, words).trim().to_owned()
}
