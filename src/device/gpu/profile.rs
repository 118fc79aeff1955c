//! The time of each dispatch, by timestamps on the device.

use super::{GpuDevice, GpuExecutable};
use crate::error::Result;
use std::sync::Arc;
use std::time::Duration;

/// Dispatches of one query set: each takes two of its queries.
const CHUNK: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;

impl GpuDevice {
    /// Runs the program once, a pass for each dispatch, and returns the time of each.
    ///
    /// # Errors
    /// The errors of [`GpuDevice::run`]; [`crate::Error::Device`] if the adapter has no timestamps.
    pub fn profile(self: &Arc<Self>, executable: &GpuExecutable) -> Result<Vec<Duration>> {
        self.check()?;
        let name = &executable.program.name;
        let what = || format!("profile of {name}");
        if !self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Err(self.error(what(), "the adapter has no timestamps (TIMESTAMP_QUERY)".into()));
        }
        let nanoseconds = f64::from(self.queue.get_timestamp_period());
        let mut times = Vec::with_capacity(executable.steps.len());
        for steps in executable.steps.chunks(CHUNK) {
            let queries = 2 * steps.len() as u32;
            let query_set = self.scoped(what, || {
                self.device.create_query_set(&wgpu::QuerySetDescriptor {
                    label: Some(name),
                    ty: wgpu::QueryType::Timestamp,
                    count: queries,
                })
            })?;
            let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
            let ticks = self.allocate("timestamps", u64::from(queries) * 8, usage)?;
            let commands = self.scoped(what, || {
                let descriptor = wgpu::CommandEncoderDescriptor { label: Some(name) };
                let mut encoder = self.device.create_command_encoder(&descriptor);
                for (i, step) in (0u32..).zip(steps) {
                    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                        label: Some(name),
                        timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                            query_set: &query_set,
                            beginning_of_pass_write_index: Some(2 * i),
                            end_of_pass_write_index: Some(2 * i + 1),
                        }),
                    });
                    step.encode(&mut pass);
                }
                encoder.resolve_query_set(&query_set, 0..queries, ticks.raw(), 0);
                encoder.finish()
            })?;
            // No work is passed: with a pass for each dispatch, the time says nothing about the pace of a run.
            self.submit(what, Some(commands), None)?;
            let bytes = self.read_later(&ticks, 0, ticks.bytes())?.wait()?;
            let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
            times.extend(ticks.chunks_exact(2).map(|pair| {
                // Some drivers let the clock of a pass's end lag behind that of its beginning.
                Duration::from_nanos((pair[1].saturating_sub(pair[0]) as f64 * nanoseconds) as u64)
            }));
        }
        Ok(times)
    }
}
