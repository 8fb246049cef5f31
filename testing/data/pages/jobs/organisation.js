// An organisation: members, teams, invitations.
const assert = require('node:assert/strict');

module.exports = async (look) => {
  const boss = await look.as('boss');
  await look.go(boss, '/account');
  await boss.locator('section[aria-labelledby=organisations]').getByRole('textbox', { name: 'Name', exact: true }).fill('team');
  await boss.getByRole('button', { name: 'Make an organisation' }).click();
  await boss.waitForURL('**/o/team');
  await boss.locator('section[aria-labelledby=members]').getByRole('textbox', { name: 'Who' }).fill('me');
  await boss.getByRole('button', { name: 'Add', exact: true }).click();
  await look.sees(boss, /me\s+just now\s+member/);
  await boss.locator('section[aria-labelledby=teams]').getByLabel('Name').fill('builders');
  await boss.getByLabel('What it is for').fill('Who builds');
  await boss.getByRole('button', { name: 'Make a team' }).click();
  // A repository before anything is pushed to it.
  await boss.getByLabel('team/').fill('plans');
  await boss.getByRole('button', { name: 'Make a repository' }).click();
  await boss.waitForURL('**/r/team/plans');
  await look.sees(boss, ['There are no tags.', 'docker push']);
  await look.accessible(boss, 'an empty repository');
  await look.go(boss, '/o/team');
  // Members may no more than their teams.
  await boss.getByLabel('Members may, in all repositories').selectOption('');
  await boss.getByRole('button', { name: 'Set', exact: true }).click();
  const me = await look.as('me');
  await look.go(me, '/r/team/app', 404);
  await boss.locator('section[aria-labelledby=teams]').getByRole('textbox', { name: 'Who' }).fill('me');
  await boss.getByRole('button', { name: 'Add to builders' }).click();
  await boss.getByLabel('Repository', { exact: true }).fill('team/app');
  await boss.locator('section[aria-labelledby=teams]').getByRole('combobox', { name: 'May' }).selectOption('read');
  await boss.getByRole('button', { name: 'Set for builders' }).click();
  await look.sees(boss, 'read team/app');
  // What the team may, its members may at once.
  await look.go(me, '/r/team/app');
  await look.go(me, '/r/team/tool', 404);
  await look.go(me, '/o/team');
  assert.equal(await me.locator('main button').count(), 0);
  await boss.getByLabel('For whom').fill('a friend');
  await boss.getByRole('button', { name: 'Invite' }).click();
  const link = await boss.locator('.notice.good .copy code').innerText();
  await look.accessible(boss, 'an invitation that was made');
  const state = await boss.context().storageState();
  await look.everywhere('/o/team', 'organisation', ['Members', 'builders', 'Who builds', 'read team/app', 'a friend'], { state });
  const friend = await look.page();
  await look.go(friend, link);
  await look.sees(friend, 'It is for a member of team.');
  await friend.getByLabel('Name: what repositories begin with').fill('friend');
  await friend.getByLabel('Password', { exact: true }).fill('a friendly password');
  await friend.getByLabel('Password again').fill('a friendly password');
  await friend.getByRole('button', { name: 'Make the account' }).click();
  await friend.waitForURL('**/account');
  await friend.getByRole('link', { name: 'team' }).click();
  await look.sees(friend, ['friend', 'builders']);
  // An invitation is for once.
  await look.go(await look.page(), link, 403);
  await look.go(await look.as('you'), '/o/team', 404);
};
