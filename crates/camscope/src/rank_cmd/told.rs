//! What the candidates came to: a table, and JSON.

use std::collections::BTreeMap;

use camscope_core::{evaluate::road::Road, rank::Plan, subject::TypedModel, text::printable};
use image::RgbImage;
use ndarray::Array2;
use serde_json::json;

use super::{command, grid::Candidate};
use crate::{cli::RankArgs, output};

/// How many rows the table has at most.
const ROWS: usize = 20;

/// A map that was scored.
#[derive(Clone)]
pub(super) struct Scored {
    pub(super) combined: f64,
    most: f64,
    least: f64,
    is_blank: bool,
    pub(super) picture: Option<RgbImage>,
}

impl Scored {
    pub(super) fn new(road: &Road, heat: &Array2<f32>, picture: Option<RgbImage>) -> Self {
        let is_blank = heat.iter().all(|heat| *heat <= 0.0);
        Self { combined: road.combined, most: road.most, least: road.least, is_blank, picture }
    }
}

/// What a candidate came to: its maps, by the photo's number.
#[derive(Clone, Default)]
pub(super) struct Score {
    pub(super) pictures: Vec<(usize, Scored)>,
    /// The photos, made smaller.
    pub(super) photos: BTreeMap<usize, RgbImage>,
}

impl Score {
    fn mean(&self, of: impl Fn(&Scored) -> f64) -> f64 {
        self.pictures.iter().map(|(_, scored)| of(scored)).sum::<f64>() / self.pictures.len().max(1) as f64
    }

    /// The mean of the combined ROAD.
    pub(super) fn road(&self) -> f64 {
        self.mean(|scored| scored.combined)
    }

    /// The standard deviation over photos; `None` of one.
    fn spread(&self) -> Option<f64> {
        let (mean, count) = (self.road(), self.pictures.len());
        let square = self.pictures.iter().map(|(_, scored)| (scored.combined - mean).powi(2)).sum::<f64>();
        (count > 1).then(|| (square / (count - 1) as f64).sqrt())
    }

    fn blank(&self) -> usize {
        self.pictures.iter().filter(|(_, scored)| scored.is_blank).count()
    }
}

/// All candidates.
pub(super) struct Told {
    candidates: Vec<(Candidate, Score)>,
    pictures: usize,
}

impl Told {
    pub(super) fn new(candidates: Vec<Candidate>) -> Self {
        Self {
            candidates: candidates.into_iter().map(|candidate| (candidate, Score::default())).collect(),
            pictures: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pictures == 0
    }

    /// How many photos there were.
    pub(super) fn pictures(&self) -> usize {
        self.pictures
    }

    /// Adds a photo: the maps of the first so many candidates.
    pub(super) fn add(&mut self, at: usize, scored: Vec<Option<Scored>>, photo: Option<RgbImage>) {
        self.pictures += 1;
        for ((_, score), scored) in self.candidates.iter_mut().zip(scored) {
            if let Some(scored) = scored {
                if let (Some(photo), Some(_)) = (&photo, &scored.picture) {
                    score.photos.insert(at, photo.clone());
                }
                score.pictures.push((at, scored));
            }
        }
    }

    /// Those that were scored on every photo, the best first; of equal ones the cheapest.
    pub(super) fn ranked(self) -> Vec<(Candidate, Score)> {
        let mut ranked = self.candidates;
        ranked.retain(|(_, score)| score.pictures.len() == self.pictures && self.pictures > 0);
        ranked.sort_by(|(one, one_score), (other, other_score)| {
            other_score.road().total_cmp(&one_score.road()).then(one.cost.total_cmp(&other.cost))
        });
        ranked
    }
}

/// The best first, and the command that gives the best.
pub(super) fn table(args: &RankArgs, ranked: &[(Candidate, Score)], plan: &Plan) -> String {
    let header = ["", "ROAD", "spread", "method", "layer", "passes", ""].map(str::to_owned);
    let row = |(at, (candidate, score)): (usize, &(Candidate, Score))| {
        let blank = match score.blank() {
            0 => String::new(),
            count => format!("blank on {count} of {}", score.pictures.len()),
        };
        [
            format!("{}", at + 1),
            format!("{:.4}", score.road()),
            score.spread().map(|spread| format!("±{spread:.4}")).unwrap_or_default(),
            candidate.method.spec(),
            printable(candidate.layer_name()).into_owned(),
            format!("{:.0}", candidate.cost.ceil()),
            blank,
        ]
    };
    let rows: Vec<[String; 7]> = std::iter::once(header).chain(ranked.iter().take(ROWS).enumerate().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let columns: Vec<usize> = (0..7).filter(|column| rows.iter().skip(1).any(|row| !row[*column].is_empty())).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = columns.iter().map(|&column| format!("{:width$}", row[column], width = width(column)));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    if ranked.len() > ROWS {
        text += &format!("and {} more: --json lists all of them\n", ranked.len() - ROWS);
    }
    let Some((best, score)) = ranked.first() else { return text };
    text += &format!("ROAD by {} passes a map, on {}\n", plan.passes, photos(score.pictures.len()));
    if score.road() <= 0.0 {
        text += "no map is better than none: what the model looks at is not where they say\n";
    }
    text + &format!("best: {}\n", command(args, best))
}

fn photos(count: usize) -> String {
    if count == 1 { "1 photo".into() } else { format!("{count} photos") }
}

/// An object a candidate, the best first.
pub(super) fn lines(args: &RankArgs, subject: &TypedModel, ranked: &[(Candidate, Score)], plan: &Plan) -> String {
    let line = |(at, (candidate, score)): (usize, &(Candidate, Score))| {
        let (_, value, module) = candidate
            .layer
            .clone()
            .map_or((None, None, None), |(name, value, module)| (Some(name), Some(value), module));
        output::json_line(&json!({
            "rank": at + 1,
            "model": subject.network().path.to_string_lossy(),
            "method": candidate.method.method.name(),
            "parameters": candidate.method.parameters,
            "layer": value,
            "module": module,
            "road": score.road(),
            "spread": score.spread(),
            "most": score.mean(|scored| scored.most),
            "least": score.mean(|scored| scored.least),
            "images": score.pictures.len(),
            "blank": score.blank(),
            "passes": candidate.cost,
            "road_passes": plan.passes,
            "command": command(args, candidate),
        }))
    };
    ranked.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(combined: f64) -> Scored {
        Scored { combined, most: -combined, least: combined, is_blank: combined == 0.0, picture: None }
    }

    #[test]
    fn a_score_has_its_mean_and_its_spread() {
        let score = Score { pictures: vec![(0, scored(0.1)), (1, scored(0.3))], ..Score::default() };
        assert!((score.road() - 0.2).abs() < 1e-12);
        assert!((score.spread().expect("two photos") - 0.02f64.sqrt()).abs() < 1e-12);
        let one = Score { pictures: vec![(0, scored(0.0))], ..Score::default() };
        assert_eq!((one.spread(), one.blank(), one.road()), (None, 1, 0.0));
    }
}
