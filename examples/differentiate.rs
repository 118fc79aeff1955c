//! Differentiates a user-defined expression: f(x) = Σ log(1 + exp(x W + b)), its gradient, and the gradient of the
//! gradient's squared norm, on the default device.

use jem::device::Device;
use jem::graph::{Function, Graph};

fn main() -> jem::Result<()> {
    jem::self_test::serve();
    let device = Device::auto()?;
    let graph = Graph::new();
    let x = graph.input("x", [4, 3]);
    let weights = graph.input("weights", [3, 2]);
    let bias = graph.input("bias", [2]);

    let softplus = x.linear(&weights, &bias).exp().affine(1.0, 1.0).log();
    let f = softplus.sum_all();
    let [gradient] = graph.grad(&f, [&x]);
    let norm = (&gradient * &gradient).sum_all();
    let [second] = graph.grad(&norm, [&weights]);

    let function = Function::new(&device, &[&f, &gradient, &second])?;
    function.set(&x, &[0.5, -1.0, 2.0, 0.0, 1.0, -0.5, 1.5, 0.3, -2.0, 0.1, 0.2, 0.3])?;
    function.set(&weights, &[0.2, -0.4, 0.6, 0.1, -0.3, 0.5])?;
    function.set(&bias, &[0.1, -0.1])?;
    function.run()?;

    println!("{}", function.program());
    for (name, tensor) in [("f", &f), ("df/dx", &gradient), ("d|df/dx|²/dW", &second)] {
        println!("{name}: {:?}", function.get(tensor)?);
    }
    Ok(())
}
