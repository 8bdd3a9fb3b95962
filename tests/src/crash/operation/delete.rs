//! Deletions, also of what is not there.

use crate::crash::client::{Client, End};
use crate::crash::record::State;

/// Deletes one of its own paths.
pub fn run(client: &mut Client<'_>) -> End {
    let slot = client.any_slot();
    let path = &client.slots[slot].path;
    let done = match client.slots[slot].state {
        State::File(_) => 204,
        State::Absent => 404,
    };
    let answer = client.scene.door.delete(path);
    client.change(slot, State::Absent, answer, &[done])
}
