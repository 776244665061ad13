//! The small charts: two minutes of one or two figures, as SVG, without words of its own.
//!
//! Colours are classes of `style.css`, since the policy of the pages allows no styles in
//! place. Bounds: as many points as `history.rs` keeps.

use std::fmt::Write as _;

/// The drawing's own units; the page stretches it.
const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 56.0;

/// Points of a full chart: one a second for two minutes.
const POINTS: usize = 120;

/// A chart; `label` is for those who do not see it, `written` says its highest figure.
pub(super) fn sparkline(
    label: &str,
    lines: &[(&str, &[f64])],
    written: impl Fn(f64) -> String,
) -> String {
    let most = lines
        .iter()
        .flat_map(|(_, points)| points.iter().copied())
        .fold(0.0, f64::max);
    let peak = match most > 0.0 {
        true => format!("peak {}", written(most)),
        false => String::new(),
    };
    let mut svg = format!(
        "<div class=\"chart\"><p class=\"peak\">{peak}</p><svg class=\"spark\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{label}, the last two minutes\">"
    );
    let floor = HEIGHT - 1.0;
    let _ = write!(svg, "<path class=\"floor\" d=\"M0 {floor}H{WIDTH}\"/>");
    for (class, points) in lines {
        if points.len() < 2 {
            continue;
        }
        let mut path = String::new();
        let first = POINTS.saturating_sub(points.len());
        for (n, value) in points.iter().enumerate() {
            let x = (first + n) as f64 * WIDTH / (POINTS - 1) as f64;
            let share = if most > 0.0 { value / most } else { 0.0 };
            let y = floor - share * (HEIGHT - 17.0);
            let _ = write!(path, "{}{x:.1} {y:.1}", if n == 0 { "M" } else { "L" });
        }
        let from = first as f64 * WIDTH / (POINTS - 1) as f64;
        let _ = write!(
            svg,
            "<path class=\"area {class}\" d=\"{path}V{floor}H{from:.1}Z\"/><path class=\"line {class}\" d=\"{path}\"/>"
        );
    }
    // The axis: it is there for those who see the drawing; the label has said the same.
    svg.push_str(
        "</svg><p class=\"axis\" aria-hidden=\"true\"><span>2 min ago</span><span>1 min</span><span>now</span></p></div>",
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_of_nothing_and_of_something() {
        let draw = |points: &[f64]| sparkline("x", &[("a", points)], |most| format!("{most} u"));
        assert!(!draw(&[]).contains("area"));
        let svg = draw(&[0.0, 2.0, 1.0]);
        assert!(svg.contains("area a") && svg.contains("peak 2 u") && !svg.contains("NaN"));
        let flat = draw(&[0.0, 0.0]);
        assert!(!flat.contains("NaN") && !flat.contains("peak "));
    }
}
