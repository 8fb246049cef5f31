// The files of an image.
const assert = require('node:assert/strict');
const fs = require('node:fs');

module.exports = async (look) => {
  const root = '/r/team/app/-/files/2.0/';
  await look.everywhere(root, 'files', ['app/', 'lib → usr/lib', 'drwxr-xr-x', 'All layers together']);
  await look.everywhere(`${root}app`, 'files-app', [
    'main.conf', '<img src=x onerror=alert(1)>', 'line\\nend', 'txt.\\u{202e}gpj', 'new.bin',
  ]);
  await look.everywhere(`${root}app?layer=3`, 'files-layer', ['What layer 3 changed', 'replaced', 'removed', 'added', '1 removed']);
  await look.everywhere(`${root}app/main.conf`, 'file', ['workers = 8', 'colour = "<b>green</b>"', 'Layer 2', 'Layer 3']);
  await look.everywhere(`${root}app/new.bin`, 'file-hex', ['This is no text', '00000000  00 9f 92 96', '3.6kB']);
  await look.everywhere(`${root}app/main.conf?layer=2`, 'file-layer', 'workers = 4');
  await look.everywhere(`${root}nothing/here`, 'file-missing', 'The image has no /nothing/here.', { status: 404 });

  const context = await look.context({ acceptDownloads: true });
  const page = await context.newPage();
  const names = () => page.locator('tbody th a').allInnerTexts();
  await look.go(page, root);
  assert.deepEqual(await names(), ['app/', 'bin/', 'etc/', 'usr/', 'var/', 'lib']);
  await page.getByRole('link', { name: 'app/' }).click();
  // What the third layer took away is gone, and is there in the second.
  assert.ok(!(await names()).includes('old.conf'));
  await look.go(page, `${root}app/old.conf`, 404);
  await look.go(page, `${root}app?layer=2`);
  assert.ok((await names()).includes('old.conf'));
  await page.getByRole('link', { name: 'old.conf' }).click();
  await look.sees(page, ['deprecated = true', 'Layer 3 removes it']);
  // Links lead to where they point.
  await look.go(page, `${root}app/current`);
  assert.ok(new URL(page.url()).pathname.endsWith('/app/main.conf'), page.url());
  await look.go(page, `${root}lib/module03.so`);
  assert.ok(new URL(page.url()).pathname.endsWith('/usr/lib/module03.so'), page.url());
  await look.go(page, `${root}app/nowhere`, 404);
  await look.go(page, `${root}usr/lib/libc.so.6`);
  await look.sees(page, '200kB');
  await look.go(page, `${root}app/empty`);
  await look.sees(page, 'The file is empty');
  // Kept, never shown, whatever it is called.
  for (const [name, kept, contents] of [
    ['main.conf', 'main.conf', 'workers = 8\ncolour = "<b>green</b>"\n'],
    ['%3Cimg%20src=x%20onerror=alert(1)%3E', null, 'no image\n'],
  ]) {
    await look.go(page, `${root}app/${name}`);
    const download = page.waitForEvent('download');
    await page.getByRole('link', { name: 'Download' }).click();
    const file = await download;
    if (kept) assert.equal(file.suggestedFilename(), kept);
    assert.equal(fs.readFileSync(await file.path(), 'utf8'), contents);
  }
  const raw = await context.request.get(`${look.base}/r/team/app/-/raw/2.0/app/main.conf`);
  assert.match(raw.headers()['content-disposition'], /^attachment; filename="main\.conf"/);
  assert.equal(raw.headers()['x-content-type-options'], 'nosniff');
  assert.equal(raw.headers()['content-type'], 'application/octet-stream');
  assert.equal((await context.request.get(`${look.base}/r/team/app/-/raw/2.0/app`)).status(), 404);
  assert.equal((await context.request.get(`${look.base}/r/team/app/-/files/2.0/?layer=4`)).status(), 404);
  const large = await context.request.get(`${look.base}/r/team/app/-/raw/1.0/usr/lib/libc.so`);
  assert.equal((await large.body()).length, 200000);
};
