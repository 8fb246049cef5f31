// Layers that nobody should have to unpack.
module.exports = async (look) => {
  const files = '/r/hostile/-/files';
  await look.everywhere(`${files}/bomb/`, 'hostile-bomb', ['These files cannot be shown', /Layer 1 is damaged.*bomb/], { status: 422 });
  const page = await look.page();
  await look.go(page, `${files}/cut/`, 422);
  await look.sees(page, 'Layer 1 is damaged');
  await look.go(page, `${files}/outside/`, 422);
  await look.sees(page, '"../../etc/passwd" is outside of the layer');
  await look.go(page, `${files}/bare/`);
  await look.sees(page, 'The directory is empty');
  // The rest of the image is there to see.
  await look.go(page, '/r/hostile/-/image/bomb');
  await look.sees(page, 'COPY x /');
  await look.go(page, '/r/hostile');
};
