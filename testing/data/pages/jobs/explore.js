// The list of repositories, its pages, and the search.
const assert = require('node:assert/strict');

module.exports = async (look) => {
  await look.everywhere('/', 'explore', ['Repositories', 'Last pushed', 'library/base', 'many/repository-00']);
  await look.everywhere('/?q=TEAM+app', 'search', ['Search for TEAM app', 'team/app']);
  await look.everywhere('/?q=%3Cb%3E%25', 'search-nothing', 'No repository has “<b>%”');
  const page = await look.page();
  await look.go(page, '/');
  const names = page.locator('tbody th');
  assert.equal(await names.count(), 30);
  await page.getByRole('link', { name: 'Next page' }).click();
  assert.equal(await names.count(), 13);
  assert.equal(await names.last().innerText(), 'team/tool');
  await page.getByRole('link', { name: 'First page' }).click();
  assert.equal(await names.first().innerText(), 'library/base');
  // The slash key leads to the search; what is found is a link.
  await page.keyboard.press('/');
  await page.keyboard.type('tool');
  await page.keyboard.press('Enter');
  await page.waitForURL('**/?q=tool');
  assert.deepEqual(await names.allInnerTexts(), ['team/tool']);
  assert.equal(await page.locator('input[name=q]').inputValue(), 'tool');
  await page.getByRole('link', { name: 'team/tool' }).click();
  await look.sees(page, ['team/tool', '0.1']);
};
