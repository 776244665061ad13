//! What the reports of measurements share: drawing, the page, files, figures, and what
//! the machine is.
//!
//! Used by `bench` and `drill`. Knows nothing of what is measured.

// What only one of them needs.
#[cfg_attr(not(all(feature = "bench", feature = "drill")), allow(unused))]
pub(crate) mod figures;
pub(crate) mod files;
#[cfg_attr(not(all(feature = "bench", feature = "drill")), allow(unused))]
pub(crate) mod machine;
pub(crate) mod page;
#[cfg_attr(not(all(feature = "bench", feature = "drill")), allow(unused))]
pub(crate) mod svg;
