//! What answers requests now: replaced as a whole when the configuration is read again. A request that has begun keeps
//! what it began with; the next one on the same connection gets the new.

use std::sync::{Arc, PoisonError, RwLock};

use super::service::Service;

/// The service of this moment.
#[derive(Debug)]
pub struct Current(RwLock<Arc<Service>>);

impl Current {
    /// The first.
    pub fn new(service: Service) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(service))))
    }

    /// For one request.
    pub fn get(&self) -> Arc<Service> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// For all requests from now on.
    pub fn set(&self, service: Service) {
        // One assignment: whole whatever happened to others.
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(service);
    }
}
