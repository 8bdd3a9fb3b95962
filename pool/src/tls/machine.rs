//! The protocol of one connection, without input and output: ciphertext in, plaintext and ciphertext out.

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{CommonState, SupportedCipherSuite};

/// The longest plaintext of a record (RFC 8446 §5.1).
pub const RECORD_PLAINTEXT_BYTES: usize = 1 << 14;
/// Header, tag and what else a record has beside its plaintext, at most: 5 bytes header, 8 explicit nonce or 1 content
/// type, 16 tag; with room to spare.
const MOST_RECORD_OVERHEAD_BYTES: usize = 64;
/// A message of the protocol that goes out beside the data: an alert, or a change of keys.
const MESSAGE_BYTES: usize = 1 << 10;
/// Room for a handshake message that is to be encoded; grown when one does not fit.
const FIRST_FLIGHT_BYTES: usize = 4 << 10;
/// A header of a record (RFC 8446 §5.1).
const HEADER_BYTES: usize = 5;

/// Room that so many bytes of plaintext need when they are encrypted.
pub const fn encrypted_room(plaintext_bytes: usize) -> usize {
    plaintext_bytes
        + plaintext_bytes.div_ceil(RECORD_PLAINTEXT_BYTES) * MOST_RECORD_OVERHEAD_BYTES
        + MESSAGE_BYTES
}

/// How many more bytes of ciphertext must come for certain before so many bytes of plaintext can be had, when
/// `here` has come already: never more, so that a receive may wait for all of them. `overhead_bytes` as
/// [`Machine::overhead_bytes`] gives it.
pub fn certain_to_come(plaintext_bytes: usize, overhead_bytes: usize, here: &[u8]) -> usize {
    let all = plaintext_bytes + plaintext_bytes.div_ceil(RECORD_PLAINTEXT_BYTES) * overhead_bytes;
    let record = match here {
        [_, _, _, high, low, ..] => HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low])),
        _ => HEADER_BYTES + 1,
    };
    all.max(record).saturating_sub(here.len()).max(1)
}

/// Where plaintext goes: first to where it is wanted, the rest of a record aside.
pub struct Plaintext<'a> {
    /// Where it is wanted.
    pub wanted: &'a mut [u8],
    /// So much of it is filled.
    pub filled: usize,
    /// What did not fit.
    pub rest: &'a mut Vec<u8>,
}

impl Plaintext<'_> {
    fn is_full(&self) -> bool {
        self.filled == self.wanted.len()
    }

    fn push(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(self.wanted.len() - self.filled);
        self.wanted[self.filled..self.filled + fits].copy_from_slice(&bytes[..fits]);
        self.filled += fits;
        self.rest.extend_from_slice(&bytes[fits..]);
    }
}

/// What to do once everything that came is processed.
enum Then<'a> {
    /// Nothing.
    Rest,
    /// Encrypt plaintext into a buffer.
    Encrypt(&'a [u8], &'a mut [u8]),
    /// Say that nothing more will be sent (close_notify), into a buffer.
    Close(&'a mut [u8]),
}

/// How far it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// The handshake needs more from the other side.
    Handshake,
    /// The connection is open; all that came is processed. So many bytes were encrypted.
    Open(usize),
    /// There is no room for more plaintext.
    Full,
}

/// What one run of the machine did.
pub struct Run {
    /// So many bytes of what came are used up.
    pub used: usize,
    /// The other side has said that nothing more will come.
    pub closed: bool,
    /// How far it came.
    pub reached: Result<Reached, rustls::Error>,
}

/// The protocol's state of one connection.
pub enum Machine {
    /// As the data port.
    Server(Box<UnbufferedServerConnection>),
    /// As the client of another server.
    Client(Box<UnbufferedClientConnection>),
}

impl Machine {
    /// Processes what came. `outgoing` gets what the protocol itself has to say.
    pub fn receive(&mut self, incoming: &mut [u8], outgoing: &mut Vec<u8>, plain: &mut Plaintext<'_>) -> Run {
        self.run(incoming, outgoing, plain, Then::Rest)
    }

    /// Encrypts into `out`, which has [`encrypted_room`].
    pub fn encrypt(
        &mut self,
        bytes: &[u8],
        out: &mut [u8],
        incoming: &mut [u8],
        outgoing: &mut Vec<u8>,
        rest: &mut Vec<u8>,
    ) -> Run {
        let mut plain = Plaintext { wanted: &mut [], filled: 0, rest };
        self.run(incoming, outgoing, &mut plain, Then::Encrypt(bytes, out))
    }

    /// Appends a close_notify to `outgoing`.
    pub fn close(&mut self, incoming: &mut [u8], outgoing: &mut Vec<u8>, rest: &mut Vec<u8>) -> Run {
        let mut plain = Plaintext { wanted: &mut [], filled: 0, rest };
        let mut alert = [0; MESSAGE_BYTES];
        let run = self.run(incoming, outgoing, &mut plain, Then::Close(&mut alert));
        if let Ok(Reached::Open(count)) = run.reached {
            outgoing.extend_from_slice(&alert[..count]);
        }
        run
    }

    /// What both sides agreed on.
    pub fn common(&self) -> &CommonState {
        match self {
            Machine::Server(connection) => connection,
            Machine::Client(connection) => connection,
        }
    }

    /// What a record has beside its plaintext.
    pub fn overhead_bytes(&self) -> usize {
        const HEADER_AND_TAG_BYTES: usize = HEADER_BYTES + 16;
        match self.common().negotiated_cipher_suite() {
            // RFC 8446 §5.2: the content type is encrypted with the data.
            Some(SupportedCipherSuite::Tls13(_)) => HEADER_AND_TAG_BYTES + 1,
            // RFC 5288 §3: eight bytes of the nonce are sent along; RFC 7905 §2: none are.
            Some(SupportedCipherSuite::Tls12(suite))
                if suite.common.suite.as_str().is_some_and(|name| name.contains("GCM")) =>
            {
                HEADER_AND_TAG_BYTES + 8
            }
            Some(SupportedCipherSuite::Tls12(_)) | None => HEADER_AND_TAG_BYTES,
        }
    }

    fn run(
        &mut self,
        incoming: &mut [u8],
        outgoing: &mut Vec<u8>,
        plain: &mut Plaintext<'_>,
        then: Then<'_>,
    ) -> Run {
        match self {
            Machine::Server(connection) => drive(&mut **connection, incoming, outgoing, plain, then),
            Machine::Client(connection) => drive(&mut **connection, incoming, outgoing, plain, then),
        }
    }
}

/// What both sides' connections of rustls have in common.
trait Records {
    type Data;
    fn common(&self) -> &CommonState;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Records for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn common(&self) -> &CommonState {
        self
    }

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Records for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn common(&self) -> &CommonState {
        self
    }

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

fn drive<R: Records>(
    connection: &mut R,
    incoming: &mut [u8],
    outgoing: &mut Vec<u8>,
    plain: &mut Plaintext<'_>,
    mut then: Then<'_>,
) -> Run {
    let mut run = Run { used: 0, closed: false, reached: Ok(Reached::Handshake) };
    loop {
        let UnbufferedStatus { discard, state, .. } = connection.process(&mut incoming[run.used..]);
        let mut used = discard;
        let reached = match state {
            Ok(ConnectionState::ReadTraffic(mut records)) => loop {
                match records.next_record() {
                    Some(Ok(record)) => {
                        used += record.discard;
                        plain.push(record.payload);
                    }
                    Some(Err(error)) => break Some(Err(error)),
                    // Who wants to send goes on to where that can be done.
                    None => {
                        break (plain.is_full() && matches!(then, Then::Rest)).then_some(Ok(Reached::Full));
                    }
                }
            },
            Ok(ConnectionState::EncodeTlsData(mut message)) => {
                let start = outgoing.len();
                let mut room = FIRST_FLIGHT_BYTES;
                loop {
                    outgoing.resize(start + room, 0);
                    match message.encode(&mut outgoing[start..]) {
                        Ok(count) => {
                            outgoing.truncate(start + count);
                            break None;
                        }
                        Err(EncodeError::InsufficientSize(needed)) if needed.required_size > room => {
                            room = needed.required_size;
                        }
                        Err(error) => {
                            outgoing.truncate(start);
                            break Some(Err(rustls::Error::General(error.to_string())));
                        }
                    }
                }
            }
            // What is in `outgoing` is sent before anything else, by whoever runs the machine.
            Ok(ConnectionState::TransmitTlsData(sent)) => {
                sent.done();
                None
            }
            Ok(ConnectionState::BlockedHandshake) => Some(Ok(Reached::Handshake)),
            Ok(ConnectionState::WriteTraffic(traffic)) => {
                Some(finish(traffic, std::mem::replace(&mut then, Then::Rest)))
            }
            Ok(ConnectionState::PeerClosed) => {
                run.closed = true;
                None
            }
            Ok(ConnectionState::Closed) => {
                run.closed = true;
                Some(match then {
                    Then::Encrypt(..) => Err(rustls::Error::General("both sides have closed".into())),
                    Then::Rest | Then::Close(_) => Ok(Reached::Open(0)),
                })
            }
            // Early data is not offered, and states to come are not known: neither may be passed over.
            Ok(state) => Some(Err(rustls::Error::General(format!("unexpected state {state:?}")))),
            Err(error) => Some(Err(error)),
        };
        run.used += used;
        match reached {
            None => {}
            Some(reached) => {
                if reached.is_err() {
                    alerts(connection, &mut incoming[run.used..], outgoing);
                }
                run.reached = reached;
                return run;
            }
        }
    }
}

fn finish<D>(mut traffic: WriteTraffic<'_, D>, then: Then<'_>) -> Result<Reached, rustls::Error> {
    let written = match then {
        Then::Rest => Ok(0),
        Then::Encrypt(bytes, out) => traffic.encrypt(bytes, out),
        Then::Close(out) => traffic.queue_close_notify(out),
    };
    written.map(Reached::Open).map_err(|error| match error {
        // RFC 8446 §5.5 limits what one key may encrypt; TLS 1.2 cannot change its keys, so a connection has an end.
        EncryptError::EncryptExhausted => {
            rustls::Error::General("the connection's keys are used up; connect again".into())
        }
        error @ EncryptError::InsufficientSize(_) => rustls::Error::General(error.to_string()),
    })
}

/// After an error: what the other side is to be told of it. What came must not be looked at again, so the machine runs
/// only as often as it has something to say, which it says before it looks.
fn alerts<R: Records>(connection: &mut R, incoming: &mut [u8], outgoing: &mut Vec<u8>) {
    while connection.common().wants_write() {
        let Ok(ConnectionState::EncodeTlsData(mut message)) = connection.process(incoming).state else {
            return;
        };
        let start = outgoing.len();
        outgoing.resize(start + MESSAGE_BYTES, 0);
        let count = message.encode(&mut outgoing[start..]).unwrap_or(0);
        outgoing.truncate(start + count);
    }
}
