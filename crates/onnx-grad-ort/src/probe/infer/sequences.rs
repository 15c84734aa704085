//! What operators on sequences give: attention and recurrent networks.

use super::{Call, Value, shapes::broadcast};

/// The shape of `Attention`'s first output, without a past.
pub(super) fn attention(call: &Call<'_>) -> Option<Vec<usize>> {
    let heads = |name: &str| usize::try_from(call.node.attr_int(name)?).ok().filter(|&heads| heads > 0);
    // Batch, heads, length, and what a head holds.
    let parted = |at: usize, name: &str| match *call.dims(at)? {
        [n, heads, length, size] => Some([n, heads, length, size]),
        [n, length, size] => {
            let heads = heads(name)?;
            (size.is_multiple_of(heads)).then(|| [n, heads, length, size / heads])
        }
        _ => None,
    };
    let [q, k, v] = [parted(0, "q_num_heads")?, parted(1, "kv_num_heads")?, parted(2, "kv_num_heads")?];
    let same = q[0] == k[0] && k[..3] == v[..3] && q[3] == k[3] && q[1].checked_rem(k[1])? == 0;
    let scores = [q[0], q[1], q[2], k[2]];
    let masked = !call.has(3) || broadcast(&scores, call.dims(3)?)? == scores;
    (same && masked && call.inputs.len() <= 4).then_some(())?;
    Some(match call.dims(0)?.len() {
        3 => vec![q[0], q[2], q[1].checked_mul(v[3])?],
        _ => vec![q[0], q[1], q[2], v[3]],
    })
}

/// The outputs of `LSTM`, `GRU` and `RNN`: at every step, at the last one, and the last state of the cells.
pub(super) fn recurrent(call: &Call<'_>) -> Option<Vec<Value>> {
    let (&[length, n, size], &[ways, _, hidden]) = (call.dims(0)?, call.dims(2)?) else { return None };
    let stated = usize::try_from(call.node.attr_int("hidden_size")?).ok()?;
    let last = [ways, n, hidden];
    let begins = |at: usize| !call.has(at) || call.dims(at) == Some(&last);
    let lengths = !call.has(4) || call.dims(4) == Some(&[n]);
    let reads = call.dims(1)?.get(2) == Some(&size);
    (!call.flag("layout") && stated == hidden && begins(5) && begins(6) && lengths && reads).then_some(())?;
    let value = |dims: &[usize]| Some(Value::new(call.elem(0)?, dims.to_vec()));
    Some(vec![value(&[length, ways, n, hidden])?, value(&last)?, value(&last)?])
}
