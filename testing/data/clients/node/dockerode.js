// The broad surface of dockerode: dockerode.js JOB, with DOCKER_HOST set and an image `busybox` there.
const assert = require('node:assert/strict');
const { PassThrough } = require('node:stream');
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const zlib = require('node:zlib');
const Docker = require('dockerode');

const docker = new Docker();

/** Everything a stream gives, as text. */
async function text(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts.map((part) => Buffer.from(part))).toString();
}

/** Both outputs of a multiplexed stream. */
async function apart(stream) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, out, err);
  stream.on('end', () => { out.end(); err.end(); });
  return Promise.all([text(out), text(err)]);
}

/** The progress of a pull, push or build, to its end. */
function followed(stream) {
  return new Promise((resolve, reject) =>
    docker.modem.followProgress(stream, (error, events) => (error ? reject(error) : resolve(events))));
}

async function fails(promise, status, words) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.statusCode, status, error.message);
    assert.match(error.message, words);
    return true;
  });
}

async function eventually(what, condition) {
  for (let tries = 0; tries < 1000; tries++) {
    if (await condition()) return;
    await sleep(20);
  }
  assert.fail(`waited in vain: ${what}`);
}

/** A tar archive of one file. */
function archive(name, content) {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(content.length.toString(8).padStart(11, '0') + '\0', 124);
  header.write('00000000000\0', 136);
  header.write('        0', 148);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((sum, byte) => sum + byte, 0);
  header.write(sum.toString(8).padStart(6, '0') + '\0 ', 148);
  const body = Buffer.alloc(Math.ceil(content.length / 512) * 512);
  body.write(content);
  return Buffer.concat([header, body, Buffer.alloc(1024)]);
}

const jobs = {
  async containers() {
    const out = new PassThrough();
    const output = text(out);
    const [{ StatusCode }, ran] = await docker.run('busybox', ['sh', '-c', 'echo hello; exit 3'], out);
    // It ends with what the container says, which may come after its exit code.
    assert.equal(StatusCode, 3);
    assert.match(await output, /hello/);
    await ran.remove();
    await fails(docker.createContainer({ Image: 'nosuch' }), 404, /No such image: nosuch:latest/);
    await fails(docker.getContainer('nosuch').inspect(), 404, /No such container: nosuch/);
    await fails(docker.createContainer({ Image: 7 }), 400, /./);

    const box = await docker.createContainer({
      name: 'box',
      Image: 'busybox',
      Cmd: ['sh', '-c', 'echo out; echo err >&2; while true; do sleep 0.05; done'],
      Env: ['A=1'],
      Labels: { team: 'a' },
      ExposedPorts: { '80/tcp': {} },
      HostConfig: {
        Binds: ['data:/data'],
        Memory: 64 << 20,
        PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] },
        RestartPolicy: { Name: 'unless-stopped' },
      },
    });
    const waiting = box.wait({ condition: 'next-exit' });
    await box.start();
    await fails(docker.createContainer({ name: 'box', Image: 'busybox' }), 409, /already in use/);
    const state = await box.inspect({ size: true });
    assert.equal(state.State.Running, true);
    assert.equal(state.Mounts[0].Name, 'data');
    assert.ok(state.SizeRootFs > 0);
    assert.match(state.NetworkSettings.Ports['80/tcp'][0].HostPort, /^\d+$/);
    await eventually('both lines', async () => (await box.logs({ stdout: true, stderr: true })).length === 8 * 2 + 8);
    assert.equal((await box.logs({ stdout: true })).subarray(8).toString(), 'out\n');
    const follower = await box.logs({ follow: true, stderr: true, tail: 1 });
    const [first] = await once(follower, 'data');
    assert.equal(first.subarray(8).toString(), 'err\n');
    follower.destroy();
    const [one] = await docker.listContainers({ filters: { label: ['team=a'] } });
    assert.deepEqual([one.Names, one.State], [['/box'], 'running']);
    assert.ok((await box.top({ ps_args: 'aux' })).Titles.includes('COMMAND'));
    const once_ = await box.stats({ stream: false });
    assert.equal(once_.memory_stats.limit, 64 << 20);
    await box.update({ Memory: 32 << 20, MemorySwap: 64 << 20 });
    await box.rename({ name: 'other' });
    assert.equal((await docker.getContainer('other').inspect()).HostConfig.Memory, 32 << 20);
    await box.pause();
    await box.unpause();
    await fails(box.remove(), 409, /running/);
    await box.stop({ t: 0 });
    assert.equal((await waiting).StatusCode, 137);
    await fails(box.stop(), 304, /./);
    await box.restart({ t: 0 });
    const made = await box.commit({ repo: 'made', tag: 'v1', comment: 'by hand' });
    assert.match(made.Id, /^sha256:/);
    await docker.getImage('made:v1').remove();
    await box.kill({ signal: 'SIGKILL' });
    await eventually('it ended', async () => !(await box.inspect()).State.Running);
    assert.ok((await text(await box.export())).length > 1000);
    await box.remove({ v: true, force: true });
    await docker.getVolume('data').remove();
    assert.ok((await docker.pruneContainers()).SpaceReclaimed >= 0);
  },

  async streams() {
    const box = await docker.createContainer({
      Image: 'busybox', Cmd: ['sh', '-c', 'cat; echo end >&2; exit 4'], OpenStdin: true, StdinOnce: true,
    });
    const attached = await box.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
    const output = apart(attached);
    await box.start();
    attached.write('through ');
    attached.end('the container\n');
    assert.deepEqual(await output, ['through the container\n', 'end\n']);
    assert.equal((await box.wait()).StatusCode, 4);
    await box.remove();

    const terminal = await docker.createContainer({ Image: 'busybox', Cmd: ['sh'], Tty: true, OpenStdin: true });
    const screen = await terminal.attach({ stream: true, stdin: true, stdout: true, hijack: true });
    const shown = text(screen);
    await terminal.start();
    await terminal.resize({ h: 33, w: 111 });
    screen.write('stty size; exit 5\n');
    assert.match(await shown, /33 111/);
    assert.equal((await terminal.wait()).StatusCode, 5);
    await terminal.remove();

    const server = await docker.createContainer({ Image: 'busybox', Cmd: ['sleep', '1000'] });
    await server.start();
    const exec = await server.exec({ Cmd: ['sh', '-c', 'cat; echo $A >&2; exit 6'], Env: ['A=b'], AttachStdin: true, AttachStdout: true, AttachStderr: true });
    const conversation = await exec.start({ hijack: true, stdin: true });
    const said = apart(conversation);
    conversation.end('typed');
    assert.deepEqual(await said, ['typed', 'b\n']);
    await eventually('its code', async () => (await exec.inspect()).ExitCode === 6);
    for (let times = 0; times < 20; times++) {
      const quick = await server.exec({ Cmd: ['echo', 'quick'], AttachStdout: true });
      assert.deepEqual(await apart(await quick.start({})), ['quick\n', '']);
    }
    const typed = await server.exec({ Cmd: ['sh'], Tty: true, AttachStdin: true, AttachStdout: true });
    const shell = await typed.start({ hijack: true, stdin: true, Tty: true });
    const typescript = text(shell);
    await typed.resize({ h: 22, w: 99 });
    shell.write('stty size; exit\n');
    assert.match(await typescript, /22 99/);
    await server.remove({ force: true });
  },

  async images() {
    const registry = process.env.REGISTRY;
    const name = `${registry}/team/app`;
    const context = zlib.gzipSync(archive('Dockerfile', 'FROM busybox\nARG WHAT\nRUN echo $WHAT > /what\nCMD cat /what\n'));
    const events = await followed(await docker.buildImage(context, { t: 'app:v1', buildargs: JSON.stringify({ WHAT: 'something' }) }));
    assert.ok(events.some((event) => /Successfully tagged app:v1/.test(event.stream)), JSON.stringify(events));
    const image = docker.getImage('app:v1');
    const { Id } = await image.inspect();
    await image.tag({ repo: name, tag: 'v1' });
    const pushed = await followed(await docker.getImage(`${name}:v1`).push({}));
    assert.ok(pushed.some((event) => event.aux?.Digest), JSON.stringify(pushed));
    const { Descriptor } = await docker.getImage(`${name}:v1`).distribution();
    assert.match(Descriptor.digest, /^sha256:/);
    await docker.getImage(`${name}:v1`).remove();
    await followed(await docker.pull(`${name}:v1`));
    assert.equal((await docker.getImage(`${name}:v1`).inspect()).Id, Id);
    await fails(docker.pull(`${registry}/team/nosuch:v1`), 404, /nosuch/);
    const saved = await docker.getImage('app:v1').get();
    const bytes = Buffer.from(await new Response(saved).arrayBuffer());
    await docker.getImage(`${name}:v1`).remove();
    await image.remove();
    await fails(image.inspect(), 404, /o such image: app:v1/);
    await followed(await docker.loadImage(bytes));
    assert.equal((await image.inspect()).Id, Id);
    assert.ok((await image.history())[0].CreatedBy.includes('cat /what'));
    const listed = await docker.listImages({ filters: { reference: ['app'] } });
    assert.deepEqual(listed.map((one) => one.RepoTags), [['app:v1']]);
    await followed(await docker.importImage(archive('file', 'content'), { repo: 'imported', tag: 'v1' }));
    assert.ok(await docker.getImage('imported:v1').inspect());
    const broken = zlib.gzipSync(archive('Dockerfile', 'FROM busybox\nRUN exit 7\n'));
    assert.match((await followed(await docker.buildImage(broken, {}))).at(-1).error, /non-zero code: 7/);
    await image.remove();
    assert.ok((await docker.pruneImages({ filters: { dangling: ['false'] } })).ImagesDeleted.length > 0);
  },

  async surroundings() {
    const began = Math.floor(Date.now() / 1000) - 1;
    const stream = await docker.getEvents({ filters: { type: ['container', 'network', 'volume'] } });
    const seen = [];
    stream.on('data', (data) => seen.push(...data.toString().trim().split('\n').map((line) => JSON.parse(line))));
    const volume = await docker.createVolume({ Name: 'data', Labels: { a: 'b' } });
    assert.match((await docker.getVolume('data').inspect()).Mountpoint, /_data$/);
    assert.equal((await docker.listVolumes({ filters: { label: ['a=b'] } })).Volumes.length, 1);
    const network = await docker.createNetwork({ Name: 'net', Labels: { a: 'b' }, CheckDuplicate: true });
    const box = await docker.createContainer({
      name: 'box', Image: 'busybox', Cmd: ['sleep', '1000'],
      HostConfig: { Mounts: [{ Type: 'volume', Source: 'data', Target: '/data' }, { Type: 'tmpfs', Target: '/memory' }] },
    });
    await box.start();
    await network.connect({ Container: 'box', EndpointConfig: { Aliases: ['other'] } });
    assert.deepEqual(Object.keys((await box.inspect()).NetworkSettings.Networks).sort(), ['bridge', 'net']);
    assert.equal(Object.values((await network.inspect()).Containers)[0].Name, 'box');
    await fails(network.remove(), 403, /active endpoints/);
    await network.disconnect({ Container: 'box', Force: true });
    await box.putArchive(archive('file', 'content'), { path: '/data' });
    assert.match(await text(await box.getArchive({ path: '/data/file' })), /content/);
    const stat = JSON.parse(Buffer.from((await box.infoArchive({ path: '/data/file' })).headers['x-docker-container-path-stat'], 'base64'));
    assert.deepEqual([stat.name, stat.size], ['file', 7]);
    assert.ok((await box.changes()).some((change) => change.Path === '/data'));
    await box.remove({ force: true });
    await network.remove();
    await volume.remove();
    assert.deepEqual((await docker.pruneNetworks()).NetworksDeleted ?? [], []);
    assert.deepEqual((await docker.pruneVolumes()).VolumesDeleted ?? [], []);
    await eventually('the last event', async () => seen.some((event) => event.Type === 'volume' && event.Action === 'destroy'));
    stream.destroy();
    const actions = seen.map((event) => `${event.Type} ${event.Action}`);
    for (const action of ['volume create', 'network create', 'container create', 'volume mount', 'volume unmount', 'container start', 'network connect',
      'network disconnect', 'container kill', 'container die', 'container destroy', 'network destroy', 'volume destroy']) {
      assert.ok(actions.includes(action), `${action} in ${actions}`);
    }
    const past = await text(await docker.getEvents({ since: began, until: Math.floor(Date.now() / 1000) + 1, filters: { event: ['destroy'] } }));
    assert.deepEqual(past.trim().split('\n').map((line) => JSON.parse(line).Type), ['container', 'network', 'volume']);
    assert.equal((await docker.ping()).toString(), 'OK');
    assert.equal((await docker.version()).Os, 'linux');
    assert.equal((await docker.info()).Images, 1);
    assert.ok((await docker.df()).LayersSize > 0);
    const old = new Docker({ version: 'v1.41' });
    assert.equal((await old.listImages()).length, 1);
  },
};

jobs[process.argv[2]]().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
