//! Macaroons in the version 1 binary packet format of libmacaroons, which pymacaroons and dCache's clients share.
//!
//! A packet is four hexadecimal digits of its whole length, a key, a space, a value and a line feed. The signature is
//! a chain of HMAC-SHA256: over the identifier with the derived key, then over each caveat with the signature before
//! it. Only first-party caveats can be met here; what they mean is the business of [`super::caveat`].

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::secret::Secret;

/// Longest encoded token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Most caveats that are looked at: enough for any chain of delegations, few enough to be checked at once.
pub const MAX_CAVEATS: usize = 256;

const SIGNATURE_BYTES: usize = 32;
/// What libmacaroons derives its keys with, padded with zeros to 32 bytes.
const KEY_GENERATOR: &[u8; 32] = b"macaroons-key-generator\0\0\0\0\0\0\0\0\0";
/// libmacaroons writes no padding, others do.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a text is no macaroon. No variant tells what the text was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MacaroonError {
    /// Longer than is looked at.
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not base64url.
    #[error("the token is not base64url")]
    NotBase64,
    /// The packets are cut off, out of order or unknown.
    #[error("the token is not a macaroon of version 1")]
    BadPackets,
    /// More caveats than are looked at.
    #[error("the macaroon has more than {MAX_CAVEATS} caveats")]
    TooManyCaveats,
    /// It needs a discharge macaroon, which this door does not take.
    #[error("the macaroon has a third-party caveat, which this door does not accept")]
    ThirdParty,
    /// The signature is not ours, or something was changed.
    #[error("the macaroon was not issued by this door, or was changed")]
    BadSignature,
    /// A value does not fit a packet.
    #[error("a value of the macaroon is longer than a packet can be")]
    LongValue,
}

/// A macaroon, taken apart. Its signature is as good as the token, so it does not print.
#[derive(Debug, Clone)]
pub struct Macaroon {
    location: Vec<u8>,
    identifier: Vec<u8>,
    caveats: Vec<Vec<u8>>,
    signature: Secret,
}

impl Macaroon {
    /// A new macaroon without caveats.
    pub fn mint(location: &str, identifier: &str, key: &Secret) -> Self {
        let signature = hmac(&derive_key(key), identifier.as_bytes());
        Self {
            location: location.into(),
            identifier: identifier.into(),
            caveats: Vec::new(),
            signature: Secret::new(signature),
        }
    }

    /// Adds a first-party caveat. Anyone who holds a macaroon can do this; no one can undo it.
    #[must_use]
    pub fn with_caveat(mut self, caveat: &str) -> Self {
        self.signature = Secret::new(hmac(self.signature.expose(), caveat.as_bytes()));
        self.caveats.push(caveat.into());
        self
    }

    /// Names the key that it was minted with.
    pub fn identifier(&self) -> &[u8] {
        &self.identifier
    }

    /// The caveats, in the order in which they were added.
    pub fn caveats(&self) -> impl Iterator<Item = &[u8]> {
        self.caveats.iter().map(Vec::as_slice)
    }

    /// Checks that it was minted with this key and not changed since.
    pub fn verify(&self, key: &Secret) -> Result<(), MacaroonError> {
        let mut signature = hmac(&derive_key(key), &self.identifier);
        let Some((last, before)) = self.caveats.split_last() else {
            return verify_link(&derive_key(key), &self.identifier, self.signature.expose());
        };
        for caveat in before {
            signature = hmac(&signature, caveat);
        }
        verify_link(&signature, last, self.signature.expose())
    }

    /// The token text: base64url without padding.
    pub fn encode(&self) -> Result<String, MacaroonError> {
        let mut packets = Vec::new();
        put_packet(&mut packets, "location", &self.location)?;
        put_packet(&mut packets, "identifier", &self.identifier)?;
        for caveat in &self.caveats {
            put_packet(&mut packets, "cid", caveat)?;
        }
        put_packet(&mut packets, "signature", self.signature.expose())?;
        Ok(BASE64.encode(packets))
    }

    /// Reads a token text. The signature is not checked here: see [`Macaroon::verify`].
    pub fn decode(token: &[u8]) -> Result<Self, MacaroonError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(MacaroonError::TooLong);
        }
        let bytes = BASE64.decode(token).map_err(|_| MacaroonError::NotBase64)?;
        let mut rest = bytes.as_slice();
        let location = expect_packet(&mut rest, b"location")?.to_vec();
        let identifier = expect_packet(&mut rest, b"identifier")?.to_vec();
        let mut caveats = Vec::new();
        loop {
            match take_packet(&mut rest)? {
                (b"cid", _) if caveats.len() == MAX_CAVEATS => return Err(MacaroonError::TooManyCaveats),
                (b"cid", value) => caveats.push(value.to_vec()),
                (b"vid" | b"cl", _) => return Err(MacaroonError::ThirdParty),
                (b"signature", value) if value.len() == SIGNATURE_BYTES && rest.is_empty() => {
                    return Ok(Self { location, identifier, caveats, signature: Secret::new(value) });
                }
                _ => return Err(MacaroonError::BadPackets),
            }
        }
    }
}

fn derive_key(key: &Secret) -> [u8; SIGNATURE_BYTES] {
    hmac(KEY_GENERATOR, key.expose())
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length (RFC 2104 §2), so this cannot fail.
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length")
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; SIGNATURE_BYTES] {
    let mut mac = keyed(key);
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// Compares the last link of the chain in constant time.
fn verify_link(key: &[u8], data: &[u8], signature: &[u8]) -> Result<(), MacaroonError> {
    let mut mac = keyed(key);
    mac.update(data);
    mac.verify_slice(signature).map_err(|_| MacaroonError::BadSignature)
}

fn put_packet(packets: &mut Vec<u8>, key: &str, value: &[u8]) -> Result<(), MacaroonError> {
    let length = 4 + key.len() + 1 + value.len() + 1;
    let length = u16::try_from(length).map_err(|_| MacaroonError::LongValue)?;
    packets.extend_from_slice(format!("{length:04x}{key} ").as_bytes());
    packets.extend_from_slice(value);
    packets.push(b'\n');
    Ok(())
}

fn expect_packet<'a>(rest: &mut &'a [u8], key: &[u8]) -> Result<&'a [u8], MacaroonError> {
    match take_packet(rest)? {
        (found, value) if found == key => Ok(value),
        _ => Err(MacaroonError::BadPackets),
    }
}

fn take_packet<'a>(rest: &mut &'a [u8]) -> Result<(&'a [u8], &'a [u8]), MacaroonError> {
    let digits = rest.get(..4).ok_or(MacaroonError::BadPackets)?;
    // from_str_radix would take a sign.
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(MacaroonError::BadPackets);
    }
    let length = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| usize::from_str_radix(digits, 16).ok())
        .ok_or(MacaroonError::BadPackets)?;
    let packet = rest.get(4..length).ok_or(MacaroonError::BadPackets)?;
    *rest = &rest[length..];
    let body = packet.strip_suffix(b"\n").ok_or(MacaroonError::BadPackets)?;
    let space = body.iter().position(|byte| *byte == b' ').ok_or(MacaroonError::BadPackets)?;
    Ok((&body[..space], &body[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::from_hex;
    use proptest::prelude::*;

    // Made with pymacaroons 0.13.0: Macaroon(location='https://door.example.org', identifier='k1',
    // key='this is our super secret key'), then add_first_party_caveat for each caveat.
    const KEY: &str = "this is our super secret key";
    const BARE: &str = "MDAyNmxvY2F0aW9uIGh0dHBzOi8vZG9vci5leGFtcGxlLm9yZwowMDEyaWRlbnRpZmllciBrMQowMDJmc2lnbmF0dXJlIPtF8tknebB-ktX1dwF06A5AuZDlO9I6oZs3NpF_dT0xCg";
    const ISSUED: &str = "MDAyNmxvY2F0aW9uIGh0dHBzOi8vZG9vci5leGFtcGxlLm9yZwowMDEyaWRlbnRpZmllciBrMQowMDE1Y2lkIGlpZDpHYVZsdFdGUAowMDFjY2lkIGlkOjIwMDI7MjAwMiwwO3BhdWwKMDAyOGNpZCBiZWZvcmU6MjAzOS0wOS0yNVQwODoxMjoxMS4wODBaCjAwMTljaWQgaG9tZTovVXNlcnMvcGF1bAowMDJmc2lnbmF0dXJlICqZ2D1S6iD_GLHkCE6CEfEkURwOEwKgGYM1UgNQCdOFCg";
    const NARROWED: &str = "MDAyNmxvY2F0aW9uIGh0dHBzOi8vZG9vci5leGFtcGxlLm9yZwowMDEyaWRlbnRpZmllciBrMQowMDE1Y2lkIGlpZDpHYVZsdFdGUAowMDFjY2lkIGlkOjIwMDI7MjAwMiwwO3BhdWwKMDAyOGNpZCBiZWZvcmU6MjAzOS0wOS0yNVQwODoxMjoxMS4wODBaCjAwMTljaWQgaG9tZTovVXNlcnMvcGF1bAowMDFmY2lkIGFjdGl2aXR5OkxJU1QsRE9XTkxPQUQKMDAxNmNpZCBwYXRoOi9kYXRhL8OpCjAwMmZzaWduYXR1cmUgXc7YDSYYA3A0TLoE0E38SdcN0XMaoDdDGMaCIDAtBMYK";
    // Key bytes(range(32)), identifier 'k2', no location, caveat 'iid:AAAA'.
    const BINARY_KEY: &str = "MDAwZWxvY2F0aW9uIAowMDEyaWRlbnRpZmllciBrMgowMDExY2lkIGlpZDpBQUFBCjAwMmZzaWduYXR1cmUgzvd-z6A0pLxAyen6nrucPK_U-a-yjIe_jbjxRWK_cyAK";
    const THIRD_PARTY: &str = "MDAyNmxvY2F0aW9uIGh0dHBzOi8vZG9vci5leGFtcGxlLm9yZwowMDEyaWRlbnRpZmllciBrMQowMDBlY2lkIHRwLWlkCjAwNTF2aWQgXnD2ROyp-6h8RCrYa2S2zoYrreBmZXsiZxIO92mN-WpVC1n61H_dH61xhYeTeLyFhbZLiLwR6A-1AAzC6h_IWuN3ehUv5ZP0CjAwMjBjbCBodHRwczovL2F1dGguZXhhbXBsZS5vcmcKMDAyZnNpZ25hdHVyZSDh60-BcZHRKNCoLHcoQDI3wFuE9Tu7W6vNcEPj-Ui2fAo";

    fn issued() -> Macaroon {
        Macaroon::mint("https://door.example.org", "k1", &Secret::new(KEY))
            .with_caveat("iid:GaVltWFP")
            .with_caveat("id:2002;2002,0;paul")
            .with_caveat("before:2039-09-25T08:12:11.080Z")
            .with_caveat("home:/Users/paul")
    }

    #[test]
    fn what_is_minted_here_is_byte_for_byte_what_pymacaroons_mints() {
        let bare = Macaroon::mint("https://door.example.org", "k1", &Secret::new(KEY));
        assert_eq!(bare.encode().unwrap(), BARE);
        assert_eq!(issued().encode().unwrap(), ISSUED);
        let narrowed = issued().with_caveat("activity:LIST,DOWNLOAD").with_caveat("path:/data/é");
        assert_eq!(narrowed.encode().unwrap(), NARROWED);
        let key = Secret::new((0..32).collect::<Vec<u8>>());
        assert_eq!(Macaroon::mint("", "k2", &key).with_caveat("iid:AAAA").encode().unwrap(), BINARY_KEY);
    }

    #[test]
    fn what_pymacaroons_narrowed_is_accepted_with_its_caveats() {
        let macaroon = Macaroon::decode(NARROWED.as_bytes()).unwrap();
        macaroon.verify(&Secret::new(KEY)).unwrap();
        assert_eq!(macaroon.identifier(), b"k1");
        let last = macaroon.caveats().last().unwrap();
        assert_eq!(last, "path:/data/é".as_bytes());
        Macaroon::decode(BARE.as_bytes()).unwrap().verify(&Secret::new(KEY)).unwrap();
    }

    #[test]
    fn padding_may_be_there_or_not() {
        let padded = format!("{ISSUED}{}", "=".repeat((4 - ISSUED.len() % 4) % 4));
        Macaroon::decode(padded.as_bytes()).unwrap().verify(&Secret::new(KEY)).unwrap();
    }

    #[test]
    fn another_key_does_not_open_it() {
        let macaroon = Macaroon::decode(ISSUED.as_bytes()).unwrap();
        assert_eq!(macaroon.verify(&Secret::new("another")), Err(MacaroonError::BadSignature));
    }

    #[test]
    fn a_caveat_cannot_be_taken_off() {
        let mut macaroon = Macaroon::decode(NARROWED.as_bytes()).unwrap();
        macaroon.caveats.pop();
        assert_eq!(macaroon.verify(&Secret::new(KEY)), Err(MacaroonError::BadSignature));
        macaroon.caveats.clear();
        assert_eq!(macaroon.verify(&Secret::new(KEY)), Err(MacaroonError::BadSignature));
    }

    #[test]
    fn no_flipped_bit_and_no_cut_gets_through() {
        let bytes = BASE64.decode(NARROWED).unwrap();
        // The location is a hint and not signed (as in libmacaroons); everything after it is.
        for at in 0x26..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let accepted = Macaroon::decode(BASE64.encode(&changed).as_bytes())
                    .is_ok_and(|macaroon| macaroon.verify(&Secret::new(KEY)).is_ok());
                // The case of a length's hexadecimal digits is all that may change.
                let same = changed.eq_ignore_ascii_case(&bytes) && bytes[at].is_ascii_alphabetic();
                assert!(!accepted || same, "byte {at}, bit {bit}");
            }
        }
        for length in 0..bytes.len() {
            assert!(Macaroon::decode(BASE64.encode(&bytes[..length]).as_bytes()).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_third_party_caveat_is_refused() {
        assert_eq!(Macaroon::decode(THIRD_PARTY.as_bytes()).unwrap_err(), MacaroonError::ThirdParty);
    }

    #[test]
    fn a_thousand_caveats_are_too_many_and_a_huge_token_too_long() {
        let many = (0..1000).fold(issued(), |macaroon, _| macaroon.with_caveat("x"));
        assert_eq!(
            Macaroon::decode(many.encode().unwrap().as_bytes()).unwrap_err(),
            MacaroonError::TooManyCaveats
        );
        assert_eq!(Macaroon::decode(&[b'A'; MAX_TOKEN_BYTES + 1]).unwrap_err(), MacaroonError::TooLong);
    }

    #[test]
    fn the_signature_does_not_print() {
        let macaroon = Macaroon::decode(BARE.as_bytes()).unwrap();
        let signature = from_hex("fb45f2d92779b07e92d5f5770174e80e40b990e53bd23aa19b3736917f753d31").unwrap();
        assert_eq!(macaroon.signature.expose(), signature);
        assert!(format!("{macaroon:?}").contains("Secret(…)"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Macaroon::decode(&bytes);
            let _ = Macaroon::decode(BASE64.encode(&bytes).as_bytes());
        }
    }
}
