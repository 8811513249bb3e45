// Draws the dashboards from the answers in a folder, and writes a PNG of each that is asked for.
//
//   node draw.mjs FOLDER-OF-ANSWERS FOLDER-OF-IMAGES
//
// Chromium is CHROMIUM, or chromium. Nothing is fetched from anywhere: the page is one bundle.
import { build } from 'esbuild';
import { execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import sharp from 'sharp';

const [answers, images] = process.argv.slice(2);
if (!answers || !images) {
  console.error('usage: node draw.mjs FOLDER-OF-ANSWERS FOLDER-OF-IMAGES');
  process.exit(2);
}

const wanted = [
  ['overview', 'dark'],
  ['overview', 'light'],
  ['breaker', 'dark'],
  ['fleet', 'dark'],
  ['performance', 'dark'],
];

const address = 'http://panels.invalid/';
// Icons and fonts, where Grafana's server has them.
const modules = new URL('node_modules/', import.meta.url).pathname;
const served = [
  [/^.*\/public\/build\/img\//, modules + '@grafana/ui/dist/public/img/'],
  [/^.*\/Inter-Regular\.woff2$/, modules + '@fontsource/inter/files/inter-latin-400-normal.woff2'],
  [/^.*\/Inter-Medium\.woff2$/, modules + '@fontsource/inter/files/inter-latin-500-normal.woff2'],
  [/^.*\/fonts\/roboto\/.*\.woff2$/, modules + '@fontsource/roboto-mono/files/roboto-mono-latin-400-normal.woff2'],
];
const html = '<!doctype html><meta charset="utf-8"><div id="root"></div>';

const bundle = await build({
  entryPoints: [new URL('src/main.tsx', import.meta.url).pathname],
  bundle: true, write: false, outfile: 'main.js', format: 'iife', target: 'chrome120', jsx: 'automatic', logLevel: 'error',
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  loader: { '.ttf': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl', '.svg': 'dataurl', '.png': 'dataurl' },
});
const text = (suffix) => bundle.outputFiles.find((f) => f.path.endsWith(suffix)).text;

const profile = await mkdtemp(join(tmpdir(), 'panels-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: execFileSync('sh', ['-c', 'command -v "$0"', process.env.CHROMIUM ?? 'chromium']).toString().trim(), headless: true, viewport: { width: 1600, height: 1000 },
  args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
});
let failed = false;
try {
  for (const [name, theme] of wanted) {
    const kept = JSON.parse(await readFile(join(answers, name + '.json'), 'utf8'));
    const page = await browser.newPage();
    page.on('requestfailed', (request) => { failed = true; console.error(`${name}, ${theme}: no ${request.url()}`); });
    page.on('pageerror', (error) => { failed = true; console.error(`${name}, ${theme}: ${error.stack}`); });
    page.on('console', (message) => { if (message.type() === 'error') { console.error(`${name}, ${theme}: ${message.text()}`); } });
    // An address of its own, since Grafana's code wants a storage; there is nothing else that it could reach.
    await page.route('**', (route) => {
      const url = route.request().url();
      const file = served.map(([at, there]) => url.match(at)?.[0] && url.replace(at, there)).find(Boolean);
      return url === address ? route.fulfill({ contentType: 'text/html', body: html }) : file ? route.fulfill({ path: file }) : route.abort();
    });
    await page.goto(address);
    await page.addStyleTag({ content: text('.css') });
    await page.addScriptTag({ content: text('.js') });
    await page.evaluate(([kept, theme]) => window.draw(kept, theme), [kept, theme]);
    // All of it in view, or what is below is not painted.
    await page.setViewportSize({ width: 1600, height: await page.evaluate(() => document.getElementById('root').offsetHeight) });
    await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
    const empty = await page.evaluate(() => [...document.querySelectorAll('[data-panel]')].filter((p) => p.textContent.includes('No data')).map((p) => p.dataset.panel));
    if (empty.length) {
      failed = true;
      console.error(`${name}, ${theme}: no data in ${empty.join(', ')}`);
    }
    const file = join(images, `dashboard-${name}-${theme}.png`);
    const shot = await page.locator('#root').screenshot();
    await sharp(shot).png({ palette: true, quality: 90, effort: 10, colours: 128 }).toFile(file);
    console.log(file);
    await page.close();
  }
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
