// An image: layers, configuration, history, what refers to it.
const assert = require('node:assert/strict');

module.exports = async (look) => {
  const place = '/r/team/app/-/image/2.0';
  await look.everywhere(place, 'image', [
    'team/app:2.0', 'Layers', 'ADD rootfs.tar /', 'RUN rm /app/old.conf && configure', 'MODE=fast', '8080/tcp',
    '<script>alert(1)</script>\\u{202e}', 'application/spdx+json', 'layer 3', 'no layer', 'Also called', 'Browse the files',
  ]);
  const page = await look.page();
  await look.go(page, place);
  // As many areas as layers, and their sizes together are the picture.
  const areas = await page.locator('svg.treemap rect').evaluateAll((all) =>
    all.map((one) => Number(one.getAttribute('width')) * Number(one.getAttribute('height'))));
  assert.equal(areas.length, 3);
  assert.ok(areas[0] > areas[1] && areas.reduce((sum, one) => sum + one, 0) > 720 * 180 * 0.9, `${areas}`);
  assert.equal(await page.locator('ol.layers li').count(), 3);
  // The other platform has its own layers.
  await page.getByRole('link', { name: 'linux/arm64' }).click();
  assert.equal(await page.locator('ol.layers li').count(), 2);
  await look.sees(page, 'MODE=slow');
  assert.equal(await page.getByRole('link', { name: 'linux/arm64' }).getAttribute('aria-current'), 'page');
  // What refers to it is a page, too.
  await look.go(page, place);
  await page.locator('section[aria-labelledby=referrers] a').click();
  await look.sees(page, ['Kind application/spdx+json', 'Contents']);
  await look.everywhere(new URL(page.url()).pathname, 'artifact', 'Contents');
  // By digest, and as it was pushed.
  await look.go(page, place);
  await page.getByText('The manifest as it was pushed').click();
  await look.sees(page, '"schemaVersion": 2');
  const digest = await page.locator('section[aria-labelledby=identity] dd').first().innerText();
  await look.go(page, `/r/team/app/-/image/${digest}`);
  await look.sees(page, digest);
};
