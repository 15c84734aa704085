//! The tiny model that providers are tried with: one convolution, since that is what needs most of a provider's own
//! libraries (cuDNN, for CUDA) and what the explained networks are made of.

/// The model's input: nine ones.
pub(super) const INPUT: &str = "x";
/// The input's shape.
pub(super) const INPUT_SHAPE: [usize; 4] = [1, 1, 3, 3];
/// The model's output, of shape 1 × 1 × 1 × 1.
pub(super) const OUTPUT: &str = "y";
/// The sum of nine ones, each weighted with one.
pub(super) const EXPECTED: f32 = 9.0;

/// `y = Conv(x, w)` with `w` = 3 × 3 ones, as an ONNX file (IR version 8, opset 13), field by field.
#[rustfmt::skip]
pub(super) const BYTES: &[u8] = &[
    8, 8,                                                   // ir_version
    58, 135, 1,                                             // graph
      10, 15, 10, 1, b'x', 10, 1, b'w', 18, 1, b'y', 34, 4, b'C', b'o', b'n', b'v',
      18, 5, b'p', b'r', b'o', b'b', b'e',
      42, 51, 8, 1, 8, 1, 8, 3, 8, 3, 16, 1, 66, 1, b'w',   // initializer: dims, data_type, name, raw_data
        74, 36, 0, 0, 128, 63, 0, 0, 128, 63, 0, 0, 128, 63, 0, 0, 128, 63, 0, 0, 128, 63,
        0, 0, 128, 63, 0, 0, 128, 63, 0, 0, 128, 63, 0, 0, 128, 63,
      90, 27, 10, 1, b'x', 18, 22, 10, 20, 8, 1, 18, 16, 10, 2, 8, 1, 10, 2, 8, 1, 10, 2, 8, 3, 10, 2, 8, 3,
      98, 27, 10, 1, b'y', 18, 22, 10, 20, 8, 1, 18, 16, 10, 2, 8, 1, 10, 2, 8, 1, 10, 2, 8, 1, 10, 2, 8, 1,
    66, 2, 16, 13,                                          // opset_import
];
