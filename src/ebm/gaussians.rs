//! A Gaussian for each class, as a starting distribution of chains (Yang & Ji 2021, "JEM++").

use crate::compute::random::Threefry;
use crate::data::images::{Images, Pixels};
use crate::error::{Error, Result};

/// The number added to the covariance's diagonal, as in JEM++.
const RIDGE: f32 = 1e-4;

/// The Gaussian N(mean, covariance + 1e-4 I) of each class of a labelled set, with samples clamped to [-1, 1].
///
/// The covariance is never formed: with X the class's n centred images, `Xᵀ z / √(n - 1)` for z of n standard normal
/// numbers has covariance `Xᵀ X / (n - 1)`.
#[derive(Debug, Clone)]
pub struct ClassGaussians {
    images: Images,
    members: Vec<Vec<usize>>,
    means: Vec<Vec<f32>>,
    /// The factors that scale each element's standard deviation among the members to that of the whole class.
    scales: Option<Vec<Vec<f32>>>,
}

impl ClassGaussians {
    /// Fits a Gaussian to each class of `images`.
    ///
    /// # Errors
    /// [`Error::Setting`] for images without labels or a class without images.
    pub fn fit(images: Images) -> Result<Self> {
        let fail = |message: String| Err(Error::setting("images", message));
        let Some(labels) = &images.labels else {
            return fail(format!("gaussians need labelled images, {} has no labels", images.name));
        };
        let numbered = labels.iter().max().map_or(0, |&most| most as usize + 1);
        let mut members = vec![Vec::new(); images.class_names.len().max(numbered)];
        for (i, &label) in labels.iter().enumerate() {
            members[label as usize].push(i);
        }
        if let Some(class) = members.iter().position(Vec::is_empty) {
            let class = images.class_names.get(class).cloned().unwrap_or_else(|| class.to_string());
            return fail(format!("{} has no image of class {class}", images.name));
        }
        let mean = |members: &Vec<usize>| {
            let mut sums = vec![0.0f64; images.height * images.width * images.channels];
            for &i in members {
                let image = images.batch(i..i + 1);
                sums.iter_mut().zip(image).for_each(|(sum, value)| *sum += f64::from(value));
            }
            sums.iter().map(|sum| (sum / members.len() as f64) as f32).collect()
        };
        let means = members.iter().map(mean).collect();
        Ok(Self { images, members, means, scales: None })
    }

    /// Fits as [`ClassGaussians::fit`], with covariances of low rank: X has at most `rank` images of each class, and is
    /// scaled so that each element keeps the variance of its class. A sample costs a pass over at most `rank` images.
    ///
    /// # Errors
    /// The errors of [`ClassGaussians::fit`].
    pub fn fit_low_rank(images: Images, rank: usize) -> Result<Self> {
        let mut fitted = Self::fit(images)?;
        let all = fitted.members.clone();
        for members in &mut fitted.members {
            // Spread the members over the set, whatever its order.
            let (count, kept) = (members.len(), rank.min(members.len()));
            *members = (0..kept).map(|i| members[i * count / kept]).collect();
        }
        let scales = |class: usize| {
            let [whole, part] = [&all[class], &fitted.members[class]].map(|of| fitted.deviations(class, of));
            whole
                .into_iter()
                .zip(part)
                .map(|(whole, part)| if part > 0.0 { whole / part } else { 1.0 })
                .collect()
        };
        let scales = (0..all.len()).map(scales).collect();
        fitted.keep_members();
        Ok(Self { scales: Some(scales), ..fitted })
    }

    /// Drops all images that are not members.
    fn keep_members(&mut self) {
        fn of<T: Copy>(pixels: &[T], image: usize, kept: &[usize]) -> Vec<T> {
            kept.iter().flat_map(|&i| &pixels[i * image..][..image]).copied().collect()
        }
        let kept = self.members.concat();
        let image = self.images.height * self.images.width * self.images.channels;
        self.images.pixels = match &self.images.pixels {
            Pixels::Bytes(bytes) => Pixels::Bytes(of(bytes, image, &kept)),
            Pixels::Floats(values) => Pixels::Floats(of(values, image, &kept)),
        };
        (self.images.count, self.images.labels, self.images.files) = (kept.len(), None, None);
        self.members.iter_mut().flatten().zip(0..).for_each(|(member, place)| *member = place);
    }

    /// The standard deviation of each element of the images `members` about the mean of their class.
    fn deviations(&self, class: usize, members: &[usize]) -> Vec<f32> {
        let mut squares = vec![0.0f64; self.means[class].len()];
        for &i in members {
            let image = self.images.batch(i..i + 1);
            for ((sum, value), mean) in squares.iter_mut().zip(image).zip(&self.means[class]) {
                *sum += f64::from(value - mean).powi(2);
            }
        }
        let count = members.len().max(2) as f64 - 1.0;
        squares.into_iter().map(|sum| (sum / count).sqrt() as f32).collect()
    }

    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.members.len()
    }

    /// Samples an image of class `class`, HWC.
    pub fn sample(&self, class: usize, random: &mut Threefry) -> Vec<f32> {
        let (members, mean) = (&self.members[class], &self.means[class]);
        let mut normal = Normals { random, spare: None };
        let mut x = vec![0.0; mean.len()];
        let mut total = 0.0;
        for &i in members {
            let z = normal.next();
            total += z;
            x.iter_mut().zip(self.images.batch(i..i + 1)).for_each(|(x, value)| *x += z * value);
        }
        let scale = 1.0 / (members.len().max(2) as f32 - 1.0).sqrt();
        let scales = self.scales.as_ref().map(|scales| &scales[class]);
        for (j, (x, mean)) in x.iter_mut().zip(mean).enumerate() {
            let from_images = scale * scales.map_or(1.0, |scales| scales[j]) * (*x - total * mean);
            *x = (mean + from_images + RIDGE.sqrt() * normal.next()).clamp(-1.0, 1.0);
        }
        x
    }
}

/// Draws standard normal numbers one by one.
struct Normals<'a> {
    random: &'a mut Threefry,
    spare: Option<f32>,
}

impl Normals<'_> {
    fn next(&mut self) -> f32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let [first, second] = self.random.normal_pair();
        self.spare = Some(second);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes of four images of three elements, well inside [-1, 1].
    fn images() -> Images {
        let class_0 = [[0.1, -0.2, 0.0], [0.3, 0.0, 0.0], [-0.1, 0.2, 0.0], [0.1, 0.0, 0.0]];
        let class_1 = class_0.map(|[a, b, _]| [b - 0.3, a, 0.5]);
        Images {
            pixels: Pixels::Floats([class_0, class_1].concat().concat()),
            count: 8,
            height: 1,
            width: 1,
            channels: 3,
            labels: Some(vec![0, 0, 0, 0, 1, 1, 1, 1]),
            class_names: vec!["a".into(), "b".into()],
            name: "points".into(),
            files: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn samples_have_the_mean_and_covariance_of_their_class() {
        let gaussians = ClassGaussians::fit(images()).unwrap();
        let n = 40_000;
        // Sample covariances by hand, with n - 1 = 3, plus the ridge.
        let (var_a, var_b, covariance) = (0.08 / 3.0, 0.08 / 3.0, -0.04 / 3.0);
        for (class, mean, [v0, v1, v2]) in
            [(0, [0.1, 0.0, 0.0], [var_a, var_b, 0.0]), (1, [-0.3, 0.1, 0.5], [var_b, var_a, 0.0])]
        {
            let samples: Vec<Vec<f64>> = (0..n)
                .map(|i| {
                    let x = gaussians.sample(class, &mut Threefry::new(1, 10, i));
                    x.into_iter().map(f64::from).collect()
                })
                .collect();
            let average =
                |f: &dyn Fn(&[f64]) -> f64| samples.iter().map(|x| f(x)).sum::<f64>() / f64::from(n);
            for k in 0..3 {
                let variance = [v0, v1, v2][k] + 1e-4;
                let found = average(&|x| x[k]);
                assert!(
                    (found - mean[k]).abs() < 5.0 * f64::sqrt(variance / f64::from(n)),
                    "{class} {k}: {found}"
                );
                let found = average(&|x| (x[k] - mean[k]).powi(2));
                assert!(
                    (found / variance - 1.0).abs() < 5.0 * f64::sqrt(2.0 / f64::from(n)),
                    "{class} {k}: {found}"
                );
            }
            let found = average(&|x| (x[0] - mean[0]) * (x[1] - mean[1]));
            assert!((found - covariance).abs() < 5.0 * 0.04 / f64::from(n).sqrt(), "{class}: {found}");
        }
    }

    #[test]
    fn at_a_low_rank_means_and_variances_are_still_those_of_the_class() {
        let gaussians = ClassGaussians::fit_low_rank(images(), 3).unwrap();
        assert_eq!((gaussians.members[1].clone(), gaussians.images.count), (vec![3, 4, 5], 6));
        let n = 40_000;
        let variance = 0.08 / 3.0 + 1e-4;
        for (class, mean) in [(0, [0.1, 0.0]), (1, [-0.3, 0.1])] {
            let samples: Vec<Vec<f32>> =
                (0..n).map(|i| gaussians.sample(class, &mut Threefry::new(1, 10, i))).collect();
            for k in 0..2 {
                let average = |f: &dyn Fn(f64) -> f64| {
                    samples.iter().map(|x| f(f64::from(x[k]))).sum::<f64>() / f64::from(n)
                };
                let (found, spread) = (average(&|x| x), average(&|x| (x - mean[k]).powi(2)));
                assert!(
                    (found - mean[k]).abs() < 5.0 * f64::sqrt(variance / f64::from(n)),
                    "{class} {k}: {found}"
                );
                assert!(
                    (spread / variance - 1.0).abs() < 5.0 * f64::sqrt(2.0 / f64::from(n)),
                    "{class} {k}: {spread}"
                );
            }
        }
        let all = ClassGaussians::fit_low_rank(images(), 100).unwrap();
        let exact = ClassGaussians::fit(images()).unwrap();
        let sample = |gaussians: &ClassGaussians| gaussians.sample(1, &mut Threefry::new(1, 10, 3));
        for (a, b) in sample(&all).iter().zip(sample(&exact)) {
            approx::assert_abs_diff_eq!(*a, b, epsilon = 1e-6);
        }
    }

    #[test]
    fn labels_of_every_class_are_needed() {
        let message = |images: Images| ClassGaussians::fit(images).unwrap_err().to_string();
        assert!(message(Images { labels: None, ..images() }).contains("points has no labels"));
        let without_b = Images { labels: Some(vec![0; 8]), ..images() };
        assert!(message(without_b).contains("no image of class b"));
    }
}
