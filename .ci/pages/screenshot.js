// A picture of a page as docs/pages.md shows them.
//   node screenshot.js PAGE PICTURE [light|dark [HIGHLIGHTS [WIDTH [CHROMIUM]]]]
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const [path, picture, scheme = "light", keys = "0", width = "1280", chromium = "/usr/bin/chromium"] =
  process.argv.slice(2);
const browser = await puppeteer.launch({
  executablePath: chromium,
  args: ["--no-sandbox", "--disable-gpu"],
});
const page = await browser.newPage();
await page.setViewport({ width: Number(width), height: 1000 });
await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
await page.goto(pathToFileURL(resolve(path)).href);
// So many highlights further.
for (let left = Number(keys); left > 0; left--) await page.keyboard.press("n");
await new Promise((done) => setTimeout(done, 300));
await page.screenshot({ path: picture });
await browser.close();
