//! Weights packed in a few bits, which are unpacked once.

use super::Shadow;
use crate::{
    builder::Val,
    proto::{NodeProto, TensorProto},
    types::ElemType,
};

impl Shadow<'_> {
    /// `MatMulNBits`: a · bᵀ, b of N rows and K columns, packed by blocks along K, low bits first; a scale and a zero point a block.
    pub(super) fn matmul_bits(&mut self, node: &NodeProto) -> Option<()> {
        let size = |name: &str| usize::try_from(node.attr_int(name)?).ok().filter(|&size| size > 0);
        let (k, n, block) = (size("K")?, size("N")?, size("block_size")?);
        let bits = node.attr_int("bits").unwrap_or(4);
        if !matches!(bits, 2 | 4 | 8) || node.input.get(4).is_some_and(|order| !order.is_empty()) {
            return None;
        }
        let constant = |i: usize| self.index.constant(node.input.get(i).filter(|name| !name.is_empty())?);
        let packed: Vec<u8> = bytes(constant(1)?)?;
        let scales = constant(2)?.to_floats().ok()?;
        let zeros = match node.input.get(3).filter(|name| !name.is_empty()) {
            Some(_) => Some(constant(3)?),
            None => None,
        };
        let per_byte = 8 / bits as usize;
        let blocks = k.div_ceil(block);
        let mask = ((1u16 << bits) - 1) as u8;
        let in_row = blocks * block.div_ceil(per_byte);
        if packed.len() != n.checked_mul(in_row)? || scales.len() != n.checked_mul(blocks)? {
            return None;
        }
        let take = |bytes: &[u8], at: usize| {
            bytes.get(at / per_byte).map(|byte| f64::from(byte >> (bits as usize * (at % per_byte)) & mask))
        };
        let zero_rows = blocks.div_ceil(per_byte);
        let zeros: Option<Vec<f64>> = match zeros {
            None => Some(vec![f64::from(1u16 << (bits - 1)); n * blocks]),
            Some(zeros) if zeros.elem_type() == ElemType::Uint8 => {
                let zeros = bytes(zeros)?;
                let one = |at: usize| take(zeros.get(at / blocks * zero_rows..)?, at % blocks);
                (0..n * blocks).map(one).collect()
            }
            Some(zeros) => zeros.to_floats().ok().filter(|zeros| zeros.len() == n * blocks),
        };
        let zeros = zeros?;
        // As it is multiplied: K rows, N columns.
        let mut matrix = vec![0.0; k.checked_mul(n)?];
        for row in 0..n {
            let row_bytes = &packed[row * in_row..(row + 1) * in_row];
            for column in 0..k {
                let of_block = row * blocks + column / block;
                matrix[column * n + row] = (take(row_bytes, column)? - zeros[of_block]) * scales[of_block];
            }
        }
        let dims = [k as i64, n as i64];
        let b = self.constant(TensorProto::floats("", ElemType::Float, &dims, &matrix));
        let bias = node.input.get(5).map_or("", String::as_str);
        self.product(node, &Val::new(node.input.first()?), &b, bias)
    }
}

/// A constant's bytes.
fn bytes(tensor: &TensorProto) -> Option<Vec<u8>> {
    let ints = tensor.to_ints().ok()?;
    ints.into_iter().map(|int| u8::try_from(int).ok()).collect()
}
