//! Every gradient rule against finite differences: the table is `table/`, the runner `check.rs`.

mod case;
mod check;
mod mutate;
mod portable;
mod table;

use std::collections::HashSet;

use camscope_tests::runtime;
use onnx_grad::registry::{Kind, entries};

/// Runs the rows of one family and reports every one that fails.
fn family(cases: Vec<case::Case>) {
    let runtime = runtime();
    let failures: Vec<String> = cases.iter().filter_map(|case| check::check(runtime, case).err()).collect();
    assert!(failures.is_empty(), "{} of {} rows fail:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

macro_rules! families {
    ($($name:ident)*) => {
        $(#[test] fn $name() { family(table::$name::cases()); })*

        fn all_cases() -> Vec<case::Case> {
            [$(table::$name::cases()),*].concat()
        }
    };
}

families! { activation attention causal_conv control conv cumulative deform_conv dtype einsum elementwise fourier fused gather gelu grid_sample indexing layer_norm linear_attention loss matmul multi_head norm pool quantize rearrange recurrent reduce resize scatter shape softmax spatial }

#[test]
fn every_operator_with_a_rule_has_a_row() {
    let cases = all_cases();
    let tested: HashSet<(&str, &str)> = cases.iter().map(|case| (case.domain, case.op)).collect();
    let missing: Vec<&str> = entries()
        .filter(|entry| matches!(entry.kind, Kind::Rule(_)) && !tested.contains(&(entry.domain, entry.op)))
        .map(|entry| entry.op)
        .collect();
    assert!(missing.is_empty(), "no row in the table for {missing:?}");
}
