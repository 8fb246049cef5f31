// What is around all pages: errors, colours, forms of other sites.
const assert = require('node:assert/strict');

module.exports = async (look) => {
  await look.everywhere('/nothing', 'missing', ['Not found', 'There is nothing at this address'], { status: 404 });
  await look.everywhere('/r/team/nothing', 'missing-repository', 'Repository team/nothing is not known', { status: 404 });
  const page = await look.page({ colorScheme: 'light' });
  for (const place of ['/r/team/app/-/image/nothing', '/r/team/app/-/nothing', '/r/..%2f', '/assets/0/style.css', '/v2x']) {
    await look.go(page, place, 404);
  }
  // Colours: as the system has them, dark, light, and again; remembered, and back at the same page.
  for (const javaScriptEnabled of [true, false]) {
    const one = await look.page({ colorScheme: 'light', javaScriptEnabled });
    const back = () => one.evaluate(() => getComputedStyle(document.body).backgroundColor);
    await look.go(one, '/?q=team');
    const seen = [];
    for (let at = 0; at < 4; at += 1) {
      if (javaScriptEnabled) seen.push(await back());
      else seen.push(await one.locator('html').getAttribute('data-theme'));
      await one.getByRole('button', { name: /^Colours/ }).click();
      await one.waitForURL('**/?q=team');
    }
    assert.equal(seen[0], seen[3]);
    if (javaScriptEnabled) {
      assert.notEqual(seen[0], seen[1]);
      assert.equal(seen[0], seen[2]);
    } else assert.deepEqual(seen.slice(0, 3), ['system', 'dark', 'light']);
  }
  // Cookies are for this registry alone, and no script reads them.
  await look.go(page, '/');
  for (const cookie of await page.context().cookies()) {
    assert.ok(cookie.httpOnly && cookie.sameSite === 'Lax', JSON.stringify(cookie));
  }
  assert.equal(await page.evaluate(() => document.cookie), '');
  // Forms of others change nothing.
  const token = await page.locator('input[name=form]').first().inputValue();
  const send = (headers, form) => page.request.post(`${look.base}/theme`, { headers, form, maxRedirects: 0 });
  const right = { form: token, theme: 'dark', back: '/storage' };
  assert.equal((await send({}, right)).status(), 303);
  assert.equal((await send({}, { ...right, form: '0'.repeat(32) })).status(), 403);
  assert.equal((await send({}, { theme: 'dark' })).status(), 403);
  assert.equal((await send({ 'sec-fetch-site': 'cross-site' }, right)).status(), 403);
  assert.equal((await send({ origin: 'http://elsewhere.example' }, right)).status(), 403);
  // Nobody is led elsewhere.
  const led = await send({}, { ...right, back: '//elsewhere.example' });
  assert.equal(led.headers().location, '/');
  assert.equal((await page.request.delete(`${look.base}/`)).status(), 405);
  // A browser asks for what never changes once.
  const style = await page.locator('link[rel=stylesheet]').getAttribute('href');
  const asked = await page.request.get(look.base + style);
  assert.match(asked.headers()['cache-control'], /immutable/);
  // The first stop of the keyboard leads past what is around the page.
  await look.go(page, '/storage');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'content');
};
