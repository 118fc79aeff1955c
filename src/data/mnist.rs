//! MNIST and data sets with its layout: a file of 28x28 grey images and a file of their labels.

use std::path::Path;

use super::{Dataset, idx};
use crate::error::{Error, Result};

/// Rows and columns of an image.
pub const SIDE: usize = 28;
/// The classes of MNIST, in the order of the labels.
pub const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
/// The classes of Fashion-MNIST, in the order of the labels.
pub const CLOTHES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// The classes of Kuzushiji-MNIST, hiragana in old handwriting, in the order of the labels.
pub const KUZUSHIJI: [&str; 10] = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"];

/// Whether these are classes of written characters, whose mirror images have another meaning or none.
pub fn are_characters(class_names: &[String]) -> bool {
    class_names == DIGITS || class_names == KUZUSHIJI
}

/// Reads the idx file of images at `images` and that of their labels at `labels`, plain or gzipped.
///
/// # Errors
/// [`Error::File`] or [`Error::Io`] when one of them is not a complete idx file, the shapes are not `[n, 28, 28]` and
/// `[n]`, or a label is out of range.
pub fn load(images: &Path, labels: &Path, name: &str, class_names: [&str; 10]) -> Result<Dataset> {
    let pictures = idx::read_file(images)?;
    let &[count, SIDE, SIDE] = pictures.shape.as_slice() else {
        let message = format!("expected images [N, {SIDE}, {SIDE}], found shape {:?}", pictures.shape);
        return Err(Error::file(images, message));
    };
    let classes = idx::read_file(labels)?;
    if classes.shape != [count] {
        return Err(Error::file(
            labels,
            format!(
                "expected the labels [{count}] of the images in {}, found shape {:?}",
                images.display(),
                classes.shape
            ),
        ));
    }
    let wrong = classes.elements.iter().position(|&label| usize::from(label) >= class_names.len());
    if let Some(index) = wrong {
        let label = classes.elements[index];
        let message = format!("image {index} has label {label}, expected 0 to 9; the file is damaged");
        return Err(Error::file(labels, message));
    }
    Ok(Dataset {
        name: name.into(),
        synthetic: false,
        images: pictures.elements,
        labels: classes.elements.into_iter().map(u32::from).collect(),
        height: SIDE,
        width: SIDE,
        channels: 1,
        class_names: class_names.map(String::from).to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::says::assert_says;

    #[test]
    fn images_and_labels_belong_together() {
        let directory = tempfile::tempdir().unwrap();
        let (images, labels) = (directory.path().join("images"), directory.path().join("labels.gz"));
        let pixels: Vec<u8> = (0..2 * 784).map(|i| (i % 251) as u8).collect();
        fs::write(&images, idx::file(&[2, 28, 28], &pixels)).unwrap();
        fs::write(&labels, idx::gzip(&idx::file(&[2], &[9, 3]))).unwrap();
        let set = load(&images, &labels, "MNIST test", DIGITS).unwrap();
        assert_eq!((set.images.clone(), set.labels.clone()), (pixels, vec![9, 3]));
        assert_eq!((set.height, set.width, set.channels, set.classes()), (28, 28, 1, 10));
        assert_eq!(set.name, "MNIST test");

        let check = |parts: &[&str]| {
            assert_says(&load(&images, &labels, "", CLOTHES).unwrap_err().to_string(), parts);
        };
        fs::write(&labels, idx::file(&[2], &[9, 10])).unwrap();
        check(&["labels.gz", "image 1 has label 10", "0 to 9"]);
        fs::write(&labels, idx::file(&[3], &[9, 1, 1])).unwrap();
        check(&["labels.gz", "[2]", "images", "[3]"]);
        fs::write(&images, idx::file(&[2, 28, 27], &[0; 2 * 28 * 27])).unwrap();
        check(&["images", "[N, 28, 28]", "[2, 28, 27]"]);
        fs::write(&images, &idx::file(&[2, 28, 28], &[0; 2 * 784])[..1000]).unwrap();
        check(&["images", "declares 1568 bytes", "984"]);
        fs::remove_file(&images).unwrap();
        check(&["images"]);
    }
}
