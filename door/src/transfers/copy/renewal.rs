//! Copies that wait, or last, longer than the token that the door has got for them: their pool is given later ones.

use std::convert::Infallible;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use penstock_door_proto::v1 as proto;
use tonic::{Code, Status};

use super::super::follow::call;
use crate::auth::secret::Secret;
use crate::delegation::exchange::{ExchangeError, Exchanges, Fresh, LEAST_LEFT};
use crate::pools::Pool;

/// However short tokens live, nobody is asked more often for one copy.
const SHORTEST_PAUSE: Duration = Duration::from_secs(2);
/// After an attempt that failed.
const RETRY_PERIOD: Duration = Duration::from_secs(30);

/// How the token of one copy is renewed.
pub struct Renewal {
    /// Who asks.
    pub exchanges: Arc<Exchanges>,
    /// Whom.
    pub issuer: String,
    /// For whose token.
    pub token: Secret,
    /// When the one that the copy begins with ends.
    pub ends_at: Timestamp,
}

/// Why there is no later token at the pool.
#[derive(Debug, thiserror::Error)]
enum RenewalError {
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("its issuer has none that ends later")]
    NoLater,
    #[error("the pool cannot be told: {}", .0.message())]
    Pool(Status),
}

impl RenewalError {
    /// Whether it will be the same next time.
    fn is_final(&self) -> bool {
        match self {
            RenewalError::Exchange(_) | RenewalError::NoLater => false,
            RenewalError::Pool(status) => matches!(
                status.code(),
                Code::NotFound | Code::FailedPrecondition | Code::InvalidArgument | Code::Unimplemented
            ),
        }
    }
}

impl Renewal {
    /// Renews it again and again, until whoever follows the copy drops this.
    pub(super) async fn keep(&self, pool: &Pool, transfer: &str) -> Infallible {
        let mut ends_at = self.ends_at;
        loop {
            tokio::time::sleep(pause(Timestamp::now(), ends_at)).await;
            match self.renew(pool, transfer, ends_at).await {
                Ok(Some(later)) => {
                    tracing::debug!(pool = pool.name(), transfer, "the copy has a later token");
                    ends_at = later;
                }
                // One without an end.
                Ok(None) => future::pending().await,
                Err(error) => {
                    tracing::warn!(pool = pool.name(), transfer, %error, "the token of a copy was not renewed");
                    if error.is_final() {
                        future::pending::<()>().await;
                    }
                    tokio::time::sleep(RETRY_PERIOD).await;
                }
            }
        }
    }

    async fn renew(
        &self,
        pool: &Pool,
        transfer: &str,
        ends_at: Timestamp,
    ) -> Result<Option<Timestamp>, RenewalError> {
        let fresh = self.exchanges.fresh(&self.issuer, &self.token, Timestamp::now()).await?;
        let later = fresh.expires_at;
        if later.is_some_and(|later| later <= ends_at) {
            return Err(RenewalError::NoLater);
        }
        let request =
            proto::RenewTokenRequest { transfer_id: transfer.to_owned(), token: Some(message(&fresh)) };
        call(pool.client().renew_token(request)).await.map_err(RenewalError::Pool)?;
        Ok(later)
    }
}

/// A token as the contract has it.
pub fn message(fresh: &Fresh) -> proto::OidcToken {
    proto::OidcToken {
        access_token: String::from_utf8_lossy(fresh.access_token.expose()).into_owned(),
        expires_at: fresh.expires_at.map(|at| std::time::SystemTime::from(at).into()),
    }
}

/// When to ask for the next one: as soon as this one would not do for another copy, but not in the first half of a short
/// life.
fn pause(now: Timestamp, ends_at: Timestamp) -> Duration {
    let left = ends_at.duration_since(now).max(SignedDuration::ZERO);
    let until_due = (left - LEAST_LEFT).max(left / 2);
    Duration::try_from(until_due).unwrap_or_default().max(SHORTEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_ten_minutes_before_its_end_or_in_the_middle_of_a_short_life() {
        let now = Timestamp::UNIX_EPOCH;
        for (life_seconds, pause_seconds) in
            [(3600, 3000), (1200, 600), (600, 300), (60, 30), (3, 2), (0, 2), (-60, 2)]
        {
            let ends_at = now + SignedDuration::from_secs(life_seconds);
            assert_eq!(pause(now, ends_at), Duration::from_secs(pause_seconds), "{life_seconds} s");
        }
    }

    #[test]
    fn a_pool_that_is_away_is_tried_again_and_one_that_says_no_is_not() {
        for (status, is_final) in [
            (Status::unavailable(""), false),
            (Status::deadline_exceeded(""), false),
            (Status::not_found(""), true),
            (Status::unimplemented(""), true),
        ] {
            assert_eq!(RenewalError::Pool(status).is_final(), is_final);
        }
        assert!(!RenewalError::NoLater.is_final());
    }
}
