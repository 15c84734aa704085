//! Makes the small models of the examples: `cargo run -p onnx-grad-ort --example make_models`.
//!
//! Nothing is trained: each does what its weights were written for.

use std::path::Path;

use onnx_grad_ort::onnx_grad::{
    Builder, Dim, ElemType, Model, Result, Val, ValueType, attr, proto::NodeProto, value_info,
};

type Named<'a> = (&'a str, ElemType, &'a [Dim]);

/// Every model with the name of its file.
pub(crate) fn models() -> Result<Vec<(&'static str, Model)>> {
    Ok(vec![
        ("stripes.onnx", stripes()?),
        ("atoms.onnx", atoms()?),
        ("sides.onnx", sides()?),
        ("denoiser.onnx", denoiser()?),
    ])
}

/// A classifier of 8×8 images: how strong are horizontal stripes (class 0), and how strong vertical ones (class 1)?
fn stripes() -> Result<Model> {
    let mut g = Builder::new();
    let image = g.input("image");
    // Each pixel less the one below it; less the one beside it.
    let kernels = g.floats(ElemType::Float, &[2, 1, 2, 2], &[1.0, 0.0, -1.0, 0.0, 1.0, -1.0, 0.0, 0.0]);
    let edges = g.op("Conv", &[&image, &kernels], vec![attr::ints("kernel_shape", &[2, 2])]);
    let edges = call(&mut g, &edges, "edges");
    let strength = g.mul(&edges, &edges);
    let strength = g.reduce_mean(&strength, &[2, 3], false);
    let logits = g.scale(&strength, ElemType::Float, 1000.0);
    call(&mut g, &logits, "logits");
    let image = [Dim::Free, Dim::Fixed(1), Dim::Fixed(8), Dim::Fixed(8)];
    model(g, &[("image", ElemType::Float, &image)], &[("logits", ElemType::Float, &[Dim::Free, Dim::Fixed(2)])])
}

/// An energy of atoms at given positions: each atom looks at how many others are near, at three distances, through a small network.
fn atoms() -> Result<Model> {
    let elem = ElemType::Double;
    let mut g = Builder::new();
    let positions = g.input("positions");
    let (from, to) = (g.unsqueeze(&positions, &[1]), g.unsqueeze(&positions, &[0]));
    let between = g.sub(&from, &to);
    let square = g.mul(&between, &between);
    let square = g.reduce_sum(&square, &[2], true);
    // exp(-(d² - center)²), summed over the other atoms: [atoms, 3].
    let centers = g.floats(elem, &[3], &[0.5, 1.5, 3.0]);
    let off = g.sub(&square, &centers);
    let off = g.mul(&off, &off);
    let near = g.unary("Neg", &off);
    let near = g.unary("Exp", &near);
    let features = g.reduce_sum(&near, &[1], false);
    let first = g.floats(elem, &[3, 4], &[0.9, -0.4, 0.3, 0.7, -0.6, 0.8, 0.5, -0.2, 0.2, -0.7, 0.6, 0.4]);
    let bias = g.floats(elem, &[4], &[0.1, -0.2, 0.3, -0.1]);
    let last = g.floats(elem, &[4], &[1.1, -0.8, 0.6, -0.9]);
    let hidden = g.matmul(&features, &first);
    let hidden = g.add(&hidden, &bias);
    let hidden = g.unary("Tanh", &hidden);
    let energies = g.matmul(&hidden, &last);
    let energies = call(&mut g, &energies, "energies");
    let energy = g.reduce_sum(&energies, &[0], false);
    call(&mut g, &energy, "energy");
    let inputs: [Named<'_>; 1] = [("positions", elem, &[Dim::Free, Dim::Fixed(3)])];
    model(g, &inputs, &[("energy", elem, &[]), ("energies", elem, &[Dim::Free])])
}

/// A classifier of points: left of the origin (class 0), or right of it (class 1).
fn sides() -> Result<Model> {
    let mut g = Builder::new();
    let point = g.input("point");
    let weight = g.floats(ElemType::Float, &[2, 2], &[-2.0, 2.0, 0.0, 0.0]);
    let logits = g.matmul(&point, &weight);
    call(&mut g, &logits, "logits");
    let inputs: [Named<'_>; 1] = [("point", ElemType::Float, &[Dim::Free, Dim::Fixed(2)])];
    model(g, &inputs, &[("logits", ElemType::Float, &[Dim::Free, Dim::Fixed(2)])])
}

/// The best guess of a clean point behind a noisy one, where clean points are (-1, 0) and (1, 0), and noise has the deviation `sigma`.
fn denoiser() -> Result<Model> {
    let elem = ElemType::Float;
    let mut g = Builder::new();
    let (noisy, sigma) = (g.input("noisy"), g.input("sigma"));
    let clean = g.floats(elem, &[2, 2], &[-1.0, 0.0, 1.0, 0.0]);
    // Both are equally far from the origin, so that -|noisy - clean|² / 2σ² is noisy·clean / σ² but for what the softmax doesn't see.
    let turned = g.transpose(&clean, &[1, 0]);
    let product = g.matmul(&noisy, &turned);
    let variance = g.mul(&sigma, &sigma);
    let logits = g.div(&product, &variance);
    let chances = g.op("Softmax", &[&logits], vec![attr::int("axis", 1)]);
    let guess = g.matmul(&chances, &clean);
    call(&mut g, &guess, "clean");
    let point: [Dim; 2] = [Dim::Free, Dim::Fixed(2)];
    model(g, &[("noisy", elem, &point), ("sigma", elem, &[])], &[("clean", elem, &point)])
}

/// CpuFeatures `value` be called `name`.
fn call(g: &mut Builder, value: &Val, name: &str) -> Val {
    g.push(NodeProto {
        op_type: "Identity".into(),
        name: name.into(),
        input: vec![value.name().to_owned()],
        output: vec![name.to_owned()],
        ..Default::default()
    });
    Val::new(name)
}

fn model(g: Builder, inputs: &[Named<'_>], outputs: &[Named<'_>]) -> Result<Model> {
    let infos = |all: &[Named<'_>]| {
        let info = |(name, elem, dims): &Named<'_>| {
            value_info(name, Some(&ValueType { elem: *elem, shape: Some(dims.to_vec()) }))
        };
        all.iter().map(info).collect()
    };
    g.into_model(infos(inputs), infos(outputs))
}

#[allow(dead_code, reason = "a test takes this file as a module")]
fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/models");
    for (file, model) in models()? {
        model.write(&folder.join(file))?;
        println!("{file}: {} bytes", model.to_bytes().len());
    }
    Ok(())
}
