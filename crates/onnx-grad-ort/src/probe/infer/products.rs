//! What products of matrices give.

use super::{Call, shapes::broadcast};

/// The shape of `MatMul`'s output.
pub(super) fn matmul(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let [a_lead @ .., rows, inner] = a else { return None };
    let [b_lead @ .., other, columns] = b else { return None };
    let mut dims = broadcast(a_lead, b_lead)?;
    dims.extend([*rows, *columns]);
    (inner == other).then_some(dims)
}

/// The shape of `Gemm`'s output.
pub(super) fn gemm(call: &Call<'_>) -> Option<Vec<usize>> {
    let turned = |at: usize, flag: &str| match (call.dims(at)?, call.flag(flag)) {
        (&[rows, columns], false) | (&[columns, rows], true) => Some([rows, columns]),
        _ => None,
    };
    let ([rows, inner], [other, columns]) = (turned(0, "transA")?, turned(1, "transB")?);
    let dims = vec![rows, columns];
    let fits = !call.has(2) || broadcast(&dims, call.dims(2)?)? == dims;
    (inner == other && fits).then_some(dims)
}

/// The shape of `Einsum`'s output, where the equation spells it out.
pub(super) fn einsum(call: &Call<'_>) -> Option<Vec<usize>> {
    let equation: String = call.node.attr_str("equation")?.split_whitespace().collect();
    let (terms, result) = equation.split_once("->")?;
    let mut sizes: Vec<(char, usize)> = Vec::new();
    let terms: Vec<&str> = terms.split(',').collect();
    (terms.len() == call.inputs.len()).then_some(())?;
    for (at, term) in terms.into_iter().enumerate() {
        let dims = call.dims(at)?;
        (term.len() == dims.len() && term.chars().all(|letter| letter.is_ascii_alphabetic())).then_some(())?;
        for (letter, &size) in term.chars().zip(dims) {
            match sizes.iter().find(|(known, _)| *known == letter) {
                Some((_, known)) => (*known == size).then_some(())?,
                None => sizes.push((letter, size)),
            }
        }
    }
    result.chars().map(|letter| sizes.iter().find(|(known, _)| *known == letter).map(|(_, size)| *size)).collect()
}
