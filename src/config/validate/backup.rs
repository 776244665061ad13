//! Backups that the bot makes by itself.

use crate::config::serving::BackupConfig;
use crate::config::settings::{Settings, Values};
use crate::config::{Address, refuse};

/// A schedule has a directory.
///
/// # Errors
/// It is said how, and not where to.
pub(super) fn refuse_contradictions(settings: &Settings) -> crate::StartResult<()> {
    let says_how = settings.backup_every.is_some() || settings.backup_keep.is_some();
    match says_how && settings.backup_dir.is_none() {
        true => refuse("--backup-every and --backup-keep are for --backup-dir; give that too"),
        false => Ok(()),
    }
}

/// The schedule, if there is one.
///
/// # Errors
/// The database is none to be copied.
pub(super) fn scheduled(
    values: &Values,
    database: Option<&Address>,
) -> crate::StartResult<Option<BackupConfig>> {
    let Some(dir) = values.backup_dir.clone() else {
        return Ok(None);
    };
    match database.map(Address::file) {
        Some(Some(_)) => Ok(Some(BackupConfig {
            dir,
            every: values.backup_every,
            keep: values.backup_keep,
        })),
        None => refuse(
            "--backup-dir keeps copies of a database that stays; give --storage sqlite:bot.db too",
        ),
        Some(None) => refuse(
            "--backup-dir is for SQLite; servers have tools of their own (pg_dump, mariadb-dump)",
        ),
    }
}
