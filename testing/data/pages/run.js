// The registry's pages in a browser: run.js JOB, with REGISTRY=HOST:PORT set. Jobs are the files of ./jobs.
const { open } = require('./browser.js');

(async () => {
  const look = await open(`http://${process.env.REGISTRY}`);
  try {
    await require(`./jobs/${process.argv[2]}.js`)(look);
    look.nothingWasSaid();
  } finally {
    await look.close();
  }
})().catch((error) => {
  console.error(error.stack ?? error);
  process.exit(1);
});
