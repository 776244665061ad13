//! The settings of all our sessions, whatever the server's defaults are.
//!
//! Called by `server.rs` for each connection it makes. Settings between `/*` and `*/` are read
//! only by the kind of server that has them.
//!
//! Deliberately not set: the time zone of the author's statements, `auto_increment_increment`
//! (each server of a cluster has its own), and settings that need more privileges than a bot
//! has, such as `binlog_format`, which `schema.rs` checks.

use mysql_async::prelude::Queryable;

use crate::lanes::bounds::MAX_STATEMENT;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Our own statements.
    Ours,
    /// The author's own SQL, which is stopped after [`MAX_STATEMENT`].
    Author,
}

/// What every session of ours starts with. A turn's statements see what was committed
/// when they start, and lock no gaps; a wait for a row is short, since whoever holds
/// one is about to commit.
const EVERYWHERE: &str = "SET NAMES utf8mb4;
    SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
    SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION',
        autocommit = 1, completion_type = 'NO_CHAIN',
        sql_safe_updates = 0, sql_auto_is_null = 0,
        sql_select_limit = 18446744073709551615, max_join_size = 18446744073709551615,
        foreign_key_checks = 1, unique_checks = 1,
        default_storage_engine = InnoDB,
        innodb_lock_wait_timeout = 5, lock_wait_timeout = 86400,
        wait_timeout = 28800, net_read_timeout = 60, net_write_timeout = 60,
        max_sort_length = 4096
        /*M!100300 , check_constraint_checks = 1, max_statement_time = 0,
        in_predicate_conversion_threshold = 1000, idle_transaction_timeout = 0,
        idle_readonly_transaction_timeout = 0, idle_write_transaction_timeout = 0 */
        /*!80000 , max_execution_time = 0, range_optimizer_max_mem_size = 0 */;
    SET SESSION sql_big_selects = 1";

/// Our own statements reckon with times: where clocks are put back in autumn, an hour of
/// local time comes twice, and every lease would look an hour old.
const OURS: &str = "SET SESSION time_zone = '+00:00'";

/// Makes a new connection's session one of ours; the server's `max_allowed_packet`.
pub(super) async fn set_up(
    my: &mut mysql_async::Conn,
    purpose: Purpose,
) -> mysql_async::Result<usize> {
    my.query_drop(EVERYWHERE).await?;
    my.query_drop(match purpose {
        Purpose::Ours => OURS.to_owned(),
        Purpose::Author => authors(),
    })
    .await?;
    let limit: Option<usize> = my.query_first("SELECT @@max_allowed_packet").await?;
    Ok(limit.unwrap_or(0))
}

/// Slow statements are stopped: in MySQL questions alone, the rest by us. One that waits
/// inside a transaction holds rows of others.
fn authors() -> String {
    let seconds = MAX_STATEMENT.as_secs();
    format!(
        "SET SESSION sql_mode = @@sql_mode
         /*M!100300 , max_statement_time = {seconds}, idle_transaction_timeout = 10 */
         /*!80000 , max_execution_time = {seconds}000 */"
    )
}
