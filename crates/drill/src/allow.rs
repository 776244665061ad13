//! `--allow-cut`: how many cut requests pass.
//!
//! Used by `run.rs` once all rounds are over: the rounds of one scenario under one load are
//! taken together, since chance spreads a few over many.

use std::str::FromStr;

/// Requests that may be cut, in all rounds of one scenario under one load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AllowCut {
    /// So many.
    Number(u64),
    /// This share of all requests that began, from 0 to 1.
    Share(f64),
}

impl AllowCut {
    /// Whether so many of so many are allowed.
    pub(super) fn takes(self, cut: u64, of: u64) -> bool {
        match self {
            AllowCut::Number(most) => cut <= most,
            AllowCut::Share(share) => cut as f64 <= share * of as f64,
        }
    }
}

impl FromStr for AllowCut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is neither a number nor a share such as 0.1%");
        match text.strip_suffix('%') {
            None => text.parse().map(AllowCut::Number).map_err(|_| wrong()),
            Some(percent) => match percent.trim().parse::<f64>() {
                Ok(percent) if (0.0..=100.0).contains(&percent) => {
                    Ok(AllowCut::Share(percent / 100.0))
                }
                _ => Err(wrong()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_shares() {
        let takes = |text: &str, cut, of| text.parse::<AllowCut>().unwrap().takes(cut, of);
        assert!(takes("3", 3, 10) && !takes("3", 4, 10));
        assert!(takes("0.1%", 3, 3300) && !takes("0.1%", 4, 3300));
        for wrong in ["", "x", "-1", "101%", "0.1"] {
            assert!(wrong.parse::<AllowCut>().is_err(), "{wrong}");
        }
    }
}
