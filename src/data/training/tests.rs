use image::{GrayImage, Luma, Rgb, RgbImage};

use std::fs;

use super::*;
use crate::data::download::unobserved;
use crate::says::assert_says;

/// Writes `count` grey images with side `side` for each of `classes`.
fn fill(folder: &Path, classes: &[&str], count: u8, side: u32) {
    for (index, class) in classes.iter().enumerate() {
        let class = folder.join(class);
        fs::create_dir_all(&class).unwrap();
        for i in 0..count {
            let value = Luma([100 * index as u8 + i + 1]);
            GrayImage::from_pixel(side, side, value).save(class.join(format!("{i}.png"))).unwrap();
        }
    }
}

fn load(path: &Path) -> Result<TrainingData> {
    DataSource::new(path.to_str().unwrap(), None)?.load(&unobserved)
}

fn error(path: &Path, parts: &[&str]) {
    assert_says(&load(path).unwrap_err().to_string(), parts);
}

#[test]
fn parts_of_a_folder_are_taken_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    fill(&root.path().join("train"), &["cat", "dog"], 3, 8);
    fill(&root.path().join("test"), &["cat", "dog"], 2, 8);
    let data = load(root.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.notes.len()), (6, 4, 0));
    assert_eq!(
        (data.test.labels, data.test.class_names),
        (vec![0, 0, 1, 1], vec!["cat".into(), "dog".into()])
    );

    // One colour image makes all images colour.
    RgbImage::from_pixel(8, 8, Rgb([1, 2, 3])).save(root.path().join("test/dog/0.png")).unwrap();
    let data = load(root.path()).unwrap();
    assert_eq!((data.train.channels, data.test.channels, data.train.image(0)[..3] == [1; 3]), (3, 3, true));
}

#[test]
fn one_image_in_ten_of_each_class_is_held_out_always_the_same() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), &["cat", "train"], 20, 6);
    let data = load(root.path()).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (36, 4));
    assert_eq!(data.test.labels, [0, 0, 1, 1]);
    assert_eq!(data, load(root.path()).unwrap());
    assert_eq!([data.train.height, data.test.width], [8, 8]);
    assert_eq!((data.train.image(0)[0], data.train.image(0)[9] > 0), (0, true), "centred on black");
    assert!(data.notes[0].contains("4 of its 40 images"), "{:?}", data.notes);
    assert!(data.notes[1].contains("6x6") && data.notes[1].contains("8x8"), "{:?}", data.notes);
}

#[test]
fn a_part_that_is_scored_has_the_images_that_are_trained_or_tested_on() {
    let root = tempfile::tempdir().unwrap();
    let open = |data: &str| Images::open(data, None, &unobserved).unwrap();
    let same = |data: &str| {
        let loaded = DataSource::new(data, None).unwrap().load(&unobserved).unwrap();
        for (part, set) in [("train", loaded.train), ("test", loaded.test)] {
            let images = open(&format!("{data}:{part}"));
            assert_eq!(images.pixels, Pixels::Bytes(set.images), "{data}:{part}");
            assert_eq!((images.labels, images.class_names), (Some(set.labels), set.class_names));
            assert!(images.name.ends_with(part), "{}", images.name);
        }
    };
    same(SYNTHETIC);
    fill(root.path(), &["cat", "dog"], 20, 8);
    let folder = root.path().to_str().unwrap();
    same(folder);
    let files = |part: &str| open(&format!("{folder}:{part}")).files.unwrap();
    let (train, test) = (files("train"), files("test"));
    assert_eq!((train.len(), test.len()), (36, 4));
    assert!(test.iter().all(|file| file.is_file() && !train.contains(file)), "{test:?}");

    let parts = tempfile::tempdir().unwrap();
    fill(&parts.path().join("train"), &["cat", "dog"], 3, 8);
    fill(&parts.path().join("test"), &["cat", "dog"], 2, 8);
    let folder = parts.path().to_str().unwrap();
    same(folder);
    fs::remove_dir_all(parts.path().join("test")).unwrap();
    // One image in ten of the only part is held out.
    same(folder);
    let message = Images::open(&format!("{folder}:val"), None, &unobserved).unwrap_err().to_string();
    assert!(message.contains("no sub-folder val"), "{message}");
}

#[test]
fn parts_have_several_names_and_take_each_others_place() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().to_str().unwrap();
    let at = |part: &str| root.path().join(part);
    let load = || DataSource::new(folder, None).unwrap().load(&unobserved).unwrap();
    let test_images = || DataSource::new(folder, None).unwrap().test_images();
    let count = |part: &str| Images::open(&format!("{folder}:{part}"), None, &unobserved).unwrap().count;

    // Alone, one image in ten is held out.
    fill(&at("Train"), &["cat", "dog"], 10, 8);
    let data = load();
    assert_eq!((data.train.len(), data.test.len()), (18, 2));
    assert!(data.notes[0].contains("Train has no part test: 2 of its 20 images"), "{:?}", data.notes);
    assert_eq!(test_images(), format!("{}:test", at("Train").display()));

    // Validation images test where nothing else does.
    fill(&at("VALID"), &["cat", "dog"], 3, 8);
    let data = load();
    assert_eq!((data.train.len(), data.test.len(), count("val"), count("test")), (20, 6, 6, 6));
    assert!(data.notes[0].contains("VALID is for testing") && data.notes.len() == 1, "{:?}", data.notes);
    assert_eq!((data.test.name.ends_with(" val"), test_images()), (true, at("VALID").display().to_string()));

    // A flat folder has no accuracy.
    fs::create_dir(at("test")).unwrap();
    fill(&at("test"), &["."], 7, 8);
    let data = load();
    assert_eq!((data.test.len(), count("test")), (6, 7));
    assert!(data.notes[0].contains("test has no classes"), "{:?}", data.notes);

    // With classes it tests, and the validation images are left out.
    fill(&at("test"), &["cat", "dog"], 1, 8);
    (0..7).for_each(|i| fs::remove_file(at(&format!("test/{i}.png"))).unwrap());
    let data = load();
    assert_eq!((data.train.len(), data.test.len(), count("validation")), (20, 2, 6));
    assert!(data.notes[0].contains("VALID is left out") && data.notes.len() == 1, "{:?}", data.notes);

    fill(&at("val"), &["cat", "dog"], 1, 8);
    error(root.path(), &["is the part val as well as"]);
}

/// As Kaggle's competitions have it: flat folders, and a file of labels for one of them.
#[test]
fn a_file_of_labels_is_of_the_parts_that_it_names() {
    let root = tempfile::tempdir().unwrap();
    let at = |part: &str| root.path().join(part);
    for part in ["train", "test"] {
        fs::create_dir(at(part)).unwrap();
        fill(&at(part), &["."], 20, 8);
    }
    // The names of both parts are the same; the paths tell them apart.
    let rows = |part: &str| (0..20).map(|i| format!("{part}/{i}.png,{}\n", i % 2)).collect::<String>();
    fs::write(at("train.csv"), rows("train")).unwrap();
    let mut source = DataSource::new(root.path().to_str().unwrap(), None).unwrap();
    source.read.labels = Some(at("train.csv"));
    let data = source.load(&unobserved).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.train.classes()), (18, 2, 2));
    assert!(data.notes[0].contains("test has no classes"), "{:?}", data.notes);
    fs::write(at("train.csv"), rows("train") + &rows("test")).unwrap();
    let data = source.load(&unobserved).unwrap();
    assert_eq!((data.train.len(), data.test.len(), data.test.labels[..2].to_vec()), (20, 20, vec![0, 1]));
}

#[test]
fn numbered_classes_are_sorted_by_value_unless_a_run_began_otherwise() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), &["10", "2", "0", "1"], 10, 8);
    let source = DataSource::new(root.path().to_str().unwrap(), None).unwrap();
    let data = source.load(&unobserved).unwrap();
    assert_eq!(data.train.class_names, ["0", "1", "2", "10"]);
    // Class 10 has the values from 1 to 10.
    let of_ten = data.train.labels.iter().position(|&label| label == 3).unwrap();
    assert!(data.train.image(of_ten)[0] <= 10);

    let recorded = serde_json::to_string(&source).unwrap();
    assert!(recorded.contains(r#""class_order":"natural""#), "{recorded}");
    assert_eq!(serde_json::from_str::<DataSource>(&recorded).unwrap(), source);
    // A run of an earlier version recorded these alone.
    let earlier = format!(r#"{{"data":{:?},"directory":null}}"#, source.data);
    let earlier: DataSource = serde_json::from_str(&earlier).unwrap();
    assert_eq!(earlier.read.class_order, ClassOrder::Text);
    let data = earlier.load(&unobserved).unwrap();
    assert_eq!(data.train.class_names, ["0", "1", "10", "2"]);
    assert!(data.notes[0].contains("ordered by characters"), "{:?}", data.notes);
}

#[test]
fn options_are_recorded_and_followed() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), &["cat", "dog"], 10, 8);
    fill(root.path(), &["mouse"], 10, 12);
    error(root.path(), &["size: ", "found 2 sizes, from 8x8 to 12x12"]);
    let mut source = DataSource::new(root.path().to_str().unwrap(), None).unwrap();
    source.read.size = Some(16);
    let recorded = serde_json::to_string(&source).unwrap();
    assert!(recorded.contains(r#""size":16"#) && !recorded.contains("range"), "{recorded}");
    let source: DataSource = serde_json::from_str(&recorded).unwrap();
    let data = source.load(&unobserved).unwrap();
    assert_eq!((data.train.height, data.train.width, data.test.len()), (16, 16, 3));

    let mut set = DataSource::new(SYNTHETIC, None).unwrap();
    set.read.size = Some(16);
    let message = set.load(&unobserved).unwrap_err().to_string();
    assert!(message.contains("size: is for pictures") && message.contains(SYNTHETIC), "{message}");
}

#[test]
fn images_without_classes_are_of_one() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), &["."], 20, 8);
    let folder = root.path().to_str().unwrap();
    let TrainingData { train, test, .. } = DataSource::new(folder, None).unwrap().load(&unobserved).unwrap();
    assert_eq!((train.len(), test.len(), train.classes()), (18, 2, 1));
    assert_eq!((&*train.class_names[0], train.labels.iter().max()), (UNCLASSIFIED, Some(&0)));
    let tested = Images::open(&format!("{folder}:test"), None, &unobserved).unwrap();
    assert_eq!((tested.count, tested.labels), (2, None));
    assert_eq!(tested.pixels, Pixels::Bytes(test.images));
}

#[test]
fn wrong_folders_name_what_is_missing() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    fill(&at("a/train"), &["cat", "dog"], 1, 8);
    fill(&at("a/test"), &["cat"], 1, 8);
    error(&at("a"), &["test", "no class dog"]);
    fill(&at("a/test"), &["cat", "dog", "mouse"], 1, 8);
    error(&at("a"), &["train", "no class mouse"]);
    fs::remove_dir_all(at("a/test")).unwrap();
    fill(&at("a/test"), &["cat", "dog"], 1, 16);
    error(&at("a"), &["test", "8x8", "16x16"]);
    fill(&at("b"), &["cat"], 3, 8);
    fs::write(at("b/cat/0.png"), "").unwrap();
    error(&at("b"), &["0.png"]);
    fs::create_dir(at("d")).unwrap();
    error(&at("d"), &["found none"]);
    fill(&at("c/test"), &["cat", "dog"], 1, 8);
    error(&at("c"), &["test", "no train beside it", "held out"]);
    error(&at("e"), &["data", &format!("{}, synthetic", Collection::known()), "no such set"]);
}

#[test]
fn a_set_that_is_not_there_names_the_place_and_a_file() {
    let root = tempfile::tempdir().unwrap();
    for (name, part) in [("mnist", "train-images-idx3-ubyte"), ("cifar10", "data_batch_1.bin")] {
        let message =
            DataSource::new(name, Some(root.path())).unwrap().load(&unobserved).unwrap_err().to_string();
        assert!(message.contains(part) && message.contains(&root.path().display().to_string()), "{message}");
    }
}

#[test]
fn what_is_tested_on_has_a_name_for_scoring() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), &["cat", "dog"], 1, 8);
    let images = |data: &str| DataSource::new(data, None).unwrap().test_images();
    let folder = root.path().to_str().unwrap();
    assert_eq!(images("svhn"), "svhn:test");
    assert_eq!(images(SYNTHETIC), "synthetic:test");
    assert_eq!(images(folder), format!("{folder}:test"));
    fill(&root.path().join("train"), &["cat", "dog"], 1, 8);
    fill(&root.path().join("test"), &["cat", "dog"], 1, 8);
    assert_eq!(images(folder), root.path().join("test").display().to_string());
}
