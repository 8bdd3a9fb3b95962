//! Downloads: whole files, parts of them, and files that another client may change at this moment.

use crate::crash::client::{Client, End};
use crate::crash::record::State;
use crate::crash::record::{check, has_digest_of_its_body};

/// Downloads one of its own paths.
pub fn whole(client: &mut Client<'_>) -> End {
    let slot = client.any_slot();
    let slot = &client.slots[slot];
    let answer = client.scene.door.get(&slot.path, None);
    client.look(&slot.path, answer, |answer| check(answer, &slot.state, client.scene.source))
}

/// Downloads a part of one of its own files.
pub fn range(client: &mut Client<'_>) -> End {
    let Some((slot, length)) = client.any_file() else { return End::Idle };
    let first = client.random.below(length);
    let last = first + client.random.below(length - first);
    let slot = &client.slots[slot];
    let State::File(content) = &slot.state else { return End::Idle };
    let answer = client.scene.door.get(&slot.path, Some((first, last)));
    client.look(&slot.path, answer, |answer| {
        let whole = |number: u64| usize::try_from(number).expect("files fit in memory");
        match answer.status {
            206 if answer.body == client.scene.source.bytes(content)[whole(first)..=whole(last)] => Ok(()),
            206 => Err(format!("wrong: {} bytes came, which are not {first}-{last}", answer.body.len())),
            status => Err(format!("lost: a range is answered with {status}")),
        }
    })
}

/// Downloads any path. Its client changes it meanwhile: there is no file, or one version of it, whole.
pub fn anothers(client: &mut Client<'_>) -> End {
    let number = client.random.below(client.paths.len() as u64);
    let path = &client.paths[usize::try_from(number).expect("paths are few")];
    let answer = client.scene.door.get(path, None);
    client.look(path, answer, |answer| match answer.status {
        200 if has_digest_of_its_body(answer) => Ok(()),
        200 => Err("wrong: the Digest is that of other bytes".to_owned()),
        404 => Ok(()),
        status => Err(format!("wrong: GET is answered with {status}")),
    })
}
