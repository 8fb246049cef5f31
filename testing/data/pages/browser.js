// A browser, and what is held of every page.
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { chromium } = require('playwright-core');

const AXE = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const SHOTS = process.env.HAVRE_PAGES_SHOTS;
const DESK = { width: 1280, height: 900 };
const PHONE = { width: 375, height: 740 };

/** What can be reached with the keyboard: what a visitor sees of it. */
const REACHABLE = 'a[href], button:not([disabled]), input:not([type=hidden]), select, textarea, summary, [tabindex="0"]';

class Look {
  constructor(browser, base) {
    Object.assign(this, { browser, base, said: [] });
  }

  async context(options = {}) {
    // Colours that are on their way are no colours to judge.
    const context = await this.browser.newContext({ viewport: DESK, reducedMotion: 'reduce', ...options });
    context.setDefaultTimeout(20000);
    context.on('console', (message) => {
      // The answer's own status is no mistake of the page.
      if (/^Failed to load resource: the server responded with a status of [45]\d\d/.test(message.text())) return;
      if (['error', 'warning'].includes(message.type())) this.said.push(`${message.location().url}: ${message.text()}`);
    });
    context.on('weberror', (error) => this.said.push(String(error.error())));
    context.on('request', (request) => {
      const url = request.url();
      if (!url.startsWith(`${this.base}/`) && !url.startsWith('data:')) this.said.push(`asked elsewhere: ${url}`);
    });
    return context;
  }

  /** A page of somebody who has signed in. */
  async as(name, password = process.env.PASSWORD) {
    const page = await this.page();
    await this.go(page, '/sign-in');
    await page.getByLabel('Name').fill(name);
    await page.getByLabel('Password').fill(password);
    await page.locator('main').getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('button', { name: 'Sign out' }).waitFor();
    return page;
  }

  /** A page of a context of its own. */
  async page(options) {
    return (await this.context(options)).newPage();
  }

  async go(page, place, status = 200) {
    const response = await page.goto(this.base + place);
    assert.equal(response.status(), status, `${place}: ${(await page.locator('main').innerText().catch(() => ''))}`);
    const headers = response.headers();
    assert.match(headers['content-security-policy'], /^default-src 'none'; style-src 'self'; script-src 'self'; /);
    assert.doesNotMatch(headers['content-security-policy'], /unsafe/);
    assert.equal(headers['x-content-type-options'], 'nosniff');
    return response;
  }

  /** Looks at a page in every way there is. `see` is a text that must be on it. */
  async everywhere(place, name, see, { status = 200, state } = {}) {
    const context = await this.context({ storageState: state });
    const page = await context.newPage();
    await this.go(page, place, status);
    await this.sees(page, see);
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      for (const [shape, viewport] of [['desk', DESK], ['phone', PHONE]]) {
        await page.setViewportSize(viewport);
        await this.accessible(page, `${name} ${colorScheme} ${shape}`);
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(width <= viewport.width, `${name}: ${width} wide on a screen of ${viewport.width}`);
        if (SHOTS) {
          await page.screenshot({ path: path.join(SHOTS, `${name}-${colorScheme}-${shape}.png`), fullPage: true });
        }
      }
    }
    await page.setViewportSize(DESK);
    await this.keyboard(page, name);
    await context.close();
    const plain = await this.context({ javaScriptEnabled: false, storageState: state });
    const still = await plain.newPage();
    await this.go(still, place, status);
    await this.sees(still, see);
    await plain.close();
  }

  async sees(page, texts) {
    const text = await page.locator('body').innerText();
    for (const one of [texts].flat()) {
      assert.ok(one instanceof RegExp ? one.test(text) : text.includes(one), `${page.url()} does not show ${one}:\n${text}`);
    }
  }

  async accessible(page, name) {
    if (!await page.evaluate(() => 'axe' in globalThis)) await page.evaluate(AXE);
    const found = await page.evaluate(() => globalThis.axe.run(document, {
      runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    }));
    const told = found.violations.map(({ id, help, nodes }) =>
      `${id}: ${help}\n${nodes.map((node) => `  ${node.html}\n  ${node.failureSummary}`).join('\n')}`);
    assert.equal(told.length, 0, `${name}:\n${told.join('\n')}`);
    assert.ok(found.passes.length > 10, `${name}: nothing was checked`);
  }

  /** Everything that can be used is reached by the tab key, one after the other, and shows that it is. */
  async keyboard(page, name) {
    const wanted = await page.evaluate((selector) => {
      const seen = [...document.querySelectorAll(selector)].filter((one) =>
        one.checkVisibility({ visibilityProperty: true }) && one.tabIndex >= 0);
      seen.forEach((one, at) => { one.dataset.at = at; });
      return seen.length;
    }, REACHABLE);
    const most = Math.min(wanted, 150);
    for (let at = 0; at < most; at += 1) {
      await page.keyboard.press('Tab');
      const [reached, outline, what] = await page.evaluate(() => {
        const one = document.activeElement;
        return [Number(one.dataset.at), getComputedStyle(one).outlineStyle, one.outerHTML.slice(0, 200)];
      });
      assert.equal(reached, at, `${name}: the tab key leads to ${what}`);
      assert.notEqual(outline, 'none', `${name}: nothing shows that the keyboard is at ${what}`);
    }
    await page.keyboard.press('Escape');
  }

  nothingWasSaid() {
    assert.deepEqual(this.said, []);
  }

  async close() {
    await this.browser.close();
  }
}

exports.open = async (base) => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  });
  return new Look(browser, base);
};
