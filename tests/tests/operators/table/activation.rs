use onnx_grad::ElemType;

use crate::case::{Case, case};

const SHAPE: [usize; 4] = [2, 3, 4, 3];

pub(crate) fn cases() -> Vec<Case> {
    let plain = [
        "Celu",
        "Elu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Mish",
        "Relu",
        "Selu",
        "Sigmoid",
        "Softplus",
        "Softsign",
        "Tanh",
    ];
    let mut cases: Vec<Case> = plain.iter().map(|op| case(op).x(&SHAPE).free_batch()).collect();
    cases.extend(
        ["Elu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Softsign", "Tanh"]
            .map(|op| case(op).opsets(&[7]).x(&SHAPE)),
    );
    cases.extend([
        case("Celu").attr_float("alpha", 0.6).x(&SHAPE),
        case("Elu").attr_float("alpha", 0.6).x(&SHAPE),
        case("Selu").attr_float("alpha", 1.3).attr_float("gamma", 0.8).x(&SHAPE),
        case("LeakyRelu").attr_float("alpha", 0.3).x(&SHAPE),
        case("LeakyRelu").attr_float("alpha", -0.3).x(&SHAPE).note("negative slope"),
        case("HardSigmoid").attr_float("alpha", 0.5).attr_float("beta", 0.25).x(&SHAPE),
        case("ThresholdedRelu").opsets(&[10, 18, 22]).x(&SHAPE).free_batch(),
        case("ThresholdedRelu").x(&SHAPE).attr_float("alpha", -0.5),
        case("Shrink").opsets(&[9, 18]).x(&SHAPE).free_batch(),
        case("Shrink").x(&SHAPE).attr_float("lambd", 1.0).attr_float("bias", 0.3),
        case("Shrink").x(&SHAPE).attr_float("lambd", 1.0).elem(ElemType::Double),
        case("HardSwish").x(&[7]).note("a vector"),
        case("PRelu").x(&SHAPE).x(&[3, 1, 1]).free_batch(),
        case("PRelu").x(&SHAPE).x(&[1]).note("one slope"),
        case("PRelu").x(&SHAPE).x(&SHAPE).note("a slope each"),
        case("PRelu").opsets(&[7, 9, 16]).x(&SHAPE).x(&[3, 1, 1]),
        case("Clip").x(&SHAPE).scalar(-1.0).scalar(1.0).free_batch(),
        case("Clip").x(&SHAPE).scalar(-0.5).note("no upper bound"),
        case("Clip").x(&SHAPE).absent().scalar(0.5).note("no lower bound"),
        case("Clip").x(&SHAPE).note("no bounds"),
        case("Clip").x(&SHAPE).x(&[]).scalar(1.5).note("a bound that is computed"),
        case("Clip").x(&SHAPE).scalar(-1.5).x(&[]).note("an upper bound that is computed"),
        case("Clip").opsets(&[7, 10]).x(&SHAPE).attr_float("min", 0.0).attr_float("max", 1.0),
        case("Clip").opsets(&[11, 13]).x(&SHAPE).scalar(0.0).scalar(1.0),
    ]);
    cases
}
