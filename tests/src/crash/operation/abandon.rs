//! Uploads whose client goes away in the middle: nothing of them is ever seen.

use crate::crash::client::{Client, End};
use crate::crash::http::Framing;

/// Sends a part of a body, and closes the connection.
pub fn run(client: &mut Client<'_>) -> End {
    let content = client.scene.source.cut(&mut client.random);
    let body = client.scene.source.bytes(&content);
    if body.is_empty() {
        return End::Idle;
    }
    let framing = if client.random.one_in(2) { Framing::Chunks } else { Framing::Length };
    let sent = usize::try_from(client.random.below(body.len() as u64)).expect("bodies fit in memory");
    let slot = client.any_slot();
    let path = &client.slots[slot].path;
    match client.scene.door.give_up(path, body, sent, framing) {
        Ok(()) => End::Good,
        Err(error) => End::Unanswered(format!("an upload of {path} cannot even be given up: {error}")),
    }
}
