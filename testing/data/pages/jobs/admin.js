// Policies with what they would delete, the audit log, and who runs the registry.
const assert = require('node:assert/strict');

module.exports = async (look) => {
  const boss = await look.as('boss');
  const state = await boss.context().storageState();
  await look.everywhere('/admin', 'admin', ['Administration', 'boss', 'administrator', 'Invitations'], { state });
  await look.everywhere('/storage', 'storage-admin', 'on the disk', { state });
  // Rules are tried out before they hold.
  await look.go(boss, '/r/team/app/-/settings');
  await boss.getByRole('link', { name: 'Policies' }).click();
  await boss.getByLabel('Delete tags by these rules').check();
  await boss.getByLabel('Keep so many of the newest').fill('1');
  await boss.getByRole('button', { name: 'Preview' }).click();
  await look.sees(boss, 'What these rules would delete now');
  await look.accessible(boss, 'a preview');
  const doomed = await boss.locator('.change.removed').allInnerTexts();
  assert.deepEqual(doomed.sort(), ['1.0', '2.0']);
  if (process.env.HAVRE_PAGES_SHOTS) await boss.screenshot({ path: `${process.env.HAVRE_PAGES_SHOTS}/policies-preview.png`, fullPage: true });
  await look.go(boss, '/r/team/app');
  assert.equal(await boss.locator('tbody tr').count(), 3);
  await look.go(boss, '/policies?scope=team%2Fapp');
  await boss.getByLabel('Delete tags by these rules').check();
  await boss.getByLabel('Keep so many of the newest').fill('1');
  await boss.getByLabel('Tags that never change').fill('1.*');
  await boss.getByRole('button', { name: 'Save' }).click();
  await look.everywhere('/policies?scope=team%2Fapp', 'policies', ['Policies of team/app', 'Preview'], { state });
  await look.go(boss, '/r/team/app/-/delete?tag=1.0');
  await boss.getByRole('button', { name: 'Delete 1 tag' }).click();
  await look.sees(boss, ['immutable', 'Nothing was changed']);
  await look.go(boss, '/policies?scope=team%2Fapp');
  await boss.getByRole('button', { name: 'Run what is saved' }).click();
  await look.sees(boss, 'What was deleted');
  assert.deepEqual(await boss.locator('.change.removed').allInnerTexts(), ['2.0']);
  await look.go(boss, '/r/team/app');
  assert.deepEqual((await boss.locator('tbody th').allInnerTexts()).sort(), ['1.0', 'latest']);
  // All of it was noted.
  await look.everywhere('/audit', 'audit', ['Audit log', 'boss', 'policy'], { state });
  // Somebody is kept out, and let in again.
  const me = await look.as('me');
  await look.go(me, '/admin', 403);
  await look.go(boss, '/admin');
  await boss.getByRole('button', { name: 'Disable me' }).click();
  await boss.getByRole('button', { name: 'Enable me' }).waitFor();
  await look.go(me, '/account', 401);
  await boss.getByRole('button', { name: 'Enable me' }).click();
  await boss.getByRole('button', { name: 'Make me an administrator' }).click();
  await look.go(await look.as('me'), '/admin');
  await boss.getByLabel('For whom').fill('a <b>colleague</b>');
  await boss.getByRole('button', { name: 'Invite' }).click();
  await look.sees(boss, ['/sign-up?invitation=', 'a <b>colleague</b>']);
};
