//! A model that nothing says how to prepare photos for, beside one of which that is known.

use crate::model::{Labels, Sidecar, Source};

/// Prepares photos for `b` as for `a`, where nothing in or beside `b` says how and it is known of `a`: an integer network that a tool wrote
/// has no sidecar of its own. Its input's size, layout and type stay its own. Labels that it lacks are `a`'s. Whether something was taken
/// over.
pub fn prepare_alike(a: &Sidecar, b: &mut Sidecar) -> bool {
    let is_taken = is_assumed(&b.preprocessing.source)
        && !is_assumed(&a.preprocessing.source)
        && a.preprocessing.channels() == b.preprocessing.channels()
        && a.preprocessing.whole == b.preprocessing.whole;
    if is_taken {
        let own = b.preprocessing.clone();
        b.preprocessing = a.preprocessing.clone();
        (b.preprocessing.size, b.preprocessing.sizing) = (own.size, own.sizing);
        b.preprocessing.layout = own.layout;
        b.task = a.task.clone();
    }
    let lacks_labels = b.labels.is_empty() && !a.labels.is_empty();
    if lacks_labels {
        b.labels = Labels::new(a.labels.names().to_vec());
        b.labels_from.clone_from(&a.labels_from);
    }
    is_taken || lacks_labels
}

fn is_assumed(source: &Source) -> bool {
    match source {
        Source::Assumed => true,
        Source::Given(other) => is_assumed(other),
        _ => false,
    }
}
