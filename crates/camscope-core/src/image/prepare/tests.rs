//! Resized and cropped photos against recorded ones from Pillow and torchvision; the tensors made of them.

use std::path::PathBuf;

use ndarray::s;
use serde_json::Value;

use super::*;
use crate::image::Photo;
use crate::model::Filter;

fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/images"))
}

fn plain(size: (u32, u32), crop: Crop) -> Preprocessing {
    Preprocessing { size, crop, ..Preprocessing::imagenet() }
}

#[test]
fn photos_are_resized_and_cropped_as_pillow_and_torchvision_do() {
    let index: Value = serde_json::from_slice(&std::fs::read(fixtures().join("index.json")).unwrap()).unwrap();
    let resized = index["resized"].as_array().unwrap();
    assert!(!resized.is_empty());
    for entry in resized {
        let photo = Photo::open(fixtures().join(entry["source"].as_str().unwrap())).unwrap();
        let side = |at: usize| entry["size"][at].as_u64().unwrap() as u32;
        let crop = match entry["mode"].as_str().unwrap() {
            "squash" => Crop::Squash,
            _ => Crop::ResizeTo(entry["resize_to"].as_u64().unwrap() as u32),
        };
        let filter: Filter = serde_json::from_value(entry["filter"].clone()).unwrap();
        let preprocessing = Preprocessing { filter, ..plain((side(0), side(1)), crop) };
        let ours = fit(&photo.pixels, &preprocessing).unwrap().pixels;
        let theirs: Array3<u8> = ndarray_npy::read_npy(fixtures().join(entry["file"].as_str().unwrap())).unwrap();
        // Not one level apart, as the contract allows, but equal.
        assert_eq!(ours, theirs, "{entry}");
    }
}

fn gradient(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| image::Rgb([(x % 256) as u8, (y % 256) as u8, ((x + y) % 256) as u8]))
}

#[test]
fn values_are_normalised_in_the_order_of_the_layout() {
    let photo = RgbImage::from_pixel(4, 4, image::Rgb([255, 0, 51]));
    let p = plain((4, 4), Crop::Squash);
    let tensor = prepare(&photo, &p).unwrap().tensor;
    assert_eq!(tensor.shape(), [1, 3, 4, 4]);
    assert_eq!(tensor[[0, 0, 3, 3]], (1.0 - 0.485) / 0.229);
    assert_eq!(tensor[[0, 1, 0, 0]], -0.456 / 0.224);
    assert_eq!(tensor[[0, 2, 0, 0]], (51.0 / 255.0 - 0.406) / 0.225);

    let (mean, std) = (vec![127.0, 100.0, 50.0], vec![128.0, 1.0, 2.0]);
    let p = Preprocessing { layout: Layout::Nhwc, color: Color::Bgr, range: [0.0, 255.0], mean, std, ..p };
    let tensor = prepare(&photo, &p).unwrap().tensor;
    assert_eq!(tensor.shape(), [1, 4, 4, 3]);
    assert_eq!(tensor.slice(s![0, 0, 0, ..]).to_vec(), [(51.0 - 127.0) / 128.0, -100.0, (255.0 - 50.0) / 2.0]);

    let p = Preprocessing { color: Color::Grey, range: [-1.0, 1.0], mean: vec![0.0], std: vec![1.0], ..p };
    let tensor = prepare(&photo, &p).unwrap().tensor;
    assert_eq!(tensor.shape(), [1, 4, 4, 1]);
    // Pillow: Image.new("RGB", (1, 1), (255, 0, 51)).convert("L") is 82.
    assert_eq!(tensor[[0, 0, 0, 0]], -1.0 + 82.0 / 255.0 * 2.0);
}

#[test]
fn an_input_larger_than_the_resized_photo_is_padded() {
    let photo = RgbImage::from_pixel(10, 20, image::Rgb([200; 3]));
    let fitted = fit(&photo, &plain((9, 9), Crop::ResizeTo(4))).unwrap();
    // 4 × 8 pixels at (2, 0), with (9 - 4) / 2 = 2 columns to the left, 3 to the right, none above, one below.
    let inside = |y: usize, x: usize| (2..6).contains(&x) && y < 8;
    for ((y, x, _), &value) in fitted.pixels.indexed_iter() {
        assert_eq!(value, if inside(y, x) { 200 } else { 0 }, "{y} {x}");
    }
    assert_eq!((fitted.seen.x, fitted.seen.y, fitted.seen.width), (-5.0, 0.0, 22.5));
    let bordered = fit(&photo, &plain((8, 8), Crop::Border(1.0))).unwrap().pixels;
    assert_eq!(bordered.slice(s![0, 0, ..]).to_vec(), [124, 116, 104]); // round(255 · mean)
    assert_eq!(bordered[(0, 4, 0)], 200);
}

#[test]
fn odd_photos_are_prepared() {
    for (width, height) in [(1, 1), (1, 4000), (4000, 1), (2, 3), (50_000, 1)] {
        let photo = gradient(width, height);
        for crop in [Crop::CentreFraction(0.875), Crop::ResizeTo(256), Crop::Squash, Crop::Border(0.9)] {
            for filter in [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Box] {
                let p = Preprocessing { filter, ..plain((32, 24), crop) };
                let prepared = prepare(&photo, &p).unwrap();
                assert_eq!(prepared.tensor.shape(), [1, 3, 32, 24]);
                assert!(prepared.tensor.iter().all(|v| v.is_finite()));
                assert!(prepared.seen.width > 0.0 && prepared.seen.height > 0.0);
            }
        }
    }
}

#[test]
fn unusable_preprocessing_is_refused() {
    let mut p = plain((4, 4), Crop::Squash);
    p.std.clear();
    assert!(matches!(prepare(&gradient(2, 2), &p), Err(Error::BadPreprocessing { .. })));
    let none = RgbImage::new(0, 3);
    assert!(matches!(fit(&none, &plain((4, 4), Crop::Squash)), Err(Error::BadPreprocessing { .. })));
}

#[test]
fn every_way_to_take_a_photo_for_grey_is_the_formula() {
    let photo = gradient(300, 270);
    let luma = |p: &image::Rgb<u8>| {
        let [r, g, b] = p.0.map(u32::from);
        ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
    };
    let expected: Vec<u8> = photo.pixels().map(luma).collect();
    for has in cpu_features::CpuFeatures::each() {
        let mut levels = vec![0; expected.len()];
        lumas(has, &photo, &mut levels);
        assert!(levels == expected, "{has:?}");
    }
}
