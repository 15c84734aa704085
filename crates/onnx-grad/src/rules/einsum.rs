//! Einstein summation.

use crate::{
    attr,
    builder::Val,
    registry::{Entry, Grad, Unsupported, rule},
    types::{Dim, ElemType},
    vjp::Vjp,
};

type Result<T = Vec<Grad>> = std::result::Result<T, Unsupported>;

pub(crate) const RULES: &[Entry] = &[rule("Einsum", einsum)];

/// The equation with a letter for every axis: the ellipsis's axes have letters of their own, aligned at the right.
struct Equation {
    terms: Vec<Vec<char>>,
    output: Vec<char>,
}

impl Equation {
    /// Letters for operands of the given ranks.
    fn parse(equation: &str, ranks: &[usize]) -> Result<Self> {
        let plain: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
        let (left, right) = match plain.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (&*plain, None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != ranks.len() {
            return Err(format!("`{equation}` has {} terms for {} inputs", terms.len(), ranks.len()).into());
        }
        let letters = |term: &str| term.chars().filter(|letter| *letter != '.').count();
        let open = |(term, &rank): (&&str, &usize)| match term.contains("...") {
            true => rank.checked_sub(letters(term)).ok_or("an input has fewer axes than letters"),
            false if rank == letters(term) => Ok(0),
            false => Err("an input has not as many axes as letters"),
        };
        let widths: Vec<usize> = terms.iter().zip(ranks).map(open).collect::<std::result::Result<_, _>>()?;
        let widest = widths.iter().copied().max().unwrap_or(0);
        let mut unused = ('a'..='z').chain('A'..='Z').filter(|&letter| !plain.contains(letter));
        let dots: Vec<char> = unused.by_ref().take(widest).collect();
        if dots.len() < widest {
            return Err("it has more axes than there are letters".into());
        }
        let write = |term: &str, width: usize| -> Vec<char> {
            match term.split_once("...") {
                Some((before, after)) => {
                    before.chars().chain(dots[widest - width..].iter().copied()).chain(after.chars()).collect()
                }
                None => term.chars().collect(),
            }
        };
        let output = match right {
            Some(right) => write(right, widest),
            // Implied: the ellipsis, then every letter that occurs once, in alphabetical order.
            None => {
                let mut once: Vec<char> =
                    left.chars().filter(|l| l.is_alphabetic() && left.matches(*l).count() == 1).collect();
                once.sort_unstable();
                dots.iter().copied().chain(once).collect()
            }
        };
        Ok(Self { terms: terms.iter().zip(&widths).map(|(term, &width)| write(term, width)).collect(), output })
    }
}

/// For each operand, the product of the cotangent with the other operands, summed to the operand's own letters. Letters that
/// appear nowhere else were summed away: their axes are spread out again. A letter that the operand has twice is a diagonal.
fn einsum(v: &mut Vjp<'_>) -> Result {
    let (gy, elem) = (v.gy()?, v.elem()?);
    let equation = v.node().attr_str("equation").ok_or("it states no equation")?.to_owned();
    let dims = (0..v.inputs()).map(|i| v.dims(i)).collect::<Result<Vec<_>>>()?;
    let ranks: Vec<usize> = dims.iter().map(Vec::len).collect();
    let equation = Equation::parse(&equation, &ranks)?;
    let out = v.out_dims(0)?;
    v.each(|v, i| {
        let (term, own) = (&equation.terms[i], &dims[i]);
        let others = (0..dims.len()).filter(|&other| other != i);
        // What each letter measures in the cotangent and in the other operands: one of them may be broadcast.
        let mut sources: Vec<(&[char], &[Dim])> = vec![(&equation.output, &out)];
        sources.extend(others.clone().map(|other| (&*equation.terms[other], &*dims[other])));
        let found = |letter: char| {
            let mut sizes = sources.iter().flat_map(|(term, dims)| {
                term.iter().zip(*dims).filter(move |(l, _)| **l == letter).map(|(_, &dim)| dim)
            });
            let first = sizes.next()?;
            Some(sizes.fold(first, |size, next| if size == Dim::Fixed(1) { next } else { size }))
        };
        let mut target = Vec::new();
        let mut missing = Vec::new();
        let mut spread = false;
        for (axis, &letter) in term.iter().enumerate() {
            if term[..axis].contains(&letter) {
                missing.push(axis as i64);
                continue;
            }
            let one = own[axis] == Dim::Fixed(1);
            match found(letter) {
                // It was broadcast: summed over.
                Some(size) if one && size != Dim::Fixed(1) => missing.push(axis as i64),
                Some(size) => {
                    target.push(letter);
                    spread |= size == Dim::Fixed(1) && !one;
                }
                None => {
                    missing.push(axis as i64);
                    spread |= !one;
                }
            }
        }
        let operands: Vec<Val> = std::iter::once(gy.clone()).chain(others.map(|other| v.x(other))).collect();
        let product = if operands.len() == 1 && target == equation.output {
            gy.clone()
        } else {
            let left: Vec<String> = sources.iter().map(|(term, _)| term.iter().collect()).collect();
            let text = format!("{}->{}", left.join(","), target.iter().collect::<String>());
            v.g.op("Einsum", &operands.iter().collect::<Vec<_>>(), vec![attr::string("equation", &text)])
        };
        let mut gradient = v.g.unsqueeze(&product, &missing);
        for (axis, letter) in term.iter().enumerate() {
            let Some(first) = term[..axis].iter().position(|l| l == letter) else { continue };
            let size = own[axis].fixed().ok_or("the size of a diagonal is not fixed")?;
            let mask = diagonal(v, size as i64, elem, first, axis, term.len());
            gradient = v.g.mul(&gradient, &mask);
        }
        if spread {
            let x = v.x(i);
            return v.expand_like(&gradient, &x);
        }
        Ok(gradient)
    })
}

/// 1 where the places along two axes are the same, else 0; 1 long along all others.
fn diagonal(v: &mut Vjp<'_>, size: i64, elem: ElemType, first: usize, second: usize, rank: usize) -> Val {
    let shape = v.g.ints(&[size, size]);
    let square = v.g.full(&shape, elem, 0.0);
    let identity = v.g.op("EyeLike", &[&square], vec![]);
    let dims: Vec<i64> = (0..rank).map(|axis| if axis == first || axis == second { size } else { 1 }).collect();
    v.g.reshape(&identity, &dims)
}
