//! Element-wise programs: what a chain of element-wise operators computes for one element, run over whole blocks of them.

use super::functions;

/// Elements that go through a program at once: few enough that everything in between stays in the nearest cache.
pub(crate) const BLOCK: usize = 512;

/// The most steps that a program may have.
pub(crate) const MOST_STEPS: usize = 64;

macro_rules! operations {
    ($($name:ident $arity:literal $about:literal,)*) => {
        /// What a step computes of its operands a, b and c. Truth is 1 and 0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Operation {
            $(#[doc = $about] $name,)*
        }

        impl Operation {
            const ALL: &[Self] = &[$(Self::$name,)*];

            /// How many operands it has.
            pub(crate) fn arity(self) -> usize {
                match self { $(Self::$name => $arity,)* }
            }
        }
    };
}

operations! {
    Add 2 "a + b",
    Sub 2 "a − b",
    Mul 2 "a b",
    Div 2 "a / b",
    Max 2 "The larger; b where one is no number.",
    Min 2 "The smaller; b where one is no number.",
    Less 2 "a < b",
    LessOrEqual 2 "a ≤ b",
    Equal 2 "a = b",
    Select 3 "b where a is true, else c",
    Neg 1 "−a",
    Abs 1 "|a|",
    Sign 1 "−1, 0 or 1",
    Sqrt 1 "√a",
    Reciprocal 1 "1 / a",
    Exp 1 "eᵃ",
    Sigmoid 1 "1 / (1 + e⁻ᵃ)",
    Tanh 1 "tanh a",
    Erf 1 "erf a",
    Clamp 3 "a, at least b, at most c",
    Line 3 "a b + c",
}

impl Operation {
    fn from_code(code: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }

    fn code(self) -> i64 {
        self as i64
    }
}

/// An operand of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    /// An input.
    Input(usize),
    /// What an earlier step gave.
    Step(usize),
    /// A constant, by its place in the list.
    Constant(usize),
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) operation: Operation,
    pub(crate) operands: [Operand; 3],
}

/// A program; the last step gives the result.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Program {
    pub(crate) inputs: usize,
    pub(crate) constants: Vec<f32>,
    pub(crate) steps: Vec<Step>,
}

impl Program {
    /// As integers, four a step: the operation and its operands (inputs from 0, then constants, then steps).
    pub(crate) fn code(&self) -> Vec<i64> {
        let place = |operand: Operand| {
            (match operand {
                Operand::Input(at) => at,
                Operand::Constant(at) => self.inputs + at,
                Operand::Step(at) => self.inputs + self.constants.len() + at,
            }) as i64
        };
        let step = |step: &Step| [step.operation.code()].into_iter().chain(step.operands.map(place));
        self.steps.iter().flat_map(step).collect()
    }

    /// Reads what [`Program::code`] wrote.
    pub(crate) fn decode(inputs: usize, constants: Vec<f32>, code: &[i64]) -> Option<Self> {
        let mut steps = Vec::new();
        for (number, row) in code.chunks(4).enumerate() {
            let [operation, operands @ ..] = row else { return None };
            let operand = |place: i64| {
                let place = usize::try_from(place).ok()?;
                let behind = place.checked_sub(inputs);
                let step = behind.and_then(|place| place.checked_sub(constants.len()));
                match (behind, step) {
                    (None, _) => Some(Operand::Input(place)),
                    (Some(constant), None) => Some(Operand::Constant(constant)),
                    (_, Some(step)) => (step < number).then_some(Operand::Step(step)),
                }
            };
            let [a, b, c] = operands else { return None };
            steps.push(Step {
                operation: Operation::from_code(*operation)?,
                operands: [operand(*a)?, operand(*b)?, operand(*c)?],
            });
        }
        (!steps.is_empty() && steps.len() <= MOST_STEPS).then_some(Self { inputs, constants, steps })
    }
}

/// A program with room for what it computes in between: one a thread.
pub(crate) struct Machine<'a> {
    program: &'a Program,
    /// Constants, inputs that are one number in this block, and steps: a block each.
    constants: Vec<[f32; BLOCK]>,
    splats: Vec<[f32; BLOCK]>,
    steps: Vec<[f32; BLOCK]>,
    wide: bool,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(program: &'a Program) -> Self {
        Self {
            program,
            constants: program.constants.iter().map(|&value| [value; BLOCK]).collect(),
            splats: Vec::new(),
            steps: vec![[0.0; BLOCK]; program.steps.len()],
            wide: functions::is_wide(),
        }
    }

    /// Computes the next elements, at most [`BLOCK`] of them. Each input is as many elements, or one for all.
    ///
    /// # Safety
    /// The pointers are good for as many elements; `output` may be one of the inputs.
    pub(crate) unsafe fn run(&mut self, inputs: &[(*const f32, bool)], output: *mut f32, count: usize) {
        if self.splats.is_empty() && inputs.iter().any(|&(_, one)| one) {
            self.splats = vec![[0.0; BLOCK]; inputs.len()];
        }
        for (splat, &(pointer, one)) in self.splats.iter_mut().zip(inputs) {
            if one {
                // SAFETY: the caller's promise.
                splat[..count].fill(unsafe { *pointer });
            }
        }
        for (number, step) in self.program.steps.iter().enumerate() {
            let (before, from_here) = self.steps.split_at_mut(number);
            let operand = |operand: Operand| match operand {
                Operand::Input(at) if inputs[at].1 => &self.splats[at][..count],
                // SAFETY: the caller's promise; nothing is written to memory that inputs lie in before the last step is done.
                Operand::Input(at) => unsafe { std::slice::from_raw_parts(inputs[at].0, count) },
                Operand::Constant(at) => &self.constants[at][..count],
                Operand::Step(at) => &before[at][..count],
            };
            functions::apply(self.wide, step.operation, step.operands.map(operand), &mut from_here[0][..count]);
        }
        // The result goes out last, since it may lie where an input does.
        if let Some(result) = self.steps.last() {
            // SAFETY: the caller's promise.
            unsafe { std::ptr::copy_nonoverlapping(result.as_ptr(), output, count) };
        }
    }
}
