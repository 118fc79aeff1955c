// The factor that scales a gradient of this squared norm down to `limit` (PyTorch's clip_grad_norm_);
// NaN for a NaN norm. Twin: clip_scale in src/kernels/adam.rs.
fn clip_scale(limit: f32, squared_norm: f32) -> f32 {
    let scale = limit / (sqrt(squared_norm) + 1e-6);
    return select(scale, 1.0, scale > 1.0);
}
