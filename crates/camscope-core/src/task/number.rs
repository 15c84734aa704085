//! One number an image: a regression.

use super::{Context, Item, Kind, Recognised, Said, Task};
use crate::{
    error::Result,
    target::{Answer, TargetRef, output},
};

/// One number.
#[derive(Clone, Debug)]
struct Number {
    output: String,
}

/// The only output that is one float an image.
pub(super) fn recognise(context: &Context<'_>) -> Option<Recognised> {
    let is_number = |name: &&String| {
        let chosen = context.settings.output.as_ref().is_none_or(|chosen| chosen == *name);
        chosen && is_one(context, name)
    };
    match context.outputs().iter().filter(is_number).collect::<Vec<_>>()[..] {
        [name] => {
            let by = format!("the shape of `{name}`: one number an image");
            Some(Recognised::new(Number { output: name.clone() }, by))
        }
        _ => None,
    }
}

/// Whether an output has one float an image.
fn is_one(context: &Context<'_>, name: &str) -> bool {
    let batch = context.network.input().batch();
    let is_batch = |first: Option<usize>| first.is_none() || first == Some(1) || first == batch;
    let shape = context.floats(name).filter(|_| !is_of_found(context, name));
    shape.is_some_and(|shape| {
        shape.first().is_none_or(|first| is_batch(*first)) && shape.iter().skip(1).all(|size| *size == Some(1))
    })
}

/// Whether an output's first axis counts what is found in the picture, and no pictures: it is open where the batch is not.
fn is_of_found(context: &Context<'_>, name: &str) -> bool {
    let declared = context.network.model.graph().output.iter().find(|output| output.name == name);
    let ty = declared.and_then(|output| onnx_grad::ValueType::from_proto(output.r#type.as_ref()?));
    let first = ty.and_then(|ty| ty.shape?.first().map(|dim| dim.fixed()));
    first == Some(None) && context.network.input().batch().is_some()
}

impl Task for Number {
    fn kind(&self) -> Kind {
        Kind::Number
    }

    fn reads(&self) -> Vec<String> {
        vec![self.output.clone()]
    }

    fn output(&self) -> Option<&str> {
        Some(&self.output)
    }

    fn predict(&self, answer: &Answer<'_>) -> Result<Said> {
        let evaluated = self.first()?.evaluate(answer)?;
        let item = Item { target: evaluated.target.spec(), score: evaluated.score, ..Item::default() };
        Ok(Said { items: vec![item], ..Said::default() })
    }

    fn first(&self) -> Result<TargetRef> {
        output::whole(&self.output)
    }
}
