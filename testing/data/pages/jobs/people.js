// What is said of a repository, who sees it, stars, and search.
const assert = require('node:assert/strict');

const README = `# The app

It does *much*. <script>alert(1)</script> <img src=x onerror=alert(1)>

[site](https://example.com) [trap](javascript:alert(1)) ![shot](https://example.com/x.png)

| a | b |
|---|---|
| 1 | 2 |

\`\`\`
docker run team/app
\`\`\`
`;

module.exports = async (look) => {
  const boss = await look.as('boss');
  await look.go(boss, '/r/team/app');
  await boss.getByRole('link', { name: 'Settings' }).click();
  await boss.getByLabel('In one line').fill('An app for <b>everybody</b>');
  await boss.getByLabel('README, in Markdown').fill(README);
  await boss.getByRole('button', { name: 'Save' }).click();
  await boss.getByRole('button', { name: 'Make it public' }).click();
  await look.sees(boss, 'It is public');
  await boss.getByRole('button', { name: 'Mark it as official' }).click();
  await boss.getByRole('button', { name: 'Take the official mark away' }).waitFor();
  await boss.getByRole('textbox', { name: 'Who' }).fill('me');
  await boss.getByRole('combobox', { name: 'May' }).selectOption('write');
  await boss.getByRole('button', { name: 'Let them' }).click();
  await look.sees(boss, /me\s+write/);
  assert.equal(await boss.getByLabel('README, in Markdown').inputValue(), README);
  const state = await boss.context().storageState();
  await look.everywhere('/r/team/app/-/settings', 'settings', ['Settings of team/app', 'It is public'], { state });
  await look.everywhere('/', 'explore-people', ['team/app', 'official', 'team/tool', 'private', 'Stars'], { state });
  // Everybody sees it now, and only it.
  await look.everywhere('/r/team/app', 'repository-readme', [
    'An app for <b>everybody</b>', 'The app', '<script>alert(1)</script>', 'site', 'official', 'public',
  ]);
  const page = await look.page();
  await look.go(page, '/r/team/app');
  const links = await page.locator('.readme a').evaluateAll((all) => all.map((one) => one.getAttribute('href')));
  assert.deepEqual(links, ['https://example.com', '#readme', 'https://example.com/x.png']);
  assert.equal(await page.locator('.readme img, .readme script').count(), 0);
  assert.equal(await page.locator('.readme h3').innerText(), 'The app');
  assert.equal(await page.locator('input[type=checkbox]').count(), 0);
  await look.go(page, '/r/team/app/-/files/2.0/app/main.conf');
  await look.go(page, '/r/team/app/-/delete?tag=1.0', 403);
  await look.go(page, '/r/team/tool', 404);
  await look.go(page, '/?q=everybody');
  assert.deepEqual(await page.locator('tbody th a').allInnerTexts(), ['team/app']);
  // Somebody who may push may not change what is said, and may like it.
  const me = await look.as('me');
  await look.go(me, '/r/team/app/-/settings', 403);
  await look.go(me, '/r/team/app');
  assert.equal(await me.getByRole('link', { name: 'Settings' }).count(), 0);
  await me.getByRole('button', { name: 'Star' }).click();
  await me.getByRole('button', { name: 'Take the star back' }).waitFor();
  await look.sees(me, '1 stars');
  const token = await me.locator('input[name=form]').first().inputValue();
  for (const [place, form] of [
    ['/r/team/app/-/settings', { do: 'visibility', public: 'no' }],
    ['/r/team/app/-/delete', { tag: '1.0@sha256:' + '0'.repeat(64) }],
    ['/admin', { do: 'admin', name: 'me', value: 'yes' }],
  ]) {
    const sent = await me.request.post(look.base + place, { form: { form: token, ...form } });
    assert.equal(sent.status(), 403, place);
  }
  await look.go(me, '/r/team/tool', 404);
  // Deleted and brought back by who may.
  await look.go(boss, '/r/team/app/-/delete?tag=1.0');
  await boss.getByRole('button', { name: 'Delete 1 tag' }).click();
  await boss.getByRole('button', { name: 'Bring back the chosen tags' }).click();
  await look.sees(boss, '1.0');
  await look.go(boss, '/audit?action=repository.');
  await look.sees(boss, ['repository.delete', 'repository.restore']);
};
