//! What the data port asks: to which transfer a client's URL belongs.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use super::Registry;
use crate::transfer::{Capability, Claim, ClaimMethod, Desk, Refusal};

impl Desk for Registry {
    fn claim(
        &self,
        capability: &Capability,
        method: ClaimMethod,
        path: &str,
        door: Option<&str>,
        _peer: SocketAddr,
    ) -> Result<Claim, Refusal> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Refusal::Draining);
        }
        let found = {
            let table = self.lock();
            let row = table.by_capability.get(capability).and_then(|id| table.rows.get(id));
            row.and_then(|row| row.entry.transfer().cloned())
        };
        match found {
            Some(transfer) => transfer.claim(method, path),
            None => Err(Refusal::Unknown { back_to: door.and_then(|name| self.doors.url(name)) }),
        }
    }

    fn door_url(&self, door: &str) -> Option<String> {
        self.doors.url(door)
    }
}
