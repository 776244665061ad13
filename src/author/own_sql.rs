//! What a [`Turn`] has for tables of the author's own.

use turnkey_storage::{Params, Row, Statement};

use crate::author::error::{Error, Result};
use crate::author::turn::Turn;

/// Tables of the author's own.
impl<S> Turn<S> {
    /// Adds a statement of your own to the turn's transaction: it takes effect
    /// with the new state, or neither does. Parameters are `?1`, `?2` …; a tuple,
    /// an array or a `Vec` of values. Tables of your own are made by
    /// [`App::migrations`](crate::App::migrations).
    ///
    /// It runs at the end of the turn; should it fail then, the turn fails.
    ///
    /// ```
    /// use turnkey::{Turn, testing};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     turn.execute("INSERT INTO orders (user_id, item) VALUES (?1, ?2)", (turn.user_id(), turn.text()));
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = testing::Conversation::new(handle)
    ///     .migrations(["CREATE TABLE orders (user_id TEXT NOT NULL, item TEXT NOT NULL)"]);
    /// bot.say("ann", "tea")?;
    /// assert_eq!(bot.query("SELECT item FROM orders", ())?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn execute(&self, sql: impl Into<String>, params: impl Params) {
        self.statements.push(Statement::new(sql, params));
    }

    /// Asks a question of your own tables. All earlier turns of this user are
    /// seen, statements queued in this one are not yet.
    ///
    /// ```
    /// use turnkey::{Turn, testing};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     let rows = turn.query("SELECT COUNT(*) FROM orders WHERE user_id = ?1", turn.user_id()).await?;
    ///     let count: u32 = rows[0].get(0)?;
    ///     turn.reply(format!("{count} so far"));
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = testing::Conversation::new(handle)
    ///     .migrations(["CREATE TABLE orders (user_id TEXT NOT NULL, item TEXT NOT NULL)"]);
    /// assert_eq!(bot.say("ann", "hi")?.text(), "0 so far");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the query is wrong, writes, or takes longer than five seconds.
    pub async fn query(&self, sql: impl Into<String>, params: impl Params) -> Result<Vec<Row>> {
        self.storage
            .query(Some(&self.grant), Statement::new(sql, params))
            .await
            .map_err(Error::Storage)
    }
}
