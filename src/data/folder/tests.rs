use image::{GrayAlphaImage, GrayImage, ImageBuffer, Luma, LumaA, Rgb, RgbImage, Rgba, RgbaImage};

use super::*;
use crate::data::download::unobserved;
use crate::says::assert_says;
use std::fs;

fn load(folder: &Path) -> Result<Images> {
    super::load(folder, &ReadOptions::default(), &unobserved)
}

fn error(folder: &Path, parts: &[&str]) {
    assert_says(&load(folder).unwrap_err().to_string(), parts);
}

#[test]
fn every_kind_of_image_in_the_order_of_paths() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    GrayImage::from_pixel(2, 1, Luma([9])).save(at("b.png")).unwrap();
    let mut rgb = RgbImage::from_pixel(2, 1, Rgb([1, 2, 3]));
    rgb.put_pixel(1, 0, Rgb([4, 5, 6]));
    rgb.save(at("a.PNG")).unwrap();
    RgbaImage::from_pixel(2, 1, Rgba([7, 8, 9, 0])).save(at("c.png")).unwrap();
    ImageBuffer::from_pixel(2, 1, Rgb([65535u16, 257 * 100, 128])).save(at("d.png")).unwrap();
    GrayAlphaImage::from_pixel(2, 1, LumaA([50, 1])).save(at("e.png")).unwrap();
    GrayImage::from_pixel(2, 1, Luma([200])).save(at("f.jpeg")).unwrap();
    fs::create_dir(at("z")).unwrap();
    ImageBuffer::from_pixel(2, 1, Luma([257u16 * 3])).save(at("z/a.png")).unwrap();
    fs::write(at("notes.txt"), "no image").unwrap();
    fs::write(at(".hidden.png"), "no image").unwrap();

    let images = load(root.path()).unwrap();
    assert_eq!((images.count, images.height, images.width, images.channels), (7, 1, 2, 3));
    let expected = [
        [1, 2, 3, 4, 5, 6],
        [9; 6],
        [7, 8, 9, 7, 8, 9],
        [255, 100, 0, 255, 100, 0],
        [50; 6],
        [200; 6],
        [3; 6],
    ];
    assert_eq!(images.pixels, Pixels::Bytes(expected.concat()));
    // One image is not in a sub-folder, so there are no classes.
    assert_eq!((images.labels, images.class_names.len()), (None, 0));
    let names = ["a.PNG", "b.png", "c.png", "d.png", "e.png", "f.jpeg", "z/a.png"];
    assert_eq!(images.files.unwrap(), names.map(at));
}

#[test]
fn sub_folders_are_classes_in_alphabetical_order() {
    let root = tempfile::tempdir().unwrap();
    for (index, path) in ["dog/2.png", "cat/z/1.png", "cat/a.png", "dog/1.png"].into_iter().enumerate() {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        GrayImage::from_pixel(1, 1, Luma([index as u8])).save(path).unwrap();
    }
    let images = load(root.path()).unwrap();
    assert_eq!(images.pixels, Pixels::Bytes(vec![2, 1, 3, 0]));
    assert_eq!((images.labels, images.channels), (Some(vec![0, 0, 1, 1]), 1));
    assert_eq!(images.class_names, ["cat", "dog"]);

    fs::create_dir(root.path().join("bird")).unwrap();
    error(root.path(), &["bird", "an image in each sub-folder"]);
}

#[test]
fn wrong_folders_are_refused() {
    let root = tempfile::tempdir().unwrap();
    error(root.path(), &["expected JPEG, PNG", "found none"]);
    let (a, b) = (root.path().join("a.png"), root.path().join("b.png"));
    GrayImage::new(3, 2).save(&a).unwrap();
    GrayImage::new(2, 3).save(&b).unwrap();
    error(root.path(), &["size: ", "found 2 sizes, from 2x3 to 3x2", "a.png is 3x2", "b.png is 2x3"]);

    // Complete headers, but truncated pixels.
    RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, y as u8, 77])).save(&b).unwrap();
    let whole = fs::read(&b).unwrap();
    for length in [0, 7, 30, whole.len() - 20] {
        fs::write(&b, &whole[..length]).unwrap();
        error(root.path(), &["b.png: "]);
    }
    fs::write(&b, "no image").unwrap();
    error(root.path(), &["b.png: expected a JPEG, PNG", "does not begin as one"]);
    // A header that asks for 100,000 columns.
    let mut wide = whole;
    wide[16..20].copy_from_slice(&100_000u32.to_be_bytes());
    fs::write(&b, wide).unwrap();
    error(root.path(), &["b.png: "]);
}

#[test]
#[cfg(unix)]
fn a_link_that_leads_back_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root.path(), root.path().join("again")).unwrap();
    error(root.path(), &["does a link lead back"]);
}

#[test]
fn files_that_are_passed_over_are_counted() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    GrayImage::new(2, 2).save(at("a.png")).unwrap();
    assert_eq!(load(root.path()).unwrap().notes.len(), 0);
    for name in ["b.TXT", "c.txt", "d.heic", "README", ".hidden", "labels.json"] {
        fs::write(at(name), "no image").unwrap();
    }
    let notes = load(root.path()).unwrap().notes;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert_says(
        &notes[0],
        &["passed over 5 files: 2 .txt, 1 without extension, 1 .heic, 1 .json", ".heic images are not read"],
    );
    fs::remove_file(at("a.png")).unwrap();
    error(root.path(), &["found none, passed over 5 files"]);

    fs::create_dir(at("x.jpg")).unwrap();
    error(root.path(), &["x.jpg: is a folder without images"]);
}

#[test]
fn a_csv_names_the_classes() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    for (name, value) in [("1.png", 1), ("2.png", 2), ("10.png", 10)] {
        GrayImage::from_pixel(1, 1, Luma([value])).save(at(name)).unwrap();
    }
    let read = |csv: &str| {
        fs::write(at("labels.csv"), csv).unwrap();
        load(root.path())
    };
    // The files are sorted as text: 1, 10, 2.
    for csv in [
        "1.png,class_2\n2.png,class_10\n10.png,class_2\n",
        "id,label\n2,class_10\n1,class_2\n10,class_2\n",
        "\u{feff}Class,unused,File\r\nclass_10,,2.png\r\nclass_2,x,1.png\r\n\"class_2\",,./10.png\r\n",
        "which,what\n1.png,class_2\n2.png,class_10\n10.png,class_2\n",
    ] {
        let images = read(csv).unwrap();
        assert_eq!(images.pixels, Pixels::Bytes(vec![1, 10, 2]));
        assert_eq!(
            (images.labels, images.class_names),
            (Some(vec![0, 0, 1]), vec!["class_2".into(), "class_10".into()])
        );
        assert!(images.notes[0].contains("labels.csv"), "{:?}", images.notes);
    }
    let images = read("1,a\n2,b\n10,b\n11,b\n12,c\n").unwrap();
    assert_eq!(images.class_names, ["a", "b"]);
    assert!(
        images.notes[1].contains("2 of 5 rows") && images.notes[1].contains("line 4: 11"),
        "{:?}",
        images.notes
    );
    for (csv, parts) in [
        ("1,a\n2,b\n", &["labels.csv: has no row for", "10.png"][..]),
        ("1,a\n2,b\n10,b\n1,b\n", &["labels.csv: line 4", "class b", "class a in line 1"]),
        ("1,a\n2,b\n10\n", &["labels.csv: line 3", "an image and its class", "10"]),
        ("1,a\n2,\n10,b\n", &["labels.csv: line 2", "an image and its class"]),
        ("one,two,three\n1,a,b\n", &["labels.csv: line 1", "one, two, three"]),
        ("1\n2\n", &["labels.csv: line 1", "separated by a comma"]),
        ("", &["labels.csv: ", "found none"]),
    ] {
        assert_says(&read(csv).unwrap_err().to_string(), parts);
    }
}

#[test]
fn bytes_that_are_0_and_1_are_noticed() {
    let root = tempfile::tempdir().unwrap();
    GrayImage::from_fn(2, 2, |x, _| Luma([x as u8])).save(root.path().join("a.png")).unwrap();
    let images = load(root.path()).unwrap();
    assert!(
        images.notes[0].contains("0 or 1") && images.notes[0].contains("range of 0,1"),
        "{:?}",
        images.notes
    );
    let options = ReadOptions { range: Some("0,1".parse().unwrap()), ..Default::default() };
    let images = super::load(root.path(), &options, &unobserved).unwrap();
    assert_eq!((images.pixels, images.notes.len()), (Pixels::Bytes(vec![0, 255, 0, 255]), 0));
}

#[test]
fn decoded_pictures_are_kept() {
    let root = tempfile::tempdir().unwrap();
    let (pictures, cache) = (root.path().join("pictures"), root.path().join("cache"));
    fs::create_dir(&pictures).unwrap();
    // Noise, which does not compress below the least that is kept.
    let mut random = crate::compute::splitmix::SplitMix::new(1, 0);
    let mut noise = || RgbImage::from_fn(256, 256, |_, _| Rgb([0; 3].map(|_: u8| random.below(256) as u8)));
    let mut time = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    let mut write = |name: &str| {
        time += std::time::Duration::from_secs(60);
        noise().save(pictures.join(name)).unwrap();
        fs::File::options().append(true).open(pictures.join(name)).unwrap().set_modified(time).unwrap();
    };
    (0..6).for_each(|i| write(&format!("{i}.png")));
    let decoded = std::cell::Cell::new(0);
    let observer = |_: crate::data::download::Transfer<'_>| decoded.set(decoded.get() + 1);
    let options = ReadOptions { size: Some(16), cache: Some(cache.clone()), ..Default::default() };
    let load = |options: &ReadOptions| {
        decoded.set(0);
        let images = super::load(&pictures, options, &observer).unwrap();
        (images, decoded.get() > 0)
    };
    let files = || fs::read_dir(&cache).unwrap().count();
    let (first, is_decoded) = load(&options);
    assert!(is_decoded && files() == 1);
    assert_eq!(load(&options), (first.clone(), false));
    // Other options and changed pictures are decoded.
    assert!(load(&ReadOptions { size: Some(8), ..options.clone() }).1);
    assert!(load(&ReadOptions { cache: None, ..options.clone() }).1);
    write("3.png");
    let (changed, is_decoded) = load(&options);
    assert!(is_decoded && changed.pixels != first.pixels);
    assert_eq!(load(&options), (changed.clone(), false));
    // Damaged files are decoded again.
    for file in fs::read_dir(&cache).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
    }
    assert_eq!(load(&options), (changed.clone(), true));
    assert_eq!(load(&options), (changed, false));
}
