// Checks pages in a folder: each is valid HTML, everybody can use it (axe, light and dark), it asks
// nothing of the network, runs no script but its own, and its keys work.
//   node check.js FOLDER [CHROMIUM]
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { HtmlValidate } from "html-validate";
import puppeteer from "puppeteer-core";

const [folder, chromium = "/usr/bin/chromium"] = process.argv.slice(2);
const pages = readdirSync(folder).filter((name) => name.endsWith(".html")).sort();
const axe = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const validate = new HtmlValidate({
  root: true,
  extends: ["html-validate:standard"],
  // Lines of templates end where they end, and marks carry their own hue.
  rules: { "no-trailing-whitespace": "off", "no-inline-style": "off", "long-title": "off" },
});
const browser = await puppeteer.launch({
  executablePath: chromium,
  args: ["--no-sandbox", "--disable-gpu"],
});
const mistakes = [];
for (const name of pages) {
  const path = resolve(join(folder, name));
  const report = await validate.validateFile(path);
  for (const result of report.results)
    for (const one of result.messages)
      mistakes.push(`${name}:${one.line}: ${one.ruleId}: ${one.message}`);
  for (const scheme of ["light", "dark"]) {
    const page = await browser.newPage();
    // axe is brought in beside the page's own script.
    await page.setBypassCSP(true);
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    page.on("dialog", (dialog) => { mistakes.push(`${name}: a dialog`); dialog.dismiss(); });
    page.on("pageerror", (error) => mistakes.push(`${name}: ${error}`));
    page.on("console", (line) => { if (line.type() === "error") mistakes.push(`${name}: ${line.text()}`); });
    page.on("request", (request) => {
      if (!/^(file|data):/.test(request.url())) mistakes.push(`${name}: asks for ${request.url()}`);
    });
    await page.goto(pathToFileURL(path).href);
    await page.addScriptTag({ path: axe });
    const found = await page.evaluate(() => axe.run());
    for (const one of found.violations)
      mistakes.push(`${name} (${scheme}): ${one.id}: ${one.help}: ${one.nodes[0].html.replace(/\s+/g, " ").slice(0, 200)}`);
    const begun = await page.$$eval("mark[id]", (marks) => marks.map((mark) => mark.id));
    if (begun.length) {
      await page.keyboard.press("n");
      const at = await page.evaluate(() => document.activeElement.id);
      const tip = await page.$eval("#tip", (one) => one.textContent);
      if (at !== begun[0] || !/\d/.test(tip)) mistakes.push(`${name}: n goes to ${at}: ${tip}`);
    }
    await page.close();
  }
}
await browser.close();
for (const line of mistakes) console.error(line);
console.log(`${pages.length} pages checked: ${mistakes.length} mistakes`);
process.exit(mistakes.length || !pages.length ? 1 : 0);
