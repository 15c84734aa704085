//! Inputs that say how large the photo is: fed the input's own size where nobody says another, so that what comes back is in its pixels.

use ndarray::{ArrayD, IxDyn};

use super::network::{Input, Network};

impl Network {
    /// Feeds the inputs that say how large the photo is, or which of its pixels are one, but for those of which `is_given`. Sizes are those of
    /// the network's input, `size` (height, width): then boxes come back in its pixels. Says what was fed, each in a sentence.
    pub fn feed_sizes(&mut self, size: (u32, u32), is_given: impl Fn(&str) -> bool) -> Vec<String> {
        let natural: Vec<(String, ArrayD<f32>, &str)> = self
            .others()
            .filter(|input| !is_given(&input.name))
            .filter_map(|input| natural(input, size).map(|(value, what)| (input.name.clone(), value, what)))
            .collect();
        let mut notes = Vec::new();
        for (name, value, what) in natural {
            // One that doesn't fit is left for its caller to feed.
            if self.feed(&name, value, None).is_ok() {
                if let Some(input) = self.inputs.iter_mut().find(|input| input.name == name) {
                    input.by_default = Some(what);
                }
                notes.push(format!("the input `{name}` is fed {what}; --input {name}=NUMBERS feeds others"));
            }
        }
        notes
    }
}

/// What an input is fed by its name, and that in words.
fn natural(input: &Input, (height, width): (u32, u32)) -> Option<(ArrayD<f32>, &'static str)> {
    let name = input.name.split(':').next().unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let (height, width) = (height as f32, width as f32);
    let (numbers, what) = match name.as_str() {
        // RT-DETR and D-FINE multiply boxes by width, height, width, height.
        "orig_target_sizes" => {
            (vec![width, height], "the width and height of the network's input, whose pixels boxes are in")
        }
        "im_shape" | "image_shape" | "img_shape" | "image_size" | "input_size" | "orig_im_size" | "original_size" => {
            (vec![height, width], "the height and width of the network's input, whose pixels boxes are in")
        }
        "scale_factor" => (vec![1.0, 1.0], "1 and 1: boxes are in the pixels of the network's input"),
        "im_info" => (vec![height, width, 1.0], "the height and width of the network's input, and the scale 1"),
        "pixel_mask" => {
            let open = [1, height as usize, width as usize];
            let shape: Vec<usize> =
                input.shape.iter().enumerate().map(|(at, own)| own.unwrap_or(*open.get(at).unwrap_or(&1))).collect();
            return (shape.len() == 3).then(|| (ArrayD::ones(IxDyn(&shape)), "ones: every pixel is the photo's"));
        }
        _ => return None,
    };
    let shape: Vec<usize> = match input.shape[..] {
        [batch, own] if own.is_none_or(|own| own == numbers.len()) => vec![batch.unwrap_or(1), numbers.len()],
        [own] if own.is_none_or(|own| own == numbers.len()) => vec![numbers.len()],
        _ => return None,
    };
    (shape.iter().product::<usize>() == numbers.len())
        .then(|| ArrayD::from_shape_vec(IxDyn(&shape), numbers).ok())
        .flatten()
        .map(|value| (value, what))
}

#[cfg(test)]
mod tests {
    use onnx_grad::ElemType;

    use super::*;

    #[test]
    fn inputs_that_say_the_photos_size_are_known_by_their_names() {
        let of = |name: &str, shape: &[Option<usize>]| {
            let input = Input {
                name: name.into(),
                elem: ElemType::Int64,
                shape: shape.to_vec(),
                value: None,
                photo: None,
                by_default: None,
            };
            natural(&input, (480, 640))
                .map(|(value, _)| (value.shape().to_vec(), value.iter().copied().collect::<Vec<_>>()))
        };
        assert_eq!(of("orig_target_sizes", &[None, Some(2)]), Some((vec![1, 2], vec![640.0, 480.0])));
        assert_eq!(of("im_shape", &[None, Some(2)]), Some((vec![1, 2], vec![480.0, 640.0])));
        assert_eq!(of("scale_factor", &[Some(1), Some(2)]), Some((vec![1, 2], vec![1.0, 1.0])));
        assert_eq!(of("serving/image_shape:0", &[Some(2)]), Some((vec![2], vec![480.0, 640.0])));
        assert_eq!(of("im_info", &[Some(1), Some(3)]), Some((vec![1, 3], vec![480.0, 640.0, 1.0])));
        assert_eq!(of("pixel_mask", &[None, None, None]).map(|(shape, _)| shape), Some(vec![1, 480, 640]));
        assert_eq!(of("im_shape", &[None, Some(4)]), None);
        assert_eq!(of("meta", &[None, Some(2)]), None);
    }
}
