use onnx_grad::ElemType;

use crate::case::{Case, Draw, case};

pub(crate) fn cases() -> Vec<Case> {
    let layer = |x: &[usize], scale: &[usize]| case("LayerNormalization").x(x).x(scale);
    let mut cases = vec![
        layer(&[2, 3, 8], &[8]).x(&[8]).free_batch(),
        layer(&[2, 3, 8], &[8]).note("without bias"),
        layer(&[2, 3, 4, 3], &[4, 3]).x(&[4, 3]).attr_int("axis", 2).free_batch().note("two axes"),
        layer(&[2, 3, 4], &[2, 3, 4]).attr_int("axis", 0).note("all axes"),
        layer(&[2, 3, 4], &[3, 4]).x(&[3, 4]).attr_int("axis", -2).attr_float("epsilon", 0.1),
        layer(&[2, 3, 4], &[4]).x(&[3, 1]).attr_int("axis", 1).note("broadcast scale and bias"),
        layer(&[2, 3, 8], &[8]).x(&[8]).outputs(3).note("gradients of the statistics too").free_batch(),
        layer(&[7], &[7]).x(&[7]).note("a vector"),
        layer(&[2, 3, 8], &[8]).x(&[8]).opsets(&[17]),
        layer(&[2, 3, 8], &[8]).x(&[8]).elem(ElemType::Double),
        layer(&[2, 3, 8], &[8]).x(&[8]).elem(ElemType::Float16).tolerance(1e-2),
    ];
    let rms = |x: &[usize], scale: &[usize]| case("RMSNormalization").opsets(&[23]).x(x).x(scale);
    cases.extend([
        rms(&[2, 3, 8], &[8]).free_batch(),
        rms(&[2, 3, 4], &[3, 4]).attr_int("axis", 1).attr_float("epsilon", 0.1),
        rms(&[2, 3, 4], &[4]).attr_int("axis", -2).note("broadcast scale"),
        rms(&[2, 3, 8], &[8]).elem(ElemType::Double),
        rms(&[2, 3, 8], &[8]).elem(ElemType::Float16).tolerance(1e-2),
        case("SimplifiedLayerNormalization").x(&[2, 3, 8]).x(&[8]).free_batch(),
        case("SimplifiedLayerNormalization").x(&[2, 3, 8]).x(&[8]).outputs(2).note("gradient of 1/s too"),
    ]);
    let skip = |op, x: &[usize], skip: &[usize]| case(op).domain("com.microsoft").opsets(&[18]).x(x).x(skip).x(&[6]);
    let (layer, simple) = ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization");
    cases.extend([
        skip(layer, &[2, 3, 6], &[2, 3, 6]).note("without beta"),
        skip(layer, &[2, 3, 6], &[2, 3, 6]).x(&[6]).free_batch(),
        skip(layer, &[2, 3, 6], &[2, 3, 6]).x(&[6]).x(&[6]).attr_float("epsilon", 0.1).note("bias"),
        skip(layer, &[2, 3, 6], &[1, 3, 6]).x(&[6]).note("skip broadcast"),
        skip(layer, &[2, 3, 6], &[3, 6]).x(&[6]).note("skip broadcast"),
        skip(simple, &[2, 3, 6], &[2, 3, 6]).free_batch(),
        skip(simple, &[2, 3, 6], &[2, 3, 6]).x(&[6]).note("bias"),
    ]);
    for shape in [&[2, 3, 5][..], &[2, 3, 4, 3], &[1, 3, 2, 3, 2]] {
        let norm = |opsets: &[i64]| case("InstanceNormalization").opsets(opsets).x(shape).x(&[3]).x(&[3]);
        cases.extend([norm(&[18, 22]).free_batch(), norm(&[7]).attr_float("epsilon", 0.1)]);
    }
    for shape in [&[2, 6, 3][..], &[2, 6, 3, 2], &[1, 6, 2, 3, 2]] {
        let norm = |opsets: &[i64], groups, scales: usize| {
            let norm = case("GroupNormalization").opsets(opsets).attr_int("num_groups", groups);
            norm.x(shape).x(&[scales]).x(&[scales])
        };
        cases.extend([
            norm(&[18, 20], 3, 3).note("a scale a group"),
            norm(&[21, 22], 3, 6).free_batch(),
            norm(&[21], 1, 6).attr_float("epsilon", 0.1).note("one group"),
            norm(&[21], 6, 6).note("a group a channel"),
        ]);
    }
    let mvn = || case("MeanVarianceNormalization");
    cases.extend([
        mvn().x(&[2, 3, 4, 3]),
        mvn().x(&[2, 3, 4, 3]).attr_ints("axes", &[2, 3]).free_batch(),
        mvn().x(&[2, 3, 4]).attr_ints("axes", &[-1]),
        mvn().opsets(&[9]).x(&[2, 3, 4, 3]).attr_ints("axes", &[0, 1, 2, 3]),
    ]);
    for p in [1, 2] {
        let lp = || case("LpNormalization").attr_int("p", p);
        cases.extend([
            lp().x(&[2, 3, 5]).free_batch(),
            lp().x(&[2, 3, 5]).attr_int("axis", 1).opsets(&[7, 18]),
            lp().x_from(&[4, 3], Draw::Positive).attr_int("axis", 0),
            lp().x(&[2, 3, 5]).elem(ElemType::Double),
        ]);
    }
    cases
}
