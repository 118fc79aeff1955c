//! The parts of a self-contained page: its head and its pictures.

use crate::error::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::path::Path;

/// The style sheet, for light and dark screens.
const STYLE: &str = "
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 1240px; margin: 24px auto; padding: 0 20px; }
h1 { font-size: 24px; margin-bottom: 4px; } h2 { font-size: 18px; margin-top: 36px; }
table { border-collapse: collapse; } td, th { padding: 3px 18px 3px 0; text-align: left; vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; } tr + tr td { border-top: 1px solid #e4e4e4; }
img { max-width: 100%; } figure { display: inline-block; margin: 0 16px 16px 0; width: 400px; vertical-align: top; }
figure img { width: 400px; image-rendering: pixelated; } figcaption { color: #555; }
pre { background: #f6f6f6; padding: 12px 16px; overflow-x: auto; font-size: 13px; }
.state { color: #555; } .bad { color: #b00020; font-weight: 600; }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #ddd; } pre { background: #22252b; }
.state, figcaption { color: #aaa; } tr + tr td { border-color: #3a3d44; } .bad { color: #ff7b8a; } }
";

/// The beginning of a page, up to its heading.
pub(crate) fn head(title: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>\n<style>{STYLE}</style></head>\n<body>\n<h1>{0}</h1>\n",
        escape(title)
    )
}

/// The end of a page.
pub(crate) const END: &str = "</body></html>\n";

/// Text as it stands in a page.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A picture, embedded in the page.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read.
pub(crate) fn image(path: &Path, text: &str) -> Result<String> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    Ok(format!("<img alt=\"{}\" src=\"data:image/png;base64,{}\">", escape(text), STANDARD.encode(bytes)))
}
