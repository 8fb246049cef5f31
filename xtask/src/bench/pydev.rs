//! The image of a Python developer: nine layers, some 60,000 files, about 1.7 GB. Built by havre itself from Debian and PyPI
//! packages, once, and pushed to the benchmark's registry.

use std::path::Path;

use fs_err as fs;

use super::{engines::Engine, images::Registry, volume::Volume};
use crate::Outcome;

const DOCKERFILE: &str = r#"FROM debian:bookworm
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-pip python3-venv python3-dev
RUN apt-get install -y --no-install-recommends build-essential git
RUN pip install --break-system-packages --no-cache-dir numpy pandas
RUN pip install --break-system-packages --no-cache-dir scipy scikit-learn
RUN pip install --break-system-packages --no-cache-dir matplotlib
RUN pip install --break-system-packages --no-cache-dir django
RUN pip install --break-system-packages --no-cache-dir jupyterlab
COPY app.py /app/app.py
CMD ["python3", "/app/app.py"]
"#;
const APP: &str = "import numpy, pandas, scipy, sklearn, matplotlib, django\nprint('all here')\n";

/// Makes `reference` in the registry, unless an earlier run has.
pub(super) fn ensure(scratch: &Path, havre: &Path, registry: &Registry, reference: &str) -> Outcome {
    if registry.has("pydev") {
        return Ok(());
    }
    eprintln!("making the image of 1.7 GB (once)");
    let volume = Volume::create(scratch, "making")?;
    let engine = Engine::start("havre", havre, &volume)?;
    let context = volume.path().join("context");
    fs::create_dir_all(&context)?;
    fs::write(context.join("Dockerfile"), DOCKERFILE)?;
    fs::write(context.join("app.py"), APP)?;
    engine.run(&["image", "bootstrap", "debian:bookworm"])?;
    engine.run(&["build", "-q", "-t", reference, &context.to_string_lossy()])?;
    let said = engine.run(&["run", "--rm", "--network", "none", reference])?;
    if said != "all here" {
        return Err(format!("the image does not work: {said}").into());
    }
    engine.run(&["push", "-q", reference])?;
    engine.stop();
    Ok(())
}
