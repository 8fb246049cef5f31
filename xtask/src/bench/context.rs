//! Builds from a large context, one COPY: 20,000 files, 548 MB.

use std::path::{Path, PathBuf};

use fs_err as fs;

use super::{engines::Engine, environment::read_all, table::Results, volume::settle};
use crate::Outcome;

/// Bytes of a file, on average.
const MEAN: u64 = 27_400;
/// How often the cached build is timed within a round.
const REPEATS: usize = 3;

/// The rows. Each engine's store is fresh, so that the first build knows nothing of the files; the files themselves are
/// in the page cache for everybody.
pub(super) fn rows(engine: &Engine, scratch: &Path, files: u64, results: &mut Results) -> Outcome {
    let context = ensure(scratch, files)?;
    read_all(&context)?;
    let path = context.to_string_lossy().into_owned();
    let args = ["build", "-q", "-t", "bench-context", &path];
    for (builder, note) in engine.builders() {
        settle()?;
        let row = format!(
            "build, context of {files} files ({} MB), cold",
            files * MEAN / 1_000_000
        );
        let cold = engine.time_with(&args, &builder)?;
        for row in engine.rows_of(&row, note) {
            results.time(&row, &engine.name, cold);
        }
        for _ in 0..REPEATS {
            let cached = engine.time_with(&args, &builder)?;
            for row in engine.rows_of("the same context, cached", note) {
                results.time(&row, &engine.name, cached);
            }
        }
    }
    Ok(())
}

/// The context, made once and kept: files of 100 bytes to some hundred kilobytes of noise in a thousand directories.
pub(super) fn ensure(scratch: &Path, files: u64) -> Outcome<PathBuf> {
    let context = scratch.join(format!("context-{}k", files / 1000));
    if context.join("Dockerfile").exists() {
        return Ok(context);
    }
    let _ = fs::remove_dir_all(&context);
    let mut noise = Noise(1);
    // Cubes of evenly spread numbers: most files are small, some are large. Their mean is a quarter of the largest.
    let largest = MEAN * 4;
    for number in 0..files {
        let directory = context.join(format!("part{:02}/group{:02}", number % 40, number / 40 % 25));
        fs::create_dir_all(&directory)?;
        let share = (noise.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let size = (largest as f64 * share.powi(3)) as usize + 1;
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            bytes.extend_from_slice(&noise.next().to_le_bytes());
        }
        bytes.truncate(size);
        fs::write(directory.join(format!("file{number:05}.dat")), bytes)?;
    }
    // Last: its presence says that the rest is there.
    fs::write(context.join("Dockerfile"), "FROM bench-base\nCOPY . /app/\n")?;
    settle()?;
    Ok(context)
}

/// Numbers without a pattern that would compress (splitmix64).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
