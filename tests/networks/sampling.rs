//! Chains of imported networks.

use crate::close::assert_close;
use crate::devices::devices;
use crate::{GRADIENT, IMAGES, SIDE, WIDE, case, images, nchw, wide};
use jem::ebm::{Langevin, Sampler};
use jem::nn::architecture::{Choices, NormMode};
use jem::nn::ingredients::Norm;
use std::path::Path;

const ASCENT: Langevin =
    Langevin { step_size: 1.0, noise: 0.0, clamp_gradient: None, clamp_x: false, inner_steps: 1 };

#[test]
fn chains_without_noise_are_gradient_ascent() {
    let (model, numbers) = case("wrn10_1_bn", &wide(Norm::Batch), "linear", Choices::default());
    for (name, device) in devices() {
        for (chain, class) in [("ascent", None), ("ascent_class_3", Some(3))] {
            let conditional = class.is_some();
            let sampler =
                Sampler::new(&device, &model, NormMode::Inference, ASCENT, IMAGES, conditional, None);
            let sampler = sampler.expect("programs");
            sampler.start(&images(WIDE), &[class.unwrap_or(0); IMAGES], 7, 0).expect("a start");
            let mut densities = Vec::new();
            for _ in 0..5 {
                densities.push(sampler.step().expect("a step"));
            }
            densities.push(sampler.density().expect("densities"));
            let expected = numbers.f32(Path::new("make.py"), chain, &[IMAGES, 3, SIDE, SIDE]).expect(chain);
            let found = nchw(&sampler.images().expect("images"));
            assert_close(&found, expected, GRADIENT, &format!("{name}: {chain}"));
            let first = numbers.f32(Path::new("make.py"), "logits", &[IMAGES, 10]).expect("logits");
            for (image, logits) in first.chunks(10).enumerate() {
                let logsumexp = logits.iter().map(|f| f.exp()).sum::<f32>().ln();
                let density = class.map_or(logsumexp, |class| logits[class as usize]);
                assert!((densities[0][image] - density).abs() < 1e-4, "{name}: {chain}: {:?}", densities[0]);
            }
        }
    }
}

#[test]
fn a_mask_holds_pixels_to_the_bit() {
    let (model, _) = case("wrn10_1_bn", &wide(Norm::Batch), "linear", Choices::default());
    let mask: Vec<f32> = (0..SIDE * SIDE * 3).map(|i| if i / 3 % SIDE < 10 { 0.0 } else { 1.0 }).collect();
    let langevin = Langevin { noise: 0.1, clamp_x: true, ..ASCENT };
    for (name, device) in devices() {
        let sampler =
            Sampler::new(&device, &model, NormMode::Inference, langevin, IMAGES, false, Some(&mask))
                .expect("programs");
        sampler.start(&images(WIDE), &[0; IMAGES], 7, 0).expect("a start");
        for _ in 0..3 {
            sampler.step().expect("a step");
        }
        let moved = sampler.images().expect("images");
        let mut changed = 0;
        for (i, (before, after)) in images(WIDE).iter().zip(&moved).enumerate() {
            match mask[i % mask.len()] == 0.0 {
                true => assert_eq!(before.to_bits(), after.to_bits(), "{name}: element {i} is held"),
                false => changed += usize::from(before != after),
            }
        }
        assert!(changed > moved.len() / 2, "{name}: {changed} elements moved");
        let misfit = Sampler::new(&device, &model, NormMode::Inference, langevin, 1, false, Some(&mask[1..]));
        assert!(misfit.expect_err("a mask of another size").to_string().contains("expected 3072 elements"));
    }
}

/// Equal seeds give equal chains, different seeds different ones.
#[test]
fn noise_is_the_seeds() {
    let (model, _) = case("wrn10_1_bn", &wide(Norm::None), "linear", Choices::default());
    let langevin = Langevin { noise: 0.01, ..ASCENT };
    for (name, device) in devices() {
        let sampler = Sampler::new(&device, &model, NormMode::Inference, langevin, IMAGES, false, None)
            .expect("programs");
        let run = |seed: u32| {
            sampler.start(&images(WIDE), &[0; IMAGES], seed, 0).expect("a start");
            sampler.step().expect("a step");
            sampler.step().expect("a step");
            sampler.images().expect("images")
        };
        let first = run(1);
        assert_eq!(first, run(1), "{name}");
        assert_ne!(first, run(2), "{name}");
    }
}

/// Inner steps use the gradient at the first of them, each with its own noise.
#[test]
fn inner_steps_take_one_gradient() {
    let (model, _) = case("wrn10_1_bn", &wide(Norm::None), "linear", Choices::default());
    let inner = |langevin: Langevin| Langevin { inner_steps: 3, ..langevin };
    let noisy = Langevin { noise: 0.02, ..ASCENT };
    for (name, device) in devices() {
        let moved = |langevin: Langevin| {
            let sampler = Sampler::new(&device, &model, NormMode::Inference, langevin, IMAGES, false, None);
            let sampler = sampler.expect("programs");
            sampler.start(&images(WIDE), &[0; IMAGES], 7, 0).expect("a start");
            sampler.step().expect("a step");
            let after = sampler.images().expect("images");
            after.iter().zip(images(WIDE)).map(|(after, before)| after - before).collect::<Vec<f32>>()
        };
        let (one, three) = (moved(ASCENT), moved(inner(ASCENT)));
        let tripled: Vec<f32> = one.iter().map(|way| 3.0 * way).collect();
        assert_close(&three, &tripled, GRADIENT, &format!("{name}: without noise"));
        let noise = moved(inner(Langevin { step_size: 0.0, ..noisy }));
        let sum: Vec<f32> = three.iter().zip(&noise).map(|(way, noise)| way + noise).collect();
        assert_close(&moved(inner(noisy)), &sum, GRADIENT, &format!("{name}: with noise"));
        let square: f64 = noise.iter().map(|&v| f64::from(v).powi(2)).sum();
        let expected = 3.0 * 0.02f64.powi(2) * noise.len() as f64;
        // Five standard errors of a sum of squares of normal numbers.
        assert!(
            (square / expected - 1.0).abs() < 5.0 * (2.0 / noise.len() as f64).sqrt(),
            "{name}: {square}"
        );
    }
}
