//! Users with passwords (RFC 7617): who they are, from a file as `htpasswd` makes it.
//!
//! * [`file`]: the file; [`hash`]: the kinds of hashes that may stand in it.
//! * [`cache`]: passwords that were good a moment ago, by a keyed hash.
//!
//! Checking a password costs a tenth of a second on purpose. It is done off the threads that serve, by few at once; a
//! client with many requests pays once in a while. Whoever names a user that is not there waits as long as all others.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use penstock_service::watch::{Look, Watched};
use tokio::sync::Semaphore;

pub mod cache;
pub mod file;
pub mod hash;

pub use file::PasswordFileError;

use cache::{Cache, Fingerprint};
use file::Users;

use super::identity::{Identity, Scheme};
use super::secret::Secret;

/// Longest name and longest password that are looked at, in bytes.
const MAX_NAME_BYTES: usize = 255;
const MAX_PASSWORD_BYTES: usize = 1024;
/// Requests that wait for a password to be checked; more are turned away.
const MAX_WAITING: usize = 512;
/// For so long at most.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Why a password is not accepted. Nothing tells whether there is such a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// No such user, or another password: 401.
    #[error("the user name or the password is wrong")]
    Wrong,
    /// So many come at once that this one was not looked at: 503.
    #[error("too many passwords are being checked: try again in some seconds")]
    Busy,
}

/// The users of the site.
#[derive(Debug)]
pub struct Passwords {
    path: PathBuf,
    watched: Watched<Users>,
    cache: Mutex<Cache>,
    /// Threads that check.
    places: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Passwords {
    /// Reads the file. Blocks.
    pub fn load(path: &Path) -> Result<Self, PasswordFileError> {
        let watched = Watched::new(look(path), || Users::read(path))?;
        // Half of the processors: the others go on serving.
        let places = std::thread::available_parallelism().map_or(1, |processors| processors.get() / 2).max(1);
        Ok(Self {
            path: path.to_owned(),
            watched,
            cache: Mutex::new(Cache::new().map_err(PasswordFileError::Random)?),
            places: Arc::new(Semaphore::new(places)),
            waiting: Semaphore::new(MAX_WAITING),
        })
    }

    /// Whether there is a user of that name.
    pub fn has(&self, user: &str) -> bool {
        self.watched.current().groups(user).is_some()
    }

    /// Whose name and password these are.
    pub async fn verify(&self, user: &str, password: &Secret) -> Result<Identity, PasswordError> {
        let bytes = password.expose();
        // What no file can hold. A zero would end the password for other programs that read the same file.
        if user.len() > MAX_NAME_BYTES || bytes.len() > MAX_PASSWORD_BYTES || bytes.contains(&0) {
            return Err(PasswordError::Wrong);
        }
        let fingerprint = self.cache().fingerprint(user, password);
        if let Some(identity) = self.remembered(user, &fingerprint) {
            return Ok(identity);
        }
        let _waiting = self.waiting.try_acquire().map_err(|_| PasswordError::Busy)?;
        let place = tokio::time::timeout(MAX_WAIT, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(PasswordError::Busy) };
        // A client that comes over many connections at once has its password checked once.
        if let Some(identity) = self.remembered(user, &fingerprint) {
            return Ok(identity);
        }
        let users = self.watched.current();
        let (checking, name, secret) = (Arc::clone(&users), user.to_owned(), password.clone());
        let checked = tokio::task::spawn_blocking(move || {
            let _place = place;
            checking.check(&name, secret.expose())
        });
        // Only the end of the runtime interrupts it.
        if !checked.await.unwrap_or(false) {
            return Err(PasswordError::Wrong);
        }
        {
            // Not when the file has been read again meanwhile. Under the lock: after a new file the cache is emptied.
            let mut cache = self.cache();
            if Arc::ptr_eq(&users, &self.watched.current()) {
                cache.remember(user, fingerprint, Instant::now());
            }
        }
        identity(&users, user)
    }

    /// Reads the file again if it has changed, or anyway when `force` is set, and says what came of it. What cannot be
    /// read leaves in use what was read before.
    pub async fn reload(self: &Arc<Self>, force: bool) {
        let passwords = Arc::clone(self);
        let reading = tokio::task::spawn_blocking(move || match passwords.read_again(force) {
            Ok(true) => passwords.tell(),
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the new passwords are not used, the old ones stay"),
        });
        // Only the end of the runtime interrupts it.
        let _ = reading.await;
    }

    /// Says what is in use.
    pub fn tell(&self) {
        tracing::info!(file = %self.path.display(), users = self.watched.current().len(), "the passwords were read");
    }

    fn read_again(&self, force: bool) -> Result<bool, PasswordFileError> {
        let is_new = self.watched.reload(force, look(&self.path), || Users::read(&self.path))?;
        if is_new {
            // Users that are gone, and passwords that were changed, count from now on.
            self.cache().forget_all();
        }
        Ok(is_new)
    }

    fn remembered(&self, user: &str, fingerprint: &Fingerprint) -> Option<Identity> {
        let known = self.cache().knows(user, fingerprint, Instant::now());
        known.then(|| identity(&self.watched.current(), user).ok()).flatten()
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn look(path: &Path) -> Look {
    Look::at([path, &file::groups_path(path)])
}

fn identity(users: &Users, user: &str) -> Result<Identity, PasswordError> {
    let groups = users.groups(user).ok_or(PasswordError::Wrong)?;
    Ok(Identity {
        user: Some(user.to_owned()),
        groups: groups.to_vec(),
        ..Identity::new(Scheme::Password, user)
    })
}

#[cfg(test)]
mod tests;
