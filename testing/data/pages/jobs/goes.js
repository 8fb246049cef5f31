// What a collection would take.
module.exports = async (look) => {
  const page = await look.page();
  const begun = await page.request.post(`${look.base}/v2/team/tool/blobs/uploads/`);
  const place = new URL(begun.headers().location, look.base);
  await page.request.patch(place.href, { data: Buffer.alloc(12345), headers: { 'content-type': 'application/octet-stream' } });
  await look.everywhere('/storage', 'storage-goes', ['12.3kB in all', '1 upload', 'upload', 'team/tool']);
};
