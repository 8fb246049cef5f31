// A registry that lets nobody delete.
const assert = require('node:assert/strict');

module.exports = async (look) => {
  const page = await look.page();
  await look.go(page, '/r/team/tool');
  assert.equal(await page.locator('input[type=checkbox]').count(), 0);
  await look.everywhere('/r/team/tool/-/delete?tag=1', 'delete-off', 'Deleting is switched off', { status: 403 });
  const token = await page.locator('input[name=form]').first().inputValue();
  const sent = await page.request.post(`${look.base}/r/team/tool/-/delete`, { form: { form: token, tag: '1@sha256:0' } });
  assert.equal(sent.status(), 403);
};
