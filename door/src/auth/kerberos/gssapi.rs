//! Kerberos by MIT's libraries. Their calls may block on files, and are made on threads for that.
//!
//! One request, one token: clients that would need more rounds (NTLM, Kerberos by way of a proxy) are refused.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use libgssapi::context::{SecurityContext as _, ServerCtx};
use libgssapi::credential::{Cred, CredUsage};
use libgssapi::name::Name;
use libgssapi::oid::{GSS_MECH_KRB5, GSS_MECH_SPNEGO, GSS_NT_HOSTBASED_SERVICE, OidSet};
use tokio::sync::Semaphore;

use super::super::identity::{Identity, Scheme};
use super::super::secret::Secret;
use super::{KerberosError, KerberosSetupError, MAX_TOKEN_BYTES};

/// Tokens that are looked at at once: each keeps a thread for a moment. More wait.
const MAX_AT_ONCE: usize = 8;
/// Longest answer that is sent: those of Kerberos have about a hundred bytes.
const MAX_PROOF_BYTES: usize = 4096;
/// Longest name that is shown.
const MAX_NAME_BYTES: usize = 256;

/// The door's keys.
#[derive(Clone)]
pub struct Kerberos {
    keys: Cred,
    turns: Arc<Semaphore>,
}

impl std::fmt::Debug for Kerberos {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Kerberos")
    }
}

impl Kerberos {
    /// Reads the keys of a service, as `HTTP@door.example.org`. Blocks.
    pub fn load(service: &str) -> Result<Self, KerberosSetupError> {
        let failed = |error: libgssapi::error::Error| KerberosSetupError::Keytab {
            service: service.to_owned(),
            problem: one_line(&error.to_string()),
        };
        let name = Name::new(service.as_bytes(), Some(GSS_NT_HOSTBASED_SERVICE)).map_err(failed)?;
        let mut mechanisms = OidSet::new();
        for mechanism in [GSS_MECH_SPNEGO, GSS_MECH_KRB5] {
            mechanisms.add(mechanism).map_err(failed)?;
        }
        let keys = Cred::acquire(Some(&name), None, CredUsage::Accept, Some(&mechanisms)).map_err(failed)?;
        Ok(Self { keys, turns: Arc::new(Semaphore::new(MAX_AT_ONCE)) })
    }

    /// Who has sent a token, which is what follows `Negotiate` in the header, in base64; and what they get in return.
    pub async fn verify(
        &self,
        token: &Secret,
        now: Timestamp,
    ) -> Result<(Identity, Option<Secret>), KerberosError> {
        if token.expose().len() > MAX_TOKEN_BYTES.div_ceil(3) * 4 {
            return Err(KerberosError::TooLong);
        }
        let token = STANDARD.decode(token.expose()).map_err(|_| KerberosError::Form)?;
        let _turn = self.turns.acquire().await.map_err(|_| KerberosError::Stopping)?;
        let keys = self.keys.clone();
        let looking = tokio::task::spawn_blocking(move || accept(keys, &token, now));
        looking.await.map_err(|_| KerberosError::Stopping)?
    }
}

fn accept(keys: Cred, token: &[u8], now: Timestamp) -> Result<(Identity, Option<Secret>), KerberosError> {
    let refused = |problem: String| {
        tracing::info!(problem, "a Kerberos ticket is refused");
        KerberosError::Ticket
    };
    let ticket = |error: libgssapi::error::Error| refused(one_line(&error.to_string()));
    let mut context = ServerCtx::new(Some(keys));
    let reply = context.step(token, None).map_err(ticket)?;
    if !context.is_complete() {
        return Err(KerberosError::Mechanism);
    }
    let source = context.source_name().and_then(|name| name.display_name()).map_err(ticket)?;
    let principal = String::from_utf8_lossy(&source).into_owned();
    let plain = principal.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain || principal.is_empty() || principal.len() > MAX_NAME_BYTES {
        return Err(refused("the principal's name is not plain".to_owned()));
    }
    // No longer than the ticket; a library that does not say is believed for this request.
    let left = context.lifetime().ok().and_then(|left| SignedDuration::try_from(left).ok());
    let expires_at = left.and_then(|left| now.saturating_add(left).ok());
    let identity =
        Identity { user: Some(principal.clone()), expires_at, ..Identity::new(Scheme::Kerberos, principal) };
    // It proves the door to clients that want more than TLS for that (RFC 4559 §5).
    let proof = reply.filter(|reply| reply.len() <= MAX_PROOF_BYTES);
    Ok((identity, proof.map(|proof| Secret::new(STANDARD.encode(&*proof)))))
}

/// The library's words come in several lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_without_keys_says_where_they_are_looked_for() {
        let error = Kerberos::load("HTTP@no-such-door.invalid").unwrap_err().to_string();
        assert!(error.contains("no keys for HTTP@no-such-door.invalid in the keytab"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
