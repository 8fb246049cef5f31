// Tags are deleted, several at once, and brought back.
const assert = require('node:assert/strict');

const tags = (page) => page.locator('tbody th a').allInnerTexts();

module.exports = async (look) => {
  await look.everywhere('/r/team/tool/-/delete?tag=a&tag=b', 'delete', ['Delete 2 tags of team/tool?', 'for 1 day']);
  // With and without JavaScript.
  for (const javaScriptEnabled of [true, false]) {
    const page = await look.page({ javaScriptEnabled });
    await look.go(page, '/r/team/tool');
    assert.deepEqual((await tags(page)).sort(), ['0.1', 'a', 'b', 'c', 'd']);
    const button = page.getByRole('button', { name: 'Delete the chosen tags' });
    if (javaScriptEnabled) {
      assert.ok(await button.isDisabled());
      await page.getByLabel('Choose all on this page').check();
      assert.equal(await page.locator('tbody input:checked').count(), 5);
      await page.getByLabel('Choose all on this page').uncheck();
    }
    await page.getByLabel('Choose b').check();
    await page.getByLabel('Choose c').check();
    await button.click();
    // Exactly what goes, and nothing has gone yet.
    await look.sees(page, 'Delete 2 tags of team/tool?');
    assert.deepEqual((await tags(page)).sort(), ['b', 'c']);
    await page.getByRole('button', { name: 'Delete 2 tags' }).click();
    await look.sees(page, '2 tags were deleted.');
    assert.equal(await page.locator('tbody input:checked').count(), 2);
    await look.go(page, '/r/team/tool');
    assert.deepEqual((await tags(page)).sort(), ['0.1', 'a', 'd']);
    const gone = await page.request.get(`${look.base}/v2/team/tool/manifests/b`);
    assert.equal(gone.status(), 404);
    // And back.
    await page.getByRole('link', { name: 'Deleted tags (2)' }).click();
    await page.getByLabel('Choose b').check();
    await page.getByLabel('Choose c').check();
    await page.getByRole('button', { name: 'Bring back the chosen tags' }).click();
    assert.deepEqual((await tags(page)).sort(), ['0.1', 'a', 'b', 'c', 'd']);
    const back = await page.request.get(`${look.base}/v2/team/tool/manifests/b`);
    assert.equal(back.status(), 200);
  }
  const page = await look.page();
  const put = async (tag, as) => {
    const manifest = await page.request.get(`${look.base}/v2/team/tool/manifests/${as}`, {
      headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
    });
    const put = await page.request.put(`${look.base}/v2/team/tool/manifests/${tag}`, {
      headers: { 'content-type': manifest.headers()['content-type'] }, data: await manifest.body(),
    });
    assert.equal(put.status(), 201);
  };
  // One that was pushed again after the page was made is not deleted, nor is what was chosen with it.
  await look.go(page, '/r/team/tool/-/delete?tag=a&tag=d');
  await put('d', 'c');
  await page.getByRole('button', { name: 'Delete 2 tags' }).click();
  await look.sees(page, ['Tag d was pushed again meanwhile', 'Nothing was changed']);
  await look.go(page, '/r/team/tool');
  assert.deepEqual((await tags(page)).sort(), ['0.1', 'a', 'b', 'c', 'd']);
  // Nor is one brought back over what was pushed under its name.
  await look.go(page, '/r/team/tool/-/delete?tag=a');
  await page.getByRole('button', { name: 'Delete 1 tag' }).click();
  await look.everywhere('/r/team/tool/-/deleted?went=1', 'deleted', ['1 tag was deleted.', 'Bring back']);
  await put('a', 'c');
  await page.getByRole('button', { name: 'Bring back the chosen tags' }).click();
  await look.sees(page, 'Tag a was pushed again meanwhile');
  await look.go(page, '/r/team/tool/-/deleted');
  await look.sees(page, 'was pushed again');
  assert.equal(await page.getByLabel('Choose a').count(), 0);
  // From the page of an image, too.
  await look.go(page, '/r/team/tool/-/image/b');
  await page.getByRole('link', { name: 'Delete this tag' }).click();
  await look.sees(page, 'Delete team/tool:b?');
  await page.getByRole('link', { name: 'Keep' }).click();
  assert.ok((await tags(page)).includes('b'));
};
