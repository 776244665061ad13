//! Drawing: a few shapes as SVG text, escaped, with colours that follow the reader's
//! light or dark scheme. No JavaScript, no outside files.

use std::fmt::Write as _;

use turnkey_text::is_noncharacter;

/// Engines have a colour by their place in the list; more than these share one.
pub const COLOURS: usize = 8;

/// Colours for each scheme, and the text's fonts. Series colours are told apart also
/// by people who do not see red from green (Okabe and Ito's palette, adapted to each
/// background).
pub const STYLE: &str = "\
svg.chart{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',sans-serif;\
--paper:#fff;--ink:#1b1f24;--soft:#59636e;--line:#e3e7ec;--axis:#9aa4af;\
--c0:#0072b2;--c1:#d55e00;--c2:#b98a00;--c3:#6e7781;--c4:#008f6b;--c5:#b0508a;--c6:#56b4e9;--c7:#6b3f1d;--bad:#d1242f}\
@media(prefers-color-scheme:dark){svg.chart{--paper:#161b22;--ink:#e6edf3;--soft:#9ba6b2;\
--line:#2a323c;--axis:#57616d;--c0:#4ba3e3;--c1:#f08a4b;--c2:#e0b83c;--c3:#8b949e;--c4:#35c29a;\
--c5:#e085bb;--c6:#a5d8fa;--c7:#d8c3a5;--bad:#ff6a69}}\
svg.chart .paper{fill:var(--paper)}svg.chart .grid{stroke:var(--line);stroke-width:1}\
svg.chart .axis{stroke:var(--axis);stroke-width:1}svg.chart text{fill:var(--ink);font-size:13px}\
svg.chart .title{font-size:17px;font-weight:600}svg.chart .sub,svg.chart .tick{fill:var(--soft)}\
svg.chart .tick,svg.chart .value{font-size:12px}svg.chart .panel{font-weight:600}\
svg.chart .bad{fill:var(--bad)}svg.chart .pale{fill:var(--axis)}svg.chart .mark{stroke:var(--ink);stroke-width:1.5}\
svg.chart .soft{stroke:var(--soft);stroke-width:1;stroke-dasharray:4 3}";

/// A drawing under way.
pub struct Svg {
    body: String,
    width: f64,
    title: String,
}

/// Where a text's point is.
#[derive(Clone, Copy)]
pub enum Anchor {
    /// At its beginning.
    Start,
    /// In its middle.
    Middle,
    /// At its end.
    End,
}

impl Svg {
    /// An empty drawing of this width, in pixels.
    pub fn new(width: f64, title: &str) -> Self {
        Svg {
            body: String::new(),
            width,
            title: title.to_owned(),
        }
    }

    /// The whole file, of this height.
    pub fn finish(self, height: f64) -> String {
        let (width, title) = (self.width, escape(&self.title));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n{}</svg>\n",
            self.body
        )
    }

    /// Text of one of the classes of [`STYLE`].
    pub fn text(&mut self, x: f64, y: f64, class: &str, anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{class}\" text-anchor=\"{anchor}\">{}</text>",
            escape(text)
        );
    }

    /// Upwards, along a vertical axis.
    pub fn text_up(&mut self, x: f64, y: f64, text: &str) {
        let _ = writeln!(
            self.body,
            "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\" class=\"sub\" text-anchor=\"middle\">{}</text>",
            escape(text)
        );
    }

    /// A bar's figure, upwards from its top.
    pub fn value_up(&mut self, x: f64, y: f64, text: &str) {
        let _ = writeln!(
            self.body,
            "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\" class=\"value\">{}</text>",
            escape(text)
        );
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let _ = writeln!(
            self.body,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" class=\"{class}\"/>",
            from.0, from.1, to.0, to.1
        );
    }

    /// A filled rectangle with a hint that shows its value.
    pub fn bar(&mut self, x: f64, y: f64, size: (f64, f64), colour: usize, hint: &str) {
        self.bar_of(x, y, size, colour, 1.0, hint);
    }

    /// A bar that shows a hint; `opacity` from 0 to 1.
    pub fn bar_of(
        &mut self,
        x: f64,
        y: f64,
        size: (f64, f64),
        colour: usize,
        opacity: f64,
        hint: &str,
    ) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" \
             style=\"fill:var(--c{})\" opacity=\"{opacity}\"><title>{}</title></rect>",
            size.0.max(0.0),
            size.1.max(0.0),
            colour % COLOURS,
            escape(hint)
        );
    }

    /// A filled rectangle in the colour of a class.
    pub fn bar_in(&mut self, x: f64, y: f64, size: (f64, f64), class: &str, hint: &str) {
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" class=\"{class}\"><title>{}</title></rect>",
            size.0.max(0.0),
            size.1.max(0.0),
            escape(hint)
        );
    }

    /// A dot that shows a hint.
    pub fn dot(&mut self, x: f64, y: f64, radius: f64, colour: usize, hint: &str) {
        let _ = writeln!(
            self.body,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" style=\"fill:var(--c{})\"><title>{}</title></circle>",
            colour % COLOURS,
            escape(hint)
        );
    }

    /// A figure's interval, upright.
    pub fn error_bar(&mut self, x: f64, low: f64, high: f64) {
        self.line((x, low), (x, high), "axis");
        for end in [low, high] {
            self.line((x - 3.0, end), (x + 3.0, end), "axis");
        }
    }

    /// A dashed line in an engine's colour.
    pub fn dashed(&mut self, from: (f64, f64), to: (f64, f64), colour: usize) {
        let _ = writeln!(
            self.body,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" style=\"stroke:var(--c{})\" stroke-dasharray=\"5 4\"/>",
            from.0,
            from.1,
            to.0,
            to.1,
            colour % COLOURS
        );
    }

    /// A line through all points.
    pub fn path(&mut self, points: &[(f64, f64)], colour: usize, width: f64) {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let _ = writeln!(
            self.body,
            "<polyline points=\"{}\" fill=\"none\" style=\"stroke:var(--c{})\" stroke-width=\"{width}\" stroke-linejoin=\"round\"/>",
            points.join(" "),
            colour % COLOURS
        );
    }
}

/// For text and attributes of XML 1.0 and of HTML, which allow some characters neither as
/// they are nor as references: these become U+FFFD.
pub fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(c),
            // XML refuses U+0000 to U+001F, U+FFFE and U+FFFF; HTML also the other controls
            // and noncharacters.
            c if c.is_control() || is_noncharacter(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
        out
    })
}

/// The steps of an axis from 0 to at least `most`: 1, 2 or 5 times a power of ten.
pub fn steps(most: f64, wanted: usize) -> Vec<f64> {
    if !(most > 0.0 && most.is_finite()) {
        return vec![0.0, 1.0];
    }
    let rough = most / wanted.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|n| n * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    let count = (most / step).ceil() as usize;
    (0..=count).map(|n| n as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_character_of_a_page_is_replaced() {
        assert_eq!(
            escape("a\u{ffff}\u{fffe}\u{0}\u{b}\u{7f}\u{85}"),
            "a\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(
            escape("\u{fdd0}\u{fdef}\u{1fffe}\u{10ffff}"),
            "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"
        );
        let kept = "\t\n\u{fffd}\u{e000}\u{fdcf}\u{fdf0}\u{1f600}\u{10fffd}\u{a0}";
        assert_eq!(escape(kept), kept);
    }

    #[test]
    fn steps_are_round_and_reach_the_top() {
        assert_eq!(steps(9.3, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(steps(45_000.0, 5).last(), Some(&50_000.0));
        assert_eq!(steps(0.0, 5), [0.0, 1.0]);
        assert_eq!(steps(f64::NAN, 5), [0.0, 1.0]);
        assert_eq!(steps(0.03, 3).len(), 4);
    }

    #[test]
    fn text_is_escaped() {
        assert_eq!(
            escape("a<b> & \"c\"\u{1}"),
            "a&lt;b&gt; &amp; &quot;c&quot;\u{fffd}"
        );
    }
}
