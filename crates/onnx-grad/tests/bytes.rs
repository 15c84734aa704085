//! Files of any content: reading one gives a model or an error, whatever was done to its bytes.
#![allow(clippy::unwrap_used)]

mod common;

use common::dense;
use onnx_grad::{Model, Request, Types, differentiate, unroll::unroll, upgrade};
use proptest::prelude::*;
use prost::Message;

/// What a whole model is made of, control flow and old forms of operators included.
fn whole() -> Vec<Vec<u8>> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/cases");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    vec![dense().encode_to_vec(), read("if_deep.onnx"), read("loop_long.onnx"), read("pool_flat.onnx")]
}

/// Does with the bytes all that needs no runtime.
fn used(bytes: Vec<u8>) {
    let Ok(model) = Model::from_bytes(bytes) else { return };
    let Ok(model) = upgrade::upgrade(&model, onnx_grad::EMITTED_OPSET) else { return };
    let types = Types::stated(model.graph());
    let Ok(apart) = unroll(&model, &types) else { return };
    let model = apart.unwrap_or(model);
    let outputs: Vec<&str> = model.graph().output.iter().map(|output| output.name.as_str()).collect();
    let wrt: Vec<&str> = model.graph().input.iter().map(|input| input.name.as_str()).collect();
    if let Ok(gradient) = differentiate(&model, &Request { outputs: &outputs, wrt: &wrt, types: &types }) {
        let _ = gradient.fuse().map(|fused| fused.to_bytes());
    }
}

/// One thing that happens to bytes.
#[derive(Clone, Debug)]
enum Damage {
    Set(usize, u8),
    Cut(usize, usize),
    Copy(usize, usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<usize>(), any::<u8>()).prop_map(|(at, to)| Damage::Set(at, to)),
        1 => (any::<usize>(), 0usize..64).prop_map(|(at, len)| Damage::Cut(at, len)),
        1 => (any::<usize>(), any::<usize>(), 0usize..256).prop_map(|(from, to, len)| Damage::Copy(from, to, len)),
    ]
}

fn damaged(mut bytes: Vec<u8>, all: &[Damage]) -> Vec<u8> {
    for damage in all {
        let len = bytes.len().max(1);
        match *damage {
            Damage::Set(at, to) => {
                if let Some(byte) = bytes.get_mut(at % len) {
                    *byte = to;
                }
            }
            Damage::Cut(at, count) => {
                let at = at % len;
                bytes.drain(at.min(bytes.len())..(at + count).min(bytes.len()));
            }
            Damage::Copy(from, to, count) => {
                let from = (from % len).min(bytes.len());
                let part = bytes[from..(from + count).min(bytes.len())].to_vec();
                let to = (to % len).min(bytes.len());
                bytes.splice(to..to, part);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn damaged_models_end_in_a_model_or_an_error(which in 0usize..4, all in prop::collection::vec(damage(), 1..8)) {
        used(damaged(whole().swap_remove(which), &all));
    }

    #[test]
    fn any_bytes_end_in_a_model_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        used(bytes);
    }
}
