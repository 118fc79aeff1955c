//! Published figures of joint energy-based models and their relatives, to be shown beside measured ones.
//!
//! The figures are copied, not measured. Their protocols differ from this evaluation's and from each other: see
//! "Published figures" in `docs/evaluation.md`. Shares are in [0, 1].

use std::fmt;

/// The sets of [`Detections::aurocs`], by their names in commands; `celeba` stands for a folder of that data set.
pub const DETECTION_SETS: [&str; 4] = ["svhn:test", "interpolated", "cifar100:test", "celeba"];

/// The place that a figure was read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// In the source itself or in its authors' repository, at this place.
    Source(&'static str),
    /// In this other publication, which reports it of the model.
    Cited(&'static str),
    /// In notes that name no place: not checked.
    Unchecked,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(place) => f.write_str(place),
            Self::Cited(publication) => write!(f, "as given by {publication}"),
            Self::Unchecked => f.write_str("not checked"),
        }
    }
}

/// A published number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The number.
    pub value: f64,
    /// The place that it was read in.
    pub evidence: Evidence,
}

/// The AUROC of one score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detections {
    /// The key of the score in `eval.json`, such as `log_px`.
    pub score: &'static str,
    /// The AUROC for each of [`DETECTION_SETS`].
    pub aurocs: [Option<f64>; 4],
    /// The place that they were read in.
    pub evidence: Evidence,
}

/// The accuracy under an attack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Robustness {
    /// `linf` or `l2`.
    pub norm: &'static str,
    /// The radius, in units of [0, 1] pixels.
    pub epsilon: f64,
    /// The attack, as the publication calls it.
    pub attack: &'static str,
    /// The accuracy.
    pub accuracy: Figure,
}

/// The figures of one model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// The model, with the settings that tell it from others of its name.
    pub model: &'static str,
    /// The data set it was trained and tested on, by its name in commands.
    pub data: &'static str,
    /// The publication that introduces the model.
    pub source: &'static str,
    /// The accuracy on test images.
    pub accuracy: Option<Figure>,
    /// The Inception Score.
    pub inception_score: Option<Figure>,
    /// The Fréchet Inception Distance.
    pub fid: Option<Figure>,
    /// The expected calibration error.
    pub ece: Option<Figure>,
    /// Out-of-distribution detection.
    pub detections: &'static [Detections],
    /// Accuracies under attack.
    pub robustness: &'static [Robustness],
    /// How its samples were chosen for the Inception Score and FID, and what else keeps the row from being compared
    /// with a measured one; empty if nothing is known of it.
    pub protocol: &'static str,
}

impl Published {
    /// The AUROC of `score` between the model's test images and `set`, by the names of [`Detections::score`] and
    /// [`DETECTION_SETS`].
    pub fn auroc(&self, score: &str, set: &str) -> Option<Figure> {
        let at = DETECTION_SETS.iter().position(|name| *name == set)?;
        let detections = self.detections.iter().find(|detections| detections.score == score)?;
        Some(Figure { value: detections.aurocs[at]?, evidence: detections.evidence })
    }

    /// The rows of a data set, in their order.
    pub fn of(data: &str) -> impl Iterator<Item = &'static Self> {
        PUBLISHED.iter().filter(move |row| row.data == data)
    }
}

const HYBVIT_1: Evidence = Evidence::Cited("Yang et al. 2022 (arXiv:2208.07791), table 1");
const HYBVIT_11: Evidence = Evidence::Cited("Yang et al. 2022 (arXiv:2208.07791), table 11");
const EB_JDAT: Evidence = Evidence::Cited("a summary of Jiang et al. 2026 (arXiv:2505.19459)");
const CONSISTENCY_1: Evidence = Evidence::Cited("Song et al. 2023 (arXiv:2303.01469), table 1");
const INDEX: Evidence = Evidence::Cited("the index of results at wizwand.com, 2026");
const ROBUSTBENCH: Evidence = Evidence::Cited("RobustBench (Croce et al. 2021), model_info/cifar10/L2");

const fn figure(value: f64, evidence: Evidence) -> Option<Figure> {
    Some(Figure { value, evidence })
}

const fn detections(score: &'static str, aurocs: [f64; 4], evidence: Evidence) -> Detections {
    let [svhn, interpolated, cifar100, celeba] = aurocs;
    Detections { score, aurocs: [Some(svhn), Some(interpolated), Some(cifar100), Some(celeba)], evidence }
}

const fn robustness(
    norm: &'static str,
    epsilon: f64,
    attack: &'static str,
    accuracy: f64,
    evidence: Evidence,
) -> Robustness {
    Robustness { norm, epsilon, attack, accuracy: Figure { value: accuracy, evidence } }
}

/// A row without figures.
const fn row(model: &'static str, data: &'static str, source: &'static str) -> Published {
    Published {
        model,
        data,
        source,
        accuracy: None,
        inception_score: None,
        fid: None,
        ece: None,
        detections: &[],
        robustness: &[],
        protocol: "",
    }
}

const JEM: &str = "Grathwohl et al., ICLR 2020 (arXiv:1912.03263)";
const JEM_PP: &str = "Yang & Ji, ICCV 2021 (arXiv:2109.09032)";
const SADA_JEM: &str = "Yang, Su & Ji, CVPR 2023 (arXiv:2209.07959)";
const RATIO: &str = "Augustin, Meinke & Hein, ECCV 2020 (arXiv:2003.09461)";
const CHOSEN_ON_TEST: &str = "The released training code keeps the checkpoint of the best test accuracy.";
const BUFFER: &str = "IS and FID of the images of the replay buffer that are most confident within each predicted \
                      class; their number is an option of the released code.";

/// All rows.
pub static PUBLISHED: &[Published] = &[
    Published {
        accuracy: figure(0.958, Evidence::Unchecked),
        detections: &[
            Detections {
                score: "log_px",
                aurocs: [Some(0.91), None, Some(0.87), Some(0.78)],
                evidence: HYBVIT_11,
            },
            detections("max_py", [0.93, 0.77, 0.85, 0.62], HYBVIT_11),
        ],
        protocol: "A classifier without log p(x). Yang et al. 2022 have the accuracy 0.962.",
        ..row("WRN-28-10 classifier", "cifar10", JEM)
    },
    Published {
        accuracy: figure(0.491, HYBVIT_1),
        inception_score: figure(8.30, HYBVIT_1),
        fid: figure(37.9, HYBVIT_1),
        detections: &[
            detections("log_px", [0.63, 0.70, 0.50, 0.70], HYBVIT_11),
            detections("max_py", [0.43, 0.69, 0.54, 0.69], HYBVIT_11),
        ],
        protocol: "Class-conditional chains. IS in parts of 5,000 images; FID against training and test images.",
        ..row("IGEBM", "cifar10", "Du & Mordatch, NeurIPS 2019 (arXiv:1903.08689)")
    },
    Published {
        accuracy: figure(0.301, Evidence::Unchecked),
        inception_score: figure(6.36, Evidence::Unchecked),
        fid: figure(61.8, Evidence::Unchecked),
        ..row("JEM, p(x|y) factored", "cifar10", JEM)
    },
    Published {
        accuracy: figure(0.929, HYBVIT_1),
        inception_score: figure(8.76, HYBVIT_1),
        fid: figure(38.4, HYBVIT_1),
        detections: &[
            detections("log_px", [0.67, 0.65, 0.67, 0.75], HYBVIT_11),
            detections("max_py", [0.89, 0.75, 0.87, 0.79], HYBVIT_11),
            detections("approximate_mass", [0.83, 0.78, 0.82, 0.79], Evidence::Unchecked),
        ],
        robustness: &[
            robustness("l2", 0.5, "PGD", 0.40, Evidence::Unchecked),
            robustness("linf", 8.0 / 255.0, "AutoAttack", 0.0428, EB_JDAT),
        ],
        protocol: "Test images carry noise of 0.03. The released code computes neither IS nor FID.",
        ..row("JEM", "cifar10", JEM)
    },
    Published { accuracy: figure(0.967, Evidence::Unchecked), ..row("JEM", "svhn", JEM) },
    Published {
        ece: figure(0.223, Evidence::Unchecked),
        protocol: "A classifier without log p(x).",
        ..row("WRN-28-10 classifier", "cifar100", JEM)
    },
    Published {
        accuracy: figure(0.722, Evidence::Unchecked),
        ece: figure(0.049, Evidence::Unchecked),
        protocol: "20 bins. Test images carry noise of 0.03.",
        ..row("JEM", "cifar100", JEM)
    },
    Published {
        accuracy: figure(0.932, HYBVIT_1),
        inception_score: figure(8.11, HYBVIT_1),
        fid: figure(30.5, HYBVIT_1),
        detections: &[detections("log_px", [0.83, 0.86, 0.73, 0.33], HYBVIT_11)],
        protocol: "Samples come from a generator. The released code computes neither IS nor FID.",
        ..row("VERA", "cifar10", "Grathwohl et al., ICLR 2021 (arXiv:2010.04230)")
    },
    Published {
        accuracy: figure(0.9373, EB_JDAT),
        inception_score: figure(8.29, EB_JDAT),
        fid: figure(37.12, EB_JDAT),
        detections: &[
            detections("log_px", [0.85, 0.57, 0.68, 0.80], HYBVIT_11),
            detections("max_py", [0.94, 0.77, 0.88, 0.90], HYBVIT_11),
        ],
        robustness: &[robustness("linf", 8.0 / 255.0, "AutoAttack", 0.4106, EB_JDAT)],
        protocol: BUFFER,
        ..row("JEM++ (M=10)", "cifar10", JEM_PP)
    },
    Published {
        accuracy: figure(0.941, HYBVIT_1),
        inception_score: figure(8.11, HYBVIT_1),
        fid: figure(38.0, HYBVIT_1),
        protocol: BUFFER,
        ..row("JEM++ (M=20)", "cifar10", JEM_PP)
    },
    Published {
        accuracy: figure(0.955, INDEX),
        inception_score: figure(8.77, Evidence::Unchecked),
        fid: figure(9.41, INDEX),
        robustness: &[robustness("l2", 0.5, "AutoAttack", 0.32, Evidence::Unchecked)],
        protocol: "The released code takes IS of the most confident 10% of the buffer within each predicted class, and \
                   FID of the most confident 90%, and keeps the checkpoint of the best test accuracy.",
        ..row("SADA-JEM (K=5)", "cifar10", SADA_JEM)
    },
    Published {
        accuracy: figure(0.9603, EB_JDAT),
        inception_score: figure(8.07, EB_JDAT),
        fid: figure(17.38, EB_JDAT),
        robustness: &[robustness("linf", 8.0 / 255.0, "AutoAttack", 0.2963, EB_JDAT)],
        protocol: CHOSEN_ON_TEST,
        ..row("SADA-JEM (most accurate)", "cifar10", SADA_JEM)
    },
    Published {
        accuracy: figure(0.8516, EB_JDAT),
        inception_score: figure(8.80, Evidence::Source("abstract")),
        fid: figure(38.24, EB_JDAT),
        robustness: &[robustness("linf", 8.0 / 255.0, "AutoAttack", 0.2843, EB_JDAT)],
        protocol: "Trained adversarially.",
        ..row("JEAT", "cifar10", "Zhu et al., ICCV 2021 (arXiv:2108.09093)")
    },
    Published {
        accuracy: figure(0.9108, ROBUSTBENCH),
        robustness: &[robustness("l2", 0.5, "AutoAttack", 0.7291, ROBUSTBENCH)],
        protocol: "Trained adversarially, with images of 80 Million Tiny Images.",
        ..row("RATIO (ResNet-50)", "cifar10", RATIO)
    },
    Published {
        accuracy: figure(0.9223, Evidence::Source("README of the authors' repository")),
        fid: figure(21.96, INDEX),
        robustness: &[robustness(
            "l2",
            0.5,
            "AutoAttack",
            0.7625,
            Evidence::Source("README of the authors' repository"),
        )],
        protocol: "Trained adversarially, with images of 80 Million Tiny Images. The index does not say who measured the FID.",
        ..row("RATIO (WRN-34-10)", "cifar10", RATIO)
    },
    Published {
        accuracy: figure(0.907, Evidence::Unchecked),
        inception_score: figure(9.86, Evidence::Unchecked),
        fid: figure(7.6, Evidence::Unchecked),
        protocol: "Trained adversarially. 50,000 class-conditional samples by PGD from other images, against training \
                   images; the checkpoint is the one of the best FID.",
        ..row("DAT (T=50)", "cifar10", "Yin et al. 2025 (arXiv:2510.13872)")
    },
    Published {
        accuracy: figure(0.959, Evidence::Source("table 1")),
        inception_score: figure(7.68, Evidence::Source("table 1")),
        fid: figure(26.4, Evidence::Source("table 1")),
        detections: &[
            detections("log_px", [0.93, 0.92, 0.84, 0.76], Evidence::Source("table 11")),
            detections("max_py", [0.91, 0.94, 0.85, 0.67], Evidence::Source("table 11")),
        ],
        robustness: &[
            robustness("linf", 4.0 / 255.0, "PGD", 0.219, Evidence::Source("table 12")),
            robustness("linf", 8.0 / 255.0, "PGD", 0.055, Evidence::Source("table 12")),
            robustness("l2", 100.0 / 255.0, "PGD", 0.163, Evidence::Source("table 12")),
            robustness("l2", 150.0 / 255.0, "PGD", 0.034, Evidence::Source("table 12")),
        ],
        protocol: "A diffusion model and a classifier in one network; strong augmentation. PGD has 50 steps of 20/255 in \
                   the released code.",
        ..row("HybViT", "cifar10", "Yang et al. 2022 (arXiv:2208.07791)")
    },
    Published {
        inception_score: figure(3.92, CONSISTENCY_1),
        fid: figure(48.9, CONSISTENCY_1),
        protocol: "A density without a classifier.",
        ..row("Glow", "cifar10", "Kingma & Dhariwal, NeurIPS 2018 (arXiv:1807.03039)")
    },
    Published {
        fid: figure(46.4, CONSISTENCY_1),
        protocol: "A density without a classifier.",
        ..row("Residual Flow", "cifar10", "Chen et al., NeurIPS 2019 (arXiv:1906.02735)")
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// All figures of a row that are shares.
    fn shares(row: &Published) -> Vec<f64> {
        let figures = [row.accuracy, row.ece].into_iter().flatten().map(|figure| figure.value);
        let aurocs = row.detections.iter().flat_map(|detections| detections.aurocs).flatten();
        figures.chain(aurocs).chain(row.robustness.iter().map(|attack| attack.accuracy.value)).collect()
    }

    /// The evidence of all figures of a row.
    fn evidence(row: &Published) -> Vec<Evidence> {
        let figures = [row.accuracy, row.inception_score, row.fid, row.ece].into_iter().flatten();
        let detections = row.detections.iter().map(|detections| detections.evidence);
        let robustness = row.robustness.iter().map(|attack| attack.accuracy.evidence);
        figures.map(|figure| figure.evidence).chain(detections).chain(robustness).collect()
    }

    fn has_year(text: &str) -> bool {
        (2018..=2026).any(|year| text.contains(&year.to_string()))
    }

    #[test]
    fn figures_are_in_their_ranges() {
        for row in PUBLISHED {
            let name = row.model;
            assert!(shares(row).iter().all(|share| (0.0..=1.0).contains(share)), "{name}");
            // CIFAR-10's training images have an Inception Score of about 11.
            assert!(row.inception_score.is_none_or(|score| (1.0..12.0).contains(&score.value)), "{name}");
            assert!(row.fid.is_none_or(|fid| (1.0..100.0).contains(&fid.value)), "{name}");
            for attack in row.robustness {
                let largest = match attack.norm {
                    "linf" => 8.0 / 255.0,
                    "l2" => 1.0,
                    norm => panic!("{name}: {norm}"),
                };
                assert!(attack.epsilon > 0.0 && attack.epsilon <= largest, "{name}: {}", attack.epsilon);
                assert!(attack.accuracy.value < row.accuracy.unwrap().value, "{name}");
            }
            for detections in row.detections {
                assert!(["log_px", "max_py", "approximate_mass"].contains(&detections.score), "{name}");
            }
        }
    }

    #[test]
    fn rows_name_their_sources() {
        for (number, row) in PUBLISHED.iter().enumerate() {
            assert!(has_year(row.source) && row.source.contains("arXiv:"), "{}: {}", row.model, row.source);
            assert!(!evidence(row).is_empty(), "{} has no figure", row.model);
            for evidence in evidence(row) {
                match evidence {
                    Evidence::Source(place) => assert!(!place.is_empty(), "{}", row.model),
                    Evidence::Cited(publication) => assert!(has_year(publication), "{publication}"),
                    Evidence::Unchecked => assert_eq!(evidence.to_string(), "not checked"),
                }
            }
            let same = |other: &Published| (other.model, other.data) == (row.model, row.data);
            assert!(!PUBLISHED[..number].iter().any(same), "{} is there twice", row.model);
        }
    }

    #[test]
    fn aurocs_are_found_by_score_and_set() {
        let jem = Published::of("cifar10").find(|row| row.model == "JEM").unwrap();
        assert_eq!(jem.auroc("log_px", "svhn:test"), figure(0.67, HYBVIT_11));
        assert_eq!(jem.auroc("approximate_mass", "celeba").unwrap().evidence, Evidence::Unchecked);
        assert_eq!((jem.auroc("log_px", "noise"), jem.auroc("gen", "celeba")), (None, None));
        let classifier = Published::of("cifar10").next().unwrap();
        assert_eq!(classifier.auroc("log_px", "interpolated"), None);
        assert_eq!(HYBVIT_1.to_string(), "as given by Yang et al. 2022 (arXiv:2208.07791), table 1");
        assert_eq!(Published::of("mnist").count(), 0);
    }
}
