//! Numbers as people write them: `1 turn`, `48,210 turns`.
//!
//! Called by whatever tells a person something. Imports nothing of ours.

/// `1 turn`, `48,210 turns`.
pub fn counted(count: u64, what: &str) -> String {
    let plural = match what.strip_suffix('y') {
        _ if count == 1 => what.to_owned(),
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{what}s"),
    };
    format!("{} {plural}", grouped(count))
}

/// `48210` as people write it: `48,210`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
