//! Panels of a chart side by side: their places, axes and grids; figures on axes.
//!
//! Used by `charts.rs` and `load.rs`. Sizes are in the units of the drawing, pixels at its own size.

use turnkey_report::svg::{Anchor, Svg, steps};

pub(super) const WIDTH: f64 = 960.0;
pub(super) const LEFT: f64 = 24.0;
/// Under the title and the legend.
pub(super) const TOP: f64 = 100.0;
pub(super) const PLOT: f64 = 250.0;

/// Of a bar, with what is around it: less, and the figures on them cover each other.
pub(super) const LEGIBLE: f64 = 12.0;

/// The part of a panel that has bars on it.
pub(super) const FILLED: f64 = 0.82;

/// Panels side by side, three in a row at most.
pub(super) struct Plots {
    count: usize,
    columns: usize,
}

/// One panel.
pub(super) struct Plot {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
}

impl Plots {
    /// A row of panels with its names and labels.
    const ROW: f64 = PLOT + 92.0;

    pub(super) fn new(count: usize) -> Self {
        Plots {
            count,
            columns: count.clamp(1, 3),
        }
    }

    /// Fewer in a row where so many bars in each would be too thin.
    pub(super) fn of_bars(count: usize, bars: usize) -> Self {
        let mut plots = Self::new(count);
        while plots.columns > 1 && plots.at(0).width * FILLED / (bars as f64) < LEGIBLE {
            plots.columns -= 1;
        }
        plots
    }

    pub(super) fn at(&self, n: usize) -> Plot {
        let cell = (WIDTH - 2.0 * LEFT) / self.columns as f64;
        Plot {
            x: LEFT + cell * (n % self.columns) as f64 + 62.0,
            y: TOP + 28.0 + Self::ROW * (n / self.columns) as f64,
            width: cell - 74.0,
        }
    }

    pub(super) fn height(&self) -> f64 {
        TOP + Self::ROW * self.count.div_ceil(self.columns) as f64
    }
}

impl Plot {
    pub(super) fn bottom(&self) -> f64 {
        self.y + PLOT
    }

    /// Name, grid and axes; the height of one unit.
    pub(super) fn frame(
        &self,
        svg: &mut Svg,
        name: &str,
        most: f64,
        up: &str,
        across: &str,
    ) -> f64 {
        self.name(svg, name);
        let steps = steps(most, 5);
        let scale = PLOT / steps.last().copied().unwrap_or(1.0);
        for step in &steps {
            let y = self.bottom() - step * scale;
            svg.line((self.x, y), (self.x + self.width, y), "grid");
            svg.text(self.x - 7.0, y + 4.0, "tick", Anchor::End, &compact(*step));
        }
        svg.line(
            (self.x, self.bottom()),
            (self.x + self.width, self.bottom()),
            "axis",
        );
        self.beside(svg, up);
        self.below(svg, across);
        scale
    }

    /// Its name, above it.
    pub(super) fn name(&self, svg: &mut Svg, name: &str) {
        svg.text(self.x, self.y - 12.0, "panel", Anchor::Start, name);
    }

    /// What its upright axis is about.
    pub(super) fn beside(&self, svg: &mut Svg, what: &str) {
        svg.text_up(self.x - 48.0, self.y + PLOT / 2.0, what);
    }

    /// What its other axis is about.
    pub(super) fn below(&self, svg: &mut Svg, what: &str) {
        let middle = self.x + self.width / 2.0;
        svg.text(middle, self.bottom() + 40.0, "sub", Anchor::Middle, what);
    }
}

/// 12345 as 12.3k.
pub(super) fn compact(number: f64) -> String {
    let (number, unit) = match number {
        n if n >= 1e6 => (n / 1e6, "M"),
        n if n >= 1e3 => (n / 1e3, "k"),
        n => return plain(n),
    };
    let digits = usize::from(number < 99.95 && (number * 10.0).round() % 10.0 != 0.0);
    format!("{number:.digits$}{unit}")
}

/// Without digits that say nothing.
pub(super) fn plain(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A power of ten of microseconds.
pub(super) fn round_time(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} us"),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.0} s", us / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_bars_get_wider_panels() {
        let columns = |count, bars| Plots::of_bars(count, bars).columns;
        assert_eq!([columns(3, 9), columns(2, 9), columns(1, 9)], [3, 2, 1]);
        assert_eq!([columns(3, 21), columns(3, 35), columns(3, 999)], [2, 1, 1]);
    }

    #[test]
    fn compact_figures() {
        assert_eq!(compact(0.0), "0");
        assert_eq!(compact(950.0), "950");
        assert_eq!(compact(12_345.0), "12.3k");
        assert_eq!(compact(20_000.0), "20k");
        assert_eq!(compact(123_456.0), "123k");
        assert_eq!(plain(2.5), "2.5");
        assert_eq!(round_time(1e4), "10 ms");
    }
}
