//! The charts: a span of one or two figures, as SVG, without words of its own; and the choice of the
//! span.
//!
//! Colours are classes of `style.css`, since the policy of the pages allows no styles in
//! place. Bounds: as many points as `shared/trends.rs` keeps.

use std::fmt::Write as _;

use super::super::series::Series;
use crate::shared::trends::Span;

/// The drawing's own units; the page stretches it.
const WIDTH: f64 = 240.0;
const HEIGHT: f64 = 56.0;

/// In words: the whole, its beginning, its middle.
fn words(span: Span) -> [&'static str; 3] {
    match span {
        Span::Minutes => ["5 minutes", "5 min ago", "2 min 30 s"],
        Span::Hour => ["hour", "1 h ago", "30 min"],
        Span::Day => ["day", "24 h ago", "12 h"],
    }
}

/// Links to the other spans.
pub(super) fn choice(series: &Series) -> String {
    let shown = series.span();
    let link = |span: Span| {
        let name = match span {
            Span::Minutes => "5 minutes",
            Span::Hour => "1 hour",
            Span::Day => "1 day",
        };
        let here = match span == shown {
            true => " aria-current=\"true\"",
            false => "",
        };
        format!(
            "<a href=\"/status?charts={}\"{here}>{name}</a>",
            span.name()
        )
    };
    let links: String = Span::ALL.into_iter().map(link).collect();
    format!(
        "<nav class=\"spans\" aria-label=\"Charts\"><span class=\"soft\">Charts</span>{links}</nav>"
    )
}

/// A chart; `label` is for those who do not see it, `written` says its highest figure.
pub(super) fn sparkline(
    label: &str,
    series: &Series,
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
    let span = series.span();
    let [whole, begins, middle] = words(span);
    let mut svg = format!(
        "<div class=\"chart\"><p class=\"peak\">{peak}</p><svg class=\"spark\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{label}, the last {whole}\">"
    );
    let floor = HEIGHT - 1.0;
    let _ = write!(svg, "<path class=\"floor\" d=\"M0 {floor}H{WIDTH}\"/>");
    let x = |age: f64| ((1.0 - age / span.length().as_secs_f64()) * WIDTH).clamp(0.0, WIDTH);
    for (class, points) in lines {
        let ends = series.ages.iter().zip(&series.lengths).zip(*points);
        let mut path = String::new();
        let mut ended = 0.0;
        let mut from = None;
        for ((age, length), value) in ends {
            let share = if most > 0.0 { value / most } else { 0.0 };
            let y = floor - share * (HEIGHT - 17.0);
            if from.is_none() {
                // What is known begins with the first step.
                let began = x(age + length);
                from = Some(began);
                let _ = write!(path, "M{began:.1} {y:.1}");
            }
            ended = x(*age);
            let _ = write!(path, "L{ended:.1} {y:.1}");
        }
        if let Some(from) = from {
            let _ = write!(
                svg,
                "<path class=\"area {class}\" d=\"{path}L{ended:.1} {floor}H{from:.1}Z\"/><path class=\"line {class}\" d=\"{path}\"/>"
            );
        }
    }
    // The axis: it is there for those who see the drawing; the label has said the same.
    let _ = write!(
        svg,
        "</svg><p class=\"axis\" aria-hidden=\"true\"><span>{begins}</span><span>{middle}</span><span>now</span></p></div>"
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_of_nothing_and_of_something() {
        let draw = |ages: &[f64], points: &[f64]| {
            let series = Series {
                span: "1h".to_owned(),
                ages: ages.to_vec(),
                lengths: vec![24.0; ages.len()],
                ..Series::default()
            };
            sparkline("x", &series, &[("a", points)], |most| format!("{most} u"))
        };
        assert!(!draw(&[], &[]).contains("area"));
        let svg = draw(&[1800.0, 24.0, 0.0], &[0.0, 2.0, 1.0]);
        assert!(svg.contains("area a") && svg.contains("peak 2 u") && !svg.contains("NaN"));
        assert!(svg.contains("x, the last hour") && svg.contains(">30 min<"));
        // Half an hour ago is in the middle.
        assert!(svg.contains("L120.0 55.0"), "{svg}");
        let flat = draw(&[24.0, 0.0], &[0.0, 0.0]);
        assert!(!flat.contains("NaN") && !flat.contains("peak "));
    }
}
