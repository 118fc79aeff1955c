//! Errors that the driver reports outside the call that caused them.

use crate::error::{Error, OUT_OF_MEMORY, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Device loss, which stays, and errors outside every scope, each reported once.
#[derive(Debug, Default)]
pub struct Health {
    lost: Mutex<Option<String>>,
    uncaptured: Mutex<Option<String>>,
}

impl Health {
    /// Installs the device-lost callback and the handler of uncaptured errors.
    pub fn watch(device: &wgpu::Device) -> Arc<Self> {
        let health = Arc::new(Self::default());
        let lost = Arc::clone(&health);
        device.set_device_lost_callback(move |reason, message| {
            lost.lose(if message.is_empty() { format!("{reason:?}") } else { message }.as_str());
        });
        let uncaptured = Arc::clone(&health);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let mut first = uncaptured.uncaptured.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| message(&error));
        }));
        health
    }

    /// Records that the device is gone; the first reason stays.
    pub fn lose(&self, reason: &str) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.get_or_insert_with(|| reason.to_owned());
    }

    /// Whether the device is gone.
    pub fn is_lost(&self) -> bool {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// [`Error::DeviceLost`] on every call after a loss.
    pub fn check_lost(&self, device: &str) -> Result<()> {
        match self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            None => Ok(()),
            Some(message) => Err(Error::DeviceLost { device: device.to_owned(), message }),
        }
    }

    /// [`Health::check_lost`], then the uncaptured error, once.
    pub fn check(&self, device: &str) -> Result<()> {
        self.check_lost(device)?;
        match self.uncaptured.lock().unwrap_or_else(PoisonError::into_inner).take() {
            None => Ok(()),
            Some(message) => {
                Err(Error::Device { device: device.to_owned(), what: "an earlier command".into(), message })
            }
        }
    }
}

/// The driver's words.
pub fn message(error: &wgpu::Error) -> String {
    match error {
        wgpu::Error::OutOfMemory { .. } => OUT_OF_MEMORY.into(),
        wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
            // wgpu heads the chain of causes with the class of the error, which says nothing here.
            description
                .split_once("Caused by:")
                .map_or(&**description, |(_, causes)| causes)
                .trim()
                .to_owned()
        }
    }
}
