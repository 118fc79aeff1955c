// The loss functionals of LeCun et al. (2006), table 1. Twin: src/compute/functional.rs.
//
// right: E, the energy of the right answer; wrong: W, of the most offending wrong one; surprise: -ln p of the
// right answer at the functional's inverse temperature. Result: the loss, and its derivatives by these three.

fn of_gap(value: f32, slope: f32) -> vec4<f32> {
    return vec4(value, slope, -slope, 0.0);
}

fn functional(kind: u32, parameter: f32, right: f32, wrong: f32, surprise: f32) -> vec4<f32> {
    let g = right - wrong;
    let small = exponential(-abs(g));
    let sigmoid = select(small, 1.0, g > 0.0) / (1.0 + small);
    let below = max(parameter - wrong, 0.0);
    let push = parameter * exponential(-wrong);
    let p = exponential(-surprise);
    var result = vec4(0.0);
    switch kind {
        case 1u: { result = vec4(right, 1.0, 0.0, 0.0); } // energy
        case 2u: { result = of_gap(max(g, 0.0), select(0.0, 1.0, g > 0.0)); } // perceptron
        case 3u: { result = of_gap(max(parameter + g, 0.0), select(0.0, 1.0, parameter + g > 0.0)); } // hinge
        case 4u: { result = of_gap(max(g, 0.0) + logarithm_of_one_plus(small), sigmoid); } // log
        case 5u: { result = of_gap(select(select(g, parameter, g > parameter), 0.0, g < 0.0), select(0.0, 1.0, g > 0.0 && g < parameter)); } // LVQ2
        case 6u: { result = of_gap(sigmoid, small / ((1.0 + small) * (1.0 + small))); } // MCE
        case 7u: { result = vec4(right * right + below * below, 2.0 * right, -2.0 * below, 0.0); } // square-square
        case 8u: { result = vec4(right * right + push, 2.0 * right, -push, 0.0); } // square-exponential
        case 9u: { result = vec4(surprise / parameter, 0.0, 0.0, 1.0 / parameter); } // NLL
        case 10u: { result = vec4(-exponential_minus_one(-surprise), 0.0, 0.0, p); } // MEE
        default: {}
    }
    return result;
}
