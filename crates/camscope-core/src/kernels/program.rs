//! Element-wise programs: what a chain of element-wise operators computes for one element, run over whole blocks of them.

use super::functions;
use crate::instructions::{self, Has};

/// Elements that go through a program at once: few enough that everything in between stays in the nearest cache.
pub(crate) const BLOCK: usize = 1024;

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
    HardSigmoid 3 "a b + c, at least 0, at most 1",
    IfAbove 3 "a where b > c, else 0",
    IfBelow 3 "a where b < c, else 0",
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
    /// The same program in fewer steps: a product with the mask of a comparison with a constant, which the rules write as a steep
    /// `HardSigmoid`, is a choice.
    pub(crate) fn with_choices(mut self) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        // Where each old step's result is now.
        let mut moved: Vec<Operand> = Vec::new();
        for at in 0..self.steps.len() {
            let step = self.steps[at];
            let masks = (step.operation == Operation::Mul).then(|| {
                let [a, b, _] = step.operands;
                self.masks(b).map(|masks| (a, masks)).or_else(|| self.masks(a).map(|masks| (b, masks)))
            });
            let place = |operand: Operand, moved: &[Operand]| match operand {
                Operand::Step(at) => moved[at],
                other => other,
            };
            let steps_before = steps.len();
            match masks.flatten() {
                Some((value, masks)) if self.masks(value).is_none() => {
                    let mut value = place(value, &moved);
                    for (operation, compared, bound) in masks {
                        let bound = self.constant(bound);
                        steps.push(Step { operation, operands: [value, place(compared, &moved), bound] });
                        value = Operand::Step(steps.len() - 1);
                    }
                }
                _ => steps.push(Step { operands: step.operands.map(|operand| place(operand, &moved)), ..step }),
            }
            debug_assert!(steps.len() > steps_before);
            moved.push(Operand::Step(steps.len() - 1));
        }
        self.steps = steps;
        self.without_unread()
    }

    /// The comparisons that a product of masks is made of; `None`: it is no such product.
    fn masks(&self, operand: Operand) -> Option<Vec<(Operation, Operand, f32)>> {
        const STEEP: f32 = 1e30;
        let Operand::Step(at) = operand else { return None };
        let Step { operation, operands: [a, b, c] } = self.steps[at];
        match (operation, b, c) {
            (Operation::Mul, b, _) => {
                let mut masks = self.masks(a)?;
                masks.extend(self.masks(b)?);
                Some(masks)
            }
            (Operation::HardSigmoid, Operand::Constant(slope), Operand::Constant(offset)) => {
                let (slope, offset) = (self.constants[slope], self.constants[offset]);
                let comparison = if slope > 0.0 { Operation::IfAbove } else { Operation::IfBelow };
                (slope.abs() >= STEEP).then(|| vec![(comparison, a, -offset / slope)])
            }
            _ => None,
        }
    }

    fn constant(&mut self, value: f32) -> Operand {
        let known = self.constants.iter().position(|known| known.to_bits() == value.to_bits());
        Operand::Constant(known.unwrap_or_else(|| {
            self.constants.push(value);
            self.constants.len() - 1
        }))
    }

    /// Without the steps and constants that nothing reads.
    fn without_unread(self) -> Self {
        let mut read = vec![false; self.steps.len()];
        if let Some(last) = read.last_mut() {
            *last = true;
        }
        for at in (0..self.steps.len()).rev() {
            for operand in self.steps[at].operands.iter().filter(|_| read[at]).copied().collect::<Vec<_>>() {
                if let Operand::Step(from) = operand {
                    read[from] = true;
                }
            }
        }
        let mut kept = Self { inputs: self.inputs, ..Self::default() };
        let mut moved = vec![0; self.steps.len()];
        for (at, step) in self.steps.iter().enumerate().filter(|(at, _)| read[*at]) {
            let operands = step.operands.map(|operand| match operand {
                Operand::Constant(constant) => kept.constant(self.constants[constant]),
                Operand::Step(from) => Operand::Step(moved[from]),
                input => input,
            });
            moved[at] = kept.steps.len();
            kept.steps.push(Step { operands, ..*step });
        }
        kept
    }

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

/// How an input goes on from one element to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lies {
    /// An element each.
    Whole,
    /// As many elements, over and over: 1, or the channels of a block.
    Over(usize),
}

/// A program with room for what it computes in between: one a thread.
pub(crate) struct Machine<'a> {
    program: &'a Program,
    /// Constants, inputs that are the same over and over, and steps: a block each.
    constants: Vec<[f32; BLOCK]>,
    repeated: Vec<[f32; BLOCK]>,
    /// What each of `repeated` was made of, and how much of it there is.
    made_of: Vec<(*const f32, usize)>,
    steps: Vec<[f32; BLOCK]>,
    has: Has,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(program: &'a Program) -> Self {
        Self {
            program,
            constants: program.constants.iter().map(|&value| [value; BLOCK]).collect(),
            repeated: Vec::new(),
            made_of: vec![(std::ptr::null(), 0); program.inputs],
            steps: vec![[0.0; BLOCK]; program.steps.len()],
            has: instructions::ask(),
        }
    }

    /// Computes the next elements, at most [`BLOCK`] of them.
    ///
    /// # Safety
    /// The pointers are good for as many elements, or for those that come over and over, which must not change as long as the machine is
    /// used; `output` may be one of the whole inputs.
    pub(crate) unsafe fn run(&mut self, inputs: &[(*const f32, Lies)], output: *mut f32, count: usize) {
        for (at, &(pointer, lies)) in inputs.iter().enumerate() {
            let Lies::Over(period) = lies else { continue };
            if self.made_of[at] == (pointer, count) {
                continue;
            }
            self.repeated.resize(inputs.len(), [0.0; BLOCK]);
            // SAFETY: the caller's promise.
            let own = unsafe { std::slice::from_raw_parts(pointer, period) };
            let repeated = &mut self.repeated[at][..count];
            match own {
                [one] => repeated.fill(*one),
                _ => repeated.chunks_mut(period).for_each(|part| part.copy_from_slice(&own[..part.len()])),
            }
            self.made_of[at] = (pointer, count);
        }
        for (number, step) in self.program.steps.iter().enumerate() {
            let (before, from_here) = self.steps.split_at_mut(number);
            let of = |operand: Operand| match operand {
                Operand::Input(at) if inputs[at].1 != Lies::Whole => &self.repeated[at][..count],
                // SAFETY: the caller's promise; nothing is written to memory that inputs lie in before the last step is done.
                Operand::Input(at) => unsafe { std::slice::from_raw_parts(inputs[at].0, count) },
                Operand::Constant(at) => &self.constants[at][..count],
                Operand::Step(at) => &before[at][..count],
            };
            let [a, b, c] = step.operands;
            functions::apply(self.has, step.operation, [of(a), of(b), of(c)], &mut from_here[0][..count]);
        }
        // The result goes out last, since it may lie where an input does.
        if let Some(result) = self.steps.last() {
            // SAFETY: the caller's promise.
            unsafe { std::ptr::copy_nonoverlapping(result.as_ptr(), output, count) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_with_masks_become_choices() {
        use Operand::{Constant as K, Input as I, Step as S};
        let step = |operation, operands| Step { operation, operands };
        // g · ([y > 0] · [y < 6])
        let steps = vec![
            step(Operation::HardSigmoid, [I(1), K(0), K(1)]),
            step(Operation::HardSigmoid, [I(1), K(2), K(3)]),
            step(Operation::Mul, [S(0), S(1), S(0)]),
            step(Operation::Mul, [I(0), S(2), I(0)]),
        ];
        let steep = 1.267_650_6e30;
        let program = Program { inputs: 2, constants: vec![steep, -0.0, -steep, 6.0 * steep], steps }.with_choices();
        assert_eq!(program.steps.len(), 2);
        assert_eq!(program.constants, [0.0, 6.0]);
        let back = Program::decode(2, program.constants.clone(), &program.code());
        assert_eq!(back.as_ref(), Some(&program));
        let (g, y) = ([1., 2., 3., 4., 5.], [0., 1e-30, 5.9999995, 6., 3.]);
        let mut result = [0.0; 5];
        let inputs = [(g.as_ptr(), Lies::Whole), (y.as_ptr(), Lies::Whole)];
        // SAFETY: all have five elements.
        unsafe { Machine::new(&program).run(&inputs, result.as_mut_ptr(), 5) };
        assert_eq!(result, [0., 2., 3., 0., 5.]);
    }
}
