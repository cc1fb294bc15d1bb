//! candle's own BERT: token ids in, the mean over the tokens at unit length out.

use std::collections::HashMap;
use std::rc::Rc;

use ayni::{Error, ErrorKind, Vectors};
use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use serde::Deserialize;

use super::library::{Folders, Library, Once, read};
use super::works::{Model, Task, Work};

/// candle-transformers with all-MiniLM-L6-v2.
pub(super) struct Stock {
    model: Rc<BertModel>,
    ids: HashMap<String, Vec<Vec<u32>>>,
}

/// What is read of the list of works that the peers share.
#[derive(Deserialize)]
struct Tokenised {
    name: String,
    #[serde(default)]
    ids: Vec<Vec<u32>>,
}

impl Stock {
    /// Loads the weights.
    pub(super) fn new(folders: &Folders) -> std::result::Result<Self, Error> {
        let config: Config = parse(&read(&folders.minilm.join("config.json"))?)?;
        let weights = read(&folders.minilm.join("model.safetensors"))?;
        let weights = VarBuilder::from_buffered_safetensors(weights, DType::F32, &Device::Cpu);
        let model = weights.and_then(|weights| BertModel::load(weights, &config)).map_err(of_candle)?;
        let works: Vec<Tokenised> = parse(&read(&folders.prepared.join("inputs.json"))?)?;
        let ids = works.into_iter().map(|work| (work.name, work.ids)).collect();
        Ok(Self { model: Rc::new(model), ids })
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::config(format!("cannot be read: {error}")))
}

fn of_candle(error: candle_core::Error) -> Error {
    Error::new(ErrorKind::Unexpected, format!("candle failed: {error}"))
}

impl Library for Stock {
    fn prepare(&mut self, work: &Work) -> std::result::Result<Option<Once>, Error> {
        let (Task::Texts(lengths), Model::MiniLm) = (&work.task, work.model) else { return Ok(None) };
        let rows = self.ids.get(&work.name).filter(|rows| rows.len() == lengths.len());
        let rows =
            rows.ok_or_else(|| Error::config(format!("inputs.json has no token ids for {}", work.name)))?;
        let (ids, mask) = padded(rows).map_err(of_candle)?;
        let model = Rc::clone(&self.model);
        Ok(Some(Box::new(move || {
            let vectors = forward(&model, &ids, mask.as_ref()).map_err(of_candle)?;
            let width = vectors.dim(D::Minus1).map_err(of_candle)?;
            Vectors::new(
                vectors.flatten_all().and_then(|all| all.to_vec1::<f32>()).map_err(of_candle)?,
                width,
            )
        })))
    }
}

/// Token ids filled up to the longest, and which of them are real where not all are.
fn padded(rows: &[Vec<u32>]) -> Result<(Tensor, Option<Tensor>)> {
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let fill =
        |row: &Vec<u32>| row.iter().copied().chain(std::iter::repeat(0)).take(longest).collect::<Vec<_>>();
    let ids: Vec<u32> = rows.iter().flat_map(fill).collect();
    let is_real: Vec<u32> =
        rows.iter().flat_map(|row| (0..longest).map(|at| u32::from(at < row.len()))).collect();
    let shape = (rows.len(), longest);
    let mask = is_real.contains(&0).then(|| Tensor::from_vec(is_real, shape, &Device::Cpu)).transpose()?;
    Ok((Tensor::from_vec(ids, shape, &Device::Cpu)?, mask))
}

fn forward(model: &BertModel, ids: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let states = model.forward(ids, &ids.zeros_like()?, mask)?;
    // The mean is a sum divided by a length, and the length falls out at the end.
    let total = match mask {
        None => states.sum(1)?,
        Some(mask) => states.broadcast_mul(&mask.to_dtype(DType::F32)?.unsqueeze(2)?)?.sum(1)?,
    };
    total.broadcast_div(&total.sqr()?.sum_keepdim(1)?.sqrt()?)
}
