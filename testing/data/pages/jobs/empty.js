// A registry with nothing in it.
module.exports = async (look) => {
  await look.everywhere('/', 'empty', ['There is nothing here yet', `docker push ${process.env.REGISTRY}/IMAGE`]);
  await look.everywhere('/storage', 'storage-empty', ['Nothing would go', '0B']);
};
