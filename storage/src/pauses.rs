//! SHIM, never committed.
use crate::{Result, Storage};
/// shim
pub async fn set(_: &dyn Storage, _: &str, _: i64) -> Result<()> {
    Ok(())
}
/// shim
pub async fn all(_: &dyn Storage) -> Result<Vec<(String, i64)>> {
    Ok(Vec::new())
}
