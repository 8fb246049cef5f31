// What takes the space.
const assert = require('node:assert/strict');

module.exports = async (look) => {
  await look.everywhere('/storage', 'storage', ['Storage', 'on the disk', 'Largest repositories', 'team/app', 'library/base', 'Nothing would go']);
  const page = await look.page();
  await look.go(page, '/storage');
  const [bytes, apart] = await page.locator('.figure').allInnerTexts();
  assert.notEqual(bytes, apart);
  assert.equal(await page.locator('svg.days rect').count(), 30);
  assert.equal(await page.locator('svg.share').count(), 3);
  await look.sees(page, /\d+ manifests\s/);
};
