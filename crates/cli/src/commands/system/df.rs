//! `system df`.

use serde::Deserialize;

use crate::args::system::df::Df;
use crate::commands::Done;
use crate::commands::container::ls::Summary as Container;
use crate::commands::image::ls::Summary as Image;
use crate::commands::volume::ls::Volume;
use crate::error::CliError;
use crate::exit_status::ExitStatus;
use crate::format::listing::Layout;
use crate::format::{short_id, size};
use crate::session::Session;
use crate::template::Value;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Usage {
    layers_size: i64,
    compressed_size: i64,
    image_usage: Option<Sums>,
    container_usage: Option<Sums>,
    volume_usage: Option<Sums>,
    build_cache_usage: Option<Sums>,
    removed_usage: Option<Sums>,
    images: Option<Vec<Image>>,
    containers: Option<Vec<Container>>,
    volumes: Option<Vec<Volume>>,
    build_cache: Option<Vec<Cache>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Cache {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "Type")]
    pub(crate) kind: String,
    pub(crate) in_use: bool,
    pub(crate) shared: bool,
    pub(crate) size: i64,
    pub(crate) usage_count: i64,
    pub(crate) description: String,
    pub(crate) created_at: String,
    pub(crate) last_used_at: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Sums {
    active_count: usize,
    total_count: usize,
    total_size: i64,
    reclaimable: i64,
}

const LAYOUT: Layout = Layout {
    table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "Type",
    headers: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
};

const IMAGES: Layout = Layout {
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
    quiet: "ID",
    headers: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("ID", "IMAGE ID"),
        ("CreatedSince", "CREATED"),
        ("Size", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("Containers", "CONTAINERS"),
    ],
};

const CONTAINERS: Layout = Layout {
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
    quiet: "ID",
    headers: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Size", "SIZE"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
    ],
};

const VOLUMES: Layout = Layout {
    table: "{{.Name}}\t{{.Links}}\t{{.Size}}",
    quiet: "Name",
    headers: &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")],
};

const CACHES: Layout = Layout {
    table: "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.UsageCount}}\t{{.Shared}}",
    quiet: "ID",
    headers: &[
        ("ID", "CACHE ID"),
        ("CacheType", "CACHE TYPE"),
        ("Size", "SIZE"),
        ("UsageCount", "USAGE"),
        ("Shared", "SHARED"),
    ],
};

/// `docker system df`.
pub(crate) async fn df(session: &Session, args: Df) -> Done {
    let request = session.client()?.get("/system/df");
    // Of the objects of a thousand images the summary needs nothing.
    let request = match args.verbose {
        true => request,
        false => request.query("objects", "0"),
    };
    let usage: Usage = request.answer().await?;
    let text = if args.verbose {
        if args
            .format
            .as_deref()
            .is_some_and(|format| !format.is_empty() && format != "table")
        {
            return Err(CliError::Invalid(
                "the verbose listing has no --format: leave out one of -v and --format".to_owned(),
            ));
        }
        verbose(&usage)?
    } else {
        LAYOUT.render(args.format.as_deref(), false, &summary(&usage))?
    };
    session.printer.out(&text);
    Ok(ExitStatus::SUCCESS)
}

fn row(kind: &str, sums: Sums, percent: bool) -> Value {
    let (bytes, reclaimable) = (sums.total_size, sums.reclaimable);
    let share = (bytes > 0 && percent).then(|| (reclaimable as f64 / bytes as f64 * 100.0) as i64);
    let freed = size::long(reclaimable);
    Value::row(
        vec![
            ("Type", kind.into()),
            ("TotalCount", sums.total_count.to_string().into()),
            ("Active", sums.active_count.to_string().into()),
            ("Size", size::long(bytes).into()),
            (
                "Reclaimable",
                share
                    .map_or(freed.clone(), |share| format!("{freed} ({share}%)"))
                    .into(),
            ),
        ],
        Default::default(),
    )
}

fn summary(usage: &Usage) -> Vec<Value> {
    let mut rows = vec![
        row(
            "Images",
            usage.image_usage.unwrap_or_else(|| usage.of_images()),
            true,
        ),
        row(
            "Containers",
            usage.container_usage.unwrap_or_else(|| usage.of_containers()),
            true,
        ),
        row(
            "Local Volumes",
            usage.volume_usage.unwrap_or_else(|| usage.of_volumes()),
            true,
        ),
        row(
            "Build Cache",
            usage.build_cache_usage.unwrap_or_else(|| usage.of_build_cache()),
            false,
        ),
    ];
    // Only where there is something that `undo` can bring back.
    if let Some(removed) = &usage.removed_usage {
        rows.push(row("Removed", *removed, true));
    }
    rows
}

/// For engines that do not say sums: Docker's before 29.
impl Usage {
    fn of_images(&self) -> Sums {
        let images: Vec<_> = self.images.iter().flatten().collect();
        let used: Vec<_> = images.iter().filter(|image| image.containers > 0).collect();
        let in_use: i64 = used
            .iter()
            .map(|image| image.size - image.shared_size.max(0))
            .sum();
        Sums {
            active_count: used.len(),
            total_count: images.len(),
            total_size: self.layers_size,
            reclaimable: match used.len() == images.len() {
                true => 0,
                false => (self.layers_size - in_use).max(0),
            },
        }
    }

    fn of_containers(&self) -> Sums {
        let containers: Vec<_> = self.containers.iter().flatten().collect();
        let running =
            |container: &Container| matches!(container.state.as_str(), "running" | "paused" | "restarting");
        let bytes = |container: &&Container| container.size_rw.unwrap_or(0);
        let ended = containers.iter().filter(|container| !running(container));
        Sums {
            active_count: containers.len() - ended.clone().count(),
            total_count: containers.len(),
            total_size: containers.iter().map(bytes).sum(),
            reclaimable: ended.map(bytes).sum(),
        }
    }

    fn of_volumes(&self) -> Sums {
        let volumes: Vec<_> = self.volumes.iter().flatten().collect();
        let known = volumes.iter().filter_map(|volume| volume.usage_data.as_ref());
        let sized = known.clone().filter(|data| data.size >= 0);
        let unused = sized.clone().filter(|data| data.ref_count <= 0);
        Sums {
            active_count: known.filter(|data| data.ref_count > 0).count(),
            total_count: volumes.len(),
            total_size: sized.map(|data| data.size).sum(),
            reclaimable: unused.map(|data| data.size).sum(),
        }
    }

    fn of_build_cache(&self) -> Sums {
        let caches: Vec<_> = self.build_cache.iter().flatten().collect();
        let free = caches.iter().filter(|cache| !cache.in_use && !cache.shared);
        Sums {
            active_count: caches.iter().filter(|cache| cache.in_use).count(),
            total_count: caches.len(),
            total_size: own_size(&caches),
            reclaimable: free.map(|cache| cache.size).sum(),
        }
    }
}

/// Without what images have too, which is counted there.
fn own_size(caches: &[&Cache]) -> i64 {
    let own = caches.iter().filter(|cache| !cache.shared);
    own.map(|cache| cache.size).sum()
}

fn verbose(usage: &Usage) -> Result<String, CliError> {
    let images: Vec<Value> = usage
        .images
        .iter()
        .flatten()
        .flat_map(|image| image.clone().rows(true, false))
        .collect();
    let containers: Vec<Value> = usage
        .containers
        .iter()
        .flatten()
        .map(|container| container.without_image_size().row(true))
        .collect();
    let volumes: Vec<Value> = usage.volumes.iter().flatten().map(Volume::row).collect();
    let caches: Vec<Value> = usage.build_cache.iter().flatten().map(Cache::row).collect();
    let cache_size = own_size(&usage.build_cache.iter().flatten().collect::<Vec<_>>());
    let compressed = match usage.compressed_size {
        0 => String::new(),
        bytes => format!(
            "\nCompressed layers kept beside them: {}, all reclaimable\n",
            size::long(bytes)
        ),
    };
    let removed = usage.removed_usage.as_ref().map_or_else(String::new, |removed| {
        format!(
            "\nRemoved, can be brought back: {}, {}\n",
            removed.total_count,
            size::long(removed.total_size)
        )
    });
    Ok(format!(
        "Images space usage:\n\n{}{compressed}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\nBuild cache usage: {}\n\n{}{removed}",
        IMAGES.render(None, false, &images)?,
        CONTAINERS.render(None, false, &containers)?,
        VOLUMES.render(None, false, &volumes)?,
        size::long(cache_size),
        CACHES.render(None, false, &caches)?,
    ))
}

impl Cache {
    fn row(&self) -> Value {
        Value::row(
            vec![
                ("ID", short_id(&self.id).into()),
                ("CacheType", self.kind.as_str().into()),
                ("Size", size::long(self.size).into()),
                ("UsageCount", self.usage_count.to_string().into()),
                ("Shared", self.shared.to_string().into()),
            ],
            Default::default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_dockers() {
        let usage: Usage = serde_json::from_str(
            r#"{"LayersSize":1000000,"Images":[{"Id":"a","Size":400000,"SharedSize":0,"Containers":1},
                {"Id":"b","Size":600000,"SharedSize":0,"Containers":0}],
                "Containers":[{"Id":"c","SizeRw":1000,"State":"running"},{"Id":"d","SizeRw":3000,"State":"exited"}],
                "Volumes":[{"Name":"v","UsageData":{"Size":500,"RefCount":0}}],"BuildCache":null}"#,
        )
        .unwrap();
        assert_eq!(
            LAYOUT.render(None, false, &summary(&usage)).unwrap(),
            "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
             Images          2         1         1MB       600kB (60%)\n\
             Containers      2         1         4kB       3kB (75%)\n\
             Local Volumes   1         0         500B      500B (100%)\n\
             Build Cache     0         0         0B        0B\n"
        );
    }
}
