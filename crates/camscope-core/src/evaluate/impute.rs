//! Fills in pixels from their neighbours: noisy linear imputation, without the noise.
//!
//! Each missing pixel is to be the weighted mean of its eight neighbours, 1/6 for those beside, above and below it, 1/12 for those at its
//! corners; beyond the edge there is none, and the others count for more. That is a system of equations over the missing pixels, symmetric and
//! positive definite. It is solved by conjugate gradients. What makes that fast is a hierarchy of coarser grids: 2 × 2 unknowns become one, the
//! couplings between the groups add up, and the coarse solution corrects the fine one (a multigrid cycle over aggregates).

use ndarray::{Array2, Array3, ArrayView2, ArrayView3, Axis};

/// How exactly pixels are filled in.
#[derive(Clone, Copy, Debug)]
pub struct Imputer {
    /// Solved until the residual is this share of what it was at the start.
    pub tolerance: f64,
    /// At most so many iterations.
    pub iterations: usize,
}

impl Default for Imputer {
    fn default() -> Self {
        Self { tolerance: 1e-4, iterations: 100 }
    }
}

/// The picture `[channels, height, width]` with its missing pixels filled in from the others. Where all are missing it becomes zero.
pub fn impute(picture: ArrayView3<'_, f32>, missing: &Array2<bool>, imputer: &Imputer) -> Array3<f32> {
    let mut filled = picture.to_owned();
    if missing.iter().all(|missing| *missing) {
        filled.fill(0.0);
        return filled;
    }
    if !missing.iter().any(|missing| *missing) {
        return filled;
    }
    let levels = Grid::hierarchy(missing);
    for mut channel in filled.axis_iter_mut(Axis(0)) {
        let found = solve(&levels, channel.view(), missing, imputer);
        let grid = &levels[0];
        for ((y, x), value) in channel.indexed_iter_mut() {
            if missing[[y, x]] {
                *value = found[grid.at(y, x)];
            }
        }
    }
    filled
}

const BESIDE: f32 = 1.0 / 6.0;
const CORNER: f32 = 1.0 / 12.0;

/// Half of a pixel's neighbours: to the right, below on the left, below, below on the right; the others see it as theirs.
const NEIGHBOURS: [((isize, isize), f32); 4] =
    [((0, 1), BESIDE), ((1, -1), CORNER), ((1, 0), BESIDE), ((1, 1), CORNER)];

/// The equations on a grid, which has an empty edge around it: Σ_j coupling_ij (x_i − x_j) + held_i x_i = right_i.
struct Grid {
    height: usize,
    width: usize,
    /// From a row to the next.
    stride: usize,
    /// The unknowns.
    unknown: Vec<usize>,
    /// How much each is held by known pixels.
    held: Vec<f32>,
    /// How much each is coupled to those of [`NEIGHBOURS`].
    coupled: [Vec<f32>; 4],
    /// One over all of an unknown's couplings.
    inverse: Vec<f32>,
}

impl Grid {
    fn empty(height: usize, width: usize) -> Self {
        let stride = width + 2;
        let zeros = || vec![0.0; stride * (height + 2)];
        let coupled = std::array::from_fn(|_| zeros());
        Self { height, width, stride, unknown: Vec::new(), held: zeros(), coupled, inverse: zeros() }
    }

    fn at(&self, y: usize, x: usize) -> usize {
        (y + 1) * self.stride + x + 1
    }

    /// How far away those of [`NEIGHBOURS`] lie.
    fn steps(&self) -> [usize; 4] {
        [1, self.stride - 1, self.stride, self.stride + 1]
    }

    /// The grids, the finest first, the last of one cell.
    fn hierarchy(missing: &Array2<bool>) -> Vec<Self> {
        let mut levels = vec![Self::of(missing)];
        while let Some(last) = levels.last().filter(|last| last.height > 1 || last.width > 1) {
            levels.push(last.coarser());
        }
        levels
    }

    fn of(missing: &Array2<bool>) -> Self {
        let (height, width) = missing.dim();
        let mut grid = Self::empty(height, width);
        let steps = grid.steps();
        for ((y, x), is_missing) in missing.indexed_iter() {
            let here = grid.at(y, x);
            if *is_missing {
                grid.unknown.push(here);
            }
            for (direction, ((down, across), weight)) in NEIGHBOURS.into_iter().enumerate() {
                let place = y.checked_add_signed(down).zip(x.checked_add_signed(across));
                let Some(is_other) = place.and_then(|place| missing.get(place)) else { continue };
                match (is_missing, is_other) {
                    (true, true) => grid.coupled[direction][here] = weight,
                    (true, false) => grid.held[here] += weight,
                    (false, true) => grid.held[here + steps[direction]] += weight,
                    (false, false) => {}
                }
            }
        }
        grid.sum_up();
        grid
    }

    /// 2 × 2 cells as one each: what holds them adds up, and so does what couples them with others.
    fn coarser(&self) -> Self {
        let mut coarse = Self::empty(self.height.div_ceil(2), self.width.div_ceil(2));
        let (steps, fine_steps) = (coarse.steps(), self.steps());
        let mut taken = vec![false; coarse.held.len()];
        for &here in &self.unknown {
            let to = self.parent(&coarse, here);
            taken[to] = true;
            coarse.held[to] += self.held[here];
            for (coupled, step) in self.coupled.iter().zip(fine_steps) {
                let (weight, other) = (coupled[here], self.parent(&coarse, here + step));
                if weight == 0.0 || other == to {
                    continue;
                }
                // The neighbour's group may lie before or behind.
                let (first, apart) = (to.min(other), to.abs_diff(other));
                if let Some(direction) = steps.iter().position(|step| *step == apart) {
                    coarse.coupled[direction][first] += weight;
                }
            }
        }
        coarse.unknown = (0..taken.len()).filter(|at| taken[*at]).collect();
        coarse.sum_up();
        coarse
    }

    /// The cell of a coarser grid that a cell belongs to.
    fn parent(&self, coarse: &Self, here: usize) -> usize {
        let (y, x) = (here / self.stride, here % self.stride);
        coarse.at((y.max(1) - 1) / 2, (x.max(1) - 1) / 2)
    }

    fn sum_up(&mut self) {
        let steps = self.steps();
        for &here in &self.unknown {
            let mut sum = self.held[here];
            for (coupled, step) in self.coupled.iter().zip(steps) {
                sum += coupled[here] + coupled[here - step];
            }
            self.inverse[here] = if sum > 0.0 { 1.0 / sum } else { 0.0 };
        }
    }

    /// Σ_j coupling_ij x_j of one unknown.
    #[inline(always)]
    fn around(&self, values: &[f32], here: usize) -> f32 {
        let [a, b, c, d] = self.steps();
        let [right, below_left, below, below_right] = &self.coupled;
        right[here] * values[here + a]
            + right[here - a] * values[here - a]
            + below_left[here] * values[here + b]
            + below_left[here - b] * values[here - b]
            + below[here] * values[here + c]
            + below[here - c] * values[here - c]
            + below_right[here] * values[here + d]
            + below_right[here - d] * values[here - d]
    }

    /// The left side of the equations, of an unknown.
    #[inline(always)]
    fn left(&self, values: &[f32], here: usize) -> f32 {
        match self.inverse[here] {
            0.0 => 0.0,
            inverse => values[here] / inverse - self.around(values, here),
        }
    }

    /// Each unknown in turn as its equation has it (Gauss and Seidel).
    fn smooth(&self, values: &mut [f32], right: &[f32], backward: bool) {
        let mut one = |here: usize| values[here] = (right[here] + self.around(values, here)) * self.inverse[here];
        match backward {
            false => self.unknown.iter().for_each(|here| one(*here)),
            true => self.unknown.iter().rev().for_each(|here| one(*here)),
        }
    }
}

/// What the coarse solution is multiplied by: constant over its groups, it is too stiff (Braess, "Towards Algebraic Multigrid for Elliptic
/// Problems of Second Order", 1995).
const LOOSER: f32 = 1.6;

/// About what the equations' solution is: a symmetric cycle through the grids, from zero.
fn cycle(levels: &[Grid], right: &[f32]) -> Vec<f32> {
    let Some((grid, coarser)) = levels.split_first() else { return Vec::new() };
    let mut values = vec![0.0; right.len()];
    grid.smooth(&mut values, right, false);
    if let Some(coarse) = coarser.first() {
        // Coarse grids cost little: twice there.
        for _ in 0..if coarser.len() > 1 { 2 } else { 1 } {
            let mut gathered = vec![0.0; coarse.held.len()];
            for &here in &grid.unknown {
                gathered[grid.parent(coarse, here)] += right[here] - grid.left(&values, here);
            }
            let correction = cycle(coarser, &gathered);
            for &here in &grid.unknown {
                values[here] += LOOSER * correction[grid.parent(coarse, here)];
            }
        }
    }
    grid.smooth(&mut values, right, true);
    values
}

/// The missing pixels of a channel, on the finest grid.
fn solve(levels: &[Grid], channel: ArrayView2<'_, f32>, missing: &Array2<bool>, imputer: &Imputer) -> Vec<f32> {
    let grid = &levels[0];
    let known = channel.iter().zip(missing).filter(|(_, missing)| !**missing).map(|(value, _)| f64::from(*value));
    let (sum, count) = known.fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
    let mean = (sum / count.max(1) as f64) as f32;
    // What is asked for is the distance from the mean: then the sides of the equations are small at once.
    let mut residual = vec![0.0f32; grid.held.len()];
    for ((y, x), value) in channel.indexed_iter() {
        if missing[[y, x]] {
            continue;
        }
        for ((down, across), weight) in
            NEIGHBOURS.into_iter().flat_map(|(by, weight)| [(by, weight), ((-by.0, -by.1), weight)])
        {
            let place = y.checked_add_signed(down).zip(x.checked_add_signed(across));
            if let Some((y, x)) = place.filter(|place| missing.get(*place) == Some(&true)) {
                residual[grid.at(y, x)] += weight * (value - mean);
            }
        }
    }
    let along =
        |a: &[f32], b: &[f32]| -> f64 { grid.unknown.iter().map(|&at| f64::from(a[at]) * f64::from(b[at])).sum() };
    let mut values = vec![0.0f32; residual.len()];
    let enough = along(&residual, &residual).sqrt() * imputer.tolerance;
    let mut direction = cycle(levels, &residual);
    let mut power = along(&residual, &direction);
    for _ in 0..imputer.iterations {
        if along(&residual, &residual).sqrt() <= enough || power <= 0.0 {
            break;
        }
        let mut image = vec![0.0f32; residual.len()];
        for &at in &grid.unknown {
            image[at] = grid.left(&direction, at);
        }
        let step = power / along(&direction, &image);
        if !step.is_finite() {
            break;
        }
        for &at in &grid.unknown {
            values[at] += step as f32 * direction[at];
            residual[at] -= step as f32 * image[at];
        }
        let better = cycle(levels, &residual);
        let next = along(&residual, &better);
        let kept = (next / power) as f32;
        for &at in &grid.unknown {
            direction[at] = better[at] + kept * direction[at];
        }
        power = next;
    }
    for &at in &grid.unknown {
        values[at] += mean;
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::Random;

    /// The largest distance of a missing pixel from the weighted mean of its neighbours.
    fn worst(picture: &Array3<f32>, missing: &Array2<bool>) -> f32 {
        let (_, height, width) = picture.dim();
        let mut worst = 0.0f32;
        for channel in picture.outer_iter() {
            for ((y, x), _) in missing.indexed_iter().filter(|(_, missing)| **missing) {
                let (mut sum, mut weights) = (0.0, 0.0);
                for down in -1..=1isize {
                    for across in -1..=1isize {
                        let weight = match down.abs() + across.abs() {
                            0 => continue,
                            1 => BESIDE,
                            _ => CORNER,
                        };
                        let (y, x) = (y as isize + down, x as isize + across);
                        if y >= 0 && x >= 0 && (y as usize) < height && (x as usize) < width {
                            sum += weight * channel[[y as usize, x as usize]];
                            weights += weight;
                        }
                    }
                }
                worst = worst.max((channel[[y, x]] - sum / weights).abs());
            }
        }
        worst
    }

    #[test]
    fn missing_pixels_are_the_mean_of_their_neighbours() {
        let mut random = Random::new(3);
        for (height, width, share) in [(17, 23, 0.5), (40, 31, 0.95), (1, 9, 0.6), (64, 64, 0.1)] {
            let picture = Array3::from_shape_simple_fn((2, height, width), || random.normal() as f32);
            let mut missing = Array2::from_shape_simple_fn((height, width), || random.even() < share);
            missing[[0, 0]] = false;
            let filled = impute(picture.view(), &missing, &Imputer { tolerance: 1e-6, iterations: 100 });
            assert!(worst(&filled, &missing) < 1e-4, "{height} × {width}: {}", worst(&filled, &missing));
            for (channel, own) in filled.outer_iter().zip(picture.outer_iter()) {
                for ((found, own), missing) in channel.iter().zip(own).zip(&missing) {
                    assert!(*missing || found == own);
                }
            }
        }
    }

    #[test]
    fn a_ramp_is_filled_in_as_it_was_in_few_iterations() {
        // A linear function solves the equations, away from the edges: a large hole within known pixels.
        let picture = Array3::from_shape_fn((1, 80, 80), |(_, y, x)| 0.02 * y as f32 - 0.01 * x as f32);
        let missing = Array2::from_shape_fn((80, 80), |(y, x)| (3..77).contains(&y) && (3..77).contains(&x));
        let holed = &picture * &missing.mapv(|missing| f32::from(u8::from(!missing))).insert_axis(Axis(0));
        let filled = impute(holed.view(), &missing, &Imputer { tolerance: 1e-4, iterations: 12 });
        let error = (&filled - &picture).mapv(f32::abs).fold(0.0, |a, b| f32::max(a, *b));
        assert!(error < 2e-3, "{error}");
    }

    #[test]
    fn nothing_missing_changes_nothing_and_all_missing_is_zero() {
        let picture = Array3::from_elem((1, 3, 3), 2.0);
        assert_eq!(impute(picture.view(), &Array2::from_elem((3, 3), false), &Imputer::default()), picture);
        assert_eq!(impute(picture.view(), &Array2::from_elem((3, 3), true), &Imputer::default()).sum(), 0.0);
    }
}
