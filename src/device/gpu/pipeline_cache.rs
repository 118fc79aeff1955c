//! The driver's cache of compiled pipelines, where wgpu offers one (Vulkan), and the file that keeps it.

use super::GpuDevice;
use super::pipeline_file::{Digest, PipelineFile, digest};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Writing the file takes at most about this fraction, 1 in so many, of the time that compiling took.
const COMPILING_TO_WRITING: u32 = 10;

/// The driver's cache and the file that keeps it.
#[derive(Debug)]
pub struct PipelineCache {
    cache: wgpu::PipelineCache,
    file: PipelineFile,
    ledger: Mutex<Ledger>,
}

/// The state that decides when the file is written.
#[derive(Debug, Default)]
struct Ledger {
    compiling: Duration,
    writing: Duration,
    /// Whether pipelines were compiled since the file was written.
    due: bool,
    /// The digest of the data in the file.
    kept: Option<Digest>,
    /// Whether the file could not be written.
    refused: bool,
}

impl PipelineCache {
    /// A cache with the pipelines of `file`; `None`, with a warning, if the driver makes none.
    fn open(device: &GpuDevice, file: PipelineFile) -> Option<Self> {
        let data = file.read();
        let create = |data: Option<&[u8]>| {
            let descriptor = wgpu::PipelineCacheDescriptor { label: Some("jem"), data, fallback: true };
            // SAFETY: the data are those that `get_data` returned to a run of this crate on an adapter of the same
            // key, name and driver version: `PipelineFile` keeps a digest of these, and a checksum that detects a
            // file that was truncated or changed by accident. wgpu then compares its own header with the adapter, and
            // drivers compare theirs. There is no protection against a forged file: whoever can write one into the
            // user's cache directory could replace the executable too.
            let create = || unsafe { device.device.create_pipeline_cache(&descriptor) };
            device.scoped(|| "the cache of pipelines".into(), create)
        };
        // wgpu refuses data of another adapter even with `fallback`.
        let made = create(data.as_deref()).or_else(|error| {
            tracing::warn!("{error}; compiling all pipelines again");
            create(None)
        });
        let cache = made.map_err(|error| tracing::warn!("{error}; compiling without a cache")).ok()?;
        let kept = data.as_deref().map(digest);
        Some(Self { cache, file, ledger: Mutex::new(Ledger { kept, ..Ledger::default() }) })
    }

    /// The cache that pipelines are made with.
    pub fn raw(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Call this after compiling pipelines, which `took` some time. It writes the file, unless writing would take too
    /// long beside compiling: then a later call does.
    pub fn compiled(&self, took: Duration) {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.compiling += took;
        ledger.due = true;
        if ledger.writing * COMPILING_TO_WRITING <= ledger.compiling {
            self.write(&mut ledger);
        }
    }

    fn write(&self, ledger: &mut Ledger) {
        let start = Instant::now();
        if !ledger.due || ledger.refused {
            return;
        }
        ledger.due = false;
        // A lost device returns no data.
        let Some(data) = self.cache.get_data() else { return };
        let new = Some(digest(&data));
        if ledger.kept != new {
            if let Err(error) = self.file.write(&data) {
                tracing::warn!("{error}; compiled pipelines are not kept");
                ledger.refused = true;
            }
            ledger.kept = new;
        }
        ledger.writing += start.elapsed();
    }
}

impl Drop for PipelineCache {
    fn drop(&mut self) {
        let mut ledger = std::mem::take(self.ledger.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.write(&mut ledger);
    }
}

impl GpuDevice {
    /// The cache of pipelines, made when it is first needed, so that a process that compiles nothing reads no file.
    pub(super) fn pipeline_cache(&self) -> Option<&PipelineCache> {
        let make = || PipelineCache::open(self, self.pipeline_file.clone()?);
        self.pipeline_cache.get_or_init(make).as_ref()
    }
}
