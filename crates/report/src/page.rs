//! The frame of a report: one HTML file that needs nothing else, light and dark, on
//! screen and paper.

use super::svg::escape;

const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#f4f6f8;--card:#fff;--ink:#1b1f24;--soft:#59636e;--line:#dde2e8;--bad:#b42318;--mark:#0072b2}\
@media(prefers-color-scheme:dark){:root{--bg:#0d1117;--card:#161b22;--ink:#e6edf3;--soft:#9ba6b2;--line:#2a323c;--bad:#ff7b72;--mark:#4ba3e3}}\
*{box-sizing:border-box}body{margin:0;overflow-wrap:break-word;background:var(--bg);color:var(--ink);\
font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',sans-serif}\
main{max-width:1040px;margin:0 auto;padding:40px 24px 64px}h1{font-size:15px;font-weight:600;color:var(--mark);\
letter-spacing:.02em;margin:0 0 8px}.headline{font-size:27px;line-height:1.3;font-weight:650;margin:0 0 12px;max-width:34em;text-wrap:pretty}\
h2{font-size:20px;margin:40px 0 12px}.soft,figcaption{color:var(--soft)}figcaption{font-size:14px;margin-top:6px}\
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(290px,1fr));gap:12px;margin:24px 0}\
.facts div,figure .sheet,.scroll,.note{background:var(--card);border:1px solid var(--line);border-radius:8px}\
.facts div{padding:12px 14px;min-width:0}.facts b{display:block;font-size:13px;font-weight:600;color:var(--soft)}\
.note{padding:12px 16px;margin:16px 0}.bad{color:var(--bad);font-weight:600}\
.output{overflow-x:auto}figure{margin:0 0 26px}figure .sheet{overflow-x:auto;padding:2px}svg.chart{display:block;max-width:100%;min-width:640px;height:auto;margin:0 auto}\
@media(max-width:600px){svg.chart{min-width:860px}}\
.scroll{overflow-x:auto;width:min(1560px,calc(100vw - 48px));margin-left:50%;transform:translateX(-50%)}table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}\
th,td{padding:6px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}\
th{color:var(--soft);font-weight:600;vertical-align:bottom}th:first-child,td:first-child,td.left,th.left{text-align:left}\
tr.situation td{background:var(--bg);font-weight:600;text-align:left;padding-top:12px}\
tbody tr:last-child td{border-bottom:0}dt{font-weight:600;margin-top:10px}dd{margin:0}code{font-size:.92em}\
:focus-visible{outline:2px solid var(--mark);outline-offset:2px}li{margin:4px 0}details{margin:8px 0}summary{cursor:pointer;color:var(--mark)}\
@media print{body{background:#fff}main{padding:0}}";

/// The start of a `div` that may have to be scrolled, which a keyboard has to reach.
pub fn region(class: &str, name: &str) -> String {
    format!(
        "<div class=\"{class}\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">",
        escape(name)
    )
}

/// The whole page; `body` is HTML.
pub fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title}</title><style>{STYLE}</style></head>\n<body><main>\n{body}</main></body></html>\n"
    )
}
