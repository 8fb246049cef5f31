// Signing in and out, and what nobody may know of.
const assert = require('node:assert/strict');

module.exports = async (look) => {
  await look.everywhere('/sign-in', 'sign-in', ['Sign in', 'Make an account']);
  await look.everywhere('/sign-up', 'sign-up', ['Make an account', 'Invitation']);
  // For nobody there is nothing, and what is there is as if it were not.
  const page = await look.page();
  await look.go(page, '/');
  await look.sees(page, 'There is nothing here yet');
  const told = async (place) => {
    await look.go(page, place, 404);
    return (await page.locator('.notice p').first().innerText()).replaceAll(/team\/\w+/g, 'NAME');
  };
  assert.equal(await told('/r/team/app'), await told('/r/team/none'));
  for (const inner of ['image/2.0', 'files/2.0/', 'raw/2.0/etc/passwd', 'compare', 'delete?tag=1.0', 'deleted', 'settings']) {
    assert.equal(await told(`/r/team/app/-/${inner}`), await told(`/r/team/none/-/${inner}`), inner);
  }
  for (const place of ['/storage', '/account', '/admin', '/audit']) {
    await look.go(page, place, 401);
    await look.sees(page, 'Sign in first');
  }
  await page.locator('main').getByRole('link', { name: 'Sign in' }).click();
  await page.waitForURL('**/sign-in?back=%2Faudit');
  // A wrong password, then the right one, and back to where it was asked for.
  await page.getByLabel('Name').fill('boss');
  await page.getByLabel('Password').fill('wrong');
  await page.locator('main').getByRole('button', { name: 'Sign in' }).click();
  await look.sees(page, 'Not signed in: wrong name, password or token.');
  await look.accessible(page, 'a wrong password');
  assert.equal(await page.getByLabel('Name').inputValue(), 'boss');
  await page.getByLabel('Password').fill(process.env.PASSWORD);
  await page.locator('main').getByRole('button', { name: 'Sign in' }).click();
  await page.waitForURL('**/audit');
  const cookies = await page.context().cookies();
  const session = cookies.find((cookie) => cookie.name === 'havre_session');
  assert.ok(session.httpOnly && session.sameSite === 'Lax', JSON.stringify(session));
  await look.go(page, '/');
  await look.sees(page, ['team/app', 'private']);
  // A form of a session needs its token; one of before does not do.
  const token = cookies.find((cookie) => cookie.name === 'havre_form').value;
  const sent = await page.request.post(`${look.base}/account`, { form: { form: token, do: 'profile', title: 'x' } });
  assert.equal(sent.status(), 403);
  await page.getByRole('button', { name: 'Sign out' }).click();
  await look.sees(page, 'There is nothing here yet');
  // The session is over, whoever has its cookie.
  await page.context().addCookies([session]);
  await look.go(page, '/account', 401);
  // Somebody else sees nothing either; without JavaScript it works as well.
  const plain = await look.page({ javaScriptEnabled: false });
  await look.go(plain, '/sign-in');
  await plain.getByLabel('Name').fill('me');
  await plain.getByLabel('Password').fill(process.env.PASSWORD);
  await plain.locator('main').getByRole('button', { name: 'Sign in' }).click();
  await look.sees(plain, ['There is nothing here yet', `${process.env.REGISTRY}/me/IMAGE`]);
  await look.go(plain, '/r/team/app', 404);
  await look.go(plain, '/storage', 403);
};
