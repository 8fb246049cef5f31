// An account that whoever comes makes, its tokens and sessions.
const assert = require('node:assert/strict');

module.exports = async (look) => {
  const page = await look.page();
  await look.go(page, '/sign-up');
  await page.getByLabel('Name: what repositories begin with').fill('newbie');
  await page.getByLabel('Longer name').fill('A <b>new</b> one');
  await page.getByLabel('Password', { exact: true }).fill('another long password');
  await page.getByLabel('Password again').fill('another long password');
  await page.getByRole('button', { name: 'Make the account' }).click();
  await page.waitForURL('**/account');
  await look.sees(page, ['newbie', 'A <b>new</b> one', 'this one']);
  await page.getByRole('textbox', { name: 'For', exact: true }).fill('a script');
  await page.getByRole('textbox', { name: 'Repositories' }).fill('newbie/*');
  await page.getByRole('textbox', { name: 'Days' }).fill('30');
  await page.getByRole('button', { name: 'Make a token' }).click();
  const secret = await page.locator('.notice.good .copy code').innerText();
  await look.accessible(page, 'a token that was made');
  const login = () => page.request.get(`${look.base}/v2/`, {
    headers: { authorization: `Basic ${Buffer.from(`newbie:${secret}`).toString('base64')}` },
  });
  assert.equal((await login()).status(), 200);
  const state = await page.context().storageState();
  await look.everywhere('/account', 'account', ['a script', 'newbie/*', 'Where you are signed in', 'Password'], { state });
  // It is shown once, and none any more when it is taken back.
  await look.go(page, '/account');
  assert.ok(!(await page.content()).includes(secret));
  await page.getByRole('button', { name: 'Revoke a script' }).click();
  await look.sees(page, 'There are none.');
  assert.equal((await login()).status(), 401);
  // Another session is ended from here; a new password ends all.
  const other = await look.as('newbie', 'another long password');
  await look.go(page, '/account');
  await page.getByRole('button', { name: 'End', exact: true }).click();
  await look.go(other, '/account', 401);
  await look.go(page, '/account');
  await page.getByLabel('The old one').fill('another long password');
  await page.getByLabel('The new one', { exact: true }).fill('yet another password');
  await page.getByLabel('The new one again').fill('yet another password');
  await page.getByRole('button', { name: 'Change it, and sign out everywhere' }).click();
  await look.go(page, '/account', 401);
  await look.as('newbie', 'yet another password');
};
