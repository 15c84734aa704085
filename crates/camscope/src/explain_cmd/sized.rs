//! Photos of several sizes: a model whose input follows the photo's size is made ready for each.

use std::sync::{Arc, Mutex, PoisonError};

use camscope_core::{
    Result,
    explain::Explainer,
    model::{Network, Preprocessing, Sidecar},
};

use crate::{cli::InputArgs, feed::feed};

/// For how many sizes a model is kept ready at once; each takes as much memory as the model.
pub(crate) const KEPT: usize = 3;

/// How many sizes there are.
pub(crate) fn sizes(preprocessing: &[Arc<Preprocessing>]) -> usize {
    let mut sizes: Vec<(u32, u32)> = preprocessing.iter().map(|preprocessing| preprocessing.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes.len()
}

/// The model with an input of the size that photos are prepared for. What its other inputs are fed may follow that size.
///
/// # Errors
/// What is fed doesn't fit.
pub(crate) fn sized(
    network: &Network,
    sidecar: &Sidecar,
    input: &InputArgs,
    preprocessing: &Preprocessing,
) -> Result<(Network, Sidecar)> {
    let (mut network, mut sidecar) = (network.clone(), sidecar.clone());
    if sidecar.preprocessing.size != preprocessing.size {
        sidecar.preprocessing = preprocessing.clone();
        feed(&mut network, &sidecar, &input.fed)?;
    }
    Ok((network, sidecar))
}

/// The explainers that are kept, the one used last at the end, each with its size.
pub(crate) type Made = Mutex<Vec<((u32, u32), Arc<Explainer>)>>;

/// The explainer of that size, made where it isn't kept.
///
/// # Errors
/// That of making it.
pub(crate) fn of_size(
    made: &Made,
    size: (u32, u32),
    make: impl FnOnce() -> Result<Arc<Explainer>>,
) -> Result<Arc<Explainer>> {
    let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
    let found = match made.iter().position(|(known, _)| *known == size) {
        Some(at) => made.remove(at).1,
        None => {
            if made.len() == KEPT {
                made.remove(0);
            }
            make()?
        }
    };
    made.push((size, Arc::clone(&found)));
    Ok(found)
}
