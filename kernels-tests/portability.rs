//! Every shader in naga: parsed, validated for a device without optional features, and written for Vulkan, Metal, DX12
//! and OpenGL, so that machines which have none of them keep all of them working. Cooperative matrices are a feature
//! that naga writes for Vulkan and Metal only.

use jem::compute::Kernel;
use jem::compute::cooperative::Cooperative;
use jem::kernels::{catalogue, cooperative_catalogue};
use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::BoundsCheckPolicies;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use std::collections::HashSet;

tests![
    every_shader_is_written_for_every_api,
    bindings_match_the_shader,
    within_webgpus_default_limits,
    functions_of_unrolled_kernels_return_at_their_end_only
];

fn validated(kernel: &dyn Kernel, text: &str) -> (naga::Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(text)
        .unwrap_or_else(|error| panic!("{kernel:?}: {}", error.emit_to_string(text)));
    let capabilities = match is_cooperative(text) {
        true => Capabilities::COOPERATIVE_MATRIX | Capabilities::SHADER_FLOAT16 | Capabilities::SUBGROUP,
        false => Capabilities::empty(),
    };
    // Packing f16 into words is part of WebGPU; of wgpu's devices only old OpenGL ones lack it. Kernels in f32 need no
    // capability.
    let capabilities = match text.contains("pack2x16float") {
        true => capabilities | Capabilities::SHADER_FLOAT16_IN_FLOAT32,
        false => capabilities,
    };
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .unwrap_or_else(|error| panic!("{kernel:?}: {}", error.emit_to_string(text)));
    (module, info)
}

fn is_cooperative(text: &str) -> bool {
    text.contains("enable wgpu_cooperative_matrix;")
}

/// The matrices of NVIDIA and AMD, of llvmpipe and of Apple.
const MATRICES: [Cooperative; 4] = [
    Cooperative::new(16, 32),
    Cooperative::new(16, 64),
    Cooperative::new(8, 8),
    Cooperative { quads: false, ..Cooperative::new(8, 32) },
];

/// The catalogues' kernels, one for each shader text.
fn shaders() -> Vec<(Box<dyn Kernel>, String)> {
    let mut seen = HashSet::new();
    let with_text = |kernel: Box<dyn Kernel>| {
        let text = kernel.shader().wgsl();
        (kernel, text)
    };
    let cooperative = MATRICES.into_iter().flat_map(cooperative_catalogue);
    catalogue()
        .into_iter()
        .chain(cooperative)
        .map(with_text)
        .filter(|(_, text)| seen.insert(text.clone()))
        .collect()
}

fn every_shader_is_written_for_every_api() {
    let shaders = shaders();
    assert!(!shaders.is_empty());
    for (kernel, text) in shaders {
        let (module, info) = validated(kernel.as_ref(), &text);
        assert_eq!(module.entry_points.len(), 1, "{kernel:?}: one entry point");
        assert_eq!(module.entry_points[0].name, "main", "{kernel:?}");
        let fail = |api: &str, error: &dyn std::fmt::Display| panic!("{kernel:?} as {api}: {error}");

        if let Err(error) = spv::write_vec(&module, &info, &spv::Options::default(), None) {
            fail("SPIR-V", &error);
        }

        // From memory of vec4s naga would write matrix loads that Metal does not compile; no device there uses such
        // memory.
        if !text.contains("alias Half = vec4<f16>;") {
            let lang_version = if is_cooperative(&text) { (2, 3) } else { (2, 0) };
            let options = msl::Options { lang_version, ..msl::Options::default() };
            if let Err(error) = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
            {
                fail("MSL", &error);
            }
        }

        if is_cooperative(&text) {
            continue;
        }
        let (options, pipeline) = (hlsl::Options::default(), hlsl::PipelineOptions::default());
        let mut hlsl_text = String::new();
        if let Err(error) = hlsl::Writer::new(&mut hlsl_text, &options, &pipeline).write(&module, &info, None)
        {
            fail("HLSL", &error);
        }

        let options = glsl::Options { version: glsl::Version::new_gles(310), ..glsl::Options::default() };
        let pipeline = glsl::PipelineOptions {
            shader_stage: naga::ShaderStage::Compute,
            entry_point: "main".into(),
            multiview: None,
        };
        let mut glsl_text = String::new();
        let writer = glsl::Writer::new(
            &mut glsl_text,
            &module,
            &info,
            &options,
            &pipeline,
            BoundsCheckPolicies::default(),
        );
        if let Err(error) = writer.and_then(|mut writer| writer.write()) {
            fail("GLSL", &error);
        }
    }
}

/// The bindings that a kernel lists are those that its shader uses.
fn bindings_match_the_shader() {
    for (kernel, text) in shaders() {
        let (module, info) = validated(kernel.as_ref(), &text);
        let mut used = Vec::new();
        let mut uniform_words = 0;
        for (handle, variable) in module.global_variables.iter() {
            let Some(binding) = &variable.binding else { continue };
            // A permutation may declare bindings that it does not use.
            if info.get_entry_point(0)[handle].is_empty() {
                continue;
            }
            assert_eq!(binding.group, 0, "{kernel:?}: one bind group");
            match variable.space {
                naga::AddressSpace::Uniform => {
                    assert_eq!(binding.binding, 0, "{kernel:?}: the uniform block is binding 0");
                    uniform_words = module.types[variable.ty].inner.size(module.to_ctx()) as usize / 4;
                }
                naga::AddressSpace::Storage { access } => {
                    let writes = access.contains(naga::StorageAccess::STORE);
                    used.push((binding.binding, variable.name.clone().unwrap_or_default(), writes));
                }
                other => panic!("{kernel:?}: a binding in {other:?}"),
            }
        }
        used.sort();
        let stated: Vec<_> = kernel
            .bindings()
            .iter()
            .map(|b| (b.index, b.name.to_owned(), b.access != jem::compute::Access::Read))
            .collect();
        assert_eq!(used, stated, "{kernel:?}");
        assert_eq!(uniform_words, kernel.uniforms().len(), "{kernel:?}: words of the uniform block");
        assert!(kernel.workgroups().iter().all(|&n| (1..=65_535).contains(&n)), "{kernel:?}");
    }
}

/// WebGPU's default limits: 256 threads and 16 KiB of memory a workgroup, 8 storage buffers; with cooperative
/// matrices twice the memory, which the device asks for.
fn within_webgpus_default_limits() {
    for (kernel, text) in shaders() {
        let (module, _) = validated(kernel.as_ref(), &text);
        let threads: u32 = module.entry_points[0].workgroup_size.iter().product();
        assert!(threads <= 256, "{kernel:?}: {threads} threads");
        let shared: u32 = module
            .global_variables
            .iter()
            .filter(|(_, v)| v.space == naga::AddressSpace::WorkGroup)
            .map(|(_, v)| module.types[v.ty].inner.size(module.to_ctx()))
            .sum();
        let allowed = if is_cooperative(&text) { Cooperative::WORKGROUP_MEMORY } else { 16 * 1024 };
        assert!(shared <= allowed, "{kernel:?}: {shared} bytes of workgroup memory");
        assert!(kernel.bindings().len() <= 8, "{kernel:?}: {} storage buffers", kernel.bindings().len());
    }
}

/// Drivers inline these kernels' functions many times over, and SwiftShader's compile time doubles or worse
/// with each early return among them: one convolution took ten minutes and gigabytes, and takes 0.4 s without.
fn functions_of_unrolled_kernels_return_at_their_end_only() {
    // (naga ends every branch that ends a function without a value by a return: these are at its end.)
    fn early_return(body: &[naga::Statement], at_end: bool) -> bool {
        use naga::Statement::{Block, If, Loop, Return, Switch};
        body.iter().enumerate().any(|(i, statement)| {
            let at_end = at_end && i + 1 == body.len();
            match statement {
                Return { .. } => !at_end,
                Block(inner) => early_return(inner, at_end),
                If { accept, reject, .. } => early_return(accept, at_end) || early_return(reject, at_end),
                Loop { body, continuing, .. } => early_return(body, false) || early_return(continuing, false),
                Switch { cases, .. } => cases.iter().any(|case| early_return(&case.body, at_end)),
                _ => false,
            }
        })
    }
    let mut functions = 0;
    for (kernel, text) in shaders() {
        if !(kernel.name().starts_with("conv2d") || kernel.name() == "matmul") {
            continue;
        }
        let (module, _) = validated(kernel.as_ref(), &text);
        for (_, function) in module.functions.iter() {
            functions += 1;
            assert!(!early_return(&function.body, true), "{kernel:?}: {:?} returns early", function.name);
        }
    }
    assert!(functions > 0);
}
