use onnx_grad::ElemType;

use crate::case::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let rows: &[(&str, &[&[usize]])] = &[
        ("ij,jk->ik", &[&[2, 3], &[3, 4]]),
        ("ij,jk", &[&[2, 3], &[3, 4]]),
        ("kj,ji", &[&[2, 3], &[3, 4]]),
        ("bhid,bhjd->bhij", &[&[2, 2, 3, 4], &[2, 2, 5, 4]]),
        ("bhij,bhjd->bihd", &[&[2, 2, 3, 5], &[2, 2, 5, 4]]),
        ("b h i d , b h j d -> b h i j", &[&[2, 1, 3, 2], &[2, 1, 4, 2]]),
        ("i,j->ij", &[&[3], &[4]]),
        ("i,i->", &[&[3], &[3]]),
        ("i,i->i", &[&[3], &[3]]),
        ("ij->ji", &[&[2, 3]]),
        ("ij->", &[&[2, 3]]),
        ("ijk->j", &[&[2, 3, 4]]),
        ("ijk->ki", &[&[2, 3, 4]]),
        ("ij,kl->i", &[&[2, 3], &[4, 2]]),
        ("ii->i", &[&[3, 3]]),
        ("ii->", &[&[3, 3]]),
        ("iji->j", &[&[3, 2, 3]]),
        ("iij->ji", &[&[3, 3, 2]]),
        ("iii->i", &[&[3, 3, 3]]),
        ("aab,abb->ab", &[&[2, 2, 3], &[2, 3, 3]]),
        ("ii,i->i", &[&[3, 3], &[3]]),
        ("...ij,...jk->...ik", &[&[2, 3, 4], &[2, 4, 2]]),
        ("...ij,...jk->...ik", &[&[2, 1, 3, 4], &[1, 3, 4, 2]]),
        ("...ij,jk", &[&[2, 3, 4], &[4, 2]]),
        ("i...->...i", &[&[2, 3, 4]]),
        ("i...->...", &[&[2, 3, 4]]),
        ("...ii->...i", &[&[2, 3, 3]]),
        ("bi,ij->bj", &[&[2, 1], &[3, 4]]),
        ("i,i->", &[&[3], &[1]]),
        ("bi,bj,bk->bijk", &[&[2, 2], &[2, 3], &[2, 4]]),
        ("ij,jk,kl->il", &[&[2, 3], &[3, 4], &[4, 2]]),
        ("i,,->i", &[&[3], &[], &[]]),
        ("Ab,bC->AC", &[&[2, 3], &[3, 4]]),
    ];
    let row = |(equation, shapes): &(&str, &[&[usize]])| {
        let einsum = case("Einsum").attr_str("equation", equation).note(equation);
        shapes.iter().fold(einsum, |einsum, shape| einsum.x(shape))
    };
    let mut cases: Vec<Case> = rows.iter().map(row).collect();
    let attention = || case("Einsum").attr_str("equation", "bhid,bhjd->bhij");
    cases.extend([
        attention().x(&[2, 2, 3, 4]).x(&[2, 2, 5, 4]).free_batch(),
        attention().x(&[2, 2, 3, 4]).x(&[2, 2, 5, 4]).opsets(&[12]),
        attention().x(&[2, 2, 3, 4]).x(&[2, 2, 5, 4]).elem(ElemType::Double),
        case("Einsum").attr_str("equation", "bi->b").x(&[2, 3]).free_batch(),
        case("Einsum").attr_str("equation", "bii->bi").x(&[2, 3, 3]).free_batch(),
    ]);
    cases
}
