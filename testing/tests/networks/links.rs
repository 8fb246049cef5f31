//! Names that one container has for others, and networks in odd moments.

use serde_json::json;

use crate::world::World;

fn resolves(world: &World, from: &str, name: &str) -> bool {
    let answer = world.engine.run(format!("exec {from} nslookup -type=a {name}"));
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    answer.lines().any(|line| line.starts_with("Name:"))
}

#[test]
fn a_link_is_a_name_for_one_container_on_one_network() {
    let world = World::new();
    world.ok("network create shop");
    world.ok("network create back");
    world.rest("db", "--network shop");
    world.rest("vault", "--network back");
    world.rest("web", "--network shop --link db:store");
    world.rest("other", "--network shop");
    world.ok("exec web ping -c 1 -W 2 store");
    world.ok("exec web ping -c 1 -W 2 store.shop");
    assert!(!resolves(&world, "other", "store"), "others do not know it");
    let hosts = world.ok("exec web cat /etc/hosts");
    assert!(
        !hosts.contains("store"),
        "on networks of one's own it is no entry in hosts: {hosts}"
    );
    let variables = world.ok("exec web env");
    assert!(!variables.contains("STORE"), "nor a variable: {variables}");
    let inspected = world.engine.inspect("web");
    assert_eq!(
        inspected["NetworkSettings"]["Networks"]["shop"]["Links"],
        json!(["db:store"])
    );
    assert_eq!(inspected["HostConfig"]["Links"], json!(null));

    // While it runs; and who is meant may come later.
    world.ok("network connect --link vault:safe --link late:later back web");
    world.ok("exec web ping -c 1 -W 2 safe");
    assert!(!resolves(&world, "web", "later"));
    world.rest("late", "--network back");
    world.ok("exec web ping -c 1 -W 2 later");
    assert_eq!(
        world.endpoint("web", "back")["Links"],
        json!(["vault:safe", "late:later"])
    );
    world.engine.kill_daemon();
    world.engine.start_daemon();
    world.ok("exec web ping -c 1 -W 2 safe");
    world.ok("network disconnect back web");
    assert!(!resolves(&world, "web", "safe"));
    world.ok("exec web ping -c 1 -W 2 store");
    world.ok("restart -t 0 web");
    world.ok("exec web ping -c 1 -W 2 store");

    let bad = world.engine.fails(1, "network connect --link a:b:c back web");
    assert!(bad.contains("bad format for links: a:b:c"), "{bad}");
}

#[test]
fn a_build_runs_on_the_network_it_is_given() {
    let world = World::new();
    world.ok("network create --ipv6 shop");
    world.web("db", "--network shop --network-alias store");
    let dir = tempfile::tempdir().expect("directory");
    let text = "FROM busybox\nRUN ping -c 1 -W 2 db && wget -q -O /answer http://store/\nRUN ip -6 route > /routes\n";
    fs_err::write(dir.path().join("Dockerfile"), text).expect("write");
    let path = dir.path().display();
    world.ok(format!("build -q --network shop -t app {path}"));
    assert_eq!(world.ok("run --rm app cat /answer").trim(), "db");
    assert!(world.ok("run --rm app cat /routes").contains("default via fd"));
    assert_eq!(
        world.network("shop")["Containers"]
            .as_object()
            .map(serde_json::Map::len),
        Some(1),
        "the steps have left"
    );
    let nowhere = world
        .engine
        .fails(1, format!("build --no-cache --network nowhere {path}"));
    assert!(nowhere.contains("network nowhere not found"), "{nowhere}");
    let elsewhere = world.engine.fails(1, format!("build --no-cache {path}"));
    assert!(
        elsewhere.contains("non-zero code"),
        "not on the default network: {elsewhere}"
    );
    world.ok("rm -f db");
    world.ok("network rm shop");
}

#[test]
fn who_is_not_there_can_be_disconnected_by_force() {
    let world = World::new();
    world.ok("network create shop");
    world.rest("cas", "--network shop");
    let missing = world.engine.fails(1, "network disconnect shop nosuch");
    assert!(missing.contains("No such container: nosuch"), "{missing}");
    let missing = world.engine.fails(1, "network disconnect -f shop nosuch");
    assert!(missing.contains("endpoint nosuch not found"), "{missing}");
    world.ok("network disconnect -f shop cas");
    let gone = world.engine.fails(1, "network disconnect -f shop cas");
    assert!(gone.contains("is not connected to network shop"), "{gone}");
    world.ok("network rm shop");
}
