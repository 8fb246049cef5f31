//! Commands run in a container.

use havre_engine::ExecView;
use serde::{Deserialize, Serialize};

/// The body of `POST /containers/{id}/exec`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ExecCreateBody {
    pub(crate) user: String,
    pub(crate) privileged: bool,
    pub(crate) tty: bool,
    pub(crate) console_size: Option<[u16; 2]>,
    pub(crate) attach_stdin: bool,
    pub(crate) attach_stderr: bool,
    pub(crate) attach_stdout: bool,
    pub(crate) detach_keys: String,
    pub(crate) env: Vec<String>,
    pub(crate) working_dir: String,
    pub(crate) cmd: Vec<String>,
}

/// The body of `POST /exec/{id}/start`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ExecStartBody {
    pub(crate) detach: bool,
    pub(crate) tty: bool,
    pub(crate) console_size: Option<[u16; 2]>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ExecInspect {
    #[serde(rename = "ID")]
    id: String,
    running: bool,
    exit_code: Option<i64>,
    process_config: ProcessConfig,
    open_stdin: bool,
    open_stderr: bool,
    open_stdout: bool,
    can_remove: bool,
    #[serde(rename = "ContainerID")]
    container_id: String,
    detach_keys: &'static str,
    pid: i64,
}

#[derive(Debug, Serialize)]
struct ProcessConfig {
    tty: bool,
    entrypoint: String,
    arguments: Vec<String>,
    privileged: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
}

impl From<ExecView> for ExecInspect {
    fn from(view: ExecView) -> Self {
        let config = view.config;
        let mut words = config.cmd.into_iter();
        Self {
            id: view.id,
            running: view.running,
            exit_code: view.exit_code,
            process_config: ProcessConfig {
                tty: config.tty,
                entrypoint: words.next().unwrap_or_default(),
                arguments: words.collect(),
                privileged: config.privileged,
                user: config.user,
            },
            open_stdin: config.attach_stdin,
            open_stderr: config.attach_stderr,
            open_stdout: config.attach_stdout,
            can_remove: view.can_remove,
            container_id: view.container_id,
            detach_keys: "",
            pid: view.pid,
        }
    }
}
