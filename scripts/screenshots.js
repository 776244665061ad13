// Takes pictures of pages at the width of a phone and of a desk, light and dark: see scripts/screenshots.
// Usage: node --experimental-websocket screenshots.js ADDRESS DIR (NAME PATH WIDTH[xHEIGHT] SCHEME)...
// Chromium's own window is never narrower than 500 pixels, so the device is emulated.
"use strict";

const { spawn } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

// For one answer of Chromium, on a busy machine.
const PATIENCE = 60_000;

// As high as a picture gets; what is below it is not looked at.
const HIGHEST = 6000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function within(what, condition) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`not within ${PATIENCE / 1000} s: ${what}`);
    await sleep(50);
  }
}

// One page, as Chromium's protocol for its own tools knows it.
class Page {
  constructor(socket) {
    this.socket = socket;
    this.number = 0;
    this.waiting = new Map();
    socket.onmessage = (event) => {
      const answer = JSON.parse(event.data);
      this.waiting.get(answer.id)?.(answer);
    };
  }

  async call(method, params = {}) {
    const id = ++this.number;
    const answered = new Promise((done) => this.waiting.set(id, done));
    this.socket.send(JSON.stringify({ id, method, params }));
    const late = sleep(PATIENCE).then(() => ({ error: { message: "no answer" } }));
    const answer = await Promise.race([answered, late]);
    this.waiting.delete(id);
    if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
    return answer.result;
  }

  async value(expression) {
    const { result } = await this.call("Runtime.evaluate", { expression, returnByValue: true });
    return result.value;
  }

  async shot(address, size, scheme) {
    const [width, height] = size.split("x").map(Number);
    const device = (height) =>
      this.call("Emulation.setDeviceMetricsOverride", { width, height, deviceScaleFactor: 1, mobile: width < 600 });
    await device(800);
    await this.call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value: scheme }] });
    await this.call("Page.navigate", { url: address });
    await within(address, async () => (await this.value(`document.readyState === "complete" && location.href !== "about:blank"`)));
    const wide = await this.value("document.documentElement.scrollWidth");
    if (wide > width) console.error(`${address} is ${wide} wide at ${width}`);
    await device(height || Math.min(await this.value("document.documentElement.scrollHeight"), HIGHEST));
    await sleep(200);
    const { data } = await this.call("Page.captureScreenshot", { format: "png" });
    return Buffer.from(data, "base64");
  }
}

async function main([address, dir, ...pictures]) {
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), "turnkey-pictures-"));
  const chromium = spawn("chromium", [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank",
  ], { stdio: "ignore" });
  try {
    const file = path.join(profile, "DevToolsActivePort");
    const port = await within("Chromium", () => fs.existsSync(file) && fs.readFileSync(file, "utf8").split("\n")[0]);
    const opened = await (await fetch(`http://127.0.0.1:${port}/json/new?about:blank`, { method: "PUT" })).json();
    const socket = new WebSocket(opened.webSocketDebuggerUrl);
    await new Promise((done, failed) => ((socket.onopen = done), (socket.onerror = failed)));
    const page = new Page(socket);
    while (pictures.length) {
      const [name, at, size, scheme] = pictures.splice(0, 4);
      const picture = path.join(dir, `${name}.png`);
      fs.writeFileSync(picture, await page.shot(address + at, size, scheme));
      console.log(picture);
    }
    socket.close();
  } finally {
    const ended = new Promise((done) => chromium.on("exit", done));
    chromium.kill();
    await ended;
    fs.rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
