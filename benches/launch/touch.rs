//! A dispatch with next to no work.

use jem::compute::Argument;
use jem::compute::Shader;
use jem::compute::{Access, Binding, Kernel, binding};

/// `y[g] += 1` for each workgroup g.
#[derive(Debug, Clone, Copy)]
pub struct Touch {
    /// Workgroups of 256, at most 65,535.
    pub groups: usize,
}

impl Kernel for Touch {
    fn name(&self) -> &'static str {
        "touch"
    }

    fn bindings(&self) -> Vec<Binding> {
        vec![binding("y", 1, Access::Update, self.groups)]
    }

    fn shader(&self) -> Shader {
        Shader::with_text("touch", include_str!("touch.wgsl"))
    }

    fn uniforms(&self) -> Vec<u32> {
        vec![self.groups as u32, 0, 0, 0]
    }

    fn workgroups(&self) -> [u32; 3] {
        [self.groups as u32, 1, 1]
    }

    fn flops(&self) -> u64 {
        0
    }

    fn run(&self, arguments: &mut [Argument<'_>]) {
        let [y] = arguments else { unreachable!("touch binds y") };
        y.u32_mut().iter_mut().for_each(|word| *word = word.wrapping_add(1));
    }
}
