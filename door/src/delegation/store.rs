//! What users have delegated, and what they are about to: in memory, by owner and delegation id.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::proxy::{self, Proxy, ProxyError};
use super::request::{ProxyRequest, RequestError};
use crate::auth::keys::random_id;
use crate::auth::secret::Secret;

/// Users with something delegated or begun; more are refused.
const MAX_OWNERS: usize = 4096;
/// Of one user; the oldest goes. More than one, since several programs of one user delegate at the same time.
const MAX_BEGUN: usize = 8;
/// Likewise.
const MAX_HELD: usize = 8;
/// Keys that are made at once: each takes a processor for a while.
const MAX_MAKING: usize = 2;
/// A request that is not answered for so long is forgotten.
const ANSWER_TIME: SignedDuration = SignedDuration::from_mins(10);
/// A proxy that ends sooner is of no use for a copy that has still to begin.
const LEAST_LEFT: SignedDuration = SignedDuration::from_mins(2);
/// How often what has ended is removed.
const TIDY_PERIOD: Duration = Duration::from_secs(60);
/// Longest delegation id.
const MAX_ID_BYTES: usize = 64;

/// Why something is not done. The texts are for the user.
#[derive(Debug, thiserror::Error)]
pub enum DelegationError {
    /// Not an id.
    #[error("a delegation id has 1 to {MAX_ID_BYTES} letters, digits and \"_\", \".\", \":\", \"-\"")]
    Id,
    /// Nothing has been begun under it.
    #[error("no delegation has been begun with this id, or too long ago: begin again with getNewProxyReq")]
    NotBegun,
    /// Nothing is held under it.
    #[error("nothing is delegated with this id")]
    NotHeld,
    /// Too many users.
    #[error("too many users have delegated to this door: try again later")]
    Full,
    /// What was answered is not good.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// No key.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// No randomness for an id, or the door stops.
    #[error("the door cannot make a delegation now")]
    Unable,
}

/// What has become of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Until when the proxy is good.
    pub ends_at: Timestamp,
    /// Another one with this id had been held.
    pub renewed: bool,
}

/// A proxy that can be used.
#[derive(Debug)]
pub struct Usable {
    /// Its name.
    pub id: DelegationId,
    /// The proxy with its key.
    pub pem: Secret,
}

/// The name of a delegation among those of its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegationId(String);

impl DelegationId {
    /// An id as a client names it. The empty one stands for the one that belongs to its owner, as GridSite has it.
    pub fn named(text: &str, owner: &str) -> Result<Self, DelegationError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        match text {
            "" => Ok(Self(hex(&Sha256::digest(owner)[..8]))),
            _ if text.len() <= MAX_ID_BYTES && text.bytes().all(allowed) => Ok(Self(text.to_owned())),
            _ => Err(DelegationError::Id),
        }
    }

    fn random() -> Result<Self, DelegationError> {
        random_id().map(Self).map_err(|_| DelegationError::Unable)
    }
}

impl fmt::Display for DelegationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A user's, oldest first.
#[derive(Default)]
struct Owned {
    begun: Vec<Begun>,
    held: Vec<Held>,
}

struct Begun {
    id: DelegationId,
    request: ProxyRequest,
    forgotten_at: Timestamp,
}

struct Held {
    id: DelegationId,
    proxy: Proxy,
}

impl Owned {
    fn tidy(&mut self, now: Timestamp) {
        self.begun.retain(|begun| begun.forgotten_at > now);
        self.held.retain(|held| held.proxy.ends_at > now);
    }

    fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.held.is_empty()
    }
}

/// All that is delegated to this door.
pub struct Delegations {
    making: Semaphore,
    /// By distinguished name.
    owners: Mutex<BTreeMap<String, Owned>>,
}

impl fmt::Debug for Delegations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Delegations").finish_non_exhaustive()
    }
}

impl Delegations {
    /// Nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self { making: Semaphore::new(MAX_MAKING), owners: Mutex::default() })
    }

    /// Removes what has ended, for as long as somebody else holds the store.
    pub fn keep_tidy(self: &Arc<Self>) {
        let store = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(TIDY_PERIOD).await;
                match store.upgrade() {
                    Some(store) => drop(store.tidied(Timestamp::now())),
                    None => return,
                }
            }
        });
    }

    /// Makes a key and asks its owner to sign it. `id`: `None` for a new one.
    pub async fn begin(
        &self,
        owner: &str,
        id: Option<DelegationId>,
        now: Timestamp,
    ) -> Result<(DelegationId, String), DelegationError> {
        let id = id.map_or_else(DelegationId::random, Ok)?;
        if self.is_full_for(owner, now) {
            return Err(DelegationError::Full);
        }
        let _turn = self.making.acquire().await.map_err(|_| DelegationError::Unable)?;
        let made = tokio::task::spawn_blocking(ProxyRequest::new).await;
        let request = made.map_err(|_| DelegationError::Unable)??;
        let pem = request.pem().to_owned();
        let mut owners = self.tidied(now);
        if owners.len() >= MAX_OWNERS && !owners.contains_key(owner) {
            return Err(DelegationError::Full);
        }
        let owned = owners.entry(owner.to_owned()).or_default();
        owned.begun.retain(|begun| begun.id != id);
        if owned.begun.len() >= MAX_BEGUN {
            owned.begun.remove(0);
        }
        let forgotten_at = now.saturating_add(ANSWER_TIME).unwrap_or(Timestamp::MAX);
        owned.begun.push(Begun { id: id.clone(), request, forgotten_at });
        Ok((id, pem))
    }

    /// The same for one that is held already, which stays until the new one is there.
    pub async fn renew(
        &self,
        owner: &str,
        id: DelegationId,
        now: Timestamp,
    ) -> Result<String, DelegationError> {
        // That it is held is for the owner alone to know, and to be told.
        self.ends_at(owner, &id, now)?;
        self.begin(owner, Some(id), now).await.map(|(_, request)| request)
    }

    /// Takes what the owner has signed. `chain`: what the owner has shown by TLS, verified, the own certificate first;
    /// `longest`: for how long a proxy may be good.
    pub fn accept(
        &self,
        owner: &str,
        id: &DelegationId,
        answer: &str,
        chain: &[CertificateDer<'_>],
        longest: SignedDuration,
        now: Timestamp,
    ) -> Result<Accepted, DelegationError> {
        let mut owners = self.tidied(now);
        let owned = owners.get_mut(owner).ok_or(DelegationError::NotBegun)?;
        let place = owned.begun.iter().position(|begun| begun.id == *id).ok_or(DelegationError::NotBegun)?;
        // A request whose answer is not good stays, so that the client can bring a better one.
        let proxy = proxy::accept(answer, &owned.begun[place].request, chain, longest, now)?;
        owned.begun.remove(place);
        let before = owned.held.len();
        owned.held.retain(|held| held.id != *id);
        let renewed = owned.held.len() < before;
        if owned.held.len() >= MAX_HELD {
            owned.held.remove(0);
        }
        let ends_at = proxy.ends_at;
        owned.held.push(Held { id: id.clone(), proxy });
        Ok(Accepted { ends_at, renewed })
    }

    /// Until when a delegation is good.
    pub fn ends_at(
        &self,
        owner: &str,
        id: &DelegationId,
        now: Timestamp,
    ) -> Result<Timestamp, DelegationError> {
        let owners = self.tidied(now);
        let held = owners.get(owner).and_then(|owned| owned.held.iter().find(|held| held.id == *id));
        held.map(|held| held.proxy.ends_at).ok_or(DelegationError::NotHeld)
    }

    /// Forgets a delegation, and one that was begun with the same id.
    pub fn destroy(&self, owner: &str, id: &DelegationId, now: Timestamp) -> Result<(), DelegationError> {
        let mut owners = self.tidied(now);
        let owned = owners.get_mut(owner).ok_or(DelegationError::NotHeld)?;
        let before = owned.begun.len() + owned.held.len();
        owned.begun.retain(|begun| begun.id != *id);
        owned.held.retain(|held| held.id != *id);
        if owned.begun.len() + owned.held.len() == before {
            return Err(DelegationError::NotHeld);
        }
        if owned.is_empty() {
            owners.remove(owner);
        }
        Ok(())
    }

    /// A proxy of this owner's that is good for a while: of several, the one that was delegated last.
    pub fn usable(&self, owner: &str, now: Timestamp) -> Option<Usable> {
        let owners = self.tidied(now);
        let needed_until = now.saturating_add(LEAST_LEFT).unwrap_or(Timestamp::MAX);
        let mut held = owners.get(owner)?.held.iter().rev();
        let held = held.find(|held| held.proxy.ends_at > needed_until)?;
        Some(Usable { id: held.id.clone(), pem: held.proxy.pem.clone() })
    }

    fn is_full_for(&self, owner: &str, now: Timestamp) -> bool {
        let owners = self.tidied(now);
        owners.len() >= MAX_OWNERS && !owners.contains_key(owner)
    }

    fn tidied(&self, now: Timestamp) -> MutexGuard<'_, BTreeMap<String, Owned>> {
        // Every change of it is whole when it panics: nothing in them does.
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        owners.retain(|_, owned| {
            owned.tidy(now);
            !owned.is_empty()
        });
        owners
    }
}

#[cfg(test)]
mod tests {
    use super::super::grid::{Proxied, Signer, user};
    use super::*;

    const ALICE: &str = "/O=Grid/CN=alice";
    const BOB: &str = "/O=Grid/CN=bob";
    const DAY: SignedDuration = SignedDuration::from_hours(24);

    struct Stage {
        store: Arc<Delegations>,
        alice: Signer,
        now: Timestamp,
    }

    impl Stage {
        fn new() -> Self {
            let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
            Self { store: Delegations::new(), alice: user("alice"), now }
        }

        /// Alice signs what is asked of her under that id.
        fn signs(&self, id: &DelegationId, until: SignedDuration) -> Result<Accepted, DelegationError> {
            let signed = {
                let owners = self.store.owners.lock().unwrap();
                let begun = owners[ALICE].begun.iter().find(|begun| begun.id == *id).unwrap();
                self.alice.sign(&begun.request, &Proxied { until, ..Proxied::default() }, self.now)
            };
            self.store.accept(ALICE, id, &signed, &self.alice.chain, DAY, self.now)
        }

        async fn delegates(&self, until: SignedDuration) -> DelegationId {
            let (id, _) = self.store.begin(ALICE, None, self.now).await.unwrap();
            self.signs(&id, until).unwrap();
            id
        }
    }

    #[tokio::test]
    async fn a_delegation_is_begun_signed_used_and_destroyed() {
        let stage = Stage::new();
        let (id, request) = stage.store.begin(ALICE, None, stage.now).await.unwrap();
        assert!(request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
        assert!(stage.store.usable(ALICE, stage.now).is_none(), "begun is not held");
        let hour = SignedDuration::from_hours(1);
        assert_eq!(stage.signs(&id, hour).unwrap(), Accepted { ends_at: stage.now + hour, renewed: false });
        assert_eq!(stage.store.usable(ALICE, stage.now).unwrap().id, id);
        assert!(stage.store.usable(BOB, stage.now).is_none(), "it is nobody else's");
        assert_eq!(stage.store.ends_at(ALICE, &id, stage.now).unwrap(), stage.now + hour);
        assert!(stage.store.ends_at(BOB, &id, stage.now).is_err());
        assert!(stage.store.destroy(BOB, &id, stage.now).is_err());
        stage.store.destroy(ALICE, &id, stage.now).unwrap();
        assert!(stage.store.usable(ALICE, stage.now).is_none());
        assert!(matches!(stage.store.destroy(ALICE, &id, stage.now), Err(DelegationError::NotHeld)));
        assert!(stage.store.owners.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn one_that_ends_within_two_minutes_is_not_used_and_one_that_has_ended_is_gone() {
        let stage = Stage::new();
        let id = stage.delegates(SignedDuration::from_mins(3)).await;
        assert!(stage.store.usable(ALICE, stage.now).is_some());
        let soon = stage.now + SignedDuration::from_secs(61);
        assert!(stage.store.usable(ALICE, soon).is_none());
        assert!(stage.store.ends_at(ALICE, &id, soon).is_ok(), "held, all the same");
        assert!(stage.store.usable(ALICE, stage.now + SignedDuration::from_mins(3)).is_none());
        assert!(stage.store.owners.lock().unwrap().is_empty(), "its key is gone, too");
    }

    #[tokio::test]
    async fn the_one_delegated_last_is_used_and_a_renewed_one_takes_its_place() {
        let stage = Stage::new();
        let first = stage.delegates(SignedDuration::from_hours(2)).await;
        let one = stage.store.usable(ALICE, stage.now).unwrap().pem.expose().to_vec();
        let second = stage.delegates(SignedDuration::from_hours(1)).await;
        assert!(first != second && stage.store.usable(ALICE, stage.now).unwrap().pem.expose() != one);
        let _ = stage.store.renew(ALICE, first.clone(), stage.now).await.unwrap();
        let longer = SignedDuration::from_hours(5);
        let renewed = stage.signs(&first, longer).unwrap();
        assert!(renewed.renewed, "it takes the place of the old one");
        assert_eq!(stage.store.ends_at(ALICE, &first, stage.now).unwrap(), stage.now + longer);
        let nothing = DelegationId::named("nothing", ALICE).unwrap();
        assert!(matches!(stage.store.renew(ALICE, nothing, stage.now).await, Err(DelegationError::NotHeld)));
    }

    #[tokio::test]
    async fn an_answer_comes_to_what_was_begun_and_not_too_late() {
        let stage = Stage::new();
        let (id, _) = stage.store.begin(ALICE, None, stage.now).await.unwrap();
        let bad = stage.store.accept(ALICE, &id, "nonsense", &stage.alice.chain, DAY, stage.now);
        assert!(matches!(bad, Err(DelegationError::Proxy(ProxyError::NotCertificates))));
        assert!(matches!(
            stage.store.accept(BOB, &id, "", &stage.alice.chain, DAY, stage.now),
            Err(DelegationError::NotBegun)
        ));
        assert!(stage.signs(&id, SignedDuration::from_hours(1)).is_ok(), "a better answer is taken");
        let (late, _) = stage.store.begin(ALICE, None, stage.now).await.unwrap();
        let then = stage.now + ANSWER_TIME;
        let refused = stage.store.accept(ALICE, &late, "", &stage.alice.chain, DAY, then);
        assert!(matches!(refused, Err(DelegationError::NotBegun)));
    }

    #[tokio::test]
    async fn of_one_user_only_so_many_are_kept() {
        let stage = Stage::new();
        let mut ids = Vec::new();
        for _ in 0..=MAX_BEGUN {
            ids.push(stage.store.begin(ALICE, None, stage.now).await.unwrap().0);
        }
        let owners = stage.store.owners.lock().unwrap();
        assert_eq!(owners[ALICE].begun.len(), MAX_BEGUN);
        assert!(owners[ALICE].begun.iter().all(|begun| begun.id != ids[0]), "the oldest has gone");
    }

    #[test]
    fn an_id_is_short_and_plain_and_the_empty_one_is_its_owners() {
        for good in ["a", "0123456789abcdef", "x_y.z:1-2", &"i".repeat(MAX_ID_BYTES)] {
            assert_eq!(DelegationId::named(good, ALICE).unwrap().to_string(), good);
        }
        for wrong in ["a b", "../x", "ä", "a/b", "a\n", &"i".repeat(MAX_ID_BYTES + 1)] {
            assert!(DelegationId::named(wrong, ALICE).is_err(), "{wrong}");
        }
        let empty = |owner| DelegationId::named("", owner).unwrap();
        assert_eq!(empty(ALICE), empty(ALICE));
        assert_ne!(empty(ALICE), empty(BOB));
    }
}
