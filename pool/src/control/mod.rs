//! What doors and admins talk to.
