//! `+`, `-`, `*` and `/` on tensors and references to them.

use super::Tensor;

macro_rules! operator {
    ($trait:ident, $method:ident) => {
        impl std::ops::$trait<&Tensor> for &Tensor {
            type Output = Tensor;

            fn $method(self, other: &Tensor) -> Tensor {
                Tensor::$method(self, other)
            }
        }

        impl std::ops::$trait<Tensor> for Tensor {
            type Output = Tensor;

            fn $method(self, other: Tensor) -> Tensor {
                Tensor::$method(&self, &other)
            }
        }

        impl std::ops::$trait<&Tensor> for Tensor {
            type Output = Tensor;

            fn $method(self, other: &Tensor) -> Tensor {
                Tensor::$method(&self, other)
            }
        }

        impl std::ops::$trait<Tensor> for &Tensor {
            type Output = Tensor;

            fn $method(self, other: Tensor) -> Tensor {
                Tensor::$method(self, &other)
            }
        }
    };
}

operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);
operator!(Div, div);

impl std::ops::Neg for &Tensor {
    type Output = Tensor;

    fn neg(self) -> Tensor {
        self.scale(-1.0)
    }
}

impl std::ops::Neg for Tensor {
    type Output = Tensor;

    fn neg(self) -> Tensor {
        self.scale(-1.0)
    }
}

#[cfg(test)]
mod tests {
    use crate::device::Device;
    use crate::graph::{Function, Graph};

    #[test]
    fn operators_take_tensors_and_references() {
        let graph = Graph::new();
        let x = graph.input("x", [2]);
        let y = x.scale(3.0);
        let results =
            [&x - &y, x.clone() - y.clone(), x.clone() - &y, &x - y.clone(), -(&y - &x), -&(y.clone() - &x)];
        let function = Function::new(&Device::cpu(), &results.each_ref()).unwrap();
        function.set(&x, &[1.0, -2.5]).unwrap();
        function.run().unwrap();
        for result in &results {
            assert_eq!(function.get(result).unwrap(), [-2.0, 5.0]);
        }
    }
}
