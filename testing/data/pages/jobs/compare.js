// Two images side by side.
const assert = require('node:assert/strict');

module.exports = async (look) => {
  await look.everywhere('/r/team/app/-/compare', 'compare-form', 'Compare two images');
  await look.everywhere('/r/team/app/-/compare?from=1.0&to=2.0', 'compare', [
    'Two images', '− MODE=slow', '+ MODE=fast', 'The first 2 layers are the same', 'layer 3',
    '1 added', '1 removed', '1 changed', '/app/new.bin', '/app/old.conf', '/app/main.conf',
  ]);
  await look.everywhere('/r/team/app/-/compare?from=2.0&to=latest', 'compare-same', 'They are the same image');
  const page = await look.page();
  await look.go(page, '/r/team/app/-/image/1.0');
  await page.getByLabel('Tag or digest to compare with').fill('2.0');
  await page.getByRole('button', { name: 'Compare' }).click();
  await page.waitForURL('**/compare?from=1.0&platform=linux%2Famd64&to=2.0');
  await page.getByRole('link', { name: '/app/main.conf' }).click();
  await look.sees(page, 'workers = 8');
  await look.go(page, '/r/team/app/-/compare?from=1.0&to=2.0&platform=linux/arm64');
  await look.sees(page, 'They are the same image');
  await look.go(page, '/r/team/app/-/compare?from=1.0&to=nothing', 404);
  await look.go(page, '/r/team/app/-/compare?from=1.0&to=%3Cb%3E', 400);
  await look.sees(page, '"<b>" is neither a tag nor a digest');
};
