use crate::case::{Case, Draw, case};

const SHAPE: [usize; 4] = [2, 3, 4, 3];

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes: [(&[usize], &[usize]); 8] = [
        (&SHAPE, &SHAPE),
        (&SHAPE, &[3, 1, 1]),
        (&SHAPE, &[1]),
        (&SHAPE, &[]),
        (&[3], &SHAPE),
        (&[2, 1, 4, 1], &[3, 1, 3]),
        (&[1, 1], &[1]),
        (&[2, 1], &[1, 3]),
    ];
    for op in ["Add", "Sub", "Mul", "Div", "Max", "Min", "Mean", "Sum"] {
        let right = if op == "Div" { Draw::AboveOne } else { Draw::Any };
        cases.extend(shapes.iter().map(|(a, b)| case(op).x(a).x_from(b, right)));
        cases.push(case(op).x(&SHAPE).x_from(&[1, 3, 1, 1], right).note("one side fixed").opsets(&[8, 13]));
        cases.push(case(op).x(&SHAPE).x_from(&SHAPE, right).free_batch());
    }
    for op in ["Add", "Sub", "Mul"] {
        cases.push(case(op).opsets(&[7]).x(&SHAPE).x(&[3, 1, 1]));
    }
    for op in ["Max", "Min", "Mean", "Sum"] {
        cases.push(case(op).x(&SHAPE).note("one input"));
        cases.push(case(op).x(&SHAPE).x(&[3]).x(&[3, 1, 1]).note("three inputs"));
    }
    let unary = [
        ("Abs", Draw::Any),
        ("Acos", Draw::Unit),
        ("Acosh", Draw::AboveOne),
        ("Asin", Draw::Unit),
        ("Asinh", Draw::Any),
        ("Atan", Draw::Any),
        ("Atanh", Draw::Unit),
        ("Cos", Draw::Any),
        ("Cosh", Draw::Any),
        ("Erf", Draw::Any),
        ("Exp", Draw::Any),
        ("Log", Draw::Positive),
        ("Neg", Draw::Any),
        ("Reciprocal", Draw::AboveOne),
        ("Sin", Draw::Any),
        ("Sinh", Draw::Any),
        ("Sqrt", Draw::Positive),
        ("Tan", Draw::Unit),
    ];
    cases.extend(unary.map(|(op, draw)| case(op).x_from(&[2, 3, 5], draw).free_batch()));
    for op in ["Abs", "Exp", "Log", "Neg", "Reciprocal", "Sqrt"] {
        let draw = if op == "Log" || op == "Sqrt" || op == "Reciprocal" { Draw::AboveOne } else { Draw::Any };
        cases.push(case(op).opsets(&[7]).x_from(&SHAPE, draw));
    }
    // The data keep away from multiples of ½, the quotients from whole numbers.
    cases.extend([
        case("Mod").attr_int("fmod", 1).opsets(&[10, 18, 22]).x(&SHAPE).scalar(0.5).free_batch(),
        case("Mod").attr_int("fmod", 1).x(&SHAPE).scalar(-0.5),
        case("Mod").attr_int("fmod", 1).floats(&[3], &[3.3, -3.3, 3.3]).x_from(&[3], Draw::AboveOne),
        case("Mod").attr_int("fmod", 1).floats(&[2, 3], &[3.3, -3.3, 3.3, 9.9, 9.9, -9.9]).x_from(&[3], Draw::AboveOne),
    ]);
    cases.extend([
        case("Pow").x_from(&SHAPE, Draw::Positive).x(&SHAPE).free_batch(),
        case("Pow").x_from(&SHAPE, Draw::Positive).x(&[3]),
        case("Pow").x(&SHAPE).scalar(2.0),
        case("Pow").x(&SHAPE).scalar(3.0),
        case("Pow").x(&SHAPE).scalar(1.0),
        case("Pow").x(&SHAPE).scalar(0.0),
        case("Pow").x(&SHAPE).scalar(4.0),
        case("Pow").x_from(&SHAPE, Draw::Positive).scalar(0.5),
        case("Pow").x_from(&SHAPE, Draw::Positive).scalar(-1.5),
        case("Pow").x_from(&SHAPE, Draw::Positive).floats(&[3], &[0.0, 1.0, 2.5]),
        case("Pow").x(&SHAPE).int_tensor(&[], &[2]).note("an integer exponent").opsets(&[13, 18]),
        case("Pow").opsets(&[7]).x_from(&SHAPE, Draw::Positive).x(&[3, 1, 1]),
        case("Where").bools(&[3], &[true, false, true]).x(&SHAPE).x(&SHAPE),
        case("Where")
            .bools(&[2, 1, 4, 1], &[true, false, true, false, false, false, true, true])
            .x(&[3])
            .x(&[1, 3, 1, 1]),
        case("Where").opsets(&[9, 16]).bools(&[1], &[false]).x(&SHAPE).x(&[]),
    ]);
    cases
}
