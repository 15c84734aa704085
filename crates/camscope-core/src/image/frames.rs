//! Whether a file holds more frames than the one that is looked at.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder as _, ImageFormat};

/// Whether the file is an animation of two frames or more.
pub(super) fn several(format: ImageFormat, bytes: &[u8]) -> bool {
    let content = || Cursor::new(bytes);
    match format {
        ImageFormat::Gif => GifDecoder::new(content()).is_ok_and(|gif| gif.into_frames().nth(1).is_some()),
        ImageFormat::Png => PngDecoder::new(content()).is_ok_and(|png| png.is_apng().unwrap_or(false)),
        ImageFormat::WebP => WebPDecoder::new(content()).is_ok_and(|webp| webp.has_animation()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use image::codecs::gif::GifEncoder;
    use image::{Frame, RgbaImage};

    use super::*;

    #[test]
    fn an_animation_is_told_from_one_picture() {
        let gif = |frames: u8| {
            let mut bytes = Vec::new();
            let mut encoder = GifEncoder::new(&mut bytes);
            for shade in 0..frames {
                let picture = RgbaImage::from_pixel(3, 2, image::Rgba([shade, 0, 0, 255]));
                encoder.encode_frame(Frame::new(picture)).unwrap();
            }
            drop(encoder);
            bytes
        };
        assert!(!several(ImageFormat::Gif, &gif(1)));
        assert!(several(ImageFormat::Gif, &gif(2)));
        assert!(!several(ImageFormat::Gif, b"GIF89a"));
    }
}
