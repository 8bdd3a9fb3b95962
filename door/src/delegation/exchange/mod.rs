//! Tokens that the door gets for the tokens of users (RFC 8693), so that a copy that waits in a queue, or goes to a
//! server that the user's token does not name, has one that is good there and then.
//!
//! * [`message`]: what is sent to an issuer, and what it answers.
//! * [`kept`]: tokens that were got, until they end. [`turn`]: one question for all who want the same.
//!
//! The door speaks to those issuers only that the configuration names, as the client whose id and secret it has in a
//! file. Nothing of a token is in a log or an error text, nor are words of the issuer but its error code.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{OnceCell, Semaphore};

use crate::auth::secret::Secret;
use crate::auth::token::claims;
use crate::auth::token::fetch::{FetchError, Fetcher, TrustError};
use crate::auth::token::jws::Unverified;
use crate::config::ExchangeRules;

pub mod kept;
pub mod message;
pub mod turn;

pub use message::Fresh;

use kept::{Kept, Key};
use message::MessageError;
use turn::Turns;

/// Where issuers describe themselves (OpenID Connect Discovery 1.0 §4).
const DISCOVERY: &str = "/.well-known/openid-configuration";
/// A kept token is good for so much longer, or another one is got: a copy may have to wait for its turn.
pub const LEAST_LEFT: SignedDuration = SignedDuration::from_mins(10);
/// Questions to issuers at once; more wait.
const MAX_ASKING: usize = 16;
/// Longest file with a client's id and secret.
const MAX_CLIENT_FILE_BYTES: u64 = 4096;

/// Why tokens cannot be exchanged at all. No text holds anything of the files.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeSetupError {
    /// The authorities of the issuers' servers.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A file with id and secret cannot be read.
    #[error("delegation.exchange: cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It has another form.
    #[error(
        "delegation.exchange: {0} has not the client's id in its first line and its secret in the second"
    )]
    Form(PathBuf),
    /// Others can read it.
    #[error("delegation.exchange: {path} can be read by others (mode {mode:04o}): chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// Why there is no token. The texts are for the client, too.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The issuer is not one of those.
    #[error("this door does not exchange tokens with their issuer")]
    Unknown,
    /// The issuer cannot be spoken to.
    #[error("the token could not be exchanged: {issuer} cannot be asked: {error}")]
    Unreachable {
        /// Whom.
        issuer: String,
        /// Why.
        error: FetchError,
    },
    /// It says no, or nothing that can be used.
    #[error("the token could not be exchanged: {issuer} {error}")]
    Refused {
        /// Who.
        issuer: String,
        /// How.
        error: MessageError,
    },
    /// The door stops.
    #[error("the door stops")]
    Stopping,
    /// One of these, of an attempt that stood for all who waited for it.
    #[error("{0}")]
    Shared(Arc<ExchangeError>),
}

/// An issuer, and what the door is to it.
struct Partner {
    rules: ExchangeRules,
    client: message::Client,
    /// As configured, or as the issuer says once it was asked.
    endpoint: OnceCell<String>,
}

/// All exchanges of tokens.
pub struct Exchanges {
    partners: Vec<Partner>,
    /// None without partners: a machine may have no authorities.
    fetcher: Option<Fetcher>,
    asking: Semaphore,
    same: Turns,
    kept: Mutex<Kept>,
}

impl std::fmt::Debug for Exchanges {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let issuers: Vec<_> = self.partners.iter().map(|partner| &partner.rules.issuer).collect();
        formatter.debug_struct("Exchanges").field("issuers", &issuers).finish_non_exhaustive()
    }
}

/// The issuer that a token names; `None` when it is no such token. Whether it is good was found out before.
pub fn issuer_of(token: &Secret) -> Option<String> {
    let token = Unverified::parse(token).ok()?;
    claims::issuer_of(token.payload()).ok()
}

impl Exchanges {
    /// Reads the files with ids and secrets. `authorities`: of the issuers' servers; `None`: the system's. Blocks.
    pub fn load(
        rules: &[ExchangeRules],
        authorities: Option<&Path>,
    ) -> Result<Arc<Self>, ExchangeSetupError> {
        let fetcher = if rules.is_empty() { None } else { Some(Fetcher::new(authorities)?) };
        let partner = |rules: &ExchangeRules| -> Result<Partner, ExchangeSetupError> {
            Ok(Partner {
                rules: rules.clone(),
                client: read_client(&rules.client)?,
                endpoint: rules.token_endpoint.clone().map(OnceCell::from).unwrap_or_default(),
            })
        };
        Ok(Arc::new(Self {
            partners: rules.iter().map(partner).collect::<Result<_, _>>()?,
            fetcher,
            asking: Semaphore::new(MAX_ASKING),
            same: Turns::default(),
            kept: Mutex::default(),
        }))
    }

    /// Whether tokens are exchanged at all.
    pub fn is_empty(&self) -> bool {
        self.partners.is_empty()
    }

    /// Whether those of an issuer are.
    pub fn knows(&self, issuer: &str) -> bool {
        self.partner(issuer).is_some()
    }

    /// A token for a user's, good for a while: one that was got before, one that is refreshed, or a new one.
    pub async fn fresh(&self, issuer: &str, token: &Secret, now: Timestamp) -> Result<Fresh, ExchangeError> {
        let (partner, fetcher) =
            self.partner(issuer).zip(self.fetcher.as_ref()).ok_or(ExchangeError::Unknown)?;
        let key = Key::of(issuer, token);
        let before = match self.kept().find(&key, now) {
            Some(held) if held.fresh.is_good_until(now, LEAST_LEFT) => return Ok(held.fresh),
            other => other,
        };
        // Whoever asks for a token asks for all who wait for the same: a user may begin a thousand copies at once.
        let turn = self.same.turn(key);
        let failed_before = turn.failed();
        let mut last_failure = turn.wait().await;
        let now = now.max(Timestamp::now());
        let refresh_token = match self.kept().find(&key, now) {
            Some(held) if held.fresh.is_good_until(now, LEAST_LEFT) => return Ok(held.fresh),
            // However short it lives, it has come since.
            Some(held)
                if held.is_later_than(before.as_ref())
                    && held.fresh.is_good_until(now, SignedDuration::ZERO) =>
            {
                return Ok(held.fresh);
            }
            Some(held) => held.refresh_token,
            None => None,
        };
        if let Some(error) = last_failure.later_than(failed_before) {
            return Err(ExchangeError::Shared(error));
        }
        match self.get(partner, fetcher, token, refresh_token, now).await {
            Ok(got) => {
                let fresh = got.fresh.clone();
                self.kept().keep(key, got, now);
                Ok(fresh)
            }
            Err(error) => Err(ExchangeError::Shared(turn.fails(&mut last_failure, error))),
        }
    }

    /// Asks the issuer: by a refresh token if there is one.
    async fn get(
        &self,
        partner: &Partner,
        fetcher: &Fetcher,
        token: &Secret,
        refresh_token: Option<Secret>,
        now: Timestamp,
    ) -> Result<message::Got, ExchangeError> {
        let _turn = self.asking.acquire().await.map_err(|_| ExchangeError::Stopping)?;
        let refreshed = match &refresh_token {
            Some(refresh_token) => {
                self.ask(partner, fetcher, &message::refresh(refresh_token), now).await.ok()
            }
            None => None,
        };
        match refreshed {
            Some(got) => Ok(got.or_refresh_token(refresh_token)),
            // A refresh token may have been taken back, or be good once only.
            None => self.ask(partner, fetcher, &message::exchange(&partner.rules, token), now).await,
        }
    }

    async fn ask(
        &self,
        partner: &Partner,
        fetcher: &Fetcher,
        form: &Secret,
        now: Timestamp,
    ) -> Result<message::Got, ExchangeError> {
        let issuer = || partner.rules.issuer.clone();
        let unreachable = |error| ExchangeError::Unreachable { issuer: issuer(), error };
        let refused = |error| ExchangeError::Refused { issuer: issuer(), error };
        let endpoint = partner.endpoint.get_or_try_init(|| discover(partner, fetcher)).await?;
        let authorization = partner.client.authorization();
        let (status, body) = fetcher.post_form(endpoint, authorization, form).await.map_err(unreachable)?;
        message::read(status, &body, now).map_err(refused)
    }

    fn partner(&self, issuer: &str) -> Option<&Partner> {
        self.partners.iter().find(|partner| partner.rules.issuer == issuer)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // Its changes are whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a partner exchanges tokens, by its own description.
async fn discover(partner: &Partner, fetcher: &Fetcher) -> Result<String, ExchangeError> {
    let issuer = &partner.rules.issuer;
    let url = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
    let unreachable = |error| ExchangeError::Unreachable { issuer: issuer.clone(), error };
    let document = fetcher.get(&url).await.map_err(unreachable)?;
    let refused = |error| ExchangeError::Refused { issuer: issuer.clone(), error };
    message::token_endpoint(&document, issuer).map_err(refused)
}

/// Id and secret, one line each.
fn read_client(path: &Path) -> Result<message::Client, ExchangeSetupError> {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    let failed = |source| ExchangeSetupError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(ExchangeSetupError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(MAX_CLIENT_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    let mut lines = text.lines().map(str::trim);
    match (lines.next(), lines.next()) {
        (Some(id), Some(secret)) if !id.is_empty() && !secret.is_empty() => {
            Ok(message::Client::new(id, secret))
        }
        _ => Err(ExchangeSetupError::Form(path.to_owned())),
    }
}

#[cfg(test)]
mod tests;
