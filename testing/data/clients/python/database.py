"""A real database under testcontainers: database.py IMAGE, with DOCKER_HOST set."""

import sys

import pg8000.native
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import LogMessageWaitStrategy
from testcontainers.community.postgres import PostgresContainer

image = sys.argv[1]

with PostgresContainer(image, username="me", password="secret", dbname="shop", driver=None) as postgres:
    def connect():
        return pg8000.native.Connection(
            "me", password="secret", database="shop", host=postgres.get_container_host_ip(), port=int(postgres.get_exposed_port(5432))
        )

    connection = connect()
    [[version]] = connection.run("SELECT version()")
    assert version.startswith("PostgreSQL 15"), version
    connection.run("CREATE TABLE goods (id serial PRIMARY KEY, name text)")
    connection.run("INSERT INTO goods (name) SELECT 'good ' || n FROM generate_series(1, 20000) n")
    assert connection.run("SELECT count(*), max(id) FROM goods") == [[20000, 20000]]
    connection.close()
    # Durable through a restart of the container, whose port is another one then.
    wrapped = postgres.get_wrapped_container()
    wrapped.restart(timeout=20)
    wrapped.reload()
    postgres._connect()
    connection = connect()
    assert connection.run("SELECT name FROM goods WHERE id = 77") == [["good 77"]]
    connection.close()
    code, output = postgres.exec(["psql", "--version"])
    assert code == 0 and b"PostgreSQL" in output, output
    out, err = postgres.get_logs()
    assert b"ready to accept connections" in out + err, (out, err)

with Network() as network:
    with DockerContainer("busybox").with_network(network).with_network_aliases("other").with_command("sleep 100"):
        box = DockerContainer("busybox").with_network(network).with_env("A", "1").with_command(["sh", "-c", "nslookup other; echo done $A; sleep 100"]).waiting_for(LogMessageWaitStrategy("done 1"))
        with box:
            assert b"Address" in box.get_logs()[0]
