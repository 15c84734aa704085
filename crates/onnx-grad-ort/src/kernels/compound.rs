//! Finds in a program what one operation does: the rules write the slopes of activation functions in standard
//! operators, ten passes over a block where one will do.

use super::program::{OPERANDS, Operand, Operation, Program, Step};

impl Program {
    /// The same program in fewer steps, as far as they are slopes of activation functions, products that something is
    /// added to, and choices of sums or between two bounds.
    pub(crate) fn with_compounds(mut self) -> Self {
        for at in 0..self.steps.len() {
            let slope = self.silu_slope(at).map(|x| (Operation::TimesSiluSlope, x));
            if let Some((operation, x)) = slope.or_else(|| self.gelu_slope(at).map(|x| (Operation::TimesGeluSlope, x)))
            {
                let one = self.constant(1.0);
                self.steps[at] = Step::new(operation, &[one, x]);
            }
        }
        self = self.without_unread();
        for at in 0..self.steps.len() {
            let found = self.times_slope(at).or_else(|| self.mul_add(at));
            if let Some(step) = found.or_else(|| self.if_between(at)).or_else(|| self.sum_if_above(at)) {
                self.steps[at] = step;
            }
        }
        self.without_unread()
    }

    /// The x of (1 − r) (1 − n r) with n = −x and r = σ(n).
    fn silu_slope(&mut self, at: usize) -> Option<Operand> {
        let [a, b, ..] = self.operands(Operand::Step(at), Operation::Mul)?;
        let of = |s: Operand, sum: Operand| {
            let (r, product) = self.one_less(s).zip(self.one_less(sum))?;
            let [n, ..] = self.operands(r, Operation::Sigmoid)?;
            self.is_product(product, n, r).then_some((n, sum))
        };
        let (n, sum) = of(a, b).or_else(|| of(b, a))?;
        let (x, factor) = self.scaled(n)?;
        if factor == -1.0 {
            return Some(x);
        }
        // −n takes the place of the sum, which nothing but the slope has read.
        let Operand::Step(place) = sum else { return None };
        (self.readers(sum) == 1).then_some(())?;
        let factor = self.constant(-factor);
        self.steps[place] = Step::new(Operation::Mul, &[x, factor]);
        Some(sum)
    }

    /// The x of (½ − erf(z) / 2) + x (φ(0) e^(−z z)) with z = −x / √2.
    fn gelu_slope(&self, at: usize) -> Option<Operand> {
        const DENSITY: f32 = 0.398_942_3;
        let near = |number: f32, right: f32| (number / right - 1.0).abs() < 1e-6;
        let [a, b, ..] = self.operands(Operand::Step(at), Operation::Add)?;
        let of = |distribution: Operand, moved: Operand| {
            let [half, halved, ..] = self.operands(distribution, Operation::Sub)?;
            let (erf, factor) = self.scaled(halved)?;
            let [z, ..] = self.operands(erf, Operation::Erf)?;
            let (x, scale) = self.scaled(z)?;
            let [left, right, ..] = self.operands(moved, Operation::Mul)?;
            let density = if left == x { right } else { left };
            let (bell, height) = self.scaled(density)?;
            let [negative, ..] = self.operands(bell, Operation::Exp)?;
            let [square, ..] = self.operands(negative, Operation::Neg)?;
            let right = self.number(half)? == 0.5
                && factor == 0.5
                && near(scale, -std::f32::consts::FRAC_1_SQRT_2)
                && near(height, DENSITY)
                && self.is_product(moved, x, density)
                && self.is_product(square, z, z);
            right.then_some(x)
        };
        of(a, b).or_else(|| of(b, a))
    }

    /// A product with a slope that nothing else reads.
    fn times_slope(&self, at: usize) -> Option<Step> {
        let [a, b, ..] = self.operands(Operand::Step(at), Operation::Mul)?;
        let of = |value: Operand, slope: Operand| {
            let Operand::Step(from) = slope else { return None };
            let Step { operation, operands: [one, x, ..] } = self.steps[from];
            let slopes = matches!(operation, Operation::TimesSiluSlope | Operation::TimesGeluSlope);
            (slopes && self.number(one) == Some(1.0) && self.readers(slope) == 1)
                .then(|| Step::new(operation, &[value, x]))
        };
        of(a, b).or_else(|| of(b, a))
    }

    /// A sum with a product that nothing else reads.
    fn mul_add(&self, at: usize) -> Option<Step> {
        let [a, b, ..] = self.operands(Operand::Step(at), Operation::Add)?;
        let of = |product: Operand, value: Operand| {
            let [left, right, ..] = self.operands(product, Operation::Mul)?;
            (self.readers(product) == 1).then(|| Step::new(Operation::MulAdd, &[left, right, value]))
        };
        of(a, b).or_else(|| of(b, a))
    }

    /// A choice of a choice that nothing else reads, by the same value's two bounds.
    fn if_between(&self, at: usize) -> Option<Step> {
        let Step { operation, operands: [inner, value, bound, _] } = self.steps[at];
        let other = match operation {
            Operation::IfAbove => Operation::IfBelow,
            Operation::IfBelow => Operation::IfAbove,
            _ => return None,
        };
        let [x, same, first, _] = self.operands(inner, other)?;
        let (low, high) = if other == Operation::IfAbove { (first, bound) } else { (bound, first) };
        (same == value && self.readers(inner) == 1).then(|| Step::new(Operation::IfBetween, &[x, value, low, high]))
    }

    /// A choice of a sum that nothing else reads.
    fn sum_if_above(&self, at: usize) -> Option<Step> {
        let [sum, value, bound, _] = self.operands(Operand::Step(at), Operation::IfAbove)?;
        let [a, b, ..] = self.operands(sum, Operation::Add)?;
        (self.readers(sum) == 1).then(|| Step::new(Operation::SumIfAbove, &[a, b, value, bound]))
    }

    /// The operands of what was computed by that operation.
    fn operands(&self, of: Operand, operation: Operation) -> Option<[Operand; OPERANDS]> {
        let Operand::Step(at) = of else { return None };
        (self.steps[at].operation == operation).then_some(self.steps[at].operands)
    }

    fn number(&self, of: Operand) -> Option<f32> {
        let Operand::Constant(at) = of else { return None };
        Some(self.constants[at])
    }

    /// The x of 1 − x.
    fn one_less(&self, of: Operand) -> Option<Operand> {
        let [one, x, ..] = self.operands(of, Operation::Sub)?;
        (self.number(one) == Some(1.0)).then_some(x)
    }

    /// What was multiplied with a constant, and the constant.
    fn scaled(&self, of: Operand) -> Option<(Operand, f32)> {
        let [a, b, ..] = self.operands(of, Operation::Mul)?;
        self.number(b).map(|factor| (a, factor)).or_else(|| self.number(a).map(|factor| (b, factor)))
    }

    fn is_product(&self, of: Operand, left: Operand, right: Operand) -> bool {
        self.operands(of, Operation::Mul).is_some_and(|[a, b, ..]| [a, b] == [left, right] || [b, a] == [left, right])
    }

    /// How often something is an operand.
    fn readers(&self, of: Operand) -> usize {
        let read =
            |step: &Step| step.operands[..step.operation.arity()].iter().filter(|&&operand| operand == of).count();
        self.steps.iter().map(read).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Operand::{Constant as K, Input as I, Step as S};

    fn silu(alpha: f32) -> Program {
        let steps = vec![
            Step::new(Operation::Mul, &[I(1), K(0)]),
            Step::new(Operation::Sigmoid, &[S(0)]),
            Step::new(Operation::Mul, &[S(0), S(1)]),
            Step::new(Operation::Sub, &[K(1), S(2)]),
            Step::new(Operation::Sub, &[K(1), S(1)]),
            Step::new(Operation::Mul, &[S(4), S(3)]),
            Step::new(Operation::Mul, &[I(0), S(5)]),
        ];
        Program { inputs: 2, constants: vec![-alpha, 1.0], steps }
    }

    #[test]
    fn the_gradient_of_silu_is_one_step() {
        let program = silu(1.0).with_compounds();
        assert_eq!(program.steps, [Step::new(Operation::TimesSiluSlope, &[I(0), I(1)])]);
        assert!(program.constants.is_empty());
        let scaled = silu(1.702).with_compounds();
        assert_eq!(
            scaled.steps,
            [Step::new(Operation::Mul, &[I(1), K(0)]), Step::new(Operation::TimesSiluSlope, &[I(0), S(0)])]
        );
        assert_eq!(scaled.constants, [1.702]);
    }

    #[test]
    fn what_only_looks_like_a_slope_stays() {
        let mut other = silu(1.0);
        other.constants[1] = 2.0;
        assert_eq!(other.clone().with_compounds(), other);
        // σ of something else than the factor.
        let mut other = silu(1.0);
        other.steps[1] = Step::new(Operation::Sigmoid, &[I(0)]);
        assert_eq!(other.clone().with_compounds(), other);
    }

    #[test]
    fn the_slope_of_gelu_is_one_step_with_a_product_or_without() {
        let mut steps = vec![
            Step::new(Operation::Mul, &[I(0), K(0)]),
            Step::new(Operation::Mul, &[S(0), S(0)]),
            Step::new(Operation::Neg, &[S(1)]),
            Step::new(Operation::Exp, &[S(2)]),
            Step::new(Operation::Mul, &[S(3), K(1)]),
            Step::new(Operation::Mul, &[I(0), S(4)]),
            Step::new(Operation::Erf, &[S(0)]),
            Step::new(Operation::Mul, &[S(6), K(2)]),
            Step::new(Operation::Sub, &[K(2), S(7)]),
            Step::new(Operation::Add, &[S(8), S(5)]),
        ];
        let constants = vec![-std::f32::consts::FRAC_1_SQRT_2, 0.398_942_3, 0.5];
        let alone = Program { inputs: 1, constants: constants.clone(), steps: steps.clone() }.with_compounds();
        assert_eq!(alone.steps, [Step::new(Operation::TimesGeluSlope, &[K(0), I(0)])]);
        assert_eq!(alone.constants, [1.0]);
        steps.push(Step::new(Operation::Mul, &[I(1), S(9)]));
        let program = Program { inputs: 2, constants, steps }.with_compounds();
        assert_eq!(program.steps, [Step::new(Operation::TimesGeluSlope, &[I(1), I(0)])]);
    }

    #[test]
    fn a_product_that_something_is_added_to_is_one_step_with_it() {
        let steps = vec![Step::new(Operation::Mul, &[I(0), I(1)]), Step::new(Operation::Add, &[I(2), S(0)])];
        let program = Program { inputs: 3, steps, ..Program::default() }.with_compounds();
        assert_eq!(program.steps, [Step::new(Operation::MulAdd, &[I(0), I(1), I(2)])]);
        // Read twice, the product is computed once.
        let mut steps = program.steps.clone();
        steps.splice(
            ..,
            [
                Step::new(Operation::Mul, &[I(0), I(1)]),
                Step::new(Operation::Add, &[I(2), S(0)]),
                Step::new(Operation::Mul, &[S(1), S(0)]),
            ],
        );
        let twice = Program { inputs: 3, steps, ..Program::default() };
        assert_eq!(twice.clone().with_compounds(), twice);
    }

    #[test]
    fn choices_of_sums_and_between_bounds_are_one_step() {
        let steps = vec![
            Step::new(Operation::IfAbove, &[I(0), I(1), K(0)]),
            Step::new(Operation::IfBelow, &[S(0), I(1), K(1)]),
        ];
        let program = Program { inputs: 2, constants: vec![0.0, 6.0], steps }.with_compounds();
        assert_eq!(program.steps, [Step::new(Operation::IfBetween, &[I(0), I(1), K(0), K(1)])]);
        let steps = vec![Step::new(Operation::Add, &[I(1), I(2)]), Step::new(Operation::IfAbove, &[S(0), I(0), K(0)])];
        let program = Program { inputs: 3, constants: vec![0.0], steps }.with_compounds();
        assert_eq!(program.steps, [Step::new(Operation::SumIfAbove, &[I(1), I(2), I(0), K(0)])]);
    }
}
