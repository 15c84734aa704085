//! One score a class.

use super::{Context, Item, Kind, Recognised, Said, Task};
use crate::{
    error::Result,
    model::{
        Classes, Head, axes,
        plain_row::{Row, evidence},
        probabilities,
    },
    target::{Answer, ClassSpec, Score, TargetRef, ranking},
};

/// How many classes are listed.
const LISTED: usize = 5;

/// One score a class.
#[derive(Clone, Debug)]
struct Classification(Classes);

pub(super) fn recognise(context: &Context<'_>) -> Option<Recognised> {
    let classes = context.network.classes.clone()?;
    let index = onnx_grad::graph::Index::new(context.network.model.graph());
    let decided = index.producer_node(&classes.output).map(|node| node.op_type.as_str());
    let evidence = || evidence(context.network, &classes, context.types, context.labels.len());
    let mut guess = None;
    let by = match classes.head {
        _ if matches!(decided, Some("TopK" | "ArgMax")) => {
            format!("the scores before the {} that gives `{}`", decided.unwrap_or_default(), classes.output)
        }
        Head::Softmax => format!("the softmax before `{}`", classes.output),
        Head::Mean => {
            let made = probabilities(context.network.model.graph(), &classes.output).unwrap_or("the probabilities");
            format!("{made} before `{}`", classes.output)
        }
        Head::Sigmoid => {
            // Points as shares of the picture lie between 0 and 1, too.
            let several = context.network.score_count(context.types) > Some(1);
            guess = (several && evidence() == Row::Unsaid).then(|| guessed(context, &classes, "its logistic function"));
            format!("the logistic function before `{}`", classes.output)
        }
        Head::Logits => match evidence() {
            Row::Classes(by) => by,
            Row::Unsaid => {
                guess = Some(guessed(context, &classes, "its shape"));
                format!("the shape of `{}` alone", classes.output)
            }
        },
    };
    Some(Recognised { guess, ..Recognised::new(Classification(classes), by) })
}

/// What is said where only that says that numbers are scores of classes.
fn guessed(context: &Context<'_>, classes: &Classes, by: &str) -> String {
    let output = &classes.output;
    let shape = axes(&context.extents(output).unwrap_or_default());
    format!(
        "`{output}` {shape} is taken for scores of classes by {by} alone: no softmax, labels or name say so; `labels` under [output], or \
         kind = \"classification\" under [task], in MODEL.toml beside the model confirms it; if it is something else, --target \
         'output:{output}[0,0]' explains one of its numbers"
    )
}

impl Task for Classification {
    fn kind(&self) -> Kind {
        Kind::Classification
    }

    fn reads(&self) -> Vec<String> {
        vec![self.0.logits.clone()]
    }

    fn predict(&self, answer: &Answer<'_>) -> Result<Said> {
        let (scores, _) = answer.class_scores()?;
        let item = |class: usize| {
            let (logit, probability) = (scores.logits[class], scores.probabilities[class]);
            Item {
                target: format!("class:{}", ClassSpec::Index(class)),
                class: Some(class),
                label: answer.labels.get(class).map(str::to_owned),
                score: if answer.score == Score::Logit { logit } else { probability },
                probability: Some(probability),
                ..Item::default()
            }
        };
        let items = ranking(&scores.logits).into_iter().take(LISTED).map(item).collect();
        Ok(Said { items, ..Said::default() })
    }

    fn first(&self) -> Result<TargetRef> {
        Ok(ClassSpec::Top(1).target())
    }
}
