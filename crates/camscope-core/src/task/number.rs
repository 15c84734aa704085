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
        chosen && context.floats(name).is_some_and(|shape| shape.iter().skip(1).all(|size| *size == Some(1)))
    };
    match context.outputs().iter().filter(is_number).collect::<Vec<_>>()[..] {
        [name] => {
            let by = format!("the shape of `{name}`: one number an image");
            Some(Recognised::new(Number { output: name.clone() }, by))
        }
        _ => None,
    }
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
