//! Photos of 16 bits and floats: what the network gets of them, and what a person sees.

use std::path::PathBuf;

use ndarray::{Array2, s};

use super::*;
use crate::Error;
use crate::image::{Photo, fit};
use crate::model::{Color, Crop, Filter, Layout, Preprocessing};

fn case(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/cases")).join(name)
}

fn plain(size: (u32, u32), filter: Filter) -> Preprocessing {
    let usual = Preprocessing::imagenet();
    Preprocessing { size, filter, crop: Crop::Squash, color: Color::Grey, mean: vec![0.0], std: vec![1.0], ..usual }
}

/// Grey levels of 16 bits in a PNG.
fn png(width: u32, height: u32, values: impl Fn(u32, u32) -> u16) -> Vec<u8> {
    let image = ImageBuffer::<Luma<u16>, _>::from_fn(width, height, |x, y| Luma([values(x, y)]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    DynamicImage::ImageLuma16(image).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn the_network_gets_16_bit_values_as_pillow_resizes_them() {
    let photo = Photo::open(case("grey12in16.png")).unwrap();
    for filter in [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos, Filter::Nearest] {
        let ours = photo.prepare(&plain((24, 20), filter)).unwrap().tensor;
        let name = format!("grey12in16_{filter:?}.npy").to_lowercase();
        let theirs: Array2<f32> = ndarray_npy::read_npy(case(&name)).unwrap();
        let ours = ours.slice(s![0, 0, .., ..]);
        let worst = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 2e-7, "{filter:?}: {worst}");
        // 8 bits would leave 16 levels of these.
        let mut levels: Vec<u32> = ours.iter().map(|value| value.to_bits()).collect();
        levels.sort_unstable();
        levels.dedup();
        assert!(levels.len() > 400, "{filter:?}: {} levels", levels.len());
    }
}

#[test]
fn white_of_12_bits_is_asked_for_and_not_guessed() {
    let photo = Photo::open(case("grey12in16.png")).unwrap();
    assert_eq!(
        photo.notes,
        ["its 16-bit values go up to 4095 only, and 65535 is white: if they have 12 bits, give --white 4095"]
    );
    assert!(photo.pixels.as_raw().iter().all(|&level| level <= 16));
    let white = Photo::open_with(case("grey12in16.png"), Some(4095.0)).unwrap();
    assert!(white.notes.is_empty());
    // What the person sees and what the network gets is brighter alike.
    assert!(white.pixels.as_raw().contains(&255));
    let largest = |photo: &Photo| {
        photo.prepare(&plain((48, 61), Filter::Bilinear)).unwrap().tensor.iter().copied().fold(0.0, f32::max)
    };
    assert_eq!((largest(&photo), largest(&white)), (4095.0 / 65535.0, 1.0));
    // Beyond white there is only white.
    let dark = Photo::open_with(case("grey12in16.png"), Some(100.0)).unwrap();
    assert_eq!(largest(&dark), 1.0);
}

#[test]
fn levels_that_eight_bits_can_hold_come_out_as_from_a_photo_of_8_bits() {
    let value = |x: u32, y: u32| (x * 37 + y * 91) as u8;
    let deep = Photo::decode(&png(50, 40, |x, y| u16::from(value(x, y)) * 257), "x.png").unwrap();
    let eight = RgbImage::from_fn(50, 40, |x, y| image::Rgb([value(x, y); 3]));
    assert_eq!(deep.pixels, eight);
    assert!(deep.notes.is_empty());
    for filter in [Filter::Bilinear, Filter::Box, Filter::Nearest] {
        for (color, layout) in [(Color::Rgb, Layout::Nchw), (Color::Bgr, Layout::Nhwc)] {
            let usual = Preprocessing { size: (17, 23), filter, color, layout, ..Preprocessing::imagenet() };
            let ours = deep.prepare(&usual).unwrap();
            let theirs = crate::image::prepare(&eight, &usual).unwrap();
            assert_eq!(ours.seen, theirs.seen);
            let worst = ours.tensor.iter().zip(&theirs.tensor).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // 8 bits round after each pass.
            assert!(worst <= 1.01 / 255.0 / 0.224, "{filter:?}: {worst}");
        }
    }
}

#[test]
fn an_8_bit_photo_is_prepared_bit_for_bit_as_before() {
    let photo = Photo::open(case("../images/rgb.png")).unwrap();
    assert!(photo.deep.is_none());
    let usual = Preprocessing { size: (33, 33), ..Preprocessing::imagenet() };
    let prepared = photo.prepare(&usual).unwrap().tensor;
    assert_eq!(prepared, crate::image::prepare(&photo.pixels, &usual).unwrap().tensor);
    let levels = fit(&photo.pixels, &usual).unwrap().pixels;
    assert_eq!(prepared[[0, 0, 5, 7]], (f32::from(levels[[5, 7, 0]]) / 255.0 - 0.485) / 0.229);
}

#[test]
fn colours_of_16_bits_keep_their_order_and_their_luma() {
    let image = ImageBuffer::<image::Rgb<u16>, _>::from_pixel(4, 4, image::Rgb([65535u16, 257, 13107]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    DynamicImage::ImageRgb16(image).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let photo = Photo::decode(bytes.get_ref(), "x.png").unwrap();
    assert_eq!(photo.pixels.get_pixel(0, 0).0, [255, 1, 51]);
    let zero = Preprocessing {
        color: Color::Bgr,
        size: (4, 4),
        crop: Crop::Squash,
        mean: vec![0.0; 3],
        std: vec![1.0; 3],
        ..Preprocessing::imagenet()
    };
    let tensor = photo.prepare(&zero).unwrap().tensor;
    for (channel, value) in [0.2, 1.0 / 255.0, 1.0].into_iter().enumerate() {
        assert!((tensor[[0, channel, 2, 2]] - value).abs() < 1e-6, "{tensor}");
    }
    let grey = photo.prepare(&plain((4, 4), Filter::Bilinear)).unwrap().tensor;
    let luma = (19595.0 + 38470.0 / 255.0 + 7471.0 * 0.2) / 65536.0;
    assert!((grey[[0, 0, 0, 0]] - luma).abs() < 1e-6, "{grey}");
}

#[test]
fn borders_of_a_grey_photo_have_the_mean_colour() {
    let photo = Photo::decode(&png(40, 20, |_, _| 30_000), "x.png").unwrap();
    let border = Preprocessing { size: (20, 20), crop: Crop::Border(1.0), ..Preprocessing::imagenet() };
    let tensor = photo.prepare(&border).unwrap().tensor;
    for channel in 0..3 {
        assert!(tensor[[0, channel, 0, 0]].abs() < 0.01, "the border is the mean: {}", tensor[[0, channel, 0, 0]]);
        assert!(
            (tensor[[0, channel, 10, 10]] - (30_000.0 / 65535.0 - border.mean[channel]) / border.std[channel]).abs()
                < 1e-5
        );
    }
}

#[test]
fn floats_from_0_to_1_are_read_and_others_ask_what_is_white() {
    let photo = Photo::open(case("float.tiff")).unwrap();
    assert_eq!(photo.pixels.dimensions(), (32, 24));
    assert!(photo.notes.is_empty() && photo.pixels.as_raw().contains(&255) && photo.pixels.as_raw().contains(&0));
    let levels = photo.prepare(&plain((24, 32), Filter::Bilinear)).unwrap().tensor;
    assert!(levels.iter().any(|value| (value * 255.0).fract() > 0.2), "more than 256 levels");
    let float = |value: f32| {
        let image = ImageBuffer::<image::Rgb<f32>, _>::from_pixel(2, 2, image::Rgb([value, 0.5, 0.0]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        DynamicImage::ImageRgb32F(image).write_to(&mut bytes, image::ImageFormat::Tiff).unwrap();
        bytes.into_inner()
    };
    let refused = |value: f32| match Photo::decode(&float(value), "x.tiff").unwrap_err() {
        error @ Error::ImageLevels { .. } => (error.to_string(), error.help().unwrap()),
        other => panic!("{other}"),
    };
    let (error, help) = refused(4095.0);
    assert_eq!(
        error,
        "cannot use the image x.tiff: its values are floats from 0 to 4095, and which of them is white is not known"
    );
    assert!(help.starts_with("say it: --white 1, --white 4095"), "{help}");
    assert!(refused(-0.5).0.contains("from -0.5 to 0.5"));
    assert!(refused(f32::NAN).0.ends_with("it holds the value NaN"));
    let photo = Photo::decode_with(&float(4095.0), "x.tiff".as_ref(), Some(4095.0)).unwrap();
    assert_eq!(photo.pixels.get_pixel(1, 1).0, [255, 0, 0]);
}

#[test]
fn photos_of_16_bits_are_turned_upright_as_well() {
    let file = |orientation: u8| {
        let mut bytes = png(3, 2, |x, y| (x as u16 + 1) * 10_000 + y as u16);
        // An eXIf chunk with nothing but the orientation, before the image data.
        let at = bytes.windows(4).position(|four| four == b"IDAT").unwrap() - 4;
        let mut exif = b"eXIfMM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0".to_vec();
        exif[23] = orientation;
        let mut chunk = ((exif.len() - 4) as u32).to_be_bytes().to_vec();
        let sum = !exif.iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
        });
        chunk.append(&mut exif);
        chunk.extend(sum.to_be_bytes());
        bytes.splice(at..at, chunk);
        Photo::decode(&bytes, "x.png").unwrap()
    };
    let upright = file(1);
    let turned = file(6);
    assert_eq!(upright.pixels.dimensions(), (3, 2));
    assert_eq!(turned.pixels.dimensions(), (2, 3));
    let tensor = |photo: &Photo, size| photo.prepare(&plain(size, Filter::Bilinear)).unwrap().tensor;
    let (flat, tall) = (tensor(&upright, (2, 3)), tensor(&turned, (3, 2)));
    // Turned clockwise: the first row becomes the last column.
    assert_eq!(tall[[0, 0, 2, 1]], flat[[0, 0, 0, 2]]);
    assert_eq!(tall[[0, 0, 0, 0]], flat[[0, 0, 1, 0]]);
}

#[test]
fn what_is_not_looked_at_in_a_tiff_is_said() {
    let six = Photo::open(case("six_bands.tiff")).unwrap_err();
    assert!(six.to_string().ends_with("six_bands.tiff has 6 bands, and a photo has one, three or four"), "{six}");
    assert!(six.help().unwrap().contains("--tensor"));
    let notes = |name: &str| Photo::open(case(name)).unwrap().notes;
    assert_eq!(notes("five_pages.tiff"), ["it has 5 pages: the first is taken"]);
    assert_eq!(notes("rgb_and_infrared.tiff"), ["it has 4 bands: the first three are taken as red, green and blue"]);
    assert_eq!(notes("../images/rgb.tiff"), [""; 0]);
}

#[test]
fn a_pnm_file_says_itself_what_is_white() {
    let pixels = |file: &[u8]| Photo::decode(file, "x.pgm").unwrap();
    assert_eq!(pixels(b"P2 3 1 15 0 5 15").pixels.into_raw(), [0, 0, 0, 85, 85, 85, 255, 255, 255]);
    let photo = pixels(b"P5 3 1 4095 \x00\x00\x08\x00\x0f\xff");
    assert_eq!(photo.pixels.as_raw()[..], [0, 0, 0, 128, 128, 128, 255, 255, 255]);
    assert_eq!(photo.notes, [""; 0]);
    // Black is 1 in a bitmap.
    assert_eq!(pixels(b"P1 2 1 0 1").pixels.into_raw(), [255, 255, 255, 0, 0, 0]);
}
