//! What is asked of a kernel that cannot do it is left out, and said.

use havre_runtime::Abilities;

use super::Resources;
use crate::{EngineError, Result};

/// Takes away limits that would have no effect, with a warning for each.
pub(crate) fn discard(resources: &mut Resources, able: Abilities) -> Result<Vec<String>> {
    let realtime = resources.cpu_realtime_period != 0 || resources.cpu_realtime_runtime != 0;
    if realtime && !able.realtime {
        return Err(EngineError::invalid(
            "Your kernel does not support CPU real-time scheduler",
        ));
    }
    let mut warnings = Vec::new();
    let mut warn = |text: &str| warnings.push(text.to_owned());
    if resources.memory > 0 && !able.swap && resources.memory_swap > 0 {
        warn(
            "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.",
        );
        resources.memory_swap = -1;
    }
    if resources.memory_swappiness.is_some() && !able.swappiness {
        warn(
            "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. Memory swappiness \
             discarded.",
        );
        resources.memory_swappiness = None;
    }
    if resources.oom_kill_disable && !able.oom_kill_disable {
        warn("Your kernel does not support OomKillDisable. OomKillDisable discarded.");
        resources.oom_kill_disable = false;
    }
    if resources.oom_kill_disable && resources.memory == 0 {
        warn(
            "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out \
             of resources.",
        );
    }
    if resources.blkio_weight != 0 && !able.io_weight {
        warn("Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded.");
        resources.blkio_weight = 0;
    }
    if !resources.blkio_weight_device.is_empty() && !able.io_weight_device {
        warn(
            "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. Weight-device discarded.",
        );
        resources.blkio_weight_device.clear();
    }
    for (devices, what) in [
        (&mut resources.blkio_device_read_bps, "BPS Block I/O read limit"),
        (&mut resources.blkio_device_write_bps, "BPS Block I/O write limit"),
        (&mut resources.blkio_device_read_iops, "IOPS Block read limit"),
        (&mut resources.blkio_device_write_iops, "IOPS Block write limit"),
    ] {
        if !devices.is_empty() && !able.io_throttle {
            warn(&format!(
                "Your kernel does not support {what} or the cgroup is not mounted. {what} discarded."
            ));
            devices.clear();
        }
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Abilities = Abilities {
        swap: false,
        swappiness: false,
        oom_kill_disable: false,
        io_weight: false,
        io_weight_device: false,
        io_throttle: false,
        realtime: false,
    };

    #[test]
    fn each_missing_ability_is_said_once() {
        let asked = || Resources {
            memory: 1 << 30,
            memory_swap: 1 << 30,
            memory_swappiness: Some(3),
            oom_kill_disable: true,
            blkio_weight: 10,
            blkio_weight_device: vec![Default::default()],
            blkio_device_read_bps: vec![Default::default()],
            blkio_device_write_iops: vec![Default::default()],
            ..Resources::default()
        };
        let mut resources = asked();
        assert_eq!(discard(&mut resources, NOTHING).unwrap().len(), 7);
        let left = Resources {
            memory: 1 << 30,
            memory_swap: -1,
            ..Resources::default()
        };
        assert_eq!(resources, left);
        let able = Abilities {
            swap: true,
            swappiness: true,
            oom_kill_disable: true,
            io_weight: true,
            io_weight_device: true,
            io_throttle: true,
            realtime: true,
        };
        let mut resources = asked();
        assert_eq!(discard(&mut resources, able).unwrap(), [""; 0]);
        assert_eq!(resources, asked());
        // Without it a program would run in another way than it was meant to: that is an error.
        let mut resources = Resources {
            cpu_realtime_runtime: 1000,
            ..Resources::default()
        };
        assert!(discard(&mut resources, able).is_ok());
        let error = discard(&mut resources, NOTHING).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Your kernel does not support CPU real-time scheduler"
        );
    }
}
