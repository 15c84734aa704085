//! Files that tifffile wrote (see `tests/fixtures/record_bands.py`).

use std::path::{Path, PathBuf};

use ndarray::{Array3, ArrayD};

use crate::Error;
use crate::image::Photo;
use crate::model::{Color, Crop, Filter, Layout, Preprocessing};

fn case(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/bands")).join(name)
}

/// The bands as they are in the file, `[bands, 5, 7]`, of a photo of 7 × 5 pixels.
fn plain(bands: usize, white: Option<f32>) -> Preprocessing {
    Preprocessing {
        size: (5, 7),
        crop: Crop::Squash,
        filter: Filter::Nearest,
        color: Color::Bands(bands),
        mean: vec![0.0; bands],
        std: vec![1.0; bands],
        white,
        ..Preprocessing::imagenet()
    }
}

fn read(name: &str, preprocessing: &Preprocessing) -> crate::Result<ArrayD<f32>> {
    Ok(Photo::open_for(case(name), preprocessing)?.prepare(preprocessing)?.tensor)
}

/// The value that the script gives band, row and column, as a share of white.
fn expected(bands: usize) -> Array3<f32> {
    Array3::from_shape_fn((bands, 5, 7), |(band, y, x)| (band * 40 + y * 7 + x) as f32 / 255.0)
}

fn same(found: &ArrayD<f32>, expected: &Array3<f32>) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(found, wanted)| (found - wanted).abs() < 1e-5)
}

#[test]
fn each_band_of_each_kind_of_file_becomes_a_channel() {
    for name in ["pixels.tiff", "planes.tiff", "colours_and_more.tiff", "tiles.tiff", "words.tiff", "floats.tiff"] {
        let found = read(name, &plain(6, None)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found.shape(), [1, 6, 5, 7], "{name}");
        assert!(same(&found, &expected(6)), "{name}: {found}");
    }
    let four = read("infrared.tiff", &plain(4, None)).unwrap();
    assert!(same(&four, &expected(4)), "{four}");
    let two = read("two.tiff", &plain(2, None)).unwrap();
    assert!(same(&two, &expected(2)), "{two}");
}

#[test]
fn bands_are_scaled_and_laid_out_as_the_model_has_it() {
    let mut own = plain(6, None);
    own.mean = (0..6).map(|band| band as f32).collect();
    own.std = vec![2.0; 6];
    own.layout = Layout::Nhwc;
    let found = read("pixels.tiff", &own).unwrap();
    assert_eq!(found.shape(), [1, 5, 7, 6]);
    for ((band, y, x), wanted) in expected(6).indexed_iter() {
        assert!((found[[0, y, x, band]] - (wanted - band as f32) / 2.0).abs() < 1e-5);
    }
    // Twice as white: half the value.
    let white = read("words.tiff", &plain(6, Some(2.0 * 65535.0))).unwrap();
    assert!(same(&white, &expected(6).mapv(|value| value / 2.0)));
}

#[test]
fn bands_are_turned_upright() {
    let mut own = plain(6, None);
    own.size = (7, 5);
    let turned = read("turned.tiff", &own).unwrap();
    // Turned clockwise: the first row becomes the last column.
    for ((band, y, x), wanted) in expected(6).indexed_iter() {
        assert!((turned[[0, band, x, 4 - y]] - wanted).abs() < 1e-5);
    }
    assert_eq!(Photo::upright_dimensions(case("turned.tiff")), Some((5, 7)));
}

#[test]
fn a_person_sees_the_first_three_bands() {
    let photo = Photo::open_for(case("pixels.tiff"), &plain(6, None)).unwrap();
    assert_eq!(photo.pixels.get_pixel(3, 2).0, [17, 57, 97]);
    assert_eq!(photo.notes, ["it has 6 bands: the first three are shown as red, green and blue"]);
}

#[test]
fn other_numbers_of_bands_are_refused_in_words() {
    let wrong = |name: &str, bands| read(name, &plain(bands, None)).unwrap_err();
    let error = wrong("pixels.tiff", 4);
    assert!(matches!(error, Error::Bands { found: 6, wanted: 4, .. }), "{error}");
    assert!(error.to_string().ends_with("pixels.tiff has 6 bands, and the model takes 4"), "{error}");
    assert!(error.help().unwrap().contains("TIFF of 4 bands"));
    assert!(matches!(wrong("../images/rgb.png", 6), Error::Bands { found: 3, wanted: 6, .. }));
    assert!(matches!(wrong("../images/not_an_image.txt", 6), Error::NotAnImage { .. }));
    let bytes = std::fs::read(case("pixels.tiff")).unwrap();
    for end in 0..bytes.len() {
        let _ = Photo::decode_bands(&bytes[..end], Path::new("cut.tiff"), (6, None)); // no panic
    }
}
