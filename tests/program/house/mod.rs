//! The repository itself: imports, prose, pages, examples.

pub(crate) mod examples;
pub(crate) mod layers;
pub(crate) mod pages;
pub(crate) mod prose;
