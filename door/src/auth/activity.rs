//! Activities: the words in which a token says what may be done.

/// One kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Obtain directory lists.
    List,
    /// Create new files.
    Upload,
    /// Obtain files' data.
    Download,
    /// Delete a file, or overwrite an existing one.
    Delete,
    /// Rename and move files.
    Manage,
    /// Obtain metadata.
    ReadMetadata,
    /// Modify metadata.
    UpdateMetadata,
    /// Bring files' data from tape.
    Stage,
}

impl Activity {
    /// With their words, in the order in which they are written.
    pub const ALL: [(Activity, &'static str); 8] = [
        (Activity::List, "LIST"),
        (Activity::Upload, "UPLOAD"),
        (Activity::Download, "DOWNLOAD"),
        (Activity::Delete, "DELETE"),
        (Activity::Manage, "MANAGE"),
        (Activity::ReadMetadata, "READ_METADATA"),
        (Activity::UpdateMetadata, "UPDATE_METADATA"),
        (Activity::Stage, "STAGE"),
    ];
}

/// A set of activities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Activities(u8);

impl Activities {
    /// Everything.
    pub const ALL: Activities = Activities(0b1111_1111);

    /// Reads `LIST,DOWNLOAD`. Any activity implies READ_METADATA. `None` for an empty list or an unknown word.
    pub fn parse(text: &str) -> Option<Self> {
        text.split(',').try_fold(Self::of(Activity::ReadMetadata), |set, word| {
            let (activity, _) = Activity::ALL.into_iter().find(|(_, name)| *name == word.trim())?;
            Some(Self(set.0 | Self::of(activity).0))
        })
    }

    /// What both sets hold.
    pub fn and(self, other: Activities) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether an activity is in the set.
    pub fn has(self, activity: Activity) -> bool {
        self.0 & Self::of(activity).0 != 0
    }

    /// These, and READ_METADATA where there is one.
    pub fn of_all(activities: &[Activity]) -> Self {
        let implied = activities.first().map(|_| &Activity::ReadMetadata);
        Self(activities.iter().chain(implied).fold(0, |set, activity| set | Self::of(*activity).0))
    }

    /// As a caveat says it: `LIST,DOWNLOAD`.
    pub fn words(self) -> String {
        let words = Activity::ALL.into_iter().filter(|(activity, _)| self.has(*activity));
        words.map(|(_, word)| word).collect::<Vec<_>>().join(",")
    }

    fn of(activity: Activity) -> Self {
        Self(1 << activity as u8)
    }
}
