//! Forces of an energy network, and the Jacobian of its atoms' energies row by row, in float64.

use ndarray::{Array1, Axis, arr0, array};
use onnx_grad_ort::{Differentiable, Result, Runtime, Wanted};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/models/atoms.onnx");

fn main() -> Result<()> {
    let runtime = Runtime::find_or_fetch()?;
    let wanted = Wanted::outputs(["energy", "energies"]).wrt(["positions"]);
    let model = Differentiable::open(runtime, MODEL, &wanted)?;

    let positions = array![[0.0, 0.0, 0.1], [1.1, 0.2, 0.0], [0.3, 1.2, -0.2], [-0.4, 0.5, 0.9]];
    let forward = model.forward(&[("positions", &positions)])?;
    println!("energy: {}", forward.get("energy")?.to_f64()?);

    // The force on an atom is the energy's negative gradient. The energy is a scalar, and so is its seed.
    let gradients = forward.backward(&[("energy", &arr0(1.0))])?;
    let forces = -gradients.get("positions")?.to_f64()?;
    println!("forces:\n{forces:.4}");

    // No seed for `energy` is the seed zero. A row of the Jacobian is the gradient of one element.
    let atoms = positions.nrows();
    let mut rows = Vec::new();
    for atom in 0..atoms {
        let mut seed = Array1::<f64>::zeros(atoms);
        seed[atom] = 1.0;
        rows.push(forward.backward(&[("energies", &seed)])?.get("positions")?.to_f64()?);
    }

    // The rows add up to the gradient of the sum, and nothing pushes all atoms in one direction.
    let sum = rows.into_iter().reduce(|sum, row| sum + row).unwrap_or_default();
    assert!((sum + &forces).iter().all(|difference| difference.abs() < 1e-12));
    assert!(forces.sum_axis(Axis(0)).iter().all(|sum| sum.abs() < 1e-12));
    Ok(())
}
