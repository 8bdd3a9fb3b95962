//! How much of the tree a change can touch: what decides which changes of several doors may run at the same time.

/// What a change touches at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// One statement on rows that stand for themselves and that does no harm when it is run twice: it needs no
    /// transaction, and never waits for anybody.
    Own,
    /// Single names, and directories above them that come to be: changes of this kind run side by side. Unique names,
    /// references and rows that are held keep them apart, and what collides nevertheless is done again.
    Names,
    /// Whatever is below a name, or what is true of many names at once (locks): such a change runs alone. On SQLite all
    /// do.
    Tree,
}
