// The tags of a repository.
const assert = require('node:assert/strict');

module.exports = async (look) => {
  await look.everywhere('/r/team/app', 'repository', [
    'team/app', '3 tags', 'linux/amd64', 'linux/arm64', `docker pull ${process.env.REGISTRY}/team/app:latest`,
  ]);
  await look.everywhere('/r/many/tags?q=v11', 'repository-filtered', ['v119', 'v11']);
  await look.everywhere('/r/many/tags?q=%25', 'repository-none', 'No tag has “%” in it');
  const context = await look.context({ permissions: ['clipboard-read', 'clipboard-write'] });
  const page = await context.newPage();
  await look.go(page, '/r/many/tags');
  const tags = page.locator('tbody th');
  const seen = [];
  for (let at = 0; at < 3; at += 1) {
    seen.push(...await tags.allInnerTexts());
    const next = page.getByRole('link', { name: 'Next page' });
    if (at < 2) await next.click();
    else assert.equal(await next.count(), 0);
  }
  assert.equal(seen.length, 120);
  assert.equal(new Set(seen).size, 120);
  assert.equal(seen[0], 'v119');
  assert.equal(seen[119], 'v0');
  // The pull command goes to the clipboard.
  await look.go(page, '/r/team/app');
  await page.getByRole('button', { name: 'Copy' }).click();
  await page.getByRole('button', { name: 'Copied' }).waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, `docker pull ${process.env.REGISTRY}/team/app:latest`);
  // A platform is a link to its image.
  await page.getByRole('row', { name: /1\.0/ }).getByRole('link', { name: 'linux/arm64' }).click();
  assert.match(page.url(), /\/-\/image\/1\.0\?manifest=sha256:/);
  await look.sees(page, 'Platform linux/arm64');
};
