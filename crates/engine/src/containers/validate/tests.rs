use super::*;
use crate::containers::{Resources, RestartPolicy, Ulimit};

fn refusal(host: HostConfig) -> String {
    validate(&Config::default(), &host)
        .expect_err("refused")
        .to_string()
}

fn ulimit(name: &str, soft: i64, hard: i64) -> Ulimit {
    Ulimit {
        name: name.into(),
        soft,
        hard,
    }
}

fn with(resources: Resources) -> HostConfig {
    HostConfig {
        resources,
        ..HostConfig::default()
    }
}

#[test]
fn defaults_are_fine() {
    validate(&Config::default(), &HostConfig::default()).unwrap();
}

#[test]
fn what_has_no_effect_is_named() {
    assert!(
        refusal(HostConfig {
            userns_mode: "x".into(),
            ..Default::default()
        })
        .contains("UsernsMode")
    );
    assert!(
        refusal(with(Resources {
            cpu_count: 1,
            ..Default::default()
        }))
        .contains("CpuCount")
    );
    assert!(
        refusal(with(Resources {
            device_requests: true,
            ..Default::default()
        }))
        .contains("could not select device driver")
    );
}

#[test]
fn dockers_words() {
    assert_eq!(
        refusal(with(Resources {
            memory: 1 << 20,
            ..Default::default()
        })),
        "Minimum memory limit allowed is 6MB"
    );
    assert!(
        refusal(with(Resources {
            nano_cpus: 1 << 50,
            ..Default::default()
        }))
        .starts_with("range of CPUs is from 0.01 to")
    );
    let rm = HostConfig {
        auto_remove: true,
        restart_policy: RestartPolicy {
            name: RestartPolicyName::Always,
            maximum_retry_count: 0,
        },
        ..Default::default()
    };
    assert_eq!(
        refusal(rm),
        "can't create 'AutoRemove' container with restart policy"
    );
    assert_eq!(
        NetworkMode::parse("shop").expect("a mode"),
        NetworkMode::User("shop".to_owned())
    );
}

#[test]
fn limits_of_resources() {
    for resources in [
        Resources {
            memory_swap: 1 << 30,
            ..Default::default()
        },
        Resources {
            memory: 1 << 30,
            memory_swap: 1 << 20,
            ..Default::default()
        },
        Resources {
            cpuset_cpus: "3-1".into(),
            ..Default::default()
        },
        Resources {
            cpuset_cpus: "a".into(),
            ..Default::default()
        },
        Resources {
            blkio_weight: 5,
            ..Default::default()
        },
        Resources {
            nano_cpus: 1,
            cpu_quota: 5000,
            ..Default::default()
        },
        Resources {
            ulimits: vec![ulimit("nofile", 2, 1)],
            ..Default::default()
        },
        Resources {
            ulimits: vec![ulimit("nofile", -1, 1)],
            ..Default::default()
        },
        Resources {
            ulimits: vec![ulimit("speed", 1, 1)],
            ..Default::default()
        },
    ] {
        assert!(
            validate(&Config::default(), &with(resources.clone())).is_err(),
            "{resources:?}"
        );
    }
    let fine = Resources {
        memory: 64 << 20,
        memory_swap: -1,
        cpuset_cpus: "0,0-0".into(),
        ulimits: vec![ulimit("core", 0, -1)],
        ..Default::default()
    };
    validate(&Config::default(), &with(fine)).unwrap();
}

#[test]
fn joined_networks_have_no_names_of_their_own() {
    let host = HostConfig {
        network_mode: "container:web".into(),
        ..Default::default()
    };
    validate(&Config::default(), &host).unwrap();
    let config = Config {
        hostname: "db".into(),
        ..Default::default()
    };
    assert_eq!(
        validate(&config, &host).unwrap_err().to_string(),
        "conflicting options: hostname and the network mode"
    );
}

#[test]
fn security_options_are_read() {
    let read = |texts: &[&str]| {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        security_options(&texts)
    };
    let both = read(&["no-new-privileges", "seccomp=unconfined"]).unwrap();
    assert!(both.no_new_privileges && both.seccomp == Seccomp::Unconfined);
    assert!(!read(&["no-new-privileges:false"]).unwrap().no_new_privileges);
    assert!(matches!(
        read(&["seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"])
            .unwrap()
            .seccomp,
        Seccomp::Profile(_)
    ));
    for bad in [
        "seccomp={",
        "seccomp=/path",
        "apparmor=mine",
        "label=type:x",
        "nonsense",
        "no-new-privileges=maybe",
    ] {
        assert!(read(&[bad]).is_err(), "{bad}");
    }
}

#[test]
fn sizes() {
    for (text, size) in [
        ("10", 10),
        ("1k", 1024),
        ("1.5m", 3 << 19),
        ("2GiB", 2 << 30),
        ("0", 0),
    ] {
        assert_eq!(bytes(text), Some(size), "{text}");
    }
    for bad in ["", "k", "-1", "1x", "1.2.3", "99999999t"] {
        assert_eq!(bytes(bad), None, "{bad}");
    }
}
