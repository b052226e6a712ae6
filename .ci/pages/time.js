// Milliseconds from the start of opening a page until it has answered a key and drawn that.
//   node time.js PAGE [CHROMIUM]
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const [path, chromium = "/usr/bin/chromium"] = process.argv.slice(2);
const browser = await puppeteer.launch({
  executablePath: chromium,
  args: ["--no-sandbox", "--disable-gpu"],
});
const page = await browser.newPage();
await page.setViewport({ width: 1300, height: 900 });
const begun = performance.now();
await page.goto(pathToFileURL(resolve(path)).href);
const loaded = performance.now();
await page.keyboard.press("n");
await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
const answered = performance.now();
const nodes = await page.evaluate(() => document.querySelectorAll("*").length);
const last = await page.evaluate(() => {
  // The last highlight is far down: its place is laid out only when it is asked for.
  const links = document.querySelectorAll("aside a[data-h]");
  links[links.length - 1].click();
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
    const box = document.querySelector("mark.now").getBoundingClientRect();
    done(box.top >= 0 && box.bottom <= innerHeight);
  })));
});
const gone = performance.now();
await browser.close();
console.log(JSON.stringify({
  loaded_ms: Math.round(loaded - begun), interactive_ms: Math.round(answered - begun),
  jump_ms: Math.round(gone - answered), in_sight: last, elements: nodes,
}));
