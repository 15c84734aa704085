//! Element-wise programs: what a chain of element-wise operators computes for one element, run over whole blocks of them.

use super::functions;
use crate::cpu_features::{self, CpuFeatures};

/// Elements that go through a program at once: few enough that everything in between stays in the nearest cache.
pub(crate) const BLOCK: usize = 1024;

/// The most steps that a program may have.
pub(crate) const MOST_STEPS: usize = 64;

macro_rules! operations {
    ($($name:ident $arity:literal $about:literal,)*) => {
        /// What a step computes of its operands a, b, c and d. Truth is 1 and 0.
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
    IfBetween 4 "a where c < b < d, else 0",
    SumIfAbove 4 "a + b where c > d, else 0",
    MulAdd 3 "a b + c",
    TimesSiluSlope 2 "a σ(b) (1 + b (1 − σ(b))): a times the slope of b σ(b)",
    TimesGeluSlope 2 "a (Φ(b) + b φ(b)): a times the slope of b Φ(b), of the normal distribution's Φ and φ",
}

impl Operation {
    /// Whether a and b may change places.
    fn commutes(self) -> bool {
        matches!(self, Self::Add | Self::Mul | Self::MulAdd | Self::SumIfAbove)
    }

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

/// The most operands of a step. Where an operation has fewer, the others are anything.
pub(crate) const OPERANDS: usize = 4;

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) operation: Operation,
    pub(crate) operands: [Operand; OPERANDS],
}

impl Step {
    /// A step of that operation; nothing but its operands is looked at.
    ///
    /// # Panics
    /// There are none, or more than a step has.
    pub(crate) fn new(operation: Operation, operands: &[Operand]) -> Self {
        debug_assert_eq!(operands.len(), operation.arity());
        let mut all = [operands[0]; OPERANDS];
        all[..operands.len()].copy_from_slice(operands);
        Self { operation, operands: all }
    }
}

/// A program; the last step gives the result.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Program {
    pub(crate) inputs: usize,
    pub(crate) constants: Vec<f32>,
    pub(crate) steps: Vec<Step>,
}

impl Program {
    /// The same program in fewer steps: a product with the mask of a comparison with a constant, which `passes::masks` writes as a steep
    /// `HardSigmoid`, is a choice.
    pub(crate) fn with_choices(mut self) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        // Where each old step's result is now.
        let mut moved: Vec<Operand> = Vec::new();
        for at in 0..self.steps.len() {
            let step = self.steps[at];
            let masks = (step.operation == Operation::Mul).then(|| {
                let [a, b, ..] = step.operands;
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
                        steps.push(Step::new(operation, &[value, place(compared, &moved), bound]));
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
        let Step { operation, operands: [a, b, c, _] } = self.steps[at];
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

    pub(super) fn constant(&mut self, value: f32) -> Operand {
        let known = self.constants.iter().position(|known| known.to_bits() == value.to_bits());
        Operand::Constant(known.unwrap_or_else(|| {
            self.constants.push(value);
            self.constants.len() - 1
        }))
    }

    /// Without the steps and constants that nothing reads.
    pub(super) fn without_unread(self) -> Self {
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

    /// As integers, five a step: the operation and its operands (inputs from 0, then constants, then steps).
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
        for (number, row) in code.chunks(1 + OPERANDS).enumerate() {
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
            let operands: Option<Vec<Operand>> = operands.iter().map(|&place| operand(place)).collect();
            steps.push(Step { operation: Operation::from_code(*operation)?, operands: operands?.try_into().ok()? });
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
    has: CpuFeatures,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(program: &'a Program) -> Self {
        Self {
            program,
            constants: program.constants.iter().map(|&value| [value; BLOCK]).collect(),
            repeated: Vec::new(),
            made_of: vec![(std::ptr::null(), 0); program.inputs],
            steps: vec![[0.0; BLOCK]; program.steps.len()],
            has: cpu_features::detect(),
        }
    }

    /// Computes the next elements, at most [`BLOCK`] of them.
    ///
    /// # Safety
    /// The pointers are good for as many elements, or for those that come over and over, which must not change as long as the machine is
    /// used; `output` may be one of the whole inputs. The program has a step.
    pub(crate) unsafe fn run(&mut self, inputs: &[(*const f32, Lies)], output: *mut f32, count: usize) {
        for (at, &(pointer, lies)) in inputs.iter().enumerate() {
            let Lies::Over(period) = lies else { continue };
            let (made_of, made) = self.made_of[at];
            if made_of == pointer && made >= count {
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
        let last = self.program.steps.len() - 1;
        for (number, step) in self.program.steps.iter().enumerate() {
            let (before, from_here) = self.steps.split_at_mut(number);
            let of = |operand: Operand| match operand {
                Operand::Input(at) if inputs[at].1 != Lies::Whole => &self.repeated[at][..count],
                // SAFETY: the caller's promise; nothing is written to memory that inputs lie in before the last step.
                Operand::Input(at) => unsafe { std::slice::from_raw_parts(inputs[at].0, count) },
                Operand::Constant(at) => &self.constants[at][..count],
                Operand::Step(at) => &before[at][..count],
            };
            let own = &mut from_here[0][..count];
            let mut operands = step.operands;
            let overwritten = |operand: &&Operand| match **operand {
                Operand::Input(at) => inputs[at] == (output.cast_const(), Lies::Whole),
                _ => false,
            };
            if step.operation.commutes() && overwritten(&&operands[1]) {
                operands.swap(0, 1);
            }
            let operands = &operands[..step.operation.arity()];
            // The result goes where it belongs at once, unless an operand of the last step lies there that is not its
            // first.
            match (number == last, operands.iter().filter(overwritten).count(), operands) {
                (true, 0, _) => {
                    // SAFETY: the caller's promise, and no operand lies there.
                    let output = unsafe { std::slice::from_raw_parts_mut(output, count) };
                    functions::apply(self.has, step.operation, step.operands.map(of), output);
                }
                (true, 1, [first, others @ ..]) if overwritten(&first) => {
                    // Anything for operands that there are none of.
                    let other = |at: usize| others.get(at).map_or(&*own, |&operand| of(operand));
                    // SAFETY: as above; only the first operand lies there, and is read through this.
                    let output = unsafe { std::slice::from_raw_parts_mut(output, count) };
                    functions::apply_in_place(self.has, step.operation, [other(0), other(1), other(2)], output);
                }
                (is_last, ..) => {
                    functions::apply(self.has, step.operation, step.operands.map(of), own);
                    if is_last {
                        // SAFETY: the caller's promise; what the operands were is no longer needed.
                        unsafe { std::ptr::copy_nonoverlapping(own.as_ptr(), output, count) };
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_with_masks_become_choices() {
        use Operand::{Constant as K, Input as I, Step as S};
        let step = |operation, operands: &[Operand]| Step::new(operation, operands);
        // g · ([y > 0] · [y < 6])
        let steps = vec![
            step(Operation::HardSigmoid, &[I(1), K(0), K(1)]),
            step(Operation::HardSigmoid, &[I(1), K(2), K(3)]),
            step(Operation::Mul, &[S(0), S(1)]),
            step(Operation::Mul, &[I(0), S(2)]),
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

    #[test]
    fn the_result_may_lie_where_any_input_does() {
        use Operand::{Input as I, Step as S};
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 4.0, 0.5, 1.0, 0.0]);
        type Exact = fn(f32, f32) -> f32;
        let cases: [(Vec<Step>, Exact); 4] = [
            (vec![Step::new(Operation::Sub, &[I(0), I(1)])], |a, b| a - b),
            (vec![Step::new(Operation::Mul, &[I(0), I(1)])], |a, b| a * b),
            (vec![Step::new(Operation::Mul, &[I(0), I(0)])], |a, _| a * a),
            (
                vec![Step::new(Operation::Neg, &[I(1)]), Step::new(Operation::SumIfAbove, &[S(0), I(0), I(1), I(0)])],
                |a, b| if b > a { a - b } else { 0.0 },
            ),
        ];
        for (steps, exact) in cases {
            let program = Program { inputs: 2, steps, ..Program::default() };
            let right: Vec<f32> = a.iter().zip(&b).map(|(&a, &b)| exact(a, b)).collect();
            for place in 0..3 {
                let mut memory = [a, b, [0.0; 5]];
                let [a, b, c] = &mut memory;
                let places = [a.as_mut_ptr(), b.as_mut_ptr(), c.as_mut_ptr()];
                let inputs = [(places[0].cast_const(), Lies::Whole), (places[1].cast_const(), Lies::Whole)];
                // SAFETY: all have five elements.
                unsafe { Machine::new(&program).run(&inputs, places[place], 5) };
                assert_eq!(memory[place].to_vec(), right, "{program:?} into {place}");
            }
        }
    }
}
