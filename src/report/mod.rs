//! What the reports of measurements share: drawing, the page, files, figures, and what
//! the machine is.
//!
//! Used by `bench` and `drill`. Knows nothing of what is measured.

pub(crate) mod figures;
pub(crate) mod files;
#[cfg_attr(not(feature = "bench"), allow(unused))]
pub(crate) mod machine;
pub(crate) mod page;
#[cfg_attr(not(feature = "bench"), allow(unused))]
pub(crate) mod svg;
