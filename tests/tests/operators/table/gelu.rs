use crate::case::{Case, case};

const SHAPE: [usize; 3] = [2, 3, 4];

pub(crate) fn cases() -> Vec<Case> {
    let microsoft = |op| case(op).domain("com.microsoft").opsets(&[18]);
    vec![
        case("Gelu").opsets(&[20, 22]).x(&SHAPE).free_batch(),
        case("Gelu").opsets(&[20, 22]).x(&SHAPE).attr_str("approximate", "none"),
        case("Gelu").opsets(&[20, 22]).x(&SHAPE).attr_str("approximate", "tanh").free_batch(),
        case("Swish").opsets(&[24]).x(&SHAPE).free_batch(),
        // ONNX Runtime has no kernel for it yet; ONNX's own node tests check it.
        case("SwiGLU").opsets(&[]).x(&SHAPE).x(&SHAPE),
        case("Swish").opsets(&[24]).x(&SHAPE).attr_float("alpha", 1.7),
        microsoft("Gelu").x(&SHAPE).free_batch(),
        microsoft("BiasGelu").x(&SHAPE).x(&[4]).free_batch(),
        microsoft("FastGelu").x(&SHAPE).free_batch(),
        microsoft("FastGelu").x(&SHAPE).x(&[4]).note("bias"),
        microsoft("QuickGelu").x(&SHAPE).free_batch(),
        microsoft("QuickGelu").x(&SHAPE).attr_float("alpha", 0.8),
    ]
}
