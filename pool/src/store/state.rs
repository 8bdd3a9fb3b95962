//! The states of a replica, and which may follow which.

use std::fmt;

/// What a replica is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReplicaState {
    /// Being written; has no name yet and is not served.
    Uploading,
    /// Whole; served.
    Ready,
    /// Its bytes are not those that were stored; served to an operator who asks for what is left.
    Broken,
    /// An upload that no door claimed in time; kept and listed.
    Orphaned,
    /// Being deleted.
    Removing,
}

impl ReplicaState {
    /// The name in attributes and texts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uploading => "uploading",
            Self::Ready => "ready",
            Self::Broken => "broken",
            Self::Orphaned => "orphaned",
            Self::Removing => "removing",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Uploading, Self::Ready, Self::Broken, Self::Orphaned, Self::Removing];
        all.into_iter().find(|state| state.name() == name)
    }

    /// Whether a replica of this state may get the state `next`.
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Uploading => matches!(next, Self::Ready | Self::Orphaned),
            Self::Ready => matches!(next, Self::Broken | Self::Orphaned | Self::Removing),
            // Good again when a check of the whole replica finds it so.
            Self::Broken => matches!(next, Self::Ready | Self::Removing),
            // A door claims it after all.
            Self::Orphaned => matches!(next, Self::Ready | Self::Broken | Self::Removing),
            Self::Removing => false,
        }
    }
}

impl fmt::Display for ReplicaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::ReplicaState::{self, Broken, Orphaned, Ready, Removing, Uploading};

    const ALL: [ReplicaState; 5] = [Uploading, Ready, Broken, Orphaned, Removing];

    #[test]
    fn a_state_is_found_again_by_its_name() {
        for state in ALL {
            assert_eq!(ReplicaState::from_name(state.name()), Some(state));
        }
        assert_eq!(ReplicaState::from_name("Ready"), None);
    }

    #[test]
    fn nothing_comes_back_from_removal_and_nothing_returns_to_uploading() {
        for state in ALL {
            assert!(!Removing.may_become(state), "removing to {state}");
            assert!(!state.may_become(Uploading), "{state} to uploading");
            assert!(!state.may_become(state), "{state} to itself");
        }
    }

    #[test]
    fn a_replica_is_uploaded_breaks_is_repaired_and_goes() {
        for pair in [Uploading, Ready, Broken, Ready, Orphaned, Ready, Removing].windows(2) {
            assert!(pair[0].may_become(pair[1]), "{} to {}", pair[0], pair[1]);
        }
    }
}
