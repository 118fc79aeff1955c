// What an epilogue's tensors hold: fours of f16 with HALF_C, of f32 without. With it, needs half.

//#if HALF_C
alias Stored = vec2<u32>;

fn loaded(v: Stored) -> vec4<f32> {
    return widen(v);
}

fn stored(v: vec4<f32>) -> Stored {
    return narrow(v);
}
//#else
alias Stored = vec4<f32>;

fn loaded(v: Stored) -> vec4<f32> {
    return v;
}

fn stored(v: vec4<f32>) -> Stored {
    return v;
}
//#endif
