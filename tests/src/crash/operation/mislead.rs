//! Uploads that state a checksum of other bytes: refused, and the path stays as it was.

use crate::crash::client::{Client, End};

/// Uploads with a wrong `Digest`.
pub fn run(client: &mut Client<'_>) -> End {
    let content = client.scene.source.cut(&mut client.random);
    let body = client.scene.source.bytes(&content);
    let slot = client.any_slot();
    let path = &client.slots[slot].path;
    // adler32 of nothing is 1, of anything else in these lengths never 0.
    let answer = client.scene.door.put_stating(path, body, "Digest: adler32=00000000\r\n");
    client.look(path, answer, |answer| match answer.status {
        400 => Ok(()),
        status => Err(format!("wrong: a false checksum is answered with {status}")),
    })
}
