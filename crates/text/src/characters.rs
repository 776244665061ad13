//! Characters that pages may not hold.
//!
//! Called by whatever writes HTML or XML. Imports nothing of ours.

/// A code point that is none of a text: the last two of each plane, and U+FDD0 to U+FDEF.
/// See <https://infra.spec.whatwg.org/#noncharacter>.
pub fn is_noncharacter(c: char) -> bool {
    u32::from(c) & 0xfffe == 0xfffe || ('\u{fdd0}'..='\u{fdef}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noncharacters_are_told_from_their_neighbours() {
        for c in [
            '\u{fdd0}',
            '\u{fdef}',
            '\u{fffe}',
            '\u{1ffff}',
            '\u{10fffe}',
        ] {
            assert!(is_noncharacter(c), "{c:?}");
        }
        for c in ['a', '\u{fdcf}', '\u{fdf0}', '\u{fffd}', '\u{10000}'] {
            assert!(!is_noncharacter(c), "{c:?}");
        }
    }
}
