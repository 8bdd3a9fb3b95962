//! Uploads: large and small, with a length and in chunks, past the door and through it, to new names and to old ones.

use crate::crash::client::{Client, End};
use crate::crash::http::{Framing, Way};
use crate::crash::record::State;

/// Uploads another content to one of its own paths.
pub fn run(client: &mut Client<'_>) -> End {
    let content = client.scene.source.cut(&mut client.random);
    let framing = if client.random.one_in(3) { Framing::Chunks } else { Framing::Length };
    let way = if client.random.one_in(8) { Way::Proxied } else { Way::Redirected };
    let slot = client.any_slot();
    let body = client.scene.source.bytes(&content);
    let answer = client.scene.door.put(&client.slots[slot].path, body, framing, way);
    client.change(slot, State::File(content), answer, &[201, 204])
}
