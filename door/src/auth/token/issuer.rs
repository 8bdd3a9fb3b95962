//! Whom the site trusts to sign tokens, for what, and with which keys.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, de};
use tokio::sync::Mutex as AsyncMutex;
use url::Url;

use super::TokenError;
use super::fetch::{FetchError, Fetcher, TrustError};
use super::held::{Held, Judgement};
use super::jwks::{Jwks, JwksError};
use super::jws::PublicKey;
use super::stored::{KeyStore, StoreError};
use crate::namespace::NsPath;

/// Issuers that a site may trust.
pub const MAX_ISSUERS: usize = 256;
/// How often the keeper looks whether keys are due.
const LOOK_PERIOD: Duration = Duration::from_secs(300);
/// Where issuers describe themselves (OpenID Connect Discovery 1.0 §4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Whose rules a token follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// The WLCG token profile, version 1.
    Wlcg,
    /// SciTokens, version 2.0.
    Scitokens,
    /// Access tokens of an OpenID provider (RFC 9068), for who somebody is and which groups they are in.
    Oidc,
}

/// One issuer, as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuer {
    /// What its tokens have as `iss`, byte for byte; https.
    #[serde(deserialize_with = "issuer_url")]
    pub url: String,
    /// What its tokens may have as `aud`. Default: the door's `url`.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// What the paths in its scopes are relative to. Default: `/`.
    #[serde(default = "NsPath::root", deserialize_with = "prefix")]
    pub prefix: NsPath,
    /// The form of its tokens. Default: `wlcg`.
    #[serde(default = "wlcg")]
    pub profile: Profile,
}

fn wlcg() -> Profile {
    Profile::Wlcg
}

fn prefix<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NsPath, D::Error> {
    NsPath::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn issuer_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let plain = |url: &Url| {
        // OpenID Connect Discovery 1.0 §2.
        url.scheme() == "https"
            && url.has_host()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    };
    if Url::parse(&text).is_ok_and(|url| plain(&url)) {
        return Ok(text);
    }
    Err(de::Error::custom(format!(
        "\"{text}\" is no issuer: write it as its tokens do, \"https://…\", without query and fragment"
    )))
}

/// Why issuers cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum IssuersError {
    /// The authorities that they are checked with.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Where their keys are kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an issuer's keys cannot be had.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("{url}: {source}")]
    Fetch { url: String, source: FetchError },
    #[error("{0}: it is not a description of an issuer with a jwks_uri on https")]
    Description(String),
    #[error("{url}: it describes another issuer, \"{found}\"")]
    OtherIssuer { url: String, found: String },
    #[error("{url}: {source}")]
    Keys { url: String, source: JwksError },
}

/// RFC 8414 §2, of which little is needed.
#[derive(Deserialize)]
struct Description {
    issuer: String,
    jwks_uri: String,
}

/// One issuer and its keys.
#[derive(Debug)]
pub struct Issuer {
    trusted: TrustedIssuer,
    keys: Arc<Keys>,
}

/// An issuer's keys outlive a reload of the configuration.
#[derive(Debug)]
struct Keys {
    url: String,
    held: Mutex<Held>,
    /// Whoever asks holds it, so that one request stands for all who wait.
    asking: AsyncMutex<()>,
    fetcher: Arc<Fetcher>,
    /// Where they outlive the process, if anywhere.
    store: Option<KeyStore>,
}

/// All issuers that the site trusts.
#[derive(Debug)]
pub struct Issuers {
    issuers: Vec<Issuer>,
}

impl Issuers {
    /// Of these issuers, whose servers are checked with `fetcher`. What is known of their keys from `before` stays; what
    /// is not known is looked for in `store`. Blocks.
    pub fn new(
        trusted: &[TrustedIssuer],
        fetcher: Fetcher,
        before: Option<&Issuers>,
        store: Option<&KeyStore>,
    ) -> Arc<Self> {
        let fetcher = Arc::new(fetcher);
        let issuers = trusted.iter().map(|trusted| {
            let known = before.and_then(|before| before.find(&trusted.url));
            let held = known.map(|issuer| issuer.keys.held().clone());
            let held = held.or_else(|| remembered(store?, &trusted.url)).unwrap_or_default();
            let keys = Keys {
                url: trusted.url.clone(),
                held: Mutex::new(held),
                asking: AsyncMutex::default(),
                fetcher: Arc::clone(&fetcher),
                store: store.cloned(),
            };
            Issuer { trusted: trusted.clone(), keys: Arc::new(keys) }
        });
        Arc::new(Self { issuers: issuers.collect() })
    }

    /// None.
    pub fn none() -> Self {
        Self { issuers: Vec::new() }
    }

    /// An issuer whose keys are known already.
    #[cfg(test)]
    pub(super) fn knowing(trusted: TrustedIssuer, keys: Jwks, fetcher: Fetcher) -> Arc<Self> {
        let issuers = Self::new(&[trusted], fetcher, None, None);
        let now = Instant::now();
        issuers.issuers[0].keys.held().asking(now);
        issuers.issuers[0].keys.held().learn(keys, now);
        issuers
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// The one of a URL, which has to be the same in every byte.
    pub fn find(&self, url: &str) -> Option<&Issuer> {
        self.issuers.iter().find(|issuer| issuer.trusted.url == url)
    }

    /// Keeps all keys fresh, from now until nobody uses these issuers any more.
    pub fn keep(self: &Arc<Self>) {
        let issuers: Weak<Self> = Arc::downgrade(self);
        tokio::spawn(async move {
            while let Some(all) = issuers.upgrade() {
                for issuer in &all.issuers {
                    let _turn = issuer.keys.asking.lock().await;
                    if issuer.keys.held().is_due(Instant::now()) {
                        issuer.keys.ask().await;
                    }
                }
                drop(all);
                tokio::time::sleep(LOOK_PERIOD).await;
            }
        });
    }
}

/// What was stored of an issuer's keys before the start.
fn remembered(store: &KeyStore, url: &str) -> Option<Held> {
    let (keys, age) = store.load(url, Timestamp::now())?;
    tracing::info!(issuer = url, age_seconds = age.as_secs(), "the issuer's stored keys are in use");
    let mut held = Held::default();
    held.remember(keys, Instant::now(), age);
    Some(held)
}

impl Issuer {
    /// As configured.
    pub fn trusted(&self) -> &TrustedIssuer {
        &self.trusted
    }

    /// The key of an id, asked for if need be.
    pub async fn key(&self, key_id: &str) -> Result<PublicKey, TokenError> {
        let mut judgement = self.keys.held().judge(key_id, Instant::now());
        if !matches!(judgement, Judgement::Use(_) | Judgement::UseAndRefresh(_)) {
            // Whoever asks now, asks for all who wait here.
            let _turn = self.keys.asking.lock().await;
            judgement = self.keys.held().judge(key_id, Instant::now());
            if judgement == Judgement::Ask {
                self.keys.ask().await;
                judgement = self.keys.held().judge(key_id, Instant::now());
            }
        }
        match judgement {
            Judgement::Use(key) => Ok(key),
            Judgement::UseAndRefresh(key) => {
                let keys = Arc::clone(&self.keys);
                keys.held().asking(Instant::now());
                tokio::spawn(async move {
                    let _turn = keys.asking.lock().await;
                    keys.ask().await;
                });
                Ok(key)
            }
            Judgement::Unknown => Err(TokenError::UnknownKey),
            // After an attempt nobody asks again at once.
            Judgement::Nothing | Judgement::Ask => Err(TokenError::NoKeys),
        }
    }
}

impl Keys {
    fn held(&self) -> MutexGuard<'_, Held> {
        // Replaced whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the issuer; a failure leaves what is known. Whoever calls holds `asking`.
    async fn ask(&self) {
        self.held().asking(Instant::now());
        match self.fetch().await {
            Ok((keys, document)) => {
                self.held().learn(keys, Instant::now());
                tracing::debug!(issuer = self.url, "the issuer's keys were read");
                self.store(document).await;
            }
            Err(error) => {
                tracing::warn!(issuer = self.url, %error, "the issuer's keys cannot be read; they are asked for again");
            }
        }
    }

    /// So that those that the issuer has taken back are not there at the next start, either.
    async fn store(&self, document: bytes::Bytes) {
        let Some(store) = self.store.clone() else { return };
        let url = self.url.clone();
        let keeping = move || store.keep(&url, &document, Timestamp::now());
        // It waits for a disk. Only the end of the runtime interrupts it.
        let _ = tokio::task::spawn_blocking(keeping).await;
    }

    /// The keys, and the document that they stand in.
    async fn fetch(&self) -> Result<(Jwks, bytes::Bytes), AskError> {
        let url = format!("{}{DISCOVERY}", self.url.trim_end_matches('/'));
        let document = self.get(&url).await?;
        let description: Description =
            serde_json::from_slice(&document).map_err(|_| AskError::Description(url.clone()))?;
        // OpenID Connect Discovery 1.0 §4.3. Of the slash at the end issuers themselves are not sure.
        if description.issuer.trim_end_matches('/') != self.url.trim_end_matches('/') {
            let found = description.issuer.chars().take(200).filter(|letter| !letter.is_control()).collect();
            return Err(AskError::OtherIssuer { url, found });
        }
        let keys_url = description.jwks_uri;
        if !keys_url.starts_with("https://") {
            return Err(AskError::Description(url));
        }
        let document = self.get(&keys_url).await?;
        match Jwks::parse(&document) {
            Ok(keys) => Ok((keys, document)),
            Err(source) => Err(AskError::Keys { url: keys_url, source }),
        }
    }

    async fn get(&self, url: &str) -> Result<bytes::Bytes, AskError> {
        let result = self.fetcher.get(url).await;
        result.map_err(|source| AskError::Fetch { url: url.to_owned(), source })
    }
}
