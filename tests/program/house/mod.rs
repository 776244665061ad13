//! The repository itself: imports, prose.

pub(crate) mod layers;
pub(crate) mod prose;
