// Checks HTML files with html-validate, the Nu checker and axe, and on a narrow screen: see scripts/pages.
"use strict";

const { execFileSync, spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const { HtmlValidate } = require("html-validate");

// For one page in Chromium, on a busy machine.
const PATIENCE = 90_000;

const complaints = [];

function complain(file, who, what) {
  complaints.push(`${path.basename(file)}: ${who}: ${what}`);
}

// What is written by hand in another style is no fault.
const STYLE = ["doctype-style", "long-title", "no-inline-style", "void-style", "no-trailing-whitespace", "prefer-native-element"];

async function htmlValidate(file) {
  const rules = Object.fromEntries(STYLE.map((rule) => [rule, "off"]));
  const validator = new HtmlValidate({ extends: ["html-validate:recommended"], rules });
  const report = await validator.validateFile(file);
  for (const result of report.results) {
    for (const m of result.messages) {
      complain(file, "html-validate", `${m.line}:${m.column} ${m.ruleId}: ${m.message}`);
    }
  }
}

function nu(files) {
  const jar = require.resolve("vnu-jar/build/dist/vnu.jar");
  const java = spawnSync("java", ["-Xss1m", "-jar", jar, "--format", "json", ...files], { encoding: "utf8" });
  if (java.error) {
    console.error("no Java: not checked with the Nu checker");
    return;
  }
  for (const m of JSON.parse(java.stderr || java.stdout).messages) {
    // It does not know this property of SVG 2.
    const known = !m.message.includes("vector-effect");
    if (known && (m.type === "error" || m.subType === "fatal")) {
      complain(m.url, "Nu", `${m.lastLine}:${m.lastColumn} ${m.message}`);
    }
  }
}

// The page with axe in it, which writes what it found at the end of the document.
function withAxe(file) {
  const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
  const script = `<script>${axe.replaceAll("</script", "<\\/script")}</script><script>
    // What can be opened has to be as good as the rest.
    for (const closed of document.querySelectorAll("details")) closed.open = true;
    axe.run(document, { resultTypes: ["violations"] }).then((found) => found.violations, (e) => [{ id: "axe", help: String(e), nodes: [] }]).then((violations) => {
      const lines = violations.map((v) => v.id + ": " + v.help + ": " + v.nodes.map((n) => n.html.slice(0, 200) + " " + (n.any[0] ? n.any[0].message : "")).slice(0, 3).join(" | "));
      document.documentElement.setAttribute("data-axe", encodeURIComponent(JSON.stringify(lines)));
    });
  </script>`;
  return fs.readFileSync(file, "utf8").replace("</body>", () => `${script}</body>`);
}

// The document that Chromium makes of a page, once its scripts have run.
function dom(html, home, dark) {
  const page = path.join(home, "page.html");
  fs.writeFileSync(page, html);
  const options = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--window-size=500,800", "--virtual-time-budget=20000",
    `--user-data-dir=${path.join(home, "profile")}`, "--dump-dom",
  ];
  if (dark) options.push("--blink-settings=preferredColorScheme=0");
  return execFileSync("chromium", [...options, `file://${page}`], {
    encoding: "utf8", timeout: PATIENCE, stdio: ["ignore", "pipe", "ignore"], maxBuffer: 1 << 28,
  });
}

// What a script wrote at the end of the document.
function written(document, name, file) {
  const found = document.match(new RegExp(`${name}="([^"]*)"`));
  if (!found) throw new Error(`${name.replace("data-", "")} did not end on ${file}`);
  return JSON.parse(decodeURIComponent(found[1]));
}

function axe(file, home, dark) {
  for (const line of written(dom(withAxe(file), home, dark), "data-axe", file)) {
    complain(file, dark ? "axe, dark" : "axe", line);
  }
}

// A phone, a tablet, a desk.
const WIDTHS = [390, 768, 1280];

// Nothing is wider than the screen, and no chart cuts its words off. On a phone no short word goes
// on in the next line.
function screens(file, home) {
  const html = JSON.stringify(fs.readFileSync(file, "utf8")).replaceAll("</", "<\\/");
  const frames = WIDTHS.map((width) => `<iframe style="width:${width}px;height:800px;border:0"></iframe>`);
  const page = `<!doctype html>${frames.join("")}<script>
    const frames = [...document.querySelectorAll("iframe")], lines = [];
    let missing = frames.length;
    function look(width, shown) {
      const found = (what) => lines.push("at " + width + " pixels " + what);
      const wide = shown.documentElement.scrollWidth;
      if (wide > width) found("it is " + wide + " wide");
      for (const chart of shown.querySelectorAll("svg[viewBox]")) {
        // As drawn, since a text may be turned.
        const whole = chart.getBoundingClientRect();
        for (const text of chart.querySelectorAll("text")) {
          const box = text.getBoundingClientRect();
          if (box.left < whole.left - 1 || box.right > whole.right + 1) found("a chart cuts off: " + text.textContent);
        }
      }
      if (width > 390) return;
      // Nor does a part of it go on where nobody sees that it does.
      if (shown.querySelector('header a[href="/status"]')) {
        for (const part of shown.querySelectorAll("body *")) {
          const scrolls = ["auto", "scroll"].includes(getComputedStyle(part).overflowX);
          if (scrolls && part.scrollWidth > part.clientWidth + 1) {
            found((part.getAttribute("aria-label") || part.tagName) + " goes on to the right of the screen");
          }
        }
      }
      const texts = shown.createTreeWalker(shown.body, NodeFilter.SHOW_TEXT);
      const range = shown.createRange();
      for (let text = texts.nextNode(); text; text = texts.nextNode()) {
        for (const word of text.data.matchAll(/(?<!\\S)[A-Za-z]{2,12}(?=[),.:]?(\\s|$))/g)) {
          range.setStart(text, word.index);
          range.setEnd(text, word.index + word[0].length);
          const tops = new Set([...range.getClientRects()].map((rect) => Math.round(rect.top)));
          if (tops.size > 1) found("the word " + word[0] + " is broken");
        }
      }
    }
    for (const frame of frames) {
      frame.onload = () => {
        look(parseInt(frame.style.width), frame.contentDocument);
        missing -= 1;
        if (missing === 0) document.documentElement.setAttribute("data-screens", encodeURIComponent(JSON.stringify(lines)));
      };
      frame.srcdoc = ${html};
    }
  </script>`;
  for (const line of written(dom(page, home, false), "data-screens", file)) complain(file, "screens", line);
}

async function main(files) {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "turnkey-pages-"));
  try {
    for (const file of files) {
      await htmlValidate(file);
      for (const dark of [false, true]) axe(file, home, dark);
      screens(file, home);
    }
    nu(files);
  } finally {
    fs.rmSync(home, { recursive: true, force: true, maxRetries: 5 });
  }
  for (const complaint of complaints) console.log(complaint);
  console.error(`${files.length} pages, ${complaints.length} complaints`);
  process.exitCode = complaints.length > 0 ? 1 : 0;
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 2;
});
