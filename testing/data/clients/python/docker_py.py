"""The broad surface of docker-py: docker_py.py JOB, with DOCKER_HOST set and an image `busybox` there."""

import io
import os
import socket
import sys
import tarfile
import threading
import time

import docker
from docker.errors import APIError, BuildError, ContainerError, ImageNotFound, NotFound
from docker.types import EndpointConfig, Healthcheck, IPAMConfig, IPAMPool, LogConfig, Mount, Ulimit

client = docker.from_env(timeout=30)


def raises(kind, call, *words):
    """The call must fail so, and say these words."""
    try:
        call()
    except kind as error:
        for word in words:
            assert word in str(error), f"{word!r} is not in {error}"
        return error
    raise AssertionError(f"no {kind.__name__}")


def archive(**files):
    """A tar archive with these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def eventually(what, condition):
    patience = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < patience, f"waited in vain: {what}"
        time.sleep(0.02)


def containers():
    assert client.containers.run("busybox", "echo hello", remove=True) == b"hello\n"
    error = raises(ContainerError, lambda: client.containers.run("busybox", ["sh", "-c", "echo bad >&2; exit 3"]))
    assert (error.exit_status, error.stderr) == (3, b"bad\n"), error
    raises(ImageNotFound, lambda: client.containers.create("nosuch:tag"))
    raises(NotFound, lambda: client.containers.get("nosuch"), "No such container: nosuch")
    raises(APIError, lambda: client.containers.run("busybox", "nosuch", remove=True), "nosuch")

    box = client.containers.run(
        "busybox",
        ["sh", "-c", "echo out; echo err >&2; trap 'exit 9' TERM; while true; do sleep 0.05; done"],
        name="box",
        detach=True,
        hostname="named",
        environment={"A": "1"},
        labels={"team": "a"},
        ports={"80/tcp": ("127.0.0.1", None)},
        mem_limit="64m",
        nano_cpus=500_000_000,
        pids_limit=50,
        ulimits=[Ulimit(name="nofile", soft=100, hard=200)],
        cap_drop=["NET_RAW"],
        tmpfs={"/scratch": "size=1m"},
        extra_hosts={"elsewhere": "10.9.8.7"},
        init=True,
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
        log_config=LogConfig(type="json-file", config={"max-size": "1m", "max-file": "2"}),
        healthcheck=Healthcheck(test=["CMD", "true"], interval=100_000_000, retries=2),
    )
    eventually("it is healthy", lambda: (box.reload(), box.health)[1] == "healthy")
    assert box.status == "running" and box.name == "box" and box.labels["team"] == "a"
    assert box.image.tags == ["busybox:latest"], box.image.tags
    assert box.ports["80/tcp"][0]["HostIp"] == "127.0.0.1", box.ports
    config = box.attrs["HostConfig"]
    assert (config["Memory"], config["NanoCpus"], config["PidsLimit"]) == (64 << 20, 500_000_000, 50), config
    assert config["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert config["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
    eventually("both lines are logged", lambda: len(box.logs().splitlines()) == 2)
    assert (box.logs(stderr=False), box.logs(stdout=False)) == (b"out\n", b"err\n")
    assert box.logs(timestamps=True, tail=1).startswith(b"20")
    assert box.logs(since=int(time.time()) + 100) == b""

    assert [one.name for one in client.containers.list(filters={"label": "team=a", "status": "running"})] == ["box"]
    assert client.containers.list(filters={"name": "nosuch"}) == []
    assert client.containers.get(box.short_id).id == box.id
    top = box.top(ps_args="-eo pid,comm")
    assert top["Titles"] == ["PID", "COMMAND"] and len(top["Processes"]) >= 2, top
    assert {"Path": "/new", "Kind": 1} not in (box.diff() or [])
    box.exec_run("touch /new")
    assert {"Path": "/new", "Kind": 1} in box.diff()
    box.update(mem_limit="32m", memswap_limit="64m")
    box.rename("other")
    box.reload()
    assert (box.name, box.attrs["HostConfig"]["Memory"]) == ("other", 32 << 20)
    box.pause()
    box.reload()
    assert box.status == "paused"
    box.unpause()
    raises(APIError, box.remove, "running")
    box.stop(timeout=5)
    assert box.wait() == {"StatusCode": 9}, box.wait()
    raises(APIError, lambda: box.exec_run("true"), "is not running")
    box.start()
    box.restart(timeout=0)
    box.kill("KILL")
    eventually("it ended", lambda: (box.reload(), box.status)[1] == "exited")
    assert box.attrs["State"]["ExitCode"] == 137
    image = box.commit(repository="made", tag="v1", message="by hand", author="me", changes='ENV B="2"')
    assert image.tags == ["made:v1"] and "B=2" in image.attrs["Config"]["Env"], image.attrs
    exported = b"".join(box.export())
    assert "new" in tarfile.open(fileobj=io.BytesIO(exported)).getnames()
    box.remove(v=True)
    raises(NotFound, box.reload)

    sleeper = client.containers.create("busybox", "sleep 100", name="sleeper")
    assert sleeper.status == "created"
    waited = []
    waiter = threading.Thread(target=lambda: waited.append(sleeper.wait(condition="next-exit")))
    waiter.start()
    sleeper.start()
    sleeper.kill()
    waiter.join()
    assert waited == [{"StatusCode": 137}], waited
    pruned = client.containers.prune()
    assert sleeper.id in pruned["ContainersDeleted"] and pruned["SpaceReclaimed"] >= 0, pruned
    client.images.remove("made:v1")


def exec_():
    box = client.containers.run("busybox", "sleep 1000", name="box", detach=True)
    code, output = box.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
    assert (code, output) == (4, (b"out\n", b"err\n")), (code, output)
    code, output = box.exec_run("pwd", workdir="/tmp", user="nobody", environment={"A": "1"})
    assert (code, output) == (0, b"/tmp\n")
    assert box.exec_run("id -u", user="65534").output == b"65534\n"
    assert box.exec_run(["sh", "-c", "echo $A$B"], environment=["A=1", "B=2"]).output == b"12\n"
    assert box.exec_run("tty", tty=True, stdin=True).output == b"/dev/pts/0\r\n"
    code, stream = box.exec_run(["sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.1; done"], stream=True)
    assert code is None and b"".join(stream) == b"1\n2\n3\n"
    missing = box.exec_run("nosuch")
    assert missing.exit_code == 127 and b"nosuch" in missing.output, missing

    # A conversation over the raw socket.
    api = client.api
    made = api.exec_create(box.id, ["sh", "-c", "read line; echo got $line; read line; echo then $line; exit 6"], stdin=True, tty=True)
    connection = api.exec_start(made["Id"], tty=True, socket=True)
    raw = getattr(connection, "_sock", connection)
    raw.settimeout(20)
    api.exec_resize(made["Id"], height=40, width=120)
    raw.sendall(b"one\n")
    text = b""
    while b"got one" not in text:
        text += raw.recv(1000)
    inspected = api.exec_inspect(made["Id"])
    assert inspected["Running"] and inspected["ProcessConfig"]["tty"] and inspected["ContainerID"] == box.id, inspected
    raw.sendall(b"two\n")
    while b"then two" not in text:
        text += raw.recv(1000)
    while raw.recv(1000):
        pass
    eventually("its code is known", lambda: api.exec_inspect(made["Id"])["ExitCode"] == 6)
    detached = api.exec_create(box.id, ["touch", "/detached"])
    assert api.exec_start(detached["Id"], detach=True) in ("", b"")
    eventually("it ran", lambda: box.exec_run("ls /detached").exit_code == 0)
    box.remove(force=True)


def attach():
    box = client.containers.create("busybox", ["sh", "-c", "cat; echo end >&2"], name="box", stdin_open=True)
    connection = box.attach_socket(params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    raw = getattr(connection, "_sock", connection)
    box.start()
    raw.sendall(b"through the container\n")
    raw.shutdown(socket.SHUT_WR)
    raw.settimeout(20)
    stream = b""
    while part := raw.recv(4096):
        stream += part
    assert stream[8:30] == b"through the container\n", stream
    assert stream[0] == 1 and b"end\n" in stream, stream
    assert box.wait()["StatusCode"] == 0
    assert box.attach(logs=True) == b"through the container\nend\n", box.attach(logs=True)
    box.remove()

    script = "echo 1; echo 2; while [ ! -e /go ]; do sleep 0.02; done; echo 3; echo 4"
    box = client.containers.run("busybox", ["sh", "-c", script], detach=True)
    eventually("two lines", lambda: box.logs() == b"1\n2\n")
    attached = box.attach(stream=True, logs=True)
    assert next(attached) + next(attached) == b"1\n2\n"
    box.put_archive("/", archive(go=b""))
    assert b"".join(attached) == b"3\n4\n"
    assert b"".join(box.logs(stream=True, follow=True)) == b"1\n2\n3\n4\n"
    box.remove()

    ticking = client.containers.run("busybox", ["sh", "-c", "while true; do echo tick; sleep 0.02; done"], name="ticking", detach=True)
    followed = ticking.logs(stream=True, follow=True)
    assert next(followed) == b"tick\n"
    followed.close()
    both = [ticking.attach(stream=True, logs=False) for _ in range(2)]
    assert [next(one) for one in both] == [b"tick\n", b"tick\n"]
    ticking.remove(force=True)


def stats():
    box = client.containers.run("busybox", ["sh", "-c", "while true; do :; done"], name="box", detach=True, mem_limit="32m", nano_cpus=200_000_000)
    time.sleep(0.3)
    once = box.stats(stream=False)
    assert once["memory_stats"]["limit"] == 32 << 20 and once["memory_stats"]["usage"] > 0, once
    assert once["cpu_stats"]["cpu_usage"]["total_usage"] > 0 and once["pids_stats"]["current"] >= 1
    assert "eth0" in once["networks"] and once["id"] == box.id and once["name"] == "/box", once
    assert once["precpu_stats"]["cpu_usage"]["total_usage"] < once["cpu_stats"]["cpu_usage"]["total_usage"]
    stream = box.stats(stream=True, decode=True)
    first, second = next(stream), next(stream)
    assert second["cpu_stats"]["system_cpu_usage"] > first["cpu_stats"]["system_cpu_usage"]
    assert second["precpu_stats"]["cpu_usage"] == first["cpu_stats"]["cpu_usage"]
    stream.close()
    box.remove(force=True)


def files():
    box = client.containers.create("busybox", "sleep 1000", name="box", volumes={"data": {"bind": "/data", "mode": "rw"}})
    assert box.put_archive("/tmp", archive(one=b"first", two=b"second"))
    assert box.put_archive("/data", archive(kept=b"in the volume"))
    stream, stat = box.get_archive("/tmp/one")
    assert (stat["name"], stat["size"]) == ("one", 5), stat
    tar = tarfile.open(fileobj=io.BytesIO(b"".join(stream)))
    assert tar.extractfile("one").read() == b"first"
    stream, stat = box.get_archive("/tmp", encode_stream=True)
    names = tarfile.open(fileobj=io.BytesIO(b"".join(stream))).getnames()
    assert {"tmp", "tmp/one", "tmp/two"} <= set(names), names
    box.start()
    assert box.exec_run("cat /data/kept").output == b"in the volume"
    raises(NotFound, lambda: box.get_archive("/nosuch"), "/nosuch")
    raises(NotFound, lambda: box.put_archive("/nosuch", archive(x=b"")), "nosuch")
    raises(APIError, lambda: box.put_archive("/tmp", b"this is no archive" * 100))
    readonly = client.containers.create("busybox", "true", read_only=True)
    raises(APIError, lambda: readonly.put_archive("/", archive(x=b"")), "read-only")
    for one in (box, readonly):
        one.remove(force=True)
    client.volumes.get("data").remove()


def images():
    registry = os.environ["REGISTRY"]
    context = archive(
        Dockerfile=b"FROM busybox AS first\nARG WHAT=nothing\nRUN echo $WHAT > /what\nFROM first\nLABEL made=here\nCMD cat /what\n"
    )
    image, log = client.images.build(
        fileobj=io.BytesIO(context), custom_context=True, tag="app:v1", buildargs={"WHAT": "something"}, labels={"by": "docker-py"}, rm=True
    )
    log = "".join(line.get("stream", "") for line in log)
    assert "Successfully built" in log and "Successfully tagged app:v1" in log, log
    assert image.labels == {"made": "here", "by": "docker-py"} and image.tags == ["app:v1"], image.attrs
    assert client.containers.run("app:v1", remove=True) == b"something\n"
    again, _ = client.images.build(fileobj=io.BytesIO(b"FROM busybox\nENV X=1\n"), tag="app:v2")
    assert "X=1" in again.attrs["Config"]["Env"]
    stage, _ = client.images.build(fileobj=io.BytesIO(context), custom_context=True, target="first", nocache=True)
    assert stage.tags == []
    error = raises(BuildError, lambda: client.images.build(fileobj=io.BytesIO(b"FROM busybox\nRUN exit 7\n")), "non-zero code: 7")
    assert any("RUN exit 7" in line.get("stream", "") for line in error.build_log)
    raises(APIError, lambda: client.images.build(fileobj=io.BytesIO(b"NOSUCH instruction\n")), "NOSUCH")

    assert image.tag(f"{registry}/team/app", tag="v1")
    image.reload()
    assert sorted(image.tags) == sorted(["app:v1", f"{registry}/team/app:v1"])
    events = list(client.images.push(f"{registry}/team/app", tag="v1", stream=True, decode=True))
    assert not [event for event in events if "error" in event], events
    digest = [event["aux"]["Digest"] for event in events if "aux" in event][0]
    client.images.remove(f"{registry}/team/app:v1")
    pulled = client.images.pull(f"{registry}/team/app", tag="v1")
    assert pulled.id == image.id and pulled.attrs["RepoDigests"] == [f"{registry}/team/app@{digest}"], pulled.attrs
    data = client.images.get_registry_data(f"{registry}/team/app:v1")
    assert data.id == digest and data.has_platform("linux/amd64"), data.attrs
    assert len(client.images.pull(f"{registry}/team/app", all_tags=True)) == 1
    raises(NotFound, lambda: client.images.pull(f"{registry}/team/nosuch", tag="v1"), "manifest unknown")
    failed = list(client.images.push("127.0.0.1:1/nobody/there", stream=True, decode=True))
    assert any("does not exist" in event.get("error", "") for event in failed), failed

    saved = b"".join(image.save(named="app:v1"))
    client.images.remove(f"{registry}/team/app:v1")
    client.images.remove("app:v1")
    raises(ImageNotFound, lambda: client.images.get("app:v1"))
    [loaded] = client.images.load(saved)
    assert loaded.id == image.id and loaded.tags == ["app:v1"]
    history = loaded.history()
    assert history[0]["Id"] == image.id and any("cat /what" in step["CreatedBy"] for step in history), history
    assert {"app:v1", "app:v2", "busybox:latest"} <= {tag for one in client.images.list() for tag in one.tags}
    assert [one.id for one in client.images.list(filters={"label": "by=docker-py"})] == [image.id]
    assert [one.tags for one in client.images.list(name="app:v2")] == [["app:v2"]]
    imported = client.api.import_image_from_data(archive(file=b"content"), repository="imported", tag="v1")
    assert "sha256:" in str(imported)
    assert client.images.get("imported:v1")
    pruned = client.images.prune(filters={"dangling": False})
    assert any(one.get("Untagged") == "app:v1" for one in pruned["ImagesDeleted"]), pruned
    assert "SpaceReclaimed" in client.api.prune_builds()
    client.images.load(saved)


def volumes():
    made = client.volumes.create("data", labels={"kind": "test"})
    assert made.name == "data" and made.attrs["Driver"] == "local" and made.attrs["Labels"] == {"kind": "test"}
    assert client.volumes.get("data").attrs["Mountpoint"].endswith("/_data")
    assert [one.name for one in client.volumes.list(filters={"label": "kind=test"})] == ["data"]
    raises(NotFound, lambda: client.volumes.get("nosuch"), "nosuch")
    out = client.containers.run(
        "busybox",
        ["sh", "-c", "echo kept > /data/file; grep -c ' /scratch tmpfs ' /proc/mounts"],
        remove=True,
        mounts=[Mount("/data", "data"), Mount("/scratch", None, type="tmpfs", tmpfs_size=1 << 20)],
    )
    assert out == b"1\n", out
    assert client.containers.run("busybox", "cat /data/file", remove=True, volumes=["data:/data:ro"]) == b"kept\n"
    holder = client.containers.create("busybox", volumes=["data:/data"])
    raises(APIError, made.remove, "in use")
    holder.remove()
    made.remove()
    raises(NotFound, made.remove)
    client.volumes.create("unused")
    assert client.volumes.prune(filters={"all": True})["VolumesDeleted"] == ["unused"]


def networks():
    pool = IPAMPool(subnet="10.213.7.0/24", gateway="10.213.7.254", iprange="10.213.7.128/25")
    net = client.networks.create("net", driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels={"kind": "test"}, internal=False)
    assert net.name == "net" and net.attrs["IPAM"]["Config"][0]["Gateway"] == "10.213.7.254", net.attrs
    assert [one.name for one in client.networks.list(names=["net"])] == ["net"]
    assert [one.id for one in client.networks.list(filters={"label": "kind=test"})] == [net.id]
    raises(APIError, lambda: client.networks.create("bad", ipam=IPAMConfig(pool_configs=[IPAMPool(subnet="10.213.7.0/24")])))
    server = client.containers.run("busybox", "sleep 1000", name="server", detach=True, network="net")
    address = server.attrs["NetworkSettings"]["Networks"]["net"]["IPAddress"] if server.attrs["State"]["Running"] else ""
    server.reload()
    address = server.attrs["NetworkSettings"]["Networks"]["net"]["IPAddress"]
    assert address.startswith("10.213.7."), address
    assert address.encode() in client.containers.run("busybox", "nslookup server", remove=True, network="net")
    second = client.networks.create("second")
    second.connect(server, aliases=["known-as"])
    assert b"Address" in client.containers.run("busybox", "nslookup known-as", remove=True, network="second")
    second.reload()
    assert [one.name for one in second.containers] == ["server"], second.attrs
    raises(APIError, second.remove, "active endpoints")
    second.disconnect(server)
    second.connect(server, ipv4_address=None)
    second.disconnect("server", force=True)
    fixed = client.containers.create(
        "busybox", "sleep 1000", network="net",
        networking_config={"net": EndpointConfig("1.44", ipv4_address="10.213.7.77", aliases=["fixed"])},
    )
    fixed.start()
    assert b"10.213.7.77" in client.containers.run("busybox", "nslookup fixed", remove=True, network="net")
    low = client.api.create_endpoint_config(mac_address="02:42:0a:d5:07:63")
    assert low["MacAddress"] == "02:42:0a:d5:07:63"
    for one in (server, fixed):
        one.remove(force=True)
    net.remove()
    assert client.networks.prune()["NetworksDeleted"] == ["second"]
    raises(NotFound, lambda: client.networks.get("net"))


def events():
    began = int(time.time()) - 1
    seen = []
    stream = client.events(decode=True, filters={"type": ["container", "volume"]})
    reader = threading.Thread(target=lambda: seen.extend(stream), daemon=True)
    reader.start()
    client.containers.run("busybox", "true", name="seen", labels={"color": "blue"}, remove=True, volumes=["made:/made"])
    wanted = ["create", "mount", "start", "die", "destroy"]
    eventually("the container's events", lambda: "destroy" in [one["Action"] for one in seen])
    actions = [one["Action"] for one in seen]
    places = [actions.index(action) for action in wanted]
    assert places == sorted(places), actions
    died = [one for one in seen if one["Action"] == "die"][0]
    assert died["Actor"]["Attributes"]["exitCode"] == "0" and died["Actor"]["Attributes"]["color"] == "blue", died
    assert died["Type"] == "container" and died["status"] == "die" and died["from"] == "busybox", died
    assert died["timeNano"] // 10**9 == died["time"] and died["scope"] == "local", died
    stream.close()
    reader.join(10)
    assert not reader.is_alive(), "closing ends the stream"
    past = list(client.events(decode=True, since=began, until=int(time.time()) + 1, filters={"container": "seen"}))
    assert [one["Action"] for one in past if one["Action"] in wanted] == ["create", "start", "die", "destroy"], past
    client.volumes.get("made").remove()


def system():
    assert client.ping() is True
    version = client.version()
    assert version["Os"] == "linux" and version["Components"][0]["Name"] == "Engine", version
    info = client.info()
    assert info["Images"] == 1 and info["Driver"] and info["CgroupVersion"] in ("1", "2"), info
    usage = client.df()
    assert usage["Images"][0]["RepoTags"] == ["busybox:latest"] and usage["LayersSize"] > 0, usage
    assert client.api.version()["ApiVersion"] >= "1.44"
    for version in ("1.24", "1.35", "1.41", "auto"):
        old = docker.DockerClient(base_url=os.environ["DOCKER_HOST"], version=version)
        assert old.containers.run("busybox", "echo old", remove=True) == b"old\n"
        assert [one.tags for one in old.images.list()] == [["busybox:latest"]]
        old.close()
    raises(APIError, lambda: client.swarm.init(), "warm")


if __name__ == "__main__":
    {name.rstrip("_"): job for name, job in globals().items() if callable(job)}[sys.argv[1]]()
