//! Facts about the standard domain's operators that hold whatever a node's attributes are: one table for all that infer shapes and types.

/// How an element-wise operator's output lies over its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// An element of the output comes from the first input's element at the same place. Further inputs are scalars, or tell a type.
    Each,
    /// All inputs are broadcast against each other.
    Broadcast,
}

/// The element type of an element-wise operator's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// That of an input.
    Like(usize),
    /// Boolean.
    Bool,
    /// What the attribute `to` says.
    Stated,
}

/// An element-wise operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elementwise {
    /// What shape its output has.
    pub reads: Reads,
    /// What type.
    pub gives: Gives,
}

/// What is known of an operator of the standard domain, if it is element-wise. `PRelu` isn't: its slope is broadcast to its first input,
/// and not the other way.
pub fn elementwise(op: &str) -> Option<Elementwise> {
    let (reads, gives) = match op {
        "Abs" | "Acos" | "Acosh" | "Asin" | "Asinh" | "Atan" | "Atanh" | "BitwiseNot" | "Ceil" | "Celu" | "Clip"
        | "Cos" | "Cosh" | "Elu" | "Erf" | "Exp" | "Floor" | "Gelu" | "HardSigmoid" | "HardSwish" | "Identity"
        | "LeakyRelu" | "Log" | "Mish" | "Neg" | "Not" | "Reciprocal" | "Relu" | "Round" | "Selu" | "Shrink"
        | "Sigmoid" | "Sign" | "Sin" | "Sinh" | "Softplus" | "Softsign" | "Sqrt" | "Swish" | "Tan" | "Tanh"
        | "ThresholdedRelu" => (Reads::Each, Gives::Like(0)),
        "IsInf" | "IsNaN" => (Reads::Each, Gives::Bool),
        "Cast" => (Reads::Each, Gives::Stated),
        "CastLike" => (Reads::Each, Gives::Like(1)),
        "Add" | "BitShift" | "BitwiseAnd" | "BitwiseOr" | "BitwiseXor" | "Div" | "Max" | "Mean" | "Min" | "Mod"
        | "Mul" | "Pow" | "Sub" | "Sum" => (Reads::Broadcast, Gives::Like(0)),
        "Where" => (Reads::Broadcast, Gives::Like(1)),
        "And" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "Or" | "Xor" => {
            (Reads::Broadcast, Gives::Bool)
        }
        _ => return None,
    };
    Some(Elementwise { reads, gives })
}
