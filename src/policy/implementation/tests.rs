//! Tests of the candidates.

use crate::policy::implementation::*;
use std::collections::HashSet;

const DIRECTIONS: [Direction; 3] = [Direction::Forward, Direction::InputGradient, Direction::WeightGradient];

fn shape(direction: Direction, size: usize, c_in: usize, c_out: usize, stride: usize) -> ConvProblem {
    let geometry = ConvGeometry { n: 64, h: size, w: size, c_in, c_out, kh: 3, kw: 3, stride, padding: 1 };
    ConvProblem::new(direction, geometry)
}

const MATRICES: Cooperative = Cooperative::new(16, 32);
const GPU: Parts = Parts::Gpu { largest: u64::MAX };

/// The candidates on a GPU with matrices.
fn candidates(shape: ConvProblem) -> Vec<ConvImplementation> {
    shape.candidates(Method::Cooperative(MATRICES), GPU)
}

#[test]
fn candidates_are_distinct_and_begin_with_the_rules_and_have_names() {
    let storages = [Storages::default(), Storages { c: Storage::F32, ..Storages::F16 }];
    for (direction, storage) in DIRECTIONS.into_iter().flat_map(|d| storages.map(|s| (d, s))) {
        let large = shape(direction, 32, 160, 160, 1).geometry;
        for geometry in ConvGeometry::examples().into_iter().chain([large]) {
            let shape = ConvProblem { direction, geometry, storage };
            for parts in [Parts::Cpu, GPU] {
                let candidates = shape.candidates(Method::Cooperative(MATRICES), parts);
                assert_eq!(candidates[0], shape.implicit(parts), "{shape}");
                let names: HashSet<String> = candidates.iter().map(ToString::to_string).collect();
                assert_eq!(names.len(), candidates.len(), "{shape}: {names:?}");
                for candidate in candidates {
                    assert_eq!(shape.named(&candidate.to_string()), Some(candidate), "{shape}");
                }
            }
        }
    }
}

#[test]
fn other_names_are_no_candidates() {
    let weights = shape(Direction::WeightGradient, 32, 160, 160, 1);
    assert_eq!(
        weights.named("128x80 ahead, 43 parts").map(|c| c.to_string()).unwrap(),
        "128x80 ahead, 43 parts"
    );
    for name in [
        "128x80 ahead",
        "128x80 ahead, 0 parts",
        "128x80 ahead, 1 parts",
        "128x80 ahead, 043 parts",
        "128x80 ahead, 43",
        "128x80 ahead, 1000000 parts",
        "7x80, 43 parts",
        "direct 256x16, 43 parts",
        "matrices 2x2, 43 parts",
        "winograd F4",
        "",
    ] {
        assert_eq!(weights.named(name), None, "{name}");
    }
    let forward = shape(Direction::Forward, 32, 160, 160, 2);
    for name in ["winograd F4", "128x80 ahead, 43 parts", "matrices 2x2", "x"] {
        assert_eq!(forward.named(name), None, "{name}");
    }
}

#[test]
fn every_tile_has_the_parts_that_fill_a_gpu_by_it() {
    let sums = Storages { c: Storage::F32, ..Storages::F16 };
    for (size, channels) in [(32, 160), (16, 320), (8, 640)] {
        let mut shape =
            ConvProblem { storage: sums, ..shape(Direction::WeightGradient, size, channels, channels, 1) };
        shape.geometry.n = 192;
        let mut own = HashSet::new();
        // Half and twice follow a tile's own parts.
        let all = candidates(shape);
        let mut firsts = Vec::new();
        for &candidate in &all {
            let ConvImplementation::Parts(tile, parts) = candidate else { panic!("{candidate}") };
            if !firsts.iter().any(|(other, _)| *other == tile) {
                firsts.push((tile, parts));
            }
        }
        for &(tile, parts) in &firsts {
            let (rows, columns) = (9 * channels, channels);
            let method = match tile {
                ConvTile::Scalar(_) => Method::Scalar,
                ConvTile::Matrices(_) => Method::Cooperative(MATRICES),
            };
            let tiles = WorkgroupTile::staged(method, rows, columns, Some(tile)).count(rows, columns);
            let pixels = shape.geometry.out_pixels().div_ceil(parts);
            assert!(parts * tiles >= 1024 && pixels <= 8192, "{shape} by {tile}: {parts} parts");
            assert!((parts - 1) * tiles < 1024 || 2 * pixels > 8192, "{shape} by {tile}: {parts} parts");
            for other in [parts / 2, 2 * parts] {
                assert!(
                    other == 0 || all.contains(&ConvImplementation::Parts(tile, other)),
                    "{tile}, {other}"
                );
            }
            own.insert(parts);
        }
        assert!(firsts.len() >= 10 && own.len() > 2, "{shape}: {firsts:?}");
    }
}

#[test]
fn some_tile_wastes_nothing_of_the_channels_of_a_wide_resnet() {
    for channels in [16, 32, 64, 160, 320, 640] {
        for direction in DIRECTIONS {
            let shape = shape(direction, 32, channels, channels, 1);
            for candidate in candidates(shape) {
                let Some(ConvTile::Scalar(tile)) = tile_of(&candidate) else { continue };
                assert_eq!(tile.padded(channels), channels, "{shape}: {candidate}");
            }
            assert!(candidates(shape).len() > 1, "{shape}");
        }
    }
}

#[test]
fn winograd_is_a_candidate_where_it_fits() {
    let winograd = |shape: ConvProblem| {
        let of = |candidate: &ConvImplementation| matches!(candidate, ConvImplementation::Winograd(_));
        candidates(shape).iter().filter(|candidate| of(candidate)).count()
    };
    assert_eq!(winograd(shape(Direction::Forward, 32, 160, 160, 1)), 2);
    assert_eq!(winograd(shape(Direction::InputGradient, 32, 160, 160, 1)), 2);
    assert_eq!(winograd(shape(Direction::InputGradient, 32, 160, 160, 2)), 0);
    assert_eq!(winograd(shape(Direction::WeightGradient, 32, 160, 160, 1)), 0);
}

#[test]
fn both_forms_are_candidates_where_their_kernels_differ() {
    let is_ahead = |candidate: &ConvImplementation| match tile_of(candidate) {
        Some(ConvTile::Scalar(tile)) => tile.is_ahead(),
        _ => false,
    };
    let ahead = |shape: ConvProblem| candidates(shape).iter().filter(|candidate| is_ahead(candidate)).count();
    for direction in DIRECTIONS {
        let shape = shape(direction, 32, 64, 64, 1);
        assert!(ahead(shape) > 0 && is_ahead(&shape.implicit(GPU)), "{direction}");
    }
    for (direction, c_in, c_out) in [
        (Direction::Forward, 20, 64),
        (Direction::InputGradient, 64, 20),
        (Direction::Forward, 64, 62),
        (Direction::WeightGradient, 64, 62),
    ] {
        let shape = shape(direction, 32, c_in, c_out, 1);
        assert_eq!(ahead(shape), 0, "{direction}: no whole steps, or not by fours");
    }
    assert!(ahead(shape(Direction::WeightGradient, 32, 20, 64, 1)) > 0);
}

#[test]
fn parts_keep_enough_pixels() {
    for (size, batch, parts) in
        [(1, 1), (8, 1), (32, 64)].into_iter().flat_map(|(s, n)| [(s, n, Parts::Cpu), (s, n, GPU)])
    {
        let mut shape = shape(Direction::WeightGradient, size, 16, 16, 1);
        shape.geometry.n = batch;
        for candidate in shape.candidates(Method::Scalar, parts) {
            let ConvImplementation::Parts(ConvTile::Scalar(tile), parts) = candidate else {
                panic!("{candidate}")
            };
            assert!(!tile.is_direct(), "{candidate}");
            assert!(parts == 1 || shape.geometry.out_pixels() / parts >= LEAST_PIXELS, "{candidate}");
        }
    }
}

#[test]
fn tiles_keep_within_webgpus_limits() {
    let distinct: HashSet<_> = ScalarTile::ALL.into_iter().collect();
    assert_eq!(distinct.len(), ScalarTile::ALL.len());
    for tile in ScalarTile::ALL {
        let [m, n] = tile.size();
        assert!(m % 8 == 0 && n % 8 == 0 && (1..=256).contains(&tile.threads()), "{tile}");
        assert!(distinct.contains(&tile.ahead()) && distinct.contains(&tile.plain()), "{tile}: both forms");
        let loads = [m, n].map(|side| (side * STEP_K / 4).div_ceil(tile.threads()));
        assert!(!tile.is_ahead() || loads.into_iter().all(|loads| loads <= 4), "{tile}: {loads:?}");
    }
}

fn tile_of(candidate: &ConvImplementation) -> Option<ConvTile> {
    match candidate {
        ConvImplementation::Implicit(tile) | ConvImplementation::Parts(tile, _) => Some(*tile),
        ConvImplementation::Winograd(_) => None,
    }
}

#[test]
fn matrices_are_candidates_between_tensors_in_f16_alone() {
    let matrices = |shape: ConvProblem| {
        let of = |candidate: &ConvImplementation| matches!(tile_of(candidate), Some(ConvTile::Matrices(_)));
        candidates(shape).iter().filter(|candidate| of(candidate)).count()
    };
    let sums = Storages { c: Storage::F32, ..Storages::F16 };
    let image = Storages { a: Storage::F32, ..Storages::F16 };
    for direction in [Direction::Forward, Direction::InputGradient] {
        let f32 = shape(direction, 32, 160, 160, 1);
        assert_eq!(matrices(f32), 0, "{direction}");
        assert_eq!(matrices(ConvProblem { storage: Storages::F16, ..f32 }), MatrixTile::ALL.len());
        assert_eq!(matrices(ConvProblem { storage: sums, ..f32 }), MatrixTile::ALL.len());
        assert_eq!(matrices(ConvProblem { storage: image, ..f32 }), 0);
        let narrow = shape(direction, 32, 3, 16, 1);
        assert_eq!(matrices(ConvProblem { storage: Storages::F16, ..narrow }), 0);
        let half = ConvProblem { storage: Storages::F16, ..f32 };
        assert!(candidates(half).iter().all(|candidate| tile_of(candidate).is_some()), "no Winograd");
    }
    let weights = ConvProblem { storage: sums, ..shape(Direction::WeightGradient, 32, 160, 160, 1) };
    assert!(matrices(weights) > MatrixTile::ALL.len(), "with several numbers of parts");
}

#[test]
fn tiles_of_matrices_keep_within_the_devices_limits() {
    let distinct: HashSet<_> = MatrixTile::ALL.into_iter().collect();
    assert_eq!(distinct.len(), MatrixTile::ALL.len());
    for (size, subgroup) in [(8, 8), (8, 32), (8, 64), (16, 8), (16, 32), (16, 64)] {
        let matrices = Cooperative::new(size, subgroup);
        let fitting = MatrixTile::ALL.into_iter().filter(|tile| tile.fits(matrices));
        assert!(fitting.clone().all(|tile| tile.threads(matrices) <= 256));
        for columns in [16, 32, 64, 160, 640] {
            let rule = MatrixTile::rule(matrices, columns);
            assert!(fitting.clone().any(|tile| tile == rule), "{matrices:?}: {columns}");
        }
    }
    // 256 x 64 of 16x16 matrices takes 36 KiB.
    let matrices = Cooperative::new(16, 32);
    assert_eq!(MatrixTile::ALL.into_iter().filter(|tile| !tile.fits(matrices)).count(), 1);
}

#[test]
fn the_fingerprint_repeats() {
    assert_eq!(fingerprint(), fingerprint());
    assert_eq!(fingerprint().len(), 32);
}
