//! What an operator does with a store: back it up, bring it back, check it, count it, shrink it.
//!
//! A backup and a restore work on keys and values through [`crate::Store`], whatever is behind it; everything else
//! here is about the file and works while nobody has it open. What is only looked at keeps every byte.

mod backup;
mod format;
mod restore;
mod survey;

pub use backup::{Backup, BackupFile};
pub use format::{BackupError, BackupInfo};
pub(crate) use format::{read_frames, read_whole};
pub use restore::{Identity, RestoreError, Restored, create};
pub use survey::{FileStats, Finding, Flaw, Report, Shrunk, check, shrink, stats};
