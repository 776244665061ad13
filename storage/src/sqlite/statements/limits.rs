//! What the author's statements may do, and for how long.
//!
//! Asked by the authorizer that `mod.rs` installs, for each action of an author's statement,
//! and by `writing.rs`, which runs them. Bound: [`MAX_WRITE`] for those of a turn.

use std::time::Duration;

use rusqlite::hooks::AuthAction;

/// Every table of ours starts so.
const OUR_PREFIX: &str = "turnkey_";

/// How long the author's statements of one turn may take: all others wait for
/// them, and without a limit one endless statement would stop every writer that
/// it is sent to again.
pub(super) const MAX_WRITE: Duration = Duration::from_secs(2);

/// Steps of SQLite's machine between two looks at the clock: about a millisecond.
pub(super) const STEPS: i32 = 20_000;

/// What the author's statements may not do: end or nest the transaction, change
/// settings, open other files, write to our tables or change what hangs on them,
/// or hide them behind temporary ones of the same name.
pub(super) fn forbidden(action: &AuthAction<'_>) -> bool {
    match action {
        AuthAction::Transaction { .. }
        | AuthAction::Savepoint { .. }
        | AuthAction::Attach { .. }
        | AuthAction::Detach { .. }
        | AuthAction::Pragma { .. }
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempIndex { .. } => true,
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. }
        | AuthAction::DropTable { table_name }
        | AuthAction::CreateTable { table_name }
        | AuthAction::CreateVtable { table_name, .. }
        | AuthAction::CreateIndex { table_name, .. }
        | AuthAction::DropIndex { table_name, .. }
        | AuthAction::CreateTrigger { table_name, .. }
        | AuthAction::DropTrigger { table_name, .. }
        | AuthAction::AlterTable { table_name, .. } => is_ours(table_name),
        _ => false,
    }
}

fn is_ours(table: &str) -> bool {
    table
        .get(..OUR_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(OUR_PREFIX))
}

/// What the author is told.
pub(super) fn reason(error: &rusqlite::Error) -> String {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) {
        return format!(
            "the statements took longer than {} s and were stopped; nobody else can write meanwhile",
            MAX_WRITE.as_secs()
        );
    }
    error.to_string()
}
