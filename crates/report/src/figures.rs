//! Numbers as people read them, in tables and charts.

/// 12345.6 as 12,346.
pub fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds with a unit that fits.
pub fn time(us: f64) -> String {
    match us {
        us if us < 1000.0 => format!("{us:.0} us"),
        us if us < 10_000.0 => format!("{:.2} ms", us / 1000.0),
        us if us < 1_000_000.0 => format!("{:.1} ms", us / 1000.0),
        us => format!("{:.1} s", us / 1e6),
    }
}

/// A figure of few digits, or a dash.
pub fn short(number: Option<f64>) -> String {
    match number {
        None => "-".to_owned(),
        Some(n) if n >= 100.0 => format!("{n:.0}"),
        Some(n) if n >= 10.0 => format!("{n:.1}"),
        Some(n) if n >= 1.0 => format!("{n:.2}"),
        Some(n) if n > 0.0 && n < 0.001 => "<0.001".to_owned(),
        Some(n) => format!("{n:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_units() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.6), "1,000");
        assert_eq!(time(12.4), "12 us");
        assert_eq!(time(1234.0), "1.23 ms");
        assert_eq!(time(12_345.0), "12.3 ms");
        assert_eq!(time(9_454_000.0), "9.5 s");
        assert_eq!(short(None), "-");
        assert_eq!(short(Some(0.0161)), "0.016");
        assert_eq!(short(Some(63.94)), "63.9");
        assert_eq!(short(Some(0.0004)), "<0.001");
    }
}
